/*
 * Aligned allocation (M-40): every alignment from 1 to 2^30, invalid ones, and what the blocks can do
 * afterwards. Semantics are glibc 2.36's: aligned_alloc is memalign, which rounds an alignment up to a power
 * of two. For an alignment that is not a power of two C17 lets aligned_alloc fail; then errno must be EINVAL.
 */
/* timeout: 120 */
#include "heap.h"
#include "pattern.h"
#include "qtest.h"

static const size_t sizes[] = {0,     1,      15,     16,     17,   24,      25,     100,   1000,
                               1016,  1017,   1024,   1040,   4080, 4096,    5000,   32768, 65520,
                               65536, 100000, 131072, 200000, MIB,  MIB + 1, 5 * MIB};
enum { SIZES = sizeof sizes / sizeof *sizes };

/* A block of a large alignment may be mostly address space: only its ends are touched. */
static void use(void *p, size_t n, size_t alignment)
{
    size_t usable = heap.malloc_usable_size(p);
    QT_CHECKF(p, "alignment %zu, size %zu", alignment, n);
    QT_CHECKF(heap_is_aligned(p, alignment), "%p, alignment %zu, size %zu", p, alignment, n);
    QT_CHECKF(heap_is_aligned(p, 16), "%p, alignment %zu, size %zu", p, alignment, n);
    QT_CHECKF(usable >= n, "usable %zu, alignment %zu, size %zu", usable, alignment, n);
    pattern_fill(p, n < 8192 ? n : 8192, n);
    if (usable)
        ((char *)p)[usable - 1] = 'e';
}

static void *by_posix(size_t alignment, size_t n)
{
    void *p = NULL;
    QT_CHECKF(heap.posix_memalign(&p, alignment, n) == 0, "alignment %zu, size %zu", alignment, n);
    return p;
}

static void each_alignment(void *(*take)(size_t, size_t), size_t first)
{
    for (size_t alignment = first; alignment <= GIB; alignment *= 2)
        for (int i = 0; i < SIZES; i++) {
            void *p = take(alignment, sizes[i]);
            use(p, sizes[i], alignment);
            heap.free(p);
        }
}

QTEST("memalign serves every power of two to 2^30 at every size (M-40)")
{
    each_alignment(heap.memalign, 1);
}
QTEST("aligned_alloc serves every power of two to 2^30 at every size (M-40)")
{
    each_alignment(heap.aligned_alloc, 1);
}
QTEST("posix_memalign serves every power of two from sizeof(void *) to 2^30 at every size (M-40)")
{
    each_alignment(by_posix, sizeof(void *));
}

QTEST("memalign rounds an alignment that is no power of two up to one (M-40)")
{
    static const size_t odd[] = {0, 3, 5, 17, 24, 33, 48, 100, 1000, 4097, 5000, 65537, 100000};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        for (int s = 0; s < SIZES; s++) {
            size_t rounded = 1;
            while (rounded < odd[i])
                rounded *= 2;
            void *p = heap.memalign(odd[i], sizes[s]);
            use(p, sizes[s], rounded);
            heap.free(p);
        }
}

QTEST("memalign refuses an alignment above the greatest power of two with EINVAL (M-40)")
{
    static const size_t bad[] = {SIZE_MAX / 2 + 2, SIZE_MAX - 1, SIZE_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        errno = 0;
        QT_EQ(heap.memalign(bad[i], 100), 0);
        QT_EQ(errno, EINVAL);
    }
}

QTEST("aligned_alloc of an invalid alignment rounds it up or fails with EINVAL (M-40)")
{
    static const size_t odd[] = {3, 17, 24, 33, 48, 100, 5000, 65537, SIZE_MAX / 2 + 2, SIZE_MAX};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        errno = 0;
        void *p = heap.aligned_alloc(odd[i], 100);
        if (p) {
            size_t rounded = 1;
            while (rounded < odd[i])
                rounded *= 2;
            use(p, 100, rounded);
            heap.free(p);
        } else {
            QT_EQ(errno, EINVAL);
        }
    }
}

QTEST(
    "posix_memalign refuses alignments that are no power of two times sizeof(void *) and leaves the result alone (M-40)")
{
    static const size_t bad[] = {
        0, 1, 2, 4, 3, 7, 9, 12, 24, 40, 48, 56, 100, 1000, 4097, 65537, SIZE_MAX / 2 + 2, SIZE_MAX};
    int canary;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        void *p = &canary;
        QT_CHECKF(heap.posix_memalign(&p, bad[i], 100) == EINVAL, "alignment %zu", bad[i]);
        QT_CHECK(p == &canary);
    }
}

