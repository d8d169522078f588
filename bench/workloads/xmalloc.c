/*
 * The pattern of xmalloc-test (Lever and Boreham, "malloc() performance in a multithreaded Linux
 * environment", 2000): producers fill an array of 4096 blocks and put it into a queue, consumers take an
 * array from there and free its blocks and it. Every block is freed by another thread than allocated it. A
 * block is written up to its first 128 bytes. With least= equal to most= all are of one size.
 */
#include "bench.h"

enum { BATCH = 4096, WRITTEN = 128 };

struct batch {
    void *blocks[BATCH];
};

static struct sizes sizes;

static void *batch_new(struct rng *r)
{
    struct batch *b = take_bare(sizeof *b);
    for (unsigned i = 0; i < BATCH; i++) {
        size_t size = sizes_pick(&sizes, r);
        b->blocks[i] = memset(take_bare(size), TAG, size < WRITTEN ? size : WRITTEN);
    }
    return b;
}

static void batch_drop(void *batch)
{
    struct batch *b = batch;
    for (unsigned i = 0; i < BATCH; i++)
        free(b->blocks[i]);
    free(b);
}

uint64_t xmalloc(void)
{
    sizes_of_params(&sizes, "log", 8, 512);
    return delivery_run(&(struct delivery){2, 2, 4000000, BATCH, batch_new, batch_drop});
}
