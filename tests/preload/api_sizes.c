/*
 * Sizes (M-01, M-40): zero, one, every border of a size class, thresholds, the limits of ptrdiff_t and
 * size_t; blocks are aligned, do not overlap, and are wholly theirs up to the usable size.
 */
/* timeout: 120 */
#include "heap.h"
#include "pattern.h"
#include "qtest.h"

struct block {
    unsigned char *p;
    size_t n, usable;
};

enum { COPIES = 5, BLOCKS_MAX = HEAP_SIZES_MAX * COPIES };

static size_t sizes[HEAP_SIZES_MAX];
static struct block blocks[BLOCKS_MAX];

static void take(struct block *b, size_t n)
{
    b->p = heap.malloc(n);
    b->n = n;
    QT_CHECKF(b->p, "size %zu", n);
    QT_CHECKF(heap_is_aligned(b->p, 16), "%p, size %zu", (void *)b->p, n);
    b->usable = heap.malloc_usable_size(b->p);
    QT_CHECKF(b->usable >= n, "usable %zu, size %zu", b->usable, n);
}

static void fill(struct block *b)
{
    pattern_fill(b->p, b->usable, heap_addr(b->p));
}

static void verify(const struct block *b)
{
    size_t at = pattern_check(b->p, b->usable, heap_addr(b->p));
    QT_CHECKF(at == b->usable, "byte %zu of a block of %zu (usable %zu) changed", at, b->n, b->usable);
    QT_CHECKF(heap.malloc_usable_size(b->p) == b->usable, "size %zu: usable was %zu, now %zu", b->n,
              b->usable, heap.malloc_usable_size(b->p));
}

/* Shell sort by address: qsort may allocate. */
static void sort_by_address(struct block *b, size_t count)
{
    for (size_t gap = count / 2; gap; gap = gap == 2 ? 1 : gap * 5 / 11)
        for (size_t i = gap; i < count; i++) {
            struct block moving = b[i];
            size_t j = i;
            for (; j >= gap && b[j - gap].p > moving.p; j -= gap)
                b[j] = b[j - gap];
            b[j] = moving;
        }
}

static void check_disjoint(struct block *b, size_t count)
{
    sort_by_address(b, count);
    for (size_t i = 1; i < count; i++) {
        QT_CHECKF(b[i - 1].p != b[i].p, "two blocks at %p", (void *)b[i].p);
        QT_CHECKF(b[i - 1].p + b[i - 1].usable <= b[i].p, "%p of usable %zu reaches into %p",
                  (void *)b[i - 1].p, b[i - 1].usable, (void *)b[i].p);
    }
}

/* Some blocks of every border size, all live, filled, verified; then freed in random order, the rest
   verified. */
static void every_size(size_t limit, int copies, uint64_t seed)
{
    size_t kinds = heap_sizes(sizes, limit), count = 0;
    struct rng r = rng_seeded(seed);
    for (int copy = 0; copy < copies; copy++)
        for (size_t i = 0; i < kinds; i++)
            take(&blocks[count++], sizes[i]);
    check_disjoint(blocks, count);
    for (size_t i = 0; i < count; i++)
        fill(&blocks[i]);
    for (size_t left = count; left; left--) {
        size_t i = rng_below(&r, left);
        verify(&blocks[i]);
        heap.free(blocks[i].p);
        blocks[i] = blocks[left - 1];
    }
}

QTEST(
    "no two live blocks overlap and each is writable to its usable size, at every class border (M-01, M-40)")
{
    every_size(SIZE_MAX, COPIES, 1);
}

QTEST("memory freed in random order is handed out again without overlap (M-06, M-40)")
{
    for (uint64_t seed = 0; seed < 40; seed++)
        every_size(seed % 2 ? 70 * KIB : 2000, COPIES, seed);
}

QTEST("usable size is constant over a block's life, whatever happens beside it (M-40)")
{
    enum { LIVE = 600 };
    struct rng r = rng_seeded(2);
    for (int step = 0; step < 60000; step++) {
        struct block *b = &blocks[rng_below(&r, LIVE)];
        if (b->p) {
            verify(b);
            heap.free(b->p);
        }
        take(b, rng_log(&r, 1, rng_one_in(&r, 10) ? 300000 : 2000));
        fill(b);
    }
    for (int i = 0; i < LIVE; i++)
        if (blocks[i].p)
            verify(&blocks[i]);
}

QTEST("malloc(0) gives unique blocks that are not NULL (M-40)")
{
    enum { ZEROS = 4000 };
    for (int i = 0; i < ZEROS; i++)
        take(&blocks[i], 0);
    check_disjoint(blocks, ZEROS);
    for (int i = 0; i < ZEROS; i++)
        heap.free(blocks[i].p);
    void *p = heap.calloc(0, 10), *q = heap.calloc(10, 0), *s = heap.realloc(NULL, 0),
         *t = heap.reallocarray(NULL, 0, 8);
    QT_CHECK(p && q && s && t && p != q && p != s && p != t && q != s && q != t && s != t);
    heap.free(p), heap.free(q), heap.free(s), heap.free(t);
}

QTEST("malloc_usable_size(NULL) is 0 (M-40)")
{
    QT_EQ(heap.malloc_usable_size(NULL), 0);
}

