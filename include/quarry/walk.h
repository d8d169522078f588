/*
 * Walking a heap: one walker for the own process, for another one, and for what is left of one.
 *
 * The walker reads through a callback, so it does not care where the memory is: in this process, behind
 * process_vm_readv(2), in a core file, in a copy. It writes nothing, takes no lock and allocates nothing; what it
 * needs, the caller gives. Nothing it reads is believed before it is checked, every loop is bounded, and what cannot be
 * believed becomes a finding: then what depends on it is left out, and the walk goes on.
 */
#ifndef QUARRY_WALK_H
#define QUARRY_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Copies [address, address + length) of the heap's process to `buffer`. Returns how many bytes from `address` on could
 * be read, 0 to `length`.
 */
typedef size_t quarry_read(void *context, uint64_t address, void *buffer, size_t length);

/* Reads this process. An address that is not mapped is no error, only nothing. */
size_t quarry_read_self(void *context, uint64_t address, void *buffer, size_t length);

#define QUARRY_NONE UINT32_MAX /* in place of an arena's index */

struct quarry_option {
    const char *name;
    uint64_t value, initial; /* in force; and in the profile, if nobody had set it */
    bool is_bool;
};

struct quarry_heap {
    const char *version; /* of the library */
    uint64_t page_bytes;
    bool classic;
    const struct quarry_option *options;
    size_t option_count;
    uint64_t first_of_break, end_of_break; /* 0: the break was never moved */
    uint64_t zone_from, zone_bytes;        /* where runs lie; 0: there are none */
    bool zone_locked, register_locked;     /* a thread was at work there */
    int64_t cache_offset; /* from a thread's pointer (the register) to the word that points to its cache */
};

struct quarry_arena {
    uint64_t address;
    uint32_t index; /* 0: the main arena */
    uint32_t threads;
    bool locked; /* a thread was at work in it */
    uint64_t top, last_remainder;
    uint64_t system_bytes, max_system_bytes;
    uint64_t bytes; /* of the structure, a mapping of its own unless it is the main arena's */
};

enum quarry_segment_kind {
    QUARRY_SEGMENT_BREAK,
    QUARRY_SEGMENT_SUBHEAP,
    QUARRY_SEGMENT_RUNS,
    QUARRY_SEGMENT_RUN_DESCRIPTORS,
    QUARRY_SEGMENT_CACHE,
    QUARRY_SEGMENT_TABLES, /* granule table, marks, register */
    QUARRY_SEGMENT_ARENA,
    QUARRY_SEGMENT_MAPPED,
};

struct quarry_segment {
    uint64_t from, to; /* a mapping, or the part of one that can be accessed */
    uint64_t used_to;  /* chunks, or runs that were used once, end here; the rest is in reserve */
    enum quarry_segment_kind kind;
    uint32_t arena; /* index, or QUARRY_NONE */
};

/* By marks and signature, which the program cannot write by accident. Which list holds a free chunk, the lists say. */
enum quarry_chunk_state {
    QUARRY_CHUNK_IN_USE,
    QUARRY_CHUNK_FREE, /* in a bin, merged with its neighbours */
    QUARRY_CHUNK_HELD, /* free, but kept whole: in a thread cache, a fast bin or an inbox */
    QUARRY_CHUNK_TOP,
    QUARRY_CHUNK_FENCE,  /* closes a segment off */
    QUARRY_CHUNK_BROKEN, /* in use, and its size word was written over */
};

struct quarry_chunk {
    uint64_t at;        /* the chunk; its memory begins 16 behind */
    uint64_t size;      /* up to where the next chunk begins */
    uint64_t prev_size; /* what stands there when P = 0; else 0, for it belongs to the chunk before */
    uint64_t fd, bk;    /* of a free chunk */
    uint32_t arena;
    uint8_t tags; /* the low four bits as they stand there; as they should, when the header was not read */
    uint8_t state;
    bool header_read;
};

enum quarry_list_kind {
    QUARRY_LIST_FAST,
    QUARRY_LIST_UNSORTED,
    QUARRY_LIST_SMALL,
    QUARRY_LIST_LARGE,
    QUARRY_LIST_INBOX,
    QUARRY_LIST_DIRTY_RUNS,  /* free, with memory; last freed first */
    QUARRY_LIST_PURGED_RUNS, /* free, their memory given back */
};

struct quarry_list {
    enum quarry_list_kind kind;
    uint32_t arena;    /* or QUARRY_NONE */
    uint32_t index;    /* of a bin */
    uint64_t from, to; /* the smallest and the largest size of a chunk that belongs there */
};

#define QUARRY_RUN_WORDS 32

struct quarry_run {
    uint64_t at;
    uint64_t owner; /* address of the cache, or 0: free */
    uint32_t cls, stride, first, cells;
    uint64_t carved;                      /* bit p: page p holds headers */
    uint64_t available[QUARRY_RUN_WORDS]; /* cells that may be handed out */
    uint64_t free[QUARRY_RUN_WORDS];      /* the owner knows they are free */
    uint64_t remote[QUARRY_RUN_WORDS];    /* freed by other threads, not yet collected */
    /* The rest is known only if the cells' headers could be read. */
    bool headers_read;
    uint64_t headers_free[QUARRY_RUN_WORDS]; /* say free: whatever the lists say, they are */
    uint64_t headers_live[QUARRY_RUN_WORDS]; /* say in use: if on a stack, the slot is of the past */
};

