/*
 * Marks: what is true of the chunk heap, kept where the program cannot write by accident.
 *
 * Address space is looked at in granules of 64 MiB. A granule that holds chunks has an owner (its arena) and one
 * bit for every 16 bytes. A chunk is at least 32 bytes, so it has two bits of its own:
 *
 *      bit of c       a chunk begins here
 *      bit of c + 16  ... and it is in use: with the program, in a thread cache or in a fast bin
 *
 * Boundary tags (chunk.h) say the same, and one more word: the size. A tag that disagrees with the marks has been
 * written over, and nothing is done on its word. This is what makes forged chunks, forged sizes, forged
 * arenas and double frees visible at once, in the classic profile too, where tags must look as ptmalloc's do.
 *
 * Written under the lock of the arena that owns the granule. Read without it by free(): the bits of a block
 * that the reader rightfully holds do not change meanwhile, and for any other block any answer is right.
 */
#ifndef QY_CHUNK_MARKS_H
#define QY_CHUNK_MARKS_H

#include "base/atomic.h"
#include "chunk/chunk.h"

#define QY_GRANULE_SHIFT 26
#define QY_GRANULE_BYTES ((size_t)1 << QY_GRANULE_SHIFT)
#define QY_VA_BITS 48 /* user addresses are below: x86-64 gives 47 bits, aarch64 48, more only to who asks */

#define QY_MARKS_PER_WORD 64
#define QY_GRANULE_WORDS (QY_GRANULE_BYTES / QY_ALIGNMENT / QY_MARKS_PER_WORD)

struct qy_arena;

struct qy_granule {
    struct qy_arena *owner; /* never changes while the granule is registered */
    size_t padding[7];
    uint64_t marks[QY_GRANULE_WORDS];
};

#define QY_LEAF_SHIFT (QY_GRANULE_SHIFT + 10)
#define QY_LEAF_ENTRIES 1024
#define QY_ROOT_ENTRIES ((size_t)1 << (QY_VA_BITS - QY_LEAF_SHIFT))

struct qy_granule_leaf {
    struct qy_granule *granules[QY_LEAF_ENTRIES];
};

extern struct qy_granule_leaf *qy_granule_root[QY_ROOT_ENTRIES];

/* The granule of any address whatever; NULL when no chunk of ours can be there. */
QY_INLINE struct qy_granule *qy_granule_of(uintptr_t address)
{
    if (address >> QY_VA_BITS)
        return NULL;
    /* Acquire: pairs with the release in qy_granule_claim, so that a leaf or granule is seen filled in. */
    struct qy_granule_leaf *leaf = qy_load_acquire(&qy_granule_root[address >> QY_LEAF_SHIFT]);
    if (!leaf)
        return NULL;
    return qy_load_acquire(&leaf->granules[(address >> QY_GRANULE_SHIFT) % QY_LEAF_ENTRIES]);
}

/*
 * Makes every granule of [from, to) `owner`'s. False when memory for the marks cannot be had: then nothing there
 * may be used. What was claimed stays claimed.
 */
bool qy_granule_claim(const void *from, const void *to, struct qy_arena *owner);

/* Gives the one granule at `base` up: no chunk is left in it. Its marks go back to the kernel. */
void qy_granule_release(void *base);

QY_INLINE uint64_t *qy_mark_word(struct qy_granule *g, uintptr_t address)
{
    return &g->marks[(address / QY_ALIGNMENT / QY_MARKS_PER_WORD) % QY_GRANULE_WORDS];
}

QY_INLINE uint64_t qy_mark_bit(uintptr_t address)
{
    return (uint64_t)1 << (address / QY_ALIGNMENT % QY_MARKS_PER_WORD);
}

/* The two marks of a chunk, or of what is said to be one. */
enum { QY_BEGINS = 1, QY_INUSE = 2 };

QY_INLINE unsigned qy_granule_marks(struct qy_granule *g, uintptr_t c)
{
    unsigned shift = (unsigned)(c / QY_ALIGNMENT % QY_MARKS_PER_WORD);
    uint64_t *word = qy_mark_word(g, c);
    uint64_t marks = qy_load_relaxed(word) >> shift;
    if (QY_UNLIKELY(shift == QY_MARKS_PER_WORD - 1)) {
        /* The second mark is in the next word, perhaps of the next granule. */
        struct qy_granule *h = qy_granule_of(c + QY_ALIGNMENT);
        marks |= h ? qy_load_relaxed(qy_mark_word(h, c + QY_ALIGNMENT)) << 1 : 0;
    }
    return (unsigned)marks & (QY_BEGINS | QY_INUSE);
}

/* Of any address whatever. */
QY_INLINE unsigned qy_chunk_marks(const struct qy_chunk *c)
{
    struct qy_granule *g = qy_granule_of((uintptr_t)c);
    return g ? qy_granule_marks(g, (uintptr_t)c) : 0;
}

/* For addresses in granules that the caller's arena owns, under its lock. */
QY_INLINE void qy_mark_set(uintptr_t address)
{
    uint64_t *word = qy_mark_word(qy_granule_of(address), address);
    qy_store_relaxed(word, *word | qy_mark_bit(address));
}

QY_INLINE void qy_mark_clear(uintptr_t address)
{
    uint64_t *word = qy_mark_word(qy_granule_of(address), address);
    qy_store_relaxed(word, *word & ~qy_mark_bit(address));
}

QY_INLINE bool qy_chunk_begins(const struct qy_chunk *c)
{
    return (qy_chunk_marks(c) & QY_BEGINS) != 0;
}

QY_INLINE bool qy_chunk_inuse(const struct qy_chunk *c)
{
    return (qy_chunk_marks(c) & QY_INUSE) != 0;
}

QY_INLINE void qy_chunk_mark(struct qy_chunk *c)
{
    qy_mark_set((uintptr_t)c);
}

QY_INLINE void qy_chunk_unmark(struct qy_chunk *c)
{
    qy_mark_clear((uintptr_t)c);
}

QY_INLINE void qy_chunk_mark_inuse(struct qy_chunk *c)
{
    qy_mark_set((uintptr_t)c + QY_ALIGNMENT);
}

QY_INLINE void qy_chunk_mark_free(struct qy_chunk *c)
{
    qy_mark_clear((uintptr_t)c + QY_ALIGNMENT);
}

/* True when no chunk begins in (c, c + size): the size in a tag is not larger than the chunk. */
bool qy_chunk_whole(const struct qy_chunk *c, size_t size);

/* Forgets every chunk in [from, to): the memory is given back. */
void qy_marks_wipe(void *from, void *to);

void qy_granules_lock(void);
void qy_granules_unlock(void);
void qy_granules_reset(void);

#endif
