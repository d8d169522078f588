/*
 * The time of single calls, in ticks of the processor's counter less the cost of reading it, kept in a
 * histogram whose buckets are at most 1.6 % wide. threads= each with their own histogram; share= as in
 * many.c. The first warm= operations of a thread are not counted: they fault in fresh memory, which cold
 * programs feel and steady ones do not.
 */
#include "bench.h"

#if defined __x86_64__
static inline uint64_t ticks(void)
{
    uint32_t low, high, cpu;
    __asm__ volatile("rdtscp\n\tlfence" : "=a"(low), "=d"(high), "=c"(cpu)::"memory");
    return (uint64_t)high << 32 | low;
}
#elif defined __aarch64__
static inline uint64_t ticks(void)
{
    uint64_t value;
    __asm__ volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(value)::"memory");
    return value;
}
#else
static inline uint64_t ticks(void)
{
    return (uint64_t)(now_seconds() * 1e9);
}
#endif

/* Buckets: below 64 one a tick; above, 64 to each doubling. */
enum { FINE = 64, FINE_BITS = 6, BUCKETS = FINE * (64 - FINE_BITS + 1) };

struct histogram {
    uint64_t count, largest;
    uint64_t buckets[BUCKETS];
};

static unsigned bucket_of(uint64_t value)
{
    if (value < FINE)
        return (unsigned)value;
    unsigned shift = 63 - (unsigned)__builtin_clzll(value) - FINE_BITS;
    return FINE * (shift + 1) + (unsigned)((value >> shift) - FINE);
}

static uint64_t bucket_value(unsigned bucket)
{
    if (bucket < FINE)
        return bucket;
    unsigned shift = bucket / FINE - 1;
    return (uint64_t)(FINE + bucket % FINE) << shift;
}

static void histogram_add(struct histogram *h, uint64_t value)
{
    h->count++;
    h->buckets[bucket_of(value)]++;
    if (value > h->largest)
        h->largest = value;
}

static void histogram_merge(struct histogram *into, const struct histogram *from)
{
    into->count += from->count;
    if (from->largest > into->largest)
        into->largest = from->largest;
    for (unsigned i = 0; i < BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
}

static uint64_t histogram_quantile(const struct histogram *h, double q)
{
    uint64_t below = (uint64_t)(q * (double)h->count), seen = 0;
    for (unsigned i = 0; i < BUCKETS; i++)
        if ((seen += h->buckets[i]) > below)
            return bucket_value(i);
    return h->largest;
}

enum { LATENCY_THREADS_MOST = 16, EXCHANGED = 1024 };

struct pair {
    struct histogram take, give;
};

static struct pair *pairs;
static struct sizes sizes;
static uint64_t operations_each, overhead, share, warm;
static size_t slots;
static _Atomic(void *) exchanged[EXCHANGED];

static uint64_t overhead_of_ticks(void)
{
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < 100000; i++) {
        uint64_t start = ticks(), end = ticks();
        least = end - start < least ? end - start : least;
    }
    return least;
}

static uint64_t net(uint64_t spent)
{
    return spent > overhead ? spent - overhead : 0;
}

static void latency_member(unsigned index)
{
    struct pair *p = &pairs[index];
    struct rng r = {200 + index};
    void **live = own_pages(slots * sizeof *live);
    for (uint64_t i = 0; i < operations_each; i++) {
        void **slot = &live[rng_below(&r, slots)];
        size_t size = sizes_pick(&sizes, &r);
        if (share && rng_below(&r, share) == 0)
            *slot = atomic_exchange(&exchanged[rng_next(&r) % EXCHANGED], *slot);
        uint64_t start = ticks();
        free(*slot);
        uint64_t middle = ticks();
        void *block = malloc(size);
        uint64_t end = ticks();
        if (i >= warm) {
            if (*slot)
                histogram_add(&p->give, net(middle - start));
            histogram_add(&p->take, net(end - middle));
        }
        if (!block)
            die("malloc");
        touch(block, size);
        *slot = block;
    }
    for (size_t i = 0; i < slots; i++)
        give(live[i]);
    own_pages_drop(live, slots * sizeof *live);
}

static void latency_report(const char *call, const struct histogram *h, double ns_per_tick)
{
    static const struct {
        const char *name;
        double q;
    } points[] = {{"p50", .5}, {"p99", .99}, {"p9999", .9999}};
    char name[64];
    for (unsigned i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s_%s_ns", call, points[i].name);
        report(name, (double)histogram_quantile(h, points[i].q) * ns_per_tick);
    }
    snprintf(name, sizeof name, "%s_max_ns", call);
    report(name, (double)h->largest * ns_per_tick);
}

uint64_t latency(void)
{
    sizes_of_params(&sizes, "uniform", 16, 1000);
    unsigned threads = (unsigned)param("threads", 1);
    if (!threads || threads > LATENCY_THREADS_MOST)
        die("threads= is 1 to 16");
    slots = param("slots", 10000);
    share = param("share", 0);
    warm = param("warm", 10 * slots);
    operations_each = warm + scaled("ops", 4000000) / threads + 1;
    overhead = overhead_of_ticks();
    pairs = own_pages(threads * sizeof *pairs);

    double start = now_seconds();
    uint64_t start_ticks = ticks();
    threads_run(threads, latency_member);
    double ns_per_tick = (now_seconds() - start) * 1e9 / (double)(ticks() - start_ticks);

    for (unsigned i = 0; i < EXCHANGED; i++)
        give(atomic_load(&exchanged[i]));
    for (unsigned i = 1; i < threads; i++) {
        histogram_merge(&pairs[0].take, &pairs[i].take);
        histogram_merge(&pairs[0].give, &pairs[i].give);
    }
    latency_report("malloc", &pairs[0].take, ns_per_tick);
    latency_report("free", &pairs[0].give, ns_per_tick);
    own_pages_drop(pairs, threads * sizeof *pairs);
    return operations_each * threads;
}
