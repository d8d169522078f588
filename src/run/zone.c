#include "run/zone.h"

#include "base/message.h"
#include "base/probe.h"
#include "options/options.h"
#include "os/limits.h"
#include "os/pages.h"
#include "run/run.h"

struct qy_zone qy_zone = {.lock = QY_LOCK_INIT(QY_RANK_ZONE)};

/*
 * Where the zone may lie: in the first half of `range` bytes from `base`, in the middle of a GiB that the secret
 * chooses. The kernel hands out addresses from the top of the address space downwards and puts the program at two
 * thirds of it, so below 2^46 nothing is in the way. The second place is for machines with 39 address bits.
 */
static const struct place {
    uintptr_t base;
    size_t range;
} places[] = {
#ifdef QY_TSAN /* which lets nothing lie at either */
    {(uintptr_t)0x7e9000000000, (size_t)1 << 36},
#endif
    {(uintptr_t)1 << 44, (size_t)1 << 44},
    {(uintptr_t)1 << 36, (size_t)1 << 36},
};

#define PLACE_STEP ((size_t)1 << 30)
#define LARGEST_SHARE 4 /* the zone may grow to a quarter of the range */

/*
 * From the first stride to the zone: what the strides can grow to. Both arrays begin in the middle of what one page
 * table maps.
 */
#define STRIDES_BEFORE(largest) \
    (qy_align_up((largest) / QY_RUN_BYTES * sizeof(uint16_t), QY_HUGE_BYTES) + QY_HUGE_BYTES / 2)

/* The zone grows by an eighth of itself, within these: each step is two system calls. */
#define SMALLEST_STEP ((size_t)2 << 20)
#define LARGEST_STEP ((size_t)256 << 20)
#define NO_LIMIT (2 * LARGEST_STEP)

/*
 * A zone of this size grows by huge pages if three quarters of it are resident: so it is at most a 16th larger for it.
 */
#define HUGE_FROM ((size_t)32 << 20)

static size_t largest_span;
static size_t largest_step = NO_LIMIT; /* see extend_locked */

static bool map_tables(size_t span)
{
    size_t runs = span >> QY_RUN_SHIFT;
    uintptr_t first = (uintptr_t)qy_zone.strides;
    uintptr_t from = qy_align_down(first - runs * sizeof(struct qy_run), qy_page_bytes);
    uintptr_t to = qy_align_up(first + runs * sizeof(uint16_t), qy_page_bytes);
    if (from < qy_zone.tables_from) {
        if (!qy_pages_map_at((void *)from, qy_zone.tables_from - from, "quarry: run descriptors"))
            return false;
        qy_zone.tables_from = from;
    }
    if (to > qy_zone.tables_to) {
        if (!qy_pages_map_at((void *)qy_zone.tables_to, to - qy_zone.tables_to, "quarry: run strides"))
            return false;
        qy_zone.tables_to = to;
    }
    return true;
}

static bool is_dense(void)
{
    return qy_options.huge && qy_pages_can_be_huge() && qy_zone.span >= HUGE_FROM &&
           qy_load_relaxed(&qy_zone.full_bytes) >= qy_zone.span / 4 * 3;
}

/*
 * The wish ends where the zone was touched: what of it goes back later is to stay away. A kernel that makes huge pages
 * unasked (transparent_hugepage=always) is told to make none of what is sparse.
 */
static void settle_locked(size_t touched)
{
    touched = qy_min(qy_align_up(touched, QY_HUGE_BYTES), qy_zone.span);
    if (touched <= qy_zone.huge_from)
        return;
    qy_pages_wish_huge((char *)qy_zone.lo + qy_zone.huge_from, touched - qy_zone.huge_from, false);
    qy_zone.huge_from = touched;
}

static bool extend_by(size_t step)
{
    size_t span = qy_zone.span + step;
    if (span > largest_span || !map_tables(span) ||
        !qy_pages_map_at((char *)qy_zone.lo + qy_zone.span, step, "quarry: runs"))
        return false;
    bool dense = is_dense();
    settle_locked(qy_zone.span);
    qy_pages_wish_huge((char *)qy_zone.lo + qy_zone.span, step, dense);
    if (!dense)
        qy_zone.huge_from = span;
    /*
     * Release: threads compare against the span without a lock; a block of the new part reaches another thread only
     * after this store.
     */
    qy_store_release(&qy_zone.span, span);
    return true;
}

/* A large zone ends where a huge page does. */
static size_t step_wanted(void)
{
    size_t step = qy_min(qy_max(qy_zone.span / 8, SMALLEST_STEP), LARGEST_STEP);
    return qy_zone.span >= HUGE_FROM ? qy_align_up(qy_zone.span + step, QY_HUGE_BYTES) - qy_zone.span
                                     : qy_align_up(step, QY_RUN_BYTES);
}

