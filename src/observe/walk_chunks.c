/*
 * The chunks, by the marks: what the marks say is believed, and the tags are compared with it. So a tag that was
 * written over is a finding, and the walk goes on behind it.
 */
#include "base/message.h"
#include "observe/walk.h"

static uint64_t at(const void *pointer)
{
    return (uint64_t)(uintptr_t)pointer;
}

/* ---- marks of any address ---- */

static uint64_t granule_of(struct qy_walk *w, uint64_t address)
{
    if (address >> QY_VA_BITS)
        return 0;
    uint64_t key = address >> QY_GRANULE_SHIFT;
    if (key == w->granule_key)
        return w->granule;
    if (address >> QY_LEAF_SHIFT != w->leaf_key) {
        w->leaf_key = address >> QY_LEAF_SHIFT;
        w->leaf = w->granules[w->leaf_key];
    }
    uint64_t slot = w->leaf + key % QY_LEAF_ENTRIES * sizeof(uint64_t), granule = 0, owner = 0;
    bool known = w->leaf && qy_walk_read(w, slot, &granule, sizeof granule) && granule &&
                 qy_walk_read(w, granule + offsetof(struct qy_granule, owner), &owner, sizeof owner);
    w->granule_key = key;
    w->granule = known && owner ? granule : 0;
    w->granule_owner = owner;
    return w->granule;
}

static uint64_t marks_address(uint64_t granule, uint64_t address)
{
    return granule + offsetof(struct qy_granule, marks) +
           address / QY_MARKS_BYTES % QY_GRANULE_MARKS * sizeof(struct qy_marks);
}

struct qy_walk_marks qy_walk_marks_of(struct qy_walk *w, uint64_t address)
{
    struct qy_walk_marks result = {0, 0};
    struct qy_marks marks;
    uint64_t granule = granule_of(w, address);
    if (!granule || !qy_walk_read(w, marks_address(granule, address), &marks, sizeof marks))
        return result;
    unsigned shift = (unsigned)(address / QY_ALIGNMENT % QY_MARKS_BITS);
    result.owner = w->granule_owner;
    result.marks = (unsigned)(marks.begins >> shift & 1) | (unsigned)(marks.inuse >> shift & 1) << 1;
    return result;
}

/* ---- one segment ---- */

struct segment {
    const struct qy_walk_arena *arena;
    uint32_t index;
    uint64_t from, to;  /* chunks lie here */
    uint64_t pending;   /* the chunk whose end the next mark tells; 0: none */
    bool pending_inuse; /* by its mark */
    bool before_inuse;  /* the chunk before it */
    uint64_t before_bytes;
    enum quarry_need plan; /* of a plan: the last kind that is to be said */
};

static size_t arena_tag(const struct segment *s)
{
    return s->index == 0 ? 0 : QY_NON_MAIN_ARENA;
}

static const struct qy_chunk *read_header(struct qy_walk *w, uint64_t c)
{
    return qy_window_read(w, &w->heap, c, offsetof(struct qy_chunk, fd_nextsize));
}

/* What follows a fencepost up to the next chunk was taken by somebody else; pieces of the break end at pages. */
static uint64_t fence_bytes(const struct qy_walk *w, uint64_t c, uint64_t next)
{
    return qy_min(qy_align_up(c + QY_ALIGNMENT, w->page_bytes), next) - c;
}

static void judge_inuse(struct qy_walk *w, const struct segment *s, const struct qy_chunk *header,
                        struct quarry_chunk *c)
{
    size_t size = qy_chunk_size(header), tags = c->tags;
    bool tags_right = (tags & ~QY_PREV_INUSE) == arena_tag(s);
    uint64_t fence = fence_bytes(w, c->at, c->at + c->size);
    if (size == QY_ALIGNMENT && tags_right && fence <= QY_MIN_CHUNK + QY_ALIGNMENT) {
        c->state = QUARRY_CHUNK_FENCE;
        c->size = fence;
    } else if (size != c->size || !tags_right || !qy_word_seal_holds_under(&w->seals, c->at, header->size)) {
        c->state = QUARRY_CHUNK_BROKEN;
        qy_walk_find(w, c->at, s->arena->locked, QY_CORRUPTED_HEADER,
                     "the size of this chunk in use was written over");
    } else if (qy_walk_is_held(w, header, c->at)) {
        c->state = QUARRY_CHUNK_HELD;
        c->fd = at(header->fd);
        c->bk = at(header->bk);
    }
    if (((tags & QY_PREV_INUSE) != 0) != s->before_inuse && c->state != QUARRY_CHUNK_BROKEN)
        qy_walk_find(w, c->at, s->arena->locked, QY_CORRUPTED_HEADER,
                     "P of this chunk does not say what the chunk before it is");
}

