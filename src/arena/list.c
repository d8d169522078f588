/*
 * The arenas (M-30, M-31): which there are, and which thread uses which. Arenas are made and never unmade; one that no
 * thread uses waits for the next thread.
 */
#include "arena/internal.h"
#include "base/atomic.h"
#include "base/probe.h"
#include "options/options.h"
#include "os/limits.h"
#include "os/pages.h"

QY_SPARSE struct qy_arena qy_main_arena QY_ALIGNED(4096); /* so that it is two pages, and not three */

static struct qy_lock list_lock = QY_LOCK_INIT(QY_RANK_ARENAS);
static struct qy_arena *first; /* atomic: of those in use; the main arena, once it is one */
static struct qy_arena *last = &qy_main_arena;
static struct qy_arena *unused; /* without a thread, the last that was left first; not the main arena */
static unsigned count = 1;

/* M-31: arenas for each processor, unless arena_max says otherwise; ptmalloc's constant. */
#define ARENAS_PER_CPU 8

static void set_up(struct qy_arena *a)
{
    a->lock = (struct qy_lock)QY_LOCK_INIT(QY_RANK_ARENA);
    qy_bins_init(&a->bins, a, qy_options.classic);
}

/* It is set up when somebody wants it: many small processes do not. */
static struct qy_arena *main_arena_locked(void)
{
    QY_ASSERT(qy_lock_held(&list_lock));
    if (first != &qy_main_arena) {
        set_up(&qy_main_arena);
        qy_store_release(&first, &qy_main_arena); /* publishes it to who walks the list without the lock */
    }
    return &qy_main_arena;
}

static unsigned quota(void)
{
    if (qy_options.arena_max)
        return (unsigned)qy_options.arena_max;
    if (count <= qy_options.arena_test)
        return count + 1;
    /* More than run at once take more memory, and no less time (docs/decisions/0022-shared-runs.md). */
    return qy_options.classic ? qy_limit_cpus() * ARENAS_PER_CPU : qy_limit_at_once();
}

static struct qy_arena *make_arena_locked(void)
{
    QY_ASSERT(qy_lock_held(&list_lock));
    struct qy_arena *a = qy_pages_map(qy_align_up(sizeof *a, qy_page_bytes), "quarry: arena");
    if (!a)
        return NULL;
    a->index = count++;
    set_up(a);
    qy_store_release(&last->next, a); /* publishes a complete arena to who walks the list without the lock */
    if (!first)
        qy_store_release(&first, a); /* as above */
    last = a;
    QY_PROBE(ARENA, MADE, a, a->index);
    return a;
}

static struct qy_arena *least_used(void)
{
    struct qy_arena *best = main_arena_locked();
    for (struct qy_arena *a = qy_arena_first(); a; a = qy_load_acquire(&a->next)) {
        if (a->threads < best->threads)
            best = a;
    }
    return best;
}

/* M-31: an arena without a thread, else a new one while the quota lasts, else the least used. */
static struct qy_arena *pick_locked(void)
{
    QY_ASSERT(qy_lock_held(&list_lock));
    struct qy_arena *left = unused;
    if (left) {
        unused = left->next_unused;
        return left;
    }
    struct qy_arena *fresh = count < quota() ? make_arena_locked() : NULL;
    return fresh ? fresh : least_used();
}

static void leave_locked(struct qy_arena *a, unsigned threads)
{
    QY_ASSERT(qy_lock_held(&list_lock));
    qy_store_relaxed(&a->threads, threads);
    if (threads == 0 && a != &qy_main_arena) {
        a->next_unused = unused;
        unused = a;
    }
}

struct qy_arena *qy_arena_pick(bool main_thread)
{
    qy_lock(&list_lock);
    struct qy_arena *a = main_thread ? main_arena_locked() : pick_locked();
    qy_store_relaxed(&a->threads, a->threads + 1);
    QY_PROBE(ARENA, TOOK, a, a->index);
    qy_unlock(&list_lock);
    return a;
}

void qy_arena_leave(struct qy_arena *a)
{
    qy_lock(&list_lock);
    leave_locked(a, a->threads - 1);
    QY_PROBE(ARENA, LEFT, a, a->index);
    qy_unlock(&list_lock);
}

struct qy_arena *qy_arena_main(void)
{
    qy_lock(&list_lock);
    struct qy_arena *a = main_arena_locked();
    qy_unlock(&list_lock);
    return a;
}

struct qy_arena *qy_arena_another(struct qy_arena *a)
{
    return a == &qy_main_arena ? qy_load_acquire(&a->next) : qy_arena_main();
}

struct qy_arena *qy_arena_first(void)
{
    return qy_load_acquire(&first);
}

void qy_arenas_lock(void)
{
    qy_lock(&list_lock);
    for (struct qy_arena *a = qy_arena_first(); a; a = a->next)
        qy_lock(&a->lock);
}

void qy_arenas_unlock(void)
{
    for (struct qy_arena *a = qy_arena_first(); a; a = a->next)
        qy_unlock(&a->lock);
    qy_unlock(&list_lock);
}

void qy_arenas_reset(const struct qy_arena *used)
{
    /* Of all threads only the forking one is left: the arenas of the others wait for new threads. */
    unused = NULL;
    for (struct qy_arena *a = qy_arena_first(); a; a = a->next) {
        leave_locked(a, a == used ? 1 : 0);
        qy_lock_reset(&a->lock);
    }
    qy_lock_reset(&list_lock);
}
