/* timeout: 60 */
/*
 * Blocks that one thread makes and another frees, of every size, in every pattern of ownership: producer and consumer,
 * a ring, all to all, one that only makes and one that only frees. QUARRY_TEST_LONG=seconds runs each that long.
 */
#include "stress_blocks.h"

enum { K = 1024, M = 1024 * K, RING = 512, MAX_THREADS = 16 };

/* A bounded queue of blocks under a plain lock: the test's own, so that only the allocator is in question. */
struct queue {
    pthread_mutex_t lock;
    struct block ring[RING];
    unsigned put, got;
};

static struct queue queues[MAX_THREADS];
static atomic_bool leave;
static atomic_long passed;
static int thread_count;

static bool queue_put(struct queue *q, const struct block *b)
{
    pthread_mutex_lock(&q->lock);
    bool room = q->put - q->got < RING;
    if (room)
        q->ring[q->put++ % RING] = *b;
    pthread_mutex_unlock(&q->lock);
    return room;
}

static bool queue_get(struct queue *q, struct block *b)
{
    pthread_mutex_lock(&q->lock);
    bool any = q->put != q->got;
    if (any)
        *b = q->ring[q->got++ % RING];
    pthread_mutex_unlock(&q->lock);
    return any;
}

static void queues_drain(void)
{
    struct block b;
    for (int i = 0; i < MAX_THREADS; i++)
        while (queue_get(&queues[i], &b))
            block_drop(&b);
}

static void run_threads(void *(*body)(void *), int count, double seconds)
{
    pthread_t t[MAX_THREADS];
    thread_count = count;
    leave = false;
    passed = 0;
    for (int i = 0; i < MAX_THREADS; i++)
        pthread_mutex_init(&queues[i].lock, NULL);
    for (intptr_t i = 0; i < count; i++)
        t[i] = thread_start(body, (void *)i);
    double end = qt_seconds() + stress_seconds(seconds);
    while (qt_seconds() < end || passed < 500) /* however busy the machine is */
        usleep(5000);
    leave = true;
    for (int i = 0; i < count; i++)
        thread_end(t[i]);
    queues_drain();
}

/* --------------------------------------------------------------- producers and consumers */

static void *producer_or_consumer(void *context)
{
    intptr_t i = (intptr_t)context;
    struct rng r = rng_seeded((uint64_t)i + 1);
    struct queue *q = &queues[i / 2];
    struct block b;
    while (!leave)
        if (i % 2 == 0) {
            QT_CHECK(block_make(&b, rng_log(&r, 1, 2 * M), &r));
            if (!queue_put(q, &b)) {
                block_drop(&b);
                sched_yield();
            }
        } else if (queue_get(q, &b)) {
            block_drop(&b);
            passed++;
        }
    return NULL;
}

QTEST("one thread makes and another frees, all sizes (M-33)")
{
    run_threads(producer_or_consumer, 2, 0.7);
}

QTEST("four pairs of makers and freers, all sizes (M-33)")
{
    run_threads(producer_or_consumer, 8, 0.7);
}

QTEST("what the consumer frees the producer gets again: the resident size stays bounded (M-33)")
{
    run_threads(producer_or_consumer, 2,
                1.5); /* some 100 MiB each second, of which the queue holds few at a time */
    QT_CHECKF(qt_rss_kib() < 160 * K, "%ld KiB", qt_rss_kib());
}

static void *small_producer_or_consumer(void *context)
{
    intptr_t i = (intptr_t)context;
    struct rng r = rng_seeded((uint64_t)i + 1);
    struct block b;
    while (!leave)
        if (i % 2 == 0) {
            QT_CHECK(block_take(&b, 1 + rng_below(&r, 1000), &r));
            while (!queue_put(&queues[0], &b) && !leave)
                sched_yield();
        } else if (queue_get(&queues[0], &b)) {
            block_drop(&b);
            passed++;
        }
    return NULL;
}

QTEST("small blocks that only flow one way do not pile up (M-33)")
{
    run_threads(small_producer_or_consumer, 2, 0.3);
    long before = qt_rss_kib();
    run_threads(small_producer_or_consumer, 2, 1);
    QT_CHECKF(qt_rss_kib() - before < 6 * K, "%ld KiB, then %ld", before, qt_rss_kib());
}

/* --------------------------------------------------------------- rings and crowds */

static void *in_a_ring(void *context)
{
    intptr_t i = (intptr_t)context;
    struct rng r = rng_seeded((uint64_t)i + 1);
    struct block b;
    while (!leave) {
        if (!queue_get(&queues[i], &b))
            QT_CHECK(block_make(&b, block_size(&r, 1 * M), &r));
        else if (rng_one_in(&r, 8)) {
            block_drop(&b);
            continue;
        } else if (rng_one_in(&r, 3))
            QT_CHECK(block_resize(&b, block_size(&r, 1 * M)));
        else
            block_verify(&b);
        passed++;
        if (!queue_put(&queues[(i + 1) % thread_count], &b))
            block_drop(&b);
    }
    return NULL;
}

QTEST("blocks passed and resized round a ring of six threads (M-33)")
{
    run_threads(in_a_ring, 6, 0.7);
}

static void *to_anyone(void *context)
{
    intptr_t i = (intptr_t)context;
    struct rng r = rng_seeded((uint64_t)i + 1);
    struct block b;
    while (!leave) {
        QT_CHECK(block_make(&b, block_size(&r, 100 * K), &r));
        if (!queue_put(&queues[rng_below(&r, (uint64_t)thread_count)], &b))
            block_drop(&b);
        while (queue_get(&queues[i], &b)) {
            block_drop(&b);
            passed++;
        }
    }
    return NULL;
}

QTEST("sixteen threads that free what any other has made (M-33)")
{
    run_threads(to_anyone, 16, 0.7);
}

/* Everything that the arenas had is given back to them by one thread that never takes any. */
static void *all_but_one_make(void *context)
{
    intptr_t i = (intptr_t)context;
    struct rng r = rng_seeded((uint64_t)i + 1);
    struct block b;
    while (!leave)
        if (i > 0) {
            QT_CHECK(block_make(&b, block_size(&r, 100 * K), &r));
            if (!queue_put(&queues[i], &b))
                block_drop(&b);
        } else
            for (int k = 1; k < thread_count; k++)
                if (queue_get(&queues[k], &b)) {
                    block_drop(&b);
                    passed++;
                }
    return NULL;
}

QTEST("one thread frees what seven make (M-33)")
{
    run_threads(all_but_one_make, 8, 0.7);
}

/* --------------------------------------------------------------- races on one block's neighbours */

static struct block row[256];
static pthread_barrier_t lap;
static bool last_lap;

/* Blocks side by side, each freed and taken again by the thread whose turn it is this time round. */
static void *hop(void *context)
{
    int i = (int)(intptr_t)context;
    struct rng r = rng_seeded((uint64_t)i + 1);
    for (int laps = 0;; laps++) {
        for (int k = (i + laps) % thread_count; k < 256; k += thread_count) {
            block_drop(&row[k]);
            QT_CHECK(block_take(&row[k], 900 + rng_below(&r, 700), &r));
            passed++;
        }
        pthread_barrier_wait(&lap);
        if (i == 0)
            last_lap = leave;
        pthread_barrier_wait(&lap);
        if (last_lap)
            return NULL;
    }
}

QTEST("neighbours freed and taken by different threads at the same time (M-06, M-33)")
{
    pthread_barrier_init(&lap, NULL, 4);
    run_threads(hop, 4, 0.7);
    for (int k = 0; k < 256; k++)
        block_drop(&row[k]);
}

QTEST_MAIN
