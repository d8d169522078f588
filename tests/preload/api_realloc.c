/*
 * realloc and reallocarray (M-40): between every pair of size regimes the contents are kept and no neighbour
 * is touched; a failure keeps the old block; size 0 frees.
 */
/* timeout: 120 */
#include "heap.h"
#include "pattern.h"
#include "qtest.h"

#include <sys/resource.h>

static const size_t sizes[] = {1,      16,     24,     25,     40,     100,     500,    1000,   1008,
                               1016,   1017,   1024,   1025,   1040,   1041,    2000,   4096,   5000,
                               20000,  32768,  32769,  65536,  100000, 131048,  131056, 131072, 131073,
                               135000, 200000, 262144, 500000, MIB,    MIB + 1, 5 * MIB};
enum { SIZES = sizeof sizes / sizeof *sizes, EDGE = 16384 };

/* Patterns cover the first EDGE bytes and the last EDGE of the part that must be kept. */
static void fill(void *p, size_t n, uint64_t seed)
{
    pattern_fill_range(p, 0, n < EDGE ? n : EDGE, seed);
    pattern_fill_range(p, n < EDGE ? 0 : n - EDGE, n, seed);
}

static void verify(const void *p, size_t from, size_t n, uint64_t seed)
{
    size_t at = pattern_check_range(p, from, n, seed);
    QT_CHECKF(at == n, "byte %zu of %zu changed (seed %zu)", at, n, (size_t)seed);
}

static void *take(int how, size_t n)
{
    void *p = how == 0   ? heap.malloc(n)
              : how == 1 ? heap.calloc(1, n)
                         : heap.memalign((size_t)32 << (2 * how), n);
    QT_CHECK(p);
    return p;
}

/* A neighbour of the same size before and one after, so that growing in place meets live blocks in half the
   cases. */
static void one_pair(int how, size_t old_n, size_t new_n)
{
    size_t keep = old_n < new_n ? old_n : new_n;
    void *left = take(0, old_n), *p = take(how, old_n), *right = keep % 2 ? NULL : take(0, old_n);
    fill(left, old_n, 1);
    pattern_fill_range(p, 0, keep < EDGE ? keep : EDGE, 2);
    pattern_fill_range(p, keep < EDGE ? 0 : keep - EDGE, keep, 2);
    if (right)
        fill(right, old_n, 3);

    void *q = heap.realloc(p, new_n);
    QT_CHECKF(q && heap_is_aligned(q, 16), "%zu -> %zu", old_n, new_n);
    QT_CHECKF(heap.malloc_usable_size(q) >= new_n, "%zu -> %zu", old_n, new_n);
    verify(q, 0, keep < EDGE ? keep : EDGE, 2);
    verify(q, keep < EDGE ? 0 : keep - EDGE, keep, 2);
    size_t usable = heap.malloc_usable_size(q);
    fill(q, usable, 4);
    verify(left, 0, old_n < EDGE ? old_n : EDGE, 1);
    if (right)
        verify(right, 0, old_n < EDGE ? old_n : EDGE, 3);
    heap.free(left);
    heap.free(right);
    verify(q, 0, usable < EDGE ? usable : EDGE, 4);
    verify(q, usable < EDGE ? 0 : usable - EDGE, usable, 4);
    heap.free(q);
}

QTEST("realloc keeps contents and neighbours between every pair of sizes and origins (M-40)")
{
    for (int how = 0; how < 6; how++)
        for (int i = 0; i < SIZES; i++)
            for (int j = 0; j < SIZES; j++)
                one_pair(how, sizes[i], sizes[j]);
}

QTEST("a chain of reallocs up and down keeps what both sizes share (M-40)")
{
    enum { CHAINS = 50 };
    static void *block[CHAINS];
    static size_t size[CHAINS];
    struct rng r = rng_seeded(5);
    for (int step = 0; step < 60000; step++) {
        int i = (int)rng_below(&r, CHAINS);
        size_t n = rng_log(&r, 1, rng_one_in(&r, 50) ? 2 * MIB : rng_one_in(&r, 5) ? 60000 : 2000);
        size_t keep = n < size[i] ? n : size[i];
        void *p = step % 2 ? heap.realloc(block[i], n) : heap.reallocarray(block[i], n, 1);
        QT_CHECK(p);
        verify(p, 0, keep < EDGE ? keep : EDGE, i);
        fill(p, n, i);
        block[i] = p;
        size[i] = n;
    }
    for (int i = 0; i < CHAINS; i++)
        heap.free(block[i]);
}

QTEST("realloc to the usable size does not move a small block (M-40)")
{
    for (int i = 0; i < SIZES && sizes[i] <= 2000; i++) {
        void *p = heap.malloc(sizes[i]);
        size_t usable = heap.malloc_usable_size(p);
        QT_CHECK(heap.realloc(p, usable) == p);
        QT_EQ(heap.malloc_usable_size(p), usable);
        heap.free(p);
    }
}

QTEST("a block that grows in 1000 steps to 30 MiB is not copied at each step (M-06, M-21)")
{
    static const size_t ends[] = {60000, 120000, 30 * MIB};
    for (size_t e = 0; e < sizeof ends / sizeof *ends; e++) {
        size_t step = ends[e] / 1000, n = step;
        char *p = heap.malloc(n);
        clock_t start = clock(); /* copying each time would be 15 GB */
        for (; n < ends[e]; n += step) {
            p = heap.realloc(p, n);
            p[0] = p[n - 1] = 'x';
        }
        QT_CHECKF(clock() - start < 2 * CLOCKS_PER_SEC, "%ld us of CPU time", (long)(clock() - start));
        heap.free(p);
    }
}

