/*
 * pattern: bytes that depend on a seed and on the position, so that a lost, moved or foreign byte shows.
 */
#ifndef PATTERN_H
#define PATTERN_H

#include "rng.h"
#include <stddef.h>
#include <string.h>

/* The eight bytes at `offset` (a multiple of 8). */
static inline uint64_t pattern_word(uint64_t seed, size_t offset)
{
    return (seed | 1) * 0x9e3779b97f4a7c15u + (offset >> 3) * 0xd1342543de82ef95u;
}

static inline unsigned char pattern_byte(uint64_t seed, size_t offset)
{
    return (unsigned char)(pattern_word(seed, offset) >> (offset % 8 * 8));
}

/* Writes bytes [from, to) of the pattern into block p. */
static inline void pattern_fill_range(void *p, size_t from, size_t to, uint64_t seed)
{
    unsigned char *bytes = (unsigned char *)p;
    size_t i = from;
    for (; i < to && i % 8; i++)
        bytes[i] = pattern_byte(seed, i);
    for (; i + 8 <= to; i += 8) {
        uint64_t word = pattern_word(seed, i);
        memcpy(bytes + i, &word, 8);
    }
    for (; i < to; i++)
        bytes[i] = pattern_byte(seed, i);
}

/* The first offset in [from, to) whose byte is not the pattern's, or `to`. */
static inline size_t pattern_check_range(const void *p, size_t from, size_t to, uint64_t seed)
{
    const unsigned char *bytes = (const unsigned char *)p;
    size_t i = from;
    for (; i < to && i % 8; i++)
        if (bytes[i] != pattern_byte(seed, i))
            return i;
    for (; i + 8 <= to; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, 8);
        if (word != pattern_word(seed, i))
            break;
    }
    for (; i < to; i++)
        if (bytes[i] != pattern_byte(seed, i))
            return i;
    return to;
}

static inline void pattern_fill(void *p, size_t n, uint64_t seed)
{
    pattern_fill_range(p, 0, n, seed);
}
static inline size_t pattern_check(const void *p, size_t n, uint64_t seed)
{
    return pattern_check_range(p, 0, n, seed);
}

/* The first byte of [0, n) that is not `value`, or n. */
static inline size_t pattern_other_byte(const void *p, size_t n, unsigned char value)
{
    const unsigned char *bytes = (const unsigned char *)p;
    if (n == 0 || (bytes[0] == value && memcmp(bytes, bytes + 1, n - 1) == 0))
        return n;
    for (size_t i = 0; i < n; i++)
        if (bytes[i] != value)
            return i;
    return n;
}

#endif
