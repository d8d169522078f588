/*
 * Blocks that are mappings of their own, by the register.
 */
#include "base/message.h"
#include "observe/walk.h"

static uint64_t at(const void *pointer)
{
    return (uint64_t)(uintptr_t)pointer;
}

static void judge_header(struct qy_walk *w, const struct qy_mapped_entry *e, bool doubtful)
{
    struct qy_chunk copy;
    if (!qy_walk_read(w, e->mem - QY_HEADER_BYTES, &copy, QY_HEADER_BYTES))
        return;
    if (copy.size != (e->size | QY_IS_MMAPPED) || copy.prev_size != e->before)
        qy_walk_find(w, e->mem, doubtful, QY_CORRUPTED_HEADER,
                     "the size before this mapped block was written over");
}

static void say_block(struct qy_walk *w, const struct qy_mapped_entry *e, bool doubtful)
{
    uint64_t from = e->mem - QY_HEADER_BYTES - e->before, to = from + e->before + e->size;
    if (e->mem % QY_ALIGNMENT || from % w->page_bytes || to % w->page_bytes || from >= to ||
        to >> QY_VA_BITS) {
        qy_walk_find(w, e->mem, doubtful, QY_CORRUPTED_LIST,
                     "the register of mapped blocks holds what is none");
        return;
    }
    if (qy_walk_plans(w)) {
        qy_walk_need(w, QUARRY_NEED_HEADERS, e->mem - QY_HEADER_BYTES, e->mem);
        return;
    }
    judge_header(w, e, doubtful);
    struct quarry_mapped block = {e->mem, e->size, e->before};
    qy_walk_segment(w, QUARRY_SEGMENT_MAPPED, QUARRY_NONE, from, to, to);
    if (w->ask->visitor->mapped)
        w->ask->visitor->mapped(w->ask->visitor_context, &block);
}

void qy_walk_mapped(struct qy_walk *w)
{
    const struct qy_mapped_register *r = &w->mapped;
    bool doubtful = r->lock.state != 0;
    uint64_t entries = at(r->entries), bytes = r->capacity * sizeof(struct qy_mapped_entry);
    if (!entries)
        return;
    if (!qy_is_power_of_two(r->capacity) || r->capacity > (uint64_t)1 << 32 || entries % w->page_bytes) {
        qy_walk_find(w, entries, doubtful, QY_CORRUPTED_LIST,
                     "the register of mapped blocks was written over");
        return;
    }
    qy_walk_segment(w, QUARRY_SEGMENT_TABLES, QUARRY_NONE, entries, entries + bytes,
                    entries + qy_align_up(bytes, w->page_bytes));
    w->heap.bytes = 0;
    for (uint64_t i = 0; i < r->capacity; i++) {
        const struct qy_mapped_entry *e = qy_window_read(w, &w->heap, entries + i * sizeof *e, sizeof *e);
        if (!e) {
            qy_walk_find(w, entries, doubtful, "unreadable", "the register of mapped blocks cannot be read");
            return;
        }
        struct qy_mapped_entry entry = *e;
        if (entry.mem)
            say_block(w, &entry, doubtful);
    }
}
