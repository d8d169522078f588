/*
 * What the workloads share: parameters, a random generator that costs about a nanosecond, memory that does
 * not come from the allocator under test, and the two calls through which blocks are taken and given back as
 * a program would: written after malloc, read before free.
 *
 * A workload is one row of the table in main.c. It does a fixed amount of work (`scaled` operations), frees
 * everything, and returns the number of operations. main.c measures around it.
 */
#ifndef BENCH_H
#define BENCH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

/* --- parameters: NAME=VALUE words of the command line --- */

void params_set(char **words); /* a list that ends in NULL; called once, by main */
const char *param_text(const char *name, const char *fallback);
uint64_t param(const char *name, uint64_t fallback);
uint64_t scaled(const char *name, uint64_t fallback); /* a parameter multiplied by scale=, at least 1 */

/* A figure the workload reports besides its operations; printed as NAME=VALUE. */
void report(const char *name, double value);

_Noreturn void die(const char *what);

/* --- random numbers (wyrand: one multiplication) --- */

struct rng {
    uint64_t state;
};

static inline uint64_t rng_next(struct rng *r)
{
    r->state += 0xa0761d6478bd642fu;
    __uint128_t product = (__uint128_t)r->state * (r->state ^ 0xe7037ed1a0b428dbu);
    return (uint64_t)(product >> 64) ^ (uint64_t)product;
}

static inline uint64_t rng_below(struct rng *r, uint64_t bound)
{
    return (uint64_t)(((__uint128_t)rng_next(r) * bound) >> 64);
}

/* --- request sizes: drawn once into a table, so that every distribution costs the same to draw from --- */

enum { SIZES_DRAWN = 2048 };

struct sizes {
    uint32_t drawn[SIZES_DRAWN];
};

/* kind: uniform, power (Pareto, exponent 1.1), pow2 (half as many of each next power), log (uniform in the
 * logarithm) */
void sizes_draw(struct sizes *s, const char *kind, size_t least, size_t most);

/* The sizes that the parameters kind=, least= and most= ask for. */
void sizes_of_params(struct sizes *s, const char *kind, size_t least, size_t most);

static inline size_t sizes_pick(const struct sizes *s, struct rng *r)
{
    return s->drawn[rng_next(r) % SIZES_DRAWN];
}

/* --- blocks --- */

enum { TAG = 0x5a, TOUCH_ALL = 1024, CACHE_LINE = 64, PAGE = 4096 };

/* Writes a small block in full and a larger one in every cache line. */
static inline void touch(void *block, size_t size)
{
    unsigned char *bytes = block;
    if (size <= TOUCH_ALL) {
        memset(bytes, TAG, size);
        return;
    }
    for (size_t at = 0; at < size; at += CACHE_LINE)
        *(volatile unsigned char *)(bytes + at) = TAG;
}

/* Not written: what is, is up to the caller. For patterns of programs that write little of their blocks. */
static inline void *take_bare(size_t size)
{
    void *block = malloc(size);
    if (!block)
        die("malloc");
    return block;
}

static inline void *take_ends(size_t size)
{
    volatile unsigned char *block = take_bare(size);
    block[0] = block[size - 1] = TAG;
    return (void *)block;
}

static inline void *take(size_t size)
{
    void *block = take_bare(size);
    touch(block, size);
    return block;
}

/* Reads the block before it goes: it must still hold what `touch` wrote (callers leave the first byte alone).
 */
static inline void give(void *block)
{
    if (block && *(volatile unsigned char *)block != TAG)
        die("a block lost its contents");
    free(block);
}

/* A block that carries a link in its first word. */
struct link {
    struct link *next;
};

/* Zeroed pages from the kernel: tables of the workload itself, the same under every allocator. */
void *own_pages(size_t bytes);
void own_pages_drop(void *pages, size_t bytes);

/* --- threads and time --- */

/* Runs work(0..count-1), each in a thread of its own, and waits for all. */
void threads_run(unsigned count, void (*work)(unsigned index));

/* As threads_run, but a single one is the main thread: the program stays one without threads. */
void threads_run_or_main(unsigned count, void (*work)(unsigned index));

double now_seconds(void); /* CLOCK_MONOTONIC */
double cpu_seconds(void); /* of all threads of the process: steady while others use the machine */

/* --- parcels between threads (channel.c) --- */

enum { CHANNEL_ROOM = 16 };

/* Bounded: who puts into a full one waits, and so does who gets from an empty one. */
struct channel {
    pthread_mutex_t lock;
    pthread_cond_t not_empty, not_full;
    void *parcels[CHANNEL_ROOM];
    unsigned count, first;
};

void channel_open(struct channel *c);
void channel_put(struct channel *c, void *parcel);
void *channel_get(struct channel *c);

/* producers= threads make parcels and put them into one channel, consumers= threads drop what they get from
 * there, until ops= blocks have passed. The struct has what holds without these parameters. Returns the number
 * of blocks. */
struct delivery {
    unsigned producers, consumers;
    uint64_t operations;
    unsigned blocks_in_parcel;
    void *(*make)(struct rng *r);
    void (*drop)(void *parcel);
};

uint64_t delivery_run(const struct delivery *defaults);

/* --- the workloads --- */

uint64_t churn(void);
uint64_t lifo(void);
uint64_t fifo(void);
uint64_t expiry(void);
uint64_t trees(void);
uint64_t strings(void);
uint64_t grow(void);
uint64_t batch(void);
uint64_t ring(void);
uint64_t lopsided(void);
uint64_t server(void);
uint64_t sharing_active(void);
uint64_t sharing_passive(void);
uint64_t large(void);
uint64_t aligned(void);
uint64_t zeroed(void);
uint64_t many(void);
uint64_t fragment(void);
uint64_t latency(void);
uint64_t growth(void);
uint64_t replay(void);
uint64_t random_load(void);
uint64_t larson(void);
uint64_t sh(void);
uint64_t xmalloc(void);
uint64_t mstress(void);
uint64_t rptest(void);
uint64_t alloc_test(void);
uint64_t glibc_simple(void);
uint64_t glibc_thread(void);
uint64_t cfrac(void);
uint64_t espresso(void);
uint64_t map(void);

#endif
