/*
 * The walker: roots, reads, findings. Owns the order of a walk; the parts are in walk_*.c. No lock: it reads, and
 * believes nothing.
 */
#include "observe/walk.h"

#include <string.h>

#include "observe/shape.h"

QY_STATIC_ASSERT(sizeof(struct qy_walk) <= QUARRY_WALK_MEMORY,
                 "the public header promises that this is enough");

bool qy_walk_read(struct qy_walk *w, uint64_t address, void *buffer, size_t bytes)
{
    return w->ask->read(w->ask->read_context, address, buffer, bytes) == bytes;
}

const void *qy_window_read(struct qy_walk *w, struct qy_window *window, uint64_t address, size_t bytes)
{
    if (address - window->at >= window->bytes || window->bytes - (address - window->at) < bytes) {
        window->at = qy_align_down(address, 64); /* P and prev_size of neighbours are often asked for next */
        window->bytes = w->ask->read(w->ask->read_context, window->at, window->copy, sizeof window->copy);
        if (window->bytes < address - window->at + bytes)
            return NULL;
    }
    return window->copy + (address - window->at);
}

void qy_walk_find(struct qy_walk *w, uint64_t address, bool doubtful, const char *check, const char *text)
{
    struct quarry_finding f = {address, check, text, doubtful};
    if (w->ask->visitor->finding && !qy_walk_plans(w))
        w->ask->visitor->finding(w->ask->visitor_context, &f);
}

enum quarry_need qy_walk_need(struct qy_walk *w, enum quarry_need kind, uint64_t from, uint64_t to)
{
    return w->ask->visitor->need(w->ask->visitor_context, kind, from, to);
}

void qy_walk_segment(struct qy_walk *w, enum quarry_segment_kind kind, uint32_t arena, uint64_t from,
                     uint64_t used_to, uint64_t to)
{
    struct quarry_segment s = {from, to, used_to, kind, arena};
    if (w->ask->visitor->segment && !qy_walk_plans(w) && from < to)
        w->ask->visitor->segment(w->ask->visitor_context, &s);
}

const struct qy_walk_arena *qy_walk_arena_at(struct qy_walk *w, uint64_t address)
{
    for (unsigned i = 0; i < w->arena_count; i++) {
        if (w->arenas[i].address == address)
            return &w->arenas[i];
    }
    return NULL;
}

/* ---- options, by the table that makes them ---- */

enum type { BOOL, BYTES, COUNT, MS };

static size_t list_options(const struct qy_options *in_force, struct quarry_option *list)
{
    size_t n = 0;
#define OPTION(name, type, min, max, def, classic_value, env, tunable, mallopt, text)                  \
    list[n++] = (struct quarry_option){#name, in_force->name, in_force->classic ? classic_value : def, \
                                       type == BOOL};
#include "options/options.def"
#undef OPTION
    return n;
}

enum {
#define OPTION(name, ...) OPTION_##name,
#include "options/options.def"
#undef OPTION
    OPTIONS
};

static void say_heap(struct qy_walk *w)
{
    struct quarry_option options[OPTIONS];
    const struct qy_walk_arena *a = &w->arenas[0];
    char version[sizeof w->layout.library + 1] = {0};
    memcpy(version, w->layout.library, sizeof w->layout.library);
    struct quarry_heap heap = {
        .version = version,
        .page_bytes = w->page_bytes,
        .classic = w->options.classic != 0,
        .options = options,
        .option_count = list_options(&w->options, options),
        .first_of_break = a->brk_first,
        .end_of_break = a->brk_end,
        .zone_from = w->zone.lo,
        .zone_bytes = w->zone.span,
        .zone_locked = w->zone.lock.state != 0,
        .register_locked = w->mapped.lock.state != 0,
        .cache_offset = w->layout.self_offset,
    };
    if (w->ask->visitor->heap)
        w->ask->visitor->heap(w->ask->visitor_context, &heap);
}

/* ---- roots ---- */

static uint64_t at(const void *pointer)
{
    return (uint64_t)(uintptr_t)pointer;
}