/*
 * Makes room for at least one more run. What the kernel refused is not asked for again at once: at a limit, every
 * request comes here. The next step is at most twice what it granted, or one run.
 */
static bool extend_locked(void)
{
    QY_ASSERT(qy_lock_held(&qy_zone.lock));
    size_t step = qy_min(step_wanted(), largest_step);
    while (!extend_by(step)) {
        largest_step = QY_RUN_BYTES;
        step = qy_align_down(step / 2, QY_RUN_BYTES);
        if (step == 0)
            return false;
    }
    if (step >= largest_step)
        largest_step = qy_min(2 * step, NO_LIMIT);
    return true;
}

void qy_zone_init(uint64_t secret)
{
    qy_lock(&qy_zone.lock);
    for (size_t i = 0; i < sizeof places / sizeof places[0] && !qy_zone.span; i++) {
        size_t half = places[i].range / 2;
        largest_span = places[i].range / LARGEST_SHARE;
        qy_zone.lo = places[i].base + secret % (half / PLACE_STEP) * PLACE_STEP + PLACE_STEP / 2;
        qy_zone.tables_from = qy_zone.tables_to = qy_zone.lo - STRIDES_BEFORE(largest_span);
        qy_zone.strides = (uint16_t *)(qy_zone.tables_to + qy_page_bytes / 2);
        extend_locked();
    }
    if (!qy_zone.span)
        qy_zone.lo = 0;
    qy_unlock(&qy_zone.lock);
}

/* Of free runs with memory, those that have the headers of a class still, last freed first. */
static struct qy_run *ready[QY_CLASSES];

static void list_dirty_locked(struct qy_run *run)
{
    run->prev = NULL;
    run->next = qy_zone.dirty;
    *(run->next ? &run->next->prev : &qy_zone.dirty_last) = run;
    qy_zone.dirty = run;
    if (!run->ready)
        return;
    struct qy_run **newest = &ready[run->cls];
    run->newer = NULL;
    run->older = *newest;
    if (run->older)
        run->older->newer = run;
    *newest = run;
}

static void unlist_dirty_locked(struct qy_run *run)
{
    *(run->prev ? &run->prev->next : &qy_zone.dirty) = run->next;
    *(run->next ? &run->next->prev : &qy_zone.dirty_last) = run->prev;
    if (!run->ready)
        return;
    *(run->newer ? &run->newer->older : &ready[run->cls]) = run->older;
    if (run->older)
        run->older->newer = run->newer;
}

/* The last freed of those that were of this class; else the last freed. */
static struct qy_run *best_dirty_locked(unsigned cls)
{
    return ready[cls] ? ready[cls] : qy_zone.dirty;
}

/* *huge: it is the first fresh run of a huge page, of which all comes when a byte of it is touched. */
static struct qy_run *take_locked(unsigned cls, char **huge)
{
    struct qy_run *run = best_dirty_locked(cls);
    if (run) {
        unlist_dirty_locked(run);
        return run;
    }
    qy_count_fresh(QY_RUN_BYTES);
    if (qy_zone.clean) {
        run = qy_zone.clean;
        qy_zone.clean = run->next;
        qy_zone.purged--;
        return run;
    }
    if (qy_zone.fresh == qy_zone.span >> QY_RUN_SHIFT && !extend_locked())
        return NULL;
    run = qy_run_at(qy_zone.fresh++);
    size_t end = qy_zone.fresh << QY_RUN_SHIFT, from = qy_align_down(end - 1, QY_HUGE_BYTES);
    if (end > qy_zone.resident_to && from >= qy_zone.huge_from && from + QY_HUGE_BYTES <= qy_zone.span) {
        *huge = (char *)qy_zone.lo + from;
        qy_zone.resident_to = from + QY_HUGE_BYTES;
    }
    run->stale = end <= qy_zone.resident_to ? qy_run_all_pages() : 0;
    run->ready = 0;
    /* A fresh page that is first read, as in qy_run_start, faults twice. */
    qy_zone.strides[qy_run_index(run)] = 0;
    return run;
}

/*
 * It takes a tenth of a millisecond, and nobody shall wait for it but who wants it. The page cannot go meanwhile: the
 * run is taken. Should what lies behind it go back, the touch brings it again, and it goes with the run.
 */
static void take_huge(char *huge)
{
    if (qy_pages_take_huge(huge))
        return;
    qy_lock(&qy_zone.lock);
    settle_locked(qy_zone.span);
    qy_unlock(&qy_zone.lock);
}

