/*
 * Whether a block is sound, from its size word and the one behind it (chunk/seal.h): one line or two, no marks, no
 * lock. What is not sealed, or is not sealed as it should be, must be looked at closely.
 */
#ifndef QY_CHUNK_SOUND_H
#define QY_CHUNK_SOUND_H

#include "chunk/freed.h"
#include "chunk/marks.h"

/* P and N of a sealed block say the contrary, and M is not set. */
QY_INLINE bool qy_sealed_tags_sound(size_t low)
{
    size_t tags = low & (QY_PREV_INUSE | QY_IS_MMAPPED | QY_PREV_FREE);
    return tags == QY_PREV_INUSE || tags == QY_PREV_FREE;
}

/* The word behind a block: sealed, for whoever it may be, and P is set. */
QY_INLINE bool qy_word_behind_sound(const struct qy_chunk *c, size_t word)
{
    return !((word ^ qy_seal(&qy_seals, (uintptr_t)c, word)) & QY_SEAL_STATIC) && (word & QY_PREV_INUSE);
}

/* Whether the word of a chunk can be read: it lies in memory of a segment, of this granule. */
QY_INLINE bool qy_word_readable(const struct qy_granule *g, const struct qy_chunk *c)
{
    return g && qy_granule_has(g, c);
}

/* What was found out about a block: everything that putting it away needs. */
struct qy_sound {
    size_t
        low; /* of its size word; 0: it is no sealed block of the program's, or it cannot be told from here */
    uint32_t upper;
};

/*
 * Any pointer may be asked about whose word can be read. A block that the caller rightfully has does not change
 * meanwhile but in P; for any other, any answer is right.
 */
QY_INLINE struct qy_sound qy_sound_itself(const void *mem)
{
    struct qy_chunk *c = qy_mem_chunk(mem);
    if (QY_UNLIKELY((uintptr_t)mem & QY_TAG_BITS))
        return (struct qy_sound){0};
    /* Apart: who just took the block wrote the upper half, and a load of both would wait for the cache. */
    struct qy_sound s = {.low = qy_load_relaxed(qy_seal_lower(c)),
                         .upper = qy_load_relaxed(qy_seal_upper(c))};
    uint64_t off = ((uint64_t)s.upper << 32 | s.low) ^ qy_seal(&qy_seals, (uintptr_t)c, s.low);
    if (QY_UNLIKELY(off >> QY_SEAL_SHIFT || !qy_sealed_tags_sound(s.low)))
        return (struct qy_sound){0};
    return s;
}

QY_INLINE size_t qy_sound_size(struct qy_sound s)
{
    return s.low & QY_SEALED_SIZE;
}

#endif
