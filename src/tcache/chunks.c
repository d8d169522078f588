/*
 * Chunks in the thread cache: what the hit path (kept.h) leaves over.
 */
#include <string.h>

#include "base/message.h"
#include "base/probe.h"
#include "chunk/freed.h"
#include "options/options.h"
#include "tcache/kept.h"

/*
 * What a thread may keep in one stack of chunks that are not small; and in all: little at first, more each time it
 * looks for a chunk and finds none after it had to give some back, little again after a tick (see cells.c). Never much:
 * what is kept stands between free chunks that would merge. Up to here, or to the thread's share of a part of its
 * arena, which is twice as much at most (docs/decisions/0016-what-a-thread-keeps.md).
 */
#define BYTES_PER_CLASS ((size_t)64 << 10)
#define BYTES_AT_FIRST ((size_t)64 << 10)
#define BYTES_AT_MOST ((size_t)512 << 10)
#define ARENA_PART 4

/*
 * Who has an arena to itself, and takes and frees more than that in turns, keeps all of it, up to here: its stacks were
 * full, and then but for such a part empty. What it keeps serves its other requests before the heap grows.
 */
#define DEEP_BYTES_PER_CLASS ((size_t)1 << 20)
#define DEEP_BYTES_AT_MOST ((size_t)8 << 20)
#define DRAINED_PART 8

/* Of a stack that is full, such a part goes back at a time. */
#define FULL_PART 4

/* What one that asks for a size again and again gets at a time; again is among so many misses. */
#define AHEAD_BYTES ((size_t)32 << 10)
#define AHEAD_BLOCKS 31
#define LATELY 32

/* What goes back at a time, of all that may be kept a part, but of many only so much; and for the heap not to grow. */
#define ROOM_AT_ONCE (BYTES_AT_MOST / 2)
#define WAY_AT_ONCE ((size_t)64 << 10)

/* Blocks that go back together, whatever their sizes. */
#define PARCEL_BLOCKS 64

/* Blocks that others freed, and a thread takes over at a time. */
#define COLLECT_AT_MOST 64

/* Blocks of a stack that an aligned request looks at: who wants one has freed some like it. */
#define ALIGNED_LOOKS 4

/*
 * An alignment that is at most such a part of the size: the size is a multiple of it, so that aligned blocks lie side
 * by side.
 */
#define ALIGNED_PART 16

/*
 * Large blocks: the last few that a thread freed of its own arena, for who takes and frees a buffer again and again; so
 * many bytes, which is as much again as it keeps of medium ones. One serves a request that leaves little of it. They
 * are in nobody's way: before the arena is asked for a large block, or grows for any, they go back
 * (docs/decisions/0026-large-blocks-at-hand.md).
 */
#define LARGE_BLOCKS 4
#define LARGE_BYTES ((size_t)17 << 16)
#define LARGE_SPARE_PART 16

static bool cached(size_t size)
{
    return size <= qy_chunk_size_for(qy_options.tcache_max);
}

size_t qy_chunk_round(size_t size, size_t alignment)
{
    if (size <= QY_LARGEST_LINEAR || qy_options.classic || !cached(size))
        return size;
    size_t part = size - QY_ALIGNMENT;
    size_t rounded = qy_align_up(part, (size_t)1 << (qy_high_bit(part) - 4)) + QY_ALIGNMENT;
    if (alignment <= size / ALIGNED_PART)
        rounded = qy_align_up(rounded, qy_max(alignment, QY_ALIGNMENT));
    return cached(rounded) ? rounded : size;
}

static size_t slots_within(unsigned cls, size_t count, size_t bytes)
{
    size_t size = (size_t)1 << (QY_FIRST_DOUBLING + (cls - QY_LINEAR_CLASSES) / 16);
    return qy_min(count, qy_max(2, bytes / size));
}

/* Slots for a class: the count the options say, less for large chunks, of which two are enough. */
static size_t slots_for(unsigned cls)
{
    size_t count = qy_options.tcache_count;
    if (cls == QY_LARGE_CHUNKS)
        return qy_min(count, LARGE_BLOCKS);
    return cls < QY_LINEAR_CLASSES ? count : slots_within(cls, count, BYTES_PER_CLASS);
}

/*
 * Of one that is not small: how many it moves to (deepen). Those of cells have numbers of 16 bits, so there is an end
 * to it.
 */
static size_t deep_slots_for(unsigned cls)
{
    size_t count = qy_min(qy_options.tcache_count, QY_DEEP_COUNT_AT_MOST) * QY_DEEP_CHUNKS;
    return qy_max(slots_for(cls), slots_within(cls, count, DEEP_BYTES_PER_CLASS));
}

