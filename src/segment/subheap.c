#include "segment/subheap.h"

#include "base/probe.h"
#include "options/options.h"
#include "os/pages.h"

static const char name[] = "quarry: sub-heap";

/* Part of a sub-heap that is committed beyond what is asked for. */
#define COMMITTED_AHEAD 4

struct qy_subheap *qy_subheap_new(struct qy_arena *arena, size_t bytes, size_t pad)
{
    size_t least = qy_align_up(bytes + sizeof(struct qy_subheap), qy_page_bytes);
    if (least > QY_SUBHEAP_BYTES)
        return NULL;
    size_t size = qy_align_up(qy_min(least + pad, QY_SUBHEAP_BYTES), qy_page_bytes);
    struct qy_subheap *heap = qy_pages_reserve(QY_SUBHEAP_BYTES, QY_SUBHEAP_BYTES, name);
    if (!heap)
        return NULL;
    if (!qy_pages_commit(heap, size, name)) {
        qy_pages_unmap(heap, QY_SUBHEAP_BYTES);
        return NULL;
    }
    if (!qy_granule_claim(heap, (char *)heap + QY_SUBHEAP_BYTES, arena, QY_TABLES_MAPPED)) {
        qy_pages_unmap(heap, QY_SUBHEAP_BYTES);
        return NULL;
    }
    qy_granules_open(heap, (char *)heap + size);
    heap->arena = arena;
    heap->size = heap->committed = size;
    QY_PROBE(SUBHEAP, MADE, heap, size);
    return heap;
}

static bool commit(struct qy_subheap *heap, size_t to)
{
    if (!qy_pages_commit((char *)heap + heap->committed, to - heap->committed, name))
        return false;
    heap->committed = to;
    qy_granules_open(heap, (char *)heap + to);
    return true;
}

/*
 * What is committed ahead costs nothing until it is touched, and a call of the kernel that all threads wait for less
 * often; but it counts where the kernel keeps accounts. Classic: as ptmalloc does.
 */
static size_t ahead_of(const struct qy_subheap *heap, size_t wanted)
{
    size_t part = qy_options.classic ? 0 : qy_align_down(heap->committed / COMMITTED_AHEAD, qy_page_bytes);
    return qy_max(wanted, qy_min(heap->committed + part, QY_SUBHEAP_BYTES));
}

bool qy_subheap_grow(struct qy_subheap *heap, size_t bytes)
{
    size_t wanted = heap->size + bytes;
    if (wanted > QY_SUBHEAP_BYTES)
        return false;
    if (wanted > heap->committed && !commit(heap, ahead_of(heap, wanted)) && !commit(heap, wanted))
        return false;
    heap->size = wanted;
    return true;
}

void qy_subheap_shrink(struct qy_subheap *heap, size_t bytes)
{
    size_t wanted = heap->size - bytes;
    /* Should the kernel refuse, the pages are neither zero nor free; then nothing has changed. */
    if (qy_pages_purge((char *)heap + wanted, bytes))
        heap->size = wanted;
}

void qy_subheap_decommit(struct qy_subheap *heap)
{
    char *from = (char *)heap + heap->size;
    if (heap->size == heap->committed)
        return;
    qy_granules_close(from, (char *)heap + heap->committed);
    if (qy_pages_decommit(from, heap->committed - heap->size, name))
        heap->committed = heap->size;
    else
        qy_granules_open(from, (char *)heap + heap->committed);
}

void qy_subheap_delete(struct qy_subheap *heap)
{
    QY_PROBE(SUBHEAP, GONE, heap, heap->size);
    qy_granule_release(heap);
    qy_pages_drop(heap, QY_SUBHEAP_BYTES);
}
