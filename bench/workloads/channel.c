/*
 * How parcels pass between threads: a bounded channel under a lock, and producers and consumers around one.
 * It does not look into parcels.
 */
#include "bench.h"

void channel_open(struct channel *c)
{
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->not_empty, NULL);
    pthread_cond_init(&c->not_full, NULL);
    c->count = c->first = 0;
}

void channel_put(struct channel *c, void *parcel)
{
    pthread_mutex_lock(&c->lock);
    while (c->count == CHANNEL_ROOM)
        pthread_cond_wait(&c->not_full, &c->lock);
    c->parcels[(c->first + c->count++) % CHANNEL_ROOM] = parcel;
    pthread_cond_signal(&c->not_empty);
    pthread_mutex_unlock(&c->lock);
}

void *channel_get(struct channel *c)
{
    pthread_mutex_lock(&c->lock);
    while (!c->count)
        pthread_cond_wait(&c->not_empty, &c->lock);
    void *parcel = c->parcels[c->first];
    c->first = (c->first + 1) % CHANNEL_ROOM;
    c->count--;
    pthread_cond_signal(&c->not_full);
    pthread_mutex_unlock(&c->lock);
    return parcel;
}

static struct delivery running;
static struct channel between;
static uint64_t parcels_each;
static atomic_uint producers_left;

/* A consumer stops at the empty parcel, and hands it on to the next. */
static void delivery_member(unsigned index)
{
    if (index < running.producers) {
        struct rng r = {index + 1};
        for (uint64_t i = 0; i < parcels_each; i++)
            channel_put(&between, running.make(&r));
        if (atomic_fetch_sub(&producers_left, 1) == 1)
            channel_put(&between, NULL);
        return;
    }
    for (void *parcel; (parcel = channel_get(&between));)
        running.drop(parcel);
    channel_put(&between, NULL);
}

uint64_t delivery_run(const struct delivery *defaults)
{
    running = *defaults;
    running.producers = (unsigned)param("producers", running.producers);
    running.consumers = (unsigned)param("consumers", running.consumers);
    if (!running.producers || !running.consumers || running.producers + running.consumers > 64)
        die("producers= and consumers= are at least 1, together at most 64");
    parcels_each = scaled("ops", running.operations) / running.blocks_in_parcel / running.producers + 1;
    producers_left = running.producers;
    channel_open(&between);
    threads_run(running.producers + running.consumers, delivery_member);
    return parcels_each * running.producers * running.blocks_in_parcel;
}
