/*
 * The gate through which every pointer passes that a program says is a block of an arena.
 */
#include "arena/internal.h"
#include "base/probe.h"
#include "chunk/freed.h"

/* What is looked at here may just be changed by another thread: without the arena's lock, `false` is a suspicion. */

/* The size word behind a block: what an overflow writes over first. */
static bool next_sound(struct qy_arena *a, struct qy_chunk *next)
{
    size_t size = qy_chunk_size(next);
    if (!qy_chunk_prev_inuse(next))
        return false;
    if (next == a->top)
        return (char *)next + size == a->top_end && qy_chunk_tags(next) == QY_PREV_INUSE;
    bool inuse = qy_chunk_inuse(next);
    if (inuse && (next->size & (QY_TAG_BITS & ~QY_PREV_INUSE)) != qy_arena_tag(a))
        return false;
    if (size == QY_ALIGNMENT) /* a fencepost: nothing behind it */
        return inuse;
    return size >= QY_MIN_CHUNK && qy_chunk_has_size(next, size);
}

/* P = 0 says that the chunk before is free: a stray NUL says so, too. */
static bool prev_sound(const struct qy_chunk *c)
{
    if (qy_chunk_prev_inuse(c))
        return true;
    size_t size = c->prev_size;
    struct qy_chunk *prev = qy_chunk_at((struct qy_chunk *)c, -size);
    return (size & QY_TAG_BITS) == 0 && qy_chunk_marks(prev) == QY_BEGINS && qy_chunk_size(prev) == size;
}

/* What an arena's block is, read once: another thread that frees it meanwhile may change every word of it. */
struct vetted {
    struct qy_arena *arena; /* NULL: no arena's memory */
    size_t size;
};

static struct vetted vet_block(const void *mem)
{
    struct qy_chunk *c = qy_mem_chunk(mem);
    struct qy_granule *g = qy_granule_of((uintptr_t)c);
    struct vetted v = {.arena = g ? qy_load_acquire(&g->owner) : NULL};
    if (!v.arena)
        return v;
    unsigned marks = qy_granule_marks(g, (uintptr_t)c);
    if (((uintptr_t)mem & QY_TAG_BITS) || !(marks & QY_BEGINS))
        qy_fatal(QY_INVALID_POINTER, mem, "no block begins here");
    if (!(marks & QY_INUSE))
        qy_fatal(QY_DOUBLE_FREE, mem, "this block is already free");
    size_t word = qy_load_relaxed(&c->size);
    v.size = word & ~QY_TAG_BITS;
    if (v.size < QY_MIN_CHUNK || (word & (QY_TAG_BITS & ~QY_PREV_INUSE)) != qy_arena_tag(v.arena) ||
        !qy_chunk_has_size(c, v.size))
        qy_fatal(QY_CORRUPTED_HEADER, mem, "the size before this block was written over");
    if (qy_freed_is_signed(mem))
        qy_fatal(QY_DOUBLE_FREE, mem, "this block is already free");
    return v;
}

/* Under the lock nothing of it moves: what is wrong now was written over. */
static QY_COLD void look_again(struct qy_arena *a, const void *mem)
{
    struct qy_chunk *c = qy_mem_chunk(mem);
    qy_lock(&a->lock);
    struct vetted v = vet_block(mem);
    bool prev = prev_sound(c), next = next_sound(a, qy_chunk_at(c, v.size));
    qy_unlock(&a->lock);
    if (!prev)
        qy_fatal(QY_CORRUPTED_HEADER, mem, "the size before this block was written over");
    if (!next)
        qy_fatal(QY_CORRUPTED_HEADER, mem, "this block was written past its end");
}

struct qy_arena *qy_arena_vet(const void *mem)
{
    struct vetted v = vet_block(mem);
    if (!v.arena)
        return NULL;
    struct qy_chunk *c = qy_mem_chunk(mem);
    if (QY_UNLIKELY(!prev_sound(c) || !next_sound(v.arena, qy_chunk_at(c, v.size))))
        look_again(v.arena, mem);
    QY_PROBE(GATE, ASKED, mem, v.size);
    return v.arena;
}
