/* timeout: 400 */
/*
 * fork at any moment (M-34): whatever the other threads are doing, the child has a heap that works; vfork, exec and
 * posix_spawn under the same load; forks that race with threads being born and dying.
 */
#include "processors.h"
#include "stress_blocks.h"

#include <dlfcn.h>
#include <pty.h>
#include <spawn.h>

enum { K = 1024, M = 1024 * K, BUSY = 4, SLOTS = 64 };

extern char **environ;

/* --------------------------------------------------------------- threads that all allocate */

static atomic_bool leave;
static pthread_t busy[BUSY];

/* Blocks that everyone may take out and put in: what the child finds there is complete, whoever made it. */
static struct block shared[SLOTS];
static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER;

static void swap_shared(struct block *b, uint64_t place)
{
    pthread_mutex_lock(&shared_lock);
    struct block was = shared[place % SLOTS];
    shared[place % SLOTS] = *b;
    pthread_mutex_unlock(&shared_lock);
    *b = was;
}

static void *busy_body(void *context)
{
    struct rng r = rng_seeded((uint64_t)(uintptr_t)context);
    struct block own[32];
    memset(own, 0, sizeof own);
    for (unsigned step = 0; !leave; step++) {
        struct block *b = &own[rng_below(&r, 32)];
        if (!b->p)
            QT_CHECK(block_make(b, block_size(&r, 300 * K), &r));
        else if (rng_one_in(&r, 4))
            QT_CHECK(block_resize(b, block_size(&r, 300 * K)));
        else if (rng_one_in(&r, 4))
            swap_shared(b, rng_next(&r));
        else
            block_drop(b);
        if (step % 20000 == 0)
            malloc_trim(0);
        if (step % 64 == 0)
            usleep(20); /* else two processors do little but this */
    }
    for (int i = 0; i < 32; i++)
        block_drop(&own[i]);
    return NULL;
}

static void busy_start(void)
{
    leave = false;
    for (uintptr_t i = 0; i < BUSY; i++)
        busy[i] = thread_start(busy_body, (void *)(i + 1));
}

static void busy_end(void)
{
    leave = true;
    for (int i = 0; i < BUSY; i++)
        thread_end(busy[i]);
    for (int i = 0; i < SLOTS; i++)
        block_drop(&shared[i]);
}

/* --------------------------------------------------------------- the child */

static void use_heap(uint64_t seed)
{
    struct rng r = rng_seeded(seed);
    struct block own[40];
    for (int i = 0; i < 40; i++)
        QT_CHECK(block_make(&own[i], block_size(&r, 300 * K), &r));
    for (int i = 0; i < 40; i += 3)
        QT_CHECK(block_resize(&own[i], block_size(&r, 300 * K)));
    for (int i = 0; i < 40; i++)
        block_drop(&own[i]);
}

static void *thread_of_child(void *context)
{
    use_heap((uint64_t)(uintptr_t)context);
    return NULL;
}

/* The lock of the test's own list was taken by the parent around fork, so what the child finds is complete. */
static void child_body(int i)
{
    alarm(100);
    use_heap((uint64_t)i);
    for (int k = 0; k < SLOTS; k++)
        block_drop(&shared[k]);
    use_heap((uint64_t)i + 1);
    if (i % 16 == 0)
        thread_end(thread_start_with(thread_of_child, (void *)(uintptr_t)i, 64 * K));
    if (i % 8 == 0)
        malloc_trim(0);
}

static pid_t fork_with_list(void)
{
    pthread_mutex_lock(&shared_lock);
    pid_t pid = fork();
    pthread_mutex_unlock(&shared_lock);
    QT_CHECKF(pid >= 0, "fork: %s", strerror(errno));
    return pid;
}

QTEST_X("1,000 forks of a process whose threads all allocate: each child allocates, frees, exits 0 (M-34)",
        .timeout_s = 100)
{
    const char *variant = getenv("QUARRY_VARIANT");
    int forks = !variant || !strcmp(variant, "default") ? 1000 : 200;
    double end = qt_seconds() + 25; /* where a fork takes tens of milliseconds, a hundred have to do */
    busy_start();
    for (int i = 0; i < forks && (i < 100 || qt_seconds() < end); i++) {
        pid_t pid = fork_with_list();
        if (pid == 0) {
            child_body(i);
            if (i % 2)
                _exit(0);
            exit(0);
        }
        use_heap((uint64_t)i);
        qt_wait_exit(pid, 0);
    }
    busy_end();
}

