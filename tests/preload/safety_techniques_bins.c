/*
 * Techniques against unsorted, small and large bins and against merging (how2heap): none reaches its goal (M-50).
 */
/* not: check */
/* variants: default classic run_max0 notcache onearena */
#include "safety_attack.h"

static const size_t sizes[] = {0x88,  0xf8,  0x100, 0x1f8, 0x3f8, 0x408,
                               0x418, 0x428, 0x4f8, 0x500, 0x5f8, 0xff8};
static char *filler[FILL];

static void try_all(safety_bug *technique)
{
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        does_no_harm(technique, &sizes[i], "size %#zx", sizes[i]);
    safety_done();
}

#define SIZE(arg) (*(const size_t *)(arg))
#define CHUNK(n) (((n) + 8 + 15) / 16 * 16)

/* Frees a block past the cache, so that it is in the unsorted bin, with `n` sized neighbours in use. */
static char *in_unsorted_bin(size_t n)
{
    take_filler(filler, n);
    char *a = take(n);
    for (int i = 0; i < 20 && take(GUARD + 4 * n) < a; i++)
        ; /* until one lies behind it */
    drop_filler(filler);
    drop(a);
    return a;
}

static void sort(size_t n)
{
    take(n + 0x2000 + 0x10000);
}

static void unsafe_unlink(const void *arg)
{
    size_t n = SIZE(arg);
    take_filler(filler, n);
    char *a = take(n), *b = take(n);
    take(n);
    static char *holder;
    holder = a;
    target_is_ready();
    drop_filler(filler);
    /* A free chunk made up inside a; its links point around the variable that holds a. */
    words(a)[1] = CHUNK(n) - 16;
    words(a)[2] = (size_t)&holder - 24;
    words(a)[3] = (size_t)&holder - 16;
    words(b)[-2] = CHUNK(n) - 16;
    words(b)[-1] &= ~(size_t)1;
    drop(b);
    harvest(n);
    QT_CHECKF(holder == a, "the variable became %p", (void *)holder);
}

static void unsorted_bin_attack(const void *arg)
{
    char *a = in_unsorted_bin(SIZE(arg));
    target_is_ready();
    words(a)[1] = (size_t)&target[8] - 16;
    for (int i = 0; i < FILL; i++)
        take(SIZE(arg));
    sort(SIZE(arg));
    harvest(SIZE(arg));
}

static void unsorted_bin_into_stack(const void *arg)
{
    char *a = in_unsorted_bin(SIZE(arg));
    fake_chunk(8, CHUNK(SIZE(arg)) + 0x20);
    target[8 + 3] = (size_t)&target[8];
    target_is_ready();
    words(a)[-1] = 32 | 1;
    words(a)[1] = (size_t)&target[8];
    for (int i = 0; i < FILL; i++)
        take(SIZE(arg));
    harvest(SIZE(arg) + 0x20);
}

static void large_bin_attack(const void *arg)
{
    size_t n = SIZE(arg) + 0x400, larger = n + 0x28;
    static char *more[FILL];
    take_filler(filler, n);
    take_filler(more, larger);
    char *a = take(larger);
    take(24);
    char *b = take(n);
    take(24);
    target_is_ready();
    drop_filler(more);
    drop(a);
    sort(n); /* a is in its large bin */
    drop_filler(filler);
    drop(b);
    words(a)[3] = (size_t)&target[8] - 32; /* bk_nextsize */
    words(a)[1] = (size_t)&target[16] - 16;
    sort(n);
    sort(n);
    harvest(n);
}

static void house_of_storm(const void *arg)
{
    size_t n = SIZE(arg) + 0x400;
    char *a = in_unsorted_bin(n + 0x10);
    sort(n);
    char *b = in_unsorted_bin(n + 0x20);
    target_is_ready();
    words(b)[1] = (size_t)&target[8];
    words(a)[1] = (size_t)&target[8] + 8;
    words(a)[3] = (size_t)&target[8] - 0x18 - 5;
    for (int i = 0; i < FILL; i++)
        take(n);
    harvest(n);
}

static void house_of_lore(const void *arg)
{
    size_t n = SIZE(arg);
    char *a = in_unsorted_bin(n);
    sort(n);
    target[8 + 2] = (size_t)(a - 16); /* two fake chunks, linked to the real one and to each other */
    target[8 + 3] = (size_t)&target[32];
    target[32 + 2] = (size_t)&target[8];
    target_is_ready();
    words(a)[1] = (size_t)&target[8];
    for (int i = 0; i < FILL; i++)
        take(n);
    harvest(n);
}

