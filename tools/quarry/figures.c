#include "figures.h"

#include "memory.h"

#include <stdlib.h>
#include <string.h>

const struct part_text part_texts[PARTS] = {
    [PART_LIVE] = {"live", "live", "in blocks that the program holds"},
    [PART_ROUNDING] = {"rounding", "rounding", "headers and padding of these blocks"},
    [PART_CACHED] = {"cached", "thread caches", "free, kept by threads for their next malloc"},
    [PART_FREE_CELLS] = {"free_cells", "free cells", "free small blocks, in runs that threads own"},
    [PART_FAST] = {"fast", "fast bins", "free chunks, not merged with their neighbours"},
    [PART_BINNED] = {"binned", "bins", "free chunks, merged, in bins by size"},
    [PART_INBOX] = {"inbox", "inboxes", "freed by other threads, waiting for the arena"},
    [PART_MOVING] = {"moving", "in no list", "free; a thread had them in hand, or the list is damaged"},
    [PART_TOP] = {"top", "top", "free, at the ends of segments; used last"},
    [PART_FENCE] = {"fence", "fenceposts", "they close segments off"},
    [PART_UNCARVED] = {"uncarved", "not carved", "parts of runs that hold no cells"},
    [PART_FREE_RUNS] = {"free_runs", "free runs", "runs no thread owns, and room for more"},
    [PART_METADATA] = {"metadata", "metadata", "what Quarry needs to know all this"},
    [PART_OTHER] = {"other", "other", "reserve of sub-heaps, holes, damaged parts"},
};

/* ---- residency: per segment, how many pages before each page are resident ---- */

struct residency {
    const struct model *m;
    uint32_t **before;          /* one array a segment, pages + 1 long; NULL: nothing is known */
    const struct segment *last; /* that was asked for; the next address is often in it, too */
};

static uint64_t page_base(const struct model *m, const struct segment *s)
{
    return s->is.from & ~(m->page_bytes - 1);
}

static uint64_t page_count(const struct model *m, const struct segment *s)
{
    return (s->is.to + m->page_bytes - 1) / m->page_bytes - s->is.from / m->page_bytes;
}

static bool page_is_resident(const struct segment *s, uint64_t page)
{
    return s->pages[page / 4] >> (page % 4 * 2) & 1; /* resident, or huge */
}

static void residency_start(struct residency *r, const struct model *m)
{
    *r = (struct residency){.m = m, .before = allocate(m->segment_count * sizeof *r->before)};
    for (size_t i = 0; i < m->segment_count; i++) {
        const struct segment *s = &m->segments[i];
        if (!s->pages)
            continue;
        uint64_t pages = page_count(m, s);
        r->before[i] = allocate((pages + 1) * sizeof **r->before);
        for (uint64_t p = 0; p < pages; p++)
            r->before[i][p + 1] = r->before[i][p] + page_is_resident(s, p);
    }
}

static void residency_end(struct residency *r)
{
    for (size_t i = 0; i < r->m->segment_count; i++)
        free(r->before[i]);
    free(r->before);
}

static uint64_t resident_in(const struct residency *r, size_t segment, uint64_t from, uint64_t to)
{
    const struct segment *s = &r->m->segments[segment];
    const uint32_t *before = r->before[segment];
    uint64_t page = r->m->page_bytes, base = page_base(r->m, s);
    uint64_t first = (from - base) / page, last = (to - 1 - base) / page;
    if (!before || from >= to)
        return 0;
    if (first == last)
        return before[last + 1] - before[last] ? to - from : 0;
    uint64_t bytes = (uint64_t)(before[last] - before[first + 1]) * page;
    if (before[first + 1] - before[first])
        bytes += base + (first + 1) * page - from;
    if (before[last + 1] - before[last])
        bytes += to - (base + last * page);
    return bytes;
}

static uint64_t resident(struct residency *r, uint64_t from, uint64_t to)
{
    const struct segment *s = r->last;
    if (!s || from < s->is.from || from >= s->is.to)
        s = model_segment_at(r->m, from);
    if (!s || to > s->is.to)
        return 0;
    r->last = s;
    return resident_in(r, (size_t)(s - r->m->segments), from, to);
}

/* ---- adding up ---- */

static void add(struct figure *f, uint64_t bytes, uint64_t resident_bytes, uint64_t count)
{
    f->bytes += bytes;
    f->resident += resident_bytes;
    f->count += count;
}

static void add_range(struct figures *f, struct residency *r, enum part part, uint64_t from, uint64_t to,
                      uint64_t count)
{
    if (from < to)
        add(&f->parts[part], to - from, resident(r, from, to), count);
}

/* A block: its header and padding apart from what the program may use. */
static void add_block(struct figures *f, struct residency *r, uint64_t from, uint64_t mem, uint64_t to,
                      uint64_t usable)
{
    uint64_t all = resident(r, from, to), header = to - from - usable;
    uint64_t header_resident = resident(r, mem - 8, mem) ? header : 0;
    if (header_resident > all)
        header_resident = all;
    add(&f->parts[PART_ROUNDING], header, header_resident, 0);
    add(&f->parts[PART_LIVE], usable, all - header_resident, 1);
}

