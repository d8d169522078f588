/*
 * Cells between the stacks of a thread cache and the runs: refill, flush, and what comes back from other threads.
 */
#include <string.h>

#include "base/message.h"
#include "base/probe.h"
#include "options/options.h"
#include "tcache/internal.h"

/*
 * Bounds on one call's time: cells that it takes from runs or puts back, runs it takes them from, runs it collects from
 * the inbox.
 */
#define CELLS_AT_MOST 32
#define RUNS_AT_MOST 8
#define COLLECT_AT_MOST 16

/* Bytes of one size that a thread keeps, for each block that tcache_count allows: 8 KiB for the default of 64. */
#define BYTES_PER_COUNT 128

/* Who takes and frees more than that in turns keeps QY_DEEP_BLOCKS times the blocks, of so many times the bytes. */
#define DEEP_BYTES 16

/* In turns: a stack was empty after it was full so often. */
#define TURNS_UNTIL_DEEP 8

/* What an empty stack's pop sees: a header that is nobody's key. */
static uint64_t nobody[2];

/* A stack's, below the bottom and above the room. */
#define SLOTS_BESIDES 2

/* Of blocks that are not small, two are enough. */
static size_t slots_within(unsigned cls, size_t blocks, size_t bytes)
{
    size_t fit = (bytes * qy_classes[cls].inverse) >> 32;
    return qy_min(blocks, qy_max(cls < QY_SMALL_CLASSES ? blocks / 8 : 2, fit));
}

static size_t slots_for(unsigned cls)
{
    size_t count = qy_options.tcache_count;
    return slots_within(cls, count, count * BYTES_PER_COUNT);
}

static size_t first_slots_for(unsigned cls)
{
    return (slots_for(cls) + 3) / 4;
}

static size_t deep_slots_for(unsigned cls)
{
    size_t count = qy_min(qy_options.tcache_count, QY_DEEP_COUNT_AT_MOST);
    return qy_max(slots_for(cls),
                  slots_within(cls, count * QY_DEEP_BLOCKS, count * BYTES_PER_COUNT * DEEP_BYTES));
}

/* The next class that serves requests: of the small ones, not all strides do. */
static unsigned next_class(unsigned cls)
{
    if (cls >= QY_SMALL_CLASSES)
        return cls + 1;
    return (unsigned)qy_min(cls + qy_stride_grain(qy_class_stride(cls) + 1) / QY_CELL_UNIT, QY_SMALL_CLASSES);
}

size_t qy_cell_slots_needed(void)
{
    size_t slots = 1;
    for (unsigned cls = 1; cls < QY_CLASSES; cls = next_class(cls))
        slots += 3 * SLOTS_BESIDES + first_slots_for(cls) + slots_for(cls) + deep_slots_for(cls);
    return slots;
}

static void set_stack(struct qy_tcache *t, unsigned cls, size_t base, size_t slots)
{
    *qy_class_stack(t, cls) = (struct qy_stack){
        .key = qy_class_keys[cls],
        .top = (uint16_t)base,
        .room = (uint16_t)slots,
        .base = (uint16_t)base,
    };
}

/*
 * A thread begins with the classes of a coarser grid alone. A page of its own is for a class that is used: it gets one
 * when the stack that serves it has been empty that often for its sake. So a process, or thread, that allocates little
 * of everything touches a third of the pages; and one that replaces a few blocks of each size by others stays with the
 * coarse ones, and makes no slow call for it.
 */
#define REFILLS_UNTIL_OWN 3

/* A power of two is a chunk so often. */
#define CHUNKS_UNTIL_OWN 8

static unsigned coarser(unsigned cls)
{
    return (unsigned)qy_align_up(cls, cls <= 16 ? 4 : cls <= 32 ? 8 : 16);
}

