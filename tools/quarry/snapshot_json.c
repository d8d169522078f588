#include "snapshot_json.h"

#include "figures.h"

#include <stdlib.h>
#include <string.h>

/* ---- process, library ---- */

static void optional_index(struct json *j, const char *name, uint32_t index)
{
    json_key(j, name);
    if (index == QUARRY_NONE)
        json_null(j);
    else
        json_number(j, index);
}

static void optional_number(struct json *j, const char *name, uint64_t n)
{
    json_key(j, name);
    if (n)
        json_number(j, n);
    else
        json_null(j);
}

static void write_process(struct json *j, const struct model *m)
{
    json_key(j, "process");
    json_open(j, '{');
    json_member_number(j, "pid", (uint64_t)m->pid);
    json_member_text(j, "command", m->command);
    json_member_text(j, "executable", m->executable);
    json_member_number(j, "page_size", m->page_bytes);
    json_key(j, "threads");
    json_open(j, '[');
    for (size_t i = 0; i < m->thread_count; i++) {
        json_open(j, '{');
        json_member_number(j, "tid", (uint64_t)m->threads[i].tid);
        json_member_text(j, "name", m->threads[i].name);
        optional_index(j, "cache", m->threads[i].cache);
        json_close(j, '}');
    }
    json_close(j, ']');
    json_close(j, '}');
    json_line(j);
}

static void write_options(struct json *j, const struct model *m, const char *name, bool initial)
{
    json_key(j, name);
    json_open(j, '{');
    for (size_t i = 0; i < m->option_count; i++) {
        const struct option_value *o = &m->options[i];
        uint64_t value = initial ? o->initial : o->value;
        json_key(j, o->name);
        if (o->is_bool)
            json_bool(j, value != 0);
        else
            json_number(j, value);
    }
    json_close(j, '}');
}

static void write_library(struct json *j, const struct model *m)
{
    json_key(j, "library");
    json_open(j, '{');
    json_member_text(j, "version", m->version);
    json_member_text(j, "profile", m->classic ? "classic" : "default");
    write_options(j, m, "options", false);
    write_options(j, m, "defaults", true);
    json_close(j, '}');
    json_line(j);
}

static void open_figure(struct json *j, const char *name, const struct figure *f, bool residency_known)
{
    json_key(j, name);
    json_open(j, '{');
    json_member_number(j, "bytes", f->bytes);
    json_key(j, "resident");
    if (residency_known)
        json_number(j, f->resident);
    else
        json_null(j);
    json_member_number(j, "count", f->count);
}

void snapshot_json_figures(struct json *j, const struct figures *f)
{
    json_key(j, "figures");
    json_open(j, '{');
    open_figure(j, "mapped", &f->mapped, f->residency_known);
    json_member_number(j, "huge", f->huge);
    json_close(j, '}');
    for (unsigned i = 0; i < PARTS; i++) {
        open_figure(j, part_texts[i].key, &f->parts[i], f->residency_known);
        json_close(j, '}');
    }
    json_close(j, '}');
}

/* ---- mappings, segments ---- */

static bool holds_segment(const struct model *m, const struct map *map)
{
    const struct segment *last = model_segment_before(m, map->to);
    return last && last->is.to > map->from && last->is.kind != QUARRY_SEGMENT_BREAK;
}

static const char *map_kind(const struct model *m, size_t index)
{
    const struct map *map = &m->maps.list[index], *before = index ? map - 1 : NULL;
    if (strcmp(map->name, "[heap]") == 0 ||
        (!map->is_file && m->first_of_break >= map->from && m->first_of_break < map->to))
        return "heap";
    if (strncmp(map->name, "[stack", 6) == 0)
        return "stack";
    if (strncmp(map->name, "[v", 2) == 0)
        return "vdso";
    if (map->is_file)
        return map->perms[2] == 'x' || map->perms[1] != 'w' ? "text" : "data";
    if (before && before->is_file && before->to == map->from && before->perms[1] == 'w')
        return "bss";
    return strncmp(map->name, "[anon:quarry", 12) == 0 || holds_segment(m, map) ? "quarry" : "mapping";
}

