/*
 * The classes of cells, made by the compiler: a table that is computed at start-up is a page that each process writes.
 */
#include "run/run.h"

/* The first cell begins so that blocks are as aligned as their stride allows. */
#define FIRST(stride) ((stride) & -(stride))
#define CELLS(stride) (((uint32_t)QY_RUN_BYTES - FIRST(stride)) / (stride))
#define CLASS(c)                                                                                       \
    [c] = {.stride = QY_CLASS_STRIDE(c),                                                               \
           .inverse = (uint32_t)((((uint64_t)1 << 32) + QY_CLASS_STRIDE(c) - 1) / QY_CLASS_STRIDE(c)), \
           .first = FIRST(QY_CLASS_STRIDE(c)),                                                         \
           .cells =                                                                                    \
               CELLS(QY_CLASS_STRIDE(c)) < QY_RUN_MAX_CELLS ? CELLS(QY_CLASS_STRIDE(c)) : QY_RUN_MAX_CELLS}
#define FOUR(c) CLASS(c), CLASS((c) + 1), CLASS((c) + 2), CLASS((c) + 3)
#define SIXTEEN(c) FOUR(c), FOUR((c) + 4), FOUR((c) + 8), FOUR((c) + 12)

const struct qy_class qy_classes[QY_CLASSES] = {SIXTEEN(1), SIXTEEN(17), SIXTEEN(33), SIXTEEN(49), FOUR(65)};
