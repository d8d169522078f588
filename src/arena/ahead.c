/*
 * Faulting ahead (docs/decisions/0021-faulting-ahead.md): while an arena grows, the pages of its top come several at a
 * time, before blocks are cut from them.
 */
#include "arena/internal.h"
#include "options/options.h"
#include "os/pages.h"

/* Beyond the block itself: a share of what is in use, and no more than so much. */
#define AHEAD_SHARE 16
#define AHEAD_AT_MOST ((size_t)64 << 10)

/* What is larger is often used in part. */
#define LARGEST_BLOCK ((size_t)128 << 10)

/* So much that came page by page is looked at; when all of it was used, so much more is believed to be. */
#define WATCHED ((size_t)64 << 10)
#define BELIEVED (8 * WATCHED)

void qy_arena_set_clean_locked(struct qy_arena *a, uintptr_t from)
{
    a->clean_from = from;
    a->resident_to = a->watched_from = qy_align_up(from, qy_page_bytes);
    a->dense_to = 0;
}

/* Whether the blocks that will lie from `from` on will be used throughout, as those before were. */
static bool is_dense_locked(struct qy_arena *a, uintptr_t from)
{
    if (from < a->dense_to)
        return true;
    if (from < a->watched_from + WATCHED)
        return false;
    bool dense = qy_pages_are_resident((const void *)(from - WATCHED), WATCHED);
    a->watched_from = from;
    if (dense)
        a->dense_to = from + BELIEVED;
    return dense;
}

void qy_arena_fault_ahead_locked(struct qy_arena *a, size_t size)
{
    QY_ASSERT(qy_lock_held(&a->lock));
    uintptr_t end = (uintptr_t)qy_chunk_mem(qy_chunk_at(a->top, size));
    if (end <= a->resident_to || !qy_options.fault_ahead || size > LARGEST_BLOCK)
        return;
    size_t used = qy_load_relaxed(&a->system_bytes) - qy_arena_top_size(a);
    size_t ahead = qy_align_down(qy_min(used / AHEAD_SHARE, AHEAD_AT_MOST), qy_page_bytes);
    uintptr_t from = qy_max(a->resident_to, qy_align_down((uintptr_t)a->top, qy_page_bytes));
    uintptr_t to =
        qy_min(qy_align_up(end, qy_page_bytes) + ahead, qy_align_down((uintptr_t)a->top_end, qy_page_bytes));
    if (!ahead || to <= from + qy_page_bytes) /* one fault does as well */
        return;
    /* A block of a page or less leaves no page out: the header of one lies in each. */
    if (size > qy_page_bytes && !is_dense_locked(a, from))
        return;
    if (qy_pages_populate((void *)from, to - from))
        a->resident_to = a->watched_from = to;
}
