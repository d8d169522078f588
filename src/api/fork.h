/*
 * fork (M-34): what must happen around it, and who sees to it that it does. libquarry.so stands before libc
 * (fork_shared.c), libquarry.a does not (fork_static.c).
 */
#ifndef QY_API_FORK_H
#define QY_API_FORK_H

#include <stdbool.h>

/* At start-up, when malloc works. */
void qy_fork_init(void);

/* libquarry.so only: registers our handlers, unless they are, for a fork that does not come through there. */
void qy_fork_register(void);

/* There is no other thread: nothing has to be done. Async-signal-safe. */
bool qy_fork_is_alone(void);

/*
 * In the forking thread, unless it is alone: takes every lock, in rank order; makes them usable again, in parent and
 * child.
 */
void qy_before_fork(void);
void qy_after_fork_in_parent(void);
void qy_after_fork_in_child(void);

#endif
