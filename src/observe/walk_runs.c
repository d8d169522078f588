/*
 * The zone and its runs: what the descriptors' bitmaps say, and, where they could be read, what the cells' headers say.
 */
#include <string.h>

#include "base/message.h"
#include "observe/walk.h"

static uint64_t at(const void *pointer)
{
    return (uint64_t)(uintptr_t)pointer;
}

static uint64_t run_address(const struct qy_walk *w, uint64_t index)
{
    return w->zone.lo + (index << QY_RUN_SHIFT);
}

/* The first descriptor lies last (run/zone.h). */
static uint64_t descriptor_address(const struct qy_walk *w, uint64_t index)
{
    return at(w->zone.strides) - (index + 1) * sizeof(struct qy_run);
}

/* ---- one run ---- */

static void set_bit(uint64_t *bits, unsigned i)
{
    bits[i / 64] |= (uint64_t)1 << (i % 64);
}

static unsigned count_bits(const uint64_t *bits)
{
    unsigned count = 0;
    for (unsigned i = 0; i < QUARRY_RUN_WORDS; i++)
        count += qy_count_bits(bits[i]);
    return count;
}

/* As in run/run.c: both headers that bound a cell are in carved pages, and all between them is. */
static void find_available(const struct qy_walk *w, struct quarry_run *r)
{
    uint64_t header = r->first - QY_CELL_HEADER_BYTES;
    for (unsigned i = 0; i < r->cells; i++, header += r->stride) {
        uint64_t from = header / w->page_bytes, to = (header + r->stride) / w->page_bytes;
        uint64_t pages = ((uint64_t)2 << to) - ((uint64_t)1 << from);
        if ((r->carved & pages) == pages)
            set_bit(r->available, i);
    }
}

/* The cell headers of a run, copied; NULL: cannot be read. A run of which a part cannot be read counts as not read. */
static const uint64_t *read_cells(struct qy_walk *w, const struct quarry_run *r)
{
    memset(w->copy.cells, 0, sizeof w->copy.cells);
    for (uint64_t page = 0; page < QY_RUN_BYTES; page += w->page_bytes) {
        if ((r->carved >> (page / w->page_bytes) & 1) &&
            !qy_walk_read(w, r->at + page, w->copy.cells + page / sizeof(uint64_t), w->page_bytes))
            return NULL;
    }
    return w->copy.cells;
}

static void judge_cell(struct qy_walk *w, struct quarry_run *r, unsigned i, uint64_t header, bool doubtful)
{
    uint64_t key = w->keys[r->cls];
    bool free_by_bits = (r->free[i / 64] | r->remote[i / 64]) >> (i % 64) & 1;
    uint64_t cell = r->at + r->first + (uint64_t)i * r->stride;
    if (header == qy_key_when_free(key))
        set_bit(r->headers_free, i);
    else if (header == key)
        set_bit(r->headers_live, i);
    else
        qy_walk_find(w, cell, doubtful, QY_CORRUPTED_HEADER, "the header of this cell was written over");
    if (header == key && free_by_bits)
        qy_walk_find(w, cell, doubtful, QY_CORRUPTED_HEADER,
                     "this cell is free, and its header says that it is in use");
}

static void judge_cells(struct qy_walk *w, struct quarry_run *r, bool doubtful)
{
    const uint64_t *words = read_cells(w, r);
    if (!words)
        return;
    r->headers_read = true;
    uint64_t word = (r->first - QY_CELL_HEADER_BYTES) / sizeof(uint64_t), step = r->stride / sizeof(uint64_t);
    for (unsigned i = 0; i < r->cells; i++, word += step) {
        if (r->available[i / 64] >> (i % 64) & 1)
            judge_cell(w, r, i, words[word], doubtful);
    }
    uint32_t closing = (uint32_t)words[word];
    uint64_t page = word * sizeof(uint64_t) / w->page_bytes;
    if ((r->carved >> page & 1) && closing != (uint32_t)w->keys[r->cls])
        qy_walk_find(w, r->at + word * sizeof(uint64_t), doubtful, QY_CORRUPTED_HEADER,
                     "the header that closes this run off was written over");
}

