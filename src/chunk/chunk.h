/*
 * The chunk: a boundary-tagged piece of a segment (M-01 to M-04). The only place that touches tag bits.
 *
 *      c ->  +------------------------------+
 *            | prev_size                    |  the previous chunk's size, only while that chunk is free (P = 0);
 *            |                              |  else the last 8 bytes of the previous chunk's user
 *            +------------------------------+
 *            | size                 | - A M P   low four bits are flags, sizes are multiples of 16
 *    mem ->  +------------------------------+
 *            | fd        user memory        |  free, in a bin: the next chunk of the list
 *            | bk            ...            |                 the one before
 *            | fd_nextsize   ...            |  free, large:   the first chunk of the next smaller size
 *            | bk_nextsize   ...            |                 of the next larger size
 *            |               ...            |
 *    next -> +------------------------------+
 *            | user's last 8 bytes, or this chunk's size while it is free
 *            +------------------------------+
 *            | size                 | - A M P   P says whether this chunk is in use
 *
 * A tag is what the program can overwrite, so no tag is believed alone: chunk/marks.h holds, out of the
 * program's reach, where chunks begin and which are in use.
 */
#ifndef QY_CHUNK_CHUNK_H
#define QY_CHUNK_CHUNK_H

#include "base/atomic.h"
#include "base/bits.h"
#include "chunk/seal.h"

struct qy_chunk {
    size_t prev_size;
    size_t size;
    struct qy_chunk *fd, *bk;
    struct qy_chunk *fd_nextsize, *bk_nextsize;
};

#define QY_PREV_INUSE ((size_t)1) /* P: the chunk before this one is in use */
#define QY_IS_MMAPPED ((size_t)2) /* M: the chunk is a mapping of its own */
#define QY_NON_MAIN_ARENA \
    ((size_t)4)                  /* A: the chunk lies in a sub-heap of an arena other than the main one */
#define QY_TAG_BITS ((size_t)15) /* what alignment keeps free */
#define QY_PREV_FREE ((size_t)8) /* N: of a sealed block, the contrary of P */

/* Of a free chunk, where M means nothing: its age, for who gives pages back (arena/trim.c). Classic: never set. */
#define QY_AGE_TAGS ((size_t)10)
#define QY_SEEN_FREE ((size_t)2) /* it was free at the last tick */
#define QY_PURGE_DUE ((size_t)8) /* at the last two: its whole pages are to go back */
#define QY_PURGED QY_AGE_TAGS    /* they have gone */

#define QY_ALIGNMENT ((size_t)16)
#define QY_HEADER_BYTES ((size_t)16) /* from a chunk to its memory */
#define QY_TAG_BYTES ((size_t)8) /* what a block costs: its size word; prev_size belongs to the neighbour */
#define QY_MIN_CHUNK ((size_t)32)

QY_STATIC_ASSERT(offsetof(struct qy_chunk, fd) == QY_HEADER_BYTES, "user memory starts where fd is");

/* The chunk size that serves a request; the request is at most PTRDIFF_MAX (M-01). */
QY_INLINE size_t qy_chunk_size_for(size_t request)
{
    return qy_max(QY_MIN_CHUNK, qy_align_up(request + QY_TAG_BYTES, QY_ALIGNMENT));
}

QY_INLINE void *qy_chunk_mem(struct qy_chunk *c)
{
    return (char *)c + QY_HEADER_BYTES;
}

QY_INLINE struct qy_chunk *qy_mem_chunk(const void *mem)
{
    return (struct qy_chunk *)((char *)mem - QY_HEADER_BYTES);
}

QY_INLINE struct qy_chunk *qy_chunk_at(void *base, size_t offset)
{
    return (struct qy_chunk *)((char *)base + offset);
}

/* How far behind `mem` an aligned block begins. What lies in front must be a chunk of its own (M-05). */
QY_INLINE size_t qy_front_of_aligned(uintptr_t mem, size_t alignment)
{
    size_t front = qy_align_up(mem, alignment) - mem;
    return front && front < QY_MIN_CHUNK ? front + alignment : front;
}

/* Of a size word, sealed or not. */
QY_INLINE size_t qy_word_size(size_t word)
{
    return word & (qy_word_is_sealed(word) ? QY_SEALED_SIZE : ~QY_TAG_BITS);
}

/*
 * P changes under the lock of the arena, whoever has the block; who has it changes the upper half without one. So who
 * reads the word must want nothing of it that another may just change.
 */
