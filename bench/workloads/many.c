/*
 * Many threads, each with its own live blocks; one operation in `share` exchanges a block with a table all
 * threads see, so that blocks wander between threads and are freed far from where they were born.
 */
#include "bench.h"

enum { SHARED = 4096 };

static _Atomic(void *) shared[SHARED];
static struct sizes sizes;
static uint64_t operations_each, share;
static size_t slots;

static void many_member(unsigned index)
{
    struct rng r = {100 + index};
    void **live = own_pages(slots * sizeof *live);
    for (uint64_t i = 0; i < operations_each; i++) {
        void **slot = &live[rng_below(&r, slots)];
        if (share && rng_below(&r, share) == 0)
            *slot = atomic_exchange(&shared[rng_next(&r) % SHARED], *slot);
        give(*slot);
        *slot = take(sizes_pick(&sizes, &r));
    }
    for (size_t i = 0; i < slots; i++)
        give(live[i]);
    own_pages_drop(live, slots * sizeof *live);
}

uint64_t many(void)
{
    sizes_of_params(&sizes, "power", 16, 8192);
    unsigned threads = (unsigned)param("threads", 4);
    slots = param("slots", 1000);
    share = param("share", 10);
    operations_each = scaled("ops", 8000000) / threads + 1;
    threads_run(threads, many_member);
    for (unsigned i = 0; i < SHARED; i++)
        give(atomic_load(&shared[i]));
    return operations_each * threads;
}
