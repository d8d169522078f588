/*
 * The program break. It is the process's, not ours: the program may move it at any moment, so what was learnt
 * from one call may be false at the next.
 */
#ifndef QY_OS_BRK_H
#define QY_OS_BRK_H

#include "base/compiler.h"

/* Moves the break by `delta` bytes and returns where it was; NULL: the kernel said no. errno is kept. */
void *qy_brk_move(intptr_t delta);

#endif
