/* timeout: 120 */
/*
 * What every profile promises of memory (M-21, M-23, M-24, M-25, M-31, M-33): pages cost only when touched, large
 * blocks go back when freed, malloc_trim reaches everything that is free, no thread is stopped by its own arena.
 */
#include "stress_blocks.h"

#include <limits.h>

#include "no_mappings.h"

enum { K = 1024, M = 1024 * K };

/* --------------------------------------------------------------- M-24 */

QTEST("an untouched large block does not become resident (M-24)")
{
    no_huge_pages();
    long before = qt_rss_kib();
    char *p = malloc((size_t)1 << 30);
    QT_CHECK(p != NULL);
    QT_CHECK(resident_pages_inside(p, (size_t)1 << 30) <= 1);
    QT_CHECK(qt_rss_kib() - before < 512);
    free(p);
}

QTEST("calloc of fresh mapped memory does not touch it, and it reads as zero (M-24)")
{
    no_huge_pages();
    char *p = calloc(1 << 10, 1 << 20);
    QT_CHECK(p != NULL);
    QT_CHECK(resident_pages_inside(p, (size_t)1 << 30) <= 1);
    for (size_t i = 0; i < (size_t)1 << 30; i += 1000003)
        QT_EQ(p[i], 0);
    free(p);
}

QTEST("of a large block exactly the touched pages become resident (M-24)")
{
    no_huge_pages();
    char *p = malloc(64 * M), *page = (char *)page_up((uintptr_t)p + 1);
    size_t at_first = resident_pages_inside(page, 63 * M);
    for (int i = 0; i < 1000; i++)
        page[(size_t)i * 15 * PAGE] = 1;
    QT_EQ(resident_pages_inside(page, 63 * M) - at_first, 1000);
    free(p);
}

QTEST("a medium block's pages wait to be touched, but for a bounded batch (M-24)")
{
    no_huge_pages();
    enum { N = 600 };
    char *p[N];
    size_t resident = 0;
    for (int i = 0; i < N; i++)
        p[i] = malloc(100 * K);
    for (int i = 0; i < N; i++)
        resident += resident_pages_inside(p[i] + 16, 100 * K - 16);
    QT_CHECKF(resident * PAGE < 4 * M, "%zu pages of 60 MB that nobody has touched", resident);
}

/* --------------------------------------------------------------- M-21 */

QTEST("freeing a large block gives its pages back at once (M-21)")
{
    long before = qt_rss_kib();
    for (int i = 0; i < 3; i++) {
        char *p = malloc(64 * M);
        memset(p, 1, 64 * M);
        QT_CHECK(qt_rss_kib() - before > 60 * K);
        free(p);
        QT_CHECKF(qt_rss_kib() - before < 1 * K, "%ld KiB more than before", qt_rss_kib() - before);
    }
}

QTEST("taking and freeing large blocks uses up no address space (M-21)")
{
    struct rng r = rng_seeded(1);
    long before = 0;
    for (int i = 0; i < 3000; i++) {
        if (i == 300)
            before = qt_status_kib("VmSize:");
        char *p = malloc(33 * M + rng_below(&r, 300 * M));
        p[5 * M] = 1;
        free(p);
    }
    QT_CHECK(qt_status_kib("VmSize:") - before < 400 * K);
}

QTEST("an aligned block that is taken and freed again and again is not mapped each time (M-05, M-22)")
{
    static const size_t sizes[] = {64 * K, 100 * K, 300 * K, 2 * M};
    if (qt_conf_has("mmap_threshold") || qt_conf_has("classic") || !qt_under_quarry())
        QT_SKIP("ptmalloc does, and here it is asked for");
    for (int i = 0; i < 4; i++) {
        size_t alignment = sizes[i] < 2 * M ? 64 * K : 2 * M;
        long faults = 0;
        for (int turn = 0; turn < 110; turn++) {
            if (turn == 10)
                faults = minor_faults();
            char *p = aligned_alloc(alignment, sizes[i]);
            QT_EQ((uintptr_t)p % alignment, 0);
            p[0] = 1;
            free(p);
        }
        QT_CHECKF(minor_faults() - faults < 20, "%zu bytes: %ld faults in 100 turns", sizes[i],
                  minor_faults() - faults);
    }
}

