/*
 * The zone: one range of address space that is cut into runs of 64 KiB. Owns the range, the runs nobody uses and two
 * arrays that say of each run what it is. These lie before the zone, where no overflow of a block reaches. Lock:
 * QY_RANK_ZONE.
 *
 *              strides                  lo                     lo + span
 *      <- | 2 1 0 | 0 1 2 | ->          | run 0 | run 1 | ...  | nothing yet: grows this way
 *      descriptors  strides
 *
 * The arrays begin back to back in the middle of a page, and no further from the zone than they must: a tiny process
 * then needs one page for them, and few page tables, which take longer to make than pages do.
 *
 * The zone lies where the kernel puts nothing unasked, far from everything, so it can grow in place and needs no
 * reservation: the address space of a process is what it uses, and RLIMIT_AS and mlockall() mean what they say. Should
 * something else turn up in its way, the zone stays as it is and further small blocks are chunks.
 *
 * Because the zone is one range and every byte of it can be read, free() may look at the header before any pointer into
 * it, however wild the pointer is.
 */
#ifndef QY_RUN_ZONE_H
#define QY_RUN_ZONE_H

#include "base/atomic.h"
#include "base/bits.h"
#include "base/lock.h"

#define QY_RUN_SHIFT 16
#define QY_RUN_BYTES ((size_t)1 << QY_RUN_SHIFT)

struct qy_run;

/* What every thread reads, and hardly anybody writes, has a line of its own. */
struct qy_zone {
    uintptr_t lo; /* never changes; 0: there are no runs */
    size_t span;  /* atomic: bytes that are mapped */
    uint16_t *
        strides; /* how far apart each run's cells are; before here, the descriptors of runs, the first last */
    uintptr_t tables_from, tables_to; /* of both arrays, so much is mapped */

    struct qy_lock lock QY_ALIGNED(64);
    size_t taken, purged; /* runs in use; free runs whose memory was given back */
    struct qy_run *dirty; /* free runs with memory, last freed first */
    struct qy_run *dirty_last;
    struct qy_run *clean; /* free runs without memory */
    size_t fresh;         /* runs below this index were used once */
    size_t huge_from;     /* what lies behind, up to span, shall come in huge pages */
    size_t resident_to;   /* of the fresh runs, those below come with memory: their huge page was touched */
    size_t fresh_seen;    /* by who last looked whether that memory is idle; */
    uint64_t fresh_at_ms; /* and since when it was as much */

    size_t full_bytes QY_ALIGNED(64); /* atomic: of the runs in use that have all their cells */
};

QY_OURS struct qy_zone qy_zone;

/* Finds a place for the zone; the secret decides where. Without one, there are no runs. */
void qy_zone_init(uint64_t secret);

QY_INLINE bool qy_zone_has(uintptr_t address)
{
    return address - qy_zone.lo < qy_load_relaxed(&qy_zone.span);
}

/*
 * A run nobody uses, now `owner`'s, or NULL: if it can be, one that was of this class before. Its descriptor is not set
 * up, its memory holds anything.
 */
struct qy_run *qy_zone_take(void *owner, unsigned cls);

/* A run that holds no block comes back. */
void qy_zone_put(struct qy_run *run);

/*
 * Gives the memory of runs back that were free for `older_than_ms`, at most *most, which it counts down; returns how
 * many.
 */
size_t qy_zone_purge(uint64_t older_than_ms, unsigned *most);

/*
 * Unmaps the free end of the zone, for when the kernel gives no more address space. True: there was one. The one
 * occasion on which the zone shrinks; a thread that still takes the old end for part of it can come to no harm but
 * through a pointer to a block that does not exist.
 */
bool qy_zone_shrink(void);

struct qy_zone_stats {
    size_t taken, dirty, purged, used_once;
};
struct qy_zone_stats qy_zone_stats(void);

/* Aborts when an invariant of the zone is broken (docs/invariants.md, I-31). */
void qy_zone_check(void);

void qy_zone_lock(void);
void qy_zone_unlock(void);
void qy_zone_reset(void);

#endif
