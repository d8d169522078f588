/* not: musl */
/*
 * Neighbours: memory that the program itself takes at the borders of the allocator's, by sbrk, brk and mmap, before
 * its first request, between requests and from other threads (M-20). The allocator must neither use it nor be stopped
 * by it. glibc 2.36 passes every case.
 */
#include "stress_blocks.h"

enum { K = 1024, M = 1024 * K };

struct region {
    unsigned char *p;
    size_t n;
    unsigned char mark;
};

enum { REGIONS_MAX = 16384 };
static struct region regions[REGIONS_MAX];
static int region_count;

/* Memory of the program's own, filled with a mark that must stay. */
static void region_add(void *p, size_t n)
{
    QT_CHECK(region_count < REGIONS_MAX);
    struct region *r = &regions[region_count++];
    *r = (struct region){p, n, (unsigned char)(region_count * 37 + 1)};
    memset(p, r->mark, n);
}

static void regions_verify(void)
{
    for (int i = 0; i < region_count; i++) {
        size_t bad = pattern_other_byte(regions[i].p, regions[i].n, regions[i].mark);
        QT_CHECKF(bad == regions[i].n, "the program's own memory %p + %zu was written", (void *)regions[i].p,
                  bad);
    }
}

static void apart_from_regions(const struct block *b)
{
    for (int i = 0; i < region_count; i++)
        QT_CHECK(b->p + b->n <= regions[i].p || b->p >= regions[i].p + regions[i].n);
}

enum { SLOTS = 400 };
static struct block slots[SLOTS];

/* Takes, resizes and frees many blocks, some hundred KiB to some MiB in all. */
static void churn(struct rng *r, int steps, size_t largest)
{
    for (int i = 0; i < steps; i++) {
        struct block *b = &slots[rng_below(r, SLOTS)];
        size_t n = block_size(r, largest);
        if (!b->p)
            QT_CHECK(block_make(b, n, r));
        else if (rng_one_in(r, 4))
            QT_CHECK(block_resize(b, n));
        else
            block_drop(b);
        if (b->p && i % 8 == 0)
            apart_from_regions(b);
    }
}

static void done(void)
{
    for (int i = 0; i < SLOTS; i++)
        block_drop(&slots[i]);
    malloc_trim(0);
    regions_verify();
}

/* --------------------------------------------------------------- sbrk */

QTEST("sbrk by the program between requests, of any size, aligned or not (M-20)")
{
    struct rng r = rng_seeded(1);
    for (int i = 0; i < 300; i++) {
        size_t n = 1 + rng_below(&r, 20000);
        void *p = sbrk((intptr_t)n);
        QT_CHECK(p != (void *)-1);
        region_add(p, n);
        churn(&r, 60, 100 * K);
    }
    done();
}

QTEST("sbrk up and down again by the program between requests (M-20)")
{
    struct rng r = rng_seeded(2);
    for (int i = 0; i < 300; i++) {
        size_t n = 1 + rng_below(&r, 300000);
        char *p = sbrk((intptr_t)n);
        QT_CHECK(p != (void *)-1);
        memset(p, 0x55, n);
        QT_EQ((uintptr_t)sbrk(-(intptr_t)n), (uintptr_t)p + n);
        QT_EQ((uintptr_t)sbrk(0), (uintptr_t)p);
        churn(&r, 60, 100 * K);
    }
    done();
}

QTEST("sbrk up, requests, then down again as far as the program's own part allows (M-20)")
{
    struct rng r = rng_seeded(3);
    for (int i = 0; i < 200; i++) {
        size_t n = 8192 + rng_below(&r, 100000);
        char *p = sbrk((intptr_t)n);
        QT_CHECK(p != (void *)-1);
        memset(p, 0x55, n);
        churn(&r, 40, 60 * K);
        if (sbrk(0) == p + n)
            sbrk(-4096); /* nobody has taken more: the program gives back of its own */
        churn(&r, 40, 60 * K);
        region_add(p, n - 4096);
    }
    done();
}

static void exhaust_top_after_odd_break(void)
{
    struct rng r = rng_seeded(4);
    churn(&r, 6000, 100 * K);
    done();
}

/* Runs before the allocator of the main program has been asked for anything much, in a fresh image. */
QTEST_X("a break moved before the first requests, to an odd address (M-20)", .env = "KERNEL_BORDER=odd")
{
    void *p = sbrk(13);
    region_add(p, 13);
    exhaust_top_after_odd_break();
}

