/*
 * Sub-heaps (M-32): 64 MiB of address space at a 64 MiB boundary, of which a growing part is memory. Owns the
 * mappings; knows nothing of the chunks in them. The caller holds the lock of the arena the sub-heap belongs to.
 *
 *      +--------------------+  multiple of 64 MiB
 *      | struct qy_subheap  |  names its arena
 *      | chunks ...         |
 *      | top                |
 *      +--------------------+  + size
 *      | free again         |  + committed
 *      | not accessible     |
 *      +--------------------+  + 64 MiB
 */
#ifndef QY_SEGMENT_SUBHEAP_H
#define QY_SEGMENT_SUBHEAP_H

#include "chunk/marks.h"

#define QY_SUBHEAP_BYTES QY_GRANULE_BYTES

struct qy_subheap {
    struct qy_arena *arena;
    struct qy_subheap *prev; /* the arena's sub-heap before this one */
    size_t size;             /* bytes in use from the start of the sub-heap */
    size_t committed;        /* bytes accessible; the part beyond `size` reads as zero */
    size_t padding[2];       /* as large as ptmalloc's, so that chunks lie where they do there */
};

QY_STATIC_ASSERT(sizeof(struct qy_subheap) % QY_ALIGNMENT == 0, "the first chunk is aligned");

/* The largest chunk that fits, with the top chunk that must remain. */
#define QY_SUBHEAP_LARGEST (QY_SUBHEAP_BYTES - sizeof(struct qy_subheap) - 2 * QY_MIN_CHUNK)

QY_INLINE struct qy_chunk *qy_subheap_first(struct qy_subheap *heap)
{
    return qy_chunk_at(heap, sizeof *heap);
}

/* A sub-heap with room for `bytes` of chunks, `pad` more if that can be had. NULL: no memory. */
struct qy_subheap *qy_subheap_new(struct qy_arena *arena, size_t bytes, size_t pad);

/* Makes a sub-heap `bytes` larger (a multiple of the page size); false: it is full or there is no memory. */
bool qy_subheap_grow(struct qy_subheap *heap, size_t bytes);

/* Gives the last `bytes` of memory back; the sub-heap is that much smaller. */
void qy_subheap_shrink(struct qy_subheap *heap, size_t bytes);

/*
 * Gives back what the kernel counts beyond the size: what was committed ahead, and what the sub-heap had before it
 * shrank.
 */
void qy_subheap_decommit(struct qy_subheap *heap);

void qy_subheap_delete(struct qy_subheap *heap);

#endif
