#include "chunk/marks.h"

#include "base/lock.h"
#include "os/brk.h"
#include "os/pages.h"

QY_SPARSE struct qy_granule_leaf *qy_granule_root[QY_ROOT_ENTRIES];

/* Guards growth of the table; readers need no lock. */
static struct qy_lock table_lock = QY_LOCK_INIT(QY_RANK_GRANULES);

/*
 * The first leaf and the first granule are part of the library: no system call at start-up. Their memory, too, becomes
 * resident only where it is used. What of the break becomes a table, the main arena steps over, as over any piece that
 * somebody else took.
 */
static QY_SPARSE struct qy_granule_leaf built_in_leaf;
static QY_SPARSE struct qy_granule built_in_granule;

static bool may_move_break; /* said by whoever holds table_lock */

static void *get_table_locked(void *built_in, bool *built_in_used, size_t bytes, const char *name)
{
    QY_ASSERT(qy_lock_held(&table_lock));
    if (!*built_in_used) {
        *built_in_used = true;
        return built_in;
    }
    bytes = qy_align_up(bytes, qy_page_bytes);
    void *pages = qy_pages_map(bytes, name);
    return !pages && may_move_break ? qy_brk_move((intptr_t)bytes) : pages;
}

static struct qy_granule_leaf *new_leaf_locked(void)
{
    static bool used;
    return get_table_locked(&built_in_leaf, &used, sizeof built_in_leaf, "quarry: granules");
}

static struct qy_granule *new_granule_locked(void)
{
    static bool used;
    return get_table_locked(&built_in_granule, &used, sizeof built_in_granule, "quarry: marks");
}

static struct qy_granule **slot_of(uintptr_t address)
{
    struct qy_granule_leaf **leaf = &qy_granule_root[address >> QY_LEAF_SHIFT];
    QY_WILL_WRITE(*leaf);
    if (!*leaf) {
        struct qy_granule_leaf *fresh = new_leaf_locked();
        if (!fresh)
            return NULL;
        qy_store_release(leaf, fresh); /* publishes an all-empty leaf to readers of qy_granule_of */
    }
    return &(*leaf)->granules[(address >> QY_GRANULE_SHIFT) % QY_LEAF_ENTRIES];
}

static bool claim_one_locked(uintptr_t address, struct qy_arena *owner)
{
    QY_ASSERT(qy_lock_held(&table_lock));
    struct qy_granule **slot = slot_of(address);
    if (!slot)
        return false;
    QY_WILL_WRITE(*slot);
    if (*slot) {
        if (!(*slot)->owner)
            qy_store_release(&(*slot)->owner, owner); /* a sub-heap lay here before; its marks are wiped */
        return (*slot)->owner == owner;
    }
    struct qy_granule *g = new_granule_locked();
    if (!g)
        return false;
    g->owner = owner;
    qy_store_release(slot, g); /* publishes owner and empty marks to readers of qy_granule_of */
    return true;
}

bool qy_granule_claim(const void *from, const void *to, struct qy_arena *owner, enum qy_tables tables)
{
    uintptr_t first = qy_align_down((uintptr_t)from, QY_GRANULE_BYTES);
    if ((uintptr_t)to > (uintptr_t)1 << QY_VA_BITS)
        return false;
    bool done = true;
    qy_lock(&table_lock);
    may_move_break = tables == QY_TABLES_FROM_BREAK;
    for (uintptr_t at = first; done && at < (uintptr_t)to; at += QY_GRANULE_BYTES)
        done = claim_one_locked(at, owner);
    qy_unlock(&table_lock);
    return done;
}

void qy_granules_open(const void *from, const void *to)
{
    if (!qy_seals.below)
        return;
    for (uintptr_t at = (uintptr_t)from, end; at < (uintptr_t)to; at = end) {
        struct qy_granule *g = qy_granule_of(at);
        end = qy_min(qy_align_down(at, QY_GRANULE_BYTES) + QY_GRANULE_BYTES, (uintptr_t)to);
        if (!g->span)
            qy_store_relaxed(&g->from, at);
        qy_store_relaxed(&g->span, end - g->from);
    }
}

