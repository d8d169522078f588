#include "segment/mapped.h"

#include "base/atomic.h"
#include "base/lock.h"
#include "base/message.h"
#include "base/probe.h"
#include "options/options.h"
#include "os/pages.h"
#include "segment/filled.h"

struct qy_mapped_register qy_mapped = {.lock = QY_LOCK_INIT(QY_RANK_MAPPED)};
static uint64_t hash_key;
static const char name[] = "quarry: mapped chunk";

void qy_mapped_init(uint64_t secret)
{
    hash_key = secret | 1;
}

static size_t slot_for(uintptr_t mem)
{
    return (size_t)(((mem >> 4) * hash_key) >> 20) & (qy_mapped.capacity - 1);
}

/* The entry of `mem`, or the empty one where it would go. */
static struct qy_mapped_entry *probe_locked(uintptr_t mem)
{
    size_t i = slot_for(mem);
    while (qy_mapped.entries[i].mem && qy_mapped.entries[i].mem != mem)
        i = (i + 1) & (qy_mapped.capacity - 1);
    return &qy_mapped.entries[i];
}

/* NULL: it is no mapped block. */
static struct qy_mapped_entry *find_locked(uintptr_t mem)
{
    QY_ASSERT(qy_lock_held(&qy_mapped.lock));
    struct qy_mapped_entry *e = qy_mapped.capacity ? probe_locked(mem) : NULL;
    return e && e->mem ? e : NULL;
}

static bool grow_locked(void)
{
    QY_ASSERT(qy_lock_held(&qy_mapped.lock));
    size_t wanted = qy_mapped.capacity ? qy_mapped.capacity * 2 : qy_page_bytes / 32;
    struct qy_mapped_entry *old = qy_mapped.entries;
    size_t old_capacity = qy_mapped.capacity;
    struct qy_mapped_entry *fresh =
        qy_pages_map(qy_align_up(wanted * sizeof *fresh, qy_page_bytes), "quarry: mapped chunks");
    if (!fresh)
        return false;
    QY_WILL_WRITE(fresh->mem);
    qy_mapped.entries = fresh;
    qy_mapped.capacity = wanted;
    for (size_t i = 0; i < old_capacity; i++) {
        if (old[i].mem)
            *probe_locked(old[i].mem) = old[i];
    }
    if (old)
        qy_pages_drop(old, qy_align_up(old_capacity * sizeof *old, qy_page_bytes));
    return true;
}

static bool add_locked(struct qy_mapped_entry e)
{
    if ((qy_mapped.stats.blocks + 1) * 2 > qy_mapped.capacity && !grow_locked() &&
        qy_mapped.stats.blocks + 1 >= qy_mapped.capacity)
        return false;
    *probe_locked(e.mem) = e;
    qy_count_add(&qy_mapped.stats.blocks, 1);
    qy_mapped.stats.bytes += e.size + e.before;
    qy_mapped.stats.max_blocks = qy_max(qy_mapped.stats.max_blocks, qy_mapped.stats.blocks);
    qy_mapped.stats.max_bytes = qy_max(qy_mapped.stats.max_bytes, qy_mapped.stats.bytes);
    return true;
}

static void remove_locked(struct qy_mapped_entry *gone)
{
    qy_count_add(&qy_mapped.stats.blocks, -1);
    qy_mapped.stats.bytes -= gone->size + gone->before;
    size_t hole = (size_t)(gone - qy_mapped.entries);
    for (size_t i = hole;;) {
        i = (i + 1) & (qy_mapped.capacity - 1);
        if (!qy_mapped.entries[i].mem)
            break;
        size_t home = slot_for(qy_mapped.entries[i].mem);
        if (((i - home) & (qy_mapped.capacity - 1)) >= ((i - hole) & (qy_mapped.capacity - 1))) {
            qy_mapped.entries[hole] = qy_mapped.entries[i];
            hole = i;
        }
    }
    qy_mapped.entries[hole].mem = 0;
}

static bool add(struct qy_mapped_entry e)
{
    qy_lock(&qy_mapped.lock);
    bool done = add_locked(e);
    qy_unlock(&qy_mapped.lock);
    return done;
}

