/*
 * Whether a block is sound, from its size word and the one behind it (chunk/seal.h): one line or two, no marks, no lock. What is not
 * sealed, or is not sealed as it should be, must be looked at closely.
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

/* What was found out about a block: everything that putting it away needs. */
struct qy_sound {
    struct qy_granule
        *granule; /* NULL: it is no sealed block of the program's, or it cannot be told from here */
    size_t low;   /* of its size word, */
    uint32_t upper;
};

/*
 * Any pointer may be asked about. A block that the caller rightfully has does not change meanwhile but in P; for any other, any answer is
 * right.
 */
QY_INLINE struct qy_sound qy_sound_itself(const void *mem)
{
    struct qy_chunk *c = qy_mem_chunk(mem);
    struct qy_sound s = {.granule = qy_granule_of((uintptr_t)c)};
    if (QY_UNLIKELY(!s.granule || !qy_granule_has(s.granule, c) || ((uintptr_t)mem & QY_TAG_BITS)))
        return (struct qy_sound){0};
    /* Apart: who just took the block wrote the upper half, and a load of both would wait for the cache. */
    s.low = qy_load_relaxed(qy_seal_lower(c));
    s.upper = qy_load_relaxed(qy_seal_upper(c));
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
