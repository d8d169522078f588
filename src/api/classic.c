#include "api/classic.h"

#include <string.h>

#include "api/block.h"
#include "segment/mapped.h"

/* Frees what a block has beyond `size`, if that is at least `least`. */
static void free_rest(struct qy_arena *a, void *mem, size_t size, size_t least)
{
    void *rest = qy_chunk_size(qy_mem_chunk(mem)) >= size + least ? qy_arena_cut(a, mem, size) : NULL;
    if (rest)
        qy_block_free(rest);
}

void *qy_classic_take_aligned(size_t alignment, size_t request)
{
    alignment = qy_max(alignment, QY_MIN_CHUNK);
    size_t size = qy_chunk_size_for(request);
    void *mem = qy_block_take_chunk(0, size + alignment + QY_MIN_CHUNK);
    void *mapped = mem ? qy_mapped_align(mem, alignment) : NULL;
    if (!mem || mapped)
        return mapped;
    struct qy_arena *a = qy_arena_of(mem);
    size_t front = qy_front_of_aligned((uintptr_t)mem, alignment);
    if (front) {
        void *aligned = qy_arena_cut(a, mem, front);
        qy_block_free(mem);
        mem = aligned;
    }
    free_rest(a, mem, size, QY_MIN_CHUNK + 1);
    return mem;
}

void *qy_classic_resize(struct qy_arena *a, void *mem, size_t request)
{
    size_t size = qy_chunk_size_for(request), have = qy_chunk_size(qy_mem_chunk(mem)) - QY_TAG_BYTES;
    if (!qy_arena_extend(a, mem, size)) {
        void *to = qy_block_take_chunk(0, request);
        if (!to)
            return NULL;
        /* What came from top may lie right behind. */
        if (!qy_arena_join(a, mem, to)) {
            QY_PROBE(BLOCK, MOVED, to, have);
            memcpy(to, mem, have);
            qy_block_free(mem);
            return to;
        }
    }
    free_rest(a, mem, size, QY_MIN_CHUNK);
    return mem;
}