static bool cache_is_sound(struct qy_walk *w, uint64_t cache)
{
    uint64_t key;
    if (cache != w->sound_cache && cache % 64 == 0 &&
        qy_walk_read(w, cache + offsetof(struct qy_tcache, stacks[0].key), &key, sizeof key) &&
        key == w->keys[0])
        w->sound_cache = cache;
    return cache == w->sound_cache;
}

/* A cache at work may be half-way through anything that concerns its runs. */
static bool owner_works(struct qy_walk *w, uint64_t cache)
{
    struct qy_lock lock;
    return !qy_walk_read(w, cache + offsetof(struct qy_tcache, lock), &lock, sizeof lock) || lock.state != 0;
}

static bool class_is_sound(const struct qy_run *run)
{
    return run->cls > 0 && run->cls < QY_CLASSES && run->cells == qy_classes[run->cls].cells;
}

static void judge_bits(struct qy_walk *w, const struct qy_run *run, const struct quarry_run *r, bool doubtful)
{
    for (unsigned i = 0; i < QUARRY_RUN_WORDS; i++) {
        if ((r->free[i] | r->remote[i]) & ~r->available[i])
            qy_walk_find(w, r->at, doubtful, "corrupted run", "bits are set for cells that do not exist");
        if (r->free[i] & r->remote[i])
            qy_walk_find(w, r->at, doubtful, QY_DOUBLE_FREE, "a cell of this run was freed twice");
    }
    if (count_bits(r->free) != run->free || count_bits(r->available) != run->available)
        qy_walk_find(w, r->at, doubtful, "corrupted run", "the counts of this run and its bitmaps disagree");
}

static void say_owned(struct qy_walk *w, const struct qy_run *run, struct quarry_run *r)
{
    const struct qy_class *k = &qy_classes[run->cls];
    r->cls = run->cls;
    r->stride = k->stride;
    r->first = k->first;
    r->cells = k->cells;
    r->carved = run->carved;
    find_available(w, r);
    memcpy(r->free, run->free_bits, sizeof r->free);
    memcpy(r->remote, run->remote_bits, sizeof r->remote);
    bool doubtful = owner_works(w, r->owner);
    judge_bits(w, run, r, doubtful);
}

static void say_run(struct qy_walk *w, uint64_t index, const struct qy_run *run)
{
    struct quarry_run r = {.at = run_address(w, index), .owner = at(run->owner)};
    if (r.owner && !cache_is_sound(w, r.owner)) {
        qy_walk_find(w, r.at, w->zone.lock.state != 0, "corrupted run",
                     "the owner of this run is no thread cache");
        return;
    }
    if (r.owner && !class_is_sound(run)) {
        qy_walk_find(w, r.at, owner_works(w, r.owner), "corrupted run",
                     "the class of this run does not exist");
        return;
    }
    if (r.owner) {
        say_owned(w, run, &r);
        judge_cells(w, &r, owner_works(w, r.owner));
    }
    if (w->ask->visitor->run)
        w->ask->visitor->run(w->ask->visitor_context, &r);
}

static void plan_run(struct qy_walk *w, uint64_t index, const struct qy_run *run)
{
    uint64_t at_page = run_address(w, index);
    for (uint64_t page = 0; run->owner && page < QY_RUN_BYTES / w->page_bytes; page++) {
        if (run->carved >> page & 1)
            qy_walk_need(w, QUARRY_NEED_CELLS, at_page + page * w->page_bytes,
                         at_page + (page + 1) * w->page_bytes);
    }
}

/* ---- all of them ---- */

/* So many fit into a window, however it is aligned. */
#define DESCRIPTORS_AT_ONCE (QY_WALK_WINDOW / sizeof(struct qy_run) - 1)

