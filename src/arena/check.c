#include "arena/internal.h"

#ifdef QY_CHECK
/* A full walk for every operation would make tests quadratic; every so many finds the culprit soon enough. */
#define CHECK_EVERY 64

void qy_arena_check_locked(struct qy_arena *a)
{
    static unsigned calls;
    QY_ASSERT(qy_lock_held(&a->lock));
    if (qy_add_relaxed(&calls, 1) % CHECK_EVERY != 0)
        return;
    qy_bins_check(&a->bins);
    if (a->top) {
        qy_arena_check_top_locked(a);
        if (!qy_chunk_begins(a->top) || qy_chunk_inuse(a->top))
            qy_fatal("invariant", a->top, "I-21: marks say begin and free for top");
    }
}
#else
void qy_arena_check_locked(struct qy_arena *a)
{
    (void)a;
}
#endif
