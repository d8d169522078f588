/* timeout: 60 */
/*
 * Signals during requests: timers that fire thousands of times a second into threads that allocate. The handlers do
 * not allocate, but read and write the blocks they own; nothing may be torn, lost or retried wrongly.
 */
#include "stress_blocks.h"

#include <sys/time.h>

enum { K = 1024, M = 1024 * K, WORKERS = 3 };

static atomic_long fired;
static _Thread_local struct block *watched;
static atomic_bool leave;

static void handler(int signal)
{
    int saved = errno;
    (void)signal;
    fired++;
    struct block *b = watched;
    if (b && b->p) {
        QT_CHECK(b->p[0] == pattern_byte(b->seed, 0));
        b->p[0] = (unsigned char)~b->p[0];
        b->p[0] = (unsigned char)~b->p[0];
    }
    errno = saved;
}

static void *worker(void *context)
{
    struct rng r = rng_seeded((uint64_t)(uintptr_t)context);
    struct block own[100], mine;
    memset(own, 0, sizeof own);
    QT_CHECK(block_make(&mine, 200, &r));
    watched = &mine;
    while (!leave) {
        struct block *b = &own[rng_below(&r, 100)];
        if (!b->p)
            QT_CHECK(block_make(b, block_size(&r, 500 * K), &r));
        else if (rng_one_in(&r, 4))
            QT_CHECK(block_resize(b, block_size(&r, 500 * K)));
        else
            block_drop(b);
        if (rng_one_in(&r, 5000))
            malloc_trim(0);
    }
    watched = NULL;
    for (int i = 0; i < 100; i++)
        block_drop(&own[i]);
    block_drop(&mine);
    return NULL;
}

static void rain(int flags, double seconds)
{
    pthread_t t[WORKERS];
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    sigaction(SIGALRM, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
    leave = false;
    for (uintptr_t i = 0; i < WORKERS; i++)
        t[i] = thread_start(worker, (void *)(i + 1));
    struct itimerval often = {{0, 500}, {0, 500}};
    setitimer(ITIMER_REAL, &often, NULL);
    double end = qt_seconds() + seconds;
    for (unsigned i = 0; qt_seconds() < end || fired < 500; i++) { /* however busy the machine is */
        pthread_kill(t[i % WORKERS], SIGUSR1);
        if (i % 4 == 0)
            usleep(50);
    }
    struct itimerval off = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &off, NULL);
    leave = true;
    for (int i = 0; i < WORKERS; i++)
        thread_end(t[i]);
}

QTEST("requests are undisturbed by thousands of signals a second, system calls restarted")
{
    rain(SA_RESTART, stress_seconds(0.7));
}

QTEST("requests are undisturbed by thousands of signals a second, system calls interrupted")
{
    rain(0, stress_seconds(0.7));
}

static void *alternate_worker(void *context)
{
    static _Thread_local char stack[64 * K];
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    QT_EQ(sigaltstack(&alternate, NULL), 0);
    return worker(context);
}

QTEST("handlers on an alternate stack see the same heap")
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &action, NULL);
    pthread_t t = thread_start(alternate_worker, (void *)7);
    double end = qt_seconds() + stress_seconds(0.4);
    while (qt_seconds() < end || fired < 100) {
        pthread_kill(t, SIGUSR1);
        usleep(100);
    }
    leave = true;
    thread_end(t);
}

QTEST("errno is not changed by a request that succeeds (M-40)")
{
    struct rng r = rng_seeded(1);
    for (int i = 0; i < 3000; i++) {
        size_t n = block_size(&r, 4 * M);
        errno = EXDEV;
        void *p = malloc(n);
        QT_CHECK(p && errno == EXDEV);
        p = realloc(p, block_size(&r, 4 * M));
        QT_CHECK(p && errno == EXDEV);
        free(p);
        QT_EQ(errno, EXDEV);
    }
}

QTEST("malloc and free leave the signal mask and the handlers alone")
{
    sigset_t before = {{0}}, after = {{0}}; /* the kernel fills the beginning only */
    sigset_t some;
    sigemptyset(&some);
    sigaddset(&some, SIGUSR2);
    sigprocmask(SIG_BLOCK, &some, NULL);
    sigprocmask(SIG_SETMASK, NULL, &before);
    struct sigaction actions[32];
    for (int i = 1; i < 32; i++)
        sigaction(i, NULL, &actions[i]);
    struct rng r = rng_seeded(2);
    for (int i = 0; i < 2000; i++) {
        struct block b;
        QT_CHECK(block_make(&b, block_size(&r, 4 * M), &r));
        block_drop(&b);
    }
    malloc_trim(0);
    sigprocmask(SIG_SETMASK, NULL, &after);
    QT_EQ(memcmp(&before, &after, sizeof before), 0);
    for (int i = 1; i < 32; i++) {
        struct sigaction now;
        sigaction(i, NULL, &now);
        QT_CHECKF(now.sa_handler == actions[i].sa_handler, "signal %d", i);
    }
}

QTEST_MAIN
