/*
 * Taking a chunk out of an arena: ptmalloc's order of stores (M-11 to M-17). fast bin, small bin, unsorted, large
 * bin, any larger bin, top; then more memory.
 */
#include "arena/internal.h"
#include "base/probe.h"
#include "chunk/freed.h"
#include "options/options.h"
#include "os/pages.h"
#include "segment/filled.h"
#include "segment/mapped.h"

/* How many chunks of the unsorted bin one call sorts; the next call goes on where this one stopped. */
#define SORT_AT_MOST 10000

/* How large a chunk must be so that an aligned block and a free chunk in front of it fit. */
static size_t needed(const struct qy_request *r)
{
    return r->alignment ? r->size + r->alignment + QY_MIN_CHUNK : r->size;
}

/* A chunk that is in no list becomes a block. */
static void *hand_out(struct qy_arena *a, struct qy_chunk *c)
{
    size_t size = qy_chunk_size(c);
    qy_chunk_set_used(c, size, (qy_chunk_word(c) & QY_PREV_INUSE) | qy_arena_tag(a));
    qy_chunk_set_prev_inuse(qy_chunk_at(c, size), true);
    qy_chunk_mark_inuse(c);
    qy_chunk_note_size(c);
    return qy_chunk_mem(c);
}

static void stash(struct qy_request *r, void *mem)
{
    QY_ASSERT(qy_chunk_size(qy_mem_chunk(mem)) == r->size);
    qy_freed_sign(mem, r->mark);
    r->stash[r->stashed++] = mem;
    QY_PROBE(TCACHE, PUT, mem, r->size);
}

static bool stash_has_room(const struct qy_request *r)
{
    return r->stashed < r->room;
}

void qy_arena_split_locked(struct qy_arena *a, struct qy_chunk *c, size_t size)
{
    size_t rest = qy_chunk_size(c) - size;
    if (rest >= QY_MIN_CHUNK) {
        struct qy_chunk *remainder = qy_chunk_at(c, size);
        qy_chunk_mark(remainder);
        qy_chunk_set_free(remainder, rest, QY_PREV_INUSE | (qy_chunk_word(c) & QY_AGE_TAGS));
        qy_chunk_set_foot(remainder, rest);
        qy_chunk_resize_free(c, size);
        QY_PROBE(BLOCK, SPLIT, remainder, rest);
        qy_bin_insert(&a->bins, remainder);
        if (qy_bin_is_small(size))
            a->remainder = remainder;
    }
}

struct qy_chunk *qy_arena_cut_top_locked(struct qy_arena *a, size_t size, uintptr_t *clean_from)
{
    struct qy_chunk *c = a->top;
    struct qy_chunk *top = qy_chunk_at(c, size);
    qy_chunk_mark(top);
    qy_chunk_set_free(top, qy_chunk_size(c) - size, QY_PREV_INUSE);
    qy_chunk_resize_free(c, size);
    qy_store_plain(&a->top, top);
    a->top_low = qy_min(a->top_low, qy_chunk_size(top));
    QY_PROBE(TOP, TOOK, c, size);
    *clean_from = qy_max(a->clean_from, (uintptr_t)qy_chunk_mem(c));
    a->clean_from = qy_max(a->clean_from, (uintptr_t)qy_chunk_mem(top));
    a->resident_to = qy_max(a->resident_to, qy_align_up((uintptr_t)qy_chunk_mem(top), qy_page_bytes));
    return c;
}

/* Where in `c`, which is as large as needed, the block begins. */
static struct qy_chunk *block_in(struct qy_chunk *c, const struct qy_request *r)
{
    return r->alignment ? qy_chunk_at(c, qy_front_of_aligned((uintptr_t)qy_chunk_mem(c), r->alignment)) : c;
}

