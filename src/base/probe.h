/*
 * Probes: what an operation asked, took, split, merged, in its order (M-62). In the library they are nothing: not one byte
 * of it changes. libquarry-play.so is built from the same sources with QY_PLAY; there each probe writes one event, which
 * `quarry play` reads between two steps. Knows nothing of what the events mean.
 *
 *      QY_PROBE(store, did, at, bytes)
 *
 * `at` is the chunk or block that it happened to, or 0; `bytes` its size. Both are read only where probes exist.
 */
#ifndef QY_BASE_PROBE_H
#define QY_BASE_PROBE_H

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

/* Events beyond the last are counted and not kept. */
struct qy_probe_ring {
    uint64_t count;
    struct qy_probe_event events[QY_PROBE_EVENTS];
};

#ifdef QY_PLAY
extern struct qy_probe_ring quarry_probe_ring;
void qy_probe(enum qy_probe_store store, enum qy_probe_did did, uintptr_t at, size_t bytes);
#define QY_PROBE(store, did, at, bytes) \
    qy_probe(QY_AT_##store, QY_DID_##did, (uintptr_t)(at), (size_t)(bytes))
#else
#define QY_PROBE(store, did, at, bytes) ((void)0)
#endif

#endif