static void judge_free(struct qy_walk *w, const struct segment *s, const struct qy_chunk *header,
                       struct quarry_chunk *c)
{
    c->fd = at(header->fd);
    c->bk = at(header->bk);
    if (c->state == QUARRY_CHUNK_TOP) {
        c->fd = c->bk = 0;
        if (qy_chunk_size(header) != c->size || qy_chunk_tags(header) != QY_PREV_INUSE)
            qy_walk_find(w, c->at, s->arena->locked, QY_CORRUPTED_TOP, "the size of top was written over");
        return;
    }
    if (qy_chunk_size(header) != c->size || (qy_chunk_tags(header) & ~QY_AGE_TAGS) != QY_PREV_INUSE)
        qy_walk_find(w, c->at, s->arena->locked, QY_CORRUPTED_HEADER,
                     "the size of this free chunk was written over");
}

/* A chunk whose end is known now. */
static void say_chunk(struct qy_walk *w, struct segment *s, uint64_t next)
{
    uint64_t address = s->pending;
    struct quarry_chunk c = {
        .at = address,
        .size = next - address,
        .arena = s->index,
        .state = s->pending_inuse           ? QUARRY_CHUNK_IN_USE
                 : address == s->arena->top ? QUARRY_CHUNK_TOP
                                            : QUARRY_CHUNK_FREE,
        .tags = (uint8_t)((s->before_inuse ? QY_PREV_INUSE : 0) | (s->pending_inuse ? arena_tag(s) : 0)),
    };
    const struct qy_chunk *header = read_header(w, address);
    if (header) {
        c.header_read = true;
        c.tags = (uint8_t)qy_chunk_tags(header);
        if (s->pending_inuse && qy_word_is_sealed(header->size))
            c.tags &= (uint8_t)~QY_PREV_FREE; /* says nothing new */
        c.prev_size = s->before_inuse ? 0 : header->prev_size;
        if (c.prev_size != (s->before_inuse ? 0 : s->before_bytes))
            qy_walk_find(w, address, s->arena->locked, QY_CORRUPTED_HEADER,
                         "the size of the free chunk before this one disagrees");
        if (s->pending_inuse)
            judge_inuse(w, s, header, &c);
        else
            judge_free(w, s, header, &c);
    }
    if (w->ask->visitor->chunk)
        w->ask->visitor->chunk(w->ask->visitor_context, &c);
}

static void chunk_begins(struct qy_walk *w, struct segment *s, uint64_t address, bool inuse)
{
    if (s->pending) {
        say_chunk(w, s, address);
        s->before_inuse = s->pending_inuse;
        s->before_bytes = address - s->pending;
    }
    s->pending = address;
    s->pending_inuse = inuse;
}

static void chunks_end(struct qy_walk *w, struct segment *s)
{
    if (s->pending)
        say_chunk(w, s, s->to);
    s->pending = 0;
}

/* What a copy must have for lists (free chunks), or to see damage (chunks in use): headers, to the end of the links. */
static void plan_word(struct qy_walk *w, uint64_t base, uint64_t which, enum quarry_need kind)
{
    if (which)
        qy_walk_need(w, kind, base + qy_low_bit(which) * QY_ALIGNMENT,
                     base + qy_high_bit(which) * QY_ALIGNMENT + offsetof(struct qy_chunk, fd_nextsize));
}

static bool is_in(const struct segment *s, uint64_t address)
{
    return address >= s->from && address < s->to;
}

static void walk_word(struct qy_walk *w, struct segment *s, uint64_t base, const struct qy_marks *m)
{
    if (qy_walk_plans(w)) {
        plan_word(w, base, m->begins & ~m->inuse, QUARRY_NEED_LINKS);
        if (s->plan > QUARRY_NEED_LINKS)
            plan_word(w, base, m->begins & m->inuse, QUARRY_NEED_HEADERS);
        return;
    }
    for (uint64_t bits = m->begins; bits; bits &= bits - 1) {
        unsigned bit = qy_low_bit(bits);
        uint64_t address = base + bit * QY_ALIGNMENT;
        if (is_in(s, address))
            chunk_begins(w, s, address, m->inuse >> bit & 1);
    }
}

/* The marks of what lies from `base` on in its granule. */
static enum quarry_need plan_marks(struct qy_walk *w, uint64_t granule, uint64_t base, uint64_t to)
{
    uint64_t last = qy_min(to - 1, base | (QY_GRANULE_BYTES - 1));
    return qy_walk_need(w, QUARRY_NEED_MARKS, marks_address(granule, base),
                        marks_address(granule, last) + sizeof(struct qy_marks));
}

/* The marks of [s->from, s->to), granule by granule. */
static void walk_segment(struct qy_walk *w, struct segment *s)
{
    s->pending = 0;
    s->before_inuse = true; /* M-02: the first chunk has P */
    w->heap.bytes = w->marks.bytes = 0;
    uint64_t first = qy_align_down(s->from, QY_MARKS_BYTES);
    for (uint64_t base = first; base < s->to; base += QY_MARKS_BYTES) {
        uint64_t granule = granule_of(w, base);
        bool wanted = granule && w->granule_owner == s->arena->address;
        if (wanted && qy_walk_plans(w) && (base == first || base % QY_GRANULE_BYTES == 0)) {
            s->plan = plan_marks(w, granule, base, s->to);
            wanted = s->plan > QUARRY_NEED_MARKS;
        }
        if (!wanted) {
            base = qy_align_down(base, QY_GRANULE_BYTES) + QY_GRANULE_BYTES - QY_MARKS_BYTES;
            continue;
        }
        const struct qy_marks *m = qy_window_read(w, &w->marks, marks_address(granule, base), sizeof *m);
        if (!m) {
            qy_walk_find(w, base, false, "unreadable", "the marks of these chunks cannot be read");
            break;
        }
        if (m->begins)
            walk_word(w, s, base, m);
    }
    chunks_end(w, s);
}

