#include "run/run.h"

#include <string.h>

#include "base/message.h"
#include "base/probe.h"

uint64_t qy_class_keys[QY_CLASSES];

/* The upper half is never 0, so that a cell in use and a free one always differ. Class 0 has one that no header is. */
void qy_class_keys_init(const uint64_t *secrets)
{
    for (unsigned c = 0; c < QY_CLASSES; c++)
        qy_class_keys[c] = (secrets[c] & ~(uint64_t)0xffff) | (uint64_t)1 << 63 | qy_cell_tag(c);
}

void qy_cell_already_free(const void *cell)
{
    qy_fatal(QY_DOUBLE_FREE, cell, "this block is already free");
}

QY_INLINE unsigned cell_index(const struct qy_class *k, const void *cell)
{
    uint32_t offset = (uint32_t)((uintptr_t)cell & (QY_RUN_BYTES - 1)) - k->first;
    return (unsigned)(((uint64_t)offset * k->inverse) >> 32);
}

QY_INLINE char *cell_at(const struct qy_run *run, unsigned index)
{
    const struct qy_class *k = &qy_classes[run->cls];
    return qy_run_base(run) + k->first + (size_t)index * k->stride;
}

static void set_carved(struct qy_run *run, uint16_t pages)
{
    qy_store_plain(&run->carved, (uint16_t)(run->carved | pages));
    run->stale = (uint16_t)(run->stale & ~pages);
}

/* Zero unless all cells are available: so what all threads count in one place changes seldom. */
static size_t full_bytes(const struct qy_run *run)
{
    return run->available == run->cells ? (size_t)run->cells * qy_classes[run->cls].stride : 0;
}

static void count_full(size_t before, size_t after)
{
    if (before != after)
        qy_add_relaxed(&qy_zone.full_bytes, after - before);
}

/*
 * A batch of blocks is often followed by another: who takes a run for what it was finds its headers and free bits as
 * they were.
 */
void qy_run_start(struct qy_run *run, unsigned cls, void *owner)
{
    run->next = run->prev = NULL;
    run->idle = run->due = 0;
    run->owner = owner;
    uint16_t *stride = &qy_zone.strides[qy_run_index(run)];
    if (*stride != qy_class_stride(cls)) /* every free reads the line, also of the runs beside it */
        *stride = (uint16_t)qy_class_stride(cls);
    if (run->ready && run->cls == cls) {
        set_carved(run, run->ready);
        count_full(0, full_bytes(run));
        return;
    }
    run->cls = (uint8_t)cls;
    run->cells = qy_classes[cls].cells;
    run->available = run->free = 0;
    run->first_word = QY_RUN_WORDS;
    memset(run->free_bits, 0, sizeof run->free_bits);
}

void qy_run_end(struct qy_run *run)
{
    run->owner = NULL;
    run->ready = run->carved;
    run->stale = (uint16_t)(run->stale | run->carved);
    run->carved = 0;
    count_full(full_bytes(run), 0);
}

/*
 * A cell is available while both headers that bound it are there, and what lies between: no block is handed out that
 * free() would refuse.
 */
static bool is_available(const struct qy_run *run, unsigned index)
{
    const struct qy_class *k = &qy_classes[run->cls];
    size_t header = k->first + (size_t)index * k->stride - QY_CELL_HEADER_BYTES;
    unsigned from = (unsigned)(header >> qy_page_shift),
             to = (unsigned)((header + k->stride) >> qy_page_shift);
    unsigned pages = (2u << to) - (1u << from);
    return (qy_load_plain(&run->carved) & pages) == pages; /* of a block in use, none of these changes */
}

/* The headers that lie in a page: `from` to below `to`; the last of a run closes its last cell off. */
struct range {
    unsigned from, to;
};

/* Rounded up; as far as a run is long. */
static unsigned strides_to(const struct qy_class *k, size_t bytes)
{
    return (unsigned)(((bytes + k->stride - 1) * k->inverse) >> 32);
}

