/*
 * Chunks that are free but keep their in-use mark: in a thread cache, a fast bin or an inbox. Each says who holds it,
 * so that a second free finds that it is not the program's any more, and whoever takes it out finds when it is not his.
 *
 * A sealed chunk says so in its size word (chunk/seal.h). One that is not, since it is large or ptmalloc's profile is
 * asked for, carries a signature in the second word of its memory, where ptmalloc keeps its tcache key: made of
 * address, size and secrets, the same for all holders. When it is gone as the chunk is taken out, somebody wrote to the
 * block after freeing it, or freed it twice around such a write; then the block is in two places, and handing it out
 * would give the same bytes to two owners.
 */
#ifndef QY_CHUNK_FREED_H
#define QY_CHUNK_FREED_H

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

/*
 * A seal's halves, which two threads may change at the same time. Also, the upper one was often written a moment ago: a
 * load of both would wait until that store has reached the cache.
 */
QY_INLINE uint32_t *qy_seal_lower(struct qy_chunk *c)
{
    return (uint32_t *)&c->size;
}

QY_INLINE uint32_t *qy_seal_upper(struct qy_chunk *c)
{
    return (uint32_t *)&c->size + 1;
}

/* The whole word, so read. */
QY_INLINE size_t qy_word_in_halves(struct qy_chunk *c)
{
    return qy_load_relaxed(qy_seal_lower(c)) | (size_t)qy_load_relaxed(qy_seal_upper(c)) << 32;
}

QY_INLINE bool qy_chunk_is_sealed(struct qy_chunk *c)
{
    return qy_load_relaxed(qy_seal_upper(c)) >> 31;
}

/* What the upper half is while the program has the chunk. */
QY_INLINE uint32_t qy_seal_of_program(struct qy_chunk *c)
{
    return (uint32_t)(qy_seal(&qy_seals, (uintptr_t)c, qy_load_relaxed(qy_seal_lower(c))) >> 32);
}

/* A block becomes free, and that of the holder with this mark. */
QY_INLINE void qy_freed_sign(void *mem, uint32_t mark)
{
    struct qy_chunk *c = qy_mem_chunk(mem);
    if (QY_LIKELY(qy_chunk_is_sealed(c)))
        qy_store_relaxed(qy_seal_upper(c), qy_seal_of_program(c) ^ mark);
    else
        ((uint64_t *)mem)[1] = qy_freed_signature(mem);
}

QY_COLD void qy_freed_twice(const void *mem) __attribute__((noreturn));
QY_COLD void qy_freed_changed(const void *mem) __attribute__((noreturn));

/*
 * The same for a block that the program just freed, past the gate. Two threads may free it at the same moment: of a
 * sealed one the last to write here is the holder, and the other finds that he is not; of another, one finds the
 * other's signature. Relaxed: nothing else is published by it.
 */
QY_INLINE void qy_freed_sign_once(void *mem, uint32_t mark)
{
    if (QY_LIKELY(qy_chunk_is_sealed(qy_mem_chunk(mem)))) {
        qy_freed_sign(mem, mark);
        return;
    }
    uint64_t signature = qy_freed_signature(mem);
    if (QY_UNLIKELY(qy_swap_relaxed(&((uint64_t *)mem)[1], signature) == signature))
        qy_freed_twice(mem);
}

QY_INLINE void qy_freed_erase(void *mem)
{
    if (QY_UNLIKELY(!qy_freed_is_signed(mem)))
        qy_freed_changed(mem);
    ((uint64_t *)mem)[1] = 0;
}

/* The holder takes it out, to become what is no block: what the seal says does not matter any more. */
QY_INLINE void qy_freed_take(void *mem, uint32_t mark)
{
    struct qy_chunk *c = qy_mem_chunk(mem);
    if (QY_UNLIKELY(!qy_chunk_is_sealed(c)))
        qy_freed_erase(mem);
    else if (QY_UNLIKELY((qy_load_relaxed(qy_seal_upper(c)) ^ mark) != qy_seal_of_program(c)))
        qy_freed_changed(mem);
}

/* The holder takes it out; it looks as if it were the program's. False: it is not sealed, or not his. */
QY_INLINE bool qy_freed_unseal(void *mem, uint32_t mark, size_t *size)
{
    struct qy_chunk *c = qy_mem_chunk(mem);
    uint32_t lower = qy_load_relaxed(qy_seal_lower(c)), upper = qy_load_relaxed(qy_seal_upper(c));
    uint32_t programs = (uint32_t)(qy_seal(&qy_seals, (uintptr_t)c, lower) >> 32);
    if (QY_UNLIKELY((upper ^ mark) != programs))
        return false;
    qy_store_relaxed(qy_seal_upper(c), programs);
    *size = lower & QY_SEALED_SIZE;
    return true;
}

/* The same for any chunk; what is not his is fatal. */
QY_INLINE size_t qy_freed_unsign(void *mem, uint32_t mark)
{
    size_t size;
    if (QY_LIKELY(qy_freed_unseal(mem, mark, &size)))
        return size;
    if (qy_chunk_is_sealed(qy_mem_chunk(mem)))
        qy_freed_changed(mem);
    qy_freed_erase(mem);
    return qy_chunk_size(qy_mem_chunk(mem));
}

/* Of a block past the gate, which lets no sealed one through that is not the program's. */
QY_INLINE void qy_freed_refuse(const void *mem)
{
    if (QY_UNLIKELY(!qy_chunk_is_sealed(qy_mem_chunk(mem)) && qy_freed_is_signed(mem)))
        qy_freed_twice(mem);
}

#endif