QY_INLINE size_t qy_chunk_word(const struct qy_chunk *c)
{
    return qy_load_plain(&c->size);
}

QY_INLINE size_t qy_chunk_size(const struct qy_chunk *c)
{
    return qy_word_size(qy_chunk_word(c));
}

QY_INLINE size_t qy_chunk_tags(const struct qy_chunk *c)
{
    return qy_chunk_word(c) & QY_TAG_BITS;
}

QY_INLINE struct qy_chunk *qy_chunk_next(struct qy_chunk *c)
{
    return qy_chunk_at(c, qy_chunk_size(c));
}

QY_INLINE bool qy_chunk_prev_inuse(const struct qy_chunk *c)
{
    return (qy_chunk_word(c) & QY_PREV_INUSE) != 0;
}

QY_INLINE void qy_chunk_set_head(struct qy_chunk *c, size_t size, size_t tags, uint32_t mark)
{
    size_t word = size | tags;
    if (size < qy_seals.below)
        word = qy_word_of_seal(qy_seal(&qy_seals, (uintptr_t)c, word), word, mark);
    qy_store_plain(&c->size, word);
}

/* Of a free chunk, or one that is in no list; tags: P, age. */
QY_INLINE void qy_chunk_set_free(struct qy_chunk *c, size_t size, size_t tags)
{
    qy_chunk_set_head(c, size, tags, qy_seals.bin);
}

/* Of a block; tags: P, A. In a sealed word N is what P is not, so that a stray NUL shows. */
QY_INLINE void qy_chunk_set_used(struct qy_chunk *c, size_t size, size_t tags)
{
    if (size < qy_seals.below && !(tags & QY_PREV_INUSE))
        tags |= QY_PREV_FREE;
    qy_chunk_set_head(c, size, tags, QY_MARK_OF_PROGRAM);
}

/* A block becomes larger or smaller. */
QY_INLINE void qy_chunk_resize_used(struct qy_chunk *c, size_t size)
{
    qy_chunk_set_used(c, size, qy_chunk_word(c) & (QY_PREV_INUSE | QY_NON_MAIN_ARENA));
}

QY_INLINE void qy_chunk_resize_free(struct qy_chunk *c, size_t size)
{
    qy_chunk_set_free(c, size, qy_chunk_word(c) & (QY_PREV_INUSE | QY_AGE_TAGS));
}

/*
 * The chunk before a block was freed, or taken. Its lowest byte alone: whoever has the block may just change the upper
 * half.
 */
QY_INLINE void qy_chunk_set_prev_inuse(struct qy_chunk *c, bool inuse)
{
    uint8_t *low = (uint8_t *)&c->size; /* little-endian, as all machines that Quarry runs on */
    if (qy_chunk_prev_inuse(c) != inuse)
        qy_store_relaxed(low,
                         *low ^ (uint8_t)(qy_word_is_sealed(qy_chunk_word(c)) ? QY_PREV_INUSE | QY_PREV_FREE
                                                                              : QY_PREV_INUSE));
}

/*
 * A word that is sealed where it should be, by whatever holder, and only there. Under any secrets: for who looks at
 * another process.
 */
QY_INLINE bool qy_word_seal_holds_under(const struct qy_seals *s, uintptr_t chunk, size_t word)
{
    if (!qy_word_is_sealed(word))
        return qy_word_size(word) >= s->below;
    return s->below && qy_word_holder(s, chunk, word) != QY_HOLDERS;
}

QY_INLINE bool qy_word_seal_holds(const struct qy_chunk *c, size_t word)
{
    return qy_word_seal_holds_under(&qy_seals, (uintptr_t)c, word);
}

/* No chunk begins here any more. */
QY_INLINE void qy_chunk_void(struct qy_chunk *c)
{
    if (qy_word_is_sealed(qy_chunk_word(c)))
        qy_store_plain(&c->size, 0);
}

/* Tells the chunk after a free chunk of `size` bytes how large it is (M-03). */
QY_INLINE void qy_chunk_set_foot(struct qy_chunk *c, size_t size)
{
    qy_store_plain(&qy_chunk_at(c, size)->prev_size, size);
}

/*
 * Bytes the program may use of a block with this size word: up to the next chunk's size word (M-03), or the end of its
 * mapping.
 */
QY_INLINE size_t qy_word_usable(size_t word)
{
    return qy_word_size(word) - (word & QY_IS_MMAPPED ? QY_HEADER_BYTES : QY_TAG_BYTES);
}

#endif
