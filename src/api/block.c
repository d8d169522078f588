#include "api/block.h"

#include <limits.h>
#include <string.h>

#include "api/classic.h"
#include "api/init.h"
#include "arena/arena.h"
#include "base/message.h"
#include "base/probe.h"
#include "chunk/freed.h"
#include "options/options.h"
#include "run/run.h"
#include "segment/filled.h"
#include "segment/mapped.h"
#include "tcache/kept.h"
#include "tcache/roster.h"

/* The class of cells that serves a request; 0: chunks do. */
static unsigned class_for(size_t request)
{
    bool runs = request <= qy_options.run_max && qy_options.run_max && qy_zone.lo;
    return runs ? qy_cell_class(request) : 0;
}

static void *take_from_arenas(struct qy_arena *first, struct qy_request *r)
{
    void *mem = qy_arena_take(first, r);
    struct qy_arena *other = mem || r->at_hand ? NULL : qy_arena_another(first);
    if (other) {
        r->room = r->ahead = 0; /* the stash is for blocks of our own arena */
        mem = qy_arena_take(other, r);
    }
    return mem;
}

static void *take_by(struct qy_tcache *t, struct qy_arena *a, struct qy_request *r, bool at_hand)
{
    r->at_hand = at_hand;
    qy_chunk_stash_offer(t, r);
    void *mem = take_from_arenas(a, r);
    qy_chunk_stash_accept(t, r);
    return mem;
}

/* What others freed of this arena's blocks may serve as it is. */
static void *take_collected(struct qy_tcache *t, struct qy_arena *a, struct qy_request *r)
{
    r->clean_from = UINTPTR_MAX;
    bool any = !r->alignment && qy_chunks_collect(t, a);
    return any ? qy_kept_pop(t, r->size - QY_TAG_BYTES) : NULL;
}

/* Before the heap grows, what the thread keeps is taken for it, a piece at a time and so many of them. */
#define WAYS_AT_MOST 4

static void *take_chunk(struct qy_tcache *t, struct qy_request *r)
{
    if (!t)
        return take_from_arenas(qy_arena_main(), r);
    r->size = qy_chunk_round(r->size, r->alignment);
    struct qy_arena *a = qy_tcache_arena(t);
    void *collected = take_collected(t, a, r);
    if (collected)
        return collected;
    for (int ways = WAYS_AT_MOST;; ways--) {
        bool at_hand = ways > 0 && qy_chunks_can_give_way(t);
        void *mem = take_by(t, a, r, at_hand);
        if (mem || !at_hand)
            return mem;
        qy_chunks_give_way(t);
    }
}

static void perturb_taken(void *mem, size_t request)
{
    if (QY_UNLIKELY(qy_options.perturb))
        memset(mem, ~(int)qy_options.perturb, request);
}

/* Before the program hears "no": everything that is only kept for speed goes back to the kernel (M-25). */
static QY_COLD void give_way(void)
{
    QY_PROBE(KERNEL, REFUSED, 0, 0);
    qy_roster_trim();
    for (struct qy_arena *a = qy_arena_first(); a; a = qy_load_acquire(&a->next))
        qy_arena_trim(a, 0);
    unsigned most = UINT_MAX;
    qy_zone_purge(0, &most);
    /* Others know at their next slow call: until then they would read what is gone. */
    if (qy_zone_shrink() && qy_self->slots_used)
        qy_tcache_look_at_zone(qy_self);
}

/* No memory of any size can serve this: nothing to give way for. */
#define HOPELESS ((size_t)1 << QY_VA_BITS)

/* What most calls come here for: the fast path found a stack empty. */
static void *refill(struct qy_tcache *t, size_t request)
{
    unsigned cls = request < qy_load_relaxed(&t->request_limit) ? class_for(request) : 0;
    if (!cls)
        return NULL;
    void *cell = qy_cell_take(t, cls);
    qy_tick(t);
    return cell;
}

static void *take_once(size_t request, uintptr_t *clean_from)
{
    struct qy_tcache *t = qy_tcache_enter();
    if (t && QY_UNLIKELY(qy_tcache_is_asked(t)))
        qy_tcache_answer(t);
    unsigned cls = class_for(request);
    void *mem = t && cls ? qy_cell_take(t, cls) : NULL;
    if (!mem) {
        struct qy_request r = {.size = qy_chunk_size_for(request)};
        mem = take_chunk(t, &r);
        if (clean_from)
            *clean_from = r.clean_from;
    }
    qy_tick(t);
    qy_tcache_leave(t);
    return mem;
}

