#include "segment/filled.h"

#include "base/atomic.h"
#include "base/bits.h"

/*
 * Atomic: for each power of two, FILLED, 0, or where the last block lies. It may be gone by now, and another's word be
 * overwritten: then the guess is wrong, and nothing else.
 */
#define FILLED 1
static uintptr_t last_of_size[64];

static uintptr_t *last_of(size_t bytes)
{
    return &last_of_size[qy_high_bit(bytes)];
}

bool qy_will_be_filled(size_t bytes)
{
    uintptr_t last = qy_load_relaxed(last_of(bytes));
    return last == FILLED || (last && qy_pages_are_dense((void *)last, (size_t)1 << qy_high_bit(bytes)));
}

void qy_filled_new(const void *block, size_t bytes)
{
    qy_store_relaxed(last_of(bytes), (uintptr_t)block);
}

void qy_filled_gone(const void *block, size_t bytes)
{
    qy_store_relaxed(last_of(bytes), qy_pages_are_dense(block, bytes) ? FILLED : 0);
}