QTEST("aligned requests that cannot be met fail with ENOMEM (M-40)")
{
    static const size_t huge[] = {(size_t)PTRDIFF_MAX - 16, PTRDIFF_MAX, (size_t)PTRDIFF_MAX + 1,
                                  SIZE_MAX - 4096, SIZE_MAX};
    int canary;
    for (size_t i = 0; i < sizeof huge / sizeof *huge; i++)
        for (size_t alignment = 1; alignment <= SIZE_MAX / 2; alignment *= 2) {
            void *p = &canary;
            errno = 0;
            QT_EQ(heap.memalign(alignment, huge[i]), 0);
            QT_EQ(errno, ENOMEM);
            if (alignment >= sizeof(void *)) {
                QT_EQ(heap.posix_memalign(&p, alignment, huge[i]), ENOMEM);
                QT_CHECK(p == &canary);
            }
        }
    errno = 0;
    QT_EQ(heap.memalign(SIZE_MAX / 2 + 1, 1), 0); /* a power of two, but half the address space */
    QT_EQ(errno, ENOMEM);
    QT_EQ(heap.valloc(SIZE_MAX), 0);
    errno = 0;
    QT_EQ(heap.pvalloc(SIZE_MAX), 0);
    QT_EQ(errno, ENOMEM);
    errno = 0;
    QT_EQ(heap.pvalloc(SIZE_MAX - 4095), 0);
    QT_EQ(errno, ENOMEM);
}

QTEST("valloc aligns to the page (M-40)")
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < SIZES; i++) {
        void *p = heap.valloc(sizes[i]);
        use(p, sizes[i], page);
        heap.free(p);
    }
}

QTEST("pvalloc aligns to the page and rounds the size up to it (M-40)")
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < SIZES; i++) {
        size_t rounded = (sizes[i] + page - 1) / page * page;
        void *p = heap.pvalloc(sizes[i]);
        use(p, rounded, page);
        heap.free(p);
    }
}

QTEST("aligned blocks keep their contents through realloc, whatever the sizes (M-40)")
{
    for (size_t alignment = 16; alignment <= 4 * MIB; alignment *= 4)
        for (int i = 0; i < SIZES; i++)
            for (int j = 1; j < SIZES; j++) {
                size_t keep = sizes[i] < sizes[j] ? sizes[i] : sizes[j];
                void *p = heap.memalign(alignment, sizes[i]);
                QT_CHECK(p);
                pattern_fill(p, sizes[i] < 8192 ? sizes[i] : 8192, i);
                void *q = heap.realloc(p, sizes[j]);
                QT_CHECK(q && heap_is_aligned(q, 16));
                QT_CHECK(heap.malloc_usable_size(q) >= sizes[j]);
                keep = keep < 8192 ? keep : 8192;
                QT_CHECKF(pattern_check(q, keep, i) == keep, "alignment %zu, %zu -> %zu", alignment, sizes[i],
                          sizes[j]);
                heap.free(q);
            }
}

QTEST("aligned blocks of all kinds live side by side (M-40)")
{
    enum { BLOCKS = 2000 };
    static void *block[BLOCKS];
    static size_t size[BLOCKS];
    struct rng r = rng_seeded(40);
    for (int round = 0; round < 20; round++)
        for (int i = 0; i < BLOCKS; i++) {
            if (block[i]) {
                QT_EQ(pattern_check(block[i], size[i], i), size[i]);
                heap.free(block[i]);
            }
            size[i] = rng_log(&r, 1, 20000);
            size_t alignment = (size_t)16 << rng_below(&r, 11);
            block[i] = heap.memalign(alignment, size[i]);
            QT_CHECK(block[i] && heap_is_aligned(block[i], alignment));
            QT_CHECK(heap.malloc_usable_size(block[i]) >= size[i]);
            size[i] = heap.malloc_usable_size(block[i]);
            pattern_fill(block[i], size[i], i);
        }
    for (int i = 0; i < BLOCKS; i++) {
        QT_EQ(pattern_check(block[i], size[i], i), size[i]);
        heap.free(block[i]);
    }
}

QTEST("untouched memory between alignment borders does not become resident (M-24)")
{
    long before = qt_rss_kib();
    void *p = heap.memalign(GIB, 100), *q = heap.memalign(256 * MIB, MIB);
    QT_CHECK(p && q);
    QT_CHECKF(qt_rss_kib() - before < 4096, "grew by %ld KiB", qt_rss_kib() - before);
    heap.free(p);
    heap.free(q);
}

QTEST_MAIN
