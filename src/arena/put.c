/*
 * Putting a chunk back: coalescing (M-06), consolidation (M-18), the inbox.
 */
#include "arena/internal.h"
#include "base/atomic.h"
#include "base/probe.h"
#include "chunk/freed.h"
#include "options/options.h"
#include "os/pages.h"

/* M-18, M-23: a free piece this large makes it worth looking for more. */
#define CONSOLIDATE_FROM ((size_t)65536)

/* Blocks put back from the inbox by one call. */
#define DRAIN_AT_MOST 64

/* The free chunk before `c`, which its P bit promises; checked before it is believed. */
static struct qy_chunk *free_chunk_before(struct qy_chunk *c)
{
    size_t size = c->prev_size;
    struct qy_chunk *prev = qy_chunk_at(c, -size);
    if ((size & QY_TAG_BITS) || size < QY_MIN_CHUNK || !qy_place_free(qy_place_of(prev)) ||
        qy_chunk_size(prev) != size)
        qy_fatal(QY_CORRUPTED_HEADER, qy_chunk_mem(c),
                 "the size of the free block before this one disagrees");
    return prev;
}

/*
 * A long free chunk stays old when little is added to it, so that a steady load at its edge does not keep it resident.
 */
static size_t age_of_larger(const struct qy_chunk *neighbour, size_t size)
{
    return qy_chunk_size(neighbour) > size && (neighbour->size & QY_AGE_TAGS) ? QY_SEEN_FREE : 0;
}

/* What lies here next may be sparse. */
static void expect_nothing_locked(const struct qy_chunk *c)
{
    uintptr_t from = qy_align_up((uintptr_t)c, QY_HUGE_BYTES);
    uintptr_t to = qy_align_down((uintptr_t)c + qy_chunk_size(c), QY_HUGE_BYTES);
    if (from < to)
        qy_pages_wish_huge((void *)from, to - from, false);
}

size_t qy_arena_coalesce_locked(struct qy_arena *a, struct qy_chunk *c)
{
    if (QY_UNLIKELY(qy_chunk_size(c) >= QY_HUGE_BYTES) && a->some_huge)
        expect_nothing_locked(c);
    struct qy_chunk *next = qy_chunk_next(c);
    struct qy_granule *g = qy_granule_with(c);
    struct qy_place place = qy_place_in(g, c), next_place = qy_place_beside(g, c, next);
    size_t size = qy_chunk_size(c), age = 0;
    qy_place_set_free(place);
    if (!qy_chunk_prev_inuse(c)) {
        struct qy_chunk *prev = free_chunk_before(c);
        age |= age_of_larger(prev, size);
        qy_bin_unlink(&a->bins, prev);
        qy_place_clear_begins(place);
        qy_chunk_void(c);
        size += qy_chunk_size(prev);
        c = prev;
        QY_PROBE(BLOCK, MERGED_BACK, c, size);
    }
    if (next == a->top) {
        qy_arena_check_top_locked(a);
        size += qy_chunk_size(next);
        qy_place_clear_begins(next_place);
        qy_chunk_set_free(c, size, QY_PREV_INUSE);
        qy_store_plain(&a->top, c);
        QY_PROBE(TOP, MERGED_BACK, c, size);
        return size;
    }
    if (!qy_place_inuse(next_place)) {
        age |= age_of_larger(next, size);
        qy_bin_unlink(&a->bins, next);
        qy_place_clear_begins(next_place);
        size += qy_chunk_size(next);
        QY_PROBE(BLOCK, MERGED_AHEAD, c, size);
    } else {
        qy_chunk_set_prev_inuse(next, false);
    }
    qy_chunk_set_free(c, size, QY_PREV_INUSE | age);
    qy_chunk_set_foot(c, size);
    qy_bin_insert(&a->bins, c);
    return size;
}

void qy_arena_consolidate_locked(struct qy_arena *a)
{
    QY_ASSERT(qy_lock_held(&a->lock));
    a->bins.have_fast = false;
    QY_PROBE(FAST_BIN, EMPTIED, 0, 0);
    for (size_t size = QY_MIN_CHUNK; size < QY_MIN_CHUNK + QY_FAST_BINS * QY_ALIGNMENT;
         size += QY_ALIGNMENT) {
        struct qy_chunk *c;
        while ((c = qy_fast_pop(&a->bins, size)) != NULL)
            qy_arena_coalesce_locked(a, c);
    }
}

void qy_arena_consolidate(struct qy_arena *a)
{
    qy_lock(&a->lock);
    if (a->bins.have_fast)
        qy_arena_consolidate_locked(a);
    qy_unlock(&a->lock);
}

static void put_locked(struct qy_arena *a, struct qy_chunk *c, size_t fast)
{
    QY_ASSERT(qy_lock_held(&a->lock));
    if (qy_chunk_size(c) <= fast) {
        qy_fast_push(&a->bins, c);
        return;
    }
    if (qy_arena_coalesce_locked(a, c) >= CONSOLIDATE_FROM) {
        if (a->bins.have_fast)
            qy_arena_consolidate_locked(a);
        qy_arena_trim_if_due_locked(a);
    }
}

void qy_arena_put_locked(struct qy_arena *a, struct qy_chunk *c)
{
    put_locked(a, c, qy_arena_largest_fast());
}

/*
 * The inbox: a stack that any thread pushes to and only the holder of the lock empties, all at once, so no ABA. The
 * link stands in the first word of the block, hidden by the secret and checked when it is read back.
 */
static void link_to(void *mem, const void *next)
{
    *(uintptr_t *)mem = (uintptr_t)next ^ qy_freed_secret;
}