static void write_maps(struct json *j, const struct model *m)
{
    json_key(j, "maps");
    json_open(j, '[');
    for (size_t i = 0; i < m->maps.count; i++) {
        const struct map *map = &m->maps.list[i];
        json_open(j, '{');
        json_member_number(j, "from", map->from);
        json_member_number(j, "to", map->to);
        json_member_text(j, "perms", map->perms);
        json_member_text(j, "name", map->name);
        json_member_text(j, "kind", map_kind(m, i));
        json_member_number(j, "resident", map->resident);
        json_member_number(j, "swapped", map->swapped);
        json_member_number(j, "huge", map->huge);
        json_close(j, '}');
    }
    json_close(j, ']');
    json_line(j);
}

static const char *const segment_kinds[] = {
    [QUARRY_SEGMENT_BREAK] = "break", [QUARRY_SEGMENT_SUBHEAP] = "subheap",
    [QUARRY_SEGMENT_RUNS] = "runs",   [QUARRY_SEGMENT_RUN_DESCRIPTORS] = "run descriptors",
    [QUARRY_SEGMENT_CACHE] = "cache", [QUARRY_SEGMENT_TABLES] = "tables",
    [QUARRY_SEGMENT_ARENA] = "arena", [QUARRY_SEGMENT_MAPPED] = "mapped",
};

static void write_segments(struct json *j, const struct model *m)
{
    json_key(j, "break");
    if (m->end_of_break)
        json_number(j, m->end_of_break);
    else
        json_null(j);
    json_key(j, "segments");
    json_open(j, '[');
    for (size_t i = 0; i < m->segment_count; i++) {
        const struct quarry_segment *s = &m->segments[i].is;
        uint64_t pages = (s->to + m->page_bytes - 1) / m->page_bytes - s->from / m->page_bytes;
        json_open(j, '{');
        json_member_number(j, "from", s->from);
        json_member_number(j, "to", s->to);
        json_member_number(j, "used_to", s->used_to);
        json_member_text(j, "kind", segment_kinds[s->kind]);
        optional_index(j, "arena", s->arena);
        json_key(j, "pages");
        if (m->segments[i].pages)
            json_base64(j, m->segments[i].pages, (pages + 3) / 4);
        else
            json_null(j);
        json_close(j, '}');
        json_line(j);
    }
    json_close(j, ']');
    json_line(j);
}

/* ---- arenas, chunks, bins ---- */

static void write_arenas(struct json *j, const struct model *m)
{
    json_key(j, "arenas");
    json_open(j, '[');
    for (size_t i = 0; i < m->arena_count; i++) {
        const struct quarry_arena *a = &m->arenas[i];
        json_open(j, '{');
        json_member_number(j, "address", a->address);
        json_member_bool(j, "main", a->index == 0);
        json_member_number(j, "threads", a->threads);
        json_member_bool(j, "locked", a->locked);
        optional_number(j, "top", a->top);
        optional_number(j, "last_remainder", a->last_remainder);
        json_member_number(j, "system", a->system_bytes);
        json_member_number(j, "max_system", a->max_system_bytes);
        json_key(j, "subheaps");
        json_open(j, '[');
        for (size_t k = 0; k < m->segment_count; k++)
            if (m->segments[k].is.kind == QUARRY_SEGMENT_SUBHEAP && m->segments[k].is.arena == a->index)
                json_number(j, k);
        json_close(j, ']');
        json_close(j, '}');
    }
    json_close(j, ']');
    json_line(j);
}

/* One column of the chunks. */
static void write_column(struct json *j, const struct model *m, const char *name,
                         uint64_t (*value)(const struct chunk *c, const struct chunk *before))
{
    const struct chunk *before = NULL;
    json_key(j, name);
    json_open(j, '[');
    for (size_t i = 0; i < m->chunk_count; before = &m->chunks[i++])
        json_number(j, value(&m->chunks[i], before));
    json_close(j, ']');
    json_line(j);
}

static uint64_t at_delta(const struct chunk *c, const struct chunk *before)
{
    return c->at - (before ? before->at : 0);
}

static uint64_t size_of(const struct chunk *c, const struct chunk *before)
{
    (void)before;
    return c->size;
}

