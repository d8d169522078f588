/*
 * A block, whatever serves it: a cell of a run, a chunk of an arena, or a mapping of its own. The slow path of every
 * function of the API, and free as a whole. Nothing here sets errno.
 */
#ifndef QY_API_BLOCK_H
#define QY_API_BLOCK_H

#include "tcache/tcache.h"

/* NULL: no memory, or a request beyond PTRDIFF_MAX. */
void *qy_block_take(size_t request);

/*
 * The same when the thread is known to keep none that serves it. From *clean_from on the block is known to be zero, if
 * that is changed; NULL: nobody asks.
 */
void *qy_block_take_slow(size_t request, uintptr_t *clean_from);

/* At a multiple of `alignment`, a power of two. */
void *qy_block_take_aligned(size_t alignment, size_t request);

/* A chunk or a mapping, whatever the thread keeps; 0: aligned as any block. */
void *qy_block_take_chunk(size_t alignment, size_t request);

/* What the fast path of qy_block_free did not take, and what it does not look at. */
void qy_block_free_slow(void *mem);
void qy_block_free_outside(struct qy_tcache *t, void *mem);

/* Any pointer: NULL is no block, and what is none of ours is fatal. */
QY_INLINE void qy_block_free(void *mem)
{
    struct qy_tcache *t = qy_self;
    if (QY_UNLIKELY(!qy_tcache_looks_at(t, mem)))
        qy_block_free_outside(t, mem);
    else if (QY_UNLIKELY(!qy_tcache_push(t, mem)))
        qy_block_free_slow(mem);
}

size_t qy_block_usable(const void *mem);

/* The same of a block that was just taken. */
size_t qy_block_room(const void *mem);

/* `request` is not 0. Contents are kept up to the smaller size. NULL: the block is as it was. */
void *qy_block_resize(void *mem, size_t request);

#endif
