/*
 * Techniques against the fast bins (how2heap): none reaches its goal (M-50). In the default profile, where small blocks
 * are cells, they meet runs instead.
 */
/* not: check */
/* variants: default classic run_max0 notcache onearena */
#include "safety_attack.h"

#include <pthread.h>

static const size_t sizes[] = {24, 40, 56, 72, 104, 120};
static char *filler[FILL];

static void try_all(safety_bug *technique)
{
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        does_no_harm(technique, &sizes[i], "size %zu", sizes[i]);
    safety_done();
}

#define SIZE(arg) (*(const size_t *)(arg))
#define CHUNK(n) (((n) + 8 + 15) / 16 * 16)

static void fastbin_dup(const void *arg)
{
    size_t n = SIZE(arg);
    take_filler(filler, n);
    char *a = take(n), *b = take(n);
    drop_filler(filler);
    drop(a);
    drop(b);
    wrong_free(a);
    harvest(n);
}

static void fastbin_dup_without_trace(const void *arg)
{
    size_t n = SIZE(arg);
    take_filler(filler, n);
    char *a = take(n), *b = take(n);
    drop_filler(filler);
    drop(a);
    words(a)[0] = words(a)[1] = 0;
    drop(b);
    wrong_free(a);
    for (int i = 0; i < FILL; i++)
        take(n);
    harvest(n);
}

static void fastbin_dup_into_stack(const void *arg)
{
    size_t n = SIZE(arg);
    take_filler(filler, n);
    char *a = take(n), *b = take(n);
    fake_chunk(8, CHUNK(n));
    target_is_ready();
    drop_filler(filler);
    drop(a);
    drop(b);
    words(b)[0] = hidden(b, &target[8]);
    harvest(n);
}

static void fastbin_dup_consolidate(const void *arg)
{
    size_t n = SIZE(arg);
    take_filler(filler, n);
    char *before = take(n), *a = take(n);
    drop_filler(filler);
    drop(before);
    drop(a);
    char *big = take(0x400 + n); /* merges the fast bins */
    if (big == a)
        return; /* then the stale pointer is that of a live block, as true as any */
    wrong_free(a);
    take(0x400 + n);
    harvest(n);
}

static void fastbin_reverse_into_tcache(const void *arg)
{
    size_t n = SIZE(arg);
    static char *more[20];
    take_filler(filler, n);
    for (int i = 0; i < 20; i++)
        more[i] = take(n);
    target_is_ready();
    drop_filler(filler);
    for (int i = 0; i < 20; i++)
        drop(more[i]);
    words(more[0])[0] = hidden(more[0], &target[8]);
    words(more[6])[0] = hidden(more[6], &target[8]);
    for (int i = 0; i < FILL; i++)
        take(n);
    harvest(n);
}

static void house_of_spirit(const void *arg)
{
    size_t n = SIZE(arg);
    take_filler(filler, n);
    void *fake = fake_chunk(8, CHUNK(n));
    target_is_ready();
    drop_filler(filler);
    wrong_free(fake);
    harvest(n);
}

/* The chunk claims to be of another arena, whose sub-heap the attacker made up at the 64 MiB boundary below it. */
static void house_of_mind(const void *arg)
{
    size_t n = SIZE(arg);
    char *map =
        mmap(NULL, 128 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    char *heap = (char *)(((size_t)map + (64 << 20) - 1) & ~(size_t)((64 << 20) - 1));
    take_filler(filler, n);
    char *a = take(n);
    *words(heap) = (size_t)&target[8]; /* "my arena is this" */
    words(heap + 0x1000)[1] = CHUNK(n) | 5;
    words(heap + 0x1000 + CHUNK(n))[1] = 0x1001;
    target_is_ready();
    drop_filler(filler);
    size_t of_a = words(a)[-1];
    words(a)[-1] = of_a | 4;
    if (n % 3)
        wrong_free(a);
    words(a)[-1] = of_a;
    wrong_free(heap + 0x1000 + 16);
    harvest(n);
}

/* Only the low bytes of what stands in the free block are changed: no address need be known. */
static void house_of_roman(const void *arg)
{
    size_t n = SIZE(arg);
    take_filler(filler, n);
    static char *a[32];
    for (int i = 0; i < 32; i++)
        a[i] = take(n);
    target_is_ready();
    drop_filler(filler);
    for (int i = 0; i < 32; i += 2)
        drop(a[i]);
    for (int i = 0; i < 32; i += 2) {
        scribble(a[i], i % 4 ? 1 : 2, 0x50 + i);
        scribble(a[i] + 8, i % 8 ? 1 : 2, 0x30 + i);
    }
    harvest(n);
}

/* A free chunk's own first words are read, and put back around a second free. */
static void fastbin_dup_with_restored_words(const void *arg)
{
    size_t n = SIZE(arg);
    take_filler(filler, n);
    char *a = take(n), *b = take(n);
    drop_filler(filler);
    drop(a);
    size_t was[2] = {words(a)[0], words(a)[1]};
    words(a)[1] = 0;
    drop(b);
    wrong_free(a);
    words(a)[0] = was[0];
    words(a)[1] = was[1];
    for (int i = 0; i < FILL; i++)
        take(n);
    harvest(n);
}

static void *free_it(void *p)
{
    free(p);
    return NULL;
}

/* The first free through one thread's cache, the second through another's. */
static void dup_between_threads(const void *arg)
{
    size_t n = SIZE(arg);
    char *a = take(n);
    pthread_t t;
    drop(a);
    words(a)[1] = 0;
    pthread_create(&t, NULL, free_it, again(a));
    pthread_join(t, NULL);
    harvest(n);
}

QTEST("fastbin dup does not work, with the traces destroyed or put back (M-50)")
{
    try_all(fastbin_dup);
    try_all(fastbin_dup_without_trace);
    try_all(fastbin_dup_with_restored_words);
}

QTEST("fastbin dup into stack does not work (M-50)")
{
    try_all(fastbin_dup_into_stack);
}

QTEST("fastbin dup consolidate does not work (M-50)")
{
    try_all(fastbin_dup_consolidate);
}

QTEST("fastbin reverse into tcache does not work (M-50)")
{
    try_all(fastbin_reverse_into_tcache);
}

QTEST("house of spirit does not work (M-50)")
{
    try_all(house_of_spirit);
}

QTEST("house of mind does not work (M-50)")
{
    try_all(house_of_mind);
}

QTEST("a partial overwrite in the way of house of roman does not work (M-50)")
{
    try_all(house_of_roman);
}

QTEST("a double free through the caches of two threads does not work (M-50)")
{
    try_all(dup_between_threads);
}

QTEST_MAIN