/* They go downwards in memory, and a window upwards: so the last of some is asked for first. */
static const struct qy_run *read_descriptor(struct qy_walk *w, uint64_t index, uint64_t count)
{
    if (index % DESCRIPTORS_AT_ONCE == 0) {
        uint64_t last = qy_min(index + DESCRIPTORS_AT_ONCE, count) - 1;
        (void)qy_window_read(w, &w->heap, descriptor_address(w, last), sizeof(struct qy_run));
    }
    return qy_window_read(w, &w->heap, descriptor_address(w, index), sizeof(struct qy_run));
}

static void walk_descriptors(struct qy_walk *w)
{
    uint64_t mapped = (at(w->zone.strides) - w->zone.tables_from) / sizeof(struct qy_run);
    uint64_t count = qy_min(qy_min(w->zone.fresh, w->zone.span >> QY_RUN_SHIFT), mapped);
    w->heap.bytes = 0;
    if (qy_walk_plans(w) &&
        qy_walk_need(w, QUARRY_NEED_MARKS, at(w->zone.strides) - count * sizeof(struct qy_run),
                     at(w->zone.strides)) < QUARRY_NEED_CELLS)
        return;
    for (uint64_t i = 0; i < count; i++) {
        const struct qy_run *found = read_descriptor(w, i, count);
        if (!found) {
            qy_walk_find(w, descriptor_address(w, i), false, "unreadable",
                         "the descriptors of these runs cannot be read");
            return;
        }
        struct qy_run run = *found; /* the next read overwrites it */
        if (qy_walk_plans(w))
            plan_run(w, i, &run);
        else
            say_run(w, i, &run);
    }
}

static void walk_free_list(struct qy_walk *w, enum quarry_list_kind kind, const struct qy_run *first)
{
    struct quarry_list list = {kind, QUARRY_NONE, 0, QY_RUN_BYTES, QY_RUN_BYTES};
    uint64_t end = at(w->zone.strides), bytes = w->zone.fresh * sizeof(struct qy_run);
    struct qy_loop loop = {0};
    for (uint64_t address = at(first); address;) {
        struct qy_run *run = &w->copy.runs[0];
        uint64_t offset = end - address;
        if (!offset || offset > bytes || offset % sizeof *run ||
            !qy_walk_read(w, address, run, sizeof *run) || run->owner || qy_loop_ends(&loop, address)) {
            qy_walk_find(w, address, w->zone.lock.state != 0, QY_CORRUPTED_LIST,
                         "a list of free runs leads here, and no free run is here");
            return;
        }
        if (w->ask->visitor->member)
            w->ask->visitor->member(w->ask->visitor_context, &list, run_address(w, offset / sizeof *run - 1));
        address = at(run->next);
    }
}

void qy_walk_runs(struct qy_walk *w)
{
    const struct qy_zone *z = &w->zone;
    if (!z->lo)
        return;
    if (z->lo % QY_RUN_BYTES || z->span % QY_RUN_BYTES || (z->lo + z->span) >> QY_VA_BITS ||
        at(z->strides) % 64 || z->tables_from > at(z->strides) || z->fresh > z->span >> QY_RUN_SHIFT) {
        qy_walk_find(w, z->lo, z->lock.state != 0, "corrupted run",
                     "the zone's own figures contradict each other");
        return;
    }
    qy_walk_segment(w, QUARRY_SEGMENT_RUNS, QUARRY_NONE, z->lo, z->lo + (z->fresh << QY_RUN_SHIFT),
                    z->lo + z->span);
    qy_walk_segment(w, QUARRY_SEGMENT_RUN_DESCRIPTORS, QUARRY_NONE, z->tables_from, at(z->strides),
                    at(z->strides));
    walk_descriptors(w);
    if (!qy_walk_plans(w)) {
        walk_free_list(w, QUARRY_LIST_DIRTY_RUNS, z->dirty);
        walk_free_list(w, QUARRY_LIST_PURGED_RUNS, z->clean);
    }
}
