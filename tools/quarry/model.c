#include "model.h"

#include "memory.h"

#include <stdlib.h>
#include <string.h>

const char *const state_names[STATES] = {"in use", "binned", "unsorted", "fast",   "cached", "inbox",
                                         "top",    "fence",  "mapped",   "broken", "moving"};
const char *const source_names[SOURCES] = {"process", "core"};

/* ---- filling ---- */

static void take_heap(void *context, const struct quarry_heap *heap)
{
    struct model *m = context;
    strncpy(m->version, heap->version, sizeof m->version - 1);
    m->classic = heap->classic;
    m->page_bytes = heap->page_bytes;
    m->headers_read = m->lists_read = true; /* until one was not */
    m->first_of_break = heap->first_of_break;
    m->end_of_break = heap->end_of_break;
    m->zone_from = heap->zone_from;
    m->zone_bytes = heap->zone_bytes;
    m->cache_offset = heap->cache_offset;
    m->busy |= heap->zone_locked | heap->register_locked;
    m->options = allocate(heap->option_count * sizeof *m->options);
    m->option_count = heap->option_count;
    for (size_t i = 0; i < heap->option_count; i++) {
        const struct quarry_option *o = &heap->options[i];
        m->options[i] = (struct option_value){copy_text(o->name), o->value, o->initial, o->is_bool};
    }
}

static void take_arena(void *context, const struct quarry_arena *arena)
{
    struct model *m = context;
    m->arenas = grow(m->arenas, m->arena_count, sizeof *m->arenas);
    m->arenas[m->arena_count++] = *arena;
    m->busy |= arena->locked;
}

static void take_segment(void *context, const struct quarry_segment *segment)
{
    struct model *m = context;
    m->segments = grow(m->segments, m->segment_count, sizeof *m->segments);
    m->segments[m->segment_count++] = (struct segment){.is = *segment};
}

static void add_chunk(struct model *m, struct chunk c)
{
    m->chunks = grow(m->chunks, m->chunk_count, sizeof *m->chunks);
    m->chunks[m->chunk_count++] = c;
}

static void take_chunk(void *context, const struct quarry_chunk *chunk)
{
    static const unsigned char states[] = {
        [QUARRY_CHUNK_IN_USE] = STATE_IN_USE, [QUARRY_CHUNK_FREE] = STATE_MOVING,
        [QUARRY_CHUNK_HELD] = STATE_MOVING,   [QUARRY_CHUNK_TOP] = STATE_TOP,
        [QUARRY_CHUNK_FENCE] = STATE_FENCE,   [QUARRY_CHUNK_BROKEN] = STATE_BROKEN,
    };
    struct model *m = context;
    enum chunk_state state = states[chunk->state];
    if (!chunk->header_read) {
        m->headers_read = false;
        if (chunk->state == QUARRY_CHUNK_FREE) {
            m->lists_read = false;
            state = STATE_BINNED;
        }
    }
    add_chunk(m, (struct chunk){.at = chunk->at,
                                .arena = chunk->arena,
                                .size = chunk->size,
                                .state = state,
                                .tags = chunk->tags,
                                .fd = chunk->fd,
                                .bk = chunk->bk});
}

static void take_mapped(void *context, const struct quarry_mapped *block)
{
    add_chunk(context, (struct chunk){.at = block->mem - 16,
                                      .size = block->size,
                                      .state = STATE_MAPPED,
                                      .tags = 2,
                                      .fd = block->padding});
}

static void take_member(void *context, const struct quarry_list *list, uint64_t member)
{
    struct model *m = context;
    struct list *last = m->list_count ? &m->lists[m->list_count - 1] : NULL;
    if (!last || last->is.kind != list->kind || last->is.arena != list->arena ||
        last->is.index != list->index) {
        m->lists = grow(m->lists, m->list_count, sizeof *m->lists);
        last = &m->lists[m->list_count++];
        *last = (struct list){.is = *list};
    }
    last->members = grow(last->members, last->count, sizeof *last->members);
    last->members[last->count++] = member;
}

