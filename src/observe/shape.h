/*
 * One word that differs when a structure of the heap has another size or order: so that a walker never takes one
 * library's memory for another's, even where somebody forgot QY_LAYOUT_VERSION.
 */
#ifndef QY_OBSERVE_SHAPE_H
#define QY_OBSERVE_SHAPE_H

#include "options/options.h"
#include "segment/mapped.h"
#include "tcache/tcache.h"

#define QY_FOLD(word, n) ((word)*UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)(n))
#define QY_FOLD_4(word, a, b, c, d) QY_FOLD(QY_FOLD(QY_FOLD(QY_FOLD(word, a), b), c), d)

#define QY_LAYOUT_SHAPE                                                                                      \
    QY_FOLD_4(                                                                                               \
        QY_FOLD_4(QY_FOLD_4(QY_FOLD_4(UINT64_C(0), sizeof(struct qy_arena), offsetof(struct qy_arena, bins), \
                                      offsetof(struct qy_arena, inbox), sizeof(struct qy_bins)),             \
                            sizeof(struct qy_run), offsetof(struct qy_run, free_bits),                       \
                            offsetof(struct qy_run, remote_bits), QY_CLASSES),                               \
                  sizeof(struct qy_tcache), offsetof(struct qy_tcache, stacks),                              \
                  offsetof(struct qy_tcache, chunks), offsetof(struct qy_tcache, orphaned)),                 \
        sizeof(struct qy_granule), sizeof(struct qy_zone), sizeof(struct qy_mapped_register),                \
        sizeof(struct qy_options))

#endif
