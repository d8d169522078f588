/*
 * The classes of cells, made by the compiler: a table that is computed at start-up is a page that each process writes.
 */
#include "run/run.h"

/* The first cell begins so that blocks are as aligned as their stride allows. */
#define STRIDE(c)                              \
    ((c) < QY_SMALL_CLASSES ? (c)*QY_CELL_UNIT \
                            : (1024u << ((c) < QY_SMALL_CLASSES ? 0 : (c)-QY_SMALL_CLASSES)) + QY_CELL_UNIT)
#define FIRST(stride) ((stride) & -(stride))
#define CELLS(stride) (((uint32_t)QY_RUN_BYTES - FIRST(stride)) / (stride))
#define CLASS(c)                                                                     \
    [c] = {.stride = STRIDE(c),                                                      \
           .inverse = (uint32_t)((((uint64_t)1 << 32) + STRIDE(c) - 1) / STRIDE(c)), \
           .first = FIRST(STRIDE(c)),                                                \
           .cells = CELLS(STRIDE(c)) < QY_RUN_MAX_CELLS ? CELLS(STRIDE(c)) : QY_RUN_MAX_CELLS}
#define FOUR(c) CLASS(c), CLASS((c) + 1), CLASS((c) + 2), CLASS((c) + 3)
#define SIXTEEN(c) FOUR(c), FOUR((c) + 4), FOUR((c) + 8), FOUR((c) + 12)

const struct qy_class qy_classes[QY_CLASSES] = {SIXTEEN(1), SIXTEEN(17), SIXTEEN(33), SIXTEEN(49), FOUR(65)};
