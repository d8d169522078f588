/*
 * A second free is found whatever happened in between (M-50): at the latest when the block would be handed out twice.
 */
#include "safety.h"

struct bug {
    size_t n;
    void (*between)(void *p, size_t n);
};

static void free_twice(const void *arg)
{
    const struct bug *b = arg;
    void *p = malloc(b->n);
    QT_CHECK(p);
    free(p);
    if (b->between)
        b->between(p, b->n);
    safety->named = p;
    free(again(p));
}

static void check(void (*between)(void *p, size_t n))
{
    for_sizes(n)
    {
        struct bug b = {n, between};
        dies(free_twice, &b, safety_is_cached(n) ? DOUBLE_FREE : FREED_BEFORE, "size %zu", n);
    }
    safety_done();
}

QTEST("a block freed twice at once is found, at every size (M-50)")
{
    check(NULL);
}

static void *other;

static void free_another(void *p, size_t n)
{
    (void)p, (void)n;
    free(other);
}

static void free_twice_around(const void *arg)
{
    const struct bug *b = arg;
    other = malloc(b->n);
    free_twice(b);
}

QTEST("a block freed twice with another one freed in between is found (M-50)")
{
    for_sizes(n)
    {
        struct bug b = {n, free_another};
        dies(free_twice_around, &b, safety_is_cached(n) ? DOUBLE_FREE : FREED_BEFORE, "size %zu", n);
    }
    safety_done();
}

/* 10000 blocks of other sizes come and go; no two sizes share a class with n. */
static void busy(void *p, size_t n)
{
    static void *live[64];
    unsigned state = 12345;
    (void)p;
    for (int i = 0; i < 10000; i++) {
        state = state * 1103515245 + 12345;
        size_t m = (state >> 8) % 3 ? (state >> 12) % 1000 : (state >> 12) % 50000;
        void **slot = &live[(state >> 4) % 64];
        free(*slot);
        *slot = m / 64 == n / 64 ? NULL : malloc(m);
    }
    for (int i = 0; i < 64; i++)
        free(live[i]);
}

QTEST("a block freed twice with 10000 other calls in between is found (M-50)")
{
    for_sizes(n)
    {
        struct bug b = {n, busy};
        dies(free_twice, &b, FREED_BEFORE, "size %zu", n);
    }
    safety_done();
}

static void fill_caches(void *p, size_t n)
{
    static void *block[300];
    (void)p;
    for (int i = 0; i < 300; i++)
        block[i] = malloc(n == 40 ? 72 : 40);
    for (int i = 0; i < 300; i++)
        free(block[i]);
}

QTEST("a block freed twice with a cache overflowing in between is found (M-50)")
{
    for_sizes(n)
    {
        struct bug b = {n, fill_caches};
        dies(free_twice, &b, FREED_BEFORE, "size %zu", n);
    }
    safety_done();
}

/* After so many of the same size, the block has left the thread's cache. */
static void overflow_own_cache(const void *arg)
{
    static void *block[300];
    size_t n = *(const size_t *)arg;
    for (int i = 0; i < 300; i++)
        QT_CHECK(block[i] = malloc(n));
    for (int i = 0; i < 300; i++)
        free(block[i]);
    safety->named = block[137];
    free(block[137]);
}

QTEST("a second free is found in every store that a free block can be in (M-50)")
{
    for_sizes(n) dies(overflow_own_cache, &n, FREED_BEFORE, "size %zu", n);
    safety_done();
}

/* Two neighbours, freed: merged, or in a list each, or in a cache. */
static void consolidate(const void *arg)
{
    size_t n = *(const size_t *)arg;
    static char *block[100];
    for (int i = 0; i < 100; i++)
        QT_CHECK(block[i] = malloc(n));
    for (int i = 99; i >= 0; i--)
        free(block[i]);
    free(malloc(400000));
    malloc_trim(0);
    safety->named = block[50];
    free(block[50]);
}

QTEST("a second free is found after the block was merged and given back (M-06, M-18, M-50)")
{
    for_sizes(n) dies(consolidate, &n, FREED_BEFORE, "size %zu", n);
    safety_done();
}

struct merge {
    size_t n;
    const char *order; /* in which the three neighbours are freed */
    int freed_again;   /* which */
};

/* Three side by side are freed and merged; a larger block takes their place, and nothing is written to it. */
static void become_part(const void *arg)
{
    const struct merge *m = arg;
    static char *block[40];
    char **three = block;
    for (int i = 0; i < 40; i++)
        QT_CHECK(block[i] = malloc(m->n));
    size_t stride = malloc_usable_size(block[0]) + 8;
    while (three < block + 36 && (three[1] != three[0] + stride || three[2] != three[1] + stride))
        three++;
    if (three == block + 36)
        _exit(77);
    for (int i = 0; i < 3; i++)
        free(three[m->order[i] - '0']);
    malloc_trim(0); /* what the thread keeps goes home */
    char *again_free = three[m->freed_again], *large;
    int tries = 50;
    do
        large = malloc(2 * m->n + 32);
    while ((again_free <= large || again_free >= large + 2 * m->n) && --tries);
    if (!tries)
        _exit(77);
    safety->named = again_free;
    free(again(again_free));
}

