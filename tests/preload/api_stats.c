/*
 * Figures (M-41): mallinfo2, mallinfo, malloc_info, malloc_stats and malloc_trim say what is true.
 */
/* timeout: 120 */
#include "heap.h"
#include "qtest.h"
#include "rng.h"
#include "xml.h"
#include <pthread.h>
#include <sched.h>

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

enum { MANY = 20000 };

static void *block[MANY];

static void take(int count, size_t n)
{
    for (int i = 0; i < count; i++) {
        QT_CHECK(block[i] = heap.malloc(n));
        memset(block[i], 1, n);
    }
}

static void give(int count)
{
    for (int i = 0; i < count; i++)
        heap.free(block[i]);
}

static struct mallinfo2 sane(void)
{
    struct mallinfo2 m = mallinfo2();
    QT_CHECKF(m.arena == m.uordblks + m.fordblks, "arena %zu, uordblks %zu, fordblks %zu", m.arena,
              m.uordblks, m.fordblks);
    QT_CHECKF(m.keepcost <= m.fordblks, "keepcost %zu, fordblks %zu", m.keepcost, m.fordblks);
    QT_CHECKF(m.fsmblks <= m.fordblks, "fsmblks %zu, fordblks %zu", m.fsmblks, m.fordblks);
    return m;
}

/* What is in use grows by what was asked for, and by not much more: headers, rounding, caches. */
static void check_in_use(int count, size_t n)
{
    size_t asked = (size_t)count * n;
    struct mallinfo2 before = sane();
    take(count, n);
    struct mallinfo2 during = sane();
    size_t grown = during.uordblks + during.hblkhd - before.uordblks - before.hblkhd;
    QT_CHECKF(grown >= asked * 97 / 100, "%d of %zu: in use grew by %zu, asked %zu", count, n, grown, asked);
    size_t rounding = n < 4096 ? 32 : 4096; /* a block may have a mapping of its own */
    QT_CHECKF(grown <= asked + asked / 2 + (size_t)count * rounding + 512 * KIB,
              "%d of %zu: in use grew by %zu, asked %zu", count, n, grown, asked);
    give(count);
    heap.malloc_trim(0);
    struct mallinfo2 after = sane();
    size_t left = after.uordblks + after.hblkhd;
    QT_CHECKF(left <= before.uordblks + before.hblkhd + grown / 4 + 512 * KIB,
              "%d of %zu: %zu in use before, %zu after", count, n, before.uordblks + before.hblkhd, left);
}

QTEST("blocks that a thread keeps are free, however many it keeps (M-41)")
{
    enum { BATCH = 1500, BYTES = 40 };
    size_t before = sane().uordblks;
    for (int i = 0; i < 20; i++) { /* taken and freed in turns: its thread keeps many of the size */
        take(BATCH, BYTES);
        give(BATCH);
    }
    size_t after = sane().uordblks;
    QT_CHECKF(after < before + BATCH * BYTES / 4, "%zu bytes in use before, %zu after", before, after);
}

QTEST("mallinfo2: in use grows and falls with the blocks, and arena = uordblks + fordblks (M-41)")
{
    check_in_use(MANY, 100);
    check_in_use(MANY, 24);
    check_in_use(MANY, 1000);
    check_in_use(2000, 5000);
    check_in_use(200, 100000);
    check_in_use(20, MIB);
}

QTEST("mallinfo2: hblks and hblkhd count the mapped blocks (M-21, M-41)")
{
    QT_EQ(heap.mallopt(M_MMAP_THRESHOLD, 128 * 1024), 1);
    struct mallinfo2 before = sane();
    take(10, MIB);
    struct mallinfo2 during = sane();
    QT_EQ(during.hblks, before.hblks + 10);
    QT_CHECKF(during.hblkhd - before.hblkhd >= 10 * MIB && during.hblkhd - before.hblkhd <= 10 * (MIB + 8192),
              "%zu", during.hblkhd - before.hblkhd);
    give(10);
    struct mallinfo2 after = sane();
    QT_EQ(after.hblks, before.hblks);
    QT_EQ(after.hblkhd, before.hblkhd);
}

