/*
 * shadow: a map of the address space, one bit for each 16 bytes, that says which belong to a live block. Two
 * threads that are given the same bytes meet here, whatever they write into them. Its own memory never comes
 * from malloc.
 *
 * Atomic, relaxed: a bit is set after an allocation returned and cleared before a free begins, so whoever is
 * given the same granule next has the free before it, through the allocator's own ordering.
 */
#ifndef MODEL_SHADOW_H
#define MODEL_SHADOW_H

#include "../heap.h"
#include <stdbool.h>

enum { SHADOW_GRANULE = 16, SHADOW_ADDRESS_BITS = 47 };

static uint64_t *shadow_bits; /* NULL: the map could not be had, overlap is not checked */

static inline void shadow_open(void)
{
    size_t bytes = ((size_t)1 << SHADOW_ADDRESS_BITS) / SHADOW_GRANULE / 8;
    shadow_bits = heap_private(bytes);
    if (shadow_bits)
        madvise(shadow_bits, bytes, MADV_DONTDUMP); /* a core of a failure stays small */
}

/* The bits of word `w` that lie in granules [first, last]. */
static inline uint64_t shadow_mask(uintptr_t w, uintptr_t first, uintptr_t last)
{
    uint64_t mask = ~(uint64_t)0;
    if (w == first / 64)
        mask &= ~(uint64_t)0 << (first % 64);
    if (w == last / 64)
        mask &= ~(uint64_t)0 >> (63 - last % 64);
    return mask;
}

/* Sets (or clears) the granules of [p, p + n); returns the address of one that was so already, or 0. */
static inline uintptr_t shadow_change(const void *p, size_t n, bool live)
{
    if (!shadow_bits)
        return 0;
    uintptr_t first = heap_addr(p) / SHADOW_GRANULE, last = (heap_addr(p) + (n ? n - 1 : 0)) / SHADOW_GRANULE;
    uintptr_t wrong = 0;
    for (uintptr_t w = first / 64; w <= last / 64; w++) {
        uint64_t mask = shadow_mask(w, first, last);
        uint64_t old = live ? __atomic_fetch_or(&shadow_bits[w], mask, __ATOMIC_RELAXED)
                            : ~__atomic_fetch_and(&shadow_bits[w], ~mask, __ATOMIC_RELAXED);
        if (old & mask && !wrong)
            wrong = (w * 64 + (uintptr_t)__builtin_ctzll(old & mask)) * SHADOW_GRANULE;
    }
    return wrong;
}

#endif
