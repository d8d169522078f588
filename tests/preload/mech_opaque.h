/*
 * heap.h's calls under their own names: malloc(n) here is heap.malloc(n), which the compiler cannot see through.
 *
 * For files that do nothing but allocate and where `heap.` on every line would hide what is done.
 */
#ifndef MECH_OPAQUE_H
#define MECH_OPAQUE_H

#include "heap.h"
#include <sched.h> /* musl's declares some of them again */

#define malloc(n) heap.malloc(n)
#define free(p) heap.free(p)
#define calloc(n, size) heap.calloc(n, size)
#define realloc(p, n) heap.realloc(p, n)
#define aligned_alloc(alignment, n) heap.aligned_alloc(alignment, n)
#define memalign(alignment, n) heap.memalign(alignment, n)
#define malloc_usable_size(p) heap.malloc_usable_size(p)
#define malloc_trim(pad) heap.malloc_trim(pad)

#endif
