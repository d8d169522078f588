/*
 * The thread cache (M-10) and the fast path. A thread cache keeps blocks that its thread freed, so that the next
 * malloc takes no lock and asks nobody; it owns the runs that its thread's cells come from. The stacks are touched by
 * nobody but the thread; the runs under the cache's lock (QY_RANK_CACHE), which the thread takes when it refills or flushes,
 * and others when memory is to be given back.
 *
 * A stack holds pointers to free blocks, last freed on top, in the cache's own memory: nothing that a program
 * writes to a freed block is ever followed. Below the bottom of each stack lies a pointer to a block whose header is
 * never right, so that "the stack is empty" and "the header was written over" are one comparison.
 *
 * A stack that was never used has no slots, and its bottom is that of an empty stack that all share.
 *
 *      slots   | none | block | block | block |       |       |
 *                     ^ base                  ^ top           ^ limit
 */
#ifndef QY_TCACHE_TCACHE_H
#define QY_TCACHE_TCACHE_H

#include "arena/arena.h"
#include "base/probe.h"
#include "run/run.h"

struct qy_stack {
    void **top;
    void **limit;
};

struct qy_key {
    uint64_t key; /* the header of a block in use of this class */
    void **base;  /* bottom of the class's stack */
};

/* A header's tag may be any 16 bits, so every value of it must lead into this table; most of it is never touched. */
#define QY_KEYS (65536 / sizeof(struct qy_key) + 1)

/* Stacks of chunks: one for each size up to 1040, then 16 for each doubling. */
#define QY_CHUNK_CLASSES 146

struct qy_chunk_stack {
    void **base, **top, **limit;
};

struct qy_tcache {
    size_t request_limit; /* atomic: the fast path serves requests below it. Others set it to 0 to ask for
                             everything back: see qy_tcache_answer */
    uintptr_t zone_from; /* where the zone's first header ends: pointers from here on, for zone_span bytes, */
    size_t
        zone_span; /* have a readable header; others take the slow path, which looks whether the zone grew */
    uint16_t strides[QY_CLASSES + 1]; /* of a request, by the 16 bytes that it and its header end in */
    struct qy_stack stacks[QY_CLASSES];

    struct qy_arena *arena; /* NULL before first use */
    size_t slots_used;      /* a stack gets its slots when it is first used: see qy_tcache_slots */
    unsigned slow_calls;    /* so that the clock is not read on each */
    uint64_t tick_seen;     /* the last tick this thread knows of */
    size_t chunk_limit;     /* requests below it may be served from the stacks of chunks */
    size_t chunk_bytes;     /* in these */
    size_t chunk_bytes_at_most;
    unsigned flushed_last;     /* of these, the one that gave way last */
    bool made_room;            /* one gave way since the last time a chunk was missing */
    bool was_full[QY_CLASSES]; /* a stack of cells had to be flushed since it was widened last */
    size_t widened_bytes;      /* what they may hold more than at first */
    struct qy_chunk_stack chunks[QY_CHUNK_CLASSES];
    struct qy_tcache *next; /* the roster: all there are */
    struct qy_tcache *next_orphan;
    bool main_thread;

    struct qy_lock lock QY_ALIGNED(64); /* guards the next four, and the owner's part of every run */
    struct qy_run *runs[QY_CLASSES];    /* runs with free cells: rings; cells are taken from the first */
    struct qy_run *inbox_rest;          /* taken out of the inbox, not yet collected */
    unsigned sweep;                     /* the class whose runs are looked at next for idle pages; 0: none */
    bool sweep_aged;                    /* it was, but not all that is due has gone */

    struct qy_run *inbox QY_ALIGNED(64); /* atomic: own runs to which others gave cells back */
    uint32_t orphaned;                   /* atomic: no thread uses this cache */

    uint64_t not_zero QY_ALIGNED(64); /* what a header of all zeros is compared with: see qy_tag_key */
    struct qy_key keys[QY_KEYS];
    void *slots[];
};

