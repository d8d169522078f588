/*
 * False sharing. active: the allocator hands neighbours in one cache line to different threads. passive: the
 * program does, by passing blocks on; the allocator makes it last if the thread that frees one gets it again.
 */
#include "bench.h"

static unsigned thread_count;
static uint64_t rounds_each, writes;
static size_t block_bytes;
static unsigned char *passed[64];

/* A counter in the block, as a thread's own statistics would be. */
static void hammer(void *block)
{
    volatile unsigned char *last = (volatile unsigned char *)block + block_bytes - 1;
    for (uint64_t i = 0; i < writes; i++)
        (*last)++;
}

static void sharing_member(unsigned index)
{
    if (passed[index])
        give(passed[index]);
    for (uint64_t i = 0; i < rounds_each; i++) {
        void *block = take(block_bytes);
        hammer(block);
        give(block);
    }
}

static uint64_t sharing(bool passive)
{
    thread_count = (unsigned)param("threads", 4);
    block_bytes = param("bytes", 8);
    writes = param("writes", 500);
    rounds_each = scaled("rounds", 2000000) / thread_count + 1;
    if (!thread_count || thread_count > 64 || block_bytes < 2)
        die("threads= is 1 to 64, bytes= at least 2");
    for (unsigned i = 0; i < thread_count; i++)
        passed[i] = passive ? take(block_bytes) : NULL;
    threads_run(thread_count, sharing_member);
    return rounds_each * thread_count;
}

uint64_t sharing_active(void)
{
    return sharing(false);
}

uint64_t sharing_passive(void)
{
    return sharing(true);
}
