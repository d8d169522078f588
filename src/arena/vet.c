/*
 * The gate through which every pointer passes that a program says is a block of an arena. Sealed ones pass by their
 * seal (chunk/sound.h), others on what the marks say close by, without a lock; at all others, and those at the edge of
 * a granule, it looks closely.
 */
#include "arena/internal.h"
#include "base/message.h"
#include "base/probe.h"
#include "chunk/sound.h"
#include "segment/mapped.h"

/* A chunk in use has its arena's A bit, not M, and N only where P and N are the contrary of each other. */
QY_INLINE bool tags_sound(const struct qy_arena *a, size_t word)
{
    return (word & (QY_IS_MMAPPED | QY_NON_MAIN_ARENA)) == qy_arena_tag(a) &&
           (qy_word_is_sealed(word) ? qy_sealed_tags_sound(word) : !(word & QY_PREV_FREE));
}

/* Of one that is not sealed, the signature says it (chunk/freed.h). */
QY_INLINE bool is_the_programs(const struct qy_chunk *c, size_t word)
{
    return !qy_word_is_sealed(word) || qy_word_holder(&qy_seals, (uintptr_t)c, word) == QY_WITH_PROGRAM;
}

/* P = 0 says that the chunk before is free: a stray NUL says so, too. */
QY_INLINE bool prev_sound(const struct qy_chunk *c, size_t word)
{
    if (word & QY_PREV_INUSE)
        return true;
    size_t size = qy_load_plain(&c->prev_size);
    struct qy_chunk *prev = qy_chunk_at((struct qy_chunk *)c, -size);
    return (size & QY_TAG_BITS) == 0 && qy_place_free(qy_place_of(prev)) && qy_chunk_size(prev) == size;
}

/*
 * What is not sealed, or lies below such a chunk. NULL: it is no sound block, or another thread is just changing what
 * was looked at, or it cannot be told from here.
 */
static struct qy_arena *arena_if_sound(const void *mem)
{
    struct qy_chunk *c = qy_mem_chunk(mem);
    struct qy_granule *g = qy_granule_of((uintptr_t)c);
    if (QY_UNLIKELY(!g || ((uintptr_t)mem & QY_TAG_BITS)))
        return NULL;
    struct qy_arena *a = qy_load_acquire(&g->owner);
    struct qy_place place = qy_place_in(g, c);
    if (QY_UNLIKELY(!qy_place_inuse(place)))
        return NULL;
    /* Read once: another thread that frees it meanwhile may change it. */
    size_t word = qy_load_relaxed(&c->size), size = qy_word_size(word);
    if (QY_UNLIKELY(!tags_sound(a, word) || !qy_place_has_size_inside(place, size) || !prev_sound(c, word)))
        return NULL;
    if (QY_UNLIKELY(!qy_word_seal_holds(c, word) || !is_the_programs(c, word)))
        return NULL;
    /* The size word behind the block: what an overflow writes over first. */
    struct qy_chunk *next = qy_chunk_at(c, size);
    if (QY_UNLIKELY((uintptr_t)c / QY_GRANULE_BYTES != (uintptr_t)next / QY_GRANULE_BYTES))
        return NULL;
    struct qy_place next_place = qy_place_in(g, next);
    size_t next_word = qy_load_relaxed(&next->size);
    if (QY_UNLIKELY(!(next_word & QY_PREV_INUSE) || !qy_word_seal_holds(next, next_word)))
        return NULL;
    bool next_inuse = qy_place_inuse(next_place);
    if (!next_inuse && next == qy_load_plain(&a->top))
        return qy_top_sound(a, next_word) ? a : NULL;
    if (QY_UNLIKELY(next_inuse && !tags_sound(a, next_word)))
        return NULL;
    return QY_LIKELY(qy_place_has_size_inside(next_place, qy_word_size(next_word))) ? a : NULL;
}

/* The size word behind a block. */
static bool next_sound(const struct qy_arena *a, const struct qy_chunk *next)
{
    size_t word = qy_chunk_word(next), size = qy_word_size(word);
    if (!(word & QY_PREV_INUSE) || !qy_word_seal_holds(next, word))
        return false;
    if (!qy_chunk_inuse(next))
        return next == qy_load_plain(&a->top) ? qy_top_sound(a, word) : qy_chunk_has_size(next, size);
    bool fencepost = size == QY_ALIGNMENT; /* nothing behind it */
    return tags_sound(a, word) && (fencepost || qy_chunk_has_size(next, size));
}

/* In the arena's granule; but the kernel may have put a mapping behind the break, into the same one. */
static struct qy_arena *not_a_block(const void *mem)
{
    if (qy_mapped_find(mem))
        return NULL;
    if (((uintptr_t)mem & QY_TAG_BITS) || !qy_chunk_begins(qy_mem_chunk(mem)))
        qy_fatal(QY_INVALID_POINTER, mem, "no block begins here");
    qy_fatal(QY_DOUBLE_FREE, mem, "this block is already free");
}

/* Under the lock nothing moves: what is wrong now was written over. */
static QY_COLD struct qy_arena *look_closely(const void *mem)
{
    struct qy_chunk *c = qy_mem_chunk(mem);
    struct qy_granule *g = qy_granule_of((uintptr_t)c);
    struct qy_arena *a = g ? qy_load_acquire(&g->owner) : NULL;
    if (!a)
        return NULL;
    qy_lock(&a->lock);
    bool block = ((uintptr_t)mem & QY_TAG_BITS) == 0 && qy_chunk_inuse(c);
    size_t word = block ? qy_chunk_word(c) : 0; /* else it may not even be there */
    bool itself = block && tags_sound(a, word) && qy_word_seal_holds(c, word) &&
                  qy_chunk_has_size(c, qy_word_size(word)) && prev_sound(c, word);
    bool taken = itself && is_the_programs(c, word);
    bool next = itself && next_sound(a, qy_chunk_next(c));
    qy_unlock(&a->lock);
    if (!block)
        return not_a_block(mem);
    if (!itself)
        qy_fatal(QY_CORRUPTED_HEADER, mem, "the size before this block was written over");
    if (!taken)
        qy_freed_twice(mem);
    if (!next)
        qy_fatal(QY_CORRUPTED_HEADER, mem, "this block was written past its end");
    return a;
}

struct qy_arena *qy_arena_vet_slow(const void *mem)
{
    struct qy_arena *a = arena_if_sound(mem);
    return QY_LIKELY(a != NULL) ? a : look_closely(mem);
}
