/*
 * Chunks that a thread keeps: the path of a malloc and a free of a medium block that hit. What does not is in chunks.c.
 *
 * Up to 1040 bytes there is a stack for each size, as in ptmalloc's tcache (M-10); above, in the default profile, 16 for each
 * doubling, and a bound on all their bytes. There, requests are rounded up to where a stack begins (3 % on average), so that
 * whatever is in a stack serves every request that looks there.
 */
#ifndef QY_TCACHE_KEPT_H
#define QY_TCACHE_KEPT_H

#include <string.h>

#include "options/options.h"
#include "tcache/internal.h"

#define QY_LINEAR_CLASSES 64u
#define QY_LARGEST_LINEAR ((size_t)1040)
#define QY_FIRST_DOUBLING 10u /* 1024 */

QY_INLINE unsigned qy_chunk_class(size_t size)
{
    if (size <= QY_LARGEST_LINEAR)
        return (unsigned)(size / QY_ALIGNMENT) - 2;
    unsigned doubling = qy_high_bit(size); /* its five highest bits are 16 to 31 */
    return QY_LINEAR_CLASSES - QY_FIRST_DOUBLING * 16 - 16 + doubling * 16 +
           (unsigned)(size >> (doubling - 4));
}

/* The first stack whose every block is at least this large. */
QY_INLINE unsigned qy_chunk_class_that_serves(size_t size)
{
    return size <= QY_LARGEST_LINEAR ? qy_chunk_class(size) : qy_chunk_class(size - QY_ALIGNMENT) + 1;
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

QY_INLINE void *qy_kept_take_top(struct qy_tcache *t, unsigned cls)
{
    void *mem = *--t->chunks[cls].top;
    qy_kept_was_taken(t, cls);
    /* Also the sign that it is nowhere else: two who free it at the same moment find each other's, and an arena takes it away. */
    size_t size = qy_freed_unsign(mem, t->mark);
    t->chunk_bytes -= size;
    QY_PROBE(TCACHE, TOOK, mem, size);
    return mem;
}

/*
 * Stacks that a request looks at. What is a little too large is still better than a lock: it has at most a quarter more than was asked
 * for. Up to 1040 bytes there is one.
 */
#define QY_KEPT_LOOKS 5

/* The same for every stack from `cls` on that may serve `size`: the lowest byte is that of `cls`. */
QY_INLINE uint64_t qy_kept_for(const struct qy_tcache *t, unsigned cls, size_t size)
{
    uint64_t held;
    memcpy(&held, t->held + cls, sizeof held);
    return held & ~(uint64_t)0 >> (64 - 8 * (size <= QY_LARGEST_LINEAR ? 1 : QY_KEPT_LOOKS));
}

/* The block that serves `request`, if there is one; NULL also when another thread asks for everything back. */
QY_INLINE void *qy_kept_pop(struct qy_tcache *t, size_t request)
{
    if (QY_UNLIKELY(request >= qy_load_relaxed(&t->chunk_limit)))
        return NULL;
    size_t size = qy_chunk_size_for(request);
    unsigned cls = qy_chunk_class_that_serves(size);
    if (qy_options.tcache_count)
        QY_PROBE(TCACHE, ASKED, 0, size);
    if (QY_LIKELY(qy_kept_any(t, cls)))
        return qy_kept_take_top(t, cls);
    uint64_t held = qy_kept_for(t, cls, size);
    return held ? qy_kept_take_top(t, cls + qy_low_bit(held) / 8) : NULL;
}

/* A power of two, or what costs as much: a cell from the thread's stack. NULL also where there is none yet. */
QY_INLINE void *qy_power_pop(struct qy_tcache *t, size_t stride)
{
    struct qy_stack *stack = &t->stacks[stride / QY_CELL_UNIT];
    if (!stack->top)
        return NULL;
    uint64_t *cell = stack->top[-1];
    if (QY_UNLIKELY((uint32_t)cell[-1] != (uint32_t)stack->key))
        return NULL;
    cell[-1] = stack->key;
    stack->top--;
    QY_PROBE(TCACHE, TOOK, cell, stride);
    return cell;
}

/* A request that is not small. */
QY_INLINE void *qy_medium_pop(struct qy_tcache *t, size_t request)
{
    size_t size = qy_chunk_size_for(request), power = size - QY_CELL_UNIT;
    if (!(power & (power - 1)) && request < qy_load_relaxed(&t->power_limit)) {
        void *cell = qy_power_pop(t, size);
        if (QY_LIKELY(cell != NULL))
            return cell;
    }
    return qy_kept_pop(t, request);
}

/* Puts a block that was found sound onto the stack of its size; false: there is no room. */
QY_INLINE bool qy_kept_push(struct qy_tcache *t, void *mem, struct qy_sound sound)
{
    size_t size = qy_sound_size(sound);
    if (QY_UNLIKELY(size - QY_TAG_BYTES >= qy_load_relaxed(&t->chunk_limit)))
        return false;
    unsigned cls = qy_chunk_class(size);
    struct qy_chunk_stack *stack = &t->chunks[cls];
    if (QY_UNLIKELY(stack->top == stack->limit || t->chunk_bytes + size > t->chunk_bytes_at_most))
        return false;
    qy_store_relaxed(qy_seal_upper(qy_mem_chunk(mem)), (uint32_t)(sound.seal >> 32) ^ t->mark);
    *stack->top++ = mem;
    qy_kept_was_put(t, cls);
    t->chunk_bytes += size;
    QY_PROBE(TCACHE, PUT, mem, size);
    return true;
}

#endif
