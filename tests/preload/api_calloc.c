/*
 * calloc (M-40): memory is zero, above all where freed memory is used again; products that overflow are
 * refused.
 */
/* timeout: 120 */
#include "heap.h"
#include "pattern.h"
#include "qtest.h"

enum { BLOCKS_MAX = 200 };

static size_t sizes[HEAP_SIZES_MAX];
static unsigned char *block[BLOCKS_MAX];

static void dirty_and_free(size_t n, int count)
{
    for (int i = 0; i < count; i++) {
        block[i] = heap.malloc(n);
        QT_CHECK(block[i]);
        memset(block[i], 0xff, heap.malloc_usable_size(block[i]));
    }
    for (int i = 0; i < count; i++)
        heap.free(block[i]);
}

static void take_zero_and_free(size_t nmemb, size_t n, int count)
{
    for (int i = 0; i < count; i++) {
        block[i] = heap.calloc(nmemb, n / nmemb);
        QT_CHECKF(block[i] && heap_is_aligned(block[i], 16), "size %zu", n);
        /* To its last usable byte: some programs use what malloc_usable_size says of a block from calloc. */
        size_t usable = heap.malloc_usable_size(block[i]), at = pattern_other_byte(block[i], usable, 0);
        QT_CHECK(usable >= n / nmemb * nmemb);
        QT_CHECKF(at == usable, "byte %zu of %zu, %zu usable, is 0x%02x", at, n, usable, block[i][at]);
        memset(block[i], 0xff, heap.malloc_usable_size(block[i]));
    }
    for (int i = 0; i < count; i++)
        heap.free(block[i]);
}

static int copies(size_t n)
{
    return n < 2000 ? BLOCKS_MAX : n < 20000 ? 20 : 4;
}

QTEST("calloc gives zeroes where dirty blocks of the same size were freed, for every size class (M-40)")
{
    size_t kinds = heap_sizes(sizes, SIZE_MAX);
    for (size_t i = 0; i < kinds; i++) {
        dirty_and_free(sizes[i], copies(sizes[i]));
        take_zero_and_free(1, sizes[i], copies(sizes[i]));
    }
}

QTEST("calloc gives zeroes where dirty blocks of other sizes merged or were split (M-05, M-06, M-40)")
{
    static const size_t from[] = {24, 100, 1000, 1100, 5000, 40000, 100000, 300000};
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 8; j++) {
            dirty_and_free(from[i], copies(from[i]));
            take_zero_and_free(1, from[j], copies(from[j]));
            take_zero_and_free(3, from[j], copies(from[j]));
        }
}

QTEST("calloc gives zeroes above the mmap threshold, first time and again (M-21, M-40)")
{
    for (size_t n = 100000; n < 40 * MIB; n = n * 3 / 2 + 1)
        for (int round = 0; round < 3; round++) {
            unsigned char *p = heap.calloc(n / 8, 8), *q = heap.calloc(1, n);
            QT_CHECK(p && q);
            QT_EQ(pattern_other_byte(p, n / 8 * 8, 0), n / 8 * 8);
            QT_EQ(pattern_other_byte(q, n, 0), n);
            memset(p, 0xff, heap.malloc_usable_size(p));
            memset(q, 0xff, heap.malloc_usable_size(q));
            heap.free(p);
            heap.free(q);
        }
}

QTEST("calloc gives zeroes after top was given back and grown again (M-20, M-23)")
{
    for (int round = 0; round < 20; round++) {
        enum { COUNT = 100 };
        for (int i = 0; i < COUNT; i++) {
            block[i] = heap.malloc(100000);
            memset(block[i], 0xff, heap.malloc_usable_size(block[i]));
        }
        for (int i = COUNT; i-- > 0;)
            heap.free(block[i]);
        heap.malloc_trim(0);
        take_zero_and_free(1, 90000 + (size_t)round * 1000, COUNT);
    }
}

QTEST("calloc gives zeroes under random traffic of all sizes (M-40)")
{
    struct rng r = rng_seeded(8);
    for (int step = 0; step < 150000; step++) {
        int i = (int)rng_below(&r, BLOCKS_MAX);
        size_t n = rng_log(&r, 1, rng_one_in(&r, 30) ? 300000 : 3000);
        heap.free(block[i]);
        if (rng_one_in(&r, 2)) {
            block[i] = heap.malloc(n);
        } else {
            block[i] = heap.calloc(n, 1);
            size_t at = pattern_other_byte(block[i], n, 0);
            QT_CHECKF(at == n, "step %d: byte %zu of %zu is 0x%02x", step, at, n, block[i][at]);
        }
        memset(block[i], 0xff, heap.malloc_usable_size(block[i]));
    }
}

QTEST("calloc refuses a product that overflows, with ENOMEM (M-40)")
{
    static const size_t factor[][2] = {{SIZE_MAX, 2},
                                       {2, SIZE_MAX},
                                       {SIZE_MAX / 2 + 1, 2},
                                       {(size_t)1 << 32, (size_t)1 << 32},
                                       {SIZE_MAX, SIZE_MAX},
                                       {(size_t)1 << 63, 16},
                                       {3, SIZE_MAX / 3 + 1},
                                       {SIZE_MAX / 7 + 1, 7},
                                       {0x100000001, 0xffffffff8},
                                       {PTRDIFF_MAX, 2},
                                       {SIZE_MAX / 16 + 2, 16},
                                       {(size_t)1 << 60, 17}};
    for (size_t i = 0; i < sizeof factor / sizeof *factor; i++) {
        errno = 0;
        QT_CHECKF(heap.calloc(factor[i][0], factor[i][1]) == NULL, "%zu * %zu", factor[i][0], factor[i][1]);
        QT_EQ(errno, ENOMEM);
    }
}

QTEST("calloc of fresh mapped memory does not touch it (M-24)")
{
    long before = qt_rss_kib();
    void *p[8];
    for (int i = 0; i < 8; i++)
        QT_CHECK(p[i] = heap.calloc(64, MIB));
    QT_CHECKF(qt_rss_kib() - before < 4096, "grew by %ld KiB", qt_rss_kib() - before);
    for (int i = 0; i < 8; i++)
        heap.free(p[i]);
}

QTEST_MAIN
