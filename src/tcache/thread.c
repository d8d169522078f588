/*
 * Birth and death of thread caches (M-33). Owns the roster: every cache there is, and those that no thread uses, which
 * the next thread adopts. Lock: QY_RANK_ROSTER.
 */
#include <limits.h>
#include <pthread.h>
#include <string.h>

#include "base/lock.h"
#include "base/probe.h"
#include "options/options.h"
#include "os/limits.h"
#include "os/pages.h"
#include "os/threads.h"
#include "tcache/internal.h"
#include "tcache/roster.h"

QY_HEAD_USED struct qy_tcache qy_tcache_none;
QY_SPARSE struct qy_tcache qy_tcache_dead;
QY_THREAD struct qy_tcache *qy_self = &qy_tcache_none;

static struct qy_lock roster_lock = QY_LOCK_INIT(QY_RANK_ROSTER);
struct qy_tcache *qy_roster;
static struct qy_tcache *orphans;
static uint32_t caches_made;
static pthread_key_t death_key;
static bool have_death_key;

size_t qy_tcache_slots(struct qy_tcache *t, size_t count)
{
    size_t first = t->slots_used;
    t->slots_used += count;
    return first;
}

/* ptmalloc has no stacks above. */
static size_t largest_kept(void)
{
    return qy_options.classic ? qy_min(qy_options.tcache_max, QY_LARGEST_CLASSIC) : qy_options.tcache_max;
}

/*
 * Under the lock: of a question and an answer to an earlier one, which may come at the same time, all three are the
 * one's or the other's.
 */
static void set_limits(struct qy_tcache *t, size_t request, size_t power, size_t chunk)
{
    qy_lock(&t->lock);
    qy_store_relaxed(&t->request_limit, request);
    qy_store_relaxed(&t->power_limit, power);
    qy_store_relaxed(&t->chunk_limit, chunk);
    qy_unlock(&t->lock);
}

/* Where there are no runs, or no call shall miss the slow path, the stacks are empty. */
static void open_fast_path(struct qy_tcache *t)
{
    set_limits(t, qy_min(qy_options.run_max, QY_RUN_SMALL) + 1,
               qy_options.perturb ? 0 : qy_options.run_max + 1, qy_options.perturb ? 0 : largest_kept() + 1);
}

/* Slow calls of one thread until it looks at the clock. */
#define CALLS_PER_LOOK 32

static void begin_empty(struct qy_tcache *t)
{
    t->calls_to_look = CALLS_PER_LOOK;
    qy_cell_stacks_init(t);
    qy_chunk_stacks_init(t);
}

/* Of those that are their own hosts, the last that was made, or had a guest; and how many there are. */
static struct qy_tcache *last_host;
static unsigned hosts;

static void find_host_locked(struct qy_tcache *t)
{
    if (hosts == 0 || hosts < qy_limit_at_once()) {
        t->next_host = last_host ? last_host->next_host : t;
        (last_host ? last_host : t)->next_host = t;
        last_host = t;
        hosts++;
    } else {
        last_host = last_host->next_host;
    }
    t->host = last_host;
}

static struct qy_tcache *make(void)
{
    size_t slots = qy_cell_slots_needed() + qy_chunk_slots_needed();
    QY_ASSERT(slots <= UINT16_MAX);
    struct qy_tcache *t =
        qy_pages_map(qy_align_up(sizeof *t + slots * sizeof(void *), qy_page_bytes), "quarry: thread cache");
    if (!t)
        return NULL;
    QY_PROBE(TCACHE, MADE, t, 0);
    begin_empty(t);
    t->lock = (struct qy_lock)QY_LOCK_INIT(QY_RANK_CACHE);
    qy_lock(&roster_lock);
    t->main_thread = !qy_roster;
    /* The 65,534th has the number of the first again. */
    t->mark = qy_holder_mark(&qy_seals, QY_FIRST_CACHE + caches_made++ % (QY_HOLDERS - QY_FIRST_CACHE));
    find_host_locked(t);
    qy_add_relaxed(&t->host->users, 1);
    t->thread = qy_thread_self();
    t->next = qy_roster;
    qy_store_release(&qy_roster, t); /* publishes a complete cache to who walks without the lock */
    qy_unlock(&roster_lock);
    return t;
}

/*
 * In the child of a fork, until somebody needs a cache: those that there were, and the one whose thread there still is.
 */
static struct qy_tcache *inherited;
static struct qy_tcache *survivor;

