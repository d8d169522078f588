/*
 * Where the memory is: parts that add up to what the heap has mapped. Owns: which byte counts as what.
 */
#ifndef QUARRY_FIGURES_H
#define QUARRY_FIGURES_H

#include "model.h"

enum part {
    PART_LIVE,       /* what the program may use of the blocks it holds */
    PART_ROUNDING,   /* headers and padding of these blocks, ends of runs */
    PART_CACHED,     /* free blocks that threads keep */
    PART_FREE_CELLS, /* free cells in runs that some thread owns */
    PART_FAST,
    PART_BINNED, /* in the other bins */
    PART_INBOX,  /* freed by threads of other arenas, not yet taken in */
    PART_MOVING, /* free and in no list: some thread had them in hand */
    PART_TOP,
    PART_FENCE,
    PART_UNCARVED,  /* of owned runs: not made into cells yet, or given back */
    PART_FREE_RUNS, /* runs nobody owns, and room for more */
    PART_METADATA,  /* arenas, caches, descriptors, marks, tables */
    PART_OTHER,     /* reserve of sub-heaps, holes in the break, damaged parts */
    PARTS
};

struct part_text {
    const char *key, *name, *text; /* `key` is for programs, the others are for people */
};
extern const struct part_text part_texts[PARTS];

struct figure {
    uint64_t bytes, resident, count;
};

struct figures {
    bool residency_known;
    struct figure mapped, parts[PARTS];
    uint64_t huge; /* bytes of mapped.resident in huge pages, as far as the kernel tells */
};

void figures_of(const struct model *m, struct figures *f);

#endif
