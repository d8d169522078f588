/*
 * Techniques against top and mappings (how2heap): none reaches its goal (M-50).
 */
/* not: check */
#include "safety_attack.h"

static const size_t sizes[] = {0x88, 0x100, 0x1f8, 0x3f8, 0x408, 0x418, 0x4f8, 0x5f8, 0xff8};

static void try_all(safety_bug *technique)
{
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        does_no_harm(technique, &sizes[i], "size %#zx", sizes[i]);
    safety_done();
}

#define SIZE(arg) (*(const size_t *)(arg))

/*
 * Top may lie behind it. Behind a mapping of its own lies what the kernel put there, a library that can only be read
 * perhaps: no technique goes there.
 */
static char *take_before_top(size_t size)
{
    char *a = take(size);
    if (words(a)[-1] & 2) /* M */
        _exit(0);
    return a;
}

static void house_of_force(const void *arg)
{
    char *a = take_before_top(SIZE(arg));
    size_t usable = malloc_usable_size(a);
    target_is_ready();
    words(a + usable)[0] = (size_t)-1; /* the size of top, when a is the last block */
    size_t distance = (size_t)target - (size_t)a - usable - 64;
    char *jump = malloc(distance);
    (void)jump;
    harvest(SIZE(arg));
}

static void mmap_overlapping_chunks(const void *arg)
{
    size_t n = 0x200000 + SIZE(arg) * 0x100;
    char *a = take(n), *b = take(n), *c = take(n);
    *a = *b = *c = 1;
    target_is_ready();
    size_t of_b = words(b)[-1] & ~(size_t)7;
    words(c)[-1] = (2 * of_b) | 2; /* c lies below b: freeing it unmaps both */
    drop(c);
    take(2 * n);
    harvest(0x1000);
    *(volatile char *)b += 1; /* must still be there */
}

static void house_of_muney(const void *arg)
{
    char *a = take(0x200000);
    target_is_ready();
    words(a)[-2] = 0x1000 * (SIZE(arg) & 0xf); /* the mapping begins earlier, and is longer, than it was */
    words(a)[-1] = 0x400000 | 2;
    drop(a);
    harvest(0x1000);
}

static void house_of_orange(const void *arg)
{
    char *a = take_before_top(SIZE(arg));
    size_t usable = malloc_usable_size(a);
    target_is_ready();
    words(a + usable)[0] =
        (((size_t)a + usable) & 0xff8 ? 0x1000 - (((size_t)a + usable) & 0xfff) : 0x1000) | 1;
    take(0x1f000);
    take(0x8000);
    harvest(SIZE(arg));
}

static void sysmalloc_int_free(const void *arg)
{
    char *a = take_before_top(SIZE(arg) & ~(size_t)15);
    size_t usable = malloc_usable_size(a), top = (words(a + usable)[0] & 0xfff) | 1;
    target_is_ready();
    words(a + usable)[0] = top; /* smaller, but with a page's end */
    take(0x1e000);
    take(top > 0x40 ? top - 0x40 : 24);
    harvest(SIZE(arg));
}

#define TECHNIQUE(name, technique)      \
    QTEST(name " does not work (M-50)") \
    {                                   \
        try_all(technique);             \
    }

TECHNIQUE("house of force", house_of_force)
TECHNIQUE("mmap overlapping chunks", mmap_overlapping_chunks)
TECHNIQUE("house of muney", house_of_muney)
TECHNIQUE("house of orange", house_of_orange)
TECHNIQUE("sysmalloc int free", sysmalloc_int_free)

QTEST_MAIN