static void *forking_thread(void *context)
{
    int seed = (int)(intptr_t)context;
    for (int i = 0; i < 60; i++) {
        use_heap((uint64_t)seed + (uint64_t)i);
        pid_t pid = fork_with_list();
        if (pid == 0) {
            child_body(seed + i);
            _exit(0);
        }
        qt_wait_exit(pid, 0);
    }
    return NULL;
}

QTEST_X("several threads fork at once, while others allocate (M-34)", .timeout_s = 60)
{
    pthread_t t[4];
    busy_start();
    for (intptr_t i = 0; i < 4; i++)
        t[i] = thread_start(forking_thread, (void *)(i * 1000));
    for (int i = 0; i < 4; i++)
        thread_end(t[i]);
    busy_end();
}

static void nest(int depth)
{
    use_heap((uint64_t)depth);
    if (depth == 0)
        return;
    pthread_t t = thread_start_with(thread_of_child, (void *)(uintptr_t)depth, 64 * K);
    pid_t pid = fork();
    QT_CHECK(pid >= 0);
    if (pid == 0) {
        alarm(30);
        nest(depth - 1);
        _exit(0);
    }
    qt_wait_exit(pid, 0);
    thread_end(t);
    use_heap((uint64_t)depth + 100);
}

QTEST("children fork children, ten deep, each with threads (M-34)")
{
    busy_start();
    for (int i = 0; i < 10; i++)
        nest(10);
    busy_end();
}

static int at_prepare, at_parent, at_child;

static void allocate_at_prepare(void)
{
    at_prepare++;
    use_heap(1);
}

static void allocate_in_parent(void)
{
    at_parent++;
    use_heap(2);
}

static void allocate_in_child(void)
{
    at_child++;
    use_heap(3);
}

QTEST("handlers of pthread_atfork may allocate, whenever they were registered (M-34)")
{
    QT_EQ(pthread_atfork(allocate_at_prepare, allocate_in_parent, allocate_in_child), 0);
    busy_start();
    for (int i = 0; i < 100; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            alarm(100);
            QT_EQ(at_child, 1);
            use_heap((uint64_t)i);
            _exit(0);
        }
        qt_wait_exit(pid, 0);
    }
    busy_end();
    QT_EQ(at_prepare, 100);
    QT_EQ(at_parent, 100);
}

/* --------------------------------------------------------------- registering while others fork */

static void *trimming_body(void *unused)
{
    static void *held[300];
    while (!leave) {
        for (int i = 0; i < 300; i++)
            QT_CHECK((held[i] = malloc(100000)) != NULL);
        for (int i = 0; i < 300; i++)
            free(held[i]);
        malloc_trim(0);
    }
    return unused;
}

static void *forking_body(void *unused)
{
    while (!leave) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(0);
        qt_wait_exit(pid, 0);
    }
    return unused;
}

static void do_nothing(void)
{
}

/* libc's list of handlers grows, and so allocates under libc's lock, at the 49th, and by half at a time from there. */
static void register_beside_forks(void)
{
    pthread_t threads[2];
    alarm(20);
    QT_EQ(pthread_create(&threads[0], NULL, trimming_body, NULL), 0);
    QT_EQ(pthread_create(&threads[1], NULL, forking_body, NULL), 0);
    usleep(5000);
    for (int handlers = 0; handlers < 400; handlers++) {
        QT_EQ(pthread_atfork(do_nothing, NULL, NULL), 0);
        if (handlers % 8 == 0)
            usleep(300);
    }
    _exit(0);
}

QTEST_X("pthread_atfork beside forks in other threads waits for none that waits for it (M-34)",
        .timeout_s = 120)
{
    /* It goes on with its list of handlers where that was before it grew (2.36): the block was freed meanwhile. */
    if (qt_conf_has("mmap_threshold"))
        QT_SKIP("libc reads what it freed, and here that is unmapped at once");
    for (int i = 0; i < 40; i++) {
        pid_t pid = fork();
        if (pid == 0)
            register_beside_forks();
        qt_wait_exit(pid, 0);
    }
}

