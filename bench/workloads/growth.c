/*
 * The cost of an operation at a given number of live blocks: fills to `live`, then measures random
 * replacement alone. What grows from 10^3 to 10^7 beyond what every allocator shows (cache and TLB misses) is
 * a list somebody walks.
 */
#include "bench.h"

uint64_t growth(void)
{
    struct sizes sizes;
    sizes_of_params(&sizes, "uniform", 16, 128);
    size_t count = param("live", 1000);
    uint64_t operations = scaled("ops", 3000000);
    struct rng r = {15};
    void **live = own_pages(count * sizeof *live);

    double start = cpu_seconds();
    for (size_t i = 0; i < count; i++)
        live[i] = take(sizes_pick(&sizes, &r));
    double filled = cpu_seconds();
    for (uint64_t i = 0; i < operations; i++) {
        void **slot = &live[rng_below(&r, count)];
        give(*slot);
        *slot = take(sizes_pick(&sizes, &r));
    }
    double replaced = cpu_seconds();
    for (size_t i = 0; i < count; i++)
        give(live[i]);
    double emptied = cpu_seconds();
    report("fill_ns", (filled - start) * 1e9 / (double)count);
    report("replace_ns", (replaced - filled) * 1e9 / (double)operations);
    report("empty_ns", (emptied - replaced) * 1e9 / (double)count);
    own_pages_drop(live, count * sizeof *live);
    return operations;
}
