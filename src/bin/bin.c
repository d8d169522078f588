#include "bin/bin.h"

#include "base/message.h"
#include "base/probe.h"
#include "chunk/freed.h"

/* Chunks that a request looks at in its own bin, where sizes are mixed; then it takes one of a larger bin. */
#define LOOK_AT_MOST 4

void qy_bins_init(struct qy_bins *bins, struct qy_arena *owner, bool sorted)
{
    *bins = (struct qy_bins){.owner = owner, .sorted = sorted};
    for (unsigned i = 1; i < QY_BIN_COUNT; i++) {
        struct qy_chunk *head = qy_bin_head(bins, i);
        head->fd = head->bk = head;
    }
}

static void map_set(struct qy_bins *bins, unsigned index)
{
    bins->map[index / 64] |= (uint64_t)1 << (index % 64);
}

static void map_clear(struct qy_bins *bins, unsigned index)
{
    bins->map[index / 64] &= ~((uint64_t)1 << (index % 64));
}

static bool is_head(const struct qy_bins *bins, const struct qy_chunk *c)
{
    uintptr_t links = (uintptr_t)c + offsetof(struct qy_chunk, fd);
    return links >= (uintptr_t)bins->links && links < (uintptr_t)bins->links + sizeof bins->links;
}

/*
 * The gate for links: a word read from a free chunk's memory is followed only when it leads to a list head or to
 * a free chunk of this very arena. Whatever a program can write there, nothing else is ever dereferenced. The links of
 * list heads are out of its reach.
 */
static struct qy_chunk *follow(struct qy_bins *bins, struct qy_chunk *from, struct qy_chunk *to)
{
    if (is_head(bins, to))
        return to;
    struct qy_granule *g = qy_granule_of((uintptr_t)to);
    if (QY_UNLIKELY(!g || g->owner != bins->owner || ((uintptr_t)to & QY_TAG_BITS) ||
                    !qy_place_free(qy_place_in(g, to))))
        qy_fatal(QY_CORRUPTED_LIST, qy_chunk_mem(from), "a link in this free block was written over");
    return to;
}

static void must_link(struct qy_chunk *c, bool agrees)
{
    if (!agrees)
        qy_fatal(QY_CORRUPTED_LIST, qy_chunk_mem(c),
                 "the links of this free block and its neighbours disagree");
}

struct qy_chunk *qy_bin_first(struct qy_bins *bins, unsigned index)
{
    struct qy_chunk *head = qy_bin_head(bins, index);
    return head->fd == head ? NULL : head->fd;
}

struct qy_chunk *qy_bin_last(struct qy_bins *bins, unsigned index)
{
    struct qy_chunk *head = qy_bin_head(bins, index);
    return head->bk == head ? NULL : head->bk;
}

/* Between two neighbours of a list that are known to be neighbours. */
static void link_between(struct qy_chunk *before, struct qy_chunk *c, struct qy_chunk *after)
{
    c->bk = before;
    c->fd = after;
    before->fd = c;
    after->bk = c;
}

static void link_after_head(struct qy_chunk *head, struct qy_chunk *c)
{
    struct qy_chunk *first = head->fd;
    must_link(first, first->bk == head);
    link_between(head, c, first);
}

void qy_bin_insert(struct qy_bins *bins, struct qy_chunk *c)
{
    if (!qy_bin_is_small(qy_chunk_size(c)))
        c->fd_nextsize = c->bk_nextsize = NULL;
    qy_chunk_note_size(c);
    if (!bins->sorted) {
        qy_bin_insert_sorted(bins, c);
        return;
    }
    QY_PROBE(UNSORTED_BIN, PUT, c, qy_chunk_size(c));
    link_after_head(qy_bin_head(bins, QY_UNSORTED), c);
}

/* `c` becomes the first of its size: in the list of sizes before `after`. */
static void link_size_before(struct qy_bins *bins, struct qy_chunk *c, struct qy_chunk *after)
{
    struct qy_chunk *before = follow(bins, after, after->bk_nextsize);
    must_link(after, before->fd_nextsize == after);
    c->fd_nextsize = after;
    c->bk_nextsize = before;
    before->fd_nextsize = c;
    after->bk_nextsize = c;
}