QTEST("what a fork's child frees it has: the heaps of vanished threads are not lost to it (M-34)")
{
    static struct block many[3000];
    struct rng r = rng_seeded(5);
    busy_start();
    for (int i = 0; i < 3000; i++)
        QT_CHECK(block_make(&many[i], 10000, &r));
    pid_t pid = fork();
    if (pid == 0) {
        alarm(100);
        for (int i = 0; i < 3000; i++)
            block_drop(&many[i]);
        malloc_trim(0);
        long rss = qt_rss_kib();
        for (int round = 0; round < 4; round++) {
            for (int i = 0; i < 3000; i++)
                QT_CHECK(block_make(&many[i], 10000, &r));
            for (int i = 0; i < 3000; i++)
                block_drop(&many[i]);
        }
        malloc_trim(0);
        QT_CHECKF(qt_rss_kib() - rss < 4 * K, "%ld KiB, then %ld", rss, qt_rss_kib());
        _exit(0);
    }
    qt_wait_exit(pid, 0);
    busy_end();
    for (int i = 0; i < 3000; i++)
        block_drop(&many[i]);
}

/* Few blocks of many sizes: what counts is what the thread keeps. */
static void *small_body(void *context)
{
    struct rng r = rng_seeded((uint64_t)(uintptr_t)context);
    void *own[30] = {NULL};
    for (unsigned step = 0; !leave; step++) {
        void **slot = &own[rng_below(&r, 30)];
        free(*slot);
        *slot = malloc(rng_below(&r, 1000));
        if (step % 64 == 0)
            usleep(20);
    }
    for (int i = 0; i < 30; i++)
        free(own[i]);
    return NULL;
}

enum { THREADS = 4 };

static void small_start(pthread_t *t)
{
    leave = false;
    for (uintptr_t i = 0; i < THREADS; i++)
        t[i] = thread_start(small_body, (void *)(i + 1));
    usleep(20000); /* they are at it */
}

static void small_end(const pthread_t *t)
{
    leave = true;
    for (int i = 0; i < THREADS; i++)
        thread_end(t[i]);
}

QTEST("in a fork's child the thread that forked and new ones have a cache each (M-33, M-34)")
{
    pthread_t t[THREADS];
    small_start(t);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(100);
        small_start(t);
        for (uint64_t i = 0; i < 300; i++)
            use_heap(i);
        small_end(t);
        _exit(0);
    }
    qt_wait_exit(pid, 0);
    small_end(t);
}

static void generation(int left, long rss_before)
{
    pthread_t t[THREADS];
    small_start(t);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(100);
        if (left > 0)
            generation(left - 1, rss_before);
        QT_CHECKF(!rss_before || qt_rss_kib() - rss_before < 12 * K, "%ld KiB, then %ld", rss_before,
                  qt_rss_kib());
        _exit(0);
    }
    qt_wait_exit(pid, 0);
    small_end(t);
    if (rss_before)
        _exit(0);
}

QTEST_X("generations of forks, each with threads, use what vanished threads had (M-33, M-34)",
        .timeout_s = 200, .env = "PROCESSORS=64")
{
    if (!qt_under_quarry() || qt_conf_has("classic:true") || qt_conf_has("run_max:0"))
        QT_SKIP("what lies in a thread's cache is lost, and there that is most");
    pid_t pid = fork();
    if (pid == 0) {
        generation(0, 0); /* libraries, stacks */
        generation(40, qt_rss_kib());
    }
    qt_wait_exit(pid, 0);
}

/* --------------------------------------------------------------- births, deaths and forks */

enum { MANY = 10000, MANY_BYTES = 1000 };

static void *many[MANY];
static atomic_int on_its_way_out;

static void say_so(void *unused)
{
    (void)unused;
    on_its_way_out++;
}

/* What it keeps takes a thread as long to give back, when it ends, as the other needs to fork. */
static void keep_much(void)
{
    for (size_t bytes = 24; bytes < 200; bytes += 16) {
        for (int turn = 0; turn < 20; turn++) {
            for (int i = 0; i < 1500; i++)
                many[i] = malloc(bytes);
            for (int i = 0; i < 1500; i++)
                free(many[i]);
        }
    }
}