/* Requests of class `cls`, which is small, are served as cells of class `serving` from now on. */
static void serve_by(struct qy_tcache *t, unsigned cls, unsigned serving)
{
    size_t stride = qy_class_stride(cls), to = stride - QY_CELL_HEADER_BYTES + 1;
    size_t count = qy_min(qy_stride_grain(stride), to);
    memset(t->units + to - count, (int)((qy_class_stride(serving) - QY_CELL_UNIT) / QY_STRIDE_UNIT), count);
}

void qy_cell_stacks_init(struct qy_tcache *t)
{
    t->none = &nobody[1];
    qy_tcache_slots(t, 1); /* slot 0 */
    for (unsigned cls = 0; cls < QY_SMALL_CLASSES; cls++)
        set_stack(t, cls, 0, 0);
    for (unsigned cls = 1; cls < QY_SMALL_CLASSES; cls = next_class(cls))
        serve_by(t, cls, coarser(cls));
}

void qy_cell_stacks_close(struct qy_tcache *t)
{
    for (unsigned cls = 1; cls < QY_CLASSES; cls++)
        set_stack(t, cls, qy_class_stack(t, cls)->base, 0);
}

static void lay_out_stack(struct qy_tcache *t, unsigned cls, size_t count)
{
    size_t below = qy_tcache_slots(t, count + SLOTS_BESIDES);
    t->slots[below] = t->none;
    set_stack(t, cls, below + 1, count);
}

/*
 * A stack begins with a quarter of its slots, and moves to where it has all of them when its thread finds it empty
 * after it was full; to where it has many when that happens again and again. So who only frees what others allocate
 * keeps little, who uses a size little has few slots for it, and who takes and frees many at a time need not ask the
 * runs for each.
 */
static void widen_stack(struct qy_tcache *t, unsigned cls)
{
    if (!t->was_full[cls])
        return;
    t->was_full[cls] = false;
    t->turns[cls] = (uint8_t)qy_min(t->turns[cls] + 1u, TURNS_UNTIL_DEEP);
    const struct qy_stack *stack = qy_class_stack(t, cls);
    size_t count = qy_stack_slots(stack);
    size_t wanted = t->turns[cls] < TURNS_UNTIL_DEEP ? slots_for(cls) : deep_slots_for(cls);
    if (count && count < wanted)
        lay_out_stack(t, cls, wanted);
}

/* A cache whose calls are all to be seen keeps no block: its stacks stay without slots. */
static void open_stack(struct qy_tcache *t, unsigned cls)
{
    struct qy_stack *stack = qy_class_stack(t, cls);
    stack->key = qy_class_keys[cls];
    if (qy_options.perturb || !slots_for(cls))
        return;
    if (QY_UNLIKELY(!stack->base))
        lay_out_stack(t, cls, first_slots_for(cls));
    else if (QY_UNLIKELY(!qy_stack_slots(stack))) /* closed meanwhile: it has these at least where it lies */
        set_stack(t, cls, stack->base, first_slots_for(cls));
}

/* The ring of runs with free cells: t->runs[class] is the first, its prev the last. */
static void list_run_locked(struct qy_tcache *t, struct qy_run *run)
{
    struct qy_run **first = &t->runs[run->cls];
    if (!*first) {
        *first = run->next = run->prev = run;
        return;
    }
    run->next = *first;
    run->prev = (*first)->prev;
    run->prev->next = run->next->prev = run;
}

static void unlist_run_locked(struct qy_tcache *t, struct qy_run *run)
{
    struct qy_run **first = &t->runs[run->cls];
    run->prev->next = run->next;
    run->next->prev = run->prev;
    if (*first == run)
        *first = run->next == run ? NULL : run->next;
    run->next = NULL;
}

/* An empty one goes home. */
static void drop_run_locked(struct qy_tcache *t, struct qy_run *run)
{
    unlist_run_locked(t, run);
    t->owned[run->cls]--;
    qy_zone_put(run);
}

/*
 * A run that was full is listed again; an empty one goes home, unless it is the only one and there is a thread that may
 * want it.
 */