static QY_NOINLINE void *take_uncached(size_t request, uintptr_t *clean_from)
{
    if (request > PTRDIFF_MAX)
        return NULL;
    qy_init();
    void *mem = take_once(request, clean_from);
    if (QY_UNLIKELY(!mem) && request < HOPELESS) {
        give_way();
        mem = take_once(request, clean_from);
    }
    return mem;
}

void *qy_block_take_slow(size_t request, uintptr_t *clean_from)
{
    struct qy_tcache *t = qy_self;
    void *mem = refill(t, request);
    /* There are no runs. ptmalloc's calloc passes the thread cache by; the classic profile does so too. */
    if (!mem && request < qy_load_relaxed(&t->request_limit) && !(clean_from && qy_options.classic))
        mem = qy_medium_pop(t, request);
    if (!mem)
        mem = qy_chunk_pop_large(t, request, QY_ALIGNMENT);
    if (!mem)
        mem = take_uncached(request, clean_from);
    if (mem && QY_UNLIKELY(qy_options.perturb)) {
        perturb_taken(mem, request);
        if (clean_from)
            *clean_from = UINTPTR_MAX;
    }
    return mem;
}

void *qy_block_take(size_t request)
{
    struct qy_tcache *t = qy_self;
    void *mem = qy_tcache_serves(t, request) ? qy_tcache_pop(t, request) : qy_medium_pop(t, request);
    return QY_LIKELY(mem != NULL) ? mem : qy_block_take_slow(request, NULL);
}

static void *take_chunk_once(size_t alignment, size_t request)
{
    struct qy_request r = {.size = qy_chunk_size_for(request), .alignment = alignment};
    struct qy_tcache *t = qy_tcache_enter();
    void *mem = take_chunk(t, &r);
    qy_tick(t);
    qy_tcache_leave(t);
    return mem;
}

void *qy_block_take_chunk(size_t alignment, size_t request)
{
    void *mem = take_chunk_once(alignment, request);
    if (QY_UNLIKELY(!mem) && alignment + request < HOPELESS) {
        give_way();
        mem = take_chunk_once(alignment, request);
    }
    if (mem)
        perturb_taken(mem, request);
    return mem;
}

static void *take_aligned_chunk(size_t alignment, size_t request)
{
    if (qy_options.classic)
        return qy_classic_take_aligned(alignment, request);
    void *mem = qy_chunk_pop_aligned(qy_self, request, alignment);
    if (!mem)
        mem = qy_chunk_pop_large(qy_self, request, alignment);
    return mem ? mem : qy_block_take_chunk(alignment, request);
}

void *qy_block_take_aligned(size_t alignment, size_t request)
{
    if (alignment <= QY_ALIGNMENT)
        return qy_block_take(request);
    if (request > PTRDIFF_MAX || alignment > PTRDIFF_MAX - request)
        return NULL;
    qy_init();
    /* A cell is as aligned as its stride is (run.h). */
    size_t stride = qy_align_up(request + QY_CELL_HEADER_BYTES, alignment);
    if (stride - QY_CELL_HEADER_BYTES <= QY_RUN_SMALL && class_for(stride - QY_CELL_HEADER_BYTES)) {
        void *cell = qy_block_take(stride - QY_CELL_HEADER_BYTES);
        if (!cell || (uintptr_t)cell % alignment == 0)
            return cell;
        qy_block_free(cell); /* no runs to be had: it was a chunk */
    }
    return take_aligned_chunk(alignment, request);
}

enum kind { CELL, CHUNK, MAPPED };

/*
 * What a pointer is. Every pointer of the program passes here or through qy_tcache_push. A chunk may still be signed:
 * kept, so free.
 */
struct identity {
    enum kind kind;
    unsigned cls;           /* of a cell */
    struct qy_arena *arena; /* of a chunk */
};

/*
 * What the program may use of a cell in the zone, when one glance says that it has it, as at a free that hits; 0: look
 * closely.
 */