/* Cuts what lies before `at` off a chunk that is in no list, and files it. */
static void file_front_locked(struct qy_arena *a, struct qy_chunk *c, struct qy_chunk *at)
{
    size_t front = (size_t)((char *)at - (char *)c);
    qy_chunk_mark(at);
    qy_chunk_set_free(at, qy_chunk_size(c) - front, qy_chunk_word(c) & QY_AGE_TAGS);
    qy_chunk_resize_free(c, front);
    qy_chunk_set_foot(c, front);
    QY_PROBE(BLOCK, SPLIT, at, qy_chunk_size(at));
    qy_bin_insert(&a->bins, c);
}

/* How many more blocks than one are to be cut from so many bytes, which are likely resident. */
static size_t more_in(const struct qy_request *r, size_t bytes)
{
    return r->ahead ? qy_min(r->ahead, bytes / r->size - 1) : 0;
}

static bool is_purged(const struct qy_chunk *c)
{
    return (qy_chunk_word(c) & QY_AGE_TAGS) == QY_PURGED;
}

/* What begins here, behind a chunk in use, becomes a block for the stash. */
static void stash_new(struct qy_arena *a, struct qy_chunk *c, struct qy_request *r)
{
    struct qy_place place = qy_place_with(c);
    qy_place_set_begins(place);
    qy_place_set_inuse(place);
    qy_chunk_set_used(c, r->size, QY_PREV_INUSE | qy_arena_tag(a));
    qy_place_note_size(place, c);
    QY_PROBE(BLOCK, SPLIT, c, r->size);
    stash(r, qy_chunk_mem(c));
}

/* Of a chunk that is in no list, the block; from its end `more` of the same size, the nearest on top of the stash. */
static void *hand_out_with(struct qy_arena *a, struct qy_chunk *c, struct qy_request *r, size_t more)
{
    if (more) {
        size_t size = qy_chunk_size(c);
        qy_chunk_set_prev_inuse(qy_chunk_at(c, size), true);
        for (; more; more--)
            stash_new(a, qy_chunk_at(c, size -= r->size), r);
        qy_chunk_resize_free(c, size);
    }
    return hand_out(a, c);
}

/* Of a chunk that is in no list and as large as needed, the block; the rest is filed. */
static void *carve(struct qy_arena *a, struct qy_chunk *c, struct qy_request *r)
{
    struct qy_chunk *at = block_in(c, r);
    if (at != c)
        file_front_locked(a, c, at);
    size_t more = is_purged(at) ? 0 : more_in(r, qy_chunk_size(at));
    qy_arena_split_locked(a, at, r->size * (1 + more));
    return hand_out_with(a, at, r, more);
}

static void *take_fast(struct qy_arena *a, struct qy_request *r)
{
    QY_PROBE(FAST_BIN, ASKED, 0, r->size);
    struct qy_chunk *c = qy_fast_pop(&a->bins, r->size);
    if (!c)
        return NULL;
    struct qy_chunk *more;
    while (stash_has_room(r) && (more = qy_fast_pop(&a->bins, r->size)) != NULL)
        stash(r, qy_chunk_mem(more));
    return qy_chunk_mem(c);
}

static void *take_small(struct qy_arena *a, struct qy_request *r)
{
    unsigned index = qy_bin_index(&a->bins, needed(r));
    QY_PROBE(SMALL_BIN, ASKED, 0, needed(r));
    struct qy_chunk *c = qy_bin_last(&a->bins, index);
    if (!c)
        return NULL;
    qy_bin_unlink(&a->bins, c);
    QY_PROBE(SMALL_BIN, TOOK, c, r->size);
    struct qy_chunk *more;
    while (stash_has_room(r) && (more = qy_bin_last(&a->bins, index)) != NULL) {
        qy_bin_unlink(&a->bins, more);
        stash(r, hand_out(a, more));
    }
    return carve(a, c, r);
}

/* M-17: consecutive small requests are cut from the same remainder, so that they lie side by side. */
static bool serves_as_remainder(struct qy_arena *a, struct qy_chunk *c, size_t size)
{
    return qy_bin_is_small(size) && c == a->remainder && c == qy_bin_first(&a->bins, QY_UNSORTED) &&
           qy_chunk_size(c) > size + QY_MIN_CHUNK;
}