static QY_NOINLINE void list_or_drop_locked(struct qy_tcache *t, struct qy_run *run)
{
    if (!run->next)
        list_run_locked(t, run);
    if (qy_run_is_empty(run) && (run->next != run || qy_load_relaxed(&t->users) == 0)) {
        drop_run_locked(t, run);
    }
}

/* After cells came back to a run. It may be the zone's now. */
QY_INLINE void run_changed_locked(struct qy_tcache *t, struct qy_run *run)
{
    if (!run->next || qy_run_is_empty(run))
        list_or_drop_locked(t, run);
}

static struct qy_run *inbox_pop_locked(struct qy_tcache *t)
{
    if (!t->inbox_rest) {
        if (!qy_load_relaxed(&t->inbox))
            return NULL;
        t->inbox_rest = qy_swap_acquire(&t->inbox, NULL); /* pairs with the release in notify */
    }
    struct qy_run *run = t->inbox_rest;
    t->inbox_rest = run->inbox_next;
    return run;
}

static void collect_locked(struct qy_tcache *t, unsigned most)
{
    QY_ASSERT(qy_lock_held(&t->lock));
    struct qy_run *unfinished = NULL, *run;
    while (most-- > 0 && (run = inbox_pop_locked(t)) != NULL) {
        if (!qy_run_collect(run)) {
            run->inbox_next = unfinished; /* ours to write while cells are announced */
            unfinished = run;
        }
        if (qy_run_has_cells(run)) /* not if nothing of what was announced had arrived */
            run_changed_locked(t, run);
    }
    while ((run = unfinished) != NULL) {
        unfinished = run->inbox_next;
        run->inbox_next = t->inbox_rest;
        t->inbox_rest = run;
    }
}

/* Looking at so many runs takes as long as a call of the kernel. */
#define RUNS_A_CALL 8

/* False: not all that is due has gone. */
static bool tidy_class_locked(struct qy_tcache *t, unsigned cls, enum qy_purge purge, unsigned *most)
{
    struct qy_run *run = t->runs[cls];
    unsigned runs = 0;
    bool all = true;
    for (struct qy_run *next; run; run = next, runs++) {
        next = run->next == t->runs[cls] ? NULL : run->next;
        if (qy_run_is_empty(run)) {
            drop_run_locked(t, run);
        } else if (purge != QY_KEEP) {
            qy_run_purge(run, purge, most);
            all &= !run->due;
        }
    }
    *most -= (unsigned)qy_min(*most, runs / RUNS_A_CALL);
    return all;
}

/*
 * From class to class while calls are left: in each, all runs grow older, and then what is due goes, however often that
 * takes.
 */
static void sweep_locked(struct qy_tcache *t, unsigned *most)
{
    while (t->sweep && *most > 0) {
        bool all = tidy_class_locked(t, t->sweep, t->sweep_aged ? QY_PURGE_LEFT : QY_PURGE_OLD, most);
        t->sweep_aged = !all;
        if (all)
            t->sweep = (t->sweep + 1) % QY_CLASSES;
    }
}

#ifdef QY_CHECK
/* I-31, I-33, I-35, I-36, I-40, of all runs of a cache. */
static void check_runs_locked(struct qy_tcache *t)
{
    QY_ASSERT(qy_lock_held(&t->lock));
    size_t in_rings = 0, with_cells = 0, runs = qy_zone_stats().used_once;
    if (t->host != t)
        qy_fatal("invariant", t, "I-56: who owns runs is his own host");
    for (unsigned cls = 1; cls < QY_CLASSES; cls++) {
        struct qy_run *first = t->runs[cls], *run = first;
        for (; run; run = run->next == first ? NULL : run->next, in_rings++) {
            if (run->owner != t || run->cls != cls || run->next->prev != run || !qy_run_has_cells(run))
                qy_fatal("invariant", qy_run_base(run),
                         "I-40: a ring holds its cache's runs with free cells");
            qy_run_check(run);
        }
    }
    qy_zone_check();
    for (size_t i = 0; i < runs; i++) {
        const struct qy_run *run = qy_run_at(i);
        with_cells += qy_load_relaxed(&run->owner) == t && qy_run_has_cells(run);
    }
    if (in_rings != with_cells)
        qy_fatal("invariant", t, "I-40: every run with free cells is in a ring");
}
#else
static void check_runs_locked(struct qy_tcache *t)
{
    (void)t;
}
#endif