/* As when it was made, but that it owns runs. */
static void forget_stacks(struct qy_tcache *t)
{
    t->slots_used = 0;
    memset(&t->calls_to_look, 0,
           offsetof(struct qy_tcache, next) - offsetof(struct qy_tcache, calls_to_look));
    memset(t->chunks, 0, sizeof t->chunks);
    for (unsigned cls = QY_SMALL_CLASSES; cls < QY_CLASSES; cls++)
        *qy_class_stack(t, cls) = (struct qy_stack){0};
    begin_empty(t);
}

/* Whoever needs a cache finds it from now on. */
static void orphan_locked(struct qy_tcache *t)
{
    qy_store_relaxed(&t->orphaned, QY_ORPHAN);
    t->next_orphan = orphans;
    orphans = t;
}

/*
 * The caches of threads that vanished in a fork, some of them on their way out, are orphans, with all their runs. Their
 * stacks may have been caught in the middle of anything: what lies there is lost. Done when a cache is needed: most
 * children soon are another program, and touch none of this.
 */
static void inherit_locked(void)
{
    unsigned most = UINT_MAX;
    for (struct qy_tcache *t = inherited; t; t = t->next) {
        if (t == survivor || t->orphaned == QY_ORPHAN)
            continue;
        forget_stacks(t);
        t->arena = NULL;
        orphan_locked(t);
    }
    for (struct qy_tcache *t = inherited; t; t = t->next) {
        if (t->host == t && qy_load_relaxed(&t->users) == 0) /* as in retire */
            qy_runs_tidy(t, QY_KEEP, &most);
    }
    inherited = NULL;
}

static struct qy_tcache *adopt(void)
{
    qy_lock(&roster_lock);
    inherit_locked();
    struct qy_tcache *t = orphans;
    if (t) {
        orphans = t->next_orphan;
        qy_add_relaxed(&t->host->users, 1);
        t->thread = qy_thread_self();
        qy_store_relaxed(&t->orphaned, QY_SERVES);
    }
    qy_unlock(&roster_lock);
    return t;
}

static void empty_stacks(struct qy_tcache *t)
{
    qy_cells_flush_all(t);
    qy_chunks_flush_all(t);
}

static void give_everything_back(struct qy_tcache *t, enum qy_purge purge)
{
    unsigned most = UINT_MAX;
    empty_stacks(t);
    qy_runs_tidy(t->host, purge, &most);
}

static void retire(struct qy_tcache *t)
{
    unsigned most = UINT_MAX;
    qy_store_relaxed(&t->orphaned, QY_RETIRING);
    bool last = qy_sub_relaxed(&t->host->users, 1) == 1;
    /* Orders `users` against the inbox, which is collected next: see notify() in cells.c. */
    qy_fence_seq_cst();
    empty_stacks(t);
    if (last) /* else the others use what is there */
        qy_runs_tidy(t->host, QY_KEEP, &most);
    if (t->arena)
        qy_arena_leave(t->arena);
    t->arena = NULL;
    qy_lock(&roster_lock);
    orphan_locked(t);
    qy_unlock(&roster_lock);
}

/*
 * Of a thread that began to allocate in the last of its destructors, or the last but one, the destructor of our key is
 * not called again. So who is about to make a cache looks whether some that there are serve threads that are gone: two,
 * in turns, which finds each as soon as there are about as many of them as of others.
 */
#define LOOKED_AT 2

static struct qy_tcache *left_behind(void)
{
    static struct qy_tcache *last;
    struct qy_tcache *found = NULL;
    qy_lock(&roster_lock);
    for (int i = 0; qy_roster && i < LOOKED_AT && !found; i++) {
        last = last && last->next ? last->next : qy_roster;
        if (qy_load_relaxed(&last->orphaned) == QY_SERVES && qy_thread_is_gone(last->thread)) {
            qy_store_relaxed(&last->orphaned, QY_RETIRING);
            found = last;
        }
    }
    qy_unlock(&roster_lock);
    return found;
}

static struct qy_tcache *adopt_or_make(void)
{
    struct qy_tcache *t = adopt(), *left = t ? NULL : left_behind();
    if (left) {
        retire(left);
        t = adopt();
    }
    return t ? t : make();
}

/*
 * Ours is among the first keys, and its destructor among the first called; those of the program's keys free what the
 * thread had. So the cache stays until the second round, which what is set in the first one brings about. (Not the
 * last: a thread may begin to allocate in its destructors.)
 *
 * What the key held is not looked at: the keys of a second libc, in another namespace, hold what they do in the same
 * place.
 */
