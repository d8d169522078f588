/*
 * Orders of dying: a stack (LIFO), a queue (FIFO), and random lifetimes (expiry: a block dies a random number
 * of operations after its birth, most soon and some late).
 */
#include "bench.h"

uint64_t lifo(void)
{
    struct sizes sizes;
    sizes_of_params(&sizes, "power", 16, 4096);
    size_t depth_most = param("depth", 2000);
    uint64_t operations = scaled("ops", 12000000);
    struct rng r = {2};
    void **stack = own_pages(depth_most * sizeof *stack);
    size_t depth = 0;

    for (uint64_t done = 0; done < operations;) { /* calls and returns: climb a bit, unwind a bit */
        size_t climb = 1 + rng_below(&r, 64), unwind = 1 + rng_below(&r, 64);
        for (; climb && depth < depth_most; climb--, done++)
            stack[depth++] = take(sizes_pick(&sizes, &r));
        for (; unwind && depth; unwind--)
            give(stack[--depth]);
    }
    while (depth)
        give(stack[--depth]);
    own_pages_drop(stack, depth_most * sizeof *stack);
    return operations;
}

uint64_t fifo(void)
{
    struct sizes sizes;
    sizes_of_params(&sizes, "power", 16, 4096);
    size_t length = param("length", 20000);
    uint64_t operations = scaled("ops", 9000000);
    struct rng r = {3};
    void **queue = own_pages(length * sizeof *queue);
    size_t at = 0;

    for (uint64_t i = 0; i < operations; i++) {
        give(queue[at]);
        queue[at] = take(sizes_pick(&sizes, &r));
        at = at + 1 == length ? 0 : at + 1;
    }
    for (size_t i = 0; i < length; i++)
        give(queue[i]);
    own_pages_drop(queue, length * sizeof *queue);
    return operations;
}

/* A block of the wheel starts with the tag byte, so its link lies in the second word. */
struct timed {
    uint64_t tag;
    struct timed *next;
};

static uint64_t lifetime(struct rng *r, uint64_t longest)
{
    uint64_t limit = longest >> (rng_next(r) % 12); /* uniform below a limit that is halved 0..11 times */
    return rng_below(r, limit ? limit : 1);
}

static void wheel_expire(struct timed **spoke)
{
    struct timed *block = *spoke;
    *spoke = NULL;
    while (block) {
        struct timed *next = block->next;
        give(block);
        block = next;
    }
}

uint64_t expiry(void)
{
    struct sizes sizes;
    sizes_of_params(&sizes, "power", 16, 4096);
    size_t spokes = param("longest", 100000);
    uint64_t operations = scaled("ops", 5000000);
    struct rng r = {4};
    struct timed **wheel = own_pages(spokes * sizeof *wheel);
    size_t now = 0;

    for (uint64_t i = 0; i < operations; i++) {
        wheel_expire(&wheel[now]);
        struct timed *block = take(sizes_pick(&sizes, &r));
        size_t end = now + 1 + lifetime(&r, spokes - 1);
        struct timed **spoke = &wheel[end < spokes ? end : end - spokes];
        block->next = *spoke;
        *spoke = block;
        now = now + 1 == spokes ? 0 : now + 1;
    }
    for (size_t i = 0; i < spokes; i++)
        wheel_expire(&wheel[i]);
    own_pages_drop(wheel, spokes * sizeof *wheel);
    return operations;
}
