/*
 * calloc-heavy: objects and tables that must be zero. The program checks a few words and fills a part, so
 * both zeroing too much and faulting too early cost.
 */
#include "bench.h"

static void *take_zeroed(size_t size)
{
    unsigned char *block = calloc(1, size);
    if (!block)
        die("calloc");
    if (block[0] | block[size / 2] | block[size - 1])
        die("calloc gave a block that is not zero");
    touch(block, size < TOUCH_ALL ? size : size / 4);
    return block;
}

uint64_t zeroed(void)
{
    struct sizes small, big;
    sizes_draw(&small, "power", 16, 4096);
    sizes_draw(&big, "log", 4 * KIB, 1 * MIB);
    size_t slots = param("slots", 2000);
    uint64_t operations = scaled("ops", 2500000), big_every = param("big_every", 500);
    struct rng r = {13};
    void **live = own_pages(slots * sizeof *live);

    for (uint64_t i = 0; i < operations; i++) {
        bool is_big = big_every && rng_below(&r, big_every) == 0;
        void **slot = &live[is_big ? rng_below(&r, 16) : rng_below(&r, slots)];
        give(*slot);
        *slot = take_zeroed(sizes_pick(is_big ? &big : &small, &r));
    }
    for (size_t i = 0; i < slots; i++)
        give(live[i]);
    own_pages_drop(live, slots * sizeof *live);
    return operations;
}