void qy_runs_tidy(struct qy_tcache *t, enum qy_purge purge, unsigned *most)
{
    qy_lock(&t->lock);
    if (purge != QY_PURGE_LEFT)
        collect_locked(t, ~0u);
    if (purge == QY_PURGE_OLD && !t->sweep)
        t->sweep = 1;
    if (purge == QY_PURGE_OLD || purge == QY_PURGE_LEFT) {
        sweep_locked(t, most);
    } else {
        for (unsigned cls = 1; cls < QY_CLASSES; cls++)
            tidy_class_locked(t, cls, purge, most);
    }
    check_runs_locked(t);
    qy_unlock(&t->lock);
}

/* Tells a run's owner that cells came back: the run goes onto his inbox, a stack that only he empties, whole. */
static void notify(struct qy_run *run)
{
    struct qy_tcache *owner = run->owner;
    struct qy_run *head = qy_load_relaxed(&owner->inbox);
    do {
        run->inbox_next = head;
    } while (!qy_cas_release(&owner->inbox, &head, run)); /* publishes inbox_next to the owner */
    /* Orders the push against `users`: either the last of them sees our run when he retires, or we see that he has. */
    qy_fence_seq_cst();
    if (QY_UNLIKELY(qy_load_relaxed(&owner->users) == 0)) {
        qy_lock(&owner->lock);
        collect_locked(owner, ~0u);
        qy_unlock(&owner->lock);
    }
}

static bool share_run(const void *a, const void *b)
{
    return ((uintptr_t)a ^ (uintptr_t)b) < QY_RUN_BYTES;
}

/* The end of the cells from `from` on that lie in one run. */
static unsigned same_run(void *const *cells, unsigned from, unsigned count)
{
    const void *first = cells[from];
    do
        from++;
    while (from < count && share_run(first, cells[from]));
    return from;
}

/* The descriptors of a batch may be far apart: they are asked for so many cells before they are needed. */
#define CELLS_AHEAD 6

/*
 * Puts our host's cells, all of one class, back; what is not his moves to the front of cells[]. Returns how many these
 * are.
 */
static unsigned put_own_cells(struct qy_tcache *host, unsigned cls, void **cells, unsigned count)
{
    const struct qy_class *k = &qy_classes[cls];
    void **others = cells, **const end = cells + count;
    struct qy_run *run = NULL;
    uintptr_t first = 0; /* of the cells of `run` */
    qy_lock(&host->lock);
    for (void **at = cells; at < end; at++) {
        if ((uintptr_t)*at - first >= QY_RUN_BYTES) {
            if (run)
                run_changed_locked(host, run);
            __builtin_prefetch(qy_run_of((uintptr_t)(end - at > CELLS_AHEAD ? at[CELLS_AHEAD] : end[-1])), 1);
            run = qy_run_of((uintptr_t)*at);
            first = qy_align_down((uintptr_t)*at, QY_RUN_BYTES) + k->first;
            if (run->owner != host) {
                *others++ = *at;
                run = NULL;
                first = 0;
                continue;
            }
        }
        qy_run_put(run, (((uintptr_t)*at - first) * k->inverse) >> 32, *at);
        QY_PROBE(RUN, PUT, *at, k->stride);
    }
    if (run)
        run_changed_locked(host, run);
    qy_unlock(&host->lock);
    return (unsigned)(others - cells);
}