static struct range headers_in_page(const struct qy_run *run, unsigned page)
{
    const struct qy_class *k = &qy_classes[run->cls];
    size_t first_header = k->first - QY_CELL_HEADER_BYTES;
    size_t start = page * qy_page_bytes, end = start + qy_page_bytes;
    unsigned from = start <= first_header ? 0 : strides_to(k, start - first_header);
    unsigned to = strides_to(k, end - first_header);
    return (struct range){(unsigned)qy_min(from, run->cells + 1u), (unsigned)qy_min(to, run->cells + 1u)};
}

/* The cells that a page's headers bound. */
static struct range cells_of_page(const struct qy_run *run, unsigned page)
{
    struct range headers = headers_in_page(run, page);
    return (struct range){headers.from ? headers.from - 1 : 0, (unsigned)qy_min(headers.to, run->cells)};
}

/* Sets the free bits of cells from `from` to below `to`. */
static void set_free(struct qy_run *run, unsigned from, unsigned to)
{
    for (unsigned at = from, end; at < to; at = end) {
        end = (unsigned)qy_min((at / 64 + 1) * 64, to);
        run->free_bits[at / 64] |= (~(uint64_t)0 >> (64 - (end - at))) << (at % 64);
    }
    run->available = (uint16_t)(run->available + (to - from));
    run->free = (uint16_t)(run->free + (to - from));
    run->first_word = (uint8_t)qy_min(run->first_word, from / 64);
}

/* The page that is about to be carved, and those behind it. What is resident before it is carved is stale. */
static void fault_ahead(struct qy_run *run, unsigned page)
{
    unsigned resident = (unsigned)(run->carved | run->stale | (qy_run_all_pages() + 1u)) >> page;
    unsigned count = (unsigned)qy_min(qy_low_bit(resident), run->ahead + 1u);
    if (count > 1 && qy_pages_populate(qy_run_base(run) + page * qy_page_bytes, count * qy_page_bytes))
        run->stale = (uint16_t)(run->stale | ((1u << count) - 1) << page);
}

static void carve_page(struct qy_run *run)
{
    const struct qy_class *k = &qy_classes[run->cls];
    unsigned page = qy_low_bit(~(uint64_t)run->carved);
    if (run->ahead)
        fault_ahead(run, page);
    struct range headers = headers_in_page(run, page);
    uint64_t header = qy_key_when_free(qy_class_keys[run->cls]);
    char *cell = cell_at(run, headers.from);
    for (unsigned i = headers.from; i < headers.to; i++, cell += k->stride)
        *qy_cell_header(cell) = header;
    set_carved(run, (uint16_t)(1u << page));
    /* Those at the page's borders need another page, too. */
    struct range cells = cells_of_page(run, page);
    if (cells.from < cells.to && !is_available(run, cells.from))
        cells.from++;
    if (cells.from < cells.to && !is_available(run, cells.to - 1))
        cells.to--;
    if (cells.from < cells.to)
        set_free(run, cells.from, cells.to);
    count_full(0, full_bytes(run));
    QY_PROBE(RUN, CARVED, qy_run_base(run) + page * qy_page_bytes, qy_page_bytes);
}

static bool is_free(const struct qy_run *run, unsigned index)
{
    return run->free_bits[index / 64] >> (index % 64) & 1;
}

static bool page_is_idle(const struct qy_run *run, unsigned page)
{
    struct range cells = cells_of_page(run, page);
    for (unsigned i = cells.from; i < cells.to; i++) {
        if (!is_free(run, i) && is_available(run, i))
            return false;
    }
    return true;
}

