/* variants: default run_max0 */
/* timeout: 120 */
/*
 * Free memory goes back by itself (design, "Giving memory back"; M-23, M-33): about a second after a peak, as long as
 * the program goes on allocating, whatever lies above it; and a steady load is not made to fault for it.
 */
#include "stress_blocks.h"

enum { K = 1024, M = 1024 * K, PEAK = 150000 };

/* Seconds after which memory free for one second has been seen and returned: three ticks, and some more. */
#define DECAYED 3.3

static void *peak[PEAK];
static char *ceiling;

/* About 100 MiB in small and medium blocks, freed in random order but for one in `survivors`, under a live block. */
static void peak_and_fall(int survivors, bool medium)
{
    struct rng r = rng_seeded(1);
    int count = medium ? PEAK / 10 : PEAK;
    memset(peak, 0, sizeof peak);
    for (int i = 0; i < count; i++) {
        size_t n = medium ? 2000 + rng_below(&r, 10000) : 16 + rng_below(&r, 1000);
        peak[i] = malloc(n);
        memset(peak[i], 1, n);
    }
    ceiling = malloc(2000);
    memset(ceiling, 1, 2000);
    for (int i = 0; i < count; i++) {
        int k = (int)rng_below(&r, (uint64_t)count);
        void *swap = peak[i];
        peak[i] = peak[k];
        peak[k] = swap;
    }
    for (int i = survivors ? count / survivors : 0; i < count; i++)
        free(peak[i]);
}

/* A program that is not idle but does little: some requests every few milliseconds. */
static void go_on(double seconds)
{
    struct rng r = rng_seeded(2);
    double end = qt_seconds() + seconds;
    while (qt_seconds() < end) {
        void *some[50];
        for (int i = 0; i < 50; i++)
            some[i] = malloc(rng_log(&r, 16, 8192));
        for (int i = 0; i < 50; i++)
            free(some[i]);
        usleep(5000);
    }
}

/* By itself, and soon; later where the machine does much besides. */
static void settles(long before, long allowed_kib)
{
    go_on(DECAYED);
    for (int i = 0; i < 20 && qt_rss_kib() - before >= allowed_kib; i++)
        go_on(1);
    long now = qt_rss_kib();
    QT_CHECKF(now - before < allowed_kib, "%ld KiB before, %ld after the peak", before, now);
}

static void comes_down(int survivors, bool medium, long allowed_kib)
{
    long before = qt_rss_kib();
    peak_and_fall(survivors, medium);
    settles(before, allowed_kib);
}

QTEST("after a peak of small blocks the resident size falls by itself (M-23)")
{
    comes_down(0, false, 6 * K);
}

QTEST("after a peak of medium blocks the resident size falls by itself (M-23)")
{
    comes_down(0, true, 6 * K);
}

QTEST("one survivor in a thousand medium blocks does not hold the rest back (M-23)")
{
    comes_down(1000, true, 8 * K);
}

QTEST("one survivor in a thousand small blocks does not hold the rest back (M-23)")
{
    /* Each may hold back the run it lies in: 64 KiB. */
    comes_down(1000, false, PEAK / 1000 * 64 + 6 * K);
}

static void *peaking_thread(void *context)
{
    peak_and_fall(0, false);
    return context;
}

QTEST("what an ended thread left free goes back by itself (M-23, M-33)")
{
    long before = qt_rss_kib();
    thread_end(thread_start(peaking_thread, NULL));
    settles(before, 8 * K);
}

static void *free_peak(void *context)
{
    for (int i = 0; i < PEAK / 10; i++)
        free(peak[i]);
    settles((long)(intptr_t)context, 6 * K);
    return NULL;
}

QTEST("what another thread freed of an idle one's medium blocks goes back by itself (M-23, M-32)")
{
    long before = qt_rss_kib();
    for (int i = 0; i < PEAK / 10; i++) {
        peak[i] = malloc(5000);
        memset(peak[i], 1, 5000);
    }
    thread_end(thread_start(free_peak, (void *)(intptr_t)before));
}

/* Touched, 100 KiB at a time, and free again: all of it in top, since nothing else was asked for. */
static void leave_idle_in_top(size_t bytes)
{
    enum { PIECE = 100 * K };
    static void *pieces[1000];
    size_t count = bytes / PIECE;
    for (size_t i = 0; i < count; i++) {
        pieces[i] = malloc(PIECE);
        memset(pieces[i], 1, PIECE);
    }
    for (size_t i = count; i-- > 0;)
        free(pieces[i]);
}

QTEST("a large block does not become resident beside what top holds idle (M-21, M-23)")
{
    no_huge_pages();
    leave_idle_in_top(32 * M);
    long before = qt_rss_kib();
    char *smaller = malloc(16 * M), *larger = malloc(64 * M);
    memset(smaller, 1, 16 * M);
    memset(larger, 1, 30 * M);
    QT_CHECKF(qt_rss_kib() - before < 16 * K, "%ld KiB before, %ld after 46 MiB", before, qt_rss_kib());
    free(smaller);
    free(larger);
}