/* While the block is in the register: who takes it out may unmap it. */
static bool header_is_sound_locked(const struct qy_mapped_entry *e)
{
    QY_ASSERT(qy_lock_held(&qy_mapped.lock));
    const struct qy_chunk *c = qy_mem_chunk((void *)e->mem);
    return c->size == (e->size | QY_IS_MMAPPED) && c->prev_size == e->before;
}

static void header_is_damaged(uintptr_t mem)
{
    qy_fatal(QY_CORRUPTED_HEADER, (void *)mem, "the size before this mapped block was written over");
}

/* Copies the entry of `mem` out, and removes it when asked to. */
static bool look_up(uintptr_t mem, struct qy_mapped_entry *found, bool take)
{
    qy_lock(&qy_mapped.lock);
    struct qy_mapped_entry *e = find_locked(mem);
    bool sound = e && header_is_sound_locked(e);
    if (sound) {
        *found = *e;
        if (take)
            remove_locked(e);
    }
    qy_unlock(&qy_mapped.lock);
    if (e && !sound)
        header_is_damaged(mem);
    return e != NULL;
}

static struct qy_mapped_entry write_header(char *base, size_t bytes, size_t before)
{
    struct qy_chunk *c = qy_chunk_at(base, before);
    c->prev_size = before;
    c->size = (bytes - before) | QY_IS_MMAPPED;
    return (struct qy_mapped_entry){(uintptr_t)qy_chunk_mem(c), bytes - before, before};
}

static char *map(size_t bytes)
{
    if (!qy_may_be_huge(bytes))
        return qy_pages_map(bytes, name);
    char *base = qy_will_be_filled(bytes) ? qy_pages_map_huge(bytes, name) : qy_pages_map(bytes, name);
    qy_filled_new(base, bytes);
    return base;
}

static void unmap(char *base, size_t bytes)
{
    if (qy_may_be_huge(bytes))
        qy_filled_gone(base, bytes);
    qy_pages_drop(base, bytes);
}

void *qy_mapped_take(size_t request, size_t alignment)
{
    if (qy_load_relaxed(&qy_mapped.stats.blocks) >= qy_options.mmap_max)
        return NULL;
    size_t slack = alignment > QY_ALIGNMENT ? alignment : 0;
    size_t bytes = qy_align_up(request + QY_HEADER_BYTES + slack, qy_page_bytes);
    if (bytes < request)
        return NULL;
    char *base = map(bytes);
    if (!base)
        return NULL;
    uintptr_t mem = qy_align_up((uintptr_t)base + QY_HEADER_BYTES, alignment);
    struct qy_mapped_entry e = write_header(base, bytes, mem - (uintptr_t)base - QY_HEADER_BYTES);
    QY_PROBE(MAPPED, TOOK, mem, e.size);
    if (add(e))
        return (void *)mem;
    qy_pages_unmap(base, bytes);
    return NULL;
}

/* Under the lock throughout: nobody may take the room in the register meanwhile. */
static void *align_locked(struct qy_mapped_entry *e, size_t alignment)
{
    QY_ASSERT(qy_lock_held(&qy_mapped.lock));
    struct qy_mapped_entry old = *e;
    char *base = (char *)old.mem - QY_HEADER_BYTES - old.before;
    size_t front = qy_front_of_aligned(old.mem, alignment);
    remove_locked(e);
    struct qy_mapped_entry now = write_header(base, old.size + old.before, old.before + front);
    add_locked(now);
    return (void *)now.mem;
}

void *qy_mapped_align(void *mem, size_t alignment)
{
    qy_lock(&qy_mapped.lock);
    struct qy_mapped_entry *e = find_locked((uintptr_t)mem);
    void *aligned = e ? align_locked(e, alignment) : NULL;
    qy_unlock(&qy_mapped.lock);
    return aligned;
}

bool qy_mapped_find(const void *mem)
{
    struct qy_mapped_entry e;
    return look_up((uintptr_t)mem, &e, false);
}

