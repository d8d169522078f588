/*
 * Statistics: one picture of the heap, added up from what the layers below count. Taken without stopping anybody, so
 * under load its parts are from slightly different moments; in a quiet process they add up exactly:
 *
 *      system = in use + free, for each arena and for the runs
 */
#ifndef QY_OBSERVE_STATS_H
#define QY_OBSERVE_STATS_H

#include "arena/arena.h"

struct qy_pile {
    size_t count, bytes;
};

struct qy_arena_stats {
    size_t system_bytes, max_system_bytes;
    struct qy_pile fast;   /* chunks in fast bins */
    struct qy_pile binned; /* chunks in the other bins, without top */
    size_t top_bytes;
    size_t inuse_bytes; /* the rest: blocks with their headers, and the heap's own */
};

struct qy_run_stats {
    size_t runs;          /* in use, 64 KiB each */
    size_t dirty_runs;    /* in nobody's use, their memory kept */
    size_t system_bytes;  /* of both */
    size_t free_bytes;    /* of system_bytes: not in a cell that is in use or in a cache */
    struct qy_pile cells; /* in use or in a cache */
};

struct qy_cache_stats {
    size_t caches;
    struct qy_pile cells, chunks; /* free blocks that threads keep; counted as in use by arenas and runs */
};

void qy_arena_stats(struct qy_arena *a, struct qy_arena_stats *stats);
void qy_run_stats(struct qy_run_stats *stats);
void qy_cache_stats(struct qy_cache_stats *stats);

#endif
