#include "run/zone.h"

#include "base/lock.h"
#include "options/options.h"
#include "os/limits.h"
#include "os/pages.h"
#include "run/run.h"

struct qy_zone qy_zone;
static struct qy_lock zone_lock = QY_LOCK_INIT(QY_RANK_ZONE);

/* Address space costs nothing but is not endless everywhere (RLIMIT_AS): the most tried first, then half of it, ... */
#define LARGEST_ZONE ((size_t)1 << 40)
#define SMALLEST_ZONE ((size_t)64 << 20)
#define TIMES_PHYSICAL 4

/* The accessible part grows by an eighth of itself, within these: each step is one system call. */
#define SMALLEST_STEP ((size_t)2 << 20)
#define LARGEST_STEP ((size_t)256 << 20)

static const char zone_name[] = "quarry: runs";
static const char descriptors_name[] = "quarry: run descriptors";

static size_t descriptor_bytes(size_t zone_bytes)
{
    return qy_align_up((zone_bytes >> QY_RUN_SHIFT) * sizeof(struct qy_run), qy_page_bytes);
}

static bool reserve(size_t bytes)
{
    void *runs = qy_pages_reserve(descriptor_bytes(bytes), qy_page_bytes, descriptors_name);
    if (!runs)
        return false;
    void *base = qy_pages_reserve(bytes, QY_RUN_BYTES, zone_name);
    if (!base) {
        qy_pages_unmap(runs, descriptor_bytes(bytes));
        return false;
    }
    qy_zone.lo = (uintptr_t)base;
    qy_zone.runs = runs;
    qy_zone.reserved = bytes;
    return true;
}

void qy_zone_init(void)
{
    size_t wanted = qy_max(qy_limit_physical(), SMALLEST_ZONE) * TIMES_PHYSICAL;
    size_t bytes = (size_t)1 << (qy_high_bit(wanted - 1) + 1);
    for (bytes = qy_min(bytes, LARGEST_ZONE); bytes >= SMALLEST_ZONE; bytes /= 4) {
        if (reserve(bytes))
            return;
    }
}

/* Makes room for at least one more run. */
static bool extend_locked(void)
{
    QY_ASSERT(qy_lock_held(&zone_lock));
    size_t step = qy_align_up(qy_min(qy_max(qy_zone.span / 8, SMALLEST_STEP), LARGEST_STEP), QY_RUN_BYTES);
    size_t span = qy_min(qy_zone.span + step, qy_zone.reserved);
    if (span == qy_zone.span)
        return false;
    char *runs = (char *)qy_zone.runs;
    size_t have = qy_zone.committed_runs ? descriptor_bytes(qy_zone.committed_runs << QY_RUN_SHIFT) : 0;
    size_t need = descriptor_bytes(span);
    if (need > have && !qy_pages_commit(runs + have, need - have, descriptors_name))
        return false;
    qy_zone.committed_runs = span >> QY_RUN_SHIFT;
    if (!qy_pages_commit((char *)qy_zone.lo + qy_zone.span, span - qy_zone.span, zone_name))
        return false;
    /*
     * Release: free() compares against the span without a lock; a block of the new part reaches another thread
     * only after this store.
     */
    qy_store_release(&qy_zone.span, span);
    return true;
}

static struct qy_run *pop_dirty_locked(void)
{
    struct qy_run *run = qy_zone.dirty;
    qy_zone.dirty = run->next;
    if (run->next)
        run->next->prev = NULL;
    else
        qy_zone.dirty_last = NULL;
    return run;
}

static struct qy_run *take_locked(void)
{
    if (qy_zone.dirty)
        return pop_dirty_locked();
    if (qy_zone.clean) {
        struct qy_run *run = qy_zone.clean;
        qy_zone.clean = run->next;
        qy_zone.purged--;
        return run;
    }
    if (qy_zone.fresh == qy_zone.span >> QY_RUN_SHIFT && !extend_locked())
        return NULL;
    return &qy_zone.runs[qy_zone.fresh++];
}

struct qy_run *qy_zone_take(void)
{
    qy_lock(&zone_lock);
    struct qy_run *run = take_locked();
    if (run)
        qy_zone.taken++;
    qy_unlock(&zone_lock);
    return run;
}

static size_t purge_locked(uint64_t now_ms, uint64_t older_than_ms)
{
    size_t count = 0;
    struct qy_run *run;
    while ((run = qy_zone.dirty_last) != NULL && run->freed_at_ms + older_than_ms <= now_ms) {
        if (!qy_pages_purge(qy_run_base(run), QY_RUN_BYTES))
            break;
        qy_zone.dirty_last = run->prev;
        if (run->prev)
            run->prev->next = NULL;
        else
            qy_zone.dirty = NULL;
        run->next = qy_zone.clean;
        qy_zone.clean = run;
        count++;
    }
    qy_zone.purged += count;
    return count;
}

void qy_zone_put(struct qy_run *run)
{
    uint64_t now = qy_clock_ms();
    qy_lock(&zone_lock);
    run->freed_at_ms = now;
    run->owner = NULL;
    run->prev = NULL;
    run->next = qy_zone.dirty;
    if (run->next)
        run->next->prev = run;
    else
        qy_zone.dirty_last = run;
    qy_zone.dirty = run;
    qy_zone.taken--;
    if (qy_options.decay)
        purge_locked(now, qy_options.decay);
    qy_unlock(&zone_lock);
}

size_t qy_zone_purge(uint64_t older_than_ms)
{
    uint64_t now = qy_clock_ms();
    qy_lock(&zone_lock);
    size_t count = purge_locked(now, older_than_ms);
    qy_unlock(&zone_lock);
    return count;
}

struct qy_zone_stats qy_zone_stats(void)
{
    qy_lock(&zone_lock);
    struct qy_zone_stats stats = {.taken = qy_zone.taken, .purged = qy_zone.purged, .used_once = qy_zone.fresh};
    stats.dirty = stats.used_once - stats.taken - stats.purged;
    qy_unlock(&zone_lock);
    return stats;
}

void qy_zone_lock(void)
{
    qy_lock(&zone_lock);
}

void qy_zone_unlock(void)
{
    qy_unlock(&zone_lock);
}

void qy_zone_reset(void)
{
    qy_lock_reset(&zone_lock);
}
