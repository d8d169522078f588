/*
 * free and its relatives (M-40): errno is kept whatever the kernel is asked for, NULL is allowed, sized forms
 * free.
 */
/* timeout: 120 */
#include "heap.h"
#include "pattern.h"
#include "qtest.h"

static size_t sizes[HEAP_SIZES_MAX];

static void free_keeping_errno(void *p, size_t n)
{
    errno = EXDEV;
    heap.free(p);
    QT_CHECKF(errno == EXDEV, "errno became %d, size %zu", errno, n);
}

QTEST("free preserves errno at every size (M-40)")
{
    enum { COPIES = 150 };
    static void *block[COPIES];
    size_t kinds = heap_sizes(sizes, SIZE_MAX);
    for (size_t i = 0; i < kinds; i++) {
        int copies = sizes[i] < 5000 ? COPIES : 4;
        for (int k = 0; k < copies; k++)
            block[k] = heap.malloc(sizes[i]);
        for (int k = 0; k < copies; k++)
            free_keeping_errno(block[k], sizes[i]);
    }
}

QTEST("free preserves errno when it unmaps, trims and gives pages back (M-21, M-23, M-40)")
{
    enum { COUNT = 400 };
    static void *block[COUNT];
    for (size_t n = 100000; n < 100 * MIB; n = n * 3 / 2) {
        int copies = n < 200000 ? COUNT : 3;
        for (int k = 0; k < copies; k++) {
            QT_CHECK(block[k] = heap.malloc(n));
            memset(block[k], 1, n < 200000 ? n : 4096);
        }
        for (int k = copies; k-- > 0;)
            free_keeping_errno(block[k], n);
    }
}

QTEST("free preserves errno of aligned blocks and of NULL (M-40)")
{
    for (size_t alignment = 16; alignment <= 64 * MIB; alignment *= 2)
        for (size_t n = 1; n <= 4 * MIB; n *= 4)
            free_keeping_errno(heap.memalign(alignment, n), n);
    free_keeping_errno(NULL, 0);
}

QTEST("realloc that shrinks, and malloc that succeeds, do not set errno to 0 (C17 7.5)")
{
    errno = EXDEV;
    void *p = heap.malloc(100000);
    p = heap.realloc(p, 10);
    p = heap.realloc(p, 10 * MIB);
    QT_CHECK(p && errno != 0);
    heap.free(p);
}

QTEST("free(NULL) does nothing (M-40)")
{
    for (int i = 0; i < 1000; i++)
        heap.free(NULL);
}

/* ------------------------------------------------- order */

enum order { LAST_FIRST, FIRST_FIRST, EVEN_THEN_ODD, RANDOM };

static int pick(enum order order, int i, int count)
{
    return order == LAST_FIRST      ? count - 1 - i
           : order == EVEN_THEN_ODD ? (i < count / 2 ? 2 * i : 2 * (i - count / 2) + 1)
           : order == RANDOM        ? (int)((uint64_t)i * 25667 % (uint64_t)count) /* a prime: each once */
                                    : i;
}

/* Microseconds of CPU time that freeing takes, the taking left out. */
static long time_of_freeing(enum order order, size_t n, int count)
{
    void **block = heap_private((size_t)count * sizeof *block);
    for (int i = 0; i < count; i++)
        QT_CHECK(block[i] = heap.malloc(n));
    clock_t start = clock();
    for (int i = 0; i < count; i++)
        heap.free(block[pick(order, i, count)]);
    return (long)(clock() - start) * 1000000 / CLOCKS_PER_SEC;
}

static void check_linear(enum order order)
{
    static const size_t some[] = {100, 1100, 2000, 5000, 30000};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        int count = some[i] > 10000 ? 10000 : 40000;
        long took = time_of_freeing(order, some[i], count);
        for (int again = 0; again < 2 && took >= 50L * count;
             again++) { /* the machine's worst moment is not meant */
            long now = time_of_freeing(order, some[i], count);
            took = now < took ? now : took;
        }
        if (took < 50L * count) /* glibc: under 10 us each */
            continue;
        /* Where all is slow, an eighth of them takes an eighth of the time; a 64th, if each looks at all others. */
        long part = time_of_freeing(order, some[i], count / 8);
        QT_CHECKF(took < 24 * part, "%d of %zu took %ld us, %d %ld us", count, some[i], took, count / 8,
                  part);
    }
}

