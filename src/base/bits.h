/*
 * Arithmetic on words: rounding, powers of two, bit search. No state.
 */
#ifndef QY_BASE_BITS_H
#define QY_BASE_BITS_H

#include "base/compiler.h"

QY_INLINE size_t qy_align_up(size_t n, size_t power_of_two)
{
    return (n + power_of_two - 1) & ~(power_of_two - 1);
}

QY_INLINE size_t qy_align_down(size_t n, size_t power_of_two)
{
    return n & ~(power_of_two - 1);
}

QY_INLINE bool qy_is_power_of_two(size_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

/* Index of the lowest and of the highest set bit; n is not 0. */
QY_INLINE unsigned qy_low_bit(uint64_t n)
{
    return (unsigned)__builtin_ctzll(n);
}

QY_INLINE unsigned qy_high_bit(uint64_t n)
{
    return (unsigned)__builtin_clzll(n) ^ 63u; /* one instruction, where 63 - … is three */
}

/*
 * Not the builtin, which without an instruction for it is a function of the compiler's library, in a page of its own.
 */
QY_INLINE unsigned qy_count_bits(uint64_t n)
{
    n -= n >> 1 & 0x5555555555555555u;
    n = (n & 0x3333333333333333u) + (n >> 2 & 0x3333333333333333u);
    n = (n + (n >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return (unsigned)(n * 0x0101010101010101u >> 56);
}

QY_INLINE size_t qy_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

QY_INLINE size_t qy_max(size_t a, size_t b)
{
    return a > b ? a : b;
}

#endif
