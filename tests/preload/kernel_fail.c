/* timeout: 240 */
/*
 * The kernel refuses: each call that takes, changes or returns memory fails at its n-th use, once or for good, for
 * every n until a run makes no more calls (M-25, E "nothing is lost").
 *
 * Each run is a new process whose n-th call fails, the allocator's very first included. It must get NULL with ENOMEM
 * or be served some other way; what is live stays intact; when the kernel has recovered everything works; all can be
 * freed. One refusal may cost at most one request.
 */
#include "failkernel.h"
#include "stress_blocks.h"

/* --------------------------------------------------------------- one run, in a process of its own */

/* What a run tells the case that started it, through an inherited file. */
struct report {
    long seen, failed, nulls;
    long calls[FK_KINDS];
};

enum { REPORT_FD = 200, SLOTS = 48 };

static atomic_long nulls;

static void work(struct block *slots, struct rng *r, int steps, size_t largest)
{
    for (int step = 0; step < steps; step++) {
        struct block *b = &slots[rng_below(r, SLOTS)];
        size_t n = block_size(r, largest);
        if (!b->p)
            nulls += !block_make(b, n, r);
        else if (rng_one_in(r, 3))
            nulls += !block_resize(b, n);
        else
            block_drop(b);
    }
}

static void drop_all(struct block *slots, int count)
{
    for (int i = 0; i < count; i++)
        block_drop(&slots[i]);
}

static struct block of_threads[2][SLOTS];

static void *worker(void *context)
{
    long i = (long)context;
    struct rng r = rng_seeded((uint64_t)i + 100);
    work(of_threads[i], &r, 150, 1 << 20);
    return NULL;
}

/* A thread is work for libc as well: where it cannot start one, the work is done here. */
static void in_threads(void)
{
    pthread_t t[2];
    bool started[2];
    for (long i = 0; i < 2; i++) {
        pthread_attr_t attr;
        pthread_attr_init(&attr);
        pthread_attr_setstacksize(&attr, 256 * 1024);
        started[i] = pthread_create(&t[i], &attr, worker, (void *)i) == 0;
        if (!started[i])
            worker((void *)i);
    }
    for (int i = 0; i < 2; i++)
        if (started[i])
            thread_end(t[i]);
}

/* Many small blocks, then none: the heap grows and shrinks. */
static void wave(struct rng *r)
{
    static struct block blocks[3000];
    for (int i = 0; i < 3000; i++)
        nulls += !block_make(&blocks[i], 16 + rng_below(r, 500), r);
    drop_all(blocks, 3000);
}

/* One large block through sizes that move it, grow it where it is and cut its end off. */
static void resize_large(struct rng *r)
{
    static const size_t sizes[] = {2 << 20, 9 << 20, 8 << 20, 40 << 20, 36 << 20, 50000, 35 << 20, 60 << 20};
    struct block b;
    if (!block_take(&b, 1 << 20, r)) {
        nulls++;
        return;
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        nulls += !block_resize(&b, sizes[i]);
    block_drop(&b);
}

static void must_work(void)
{
    static const size_t sizes[] = {1, 24, 100, 1000, 1024, 1025, 10000, 100000, 1 << 20, 20 << 20};
    struct block blocks[10];
    struct rng r = rng_seeded(7);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 10; i++)
            QT_CHECKF(block_make(&blocks[i], sizes[i], &r), "%zu bytes after the kernel had recovered",
                      sizes[i]);
        drop_all(blocks, 10);
    }
}

static int run(void)
{
    static struct block slots[SLOTS];
    struct rng r = rng_seeded(1);
    alarm(60);
    work(slots, &r, 250, 4 << 20);
    wave(&r);
    resize_large(&r);
    in_threads();
    malloc_trim(0);
    work(slots, &r, 50, 4 << 20);
    drop_all(slots, SLOTS / 2);
    malloc_trim(0);
    for (int i = 0; i < SLOTS; i++)
        if (slots[i].p)
            block_verify(&slots[i]);

    struct report report = {.seen = fk_seen(), .failed = fk_failed(), .nulls = nulls};
    for (int i = 0; i < FK_KINDS; i++)
        report.calls[i] = fk_calls[i];
    fk_heal();
    for (int i = 0; i < 2; i++)
        drop_all(of_threads[i], SLOTS);
    drop_all(slots, SLOTS);
    must_work();
    in_threads();
    must_work();
    ssize_t ignored = pwrite(REPORT_FD, &report, sizeof report, 0);
    (void)ignored;
    return 0;
}