/*
 * Takes so much in such blocks, a small one that stays above them, and frees them again. Returns what was resident in
 * between.
 */
static long resident_in_phase(size_t bytes, size_t block_bytes)
{
    size_t count = bytes / block_bytes;
    for (size_t i = 0; i < count; i++) {
        peak[i] = malloc(block_bytes);
        memset(peak[i], 1, block_bytes);
    }
    long resident = qt_rss_kib();
    ceiling = malloc(2000);
    for (size_t i = 0; i < count; i++)
        free(peak[i]);
    return resident;
}

QTEST("small blocks do not become resident beside what medium ones left idle (M-23)")
{
    no_huge_pages();
    long before = qt_rss_kib();
    resident_in_phase(40 * M, 8000);
    long small = resident_in_phase(40 * M, 600) - before;
    QT_CHECKF(small < 72 * K, "%ld KiB for 40 MiB", small); /* half of it goes back */
}

QTEST("nor medium blocks beside what small ones left (M-23)")
{
    no_huge_pages();
    long before = qt_rss_kib();
    resident_in_phase(40 * M, 600);
    long medium = resident_in_phase(40 * M, 8000) - before;
    QT_CHECKF(medium < 72 * K, "%ld KiB for 40 MiB", medium);
}

static double thread_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

QTEST("no single call waits for all of a peak to go back (M-23)")
{
    enum { COUNT = 50000 };
    struct rng r = rng_seeded(3);
    for (int i = 0; i < COUNT; i++) {
        size_t n = 8000 + rng_below(&r, 4000);
        peak[i] = malloc(n);
        memset(peak[i], 1, n);
    }
    for (int i = 0; i < COUNT; i += 2)
        free(peak[i]);
    long full = qt_rss_kib();
    double worst = 0, slow = 0, end = qt_seconds() + DECAYED + 3, last = end + 20;
    /*
     * Its pages are a third of the peak; to give them all back takes a hundred milliseconds and more, seconds where all
     * is slow.
     */
    for (double from = thread_ms();;) {
        if (qt_seconds() > end) {
            if (qt_rss_kib() < full - 60 * K || end > last)
                break;
            end += 1;
            from = thread_ms();
        }
        for (int i = 0; i < 16; i++)
            free(malloc(rng_log(&r, 16, 4096)));
        free(malloc(100 * K)); /* past every cache */
        double now = thread_ms();
        worst = now - from > worst ? now - from : worst;
        slow += now - from > 1 ? now - from : 0;
        from = now;
    }
    QT_CHECKF(qt_rss_kib() < full - 60 * K, "%ld KiB at the peak, %ld later", full, qt_rss_kib());
    QT_CHECKF(worst < 30 || worst < slow / 4, "17 calls took %.1f ms of %.1f", worst, slow);
    for (int i = 1; i < COUNT; i += 2)
        free(peak[i]);
}

QTEST("a program that allocates nothing more may keep it, but the next request starts the return (M-23)")
{
    long before = qt_rss_kib();
    peak_and_fall(0, false);
    sleep(1);
    settles(before, 6 * K);
}

/* --------------------------------------------------------------- no fault storms */

/* The faults of a second of waves: each takes some MiB, writes to all of it, frees it and rests a moment. */
static long faults_of_waves(double seconds, size_t block_bytes, int blocks)
{
    static void *wave[4096];
    long faults = minor_faults();
    double end = qt_seconds() + seconds;
    while (qt_seconds() < end) {
        for (int i = 0; i < blocks; i++) {
            wave[i] = malloc(block_bytes);
            memset(wave[i], 1, block_bytes);
        }
        for (int i = 0; i < blocks; i++)
            free(wave[i]);
        usleep(20000);
    }
    return minor_faults() - faults;
}

QTEST("a steady load of medium blocks causes no fault storm (M-23)")
{
    no_huge_pages();
    faults_of_waves(0.7, 16 * K, 500);
    long faults = faults_of_waves(2, 16 * K, 500); /* 2000 pages, a hundred times */
    QT_CHECKF(faults < 3 * 2000, "%ld faults", faults);
}

QTEST("a steady load of small blocks causes no fault storm (M-23)")
{
    no_huge_pages();
    faults_of_waves(0.7, 900, 4000);
    long faults = faults_of_waves(2, 900, 4000); /* 900 pages, a hundred times */
    QT_CHECKF(faults < 3 * 900, "%ld faults", faults);
}

/* Takes, writes to, and frees so much in such blocks. */
static void phase_of(size_t bytes, size_t block_bytes)
{
    size_t count = bytes / block_bytes;
    for (size_t i = 0; i < count; i++)
        peak[i] = memset(malloc(block_bytes), 1, block_bytes);
    for (size_t i = 0; i < count; i++)
        free(peak[i]);
}

