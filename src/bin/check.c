/*
 * The walker of the bins: every list, every invariant. Costs as much as there are free chunks, so it runs in
 * check builds on slow paths, and in tests.
 */
#include "base/message.h"
#include "bin/bin.h"

static void must(bool holds, const struct qy_chunk *c, const char *invariant)
{
    if (!holds)
        qy_fatal("invariant", qy_chunk_mem((struct qy_chunk *)c), invariant);
}

/* Of a large chunk, for time's sake, its beginning only. */
#define LOOKED_THROUGH ((size_t)4096)

static void check_free_chunk(struct qy_bins *bins, struct qy_chunk *c)
{
    struct qy_chunk *next = qy_chunk_next(c);
    must(qy_granule_of((uintptr_t)c)->owner == bins->owner, c, "I-10: a binned chunk lies in its arena");
    must(qy_chunk_begins(c) && !qy_chunk_inuse(c), c, "I-11: marks say begin and free for a binned chunk");
    must(qy_chunk_begins(next) && next->prev_size == qy_chunk_size(c), c, "I-12: the foot equals the size");
    must(!qy_chunk_prev_inuse(next), c, "I-13: the chunk after a free chunk has P = 0");
    must(qy_chunk_prev_inuse(c), c, "I-14: no two free chunks are neighbours");
    must(qy_chunk_has_size(c, qy_chunk_size(c)), c, "I-09: the marks know the size");
    must(qy_chunk_whole(c, qy_min(qy_chunk_size(c), LOOKED_THROUGH)), c,
         "I-15: no chunk begins inside a chunk");
    must(qy_chunk_size(c) >= qy_seals.below || qy_word_holder(&qy_seals, (uintptr_t)c, c->size) == QY_IN_BIN,
         c, "I-43: the seal of a binned chunk says so");
}

size_t qy_bins_check(struct qy_bins *bins)
{
    size_t chunks = 0;
    for (unsigned i = QY_UNSORTED; i < QY_BIN_COUNT - 1; i++) {
        struct qy_chunk *last = NULL;
        size_t last_size = SIZE_MAX;
        /* By the gate for links: a program may have written to a free block, and that is no broken invariant. */
        for (struct qy_chunk *c = NULL; (c = qy_bin_walk(bins, i, c)) != NULL; last = c, chunks++) {
            size_t size = qy_chunk_size(c);
            check_free_chunk(bins, c);
            if (i == QY_UNSORTED)
                continue;
            must(qy_bin_index(bins, size) == i, c, "I-17: a sorted chunk is in the bin of its size");
            must(bins->map[i / 64] >> (i % 64) & 1, c, "I-18: a bin that holds a chunk has its binmap bit");
            if (!bins->sorted)
                continue;
            must(size <= last_size, c, "I-19: a classic large bin is sorted, larger first");
            if (!qy_bin_is_small(size))
                must((size == last_size) == (c->fd_nextsize == NULL), c,
                     "I-20: only the first of a size is in the list of sizes");
            last_size = size;
        }
        must(qy_bin_last(bins, i) == last, last, "I-16: fd and bk agree");
    }
    return chunks;
}
