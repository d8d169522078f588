/*
 * Medium and large blocks by random replacement, sizes uniform in their logarithm. touch=1 writes every cache
 * line, as a program that fills its buffers does; touch=0 writes the first and the last byte, as one that
 * reserves does.
 */
#include "bench.h"

uint64_t large(void)
{
    struct sizes sizes;
    sizes_of_params(&sizes, "log", 128 * KIB, 64 * MIB);
    size_t slots = param("slots", 8);
    bool touched = param("touch", 1);
    uint64_t operations = scaled("ops", 250);
    struct rng r = {11};
    void **live = own_pages(slots * sizeof *live);

    for (uint64_t i = 0; i < operations; i++) {
        void **slot = &live[rng_below(&r, slots)];
        size_t size = sizes_pick(&sizes, &r);
        give(*slot);
        *slot = touched ? take(size) : take_ends(size);
    }
    for (size_t i = 0; i < slots; i++)
        give(live[i]);
    own_pages_drop(live, slots * sizeof *live);
    return operations;
}