QTEST("realloc of a large block moves pages, not bytes (M-21)")
{
    no_huge_pages();
    char *p = malloc(40 * M);
    for (size_t i = 0; i < 40 * M; i += PAGE)
        p[i] = (char)(i / PAGE * 7);
    long faults = minor_faults();
    for (size_t n = 80; n <= 640; n *= 2)
        p = realloc(p, n * M);
    QT_CHECKF(minor_faults() - faults < 500, "%ld faults", minor_faults() - faults);
    for (size_t i = 0; i < 40 * M; i += PAGE)
        QT_EQ(p[i], (char)(i / PAGE * 7));
    p = realloc(p, 8 * M);
    QT_CHECK(qt_rss_kib() < 20 * K);
    for (size_t i = 0; i < 8 * M; i += PAGE)
        QT_EQ(p[i], (char)(i / PAGE * 7));
    free(p);
}

QTEST("a block at the end of the heap grows where it is, and the heap with it (M-16, M-20)")
{
    enum { STEP = 10 * K, MOST = 12 * M };
    if (qt_conf_has("mmap_threshold"))
        QT_SKIP("large blocks are mapped, however often they were freed");
    no_huge_pages();
    /* M-22: what is smaller comes from the heap; in ptmalloc what is larger is mapped, here not if it has grown. */
    free(malloc(qt_conf_has("classic") || !qt_under_quarry() ? 16 * M : 8 * M));
    long before = qt_rss_kib();
    for (int turn = 0; turn < 3; turn++) {
        char *p = NULL;
        int moves = 0;
        for (size_t n = 0; n < MOST; n += STEP) {
            char *grown = realloc(p, n + STEP);
            moves += n && grown != p;
            p = grown;
            memset(p + n, 1, STEP);
        }
        QT_CHECKF(moves <= 3, "moved %d times", moves);
        QT_CHECKF(qt_rss_kib() - before < MOST / K * 5 / 4, "%ld KiB resident", qt_rss_kib() - before);
        free(p);
    }
}

/* --------------------------------------------------------------- M-23: malloc_trim */

enum { PEAK = 200000 };
static void *peak[PEAK];

static size_t peak_size(struct rng *r)
{
    return rng_one_in(r, 50) ? rng_log(r, 1024, 65536) : 16 + rng_below(r, 700);
}

static void peak_up(void **blocks, int count, struct rng *r)
{
    for (int i = 0; i < count; i++) {
        size_t n = peak_size(r);
        blocks[i] = malloc(n);
        memset(blocks[i], 1, n);
    }
}

/* In an order that has nothing to do with that of allocation: neighbours are freed at different times. */
static void shuffle(void **blocks, int count, struct rng *r)
{
    for (int i = count; i-- > 1;) {
        int k = (int)rng_below(r, (uint64_t)i + 1);
        void *swap = blocks[i];
        blocks[i] = blocks[k];
        blocks[k] = swap;
    }
}

/* What malloc_trim leaves in the cache of a thread: nothing, but in ptmalloc's profile seven blocks of each size. */
static long left_in_caches(int threads)
{
    return qt_conf_has("classic") ? threads * 2 * K : 0;
}

static void peak_down(void **blocks, int count)
{
    for (int i = 0; i < count; i++)
        free(blocks[i]);
}

QTEST("after a peak malloc_trim(0) brings the resident size back to what is live (M-23)")
{
    struct rng r = rng_seeded(2);
    memset(peak, 0, sizeof peak);
    long before = qt_rss_kib();
    peak_up(peak, PEAK, &r);
    void *last = malloc(1000);
    long high = qt_rss_kib();
    QT_CHECK(high - before > 100 * K);
    shuffle(peak, PEAK, &r);
    peak_down(peak, PEAK);
    malloc_trim(0);
    QT_CHECKF(qt_rss_kib() - before < 2 * K + left_in_caches(1), "%ld KiB before, %ld at the peak, %ld now",
              before, high, qt_rss_kib());
    free(last);
}