static void insert_large(struct qy_bins *bins, struct qy_chunk *head, struct qy_chunk *c)
{
    size_t size = qy_chunk_size(c);
    struct qy_chunk *largest = head->fd;
    if (largest == head) {
        c->fd_nextsize = c->bk_nextsize = c;
        link_between(head, c, head);
        return;
    }
    struct qy_chunk *smallest = head->bk;
    must_link(smallest, smallest->fd == head);
    if (size < qy_chunk_size(smallest)) {
        link_size_before(bins, c, largest); /* the list of sizes is a ring */
        link_between(smallest, c, head);
        return;
    }
    struct qy_chunk *at = largest;
    while (size < qy_chunk_size(at))
        at = follow(bins, at, at->fd_nextsize);
    if (size == qy_chunk_size(at)) {
        /* Second of its size: the first one keeps its place in the list of sizes. */
        struct qy_chunk *after = follow(bins, at, at->fd);
        must_link(at, after->bk == at);
        c->fd_nextsize = c->bk_nextsize = NULL;
        link_between(at, c, after);
        return;
    }
    struct qy_chunk *before = follow(bins, at, at->bk);
    must_link(at, before->fd == at);
    link_size_before(bins, c, at);
    link_between(before, c, at);
}

void qy_bin_insert_sorted(struct qy_bins *bins, struct qy_chunk *c)
{
    unsigned index = qy_bin_index(bins, qy_chunk_size(c));
    struct qy_chunk *head = qy_bin_head(bins, index);
    map_set(bins, index);
    QY_PROBE(UNSORTED_BIN, SORTED, c, qy_chunk_size(c));
    if (bins->sorted && !qy_bin_is_small(qy_chunk_size(c)))
        insert_large(bins, head, c);
    else
        link_after_head(head, c);
}

static void unlink_size(struct qy_bins *bins, struct qy_chunk *c, struct qy_chunk *after_in_bin)
{
    struct qy_chunk *smaller = follow(bins, c, c->fd_nextsize);
    struct qy_chunk *larger = follow(bins, c, c->bk_nextsize);
    must_link(c, smaller->bk_nextsize == c && larger->fd_nextsize == c);
    if (!is_head(bins, after_in_bin) && !after_in_bin->fd_nextsize) {
        /* The next of equal size takes our place. */
        if (smaller == c) {
            after_in_bin->fd_nextsize = after_in_bin->bk_nextsize = after_in_bin;
            return;
        }
        after_in_bin->fd_nextsize = smaller;
        after_in_bin->bk_nextsize = larger;
        smaller->bk_nextsize = after_in_bin;
        larger->fd_nextsize = after_in_bin;
        return;
    }
    smaller->bk_nextsize = larger;
    larger->fd_nextsize = smaller;
}

/* The size of a free chunk, checked before it is believed. */
static size_t true_size(struct qy_chunk *c)
{
    size_t size = qy_chunk_size(c);
    struct qy_place p = qy_place_of(c);
    if (!qy_place_free(p) || !qy_place_has_size(p, c, size) || !qy_word_seal_holds(c, qy_chunk_word(c)) ||
        qy_chunk_at(c, size)->prev_size != size)
        qy_fatal(QY_CORRUPTED_HEADER, qy_chunk_mem(c), "the size of this free block was written over");
    return size;
}

struct qy_chunk *qy_bin_walk(struct qy_bins *bins, unsigned index, struct qy_chunk *c)
{
    struct qy_chunk *head = qy_bin_head(bins, index);
    struct qy_chunk *next = follow(bins, c ? c : head, c ? c->fd : head->fd);
    if (next == head)
        return NULL;
    must_link(next, next->bk == (c ? c : head));
    true_size(next);
    return next;
}

void qy_bin_unlink(struct qy_bins *bins, struct qy_chunk *c)
{
    size_t size = true_size(c);
    struct qy_chunk *after = follow(bins, c, c->fd);
    struct qy_chunk *before = follow(bins, c, c->bk);
    must_link(c, after->bk == c && before->fd == c);
    if (!qy_bin_is_small(size) && c->fd_nextsize)
        unlink_size(bins, c, after);
    before->fd = after;
    after->bk = before;
}

