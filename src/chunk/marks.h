/*
 * Marks: what is true of the chunk heap, kept where the program cannot write by accident.
 *
 * Address space is looked at in granules of 64 MiB. A granule that holds chunks has an owner (its arena) and two bits for
 * every 16 bytes:
 *
 *      begins   a chunk begins here
 *      inuse    ... and it is in use: with the program, in a thread cache or in a fast bin
 *
 * A chunk of 2 KiB and more covers the whole KiB behind the one that it begins in. Nothing begins there, so the inuse word
 * of that KiB is free to hold the chunk's size. Where no bit of `begins` is set, `inuse` says nothing else.
 *
 * Boundary tags (chunk.h) say the same. A tag that disagrees with the marks has been written over, and nothing is
 * done on its word; to find that out costs the same for every size. This is what makes forged chunks, forged sizes, forged
 * arenas and double frees visible at once, in the classic profile too, where chunks must look as ptmalloc's do.
 *
 * Written under the lock of the arena that owns the granule. Read without it by free(): the bits of a block that the reader
 * rightfully holds do not change meanwhile, and for any other block any answer is right.
 */
#ifndef QY_CHUNK_MARKS_H
#define QY_CHUNK_MARKS_H

#include "base/atomic.h"
#include "chunk/chunk.h"

#define QY_GRANULE_SHIFT 26
#define QY_GRANULE_BYTES ((size_t)1 << QY_GRANULE_SHIFT)
#define QY_VA_BITS 48 /* user addresses are below: x86-64 gives 47 bits, aarch64 48, more only to who asks */

/* The marks of 1 KiB, side by side so that both are in one cache line. */
struct qy_marks {
    uint64_t begins;
    uint64_t inuse;
};

#define QY_MARKS_BITS 64
#define QY_MARKS_BYTES (QY_MARKS_BITS * QY_ALIGNMENT)
#define QY_GRANULE_MARKS (QY_GRANULE_BYTES / QY_MARKS_BYTES)

struct qy_arena;

struct qy_granule {
    struct qy_arena *owner; /* never changes while the granule is registered */
    size_t padding[7];
    struct qy_marks marks[QY_GRANULE_MARKS];
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
 * may be used. What was claimed stays claimed. Where nothing can be mapped the break must serve (M-25), but only for who
 * holds the lock of the main arena: nobody else of ours may move it.
 */
enum qy_tables { QY_TABLES_MAPPED, QY_TABLES_FROM_BREAK };
bool qy_granule_claim(const void *from, const void *to, struct qy_arena *owner, enum qy_tables tables);

/* Gives back the memory of the marks of [from, to), where no chunk begins and no size is noted: they stay zero. */
void qy_marks_purge(uintptr_t from, uintptr_t to);

/* Gives the one granule at `base` up: no chunk is left in it. Its marks go back to the kernel. */
void qy_granule_release(void *base);

QY_INLINE struct qy_marks *qy_marks_at(struct qy_granule *g, uintptr_t address)
{
    return &g->marks[address / QY_MARKS_BYTES % QY_GRANULE_MARKS];
}

QY_INLINE uint64_t qy_mark_bit(uintptr_t address)
{
    return (uint64_t)1 << (address / QY_ALIGNMENT % QY_MARKS_BITS);
}

/* The two marks of a chunk, or of what is said to be one. */
enum { QY_BEGINS = 1, QY_INUSE = 2 };

QY_INLINE unsigned qy_granule_marks(struct qy_granule *g, uintptr_t c)
{
    const struct qy_marks *marks = qy_marks_at(g, c);
    unsigned shift = (unsigned)(c / QY_ALIGNMENT % QY_MARKS_BITS);
    return (unsigned)(qy_load_relaxed(&marks->begins) >> shift & 1) |
           (unsigned)(qy_load_relaxed(&marks->inuse) >> shift & 1) << 1;
}

/* Of any address whatever. */
QY_INLINE unsigned qy_chunk_marks(const struct qy_chunk *c)
{
    struct qy_granule *g = qy_granule_of((uintptr_t)c);
    return g ? qy_granule_marks(g, (uintptr_t)c) : 0;
}

QY_INLINE bool qy_chunk_begins(const struct qy_chunk *c)
{
    return (qy_chunk_marks(c) & QY_BEGINS) != 0;
}

QY_INLINE bool qy_chunk_inuse(const struct qy_chunk *c)
{
    return (qy_chunk_marks(c) & QY_INUSE) != 0;
}

/* Chunks from here on have their size in the marks. */
#define QY_SIZE_IN_MARKS (2 * QY_MARKS_BYTES)

/* Where the size of a large chunk stands; NULL: nowhere, whatever said that a chunk is here. */
QY_INLINE uint64_t *qy_chunk_size_word(const struct qy_chunk *c)
{
    uintptr_t at = qy_align_down((uintptr_t)c, QY_MARKS_BYTES) + QY_MARKS_BYTES;
    struct qy_granule *g = qy_granule_of(at);
    return g ? &qy_marks_at(g, at)->inuse : NULL;
}

/* True when no chunk begins in (c, c + size). Looks at all the marks there; qy_chunk_has_size says more for less. */
bool qy_chunk_whole(const struct qy_chunk *c, size_t size);

/* Whether the chunk that begins at `c` is of this size. */
QY_INLINE bool qy_chunk_has_size(const struct qy_chunk *c, size_t size)
{
    if (size < QY_SIZE_IN_MARKS)
        return qy_chunk_begins((const struct qy_chunk *)((const char *)c + size)) && qy_chunk_whole(c, size);
    const uint64_t *word = qy_chunk_size_word(c);
    return word && qy_load_relaxed(word) == size;
}

/* The five below: for chunks of the caller's arena, under its lock. */
QY_INLINE void qy_chunk_mark(struct qy_chunk *c)
{
    struct qy_marks *marks = qy_marks_at(qy_granule_of((uintptr_t)c), (uintptr_t)c);
    if (!marks->begins)
        qy_store_relaxed(&marks->inuse, 0); /* a size may stand there */
    qy_store_relaxed(&marks->begins, marks->begins | qy_mark_bit((uintptr_t)c));
}

/* Notes the size that the tag of a marked chunk says; until it changes, or anything begins within. */
QY_INLINE void qy_chunk_note_size(struct qy_chunk *c)
{
    if (qy_chunk_size(c) >= QY_SIZE_IN_MARKS)
        qy_store_relaxed(qy_chunk_size_word(c), qy_chunk_size(c));
}

QY_INLINE void qy_chunk_unmark(struct qy_chunk *c)
{
    uint64_t *word = &qy_marks_at(qy_granule_of((uintptr_t)c), (uintptr_t)c)->begins;
    qy_store_relaxed(word, *word & ~qy_mark_bit((uintptr_t)c));
}

QY_INLINE void qy_chunk_mark_inuse(struct qy_chunk *c)
{
    uint64_t *word = &qy_marks_at(qy_granule_of((uintptr_t)c), (uintptr_t)c)->inuse;
    qy_store_relaxed(word, *word | qy_mark_bit((uintptr_t)c));
}

QY_INLINE void qy_chunk_mark_free(struct qy_chunk *c)
{
    uint64_t *word = &qy_marks_at(qy_granule_of((uintptr_t)c), (uintptr_t)c)->inuse;
    qy_store_relaxed(word, *word & ~qy_mark_bit((uintptr_t)c));
}

void qy_granules_lock(void);
void qy_granules_unlock(void);
void qy_granules_reset(void);

#endif
