/* timeout: 120 */
/*
 * Too little memory: RLIMIT_AS and RLIMIT_DATA, set while the program runs and before it starts, down to where the
 * allocator cannot reserve what it would like to (M-25). At the limit a request gets NULL and ENOMEM, smaller ones are
 * still served, and what is freed can be had again. glibc 2.36 passes every case.
 */
#include "stress_blocks.h"

#include <dlfcn.h>

enum { K = 1024, M = 1024 * K, BLOCKS_MAX = 20000 };

static struct block blocks[BLOCKS_MAX];

/* Blocks of n bytes until there is no more memory, or `most` of them; how many. */
static int take_all(struct block *out, int most, size_t n, struct rng *r)
{
    int count = 0;
    while (count < most && block_take(&out[count], n, r))
        count++;
    if (count < most)
        QT_EQ(out[count].p, 0);
    return count;
}

static void drop_each(struct block *from, int count, int step)
{
    for (int i = 0; i < count; i += step)
        block_drop(&from[i]);
}

/*
 * Exhausts the limit with blocks of `large`, then asks for small ones; frees every other and all, and asks again.
 * So many large ones must be had at first, so many small ones when a large one has been refused; and of the places of
 * freed blocks no more than so many in a hundred, and so many bytes, may be lost to blocks of the same size.
 */
static void exhaust(size_t large, int must_have_large, int must_have_small, int lost_percent,
                    size_t lost_bytes)
{
    int lost = (int)(lost_bytes / large) + 1;
    struct rng r = rng_seeded(3);
    int first = take_all(blocks, BLOCKS_MAX / 2, large, &r);
    bool met = first < BLOCKS_MAX / 2; /* not where what was reserved before serves them all */
    QT_CHECKF(first >= must_have_large, "%d blocks of %zu", first, large);

    QT_CHECKF(met || large < 1000, "the limit was never met");

    int small = take_all(blocks + first, must_have_small ? must_have_small : 100, 100, &r);
    QT_CHECKF(small >= must_have_small, "only %d small blocks after a large one was refused", small);
    for (int i = 0; i < first + small; i++)
        block_verify(&blocks[i]);

    drop_each(blocks, first, 2);
    int again = 0, places = (first + 1) / 2;
    for (int i = 0; i < first; i += 2)
        again += block_take(&blocks[i], large, &r);
    QT_CHECKF(again >= places - lost - places * lost_percent / 100, "%d of %d places are lost",
              places - again, places);

    for (int i = 0; i < first + small; i++)
        block_drop(&blocks[i]);
    malloc_trim(0);
    int second = take_all(blocks, first, large, &r);
    QT_CHECKF(second >= first - first / 8 - lost - first * lost_percent / 100,
              "%d blocks of %zu at first, then %d", first, large, second);
    drop_each(blocks, second, 1);
}

static void limit(int which, size_t bytes)
{
    struct rlimit l = {bytes, bytes};
    QT_EQ(setrlimit(which, &l), 0);
}

static void limit_as_over_now(size_t bytes)
{
    limit(RLIMIT_AS, (size_t)qt_status_kib("VmSize:") * K + bytes);
}

static void limit_data_over_now(size_t bytes)
{
    limit(RLIMIT_DATA, (size_t)qt_status_kib("VmData:") * K + bytes);
}

/* --------------------------------------------------------------- set while the program runs */

/* Room for so many large blocks, and half a block more that only smaller requests can use. */
QTEST("RLIMIT_AS: mapped blocks to the end, then small ones still, then all again (M-25)")
{
    limit_as_over_now(40 * M + 4 * M);
    exhaust(8 * M, 4, 5000, 0, 0);
}

QTEST("RLIMIT_AS: medium blocks to the end, then small ones still, then all again (M-25)")
{
    limit_as_over_now(24 * M);
    exhaust(60 * K, 200, 10, 0, 0);
}

QTEST("RLIMIT_AS: small blocks to the end, then all again (M-25)")
{
    limit_as_over_now(6 * M);
    exhaust(800, 3000, 0, 0, 0);
}

QTEST("RLIMIT_DATA: mapped blocks to the end, then small ones still, then all again (M-25)")
{
    limit_data_over_now(40 * M + 4 * M);
    exhaust(8 * M, 4, 5000, 0, 0);
}

QTEST("RLIMIT_DATA: medium blocks to the end, then small ones still, then all again (M-25)")
{
    limit_data_over_now(24 * M);
    exhaust(60 * K, 200, 10, 0, 0);
}