QTEST("small and medium blocks in turns, in memory that there was for both, cause no fault storm (M-23)")
{
    enum { BOTH = 4 * M, PAGES = BOTH / PAGE };
    no_huge_pages();
    double start = qt_seconds();
    void **medium = malloc(BOTH / 8000 * sizeof *medium);
    for (size_t i = 0; i < BOTH / 8000; i++)
        medium[i] = memset(malloc(8000), 1, 8000);
    ceiling = malloc(2000);
    phase_of(BOTH, 600);
    for (size_t i = 0; i < BOTH / 8000; i++)
        free(medium[i]);
    phase_of(BOTH + M, 600); /* a little more than there was: what is asked for it may not begin a circle */
    long faults = minor_faults();
    int turns = 0;
    for (; turns < 30 && qt_seconds() - start < 0.8; turns++) {
        phase_of(BOTH / 2, 600);
        phase_of(BOTH / 2, 8000);
    }
    faults = minor_faults() - faults;
    QT_CHECKF(turns > 0 && faults < PAGES, "%ld faults in %d turns, for %d pages", faults, turns, PAGES);
    free(medium);
}

QTEST("phases that follow each other within a tick do not hand their memory over each time (M-23)")
{
    enum { PHASE = 8 * M, PAGES = PHASE / PAGE };
    no_huge_pages();
    double start = qt_seconds();
    long faults = minor_faults();
    int turns = 0;
    for (; turns < 30 && qt_seconds() - start < 0.8; turns++) {
        phase_of(PHASE, 600);
        phase_of(PHASE, 8000);
    }
    faults = minor_faults() - faults;
    QT_CHECKF(turns > 0 && faults < 6L * PAGES, "%ld faults in %d turns, for %d pages", faults, turns, PAGES);
}

static void resize_at_random(uint64_t seed)
{
    enum { LIVE = 364, STEPS = 10000 };
    static char *row[LIVE];
    struct rng r = rng_seeded(seed);
    long faults = 0, pages = 0;
    for (int i = 0; i < STEPS; i++) {
        char **block = &row[i % LIVE];
        size_t size = (4 * K) << rng_below(&r, 8);
        size += rng_below(&r, size);
        if (rng_one_in(&r, 2)) {
            free(*block);
            *block = NULL;
        }
        if (i == STEPS / 4)
            faults = minor_faults();
        *block = realloc(*block, size);
        memset(*block, 1, size);
        pages += i < STEPS / 4 ? 0 : (long)(size / PAGE);
    }
    faults = minor_faults() - faults;
    QT_CHECKF(faults < pages / 16, "%ld faults for %ld pages, seed %ld", faults, pages, (long)seed);
}

QTEST("a steady load of blocks of all sizes, half of them resized, causes no fault storm (M-23)")
{
    no_huge_pages();
    for (uint64_t seed = 14; seed < 19; seed++) { /* a storm depends on chance */
        pid_t pid = fork();
        if (pid == 0) {
            resize_at_random(seed);
            _exit(0);
        }
        qt_wait_exit(pid, 0);
    }
}

QTEST("returning memory does not slice the heap into mappings (M-23)")
{
    static void *blocks[20000];
    struct rng r = rng_seeded(3);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 20000; i++)
            if (!blocks[i])
                blocks[i] = memset(malloc(6000), 1, 6000);
        for (int i = 0; i < 20000; i++)
            if (rng_one_in(&r, 2)) {
                free(blocks[i]);
                blocks[i] = NULL;
            }
        go_on(1.2);
    }
    QT_CHECKF(vma_count() < 500, "%ld mappings", vma_count());
}

enum { SMALL_BLOCKS = 300000 };
static void *small_blocks[SMALL_BLOCKS];

static void *takes_and_ends(void *context)
{
    for (int i = 0; i < SMALL_BLOCKS; i++)
        memset(small_blocks[i] = malloc(100), 1, 100);
    return context;
}

static void *takes_a_few(void *context)
{
    for (int i = 0; i < 100; i++)
        free(malloc(100));
    return context;
}

/*
 * No time passes that would collect them, and nobody adopts the cache that they belong to: that of some threads, one
 * after the other.
 */
QTEST_X("cells of an ended thread that another frees serve that one again, in any size (M-33)",
        .env = "QUARRY_CONF=decay:0")
{
    if (!qt_under_quarry())
        QT_SKIP("glibc: they stay in that thread's arena");
    for (int i = 0; i < 3; i++)
        thread_end(thread_start(takes_a_few, NULL));
    thread_end(thread_start(takes_and_ends, NULL));
    long before = qt_rss_kib();
    for (int i = 0; i < SMALL_BLOCKS; i++)
        free(small_blocks[i]);
    for (int i = 0; i < SMALL_BLOCKS / 6; i++)
        memset(malloc(600), 1, 600);
    QT_CHECKF(qt_rss_kib() - before < 8 * 1024, "%ld KiB before, %ld now", before, qt_rss_kib());
}

QTEST_MAIN
