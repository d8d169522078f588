/*
 * Shared by walk.c and walk_*.c. The walker is compiled into the library and into the `quarry` command: of the heap's
 * structures it uses layout and arithmetic only, never a variable.
 *
 * What is read from the heap goes into copies. A pointer found there is a number, and gets a gate of its own before
 * anything is read through it.
 */
#ifndef QY_OBSERVE_WALK_H
#define QY_OBSERVE_WALK_H

#include "chunk/freed.h"
#include "observe/layout.h"
#include "options/options.h"
#include "quarry/walk.h"
#include "segment/mapped.h"
#include "tcache/tcache.h"

#define QY_WALK_ARENAS 4096
#define QY_WALK_WINDOW ((size_t)16 << 10)
#define QY_WALK_STACK (QY_DEEP_COUNT_AT_MOST * QY_DEEP_BLOCKS) /* the most blocks of one stack */

/* What is remembered of an arena, for chunks and lists. */
struct qy_walk_arena {
    uint64_t address;
    uint64_t top, top_end;
    uint64_t brk_first, brk_end;
    bool locked, top_in_break;
};

/* A piece of the heap's memory, copied: for reads that go upwards. */
struct qy_window {
    uint64_t at;
    size_t bytes;
    unsigned char copy[QY_WALK_WINDOW] QY_ALIGNED(64);
};

/* The part of a cache before its slots. */
struct qy_walk_cache {
    uint64_t address;
    bool locked;
    unsigned char fixed[offsetof(struct qy_tcache, slots)] QY_ALIGNED(64);
};

struct qy_walk {
    const struct quarry_walk *ask;
    struct quarry_layout layout;
    size_t page_bytes;
    struct qy_options options;
    uint64_t keys[QY_CLASSES];
    struct qy_zone zone;
    uint64_t secret, factor;
    struct qy_seals seals;
    unsigned arena_count;
    struct qy_walk_arena arenas[QY_WALK_ARENAS];
    uint64_t leaf_key, leaf, granule_key, granule, granule_owner; /* the last ones looked up */
    uint64_t sound_cache;                                         /* the last cache that was checked */
    struct qy_window heap, marks;
    struct qy_walk_cache cache;
    union {
        struct qy_arena arena;
        struct qy_run runs[16];
        struct qy_granule_leaf leaf;
        uint64_t cells[QY_RUN_BYTES / sizeof(uint64_t)];
    } copy;
    struct qy_mapped_register mapped;
    uint64_t granules[QY_ROOT_ENTRIES];
    uint64_t blocks[QY_WALK_STACK];
};

/*
 * For lists that may be rings: Brent's cycle finding (1980), so a list is given up after less than three times its
 * length.
 */
struct qy_loop {
    uint64_t mark, steps, limit;
};

QY_INLINE bool qy_loop_ends(struct qy_loop *l, uint64_t at)
{
    if (l->steps && at == l->mark)
        return true;
    if (l->steps++ >= l->limit) {
        l->mark = at;
        l->limit = l->limit ? l->limit * 2 : 1;
    }
    return false;
}

/* All of it, or false. */
bool qy_walk_read(struct qy_walk *w, uint64_t address, void *buffer, size_t bytes);

/* Through a window: cheap when addresses go up. NULL: cannot be read. The copy is good until the next call. */
const void *qy_window_read(struct qy_walk *w, struct qy_window *window, uint64_t address, size_t bytes);

void qy_walk_find(struct qy_walk *w, uint64_t address, bool doubtful, const char *check, const char *text);

QY_INLINE bool qy_walk_plans(const struct qy_walk *w)
{
    return w->ask->visitor->need != NULL;
}

enum quarry_need qy_walk_need(struct qy_walk *w, enum quarry_need kind, uint64_t from, uint64_t to);
void qy_walk_segment(struct qy_walk *w, enum quarry_segment_kind kind, uint32_t arena, uint64_t from,
                     uint64_t used_to, uint64_t to);

/* The arena at an address of the heap's process; NULL: there is none. */
const struct qy_walk_arena *qy_walk_arena_at(struct qy_walk *w, uint64_t address);

/* Marks of any address whatever, and who owns its granule. */
enum { QY_WALK_BEGINS = 1, QY_WALK_INUSE = 2 };
struct qy_walk_marks {
    uint64_t owner; /* 0: no chunk can be there */
    unsigned marks;
};
struct qy_walk_marks qy_walk_marks_of(struct qy_walk *w, uint64_t address);

/* Whether the block is free and in a cache, an inbox or a fast bin (chunk/freed.h). */
QY_INLINE bool qy_walk_is_held(const struct qy_walk *w, const struct qy_chunk *copy, uint64_t at)
{
    if (qy_word_is_sealed(copy->size)) {
        uint32_t holder = qy_word_holder(&w->seals, at, copy->size);
        return holder >= QY_WITH_ARENA && holder < QY_HOLDERS;
    }
    return (uint64_t)copy->bk ==
           qy_freed_signature_under(w->secret, w->factor, at + QY_HEADER_BYTES, qy_chunk_size(copy));
}

/* walk_arenas.c: arenas and their lists. walk_chunks.c, walk_runs.c, walk_caches.c, walk_mapped.c: what they say. */
void qy_walk_arenas_read(struct qy_walk *w); /* what the other parts must know of them */
void qy_walk_arenas(struct qy_walk *w);
void qy_walk_caches(struct qy_walk *w);
void qy_walk_chunks(struct qy_walk *w);
void qy_walk_runs(struct qy_walk *w);
void qy_walk_mapped(struct qy_walk *w);

#endif