QY_STATIC_ASSERT(offsetof(struct qy_tcache, keys) - offsetof(struct qy_tcache, not_zero) == QY_CELL_TAG_EXTRA,
                 "tag 0 leads to not_zero");

extern QY_THREAD struct qy_tcache *qy_self;

QY_INLINE struct qy_stack *qy_stack_at(struct qy_tcache *t, size_t stride)
{
    return (struct qy_stack *)((char *)t->stacks + stride);
}

QY_INLINE struct qy_key *qy_key_at(struct qy_tcache *t, size_t stride)
{
    return (struct qy_key *)((char *)t->keys + stride);
}

/* Where a stack's top lies behind cache and stride. */
#define QY_TOP_AT (offsetof(struct qy_tcache, stacks) + offsetof(struct qy_stack, top))

/* The same by a header's tag, whatever 16 bits it is. */
QY_INLINE struct qy_stack *qy_tag_stack(struct qy_tcache *t, size_t tag)
{
    return (struct qy_stack *)((char *)t + tag + (offsetof(struct qy_tcache, stacks) - QY_CELL_TAG_EXTRA));
}

QY_INLINE struct qy_key *qy_tag_key(struct qy_tcache *t, size_t tag)
{
    return (struct qy_key *)((char *)t + tag + (offsetof(struct qy_tcache, keys) - QY_CELL_TAG_EXTRA));
}

QY_STATIC_ASSERT(sizeof(struct qy_stack) == QY_CELL_UNIT && sizeof(struct qy_key) == QY_CELL_UNIT,
                 "a class's stride is its offset in both tables");

/* The cell that serves `request`, from the top of its stack; NULL: ask the slow path. */
QY_INLINE void *qy_tcache_pop(struct qy_tcache *t, size_t request)
{
    if (QY_UNLIKELY(request >= t->request_limit))
        return NULL;
    size_t stride = t->strides[(request + QY_CELL_HEADER_BYTES + QY_CELL_UNIT - 1) / QY_CELL_UNIT];
    struct qy_stack *stack = qy_stack_at(t, stride);
    uint64_t *cell = stack->top[-1];
    QY_PROBE(TCACHE, ASKED, 0, stride);
    uint64_t key = qy_key_at(t, stride)->key;
    if (QY_UNLIKELY((uint32_t)cell[-1] != (uint32_t)key))
        return NULL;
    cell[-1] = key;
    QY_ADD_IN_PLACE(t, stride, QY_TOP_AT, -sizeof *stack->top);
    QY_PROBE(TCACHE, TOOK, cell, stride);
    return cell;
}

/*
 * Puts a cell onto the stack of its class when every check holds: the pointer lies in the zone, its header is that of a
 * block in use, the header behind it is intact, and there is room. False: the slow path finds out what it was.
 */
QY_INLINE bool qy_tcache_push(struct qy_tcache *t, void *mem)
{
    if (QY_UNLIKELY((uintptr_t)mem - t->zone_from >= t->zone_span))
        return false;
    uint64_t key = ((uint64_t *)mem)[-1];
    size_t tag = (uint16_t)key;
    if (QY_UNLIKELY(key != qy_tag_key(t, tag)->key))
        return false;
    if (QY_UNLIKELY(*(uint32_t *)((char *)mem + tag - QY_CELL_TAG_EXTRA - QY_CELL_HEADER_BYTES) !=
                    (uint32_t)key))
        return false;
    struct qy_stack *stack = qy_tag_stack(t, tag);
    void **top = stack->top;
    if (QY_UNLIKELY(top == stack->limit))
        return false;
    ((uint32_t *)mem)[-1] = 0;
    *top = mem;
    QY_ADD_IN_PLACE(t, tag, QY_TOP_AT - QY_CELL_TAG_EXTRA, sizeof *top);
    QY_PROBE(TCACHE, PUT, mem, tag - QY_CELL_TAG_EXTRA);
    return true;
}

#endif