struct quarry_cache {
    uint64_t address, bytes;
    uint32_t arena; /* index, or QUARRY_NONE: not used yet */
    uint64_t host;  /* the cache whose runs its cells come from: often itself */
    bool orphan;    /* no thread uses it; threads of others may use its runs */
    bool locked;    /* a thread was at work on its runs */
    bool main_thread;
};

struct quarry_stack {
    uint64_t cache;
    bool of_cells;
    uint32_t cls;
    uint64_t from; /* stride of the cells, or the smallest size of the chunks */
    uint64_t limit;
    const uint64_t
        *blocks; /* addresses of their memory, oldest first; what could not be believed is left out */
    size_t count;
};

struct quarry_mapped {
    uint64_t mem;     /* the block */
    uint64_t size;    /* of its chunk */
    uint64_t padding; /* between the mapping's start and the chunk */
};

struct quarry_finding {
    uint64_t address;
    const char *check; /* docs/messages.md */
    const char *text;
    bool doubtful; /* a thread was at work there, and may have been half-way through */
};

/* What a walk will read: see quarry_walk. */
enum quarry_need {
    QUARRY_NEED_MARKS, /* of chunks, and descriptors of runs: without them, nothing is known of the blocks */
    QUARRY_NEED_LINKS, /* links and sizes of free chunks: without them, lists end */
    QUARRY_NEED_HEADERS, /* of chunks in use: without them, damage is not seen */
    QUARRY_NEED_CELLS,   /* headers of cells: the same */
};

/* Each may be NULL. What they are given is valid only during the call. */
struct quarry_visitor {
    void (*heap)(void *context, const struct quarry_heap *heap);
    void (*arena)(void *context, const struct quarry_arena *arena);
    void (*segment)(void *context, const struct quarry_segment *segment);
    void (*chunk)(void *context, const struct quarry_chunk *chunk); /* upwards in each segment */
    void (*member)(void *context, const struct quarry_list *list, uint64_t chunk_or_run); /* in list order */
    void (*run)(void *context, const struct quarry_run *run);                             /* upwards */
    void (*cache)(void *context, const struct quarry_cache *cache);
    void (*stack)(void *context, const struct quarry_stack *stack); /* of the last cache */
    void (*mapped)(void *context, const struct quarry_mapped *block);
    void (*finding)(void *context, const struct quarry_finding *finding);
    enum quarry_need (*need)(void *context, enum quarry_need kind, uint64_t from, uint64_t to);
};

enum quarry_walk_status {
    QUARRY_WALK_DONE,
    QUARRY_WALK_NO_LAYOUT,    /* there is no descriptor at that address */
    QUARRY_WALK_OTHER_LAYOUT, /* it is that of a library this walker does not know */
    QUARRY_WALK_NOT_STARTED,  /* the library was loaded and never used */
    QUARRY_WALK_UNREADABLE,   /* the roots cannot be read */
    QUARRY_WALK_MEMORY_TOO_SMALL,
};

#define QUARRY_WALK_MEMORY ((size_t)512 << 10)
#define QUARRY_WALK_ALIGNMENT 64

struct quarry_walk {
    quarry_read *read;
    void *read_context;
    uint64_t layout; /* address of quarry_layout in the heap's process */
    const struct quarry_visitor *visitor;
    void *visitor_context;
    void *memory;        /* for the walker's use */
    size_t memory_bytes; /* at least QUARRY_WALK_MEMORY */
    bool partial;        /* what is read is a copy of a part: a block that cannot be read is no finding */
};

/*
 * Walks the heap and calls the visitor for what is there: heap, arenas, caches with their stacks, lists, segments with
 * their chunks, runs, mapped blocks; findings wherever they turn up.
 *
 * With visitor->need, the walk only says what it would read beside caches and lists, and calls nothing else but heap,
 * arena and cache: for who wants to copy it all while the process stands still, and walk later. What need returns of
 * marks is the last kind that is to be said of their blocks; QUARRY_NEED_MARKS itself: nothing, and they are not read.
 *
 * The heap should stand still. When it does not (a walk of the own process with other threads running), nothing breaks,
 * but parts are from different moments, and findings may be wrong.
 *
 * Thread-safe; a signal handler may call it. errno is not changed.
 */
enum quarry_walk_status quarry_walk(const struct quarry_walk *walk);

/* What a walk with this descriptor would say before it visits anything. */
enum quarry_walk_status quarry_check_layout(quarry_read *read, void *read_context, uint64_t layout);

/* What a status means, as the end of a sentence. */
const char *quarry_walk_status_text(enum quarry_walk_status status);

/*
 * The descriptor of this process's library. Its contents are the walker's business; quarry_find_layout finds one in the
 * `bytes` at `memory`, which were copied from `address` of a process, and returns its address there, or 0.
 */
struct quarry_layout;
extern struct quarry_layout quarry_layout;
uint64_t quarry_find_layout(const void *memory, size_t bytes, uint64_t address);

#ifdef __cplusplus
}
#endif

#endif