static void *take_and_carve(struct qy_arena *a, struct qy_chunk *c, struct qy_request *r)
{
    qy_bin_unlink(&a->bins, c);
    QY_PROBE(BLOCK, TOOK, c, qy_chunk_size(c));
    if (is_purged(c)) {
        qy_count_fresh(r->size);
        a->purged_bytes -= qy_min(a->purged_bytes, r->size);
    }
    return carve(a, c, r);
}

/*
 * Every chunk of the unsorted bin gets its one chance (M-12): it serves, or it is sorted. Exact fits go into the stash
 * while there is room, and the last one is taken out of it again.
 */
static void *take_unsorted(struct qy_arena *a, struct qy_request *r)
{
    struct qy_chunk *c;
    const size_t size = needed(r);
    QY_PROBE(UNSORTED_BIN, ASKED, 0, size);
    for (unsigned i = 0; i < SORT_AT_MOST && (c = qy_bin_last(&a->bins, QY_UNSORTED)) != NULL; i++) {
        if (serves_as_remainder(a, c, size)) {
            QY_PROBE(REMAINDER, TOOK, c, qy_chunk_size(c));
            return take_and_carve(a, c, r);
        }
        qy_bin_unlink(&a->bins, c);
        if (qy_chunk_size(c) != size) {
            qy_bin_insert_sorted(&a->bins, c);
            continue;
        }
        QY_PROBE(UNSORTED_BIN, TOOK, c, size);
        void *mem = carve(a, c, r);
        if (!stash_has_room(r))
            return mem;
        stash(r, mem);
    }
    if (r->stashed == 0)
        return NULL;
    void *mem = r->stash[--r->stashed];
    qy_freed_unsign(mem, r->mark);
    return mem;
}

static void *take_sorted(struct qy_arena *a, struct qy_request *r)
{
    const size_t size = needed(r);
    unsigned index = qy_bin_index(&a->bins, size);
    struct qy_chunk *c = NULL;
    if (!qy_bin_is_small(size)) {
        QY_PROBE(LARGE_BIN, ASKED, 0, size);
        c = qy_bin_fit(&a->bins, index, size);
    }
    if (!c) {
        QY_PROBE(LARGER_BINS, ASKED, 0, size);
        c = qy_bin_next_larger(&a->bins, index);
    }
    return c ? take_and_carve(a, c, r) : NULL;
}

/* Of a block that is likely to be filled, what was never touched shall come in huge pages, until the block is freed. */
static void expect_use_locked(struct qy_arena *a, const void *mem, const struct qy_request *r)
{
    uintptr_t from = qy_align_up(qy_max(r->clean_from, (uintptr_t)mem), QY_HUGE_BYTES);
    uintptr_t to = qy_align_down((uintptr_t)mem + r->size, QY_HUGE_BYTES);
    if (from < to && qy_will_be_filled(r->size)) {
        qy_pages_wish_huge((void *)from, to - from, true);
        if (!qy_pages_take_huge((void *)from))
            qy_pages_wish_huge((void *)from, to - from, false);
        a->some_huge = true;
    }
    if (from < to)
        qy_filled_new(mem, r->size);
}

/* More blocks from top, up to where it was never used: that is zero, and not resident. */
static size_t more_in_top(const struct qy_arena *a, const struct qy_request *r)
{
    uintptr_t top = (uintptr_t)a->top, end = qy_min(a->clean_from, top + qy_arena_top_size(a) - QY_MIN_CHUNK);
    return end > top + r->size ? more_in(r, end - top) : 0;
}

