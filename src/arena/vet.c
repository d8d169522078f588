/*
 * The gate through which every pointer passes that a program says is a block of an arena.
 */
#include "arena/internal.h"
#include "base/probe.h"
#include "chunk/freed.h"
#include "segment/mapped.h"

/* What is looked at here may just be changed by another thread: without the arena's lock, `false` is a suspicion. */

/* The size word behind a block: what an overflow writes over first. */
QY_INLINE bool next_sound(struct qy_arena *a, struct qy_chunk *next, struct qy_place p)
{
    size_t word = next->size, size = word & ~QY_TAG_BITS;
    if (!(word & QY_PREV_INUSE))
        return false;
    if (qy_place_inuse(p)) {
        if ((word & (QY_TAG_BITS & ~QY_PREV_INUSE)) != qy_arena_tag(a))
            return false;
        if (size == QY_ALIGNMENT) /* a fencepost: nothing behind it */
            return true;
    } else if (next == a->top) {
        return (char *)next + size == a->top_end && (word & QY_TAG_BITS) == QY_PREV_INUSE;
    }
    return p.marks && qy_place_has_size(p, next, size);
}

/* P = 0 says that the chunk before is free: a stray NUL says so, too. */
QY_INLINE bool prev_sound(const struct qy_chunk *c)
{
    if (qy_chunk_prev_inuse(c))
        return true;
    size_t size = c->prev_size;
    struct qy_chunk *prev = qy_chunk_at((struct qy_chunk *)c, -size);
    return (size & QY_TAG_BITS) == 0 && qy_place_free(qy_place_of(prev)) && qy_chunk_size(prev) == size;
}

/* What an arena's block is, read once: another thread that frees it meanwhile may change every word of it. */
struct vetted {
    struct qy_arena *arena; /* NULL: no arena's memory */
    struct qy_granule *granule;
    struct qy_chunk *next; /* NULL: no block of the arena begins here */
};

/* In the arena's granule; but the kernel may have put a mapping behind the break, into the same one. */
static QY_COLD struct qy_arena *not_a_block(const void *mem)
{
    if (qy_mapped_find(mem))
        return NULL;
    if (((uintptr_t)mem & QY_TAG_BITS) || !qy_chunk_begins(qy_mem_chunk(mem)))
        qy_fatal(QY_INVALID_POINTER, mem, "no block begins here");
    qy_fatal(QY_DOUBLE_FREE, mem, "this block is already free");
}

QY_INLINE struct vetted vet_block(const void *mem)
{
    struct qy_chunk *c = qy_mem_chunk(mem);
    struct qy_granule *g = qy_granule_of((uintptr_t)c);
    struct vetted v = {.arena = g ? qy_load_acquire(&g->owner) : NULL, .granule = g};
    if (!v.arena)
        return v;
    struct qy_place p = qy_place_in(g, c);
    if (QY_UNLIKELY(((uintptr_t)mem & QY_TAG_BITS) || !qy_place_inuse(p)))
        return v;
    size_t word = qy_load_relaxed(&c->size), size = word & ~QY_TAG_BITS;
    if (QY_UNLIKELY((word & (QY_TAG_BITS & ~QY_PREV_INUSE)) != qy_arena_tag(v.arena) ||
                    !qy_place_has_size(p, c, size)))
        qy_fatal(QY_CORRUPTED_HEADER, mem, "the size before this block was written over");
    if (QY_UNLIKELY(qy_freed_is_signed(mem)))
        qy_fatal(QY_DOUBLE_FREE, mem, "this block is already free");
    v.next = qy_chunk_at(c, size);
    return v;
}

QY_INLINE bool neighbours_sound(const struct vetted *v, const struct qy_chunk *c)
{
    return prev_sound(c) && next_sound(v->arena, v->next, qy_place_beside(v->granule, c, v->next));
}

/* Under the lock nothing of it moves: what is wrong now was written over. */
static QY_COLD void look_again(struct qy_arena *a, const void *mem)
{
    struct qy_chunk *c = qy_mem_chunk(mem);
    qy_lock(&a->lock);
    struct vetted v = vet_block(mem);
    bool prev = prev_sound(c), next = v.next && next_sound(a, v.next, qy_place_of(v.next));
    qy_unlock(&a->lock);
    if (!v.next)
        qy_fatal(QY_DOUBLE_FREE, mem, "this block was freed by another thread at the same time");
    if (!prev)
        qy_fatal(QY_CORRUPTED_HEADER, mem, "the size before this block was written over");
    if (!next)
        qy_fatal(QY_CORRUPTED_HEADER, mem, "this block was written past its end");
}

struct qy_arena *qy_arena_vet(const void *mem)
{
    QY_PROBE(GATE, ASKED, mem, 0);
    struct vetted v = vet_block(mem);
    if (QY_UNLIKELY(!v.next))
        return v.arena ? not_a_block(mem) : NULL;
    struct qy_chunk *c = qy_mem_chunk(mem);
    if (QY_UNLIKELY(!neighbours_sound(&v, c)))
        look_again(v.arena, mem);
    return v.arena;
}
