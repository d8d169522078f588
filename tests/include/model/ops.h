/*
 * ops: the operations of the model, as data: they can be listed, repeated, left out and printed. Any part of
 * a list is a valid list: an allocation into a slot that holds a block frees that first, a free of an empty
 * slot is free(NULL).
 */
#ifndef MODEL_OPS_H
#define MODEL_OPS_H

#include "../rng.h"
#include <stdbool.h>
#include <stddef.h>

/* OP(name, weight among those of its group) */
#define MODEL_TAKES(OP) \
    OP(MALLOC, 50)      \
    OP(CALLOC, 15) OP(ALIGNED_ALLOC, 6) OP(MEMALIGN, 6) OP(POSIX_MEMALIGN, 6) OP(VALLOC, 1) OP(PVALLOC, 1)
#define MODEL_GIVES(OP) OP(FREE, 50) OP(FREE_SIZED, 15) OP(CFREE, 2) OP(REALLOC_ZERO, 3)
#define MODEL_CHANGES(OP) \
    OP(REALLOC, 30) OP(REALLOCARRAY, 8) OP(VERIFY, 6) OP(REALLOC_HUGE, 1) OP(HAND_OVER, 0) OP(HAND_IN, 0)
#define MODEL_RARE(OP) OP(HUGE_SIZE, 10) OP(TRIM, 4) OP(FIGURES, 4) OP(FORK, 1)
#define MODEL_ALL(OP) MODEL_TAKES(OP) MODEL_GIVES(OP) MODEL_CHANGES(OP) MODEL_RARE(OP)

#define OP_ENUM(name, weight) OP_##name,
enum op_kind { MODEL_ALL(OP_ENUM) OP_KINDS };

struct op {
    uint8_t kind;
    uint8_t alignment_log2;
    uint16_t slot;
    uint32_t factor; /* calloc and reallocarray: the number of members */
    uint64_t n;
};

enum { SLOTS_MAX = 2048 };

/* What decides the next operation; it never looks at what the allocator did, so a seed gives one list. */
struct op_source {
    struct rng rng;
    unsigned slots;
    unsigned style;      /* which sizes */
    size_t favourite[4]; /* sizes that come back, so that freed blocks are used again */
    unsigned phase_left; /* steps until the mood changes */
    unsigned fill;       /* of 100: how often an empty slot is filled */
    uint16_t last_slot;
    bool forks, hands_over; /* single-threaded, multi-threaded only */
    bool full[SLOTS_MAX];
};

static inline size_t op_size_of_style(struct rng *r, unsigned style)
{
    static const unsigned share[][3] = {
        /* of 1000: above 1 KiB, above 32 KiB, above 256 KiB */
        {200, 50, 8}, {0, 0, 0}, {1000, 50, 0}, {500, 100, 10}, {60, 2, 0}, {300, 100, 30},
    };
    unsigned at = (unsigned)rng_below(r, 1000);
    const unsigned *s = share[style % (sizeof share / sizeof *share)];
    return at < s[2]   ? rng_log(r, 256 * 1024, 4 << 20)
           : at < s[1] ? rng_log(r, 32 * 1024, 256 * 1024)
           : at < s[0] ? rng_log(r, 1024, 32 * 1024)
                       : rng_log(r, 1, 1024);
}

static inline size_t op_size(struct op_source *s)
{
    struct rng *r = &s->rng;
    if (rng_one_in(r, 200))
        return 0;
    if (rng_one_in(r, 3))
        return s->favourite[rng_below(r, 4)];
    size_t n = op_size_of_style(r, s->style);
    if (rng_one_in(r, 8)) /* next to a border */
        n = (n + 15) / 16 * 16 - 9 + rng_below(r, 11);
    return n;
}

static inline struct op_source op_source_of(uint64_t seed, unsigned threads)
{
    struct op_source s = {.rng = rng_seeded(seed), .forks = threads == 1, .hands_over = threads > 1};
    static const unsigned slots[] = {8, 60, 300, 1000, 2000};
    s.slots = slots[rng_below(&s.rng, 5)] / (threads > 2 ? 2 : 1);
    s.style = (unsigned)rng_next(&s.rng);
    for (int i = 0; i < 4; i++)
        s.favourite[i] = op_size_of_style(&s.rng, s.style);
    return s;
}

#define OP_WEIGHT(name, weight) +weight
#define OP_PICK(name, weight) \
    if ((at -= weight) < 0)   \
        return OP_##name;
#define OP_PICKER(function, GROUP, fallback)            \
    static inline enum op_kind function(struct rng *r)  \
    {                                                   \
        int at = (int)rng_below(r, 0 GROUP(OP_WEIGHT)); \
        GROUP(OP_PICK)                                  \
        return fallback;                                \
    }
OP_PICKER(op_pick_take, MODEL_TAKES, OP_MALLOC)
OP_PICKER(op_pick_give, MODEL_GIVES, OP_FREE)
OP_PICKER(op_pick_change, MODEL_CHANGES, OP_VERIFY)
OP_PICKER(op_pick_rare, MODEL_RARE, OP_TRIM)

static inline void op_change_mood(struct op_source *s)
{
    static const unsigned fills[] = {10, 30, 50, 70, 95, 100};
    s->phase_left = (unsigned)rng_log(&s->rng, 16, 8192);
    s->fill = fills[rng_below(&s->rng, 6)];
    if (rng_one_in(&s->rng, 2))
        s->favourite[rng_below(&s->rng, 4)] = op_size_of_style(&s->rng, s->style);
}