/* Leaves runs behind in which few blocks are left, and is still on its way out when the other thread forks. */
static void *leaves_runs(void *key)
{
    keep_much();
    for (int i = 0; i < MANY; i++)
        many[i] = malloc(MANY_BYTES);
    for (int i = 0; i < MANY; i++) {
        if (i % 40)
            free(many[i]);
    }
    pthread_setspecific(*(pthread_key_t *)key, many);
    return NULL;
}

static void *takes_as_many(void *unused)
{
    long before = qt_rss_kib();
    for (int i = 0; i < MANY; i++) {
        char *p = malloc(MANY_BYTES);
        memset(p, 1, MANY_BYTES);
    }
    QT_CHECKF(qt_rss_kib() - before < MANY * (MANY_BYTES / 1024.0) / 2, "%ld KiB, then %ld", before,
              qt_rss_kib());
    return unused;
}

QTEST_X("in a fork's child is all that a thread had that was just ending (M-33, M-34)", .timeout_s = 180)
{
    if (!qt_under_quarry() || qt_conf_has("classic:true") || qt_conf_has("run_max:0"))
        QT_SKIP("this is about runs");
    pthread_key_t key;
    pthread_key_create(&key, say_so);
    for (int round = 0; round < 60; round++) {
        pthread_t t = thread_start(leaves_runs, &key);
        while (on_its_way_out <= round)
            ; /* to wake up would take too long */
        for (volatile int pause = 0; pause < round * 1000; pause++)
            ;
        pid_t pid = fork();
        if (pid == 0) {
            alarm(100);
            thread_end(thread_start(takes_as_many, NULL));
            _exit(0);
        }
        qt_wait_exit(pid, 0);
        thread_end(t);
        for (int i = 0; i < MANY; i += 40)
            free(many[i]);
    }
}

static void *born_to_die(void *context)
{
    use_heap((uint64_t)(uintptr_t)context);
    return NULL;
}

static void *giving_birth(void *context)
{
    for (uintptr_t i = 0; !leave; i++) {
        pthread_t t[3];
        for (int k = 0; k < 3; k++)
            t[k] = thread_start_with(born_to_die, (void *)i, 64 * K);
        for (int k = 0; k < 3; k++)
            thread_end(t[k]);
    }
    return context;
}

QTEST_X("forks while threads are being born and die (M-33, M-34)", .timeout_s = 60)
{
    pthread_t t[2];
    leave = false;
    for (int i = 0; i < 2; i++)
        t[i] = thread_start(giving_birth, NULL);
    for (int i = 0; i < 400; i++) {
        pid_t pid = fork();
        QT_CHECK(pid >= 0);
        if (pid == 0) {
            alarm(100);
            use_heap((uint64_t)i);
            thread_end(thread_start_with(born_to_die, (void *)(uintptr_t)i, 64 * K));
            exit(0);
        }
        qt_wait_exit(pid, 0);
    }
    leave = true;
    for (int i = 0; i < 2; i++)
        thread_end(t[i]);
}

/* --------------------------------------------------------------- exec */

static char *const says_ok[] = {(char *)"stress_fork", (char *)"--use-heap", NULL};

QTEST("vfork and exec while threads allocate (M-34)")
{
    busy_start();
    for (int i = 0; i < 150; i++) {
        pid_t pid = vfork();
        if (pid == 0) {
            execv("/proc/self/exe", says_ok);
            _exit(126);
        }
        qt_wait_exit(pid, 0);
    }
    busy_end();
}

QTEST("posix_spawn while threads allocate (M-34)")
{
    busy_start();
    for (int i = 0; i < 150; i++) {
        pid_t pid;
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
        QT_EQ(posix_spawn(&pid, "/proc/self/exe", &actions, NULL, says_ok, environ), 0);
        posix_spawn_file_actions_destroy(&actions);
        use_heap((uint64_t)i);
        qt_wait_exit(pid, 0);
    }
    busy_end();
}

QTEST("exec replaces a process whose threads all allocate")
{
    for (int i = 0; i < 60; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            alarm(100);
            busy_start();
            usleep((useconds_t)i * 50);
            execv("/proc/self/exe", says_ok);
            _exit(126);
        }
        qt_wait_exit(pid, 0);
    }
}