static struct qy_chunk *best_fit(struct qy_bins *bins, unsigned index, size_t size)
{
    struct qy_chunk *largest = qy_bin_first(bins, index);
    if (!largest || qy_chunk_size(largest) < size)
        return NULL;
    struct qy_chunk *at = follow(bins, largest, largest->bk_nextsize);
    while (qy_chunk_size(at) < size)
        at = follow(bins, at, at->bk_nextsize);
    /* The first of a size carries the list of sizes; taking the second leaves that list alone. */
    if (at != qy_bin_last(bins, index)) {
        struct qy_chunk *second = follow(bins, at, at->fd);
        if (!is_head(bins, second) && qy_chunk_size(second) == qy_chunk_size(at))
            return second;
    }
    return at;
}

/* Last freed first: its memory is most likely still in the cache. */
static struct qy_chunk *good_fit(struct qy_bins *bins, unsigned index, size_t size)
{
    struct qy_chunk *head = qy_bin_head(bins, index), *c = head;
    for (int i = 0; i < LOOK_AT_MOST; i++) {
        c = follow(bins, c, c->fd);
        if (c == head)
            return NULL;
        if (qy_chunk_size(c) >= size)
            return c;
    }
    return NULL;
}

struct qy_chunk *qy_bin_fit(struct qy_bins *bins, unsigned index, size_t size)
{
    return bins->sorted ? best_fit(bins, index, size) : good_fit(bins, index, size);
}

struct qy_chunk *qy_bin_next_larger(struct qy_bins *bins, unsigned index)
{
    for (unsigned i = index + 1; i < QY_BIN_COUNT; i++) {
        uint64_t rest = bins->map[i / 64] >> (i % 64);
        if (rest == 0) {
            i |= 63;
            continue;
        }
        i += qy_low_bit(rest);
        struct qy_chunk *last = qy_bin_last(bins, i);
        if (last)
            return last;
        map_clear(bins, i);
    }
    return NULL;
}

/* Safe-linking (Itkin 2020): the address bits that the kernel randomises hide the link. */
static struct qy_chunk *protect(struct qy_chunk *c, struct qy_chunk *next)
{
    return (struct qy_chunk *)(((uintptr_t)&c->fd >> 12) ^ (uintptr_t)next);
}

void qy_fast_push(struct qy_bins *bins, struct qy_chunk *c)
{
    struct qy_chunk **bin = &bins->fast[qy_fast_index(qy_chunk_size(c))];
    qy_freed_sign(qy_chunk_mem(c), qy_seals.arena);
    c->fd = protect(c, *bin);
    *bin = c;
    bins->have_fast = true;
    QY_PROBE(FAST_BIN, PUT, c, qy_chunk_size(c));
}

struct qy_chunk *qy_fast_pop(struct qy_bins *bins, size_t chunk_size)
{
    struct qy_chunk **bin = &bins->fast[qy_fast_index(chunk_size)];
    struct qy_chunk *c = *bin;
    if (!c)
        return NULL;
    struct qy_chunk *next = protect(c, c->fd);
    struct qy_granule *g = qy_granule_of((uintptr_t)next);
    if (next && (!g || g->owner != bins->owner || ((uintptr_t)next & QY_TAG_BITS) || !qy_chunk_begins(next) ||
                 !qy_chunk_inuse(next) || qy_chunk_size(next) != chunk_size))
        qy_fatal(QY_CORRUPTED_LIST, qy_chunk_mem(c), "the link in this free block was written over");
    if (qy_chunk_size(c) != chunk_size)
        qy_fatal(QY_CORRUPTED_HEADER, qy_chunk_mem(c), "the size of this free block was written over");
    qy_freed_unsign(qy_chunk_mem(c), qy_seals.arena);
    *bin = next;
    QY_PROBE(FAST_BIN, TOOK, c, chunk_size);
    return c;
}