static void inbox_push(struct qy_arena *a, void *const *blocks, unsigned count, uint32_t mark)
{
    void *first = NULL;
    for (unsigned i = 0; i < count; i++) {
        if (mark != qy_seals.arena) {
            qy_freed_unsign(blocks[i], mark);
            qy_freed_sign(blocks[i], qy_seals.arena);
        }
        QY_PROBE(INBOX, PUT, blocks[i], qy_chunk_size(qy_mem_chunk(blocks[i])));
        link_to(blocks[i], first);
        first = blocks[i];
    }
    void *head = qy_load_relaxed(&a->inbox);
    do
        link_to(blocks[0], head);
    while (!qy_cas_release(&a->inbox, &head, first)); /* publishes the links to who empties the inbox */
}

static void *inbox_pop_locked(struct qy_arena *a)
{
    if (!a->inbox_rest && qy_load_relaxed(&a->inbox))
        a->inbox_rest = qy_swap_acquire(&a->inbox, NULL); /* pairs with the release in inbox_push */
    void *mem = a->inbox_rest;
    if (!mem)
        return NULL;
    void *next = (void *)(*(uintptr_t *)mem ^ qy_freed_secret);
    if (next) {
        struct qy_chunk *c = qy_mem_chunk(next);
        struct qy_granule *g = qy_granule_of((uintptr_t)c);
        if (!g || g->owner != a || ((uintptr_t)next & QY_TAG_BITS) || !qy_chunk_begins(c) ||
            !qy_chunk_inuse(c))
            qy_fatal(QY_CORRUPTED_LIST, mem, "the link in this free block was written over");
    }
    a->inbox_rest = next;
    QY_PROBE(INBOX, TOOK, mem, qy_chunk_size(qy_mem_chunk(mem)));
    qy_freed_unsign(mem, qy_seals.arena);
    if (!qy_chunk_inuse(qy_mem_chunk(mem)))
        qy_fatal(QY_DOUBLE_FREE, mem, "this block is already free");
    return mem;
}

unsigned qy_arena_collect(struct qy_arena *a, void **blocks, unsigned most, uint32_t mark)
{
    unsigned count = 0;
    qy_lock(&a->lock);
    for (; count < most && (blocks[count] = inbox_pop_locked(a)) != NULL; count++)
        qy_freed_sign(blocks[count], mark);
    qy_unlock(&a->lock);
    return count;
}

void qy_arena_drain_locked(struct qy_arena *a)
{
    for (int i = 0; i < DRAIN_AT_MOST; i++) {
        void *mem = inbox_pop_locked(a);
        if (!mem)
            return;
        qy_arena_put_locked(a, qy_mem_chunk(mem));
    }
}

/*
 * A block that was signed, out of the hands of who has this mark; `last` was taken before it, and is marked in use
 * still.
 */
static struct qy_chunk *taken_locked(void *mem, uint32_t mark, const struct qy_chunk *last)
{
    struct qy_chunk *c = qy_mem_chunk(mem);
    if (!qy_chunk_inuse(c) || c == last)
        qy_fatal(QY_DOUBLE_FREE, mem, "this block was freed by another thread at the same time");
    qy_freed_take(mem, mark);
    return c;
}

/* `front` becomes as much larger as `back`, which lies behind it, is. */
static void absorb_locked(struct qy_chunk *front, struct qy_chunk *back)
{
    size_t size = qy_chunk_size(front) + qy_chunk_size(back);
    qy_chunk_unmark(back);
    qy_chunk_void(back);
    qy_chunk_set_free(front, size, qy_chunk_word(front) & QY_PREV_INUSE);
    QY_PROBE(BLOCK, MERGED_AHEAD, front, size);
}

/*
 * Blocks that were taken one after the other often come back so. Two that lie side by side, and would merge, do it
 * before they are filed: both are nobody's, and marked in use. False: they do not.
 */
static bool join_locked(struct qy_chunk **first, struct qy_chunk *c, size_t fast)
{
    if (qy_chunk_size(c) <= fast || qy_chunk_size(*first) <= fast)
        return false;
    if (qy_chunk_next(*first) == c) {
        absorb_locked(*first, c);
    } else if (qy_chunk_next(c) == *first) {
        absorb_locked(c, *first);
        *first = c;
    } else {
        return false;
    }
    return true;
}

void qy_arena_put(struct qy_arena *a, void *const *blocks, unsigned count, uint32_t mark, bool wait)
{
    if (!qy_trylock(&a->lock)) {
        if (!wait) {
            inbox_push(a, blocks, count, mark);
            return;
        }
        qy_lock(&a->lock);
    }
    qy_arena_drain_locked(a);
    /* Once: mallopt may raise it, and what was joined is no block to keep. */
    size_t fast = qy_arena_largest_fast();
    struct qy_chunk *first = taken_locked(blocks[0], mark, NULL);
    for (unsigned i = 1; i < count; i++) {
        struct qy_chunk *c = taken_locked(blocks[i], mark, first);
        if (!join_locked(&first, c, fast)) {
            put_locked(a, first, fast);
            first = c;
        }
    }
    put_locked(a, first, fast);
    qy_arena_check_locked(a);
    qy_unlock(&a->lock);
}

void qy_arena_leave_at(struct qy_arena *a, void *const *blocks, unsigned count, uint32_t mark)
{
    if (qy_load_relaxed(&a->inbox))
        qy_arena_put(a, blocks, count, mark, false);
    else
        inbox_push(a, blocks, count, mark);
}