/* ---- which segments there are ---- */

static uint32_t index_of(const struct qy_walk *w, const struct qy_walk_arena *a)
{
    return (uint32_t)(a - w->arenas);
}

static void walk_break(struct qy_walk *w)
{
    const struct qy_walk_arena *a = &w->arenas[0];
    if (!a->brk_first)
        return;
    uint64_t end = a->top_in_break ? qy_max(a->top_end, a->brk_end) : a->brk_end;
    if (end <= a->brk_first || end >> QY_VA_BITS)
        return;
    struct segment s = {.arena = a, .index = 0, .from = a->brk_first, .to = end};
    qy_walk_segment(w, QUARRY_SEGMENT_BREAK, 0, s.from, s.to, s.to);
    walk_segment(w, &s);
}

static bool in_break(const struct qy_walk *w, uint64_t granule_base)
{
    const struct qy_walk_arena *a = &w->arenas[0];
    uint64_t end = qy_max(a->brk_end, a->top_in_break ? a->top_end : 0);
    return a->brk_first && granule_base + QY_GRANULE_BYTES > a->brk_first && granule_base < end;
}

static void walk_subheap(struct qy_walk *w, uint64_t base, const struct qy_walk_arena *a)
{
    struct qy_subheap heap;
    if (!qy_walk_read(w, base, &heap, sizeof heap) || at(heap.arena) != a->address ||
        heap.size > heap.committed || heap.committed > QY_SUBHEAP_BYTES || heap.size < sizeof heap) {
        qy_walk_find(w, base, a->locked, QY_CORRUPTED_HEADER, "the header of this sub-heap was written over");
        heap.size = heap.committed = QY_SUBHEAP_BYTES;
        if (a->top_end > base && a->top_end <= base + QY_SUBHEAP_BYTES)
            heap.size = heap.committed = a->top_end - base;
    }
    struct segment s = {
        .arena = a, .index = index_of(w, a), .from = base + sizeof heap, .to = base + heap.size};
    qy_walk_segment(w, QUARRY_SEGMENT_SUBHEAP, s.index, base, s.to, base + heap.committed);
    walk_segment(w, &s);
}

/* Else the break was here once, or a sub-heap is just being made. */
static bool holds_first_chunk(struct qy_walk *w, uint64_t base)
{
    return (qy_walk_marks_of(w, base + sizeof(struct qy_subheap)).marks & QY_WALK_BEGINS) != 0;
}

static void walk_granule(struct qy_walk *w, uint64_t base, uint64_t granule)
{
    uint64_t owner = 0;
    if (!qy_walk_read(w, granule + offsetof(struct qy_granule, owner), &owner, sizeof owner)) {
        qy_walk_find(w, base, false, "unreadable", "the marks of this granule cannot be read");
        return;
    }
    qy_walk_segment(w, QUARRY_SEGMENT_TABLES, QUARRY_NONE, granule, granule + sizeof(struct qy_granule),
                    granule + sizeof(struct qy_granule));
    if (!owner)
        return; /* a sub-heap lay there */
    const struct qy_walk_arena *a = qy_walk_arena_at(w, owner);
    if (!a)
        qy_walk_find(w, base, false, QY_CORRUPTED_HEADER, "the owner of this granule is no arena");
    else if ((index_of(w, a) != 0 || !in_break(w, base)) && holds_first_chunk(w, base))
        walk_subheap(w, base, a);
}

void qy_walk_chunks(struct qy_walk *w)
{
    walk_break(w);
    for (uint64_t i = 0; i < QY_ROOT_ENTRIES; i++) {
        uint64_t leaf = w->granules[i];
        if (!leaf)
            continue;
        struct qy_granule_leaf *copy = &w->copy.leaf;
        if (!qy_walk_read(w, leaf, copy, sizeof *copy)) {
            qy_walk_find(w, leaf, false, "unreadable", "a part of the granule table cannot be read");
            continue;
        }
        qy_walk_segment(w, QUARRY_SEGMENT_TABLES, QUARRY_NONE, leaf, leaf + sizeof *copy,
                        leaf + sizeof *copy);
        for (uint64_t j = 0; j < QY_LEAF_ENTRIES; j++) {
            if (copy->granules[j])
                walk_granule(w, i << QY_LEAF_SHIFT | j << QY_GRANULE_SHIFT, at(copy->granules[j]));
        }
    }
}
