/*
 * Runs: 64 KiB cut into equal cells, for requests up to run_max. A run belongs to one owner (a thread cache), for whose
 * threads alone it has cells; anybody may give a cell back.
 *
 *      base    +------------------+
 *              | unused           |
 *              | header of cell 0 |  <- base + first - 8
 *      mem 0   | cell 0 ...       |  <- base + first: a multiple of the largest power of two that divides the stride
 *              | header of cell 1 |
 *      mem 1   | cell 1 ...       |  <- base + first + stride
 *              | ...              |
 *              | closing header   |  closes the last cell off
 *              +------------------+
 *
 * The 8 bytes before a cell are its header, as a chunk's size word is (M-01): class and secret.
 *
 *      bits 63..32 secret, or 0 while the cell is free | bits 31..16 secret | bits 15..0 tag: stride + 8
 *
 * So free() learns the size from the block alone, a forged or interior pointer does not have the secret, a second
 * free finds the upper half gone whatever was written to the block meanwhile, and a write past the end of the block
 * before shows. The lowest byte is never 0: one stray NUL shows, too.
 *
 * Which cells are free is not in the cells: a bitmap in the descriptor says it. The owner's bits need no atomics; who
 * is not the owner announces how many cells he brings, sets their bits in a second bitmap, and puts the run into its
 * owner's inbox when nobody else had announced any.
 */
#ifndef QY_RUN_RUN_H
#define QY_RUN_RUN_H

#include "base/atomic.h"
#include "os/pages.h"
#include "run/zone.h"

#define QY_CELL_HEADER_BYTES 8u
#define QY_CELL_UNIT 16u
#define QY_CELL_TAG_EXTRA 8u /* so that no byte of a header is a NUL that an overflow could leave unchanged */
#define QY_SMALL_CLASSES 65u /* of these, class c has a stride of 16 c; class 0 is none */
#define QY_POWER_CLASSES \
    4u /* and one for each power of two from 1 KiB to 8 KiB, with its header: see qy_cell_class */
#define QY_CLASSES (QY_SMALL_CLASSES + QY_POWER_CLASSES)
#define QY_RUN_SMALL \
    ((QY_SMALL_CLASSES - 1) * QY_CELL_UNIT - QY_CELL_HEADER_BYTES) /* what all requests up to have cells */
#define QY_LARGEST_STRIDE ((size_t)8192 + QY_CELL_UNIT)
#define QY_RUN_LARGEST (QY_LARGEST_STRIDE - QY_CELL_HEADER_BYTES)
#define QY_RUN_MAX_CELLS 2048u
#define QY_RUN_WORDS (QY_RUN_MAX_CELLS / 64)

/* What only its owner writes comes first; what others write too has a line of its own. */
struct qy_run {
    struct qy_run *next,
        *prev;   /* the owner's ring of runs with free cells (NULL: not in it), or the zone's lists */
    void *owner; /* the thread cache; NULL in the zone */
    uint64_t freed_at_ms; /* in the zone: when it came back */
    uint8_t cls;
    uint8_t first_word; /* words below are empty: where to look for a free cell */
    uint16_t cells;     /* that fit */
    uint16_t available; /* of them, whose header and closing header are in carved pages */
    uint16_t free;      /* of these: bits set in free_bits */
    uint16_t carved;    /* bit p: page p has its headers; no block lies in the others */
    uint16_t stale; /* bit p: of these, resident all the same: from an earlier use, or part of a huge page */
    uint16_t idle;  /* bit p: at the last tick, no block lay in page p */
    uint16_t due;   /* bit p: at the last two, and still to be given back */
    uint16_t ahead; /* so many pages become resident with one that is carved: its owner says */
    uint16_t
        ready; /* in the zone: bit p: page p is stale, and has the headers of the class still, all free */
    uint64_t free_bits[QY_RUN_WORDS];

    struct qy_run *inbox_next QY_ALIGNED(64);
    uint32_t announced;                 /* atomic: cells that others give back, not yet collected */
    uint64_t remote_bits[QY_RUN_WORDS]; /* atomic: freed by others, not yet collected */

    /* In the zone, while it has headers: what of its class came home after it, and before. */
    struct qy_run *newer, *older;
};

struct qy_class {
    uint32_t stride;
    uint32_t inverse; /* offset * inverse >> 32 is offset / stride, for offsets below 64 KiB */
    uint16_t first;
    uint16_t cells;
};

QY_OURS const struct qy_class qy_classes[QY_CLASSES];
QY_OURS uint64_t qy_class_keys[QY_CLASSES]; /* the header of a block in use */

/*
 * The stride that serves a request of at most QY_RUN_SMALL: 16 apart up to 256, then 8 for each doubling. More classes
 * would lose less to rounding and more to pages that one class alone uses (docs/decisions/0014-fewer-classes.md).
 */
QY_INLINE unsigned qy_stride_grain(size_t stride)
{
    return stride <= 256 ? 16 : stride <= 512 ? 32 : 64;
}

QY_INLINE unsigned qy_cell_stride(size_t request)
{
    size_t stride = request + QY_CELL_HEADER_BYTES;
    return (unsigned)qy_align_up(stride, qy_stride_grain(stride));
}

/*
 * The class that serves a request; 0: none. Beyond the small ones, only powers of two, which programs like for their
 * buffers, and what needs as large a chunk as they do: these cost no more as cells, and are often many of one size.
 */