/* It is not resident, and its cells are no longer available; carve_page brings them back. */
static void forget_page(struct qy_run *run, unsigned page)
{
    struct range cells = cells_of_page(run, page);
    for (unsigned i = cells.from; i < cells.to; i++) {
        if (is_free(run, i)) {
            run->free_bits[i / 64] &= ~((uint64_t)1 << (i % 64));
            run->free--;
            run->available--;
        }
    }
    qy_store_plain(&run->carved, (uint16_t)(run->carved & ~(1u << page)));
    run->stale = (uint16_t)(run->stale & ~(1u << page));
}

static unsigned idle_pages(const struct qy_run *run)
{
    unsigned idle = run->stale;
    if (run->free < qy_page_bytes / qy_classes[run->cls].stride)
        return idle;
    for (unsigned page = 0; page < QY_RUN_BYTES >> qy_page_shift; page++)
        idle |= (unsigned)((run->carved >> page & 1) && page_is_idle(run, page)) << page;
    return idle;
}

/*
 * Pages side by side go back in one call. Where the program locked one, others of them may have gone, and no header is
 * to be believed.
 */
static unsigned purge_stretch(struct qy_run *run, unsigned from, unsigned count)
{
    char *at = qy_run_base(run) + from * qy_page_bytes;
    bool gone = qy_pages_purge(at, count * qy_page_bytes);
    QY_PROBE(RUN, PURGED, at, count * qy_page_bytes);
    size_t full = full_bytes(run);
    for (unsigned page = from; page < from + count; page++)
        forget_page(run, page);
    count_full(full, full_bytes(run));
    if (!gone)
        run->stale = (uint16_t)(run->stale | ((1u << count) - 1) << from);
    return gone ? count : 0;
}

unsigned qy_run_purge(struct qy_run *run, enum qy_purge purge, unsigned *most)
{
    unsigned idle = purge != QY_PURGE_LEFT || run->due ? idle_pages(run) : 0;
    unsigned due = run->due & idle, purged = 0;
    if (purge == QY_PURGE_OLD)
        due |= run->idle & idle;
    if (purge == QY_PURGE_ALL)
        due = idle;
    if (purge != QY_PURGE_LEFT)
        run->idle = (uint16_t)idle;
    for (unsigned from, count; due && *most > 0; --*most) {
        from = qy_low_bit(due);
        count = qy_low_bit(~(uint64_t)(due >> from));
        purged += purge_stretch(run, from, count);
        due &= ~(((1u << count) - 1) << from);
    }
    run->due = (uint16_t)due;
    return purged;
}

unsigned qy_run_take(struct qy_run *run, void **end, unsigned most)
{
    while (run->free == 0 && run->available < run->cells)
        carve_page(run);
    const size_t stride = qy_classes[run->cls].stride;
    const unsigned count = (unsigned)qy_min(most, run->free);
    char *const first = cell_at(run, 0);
    void **const to = end - count;
    unsigned w = run->first_word;
    while (end > to) {
        uint64_t bits = run->free_bits[w];
        char *const of_word = first + w * 64 * stride;
        for (; bits && end > to; bits &= bits - 1)
            *--end = of_word + qy_low_bit(bits) * stride;
        run->free_bits[w] = bits;
        w += !bits;
    }
    run->first_word = (uint8_t)w;
    run->free = (uint16_t)(run->free - count);
    return count;
}

bool qy_run_put_remote(struct qy_run *run, void *const *cells, unsigned count)
{
    /*
     * Announced before the bits: whatever the owner collects was announced, so he never counts below 0, and while
     * announced cells are missing the run is not empty and stays his. Who announces first finds 0 and pushes the run;
     * nobody collects it before he did. Who finds more than 0 does not touch the run after his last bit.
     *
     * Acquire and release: the owner has read inbox_next before the first one writes it again.
     */
    bool first = qy_add_acq_rel(&run->announced, count) == 0;
    /* Neighbours in a batch are often neighbours in the run: one atomic operation for all of a word. */
    const struct qy_class *k = &qy_classes[run->cls];
    for (unsigned i = 0, index = cell_index(k, cells[0]); i < count;) {
        unsigned word = index / 64;
        uint64_t bits = 0;
        do {
            if (bits >> (index % 64) & 1)
                qy_cell_already_free(cells[i]);
            bits |= (uint64_t)1 << (index % 64);
        } while (++i < count && (index = cell_index(k, cells[i])) / 64 == word);
        /* Release: the announcement and the headers written above, to the owner who takes the bits with acquire. */
        if (qy_or_release(&run->remote_bits[word], bits) & bits)
            qy_cell_already_free(cells[i - 1]);
    }
    return first;
}