static void take_run(void *context, const struct quarry_run *run)
{
    struct model *m = context;
    m->runs = grow(m->runs, m->run_count, sizeof *m->runs);
    m->runs[m->run_count++] = (struct run){.is = *run, .state = run->owner ? RUN_OWNED : RUN_DIRTY};
}

static void take_cache(void *context, const struct quarry_cache *cache)
{
    struct model *m = context;
    m->caches = grow(m->caches, m->cache_count, sizeof *m->caches);
    m->caches[m->cache_count++] = (struct cache){.is = *cache};
    m->busy |= cache->locked;
}

static void take_stack(void *context, const struct quarry_stack *stack)
{
    struct model *m = context;
    struct cache *c = &m->caches[m->cache_count - 1];
    c->stacks = grow(c->stacks, c->stack_count, sizeof *c->stacks);
    struct stack *s = &c->stacks[c->stack_count++];
    *s = (struct stack){.is = *stack, .blocks = allocate(stack->count * sizeof *stack->blocks)};
    memcpy(s->blocks, stack->blocks, stack->count * sizeof *stack->blocks);
    s->is.blocks = s->blocks;
}

void model_add_finding(struct model *m, uint64_t address, const char *check, const char *text, bool doubtful)
{
    if (m->finding_count == MOST_FINDINGS) {
        m->findings_left_out++;
        return;
    }
    m->findings = grow(m->findings, m->finding_count, sizeof *m->findings);
    m->findings[m->finding_count++] = (struct finding){address, copy_text(check), copy_text(text), doubtful};
}

static void free_finding(struct finding *f)
{
    free(f->check);
    free(f->text);
}

void model_put_finding_first(struct model *m, uint64_t address, const char *check, const char *text)
{
    if (m->finding_count == MOST_FINDINGS) {
        free_finding(&m->findings[--m->finding_count]);
        m->findings_left_out++;
    }
    model_add_finding(m, address, check, text, false);
    struct finding *last = &m->findings[m->finding_count - 1], first = *last;
    *last = m->findings[0];
    m->findings[0] = first;
}

static void take_finding(void *context, const struct quarry_finding *f)
{
    model_add_finding(context, f->address, f->check, f->text, f->doubtful);
}

const struct quarry_visitor model_visitor = {
    .heap = take_heap,
    .arena = take_arena,
    .segment = take_segment,
    .chunk = take_chunk,
    .member = take_member,
    .run = take_run,
    .cache = take_cache,
    .stack = take_stack,
    .mapped = take_mapped,
    .finding = take_finding,
};

/* ---- looking up ---- */

static uint64_t start_of_chunk(const struct model *m, size_t i)
{
    return m->chunks[i].at;
}

static uint64_t start_of_run(const struct model *m, size_t i)
{
    return m->runs[i].is.at;
}

static uint64_t start_of_segment(const struct model *m, size_t i)
{
    return m->segments[i].is.from;
}

