/*
 * What realloc and memalign do in ptmalloc: they take whole blocks, cut them, and free what they do not need. So that
 * goes where any freed block goes, the thread's cache first, and all later blocks lie where ptmalloc has them. The
 * default profile does either in one step of the arena.
 */
#ifndef QY_API_CLASSIC_H
#define QY_API_CLASSIC_H

#include "arena/arena.h"

/* `alignment` is a power of two, and more than any block has. NULL: no memory. */
void *qy_classic_take_aligned(size_t alignment, size_t request);

/* A chunk of this arena. NULL: no memory, and it is as it was. */
void *qy_classic_resize(struct qy_arena *a, void *mem, size_t request);

#endif