static void add_chunk(struct figures *f, struct residency *r, const struct chunk *c)
{
    static const enum part parts[STATES] = {
        [STATE_BINNED] = PART_BINNED, [STATE_UNSORTED] = PART_BINNED, [STATE_FAST] = PART_FAST,
        [STATE_CACHED] = PART_CACHED, [STATE_INBOX] = PART_INBOX,     [STATE_TOP] = PART_TOP,
        [STATE_FENCE] = PART_FENCE,   [STATE_MOVING] = PART_MOVING,
    };
    if (c->state == STATE_MAPPED)
        add_block(f, r, c->at - c->fd, c->at + 16, c->at + c->size, c->size - 16);
    else if (c->state == STATE_IN_USE || c->state == STATE_BROKEN)
        add_block(f, r, c->at, c->at + 16, c->at + c->size, c->size - 8);
    else
        add_range(f, r, parts[c->state], c->at, c->at + c->size, 1);
}

static void add_cells(struct figures *f, struct residency *r, const struct run *run, enum cell_state state,
                      enum part part)
{
    uint64_t stride = run->is.stride, first = run->is.at + run->is.first - 8;
    for (unsigned w = 0; w < QUARRY_RUN_WORDS; w++) {
        for (uint64_t bits = model_cell_word(run, w, state); bits; bits &= bits - 1) {
            uint64_t from = first + (w * 64 + (uint64_t)__builtin_ctzll(bits)) * stride;
            if (part == PART_LIVE)
                add_block(f, r, from, from + 8, from + stride, stride - 8);
            else
                add_range(f, r, part, from, from + stride, 1);
        }
    }
}

static void add_run(struct figures *f, struct residency *r, const struct run *run)
{
    static const enum part parts[] = {[CELL_IN_USE] = PART_LIVE,
                                      [CELL_FREE] = PART_FREE_CELLS,
                                      [CELL_REMOTE] = PART_FREE_CELLS,
                                      [CELL_CACHED] = PART_CACHED,
                                      [CELL_MOVING] = PART_MOVING};
    uint64_t from = run->is.at, to = from + 65536;
    if (run->state != RUN_OWNED) {
        add_range(f, r, PART_FREE_RUNS, from, to, 1);
        return;
    }
    uint64_t first = from + run->is.first - 8, last = first + (uint64_t)run->is.cells * run->is.stride;
    add_range(f, r, PART_ROUNDING, from, first, 0);
    add_range(f, r, PART_ROUNDING, last, to, 0);
    for (enum cell_state s = CELL_IN_USE; s <= CELL_MOVING; s++)
        add_cells(f, r, run, s, parts[s]);
    for (unsigned i = 0; i < run->is.cells; i++)
        if (!(run->is.available[i / 64] >> (i % 64) & 1))
            add_range(f, r, PART_UNCARVED, first + (uint64_t)i * run->is.stride,
                      first + (uint64_t)(i + 1) * run->is.stride, 0);
}

/* What of a segment no chunk covers. */
static void add_gaps(struct figures *f, struct residency *r, const struct model *m,
                     const struct quarry_segment *s)
{
    uint64_t at = s->from;
    size_t from = 0, to = m->chunk_count;
    while (from < to) {
        size_t middle = (from + to) / 2;
        if (m->chunks[middle].at < s->from)
            from = middle + 1;
        else
            to = middle;
    }
    for (size_t i = from; i < m->chunk_count && m->chunks[i].at < s->to; i++) {
        bool header = s->kind == QUARRY_SEGMENT_SUBHEAP && at == s->from;
        add_range(f, r, header ? PART_METADATA : PART_OTHER, at, m->chunks[i].at, 0);
        at = m->chunks[i].at + m->chunks[i].size;
    }
    add_range(f, r, PART_OTHER, at, s->to, 0);
}

static void add_zone(struct figures *f, struct residency *r, const struct model *m,
                     const struct quarry_segment *s)
{
    uint64_t at = s->from;
    for (size_t i = 0; i < m->run_count; i++) {
        add_range(f, r, PART_OTHER, at, m->runs[i].is.at, 0);
        add_run(f, r, &m->runs[i]);
        at = m->runs[i].is.at + 65536;
    }
    add_range(f, r, PART_OTHER, at, s->used_to, 0);
    add_range(f, r, PART_FREE_RUNS, s->used_to, s->to, 0);
}

static void add_segment(struct figures *f, struct residency *r, const struct model *m,
                        const struct segment *segment)
{
    const struct quarry_segment *s = &segment->is;
    add(&f->mapped, s->to - s->from, resident(r, s->from, s->to), 1);
    switch (s->kind) {
    case QUARRY_SEGMENT_BREAK:
    case QUARRY_SEGMENT_SUBHEAP:
        add_gaps(f, r, m, s);
        break;
    case QUARRY_SEGMENT_RUNS:
        add_zone(f, r, m, s);
        break;
    case QUARRY_SEGMENT_MAPPED:
        break; /* its one chunk covers it */
    default:
        add_range(f, r, PART_METADATA, s->from, s->to, 1);
    }
}

static uint64_t huge_in(const struct model *m, const struct segment *s)
{
    uint64_t pages = s->pages ? page_count(m, s) : 0, huge = 0;
    for (uint64_t p = 0; p < pages; p++)
        huge += (s->pages[p / 4] >> (p % 4 * 2) & 3) == 3;
    return huge * m->page_bytes;
}

void figures_of(const struct model *m, struct figures *f)
{
    struct residency r;
    *f = (struct figures){0};
    residency_start(&r, m);
    for (size_t i = 0; i < m->segment_count; i++) {
        f->residency_known |= m->segments[i].pages != NULL;
        f->huge += huge_in(m, &m->segments[i]);
        add_segment(f, &r, m, &m->segments[i]);
    }
    for (size_t i = 0; i < m->chunk_count; i++)
        add_chunk(f, &r, &m->chunks[i]);
    residency_end(&r);
}
