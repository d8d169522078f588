/*
 * Shared by the files of arena/ and by nobody else. Every function here needs the arena's lock.
 */
#ifndef QY_ARENA_INTERNAL_H
#define QY_ARENA_INTERNAL_H

#include "arena/arena.h"
#include "base/message.h"
#include "options/options.h"

/* The A bit of an arena's chunks. */
QY_INLINE size_t qy_arena_tag(const struct qy_arena *a)
{
    return a == &qy_main_arena ? 0 : QY_NON_MAIN_ARENA;
}

/* The largest chunk that goes into a fast bin, from the request that mallopt speaks of: ptmalloc's rounding (M-11). */
QY_INLINE size_t qy_arena_largest_fast(void)
{
    return qy_options.mxfast ? qy_align_down(qy_options.mxfast + QY_TAG_BYTES, QY_ALIGNMENT) : 0;
}

QY_INLINE size_t qy_arena_top_size(const struct qy_arena *a)
{
    return a->top ? qy_chunk_size(a->top) : 0;
}

/* Makes top end where its segment ends. */
void qy_arena_set_top_locked(struct qy_arena *a, struct qy_chunk *top, char *end);

/* Aborts when top's size was written over (M-50). */
void qy_arena_check_top_locked(struct qy_arena *a);

/* More memory, so that top is larger than `size`. False: the kernel said no. */
bool qy_arena_grow_locked(struct qy_arena *a, size_t size);

/* In the segment that top lies in now, nothing was used from here on. */
void qy_arena_set_clean_locked(struct qy_arena *a, uintptr_t from);

/*
 * Before `size` bytes are cut off top, which is large enough: makes them resident, and what comes next, when they will
 * be used.
 */
void qy_arena_fault_ahead_locked(struct qy_arena *a, size_t size);

/* Cuts `size` bytes off top, which is large enough. */
struct qy_chunk *qy_arena_cut_top_locked(struct qy_arena *a, size_t size, uintptr_t *clean_from);

/* Splits a chunk that is in no list: `size` bytes become the block, the rest, if any, is filed. */
void qy_arena_split_locked(struct qy_arena *a, struct qy_chunk *c, size_t size);

/* Merges a chunk in use with its free neighbours, into top or a bin (M-06); returns the merged size. */
size_t qy_arena_coalesce_locked(struct qy_arena *a, struct qy_chunk *c);

/* As free() does: coalesce, and trim when that made a large piece. */
void qy_arena_put_locked(struct qy_arena *a, struct qy_chunk *c);

/* Puts back what waits in the inbox; a bounded piece of it at a time. */
void qy_arena_drain_locked(struct qy_arena *a);

void qy_arena_consolidate_locked(struct qy_arena *a);

/* Gives back what top has beyond `pad`. */
bool qy_arena_trim_top_locked(struct qy_arena *a, size_t pad);

/* Gives the marks' memory behind top back that trims left. */
void qy_arena_purge_marks_locked(struct qy_arena *a);

/* Trims when top has outgrown the trim threshold (M-23). */
void qy_arena_trim_if_due_locked(struct qy_arena *a);

/* QY_CHECK builds: every invariant of the arena. */
void qy_arena_check_locked(struct qy_arena *a);

#endif
