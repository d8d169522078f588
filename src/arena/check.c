#include "arena/internal.h"

#ifdef QY_CHECK
/* A walk now and then finds the culprit soon enough; the longer it is, the later comes the next. */
#define CHECK_EVERY 64

void qy_arena_check_locked(struct qy_arena *a)
{
    static unsigned calls, due; /* atomic; which of two threads walks does not matter */
    QY_ASSERT(qy_lock_held(&a->lock));
    unsigned now = qy_add_relaxed(&calls, 1);
    if ((int)(now - qy_load_relaxed(&due)) < 0)
        return;
    size_t walked = qy_bins_check(&a->bins);
    qy_store_relaxed(&due, now + (unsigned)qy_max(CHECK_EVERY, walked));
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
