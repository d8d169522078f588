/*
 * Blocks allocated by one thread and freed by another. ring: every thread sends batches to its neighbour and
 * frees what it gets (balanced roles). lopsided: some threads only allocate, others only free (producers=,
 * consumers=).
 */
#include "bench.h"

enum { THREADS_MOST = 64 };

/* A batch is a list through the blocks themselves. */
struct parcel {
    uint64_t tag;
    struct parcel *next;
};

static struct channel channels[THREADS_MOST];
static struct sizes sizes;
static uint64_t batches_each;
static unsigned batch_length, members;

static void *batch_new(struct rng *r)
{
    struct parcel *list = NULL;
    for (unsigned i = 0; i < batch_length; i++) {
        struct parcel *p = take(sizes_pick(&sizes, r));
        p->next = list;
        list = p;
    }
    return list;
}

static void batch_drop(void *batch_list)
{
    for (struct parcel *list = batch_list; list;) {
        struct parcel *next = list->next;
        give(list);
        list = next;
    }
}

static void handover_params(void)
{
    sizes_of_params(&sizes, "power", 16, 2048);
    batch_length = (unsigned)param("batch", 100);
}

static void ring_member(unsigned index)
{
    struct rng r = {index + 1};
    struct channel *out = &channels[(index + 1) % members], *in = &channels[index];
    for (uint64_t i = 0; i < batches_each; i++) {
        channel_put(out, batch_new(&r));
        batch_drop(channel_get(in));
    }
}

uint64_t ring(void)
{
    handover_params();
    members = (unsigned)param("threads", 4);
    if (!members || members > THREADS_MOST)
        die("threads= is 1 to 64");
    for (unsigned i = 0; i < members; i++)
        channel_open(&channels[i]);
    batches_each = scaled("ops", 12000000) / batch_length / members + 1;
    threads_run(members, ring_member);
    return batches_each * members * batch_length;
}

uint64_t lopsided(void)
{
    handover_params();
    return delivery_run(&(struct delivery){1, 3, 8000000, batch_length, batch_new, batch_drop});
}
