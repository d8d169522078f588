#include "segment/mapped.h"

#include "base/atomic.h"
#include "base/lock.h"
#include "base/message.h"
#include "base/probe.h"
#include "options/options.h"
#include "os/pages.h"

/*
 * The register: open addressing, linear probing, at most half full, deletion by moving back (Knuth 6.4, R), so
 * there are no tombstones and a lookup costs O(1) expected. The hash is keyed: a program cannot choose collisions.
 */
struct entry {
    uintptr_t mem; /* 0: empty */
    size_t size;   /* of the chunk */
    size_t before; /* padding between the mapping's start and the chunk */
};

static struct qy_lock register_lock = QY_LOCK_INIT(QY_RANK_MAPPED);
static struct entry *entries;
static size_t capacity; /* a power of two, or 0 */
static uint64_t hash_key;
static struct qy_mapped_stats stats;

void qy_mapped_init(uint64_t secret)
{
    hash_key = secret | 1;
}

static size_t slot_for(uintptr_t mem)
{
    return (size_t)(((mem >> 4) * hash_key) >> 20) & (capacity - 1);
}

/* The entry of `mem`, or the empty one where it would go. */
static struct entry *probe_locked(uintptr_t mem)
{
    size_t i = slot_for(mem);
    while (entries[i].mem && entries[i].mem != mem)
        i = (i + 1) & (capacity - 1);
    return &entries[i];
}

static bool grow_locked(void)
{
    QY_ASSERT(qy_lock_held(&register_lock));
    size_t wanted = capacity ? capacity * 2 : qy_page_bytes / 32;
    struct entry *old = entries;
    size_t old_capacity = capacity;
    struct entry *fresh =
        qy_pages_map(qy_align_up(wanted * sizeof *fresh, qy_page_bytes), "quarry: mapped chunks");
    if (!fresh)
        return false;
    entries = fresh;
    capacity = wanted;
    for (size_t i = 0; i < old_capacity; i++) {
        if (old[i].mem)
            *probe_locked(old[i].mem) = old[i];
    }
    if (old)
        qy_pages_unmap(old, qy_align_up(old_capacity * sizeof *old, qy_page_bytes));
    return true;
}

static bool add_locked(struct entry e)
{
    if ((stats.blocks + 1) * 2 > capacity && !grow_locked() && stats.blocks + 1 >= capacity)
        return false;
    *probe_locked(e.mem) = e;
    stats.blocks++;
    stats.bytes += e.size + e.before;
    stats.max_blocks = qy_max(stats.max_blocks, stats.blocks);
    stats.max_bytes = qy_max(stats.max_bytes, stats.bytes);
    return true;
}

static void remove_locked(struct entry *gone)
{
    stats.blocks--;
    stats.bytes -= gone->size + gone->before;
    size_t hole = (size_t)(gone - entries);
    for (size_t i = hole;;) {
        i = (i + 1) & (capacity - 1);
        if (!entries[i].mem)
            break;
        size_t home = slot_for(entries[i].mem);
        if (((i - home) & (capacity - 1)) >= ((i - hole) & (capacity - 1))) {
            entries[hole] = entries[i];
            hole = i;
        }
    }
    entries[hole].mem = 0;
}

static bool add(struct entry e)
{
    qy_lock(&register_lock);
    bool done = add_locked(e);
    qy_unlock(&register_lock);
    return done;
}

/* Copies the entry of `mem` out, and removes it when asked to. */
static bool look_up(uintptr_t mem, struct entry *found, bool take)
{
    qy_lock(&register_lock);
    struct entry *e = capacity ? probe_locked(mem) : NULL;
    bool known = e && e->mem;
    if (known) {
        *found = *e;
        if (take)
            remove_locked(e);
    }
    qy_unlock(&register_lock);
    return known;
}

static struct entry write_header(char *base, size_t bytes, size_t before)
{
    struct qy_chunk *c = qy_chunk_at(base, before);
    c->prev_size = before;
    qy_chunk_set_head(c, bytes - before, QY_IS_MMAPPED);
    return (struct entry){(uintptr_t)qy_chunk_mem(c), bytes - before, before};
}

