/*
 * A block becomes larger or smaller where it is: what is free behind it becomes part of it, what it does not need a
 * chunk of its own.
 */
#include "arena/internal.h"
#include "base/probe.h"
#include "options/options.h"

/* The chunk behind a block, in no list and marked as followed by none that is free, becomes part of it. */
static void annex_locked(struct qy_chunk *c, struct qy_chunk *behind)
{
    size_t size = qy_chunk_size(c) + qy_chunk_size(behind);
    qy_chunk_unmark(behind);
    qy_chunk_void(behind);
    qy_chunk_resize_used(c, size);
    qy_chunk_note_size(c);
    QY_PROBE(BLOCK, MERGED_AHEAD, c, size);
}

/* With the free chunk or the part of top behind it; false when that is not enough. */
static bool extend_locked(struct qy_arena *a, struct qy_chunk *c, size_t size)
{
    size_t old = qy_chunk_size(c);
    struct qy_chunk *next = qy_chunk_next(c);
    if (next == a->top) {
        qy_arena_check_top_locked(a);
        if (old + qy_chunk_size(next) < size + QY_MIN_CHUNK)
            return false;
        uintptr_t clean_from;
        qy_arena_cut_top_locked(a, size - old, &clean_from);
    } else {
        if (qy_chunk_inuse(next) || old + qy_chunk_size(next) < size)
            return false;
        qy_bin_unlink(&a->bins, next);
        qy_chunk_set_prev_inuse(qy_chunk_next(next), true);
    }
    annex_locked(c, next);
    return true;
}

/*
 * Top grows for the block before it as for a new one, but by less. What is larger than top may be rather becomes a
 * mapping.
 */
static bool grow_behind_locked(struct qy_arena *a, struct qy_chunk *c, size_t size)
{
    size_t most =
        qy_max(qy_load_relaxed(&qy_options.mmap_threshold), qy_load_relaxed(&qy_options.trim_threshold));
    if (qy_chunk_next(c) != a->top || size >= most)
        return false;
    return qy_arena_grow_locked(a, size - qy_chunk_size(c)) && extend_locked(a, c, size);
}

/* What lies behind `size` bytes of a block becomes a block of its own; NULL: it is too short for one. */
static struct qy_chunk *cut_locked(struct qy_arena *a, struct qy_chunk *c, size_t size)
{
    size_t rest = qy_chunk_size(c) - size;
    if (rest < QY_MIN_CHUNK)
        return NULL;
    struct qy_chunk *back = qy_chunk_at(c, size);
    qy_chunk_mark(back);
    qy_chunk_mark_inuse(back);
    qy_chunk_set_used(back, rest, QY_PREV_INUSE | qy_arena_tag(a));
    qy_chunk_note_size(back);
    qy_chunk_resize_used(c, size);
    qy_chunk_note_size(c);
    QY_PROBE(BLOCK, SPLIT, back, rest);
    return back;
}

bool qy_arena_resize(struct qy_arena *a, void *mem, size_t size, size_t wanted)
{
    struct qy_chunk *c = qy_mem_chunk(mem);
    qy_lock(&a->lock);
    bool done = size <= qy_chunk_size(c) || extend_locked(a, c, wanted) || extend_locked(a, c, size) ||
                grow_behind_locked(a, c, wanted) || grow_behind_locked(a, c, size);
    struct qy_chunk *rest = done ? cut_locked(a, c, qy_min(wanted, qy_chunk_size(c))) : NULL;
    if (rest)
        qy_arena_coalesce_locked(a, rest);
    qy_arena_check_locked(a);
    qy_unlock(&a->lock);
    return done;
}

bool qy_arena_extend(struct qy_arena *a, void *mem, size_t size)
{
    struct qy_chunk *c = qy_mem_chunk(mem);
    qy_lock(&a->lock);
    bool done = size <= qy_chunk_size(c) || extend_locked(a, c, size);
    qy_unlock(&a->lock);
    return done;
}

bool qy_arena_join(struct qy_arena *a, void *mem, void *behind)
{
    struct qy_chunk *c = qy_mem_chunk(mem);
    qy_lock(&a->lock);
    bool adjacent = qy_chunk_next(c) == qy_mem_chunk(behind);
    if (adjacent)
        annex_locked(c, qy_mem_chunk(behind));
    qy_unlock(&a->lock);
    return adjacent;
}

void *qy_arena_cut(struct qy_arena *a, void *mem, size_t size)
{
    qy_lock(&a->lock);
    struct qy_chunk *rest = cut_locked(a, qy_mem_chunk(mem), size);
    qy_unlock(&a->lock);
    return rest ? qy_chunk_mem(rest) : NULL;
}