QTEST("requests around the mmap threshold are met and whole (M-21)")
{
    static const size_t border[] = {128 * KIB, 256 * KIB, MIB, 32 * MIB, 64 * MIB};
    for (size_t i = 0; i < sizeof border / sizeof *border; i++)
        for (long d = -40; d <= 40; d += d == -1 || d == 0 ? 1 : 3) {
            struct block b[3];
            for (int k = 0; k < 3; k++)
                take(&b[k], border[i] + (size_t)d);
            check_disjoint(b, 3);
            for (int k = 0; k < 3; k++) {
                memset(b[k].p, 'a' + k, 64);
                memset(b[k].p + b[k].usable - 64, 'a' + k, 64);
            }
            for (int k = 0; k < 3; k++) {
                QT_EQ(pattern_other_byte(b[k].p, 64, (unsigned char)('a' + k)), 64);
                QT_EQ(pattern_other_byte(b[k].p + b[k].usable - 64, 64, (unsigned char)('a' + k)), 64);
                heap.free(b[k].p);
            }
        }
}

/* ------------------------------------------------- what cannot be had */

static const size_t too_big[] = {PTRDIFF_MAX - 1024,
                                 PTRDIFF_MAX - 17,
                                 PTRDIFF_MAX - 1,
                                 PTRDIFF_MAX,
                                 (size_t)PTRDIFF_MAX + 1,
                                 (size_t)PTRDIFF_MAX + 17,
                                 SIZE_MAX - 4096,
                                 SIZE_MAX - 65536,
                                 SIZE_MAX - 65535,
                                 SIZE_MAX - 32,
                                 SIZE_MAX - 31,
                                 SIZE_MAX - 17,
                                 SIZE_MAX - 16,
                                 SIZE_MAX - 15,
                                 SIZE_MAX - 8,
                                 SIZE_MAX - 7,
                                 SIZE_MAX - 1,
                                 SIZE_MAX,
                                 (size_t)1 << 62,
                                 ((size_t)1 << 62) + 1};

#define REFUSED(call)                                               \
    do {                                                            \
        errno = 0;                                                  \
        QT_CHECKF((call) == NULL, "size %zu", n);                   \
        QT_CHECKF(errno == ENOMEM, "errno %d, size %zu", errno, n); \
    } while (0)

QTEST("a size beyond the address space gives NULL and ENOMEM in every call (M-25, M-40)")
{
    for (size_t i = 0; i < sizeof too_big / sizeof *too_big; i++) {
        size_t n = too_big[i];
        REFUSED(heap.malloc(n));
        REFUSED(heap.calloc(1, n));
        REFUSED(heap.calloc(n, 1));
        REFUSED(heap.realloc(NULL, n));
        REFUSED(heap.reallocarray(NULL, 1, n));
        REFUSED(heap.reallocarray(NULL, n, 1));
        REFUSED(heap.memalign(64, n));
        REFUSED(heap.aligned_alloc(4096, n));
        REFUSED(heap.valloc(n));
        REFUSED(heap.pvalloc(n));
    }
}

QTEST("after refused requests every size can still be had (M-25)")
{
    for (size_t i = 0; i < sizeof too_big / sizeof *too_big; i++)
        QT_EQ(heap.malloc(too_big[i]), 0);
    every_size(100 * KIB, 2, 3);
    for (size_t i = 0; i < sizeof too_big / sizeof *too_big; i++)
        QT_EQ(heap.calloc(too_big[i], 1), 0);
    every_size(100 * KIB, 2, 4);
}

/* How much of it can be had as blocks of n. */
static size_t exhaust(size_t n, void ***first)
{
    size_t count = 0;
    for (void **p; (p = heap.malloc(n)); count++, *first = p)
        *p = *first;
    QT_EQ(errno, ENOMEM);
    return count * n;
}

static void give_chain(void **first)
{
    while (first) {
        void **next = *first;
        heap.free(first);
        first = next;
    }
}

QTEST("a program that limits its own address space gets most of that, in every size, and no more (M-25)")
{
    static const size_t some[] = {100, 1000, 5000, 100000, MIB};
    struct rlimit limit = {512 * MIB, 512 * MIB};
    QT_EQ(setrlimit(RLIMIT_AS, &limit), 0);
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        void **first = NULL;
        size_t got = exhaust(some[i], &first);
        QT_CHECKF(got > 300 * MIB && got < 512 * MIB, "%zu MiB in blocks of %zu", got / MIB, some[i]);
        give_chain(first);
    }
    every_size(100 * KIB, 2, 5);
}

QTEST("a limit of the data segment gives ENOMEM in every size, and what was freed can be had again (M-25)")
{
    static const size_t some[] = {100, 1000, 5000, 100000, MIB};
    struct rlimit limit = {256 * MIB, 256 * MIB};
    QT_EQ(setrlimit(RLIMIT_DATA, &limit), 0);
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        void **first = NULL;
        size_t got = exhaust(some[i], &first);
        QT_CHECKF(got > 100 * MIB && got < 256 * MIB, "%zu MiB in blocks of %zu", got / MIB, some[i]);
        give_chain(first);
    }
    every_size(100 * KIB, 2, 6);
}

QTEST("a large block costs memory only where it is touched (M-24)")
{
    long before = qt_rss_kib();
    char *p = heap.malloc(512 * MIB), *q = heap.calloc(512, MIB);
    QT_CHECK(p && q);
    QT_CHECKF(qt_rss_kib() - before < 2048, "grew by %ld KiB untouched", qt_rss_kib() - before);
    for (size_t i = 0; i < 8 * MIB; i += 4096)
        p[64 * MIB + i] = q[64 * MIB + i] = 1;
    /* huge pages may round what was touched up to 2 MiB on each side, no more */
    QT_CHECKF(qt_rss_kib() - before < 28 * 1024, "grew by %ld KiB for 16 MiB", qt_rss_kib() - before);
    heap.free(p);
    heap.free(q);
    QT_CHECKF(qt_rss_kib() - before < 4096, "%ld KiB left after free", qt_rss_kib() - before);
}

QTEST_MAIN
