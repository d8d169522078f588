/*
 * The pattern of alloc-test (OLogN Technologies, 2018): a slot drawn at random is emptied when a block lies
 * there, else filled, so that half of slots= live. Four fifths of the draws go to a fifth of the slots,
 * four fifths of these to a fifth of that fifth, and so on. Sizes of 16 to 1023 bytes, each power of two
 * half as often as the one before. Blocks are written in full and read in full.
 */
#include "bench.h"

enum { LEVELS = 6, OCTAVES = 6, LEAST_BITS = 4 };

struct place {
    unsigned char *block;
    size_t size;
};

/* How many of the slots a draw is among. */
static void ranges_draw(struct sizes *ranges, size_t slots)
{
    struct rng r = {24};
    for (unsigned i = 0; i < SIZES_DRAWN; i++) {
        size_t range = slots;
        for (unsigned level = 0; level < LEVELS; level++)
            if (rng_below(&r, 5) && range >= 5)
                range /= 5;
        ranges->drawn[i] = (uint32_t)range;
    }
}

static size_t octave_pick(struct rng *r)
{
    uint64_t bits = rng_next(r);
    size_t least = (size_t)1 << (LEAST_BITS + __builtin_ctzll(bits | 1u << (OCTAVES - 1)));
    return least + (bits >> 32 & (least - 1));
}

static uint64_t sum_of(const unsigned char *bytes, size_t size)
{
    uint64_t sum = 0, word;
    size_t at = 0;
    for (; at + sizeof word <= size; at += sizeof word) {
        memcpy(&word, bytes + at, sizeof word);
        sum += word;
    }
    for (; at < size; at++)
        sum += bytes[at];
    return sum;
}

static volatile uint64_t sum_seen; /* so that the reading is not left out */

static void place_fill(struct place *p, size_t size)
{
    p->block = take(size);
    p->size = size;
}

static void place_empty(struct place *p)
{
    sum_seen = sum_of(p->block, p->size);
    give(p->block);
    p->block = NULL;
}

uint64_t alloc_test(void)
{
    size_t slots = param("slots", 50000);
    uint64_t operations = scaled("ops", 8000000);
    struct rng r = {23};
    struct sizes ranges;
    ranges_draw(&ranges, slots);
    struct place *places = own_pages(slots * sizeof *places);

    for (uint64_t i = 0; i < operations; i++) {
        struct place *p = &places[rng_below(&r, sizes_pick(&ranges, &r))];
        if (p->block)
            place_empty(p);
        else
            place_fill(p, octave_pick(&r));
    }
    for (size_t i = 0; i < slots; i++)
        if (places[i].block)
            place_empty(&places[i]);
    own_pages_drop(places, slots * sizeof *places);
    return operations;
}
