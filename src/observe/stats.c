#include "observe/stats.h"

#include "options/options.h"
#include "run/run.h"
#include "tcache/roster.h"

static void add(struct qy_pile *pile, size_t bytes)
{
    pile->count++;
    pile->bytes += bytes;
}

/* A fast bin's links were written by us and are checked when popped; here a broken one only ends the count. */
static void count_fast(struct qy_bins *bins, size_t system_bytes, struct qy_pile *pile)
{
    for (unsigned i = 0; i < QY_FAST_BINS; i++) {
        size_t size = QY_MIN_CHUNK + i * QY_ALIGNMENT;
        struct qy_chunk *c = bins->fast[i];
        size_t most = system_bytes / size; /* or it is a ring */
        while (c && most-- && qy_chunk_begins(c) && qy_chunk_size(c) == size) {
            add(pile, size);
            c = (struct qy_chunk *)(((uintptr_t)&c->fd >> 12) ^ (uintptr_t)c->fd);
        }
    }
}

void qy_arena_stats(struct qy_arena *a, struct qy_arena_stats *stats)
{
    *stats = (struct qy_arena_stats){0};
    qy_lock(&a->lock);
    stats->system_bytes = a->system_bytes;
    stats->max_system_bytes = a->max_system_bytes;
    stats->top_bytes = a->top ? qy_chunk_size(a->top) : 0;
    count_fast(&a->bins, a->system_bytes, &stats->fast);
    for (unsigned i = QY_UNSORTED; i < QY_BIN_COUNT - 1; i++) {
        for (struct qy_chunk *c = NULL; (c = qy_bin_walk(&a->bins, i, c)) != NULL;)
            add(&stats->binned, qy_chunk_size(c));
    }
    qy_unlock(&a->lock);
    stats->inuse_bytes = stats->system_bytes - stats->top_bytes - stats->binned.bytes - stats->fast.bytes;
}

void qy_run_stats(struct qy_run_stats *stats)
{
    struct qy_zone_stats zone = qy_zone_stats();
    *stats = (struct qy_run_stats){.runs = zone.taken, .dirty_runs = zone.dirty};
    stats->system_bytes = (zone.taken + zone.dirty) << QY_RUN_SHIFT;
    for (size_t i = 0; i < zone.used_once; i++) {
        const struct qy_run *run = qy_run_at(i);
        unsigned cls = qy_load_relaxed(&run->cls);
        if (!qy_load_relaxed(&run->owner) || cls >= QY_CLASSES)
            continue;
        size_t used = (size_t)qy_load_relaxed(&run->available) - qy_load_relaxed(&run->free);
        for (unsigned w = 0; w < QY_RUN_WORDS; w++)
            used -= qy_count_bits(qy_load_relaxed(&run->remote_bits[w]));
        stats->cells.count += used;
        stats->cells.bytes += used * qy_classes[cls].stride;
    }
    stats->free_bytes = stats->system_bytes - stats->cells.bytes;
}

/* Its owner may just be moving the stack: what is more than any has room for was read half way. */
static size_t cells_held(const struct qy_stack *stack)
{
    size_t count = (uint16_t)(qy_load_relaxed(&stack->level) - qy_load_relaxed(&stack->base));
    return count <= QY_DEEP_COUNT_AT_MOST * QY_DEEP_BLOCKS ? count : 0;
}

static size_t chunks_held(const struct qy_chunk_stack *stack)
{
    size_t count = (size_t)(qy_load_relaxed(&stack->top) - qy_load_relaxed(&stack->base));
    return count <= qy_options.tcache_count * QY_DEEP_CHUNKS ? count : 0;
}

void qy_cache_stats(struct qy_cache_stats *stats)
{
    *stats = (struct qy_cache_stats){0};
    for (struct qy_tcache *t = qy_roster_first(); t; t = t->next) {
        stats->caches++;
        for (unsigned c = 1; c < QY_CLASSES; c++) {
            size_t count = cells_held(qy_class_stack(t, c));
            stats->cells.count += count;
            stats->cells.bytes += count * qy_classes[c].stride;
        }
        for (unsigned c = 0; c < QY_CHUNK_CLASSES; c++)
            stats->chunks.count += chunks_held(&t->chunks[c]);
        stats->chunks.bytes += qy_load_relaxed(&t->chunk_bytes) + qy_load_relaxed(&t->large_bytes);
    }
}