/* How many of `count`, which stand in order, start before `end`. */
static inline size_t count_before(const struct model *m, size_t count,
                                  uint64_t (*start)(const struct model *m, size_t i), uint64_t end)
{
    size_t from = 0, to = count;
    while (from < to) {
        size_t middle = (from + to) / 2;
        if (start(m, middle) < end)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

struct chunk *model_chunk_at(const struct model *m, uint64_t address)
{
    size_t count = count_before(m, m->chunk_count, start_of_chunk, address + 1);
    struct chunk *last = count ? &m->chunks[count - 1] : NULL;
    return last && address - last->at < last->size ? last : NULL;
}

struct run *model_run_at(const struct model *m, uint64_t address)
{
    size_t count = count_before(m, m->run_count, start_of_run, address + 1);
    struct run *last = count ? &m->runs[count - 1] : NULL;
    return last && address - last->is.at < 65536 ? last : NULL;
}

struct segment *model_segment_before(const struct model *m, uint64_t end)
{
    size_t count = count_before(m, m->segment_count, start_of_segment, end);
    return count ? &m->segments[count - 1] : NULL;
}

struct segment *model_segment_at(const struct model *m, uint64_t address)
{
    struct segment *last = model_segment_before(m, address + 1);
    return last && address < last->is.to ? last : NULL;
}

/* ---- cells ---- */

uint64_t model_cell_word(const struct run *r, unsigned w, enum cell_state state)
{
    uint64_t there = r->is.available[w], bits_free = r->is.free[w], remote = r->is.remote[w] & ~bits_free;
    uint64_t cached = r->cached[w] & ~bits_free & ~remote;
    uint64_t known = bits_free | remote | cached;
    uint64_t moving = r->is.headers_read ? r->is.headers_free[w] & ~known : 0;
    switch (state) {
    case CELL_FREE:
        return there & bits_free;
    case CELL_REMOTE:
        return there & remote;
    case CELL_CACHED:
        return there & cached;
    case CELL_MOVING:
        return there & moving;
    case CELL_IN_USE:
        return there & ~known & ~moving;
    case CELL_NONE:
        break;
    }
    return ~there;
}

enum cell_state model_cell_state(const struct run *r, unsigned index)
{
    for (enum cell_state s = CELL_IN_USE; s <= CELL_MOVING; s++)
        if (model_cell_word(r, index / 64, s) >> (index % 64) & 1)
            return s;
    return CELL_NONE;
}

static void note_cached_cell(const struct model *m, uint64_t cell, uint32_t cls)
{
    struct run *r = model_run_at(m, cell);
    if (!r || r->state != RUN_OWNED || r->is.cls != cls)
        return; /* a run that came into other hands since: the slot is of the past */
    unsigned index = (unsigned)((cell - r->is.at - r->is.first) / r->is.stride);
    r->cached[index / 64] |= (uint64_t)1 << (index % 64) & ~r->is.headers_live[index / 64];
}

/* ---- joining ---- */

static int chunks_by_address(const void *a, const void *b)
{
    const struct chunk *x = a, *y = b;
    return x->at < y->at ? -1 : x->at > y->at;
}

static int runs_by_address(const void *a, const void *b)
{
    const struct run *x = a, *y = b;
    return x->is.at < y->is.at ? -1 : x->is.at > y->is.at;
}

static int segments_by_address(const void *a, const void *b)
{
    const struct segment *x = a, *y = b;
    return x->is.from < y->is.from ? -1 : x->is.from > y->is.from;
}

void model_sort_segments(struct model *m)
{
    if (m->segment_count)
        qsort(m->segments, m->segment_count, sizeof *m->segments, segments_by_address);
}

static bool chunks_are_sorted(const struct model *m)
{
    for (size_t i = 1; i < m->chunk_count; i++)
        if (m->chunks[i].at < m->chunks[i - 1].at)
            return false;
    return true;
}

static void set_state(const struct model *m, uint64_t at, enum chunk_state state)
{
    struct chunk *c = model_chunk_at(m, at);
    if (c && c->at == at && (c->state == STATE_MOVING || (state == STATE_CACHED && c->state == STATE_IN_USE)))
        c->state = state;
}

static void join_list(const struct model *m, const struct list *l)
{
    static const enum chunk_state states[] = {
        [QUARRY_LIST_FAST] = STATE_FAST,    [QUARRY_LIST_UNSORTED] = STATE_UNSORTED,
        [QUARRY_LIST_SMALL] = STATE_BINNED, [QUARRY_LIST_LARGE] = STATE_BINNED,
        [QUARRY_LIST_INBOX] = STATE_INBOX,
    };
    for (size_t i = 0; i < l->count; i++) {
        if (l->is.kind == QUARRY_LIST_DIRTY_RUNS)
            continue; /* as a free run is, if nothing else is known of it */
        if (l->is.kind == QUARRY_LIST_PURGED_RUNS) {
            struct run *r = model_run_at(m, l->members[i]);
            if (r && r->state == RUN_DIRTY)
                r->state = RUN_PURGED;
        } else {
            set_state(m, l->members[i], states[l->is.kind]);
        }
    }
}

static void join_cache(const struct model *m, const struct cache *c)
{
    for (size_t i = 0; i < c->stack_count; i++) {
        const struct stack *s = &c->stacks[i];
        for (size_t j = 0; j < s->is.count; j++) {
            if (s->is.of_cells)
                note_cached_cell(m, s->blocks[j], s->is.cls);
            else
                set_state(m, s->blocks[j] - 16, STATE_CACHED);
        }
    }
}

static int places_by_address(const void *a, const void *b)
{
    const struct cache_place *x = a, *y = b;
    return x->address < y->address ? -1 : x->address > y->address;
}

void model_place_caches(struct model *m)
{
    m->cache_places = allocate(m->cache_count * sizeof *m->cache_places);
    for (size_t i = 0; i < m->cache_count; i++)
        m->cache_places[i] = (struct cache_place){m->caches[i].is.address, (uint32_t)i};
    qsort(m->cache_places, m->cache_count, sizeof *m->cache_places, places_by_address);
}

uint32_t model_cache_at(const struct model *m, uint64_t address)
{
    const struct cache_place wanted = {.address = address};
    const struct cache_place *found =
        address ? bsearch(&wanted, m->cache_places, m->cache_count, sizeof wanted, places_by_address) : NULL;
    return found ? found->index : QUARRY_NONE;
}

size_t model_users_of(const struct model *m, uint64_t host)
{
    size_t users = 0;
    for (size_t i = 0; i < m->cache_count; i++)
        users += m->caches[i].is.host == host && !m->caches[i].is.orphan;
    return users;
}

void model_join(struct model *m)
{
    if (!chunks_are_sorted(m))
        qsort(m->chunks, m->chunk_count, sizeof *m->chunks, chunks_by_address);
    if (m->run_count)
        qsort(m->runs, m->run_count, sizeof *m->runs, runs_by_address);
    model_sort_segments(m);
    model_place_caches(m);
    uint64_t last = 0;
    uint32_t last_index = QUARRY_NONE;
    for (size_t i = 0; i < m->run_count; i++) {
        struct run *r = &m->runs[i];
        if (r->is.owner != last) {
            last = r->is.owner;
            last_index = model_cache_at(m, last);
        }
        r->owner = last_index;
        m->headers_read &= r->state != RUN_OWNED || r->is.headers_read;
    }
    /* A header that happened to be copied says no more than the others, where lists were not read. */
    for (size_t i = 0; i < m->chunk_count && !m->lists_read; i++)
        if (m->chunks[i].state == STATE_MOVING)
            m->chunks[i].state = STATE_BINNED;
    for (size_t i = 0; i < m->list_count; i++)
        join_list(m, &m->lists[i]);
    for (size_t i = 0; i < m->cache_count; i++)
        join_cache(m, &m->caches[i]);
}

/* ---- the end ---- */

void model_free(struct model *m)
{
    maps_free(&m->maps);
    free(m->command);
    free(m->executable);
    free(m->threads);
    for (size_t i = 0; i < m->option_count; i++)
        free(m->options[i].name);
    free(m->options);
    free(m->arenas);
    for (size_t i = 0; i < m->segment_count; i++)
        free(m->segments[i].pages);
    free(m->segments);
    free(m->chunks);
    for (size_t i = 0; i < m->list_count; i++)
        free(m->lists[i].members);
    free(m->lists);
    free(m->runs);
    for (size_t i = 0; i < m->cache_count; i++) {
        for (size_t j = 0; j < m->caches[i].stack_count; j++)
            free(m->caches[i].stacks[j].blocks);
        free(m->caches[i].stacks);
    }
    free(m->caches);
    free(m->cache_places);
    for (size_t i = 0; i < m->finding_count; i++)
        free_finding(&m->findings[i]);
    free(m->findings);
    *m = (struct model){0};
}
