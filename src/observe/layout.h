/*
 * The layout descriptor: where the roots of the heap are, for whoever looks from outside. It lies in the library's
 * writable data, whose pages are in every core dump, and contains its own address, so that a scan of memory finds it
 * and nothing else.
 */
#ifndef QY_OBSERVE_LAYOUT_H
#define QY_OBSERVE_LAYOUT_H

#include "base/compiler.h"

#define QY_LAYOUT_MAGIC_0 UINT64_C(0x79726c6579727571)
#define QY_LAYOUT_MAGIC_1 UINT64_C(0x1f74756f79616c0a)

/* Changes whenever a structure that the walker reads changes its meaning; `shape` sees what changes their sizes. */
#define QY_LAYOUT_VERSION 4

struct quarry_layout {
    uint64_t magic[2];
    const struct quarry_layout *self;
    uint32_t version;
    uint32_t bytes; /* of this record */
    uint64_t shape;
    uint64_t page_bytes; /* 0 until the library is set up */
    const void *main_arena, *caches, *zone, *granules, *mapped, *options, *keys, *secret, *factor, *seals;
    int64_t self_offset; /* from a thread's pointer to the word that points to its cache */
    char library[16];    /* its version */
};

extern struct quarry_layout quarry_layout;

/* At the end of start-up: from now on there is a heap to look at. */
void qy_layout_init(void);

#endif
