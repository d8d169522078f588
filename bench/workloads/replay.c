/*
 * Replays a packed trace (trace/format.h): as many threads as the program had, each with its own stream,
 * waiting for each other only where one frees what another allocated. file= names the trace, times= how
 * often.
 */
#include "bench.h"
#include "format.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

enum { WINDOW = 64 * 1024, LONGEST_RECORD = 1 + 7 * 10, ADDRESS_BITS = 64 - GENERATION_BITS };

/* A slot holds generation << 48 | address; address 0: empty, and ready for the block of this generation. */
static _Atomic uint64_t *slots;
static struct packed_stream *streams;
static int trace;

struct reader {
    unsigned char *window;
    size_t at, filled;
    uint64_t offset, left; /* of the file, not yet in the window */
};

static void read_exactly(void *into, size_t bytes, uint64_t offset)
{
    if (pread(trace, into, bytes, (off_t)offset) != (ssize_t)bytes)
        die("the trace is cut short");
}

/* Keeps a whole record in the window. False at the end. */
static bool reader_fill(struct reader *r)
{
    if (r->filled - r->at >= LONGEST_RECORD || (!r->left && r->at < r->filled))
        return true;
    size_t kept = r->filled - r->at;
    memmove(r->window, r->window + r->at, kept);
    size_t more = r->left < WINDOW - kept ? (size_t)r->left : WINDOW - kept;
    read_exactly(r->window + kept, more, r->offset);
    r->offset += more;
    r->left -= more;
    r->at = 0;
    r->filled = kept + more;
    return r->filled > 0;
}

static uint64_t number(struct reader *r)
{
    uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
        if (r->at == r->filled || shift > 63)
            die("the trace is damaged");
        unsigned char byte = r->window[r->at++];
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return value;
    }
}

static void pause_a_little(unsigned *spins)
{
    if (++*spins > 100)
        sched_yield();
}

static void slot_put(uint64_t slot, uint64_t generation, void *block)
{
    unsigned spins = 0;
    while (atomic_load_explicit(&slots[slot], memory_order_acquire) != generation << ADDRESS_BITS)
        pause_a_little(&spins);
    atomic_store_explicit(&slots[slot], generation << ADDRESS_BITS | (uintptr_t)block, memory_order_release);
}

static void *slot_take(uint64_t slot, uint64_t generation)
{
    unsigned spins = 0;
    uint64_t mask = (UINT64_C(1) << ADDRESS_BITS) - 1, value;
    while ((value = atomic_load_explicit(&slots[slot], memory_order_acquire)) >> ADDRESS_BITS != generation ||
           !(value & mask))
        pause_a_little(&spins);
    uint64_t next = (generation + 1) & ((1 << GENERATION_BITS) - 1);
    atomic_store_explicit(&slots[slot], next << ADDRESS_BITS, memory_order_release);
    return (void *)(uintptr_t)(value & mask);
}

static void *grow_block(struct reader *r, size_t size)
{
    uint64_t old_slot = number(r), old_generation = number(r);
    size_t old_size = number(r);
    unsigned char *block = realloc(slot_take(old_slot, old_generation), size);
    if (!block)
        die("realloc");
    if (size > old_size)
        touch(block + old_size, size - old_size);
    return block;
}

static void *new_block(struct reader *r, unsigned op, size_t size)
{
    void *block = NULL;
    if (op == PACKED_TAKE)
        block = malloc(size);
    else if (op == PACKED_ZEROED)
        block = calloc(1, size);
    else if (op == PACKED_ALIGNED)
        block = aligned_alloc((size_t)1 << number(r), size);
    else
        die("the trace is damaged");
    if (!block)
        die("out of memory");
    touch(block, size);
    return block;
}

static void replay_record(struct reader *r)
{
    unsigned op = r->window[r->at++];
    uint64_t slot = number(r), generation = number(r);
    if (op == PACKED_GIVE) {
        give(slot_take(slot, generation));
        return;
    }
    size_t size = number(r);
    slot_put(slot, generation, op == PACKED_GROW ? grow_block(r, size) : new_block(r, op, size));
}

static void replay_thread(unsigned index)
{
    struct reader r = {
        .window = own_pages(WINDOW), .offset = streams[index].offset, .left = streams[index].length};
    while (reader_fill(&r))
        replay_record(&r);
    own_pages_drop(r.window, WINDOW);
}

static void leftovers_give(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        free((void *)(uintptr_t)(slots[i] & ((UINT64_C(1) << ADDRESS_BITS) - 1)));
}

uint64_t replay(void)
{
    struct packed_header h;
    uint64_t times = scaled("times", 1);
    trace = open(param_text("file", ""), O_RDONLY | O_CLOEXEC);
    if (trace < 0)
        die("file= names no trace");
    read_exactly(&h, sizeof h, 0);
    if (h.magic != PACKED_MAGIC || !h.threads || h.threads > 1024)
        die("file= is not a packed trace");
    streams = own_pages(h.threads * sizeof *streams);
    read_exactly(streams, h.threads * sizeof *streams, sizeof h);
    size_t bytes = (h.slots + 1) * sizeof *slots;
    for (uint64_t i = 0; i < times; i++) {
        slots = own_pages(bytes);
        if (h.threads == 1)
            replay_thread(0);
        else
            threads_run((unsigned)h.threads, replay_thread);
        leftovers_give(h.slots);
        own_pages_drop(slots, bytes);
    }
    return h.records * times;
}