/* Slots in order half the time (queues, stacks), else at random. */
static inline uint16_t op_pick_slot(struct op_source *s)
{
    unsigned how = (unsigned)rng_below(&s->rng, 4);
    unsigned next = how == 0   ? s->last_slot + 1u
                    : how == 1 ? s->last_slot + s->slots - 1
                               : (unsigned)rng_below(&s->rng, s->slots);
    return s->last_slot = (uint16_t)(next % s->slots);
}

static inline enum op_kind op_pick_kind(struct op_source *s, bool full)
{
    struct rng *r = &s->rng;
    if (rng_one_in(r, 2000)) {
        enum op_kind kind = op_pick_rare(r);
        return kind == OP_FORK && !s->forks ? OP_FIGURES : kind;
    }
    if (s->hands_over && rng_one_in(r, 8))
        return full ? OP_HAND_OVER : OP_HAND_IN;
    if (!full)
        return rng_below(r, 100) < s->fill ? op_pick_take(r) : OP_VERIFY;
    if (rng_one_in(r, 3))
        return op_pick_change(r);
    return rng_below(r, 100) < s->fill ? op_pick_take(r) : op_pick_give(r);
}

static inline struct op op_next(struct op_source *s)
{
    static const unsigned members[] = {1, 1, 2, 3, 8, 24, 100};
    if (s->phase_left-- == 0)
        op_change_mood(s);
    struct op o = {.slot = op_pick_slot(s)};
    if (!s->full[o.slot] && rng_below(&s->rng, 100) >= s->fill)
        o.slot = op_pick_slot(s);
    o.kind = (uint8_t)op_pick_kind(s, s->full[o.slot]);
    o.n = op_size(s);
    o.alignment_log2 = (uint8_t)(rng_one_in(&s->rng, 100) ? rng_below(&s->rng, 22) : rng_below(&s->rng, 13));
    o.factor = members[rng_below(&s->rng, 7)];
    if (o.kind == OP_REALLOC || o.kind == OP_REALLOCARRAY) { /* size 0 is REALLOC_ZERO */
        o.n += !o.n;
        o.factor = o.n < o.factor ? 1 : o.factor;
    }
    if (o.kind <= OP_PVALLOC || o.kind == OP_REALLOC || o.kind == OP_REALLOCARRAY || o.kind == OP_HAND_IN)
        s->full[o.slot] = true;
    if (o.kind >= OP_FREE && o.kind <= OP_REALLOC_ZERO)
        s->full[o.slot] = false;
    if (o.kind == OP_HAND_OVER)
        s->full[o.slot] = false;
    return o;
}

/*
 * The operation as a line of C. `full`: the slot holds a block. In the table: @p the slot's name, @n the
 * size, @a the alignment, @m members of @s bytes, @x a number to take from PTRDIFF_MAX + 1.
 */
static const char *const op_lines[] = {
    [OP_MALLOC] = "@p = malloc(@n);",
    [OP_CALLOC] = "@p = calloc(@m, @s);",
    [OP_ALIGNED_ALLOC] = "@p = aligned_alloc(@a, @n);",
    [OP_MEMALIGN] = "@p = memalign(@a, @n);",
    [OP_POSIX_MEMALIGN] = "posix_memalign(&@p, @a, @n);",
    [OP_VALLOC] = "@p = valloc(@n);",
    [OP_PVALLOC] = "@p = pvalloc(@n);",
    [OP_FREE] = "free(@p);",
    [OP_FREE_SIZED] = "free_sized(@p, its size); /* or free_aligned_sized; free where there is none */",
    [OP_CFREE] = "cfree(@p); /* free where there is none */",
    [OP_REALLOC_ZERO] = "realloc(@p, 0); @p = NULL;",
    [OP_REALLOC] = "@p = realloc(@p, @n);",
    [OP_REALLOCARRAY] = "@p = reallocarray(@p, @m, @s);",
    [OP_VERIFY] = "verify(@p);",
    [OP_REALLOC_HUGE] = "realloc(@p, PTRDIFF_MAX + 1ul - @x); /* fails */",
    [OP_HAND_OVER] = "hand over @p;",
    [OP_HAND_IN] = "@p = a block of another thread;",
    [OP_HUGE_SIZE] = "malloc(PTRDIFF_MAX + 1ul + @n); /* fails */",
    [OP_TRIM] = "malloc_trim(@n);",
    [OP_FIGURES] = "mallinfo2();",
    [OP_FORK] = "if (fork() == 0) { verify all; free all; exit; }",
};

/* What is subtracted from PTRDIFF_MAX + 1 for a realloc that must fail: half lie beyond PTRDIFF_MAX. */
static inline size_t op_below_limit(const struct op *o)
{
    return o->factor % 2 * o->n;
}

static inline size_t op_alignment(const struct op *o)
{
    size_t alignment = (size_t)1 << o->alignment_log2;
    return o->kind == OP_POSIX_MEMALIGN && alignment < sizeof(void *) ? sizeof(void *) : alignment;
}

static inline size_t op_number(const struct op *o, char key)
{
    return key == 'n'   ? o->n
           : key == 'a' ? op_alignment(o)
           : key == 'm' ? o->factor
           : key == 's' ? o->n / o->factor
                        : op_below_limit(o);
}

static inline void op_print(const struct op *o, bool full, char *out, size_t size)
{
    size_t at = 0;
    if (o->kind <= OP_PVALLOC && full)
        at = (size_t)snprintf(out, size, "free(p%u); ", o->slot);
    for (const char *c = op_lines[o->kind]; *c && at + 24 < size; c++)
        if (*c != '@')
            out[at++] = *c;
        else if (*++c == 'p')
            at += (size_t)snprintf(out + at, size - at, "p%u", o->slot);
        else
            at += (size_t)snprintf(out + at, size - at, "%zu", op_number(o, *c));
    out[at] = 0;
}

#endif
