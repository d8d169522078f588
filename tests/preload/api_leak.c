/*
 * A million cycles (M-33, M-40): memory that was freed is used again, in every regime, by every pair of
 * calls; the resident size stays bounded.
 */
/* timeout: 240 */
#include "heap.h"
#include "qtest.h"
#include "rng.h"
#include <pthread.h>

enum { MILLION = 1000000 };

/* Cycles above 4 KiB: a tenth where each is two system calls and a page fault. */
static int many(void)
{
    return qt_conf_has("mmap_threshold:4096") ? MILLION / 10 : MILLION;
}

static long rss_at_start;

static void start(void)
{
    rss_at_start = qt_rss_kib();
}

static void check_grown_less(long limit_kib)
{
    long grown = qt_rss_kib() - rss_at_start;
    QT_CHECKF(grown < limit_kib, "resident size grew by %ld KiB, allowed %ld", grown, limit_kib);
}

static void touch(char *p, size_t n)
{
    QT_CHECKF(p, "size %zu", n);
    if (n)
        p[0] = p[n - 1] = 1;
}

static void cycles(size_t low, size_t high, int count)
{
    struct rng r = rng_seeded(low);
    for (int i = 0; i < count; i++) {
        size_t n = rng_log(&r, low, high);
        char *p = heap.malloc(n);
        touch(p, n);
        heap.free(p);
    }
}

/* `live` blocks at any time, each replaced at random: what fragments or is lost adds up over the cycles. */
static void window(size_t low, size_t high, size_t live, int count)
{
    char **block = heap_private(live * sizeof *block);
    struct rng r = rng_seeded(high);
    for (int i = 0; i < count; i++) {
        size_t n = rng_log(&r, low, high), k = rng_below(&r, live);
        heap.free(block[k]);
        block[k] = heap.malloc(n);
        touch(block[k], n);
    }
    for (size_t k = 0; k < live; k++)
        heap.free(block[k]);
}

QTEST("a million small blocks come and go in bounded memory (M-40)")
{
    start();
    cycles(1, 1016, MILLION);
    check_grown_less(4096);
}

QTEST("a million medium blocks come and go in bounded memory (M-06, M-40)")
{
    start();
    cycles(1017, 120000, many());
    check_grown_less(8192);
}

QTEST("a million large blocks come and go in bounded memory (M-21, M-22)")
{
    start();
    cycles(140000, 900000, many());
    check_grown_less(8192);
}

QTEST("a changing population of small blocks stays bounded over a million cycles (M-06)")
{
    start();
    window(1, 1016, 5000, MILLION); /* 0.9 MB live */
    check_grown_less(8192);
}

QTEST("a changing population of medium blocks stays bounded over a million cycles (M-06)")
{
    start();
    window(1017, 60000, 500, many()); /* up to 16 MB live at times */
    check_grown_less(48 * 1024);
}

QTEST("a changing population of all sizes stays bounded (M-06, M-21)")
{
    start();
    window(1, 2 * MIB, 200, many() / 4);
    check_grown_less(200 * 1024);
}

QTEST("aligned blocks come and go in bounded memory (M-40)")
{
    struct rng r = rng_seeded(3);
    start();
    for (int i = 0; i < MILLION; i++) {
        size_t n = rng_log(&r, 1, i % 8 ? 2000 : 40000);
        char *p = heap.memalign((size_t)16 << rng_below(&r, 10), n);
        touch(p, n);
        heap.free(p);
    }
    check_grown_less(16 * 1024);
}

QTEST("a million reallocs leave nothing behind (M-40)")
{
    enum { LIVE = 100 };
    static char *block[LIVE];
    struct rng r = rng_seeded(4);
    start();
    for (int i = 0; i < MILLION; i++) {
        size_t k = rng_below(&r, LIVE), n = rng_log(&r, 1, i % 64 ? 4000 : 200000);
        block[k] = heap.realloc(block[k], n);
        touch(block[k], n);
    }
    check_grown_less(48 * 1024);
    for (int k = 0; k < LIVE; k++)
        heap.free(block[k]);
}

QTEST("requests that fail leave nothing behind (M-25)")
{
    start();
    void *keep = heap.malloc(1000);
    for (int i = 0; i < MILLION; i++) {
        QT_EQ(heap.malloc(PTRDIFF_MAX - (size_t)i), 0);
        QT_EQ(heap.realloc(keep, PTRDIFF_MAX - (size_t)i), 0);
    }
    heap.free(keep);
    check_grown_less(4096);
}

/* ------------------------------------------------- blocks freed by another thread */

enum { HANDED = 1000 };

static char *handed[HANDED];

static void *produce(void *size)
{
    for (int i = 0; i < HANDED; i++) {
        handed[i] = heap.malloc((size_t)(uintptr_t)size);
        touch(handed[i], (size_t)(uintptr_t)size);
    }
    return NULL;
}

QTEST("blocks of finished threads, freed by another, are used again (M-33)")
{
    static const size_t sizes[] = {24, 500, 3000, 50000};
    int rounds = many() / 4000 + 50;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        start();
        for (int round = 0; round < rounds; round++) {
            pthread_t thread;
            QT_EQ(pthread_create(&thread, NULL, produce, (void *)(uintptr_t)sizes[s]), 0);
            pthread_join(thread, NULL);
            for (int i = 0; i < HANDED; i++)
                heap.free(handed[i]);
        }
        check_grown_less(8192 +
                         (long)(3 * HANDED * sizes[s] / KIB)); /* all rounds would be tens of times this */
    }
}

QTEST_MAIN
