/* timeout: 120 */
/*
 * fork where it is most in the way (M-34): in the handler of a signal that interrupted a call of ours or a fork, which
 * POSIX allows; and while one thread has a stream and allocates, and another has stdio's list and waits for the stream.
 */
#include "stress_blocks.h"

#include <sys/time.h>
#include <sys/wait.h>

enum { K = 1024, FORKS = 1500, MOST_SECONDS = 10 /* where a fork takes tens of milliseconds */ };

static volatile sig_atomic_t forked;

static void fork_once(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    QT_CHECK(pid > 0);
    int status;
    while (waitpid(pid, &status, 0) < 0)
        QT_CHECK(errno == EINTR);
    QT_EQ(status, 0);
}

static suseconds_t pause_us; /* 0: no more signals */

/* Once: so that a program whose forks take longer goes on in between. */
static void set_timer(void)
{
    struct itimerval timer = {{0, 0}, {0, pause_us}};
    setitimer(ITIMER_REAL, &timer, NULL);
}

static void fork_in_handler(int signal)
{
    int saved = errno;
    (void)signal;
    fork_once();
    forked++;
    set_timer();
    errno = saved;
}

static void signals_every(suseconds_t microseconds)
{
    struct sigaction action = {.sa_handler = fork_in_handler, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    pause_us = microseconds;
    set_timer();
}

QTEST("a signal handler forks while the only thread allocates (M-34)")
{
    struct rng r = rng_seeded(1);
    struct block own[100];
    memset(own, 0, sizeof own);
    signals_every(700);
    for (double end = qt_seconds() + MOST_SECONDS; forked < FORKS && qt_seconds() < end;) {
        struct block *b = &own[rng_below(&r, 100)];
        if (!b->p)
            QT_CHECK(block_make(b, block_size(&r, 300 * K), &r));
        else if (rng_one_in(&r, 4))
            QT_CHECK(block_resize(b, block_size(&r, 300 * K)));
        else
            block_drop(b);
    }
    signals_every(0);
    QT_CHECKF(forked > FORKS / 50, "%d forks", (int)forked);
    for (int i = 0; i < 100; i++)
        block_drop(&own[i]);
}

QTEST("a signal handler forks while the only thread forks (M-34)")
{
    signals_every(900);
    for (double end = qt_seconds() + MOST_SECONDS; forked < FORKS / 3 && qt_seconds() < end;)
        fork_once();
    signals_every(0);
    QT_CHECKF(forked > FORKS / 50, "%d forks", (int)forked);
}

/* --------------------------------------------------------------- streams */

static atomic_bool leave;

static void *flush_all(void *context)
{
    (void)context;
    while (!leave)
        fflush(NULL);
    return NULL;
}

static void *allocate_with_stream(void *stream)
{
    struct rng r = rng_seeded(2);
    while (!leave) {
        flockfile(stream);
        struct block b;
        QT_CHECK(block_make(&b, block_size(&r, 100 * K), &r));
        block_drop(&b);
        funlockfile(stream);
    }
    return NULL;
}

QTEST("fork while one thread allocates with a stream and another flushes all streams (M-34)")
{
    QT_GLIBC_ONLY("its list of streams cannot be held first");
    FILE *stream = fopen("/dev/null", "w");
    QT_CHECK(stream != NULL);
    pthread_t flushing = thread_start(flush_all, NULL),
              allocating = thread_start(allocate_with_stream, stream);
    double end = qt_seconds() + MOST_SECONDS;
    for (int i = 0; i < FORKS / 3 && (i < FORKS / 50 || qt_seconds() < end); i++) {
        pid_t pid = fork();
        if (pid == 0) {
            /* Streams and their list work in the child. */
            fflush(NULL);
            FILE *own = fopen("/dev/null", "w");
            _exit(!own || fprintf(own, "%d", i) < 0 || fclose(own) != 0);
        }
        qt_wait_exit(pid, 0);
    }
    leave = true;
    thread_end(flushing);
    thread_end(allocating);
    fclose(stream);
}

QTEST_MAIN