QTEST_X("a break moved far up before the first requests (M-20)", .env = "KERNEL_BORDER=far")
{
    void *p = sbrk(64 * M);
    region_add(p, 64 * M);
    exhaust_top_after_odd_break();
}

QTEST("brk itself, instead of sbrk, moves the break as well (M-20)")
{
    struct rng r = rng_seeded(5);
    for (int i = 0; i < 100; i++) {
        char *end = sbrk(0);
        QT_EQ(brk(end + 10001), 0);
        region_add(end, 10001);
        churn(&r, 60, 100 * K);
    }
    done();
}

static void *mover(void *stop)
{
    struct rng r = rng_seeded(6);
    int own = 0;
    while (!*(volatile bool *)stop && own < 1000) {
        size_t n = 1 + rng_below(&r, 9000);
        void *p = sbrk((intptr_t)n);
        QT_CHECK(p != (void *)-1);
        memset(p, 0x66, n);
        own++;
        usleep(200);
    }
    return NULL;
}

/*
 * sbrk is not thread-safe, so a program that does this takes its chances; but it must not be the allocator that makes
 * a break out of two halves. Only upward moves, and only the allocator's blocks are looked at.
 */
QTEST("heaps of threads do not care who moves the break (M-20, M-32)")
{
    struct rng r = rng_seeded(7);
    bool stop = false;
    pthread_t t = thread_start(mover, &stop);
    for (int i = 0; i < SLOTS; i++)
        QT_CHECK(block_make(&slots[i], 200 * K + rng_below(&r, 100 * K), &r));
    stop = true;
    thread_end(t);
    done();
}

/* --------------------------------------------------------------- mmap */

/* A page of the program's own at exactly this address, if it is free. */
static bool wall_at(uintptr_t at)
{
    void *p = mmap((void *)at, PAGE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (p == MAP_FAILED)
        return false;
    QT_EQ((uintptr_t)p, at);
    region_add(p, PAGE);
    return true;
}

QTEST("a mapping exactly at the end of the break stops the break, not the heap (M-20)")
{
    struct rng r = rng_seeded(8);
    churn(&r, 500, 60 * K);
    QT_CHECK(wall_at(page_up((uintptr_t)sbrk(0))));
    churn(&r, 10000, 200 * K);
    done();
    churn(&r, 5000, 200 * K);
    done();
}

QTEST("a mapping some pages above the break stops it there (M-20)")
{
    struct rng r = rng_seeded(9);
    churn(&r, 500, 60 * K);
    QT_CHECK(wall_at(page_up((uintptr_t)sbrk(0)) + 10 * PAGE));
    churn(&r, 10000, 200 * K);
    done();
}

/* Walls on both sides of every mapping that holds a block, as far as there is room. */
static int wall_in(void)
{
    int walls = 0;
    for (int i = 0; i < SLOTS; i++) {
        if (!slots[i].p)
            continue;
        struct vma v = vma_of(slots[i].p);
        QT_CHECK(v.start && v.writable);
        walls += wall_at(v.end);
        walls += wall_at(v.start - PAGE);
    }
    return walls;
}

QTEST("mappings at every border of the heap's memory, main thread (M-20, M-21)")
{
    struct rng r = rng_seeded(10);
    int walls = 0;
    for (int round = 0; round < 12; round++) {
        churn(&r, 1500, 300 * K);
        walls += wall_in();
    }
    QT_CHECK(walls > 0);
    done();
}

static void *walled_thread(void *context)
{
    struct rng r = rng_seeded(11);
    (void)context;
    for (int round = 0; round < 12; round++) {
        churn(&r, 1500, 300 * K);
        wall_in();
    }
    done();
    return NULL;
}

QTEST("mappings at every border of the heap's memory, another thread (M-32)")
{
    thread_end(thread_start(walled_thread, NULL));
}

QTEST("pages just above a block that mremap would grow into are not overrun (M-21)")
{
    struct rng r = rng_seeded(12);
    for (int i = 0; i < 50; i++) {
        struct block b;
        QT_CHECK(block_make(&b, 1 * M + rng_below(&r, 1 * M), &r));
        struct vma v = vma_of(b.p);
        wall_at(v.end);
        for (int k = 0; k < 4; k++) {
            QT_CHECK(block_resize(&b, b.n * 2));
            apart_from_regions(&b);
        }
        block_drop(&b);
        regions_verify();
    }
}

QTEST_MAIN
