/*
 * run: carries operations out on the allocator and holds its answers against the model: not NULL, aligned,
 * usable size, zero where promised, contents kept, no overlap with any live block, errno kept by free. A
 * difference ends the process with a message; the process is always a child of the one that judges.
 */
#ifndef MODEL_RUN_H
#define MODEL_RUN_H

#include "../qtest.h"
#include "block.h"
#include "ops.h"

struct mailbox; /* blocks on their way to another thread: threads.h */

struct model {
    struct block slots[SLOTS_MAX];
    uint64_t *step;          /* shared with the judge: operations begun */
    struct mailbox *mailbox; /* NULL in a single thread */
    int thread;
    bool quiet; /* a trial run of the shrinker */
    heap_free_sized *free_sized;
    heap_free_aligned_sized *free_aligned_sized;
    heap_cfree *cfree;
    const struct op *op; /* the current one */
};

static bool mailbox_put(struct model *m, const struct block *b, uint32_t random);
static bool mailbox_get(struct model *m, struct block *b, uint32_t random);

__attribute__((format(printf, 2, 3), noreturn)) static void model_fail(struct model *m, const char *format,
                                                                       ...)
{
    char text[512], call[256];
    va_list args;
    if (!m->quiet) {
        va_start(args, format);
        vsnprintf(text, sizeof text, format, args);
        va_end(args);
        op_print(m->op, m->slots[m->op->slot].p != NULL, call, sizeof call);
        qt_say("thread %d, operation %zu, %s\n    %s\n", m->thread, (size_t)*m->step, call, text);
    }
    _exit(QT_EXIT_FAILED);
}

static inline void model_open(struct model *m, uint64_t *step)
{
    m->step = step;
    m->free_sized = (heap_free_sized *)heap_symbol("free_sized");
    m->free_aligned_sized = (heap_free_aligned_sized *)heap_symbol("free_aligned_sized");
    m->cfree = (heap_cfree *)heap_symbol("cfree");
}

/* --------------------------------------------------------------- blocks come */

/* Registers what an allocation returned, and fills it. */
static inline void model_admit(struct model *m, struct block *b, void *p, enum block_origin origin)
{
    if (!p)
        model_fail(m, "returned NULL, errno %d", errno);
    if (heap_addr(p) % (b->alignment < 16 ? 16 : b->alignment))
        model_fail(m, "%p is not aligned to %zu", p, b->alignment < 16 ? 16 : b->alignment);
    b->p = p;
    b->usable = heap.malloc_usable_size(p);
    if (b->usable < b->n)
        model_fail(m, "%p: usable size %zu is below %zu", p, b->usable, b->n);
    if (b->usable > 2 * b->n + b->alignment + 128 * KIB)
        model_fail(m, "%p: usable size %zu is absurd for %zu", p, b->usable, b->n);
    uintptr_t overlap = shadow_change(p, b->usable, true);
    if (overlap)
        model_fail(m, "%p of usable size %zu overlaps a live block at 0x%zx", p, b->usable, (size_t)overlap);
    b->origin = origin;
    b->seed = rng_mix(heap_addr(p) + *m->step * 64);
    block_fill(b);
}

static inline void model_take(struct model *m, struct block *b, const struct op *o)
{
    size_t alignment = op_alignment(o), bad;
    enum block_origin origin = BLOCK_OTHER;
    void *p = NULL;
    *b = (struct block){.n = o->n, .alignment = 16};
    switch ((enum op_kind)o->kind) {
    case OP_CALLOC:
        b->n = o->n / o->factor * o->factor;
        p = heap.calloc(o->factor, o->n / o->factor);
        if (p && !block_zero(p, b->n, &bad))
            model_fail(m, "%p: byte %zu of %zu is not zero", p, bad, b->n);
        origin = BLOCK_PLAIN;
        break;
    case OP_ALIGNED_ALLOC:
        p = heap.aligned_alloc(b->alignment = alignment, o->n);
        origin = BLOCK_ALIGNED_ALLOC;
        break;
    case OP_MEMALIGN:
        p = heap.memalign(b->alignment = alignment, o->n);
        break;
    case OP_POSIX_MEMALIGN:
        errno = heap.posix_memalign(&p, b->alignment = alignment, o->n);
        break;
    case OP_VALLOC:
        b->alignment = 4096;
        p = heap.valloc(o->n);
        break;
    case OP_PVALLOC:
        b->alignment = 4096;
        b->n = (o->n + 4095) / 4096 * 4096;
        p = heap.pvalloc(o->n);
        break;
    default:
        p = heap.malloc(o->n);
        origin = BLOCK_PLAIN;
    }
    model_admit(m, b, p, origin);
}

/* --------------------------------------------------------------- blocks are looked at, and go */

static inline void model_verify(struct model *m, const struct block *b)
{
    size_t bad;
    if (!block_intact(b, b->p, SIZE_MAX, &bad))
        model_fail(m, "%p of %zu (usable %zu): byte %zu changed", (void *)b->p, b->n, b->usable, bad);
    if (heap.malloc_usable_size(b->p) != b->usable)
        model_fail(m, "%p of %zu: usable size was %zu, now %zu", (void *)b->p, b->n, b->usable,
                   heap.malloc_usable_size(b->p));
}

