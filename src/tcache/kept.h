/*
 * Chunks that a thread keeps: the path of a malloc and a free of a medium block that hit. What does not is in chunks.c.
 *
 * Up to 1040 bytes there is a stack for each size, as in ptmalloc's tcache (M-10); above, in the default profile, 16
 * for each doubling of what is asked for, and a bound on all their bytes. There, requests are rounded up to where a
 * stack begins (3 % on average), so that whatever is in a stack serves every request that looks there.
 */
#ifndef QY_TCACHE_KEPT_H
#define QY_TCACHE_KEPT_H

#include "options/options.h"
#include "tcache/internal.h"

#define QY_LINEAR_CLASSES 64u
#define QY_LARGEST_LINEAR ((size_t)1040)
#define QY_FIRST_DOUBLING 10u /* 1024 */

/* Of a size above these; the largest of them would be in its class by this, too. */
QY_INLINE unsigned qy_chunk_class_in_doubling(size_t size)
{
    size -= QY_ALIGNMENT;                  /* what a request of so many KiB takes begins a class */
    unsigned doubling = qy_high_bit(size); /* its five highest bits are 16 to 31 */
    return QY_LINEAR_CLASSES - QY_FIRST_DOUBLING * 16 - 16 + doubling * 16 +
           (unsigned)(size >> (doubling - 4));
}

QY_INLINE unsigned qy_chunk_class(size_t size)
{
    return size <= QY_LARGEST_LINEAR ? (unsigned)(size / QY_ALIGNMENT) - 2 : qy_chunk_class_in_doubling(size);
}

QY_INLINE bool qy_kept_any(const struct qy_tcache *t, unsigned cls)
{
    return t->chunks[cls].top != t->chunks[cls].base;
}

/* `held` follows what is put and taken, as ptmalloc's map follows its bins (M-15). */
QY_INLINE void qy_kept_was_put(struct qy_tcache *t, unsigned cls)
{
    t->held[cls] = 1;
}

QY_INLINE void qy_kept_was_taken(struct qy_tcache *t, unsigned cls)
{
    t->held[cls] = qy_kept_any(t, cls);
}

/* What is not sealed, or was changed: then this is fatal. */
void *qy_kept_take_plain(struct qy_tcache *t, void *mem) __attribute__((returns_nonnull));

QY_INLINE void *qy_kept_take_top(struct qy_tcache *t, unsigned cls)
{
    void *mem = *--t->chunks[cls].top;
    QY_ASSUME(mem != NULL);
    qy_kept_was_taken(t, cls);
    /*
     * Also the sign that it is nowhere else: two who free it at the same moment find each other's, and an arena takes
     * it away.
     */
    size_t size;
    if (QY_UNLIKELY(!qy_freed_unseal(mem, t->mark, &size)))
        return qy_kept_take_plain(t, mem);
    t->chunk_bytes -= size;
    QY_PROBE(TCACHE, TOOK, mem, size);
    return mem;
}

/*
 * Stacks that a request looks at: the first whose every block is at least as large, and some more. What is a little too
 * large is still better than a lock: it has at most a quarter more than was asked for. Up to 1040 bytes there is one.
 */
struct qy_kept_for {
    unsigned cls;  /* the first */
    unsigned held; /* which of them hold one, the lowest bit for the first */
};

QY_INLINE struct qy_kept_for qy_kept_for(const struct qy_tcache *t, size_t size)
{
    if (QY_UNLIKELY(size <= QY_LARGEST_LINEAR)) {
        unsigned cls = qy_chunk_class(qy_max(size, QY_MIN_CHUNK));
        return (struct qy_kept_for){cls, t->held[cls]};
    }
    unsigned cls = qy_chunk_class_in_doubling(size - QY_ALIGNMENT) + 1;
    /* Byte by byte: a load of all would wait for the store of one until that has left for the cache. */
    const uint8_t *held = t->held + cls;
    return (struct qy_kept_for){cls, held[0] + 2u * held[1] + 4u * (held[2] + 2u * held[3]) + 16u * held[4]};
}

