/*
 * Chunks in the thread cache: what the hit path (kept.h) leaves over.
 */
#include "base/message.h"
#include "base/probe.h"
#include "chunk/freed.h"
#include "options/options.h"
#include "tcache/kept.h"

/*
 * What a thread may keep in one stack of chunks that are not small; and in all: little at first, more each time it looks
 * for a chunk and finds none after it had to give some back, little again after a tick (see cells.c). Never much: what is kept stands
 * between free chunks that would merge. Up to here, or to the thread's share of a part of its arena, which is twice as much at
 * most (docs/decisions/0016-what-a-thread-keeps.md).
 */
#define BYTES_PER_CLASS ((size_t)64 << 10)
#define BYTES_AT_FIRST ((size_t)64 << 10)
#define BYTES_AT_MOST ((size_t)512 << 10)
#define ARENA_PART 4

/* Blocks of a stack that an aligned request looks at: who wants one has freed some like it. */
#define ALIGNED_LOOKS 4

static bool cached(size_t size)
{
    return size <= qy_chunk_size_for(qy_options.tcache_max);
}

size_t qy_chunk_round(size_t size)
{
    if (size <= QY_LARGEST_LINEAR || qy_options.classic || !cached(size))
        return size;
    size_t part = size - QY_ALIGNMENT;
    size_t rounded = qy_align_up(part, (size_t)1 << (qy_high_bit(part) - 4)) + QY_ALIGNMENT;
    return cached(rounded) ? rounded : size;
}

/* Slots for a class: the count the options say, less for large chunks, of which two are enough. */
static size_t slots_for(unsigned cls)
{
    size_t count = qy_options.tcache_count;
    if (cls < QY_LINEAR_CLASSES)
        return count;
    size_t size = (size_t)1 << (QY_FIRST_DOUBLING + (cls - QY_LINEAR_CLASSES) / 16);
    return qy_min(count, qy_max(2, BYTES_PER_CLASS / size));
}

void qy_chunk_stacks_init(struct qy_tcache *t)
{
    t->chunk_bytes_at_most = BYTES_AT_FIRST;
}

static void lay_out_stack(struct qy_tcache *t, unsigned cls)
{
    struct qy_chunk_stack *stack = &t->chunks[cls];
    stack->base = stack->top = t->slots + qy_tcache_slots(t, slots_for(cls));
    stack->limit = stack->base + slots_for(cls);
}

/* A stack that was never used looks full. False: it is. */
static QY_NOINLINE bool opened(struct qy_tcache *t, unsigned cls)
{
    if (!t->chunks[cls].base)
        lay_out_stack(t, cls);
    return t->chunks[cls].top != t->chunks[cls].limit;
}

size_t qy_chunk_slots_needed(void)
{
    size_t slots = 0;
    for (unsigned cls = 0; cls < QY_CHUNK_CLASSES; cls++)
        slots += slots_for(cls);
    return slots;
}

void *qy_kept_take_plain(struct qy_tcache *t, void *mem)
{
    size_t size = qy_freed_unsign(mem, t->mark);
    t->chunk_bytes -= size;
    QY_PROBE(TCACHE, TOOK, mem, size);
    return mem;
}

static void *take_aligned(struct qy_tcache *t, unsigned cls, size_t size, size_t alignment)
{
    struct qy_chunk_stack *stack = &t->chunks[cls];
    void **last = stack->top - qy_min((size_t)(stack->top - stack->base), ALIGNED_LOOKS);
    for (void **slot = stack->top; slot-- > last;) {
        void *mem = *slot;
        if ((uintptr_t)mem % alignment == 0 && qy_chunk_size(qy_mem_chunk(mem)) >= size) {
            *slot = stack->top[-1];
            stack->top[-1] = mem;
            return qy_kept_take_top(t, cls);
        }
    }
    return NULL;
}

void *qy_chunk_pop_aligned(struct qy_tcache *t, size_t request, size_t alignment)
{
    if (request >= qy_load_relaxed(&t->chunk_limit))
        return NULL;
    size_t size = qy_chunk_size_for(request);
    struct qy_kept_for kept = qy_kept_for(t, size);
    void *mem = NULL;
    for (; kept.held && !mem; kept.held &= kept.held - 1)
        mem = take_aligned(t, kept.cls + qy_low_bit(kept.held), size, alignment);
    return mem;
}

static void flush(struct qy_tcache *t, unsigned cls)
{
    struct qy_chunk_stack *stack = &t->chunks[cls];
    while (stack->top != stack->base) {
        /* Those of one arena together; they were vetted when freed, and their signature has vouched for them since. */
        void **from = stack->top;
        struct qy_arena *a = qy_arena_of(from[-1]);
        do {
            from--;
            t->chunk_bytes -= qy_chunk_size(qy_mem_chunk(*from));
            QY_PROBE(TCACHE, TOOK, *from, qy_chunk_size(qy_mem_chunk(*from)));
        } while (from != stack->base && qy_arena_of(from[-1]) == a);
        qy_arena_put(a, from, (unsigned)(stack->top - from), t->mark, a == t->arena);
        stack->top = from;
    }
    qy_kept_was_taken(t, cls);
}