/* Our host's lock is not held here: for an owner without a thread we collect, which takes his. */
static void put_others_cells(void *const *cells, unsigned count)
{
    for (unsigned i = 0, end; i < count; i = end) {
        struct qy_run *run = qy_run_of((uintptr_t)cells[i]);
        end = same_run(cells, i, count);
        QY_PROBE(RUN, PUT, cells[i], (end - i) * qy_classes[run->cls].stride);
        if (qy_run_put_remote(run, cells + i, end - i))
            notify(run);
    }
}

/* Returns how many of them were others'. */
static unsigned put_cells(struct qy_tcache *t, unsigned cls, void **cells, unsigned count)
{
    unsigned others = t ? put_own_cells(t->host, cls, cells, count) : count;
    put_others_cells(cells, others);
    return others;
}

/*
 * Puts `count` cells of the stack back, from slot `from` on; the newest take their place. Returns how many of them were
 * others'.
 */
static unsigned flush(struct qy_tcache *t, unsigned cls, size_t from, unsigned count)
{
    struct qy_stack *stack = qy_class_stack(t, cls);
    void **cells = t->slots + from, **top = t->slots + stack->top;
    unsigned others = put_cells(t, cls, cells, count);
    QY_PROBE(TCACHE, EMPTIED, cells[0], count * qy_classes[cls].stride);
    size_t newest = qy_min(count, (size_t)(top - cells) - count);
    memcpy(cells, top - newest, newest * sizeof *cells);
    stack->level += count * QY_ONE_BLOCK;
    return others;
}

void qy_cells_flush_all(struct qy_tcache *t)
{
    for (unsigned cls = 1; cls < QY_CLASSES; cls++) {
        const struct qy_stack *stack = qy_class_stack(t, cls);
        if (stack->top != stack->base)
            flush(t, cls, stack->base, qy_stack_count(stack));
    }
}

/*
 * Where there are runs of a class already, the pages of the next come several at a time; resident before its time is at
 * most such a share of them.
 */
#define AHEAD_SHARE 16

static unsigned pages_ahead(const struct qy_tcache *t, unsigned cls)
{
    size_t pages = QY_RUN_BYTES / qy_page_bytes;
    return qy_options.fault_ahead ? (unsigned)qy_min(t->owned[cls] * pages / AHEAD_SHARE, pages) : 0;
}

static struct qy_run *run_with_cells(struct qy_tcache *t, unsigned cls)
{
    struct qy_run *run = t->runs[cls];
    if (!run && (run = qy_zone_take(t, cls)) != NULL) {
        run->ahead = (uint16_t)pages_ahead(t, cls);
        t->owned[cls]++;
        qy_run_start(run, cls, t);
        list_run_locked(t, run);
    }
    return run;
}

static void *revive(void *cell, unsigned cls)
{
    uint64_t key = qy_class_keys[cls];
    if (*qy_cell_header(cell) != qy_key_when_free(key))
        qy_fatal(QY_WRITE_AFTER_FREE, cell, "the header of this free block was written over");
    qy_store_plain(qy_cell_header(cell), key);
    return cell;
}

/* To end[-1], end[-2], …, upwards in address within a run; returns how many. */
static unsigned take_cells_locked(struct qy_tcache *t, unsigned cls, void **end, unsigned wanted)
{
    unsigned count = 0;
    collect_locked(t, COLLECT_AT_MOST);
    for (int i = 0; i < RUNS_AT_MOST && count < wanted; i++) {
        /* Fresh memory only for the caller's block, a page at a time: what is taken ahead is resident. */
        struct qy_run *run = t->runs[cls];
        if (count > 0 ? !run || run->free == 0 : !(run = run_with_cells(t, cls)))
            break;
        count += qy_run_take(run, end - count, wanted - count);
        if (!qy_run_has_cells(run))
            unlist_run_locked(t, run);
    }
    return count;
}