/* The block that serves `request`, if there is one; NULL also when another thread asks for everything back. */
QY_INLINE void *qy_kept_pop(struct qy_tcache *t, size_t request)
{
    if (QY_UNLIKELY(request >= qy_load_relaxed(&t->chunk_limit)))
        return NULL;
    size_t size = qy_align_up(request + QY_TAG_BYTES, QY_ALIGNMENT);
    if (qy_options.tcache_count)
        QY_PROBE(TCACHE, ASKED, 0, size);
    struct qy_kept_for kept = qy_kept_for(t, size);
    return QY_LIKELY(kept.held != 0) ? qy_kept_take_top(t, kept.cls + qy_low_bit(kept.held)) : NULL;
}

/* A power of two, or what costs as much: a cell from the thread's stack. NULL also where there is none yet. */
QY_INLINE void *qy_power_pop(struct qy_tcache *t, size_t stride)
{
    struct qy_stack *stack = qy_stride_stack(t, stride);
    if (!stack->top)
        return NULL;
    uint64_t *cell = t->slots[stack->top - 1];
    if (QY_UNLIKELY((uint32_t)cell[-1] != (uint32_t)stack->key))
        return NULL;
    qy_store_plain(&cell[-1], stack->key);
    stack->level += QY_ONE_BLOCK;
    QY_PROBE(TCACHE, TOOK, cell, stride);
    return cell;
}

/* A request that is not small. */
QY_INLINE void *qy_medium_pop(struct qy_tcache *t, size_t request)
{
    size_t size = qy_align_up(request + QY_TAG_BYTES, QY_ALIGNMENT), power = size - QY_CELL_UNIT;
    if (!(power & (power - 1)) && request < qy_load_relaxed(&t->power_limit)) {
        void *cell = qy_power_pop(t, size);
        if (QY_LIKELY(cell != NULL))
            return cell;
    }
    return qy_kept_pop(t, request);
}

/* Whether blocks of this size are kept: the least request that they serve is one whose block a thread keeps. */
QY_INLINE bool qy_kept_size(const struct qy_tcache *t, size_t size)
{
    return size - QY_TAG_BYTES - (QY_ALIGNMENT - 1) < qy_load_relaxed(&t->chunk_limit);
}

/* Where what stands before `mem` can be read as the size word of a chunk; NULL: nowhere. */
QY_INLINE const struct qy_granule *qy_kept_granule(struct qy_tcache *t, const void *mem)
{
    const struct qy_chunk *c = qy_mem_chunk(mem);
    if (QY_LIKELY(qy_word_readable(t->granule, c)))
        return t->granule;
    const struct qy_granule *g = qy_granule_of((uintptr_t)c);
    if (!qy_word_readable(g, c))
        return NULL;
    if (t->slots_used) /* to what stands for none, nobody writes */
        t->granule = g;
    return g;
}

/* Puts a block that was found sound onto the stack of its size; false: there is no room. */
QY_INLINE bool qy_kept_push(struct qy_tcache *t, void *mem, struct qy_sound sound)
{
    size_t size = qy_sound_size(sound);
    if (QY_UNLIKELY(!qy_kept_size(t, size)))
        return false;
    unsigned cls = qy_chunk_class(size);
    struct qy_chunk_stack *stack = &t->chunks[cls];
    void **top = stack->top;
    if (QY_UNLIKELY(top == stack->limit || t->chunk_bytes + size > t->chunk_bytes_at_most))
        return false;
    qy_store_relaxed(qy_seal_upper(qy_mem_chunk(mem)), sound.upper ^ t->mark);
    *top = mem;
    stack->top = top + 1;
    qy_kept_was_put(t, cls);
    t->chunk_bytes += size;
    QY_PROBE(TCACHE, PUT, mem, size);
    return true;
}

#endif