QTEST("one survivor in a thousand holds back one page or two, not more (M-23)")
{
    struct rng r = rng_seeded(3);
    memset(peak, 0, sizeof peak);
    long before = qt_rss_kib();
    peak_up(peak, PEAK, &r);
    shuffle(peak, PEAK, &r);
    peak_down(peak + PEAK / 1000, PEAK - PEAK / 1000);
    malloc_trim(0);
    long over = qt_rss_kib() - before, live = PEAK / 1000 * 8;
    for (int i = 0; i < PEAK / 1000; i++)
        live += (long)(malloc_usable_size(peak[i]) / K);
    QT_CHECKF(over < live + 2 * K + left_in_caches(1), "%ld KiB for survivors that need %ld", over, live);
    peak_down(peak, PEAK / 1000);
}

QTEST("memory that served many blocks of one size and now serves a few of others gives the rest back (M-23)")
{
    long before = qt_rss_kib();
    for (int i = 0; i < 4000; i++) {
        peak[i] = malloc(1000);
        memset(peak[i], 1, 1000);
    }
    peak_down(peak, 4000);
    for (size_t size = 8; size <= 900; size += 16) {
        for (int i = 0; i < 9; i++) /* more than are served by other sizes' runs */
            memset(malloc(size), 1, size);
    }
    malloc_trim(0);
    QT_CHECKF(qt_rss_kib() - before < 1 * K, "%ld KiB more than before", qt_rss_kib() - before);
}

QTEST("what malloc_trim gave back it does not give back again (M-23)")
{
    enum { BLOCKS = 1000 };
    if (qt_conf_has("classic") || !qt_under_quarry())
        QT_SKIP("ptmalloc does, each time");
    if (qt_conf_has("mmap_threshold"))
        QT_SKIP("these blocks are mapped");
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < BLOCKS; i++) {
            peak[i] = malloc(30000);
            memset(peak[i], 1, 30000);
        }
        for (int i = 0; i < BLOCKS; i += 2)
            free(peak[i]);
        QT_EQ(malloc_trim(0), 1);
        QT_EQ(malloc_trim(0), 0);
        free(peak[1]); /* between two free ones */
        QT_EQ(malloc_trim(0), 1);
        QT_EQ(malloc_trim(0), 0);
        for (int i = 3; i < BLOCKS; i += 2)
            free(peak[i]);
    }
}

QTEST("after malloc_trim the heap works as before, and what it gave back is zero or its own again (M-23)")
{
    struct rng r = rng_seeded(4);
    static struct block blocks[2000];
    for (int round = 0; round < 30; round++) {
        for (int i = 0; i < 2000; i++)
            if (!blocks[i].p)
                QT_CHECK(block_make(&blocks[i], block_size(&r, 300 * K), &r));
        for (int i = 0; i < 2000; i++)
            if (rng_below(&r, 3))
                block_drop(&blocks[i]);
        malloc_trim(round % 3 ? 0 : 100 * K);
    }
    for (int i = 0; i < 2000; i++)
        block_drop(&blocks[i]);
}

enum { THREADS = 8, EACH = PEAK / THREADS };
static pthread_barrier_t meeting;

/* Each thread takes its share, frees half its own and half its neighbour's, stays, and is heard of again. */
static void *peaking_thread(void *context)
{
    int i = (int)(intptr_t)context, other = (i + 1) % THREADS;
    struct rng r = rng_seeded((uint64_t)i + 50);
    struct block b;
    peak_up(peak + i * EACH, EACH, &r);
    shuffle(peak + i * EACH, EACH, &r);
    pthread_barrier_wait(&meeting); /* 1: the peak */
    pthread_barrier_wait(&meeting); /* 2: main has looked */
    peak_down(peak + other * EACH, EACH / 2);
    peak_down(peak + i * EACH + EACH / 2, EACH - EACH / 2);
    pthread_barrier_wait(&meeting); /* 3: main trims while all are idle */
    pthread_barrier_wait(&meeting); /* 4 */
    for (size_t n = 10; n < 100 * K; n *= 2) {
        QT_CHECK(block_make(&b, n, &r));
        block_drop(&b);
    }
    pthread_barrier_wait(&meeting); /* 5: main trims again */
    pthread_barrier_wait(&meeting); /* 6 */
    for (int k = 0; k < 1000; k++) {
        QT_CHECK(block_make(&b, block_size(&r, 100 * K), &r));
        block_drop(&b);
    }
    return NULL;
}

