/*
 * More memory for top (M-20, M-32): the break for the main arena, sub-heaps for the others, and for the main arena
 * too when the break cannot move.
 */
#include "arena/internal.h"
#include "base/probe.h"
#include "options/options.h"
#include "os/pages.h"
#include "segment/mapped.h"

void qy_arena_set_top_locked(struct qy_arena *a, struct qy_chunk *top, char *end)
{
    qy_chunk_mark(top);
    qy_chunk_set_free(top, (size_t)(end - (char *)top), QY_PREV_INUSE);
    qy_store_plain(&a->top, top);
    qy_store_plain(&a->top_end, end);
}

void qy_arena_check_top_locked(struct qy_arena *a)
{
    if (!qy_top_sound(a, qy_chunk_word(a->top)))
        qy_fatal(QY_CORRUPTED_TOP, qy_chunk_mem(a->top), "the size of top was written over");
}

static void count_system(struct qy_arena *a, size_t more)
{
    qy_count_add(&a->system_bytes, more);
    qy_count_fresh(more);
    a->max_system_bytes = qy_max(a->max_system_bytes, a->system_bytes);
    QY_PROBE(TOP, GREW, a->top, more);
}

/*
 * Top is left for another place: its memory becomes a free chunk, closed off by a last chunk of 32 bytes that is always
 * in use, so that nothing ever looks beyond (the fencepost). Its tag says 16, which no block has: free() refuses it.
 */
static void retire_top_locked(struct qy_arena *a)
{
    struct qy_chunk *old = a->top;
    size_t size = qy_arena_top_size(a);
    qy_arena_purge_marks_locked(a);
    if (size < QY_MIN_CHUNK)
        return;
    size_t rest = size - QY_MIN_CHUNK;
    QY_PROBE(TOP, LEFT, old, size);
    struct qy_chunk *fence = qy_chunk_at(old, rest);
    size_t before_inuse = QY_PREV_INUSE;
    qy_store_plain(&a->top, NULL);
    if (rest >= QY_MIN_CHUNK) {
        qy_chunk_set_used(old, rest, QY_PREV_INUSE);
        qy_chunk_mark_inuse(old);
    } else if (rest) {
        fence = old; /* too small for a chunk of its own */
    }
    qy_chunk_mark(fence);
    qy_chunk_mark_inuse(fence);
    qy_chunk_set_head(fence, QY_ALIGNMENT, before_inuse | qy_arena_tag(a), qy_seals.arena);
    if (rest >= QY_MIN_CHUNK)
        qy_arena_coalesce_locked(a, old);
}

static bool grow_break_locked(struct qy_arena *a, size_t size)
{
    size_t have = qy_arena_top_size(a);
    size_t wanted = size + QY_MIN_CHUNK + qy_options.top_pad;
    if (wanted < size)
        return false;
    bool top_in_break = a->top && !a->heap;
    size_t joined = top_in_break ? qy_min(have, wanted - 1) : 0;
    struct qy_break_piece piece;
    if (!qy_break_grow(&a->brk, wanted - joined, joined, &piece))
        return false;
    if (!qy_granule_claim(piece.from, piece.to, a, QY_TABLES_FROM_BREAK)) {
        qy_break_undo(&a->brk, &piece);
        return false;
    }
    qy_granules_open(piece.from, piece.to);
    count_system(a, (size_t)(piece.to - piece.from));
    if (piece.continues && top_in_break) {
        qy_chunk_resize_free(a->top, have + (size_t)(piece.to - piece.from));
        qy_store_plain(&a->top_end, piece.to);
        return true;
    }
    if (a->top)
        retire_top_locked(a);
    /* The program may have used the page that the break lay in. */
    qy_arena_set_clean_locked(a, qy_align_up((uintptr_t)piece.from + QY_HEADER_BYTES, qy_page_bytes));
    qy_arena_set_top_locked(a, (struct qy_chunk *)piece.from, piece.to);
    a->heap = NULL;
    return true;
}

static bool grow_subheap_locked(struct qy_arena *a, size_t size)
{
    size_t more = qy_align_up(size + QY_MIN_CHUNK - qy_arena_top_size(a), qy_page_bytes);
    size_t pad = qy_options.classic ? 0 : qy_options.top_pad; /* ptmalloc asks for none here */
    size_t padded = qy_align_up(
        qy_min(more + pad, QY_SUBHEAP_BYTES - qy_min(a->heap->size, QY_SUBHEAP_BYTES)), qy_page_bytes);
    if (padded < more || !qy_subheap_grow(a->heap, padded)) {
        if (!qy_subheap_grow(a->heap, more))
            return false;
        padded = more;
    }
    count_system(a, padded);
    qy_chunk_resize_free(a->top, qy_arena_top_size(a) + padded);
    qy_store_plain(&a->top_end, a->top_end + padded);
    return true;
}

static bool new_subheap_locked(struct qy_arena *a, size_t size)
{
    if (size > QY_SUBHEAP_LARGEST)
        return false;
    struct qy_subheap *heap = qy_subheap_new(a, size + 2 * QY_MIN_CHUNK, qy_options.top_pad);
    if (!heap)
        return false;
    count_system(a, heap->size);
    heap->prev = a->heap;
    if (a->top)
        retire_top_locked(a);
    a->heap = heap;
    struct qy_chunk *first = qy_subheap_first(heap);
    qy_arena_set_clean_locked(a, (uintptr_t)qy_chunk_mem(first));
    qy_arena_set_top_locked(a, first, (char *)heap + heap->size);
    return true;
}

bool qy_arena_grow_locked(struct qy_arena *a, size_t size)
{
    QY_ASSERT(qy_lock_held(&a->lock));
    if (a->top)
        qy_arena_check_top_locked(a);
    if (qy_arena_top_size(a) >= size + QY_MIN_CHUNK)
        return true; /* another thread was faster */
    if (a->heap && a->top && grow_subheap_locked(a, size))
        return true;
    if (a->index == 0 && grow_break_locked(a, size))
        return true;
    return new_subheap_locked(a, size);
}