QTEST("RLIMIT_DATA: small blocks to the end, then all again (M-25)")
{
    limit_data_over_now(6 * M);
    exhaust(800, 3000, 0, 0, 0);
}

QTEST("realloc at the limit returns NULL and leaves the block (M-25)")
{
    struct rng r = rng_seeded(5);
    struct block b;
    limit_as_over_now(30 * M);
    QT_CHECK(block_make(&b, 2 * M, &r));
    QT_CHECK(!block_resize(&b, 100 * M));
    QT_CHECK(block_resize(&b, 4 * M));
    QT_CHECK(!block_resize(&b, (size_t)1 << 40));
    QT_CHECK(block_resize(&b, 100));
    QT_CHECK(!block_resize(&b, 100 * M));
    block_drop(&b);
}

QTEST("a request beyond any limit is refused at once and costs nothing (M-25)")
{
    struct rng r = rng_seeded(6);
    struct block b;
    limit_as_over_now(30 * M);
    for (int i = 0; i < 10000; i++)
        QT_CHECK(!block_make(&b, (size_t)1 << (35 + i % 12), &r));
    QT_CHECK(block_make(&b, 8 * M, &r));
    block_drop(&b);
}

/* --------------------------------------------------------------- threads at the limit */

static pthread_barrier_t all_here;

static void *at_the_limit(void *context)
{
    pthread_barrier_wait(&all_here); /* a thread's stack is memory too */
    static _Thread_local struct block own[64];
    struct rng r = rng_seeded((uint64_t)(uintptr_t)context);
    int refused = 0;
    for (int i = 0; i < 4000; i++) {
        struct block *b = &own[rng_below(&r, 64)];
        if (b->p)
            block_drop(b);
        else
            refused += !block_make(b, block_size(&r, 32 * M), &r);
    }
    for (int i = 0; i < 64; i++)
        block_drop(&own[i]);
    return (void *)(intptr_t)refused;
}

static void threads_at_the_limit(void)
{
    pthread_t t[4];
    intptr_t refused = 0;
    pthread_barrier_init(&all_here, NULL, 4);
    for (uintptr_t i = 0; i < 4; i++)
        t[i] = thread_start_with(at_the_limit, (void *)(i + 1), 256 * K);
    for (int i = 0; i < 4; i++) {
        void *result;
        QT_EQ(pthread_join(t[i], &result), 0);
        refused += (intptr_t)result;
    }
    QT_CHECK(refused > 0);
    struct rng r = rng_seeded(9);
    struct block b;
    QT_CHECK(block_make(&b, 200 * K, &r));
    block_drop(&b);
}

QTEST("four threads at RLIMIT_AS: refused at times, never wrong, nothing lost (M-25)")
{
    limit_as_over_now(12 * M);
    threads_at_the_limit();
}

QTEST("four threads at RLIMIT_DATA: refused at times, never wrong, nothing lost (M-25)")
{
    limit_data_over_now(12 * M);
    threads_at_the_limit();
}

static void *five_megabytes(void *context)
{
    enum { COUNT = 5 * M / (60 * K) };
    void *own[COUNT];
    (void)context;
    for (int i = 0; i < COUNT; i++)
        QT_CHECK((own[i] = malloc(60 * K)));
    pthread_barrier_wait(&all_here); /* each has a sub-heap of its own */
    for (int i = 0; i < COUNT; i++)
        free(own[i]);
    return NULL;
}

/* The kernel counts what may be written to, whether it was touched or not. */
QTEST_X("RLIMIT_DATA: what two threads had serves a third (M-25, M-32)", .env = "MALLOC_ARENA_MAX=8")
{
    enum { COUNT = 9 * M / (60 * K) };
    static void *own[COUNT];
    pthread_t t[2];
    pthread_barrier_init(&all_here, NULL, 2);
    limit_data_over_now(15 * M);
    for (int i = 0; i < 2; i++)
        t[i] = thread_start_with(five_megabytes, NULL, 256 * K);
    for (int i = 0; i < 2; i++)
        thread_end(t[i]);
    for (int i = 0; i < COUNT; i++)
        QT_CHECKF((own[i] = malloc(60 * K)), "%d of %d", i, COUNT);
    for (int i = 0; i < COUNT; i++)
        free(own[i]);
}

