/*
 * Seals: in the default profile the size word of a chunk below 64 KiB says, under secrets of the process, that this
 * size stands at this address, and who has the chunk. free() learns from two words, with two multiplications, what it
 * would else look up in the marks: that a block begins here, is this large, is with the program, and was not written
 * past its end.
 *
 *      bit 63: 1 | 62..48 address and size | 47..32 address and size, and holder
 *                | 31..16 address and size | 15..0 size and tags
 *
 * The holder is whoever may hand the chunk on: the program, a bin, the arena (its inbox, its fast bins), or one thread
 * cache. A second free finds that it is not the program any more. Of two threads that free one block at the same
 * moment, one finds that what it put away is another's.
 *
 * The lower half of the word changes under the arena's lock only; a thread changes the upper half of a block that is
 * its own, without a lock. So both halves are read and written apart.
 *
 * Under a lock the marks decide, as in the classic profile, whose size words are ptmalloc's: no seals are made there,
 * and none are found. A seal is bound to its address: who reads one can write it back there later, and nowhere else
 * (docs/decisions/0017-seals.md).
 */
#ifndef QY_CHUNK_SEAL_H
#define QY_CHUNK_SEAL_H

#include "base/compiler.h"

#define QY_SEALED ((size_t)1 << 63)        /* no plain size is so large */
#define QY_SEALED_BELOW ((size_t)64 << 10) /* a sealed size has 16 bits */
#define QY_SEALED_SIZE ((size_t)0xfff0)
#define QY_SEALED_SAYS ((size_t)0xfff4) /* of the lower half, what the seal vouches for: size and A */
#define QY_SEAL_SHIFT 16                /* from here on, the word is seal and mark */
#define QY_SEAL_STATIC ((size_t)0xffff0000ffff0000) /* the part of it that does not change with the holder */

enum qy_holder { QY_WITH_PROGRAM, QY_IN_BIN, QY_WITH_ARENA, QY_FIRST_CACHE, QY_HOLDERS = 65536 };

#define QY_MARK_OF_PROGRAM 0u

struct qy_seals {
    uint64_t secret, factor; /* drawn at start-up; the factor is odd */
    uint32_t spread, gather; /* odd, and inverse to each other: see qy_holder_mark */
    uint32_t bin, arena;     /* the marks of these two holders */
    size_t below;            /* chunks of smaller sizes are sealed; 0: none */
};

QY_OURS struct qy_seals qy_seals;

/* `numbers`: three secret ones. */
void qy_seals_init(const uint64_t *numbers, bool used);

/* A holder's mark: what stands in the upper half of the word, beside the seal. The program's is 0. */
QY_INLINE uint32_t qy_holder_mark(const struct qy_seals *s, uint32_t holder)
{
    return holder * s->spread % QY_HOLDERS;
}

QY_INLINE uint32_t qy_holder_of_mark(const struct qy_seals *s, uint32_t mark)
{
    return mark * s->gather % QY_HOLDERS;
}

/*
 * A chunk's seal, with the program, from the lower half of its word, whose other bits do not count. Address and size
 * side by side, so that no two chunks have the same sum.
 */
QY_INLINE uint64_t qy_seal(const struct qy_seals *s, uintptr_t chunk, size_t low)
{
    return ((chunk << QY_SEAL_SHIFT | (low & QY_SEALED_SAYS)) ^ s->secret) * s->factor | QY_SEALED;
}

QY_INLINE size_t qy_word_of_seal(uint64_t seal, size_t low, uint32_t mark)
{
    return ((seal & ~(uint64_t)0xffff) ^ (uint64_t)mark << 32) | low;
}

QY_INLINE bool qy_word_is_sealed(size_t word)
{
    return (word & QY_SEALED) != 0;
}

/* Whoever has it: QY_HOLDERS when the word is no seal of this address. */
QY_INLINE uint32_t qy_word_holder(const struct qy_seals *s, uintptr_t chunk, size_t word)
{
    uint64_t off = word ^ qy_seal(s, chunk, word);
    return off & QY_SEAL_STATIC ? (uint32_t)QY_HOLDERS : qy_holder_of_mark(s, (uint32_t)(off >> 32));
}

#endif