void qy_chunks_flush_all(struct qy_tcache *t)
{
    for (unsigned cls = 0; cls < QY_CHUNK_CLASSES; cls++)
        flush(t, cls);
    t->chunk_bytes_at_most = BYTES_AT_FIRST;
}

/* The next stack behind `cls`, round and round, that holds a chunk; there is one. */
static unsigned next_held(const struct qy_tcache *t, unsigned cls)
{
    do
        cls = cls + 1 < QY_CHUNK_CLASSES ? cls + 1 : 0;
    while (!t->held[cls]);
    return cls;
}

/* One stack after the other gives all it has, until a quarter of the room is free. */
static QY_NOINLINE void make_room(struct qy_tcache *t)
{
    t->made_room = true;
    while (t->chunk_bytes > t->chunk_bytes_at_most / 4 * 3) {
        t->flushed_last = next_held(t, t->flushed_last);
        flush(t, t->flushed_last);
    }
}

static QY_COLD void already_free(const void *mem)
{
    qy_fatal(QY_DOUBLE_FREE, mem, "this block is already free");
}

/* A block whose signature the program wrote over may be freed twice and not look it: here it is found all the same. */
QY_INLINE void must_be_new(const struct qy_chunk_stack *stack, const void *mem)
{
    void *const *slot = stack->base, *const *top = stack->top;
    for (; top - slot >= 4; slot += 4) { /* compilers leave it at one a turn */
        if (QY_UNLIKELY(slot[0] == mem || slot[1] == mem || slot[2] == mem || slot[3] == mem))
            already_free(mem);
    }
    for (; slot < top; slot++) {
        if (QY_UNLIKELY(*slot == mem))
            already_free(mem);
    }
}

static void put_on_top(struct qy_tcache *t, unsigned cls, void *mem, size_t size)
{
    qy_freed_sign_once(mem, t->mark);
    *t->chunks[cls].top++ = mem;
    qy_kept_was_put(t, cls);
    t->chunk_bytes += size;
    QY_PROBE(TCACHE, PUT, mem, size);
}

static bool has_room(const struct qy_tcache *t, size_t size)
{
    return size <= QY_LARGEST_LINEAR || t->chunk_bytes + size <= t->chunk_bytes_at_most;
}

bool qy_chunk_push(struct qy_tcache *t, void *mem)
{
    size_t size = qy_chunk_size(qy_mem_chunk(mem));
    if (QY_UNLIKELY(!qy_kept_size(t, size)))
        return false;
    unsigned cls = qy_chunk_class(size);
    struct qy_chunk_stack *stack = &t->chunks[cls];
    if (!qy_word_is_sealed(qy_mem_chunk(mem)->size))
        must_be_new(stack, mem);
    if (stack->top == stack->limit && !opened(t, cls)) {
        if (stack->limit != stack->base)
            QY_PROBE(TCACHE, FULL, mem, size);
        return false;
    }
    if (!has_room(t, size))
        make_room(t);
    put_on_top(t, cls, mem, size);
    return true;
}

#ifdef QY_CHECK
/* I-50, I-57. */
static void check_held(const struct qy_tcache *t)
{
    for (unsigned cls = 0; cls < QY_CHUNK_CLASSES; cls++) {
        const struct qy_chunk_stack *stack = &t->chunks[cls];
        if (stack->top < stack->base || stack->top > stack->limit || t->held[cls] != qy_kept_any(t, cls))
            qy_fatal("invariant", stack->base, "I-57: of each stack is noted whether it holds a chunk");
    }
}
#else
static void check_held(const struct qy_tcache *t)
{
    (void)t;
}
#endif

/* Whether an arena may have several of a size side by side: in the default profile it has bins for one size each only for the small. */
static bool in_bin_of_its_size(size_t size)
{
    return qy_bin_is_small(size) || qy_options.classic;
}

/* Its size and its threads may change meanwhile: any guess does. */
static size_t bytes_at_most(const struct qy_arena *a)
{
    size_t threads = qy_max(1, qy_load_relaxed(&a->threads));
    size_t share = qy_load_relaxed(&a->system_bytes) / (ARENA_PART * threads);
    return qy_min(qy_max(BYTES_AT_MOST, share), 2 * BYTES_AT_MOST);
}

void qy_chunk_stash_offer(struct qy_tcache *t, struct qy_request *request)
{
    check_held(t);
    request->mark = t->mark;
    request->stash = NULL;
    request->room = 0;
    if (!cached(request->size) || request->alignment)
        return;
    if (t->made_room)
        t->chunk_bytes_at_most = qy_min(bytes_at_most(t->arena), t->chunk_bytes_at_most / 4 * 5);
    t->made_room = false;
    unsigned cls = qy_chunk_class(request->size);
    struct qy_chunk_stack *stack = &t->chunks[cls];
    if (!in_bin_of_its_size(request->size) || (stack->top == stack->limit && !opened(t, cls)))
        return;
    request->stash = stack->top;
    request->room = (unsigned)(stack->limit - stack->top);
}

void qy_chunk_stash_accept(struct qy_tcache *t, const struct qy_request *request)
{
    if (!request->stashed)
        return;
    unsigned cls = qy_chunk_class(request->size);
    t->chunks[cls].top += request->stashed;
    qy_kept_was_put(t, cls);
    t->chunk_bytes += request->stashed * request->size;
}
