/*
 * Blocks allocated by one thread and freed by another. ring: every thread sends batches to its neighbour and
 * frees what it gets (balanced roles). lopsided: some threads only allocate, others only free (producers=,
 * consumers=).
 */
#include "bench.h"

/* A bounded channel of batches; a batch is a list through the blocks themselves. */
enum { CHANNEL_ROOM = 16, THREADS_MOST = 64 };

struct parcel {
    uint64_t tag;
    struct parcel *next;
};

struct channel {
    pthread_mutex_t lock;
    pthread_cond_t not_empty, not_full;
    struct parcel *batches[CHANNEL_ROOM];
    unsigned count, first;
};

static struct channel channels[THREADS_MOST];
static struct sizes sizes;
static uint64_t batches_each;
static unsigned batch_length, members, producers;

static void channel_open(struct channel *c)
{
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->not_empty, NULL);
    pthread_cond_init(&c->not_full, NULL);
    c->count = c->first = 0;
}

static void channel_put(struct channel *c, struct parcel *batch_list)
{
    pthread_mutex_lock(&c->lock);
    while (c->count == CHANNEL_ROOM)
        pthread_cond_wait(&c->not_full, &c->lock);
    c->batches[(c->first + c->count++) % CHANNEL_ROOM] = batch_list;
    pthread_cond_signal(&c->not_empty);
    pthread_mutex_unlock(&c->lock);
}

static struct parcel *channel_get(struct channel *c)
{
    pthread_mutex_lock(&c->lock);
    while (!c->count)
        pthread_cond_wait(&c->not_empty, &c->lock);
    struct parcel *batch_list = c->batches[c->first];
    c->first = (c->first + 1) % CHANNEL_ROOM;
    c->count--;
    pthread_cond_signal(&c->not_full);
    pthread_mutex_unlock(&c->lock);
    return batch_list;
}

static struct parcel *batch_new(struct rng *r)
{
    struct parcel *list = NULL;
    for (unsigned i = 0; i < batch_length; i++) {
        struct parcel *p = take(sizes_pick(&sizes, r));
        p->next = list;
        list = p;
    }
    return list;
}

static void batch_drop(struct parcel *list)
{
    while (list) {
        struct parcel *next = list->next;
        give(list);
        list = next;
    }
}

static void handover_params(void)
{
    sizes_of_params(&sizes, "power", 16, 2048);
    batch_length = (unsigned)param("batch", 100);
    for (unsigned i = 0; i < THREADS_MOST; i++)
        channel_open(&channels[i]);
}

static void ring_member(unsigned index)
{
    struct rng r = {index + 1};
    struct channel *out = &channels[(index + 1) % members], *in = &channels[index];
    for (uint64_t i = 0; i < batches_each; i++) {
        channel_put(out, batch_new(&r));
        batch_drop(channel_get(in));
    }
}

uint64_t ring(void)
{
    handover_params();
    members = (unsigned)param("threads", 4);
    if (!members || members > THREADS_MOST)
        die("threads= is 1 to 64");
    batches_each = scaled("ops", 12000000) / batch_length / members + 1;
    threads_run(members, ring_member);
    return batches_each * members * batch_length;
}

/* One channel for all; a consumer stops at the empty batch, and hands it on to the next. */
static atomic_uint producers_left;

static void lopsided_member(unsigned index)
{
    struct channel *c = &channels[0];
    if (index < producers) {
        struct rng r = {index + 1};
        for (uint64_t i = 0; i < batches_each; i++)
            channel_put(c, batch_new(&r));
        if (atomic_fetch_sub(&producers_left, 1) == 1)
            channel_put(c, NULL);
        return;
    }
    for (struct parcel *list; (list = channel_get(c));)
        batch_drop(list);
    channel_put(c, NULL);
}

uint64_t lopsided(void)
{
    handover_params();
    producers = (unsigned)param("producers", 1);
    unsigned consumers = (unsigned)param("consumers", 3);
    if (!producers || !consumers || producers + consumers > THREADS_MOST)
        die("producers= and consumers= are at least 1, together at most 64");
    producers_left = producers;
    batches_each = scaled("ops", 8000000) / batch_length / producers + 1;
    threads_run(producers + consumers, lopsided_member);
    return batches_each * producers * batch_length;
}
