/*
 * Giving memory back (M-23): the end of a segment, whole pages inside free chunks, empty sub-heaps.
 */
#include "arena/internal.h"
#include "base/probe.h"
#include "options/options.h"
#include "os/pages.h"

/* What goes is often wanted again soon: so much of what was top keeps the memory of its marks, a 64th, until a tick. */
#define MARKED_AT_MOST ((size_t)256 << 20)
#define MARKED_WITHOUT_TICKS ((size_t)64 << 20)

void qy_arena_purge_marks_locked(struct qy_arena *a)
{
    if (a->marked_to > a->top_end)
        qy_marks_purge((uintptr_t)a->top_end, (uintptr_t)a->marked_to);
    a->marked_to = NULL;
}

static void shrunk(struct qy_arena *a, size_t bytes)
{
    qy_count_add(&a->system_bytes, -bytes);
    qy_store_plain(&a->top_end, a->top_end - bytes);
    QY_PROBE(TOP, TRIMMED, a->top_end, bytes);
    qy_chunk_resize_free(a->top, qy_chunk_size(a->top) - bytes);
    a->clean_from = qy_min(a->clean_from, (uintptr_t)a->top_end);
    a->resident_to = qy_min(a->resident_to, (uintptr_t)a->top_end);
    a->watched_from = qy_min(a->watched_from, a->resident_to);
    a->dense_to = qy_min(a->dense_to, a->resident_to);
    if (a->marked_to < a->top_end + bytes)
        a->marked_to = a->top_end + bytes;
    if ((size_t)(a->marked_to - a->top_end) > (qy_options.decay ? MARKED_AT_MOST : MARKED_WITHOUT_TICKS))
        qy_arena_purge_marks_locked(a);
}

/*
 * The newest sub-heap holds nothing but top: it goes, and the end of the one before becomes top again. There, a
 * fencepost closes off the chunk that was top once.
 */
static bool delete_empty_subheap_locked(struct qy_arena *a, size_t pad)
{
    struct qy_subheap *heap = a->heap, *prev = heap->prev;
    if (!prev || a->top != qy_subheap_first(heap))
        return false;
    struct qy_chunk *fence = qy_chunk_at(prev, prev->size - QY_MIN_CHUNK);
    if (!qy_chunk_begins(fence) || qy_chunk_size(fence) != QY_ALIGNMENT ||
        (qy_chunk_tags(fence) & QY_NON_MAIN_ARENA) != qy_arena_tag(a))
        return false;
    size_t before = qy_chunk_prev_inuse(fence) ? 0 : fence->prev_size;
    if (before + QY_MIN_CHUNK + (QY_SUBHEAP_BYTES - prev->size) < pad + QY_MIN_CHUNK + qy_page_bytes)
        return false; /* the next request would need a new sub-heap at once */
    qy_count_add(&a->system_bytes, -heap->size);
    qy_subheap_delete(heap);
    a->marked_to = NULL; /* went with it */
    a->heap = prev;
    qy_chunk_set_free(fence, QY_MIN_CHUNK, qy_chunk_word(fence) & QY_PREV_INUSE);
    qy_chunk_mark_free(fence);
    struct qy_chunk *top = fence;
    if (before) {
        top = qy_chunk_at(fence, -before);
        qy_bin_unlink(&a->bins, top);
        qy_chunk_unmark(fence);
    }
    qy_arena_set_clean_locked(a, (uintptr_t)prev + prev->size);
    qy_arena_set_top_locked(a, top, (char *)prev + prev->size);
    return true;
}

bool qy_arena_trim_top_locked(struct qy_arena *a, size_t pad)
{
    QY_ASSERT(qy_lock_held(&a->lock));
    if (!a->top)
        return false;
    qy_arena_check_top_locked(a);
    bool deleted = false;
    while (a->heap && delete_empty_subheap_locked(a, pad))
        deleted = true;
    size_t size = qy_arena_top_size(a);
    if (pad > size || size - pad <= QY_MIN_CHUNK + 1)
        return deleted;
    size_t extra = qy_align_down(size - QY_MIN_CHUNK - 1 - pad, qy_page_bytes);
    if (extra == 0)
        return deleted;
    if (a->heap) {
        size_t before = a->heap->size;
        qy_subheap_shrink(a->heap, extra);
        if (a->heap->size == before)
            return deleted;
    } else if (!qy_break_shrink(&a->brk, extra)) {
        return deleted;
    } else {
        qy_granules_close(a->top_end - extra, a->top_end);
    }
    shrunk(a, extra);
    return true;
}

