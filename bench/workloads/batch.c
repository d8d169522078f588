/* Allocates a batch, then frees all of it: order=same, reverse or random. */
#include "bench.h"

/* The order of freeing, made once: the shuffle is not what is measured. */
static void order_make(uint32_t *order, size_t count, const char *kind)
{
    struct rng r = {80};
    bool reverse = !strcmp(kind, "reverse");
    for (size_t i = 0; i < count; i++)
        order[i] = (uint32_t)(reverse ? count - 1 - i : i);
    if (strcmp(kind, "random"))
        return;
    for (size_t i = count - 1; i > 0; i--) {
        size_t j = rng_below(&r, i + 1);
        uint32_t held = order[i];
        order[i] = order[j];
        order[j] = held;
    }
}

uint64_t batch(void)
{
    struct sizes sizes;
    sizes_of_params(&sizes, "uniform", 16, 256);
    size_t count = param("count", 100000);
    uint64_t operations = scaled("ops", 6000000);
    struct rng r = {8};
    void **blocks = own_pages(count * sizeof *blocks);
    uint32_t *order = own_pages(count * sizeof *order);
    order_make(order, count, param_text("order", "same"));

    for (uint64_t done = 0; done < operations; done += count) {
        for (size_t i = 0; i < count; i++)
            blocks[i] = take(sizes_pick(&sizes, &r));
        for (size_t i = 0; i < count; i++)
            give(blocks[order[i]]);
    }
    own_pages_drop(blocks, count * sizeof *blocks);
    own_pages_drop(order, count * sizeof *order);
    return operations;
}
