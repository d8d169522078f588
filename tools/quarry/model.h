/*
 * A heap as it was at one moment: what the walker found, joined with what the kernel says about the process. All
 * commands and formats start from this, wherever it came from: a process, a core file, a snapshot file.
 */
#ifndef QUARRY_MODEL_H
#define QUARRY_MODEL_H

#include <quarry/walk.h>

#include "maps.h"

/* docs/formats.md has the same names in the same order; a snapshot file holds the numbers. */
enum chunk_state {
    STATE_IN_USE,
    STATE_BINNED,
    STATE_UNSORTED,
    STATE_FAST,
    STATE_CACHED,
    STATE_INBOX,
    STATE_TOP,
    STATE_FENCE,
    STATE_MAPPED,
    STATE_BROKEN,
    STATE_MOVING,
    STATES
};
extern const char *const state_names[STATES];

enum source { SOURCE_PROCESS, SOURCE_CORE, SOURCES };
extern const char *const source_names[SOURCES];

struct thread {
    int tid;
    char name[32];
    uint64_t pointer; /* thread pointer; 0: not known */
    uint64_t pc;      /* 0: not known */
    uint32_t cache;   /* index, or QUARRY_NONE */
};

struct option_value {
    char *name;
    uint64_t value, initial;
    bool is_bool;
};

/* One word less than it looks: a million of them are 32 MB. */
struct chunk {
    uint64_t at : 48, arena : 16;
    uint64_t size : 48, state : 8, tags : 8;
    uint64_t fd, bk; /* of free chunks; of a mapped one, fd is the padding before it; else 0 */
};

struct segment {
    struct quarry_segment is;
    unsigned char *
        pages; /* two bits a page, low bits first: 0 not resident, 1 resident, 2 swapped, 3 huge; NULL: not known */
};

struct list {
    struct quarry_list is;
    uint64_t *members;
    size_t count;
};

struct run {
    struct quarry_run is;
    uint64_t cached[QUARRY_RUN_WORDS]; /* on some stack */
    enum { RUN_OWNED, RUN_DIRTY, RUN_PURGED } state;
    uint32_t owner; /* index of the cache, or QUARRY_NONE */
};

struct stack {
    struct quarry_stack is;
    uint64_t *blocks;
};

struct cache {
    struct quarry_cache is;
    int tid; /* 0: none known */
    struct stack *stacks;
    size_t stack_count;
};

struct cache_place {
    uint64_t address;
    uint32_t index;
};

struct finding {
    uint64_t address;
    char *check, *text;
    bool doubtful;
};

struct model {
    enum source source;
    char taken_at[32];
    uint64_t stopped_us; /* the longest stop */
    unsigned stops;      /* how often the process was stopped until nobody was at work in the heap */
    bool busy;           /* somebody was at work in the heap at that moment all the same */
    uint64_t copied_bytes;
    unsigned other_copies; /* of Quarry in the process */
    bool lists_read;       /* bins: order, and which free chunks are still unsorted */
    bool headers_read;     /* of blocks in use: damage to them would have been seen */
    int pid;
    char *command, *executable;
    uint64_t page_bytes;
    struct maps maps;
    struct thread *threads;
    size_t thread_count;

    char version[32];
    bool classic;
    struct option_value *options;
    size_t option_count;
    uint64_t first_of_break, end_of_break, zone_from, zone_bytes;
    int64_t cache_offset;

    struct quarry_arena *arenas;
    size_t arena_count;
    struct segment *segments; /* by address */
    size_t segment_count;
    struct chunk *chunks; /* by address, mapped blocks too */
    size_t chunk_count;
    struct list *lists;
    size_t list_count;
    struct run *runs; /* by address */
    size_t run_count;
    struct cache *caches;
    struct cache_place *cache_places; /* the same by address, once they are all known */
    size_t cache_count;
    struct finding *findings;
    size_t finding_count, findings_left_out;
};

#define MOST_FINDINGS 1000

void model_free(struct model *m);
void model_add_finding(struct model *m, uint64_t address, const char *check, const char *text, bool doubtful);

/* What says why others are there, and must not be left out for them. */
void model_put_finding_first(struct model *m, uint64_t address, const char *check, const char *text);

/* The visitor that fills a model; its context is the model. */
extern const struct quarry_visitor model_visitor;

/* The index of the cache that lies there, or QUARRY_NONE; after model_join, or model_place_caches. */
uint32_t model_cache_at(const struct model *m, uint64_t address);

/* How many threads take their cells from the runs of this cache. */
size_t model_users_of(const struct model *m, uint64_t host);

/* After the walk: what each list and stack says of its chunks and cells goes to these. */
void model_join(struct model *m);
void model_sort_segments(struct model *m); /* model_join does it, too */
void model_place_caches(struct model *m);  /* and that */

/* By address; NULL: none. A chunk is found by any address in it, a run and a segment too. */
struct chunk *model_chunk_at(const struct model *m, uint64_t address);
struct run *model_run_at(const struct model *m, uint64_t address);
struct segment *model_segment_at(const struct model *m, uint64_t address);
struct segment *model_segment_before(const struct model *m, uint64_t end); /* the last that begins before */

/* What a cell is. */
enum cell_state { CELL_NONE, CELL_IN_USE, CELL_FREE, CELL_REMOTE, CELL_CACHED, CELL_MOVING };
enum cell_state model_cell_state(const struct run *run, unsigned index);

/* Bits of the cells in one state, for counting. */
uint64_t model_cell_word(const struct run *run, unsigned word, enum cell_state state);

#endif