/* M-22: what the program frees is likely to be asked for again, so from now on it comes from the heap. */
static void adapt_thresholds(size_t size)
{
    static const size_t largest = (size_t)32 << 20;
    if (!qy_options.dynamic_thresholds || size <= qy_load_relaxed(&qy_options.mmap_threshold) ||
        size > largest)
        return;
    QY_PROBE(MAPPED, RAISED, 0, size);
    qy_store_relaxed(&qy_options.mmap_threshold, size);
    qy_store_relaxed(&qy_options.trim_threshold, 2 * size);
}

size_t qy_mapped_free(void *mem)
{
    struct qy_mapped_entry e;
    /* Two threads freeing the same block: one finds it gone. */
    if (!look_up((uintptr_t)mem, &e, true))
        qy_fatal(QY_DOUBLE_FREE, mem, "this mapped block was freed by another thread at the same time");
    adapt_thresholds(e.size);
    QY_PROBE(MAPPED, GONE, mem, e.size);
    unmap((char *)mem - QY_HEADER_BYTES - e.before, e.size + e.before);
    return e.size;
}

/*
 * Under the lock throughout: once the pages have moved, another thread may map a block where they were, and must
 * find its place in the register free.
 */
static void *resize_locked(struct qy_mapped_entry *e, size_t request)
{
    QY_ASSERT(qy_lock_held(&qy_mapped.lock));
    if (!header_is_sound_locked(e))
        header_is_damaged(e->mem);
    struct qy_mapped_entry old = *e;
    size_t bytes = qy_align_up(request + QY_HEADER_BYTES + old.before, qy_page_bytes);
    if (bytes < request)
        return NULL;
    if (bytes == old.size + old.before)
        return (void *)old.mem;
    char *base = (char *)old.mem - QY_HEADER_BYTES - old.before;
    char *moved = qy_pages_remap(base, old.size + old.before, bytes);
    if (!moved)
        return NULL;
    remove_locked(e);
    struct qy_mapped_entry now = write_header(moved, bytes, old.before);
    QY_PROBE(MAPPED, MOVED, now.mem, bytes);
    add_locked(now); /* there is room: one was just taken out */
    return (void *)now.mem;
}

/*
 * Who grows a block that he has used to its end will use what it grows by: all of it, when that is little beside what
 * he has. But for the last page, which tells the next time whether he did (docs/decisions/0021-faulting-ahead.md).
 */
#define AHEAD_SHARE 8

static void fault_ahead(void *mem, size_t old_size, size_t request)
{
    char *end = (char *)qy_mem_chunk(mem) + old_size;
    uintptr_t last = qy_align_down((uintptr_t)mem + request - 1, qy_page_bytes);
    if (!qy_options.fault_ahead || last <= (uintptr_t)end + qy_page_bytes || !qy_page_is_resident(end - 1))
        return;
    size_t ahead = qy_min(last - (uintptr_t)end, qy_align_down(old_size / AHEAD_SHARE, qy_page_bytes));
    if (ahead > qy_page_bytes)
        qy_pages_populate(end, ahead);
}

void *qy_mapped_resize(void *mem, size_t request)
{
    qy_lock(&qy_mapped.lock);
    struct qy_mapped_entry *e = find_locked((uintptr_t)mem);
    size_t old_size = e ? e->size : 0;
    void *resized = e ? resize_locked(e, request) : NULL;
    qy_unlock(&qy_mapped.lock);
    if (resized)
        fault_ahead(resized, old_size, request);
    return resized;
}

struct qy_mapped_stats qy_mapped_stats(void)
{
    qy_lock(&qy_mapped.lock);
    struct qy_mapped_stats copy = qy_mapped.stats;
    qy_unlock(&qy_mapped.lock);
    return copy;
}

void qy_mapped_lock(void)
{
    qy_lock(&qy_mapped.lock);
}

void qy_mapped_unlock(void)
{
    qy_unlock(&qy_mapped.lock);
}

void qy_mapped_reset(void)
{
    qy_lock_reset(&qy_mapped.lock);
}
