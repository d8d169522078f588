/*
 * The thread cache (M-10) and the fast path. A thread cache keeps blocks that its thread freed, so that the next malloc
 * takes no lock and asks nobody; its cells come from the runs that it owns, or another does for it. The stacks are
 * touched by nobody but the thread; the runs under their owner's lock (QY_RANK_CACHE), which a thread takes when it
 * refills or flushes, and others when memory is to be given back.
 *
 * A stack holds pointers to free blocks, last freed on top, in the cache's own memory: nothing that a program
 * writes to a freed block is ever followed. Below the bottom of each stack lies a pointer to a block whose header is
 * never right, so that "the stack is empty" and "the header was written over" are one comparison.
 *
 *      slots   | none | block | block | block |       |       | spare |
 *                     ^ base                  ^ top
 *                                             |<--- room ---->|
 *
 * A push does not ask whether there is room. It counts, and sees by the borrow that the block was one too many: that
 * one lies in the spare slot, and comes out again. A stack that was never used is all zero: its top is slot 0, which
 * nothing else uses.
 */
#ifndef QY_TCACHE_TCACHE_H
#define QY_TCACHE_TCACHE_H

#include "arena/arena.h"
#include "base/probe.h"
#include "os/threads.h"
#include "run/run.h"

/* Four to a cache line. Slots are known by their numbers. */
struct qy_stack {
    uint64_t key; /* the header of a block in use of this class */
    union {
        uint32_t level;
        struct {
            uint16_t top, room; /* the lower half of the level, and the upper one */
        };
    };
    uint16_t base;
};