static void house_of_einherjar(const void *arg)
{
    size_t n = SIZE(arg);
    take_filler(filler, n);
    char *a = take(n), *b = take(n), *c = take(n);
    take(n);
    target_is_ready();
    drop_filler(filler);
    words(a)[0] = 0; /* a fake free chunk in a, linked to itself */
    words(a)[1] = 2 * CHUNK(n) - 16;
    words(a)[2] = words(a)[3] = (size_t)a;
    words(c)[-2] = 2 * CHUNK(n) - 16;
    *(volatile char *)(c - 8) = 0; /* the one byte past b's end */
    drop(c);
    (void)b;
    harvest(n);
    take(2 * CHUNK(n));
}

static void house_of_einherjar_into_target(const void *arg)
{
    size_t n = SIZE(arg);
    take_filler(filler, n);
    char *b = take(n), *c = take(n);
    take(n);
    size_t distance = (size_t)(c - 16) - (size_t)&target[8];
    fake_chunk(8, distance & ~(size_t)15);
    target[10] = target[11] = target[12] = target[13] = (size_t)&target[8];
    target_is_ready();
    drop_filler(filler);
    words(c)[-2] = distance;
    words(c)[-1] &= ~(size_t)1;
    drop(c);
    (void)b;
    harvest(n);
}

static void poison_null_byte(const void *arg)
{
    size_t n = SIZE(arg);
    char *a, *b = NULL, *c = NULL;
    take_filler(filler, 0x5f8);
    a = take(n);
    b = take(0x5f8);
    c = take(0x5f8);
    take(0x5f8);
    target_is_ready();
    words(b + 0x500)[-2] = 0x500; /* the size that the free b will seem to have */
    drop_filler(filler);
    drop(b);
    *(volatile char *)(a + malloc_usable_size(a)) = 0;
    char *b1 = take(0x100), *b2 = take(0x80);
    drop(b1);
    drop(c);
    take(0x5f8 + 0x300);
    (void)b2;
    harvest(n);
}

static void overlapping_chunks(const void *arg)
{
    size_t n = SIZE(arg);
    take_filler(filler, n);
    char *a = take(n), *b = take(n), *c = take(n);
    target_is_ready();
    drop_filler(filler);
    drop(b);
    words(a + malloc_usable_size(a))[0] = 2 * CHUNK(n) | 1;
    take(2 * CHUNK(n) - 8);
    (void)c;
    harvest(n);
}

static void overlapping_chunks_2(const void *arg)
{
    size_t n = SIZE(arg);
    take_filler(filler, n);
    char *a = take(n), *b = take(n), *c = take(n), *d = take(n);
    take(n);
    target_is_ready();
    drop_filler(filler);
    drop(d);
    words(a + malloc_usable_size(a))[0] = 2 * CHUNK(n) | 1; /* b now seems to reach to the end of c */
    drop(b);
    take(3 * CHUNK(n) - 8);
    take(2 * CHUNK(n) - 8);
    (void)c;
    harvest(n);
}

/* The cached size is not what the block had: a block of the smaller size that is handed out for the larger. */
static void overlapping_in_cache(const void *arg)
{
    size_t n = SIZE(arg);
    char *a = take(n), *b = take(n), *c = take(n);
    target_is_ready();
    words(b)[-1] = 2 * CHUNK(n) | 1;
    drop(b);
    take(2 * CHUNK(n) - 8);
    drop(a);
    (void)c;
    harvest(n);
}

#define TECHNIQUE(name, technique)      \
    QTEST(name " does not work (M-50)") \
    {                                   \
        try_all(technique);             \
    }

TECHNIQUE("unsafe unlink", unsafe_unlink)
TECHNIQUE("unsorted bin attack", unsorted_bin_attack)
TECHNIQUE("unsorted bin into stack", unsorted_bin_into_stack)
TECHNIQUE("large bin attack", large_bin_attack)
TECHNIQUE("house of storm", house_of_storm)
TECHNIQUE("house of lore", house_of_lore)
TECHNIQUE("house of einherjar", house_of_einherjar)
TECHNIQUE("house of einherjar into a chosen place", house_of_einherjar_into_target)
TECHNIQUE("poison null byte", poison_null_byte)
TECHNIQUE("overlapping chunks", overlapping_chunks)
TECHNIQUE("overlapping chunks 2", overlapping_chunks_2)
TECHNIQUE("overlapping chunks in the cache", overlapping_in_cache)

QTEST_MAIN
