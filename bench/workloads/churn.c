/*
 * Random replacement: a table of live blocks, each operation frees one of them and allocates another in its
 * place. Few slots stay in the cache (small churn); many are the large live set of a cache or an index.
 */
#include "bench.h"

uint64_t churn(void)
{
    struct sizes sizes;
    sizes_of_params(&sizes, "uniform", 1, 1000);
    size_t slots = param("slots", 1000);
    uint64_t operations = scaled("ops", 10000000);
    struct rng r = {param("seed", 1)};
    void **live = own_pages(slots * sizeof *live);

    for (uint64_t i = 0; i < operations; i++) {
        void **slot = &live[rng_below(&r, slots)];
        give(*slot);
        *slot = take(sizes_pick(&sizes, &r));
    }
    for (size_t i = 0; i < slots; i++)
        give(live[i]);
    own_pages_drop(live, slots * sizeof *live);
    return operations;
}
