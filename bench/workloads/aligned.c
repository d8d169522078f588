/* Aligned blocks by random replacement: alignments of powers of two between align_least= and align_most=. */
#include "bench.h"

static void *take_aligned(size_t alignment, size_t size)
{
    void *block;
    if (posix_memalign(&block, alignment, size))
        die("posix_memalign");
    if ((uintptr_t)block % alignment)
        die("posix_memalign gave a block that is not aligned");
    touch(block, size);
    return block;
}

uint64_t aligned(void)
{
    struct sizes sizes;
    sizes_of_params(&sizes, "power", 16, 4096);
    size_t least = param("align_least", 32), most = param("align_most", 128);
    size_t slots = param("slots", 2000);
    uint64_t operations = scaled("ops", 4000000);
    unsigned steps = 1;
    for (size_t a = least; a < most; a *= 2)
        steps++;
    struct rng r = {12};
    void **live = own_pages(slots * sizeof *live);

    for (uint64_t i = 0; i < operations; i++) {
        void **slot = &live[rng_below(&r, slots)];
        give(*slot);
        *slot = take_aligned(least << rng_below(&r, steps), sizes_pick(&sizes, &r));
    }
    for (size_t i = 0; i < slots; i++)
        give(live[i]);
    own_pages_drop(live, slots * sizeof *live);
    return operations;
}