QTEST("mallinfo2: figures stay sane under random traffic (M-41)")
{
    struct rng r = rng_seeded(9);
    for (int step = 0; step < 100000; step++) {
        size_t k = rng_below(&r, 3000);
        heap.free(block[k]);
        block[k] = heap.malloc(rng_log(&r, 1, rng_one_in(&r, 20) ? 200000 : 3000));
        if (step % 100 == 0)
            sane();
    }
}

static void *traffic(void *seed)
{
    struct rng r = rng_seeded((uintptr_t)seed);
    void *mine[100] = {0};
    for (int step = 0; step < 100000; step++) {
        size_t k = rng_below(&r, 100);
        heap.free(mine[k]);
        mine[k] = heap.malloc(rng_log(&r, 1, 20000));
    }
    for (int k = 0; k < 100; k++)
        heap.free(mine[k]);
    return NULL;
}

QTEST("mallinfo2 can be asked while other threads allocate (M-41)")
{
    pthread_t thread[4];
    for (uintptr_t i = 0; i < 4; i++)
        QT_EQ(pthread_create(&thread[i], NULL, traffic, (void *)i), 0);
    for (int i = 0; i < 200; i++)
        mallinfo2();
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    sane();
}

QTEST("mallinfo gives mallinfo2's figures as ints (M-41)")
{
    take(1000, 500);
    void *chunk = heap.malloc(3000), *mapped = heap.malloc(64 << 20);
    struct mallinfo old = mallinfo();
    struct mallinfo2 new = mallinfo2();
    QT_CHECK(new.hblks > 0 && new.hblkhd > 0 &&
             new.keepcost > 0); /* so that a figure left out is not right */
    QT_EQ(old.arena, new.arena);
    QT_EQ(old.ordblks, new.ordblks);
    QT_EQ(old.smblks, new.smblks);
    QT_EQ(old.hblks, new.hblks);
    QT_EQ(old.hblkhd, new.hblkhd);
    QT_EQ(old.uordblks, new.uordblks);
    QT_EQ(old.fordblks, new.fordblks);
    QT_EQ(old.keepcost, new.keepcost);
    heap.free(mapped);
    heap.free(chunk);
    give(1000);
}

/* ------------------------------------------------- malloc_info, malloc_stats */

static char text[256 * 1024];

/* What `write_it` writes to a stream, into `text`. */
static void capture(void (*write_it)(FILE *))
{
    int fd = memfd_create("capture", 0);
    FILE *stream = fdopen(fd, "w");
    write_it(stream);
    fflush(stream);
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = 0;
    fclose(stream);
}

static void info(FILE *stream)
{
    QT_EQ(malloc_info(0, stream), 0);
}

QTEST("malloc_info writes well-formed XML with the element malloc (M-41)")
{
    take(5000, 100);
    take(50, MIB);
    capture(info);
    QT_CHECKF(xml_error(text) == NULL, "%s in:\n%.900s", xml_error(text), text);
    QT_CHECKF(strncmp(text, "<malloc version=\"", 17) == 0, "%.100s", text);
    QT_CHECK(strstr(text, "<heap nr=\"0\""));
    QT_CHECK(strstr(text, "<system type=\"current\" size=\""));
}

QTEST("malloc_info refuses options it does not know with EINVAL (M-41)")
{
    for (int options = -1; options <= 1; options += 2) { /* glibc returns it, its manual says -1 and errno */
        errno = 0;
        int result = malloc_info(options, stderr);
        QT_CHECKF(result == EINVAL || (result == -1 && errno == EINVAL), "%d, errno %d", result, errno);
    }
}

/* The figure after the last `before` in text, past spaces and an equals sign. */
static size_t figure_after(const char *before)
{
    const char *at = NULL;
    for (const char *next = text; (next = strstr(next, before)); next++)
        at = next;
    QT_CHECKF(at, "no %s in:\n%.900s", before, text);
    at += strlen(before);
    return strtoull(at + strspn(at, " ="), NULL, 10);
}

