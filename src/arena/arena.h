/*
 * Arenas (M-30 to M-33): the chunk heap. An arena composes segments and bins under one lock: it takes chunks out,
 * puts them back, splits, merges, grows, trims. Knows nothing of threads' caches; gives a caller several chunks at
 * once through a stash, so that a lock is taken once a batch.
 */
#ifndef QY_ARENA_ARENA_H
#define QY_ARENA_ARENA_H

#include "base/lock.h"
#include "base/probe.h"
#include "bin/bin.h"
#include "chunk/sound.h"
#include "segment/break.h"
#include "segment/subheap.h"

struct qy_arena {
    struct qy_lock lock;
    unsigned index;               /* 0: the main arena */
    struct qy_arena *next;        /* the list of all arenas; never shrinks */
    unsigned threads;             /* atomic: threads that use this arena by default */
    struct qy_arena *next_unused; /* while no thread does */
    struct qy_chunk *top;         /* M-16; NULL before first use */
    char *top_end;                /* end of the segment that top lies in: what top's size must say */
    struct qy_chunk *remainder;   /* M-17: the last remainder */
    char *marked_to;         /* behind top_end, marks may be resident up to here; all zero in what they say */
    uintptr_t clean_from;    /* within top, memory from here on was never used: it reads as zero */
    uintptr_t resident_to;   /* up to here it is resident, as far as one knows; not before clean_from */
    uintptr_t watched_from;  /* since here, and up to resident_to, pages came one by one */
    uintptr_t dense_to;      /* up to here blocks are believed to be used throughout */
    struct qy_subheap *heap; /* the newest sub-heap */
    struct qy_break brk;     /* of the main arena only */
    void *inbox;             /* atomic: blocks that others left here; newest first */
    void *inbox_rest;        /* what was taken out of the inbox, and is not dealt with yet */
    size_t system_bytes; /* atomic: got from the kernel and not given back; others may read it for a guess */
    size_t max_system_bytes;
    unsigned sweep;      /* the bin that is looked at next for chunks to purge; 0: none */
    bool sweep_aged;     /* it was, but not all that is due has gone */
    size_t top_low;      /* top was never smaller since somebody looked what of it may go, */
    size_t top_idle;     /* and this is what he found */
    size_t purged_bytes; /* of free chunks, so much went back; a guess, which is too high at times */
    bool some_huge;      /* a block here was to come in huge pages */
    struct qy_bins bins;
};

/* What a caller wants of an arena, and what else he gets. */
struct qy_request {
    size_t size;      /* of the chunk: qy_chunk_size_for */
    size_t alignment; /* of the block; 0: that of any block */
    uint32_t mark;    /* of who has the blocks in the stash (chunk/seal.h) */
    void **stash;     /* room for more blocks of the same size, should they be at hand */
    unsigned room;
    unsigned ahead;       /* so many of them also from what must be split for it, if that is resident */
    unsigned stashed;     /* how many were put there */
    bool at_hand;         /* from what is free and in top, or not at all */
    uintptr_t clean_from; /* the block's memory from here on is known to be zero */
};

QY_OURS struct qy_arena qy_main_arena;

/* A block of at least request->size, or NULL: no memory. Takes and drops the arena's lock. */
void *qy_arena_take(struct qy_arena *a, struct qy_request *request);

/* The arena of a block that qy_arena_vet passed once and that was signed since (chunk/freed.h). */
QY_INLINE struct qy_arena *qy_arena_of(const void *mem)
{
    return qy_granule_with(qy_mem_chunk(mem))->owner;
}

/*
 * Gives `count` blocks back that qy_arena_vet passed and that were signed since, so that they look free to who looks
 * in. When another thread is busy in the arena, `wait` says whether to wait or to leave the blocks in the inbox.
 */
void qy_arena_put(struct qy_arena *a, void *const *blocks, unsigned count, uint32_t mark, bool wait);

/*
 * The same of blocks that a thread of another arena kept. Into an empty inbox they are left as they are, for the
 * threads that work here (qy_arena_collect). Where something lies there still, nobody may come for it: all of it is put
 * back, so that it does not grow.
 */
void qy_arena_leave_at(struct qy_arena *a, void *const *blocks, unsigned count, uint32_t mark);

/* Blocks that others left, `most` of them, become those of who has this mark. Returns how many. */
unsigned qy_arena_collect(struct qy_arena *a, void **blocks, unsigned most, uint32_t mark);

/* Whether there may be some. */
QY_INLINE bool qy_arena_has_mail(const struct qy_arena *a)
{
    return qy_load_relaxed(&a->inbox) != NULL;
}

