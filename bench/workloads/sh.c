/*
 * The pattern of MicroQuill's sh6bench and sh8bench: blocks are taken size after size, several of each size
 * and more of small ones, until a pile is full. Then a fifth of it stays, another fifth each time; what
 * lies below is freed in the order of allocation, what lies above in reverse. With share=, one block in so
 * many of those above changes places with one of any thread's before it is freed (sh8bench). First and last
 * byte are written.
 */
#include "bench.h"

enum { SHARED = 4096, COPIES_MOST = 64 };

static void *_Atomic shared[SHARED];
static size_t largest, room;
static uint64_t blocks_each, share;

struct pile {
    void **blocks;
    size_t at, kept_from, kept_to; /* the next free place; those that stay */
    struct rng r;
};

static void free_or_swap(struct pile *p, void *block)
{
    if (share && rng_below(&p->r, share) == 0)
        block = atomic_exchange(&shared[rng_below(&p->r, SHARED)], block);
    free(block);
}

static void pile_turn(struct pile *p)
{
    p->kept_from = p->kept_to >= room ? 0 : p->kept_to;
    p->kept_to = p->kept_from + room / 5;
    if (p->kept_to > room)
        p->kept_to = room;
    for (size_t i = 0; i < p->kept_from; i++)
        free(p->blocks[i]);
    for (size_t i = room; i > p->kept_to; i--)
        free_or_swap(p, p->blocks[i - 1]);
    p->at = p->kept_from ? 0 : p->kept_to;
}

static void pile_add(struct pile *p, void *block)
{
    p->blocks[p->at++] = block;
    if (p->at == p->kept_from)
        p->at = p->kept_to;
    if (p->at == room)
        pile_turn(p);
}

/* The pile is never full here: below at and in the kept part lie blocks, elsewhere none. */
static void pile_drop(struct pile *p)
{
    for (size_t i = 0; i < p->at; i++)
        free(p->blocks[i]);
    for (size_t i = p->at > p->kept_from ? p->at : p->kept_from; i < p->kept_to; i++)
        free(p->blocks[i]);
    own_pages_drop(p->blocks, room * sizeof *p->blocks);
}

static size_t copies_of(size_t size)
{
    size_t copies = 1 + largest / 2 / size;
    return copies < COPIES_MOST ? copies : COPIES_MOST;
}

static void sh_member(unsigned index)
{
    struct pile p = {own_pages(room * sizeof(void *)), 0, 0, 0, {index + 1}};
    for (uint64_t left = blocks_each; left;)
        for (size_t size = 1; size <= largest && left; size++)
            for (size_t copies = copies_of(size); copies && left; copies--, left--)
                pile_add(&p, take_ends(size));
    pile_drop(&p);
}

uint64_t sh(void)
{
    unsigned threads = (unsigned)param("threads", 1);
    largest = param("most", 1000);
    room = param("room", 20000);
    share = param("share", 0);
    if (!threads || !largest || room < 5)
        die("threads= and most= are at least 1, room= at least 5");
    blocks_each = scaled("ops", 8000000) / threads + 1;
    threads_run_or_main(threads, sh_member);
    for (unsigned i = 0; i < SHARED; i++)
        free(atomic_load(&shared[i]));
    return blocks_each * threads;
}