struct qy_run *qy_zone_take(void *owner, unsigned cls)
{
    char *huge = NULL;
    qy_lock(&qy_zone.lock);
    struct qy_run *run = take_locked(cls, &huge);
    if (run) {
        run->owner = owner;
        qy_zone.taken++;
        QY_PROBE(ZONE, TOOK, qy_run_base(run), QY_RUN_BYTES);
    }
    qy_unlock(&qy_zone.lock);
    if (huge)
        take_huge(huge);
    return run;
}

/* What lies behind the fresh runs of a huge page goes back as a run does that nobody used for so long. */
static void purge_fresh_locked(uint64_t now_ms, uint64_t older_than_ms, unsigned *most)
{
    size_t end = qy_zone.fresh << QY_RUN_SHIFT;
    if (end >= qy_zone.resident_to)
        return;
    if (qy_zone.fresh_seen != qy_zone.fresh) {
        qy_zone.fresh_seen = qy_zone.fresh;
        qy_zone.fresh_at_ms = now_ms;
    }
    if (*most > 0 && qy_zone.fresh_at_ms + older_than_ms <= now_ms &&
        qy_pages_purge((char *)qy_zone.lo + end, qy_zone.resident_to - end)) {
        --*most;
        qy_zone.resident_to = end;
    }
}

/*
 * Of a run in which the program locked a page, some may have gone: its headers are not to be believed. It is tried
 * again when it has been free for as long once more.
 */
static void put_off_locked(struct qy_run *run, uint64_t now_ms)
{
    unlist_dirty_locked(run);
    run->ready = 0;
    run->freed_at_ms = now_ms;
    list_dirty_locked(run);
}

/* Old runs purged for each that comes home: so what comes home in a peak has gone before the next. */
#define PURGED_FOR_ONE 2

/* What came home together mostly lies side by side, and goes back in one call of the kernel. */
#define PURGED_AT_ONCE 16

struct oldest {
    char *base;
    unsigned count;
};

static bool is_old(const struct qy_run *run, uint64_t now_ms, uint64_t older_than_ms)
{
    return run->freed_at_ms + older_than_ms <= now_ms;
}

/* The oldest run, and those freed next as long as they lie beside these, and are old; at most `most`. */
static struct oldest oldest_dirty_locked(uint64_t now_ms, uint64_t older_than_ms, unsigned most)
{
    struct qy_run *run = qy_zone.dirty_last;
    struct oldest o = {qy_run_base(run), 1};
    while ((run = run->prev) != NULL && is_old(run, now_ms, older_than_ms) && o.count < most) {
        char *base = qy_run_base(run);
        if (base == o.base - QY_RUN_BYTES)
            o.base = base;
        else if (base != o.base + o.count * QY_RUN_BYTES)
            break;
        o.count++;
    }
    return o;
}

static void clean_oldest_locked(void)
{
    struct qy_run *run = qy_zone.dirty_last;
    unlist_dirty_locked(run);
    run->stale = run->ready = 0;
    run->next = qy_zone.clean;
    qy_zone.clean = run;
    QY_PROBE(ZONE, PURGED, qy_run_base(run), QY_RUN_BYTES);
}

/* `most`: so many runs, and is that much less then. */
static size_t purge_locked(uint64_t now_ms, uint64_t older_than_ms, unsigned *most)
{
    size_t count = 0;
    struct qy_run *run, *first_to_stay = NULL;
    unsigned at_once = PURGED_AT_ONCE; /* 1: among these is one that cannot go, or must not be tried again */
    settle_locked(qy_zone.fresh << QY_RUN_SHIFT);
    purge_fresh_locked(now_ms, older_than_ms, most);
    while (*most > 0 && (run = qy_zone.dirty_last) != first_to_stay && is_old(run, now_ms, older_than_ms)) {
        struct oldest o = oldest_dirty_locked(now_ms, older_than_ms, (unsigned)qy_min(*most, at_once));
        if (qy_pages_purge(o.base, o.count * QY_RUN_BYTES)) {
            *most -= o.count;
            count += o.count;
            while (o.count--)
                clean_oldest_locked();
        } else {
            if (o.count == 1) {
                --*most;
                put_off_locked(run, now_ms);
                first_to_stay = first_to_stay ? first_to_stay : run;
            }
            at_once = 1;
        }
    }
    qy_zone.purged += count;
    return count;
}

void qy_zone_put(struct qy_run *run)
{
    qy_lock(&qy_zone.lock);
    uint64_t now = qy_clock_ms(); /* under the lock: the list is in order of time */
    run->freed_at_ms = now;
    qy_run_end(run);
    list_dirty_locked(run);
    qy_zone.taken--;
    QY_PROBE(ZONE, PUT, qy_run_base(run), QY_RUN_BYTES);
    unsigned most = PURGED_FOR_ONE;
    if (qy_options.decay)
        purge_locked(now, qy_options.decay, &most);
    qy_unlock(&qy_zone.lock);
}

