/*
 * A write past the end of a block, or before its start, is reported at the latest when the block or its neighbour is
 * freed (M-51, E-9).
 */
/* not: check */
/* timeout: 180 */
#include "mech_maps.h"
#include "safety.h"

enum { MANY = 400 };
static char *block[MANY];

/* The size word of a block says that the one before is free, and nothing bears it out. */
#define BEFORE_START_OR_FORGED                                                                         \
    "^quarry: corrupted header: " HEX ": the size (before this (block|mapped block) was written over|" \
    "of the free block before this one disagrees)$"

/* The neighbour may have become part of top. */
#define PAST_END_OR_TOP                                                                  \
    "^quarry: corrupted (header: " HEX ": this block was written past its end|top: " HEX \
    ": the size of top was written over)$"

struct side {
    char *a, *b, *c; /* side by side, a lowest */
};

static char *block_at(const char *at, int count)
{
    for (int i = 0; i < count; i++)
        if (block[i] == at)
            return block[i];
    return NULL;
}

/* Three blocks side by side, the last ones taken that are; mapped blocks lie anywhere. */
static struct side three(size_t n)
{
    int count = n > 20000 ? 12 : MANY;
    for (int i = 0; i < count; i++)
        QT_CHECK(block[i] = malloc(n));
    for (int i = count; i-- > 0;) {
        size_t stride = malloc_usable_size(block[i]) + 8;
        char *b = block_at(block[i] + stride, count), *c = block_at(block[i] + 2 * stride, count);
        if (b && c)
            return (struct side){block[i], b, c};
    }
    return (struct side){NULL, NULL, NULL};
}

struct bug {
    size_t n;
    size_t bytes;
    int value;
    enum { FREE_IT, FREE_NEXT, NEXT_IS_FREE, BOTH_AROUND_FREE, RESIZE_IT, ASK_IT } how;
};

static void overflow(const void *arg)
{
    const struct bug *bug = arg;
    struct side s = three(bug->n);
    if (!s.a)
        _exit(77);
    if (bug->how == NEXT_IS_FREE || bug->how == BOTH_AROUND_FREE)
        free(s.b);
    if (bug->how == BOTH_AROUND_FREE)
        free(s.c);
    char *end = s.a + malloc_usable_size(s.a);
    bool as_it_was = bug->bytes == 1 && *end == (char)bug->value;
    scribble(end, bug->bytes, as_it_was ? bug->value ^ 0x20 : bug->value);
    safety->named = bug->how == FREE_NEXT ? s.b : bug->how == BOTH_AROUND_FREE ? NULL : s.a;
    if (bug->how == RESIZE_IT)
        realloc(again(s.a), 4 * bug->n);
    else if (bug->how == ASK_IT)
        malloc_usable_size(again(s.a));
    else
        free(again(bug->how == FREE_NEXT ? s.b : s.a));
}

static bool lies_side_by_side(size_t n)
{
    struct bug b = {n, 0, 0, FREE_IT};
    return safety_run(overflow, &b).status == 0;
}

static void check(int how, size_t bytes, int value, const char *re)
{
    int checked = 0;
    for_sizes(n)
    {
        if (!lies_side_by_side(n))
            continue;
        struct bug b = {n, bytes, value, how};
        dies(overflow, &b, re, "size %zu, %zu bytes of %#x", n, bytes, value);
        checked++;
    }
    QT_CHECK(checked >= 25);
}

static void check_all(int how, const char *re)
{
    check(how, 1, 0, re);
    check(how, 1, 0x41, re);
    check(how, 1, 0xff, re);
    check(how, 2, 0, re);
    check(how, 4, 0, re);
    check(how, 8, 0x41, re);
    check(how, 16, 0, re);
    check(how, 64, 0x41, re);
    safety_done();
}

QTEST("a write past a block's end is found when the block is freed (M-51, E-9)")
{
    check_all(FREE_IT, PAST_END);
}

QTEST("a write past a block's end is found when its neighbour is freed (M-51, E-9)")
{
    check_all(FREE_NEXT, BEFORE_START_OR_FORGED);
}

QTEST("a write past a block's end into a free neighbour is found when the block is freed (M-51)")
{
    check_all(NEXT_IS_FREE, PAST_END);
    check_all(BOTH_AROUND_FREE, PAST_END_OR_TOP);
}

QTEST("a write past a block's end is found by realloc and malloc_usable_size (M-51)")
{
    check_all(RESIZE_IT, PAST_END);
    check_all(ASK_IT, PAST_END);
}

/* Every size word that a block of this size can have before it: 256 bytes apart, a NUL leaves the size as it was. */
QTEST("one NUL past the end is found at the neighbour, whatever the neighbour's size (M-51)")
{
    for (size_t n = 24; n <= 4100; n += 16) {
        struct bug b = {n, 1, 0, FREE_NEXT};
        if (lies_side_by_side(n))
            dies(overflow, &b, BEFORE_START_OR_FORGED, "size %zu", n);
    }
    safety_done();
}

/* ------------------------------------------------- before the start */

static void underflow(const void *arg)
{
    const struct bug *bug = arg;
    struct side s = three(bug->n);
    if (!s.a)
        _exit(77);
    scribble(s.b - bug->bytes, bug->bytes, bug->value);
    safety->named = bug->how == FREE_NEXT ? s.a : s.b;
    free(again(bug->how == FREE_NEXT ? s.a : s.b));
}