/* --------------------------------------------------------------- the cases */

static struct report run_failing_at(long at, bool forever, unsigned kinds)
{
    char fail_at[64], fail_kinds[64];
    int fd = memfd_create("report", 0);
    snprintf(fail_at, sizeof fail_at, "%ld", at);
    snprintf(fail_kinds, sizeof fail_kinds, "%u", kinds);
    setenv("FK_FAIL_AT", fail_at, 1);
    setenv("FK_KINDS", fail_kinds, 1);
    setenv("FK_FOREVER", forever ? "1" : "0", 1);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fd, REPORT_FD);
        char *const argv[] = {(char *)"kernel_fail", (char *)"--run", NULL};
        execv("/proc/self/exe", argv);
        _exit(126);
    }
    int status;
    QT_CHECK(waitpid(pid, &status, 0) == pid);
    QT_CHECKF(WIFEXITED(status) && WEXITSTATUS(status) == 0, "call %ld%s of kinds %#x: wait status %#x", at,
              forever ? " and all after it" : "", kinds, (unsigned)status);
    struct report report = {.seen = 0};
    QT_CHECK(pread(fd, &report, sizeof report, 0) == sizeof report);
    close(fd);
    return report;
}

/*
 * Every n while there are few enough; else the first RUNS / 2 and then ever wider steps, so that the time stays
 * bounded. QUARRY_TEST_LONG: every n whatever it takes.
 */
enum { RUNS = 160 };

static long next_after(long n)
{
    return getenv("QUARRY_TEST_LONG") || n < RUNS / 2 ? n + 1 : n + 1 + n / (RUNS / 4);
}

/* A run without a failure: it must make calls, and every one of its requests is served. */
static struct report undisturbed(unsigned kinds)
{
    struct report r = run_failing_at(0, false, kinds);
    QT_EQ(r.failed, 0);
    QT_EQ(r.nulls, 0);
    if (r.seen == 0 && !qt_under_quarry())
        QT_SKIP("this allocator's calls do not come here");
    return r;
}

QTEST_X("one refusal by the kernel, at any call, costs at most one request (M-25)", .timeout_s = 200)
{
    struct report all = undisturbed(FK_ALL);
    QT_CHECK(all.seen > 10);
    for (long n = 1, quiet = 0; quiet < 3; n = next_after(n)) {
        struct report r = run_failing_at(n, false, FK_ALL);
        quiet = r.failed ? 0 : quiet + 1; /* threads make the number of calls vary */
        QT_CHECKF(r.nulls <= r.failed, "call %ld: %ld requests refused", n, r.nulls);
    }
}

QTEST_X("a kernel that refuses all from any call on leaves what is live intact (M-25)", .timeout_s = 200)
{
    undisturbed(FK_ALL);
    for (long n = 1, quiet = 0; quiet < 3; n = next_after(n))
        quiet = run_failing_at(n, true, FK_ALL).failed ? 0 : quiet + 1;
}

/* All calls of these kinds fail from the first and from the tenth; `served`: no request may be refused for it. */
static void refuse_kinds(unsigned kinds, bool served)
{
    undisturbed(kinds);
    for (long n = 1; n <= 10; n += 9) {
        struct report r = run_failing_at(n, true, kinds);
        if (served)
            QT_CHECKF(r.nulls == 0, "from call %ld: %ld requests refused", n, r.nulls);
    }
}

QTEST_X("where brk never works mappings serve (M-20)", .timeout_s = 60)
{
    refuse_kinds(1u << FK_BRK, true);
}

QTEST_X("where memory cannot be returned it is kept: munmap and madvise fail, no request does (M-25)",
        .timeout_s = 60)
{
    refuse_kinds(1u << FK_MUNMAP, true);
    refuse_kinds(1u << FK_MADVISE, true);
    refuse_kinds(1u << FK_MUNMAP | 1u << FK_MADVISE, true);
}

