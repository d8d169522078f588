/*
 * The pattern of rptest (the benchmark of rpmalloc): threads with slots= blocks each. In a loop a thread
 * frees some of its slots and fills some anew, two windows that move on with different strides; every
 * second loop it also makes an array of blocks for the next thread, which frees it (or the giver, when many
 * lie there already: else the peak would be what the scheduler makes it). Sizes up to 16,000 bytes, small
 * ones more often. The first word, the last byte and one byte a page are written.
 */
#include "bench.h"

enum { THREADS_MOST = 64, FREE_STRIDE = 11, FILL_STRIDE = 7, GIFTS_MOST = 16 };

struct gift {
    struct gift *next;
    size_t count;
    void *blocks[];
};

static struct gift *_Atomic inboxes[THREADS_MOST];
static atomic_uint waiting[THREADS_MOST]; /* about as many gifts lie there */
static struct sizes sizes;
static unsigned threads;
static uint64_t loops;
static _Atomic uint64_t blocks_made;
static size_t slots;

static void *block_new(struct rng *r)
{
    size_t size = sizes_pick(&sizes, r);
    unsigned char *block = take_bare(size);
    for (size_t at = PAGE; at < size; at += PAGE)
        *(volatile unsigned char *)(block + at) = TAG;
    block[size - 1] = TAG;
    *(volatile uint32_t *)(void *)block = (uint32_t)size;
    return block;
}

/* Reads the first word, as a program that counts its bytes. */
static void block_drop(void *block)
{
    if (block && *(volatile uint32_t *)block == 0)
        die("a block lost its contents");
    free(block);
}

static void inbox_empty(unsigned of)
{
    atomic_store(&waiting[of], 0);
    for (struct gift *g = atomic_exchange(&inboxes[of], NULL), *next; g; g = next) {
        next = g->next;
        for (size_t i = 0; i < g->count; i++)
            block_drop(g->blocks[i]);
        free(g);
    }
}

static void gift_send(unsigned to, size_t count, struct rng *r)
{
    struct gift *g = take_bare(sizeof *g + count * sizeof *g->blocks);
    g->count = count;
    for (size_t i = 0; i < count; i++)
        g->blocks[i] = block_new(r);
    g->next = atomic_load(&inboxes[to]);
    while (!atomic_compare_exchange_weak(&inboxes[to], &g->next, g)) {}
    if (atomic_fetch_add(&waiting[to], 1) >= GIFTS_MOST)
        inbox_empty(to);
}

static void *slot_swap(void **slot, void *block)
{
    void *before = *slot;
    *slot = block;
    return before;
}

static void rptest_member(unsigned index)
{
    struct rng r = {index + 1};
    void **own = own_pages(slots * sizeof *own);
    size_t to_free = 0, to_fill = 0, made = 0;
    for (uint64_t loop = 0; loop < loops; loop++) {
        size_t freed = 24 + rng_below(&r, 56), filled = 30 + rng_below(&r, 70);
        for (; freed; freed--, to_free = (to_free + FREE_STRIDE) % slots)
            block_drop(slot_swap(&own[to_free], NULL));
        inbox_empty(index);
        for (size_t i = 0; i < filled; i++, to_fill = (to_fill + FILL_STRIDE) % slots) {
            block_drop(slot_swap(&own[to_fill], NULL));
            own[to_fill] = block_new(&r);
        }
        made += filled;
        if (loop % 2 == 0) {
            gift_send((index + 1) % threads, filled, &r);
            made += filled;
        }
    }
    atomic_fetch_add(&blocks_made, made);
    for (size_t i = 0; i < slots; i++)
        block_drop(own[i]);
    own_pages_drop(own, slots * sizeof *own);
}

uint64_t rptest(void)
{
    sizes_of_params(&sizes, "log", 8, 16000);
    threads = (unsigned)param("threads", 4);
    slots = param("slots", 1000);
    loops = scaled("loops", 24000) / (threads ? threads : 1) + 1;
    if (!threads || threads > THREADS_MOST || !slots)
        die("threads= is 1 to 64, slots= at least 1");
    threads_run(threads, rptest_member);
    for (unsigned i = 0; i < threads; i++)
        inbox_empty(i);
    return blocks_made;
}