static void *pop(struct qy_tcache *t, struct qy_stack *stack)
{
    stack->level += QY_ONE_BLOCK;
    return t->slots[stack->top];
}

static void *take_from(struct qy_tcache *t, unsigned cls)
{
    struct qy_stack *stack = qy_class_stack(t, cls);
    if (stack->top != stack->base) /* the fast path was closed, or did not like what it saw */
        return revive(pop(t, stack), cls);
    open_stack(t, cls);
    widen_stack(t, cls);
    size_t room = stack->room;
    void *only, **cells = room ? t->slots + stack->base : &only;
    unsigned wanted = (unsigned)qy_min(1 + room / 2, CELLS_AT_MOST);
    qy_lock(&t->host->lock);
    unsigned count = take_cells_locked(t->host, cls, cells + wanted, wanted);
    qy_unlock(&t->host->lock);
    if (count == 0)
        return NULL;
    if (count < wanted)
        memmove(cells, cells + (wanted - count), count * sizeof *cells);
    QY_PROBE(RUN, TOOK, cells[count - 1], count * qy_classes[cls].stride);
    stack->level -= (count - 1) * QY_ONE_BLOCK;
    return revive(cells[count - 1], cls);
}

void *qy_cell_take(struct qy_tcache *t, unsigned cls)
{
    if (cls >= QY_SMALL_CLASSES) {
        if (t->few[cls] == CHUNKS_UNTIL_OWN)
            return take_from(t, cls);
        t->few[cls]++;
        return NULL;
    }
    unsigned coarse = coarser(cls), serving = qy_cell_serving(t, qy_class_stride(cls) - QY_CELL_HEADER_BYTES);
    if (serving != cls && ++t->few[cls] == REFILLS_UNTIL_OWN) {
        serve_by(t, cls, cls);
        serving = cls;
    }
    void *cell = take_from(t, serving);
    return cell || serving == coarse ? cell : take_from(t, coarse); /* no run to be had */
}

/*
 * The oldest go. In a deep stack one piece after the other gives way, each to the newest, which stay until their turn
 * comes. All of a small one go when it was not empty since the last time: who only frees needs none of them.
 */
static void make_room(struct qy_tcache *t, unsigned cls)
{
    struct qy_stack *stack = qy_class_stack(t, cls);
    QY_PROBE(TCACHE, FULL, t->slots[stack->top - 1], qy_classes[cls].stride);
    size_t slots = qy_stack_count(stack), from = t->flushed_to[cls];
    bool all = t->was_full[cls] && slots <= CELLS_AT_MOST;
    t->was_full[cls] = true;
    size_t count = all ? slots : qy_min((slots + 1) / 2, CELLS_AT_MOST);
    if (from + 2 * count > slots)
        from = 0;
    t->flushed_to[cls] = (uint16_t)(from + count);
    if (flush(t, cls, stack->base + from, (unsigned)count))
        t->turns[cls] = 0; /* no stack grows deep for what others allocate */
}

void qy_cell_free(struct qy_tcache *t, void *cell, unsigned cls)
{
    qy_store_plain(qy_cell_header(cell), qy_key_when_free(qy_class_keys[cls]));
    struct qy_stack *stack = t ? qy_class_stack(t, cls) : NULL;
    if (QY_UNLIKELY(!t || !qy_stack_slots(stack))) {
        /*
         * Who has taken none of this class brings another's: it goes home. Else it would lie on top of the stack, be
         * used again and again, and share its cache line with blocks of the other thread for as long (passive false
         * sharing).
         */
        put_cells(t, cls, &cell, 1);
        if (t)
            open_stack(t, cls);
        return;
    }
    qy_tcache_look_at_zone(t);
    if (!stack->room)
        make_room(t, cls);
    t->slots[stack->top] = cell;
    stack->level -= QY_ONE_BLOCK;
    QY_PROBE(TCACHE, PUT, cell, qy_classes[cls].stride);
}