QTEST_X("where mremap never works blocks are copied (M-21)", .timeout_s = 60)
{
    QT_CHECK(undisturbed(1u << FK_MREMAP).seen >= 3);
    refuse_kinds(1u << FK_MREMAP, true);
}

QTEST_X("where protection cannot change some other way is found (M-32)", .timeout_s = 60)
{
    refuse_kinds(1u << FK_MPROTECT, true);
}

QTEST_X("where nothing can be mapped the break serves all that fits there (M-25)", .timeout_s = 60)
{
    refuse_kinds(1u << FK_MMAP, true);
}

/*
 * The break moves, what else is needed for the new part is refused, and so is the way back: then the break and the heap
 * disagree. Failed before: the next growth took the lost part for its own ("corrupted top"). Near multiples of 64 MiB,
 * where the allocator needs tables for the next part.
 */
QTEST("a break that has moved and can neither be used nor be moved back is lived with (M-20, M-25)")
{
    static struct block blocks[400];
    struct rng r = rng_seeded(3);
    const uintptr_t border = (uintptr_t)64 << 20;
    int count = 0;
    for (int i = 0; i < 10; i++) {
        uintptr_t now = (uintptr_t)sbrk(0), next = (now + border) & -border;
        if (next - now > 400000)
            QT_CHECK(sbrk((intptr_t)(next - now - 400000)) != (void *)-1);
        for (int k = 0; k < 20; k++) {
            fk_fail(2, true);
            struct block b;
            if (block_take(&b, 60000, &r))
                blocks[count++] = b;
            fk_heal();
            QT_CHECK(block_take(&b, 100 + rng_below(&r, 2000), &r));
            blocks[count++] = b;
        }
    }
    drop_all(blocks, count);
    must_work();
}

QTEST(
    "at the end of memory a request asks the kernel a few times, not for ever smaller pieces each time (M-25)")
{
    enum { REQUESTS = 200, AT_MOST = 14, LARGE = 200000 };
    static void *kept[1 << 20];
    int count = 0;
    while (count < LARGE)
        QT_CHECK((kept[count++] = malloc(100)) != NULL);
    fk_fail(1, true);
    while ((kept[count] = malloc(100)) != NULL)
        count++;
    long before = fk_failed();
    for (int i = 0; i < REQUESTS; i++)
        QT_CHECK(malloc(100) == NULL);
    long asked = fk_failed() - before;
    fk_heal();
    QT_CHECKF(asked <= AT_MOST * REQUESTS, "%.1f refusals a request", (double)asked / REQUESTS);
    while (count > 0)
        free(kept[--count]);
    must_work();
}

static void *without_protection(void *context)
{
    long before = qt_status_kib("VmSize:");
    fk_fail_kinds(1u << FK_MPROTECT);
    fk_fail(1, true);
    for (int i = 0; i < 50; i++)
        QT_CHECK(malloc(3000) != NULL);
    fk_heal();
    long grown = qt_status_kib("VmSize:") - before;
    QT_CHECKF(grown < 64 * 1024, "%ld KiB", grown);
    return context;
}

QTEST("address space whose memory is refused is not lost (M-25, M-32)")
{
    thread_end(thread_start(without_protection, NULL));
}

QTEST("the memory of a block that cannot be unmapped goes back (M-21, M-25)")
{
    enum { BYTES = 40 << 20 };
    char *p = malloc(BYTES);
    memset(p, 1, BYTES);
    long before = qt_rss_kib();
    fk_fail_kinds(1u << FK_MUNMAP);
    fk_fail(1, true);
    free(p);
    QT_CHECK(fk_failed() > 0);
    fk_heal();
    QT_CHECKF(before - qt_rss_kib() > BYTES / 1024 * 9 / 10, "%ld KiB before, %ld after", before,
              qt_rss_kib());
}

QTEST("free leaves errno alone when the kernel does not take the memory back (M-25, M-40)")
{
    void *p = malloc(64 << 20);
    fk_fail_kinds(1u << FK_MUNMAP | 1u << FK_MADVISE);
    fk_fail(1, true);
    errno = EBADF;
    free(p);
    QT_EQ(errno, EBADF);
    QT_CHECK(fk_failed() > 0);
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "--run"))
        return run();
    return qt_main(argc, argv);
}
