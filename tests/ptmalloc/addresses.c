/*
 * Makes calls drawn at random and says where each block lies: relative to the first, so that two allocators that do the
 * same say the same. What is a mapping of its own has its place from the kernel: of that, only where in its page.
 *
 *      addresses SEED COUNT SLOTS SIZES CALLS [THREAD]
 *
 * SIZES: tiny, small, medium, wide, large. CALLS: letters of
 *      r realloc   c calloc   a aligned   t malloc_trim   f mallopt(M_MXFAST)   m mapped blocks, and what they raise
 * THREAD: anything; the calls are made by a second thread, so in a sub-heap.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rng.h"

/*
 * Where in its page ptmalloc's first block lies: in the break behind the thread's cache, in a sub-heap behind that and
 * the arena. Quarry has both elsewhere.
 */
#define FIRST_IN_BREAK 0x2a0
#define FIRST_IN_SUBHEAP 0xb70
#define PAGE 4096

#define SUBHEAP ((uintptr_t)64 << 20)
#define SLOTS_MOST 4096

static struct rng rng;
static long count;
static unsigned slots;
static const char *sizes, *calls;
static char *blocks[SLOTS_MOST], *first;
static bool in_thread;
static uintptr_t subheap;

static size_t below(size_t n)
{
    return rng_below(&rng, n);
}

static bool may(char call)
{
    return strchr(calls, call) != NULL;
}

static size_t a_size(void)
{
    if (may('m') && below(16) == 0)
        return 100000 + below(400000);
    switch (*sizes) {
    case 't':
        return below(130);
    case 's':
        return below(1100);
    case 'm':
        return below(20000);
    case 'w':
        return below((size_t)16 << below(14));
    default:
        return below(4) ? below(300) : below(120000);
    }
}

static char text[1 << 16];
static size_t length;

static void flush(void)
{
    if (write(STDOUT_FILENO, text, length) != (ssize_t)length)
        _exit(3);
    length = 0;
}

static void say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    length += (size_t)vsnprintf(text + length, 200, format, arguments);
    va_end(arguments);
    if (length > sizeof text - 200)
        flush();
}

static bool in_heap(const char *block)
{
    if (subheap)
        return (uintptr_t)block / SUBHEAP == subheap;
    return block >= first && block < (char *)sbrk(0);
}

static void say_block(const char *call, unsigned slot, size_t size, size_t alignment)
{
    char *block = blocks[slot];
    say("%s [%u] %zu", call, slot, size);
    if (alignment)
        say(" at %zu", alignment);
    if (in_heap(block))
        say(": %ld", (long)(block - first));
    else
        say(": mapped, %zu in its page", (size_t)((uintptr_t)block % PAGE));
    say(", %zu usable\n", malloc_usable_size(block));
    memset(block, (int)slot, size);
}

static void take_aligned(unsigned slot, size_t size)
{
    size_t alignment = (size_t)16 << below(9);
    void *block = NULL;
    switch (below(4)) {
    case 0:
        block = aligned_alloc(alignment, size);
        break;
    case 1:
        block = posix_memalign(&block, alignment, size) ? NULL : block;
        break;
    case 2:
        alignment = PAGE;
        block = below(2) ? valloc(size) : pvalloc(size);
        break;
    default:
        block = memalign(alignment, size);
        break;
    }
    blocks[slot] = block;
    say_block("aligned", slot, size, alignment);
}

static void take(unsigned slot)
{
    size_t size = a_size(), which = below(8);
    if (may('a') && which == 0) {
        take_aligned(slot, size);
    } else if (may('c') && which == 1) {
        blocks[slot] = calloc(1, size);
        say_block("calloc", slot, size, 0);
    } else {
        blocks[slot] = malloc(size);
        say_block("malloc", slot, size, 0);
    }
}

static void change(unsigned slot)
{
    if (may('r') && below(3) == 0) {
        size_t size = 1 + a_size();
        blocks[slot] = realloc(blocks[slot], size);
        say_block("realloc", slot, size, 0);
    } else {
        say_block("free", slot, 0, 0);
        free(blocks[slot]);
        blocks[slot] = NULL;
    }
}

/*
 * With a top of no more than a chunk, glibc 2.36 takes a page from the kernel here, as a difference becomes negative. A
 * thread may also trim what the first one left in the break.
 */
static void trim(void)
{
    size_t pad = below(2) ? 0 : below(100000);
    if (in_thread)
        malloc_trim(pad);
    else if (mallinfo2().keepcost > 64)
        say("trim: %d\n", malloc_trim(pad));
}

static char *take_first(size_t place)
{
    char *block = malloc(24);
    size_t before = place - (uintptr_t)block % PAGE;
    if (before && malloc(before - 32 - 8))
        block = malloc(24);
    if ((uintptr_t)block % PAGE != place) {
        fprintf(stderr, "addresses: the first block lies at %p\n", (void *)block);
        _exit(3);
    }
    return block;
}

/* Not what is in use and free: ptmalloc counts what thread caches hold as in use. */
static void say_figures(void)
{
    struct mallinfo2 m = mallinfo2();
    say("arena %zu, %zu free, %zu fast, %zu mapped, %zu bytes, top %zu\n", m.arena, m.ordblks, m.smblks,
        m.hblks, m.hblkhd, m.keepcost);
}

static void *work(void *unused)
{
    first = take_first(in_thread ? FIRST_IN_SUBHEAP : FIRST_IN_BREAK);
    if (in_thread)
        subheap = (uintptr_t)first / SUBHEAP;
    for (long i = 0; i < count; i++) {
        unsigned slot = (unsigned)below(slots);
        if (may('t') && below(500) == 0)
            trim();
        if (may('f') && below(300) == 0) {
            int largest = (int)below(12) * 16;
            say("mxfast %d: %d\n", largest, mallopt(M_MXFAST, largest));
        }
        if (blocks[slot])
            change(slot);
        else
            take(slot);
        if (!in_thread && i % 50 == 0)
            say_figures();
        if (!in_thread)
            say("break %ld\n", (long)((char *)sbrk(0) - first));
    }
    return unused;
}

int main(int argc, char **argv)
{
    if (argc < 6)
        return 2;
    rng = rng_seeded(strtoull(argv[1], NULL, 10));
    count = strtol(argv[2], NULL, 10);
    slots = (unsigned)strtoul(argv[3], NULL, 10);
    sizes = argv[4];
    calls = argv[5];
    if (slots < 1 || slots > SLOTS_MOST)
        return 2;
    in_thread = argc > 6;
    if (in_thread) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, work, NULL) || pthread_join(thread, NULL))
            return 3;
    } else {
        work(NULL);
    }
    flush();
    return 0;
}