QY_INLINE size_t cell_at_a_glance(const struct qy_tcache *t, const void *mem)
{
    size_t stride;
    /* A thread that never had one of the size has no key for it, which a header must not be. */
    bool sound = *qy_cell_header((void *)mem) && qy_tcache_vet(t, mem, &stride);
    return sound ? stride - QY_CELL_HEADER_BYTES : 0;
}

QY_INLINE struct identity identify(const void *mem)
{
    struct identity id = {.kind = CELL};
    if (qy_zone_has((uintptr_t)mem - QY_CELL_HEADER_BYTES)) {
        size_t room = cell_at_a_glance(qy_self, mem);
        id.cls = room ? qy_class_of_stride(room + QY_CELL_HEADER_BYTES) : qy_cell_vet(mem);
        return id;
    }
    id.arena = qy_arena_vet(mem);
    id.kind = id.arena ? CHUNK : MAPPED;
    if (id.kind == MAPPED && !qy_mapped_find(mem))
        qy_fatal(QY_INVALID_POINTER, mem, "Quarry never handed this out");
    return id;
}

/* Of a pointer whose block is to stay. */
static struct identity identify_live(const void *mem)
{
    struct identity id = identify(mem);
    if (id.kind == CHUNK)
        qy_freed_refuse(mem);
    return id;
}

static size_t usable(struct identity id, const void *mem)
{
    if (id.kind == CELL)
        return qy_class_stride(id.cls) - QY_CELL_HEADER_BYTES;
    /* It may have been taken a moment ago. */
    return qy_word_usable(qy_word_in_halves(qy_mem_chunk(mem)));
}

static void put_home(struct qy_arena *a, void *mem, bool wait)
{
    size_t size = qy_chunk_size(qy_mem_chunk(mem));
    if (QY_UNLIKELY(qy_may_be_huge(size)))
        qy_filled_gone(mem, size);
    qy_freed_sign_once(mem, qy_seals.arena);
    qy_arena_put(a, &mem, 1, qy_seals.arena, wait);
}

static QY_NOINLINE void free_uncached(struct identity id, void *mem)
{
    if (id.kind == MAPPED) {
        qy_mapped_free(mem);
        return;
    }
    struct qy_tcache *self = qy_self, *t = qy_tcache_enter();
    if (id.kind == CELL)
        qy_cell_free(t, mem, id.cls);
    else if (!t || t == self || !qy_chunk_push(t, mem))
        put_home(id.arena, mem, !t || id.arena == t->arena);
    qy_tick(t);
    qy_tcache_leave(t);
}

static QY_COLD void perturb_freed(struct identity id, void *mem)
{
    if (id.kind == CHUNK)
        qy_freed_refuse(mem); /* before the signature is gone */
    if (id.kind != MAPPED)
        memset(mem, (int)qy_options.perturb, usable(id, mem));
}

QY_INLINE void free_identified(struct identity id, void *mem)
{
    struct qy_tcache *self = qy_self;
    if (QY_UNLIKELY(qy_options.perturb))
        perturb_freed(id, mem);
    if (id.kind == CHUNK && qy_chunk_push(self, mem))
        qy_tick(self);
    else
        free_uncached(id, mem);
}

void qy_block_free_slow(void *mem)
{
    qy_init();
    free_identified(identify(mem), mem);
}

/* Of any pointer outside the zone, what its own size word and the one behind it say. */
QY_INLINE struct qy_sound sound_at_a_glance(struct qy_tcache *t, const void *mem)
{
    const struct qy_granule *g = qy_kept_granule(t, mem);
    return QY_LIKELY(g != NULL) ? qy_arena_sound_block(g, mem) : (struct qy_sound){0};
}

void qy_block_free_outside(struct qy_tcache *t, void *mem)
{
    struct qy_sound sound = sound_at_a_glance(t, mem);
    if (QY_LIKELY(sound.low != 0) && QY_LIKELY(qy_kept_push(t, mem, sound)))
        qy_tick(t);
    else if (mem)
        qy_block_free_slow(mem);
}

/*
 * What the program may use of a chunk, when one glance says that it has it; 0: look closely. Of NULL, too, nothing can
 * be told.
 */
QY_INLINE size_t chunk_at_a_glance(struct qy_tcache *t, const void *mem)
{
    struct qy_sound sound = sound_at_a_glance(t, mem);
    return sound.low ? qy_sound_size(sound) - QY_TAG_BYTES : 0;
}