QTEST("what small blocks left free serves a large one before it is refused (M-25)")
{
    QT_GLIBC_ONLY("small blocks take no address space: it was reserved");
    enum { COUNT = 16 * M / 512 };
    static void *small[COUNT];
    limit_as_over_now(24 * M);
    for (int i = 0; i < COUNT; i++)
        QT_CHECK((small[i] = malloc(500)));
    void *large = malloc(16 * M);
    QT_CHECK(!large);
    for (int i = 0; i < COUNT; i++)
        free(small[i]);
    large = malloc(16 * M);
    QT_CHECK(large);
    free(large);
}

/* --------------------------------------------------------------- set before the program starts */

enum { STARTED = 40 };

static void *small_thread(void *context)
{
    struct rng r = rng_seeded(11);
    struct block b[200];
    (void)context;
    for (int i = 0; i < 200; i++)
        QT_CHECK(block_make(&b[i], 1 + rng_below(&r, 500), &r));
    drop_each(b, 200, 1);
    return NULL;
}

/* What runs under the limit. It exits with STARTED when all is well. */
static int under_limit(size_t bytes)
{
    struct rng r = rng_seeded(12);
    struct block b[1000];
    for (int i = 0; i < 1000; i++)
        QT_CHECK(block_make(&b[i], 1 + rng_below(&r, 500), &r));
    pthread_t t = thread_start_with(small_thread, NULL, 64 * K);
    thread_end(t);
    /* What was mapped comes from the break now (M-22); should it come to a border of 64 MiB, marks take their place. */
    exhaust(bytes / 40 > 100 * K ? bytes / 40 : 100 * K, 1, 0, 40, M + 4 * K);
    drop_each(b, 1000, 1);
    return STARTED;
}

/* How this program, with these arguments, ends under a limit that it is started with. */
static int status_under(int which, size_t bytes, const char *what, bool preload)
{
    char size[32];
    snprintf(size, sizeof size, "%zu", bytes);
    pid_t pid = fork();
    if (pid == 0) {
        if (!preload)
            unsetenv("LD_PRELOAD");
        if (!strcmp(what, "--start"))
            dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 2); /* the loader says that it cannot */
        limit(which, bytes);
        char *const argv[] = {(char *)"kernel_limits", (char *)what, size, NULL};
        execv("/proc/self/exe", argv);
        _exit(126);
    }
    int status;
    QT_CHECK(waitpid(pid, &status, 0) == pid);
    return status;
}

static bool ends_well(int status)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == STARTED;
}

/* The least limit, in steps, under which the program starts and, if it is to, the preloaded allocator is in place. */
static size_t least_limit(int which, bool preload)
{
    size_t bytes = 256 * K;
    while (!ends_well(status_under(which, bytes, "--start", preload)))
        bytes += 128 * K;
    return bytes;
}

/* What the allocator's library itself may take, its tables included. */
enum { LIBRARY_BYTES = 6 * M };

/* From little above what the program needs to start at all, to no limit. */
static void every_limit(int which)
{
    size_t bare = least_limit(which, false), lowest = least_limit(which, true);
    QT_CHECKF(lowest <= bare + LIBRARY_BYTES, "%zu bytes to start with, %zu without", lowest, bare);
    lowest += qt_conf_has("mmap_threshold")
                  ? 6 * M
                  : 4 * M; /* each block its own pages; each size its own run, in two threads */
    for (size_t bytes = lowest; bytes <= (size_t)32 << 30; bytes = bytes * 3 / 2) {
        int status = status_under(which, page_up(bytes), "--under", true);
        QT_CHECKF(ends_well(status), "limit %zu: wait status %#x", page_up(bytes), (unsigned)status);
    }
}

QTEST_X("a program started under any RLIMIT_AS works within it (M-25)", .timeout_s = 100)
{
    every_limit(RLIMIT_AS);
}

QTEST_X("a program started under any RLIMIT_DATA works within it (M-25)", .timeout_s = 100)
{
    every_limit(RLIMIT_DATA);
}

/* What LD_PRELOAD names is where malloc comes from; true where it names nothing. */
static bool preloaded(void)
{
    Dl_info info;
    const char *preload = getenv("LD_PRELOAD");
    return !preload || !*preload ||
           (dladdr(dlsym(RTLD_DEFAULT, "malloc"), &info) && !strstr(info.dli_fname, "libc.so"));
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "--start"))
        return preloaded() ? STARTED : 1;
    if (argc > 2 && !strcmp(argv[1], "--under"))
        return under_limit(strtoul(argv[2], NULL, 10));
    return qt_main(argc, argv);
}
