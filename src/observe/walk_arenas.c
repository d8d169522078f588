/*
 * Arenas and the lists of free chunks: fast bins, bins, inboxes.
 */
#include "base/message.h"
#include "bin/bin.h"
#include "observe/walk.h"

static uint64_t at(const void *pointer)
{
    return (uint64_t)(uintptr_t)pointer;
}

/* ---- which arenas there are ---- */

static void remember(struct qy_walk *w, uint64_t address, const struct qy_arena *a)
{
    w->arenas[w->arena_count++] = (struct qy_walk_arena){
        .address = address,
        .top = at(a->top),
        .top_end = at(a->top_end),
        .brk_first = at(a->brk.first),
        .brk_end = at(a->brk.end),
        .locked = a->lock.state != 0,
        .top_in_break = a->index == 0 && !a->heap,
    };
}

void qy_walk_arenas_read(struct qy_walk *w)
{
    struct qy_arena *a = &w->copy.arena;
    struct qy_loop loop = {0};
    for (uint64_t address = at(w->layout.main_arena); address && !qy_loop_ends(&loop, address);
         address = at(a->next)) {
        if (address % sizeof(uint64_t) || !qy_walk_read(w, address, a, sizeof *a) ||
            (a->bins.owner && at(a->bins.owner) != address) || a->index != w->arena_count) {
            qy_walk_find(w, address, false, QY_CORRUPTED_LIST, "the list of arenas leads to what is none");
            return;
        }
        if (w->arena_count == QY_WALK_ARENAS) {
            qy_walk_find(w, address, false, "limit", "more arenas than the walker looks at");
            return;
        }
        remember(w, address, a);
    }
}

/* ---- lists ---- */

static void say_member(struct qy_walk *w, const struct quarry_list *list, uint64_t c)
{
    if (w->ask->visitor->member && !qy_walk_plans(w))
        w->ask->visitor->member(w->ask->visitor_context, list, c);
}

enum member { MEMBER, NO_MEMBER, NOT_COPIED };

/* The gate for links: only a chunk of this arena with these marks is looked at. */
static enum member read_member(struct qy_walk *w, const struct qy_walk_arena *a, uint64_t c, unsigned marks,
                               struct qy_chunk *copy)
{
    if (c % QY_ALIGNMENT)
        return NO_MEMBER;
    struct qy_walk_marks m = qy_walk_marks_of(w, c);
    if (m.owner != a->address || m.marks != marks)
        return NO_MEMBER;
    if (qy_walk_read(w, c, copy, offsetof(struct qy_chunk, fd_nextsize)))
        return MEMBER;
    return w->ask->partial ? NOT_COPIED : NO_MEMBER;
}

static void list_bin(struct qy_walk *w, const struct qy_walk_arena *a, const struct qy_bins *bins,
                     const struct quarry_list *list)
{
    uint64_t first = (uint64_t)(list->index - 1) * 2;
    uint64_t links = a->address + offsetof(struct qy_arena, bins) + offsetof(struct qy_bins, links);
    uint64_t head = links + first * sizeof(void *) - offsetof(struct qy_chunk, fd);
    struct qy_loop loop = {0};
    for (uint64_t before = head, c = at(bins->links[first]); c != head;) {
        struct qy_chunk copy;
        enum member member = read_member(w, a, c, QY_WALK_BEGINS, &copy);
        if (member == NOT_COPIED)
            return;
        if (member == NO_MEMBER || at(copy.bk) != before || qy_loop_ends(&loop, c)) {
            qy_walk_find(w, c, a->locked, QY_CORRUPTED_LIST,
                         "a bin leads here, and no free chunk with a matching link is here");
            return;
        }
        if (list->index != QY_UNSORTED && qy_bin_index(bins, qy_chunk_size(&copy)) != list->index)
            qy_walk_find(w, c, a->locked, QY_CORRUPTED_LIST, "this free chunk is in the bin of another size");
        say_member(w, list, c);
        before = c;
        c = at(copy.fd);
    }
}

/* The smallest size of a bin, by asking the index function: bins widen in a way that only it knows. */
static uint64_t smallest_of_bin(const struct qy_bins *bins, unsigned index)
{
    uint64_t from = QY_MIN_CHUNK, to = (uint64_t)1 << 62;
    while (from < to) {
        uint64_t middle = qy_align_down((from + to) / 2, QY_ALIGNMENT);
        if (qy_bin_index(bins, middle) < index)
            from = middle + QY_ALIGNMENT;
        else
            to = middle;
    }
    return from;
}

