/*
 * What a chunk carries that is free but keeps its in-use mark: in a thread cache, a fast bin or an inbox. Its signature
 * stands in the second word of its memory, where ptmalloc keeps its tcache key. Seen again by free(), it is a double free. Gone
 * when the chunk is taken out: somebody wrote to the block after freeing it, or freed it twice around such a write; then
 * the block is in two places, and handing it out would give the same bytes to two owners.
 *
 * It is made of address, size and secrets: a size that was written over does not fit it.
 */
#ifndef QY_CHUNK_FREED_H
#define QY_CHUNK_FREED_H

#include "base/atomic.h"
#include "base/message.h"
#include "chunk/chunk.h"

QY_OURS uint64_t qy_freed_secret, qy_freed_factor; /* drawn at start-up; the factor is odd */

/* Under any secrets: for who looks at another process. */
QY_INLINE uint64_t qy_freed_signature_under(uint64_t secret, uint64_t factor, uintptr_t mem, size_t size)
{
    uint64_t product = ((mem ^ secret) + size) * factor;
    return product ^ (product >> 32);
}

QY_INLINE uint64_t qy_freed_signature(const void *mem)
{
    return qy_freed_signature_under(qy_freed_secret, qy_freed_factor, (uintptr_t)mem,
                                    qy_chunk_size(qy_mem_chunk(mem)));
}

QY_INLINE bool qy_freed_is_signed(const void *mem)
{
    return ((const uint64_t *)mem)[1] == qy_freed_signature(mem);
}

QY_INLINE void qy_freed_refuse(const void *mem)
{
    if (QY_UNLIKELY(qy_freed_is_signed(mem)))
        qy_fatal(QY_DOUBLE_FREE, mem, "this block is already free");
}

QY_INLINE void qy_freed_sign(void *mem)
{
    ((uint64_t *)mem)[1] = qy_freed_signature(mem);
}

/*
 * The same for a block that the program just freed. Of two threads that free it at the same moment, both past the
 * gate, one finds the other's signature. Relaxed: nothing else is published by it.
 */
QY_INLINE void qy_freed_sign_once(void *mem)
{
    uint64_t signature = qy_freed_signature(mem);
    if (QY_UNLIKELY(qy_swap_relaxed(&((uint64_t *)mem)[1], signature) == signature))
        qy_fatal(QY_DOUBLE_FREE, mem, "this block is already free");
}

QY_INLINE void qy_freed_unsign(void *mem)
{
    if (QY_UNLIKELY(!qy_freed_is_signed(mem)))
        qy_fatal(QY_WRITE_AFTER_FREE, mem, "this free block was written to, or freed twice");
    ((uint64_t *)mem)[1] = 0;
}

#endif
