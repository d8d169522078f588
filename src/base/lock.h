/*
 * The lock: a futex, 4 bytes, unfair, with a short spin. Zero is unlocked, so static storage needs no set-up.
 *
 * Ranks: a thread may only take a lock of a higher rank than every lock it holds; this is what makes deadlock
 * impossible, and debug builds check it on every call. docs/locks.md lists who guards what.
 */
#ifndef QY_BASE_LOCK_H
#define QY_BASE_LOCK_H

#include "base/compiler.h"

enum qy_rank {
    QY_RANK_INIT,     /* start-up, and handlers of fork: once each */
    QY_RANK_ROSTER,   /* the list of thread caches, and of those no thread uses */
    QY_RANK_CACHE,    /* the runs of one thread cache */
    QY_RANK_ARENAS,   /* the list of arenas */
    QY_RANK_ARENA,    /* one arena; several at a time only in fork, in list order */
    QY_RANK_ZONE,     /* free runs */
    QY_RANK_MAPPED,   /* the register of mappings of their own */
    QY_RANK_GRANULES, /* the granule table, while it grows */
    QY_RANK_COUNT
};

struct qy_lock {
    uint32_t state; /* 0 free, 1 held, 2 held and somebody may sleep */
    uint32_t rank;
};

#define QY_LOCK_INIT(r) \
    {                   \
        0, (r)          \
    }

void qy_lock(struct qy_lock *lock);
bool qy_trylock(struct qy_lock *lock);
void qy_unlock(struct qy_lock *lock);

/* In the child of fork(), where the thread that held it is gone. */
void qy_lock_reset(struct qy_lock *lock);

/* For `_locked` functions: their first statement asserts that the caller holds the lock. */
bool qy_lock_held(const struct qy_lock *lock);

#endif
