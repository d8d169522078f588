/*
 * Bins: the free chunks of one arena, by size (M-11 to M-15). Owns the lists and the links inside free chunks.
 * Knows chunks and marks, not where chunks come from. Everything here runs under the lock of its arena.
 *
 *      index      chunk sizes                         order
 *      1          any: the unsorted bin (M-12)        first in, first out; default: always empty
 *      2..63      32, 48, ... 1008: small (M-13)      first in, first out
 *      64..       ranges: large (M-14)                classic: by size, larger first; *_nextsize skips over equal sizes
 *                                                     default: none
 *
 * Classic has ptmalloc's 63 large bins; keeping one sorted costs a walk over as many sizes as the program cares to have
 * there. The default profile has 16 bins for each doubling instead and keeps none sorted: what a larger bin holds
 * always fits, and in its own bin a request looks at a few chunks only. So no operation walks a list whose length the
 * program controls, for a chunk at most a sixteenth larger than the best one (TLSF: Masmano et al. 2004).
 *
 * bins[] holds only the fd and bk of each list's head; qy_bin_head pretends that a chunk lies around them, so that
 * heads and chunks are linked alike.
 */
#ifndef QY_BIN_BIN_H
#define QY_BIN_BIN_H

#include "chunk/marks.h"

#define QY_BIN_COUNT 336u
#define QY_CLASSIC_BINS 128u
#define QY_UNSORTED 1u
#define QY_SMALL_BINS 64u
#define QY_MIN_LARGE ((size_t)1024)
#define QY_FAST_BINS 10u /* chunks of 32 to 176 bytes: requests up to 160 */
#define QY_BINMAP_WORDS ((QY_BIN_COUNT + 63) / 64)

struct qy_bins {
    struct qy_arena *owner;
    struct qy_chunk *fast[QY_FAST_BINS];
    struct qy_chunk *links[2 * QY_BIN_COUNT - 2];
    uint64_t map[QY_BINMAP_WORDS]; /* bit i is set when bin i may hold a chunk (M-15); cleared lazily */
    bool have_fast;                /* some fast bin may hold a chunk */
    bool sorted;                   /* the classic profile's large bins */
};

void qy_bins_init(struct qy_bins *bins, struct qy_arena *owner, bool sorted);

QY_INLINE struct qy_chunk *qy_bin_head(struct qy_bins *bins, unsigned index)
{
    return (struct qy_chunk *)((char *)&bins->links[(index - 1) * 2] - offsetof(struct qy_chunk, fd));
}

QY_INLINE bool qy_bin_is_small(size_t chunk_size)
{
    return chunk_size < QY_MIN_LARGE;
}

QY_INLINE unsigned qy_bin_index_classic(size_t n)
{
    return (unsigned)((n >> 6) <= 48    ? 48 + (n >> 6)
                      : (n >> 9) <= 20  ? 91 + (n >> 9)
                      : (n >> 12) <= 10 ? 110 + (n >> 12)
                      : (n >> 15) <= 4  ? 119 + (n >> 15)
                      : (n >> 18) <= 2  ? 124 + (n >> 18)
                                        : QY_CLASSIC_BINS - 2);
}

/* 16 for each doubling from 1024; the last holds the rest. */
QY_INLINE unsigned qy_bin_index_geometric(size_t n)
{
    unsigned doubling = qy_high_bit(n);
    unsigned index = QY_SMALL_BINS + (doubling - 10) * 16 + (unsigned)(n >> (doubling - 4)) % 16;
    return index < QY_BIN_COUNT - 2 ? index : QY_BIN_COUNT - 2;
}

/* The bin that a chunk size belongs to: exact for small sizes, a range for large ones (M-13, M-14). */
QY_INLINE unsigned qy_bin_index(const struct qy_bins *bins, size_t chunk_size)
{
    if (qy_bin_is_small(chunk_size))
        return (unsigned)(chunk_size >> 4);
    return bins->sorted ? qy_bin_index_classic(chunk_size) : qy_bin_index_geometric(chunk_size);
}

/* First and last chunk of a list, or NULL. The last one of a small bin has waited longest. */
struct qy_chunk *qy_bin_first(struct qy_bins *bins, unsigned index);
struct qy_chunk *qy_bin_last(struct qy_bins *bins, unsigned index);

/*
 * A chunk that became free, foot written. Classic: into the unsorted bin, where it gets its one chance before it is
 * sorted (M-12); that spares sorting those that are taken again at once. Default: into its bin, which costs no more.
 */
void qy_bin_insert(struct qy_bins *bins, struct qy_chunk *c);

/* A free chunk into the small or large bin of its size. */
void qy_bin_insert_sorted(struct qy_bins *bins, struct qy_chunk *c);

/* Takes a free chunk out of whatever list it is in, after checking every word that is about to be believed. */
void qy_bin_unlink(struct qy_bins *bins, struct qy_chunk *c);

/* A chunk of a large bin that is at least `size`: classic, the smallest (M-14: best fit); NULL when none was found. */
struct qy_chunk *qy_bin_fit(struct qy_bins *bins, unsigned index, size_t size);

/* The next chunk of a bin above `index`, smallest first, found through the binmap (M-15); NULL when none. */
struct qy_chunk *qy_bin_next_larger(struct qy_bins *bins, unsigned index);

/*
 * The chunk after `c` in a list, from its head on; NULL at the end. Every word that leads there is checked, and so is
 * the size of what is returned: nothing else may be believed of a free chunk.
 */
struct qy_chunk *qy_bin_walk(struct qy_bins *bins, unsigned index, struct qy_chunk *c);

/* Fast bins (M-11). A chunk there keeps its in-use mark; its link is `(address >> 12) ^ next`, as in ptmalloc. */
QY_INLINE unsigned qy_fast_index(size_t chunk_size)
{
    return (unsigned)(chunk_size >> 4) - 2;
}

void qy_fast_push(struct qy_bins *bins, struct qy_chunk *c);
struct qy_chunk *qy_fast_pop(struct qy_bins *bins, size_t chunk_size);

/*
 * Walks every list and aborts when an invariant is broken (docs/invariants.md, I-10 to I-20). Returns how many chunks
 * it saw.
 */
size_t qy_bins_check(struct qy_bins *bins);

#endif
