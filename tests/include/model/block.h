/*
 * block: what the model knows of one live block, and the seeded pattern in it. A block up to a page is
 * written whole, to the end of its usable size; a larger one at its ends and at a stride, so that it need not
 * become resident.
 */
#ifndef MODEL_BLOCK_H
#define MODEL_BLOCK_H

#include "../pattern.h"
#include "shadow.h"

enum block_origin { BLOCK_PLAIN, BLOCK_ALIGNED_ALLOC, BLOCK_OTHER }; /* which sized free may take it */

struct block {
    unsigned char *p; /* NULL: no block */
    size_t n, usable, alignment;
    uint64_t seed;
    enum block_origin origin;
};

enum { BLOCK_WHOLE = 4096, BLOCK_EDGE = 512 };

/* The parts of a block that carry the pattern, in order: start with {.b = block}, call until false. */
struct block_part {
    const struct block *b;
    size_t from, to;
    int stage;
};

static inline bool block_next_part(struct block_part *part)
{
    size_t n = part->b->n, usable = part->b->usable;
    size_t stride = n <= 64 * KIB ? 1024 : part->b->seed & 64 ? 4096 : 64 * KIB;
    switch (part->stage) {
    case 0:
        part->from = 0;
        part->to = usable <= BLOCK_WHOLE ? usable : BLOCK_EDGE;
        part->stage = usable <= BLOCK_WHOLE ? 3 : 1;
        return true;
    case 1:
        part->from = part->from + stride;
        part->to = part->from + 8;
        if (part->to + BLOCK_EDGE < n)
            return true;
        part->from = usable - BLOCK_EDGE;
        part->to = usable;
        part->stage = 3;
        return true;
    default:
        return false;
    }
}

static inline void block_fill(const struct block *b)
{
    for (struct block_part part = {.b = b}; block_next_part(&part);)
        pattern_fill_range(b->p, part.from, part.to, b->seed);
}

/* Whether the first `limit` bytes, now at p, are as block_fill left them; *bad is the first that is not. */
static inline bool block_intact(const struct block *b, const void *p, size_t limit, size_t *bad)
{
    for (struct block_part part = {.b = b}; block_next_part(&part) && part.from < limit;) {
        size_t to = part.to < limit ? part.to : limit;
        *bad = pattern_check_range(p, part.from, to, b->seed);
        if (*bad != to)
            return false;
    }
    return true;
}

/* Whether fresh calloc memory is zero: whole up to 256 KiB, beyond that at its ends and one word a page. */
static inline bool block_zero(const unsigned char *p, size_t n, size_t *bad)
{
    size_t whole = n < 256 * KIB ? n : 64 * KIB;
    if ((*bad = pattern_other_byte(p, whole, 0)) != whole)
        return false;
    for (size_t at = whole; at + 8 <= n; at += at + 4096 < n ? 4096 : 8)
        if (pattern_other_byte(p + at, 8, 0) != 8)
            return *bad = at, false;
    return true;
}

#endif
