#include "segment/filled.h"

#include "base/atomic.h"
#include "base/bits.h"

/*
 * Atomic: for each power of two, what is known of the last block, or where it lies. It may be gone by now, and another's word
 * be overwritten: then the guess is wrong, and nothing else.
 */
enum { UNKNOWN, FILLED, SPARSE };
static uintptr_t last_of_size[64];

/* Looking costs a block that is used again at once, or only reserved, a good part of what it costs at all: once it is known, one in so many is looked at. */
#define LOOKS_ONCE_KNOWN 16

static uintptr_t *last_of(size_t bytes)
{
    return &last_of_size[qy_high_bit(bytes)];
}

static bool worth_a_look(uintptr_t last)
{
    static unsigned events; /* atomic */
    bool known = last == FILLED || last == SPARSE;
    return !known || qy_add_relaxed(&events, 1) % LOOKS_ONCE_KNOWN == 0;
}

bool qy_will_be_filled(size_t bytes)
{
    uintptr_t last = qy_load_relaxed(last_of(bytes));
    return last > SPARSE ? qy_pages_are_dense((void *)last, (size_t)1 << qy_high_bit(bytes)) : last == FILLED;
}

void qy_filled_new(const void *block, size_t bytes)
{
    if (worth_a_look(qy_load_relaxed(last_of(bytes))))
        qy_store_relaxed(last_of(bytes), (uintptr_t)block);
}

void qy_filled_gone(const void *block, size_t bytes)
{
    if (worth_a_look(qy_load_relaxed(last_of(bytes))))
        qy_store_relaxed(last_of(bytes), qy_pages_are_dense(block, bytes) ? FILLED : SPARSE);
}