QTEST("a write of 1 to 16 bytes before a block is found when it or the block before it is freed (M-51)")
{
    for_sizes(n)
    {
        if (!lies_side_by_side(n))
            continue;
        for (size_t bytes = 1; bytes <= 16; bytes++) {
            struct bug b = {n, bytes, 0x41, FREE_IT};
            dies(underflow, &b, BEFORE_START, "size %zu, %zu bytes", n, bytes);
            b.how = FREE_NEXT;
            if (bytes >=
                7) /* below that, what the block before it has no use for: the block itself finds it */
                dies(underflow, &b, PAST_END, "size %zu, %zu bytes, freeing the one before", n, bytes);
        }
    }
    safety_done();
}

/* ------------------------------------------------- one bit */

struct flip {
    size_t n;
    unsigned bit;
    bool behind; /* of the word behind the block, not of its own */
};

static void flip_a_bit(const void *arg)
{
    const struct flip *f = arg;
    struct side s = three(f->n);
    if (!s.a)
        _exit(77);
    words(f->behind ? s.c : s.b)[-1] ^= (size_t)1 << f->bit;
    safety->named = s.b;
    free(again(s.b));
}

static const size_t flip_sizes[] = {24, 248, 760, 1048, 1528, 3000, 5000, 20000, 60000, 70000};
#define for_flip_sizes(n)                                                                                   \
    for (size_t n, n##_i = 0; n##_i < sizeof flip_sizes / sizeof *flip_sizes && (n = flip_sizes[n##_i], 1); \
         n##_i++)

/* In bits 32 to 47 a seal says who has the block. */
static bool names_the_holder(unsigned bit)
{
    return bit >= 32 && bit < 48;
}

static const char *what_a_bit_damages(unsigned bit)
{
    return names_the_holder(bit) ? BEFORE_START "|" DOUBLE_FREE : BEFORE_START;
}

QTEST("every bit of the word before a block counts (M-51)")
{
    for_flip_sizes(n)
    {
        for (unsigned bit = 0; bit < 64 && lies_side_by_side(n); bit++) {
            struct flip f = {n, bit, false};
            dies(flip_a_bit, &f, what_a_bit_damages(bit), "size %zu, bit %u", n, bit);
        }
    }
    safety_done();
}

QTEST("of the word behind a block, whether this one is in use counts, and its seal, whoever has it (M-51)")
{
    for_flip_sizes(n)
    {
        for (unsigned bit = 0; bit < 64 && lies_side_by_side(n); bit = bit ? bit + 1 : 16) {
            struct flip f = {n, bit, true};
            if (bit < (n <= 1016 ? 32 : 64) && !names_the_holder(bit)) /* of a cell's header, half */
                dies(flip_a_bit, &f, PAST_END, "size %zu, bit %u", n, bit);
        }
    }
    safety_done();
}

/* ------------------------------------------------- into top */

static size_t size_in(size_t word)
{
    return word >> 63 ? word & 0xfff0 : word & ~(size_t)15; /* sealed or plain */
}

/* A block of the main arena with top behind it; NULL: none is to be had. */
static char *last_before_top(size_t n)
{
    for (int i = 0; i < MANY; i++) {
        char *p = malloc(n), *next = p + malloc_usable_size(p) + 8;
        if (in_brk(p) && (uintptr_t)next - 16 + size_in(words(next)[-1]) == brk_end())
            return p;
    }
    return NULL;
}

/* `value`: added to the size of top. */
static void overflow_into_top(const void *arg)
{
    const struct bug *bug = arg;
    char *p = last_before_top(bug->n);
    if (!p)
        _exit(77);
    words(p + malloc_usable_size(p) + 8)[-1] += (size_t)bug->value;
    safety->named = p;
    free(again(p));
}

QTEST(
    "a write past the last block's end, into the size of top, is found when the block is freed (M-16, M-51)")
{
    static const int values[] = {-1, 16, -16, 256, 4096}; /* of a sealed word, only these bits are its size */
    int looks = 0;
    for (size_t n = 1100; n < 100000; n *= 2)
        for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
            struct bug b = {n, 0, 0, FREE_IT};
            if (safety_run(overflow_into_top, &b).status != 0)
                continue; /* no block borders top */
            b.value = values[i];
            dies(overflow_into_top, &b, PAST_END, "size %zu, %d", n, values[i]);
            looks++;
        }
    if (!looks)
        QT_SKIP("no block borders top");
    safety_done();
}

/* ------------------------------------------------- mapped blocks */

/* The kernel puts a new mapping below the last one. */
static void overflow_mapped(const void *arg)
{
    const struct bug *bug = arg;
    char *high = malloc(1 << 20), *low = malloc(1 << 20);
    if (low + malloc_usable_size(low) + 16 != high)
        _exit(77);
    scribble(again(low + malloc_usable_size(low)), bug->bytes, bug->value);
    safety->named = high;
    free(again(high));
}

static void underflow_mapped(const void *arg)
{
    const struct bug *bug = arg;
    char *p = malloc(1 << 20);
    scribble(again(p - bug->bytes), bug->bytes, bug->value);
    safety->named = p;
    free(again(p));
}

QTEST("a write past a mapped block's end is found when the one behind it is freed (M-51)")
{
    for (size_t bytes = 1; bytes <= 64; bytes++) {
        struct bug b = {0, bytes, 0x41, FREE_IT};
        if (safety_run(overflow_mapped, &b).status != 77 << 8)
            dies(overflow_mapped, &b, BEFORE_START, "%zu bytes", bytes);
    }
    safety_done();
}

QTEST("a write before a mapped block is found when it is freed (M-51)")
{
    for (size_t bytes = 1; bytes <= 16; bytes++) {
        struct bug b = {0, bytes, 0x41, FREE_IT};
        dies(underflow_mapped, &b, BEFORE_START, "%zu bytes", bytes);
    }
    safety_done();
}

QTEST_MAIN
