/*
 * What libquarry-play.so tells of its calls: one event for each decision, in their order. That library is the allocator
 * built for `quarry play` (docs/play.md); the others tell nothing. The names and numbers may change with every version.
 */
#ifndef QUARRY_PROBE_H
#define QUARRY_PROBE_H

#include <stddef.h>
#include <stdint.h>

/* Where blocks come from and go to. */
#define QY_PROBE_STORES(X)          \
    X(GATE, "gate")                 \
    X(TCACHE, "tcache")             \
    X(ARENA, "arena")               \
    X(INBOX, "inbox")               \
    X(FAST_BIN, "fast bin")         \
    X(SMALL_BIN, "small bin")       \
    X(UNSORTED_BIN, "unsorted bin") \
    X(LARGE_BIN, "large bin")       \
    X(LARGER_BINS, "larger bins")   \
    X(REMAINDER, "last remainder")  \
    X(TOP, "top")                   \
    X(SUBHEAP, "sub-heap")          \
    X(MAPPED, "mapped")             \
    X(RUN, "run")                   \
    X(ZONE, "zone")                 \
    X(BLOCK, "block")               \
    X(KERNEL, "kernel")

/* What happened there. The last ones are system calls. */
#define QY_PROBE_DIDS(X)                                    \
    X(ASKED, "asked")                                       \
    X(TOOK, "took")                                         \
    X(PUT, "put")                                           \
    X(FULL, "full")                                         \
    X(SORTED, "sorted")                                     \
    X(SPLIT, "split")                                       \
    X(MERGED_BACK, "merged back") /* with the one before */ \
    X(MERGED_AHEAD, "merged ahead")                         \
    X(EMPTIED, "emptied")                                   \
    X(MOVED, "moved")                                       \
    X(GREW, "grew")                                         \
    X(TRIMMED, "trimmed")                                   \
    X(LEFT, "left")                                         \
    X(MADE, "made")                                         \
    X(GONE, "gone")                                         \
    X(RAISED, "raised")                                     \
    X(CARVED, "carved")                                     \
    X(PURGED, "purged")                                     \
    X(REFUSED, "refused")                                   \
    X(BRK, "brk")                                           \
    X(MMAP, "mmap")                                         \
    X(MUNMAP, "munmap")                                     \
    X(MPROTECT, "mprotect")                                 \
    X(MADVISE, "madvise")                                   \
    X(ADVISED, "advised")                                   \
    X(POPULATED, "populated")                               \
    X(MREMAP, "mremap")

#define QY_PROBE_ENUM(name, text) QY_AT_##name,
enum qy_probe_store { QY_PROBE_STORES(QY_PROBE_ENUM) QY_PROBE_STORE_COUNT };
#undef QY_PROBE_ENUM
#define QY_PROBE_ENUM(name, text) QY_DID_##name,
enum qy_probe_did { QY_PROBE_DIDS(QY_PROBE_ENUM) QY_PROBE_DID_COUNT };
#undef QY_PROBE_ENUM

struct qy_probe_event {
    uint16_t store, did;
    uint32_t unused;
    uint64_t at, bytes;
};

#define QY_PROBE_EVENTS 4096u

/* Set `count` to 0, call, and look. Events beyond the last are counted and not kept. */
struct qy_probe_ring {
    uint64_t count;
    struct qy_probe_event events[QY_PROBE_EVENTS];
};

struct qy_probe_ring *quarry_probe_ring(void);

#endif
