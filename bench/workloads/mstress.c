/*
 * The pattern of mstress (the stress test of mimalloc): threads that take blocks, most of up to 16 words,
 * one in a hundred a hundred times that and one in a thousand a thousand times. Half of the blocks stay
 * until their thread ends, the others are freed at random or change places with those of other threads in a
 * table. When all threads have ended, half of the table is freed and new threads begin. Blocks are written
 * in full, and checked.
 */
#include "bench.h"

enum { TRANSFERS = 1000, WORDS_MOST = 16 };

static void *_Atomic transfers[TRANSFERS];
static uint64_t blocks_each, iteration;

/* Word i of a block of n words is n and i. */
static uint64_t word(uint64_t words, uint64_t at)
{
    return words << 32 | at;
}

static void *words_new(struct rng *r)
{
    uint64_t words = 1 + rng_below(r, WORDS_MOST), luck = rng_below(r, 1000);
    if (luck < 11)
        words *= luck ? 100 : 1000;
    uint64_t *block = take_bare(words * sizeof *block);
    for (uint64_t i = 0; i < words; i++)
        block[i] = word(words, i);
    return block;
}

static void words_drop(uint64_t *block)
{
    uint64_t words = block ? *block >> 32 : 0;
    for (uint64_t i = 0; i < words; i++)
        if (block[i] != word(words, i))
            die("a block lost its contents");
    free(block);
}

/* Blocks in an array that grows. */
struct held {
    void **blocks;
    size_t count, room;
};

static void held_add(struct held *h, void *block)
{
    if (h->count == h->room) {
        h->room = h->room ? 2 * h->room : 64;
        h->blocks = realloc(h->blocks, h->room * sizeof *h->blocks);
        if (!h->blocks)
            die("realloc");
    }
    h->blocks[h->count++] = block;
}

static void held_drop(struct held *h)
{
    for (size_t i = 0; i < h->count; i++)
        words_drop(h->blocks[i]);
    free(h->blocks);
}

static void **any_of(const struct held *h, struct rng *r)
{
    return &h->blocks[rng_below(r, h->count)];
}

static void mstress_member(unsigned index)
{
    struct rng r = {1000 * iteration + index + 1};
    struct held loose = {0}, kept = {0};
    for (uint64_t i = 0; i < blocks_each; i++) {
        held_add(rng_below(&r, 2) ? &kept : &loose, words_new(&r));
        if (loose.count && rng_below(&r, 3)) {
            void **slot = any_of(&loose, &r);
            words_drop(*slot);
            *slot = NULL;
        }
        if (loose.count && rng_below(&r, 4) == 0) {
            void **slot = any_of(&loose, &r);
            *slot = atomic_exchange(&transfers[rng_below(&r, TRANSFERS)], *slot);
        }
    }
    held_drop(&loose);
    held_drop(&kept);
}

static void transfers_drop(unsigned step)
{
    for (unsigned i = 0; i < TRANSFERS; i += step)
        words_drop(atomic_exchange(&transfers[i], NULL));
}

uint64_t mstress(void)
{
    unsigned threads = (unsigned)param("threads", 4);
    uint64_t iterations = param("iterations", 20);
    if (!threads || !iterations)
        die("threads= and iterations= are at least 1");
    blocks_each = scaled("ops", 1500000) / threads / iterations + 1;
    for (iteration = 0; iteration < iterations; iteration++) {
        threads_run(threads, mstress_member);
        transfers_drop(2);
    }
    transfers_drop(1);
    return blocks_each * threads * iterations;
}
