#include "run/run.h"

#include <string.h>

#include "base/message.h"
#include "os/pages.h"

struct qy_class qy_classes[QY_CLASSES];

void qy_classes_init(const uint64_t *secrets)
{
    for (uint32_t c = 1; c < QY_CLASSES; c++) {
        uint32_t stride = c * QY_CELL_UNIT;
        uint32_t first = stride & -stride; /* so that blocks are as aligned as their stride allows */
        struct qy_class *k = &qy_classes[c];
        k->stride = stride;
        k->inverse = (uint32_t)((((uint64_t)1 << 32) + stride - 1) / stride);
        k->first = (uint16_t)first;
        k->cells = (uint16_t)qy_min((QY_RUN_BYTES - first) / stride, QY_RUN_MAX_CELLS);
        /* The upper half of a key is never 0, so that a cell in use and a free one always differ. */
        k->key = (secrets[c] & ~(uint64_t)0xffff) | (uint64_t)1 << 63 | (stride + QY_CELL_TAG_EXTRA);
    }
}

static QY_COLD void already_free(const void *cell)
{
    qy_fatal(QY_DOUBLE_FREE, cell, "this block is already free");
}

static unsigned cell_index(const struct qy_run *run, const void *cell)
{
    const struct qy_class *k = &qy_classes[run->class];
    uint32_t offset = (uint32_t)((uintptr_t)cell & (QY_RUN_BYTES - 1)) - k->first;
    return (unsigned)(((uint64_t)offset * k->inverse) >> 32);
}

QY_INLINE char *cell_at(const struct qy_run *run, unsigned index)
{
    const struct qy_class *k = &qy_classes[run->class];
    return qy_run_base(run) + k->first + (size_t)index * k->stride;
}

unsigned qy_cell_vet(const void *cell)
{
    struct qy_run *run = qy_run_of((uintptr_t)cell);
    unsigned class = run->class, index = cell_index(run, cell);
    if ((uintptr_t)cell % QY_CELL_UNIT || !run->owner || index >= run->carved || cell_at(run, index) != cell)
        qy_fatal(QY_INVALID_POINTER, cell, "no block begins here");
    const struct qy_class *k = &qy_classes[class];
    uint64_t header = *qy_cell_header((void *)cell);
    if (header == qy_key_when_free(k->key))
        already_free(cell);
    if (header != k->key)
        qy_fatal(QY_CORRUPTED_HEADER, cell, "the size before this block was written over");
    if ((uint32_t)*qy_cell_header((char *)cell + k->stride) != (uint32_t)k->key)
        qy_fatal(QY_CORRUPTED_HEADER, cell, "this block was written past its end");
    return class;
}

void qy_run_start(struct qy_run *run, unsigned class, void *owner)
{
    run->next = run->prev = NULL;
    run->class = (uint8_t)class;
    run->listed = false;
    run->cells = qy_classes[class].cells;
    run->carved = run->free = 0;
    run->first_word = QY_RUN_WORDS;
    memset(run->free_bits, 0, sizeof run->free_bits);
    run->owner = owner;
}

/* Headers for the cells that end in the next page, and the header that closes the last of them off. */
static void carve_page(struct qy_run *run)
{
    const struct qy_class *k = &qy_classes[run->class];
    unsigned from = run->carved;
    size_t done = k->first + (size_t)from * k->stride;
    size_t page_end = qy_align_up(done + k->stride, qy_page_bytes);
    unsigned to = (unsigned)qy_min((page_end - k->first) / k->stride, run->cells);
    uint64_t header = qy_key_when_free(k->key);
    char *cell = cell_at(run, from);
    if (from && *qy_cell_header(cell) != header)
        qy_fatal(QY_CORRUPTED_HEADER, cell - k->stride, "this block was written past its end");
    for (unsigned i = from; i <= to; i++, cell += k->stride)
        *qy_cell_header(cell) = header;
    for (unsigned i = from; i < to; i++)
        run->free_bits[i / 64] |= (uint64_t)1 << (i % 64);
    run->free = (uint16_t)(run->free + (to - from));
    run->carved = (uint16_t)to;
    run->first_word = (uint16_t)qy_min(run->first_word, from / 64);
}

unsigned qy_run_take(struct qy_run *run, void **cells, unsigned most)
{
    if (run->free == 0 && run->carved < run->cells)
        carve_page(run);
    unsigned count = 0, w = run->first_word;
    while (count < most && count < run->free) {
        uint64_t bits = run->free_bits[w];
        while (bits && count < most) {
            cells[count++] = cell_at(run, w * 64 + qy_low_bit(bits));
            bits &= bits - 1;
        }
        run->free_bits[w] = bits;
        if (!bits)
            w++;
    }
    run->first_word = (uint16_t)w;
    run->free = (uint16_t)(run->free - count);
    return count;
}

void qy_run_put(struct qy_run *run, void *cell)
{
    unsigned index = cell_index(run, cell);
    uint64_t bit = (uint64_t)1 << (index % 64);
    if (run->free_bits[index / 64] & bit)
        already_free(cell);
    run->free_bits[index / 64] |= bit;
    run->free++;
    run->first_word = (uint16_t)qy_min(run->first_word, index / 64);
}

void qy_run_put_remote(struct qy_run *run, void *const *cells, unsigned count)
{
    /* Neighbours in a batch are often neighbours in the run: one atomic operation for all of a word. */
    for (unsigned i = 0; i < count;) {
        unsigned word = cell_index(run, cells[i]) / 64;
        uint64_t bits = 0;
        for (; i < count; i++) {
            unsigned index = cell_index(run, cells[i]);
            if (index / 64 != word)
                break;
            if (bits >> (index % 64) & 1)
                already_free(cells[i]);
            bits |= (uint64_t)1 << (index % 64);
        }
        /* Release: the headers written above, to the owner who takes the bits with acquire. */
        if (qy_or_release(&run->remote_bits[word], bits) & bits)
            already_free(cells[i - 1]);
    }
}

bool qy_run_must_notify(struct qy_run *run)
{
    /*
     * Orders the bits set before against `pending`: either the owner, who clears pending first and collects
     * then, sees our bits, or we see pending cleared and tell him again.
     */
    return qy_swap_seq_cst(&run->pending, 1) == 0;
}

void qy_run_collect(struct qy_run *run)
{
    qy_swap_seq_cst(&run->pending, 0); /* before the bits are read: see qy_run_must_notify */
    unsigned words = (run->cells + 63u) / 64;
    for (unsigned w = 0; w < words; w++) {
        if (!qy_load_relaxed(&run->remote_bits[w]))
            continue;
        uint64_t bits = qy_swap_acquire(&run->remote_bits[w], 0); /* pairs with the release in qy_run_put_remote */
        if (run->free_bits[w] & bits)
            already_free(cell_at(run, w * 64 + qy_low_bit(run->free_bits[w] & bits)));
        run->free_bits[w] |= bits;
        run->free = (uint16_t)(run->free + __builtin_popcountll(bits));
        run->first_word = (uint16_t)qy_min(run->first_word, w);
    }
}