void qy_arena_trim_if_due_locked(struct qy_arena *a)
{
    if (qy_options.decay)
        return; /* top is given back by time, not by size: see qy_arena_tick */
    if (qy_arena_top_size(a) >= qy_load_relaxed(&qy_options.trim_threshold))
        qy_arena_trim_top_locked(a, qy_options.top_pad);
}

/* The pages that lie wholly in the part of a free chunk that holds neither links nor foot. */
static bool purge_chunk(struct qy_arena *a, struct qy_chunk *c)
{
    uintptr_t from = qy_align_up((uintptr_t)c + sizeof *c, qy_page_bytes);
    uintptr_t to = qy_align_down((uintptr_t)c + qy_chunk_size(c), qy_page_bytes);
    if (from >= to || !qy_pages_purge((void *)from, to - from))
        return false;
    a->purged_bytes += to - from;
    qy_marks_purge(from + QY_SIZE_IN_MARKS, to); /* behind its own size */
    QY_PROBE(BLOCK, PURGED, from, to - from);
    return true;
}

/* The bins whose chunks may have whole pages. */
static bool may_have_pages(const struct qy_arena *a, unsigned bin)
{
    return bin == QY_UNSORTED || bin >= qy_bin_index(&a->bins, qy_page_bytes);
}

static void set_age(struct qy_chunk *c, size_t age)
{
    qy_store_plain(&c->size, (qy_chunk_word(c) & ~QY_AGE_TAGS) | age);
}

static size_t age_of(const struct qy_chunk *c)
{
    return qy_chunk_word(c) & QY_AGE_TAGS;
}

static bool purge_once(struct qy_arena *a, struct qy_chunk *c)
{
    if (age_of(c) == QY_PURGED)
        return false;
    bool any = purge_chunk(a, c);
    set_age(c, QY_PURGED); /* also when no whole page lies in it */
    return any;
}

/* ptmalloc's chunks do not say that it was done: there it is done each time. */
static bool purge_bins_locked(struct qy_arena *a)
{
    bool any = false;
    for (unsigned i = QY_UNSORTED; i < QY_BIN_COUNT - 1; i++) {
        for (struct qy_chunk *c = NULL; may_have_pages(a, i) && (c = qy_bin_walk(&a->bins, i, c)) != NULL;)
            any |= qy_options.classic ? purge_chunk(a, c) : purge_once(a, c);
    }
    return any;
}

/* A large chunk costs the kernel as much as many small ones. */
#define BYTES_A_CALL ((size_t)64 << 10)

/* False: it is due, but no call is left. */
static bool purge_if_due(struct qy_arena *a, struct qy_chunk *c, unsigned *most)
{
    if (age_of(c) != QY_PURGE_DUE)
        return true;
    if (*most == 0)
        return false;
    if (purge_once(a, c))
        *most -= (unsigned)qy_min(*most, 1 + qy_chunk_size(c) / BYTES_A_CALL);
    return true;
}

/* Looking at so many chunks takes as long as a call of the kernel. */
#define CHUNKS_A_CALL 16

/* What was free at the last tick already is due, and is purged once. False: not all that is due has gone. */
static bool sweep_bin_locked(struct qy_arena *a, unsigned bin, bool grow_older, unsigned *most)
{
    unsigned chunks = 0;
    bool all = true;
    for (struct qy_chunk *c = NULL; (c = qy_bin_walk(&a->bins, bin, c)) != NULL; chunks++) {
        size_t age = age_of(c);
        if (grow_older && age <= QY_SEEN_FREE)
            set_age(c, age ? QY_PURGE_DUE : QY_SEEN_FREE);
        all &= purge_if_due(a, c, most);
    }
    *most -= (unsigned)qy_min(*most, chunks / CHUNKS_A_CALL);
    return all;
}

/* As that of the runs (tcache/cells.c), from bin to bin. */
static void sweep_locked(struct qy_arena *a, unsigned *most)
{
    while (a->sweep && *most > 0) {
        bool all = !may_have_pages(a, a->sweep) || sweep_bin_locked(a, a->sweep, !a->sweep_aged, most);
        a->sweep_aged = !all;
        if (all)
            a->sweep = (a->sweep + 1) % (QY_BIN_COUNT - 1);
    }
}

