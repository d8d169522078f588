/*
 * The brk segment (M-20): what the main arena has of the process's data segment. Owns our idea of where our
 * memory ends; the break itself belongs to the process, and the program may move it between any two calls.
 * The caller holds the lock of the main arena.
 */
#ifndef QY_SEGMENT_BREAK_H
#define QY_SEGMENT_BREAK_H

#include "base/bits.h"

struct qy_break {
    char *end;   /* where we left the break; NULL before first use */
    char *first; /* the lowest address we ever got */
};

/* What qy_break_grow got. */
struct qy_break_piece {
    char *from,
        *to; /* [from, to): new memory, zero; `to` is at a page boundary, `from` is aligned for a chunk */
    bool continues; /* `from` is where our memory ended: nobody moved the break meanwhile */
};

/*
 * Moves the break up so that at least `bytes` are new, or `bytes + if_apart` when the new piece does not continue
 * our memory. False: the kernel said no.
 */
bool qy_break_grow(struct qy_break *seg, size_t bytes, size_t if_apart, struct qy_break_piece *piece);

/* Moves the break down by `bytes`, if it is where we left it and the kernel agrees. */
bool qy_break_shrink(struct qy_break *seg, size_t bytes);

/* What the break grew by last cannot be used: gives it back, or leaves it behind as a hole. */
void qy_break_undo(struct qy_break *seg, const struct qy_break_piece *piece);

#endif