size_t qy_zone_purge(uint64_t older_than_ms, unsigned *most)
{
    qy_lock(&qy_zone.lock);
    size_t count = purge_locked(qy_clock_ms(), older_than_ms, most); /* the clock as in qy_zone_put */
    qy_unlock(&qy_zone.lock);
    return count;
}

/* Takes the free runs from index `from` on out of all lists. */
static void forget_locked(size_t from)
{
    for (struct qy_run *run = qy_zone.dirty; run; run = run->next) {
        if (qy_run_index(run) >= from)
            unlist_dirty_locked(run);
    }
    struct qy_run **link = &qy_zone.clean;
    qy_zone.purged = 0;
    for (struct qy_run *run = *link; run; run = run->next) {
        if (qy_run_index(run) >= from)
            continue;
        *link = run;
        link = &run->next;
        qy_zone.purged++;
    }
    *link = NULL;
}

bool qy_zone_shrink(void)
{
    qy_lock(&qy_zone.lock);
    size_t end = qy_zone.fresh;
    while (end > 0 && !qy_run_at(end - 1)->owner)
        end--;
    size_t span = qy_max(end << QY_RUN_SHIFT, QY_RUN_BYTES), old = qy_zone.span;
    bool shrunk = span < old && qy_pages_unmap((char *)qy_zone.lo + span, old - span);
    if (shrunk) {
        forget_locked(end);
        qy_zone.fresh = end;
        qy_store_release(&qy_zone.span, span);
        qy_zone.huge_from = qy_min(qy_zone.huge_from, span);
        qy_zone.resident_to = qy_min(qy_zone.resident_to, span);
    }
    qy_unlock(&qy_zone.lock);
    return shrunk;
}

static void must(bool holds, const struct qy_run *run, const char *invariant)
{
    if (!holds)
        qy_fatal("invariant", run ? qy_run_base(run) : NULL, invariant);
}

void qy_zone_check(void)
{
    qy_lock(&qy_zone.lock);
    size_t owned = 0, dirty = 0, clean = 0;
    for (size_t i = 0; i < qy_zone.fresh; i++)
        owned += qy_run_at(i)->owner != NULL;
    size_t with_headers = 0;
    const struct qy_run *last = NULL;
    for (const struct qy_run *run = qy_zone.dirty; run; last = run, run = run->next, dirty++) {
        with_headers += run->ready != 0;
        must(!run->owner && run->carved == 0, run, "I-31: nobody owns a free run");
        must((run->ready & ~run->stale) == 0, run, "I-42: what has headers is resident");
        must(run->prev == last, run, "I-31: next and prev of free runs agree");
        must(!last || run->freed_at_ms <= last->freed_at_ms, run, "I-31: the last freed comes first");
    }
    const struct qy_run *oldest = last;
    for (unsigned cls = 0; cls < QY_CLASSES; cls++) {
        last = NULL;
        for (const struct qy_run *run = ready[cls]; run; last = run, run = run->older, with_headers--)
            must(!run->owner && run->ready && run->cls == cls && run->newer == last, run,
                 "I-31: a free run with headers is in the list of its class");
    }
    must(with_headers == 0, NULL, "I-31: all free runs with headers are in these lists");
    must(oldest == qy_zone.dirty_last, oldest, "I-31: the list of free runs ends with its last");
    for (const struct qy_run *run = qy_zone.clean; run; run = run->next, clean++)
        must(!run->owner && run->carved == 0 && run->stale == 0 && run->ready == 0, run,
             "I-31: a purged run holds nothing");
    must(owned == qy_zone.taken && clean == qy_zone.purged && owned + dirty + clean == qy_zone.fresh, NULL,
         "I-31: each run is owned, free or purged");
    qy_unlock(&qy_zone.lock);
}

struct qy_zone_stats qy_zone_stats(void)
{
    qy_lock(&qy_zone.lock);
    struct qy_zone_stats stats = {
        .taken = qy_zone.taken, .purged = qy_zone.purged, .used_once = qy_zone.fresh};
    stats.dirty = stats.used_once - stats.taken - stats.purged;
    qy_unlock(&qy_zone.lock);
    return stats;
}

void qy_zone_lock(void)
{
    qy_lock(&qy_zone.lock);
}

void qy_zone_unlock(void)
{
    qy_unlock(&qy_zone.lock);
}

void qy_zone_reset(void)
{
    qy_lock_reset(&qy_zone.lock);
}