QY_INLINE unsigned qy_cell_class(size_t request)
{
    if (request <= QY_RUN_SMALL)
        return qy_cell_stride(request) / QY_CELL_UNIT;
    size_t power = qy_align_up(request + QY_CELL_HEADER_BYTES, QY_CELL_UNIT) - QY_CELL_UNIT;
    return power & (power - 1) || power + QY_CELL_UNIT > QY_LARGEST_STRIDE
               ? 0
               : QY_SMALL_CLASSES + qy_high_bit(power) - 10;
}

/* The class of cells so far apart, which there is. */
QY_INLINE unsigned qy_class_of_stride(size_t stride)
{
    return (unsigned)(stride < QY_SMALL_CLASSES * QY_CELL_UNIT ? stride / QY_CELL_UNIT
                                                               : QY_SMALL_CLASSES - 10 + qy_high_bit(stride));
}

/* Also for the table, which is made by the compiler. */
#define QY_CLASS_STRIDE(c)                     \
    ((c) < QY_SMALL_CLASSES ? (c)*QY_CELL_UNIT \
                            : (1024u << ((c) < QY_SMALL_CLASSES ? 0 : (c)-QY_SMALL_CLASSES)) + QY_CELL_UNIT)

QY_INLINE uint32_t qy_class_stride(unsigned cls)
{
    return QY_CLASS_STRIDE(cls);
}

/* The lower 16 bits of its cells' headers. */
QY_INLINE uint16_t qy_cell_tag(unsigned cls)
{
    return (uint16_t)(qy_class_stride(cls) + QY_CELL_TAG_EXTRA);
}

void qy_class_keys_init(const uint64_t *secrets);

/* A bit for each page of a run. */
QY_INLINE uint16_t qy_run_all_pages(void)
{
    return (uint16_t)((1u << (QY_RUN_BYTES / qy_page_bytes)) - 1);
}

/* The descriptor of the run with this number in the zone, and back. */
QY_INLINE struct qy_run *qy_run_at(size_t index)
{
    return (struct qy_run *)qy_zone.strides - 1 - index;
}

QY_INLINE size_t qy_run_index(const struct qy_run *run)
{
    return (size_t)((const struct qy_run *)qy_zone.strides - 1 - run);
}

QY_INLINE struct qy_run *qy_run_of(uintptr_t address)
{
    return qy_run_at((address - qy_zone.lo) >> QY_RUN_SHIFT);
}

QY_INLINE char *qy_run_base(const struct qy_run *run)
{
    return (char *)(qy_zone.lo + (qy_run_index(run) << QY_RUN_SHIFT));
}

QY_INLINE uint64_t *qy_cell_header(void *cell)
{
    return (uint64_t *)cell - 1;
}

QY_INLINE uint64_t qy_key_when_free(uint64_t key)
{
    return (uint32_t)key;
}

/*
 * The gate for pointers into the zone: returns the class of a block in use, sound at both ends; anything else is fatal.
 */
unsigned qy_cell_vet(const void *cell);

/* Sets a run from the zone up for `class`. */
void qy_run_start(struct qy_run *run, unsigned cls, void *owner);

/* All its cells are free: it is nobody's from here on. */
void qy_run_end(struct qy_run *run);

/*
 * Takes up to `most` free cells, the lowest; returns how many. They go to end[-1], end[-2], …, upwards in address.
 * Headers are carved a page at a time, when no other cell is free, so memory that is not handed out is not touched.
 */
unsigned qy_run_take(struct qy_run *run, void **end, unsigned most);

QY_COLD void qy_cell_already_free(const void *cell) __attribute__((noreturn));

/* The owner gives a cell of this run back, the one with this index. One that is already free is fatal. */
QY_INLINE void qy_run_put(struct qy_run *run, size_t index, const void *cell)
{
    size_t word = index / 64;
    uint64_t before = run->free_bits[word], after = before | (uint64_t)1 << (index % 64);
    if (QY_UNLIKELY(after == before))
        qy_cell_already_free(cell);
    run->free_bits[word] = after;
    if (word < run->first_word)
        run->first_word = (uint8_t)word;
    run->free++;
}

/*
 * Somebody else gives `count` cells of this run back. A cell that is already free is fatal. True: the caller must put
 * the run into its owner's inbox. Otherwise the run may be gone already.
 */
bool qy_run_put_remote(struct qy_run *run, void *const *cells, unsigned count);

/*
 * The owner collects what others gave back. Call after the run was taken out of the inbox. False: somebody is still
 * about to set bits that he announced, so the run stays to be collected.
 */
bool qy_run_collect(struct qy_run *run);

/*
 * Which idle memory goes back: none; what was idle at the last two ticks, this being one; what has been since, and was
 * left; all of it.
 */
enum qy_purge { QY_KEEP, QY_PURGE_OLD, QY_PURGE_LEFT, QY_PURGE_ALL };

/*
 * Gives the memory of pages back in which no block lies, in at most *most calls of the kernel, which it counts down.
 * The owner calls this; returns the pages given back.
 */
unsigned qy_run_purge(struct qy_run *run, enum qy_purge purge, unsigned *most);

/* Aborts when an invariant of a run in use is broken (docs/invariants.md, I-33 to I-36). The owner calls this. */
void qy_run_check(const struct qy_run *run);

/* No cell of the run is in use or in anybody's cache. */
QY_INLINE bool qy_run_is_empty(const struct qy_run *run)
{
    return run->free == run->available;
}

QY_INLINE bool qy_run_has_cells(const struct qy_run *run)
{
    return run->free != 0 || run->available < run->cells;
}

#endif
