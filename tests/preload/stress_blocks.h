/*
 * Blocks whose contents prove themselves, for the stress and kernel tests.
 *
 * Owns: `struct block` and the four things done to one: make, look at, resize, drop. What is written depends on the
 * block's own seed, so a block that another thread's bytes, a lost page or a wrong copy has reached shows.
 */
#ifndef STRESS_BLOCKS_H
#define STRESS_BLOCKS_H

#include "mech_maps.h"
#include "mech_opaque.h"
#include "pattern.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

/* Of a block larger than this, only the first and the last bytes are written: it is to cost little. */
enum { BLOCK_WRITTEN = 16384 };

struct block {
    unsigned char *p;
    size_t n;
    uint64_t seed;
};

static inline void block_write(struct block *b)
{
    if (b->n <= 2 * BLOCK_WRITTEN) {
        pattern_fill(b->p, b->n, b->seed);
        return;
    }
    pattern_fill_range(b->p, 0, BLOCK_WRITTEN, b->seed);
    pattern_fill_range(b->p, b->n - BLOCK_WRITTEN, b->n, b->seed);
}

/* The first n bytes of what block_write wrote are still there. */
static inline void block_verify_first(const struct block *b, size_t n)
{
    size_t first = b->n <= 2 * BLOCK_WRITTEN ? b->n : BLOCK_WRITTEN, end = n < first ? n : first;
    size_t bad = pattern_check_range(b->p, 0, end, b->seed);
    QT_CHECKF(bad == end, "block %p of %zu: byte %zu is not what was written", (void *)b->p, b->n, bad);
}

static inline void block_verify(const struct block *b)
{
    block_verify_first(b, b->n);
    if (b->n > 2 * BLOCK_WRITTEN) {
        size_t bad = pattern_check_range(b->p, b->n - BLOCK_WRITTEN, b->n, b->seed);
        QT_CHECKF(bad == b->n, "block %p of %zu: byte %zu is not what was written", (void *)b->p, b->n, bad);
    }
}

/* Takes a block of n bytes through one of the calls. False: there was no memory, which errno must say. */
static inline bool block_make(struct block *b, size_t n, struct rng *r)
{
    b->n = n;
    b->seed = rng_next(r);
    errno = 0;
    switch (rng_below(r, 8)) {
    case 0:
        b->p = calloc(1, n);
        if (b->p && n <= 1 << 20)
            QT_EQ(pattern_other_byte(b->p, n, 0), n);
        break;
    case 1: {
        size_t alignment = (size_t)16 << rng_below(r, 9);
        b->p = memalign(alignment, n);
        QT_EQ((uintptr_t)b->p % alignment, 0);
        break;
    }
    default:
        b->p = malloc(n);
    }
    if (!b->p) {
        QT_EQ(errno, ENOMEM);
        return false;
    }
    QT_EQ((uintptr_t)b->p % 16, 0);
    QT_CHECK(malloc_usable_size(b->p) >= n);
    block_write(b);
    return true;
}

/* As block_make, always by malloc. */
static inline bool block_take(struct block *b, size_t n, struct rng *r)
{
    errno = 0;
    *b = (struct block){malloc(n), n, rng_next(r)};
    if (!b->p) {
        QT_EQ(errno, ENOMEM);
        return false;
    }
    block_write(b);
    return true;
}

/* False: there was no memory, and the block is as it was. */
static inline bool block_resize(struct block *b, size_t n)
{
    block_verify(b);
    errno = 0;
    unsigned char *p = realloc(b->p, n);
    if (!p) {
        QT_EQ(errno, ENOMEM);
        block_verify(b);
        return false;
    }
    b->p = p;
    block_verify_first(b, n);
    b->n = n;
    block_write(b);
    return true;
}

static inline void block_drop(struct block *b)
{
    if (!b->p)
        return;
    block_verify(b);
    free(b->p);
    b->p = NULL;
}

/* Mostly small, some medium, few large. */
static inline size_t block_size(struct rng *r, size_t largest)
{
    return rng_one_in(r, 16)  ? rng_log(r, 1, largest)
           : rng_one_in(r, 4) ? rng_log(r, 1, 65536)
                              : rng_log(r, 1, 1024);
}

/* How long a test with no natural end runs: QUARRY_TEST_LONG seconds, or this. */
static inline double stress_seconds(double normal)
{
    const char *text = getenv("QUARRY_TEST_LONG");
    return text && atof(text) > 0 ? atof(text) : normal;
}

static inline pthread_t thread_start_with(void *(*body)(void *), void *context, size_t stack_bytes)
{
    pthread_t t;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    if (stack_bytes) {
        size_t least = (size_t)sysconf(_SC_THREAD_STACK_MIN); /* aarch64: 128 KiB */
        QT_EQ(pthread_attr_setstacksize(&attr, stack_bytes > least ? stack_bytes : least), 0);
    }
    int error = pthread_create(&t, &attr, body, context);
    QT_CHECKF(error == 0, "pthread_create: %s", strerror(error));
    pthread_attr_destroy(&attr);
    return t;
}

static inline pthread_t thread_start(void *(*body)(void *), void *context)
{
    return thread_start_with(body, context, 0);
}

static inline void thread_end(pthread_t t)
{
    QT_EQ(pthread_join(t, NULL), 0);
}

#endif