void *qy_mapped_take(size_t request, size_t alignment)
{
    if (qy_load_relaxed(&stats.blocks) >= qy_options.mmap_max)
        return NULL;
    size_t slack = alignment > QY_ALIGNMENT ? alignment : 0;
    size_t bytes = qy_align_up(request + QY_HEADER_BYTES + slack, qy_page_bytes);
    if (bytes < request)
        return NULL;
    char *base = qy_pages_map(bytes, "quarry: mapped chunk");
    if (!base)
        return NULL;
    uintptr_t mem = qy_align_up((uintptr_t)base + QY_HEADER_BYTES, alignment);
    struct entry e = write_header(base, bytes, mem - (uintptr_t)base - QY_HEADER_BYTES);
    QY_PROBE(MAPPED, TOOK, mem, e.size);
    if (add(e))
        return (void *)mem;
    qy_pages_unmap(base, bytes);
    return NULL;
}

static void check_header(const struct entry *e)
{
    const struct qy_chunk *c = qy_mem_chunk((void *)e->mem);
    if (c->size != (e->size | QY_IS_MMAPPED) || c->prev_size != e->before)
        qy_fatal(QY_CORRUPTED_HEADER, (void *)e->mem, "the size before this mapped block was written over");
}

bool qy_mapped_find(const void *mem)
{
    struct entry e;
    if (!look_up((uintptr_t)mem, &e, false))
        return false;
    check_header(&e);
    return true;
}

/* M-22: what the program frees is likely to be asked for again, so from now on it comes from the heap. */
static void adapt_thresholds(size_t size)
{
    static const size_t largest = (size_t)32 << 20;
    if (!qy_options.dynamic_thresholds || size <= qy_options.mmap_threshold || size > largest)
        return;
    QY_PROBE(MAPPED, RAISED, 0, size);
    qy_store_relaxed(&qy_options.mmap_threshold, size);
    qy_store_relaxed(&qy_options.trim_threshold, 2 * size);
}

size_t qy_mapped_free(void *mem)
{
    struct entry e;
    /* Two threads freeing the same block: one finds it gone. */
    if (!look_up((uintptr_t)mem, &e, true))
        qy_fatal(QY_DOUBLE_FREE, mem, "this mapped block was freed by another thread at the same time");
    check_header(&e);
    adapt_thresholds(e.size);
    QY_PROBE(MAPPED, GONE, mem, e.size);
    qy_pages_unmap((char *)mem - QY_HEADER_BYTES - e.before, e.size + e.before);
    return e.size;
}

/*
 * Under the lock throughout: once the pages have moved, another thread may map a block where they were, and must
 * find its place in the register free.
 */
static void *resize_locked(struct entry *e, size_t request)
{
    QY_ASSERT(qy_lock_held(&register_lock));
    check_header(e);
    struct entry old = *e;
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
    struct entry now = write_header(moved, bytes, old.before);
    QY_PROBE(MAPPED, MOVED, now.mem, bytes);
    add_locked(now); /* there is room: one was just taken out */
    return (void *)now.mem;
}

void *qy_mapped_resize(void *mem, size_t request)
{
    qy_lock(&register_lock);
    struct entry *e = capacity ? probe_locked((uintptr_t)mem) : NULL;
    void *resized = e && e->mem ? resize_locked(e, request) : NULL;
    qy_unlock(&register_lock);
    return resized;
}

struct qy_mapped_stats qy_mapped_stats(void)
{
    qy_lock(&register_lock);
    struct qy_mapped_stats copy = stats;
    qy_unlock(&register_lock);
    return copy;
}

void qy_mapped_lock(void)
{
    qy_lock(&register_lock);
}

void qy_mapped_unlock(void)
{
    qy_unlock(&register_lock);
}

void qy_mapped_reset(void)
{
    qy_lock_reset(&register_lock);
}