QY_STATIC_ASSERT(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the lower half of a word comes first");

/* With a block more, a level is less by this: the top is the next slot, and there is room for one less. */
#define QY_ONE_BLOCK 0xffffu

/* The blocks of a stack, and how many it can have. */
QY_INLINE unsigned qy_stack_count(const struct qy_stack *stack)
{
    return (unsigned)stack->top - stack->base;
}

QY_INLINE unsigned qy_stack_slots(const struct qy_stack *stack)
{
    return qy_stack_count(stack) + stack->room;
}

/* Stacks of cells, by their stride in units; most of the table is never touched. */
#define QY_STACKS (QY_LARGEST_STRIDE / QY_CELL_UNIT + 1)

/*
 * Stacks of chunks: one for each size up to 1040, then 16 for each doubling; and one for all that are larger, so far
 * behind these that no request for a size finds it.
 */
#define QY_LARGE_CHUNKS 150
#define QY_CHUNK_CLASSES (QY_LARGE_CHUNKS + 1)
#define QY_LARGEST_MEDIUM ((size_t)32768) /* the largest request whose block has a stack of its size */

/* Stacks of medium chunks have room for at most so many blocks for each that tcache_count allows. */
#define QY_DEEP_CHUNKS 4

struct qy_chunk_stack {
    void **base, **top, **limit;
};

/*
 * A stack of cells has room for at most so many blocks for each that tcache_count allows, of which so many count: slots
 * have numbers of 16 bits.
 */
#define QY_DEEP_BLOCKS 32
#define QY_DEEP_COUNT_AT_MOST 64

/*
 * Cells come from the runs of a cache's host. As many caches as there are processors are their own; those that are made
 * when there are more threads share with one of these, as they share the processor
 * (docs/decisions/0022-shared-runs.md). A cache has the same host for good.
 */

/* Whether a thread uses a cache: yes; not any more; and it is in the list of those that are to be had. */
enum qy_orphaned { QY_SERVES, QY_RETIRING, QY_ORPHAN };

/*
 * Of a class of chunks: which miss was the last for it, and how many more the arena may give when it is soon asked
 * again.
 */
struct qy_missed {
    uint16_t at;
    uint8_t ahead;
};

struct qy_tcache {
    size_t request_limit;    /* atomic: the fast path serves requests below it. Others set it to 0 to ask for
                             everything back: see qy_tcache_answer */
    uintptr_t zone_from;     /* where the zone's first header ends: pointers from here on, */
    size_t zone_span;        /* for so many bytes, have a readable header; slow frees look whether it grew */
    const uint16_t *strides; /* of the zone's runs */
    size_t power_limit;      /* atomic, as request_limit: powers of two below it may be served as cells, */
    size_t chunk_limit;      /* and requests below this one from the stacks of chunks */
    size_t slots_used; /* a stack gets its slots when it is first used (qy_tcache_slots); 0: nobody's cache */
    uint8_t units[QY_RUN_SMALL + 1]; /* the stride for a request, less the least, in QY_STRIDE_UNIT */

    struct qy_arena *arena; /* NULL before first use */
    /*
     * Of the last chunk that it freed: likely of the next one, too. Granules are never unmapped, and what part can be
     * read is asked for each time.
     */
    const struct qy_granule *granule;
    uint32_t mark; /* its own among those who hold chunks (chunk/seal.h) */
    /* From here to `next`, and the stacks: what is forgotten of a thread that vanished in a fork (forget_stacks). */
    unsigned calls_to_look; /* slow calls until the clock is read again */
    uint64_t tick_seen;     /* the last tick this thread knows of */
    size_t chunk_bytes;     /* in the stacks of chunks, */
    size_t large_bytes;     /* and in the one of large chunks */
    size_t chunk_bytes_at_most;
    unsigned flushed_last;           /* of these, the one that gave way last */
    uint16_t misses;                 /* so often no stack of chunks had one */
    bool made_room;                  /* one gave way since the last time a chunk was missing */
    bool chunks_full;                /* one that is not small was full, or gave way, since they held little */
    bool deep_chunks;                /* its stacks of chunks have all their slots: see learn_from_miss */
    bool was_full[QY_CLASSES];       /* a stack of cells had to give way: see widen_stack */
    uint8_t turns[QY_CLASSES];       /* so often it was empty after that */
    uint16_t flushed_to[QY_CLASSES]; /* the slot of a deep stack that gives way next */
    uint8_t few[QY_CLASSES];         /* so often another class served this one: see qy_cell_take */
    uint8_t held[QY_CHUNK_CLASSES];  /* 1: this stack of chunks holds one; five are looked at */
    struct qy_tcache *next;          /* the roster: all there are */
    struct qy_tcache *next_orphan;
    struct qy_tcache *host;      /* whose runs its cells come from */
    struct qy_tcache *next_host; /* of one that is its own: all of these, a ring */
    bool main_thread;
    bool dying; /* the first destructors of its thread run: see thread_died */

    struct qy_lock lock QY_ALIGNED(64); /* guards the next five, and the owner's part of every run */
    struct qy_run *runs[QY_CLASSES];    /* runs with free cells: rings; cells are taken from the first */
    uint32_t owned[QY_CLASSES];         /* runs of each class, with free cells or without */
    struct qy_run *inbox_rest;          /* taken out of the inbox, not yet collected */
    unsigned sweep;                     /* the class whose runs are looked at next for idle pages; 0: none */
    bool sweep_aged;                    /* it was, but not all that is due has gone */

    struct qy_run *inbox QY_ALIGNED(64); /* atomic: own runs to which others gave cells back */
    uint32_t users;                      /* atomic: threads whose cells come from its runs */
    uint32_t orphaned;                   /* atomic, an enum qy_orphaned */
    struct qy_thread thread;             /* that it serves, or served last */

    /*
     * The first is of no class, and has a key that no header is. All up to those of small cells lie in the first page,
     * where what is above does; the others are few and far apart, and in a thread that allocates little only the first
     * page and that of the first slots are ever touched.
     */
    struct qy_stack stacks[QY_STACKS] QY_ALIGNED(64);
    struct qy_chunk_stack chunks[QY_CHUNK_CLASSES];
    struct qy_missed missed[QY_CHUNK_CLASSES];
    void *none; /* lies below slot 0 */
    void *slots[];
};

QY_STATIC_ASSERT(offsetof(struct qy_tcache, none) + sizeof(void *) == offsetof(struct qy_tcache, slots),
                 "what an empty stack without slots has below its top");

QY_STATIC_ASSERT(offsetof(struct qy_tcache, stacks[QY_SMALL_CLASSES]) <= 4096,
                 "what every thread uses lies in one page");

/* A class's stack lies as far from the first as its cells lie apart. */
QY_STATIC_ASSERT(sizeof(struct qy_stack) == QY_CELL_UNIT, "a stride is the place of a stack");

QY_OURS QY_THREAD struct qy_tcache *qy_self;

/* A table of bytes takes no more lines than it must; and what is found in it is scaled in the address of a stack. */
#define QY_STRIDE_UNIT 4

QY_INLINE struct qy_stack *qy_units_stack(struct qy_tcache *t, size_t units)
{
    return (struct qy_stack *)((char *)t + units * QY_STRIDE_UNIT + offsetof(struct qy_tcache, stacks[1]));
}

/* The class that the fast path serves a small request with; 0: it is not small. */
QY_INLINE unsigned qy_cell_serving(const struct qy_tcache *t, size_t request)
{
    return request <= QY_RUN_SMALL ? t->units[request] * QY_STRIDE_UNIT / QY_CELL_UNIT + 1u : 0;
}

/* The stack of cells that are so far apart; the first, for a run that nobody has used. */
QY_INLINE struct qy_stack *qy_stride_stack(const struct qy_tcache *t, size_t stride)
{
    return (struct qy_stack *)((char *)t + stride + offsetof(struct qy_tcache, stacks));
}

/* The stack of a class. Of those that are not small it is all zero until the thread uses them: they are far apart. */
QY_INLINE struct qy_stack *qy_class_stack(struct qy_tcache *t, unsigned cls)
{
    return qy_stride_stack(t, qy_class_stride(cls));
}

/* Whether a request is small, and the fast path's. */
QY_INLINE bool qy_tcache_serves(const struct qy_tcache *t, size_t request)
{
    return request < qy_load_plain(&t->request_limit);
}

/* The cell that serves `request`, from the top of its stack; NULL: ask the slow path. */
QY_INLINE void *qy_tcache_pop(struct qy_tcache *t, size_t request)
{
    if (QY_UNLIKELY(!qy_tcache_serves(t, request)))
        return NULL;
    size_t units = t->units[request];
    uint64_t *cell = t->slots[(size_t)qy_units_stack(t, units)->top - 1];
    QY_RETURNED(cell);
    QY_PROBE(TCACHE, ASKED, 0, units * QY_STRIDE_UNIT + QY_CELL_UNIT);
    QY_HIDE(units);
    uint64_t key = qy_units_stack(t, units)->key;
    if (QY_UNLIKELY((uint32_t)cell[-1] != (uint32_t)key))
        return NULL;
    qy_store_plain(&cell[-1], key);
    QY_HIDE(units);
    qy_units_stack(t, units)->level += QY_ONE_BLOCK;
    QY_PROBE(TCACHE, TOOK, cell, units * QY_STRIDE_UNIT + QY_CELL_UNIT);
    return cell;
}

/* What the program may use of the cell that qy_tcache_pop gave for `request`. */
QY_INLINE size_t qy_cell_room(const struct qy_tcache *t, size_t request)
{
    return t->units[request] * QY_STRIDE_UNIT + QY_CELL_UNIT - QY_CELL_HEADER_BYTES;
}

/* Whether a pointer is into the part of the zone that the thread knows of. */
QY_INLINE bool qy_tcache_looks_at(const struct qy_tcache *t, const void *mem)
{
    return (uintptr_t)mem - t->zone_from < t->zone_span;
}

/*
 * Whether a cell in use begins at `mem`: it lies in the zone, its header is that of a block in use of its run's class,
 * and the header behind it is intact. False: the slow path finds out what it is.
 *
 * Where the one behind lies is known from the run, not from the header: the two, which lie in different lines and are
 * often in no cache, are asked for at the same time, and not the second only when the first has come
 * (docs/decisions/0018-strides-of-runs.md).
 */
QY_INLINE bool qy_tcache_vet(const struct qy_tcache *t, const void *mem, size_t *stride)
{
    if (QY_UNLIKELY(!qy_tcache_looks_at(t, mem)))
        return false;
    size_t said = t->strides[((uintptr_t)mem - t->zone_from) >> QY_RUN_SHIFT];
    QY_HIDE(said);
    *stride = said;
    uint64_t key = qy_stride_stack(t, said)->key;
    if (QY_UNLIKELY(key != ((const uint64_t *)mem)[-1]))
        return false;
    const char *behind = (const char *)mem + said - QY_CELL_HEADER_BYTES;
    return qy_load_plain((const uint32_t *)behind) == (uint32_t)key;
}

/* Puts a cell onto the stack of its class when it passes, and there is room. False: the slow path finds out why not. */
QY_INLINE bool qy_tcache_push(struct qy_tcache *t, void *mem)
{
    size_t stride;
    if (QY_UNLIKELY(!qy_tcache_vet(t, mem, &stride)))
        return false;
    QY_HIDE(stride);
    qy_store_plain(&((uint32_t *)mem)[-1], 0);
    t->slots[qy_stride_stack(t, stride)->top] = mem;
    QY_HIDE(stride);
    if (QY_UNLIKELY(QY_SUB_BORROWS(qy_stride_stack(t, stride)->level, QY_ONE_BLOCK))) {
        QY_HIDE(stride);
        qy_stride_stack(t, stride)->level += QY_ONE_BLOCK;
        qy_store_plain(&((uint64_t *)mem)[-1], qy_stride_stack(t, stride)->key);
        return false;
    }
    QY_PROBE(TCACHE, PUT, mem, stride);
    return true;
}

#endif
