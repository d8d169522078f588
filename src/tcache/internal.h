/*
 * Shared by the files of tcache/. `t` is the calling thread's cache, or one that the thread borrowed.
 */
#ifndef QY_TCACHE_INTERNAL_H
#define QY_TCACHE_INTERNAL_H

#include "tcache/tcache.h"

/*
 * The calling thread's cache, made or adopted on first use. A thread that is past its destructors, or finds no
 * memory for a cache of its own, borrows one until qy_tcache_leave. NULL: no memory for any.
 */
struct qy_tcache *qy_tcache_enter_slow(void);
void qy_tcache_leave_slow(struct qy_tcache *t);

/*
 * Where qy_self points before a thread's first use, and after its destructors ran: all zero, so the fast path refuses
 * all.
 */
QY_OURS struct qy_tcache qy_tcache_none, qy_tcache_dead;

QY_INLINE struct qy_tcache *qy_tcache_enter(void)
{
    struct qy_tcache *t = qy_self;
    return QY_LIKELY(t->slots_used) ? t : qy_tcache_enter_slow();
}

QY_INLINE void qy_tcache_leave(struct qy_tcache *t)
{
    if (QY_UNLIKELY(t != qy_self) && t)
        qy_tcache_leave_slow(t);
}

/* Whether another thread's malloc_trim asked for what this cache holds; and giving it back. */
QY_INLINE bool qy_tcache_is_asked(const struct qy_tcache *t)
{
    return qy_load_relaxed(&t->request_limit) == 0;
}
void qy_tcache_answer(struct qy_tcache *t);

/* The largest request that ptmalloc's tcache serves. */
#define QY_LARGEST_CLASSIC ((size_t)1032)

/* Lets the fast path accept blocks of the part of the zone that was added since. */
void qy_tcache_look_at_zone(struct qy_tcache *t);

/* The first of the next `count` slots of the cache, for a stack that is used for the first time. */
size_t qy_tcache_slots(struct qy_tcache *t, size_t count);

/* Cells. */
size_t qy_cell_slots_needed(void);
void qy_cell_stacks_init(struct qy_tcache *t);
void qy_cell_stacks_close(struct qy_tcache *t); /* those that are empty have no room from now on */
void *qy_cell_take(struct qy_tcache *t,
                   unsigned cls); /* refills the stack when it is empty; NULL: no memory */
void qy_cell_free(struct qy_tcache *t, void *cell, unsigned cls); /* vetted; t may be NULL */
void qy_cells_flush_all(struct qy_tcache *t);

/*
 * Collects what others gave back to the runs of any host, returns its empty runs to the zone, and purges the others, in
 * at most *most calls of the kernel.
 */
void qy_runs_tidy(struct qy_tcache *t, enum qy_purge purge, unsigned *most);

/* Chunks. */
void qy_chunk_stacks_init(struct qy_tcache *t);
void *qy_chunk_pop_aligned(struct qy_tcache *t, size_t request, size_t alignment);
bool qy_chunk_push(struct qy_tcache *t, void *mem);   /* vetted; false: no place for it */
size_t qy_chunk_round(size_t size, size_t alignment); /* what a chunk has; alignment 0: any */

/*
 * One of the large blocks freed last, if it fits. NULL: none does, and they went back, so that the arena can make one
 * of them.
 */
void *qy_chunk_pop_large(struct qy_tcache *t, size_t request, size_t alignment);
size_t qy_chunk_slots_needed(void);
void qy_chunks_flush_all(struct qy_tcache *t);

/*
 * Whether a thread keeps so much that some of it may serve in place of memory that the heap would grow by; and giving
 * it back for that.
 */
bool qy_chunks_can_give_way(const struct qy_tcache *t);
void qy_chunks_give_way(struct qy_tcache *t);

/* When the heap grew: half of what the thread keeps goes back, to be had by others, or to be idle at the next look. */
void qy_chunks_give_half_back(struct qy_tcache *t);

/* Takes over what others freed of the thread's arena, as far as it may keep it. True: something. */
bool qy_chunks_collect(struct qy_tcache *t, struct qy_arena *a);

/* Where an arena puts further blocks of `size`, and how many were put. */
void qy_chunk_stash_offer(struct qy_tcache *t, struct qy_request *request);
void qy_chunk_stash_accept(struct qy_tcache *t, const struct qy_request *request);

struct qy_arena *qy_tcache_arena(struct qy_tcache *t);

/* On slow paths: once every `decay` milliseconds, one thread gives back what nobody used since the last time. */
void qy_tick_slow(struct qy_tcache *t);

QY_INLINE void qy_tick(struct qy_tcache *t)
{
    if (QY_LIKELY(t != NULL) && QY_UNLIKELY(--t->calls_to_look == 0))
        qy_tick_slow(t);
}

#endif
