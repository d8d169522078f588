/*
 * A load of which everything is a parameter, for those that `./dev bench --random` draws. Each of threads= has slots=
 * blocks of least= to most= bytes, uniform in their logarithm, and replaces them in an order=: random, queue, stack, or
 * batch (all are taken, then all freed). Of 100 replacements, resize= are a realloc; of 100 blocks, zeroed= come from
 * calloc and aligned= from posix_memalign; of 100 that are freed, handed= change places with one of any thread's first.
 * write=0 touches the ends only.
 */
#include "bench.h"

enum { BOXES = 1024, ALIGNMENTS = 8 };

static struct sizes sizes;
static size_t slots;
static uint64_t operations, resized, zeroed_part, aligned_part, handed;
static bool write_all;
static void *_Atomic boxes[BOXES];

struct own {
    struct rng r;
    void **live;
    uint64_t left;
};

static bool one_of(struct own *o, uint64_t in_100)
{
    return in_100 && rng_below(&o->r, 100) < in_100;
}

static void *written(void *block, size_t size)
{
    if (!block)
        die("malloc");
    if (write_all)
        touch(block, size);
    unsigned char *bytes = block;
    bytes[size - 1] = TAG;
    bytes[0] = TAG; /* for give() */
    return block;
}

static void *take_some(struct own *o, size_t size)
{
    void *block = NULL;
    if (one_of(o, aligned_part)) {
        if (posix_memalign(&block, (size_t)16 << rng_below(&o->r, ALIGNMENTS), size))
            die("posix_memalign");
    } else {
        block = one_of(o, zeroed_part) ? calloc(1, size) : malloc(size);
    }
    return written(block, size);
}

static void drop(struct own *o, void **slot)
{
    if (*slot && one_of(o, handed))
        *slot = atomic_exchange(&boxes[rng_below(&o->r, BOXES)], *slot);
    give(*slot);
    *slot = NULL;
}

static void replace(struct own *o, void **slot)
{
    size_t size = sizes_pick(&sizes, &o->r);
    if (*slot && one_of(o, resized)) {
        *slot = written(realloc(*slot, size), size);
    } else {
        drop(o, slot);
        *slot = take_some(o, size);
    }
    o->left -= o->left > 0;
}

static void at_random(struct own *o)
{
    while (o->left)
        replace(o, &o->live[rng_below(&o->r, slots)]);
}

static void as_queue(struct own *o)
{
    for (size_t at = 0; o->left; at = at + 1 == slots ? 0 : at + 1)
        replace(o, &o->live[at]);
}

static void as_stack(struct own *o)
{
    for (size_t depth = 0; o->left;) {
        size_t climb = 1 + rng_below(&o->r, 64), unwind = rng_below(&o->r, 64);
        for (; climb && depth < slots; climb--)
            replace(o, &o->live[depth++]);
        for (; unwind && depth; unwind--)
            drop(o, &o->live[--depth]);
    }
}

static void in_batches(struct own *o)
{
    while (o->left) {
        for (size_t i = 0; i < slots; i++)
            replace(o, &o->live[i]);
        for (size_t i = 0; i < slots; i++)
            drop(o, &o->live[i]);
    }
}

static void (*in_order)(struct own *);

static void member(unsigned index)
{
    struct own o = {{index + 1}, own_pages(slots * sizeof(void *)), operations};
    in_order(&o);
    for (size_t i = 0; i < slots; i++)
        give(o.live[i]);
    own_pages_drop(o.live, slots * sizeof(void *));
}

static void order_of_params(void)
{
    static const struct {
        const char *name;
        void (*run)(struct own *);
    } orders[] = {{"random", at_random}, {"queue", as_queue}, {"stack", as_stack}, {"batch", in_batches}};
    const char *name = param_text("order", "random");
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++)
        if (!strcmp(orders[i].name, name))
            in_order = orders[i].run;
    if (!in_order)
        die("order= is random, queue, stack or batch");
}

uint64_t random_load(void)
{
    sizes_of_params(&sizes, "log", 16, 4096);
    order_of_params();
    unsigned threads = (unsigned)param("threads", 1);
    slots = param("slots", 1000);
    if (!slots || !threads)
        die("slots= and threads= are at least 1");
    operations = scaled("ops", 1000000);
    resized = param("resize", 0);
    zeroed_part = param("zeroed", 0);
    aligned_part = param("aligned", 0);
    handed = param("handed", 0);
    write_all = param("write", 1);
    threads_run(threads, member);
    for (unsigned i = 0; i < BOXES; i++)
        give(boxes[i]);
    return operations * threads;
}
