/*
 * The roster of thread caches, for the layers above: start-up, fork, trim, statistics.
 */
#ifndef QY_TCACHE_ROSTER_H
#define QY_TCACHE_ROSTER_H

#include "tcache/tcache.h"

/* Where the list begins, for who looks from outside (observe/layout.c). */
QY_OURS struct qy_tcache *qy_roster;

void qy_roster_init(void);

/* All thread caches, newest first, linked by `next`; none is ever unmade. */
struct qy_tcache *qy_roster_first(void);

/* Makes a cache follow the options (perturb, run_max). Its thread calls this. */
void qy_tcache_configure(struct qy_tcache *t);

/* Gives back what the calling thread's cache and those of dead threads hold. */
void qy_roster_trim(void);

void qy_roster_lock(void);
void qy_roster_unlock(void);
void qy_roster_reset(void);

#endif
