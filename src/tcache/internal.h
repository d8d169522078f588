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
struct qy_tcache *qy_tcache_enter(void);
void qy_tcache_leave(struct qy_tcache *t);

/* Another thread's malloc_trim asked for what this cache holds. */
void qy_tcache_answer(struct qy_tcache *t);

/* Lets the fast path accept blocks of the part of the zone that was added since. */
void qy_tcache_look_at_zone(struct qy_tcache *t);

/* Cells. */
void *qy_cell_refill(struct qy_tcache *t, unsigned class); /* one for the caller, more for the stack; NULL: no memory */
void qy_cell_free(struct qy_tcache *t, void *cell, unsigned class); /* vetted; t may be NULL */
void qy_cells_flush(struct qy_tcache *t, unsigned class, unsigned count); /* the `count` oldest of the stack */
void qy_cells_flush_all(struct qy_tcache *t);

/*
 * Collects what others gave back to the runs of any cache and returns its empty runs to the zone. `purge` says what becomes
 * of idle pages in the others: kept, given back if they were idle at the last tick already, or given back at once.
 */
enum qy_purge { QY_KEEP, QY_PURGE_OLD, QY_PURGE_ALL };
void qy_runs_tidy(struct qy_tcache *t, enum qy_purge purge);

/* Chunks. */
void *qy_chunk_pop(struct qy_tcache *t, size_t size);
bool qy_chunk_push(struct qy_tcache *t, void *mem); /* false: no place for it */
unsigned qy_chunk_class(size_t size);
void qy_chunks_flush_all(struct qy_tcache *t);

/* Where an arena puts further blocks of `size`, and how many were put. */
void qy_chunk_stash_offer(struct qy_tcache *t, struct qy_request *request);
void qy_chunk_stash_accept(struct qy_tcache *t, const struct qy_request *request);

struct qy_arena *qy_tcache_arena(struct qy_tcache *t);

/* On slow paths: once every `decay` milliseconds, one thread gives back what nobody used since the last time. */
void qy_tick(struct qy_tcache *t);

#endif