static enum quarry_walk_status check_layout(const struct quarry_layout *l, uint64_t address)
{
    if (l->magic[0] != QY_LAYOUT_MAGIC_0 || l->magic[1] != QY_LAYOUT_MAGIC_1 || at(l->self) != address)
        return QUARRY_WALK_NO_LAYOUT;
    if (l->version != QY_LAYOUT_VERSION || l->bytes != sizeof *l || l->shape != QY_LAYOUT_SHAPE)
        return QUARRY_WALK_OTHER_LAYOUT;
    if (!l->page_bytes)
        return QUARRY_WALK_NOT_STARTED;
    if (!qy_is_power_of_two(l->page_bytes) || l->page_bytes < 4096 || l->page_bytes > QY_RUN_BYTES)
        return QUARRY_WALK_UNREADABLE;
    return QUARRY_WALK_DONE;
}

QY_EXPORT enum quarry_walk_status quarry_check_layout(quarry_read *read, void *context, uint64_t layout)
{
    struct quarry_layout l;
    return read(context, layout, &l, sizeof l) == sizeof l ? check_layout(&l, layout) : QUARRY_WALK_NO_LAYOUT;
}

static bool read_roots(struct qy_walk *w)
{
    return qy_walk_read(w, at(w->layout.options), &w->options, sizeof w->options) &&
           qy_walk_read(w, at(w->layout.keys), w->keys, sizeof w->keys) &&
           qy_walk_read(w, at(w->layout.zone), &w->zone, sizeof w->zone) &&
           qy_walk_read(w, at(w->layout.mapped), &w->mapped, sizeof w->mapped) &&
           qy_walk_read(w, at(w->layout.granules), w->granules, sizeof w->granules) &&
           qy_walk_read(w, at(w->layout.secret), &w->secret, sizeof w->secret) &&
           qy_walk_read(w, at(w->layout.factor), &w->factor, sizeof w->factor) &&
           qy_walk_read(w, at(w->layout.seals), &w->seals, sizeof w->seals);
}

static enum quarry_walk_status walk(struct qy_walk *w)
{
    if (!qy_walk_read(w, w->ask->layout, &w->layout, sizeof w->layout))
        return QUARRY_WALK_NO_LAYOUT;
    enum quarry_walk_status status = check_layout(&w->layout, w->ask->layout);
    if (status != QUARRY_WALK_DONE)
        return status;
    w->page_bytes = w->layout.page_bytes;
    if (!read_roots(w))
        return QUARRY_WALK_UNREADABLE;
    w->leaf_key = w->granule_key = UINT64_MAX;
    qy_walk_arenas_read(w);
    if (w->arena_count == 0)
        return QUARRY_WALK_UNREADABLE;
    say_heap(w);
    qy_walk_arenas(w);
    qy_walk_caches(w);
    qy_walk_chunks(w);
    qy_walk_runs(w);
    qy_walk_mapped(w);
    return QUARRY_WALK_DONE;
}

QY_EXPORT enum quarry_walk_status quarry_walk(const struct quarry_walk *ask)
{
    if (ask->memory_bytes < sizeof(struct qy_walk) || (uintptr_t)ask->memory % QUARRY_WALK_ALIGNMENT)
        return QUARRY_WALK_MEMORY_TOO_SMALL;
    struct qy_walk *w = ask->memory;
    memset(w, 0, sizeof *w);
    w->ask = ask;
    return walk(w);
}

QY_EXPORT const char *quarry_walk_status_text(enum quarry_walk_status status)
{
    switch (status) {
    case QUARRY_WALK_DONE:
        return "done";
    case QUARRY_WALK_NO_LAYOUT:
        return "no Quarry there";
    case QUARRY_WALK_OTHER_LAYOUT:
        return "its Quarry is another version";
    case QUARRY_WALK_NOT_STARTED:
        return "its Quarry was never used";
    case QUARRY_WALK_UNREADABLE:
        return "the roots of its heap cannot be read";
    case QUARRY_WALK_MEMORY_TOO_SMALL:
        return "the walker was given too little memory";
    }
    return "unknown status";
}

QY_EXPORT uint64_t quarry_find_layout(const void *memory, size_t bytes, uint64_t address)
{
    for (size_t i = 0; i + sizeof(struct quarry_layout) <= bytes; i += sizeof(uint64_t)) {
        uint64_t magic[3]; /* and the address of self */
        memcpy(magic, (const char *)memory + i, sizeof magic);
        if (magic[0] == QY_LAYOUT_MAGIC_0 && magic[1] == QY_LAYOUT_MAGIC_1 && magic[2] == address + i)
            return address + i;
    }
    return 0;
}