/* Makes a block at least `size` bytes large where it is, better `wanted`; false when that cannot be. */
bool qy_arena_resize(struct qy_arena *a, void *mem, size_t size, size_t wanted);

/*
 * The steps of ptmalloc, each for itself: with what is free behind it a block becomes at least `size` bytes large; it
 * becomes one with the block `behind`, if that lies there; what lies behind `size` bytes of it becomes a block of its
 * own, which is returned, if it is long enough for one. False and NULL: nothing changed.
 */
bool qy_arena_extend(struct qy_arena *a, void *mem, size_t size);
bool qy_arena_join(struct qy_arena *a, void *mem, void *behind);
void *qy_arena_cut(struct qy_arena *a, void *mem, size_t size);

/* Top ends where its segment ends. */
QY_INLINE bool qy_top_sound(const struct qy_arena *a, size_t word)
{
    return (word & QY_TAG_BITS) == QY_PREV_INUSE &&
           (char *)qy_load_plain(&a->top) + qy_word_size(word) == qy_load_plain(&a->top_end);
}

/*
 * What of a sealed block can be told without a lock, the word behind it included; low 0: qy_arena_vet_slow finds out.
 * Its word can be read: it lies in granule `g`.
 */
QY_INLINE struct qy_sound qy_arena_sound_block(const struct qy_granule *g, const void *mem)
{
    QY_PROBE(GATE, ASKED, mem, 0);
    struct qy_sound s = qy_sound_itself(mem);
    if (QY_UNLIKELY(!s.low))
        return s;
    struct qy_chunk *next = qy_chunk_at(qy_mem_chunk(mem), qy_sound_size(s));
    size_t word = qy_word_in_halves(next);
    if (QY_LIKELY(qy_word_behind_sound(next, word)))
        return s;
    const struct qy_arena *a = qy_load_acquire(&g->owner);
    if (next != qy_load_plain(&a->top) || !qy_top_sound(a, word))
        s.low = 0;
    return s;
}

struct qy_arena *qy_arena_vet_slow(const void *mem);

/*
 * Any pointer may be brought here. Its arena when it is a block in use whose tags and whose neighbours' tags are what
 * they should be; NULL when no arena's memory is there. Anything else is fatal. Not looked at: whether the block is
 * free and signed (chunk/freed.h). Who frees it signs it, and learns it then.
 */
QY_INLINE struct qy_arena *qy_arena_vet(const void *mem)
{
    struct qy_granule *g = qy_granule_of((uintptr_t)qy_mem_chunk(mem));
    bool sound = qy_word_readable(g, qy_mem_chunk(mem)) && qy_arena_sound_block(g, mem).low;
    /* Acquire: pairs with the release in qy_granule_claim. */
    return QY_LIKELY(sound) ? qy_load_acquire(&g->owner) : qy_arena_vet_slow(mem);
}

/* Gives free memory back: whole pages inside free chunks, and top down to `pad`. True: something was given back. */
bool qy_arena_trim(struct qy_arena *a, size_t pad);

/*
 * Gives back what was free since the last tick: the part of top that was not needed, and pages inside free chunks, in
 * at most *most calls of the kernel. What is left over is due when it is called again, without `tick`.
 */
void qy_arena_tick(struct qy_arena *a, bool tick, unsigned *most);

/*
 * What memory an arena has, but for what went back of its free chunks; and what of it was idle already when this was
 * asked last.
 */
struct qy_use {
    size_t bytes, idle;
};
struct qy_use qy_arena_use(struct qy_arena *a);

/* Gives idle memory back, about *bytes and in at most *most calls of the kernel, and counts both down. */
void qy_arena_yield(struct qy_arena *a, size_t *bytes, unsigned *most);

/* Empties the fast bins (M-18). */
void qy_arena_consolidate(struct qy_arena *a);

/* The arenas in use; of a process that needs none so far, none: NULL. */
struct qy_arena *qy_arena_first(void);

struct qy_arena *qy_arena_main(void);                  /* from now on it is in use */
struct qy_arena *qy_arena_pick(bool main_thread);      /* for a thread without one (M-31) */
struct qy_arena *qy_arena_another(struct qy_arena *a); /* when `a` cannot serve; NULL: there is none */
void qy_arena_leave(struct qy_arena *a);               /* the thread is gone (M-33) */

/* fork (M-34): every arena's lock and the list's. */
void qy_arenas_lock(void);
void qy_arenas_unlock(void);
void qy_arenas_reset(const struct qy_arena *used); /* in the child: by the one thread there is */

#endif
