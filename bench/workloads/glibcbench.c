/*
 * The patterns of glibc's own bench-malloc-simple and bench-malloc-thread. Nothing is written to the
 * blocks. simple: for each size from least= to most= by steps of four, and for batches of 25, 100, 400 and
 * 1600 blocks: all are allocated, then all freed, first come first, and again, first come last. thread:
 * threads that replace at random in 1024 slots each, sizes by a power law up to 32 KiB.
 */
#include "bench.h"

enum { BATCH_MOST = 1600 };

static void batches(size_t size, size_t count, uint64_t blocks, bool last_first)
{
    void *batch[BATCH_MOST];
    for (uint64_t done = 0; done < blocks; done += count) {
        for (size_t i = 0; i < count; i++)
            batch[i] = take_bare(size);
        for (size_t i = 0; i < count; i++)
            free(batch[last_first ? count - 1 - i : i]);
    }
}

uint64_t glibc_simple(void)
{
    size_t least = param("least", 16), most = param("most", 256);
    if (!least || most < least)
        die("least= is at least 1, most= at least least=");
    unsigned passes = 0;
    for (size_t size = least; size <= most; size *= 4)
        passes += 8; /* four batches, two orders */
    uint64_t blocks = scaled("ops", 8000000) / passes + 1;
    for (size_t size = least; size <= most; size *= 4)
        for (size_t count = 25; count <= BATCH_MOST; count *= 4)
            for (unsigned order = 0; order < 2; order++)
                batches(size, count, blocks, order);
    return blocks * passes;
}

static struct sizes sizes;
static uint64_t operations_each;
static size_t slots;

static void glibc_thread_member(unsigned index)
{
    struct rng r = {index + 1};
    void **live = own_pages(slots * sizeof *live);
    for (uint64_t i = 0; i < operations_each; i++) {
        void **slot = &live[rng_below(&r, slots)];
        free(*slot);
        *slot = take_bare(sizes_pick(&sizes, &r));
    }
    for (size_t i = 0; i < slots; i++)
        free(live[i]);
    own_pages_drop(live, slots * sizeof *live);
}

uint64_t glibc_thread(void)
{
    sizes_of_params(&sizes, "power", 16, 32 * KIB);
    unsigned threads = (unsigned)param("threads", 2);
    slots = param("slots", 1024);
    if (!threads || !slots)
        die("threads= and slots= are at least 1");
    operations_each = scaled("ops", 10000000) / threads + 1;
    threads_run_or_main(threads, glibc_thread_member);
    return operations_each * threads;
}
