/*
 * Phases of different sizes: each phase fills `bytes` of memory with blocks of its own size range, then frees
 * all but one in `keep` of them. The survivors of all phases pin memory; what the next phase can use of the
 * holes between them shows in the peak.
 */
#include "bench.h"

struct held {
    void *block;
    uint32_t dies; /* the phase at whose end a survivor goes at last */
};

static const struct {
    uint32_t least, most;
} phases[] = {{16, 64}, {100, 300}, {32, 48}, {1000, 3000}, {200, 700}, {16, 1024}, {4000, 12000}, {64, 128}};

enum { PHASES = sizeof phases / sizeof *phases, HELD_MOST = 4000000 };

static size_t survivors_of(struct held *held, size_t count, unsigned phase)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (held[i].dies > phase)
            held[kept++] = held[i];
        else
            give(held[i].block);
    }
    return kept;
}

uint64_t fragment(void)
{
    size_t bytes = param("bytes", 48 * MIB), keep = param("keep", 8);
    uint64_t passes = scaled("passes", 2), operations = 0;
    struct held *held = own_pages(HELD_MOST * sizeof *held);
    struct rng r = {14};
    size_t count = 0;
    unsigned phase = 0;

    for (; phase < passes * PHASES; phase++) {
        uint32_t least = phases[phase % PHASES].least, most = phases[phase % PHASES].most;
        for (size_t filled = 0; filled < bytes && count < HELD_MOST; operations++) {
            size_t size = least + rng_below(&r, most - least + 1);
            bool survives = rng_below(&r, keep) == 0;
            held[count++] =
                (struct held){take(size), phase + (survives ? 1 + (uint32_t)rng_below(&r, 5) : 0)};
            filled += size;
        }
        count = survivors_of(held, count, phase);
    }
    survivors_of(held, count, phase + PHASES);
    own_pages_drop(held, HELD_MOST * sizeof *held);
    return operations;
}
