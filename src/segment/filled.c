#include "segment/filled.h"

#include "base/atomic.h"
#include "base/bits.h"

/*
 * Atomic: for each power of two, what is known of the last block, or where it lies; with WAS_FILLED in its lowest bit
 * if the one before was FILLED. It may be gone by now, and another's word be overwritten: then the guess is wrong, and
 * nothing else.
 */
enum { UNKNOWN, FILLED, SPARSE, WAS_FILLED = 1 };
static uintptr_t last_of_size[64];

/* Pages of a block that are looked at, each by a call of the kernel. */
#define SAMPLES 8

/*
 * Looking costs a block that is only reserved a good part of what it costs at all: where they are sparse, one in so
 * many is looked at.
 */
#define SPARSE_LOOKS 8

static unsigned events; /* atomic */

static uintptr_t *last_of(size_t bytes)
{
    return &last_of_size[qy_high_bit(bytes)];
}

static bool is_resident(uintptr_t block, size_t bytes, unsigned sample)
{
    return qy_page_is_resident((const char *)block + bytes / SAMPLES / 2 * (2 * sample + 1));
}

/* From the end: what is not used throughout is often used from the beginning. */
static bool is_dense(uintptr_t block, size_t bytes)
{
    for (unsigned i = SAMPLES; i-- > 0;) {
        if (!is_resident(block, bytes, i))
            return false;
    }
    return true;
}

bool qy_will_be_filled(size_t bytes)
{
    uintptr_t last = qy_load_relaxed(last_of(bytes));
    if (last <= SPARSE)
        return last == FILLED;
    return is_dense(last & ~(uintptr_t)WAS_FILLED, (size_t)1 << qy_high_bit(bytes));
}

void qy_filled_new(const void *block, size_t bytes)
{
    uintptr_t last = qy_load_relaxed(last_of(bytes));
    if (last != SPARSE || qy_add_relaxed(&events, 1) % SPARSE_LOOKS == 0)
        qy_store_relaxed(last_of(bytes), (uintptr_t)block | (last & WAS_FILLED));
}

/* Where they have been filled, one page tells whether they still are. */
void qy_filled_gone(const void *block, size_t bytes)
{
    uintptr_t last = qy_load_relaxed(last_of(bytes));
    if ((last & ~(uintptr_t)WAS_FILLED) != (uintptr_t)block)
        return;
    bool dense = last & WAS_FILLED
                     ? is_resident((uintptr_t)block, bytes, qy_add_relaxed(&events, 1) % SAMPLES)
                     : is_dense((uintptr_t)block, bytes);
    qy_store_relaxed(last_of(bytes), dense ? FILLED : SPARSE);
}