/* --------------------------------------------------------------- the first fork of a process */

extern pid_t __fork(void) __attribute__((weak)); /* glibc's */

static pid_t fork_by(const char *how)
{
    if (!strcmp(how, "daemon"))
        return daemon(1, 1); /* the parent does not return */
    if (!strcmp(how, "forkpty"))
        return forkpty(&(int){0}, NULL, NULL, NULL);
    if (!strcmp(how, "handlers"))
        QT_EQ(pthread_atfork(allocate_at_prepare, allocate_in_parent, allocate_in_child), 0);
    return !strcmp(how, "__fork") && __fork ? __fork() : fork();
}

/* The child says on descriptor 3 that its heap works. */
static int fork_first(const char *how)
{
    busy_start();
    usleep(2000);
    alarm(100);
    pid_t pid = fork_by(how);
    if (pid == 0) {
        alarm(100);
        use_heap(1);
        QT_EQ(write(3, "ok", 2), 2);
    } else {
        waitpid(pid, NULL, 0); /* the child of forkpty has its terminal for as long */
    }
    _exit(0);
}

QTEST(
    "the first fork of a process, however it is made, finds a heap that works; so do handlers registered just before (M-34)")
{
    static const char *const ways[] = {"fork", "__fork", "forkpty", "daemon", "handlers"};
    for (int i = 0; i < 100; i++) {
        const char *how = ways[i % 5];
        char *const argv[] = {(char *)"stress_fork", (char *)"--fork-first", (char *)how, NULL};
        int ends[2];
        QT_CHECK(pipe2(ends, O_CLOEXEC) == 0);
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, ends[1], 3);
        pid_t pid;
        QT_EQ(posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environ), 0);
        posix_spawn_file_actions_destroy(&actions);
        close(ends[1]);
        char said[4] = "";
        QT_CHECKF(read(ends[0], said, sizeof said) == 2 && !strcmp(said, "ok"),
                  "%s: the child's heap does not work", how);
        close(ends[0]);
        qt_wait_exit(pid, 0);
    }
}

static void *(*opened_malloc)(size_t);
static void (*opened_free)(void *);

static void use_opened(void)
{
    void *blocks[40];
    for (int i = 0; i < 40; i++)
        QT_CHECK(blocks[i] = opened_malloc(1000 + (size_t)i * 7919));
    for (int i = 0; i < 40; i++)
        opened_free(blocks[i]);
}

static void *use_opened_on_and_on(void *context)
{
    while (!leave)
        use_opened();
    return context;
}

/* Without the preload: a program that opens the library for itself forks past it. */
static int fork_opened(const char *library)
{
    void *opened = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    QT_CHECKF(opened, "%s", dlerror());
    opened_malloc = (__typeof__(opened_malloc))dlsym(opened, "malloc");
    opened_free = (__typeof__(opened_free))dlsym(opened, "free");
    QT_CHECK(opened_malloc != malloc);
    for (int i = 0; i < BUSY; i++)
        thread_start(use_opened_on_and_on, NULL);
    for (int i = 0; i < 100; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            alarm(100);
            use_opened();
            _exit(0);
        }
        qt_wait_exit(pid, 0);
    }
    _exit(0);
}

QTEST("a process that opened Quarry with dlopen forks while threads use it (M-34)")
{
    QT_GLIBC_ONLY("no library with such thread-local variables can be opened");
    const char *library = getenv("QUARRY_LIB");
    if (!library)
        QT_SKIP("QUARRY_LIB does not say where it is");
    pid_t pid = fork();
    if (pid == 0) {
        unsetenv("LD_PRELOAD");
        execl("/proc/self/exe", "stress_fork", "--fork-opened", library, (char *)NULL);
        _exit(126);
    }
    qt_wait_exit(pid, 0);
}

int main(int argc, char **argv)
{
    if (argc > 2 && !strcmp(argv[1], "--fork-opened"))
        return fork_opened(argv[2]);
    if (argc > 2 && !strcmp(argv[1], "--fork-first"))
        return fork_first(argv[2]);
    if (argc > 1 && !strcmp(argv[1], "--use-heap")) {
        use_heap(1);
        return 0;
    }
    return qt_main(argc, argv);
}