static QY_NOINLINE size_t usable_slow(const void *mem)
{
    return mem ? usable(identify_live(mem), mem) : 0;
}

size_t qy_block_usable(const void *mem)
{
    struct qy_tcache *t = qy_self;
    size_t room = qy_tcache_looks_at(t, mem) ? cell_at_a_glance(t, mem) : chunk_at_a_glance(t, mem);
    return QY_LIKELY(room != 0) ? room : usable_slow(mem);
}

size_t qy_block_room(const void *mem)
{
    struct identity id = {.kind = CHUNK};
    if (qy_zone_has((uintptr_t)mem))
        id = (struct identity){.kind = CELL, .cls = qy_run_of((uintptr_t)mem)->cls};
    return usable(id, mem);
}

/*
 * Who grows a block a little will do so again: it gets a quarter more than it had, so that growing by small steps
 * copies each byte a few times and not once a step. What it does not use then stays its own.
 */
#define GROWTH_PART 4
#define GROWTH_FROM ((size_t)1024)

static size_t room_for(size_t have, size_t request)
{
    bool grows = request > have && have >= GROWTH_FROM;
    return grows ? qy_max(request, have + have / GROWTH_PART) : request;
}

/* A cell stays while half of it is used, or the thread has no better. */
QY_INLINE bool cell_may_stay(const struct qy_tcache *t, size_t have, size_t request)
{
    if (request > have)
        return false;
    return request + QY_CELL_HEADER_BYTES > have / 2 ||
           (request <= QY_RUN_SMALL && qy_cell_room(t, request) == have);
}

/* A chunk stays while three quarters are used. */
QY_INLINE bool chunk_may_stay(size_t have, size_t request)
{
    return request <= have && request >= have - have / GROWTH_PART;
}

static bool may_stay(struct identity id, size_t have, size_t request)
{
    return id.kind == CELL ? cell_may_stay(qy_self, have, request)
                           : id.kind == CHUNK && chunk_may_stay(have, request);
}

/*
 * So much is rather copied. To grow, into a block that the thread keeps: that is likely in the cache of the processor,
 * and what lies behind is not. To shrink, always: what would be cut off in place is a hole between blocks that stay.
 */
#define COPY_RATHER ((size_t)8192)

static void *take_to_copy(struct identity id, size_t have, size_t request)
{
    if (id.kind != CHUNK || request > COPY_RATHER)
        return NULL;
    return request > have ? qy_kept_pop(qy_self, room_for(have, request)) : qy_block_take(request);
}

static void *resize_in_place(struct identity id, void *mem, size_t have, size_t request)
{
    size_t size = qy_chunk_size_for(request);
    if (id.kind == MAPPED)
        return qy_mapped_resize(mem, size - QY_TAG_BYTES);
    bool done =
        id.kind == CHUNK && qy_arena_resize(id.arena, mem, size, qy_chunk_size_for(room_for(have, request)));
    return done ? mem : NULL;
}

static void *take_for_move(size_t have, size_t request)
{
    size_t room = room_for(have, request);
    void *to = qy_block_take(room);
    return to || room == request ? to : qy_block_take(request);
}

static QY_NOINLINE void *resize_slow(void *mem, size_t request)
{
    if (request > PTRDIFF_MAX)
        return NULL;
    struct identity id = identify_live(mem);
    size_t have = usable(id, mem);
    if (qy_options.classic && id.kind == CHUNK)
        return qy_classic_resize(id.arena, mem, request);
    if (may_stay(id, have, request))
        return mem;
    void *to = take_to_copy(id, have, request);
    if (!to) {
        void *resized = resize_in_place(id, mem, have, request);
        if (resized)
            return resized;
        to = take_for_move(have, request);
    }
    if (to) {
        QY_PROBE(BLOCK, MOVED, to, qy_min(have, request));
        memcpy(to, mem, qy_min(have, request));
        qy_block_free(mem);
    }
    return to || request > have ? to : mem; /* to less always succeeds */
}

void *qy_block_resize(void *mem, size_t request)
{
    struct qy_tcache *t = qy_self;
    bool stays = qy_tcache_looks_at(t, mem) ? cell_may_stay(t, cell_at_a_glance(t, mem), request)
                                            : chunk_may_stay(chunk_at_a_glance(t, mem), request);
    return stays ? mem : resize_slow(mem, request);
}