QTEST(
    "malloc_trim(0) reaches the cache and the arena of every thread: of the idle ones when they next allocate (M-23)")
{
    pthread_t t[THREADS];
    memset(peak, 0, sizeof peak);
    pthread_barrier_init(&meeting, NULL, THREADS + 1);
    long before = qt_rss_kib();
    for (intptr_t i = 0; i < THREADS; i++)
        t[i] = thread_start(peaking_thread, (void *)i);
    pthread_barrier_wait(&meeting);
    long high = qt_rss_kib();
    QT_CHECK(high - before > 100 * K);
    pthread_barrier_wait(&meeting);
    pthread_barrier_wait(&meeting);
    malloc_trim(0);
    long idle = qt_rss_kib();
    pthread_barrier_wait(&meeting);
    pthread_barrier_wait(&meeting);
    malloc_trim(0);
    long now = qt_rss_kib();
    pthread_barrier_wait(&meeting);
    for (int i = 0; i < THREADS; i++)
        thread_end(t[i]);
    QT_CHECKF(idle - before < (high - before) / 2, "%ld KiB before, %ld at the peak, %ld with idle threads",
              before, high, idle);
    if (qt_under_quarry()) /* glibc cannot reach another thread's cache */
        QT_CHECKF(now - before < 4 * K + left_in_caches(THREADS), "%ld KiB before, %ld at the peak, %ld now",
                  before, high, now);
}

static void *peak_and_die(void *context)
{
    int i = (int)(intptr_t)context;
    struct rng r = rng_seeded((uint64_t)i + 80);
    peak_up(peak + i * EACH, EACH, &r);
    shuffle(peak + i * EACH, EACH, &r);
    pthread_barrier_wait(&meeting);
    peak_down(peak + (i + 1) % THREADS * EACH, EACH);
    return NULL;
}

QTEST("malloc_trim(0) reaches what threads that have ended left free (M-23, M-33)")
{
    pthread_t t[THREADS];
    memset(peak, 0, sizeof peak);
    pthread_barrier_init(&meeting, NULL, THREADS);
    long before = qt_rss_kib();
    for (intptr_t i = 0; i < THREADS; i++)
        t[i] = thread_start(peak_and_die, (void *)i);
    for (int i = 0; i < THREADS; i++)
        thread_end(t[i]);
    malloc_trim(0);
    QT_CHECKF(qt_rss_kib() - before < 3 * K, "%ld KiB before, %ld now", before, qt_rss_kib());
}

/* --------------------------------------------------------------- M-31 */

static void *without_mappings(void *size)
{
    free(malloc(3000)); /* it has an arena */
    size_t n = (size_t)(uintptr_t)size;
    struct rng r = rng_seeded(5);
    struct block *books = heap_private(sizeof(struct block) * 200000);
    int count = (int)(100 * M / n);
    no_mappings();
    for (int i = 0; i < count; i++)
        QT_CHECKF(block_take(&books[i], n, &r), "block %d of %zu", i, n);
    for (int i = 0; i < count; i++)
        block_drop(&books[i]);
    return NULL;
}

QTEST("a thread whose arena can get nothing more is served by another: medium blocks (M-31)")
{
    QT_GLIBC_ONLY("the break does not move");
    thread_end(thread_start(without_mappings, (void *)(uintptr_t)(40 * K)));
}

QTEST("a thread whose arena can get nothing more is served by another: small blocks (M-31)")
{
    QT_GLIBC_ONLY("the break does not move");
    thread_end(thread_start(without_mappings, (void *)(uintptr_t)600));
}

QTEST("a thread that can map nothing gets even large blocks, from the break (M-31, M-21)")
{
    QT_GLIBC_ONLY("the break does not move");
    thread_end(thread_start(without_mappings, (void *)(uintptr_t)(3 * M)));
}