static void list_bins(struct qy_walk *w, unsigned arena, const struct qy_bins *bins)
{
    unsigned last = bins->sorted ? QY_CLASSIC_BINS - 2 : QY_BIN_COUNT - 2;
    for (unsigned i = QY_UNSORTED; i <= last; i++) {
        struct quarry_list list = {QUARRY_LIST_UNSORTED, arena, i, QY_MIN_CHUNK, UINT64_MAX};
        if (i != QY_UNSORTED) {
            list.kind = i < QY_SMALL_BINS ? QUARRY_LIST_SMALL : QUARRY_LIST_LARGE;
            list.from = smallest_of_bin(bins, i);
            list.to = i < last ? smallest_of_bin(bins, i + 1) - QY_ALIGNMENT : UINT64_MAX;
        }
        list_bin(w, &w->arenas[arena], bins, &list);
    }
}

static void list_fast(struct qy_walk *w, unsigned arena, const struct qy_bins *bins)
{
    const struct qy_walk_arena *a = &w->arenas[arena];
    for (unsigned i = 0; i < QY_FAST_BINS; i++) {
        uint64_t size = QY_MIN_CHUNK + i * QY_ALIGNMENT;
        struct quarry_list list = {QUARRY_LIST_FAST, arena, i, size, size};
        struct qy_loop loop = {0};
        for (uint64_t c = at(bins->fast[i]); c;) {
            struct qy_chunk copy;
            if (read_member(w, a, c, QY_WALK_BEGINS | QY_WALK_INUSE, &copy) != MEMBER ||
                qy_chunk_size(&copy) != size || !qy_walk_is_held(w, &copy, c) || qy_loop_ends(&loop, c)) {
                qy_walk_find(w, c, a->locked, QY_CORRUPTED_LIST,
                             "a fast bin leads here, and no free chunk of its size is here");
                break;
            }
            say_member(w, &list, c);
            c = (c + offsetof(struct qy_chunk, fd)) >> 12 ^ at(copy.fd); /* safe-linking: bin/bin.c */
        }
    }
}

static void list_inbox(struct qy_walk *w, unsigned arena, const void *first)
{
    const struct qy_walk_arena *a = &w->arenas[arena];
    struct quarry_list list = {QUARRY_LIST_INBOX, arena, 0, QY_MIN_CHUNK, UINT64_MAX};
    struct qy_loop loop = {0};
    for (uint64_t mem = at(first); mem;) {
        uint64_t c = mem - QY_HEADER_BYTES;
        struct qy_chunk copy;
        if (read_member(w, a, c, QY_WALK_BEGINS | QY_WALK_INUSE, &copy) != MEMBER ||
            !qy_walk_is_held(w, &copy, c) || qy_loop_ends(&loop, c)) {
            qy_walk_find(w, c, a->locked, QY_CORRUPTED_LIST,
                         "an inbox leads here, and no freed chunk is here");
            return;
        }
        say_member(w, &list, c);
        mem = at(copy.fd) ^ w->secret;
    }
}

static void say_arena(struct qy_walk *w, unsigned index, const struct qy_arena *a)
{
    struct quarry_arena arena = {
        .address = w->arenas[index].address,
        .index = index,
        .threads = a->threads,
        .locked = w->arenas[index].locked,
        .top = at(a->top),
        .last_remainder = at(a->remainder),
        .system_bytes = a->system_bytes,
        .max_system_bytes = a->max_system_bytes,
        .bytes = index ? qy_align_up(sizeof *a, w->page_bytes) : sizeof *a,
    };
    if (w->ask->visitor->arena)
        w->ask->visitor->arena(w->ask->visitor_context, &arena);
    if (index)
        qy_walk_segment(w, QUARRY_SEGMENT_ARENA, index, arena.address, arena.address + arena.bytes,
                        arena.address + arena.bytes);
}

void qy_walk_arenas(struct qy_walk *w)
{
    struct qy_arena *a = &w->copy.arena;
    for (unsigned i = 0; i < w->arena_count; i++) {
        if (!qy_walk_read(w, w->arenas[i].address, a, sizeof *a))
            continue;
        say_arena(w, i, a);
        list_fast(w, i, &a->bins);
        list_inbox(w, i, a->inbox);
        list_inbox(w, i, a->inbox_rest);
        /* Chunks in bins are told by their marks. The main arena's bins are none until it is used. */
        if (!qy_walk_plans(w) && a->bins.owner)
            list_bins(w, i, &a->bins);
    }
}
