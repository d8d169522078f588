/*
 * The gate through which every pointer passes that a program says is a block of an arena.
 */
#include "arena/internal.h"
#include "chunk/freed.h"

/*
 * The size word behind a block: what an overflow writes over first. True when it can be a size word. Without the
 * arena's lock a `false` may also mean that another thread is just changing the neighbour.
 */
static bool neighbour_sound(struct qy_arena *a, struct qy_chunk *next)
{
    size_t size = qy_chunk_size(next);
    if (!qy_chunk_prev_inuse(next))
        return false;
    if (next == a->top)
        return (char *)next + size == a->top_end;
    bool inuse = qy_chunk_inuse(next);
    if (inuse && (next->size & (QY_TAG_BITS & ~QY_PREV_INUSE)) != qy_arena_tag(a))
        return false;
    if (size == QY_ALIGNMENT) /* a fencepost: nothing behind it */
        return inuse;
    return size >= QY_MIN_CHUNK && qy_chunk_begins(qy_chunk_at(next, size));
}

static struct qy_arena *vet_block(const void *mem)
{
    struct qy_chunk *c = qy_mem_chunk(mem);
    struct qy_granule *g = qy_granule_of((uintptr_t)c);
    struct qy_arena *a = g ? qy_load_acquire(&g->owner) : NULL;
    if (!a)
        return NULL;
    unsigned marks = qy_granule_marks(g, (uintptr_t)c);
    if (((uintptr_t)mem & QY_TAG_BITS) || !(marks & QY_BEGINS))
        qy_fatal(QY_INVALID_POINTER, mem, "no block begins here");
    if (!(marks & QY_INUSE))
        qy_fatal(QY_DOUBLE_FREE, mem, "this block is already free");
    size_t size = qy_chunk_size(c);
    if (size < QY_MIN_CHUNK || (c->size & (QY_IS_MMAPPED | QY_PURGED)) ||
        (c->size & QY_NON_MAIN_ARENA) != qy_arena_tag(a) || !qy_chunk_begins(qy_chunk_at(c, size)) ||
        !qy_chunk_whole(c, size))
        qy_fatal(QY_CORRUPTED_HEADER, mem, "the size before this block was written over");
    if (qy_freed_is_signed(mem))
        qy_fatal(QY_DOUBLE_FREE, mem, "this block is already free");
    return a;
}

struct qy_arena *qy_arena_vet(const void *mem)
{
    struct qy_arena *a = vet_block(mem);
    if (!a)
        return NULL;
    struct qy_chunk *next = qy_chunk_next(qy_mem_chunk(mem));
    if (QY_UNLIKELY(!neighbour_sound(a, next))) {
        qy_lock(&a->lock);
        bool sound = neighbour_sound(a, next);
        qy_unlock(&a->lock);
        if (!sound)
            qy_fatal(QY_CORRUPTED_HEADER, mem, "this block was written past its end");
    }
    return a;
}