static inline void model_forget(struct model *m, const struct block *b)
{
    uintptr_t hole = shadow_change(b->p, b->usable, false);
    if (hole)
        model_fail(m, "%p: the model itself lost the bytes at 0x%zx", (void *)b->p, (size_t)hole);
}

static inline void model_free_sized(struct model *m, struct block *b)
{
    if (b->origin == BLOCK_PLAIN && m->free_sized)
        m->free_sized(b->p, b->n);
    else if (b->origin == BLOCK_ALIGNED_ALLOC && m->free_aligned_sized)
        m->free_aligned_sized(b->p, b->alignment, b->n);
    else
        heap.free(b->p);
}

static inline void model_give(struct model *m, struct block *b, enum op_kind kind)
{
    if (b->p) {
        model_verify(m, b);
        model_forget(m, b);
    }
    errno = EXDEV;
    if (kind == OP_FREE_SIZED)
        model_free_sized(m, b);
    else if (kind == OP_CFREE && m->cfree)
        m->cfree(b->p);
    else if (kind == OP_REALLOC_ZERO && b->p && heap.realloc(b->p, 0))
        model_fail(m, "realloc(p, 0) is not NULL");
    else if (kind != OP_REALLOC_ZERO)
        heap.free(b->p);
    if (errno != EXDEV && kind != OP_REALLOC_ZERO)
        model_fail(m, "errno became %d", errno);
    b->p = NULL;
}

static inline void model_realloc(struct model *m, struct block *b, const struct op *o)
{
    struct block old = *b;
    size_t n = o->kind == OP_REALLOC ? o->n : o->n / o->factor * o->factor, bad;
    size_t keep = old.p ? (n < old.n ? n : old.n) : 0;
    if (old.p) {
        model_verify(m, &old);
        model_forget(m, &old);
    }
    void *p =
        o->kind == OP_REALLOC ? heap.realloc(old.p, n) : heap.reallocarray(old.p, o->factor, n / o->factor);
    if (p && !block_intact(&old, p, keep, &bad))
        model_fail(m, "%p of %zu -> %p of %zu: byte %zu changed", (void *)old.p, old.n, p, n, bad);
    *b = (struct block){.n = n, .alignment = 16};
    model_admit(m, b, p, BLOCK_PLAIN);
}

static inline void model_realloc_huge(struct model *m, const struct block *b, const struct op *o)
{
    errno = 0;
    if (heap.realloc(b->p, (size_t)PTRDIFF_MAX + 1 - op_below_limit(o)))
        model_fail(m, "is not NULL");
    if (errno != ENOMEM)
        model_fail(m, "errno is %d, not ENOMEM", errno);
    if (b->p)
        model_verify(m, b);
}

/* --------------------------------------------------------------- rare ones */

static inline void model_huge_size(struct model *m, const struct op *o)
{
    errno = 0;
    if (heap.malloc((size_t)PTRDIFF_MAX + 1 + o->n) || errno != ENOMEM)
        model_fail(m, "is not NULL, or errno %d is not ENOMEM", errno);
    errno = 0;
    if (heap.calloc(SIZE_MAX / 2 + 1, 2 + o->n % 7) || errno != ENOMEM)
        model_fail(m, "calloc's overflow is not NULL, or errno %d is not ENOMEM", errno);
}

static inline void model_give_all(struct model *m)
{
    for (int i = 0; i < SLOTS_MAX; i++)
        if (m->slots[i].p)
            model_give(m, &m->slots[i], OP_FREE);
}

static inline void model_fork(struct model *m)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        alarm(20);
        model_give_all(m);
        for (size_t n = 1; n < MIB; n = n * 3 / 2 + 1)
            heap.free(heap.malloc(n));
        _exit(0);
    }
    while (waitpid(pid, &status, 0) < 0)
        ;
    if (status)
        model_fail(m, "the child ended with wait status 0x%x", (unsigned)status);
}

static inline void model_step(struct model *m, const struct op *o)
{
    struct block *b = &m->slots[o->slot];
    m->op = o;
    __atomic_fetch_add(m->step, 1, __ATOMIC_RELAXED);
    switch ((enum op_kind)o->kind) {
    case OP_FREE:
    case OP_FREE_SIZED:
    case OP_CFREE:
    case OP_REALLOC_ZERO:
        model_give(m, b, (enum op_kind)o->kind);
        break;
    case OP_REALLOC:
    case OP_REALLOCARRAY:
        model_realloc(m, b, o);
        break;
    case OP_REALLOC_HUGE:
        model_realloc_huge(m, b, o);
        break;
    case OP_VERIFY:
        if (b->p)
            model_verify(m, b);
        break;
    case OP_HUGE_SIZE:
        model_huge_size(m, o);
        break;
    case OP_TRIM:
        heap.malloc_trim(o->n);
        break;
    case OP_FIGURES:
        mallinfo2();
        break;
    case OP_FORK:
        model_fork(m);
        break;
    case OP_HAND_OVER:
        if (b->p && mailbox_put(m, b, o->factor))
            b->p = NULL;
        break;
    case OP_HAND_IN:
        if (!b->p)
            mailbox_get(m, b, o->factor);
        break;
    default: /* a take */
        if (b->p)
            model_give(m, b, OP_FREE);
        model_take(m, b, o);
    }
}

#endif