static bool may_be_deep(unsigned cls)
{
    return cls >= QY_LINEAR_CLASSES && cls < QY_LARGE_CHUNKS;
}

void qy_chunk_stacks_init(struct qy_tcache *t)
{
    t->chunk_bytes_at_most = BYTES_AT_FIRST;
}

/* What it holds moves with it. */
static void lay_out_stack(struct qy_tcache *t, unsigned cls)
{
    struct qy_chunk_stack *stack = &t->chunks[cls];
    size_t count = t->deep_chunks && may_be_deep(cls) ? deep_slots_for(cls) : slots_for(cls);
    size_t held = (size_t)(stack->top - stack->base);
    void **base = t->slots + qy_tcache_slots(t, count);
    if (held)
        memcpy(base, stack->base, held * sizeof *base);
    *stack = (struct qy_chunk_stack){.base = base, .top = base + held, .limit = base + count};
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
        slots += slots_for(cls) + (may_be_deep(cls) ? deep_slots_for(cls) : 0);
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

/*
 * Blocks of one arena on their way back; they were vetted when freed, and their signature has vouched for them since.
 */
struct parcel {
    struct qy_arena *arena;
    unsigned count;
    void *blocks[PARCEL_BLOCKS];
};

static void send(struct qy_tcache *t, struct parcel *parcel)
{
    if (!parcel->count)
        return;
    bool own = parcel->arena == t->arena;
    if (own || qy_options.classic)
        qy_arena_put(parcel->arena, parcel->blocks, parcel->count, t->mark, own);
    else
        qy_arena_leave_at(parcel->arena, parcel->blocks, parcel->count, t->mark);
    parcel->count = 0;
}

static void pack(struct qy_tcache *t, struct parcel *parcel, void *mem)
{
    struct qy_arena *a = qy_arena_of(mem);
    if (parcel->count == PARCEL_BLOCKS || (parcel->count && parcel->arena != a))
        send(t, parcel);
    parcel->arena = a;
    parcel->blocks[parcel->count++] = mem;
}

static size_t *bytes_in(struct qy_tcache *t, unsigned cls)
{
    return cls == QY_LARGE_CHUNKS ? &t->large_bytes : &t->chunk_bytes;
}

/* The oldest of a stack go back, as many as have so many bytes. */
static void flush(struct qy_tcache *t, unsigned cls, size_t bytes, struct parcel *parcel)
{
    struct qy_chunk_stack *stack = &t->chunks[cls];
    void **from = stack->base;
    for (size_t gone = 0; from != stack->top && gone < bytes; from++) {
        size_t size = qy_chunk_size(qy_mem_chunk(*from));
        QY_PROBE(TCACHE, TOOK, *from, size);
        *bytes_in(t, cls) -= size;
        gone += size;
        pack(t, parcel, *from);
    }
    if (from == stack->base)
        return;
    size_t left = (size_t)(stack->top - from);
    memmove(stack->base, from, left * sizeof *from);
    stack->top = stack->base + left;
    qy_kept_was_taken(t, cls);
}

void qy_chunks_flush_all(struct qy_tcache *t)
{
    struct parcel parcel;
    parcel.count = 0;
    for (unsigned cls = 0; cls < QY_CHUNK_CLASSES; cls++) {
        if (t->held[cls])
            flush(t, cls, SIZE_MAX, &parcel);
    }
    send(t, &parcel);
    t->chunk_bytes_at_most = t->deep_chunks ? BYTES_AT_MOST : BYTES_AT_FIRST;
    t->chunks_full = false;
}

/* The next stack behind `cls`, round and round, that holds a chunk; there is one. */
static unsigned next_held(const struct qy_tcache *t, unsigned cls)
{
    do
        cls = cls + 1 < QY_CHUNK_CLASSES ? cls + 1 : 0;
    while (!t->held[cls]);
    return cls;
}

/* One stack after the other gives all it has, or its oldest, until so many bytes are left. */
static void give_back_to(struct qy_tcache *t, size_t goal)
{
    struct parcel parcel;
    parcel.count = 0;
    while (t->chunk_bytes > goal) {
        t->flushed_last = next_held(t, t->flushed_last);
        flush(t, t->flushed_last, BYTES_PER_CLASS, &parcel);
    }
    send(t, &parcel);
}

/* Who frees and never misses any, as a thread that frees what others take, gives more back at a time. */
static QY_NOINLINE void make_room(struct qy_tcache *t)
{
    size_t part = t->made_room ? 2 : 4;
    t->made_room = t->chunks_full = true;
    give_back_to(t, t->chunk_bytes_at_most - qy_min(ROOM_AT_ONCE, t->chunk_bytes_at_most / part));
}

static bool keeps_large(const struct qy_tcache *t)
{
    return qy_load_relaxed(&t->chunk_limit) > QY_LARGEST_MEDIUM;
}

static void flush_large(struct qy_tcache *t, size_t bytes)
{
    struct parcel parcel;
    parcel.count = 0;
    flush(t, QY_LARGE_CHUNKS, bytes, &parcel);
    send(t, &parcel);
}

bool qy_chunks_can_give_way(const struct qy_tcache *t)
{
    return t->held[QY_LARGE_CHUNKS] || (t->chunk_bytes >= WAY_AT_ONCE && !qy_options.classic);
}

void qy_chunks_give_way(struct qy_tcache *t)
{
    if (t->held[QY_LARGE_CHUNKS]) {
        flush_large(t, SIZE_MAX);
        return;
    }
    t->chunks_full = false;
    give_back_to(t, t->chunk_bytes - WAY_AT_ONCE);
}

void qy_chunks_give_half_back(struct qy_tcache *t)
{
    give_back_to(t, t->chunk_bytes / 2);
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

/* Of a stack that is full. */
static void flush_full(struct qy_tcache *t, unsigned cls, size_t size)
{
    const struct qy_chunk_stack *stack = &t->chunks[cls];
    struct parcel parcel;
    parcel.count = 0;
    flush(t, cls, qy_max(1, (size_t)(stack->limit - stack->base) / FULL_PART) * size, &parcel);
    send(t, &parcel);
}

static void put_on_top(struct qy_tcache *t, unsigned cls, void *mem, size_t size)
{
    qy_freed_sign_once(mem, t->mark);
    *t->chunks[cls].top++ = mem;
    qy_kept_was_put(t, cls);
    *bytes_in(t, cls) += size;
    QY_PROBE(TCACHE, PUT, mem, size);
}

static bool has_room(const struct qy_tcache *t, size_t size)
{
    return size <= QY_LARGEST_LINEAR || t->chunk_bytes + size <= t->chunk_bytes_at_most;
}

static bool push_large(struct qy_tcache *t, void *mem, size_t size)
{
    struct qy_chunk_stack *stack = &t->chunks[QY_LARGE_CHUNKS];
    if (!keeps_large(t) || size > LARGE_BYTES || qy_arena_of(mem) != t->arena)
        return false;
    must_be_new(stack, mem);
    if (t->large_bytes + size > LARGE_BYTES)
        flush_large(t, size);
    if (stack->top == stack->limit && !opened(t, QY_LARGE_CHUNKS))
        flush_large(t, 1);
    if (stack->top == stack->limit)
        return false;
    put_on_top(t, QY_LARGE_CHUNKS, mem, size);
    return true;
}

static bool serves(const void *mem, size_t size, size_t alignment)
{
    size_t has = qy_chunk_size(qy_mem_chunk(mem));
    return has >= size && has - size <= size / LARGE_SPARE_PART && (uintptr_t)mem % alignment == 0;
}

static void *take_large(struct qy_tcache *t, size_t size, size_t alignment)
{
    struct qy_chunk_stack *stack = &t->chunks[QY_LARGE_CHUNKS];
    void **slot = stack->top;
    while (slot != stack->base && !serves(slot[-1], size, alignment))
        slot--;
    if (slot == stack->base)
        return NULL;
    void *mem = *--slot;
    *slot = *--stack->top;
    qy_kept_was_taken(t, QY_LARGE_CHUNKS);
    t->large_bytes -= qy_freed_unsign(mem, t->mark);
    QY_PROBE(TCACHE, TOOK, mem, size);
    return mem;
}

void *qy_chunk_pop_large(struct qy_tcache *t, size_t request, size_t alignment)
{
    if (request <= QY_LARGEST_MEDIUM || !t->held[QY_LARGE_CHUNKS] || !keeps_large(t))
        return NULL;
    void *mem = take_large(t, qy_chunk_size_for(request), alignment);
    if (!mem)
        flush_large(t, SIZE_MAX);
    return mem;
}

bool qy_chunk_push(struct qy_tcache *t, void *mem)
{
    size_t size = qy_chunk_size(qy_mem_chunk(mem));
    if (QY_UNLIKELY(!qy_kept_size(t, size)))
        return push_large(t, mem, size);
    unsigned cls = qy_chunk_class(size);
    struct qy_chunk_stack *stack = &t->chunks[cls];
    if (!qy_chunk_is_sealed(qy_mem_chunk(mem)))
        must_be_new(stack, mem);
    if (stack->top == stack->limit && !opened(t, cls)) {
        if (stack->limit != stack->base)
            QY_PROBE(TCACHE, FULL, mem, size);
        t->chunks_full |= may_be_deep(cls);
        if (!may_be_deep(cls) || stack->limit == stack->base)
            return false;
        flush_full(t, cls, size);
    }
    if (!has_room(t, size))
        make_room(t);
    put_on_top(t, cls, mem, size);
    return true;
}

/* Whether a block may be kept, and nothing else must go for it. */
static bool fits(struct qy_tcache *t, const void *mem)
{
    size_t size = qy_chunk_size(qy_mem_chunk(mem));
    if (!qy_kept_size(t, size) || !has_room(t, size))
        return false;
    const struct qy_chunk_stack *stack = &t->chunks[qy_chunk_class(size)];
    return stack->top != stack->limit || opened(t, qy_chunk_class(size));
}

bool qy_chunks_collect(struct qy_tcache *t, struct qy_arena *a)
{
    if (!qy_arena_has_mail(a) || qy_options.classic)
        return false;
    void *blocks[COLLECT_AT_MOST];
    unsigned count = qy_arena_collect(a, blocks, COLLECT_AT_MOST, t->mark), left = 0;
    for (unsigned i = 0; i < count; i++) {
        if (!fits(t, blocks[i]) || !qy_chunk_push(t, blocks[i]))
            blocks[left++] = blocks[i];
    }
    if (left)
        qy_arena_put(a, blocks, left, t->mark, true);
    return left < count;
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

/*
 * Whether an arena may have several of a size side by side: in the default profile it has bins for one size each only
 * for the small.
 */
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

static void deepen(struct qy_tcache *t)
{
    t->deep_chunks = true;
    for (unsigned cls = 0; cls < QY_CHUNK_CLASSES; cls++) {
        if (may_be_deep(cls) && t->chunks[cls].base)
            lay_out_stack(t, cls);
    }
}

static void allow(struct qy_tcache *t, size_t bytes, size_t most)
{
    t->chunk_bytes_at_most = qy_max(t->chunk_bytes_at_most, qy_min(bytes, most));
}

/* No chunk that is kept served. */
static void learn_from_miss(struct qy_tcache *t)
{
    size_t had = t->chunk_bytes_at_most;
    if (t->made_room)
        allow(t, had / 4 * 5, bytes_at_most(t->arena));
    t->made_room = false;
    if (!t->chunks_full || t->chunk_bytes >= had / DRAINED_PART)
        return;
    t->chunks_full = false;
    allow(t, had * 2, bytes_at_most(t->arena));
    if (had >= BYTES_AT_MOST && qy_load_relaxed(&t->arena->threads) == 1) {
        if (!t->deep_chunks)
            deepen(t);
        allow(t, had * 2, qy_min(qy_load_relaxed(&t->arena->system_bytes), DEEP_BYTES_AT_MOST));
    }
}

/*
 * Who asks for a size again and again, and has none left, gets more of it each time, so that the arena is asked once
 * for many (docs/decisions/0025-several-at-once.md). Who asks for many sizes gets one.
 */
static size_t ahead_for(struct qy_tcache *t, unsigned cls, size_t size)
{
    struct qy_missed *missed = &t->missed[cls];
    size_t ahead = (uint16_t)(t->misses - missed->at) <= LATELY ? missed->ahead : 0;
    missed->at = t->misses++;
    missed->ahead = (uint8_t)qy_min(2 * ahead + 1, AHEAD_BLOCKS);
    if (ahead == 0)
        return 0;
    size_t room = t->chunk_bytes_at_most - qy_min(t->chunk_bytes, t->chunk_bytes_at_most);
    return qy_min(ahead, qy_min(AHEAD_BYTES, room) / size);
}

void qy_chunk_stash_offer(struct qy_tcache *t, struct qy_request *request)
{
    check_held(t);
    request->mark = t->mark;
    request->stash = NULL;
    request->room = request->ahead = 0;
    if (!cached(request->size) || qy_options.perturb)
        return;
    learn_from_miss(t);
    bool one_size = in_bin_of_its_size(request->size);
    if (request->alignment && (one_size || request->size % request->alignment))
        return;
    unsigned cls = qy_chunk_class(request->size);
    struct qy_chunk_stack *stack = &t->chunks[cls];
    if (stack->top == stack->limit && !opened(t, cls))
        return;
    size_t room = (size_t)(stack->limit - stack->top);
    request->stash = stack->top;
    if (one_size)
        request->room = (unsigned)room;
    else
        request->ahead = (unsigned)qy_min(room, ahead_for(t, cls, request->size));
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
