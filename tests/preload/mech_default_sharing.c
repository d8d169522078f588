/* variants: default */
/*
 * Cache lines of small blocks belong to one thread (design, false sharing): threads get cells of different runs, and who frees a
 * block of another thread's run does not go on working in that thread's lines.
 */
#include "stress_blocks.h"

enum { LINE = 64, THREADS = 4, EACH = 200 };

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

QTEST("blocks of different threads lie in different cache lines (M-30)")
{
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

QTEST("a thread that frees a block it was passed does not get its line (M-30)")
{
    for (int t = 0; t < THREADS; t++)
        passed[t] = malloc(8);
    run_together(replaces);
    for (int t = 0; t < THREADS; t++)
        for (int k = 0; k < THREADS; k++)
            QT_CHECKF(!share_a_line(replaced[t], passed[k]), "%p was passed, %p came for it", passed[k],
                      replaced[t]);
}

QTEST_MAIN