static uint64_t prev_size_of(const struct chunk *c, const struct chunk *before)
{
    if (c->state == STATE_MAPPED)
        return c->fd;
    return before && !(c->tags & 1) && before->at + before->size == c->at ? before->size : 0;
}

static uint64_t tags_of(const struct chunk *c, const struct chunk *before)
{
    (void)before;
    return c->tags;
}

static uint64_t state_of(const struct chunk *c, const struct chunk *before)
{
    (void)before;
    return c->state;
}

static uint64_t arena_of(const struct chunk *c, const struct chunk *before)
{
    (void)before;
    return c->arena;
}

static uint64_t fd_of(const struct chunk *c, const struct chunk *before)
{
    (void)before;
    return c->state == STATE_MAPPED ? 0 : c->fd; /* of a mapped block: its padding */
}

static uint64_t bk_of(const struct chunk *c, const struct chunk *before)
{
    (void)before;
    bool doubly_linked = c->state == STATE_BINNED || c->state == STATE_UNSORTED || c->state == STATE_MOVING;
    return doubly_linked ? c->bk : 0; /* else it holds the signature of a free block */
}

static void write_chunks(struct json *j, const struct model *m)
{
    json_key(j, "states");
    json_open(j, '[');
    for (unsigned i = 0; i < STATES; i++)
        json_text(j, state_names[i]);
    json_close(j, ']');
    json_key(j, "chunks");
    json_open(j, '{');
    write_column(j, m, "at", at_delta);
    write_column(j, m, "size", size_of);
    write_column(j, m, "prev_size", prev_size_of);
    write_column(j, m, "tags", tags_of);
    write_column(j, m, "state", state_of);
    write_column(j, m, "arena", arena_of);
    write_column(j, m, "fd", fd_of);
    write_column(j, m, "bk", bk_of);
    json_close(j, '}');
    json_line(j);
}

static void write_addresses(struct json *j, const char *name, const uint64_t *list, size_t count)
{
    json_key(j, name);
    json_open(j, '[');
    for (size_t i = 0; i < count; i++)
        json_number(j, list[i]);
    json_close(j, ']');
}

static const char *const list_kinds[] = {
    [QUARRY_LIST_FAST] = "fast",   [QUARRY_LIST_UNSORTED] = "unsorted", [QUARRY_LIST_SMALL] = "small",
    [QUARRY_LIST_LARGE] = "large", [QUARRY_LIST_INBOX] = "inbox",
};

static void write_bins(struct json *j, const struct model *m)
{
    json_key(j, "bins");
    json_open(j, '[');
    for (size_t i = 0; i < m->list_count; i++) {
        const struct list *l = &m->lists[i];
        if (l->is.kind >= QUARRY_LIST_DIRTY_RUNS)
            continue; /* the runs say it themselves */
        json_open(j, '{');
        json_member_number(j, "arena", l->is.arena);
        json_member_text(j, "kind", list_kinds[l->is.kind]);
        json_member_number(j, "index", l->is.index);
        json_member_number(j, "from", l->is.from);
        optional_number(j, "to", l->is.to == UINT64_MAX ? 0 : l->is.to);
        write_addresses(j, "chunks", l->members, l->count);
        json_close(j, '}');
        json_line(j);
    }
    json_close(j, ']');
    json_line(j);
}

/* ---- runs, caches ---- */

static void write_bitmap(struct json *j, const char *name, const struct run *r, const uint64_t *words)
{
    json_key(j, name);
    json_base64(j, words,
                (r->is.cells + 63) / 64 * sizeof *words); /* little-endian words are bytes in order */
}

static void write_cells(struct json *j, const struct run *r, const char *name, enum cell_state state)
{
    uint64_t words[QUARRY_RUN_WORDS];
    for (unsigned w = 0; w < QUARRY_RUN_WORDS; w++)
        words[w] = model_cell_word(r, w, state);
    write_bitmap(j, name, r, words);
}