bool qy_run_collect(struct qy_run *run)
{
    unsigned words = (run->cells + 63u) / 64, collected = 0;
    for (unsigned w = 0; w < words; w++) {
        if (!qy_load_relaxed(&run->remote_bits[w]))
            continue;
        uint64_t bits =
            qy_swap_acquire(&run->remote_bits[w], 0); /* pairs with the release in qy_run_put_remote */
        if (run->free_bits[w] & bits)
            qy_cell_already_free(cell_at(run, w * 64 + qy_low_bit(run->free_bits[w] & bits)));
        run->free_bits[w] |= bits;
        run->first_word = (uint8_t)qy_min(run->first_word, w);
        collected += qy_count_bits(bits);
    }
    run->free = (uint16_t)(run->free + collected);
    /* Release: inbox_next, which the caller has read, may now be written by whoever announces next. */
    return qy_sub_acq_rel(&run->announced, collected) == collected;
}

unsigned qy_cell_vet(const void *cell)
{
    QY_PROBE(GATE, ASKED, cell, 0);
    /* By its header, which lies in the same run: the end of the zone has no run. */
    struct qy_run *run = qy_run_of((uintptr_t)cell - QY_CELL_HEADER_BYTES);
    unsigned cls = run->cls, index = cell_index(&qy_classes[cls], cell);
    if ((uintptr_t)cell % QY_CELL_UNIT || cls == 0 || index >= run->cells || cell_at(run, index) != cell)
        qy_fatal(QY_INVALID_POINTER, cell, "no block begins here");
    uint64_t key = qy_class_keys[cls], header = qy_load_plain(qy_cell_header((void *)cell));
    if (header == qy_key_when_free(key))
        qy_cell_already_free(cell);
    if (!run->owner || !is_available(run, index))
        qy_fatal(QY_INVALID_POINTER, cell, "no block begins here");
    if (header != key)
        qy_fatal(QY_CORRUPTED_HEADER, cell, "the size before this block was written over");
    if ((uint32_t)qy_load_plain(qy_cell_header((char *)cell + qy_classes[cls].stride)) != (uint32_t)key)
        qy_fatal(QY_CORRUPTED_HEADER, cell, "this block was written past its end");
    return cls;
}

static void must(bool holds, const struct qy_run *run, const char *invariant)
{
    if (!holds)
        qy_fatal("invariant", qy_run_base(run), invariant);
}

void qy_run_check(const struct qy_run *run)
{
    unsigned available = 0, free = 0;
    must(run->cls > 0 && run->cls < QY_CLASSES && run->cells == qy_classes[run->cls].cells, run,
         "I-32: a run has a class");
    for (unsigned i = 0; i < QY_RUN_WORDS; i++)
        free += qy_count_bits(run->free_bits[i]);
    for (unsigned i = 0; i < run->cells; i++) {
        available += is_available(run, i);
        must(is_available(run, i) || !is_free(run, i), run, "I-36: a free cell has both its headers");
    }
    must(available == run->available, run, "I-36: available cells are those with both headers");
    must(free == run->free, run, "I-33: free cells are the bits that are set");
    for (unsigned i = 0; i < qy_min(run->first_word, QY_RUN_WORDS); i++)
        must(run->free_bits[i] == 0, run, "I-35: words below the first are empty");
    must((run->carved & run->stale) == 0, run, "I-42: a page is carved, or stale, or neither");
}
