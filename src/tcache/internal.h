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

/* Lets the fast path accept blocks of the part of the zone that was added since. */
void qy_tcache_look_at_zone(struct qy_tcache *t);

/* Cells. */
void *qy_cell_refill(struct qy_tcache *t, unsigned class); /* one for the caller, more for the stack; NULL: no memory */
void qy_cell_free(struct qy_tcache *t, void *cell, unsigned class); /* vetted; t may be NULL */
void qy_cells_flush(struct qy_tcache *t, unsigned class, unsigned count); /* the `count` oldest of the stack */
void qy_cells_flush_all(struct qy_tcache *t);
void qy_inbox_collect(struct qy_tcache *t, unsigned most);  /* what others gave back to our runs */
void qy_runs_release_empty(struct qy_tcache *t);

/* Chunks. */
void *qy_chunk_pop(struct qy_tcache *t, size_t size);
bool qy_chunk_push(struct qy_tcache *t, void *mem); /* false: no place for it */
unsigned qy_chunk_class(size_t size);
void qy_chunks_flush_all(struct qy_tcache *t);

/* Where an arena puts further blocks of `size`, and how many were put. */
void qy_chunk_stash_offer(struct qy_tcache *t, struct qy_request *request);
void qy_chunk_stash_accept(struct qy_tcache *t, const struct qy_request *request);

struct qy_arena *qy_tcache_arena(struct qy_tcache *t);

/* Called when a run's owner may have no thread: collects for him. */
void qy_orphan_collect(struct qy_tcache *owner);

#endif
