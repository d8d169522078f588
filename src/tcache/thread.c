/*
 * Birth and death of thread caches (M-33). Owns the roster: every cache there is, and those that no thread uses, which the
 * next thread adopts with all their runs. Lock: QY_RANK_ROSTER.
 */
#include <pthread.h>

#include "base/lock.h"
#include "options/options.h"
#include "os/limits.h"
#include "os/pages.h"
#include "tcache/internal.h"
#include "tcache/roster.h"

/* Bytes of one size that a thread keeps, in blocks of 64 each: 16 KiB for the default of 64. */
#define BYTES_PER_COUNT 256
#define MEDIUM_BYTES_PER_CLASS ((size_t)64 << 10)

/* What an empty stack's pop sees: a header that is nobody's key. */
static uint64_t nobody[2];

/*
 * Where a thread points before its first use, and after its destructors ran. All zero, the limit and the zone too: every call
 * takes the slow path.
 */
static struct qy_tcache none, dead;

QY_THREAD struct qy_tcache *qy_self = &none;

static struct qy_lock roster_lock = QY_LOCK_INIT(QY_RANK_ROSTER);
static struct qy_tcache *roster;
static struct qy_tcache *orphans;
static pthread_key_t death_key;
static bool have_death_key;

static size_t cell_slots(unsigned class)
{
    size_t count = qy_options.tcache_count;
    size_t fit = count * BYTES_PER_COUNT / (class * QY_CELL_UNIT);
    return qy_min(count, qy_max(count / 4, fit));
}

/* The smallest chunk size of a class above the linear ones is what `size` says: see qy_chunk_class. */
static size_t chunk_slots(unsigned class)
{
    size_t count = qy_options.tcache_count;
    if (class < 64)
        return count;
    size_t size = (size_t)1024 << ((class - 64) / 8);
    return qy_min(count, qy_max(2, MEDIUM_BYTES_PER_CLASS / size));
}

static size_t slots_needed(void)
{
    size_t slots = 0;
    for (unsigned c = 0; c < QY_CLASSES; c++)
        slots += 1 + (c ? cell_slots(c) : 0);
    for (unsigned c = 0; c < QY_CHUNK_CLASSES; c++)
        slots += chunk_slots(c);
    return slots;
}

static void lay_out(struct qy_tcache *t)
{
    void **slot = t->slots;
    t->not_zero = 1;
    for (unsigned c = 0; c < QY_CLASSES; c++) {
        *slot++ = &nobody[1];
        t->keys[c] = (struct qy_key){.key = qy_classes[c].key, .base = slot};
        t->stacks[c].top = slot;
        slot += c ? cell_slots(c) : 0;
        t->stacks[c].limit = slot;
    }
    for (unsigned c = 0; c < QY_CHUNK_CLASSES; c++) {
        t->chunks[c].base = t->chunks[c].top = slot;
        slot += chunk_slots(c);
        t->chunks[c].limit = slot;
    }
}

static struct qy_tcache *make(void)
{
    struct qy_tcache *t =
        qy_pages_map(qy_align_up(sizeof *t + slots_needed() * sizeof(void *), qy_page_bytes), "quarry: thread cache");
    if (!t)
        return NULL;
    lay_out(t);
    t->lock = (struct qy_lock)QY_LOCK_INIT(QY_RANK_CACHE);
    qy_lock(&roster_lock);
    t->main_thread = !roster;
    t->next = roster;
    qy_store_release(&roster, t); /* publishes a complete cache to statistics, which walk without the lock */
    qy_unlock(&roster_lock);
    return t;
}

static struct qy_tcache *adopt(void)
{
    qy_lock(&roster_lock);
    struct qy_tcache *t = orphans;
    if (t) {
        orphans = t->next_orphan;
        qy_store_relaxed(&t->orphaned, 0);
    }
    qy_unlock(&roster_lock);
    return t;
}

static void give_everything_back(struct qy_tcache *t, enum qy_purge purge)
{
    qy_cells_flush_all(t);
    qy_chunks_flush_all(t);
    qy_runs_tidy(t, purge);
}

static void retire(struct qy_tcache *t)
{
    qy_store_relaxed(&t->orphaned, 1);
    /* Orders `orphaned` against the inbox, which is collected next: see notify() in cells.c. */
    qy_fence_seq_cst();
    give_everything_back(t, QY_KEEP);
    if (t->arena)
        qy_arena_leave(t->arena);
    t->arena = NULL;
    qy_lock(&roster_lock);
    t->next_orphan = orphans;
    orphans = t;
    qy_unlock(&roster_lock);
}

static void thread_died(void *cache)
{
    qy_self = &dead;
    retire(cache);
}

