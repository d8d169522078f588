/*
 * race: threads that take, resize, hand over and free blocks, for ThreadSanitizer to look at (tests/scripts/races.sh).
 * It is linked with Quarry's objects, compiled for that, in which malloc and its like are called raced_malloc: the
 * sanitizer has a malloc of its own.
 *
 *     race ROUNDS     each of the threads makes so many calls, in each of some generations
 *
 * Blocks change hands through atomics alone, and what a thread writes to its block is not atomic. So ThreadSanitizer
 * sees every place where Quarry relies on an order that nothing gives it, and every block that reaches its next owner
 * before the last one is done with it, on this machine or on one that orders less.
 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>

#include "rng.h"

void *raced_malloc(size_t size);
void *raced_calloc(size_t count, size_t size);
void *raced_realloc(void *mem, size_t size);
void *raced_aligned_alloc(size_t alignment, size_t size);
void raced_free(void *mem);
size_t raced_malloc_usable_size(void *mem);
int raced_malloc_trim(size_t pad);
int raced_malloc_info(int options, FILE *to);
struct mallinfo2 raced_mallinfo2(void);

#define THREADS 6
#define GENERATIONS 4
#define OWN_SLOTS 64
#define SHARED_SLOTS 1024

/* A block begins with its size, from 16 bytes on; its other bytes, as far as they are written, say the same. */
typedef unsigned char *_Atomic slot;
static slot shared[SHARED_SLOTS], own[THREADS][OWN_SLOTS];
static unsigned rounds;
static uint64_t seed;

static void fail(const char *what)
{
    fprintf(stderr, "race: %s (QUARRY_TEST_SEED=%llu)\n", what, (unsigned long long)seed);
    _exit(1);
}

/* Of a large block the beginning and the end are looked at. */
#define ALL_UP_TO 4096
#define EDGE 64

static void write_block(unsigned char *mem, size_t size)
{
    size_t edge = size > ALL_UP_TO ? EDGE : size;
    memset(mem, (int)(size % 251), edge);
    memset(mem + size - edge, (int)(size % 251), edge);
    if (size >= 2 * sizeof size)
        memcpy(mem, &size, sizeof size);
}

static void check_block(const unsigned char *mem)
{
    size_t room = raced_malloc_usable_size((void *)mem), size = 0;
    memcpy(&size, mem, sizeof size);
    if (room < 24)
        fail("less room than any block has");
    if (size > room || size < 2 * sizeof size)
        fail("the size at the front of a block was changed");
    if (mem[sizeof size] != size % 251 || mem[size - 1] != size % 251)
        fail("the contents of a block were changed");
}

static size_t any_size(struct rng *r)
{
    unsigned kind = (unsigned)rng_below(r, 100);
    size_t size = kind < 60   ? rng_below(r, 1100)
                  : kind < 75 ? (size_t)1024 << rng_below(r, 4)
                  : kind < 92 ? rng_below(r, 33000)
                  : kind < 98 ? rng_below(r, 200000)
                              : rng_below(r, 3000000);
    return size < 16 ? 16 : size;
}

static unsigned char *take(struct rng *r, size_t size)
{
    switch (rng_below(r, 16)) {
    case 0: {
        unsigned char *mem = raced_calloc(1, size);
        if (mem && (mem[0] || mem[size - 1]))
            fail("calloc gave what is not zero");
        return mem;
    }
    case 1:
        return raced_aligned_alloc((size_t)16 << rng_below(r, 9), size);
    case 2:
        return raced_realloc(raced_malloc(any_size(r)), size);
    default:
        return raced_malloc(size);
    }
}

/* What looks at all caches, asks for all they keep, or stops the world. */
static void seldom(struct rng *r)
{
    switch (rng_below(r, 4)) {
    case 0:
        raced_malloc_trim(0);
        break;
    case 1:
        raced_mallinfo2();
        break;
    case 2: {
        FILE *to = fopen("/dev/null", "w");
        if (to) {
            raced_malloc_info(0, to);
            fclose(to);
        }
        break;
    }
    default: {
        pid_t child = fork();
        if (child == 0) {
            raced_free(raced_malloc(100));
            raced_free(raced_malloc(10000));
            _exit(0);
        }
        int status = 0;
        while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
            ;
        if (status)
            fail("a child of fork failed");
    }
    }
}

static void *work(void *arg)
{
    size_t self = (size_t)arg % THREADS;
    struct rng r = rng_seeded(seed + (size_t)arg);
    for (unsigned i = 0; i < rounds; i++) {
        size_t size = any_size(&r);
        unsigned char *mem = take(&r, size);
        if (!mem)
            fail("no memory");
        write_block(mem, size);
        if (rng_one_in(&r, 2000))
            seldom(&r);
        slot *at =
            rng_one_in(&r, 16) ? &shared[rng_below(&r, SHARED_SLOTS)] : &own[self][rng_below(&r, OWN_SLOTS)];
        mem = atomic_exchange_explicit(at, mem, memory_order_acq_rel);
        if (!mem)
            continue;
        check_block(mem);
        if (rng_one_in(&r, 8)) {
            size = any_size(&r);
            mem = raced_realloc(mem, size);
            if (!mem)
                fail("no memory");
            write_block(mem, size);
        }
        raced_free(mem);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 10000;
    seed = rng_seed();
    for (size_t generation = 0; generation < GENERATIONS; generation++) {
        pthread_t threads[THREADS];
        for (size_t i = 0; i < THREADS; i++) {
            if (pthread_create(&threads[i], NULL, work, (void *)(generation * THREADS + i)))
                fail("no thread");
        }
        for (size_t i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
    }
    for (size_t i = 0; i < SHARED_SLOTS; i++)
        raced_free(shared[i]);
    printf("race: %u calls, seed %llu\n", THREADS * GENERATIONS * rounds, (unsigned long long)seed);
    return 0;
}