QTEST("malloc_info's totals are mallinfo2's (M-41)")
{
    QT_EQ(heap.mallopt(M_MMAP_THRESHOLD, 128 * 1024), 1);
    take(5, MIB);
    take(300, 3000);
    capture(info);
    struct mallinfo2 m = mallinfo2();
    QT_EQ(figure_after("<total type=\"mmap\" count=\""), m.hblks);
    size_t system = figure_after("<system type=\"current\" size=\"");
    QT_CHECKF(system >= m.arena && system <= m.arena + MIB, "system %zu, arena %zu", system, m.arena);
}

QTEST("malloc_info's largest system is that of all time, in the total, too (M-41)")
{
    QT_EQ(heap.mallopt(M_MMAP_THRESHOLD, MIB), 1);
    take(2000, 5000);
    give(2000);
    heap.malloc_trim(0);
    capture(info);
    size_t current = figure_after("<system type=\"current\" size=\""),
           largest = figure_after("<system type=\"max\" size=\"");
    QT_CHECKF(largest >= current + 5 * MIB, "now %zu, at most %zu", current, largest);
}

QTEST("a fast bin that a stale write made a ring does not hold up who counts (M-12, M-41)")
{
    if (!qt_under_quarry() || !qt_conf_has("classic:true"))
        QT_SKIP("there are no fast bins, or glibc's, which do");
    for (int i = 0; i < 9; i++)
        block[i] = heap.malloc(40);
    give(9);
    uintptr_t *freed = block[8]; /* seven are with the thread */
    *freed = ((uintptr_t)freed >> 12) ^ ((uintptr_t)freed - 16);
    QT_CHECK(mallinfo2().smblks > 2);
}

static void stats(FILE *stream)
{
    int saved = dup(2);
    dup2(fileno(stream), 2);
    malloc_stats();
    dup2(saved, 2);
    close(saved);
}

QTEST("malloc_stats writes its figures to stderr, and they are mallinfo2's (M-41)")
{
    QT_EQ(heap.mallopt(M_MMAP_THRESHOLD, 128 * 1024), 1);
    take(5000, 100);
    take(5, MIB);
    capture(stats);
    struct mallinfo2 m = mallinfo2();
    size_t system = figure_after("system bytes "), in_use = figure_after("in use bytes ");
    QT_CHECKF(system >= m.arena + m.hblkhd - MIB && system <= m.arena + m.hblkhd + MIB,
              "%zu, arena %zu, mapped %zu", system, m.arena, m.hblkhd);
    QT_CHECKF(in_use <= system && in_use >= 5000 * 100 + 5 * MIB, "in use %zu of %zu", in_use, system);
}

QTEST("the reports have the main arena also of a process that never used any (M-30, M-41)")
{
    QT_GLIBC_ONLY("the programs here are of another libc");
    if (!qt_under_quarry())
        QT_SKIP("libc has no report at exit");
    FILE *report = popen("QUARRY_CONF=\"${QUARRY_CONF:+$QUARRY_CONF,}stats:true\" exec /bin/true 2>&1", "r");
    QT_CHECK(report != NULL);
    char line[200];
    bool found = false;
    while (fgets(line, sizeof line, report)) {
        if (strstr(line, "cannot be preloaded"))
            QT_SKIP("/bin/true is of another architecture (an emulator?)");
        found |= strstr(line, "Arena 0:") != NULL;
    }
    QT_EQ(pclose(report), 0);
    QT_CHECK(found);
}

/* ------------------------------------------------- malloc_trim */

QTEST("malloc_trim returns 0 when there is nothing to give back (M-23, M-41)")
{
    heap.malloc_trim(0);
    heap.malloc_trim(0);
    QT_EQ(heap.malloc_trim(0), 0);
}