static struct qy_tcache *be_born(void)
{
    struct qy_tcache *t = adopt();
    if (!t)
        t = make();
    if (!t)
        return NULL;
    qy_tcache_configure(t);
    qy_self = t; /* before pthread_setspecific, which may allocate */
    if (have_death_key)
        pthread_setspecific(death_key, t);
    return t;
}

struct qy_tcache *qy_tcache_enter(void)
{
    struct qy_tcache *t = qy_self;
    if (QY_LIKELY(t != &none && t != &dead))
        return t;
    if (t == &none)
        return be_born();
    t = adopt();
    return t ? t : make();
}

void qy_tcache_leave(struct qy_tcache *t)
{
    if (QY_UNLIKELY(qy_self == &dead) && t)
        retire(t);
}

struct qy_arena *qy_tcache_arena(struct qy_tcache *t)
{
    if (!t->arena)
        t->arena = qy_arena_pick(t->main_thread);
    return t->arena;
}

void qy_tcache_configure(struct qy_tcache *t)
{
    bool observed = qy_options.perturb != 0;
    qy_tcache_look_at_zone(t);
    t->request_limit = observed || qy_options.run_max == 0 || qy_zone.lo == 0 ? 0 : qy_options.run_max + 1;
    if (!observed)
        return;
    /* Stacks without room: every call takes the slow path and is seen there. */
    give_everything_back(t, QY_KEEP);
    for (unsigned c = 0; c < QY_CLASSES; c++)
        t->stacks[c].limit = t->keys[c].base;
}

void qy_tcache_look_at_zone(struct qy_tcache *t)
{
    t->zone_lo = qy_zone.lo;
    t->zone_span = qy_load_relaxed(&qy_zone.span);
}

void qy_roster_init(void)
{
    have_death_key = pthread_key_create(&death_key, thread_died) == 0;
}

struct qy_tcache *qy_roster_first(void)
{
    return qy_load_acquire(&roster);
}

/* Another thread's stacks are his alone, but his next malloc can be made to look here: see qy_tcache_answer. */
static void ask_others(struct qy_tcache *self)
{
    for (struct qy_tcache *t = qy_roster_first(); t; t = t->next) {
        if (t != self) {
            qy_store_relaxed(&t->asked, true);
            qy_store_relaxed(&t->request_limit, 0);
        }
    }
}

void qy_tcache_answer(struct qy_tcache *t)
{
    qy_store_relaxed(&t->asked, false);
    give_everything_back(t, QY_PURGE_ALL);
    qy_tcache_configure(t);
}

static void tidy_all(enum qy_purge purge)
{
    for (struct qy_tcache *t = qy_roster_first(); t; t = t->next)
        qy_runs_tidy(t, purge);
}

void qy_roster_trim(void)
{
    struct qy_tcache *t = qy_tcache_enter();
    if (t)
        give_everything_back(t, QY_KEEP);
    ask_others(t);
    qy_tcache_leave(t);
    tidy_all(QY_PURGE_ALL);
}

/* Slow calls of one thread between two looks at the clock. */
#define CALLS_PER_LOOK 32

static uint64_t due_ms; /* atomic: when the next tick is; each thread sees it change, and gives back what its stacks hold */

void qy_tick(struct qy_tcache *t)
{
    if (!qy_options.decay || !t || ++t->slow_calls % CALLS_PER_LOOK)
        return;
    if (t->tick_seen != qy_load_relaxed(&due_ms)) {
        t->tick_seen = qy_load_relaxed(&due_ms);
        qy_cells_flush_all(t);
        qy_chunks_flush_all(t);
    }
    uint64_t now = qy_clock_ms(), due = qy_load_relaxed(&due_ms);
    if (now < due || !qy_cas_acquire(&due_ms, &due, now + qy_options.decay))
        return;
    tidy_all(QY_PURGE_OLD);
    for (struct qy_arena *a = qy_arena_first(); a; a = qy_load_acquire(&a->next))
        qy_arena_tick(a);
    qy_zone_purge(qy_options.decay);
}

void qy_roster_lock(void)
{
    qy_lock(&roster_lock);
    for (struct qy_tcache *t = roster; t; t = t->next)
        qy_lock(&t->lock);
}

void qy_roster_unlock(void)
{
    for (struct qy_tcache *t = roster; t; t = t->next)
        qy_unlock(&t->lock);
    qy_unlock(&roster_lock);
}

void qy_roster_reset(void)
{
    for (struct qy_tcache *t = roster; t; t = t->next)
        qy_lock_reset(&t->lock);
    qy_lock_reset(&roster_lock);
}
