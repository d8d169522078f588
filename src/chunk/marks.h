/*
 * Marks: what is true of the chunk heap, kept where the program cannot write by accident.
 *
 * Address space is looked at in granules of 64 MiB. A granule that holds chunks has an owner (its arena) and two bits
 * for every 16 bytes:
 *
 *      begins   a chunk begins here
 *      inuse    ... and it is in use: with the program, in a thread cache or in a fast bin
 *
 * A chunk of 2 KiB and more covers the whole KiB behind the one that it begins in. Nothing begins there, so the inuse
 * word of that KiB is free to hold the chunk's size. Where no bit of `begins` is set, `inuse` says nothing else.
 *
 * Boundary tags (chunk.h) say the same. A tag that disagrees with the marks has been written over, and nothing is done
 * on its word; to find that out costs the same for every size. This is what makes forged chunks, forged sizes, forged
 * arenas and double frees visible at once, in the classic profile too, where chunks must look as ptmalloc's do.
 *
 * Written under the lock of the arena that owns the granule. Read without it by free(): the bits of a block that the
 * reader rightfully holds do not change meanwhile, and for any other block any answer is right.
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
    uintptr_t from;         /* atomic, as `span`: memory of its segment, which can be read */
    size_t span;
    size_t padding[5];
    struct qy_marks marks[QY_GRANULE_MARKS + 2]; /* the last two stay zero: see qy_place_has_size_inside */
};

#define QY_LEAF_SHIFT (QY_GRANULE_SHIFT + 10)
#define QY_LEAF_ENTRIES 1024
#define QY_ROOT_ENTRIES ((size_t)1 << (QY_VA_BITS - QY_LEAF_SHIFT))

struct qy_granule_leaf {
    struct qy_granule *granules[QY_LEAF_ENTRIES];
};

QY_OURS struct qy_granule_leaf *qy_granule_root[QY_ROOT_ENTRIES];

/* The granule of any address whatever; NULL when no chunk of ours can be there. */
QY_INLINE struct qy_granule *qy_granule_of(uintptr_t address)
{
    size_t root = address >> QY_LEAF_SHIFT;
    if (QY_UNLIKELY(root >= QY_ROOT_ENTRIES))
        return NULL;
    /* Acquire: pairs with the release in qy_granule_claim, so that a leaf or granule is seen filled in. */
    struct qy_granule_leaf *leaf = qy_load_acquire(&qy_granule_root[root]);
    if (!leaf)
        return NULL;
    return qy_load_acquire(&leaf->granules[(address >> QY_GRANULE_SHIFT) % QY_LEAF_ENTRIES]);
}

/* The granule of a chunk that is there: who says so has looked it up, or has cut it out of one that is. */
QY_INLINE struct qy_granule *qy_granule_with(const struct qy_chunk *c)
{
    uintptr_t address = (uintptr_t)c;
    return qy_load_relaxed(&qy_load_relaxed(&qy_granule_root[address >> QY_LEAF_SHIFT])
                                ->granules[(address >> QY_GRANULE_SHIFT) % QY_LEAF_ENTRIES]);
}

/*
 * Makes every granule of [from, to) `owner`'s. False when memory for the marks cannot be had: then nothing there may be
 * used. What was claimed stays claimed. Where nothing can be mapped the break must serve (M-25), but only for who holds
 * the lock of the main arena: nobody else of ours may move it.
 */
enum qy_tables { QY_TABLES_MAPPED, QY_TABLES_FROM_BREAK };
bool qy_granule_claim(const void *from, const void *to, struct qy_arena *owner, enum qy_tables tables);

/*
 * Says that [from, to), whose granules are claimed, can be read from now on; or that what lies from `from` on cannot
 * any more. The caller holds the owner's lock. A program that takes a wild pointer for a block may look there at the
 * same moment; nobody else does. Where nothing is sealed (ptmalloc's profile) nobody reads without a lock, and nothing
 * is opened.
 */
void qy_granules_open(const void *from, const void *to);
void qy_granules_close(const void *from, const void *to);

QY_INLINE bool qy_granule_has(const struct qy_granule *g, const void *address)
{
    return (uintptr_t)address - qy_load_relaxed(&g->from) < qy_load_relaxed(&g->span);
}