static void thread_died(void *unused)
{
    (void)unused;
    struct qy_tcache *t = qy_self;
    if (t == &qy_tcache_none || t == &qy_tcache_dead)
        return;
    if (!t->dying && pthread_setspecific(death_key, t) == 0) {
        t->dying = true;
        return;
    }
    qy_self = &qy_tcache_dead;
    retire(t);
}

static struct qy_tcache *be_born(void)
{
    struct qy_tcache *t = adopt_or_make();
    if (!t)
        return NULL;
    qy_tcache_configure(t);
    t->dying = false;
    qy_self = t; /* before pthread_setspecific, which may allocate */
    if (have_death_key)
        pthread_setspecific(death_key, t);
    return t;
}

struct qy_tcache *qy_tcache_enter_slow(void)
{
    struct qy_tcache *t = qy_self;
    if (t == &qy_tcache_none)
        return be_born();
    if (t != &qy_tcache_dead)
        return t;
    return adopt_or_make();
}

void qy_tcache_leave_slow(struct qy_tcache *t)
{
    if (qy_self == &qy_tcache_dead)
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
    qy_tcache_look_at_zone(t);
    open_fast_path(t);
    if (!qy_options.perturb)
        return;
    /* Stacks without room: every call takes the slow path and is seen there. */
    give_everything_back(t, QY_KEEP);
    qy_cell_stacks_close(t);
}

void qy_tcache_look_at_zone(struct qy_tcache *t)
{
    t->strides = qy_zone.strides;
    t->zone_from = qy_zone.lo + QY_CELL_HEADER_BYTES;
    t->zone_span = qy_load_relaxed(&qy_zone.span);
}

void qy_roster_init(void)
{
    have_death_key = pthread_key_create(&death_key, thread_died) == 0;
}

struct qy_tcache *qy_roster_first(void)
{
    return qy_load_acquire(&qy_roster);
}

/* Another thread's stacks are his alone, but his next malloc can be made to look here: see qy_tcache_answer. */
static void ask_others(struct qy_tcache *self)
{
    for (struct qy_tcache *t = qy_roster_first(); t; t = t->next) {
        if (t != self)
            set_limits(t, 0, 0, 0);
    }
}

void qy_tcache_answer(struct qy_tcache *t)
{
    open_fast_path(t); /* first: who asks from now on will be answered again */
    give_everything_back(t, QY_PURGE_ALL);
}

static void tidy_all(enum qy_purge purge, unsigned *most)
{
    for (struct qy_tcache *t = qy_roster_first(); t && (*most || purge != QY_PURGE_LEFT); t = t->next) {
        if (t->host == t)
            qy_runs_tidy(t, purge, most);
    }
}

void qy_roster_trim(void)
{
    unsigned most = UINT_MAX;
    struct qy_tcache *t = qy_tcache_enter();
    if (t)
        give_everything_back(t, QY_KEEP);
    ask_others(t);
    qy_tcache_leave(t);
    tidy_all(QY_PURGE_ALL, &most);
}

/*
 * Atomic: when the next tick is; each thread sees it change, and gives back what its stacks hold. And when the rest of
 * what the last one found is to go on going back; 0: all of it has gone.
 */
static uint64_t due_ms, rest_ms;

/*
 * What a tick finds goes back in pieces, so that no malloc waits for all of it: so many calls of the kernel each, and a
 * pause of this many times what the piece took.
 */
#define CALLS_AT_ONCE 256
#define PAUSE_MS 8
#define PAUSE_FACTOR 8

/* Atomic: the most of the heap that was in use when somebody looked, since the last tick; and what growth took back. */
static size_t used_most, made_up;

static void give_old_back(enum qy_purge purge, uint64_t now)
{
    unsigned most = CALLS_AT_ONCE;
    tidy_all(purge, &most);
    for (struct qy_arena *a = qy_arena_first(); a; a = qy_load_acquire(&a->next))
        qy_arena_tick(a, purge == QY_PURGE_OLD, &most);
    qy_zone_purge(qy_options.decay, &most);
    if (purge == QY_PURGE_OLD) {
        qy_store_relaxed(&used_most, 0);
        qy_store_relaxed(&made_up, 0);
    }
    uint64_t after = qy_clock_ms();
    qy_store_relaxed(&rest_ms, most ? 0 : after + PAUSE_MS + PAUSE_FACTOR * (after - now));
}