static void *take_top(struct qy_arena *a, struct qy_request *r)
{
    if (a->top)
        qy_arena_check_top_locked(a);
    QY_PROBE(TOP, ASKED, a->top, qy_arena_top_size(a));
    if (qy_arena_top_size(a) < needed(r) + QY_MIN_CHUNK)
        return NULL;
    struct qy_chunk *front = a->top;
    qy_store_plain(&a->top, block_in(front, r));
    if (a->top != front)
        file_front_locked(a, front, a->top);
    size_t more = more_in_top(a, r), bytes = r->size * (1 + more);
    qy_arena_fault_ahead_locked(a, bytes);
    void *mem = hand_out_with(a, qy_arena_cut_top_locked(a, bytes, &r->clean_from), r, more);
    if (QY_UNLIKELY(qy_may_be_huge(r->size)))
        expect_use_locked(a, mem, r);
    return mem;
}

static void *take_binned(struct qy_arena *a, struct qy_request *r)
{
    void *mem = NULL;
    if (r->size <= qy_arena_largest_fast() && !r->alignment)
        mem = take_fast(a, r);
    if (!mem && qy_bin_is_small(needed(r)))
        mem = take_small(a, r);
    else if (!mem && a->bins.have_fast)
        qy_arena_consolidate_locked(a); /* M-18: before a large request, small free pieces are merged */
    if (!mem && a->bins.sorted)         /* else nothing is unsorted */
        mem = take_unsorted(a, r);
    if (!mem)
        mem = take_sorted(a, r);
    return mem;
}

static bool is_large(const struct qy_request *r)
{
    return qy_max(r->size, r->alignment) >= qy_load_relaxed(&qy_options.mmap_threshold);
}

/*
 * ptmalloc cuts a large request from top when top happens to suffice. In the default profile it is mapped (M-21),
 * unless that part of top is resident anyway.
 */
static bool may_come_from_top(const struct qy_arena *a, const struct qy_request *r)
{
    return qy_options.classic || !is_large(r) || a->resident_to > (uintptr_t)a->top + needed(r);
}

/* A mapping will serve: what top holds resident for nobody goes back first, up to as much. */
static void make_way_locked(struct qy_arena *a, const struct qy_request *r)
{
    size_t top = qy_arena_top_size(a);
    if (top && a->resident_to > (uintptr_t)a->top + qy_page_bytes)
        qy_arena_trim_top_locked(a, top - qy_min(top, r->size));
}

static void *take_locked(struct qy_arena *a, struct qy_request *r)
{
    QY_ASSERT(qy_lock_held(&a->lock));
    qy_arena_drain_locked(a);
    void *mem = take_binned(a, r);
    if (!mem && may_come_from_top(a, r))
        mem = take_top(a, r);
    if (!mem && a->bins.have_fast) {
        qy_arena_consolidate_locked(a);
        mem = take_binned(a, r);
        if (!mem)
            mem = take_top(a, r);
    }
    if (!mem && is_large(r) && !qy_options.classic)
        make_way_locked(a, r);
    qy_arena_check_locked(a);
    return mem;
}

static void *grow_and_take(struct qy_arena *a, struct qy_request *r)
{
    qy_lock(&a->lock);
    void *mem = qy_arena_grow_locked(a, needed(r)) ? take_top(a, r) : NULL;
    qy_unlock(&a->lock);
    return mem;
}

/* A fresh mapping is zero throughout. */
static void *take_mapped(struct qy_request *r)
{
    void *mem = qy_mapped_take(r->size - QY_TAG_BYTES, qy_max(r->alignment, QY_ALIGNMENT));
    if (mem)
        r->clean_from = (uintptr_t)mem;
    return mem;
}

void *qy_arena_take(struct qy_arena *a, struct qy_request *r)
{
    r->stashed = 0;
    r->clean_from = UINTPTR_MAX;
    qy_lock(&a->lock);
    void *mem = take_locked(a, r);
    qy_unlock(&a->lock);
    if (!mem && r->at_hand && !is_large(r))
        return NULL;
    /* M-21: large requests that no free chunk serves get a mapping; any request does when the segment cannot grow. */
    if (!mem && is_large(r))
        mem = take_mapped(r);
    if (!mem)
        mem = grow_and_take(a, r);
    if (!mem && !is_large(r))
        mem = take_mapped(r);
    return mem;
}