/* Gives back the memory of the marks of [from, to), where no chunk begins and no size is noted: they stay zero. */
void qy_marks_purge(uintptr_t from, uintptr_t to);

/* Gives the one granule at `base` up: no chunk is left in it. Its marks go back to the kernel. */
void qy_granule_release(void *base);

QY_INLINE struct qy_marks *qy_marks_at(struct qy_granule *g, uintptr_t address)
{
    /* Index and size in one: compilers take a step for each. */
    size_t offset = address / (QY_MARKS_BYTES / sizeof(struct qy_marks)) %
                    (QY_GRANULE_MARKS * sizeof(struct qy_marks)) / sizeof(struct qy_marks) *
                    sizeof(struct qy_marks);
    return (struct qy_marks *)((char *)g->marks + offset);
}

QY_INLINE uint64_t qy_mark_bit(uintptr_t address)
{
    return (uint64_t)1 << (address / QY_ALIGNMENT % QY_MARKS_BITS);
}

/* Where the marks of an address are. */
struct qy_place {
    struct qy_marks *marks; /* NULL: no chunk of ours can be there */
    unsigned at;            /* the bit */
};

QY_INLINE struct qy_place qy_place_in(struct qy_granule *g, const struct qy_chunk *c)
{
    return (struct qy_place){qy_marks_at(g, (uintptr_t)c),
                             (unsigned)((uintptr_t)c / QY_ALIGNMENT % QY_MARKS_BITS)};
}

/* Of any address whatever. */
QY_INLINE struct qy_place qy_place_of(const struct qy_chunk *c)
{
    struct qy_granule *g = qy_granule_of((uintptr_t)c);
    return g ? qy_place_in(g, c) : (struct qy_place){0};
}

/* Of a chunk that is there. */
QY_INLINE struct qy_place qy_place_with(const struct qy_chunk *c)
{
    return qy_place_in(qy_granule_with(c), c);
}

/* Of any address whatever; it is likely in the granule of `beside`, which is `g`. */
QY_INLINE struct qy_place qy_place_beside(struct qy_granule *g, const struct qy_chunk *beside,
                                          const struct qy_chunk *c)
{
    return QY_LIKELY(((uintptr_t)beside ^ (uintptr_t)c) < QY_GRANULE_BYTES) ? qy_place_in(g, c)
                                                                            : qy_place_of(c);
}

QY_INLINE bool qy_place_begins(struct qy_place p)
{
    return p.marks && (qy_load_relaxed(&p.marks->begins) >> p.at & 1);
}

/* A chunk begins, and it is in use; or it is free. */
QY_INLINE bool qy_place_inuse(struct qy_place p)
{
    return p.marks && ((qy_load_relaxed(&p.marks->begins) & qy_load_relaxed(&p.marks->inuse)) >> p.at & 1);
}

QY_INLINE bool qy_place_free(struct qy_place p)
{
    return p.marks && ((qy_load_relaxed(&p.marks->begins) & ~qy_load_relaxed(&p.marks->inuse)) >> p.at & 1);
}

QY_INLINE bool qy_chunk_begins(const struct qy_chunk *c)
{
    return qy_place_begins(qy_place_of(c));
}

QY_INLINE bool qy_chunk_inuse(const struct qy_chunk *c)
{
    return qy_place_inuse(qy_place_of(c));
}

/* Chunks from here on have their size in the marks. */
#define QY_SIZE_IN_MARKS (2 * QY_MARKS_BYTES)

/* True when no chunk begins in (c, c + size); looks at all the marks there. */
bool qy_chunk_whole(const struct qy_chunk *c, size_t size);

/* Whether the chunk that begins at `c` is of this size; costs the same for every size. */
bool qy_chunk_has_size(const struct qy_chunk *c, size_t size);

/* Whether the marks that qy_place_has_size_inside looks at lie in the granule of `c`. */
QY_INLINE bool qy_size_in_granule(const struct qy_chunk *c)
{
    return ((uintptr_t)c & (QY_GRANULE_BYTES - 1)) < QY_GRANULE_BYTES - QY_SIZE_IN_MARKS;
}