static void *without_even_an_arena(void *context)
{
    no_mappings();
    for (size_t n = 16; n < 1 * M; n *= 2)
        QT_CHECKF(malloc(n) != NULL, "%zu bytes", n);
    return NULL;
}

QTEST("a thread that cannot make an arena of its own uses another (M-31)")
{
    QT_GLIBC_ONLY("the break does not move");
    if (!qt_under_quarry())
        QT_SKIP("glibc returns NULL");
    thread_end(thread_start(without_even_an_arena, NULL));
}

/* --------------------------------------------------------------- mappings */

QTEST("a heap full of holes stays far below the kernel's limit of mappings (M-23)")
{
    struct rng r = rng_seeded(6);
    if (qt_conf_has("mmap_threshold"))
        QT_SKIP("here each of these blocks is a mapping, as asked");
    memset(peak, 0, sizeof peak);
    for (int i = 0; i < PEAK; i++) {
        size_t n = rng_log(&r, 16, 16384);
        peak[i] = malloc(n);
        memset(peak[i], 1, n < 200 ? n : 200);
    }
    for (int i = 0; i < PEAK; i += 2) {
        free(peak[i]);
        peak[i] = NULL;
    }
    malloc_trim(0);
    for (int i = 0; i < PEAK; i += 4)
        peak[i] = malloc(5000);
    QT_CHECKF(vma_count() < 1000, "%ld mappings", vma_count());
}

/* --------------------------------------------------------------- start-up */

/* Of a program that does nothing; the least of some. */
static long faults_of_starting(char **environment)
{
    char *arguments[] = {"true", NULL};
    long least = LONG_MAX;
    for (int i = 0; i < 5; i++) {
        struct rusage used;
        pid_t pid = fork();
        QT_CHECK(pid >= 0);
        if (pid == 0) {
            execve("/bin/true", arguments, environment);
            _exit(127);
        }
        int status;
        QT_EQ(wait4(pid, &status, 0, &used), pid);
        QT_EQ(status, 0);
        least = used.ru_minflt < least ? used.ru_minflt : least;
    }
    return least;
}

QTEST("a process that does nothing starts with few page faults more than under libc (decision 0023)")
{
    QT_GLIBC_ONLY("the programs here are of another libc");
    char *none[] = {NULL};
    long with = faults_of_starting(environ), without = faults_of_starting(none);
    QT_CHECKF(with <= without + 20, "%ld faults, %ld without Quarry", with, without);
}

/* Of the mappings of such a kind whose file has `part` in its name, in a process that shows us its own. */
static long resident_kib_of(const char *part, const char *kind)
{
    FILE *list = popen("exec cat /proc/self/smaps", "r");
    QT_CHECK(list != NULL);
    char line[4096];
    bool counts = false;
    long sum = 0, kib;
    while (fgets(line, sizeof line, list)) {
        if (strchr(line, '-') && strchr(line, '-') < strchr(line, ' '))
            counts = strstr(line, part) != NULL && strstr(line, kind) != NULL;
        else if (counts && sscanf(line, "Rss: %ld kB", &kib) == 1)
            sum += kib;
    }
    QT_EQ(pclose(list), 0);
    return sum;
}

QTEST("what few processes run of the library is resident in few (decision 0023)")
{
    QT_GLIBC_ONLY("the programs here are of another libc");
#if QY_CHECK
    QT_SKIP("with the invariant walkers in, the rest is larger than a window");
#endif
    if (getenv("QUARRY_CONF"))
        QT_SKIP("who is given options runs what reads them");
    long kib = resident_kib_of("libquarry.so", ""), text = resident_kib_of("libquarry.so", " r-xp ");
    QT_CHECK(text > 0);
    QT_CHECKF(kib <= 100, "%ld KiB are", kib);
#if !defined(__clang__) && defined(__x86_64__)
    /* What many run fits into one window: whoever makes it longer moves something else away (src/library.ld). */
    QT_CHECKF(text <= 64, "%ld KiB of them are text", text);
#endif
}

QTEST_MAIN
