/* variants: default */
/*
 * Cache lines of small blocks belong to one thread (design, false sharing): threads get cells of different runs, and
 * who frees a block of another thread's run does not go on working in that thread's lines. That is so for as many
 * threads as there are processors; those beyond share runs as they share processors (decision 0022).
 */
#include "processors.h"
#include "stress_blocks.h"

enum { LINE = 64, THREADS = 4, EACH = 200, RUN = 64 * 1024 };

static bool share_a_line(const void *a, const void *b)
{
    return (uintptr_t)a / LINE == (uintptr_t)b / LINE;
}

static pthread_barrier_t all_done;

/* All live at once: the cache of one that ended would serve the next. */
static void run_together(void *(*body)(void *))
{
    pthread_t threads[THREADS];
    pthread_barrier_init(&all_done, NULL, THREADS);
    for (int t = 0; t < THREADS; t++)
        threads[t] = thread_start(body, (void *)(intptr_t)t);
    for (int t = 0; t < THREADS; t++)
        thread_end(threads[t]);
}

static void *taken[THREADS][EACH];

static void *takes(void *context)
{
    for (int i = 0; i < EACH; i++)
        taken[(intptr_t)context][i] = malloc(8 + (size_t)i % 40);
    pthread_barrier_wait(&all_done);
    return NULL;
}

QTEST_X("blocks of different threads lie in different cache lines (M-30)", .env = "PROCESSORS=64")
{
    processors_needed();
    run_together(takes);
    int shared = 0;
    for (int i = 0; i < THREADS * EACH; i++)
        for (int k = i + 1; k < THREADS * EACH; k++)
            shared +=
                i / EACH != k / EACH && share_a_line(taken[i / EACH][i % EACH], taken[k / EACH][k % EACH]);
    QT_EQ(shared, 0);
}

static void *passed[THREADS], *replaced[THREADS];

static void *replaces(void *context)
{
    intptr_t t = (intptr_t)context;
    free(passed[t]);
    replaced[t] = malloc(8);
    pthread_barrier_wait(&all_done);
    return NULL;
}

QTEST_X("a thread that frees a block it was passed does not get its line (M-30)", .env = "PROCESSORS=64")
{
    processors_needed();
    for (int t = 0; t < THREADS; t++)
        passed[t] = malloc(8);
    run_together(replaces);
    for (int t = 0; t < THREADS; t++)
        for (int k = 0; k < THREADS; k++)
            QT_CHECKF(!share_a_line(replaced[t], passed[k]), "%p was passed, %p came for it", passed[k],
                      replaced[t]);
}

/* In how many runs the blocks of all threads lie. */
static int runs_used(void)
{
    static uintptr_t runs[THREADS * EACH];
    int count = 0;
    for (int i = 0; i < THREADS * EACH; i++) {
        uintptr_t run = (uintptr_t)taken[i / EACH][i % EACH] / RUN;
        int k = 0;
        while (k < count && runs[k] != run)
            k++;
        runs[k] = run;
        count += k == count;
    }
    return count;
}

/* 8 to 47 bytes: cells of one size at first, of three later. */
QTEST_X("threads beyond the processors share runs (M-10)", .env = "PROCESSORS=1")
{
    processors_needed();
    run_together(takes);
    QT_CHECKF(runs_used() <= 3, "%d runs", runs_used());
}

QTEST_X("with a processor for each they do not, also when each is bound to one (M-10)",
        .env = "PROCESSORS=64")
{
    processors_needed();
    processors_bind();
    run_together(takes);
    QT_CHECKF(runs_used() >= THREADS, "%d runs", runs_used());
}

static void *gives(void *context)
{
    intptr_t t = (intptr_t)context;
    for (int i = 0; i < EACH; i++)
        free(taken[(t + 1) % THREADS][i]);
    pthread_barrier_wait(&all_done);
    return takes(context);
}

/* Threads that share, come and go, and free each other's blocks and those of threads that are gone. */
QTEST_X("what threads that share runs leave behind serves those that come (M-33)", .env = "PROCESSORS=2")
{
    processors_needed();
    run_together(takes);
    int first = runs_used();
    for (int round = 0; round < 200; round++)
        run_together(gives);
    QT_CHECKF(runs_used() <= first + 3, "%d runs at first, %d later", first, runs_used());
    for (int i = 0; i < THREADS * EACH; i++)
        free(taken[i / EACH][i % EACH]);
}

QTEST_MAIN