/* The marks of the 64 places behind place `at` of a KiB. */
QY_INLINE uint64_t qy_begins_behind(const struct qy_marks *marks, unsigned at)
{
    return (qy_load_relaxed(&marks[0].begins) >> at >> 1) |
           (qy_load_relaxed(&marks[1].begins) << (~at % QY_MARKS_BITS));
}

/* Whether the chunk there is of this size, from the marks of its granule alone: false also where these do not tell. */
QY_INLINE bool qy_place_has_size_inside(struct qy_place p, size_t size)
{
    if (QY_UNLIKELY(size < QY_MIN_CHUNK))
        return false;
    if (size >=
        QY_SIZE_IN_MARKS) /* the word is a size, and c's, when nothing begins from behind c to its end */
        return qy_load_relaxed(&p.marks[1].inuse) == size && qy_load_relaxed(&p.marks[1].begins) == 0 &&
               qy_load_relaxed(&p.marks[0].begins) >> p.at >> 1 == 0;
    uint64_t behind = qy_begins_behind(p.marks, p.at);
    if (size > QY_MARKS_BYTES) {
        if (behind)
            return false;
        behind = qy_begins_behind(p.marks + 1, p.at);
    }
    /* Of the places behind c, the one at its end is the next chunk's, and the first that is set: none is below it. */
    return behind << ((unsigned)(-size / QY_ALIGNMENT) % QY_MARKS_BITS) == (uint64_t)1 << (QY_MARKS_BITS - 1);
}

QY_INLINE bool qy_place_has_size(struct qy_place p, const struct qy_chunk *c, size_t size)
{
    return QY_LIKELY(qy_size_in_granule(c)) ? qy_place_has_size_inside(p, size) : qy_chunk_has_size(c, size);
}

QY_INLINE uint64_t qy_place_bit(struct qy_place p)
{
    return (uint64_t)1 << p.at;
}

/* The rest: for chunks of the caller's arena, under its lock. */
QY_INLINE void qy_place_set_begins(struct qy_place p)
{
    QY_SET_BITS(p.marks->begins, qy_place_bit(p));
    if (p.marks->begins == qy_place_bit(p))
        qy_store_relaxed(&p.marks->inuse, 0); /* a size may stand there */
}

QY_INLINE void qy_place_clear_begins(struct qy_place p)
{
    qy_store_relaxed(&p.marks->begins, p.marks->begins & ~qy_place_bit(p));
}

QY_INLINE void qy_place_set_inuse(struct qy_place p)
{
    qy_store_relaxed(&p.marks->inuse, p.marks->inuse | qy_place_bit(p));
}

QY_INLINE void qy_place_set_free(struct qy_place p)
{
    qy_store_relaxed(&p.marks->inuse, p.marks->inuse & ~qy_place_bit(p));
}

QY_INLINE void qy_chunk_mark(struct qy_chunk *c)
{
    qy_place_set_begins(qy_place_with(c));
}

QY_INLINE void qy_chunk_mark_inuse(struct qy_chunk *c)
{
    qy_place_set_inuse(qy_place_with(c));
}

QY_INLINE void qy_chunk_mark_free(struct qy_chunk *c)
{
    qy_place_set_free(qy_place_with(c));
}

/* No chunk begins here any more, and where one begins again it is free. */
QY_INLINE void qy_chunk_unmark(struct qy_chunk *c)
{
    struct qy_place place = qy_place_with(c);
    qy_place_set_free(place);
    qy_place_clear_begins(place);
}

/* Notes the size that the tag of a marked chunk says; until it changes, or anything begins within. */
QY_INLINE void qy_place_note_size(struct qy_place p, struct qy_chunk *c)
{
    struct qy_marks *marks = p.marks + 1;
    if (qy_chunk_size(c) < QY_SIZE_IN_MARKS)
        return;
    if (QY_UNLIKELY(!qy_size_in_granule(c)))
        marks = qy_place_with((struct qy_chunk *)((char *)c + QY_MARKS_BYTES)).marks;
    qy_store_relaxed(&marks->inuse, qy_chunk_size(c));
}

QY_INLINE void qy_chunk_note_size(struct qy_chunk *c)
{
    qy_place_note_size(qy_place_with(c), c);
}

void qy_granules_lock(void);
void qy_granules_unlock(void);
void qy_granules_reset(void);

#endif