QTEST("a block that was merged with others is not freed again when a larger one has its place (M-06, M-50)")
{
    static const size_t sizes[] = {1528, 3000, 5000, 10000, 20000, 30000};
    static const char *const orders[] = {"012", "021", "102", "120", "201", "210"};
    int looks = 0;
    for (size_t i = 0; i < 6; i++)
        for (int k = 0; k < 12; k++) {
            struct merge m = {sizes[i], orders[k / 2], 1 + k % 2};
            struct safety_end end = safety_run(become_part, &m);
            if (WIFEXITED(end.status) && WEXITSTATUS(end.status) == 77)
                continue;
            looks++;
            dies(become_part, &m, FREED_BEFORE, "size %zu, freed %s, again %d", m.n, m.order, m.freed_again);
        }
    if (looks == 0)
        QT_SKIP("no chunks of these sizes");
    safety_done();
}

/* What comes out of a fast bin looks like the program's for a moment; then it is merged. */
static void become_part_from_fast_bins(const void *unused)
{
    enum { COUNT = 300, FREED = 150, SIZE = 100 };
    static char *block[COUNT];
    (void)unused;
    mallopt(M_MXFAST, 160);
    for (int i = 0; i < COUNT; i++)
        QT_CHECK(block[i] = malloc(SIZE));
    size_t stride = malloc_usable_size(block[0]) + 8;
    char **three = block + FREED + 1;
    while (three < block + COUNT - 4 && (three[1] != three[0] + stride || three[2] != three[1] + stride))
        three++;
    for (int i = 0; i < FREED; i++)
        free(block[i]); /* the thread keeps no more of this size */
    for (int i = 2; i >= 0; i--)
        free(three[i]);
    free(malloc(2000)); /* a request that is not small empties the fast bins */
    char *again_free = three[2], *large;
    int tries = 50;
    do
        large = malloc(3 * stride - 8);
    while ((again_free <= large || again_free >= large + 3 * stride) && --tries);
    if (!tries)
        _exit(77);
    safety->named = again_free;
    free(again(again_free));
}

QTEST(
    "a block that was merged out of a fast bin is not freed again when a larger one has its place (M-18, M-50)")
{
    struct safety_end end = safety_run(become_part_from_fast_bins, NULL);
    if (WIFEXITED(end.status) && WEXITSTATUS(end.status) == 77)
        QT_SKIP("no chunks of this size");
    dies(become_part_from_fast_bins, NULL, FREED_BEFORE, "out of a fast bin");
    safety_done();
}

static void realloc_moved(const void *arg)
{
    size_t n = *(const size_t *)arg;
    char *p = malloc(n), *fence = malloc(n), *q;
    q = realloc(again(p), n * 4 + 5000);
    QT_CHECK(q && fence);
    if (q == p)
        _exit(0);
    safety->named = p;
    free(again(p));
}

static void realloc_of_freed(const void *arg)
{
    void *p = malloc(*(const size_t *)arg);
    free(p);
    safety->named = p;
    realloc(again(p), 2 * *(const size_t *)arg);
}

static void realloc_to_nothing(const void *arg)
{
    void *p = malloc(*(const size_t *)arg);
    realloc(p, 0);
    safety->named = p;
    free(again(p));
}

static void usable_of_freed(const void *arg)
{
    void *p = malloc(*(const size_t *)arg);
    free(p);
    safety->named = p;
    malloc_usable_size(again(p));
}

QTEST("a block that realloc moved away is not freed again (M-50)")
{
    for_sizes(n)
    {
        struct safety_end end = safety_run(realloc_moved, &n);
        if (end.status != 0) /* 0: it grew in place */
            dies(realloc_moved, &n, FREED_BEFORE, "size %zu", n);
    }
    safety_done();
}

QTEST("realloc and malloc_usable_size of a free block are found; realloc(p, 0) frees (M-50)")
{
    for_sizes(n)
    {
        const char *re = safety_is_cached(n) ? DOUBLE_FREE : FREED_BEFORE;
        dies(realloc_of_freed, &n, re, "realloc, size %zu", n);
        dies(usable_of_freed, &n, re, "malloc_usable_size, size %zu", n);
        dies(realloc_to_nothing, &n, re, "realloc to 0, size %zu", n);
    }
    safety_done();
}

struct aligned {
    size_t alignment, n;
};

static void free_aligned_twice(const void *arg)
{
    const struct aligned *a = arg;
    void *p = memalign(a->alignment, a->n);
    free(p);
    safety->named = p;
    free(again(p));
}

QTEST("an aligned block freed twice is found (M-50)")
{
    static const size_t sizes[] = {1, 100, 1000, 5000, 100000, 1000000};
    for (size_t alignment = 16; alignment <= 1 << 20; alignment *= 4)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            struct aligned a = {alignment, sizes[i]};
            dies(free_aligned_twice, &a, FREED_BEFORE, "alignment %zu, size %zu", alignment, sizes[i]);
        }
    safety_done();
}

QTEST_MAIN