/* What top did not need since this was asked last. */
static size_t unused_top_locked(struct qy_arena *a)
{
    size_t size = qy_arena_top_size(a), unused = qy_min(a->top_low, size);
    a->top_low = size;
    return unused - qy_min(unused, qy_options.top_pad);
}

/* Returns how much went. */
static size_t cut_top_locked(struct qy_arena *a, size_t bytes)
{
    size_t before = a->system_bytes, size = qy_arena_top_size(a);
    if (bytes)
        qy_arena_trim_top_locked(a, size - qy_min(bytes, size));
    a->top_low = qy_arena_top_size(a);
    return before - a->system_bytes;
}

/* Smaller pieces of idle memory are not worth a call before their time. */
#define YIELD_FROM ((size_t)64 << 10)

/*
 * Of the long free chunks of a bin, adds up what they have, and what of it was free already when somebody looked last.
 */
static void look_at_bin_locked(struct qy_arena *a, unsigned bin, struct qy_use *use)
{
    for (struct qy_chunk *c = NULL; (c = qy_bin_walk(&a->bins, bin, c)) != NULL;) {
        size_t age = age_of(c);
        use->bytes += qy_chunk_size(c);
        use->idle += age == QY_SEEN_FREE || age == QY_PURGE_DUE ? qy_chunk_size(c) : 0;
        if (age != QY_PURGED)
            set_age(c, age ? QY_PURGE_DUE : QY_SEEN_FREE);
    }
}

struct qy_use qy_arena_use(struct qy_arena *a)
{
    struct qy_use bins = {0}, use;
    qy_lock(&a->lock);
    for (unsigned bin = qy_bin_index(&a->bins, YIELD_FROM); bin < QY_BIN_COUNT - 1; bin++)
        look_at_bin_locked(a, bin, &bins);
    /* What goes back merges with what does not, and is taken without a sign; but it lies in long free chunks. */
    a->purged_bytes = qy_min(a->purged_bytes, bins.bytes);
    a->top_idle = unused_top_locked(a);
    use.bytes = a->system_bytes - a->purged_bytes;
    use.idle = a->top_idle + qy_min(bins.idle, bins.bytes - a->purged_bytes);
    qy_unlock(&a->lock);
    return use;
}

static size_t yield_bin_locked(struct qy_arena *a, unsigned bin, size_t bytes, unsigned *most)
{
    size_t before = a->purged_bytes;
    for (struct qy_chunk *c = NULL;
         a->purged_bytes - before < bytes && (c = qy_bin_walk(&a->bins, bin, c)) != NULL;)
        purge_if_due(a, c, most);
    return a->purged_bytes - before;
}

void qy_arena_yield(struct qy_arena *a, size_t *bytes, unsigned *most)
{
    qy_lock(&a->lock);
    *bytes -= qy_min(*bytes, cut_top_locked(a, qy_min(*bytes, a->top_idle)));
    for (unsigned bin = qy_bin_index(&a->bins, YIELD_FROM); bin < QY_BIN_COUNT - 1 && *bytes && *most; bin++)
        *bytes -= qy_min(*bytes, yield_bin_locked(a, bin, *bytes, most));
    qy_unlock(&a->lock);
}

void qy_arena_tick(struct qy_arena *a, bool tick, unsigned *most)
{
    if (!tick && *most == 0)
        return;
    qy_lock(&a->lock);
    qy_arena_drain_locked(a);
    if (tick) {
        if (!a->sweep)
            a->sweep = QY_UNSORTED;
        cut_top_locked(a, unused_top_locked(a));
        qy_arena_purge_marks_locked(a);
    }
    sweep_locked(a, most);
    qy_unlock(&a->lock);
}

/* In ptmalloc's profile a sub-heap keeps its top, as in ptmalloc, though not the memory in it. */
bool qy_arena_trim(struct qy_arena *a, size_t pad)
{
    qy_lock(&a->lock);
    while (qy_load_relaxed(&a->inbox) || a->inbox_rest)
        qy_arena_drain_locked(a);
    qy_arena_consolidate_locked(a);
    bool any = purge_bins_locked(a);
    any |= qy_options.classic && a->heap ? purge_chunk(a, a->top) : qy_arena_trim_top_locked(a, pad);
    if (a->heap)
        qy_subheap_decommit(a->heap);
    qy_arena_purge_marks_locked(a);
    qy_unlock(&a->lock);
    return any;
}