void qy_granules_close(const void *from, const void *to)
{
    for (uintptr_t at = (uintptr_t)from; at < (uintptr_t)to;
         at = qy_align_down(at, QY_GRANULE_BYTES) + QY_GRANULE_BYTES) {
        struct qy_granule *g = qy_granule_of(at);
        qy_store_relaxed(&g->span, at > g->from ? qy_min(g->span, at - g->from) : 0);
    }
}

/* The whole pages of the marks of [from, to), which lies in one granule; false: they keep what they hold. */
static bool purge_marks(struct qy_granule *g, uintptr_t from, uintptr_t to)
{
    uintptr_t first = qy_align_up((uintptr_t)qy_marks_at(g, from), qy_page_bytes);
    uintptr_t last = qy_align_down((uintptr_t)(qy_marks_at(g, to - 1) + 1), qy_page_bytes);
    return first < last && qy_pages_purge((void *)first, last - first);
}

void qy_marks_purge(uintptr_t from, uintptr_t to)
{
    /* The first and the last word may belong to neighbours, too. */
    for (uintptr_t at = qy_align_up(from, QY_MARKS_BYTES), end; at + QY_MARKS_BYTES <= to; at = end) {
        end =
            qy_min(qy_align_down(at, QY_GRANULE_BYTES) + QY_GRANULE_BYTES, qy_align_down(to, QY_MARKS_BYTES));
        purge_marks(qy_granule_of(at), at, end);
    }
}

void qy_granule_release(void *base)
{
    struct qy_granule *g = qy_granule_of((uintptr_t)base);
    /*
     * A racing free() of a wild pointer may still be reading the marks, so the struct stays where it is, for the next
     * sub-heap that the kernel puts here; only its memory goes back.
     */
    bool purged = purge_marks(g, (uintptr_t)base, (uintptr_t)base + QY_GRANULE_BYTES);
    uintptr_t first = qy_align_up((uintptr_t)g->marks, qy_page_bytes);
    uintptr_t last = qy_align_down((uintptr_t)(g + 1), qy_page_bytes);
    for (size_t i = 0; i < QY_GRANULE_MARKS; i++) {
        struct qy_marks *m = &g->marks[i];
        if (purged && (uintptr_t)m >= first && (uintptr_t)(m + 1) <= last)
            continue;
        qy_store_relaxed(&m->begins, 0);
        qy_store_relaxed(&m->inuse, 0);
    }
    qy_store_relaxed(&g->span, 0);
    qy_store_relaxed(&g->owner, NULL);
}

bool qy_chunk_whole(const struct qy_chunk *c, size_t size)
{
    /* The first and the last word are shared with other chunks, whose marks may be changing; not the bits looked at. */
    uintptr_t at = (uintptr_t)c + QY_ALIGNMENT, end = (uintptr_t)c + size;
    while (at < end) {
        struct qy_granule *g = qy_granule_of(at);
        uint64_t looked_at = ~(qy_mark_bit(at) - 1);
        at = qy_align_down(at, QY_MARKS_BYTES) + QY_MARKS_BYTES;
        if (at > end)
            looked_at &= qy_mark_bit(end) - 1;
        if (!g || (qy_load_relaxed(&qy_marks_at(g, at - 1)->begins) & looked_at))
            return false;
    }
    return true;
}

bool qy_chunk_has_size(const struct qy_chunk *c, size_t size)
{
    if (size < QY_MIN_CHUNK)
        return false;
    if (size < QY_SIZE_IN_MARKS)
        return qy_chunk_begins((const struct qy_chunk *)((const char *)c + size)) && qy_chunk_whole(c, size);
    struct qy_marks *marks = qy_place_of((const struct qy_chunk *)((const char *)c + QY_MARKS_BYTES)).marks;
    size_t to_its_end = QY_SIZE_IN_MARKS - (uintptr_t)c % QY_MARKS_BYTES;
    return marks && qy_load_relaxed(&marks->inuse) == size && qy_chunk_whole(c, to_its_end);
}

void qy_granules_lock(void)
{
    qy_lock(&table_lock);
}

void qy_granules_unlock(void)
{
    qy_unlock(&table_lock);
}

void qy_granules_reset(void)
{
    qy_lock_reset(&table_lock);
}