/*
 * Atomic: when so much fresh memory has been taken into use, somebody looks. The zone cannot use what the arenas hold,
 * nor the other way round: so when one of them grows, what is idle in the other goes back, as far as both together are
 * larger than they had to be so far. A phase of small blocks after one of larger ones would else have both resident for
 * a tick or two; and what goes back beyond that is soon wanted again. So is what goes back more than once between two
 * ticks, where phases are short: no more than half of what was in use does.
 */
static size_t fresh_due;

#define GROWTH_AT_LEAST ((size_t)512 << 10)
#define GROWTH_SHARE 32 /* of the heap */
#define IN_HAND SIZE_MAX

static void make_up_for_growth(size_t fresh)
{
    static size_t last_zone, last_arenas; /* of whoever holds fresh_due at IN_HAND */
    struct qy_zone_stats runs = qy_zone_stats();
    size_t zone = (runs.taken + runs.dirty) << QY_RUN_SHIFT, arenas = 0, idle = runs.dirty << QY_RUN_SHIFT;
    for (struct qy_arena *a = qy_arena_first(); a; a = qy_load_acquire(&a->next)) {
        struct qy_use use = qy_arena_use(a);
        arenas += use.bytes;
        idle += use.idle;
    }
    size_t heap = zone + arenas, used = heap - qy_min(idle, heap);
    size_t most = qy_max(used, qy_load_relaxed(&used_most)), before = qy_load_relaxed(&made_up);
    size_t allowed = most / 2 - qy_min(most / 2, before), wanted = qy_min(heap - qy_min(most, heap), allowed);
    size_t excess = wanted;
    qy_store_relaxed(&used_most, most);
    unsigned calls = CALLS_AT_ONCE;
    for (struct qy_arena *a = qy_arena_first(); a && zone > last_zone; a = qy_load_acquire(&a->next))
        qy_arena_yield(a, &excess, &calls);
    calls = (unsigned)qy_min(calls, excess >> QY_RUN_SHIFT);
    if (arenas > last_arenas)
        excess -= qy_zone_purge(0, &calls) << QY_RUN_SHIFT;
    qy_store_relaxed(&made_up, before + (wanted - excess));
    last_zone = zone;
    last_arenas = arenas;
    /* Release: these, to who finds this due. */
    qy_store_release(&fresh_due, fresh + qy_max(heap / GROWTH_SHARE, GROWTH_AT_LEAST));
}

void qy_tick_slow(struct qy_tcache *t)
{
    t->calls_to_look = CALLS_PER_LOOK;
    size_t fresh = qy_load_relaxed(&qy_fresh_bytes);
    if (!qy_options.decay || fresh < GROWTH_AT_LEAST)
        return;
    if (t->tick_seen != qy_load_relaxed(&due_ms)) {
        t->tick_seen = qy_load_relaxed(&due_ms);
        empty_stacks(t);
    }
    uint64_t now = qy_clock_ms(), due = qy_load_relaxed(&due_ms), rest = qy_load_relaxed(&rest_ms);
    size_t wanted = qy_load_relaxed(&fresh_due);
    if (now >= due) {
        if (qy_cas_acquire(&due_ms, &due, now + qy_options.decay))
            give_old_back(QY_PURGE_OLD, now);
    } else if (rest && now >= rest && qy_cas_acquire(&rest_ms, &rest, 0)) {
        give_old_back(QY_PURGE_LEFT, now);
    } else if (fresh >= wanted && qy_cas_acquire(&fresh_due, &wanted, IN_HAND)) {
        qy_chunks_give_half_back(t);
        make_up_for_growth(fresh);
    }
}

void qy_roster_lock(void)
{
    qy_lock(&roster_lock);
    for (struct qy_tcache *t = qy_roster; t; t = t->next)
        qy_lock(&t->lock);
}

void qy_roster_unlock(void)
{
    for (struct qy_tcache *t = qy_roster; t; t = t->next)
        qy_unlock(&t->lock);
    qy_unlock(&roster_lock);
}

void qy_roster_reset(void)
{
    qy_store_relaxed(&fresh_due, 0); /* whoever had it in hand is gone */
    inherited = qy_roster;
    survivor = qy_self;
    for (struct qy_tcache *t = qy_roster; t; t = t->next) {
        qy_lock_reset(&t->lock);
        qy_store_relaxed(&t->users, 0);
    }
    if (survivor != &qy_tcache_none && survivor != &qy_tcache_dead) {
        survivor->host->users = 1;
        survivor->thread = qy_thread_self();
    }
    qy_lock_reset(&roster_lock);
}
