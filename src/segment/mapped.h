/*
 * Mapped chunks (M-21): blocks that are mappings of their own. Owns them, and the register that says which there
 * are: a pointer is believed to be a mapped block only when the register has it, whatever its header says, so
 * that no forged header makes us unmap somebody else's memory. Lock: QY_RANK_MAPPED, for the register only.
 *
 *      base ->  +----------------------+
 *               | (padding, if aligned)|
 *      c    ->  | prev_size = padding  |
 *               | size | M             |   size + prev_size = bytes mapped
 *      mem  ->  | user memory ...      |
 */
#ifndef QY_SEGMENT_MAPPED_H
#define QY_SEGMENT_MAPPED_H

#include "base/lock.h"
#include "chunk/chunk.h"

/* A block of at least `request` bytes at a multiple of `alignment` (16 or a larger power of two); NULL: no memory. */
void *qy_mapped_take(size_t request, size_t alignment);

/*
 * Moves the beginning of a mapped block to a multiple of `alignment`, which as large a block as ptmalloc takes for that
 * has (api/classic.c). Returns where it is; NULL: it is no mapped block.
 */
void *qy_mapped_align(void *mem, size_t alignment);

/* Whether `mem` is a mapped block; any pointer may be asked about. A block whose header was written over is fatal. */
bool qy_mapped_find(const void *mem);

/* Unmaps a block that qy_mapped_find knows. Returns its chunk size. */
size_t qy_mapped_free(void *mem);

/* Resizes in place or moves by mremap, contents kept; NULL: nothing changed. */
void *qy_mapped_resize(void *mem, size_t request);

struct qy_mapped_stats {
    size_t blocks, bytes, max_blocks, max_bytes;
};

/*
 * The register: open addressing, linear probing, at most half full, deletion by moving back (Knuth 6.4, R), so
 * there are no tombstones and a lookup costs O(1) expected. The hash is keyed: a program cannot choose collisions.
 */
struct qy_mapped_entry {
    uintptr_t mem; /* 0: empty */
    size_t size;   /* of the chunk */
    size_t before; /* padding between the mapping's start and the chunk */
};

struct qy_mapped_register {
    struct qy_lock lock QY_ALIGNED(64); /* what lies before it is others', who read it all the time */
    struct qy_mapped_entry *entries;
    size_t capacity; /* a power of two, or 0 */
    struct qy_mapped_stats stats;
};

/* For who looks from outside (observe/layout.c); all others call the functions. */
QY_OURS struct qy_mapped_register qy_mapped;

struct qy_mapped_stats qy_mapped_stats(void);

void qy_mapped_init(uint64_t secret);
void qy_mapped_lock(void);
void qy_mapped_unlock(void);
void qy_mapped_reset(void);

#endif
