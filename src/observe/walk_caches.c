/*
 * The thread caches and their stacks. A stack belongs to its thread alone, who needs no lock to change it: what looks
 * wrong in one may only be half done, unless the thread stands outside of Quarry.
 */
#include "base/message.h"
#include "observe/walk.h"

static uint64_t at(const void *pointer)
{
    return (uint64_t)(uintptr_t)pointer;
}

static const struct qy_tcache *fields(const struct qy_walk_cache *c)
{
    return (const void *)c->fixed;
}

static uint64_t slot_at(const struct qy_walk_cache *c, uint64_t number)
{
    return c->address + offsetof(struct qy_tcache, slots) + number * sizeof(void *);
}

/* Reads the blocks of a stack; what lies between `base` and `top` must be slots of this cache. */
static size_t read_stack(struct qy_walk *w, const struct qy_walk_cache *c, uint64_t base, uint64_t top,
                         uint64_t limit)
{
    uint64_t slots = slot_at(c, 0), end = slot_at(c, fields(c)->slots_used);
    if (base == top)
        return 0;
    if (base < slots || base > top || top > end || (base - slots) % sizeof(void *) ||
        (top - base) % sizeof(void *) || top > limit || top - base > sizeof w->blocks ||
        !qy_walk_read(w, base, w->blocks, top - base)) {
        qy_walk_find(w, c->address, true, QY_CORRUPTED_LIST, /* or it is just being laid out */
                     "a stack of this thread cache lies outside of its slots");
        return 0;
    }
    return (top - base) / sizeof(void *);
}

static void say_stack(struct qy_walk *w, const struct quarry_stack *stack)
{
    if (w->ask->visitor->stack && !qy_walk_plans(w))
        w->ask->visitor->stack(w->ask->visitor_context, stack);
}

/* Keeps those for which `holds`; a slot that is being emptied holds nothing. */
static size_t filter(struct qy_walk *w, size_t count, uint64_t detail,
                     bool (*holds)(struct qy_walk *w, uint64_t block, uint64_t detail), const char *text)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t block = w->blocks[i];
        if (block && holds(w, block, detail))
            w->blocks[kept++] = block;
        else if (block)
            qy_walk_find(w, block, true, QY_CORRUPTED_LIST, text);
    }
    return kept;
}

static bool is_cell(struct qy_walk *w, uint64_t block, uint64_t cls)
{
    const struct qy_class *k = &qy_classes[cls];
    uint64_t offset = block - w->zone.lo;
    if (offset >= w->zone.span)
        return false;
    uint64_t inside = offset % QY_RUN_BYTES - k->first;
    return inside < (uint64_t)k->cells * k->stride && inside % k->stride == 0;
}

static void walk_cells(struct qy_walk *w, const struct qy_walk_cache *c)
{
    for (unsigned cls = 1; cls < QY_CLASSES; cls++) {
        const struct qy_stack *s = qy_stride_stack(fields(c), qy_class_stride(cls));
        size_t count = read_stack(w, c, slot_at(c, s->base), slot_at(c, s->top), UINT64_MAX);
        if (count)
            count =
                filter(w, count, cls, is_cell, "a thread cache holds this, and it is no cell of its class");
        struct quarry_stack stack = {c->address, true, cls, qy_class_stride(cls), 0, w->blocks, count};
        stack.limit = qy_stack_slots(s);
        if (stack.limit)
            say_stack(w, &stack);
    }
}

/* As qy_chunk_class, backwards. */
static uint64_t smallest_of_class(unsigned cls)
{
    if (cls < 64)
        return QY_MIN_CHUNK + cls * QY_ALIGNMENT;
    if (cls == QY_LARGE_CHUNKS)
        return QY_LARGEST_MEDIUM + 2 * QY_ALIGNMENT;
    unsigned doubling = 10 + (cls - 64) / 16;
    uint64_t from = ((uint64_t)(16 + (cls - 64) % 16) << (doubling - 4)) + QY_ALIGNMENT;
    return qy_max(from, 1040 + QY_ALIGNMENT);
}

static bool is_held_chunk(struct qy_walk *w, uint64_t block, uint64_t smallest)
{
    struct qy_chunk copy;
    uint64_t c = block - QY_HEADER_BYTES;
    struct qy_walk_marks m = qy_walk_marks_of(w, c);
    if (block % QY_ALIGNMENT || !m.owner || m.marks != (QY_WALK_BEGINS | QY_WALK_INUSE))
        return false;
    if (!qy_walk_read(w, c, &copy, offsetof(struct qy_chunk, fd_nextsize)))
        return true; /* its header was not copied */
    return qy_chunk_size(&copy) >= smallest && qy_walk_is_held(w, &copy, c);
}

static void walk_chunk_stacks(struct qy_walk *w, const struct qy_walk_cache *c)
{
    for (unsigned cls = 0; cls < QY_CHUNK_CLASSES; cls++) {
        const struct qy_chunk_stack *s = &fields(c)->chunks[cls];
        if (!s->base)
            continue;
        size_t count = read_stack(w, c, at(s->base), at(s->top), at(s->limit));
        uint64_t from = smallest_of_class(cls);
        count = filter(w, count, from, is_held_chunk,
                       "a thread cache holds this, and it is no free chunk that was left alone");
        struct quarry_stack stack = {c->address, false, cls, from, 0, w->blocks, count};
        if (at(s->limit) > at(s->base))
            stack.limit = (at(s->limit) - at(s->base)) / sizeof(void *);
        say_stack(w, &stack);
    }
}

static void say_cache(struct qy_walk *w, const struct qy_walk_cache *c)
{
    const struct qy_tcache *t = fields(c);
    const struct qy_walk_arena *a = t->arena ? qy_walk_arena_at(w, at(t->arena)) : NULL;
    uint64_t slots = qy_min(t->slots_used, (size_t)1 << 20);
    struct quarry_cache cache = {
        .address = c->address,
        .bytes = qy_align_up(slot_at(c, slots) - c->address, w->page_bytes),
        .arena = a ? (uint32_t)(a - w->arenas) : QUARRY_NONE,
        .host = at(t->host),
        .orphan = t->orphaned != 0,
        .locked = c->locked,
        .main_thread = t->main_thread,
    };
    if (t->arena && !a)
        qy_walk_find(w, c->address, false, QY_CORRUPTED_LIST, "the arena of this thread cache is none");
    if (w->ask->visitor->cache)
        w->ask->visitor->cache(w->ask->visitor_context, &cache);
    qy_walk_segment(w, QUARRY_SEGMENT_CACHE, QUARRY_NONE, c->address, c->address + cache.bytes,
                    c->address + cache.bytes);
}

void qy_walk_caches(struct qy_walk *w)
{
    uint64_t address;
    if (!qy_walk_read(w, at(w->layout.caches), &address, sizeof address))
        return;
    struct qy_loop loop = {0};
    struct qy_walk_cache *c = &w->cache;
    for (; address && !qy_loop_ends(&loop, address); address = at(fields(c)->next)) {
        c->address = address;
        if (address % 64 || !qy_walk_read(w, address, c->fixed, sizeof c->fixed) ||
            fields(c)->stacks[0].key != w->keys[0]) {
            qy_walk_find(w, address, false, QY_CORRUPTED_LIST,
                         "the list of thread caches leads to what is none");
            break;
        }
        c->locked = fields(c)->lock.state != 0;
        say_cache(w, c);
        walk_cells(w, c);
        walk_chunk_stacks(w, c);
    }
}