static void write_runs(struct json *j, const struct model *m)
{
    static const char *const states[] = {
        [RUN_OWNED] = "owned", [RUN_DIRTY] = "dirty", [RUN_PURGED] = "purged"};
    json_key(j, "runs");
    json_open(j, '[');
    for (size_t i = 0; i < m->run_count; i++) {
        const struct run *r = &m->runs[i];
        json_open(j, '{');
        json_member_number(j, "at", r->is.at);
        json_member_text(j, "state", states[r->state]);
        optional_index(j, "owner", r->owner);
        json_member_number(j, "class", r->is.cls);
        json_member_number(j, "stride", r->is.stride);
        json_member_number(j, "first", r->is.first);
        json_member_number(j, "cells", r->is.cells);
        json_member_number(j, "carved", r->is.carved);
        write_bitmap(j, "available", r, r->is.available);
        write_cells(j, r, "free", CELL_FREE);
        write_cells(j, r, "remote", CELL_REMOTE);
        write_cells(j, r, "cached", CELL_CACHED);
        write_cells(j, r, "moving", CELL_MOVING);
        json_close(j, '}');
        json_line(j);
    }
    json_close(j, ']');
    json_line(j);
}

static void write_stacks(struct json *j, const struct cache *c, bool of_cells)
{
    json_key(j, of_cells ? "cells" : "chunks");
    json_open(j, '[');
    for (size_t i = 0; i < c->stack_count; i++) {
        const struct quarry_stack *s = &c->stacks[i].is;
        if (s->of_cells != of_cells)
            continue;
        json_open(j, '{');
        json_member_number(j, "class", s->cls);
        json_member_number(j, of_cells ? "stride" : "from", s->from);
        json_member_number(j, "limit", s->limit);
        write_addresses(j, "blocks", c->stacks[i].blocks, s->count);
        json_close(j, '}');
    }
    json_close(j, ']');
}

static void write_caches(struct json *j, const struct model *m)
{
    json_key(j, "caches");
    json_open(j, '[');
    for (size_t i = 0; i < m->cache_count; i++) {
        const struct cache *c = &m->caches[i];
        json_open(j, '{');
        json_member_number(j, "address", c->is.address);
        optional_number(j, "tid", (uint64_t)c->tid);
        json_member_bool(j, "orphan", c->is.orphan);
        optional_index(j, "host", model_cache_at(m, c->is.host));
        json_member_bool(j, "locked", c->is.locked);
        optional_index(j, "arena", c->is.arena);
        write_stacks(j, c, true);
        write_stacks(j, c, false);
        json_close(j, '}');
        json_line(j);
    }
    json_close(j, ']');
    json_line(j);
}

static void write_findings(struct json *j, const struct model *m)
{
    json_key(j, "findings");
    json_open(j, '[');
    for (size_t i = 0; i < m->finding_count; i++) {
        json_open(j, '{');
        json_member_number(j, "address", m->findings[i].address >> 53 ? 0 : m->findings[i].address);
        json_member_text(j, "check", m->findings[i].check);
        json_member_text(j, "text", m->findings[i].text);
        json_member_bool(j, "doubtful", m->findings[i].doubtful);
        json_close(j, '}');
    }
    json_close(j, ']');
    json_member_number(j, "findings_left_out", m->findings_left_out);
}

void snapshot_json(struct json *j, const struct model *m)
{
    struct figures *f = calloc(1, sizeof *f);
    json_open(j, '{');
    json_member_text(j, "format", "quarry-snapshot");
    json_member_number(j, "version", 1);
    json_member_text(j, "taken_at", m->taken_at);
    json_member_number(j, "stopped_us", m->stopped_us);
    json_member_number(j, "stops", m->stops);
    json_member_bool(j, "busy", m->busy);
    json_member_bool(j, "lists_read", m->lists_read);
    json_member_bool(j, "headers_read", m->headers_read);
    json_member_number(j, "other_copies", m->other_copies);
    json_member_text(j, "source", source_names[m->source]);
    json_line(j);
    write_process(j, m);
    write_library(j, m);
    if (f) {
        figures_of(m, f);
        snapshot_json_figures(j, f);
        json_line(j);
    }
    write_maps(j, m);
    write_segments(j, m);
    write_arenas(j, m);
    write_chunks(j, m);
    write_bins(j, m);
    write_runs(j, m);
    write_caches(j, m);
    write_findings(j, m);
    json_close(j, '}');
    free(f);
}