QTEST("freeing takes a bounded time each, last block first (M-06)")
{
    check_linear(LAST_FIRST);
}

QTEST("freeing takes a bounded time each, first block first (M-06)")
{
    check_linear(FIRST_FIRST);
}

QTEST("freeing takes a bounded time each, every other block first (M-06)")
{
    check_linear(EVEN_THEN_ODD);
}

QTEST("freeing takes a bounded time each, in random order (M-06)")
{
    check_linear(RANDOM);
}

/* ------------------------------------------------- sized forms */

/* The function, or a skipped case where the C library does not have it; Quarry must. */
static void *required(const char *name)
{
    void *function = heap_symbol(name);
    if (!function && !qt_under_quarry())
        QT_SKIP("no %s here", name);
    QT_CHECKF(function, "Quarry does not export %s", name);
    return function;
}

/* What is not freed shows in the resident size. */
static void check_frees(void (*release)(void *, size_t, void *), void *(*take)(size_t), void *function)
{
    static const size_t some[] = {0, 1, 24, 100, 1000, 1016, 1017, 5000, 33000, 100000, 131072, 300000};
    long before = qt_rss_kib();
    for (size_t i = 0; i < sizeof some / sizeof *some; i++)
        for (int round = 0; round < (some[i] < 10000 ? 50000 : 1000); round++) {
            unsigned char *p = take(some[i]);
            QT_CHECK(p);
            pattern_fill(p, some[i] < 1000 ? some[i] : 1000, 1);
            errno = EXDEV;
            release(p, some[i], function);
            QT_EQ(errno, EXDEV);
        }
    QT_CHECKF(qt_rss_kib() - before < 20 * 1024, "grew by %ld KiB", qt_rss_kib() - before);
    errno = EXDEV;
    release(NULL, 100, function);
    QT_EQ(errno, EXDEV);
}

static void *take_plain(size_t n)
{
    return heap.malloc(n);
}
static void *take_zeroed(size_t n)
{
    return heap.calloc(1, n);
}
static void *take_aligned(size_t n)
{
    return heap.aligned_alloc(256, n);
}

static void by_sized(void *p, size_t n, void *function)
{
    ((heap_free_sized *)function)(p, n);
}
static void by_aligned_sized(void *p, size_t n, void *function)
{
    ((heap_free_aligned_sized *)function)(p, 256, n);
}
static void by_cfree(void *p, size_t n, void *function)
{
    (void)n, ((heap_cfree *)function)(p);
}

QTEST("free_sized frees blocks of malloc, calloc and realloc, and NULL (C23 7.24.3.4, M-40)")
{
    void *function = required("free_sized");
    check_frees(by_sized, take_plain, function);
    check_frees(by_sized, take_zeroed, function);
}

QTEST("free_aligned_sized frees blocks of aligned_alloc, and NULL (C23 7.24.3.5, M-40)")
{
    check_frees(by_aligned_sized, take_aligned, required("free_aligned_sized"));
}

QTEST("cfree is free for programs linked long ago (M-40)")
{
    check_frees(by_cfree, take_plain, required("cfree"));
}

QTEST("every entry point of M-40 is served by one library (M-40)")
{
    static const char *const names[] = {"malloc", "free", "calloc", "realloc", "reallocarray",
                                        "aligned_alloc", "memalign", "valloc", "pvalloc", "posix_memalign",
                                        "mallopt", "malloc_trim", "mallinfo", "mallinfo2", "malloc_stats",
                                        "malloc_info", "malloc_usable_size",
                                        /* libc's other names, which some programs ask for */
                                        "__libc_malloc", "__libc_free", "__libc_calloc", "__libc_realloc",
                                        "__libc_memalign", "__libc_valloc", "__libc_pvalloc"};
    Dl_info home, other;
    QT_CHECK(dladdr(heap_symbol("malloc"), &home));
    if (!qt_under_quarry() && strstr(home.dli_fname, "libc.so") == NULL)
        QT_SKIP("%s", home.dli_fname);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        void *function = heap_symbol(names[i]);
        QT_CHECKF(function && dladdr(function, &other), "no %s", names[i]);
        QT_CHECKF(strcmp(home.dli_fname, other.dli_fname) == 0, "%s comes from %s", names[i],
                  other.dli_fname);
    }
}

QTEST_MAIN
