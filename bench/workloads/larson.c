/*
 * The pattern of larson (Larson and Krishnan, "Memory allocation for long-running server applications",
 * 1998): each of threads= owns slots= blocks, replaces them at random, and then leaves all that live to a
 * thread that it starts in its place, which so frees what its ancestors allocated. The first blocks are the
 * main thread's. Only the first two bytes of a block are written. The original runs for a time; this one
 * for generations= of a fixed amount of work.
 */
#include "bench.h"

#include <semaphore.h>

enum { THREADS_MOST = 64 };

/* A thread and those that take its place, one after the other. */
struct line {
    void **slots;
    struct rng r;
    uint64_t generations_left;
    pthread_t before;
};

static struct line lines[THREADS_MOST];
static struct sizes sizes;
static size_t slots;
static uint64_t generations, replacements;
static sem_t ended;

static void *block_new(struct rng *r)
{
    volatile char *block = take_bare(sizes_pick(&sizes, r));
    block[0] = block[1] = TAG;
    return (void *)block;
}

static void *generation(void *of_line);

static void generation_start(struct line *line)
{
    pthread_t id;
    if (pthread_create(&id, NULL, generation, line))
        die("pthread_create");
}

/* Whoever came before ends meanwhile: it is waited for last. */
static void *generation(void *of_line)
{
    struct line *line = of_line;
    struct rng r = line->r;
    for (uint64_t i = 0; i < replacements; i++) {
        void **slot = &line->slots[rng_below(&r, slots)];
        free(*slot);
        *slot = block_new(&r);
    }
    line->r = r;
    if (line->generations_left < generations)
        pthread_join(line->before, NULL);
    line->before = pthread_self();
    if (--line->generations_left)
        generation_start(line);
    else
        sem_post(&ended);
    return NULL;
}

static void line_open(struct line *line, uint64_t seed)
{
    *line = (struct line){own_pages(slots * sizeof(void *)), {seed}, generations, 0};
    for (size_t i = 0; i < slots; i++)
        line->slots[i] = block_new(&line->r);
}

static void line_close(struct line *line)
{
    pthread_join(line->before, NULL);
    for (size_t i = 0; i < slots; i++)
        free(line->slots[i]);
    own_pages_drop(line->slots, slots * sizeof(void *));
}

uint64_t larson(void)
{
    sizes_of_params(&sizes, "uniform", 8, 1000);
    unsigned threads = (unsigned)param("threads", 4);
    slots = param("slots", 5000);
    generations = param("generations", 10);
    if (!threads || threads > THREADS_MOST || !slots || !generations)
        die("threads= is 1 to 64, slots= and generations= at least 1");
    replacements = scaled("ops", 5000000) / threads / generations + 1;
    sem_init(&ended, 0, 0);
    for (unsigned i = 0; i < threads; i++)
        line_open(&lines[i], i + 1);
    for (unsigned i = 0; i < threads; i++)
        generation_start(&lines[i]);
    for (unsigned i = 0; i < threads; i++)
        while (sem_wait(&ended)) {}
    for (unsigned i = 0; i < threads; i++)
        line_close(&lines[i]);
    return replacements * generations * threads;
}
