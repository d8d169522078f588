/*
 * The signature of a chunk that is free but keeps its in-use mark: in a thread cache, a fast bin or an inbox. It
 * stands in the second word of its memory, where ptmalloc keeps its tcache key, and cannot be guessed.
 *
 * Signed when freed: seen again by free(), it is a double free. Gone when taken out: somebody wrote to the block
 * after freeing it, or freed it twice around such a write; then the block is in two places, and handing it out
 * would give the same bytes to two owners.
 */
#ifndef QY_CHUNK_FREED_H
#define QY_CHUNK_FREED_H

#include "base/message.h"
#include "chunk/chunk.h"

extern uint64_t qy_freed_secret; /* drawn at start-up */

QY_INLINE uint64_t qy_freed_signature(const void *mem)
{
    return (uintptr_t)mem ^ qy_freed_secret;
}

QY_INLINE bool qy_freed_is_signed(const void *mem)
{
    return ((const uint64_t *)mem)[1] == qy_freed_signature(mem);
}

QY_INLINE void qy_freed_sign(void *mem)
{
    ((uint64_t *)mem)[1] = qy_freed_signature(mem);
}

QY_INLINE void qy_freed_unsign(void *mem)
{
    if (QY_UNLIKELY(!qy_freed_is_signed(mem)))
        qy_fatal(QY_WRITE_AFTER_FREE, mem, "this free block was written to, or freed twice");
    ((uint64_t *)mem)[1] = 0;
}

#endif