/* Blocks freed under a live one cannot leave by the top: trim must release the pages inside. */
static void check_trim_inside(size_t n, int count)
{
    long before = qt_rss_kib();
    take(count, n);
    void *pin = heap.malloc(n);
    long peak = qt_rss_kib();
    give(count);
    int released = heap.malloc_trim(0);
    long after = qt_rss_kib();
    long size_kib = (long)((size_t)count * n / KIB);
    QT_CHECKF(peak - before > size_kib * 9 / 10, "peak only %ld KiB above %ld", peak - before, before);
    QT_CHECKF(after - before < size_kib / 5 + 1024, "%d of %zu: %ld of %ld KiB left, trim returned %d", count,
              n, after - before, peak - before, released);
    heap.free(pin);
}

QTEST("malloc_trim releases free pages that a live block keeps from the top, medium blocks (M-23)")
{
    check_trim_inside(5000, 8000);
    check_trim_inside(60000, 600);
}

QTEST("malloc_trim releases free pages that a live block keeps from the top, small blocks (M-23)")
{
    check_trim_inside(1000, MANY);
    check_trim_inside(400, MANY);
}

QTEST("malloc_trim releases what is left at the top and returns 1 (M-23, M-41)")
{
    heap.mallopt(M_TRIM_THRESHOLD, 1 << 30);
    heap.mallopt(M_MMAP_MAX, 0);
    long before = qt_rss_kib();
    take(400, 100000);
    give(400);
    int released = heap.malloc_trim(0);
    QT_CHECKF(qt_rss_kib() - before < 4096, "%ld KiB left", qt_rss_kib() - before);
    QT_EQ(released, 1);
}

static void *hold(void *stop)
{
    take(3000, 5000);
    give(3000);
    __atomic_store_n((int *)stop, 1, __ATOMIC_RELEASE);
    while (__atomic_load_n((int *)stop, __ATOMIC_ACQUIRE) != 2)
        usleep(1000);
    return NULL;
}

QTEST("malloc_trim reaches the arenas and caches of other threads (M-23, M-31)")
{
    pthread_t thread;
    int stop = 0;
    QT_EQ(pthread_create(&thread, NULL, hold, &stop), 0);
    long before = qt_rss_kib();
    while (__atomic_load_n(&stop, __ATOMIC_ACQUIRE) != 1)
        usleep(1000);
    heap.malloc_trim(0);
    long after = qt_rss_kib();
    QT_CHECKF(after - before < 4096, "%ld KiB left of 15000", after - before);
    __atomic_store_n(&stop, 2, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
}

static int stop_traffic;

static void *trim_again_and_again(void *unused)
{
    struct sched_param none = {0};
    (void)unused;
    pthread_setschedparam(pthread_self(), SCHED_IDLE, &none);
    while (!__atomic_load_n(&stop_traffic, __ATOMIC_RELAXED))
        heap.malloc_trim(0);
    return NULL;
}

static void *allocate_now_and_then(void *unused)
{
    (void)unused;
    while (!__atomic_load_n(&stop_traffic, __ATOMIC_RELAXED)) {
        for (size_t i = 0; i < 20; i++) {
            void *p = heap.malloc(8 + i % 3 * 16), *q = heap.malloc(1200 + i % 7 * 500);
            heap.free(q);
            heap.free(p);
        }
        usleep(20);
    }
    return NULL;
}

/*
 * In an early state of Quarry a thread could be asked for its cache twice and answer once, and then took its own free
 * blocks for ones that were written over. Whoever trims is interrupted by each of the others that wakes up, anywhere.
 */
QTEST("several threads may trim while others allocate (M-23)")
{
    pthread_t thread[10];
    for (int i = 0; i < 10; i++) {
        void *(*body)(void *) = i < 4 ? trim_again_and_again : allocate_now_and_then;
        QT_EQ(pthread_create(&thread[i], NULL, body, NULL), 0);
    }
    sleep(4);
    __atomic_store_n(&stop_traffic, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 10; i++)
        pthread_join(thread[i], NULL);
}

QTEST_MAIN