QTEST("realloc(NULL, n) is malloc(n) (M-40)")
{
    for (int i = 0; i < SIZES; i++) {
        void *p = heap.realloc(NULL, sizes[i]);
        QT_CHECK(p && heap_is_aligned(p, 16) && heap.malloc_usable_size(p) >= sizes[i]);
        fill(p, sizes[i], 6);
        heap.free(p);
    }
}

QTEST("realloc(p, 0) frees p and returns NULL (M-40)")
{
    long before = qt_rss_kib();
    for (int i = 0; i < SIZES; i++)
        for (int round = 0; round < (sizes[i] < 5000 ? 100000 : 300); round++) {
            char *p = heap.malloc(sizes[i]);
            p[0] = p[sizes[i] - 1] = 1;
            QT_EQ(round % 2 ? heap.realloc(p, 0) : heap.reallocarray(p, 0, 7), 0);
        }
    QT_CHECKF(qt_rss_kib() - before < 20 * 1024, "grew by %ld KiB", qt_rss_kib() - before);
}

QTEST("a realloc that fails keeps the old block as it was (M-25, M-40)")
{
    static const size_t huge[] = {PTRDIFF_MAX - 100, PTRDIFF_MAX,   (size_t)PTRDIFF_MAX + 1,
                                  SIZE_MAX - 31,     SIZE_MAX - 15, SIZE_MAX};
    for (int how = 0; how < 6; how++)
        for (int i = 0; i < SIZES; i++) {
            void *p = take(how, sizes[i]);
            size_t usable = heap.malloc_usable_size(p);
            fill(p, usable, 7);
            for (size_t h = 0; h < sizeof huge / sizeof *huge; h++) {
                errno = 0;
                QT_EQ(heap.realloc(p, huge[h]), 0);
                QT_EQ(errno, ENOMEM);
                errno = 0;
                QT_EQ(heap.reallocarray(p, huge[h], 2), 0);
                QT_EQ(errno, ENOMEM);
            }
            QT_EQ(heap.malloc_usable_size(p), usable);
            verify(p, 0, usable < EDGE ? usable : EDGE, 7);
            verify(p, usable < EDGE ? 0 : usable - EDGE, usable, 7);
            heap.free(p);
        }
}

QTEST("a realloc to less does not fail, whatever there is no memory for (M-25, M-40)")
{
    enum { COUNT = 64 };
    static const size_t from[] = {500, 1000, 3000, 100000, 1000000}, to[] = {1, 24, 200};
    void *blocks[sizeof from / sizeof *from][COUNT];
    for (unsigned i = 0; i < sizeof from / sizeof *from; i++)
        for (int k = 0; k < COUNT; k++)
            memset(blocks[i][k] = heap.malloc(from[i]), k + 1, from[i]);
    struct rlimit none = {1, 1};
    QT_EQ(setrlimit(RLIMIT_AS, &none), 0);
    if (mmap(NULL, MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
        QT_SKIP("no limit is kept here (an emulator?)");
    for (size_t n = 1 << 20; n >= 8; n -= n > 1024 ? n / 4 : 8)
        while (heap.malloc(n))
            continue;
    for (unsigned i = 0; i < sizeof from / sizeof *from; i++)
        for (int k = 0; k < COUNT; k++) {
            unsigned char *p = heap.realloc(blocks[i][k], to[k % 3]);
            QT_CHECKF(p, "%zu to %zu", from[i], to[k % 3]);
            QT_EQ(p[0], k + 1);
            QT_EQ(p[to[k % 3] - 1], k + 1);
        }
}

QTEST("reallocarray refuses a product that overflows, with ENOMEM (M-40)")
{
    static const size_t factor[][2] = {{SIZE_MAX, 2},
                                       {2, SIZE_MAX},
                                       {SIZE_MAX / 2 + 1, 2},
                                       {(size_t)1 << 32, (size_t)1 << 32},
                                       {SIZE_MAX, SIZE_MAX},
                                       {(size_t)1 << 63, 16},
                                       {3, SIZE_MAX / 3 + 1},
                                       {SIZE_MAX / 7 + 1, 7},
                                       {0x100000001, 0xffffffff8}};
    for (size_t i = 0; i < sizeof factor / sizeof *factor; i++) {
        errno = 0;
        QT_EQ(heap.reallocarray(NULL, factor[i][0], factor[i][1]), 0);
        QT_EQ(errno, ENOMEM);
    }
}

QTEST("realloc of a mapped block grows and shrinks with its contents (M-21)")
{
    size_t n = 4 * MIB;
    char *p = heap.malloc(n);
    QT_CHECK(p);
    for (size_t i = 0; i < n; i += 4096)
        memcpy(p + i, &i, sizeof i);
    static const size_t next[] = {64 * MIB, 8 * MIB, 200 * MIB, 4 * MIB, 5 * MIB, 1 * MIB};
    for (size_t k = 0; k < sizeof next / sizeof *next; k++) {
        size_t keep = n < next[k] ? n : next[k];
        p = heap.realloc(p, next[k]);
        QT_CHECK(p);
        for (size_t i = 0; i < keep && i < 4 * MIB; i += 4096)
            QT_CHECKF(memcmp(p + i, &i, sizeof i) == 0, "page at %zu lost, step %zu", i, k);
        p[next[k] - 1] = 'e';
        n = next[k];
    }
    heap.free(p);
}

QTEST_MAIN
