/*
 * quarry_walk in the own process: what it says of blocks that we hold, and that it neither allocates nor touches errno.
 */
/* variants: default classic run_max0 notcache onearena tiny */
#include "qtest.h"

#include <dlfcn.h>
#include <quarry/malloc.h>
#include <quarry/walk.h>

static unsigned char memory[QUARRY_WALK_MEMORY] __attribute__((aligned(QUARRY_WALK_ALIGNMENT)));

struct question {
    uint64_t mem;
    bool chunk, cell, mapped;
    uint64_t usable;
    unsigned findings;
};

static void see_chunk(void *context, const struct quarry_chunk *c)
{
    struct question *q = context;
    if (c->at + 16 == q->mem && c->state == QUARRY_CHUNK_IN_USE) {
        q->chunk = true;
        q->usable = c->size - 8;
    }
}

static void see_mapped(void *context, const struct quarry_mapped *b)
{
    struct question *q = context;
    if (b->mem == q->mem) {
        q->mapped = true;
        q->usable = b->size - 16;
    }
}

static void see_run(void *context, const struct quarry_run *r)
{
    struct question *q = context;
    if (!r->owner || q->mem < r->at + r->first || q->mem >= r->at + 65536)
        return;
    uint64_t offset = q->mem - r->at - r->first, i = offset / r->stride, bit = (uint64_t)1 << (i % 64);
    if (offset % r->stride || i >= r->cells || !r->headers_read)
        return;
    if ((r->available[i / 64] & bit) &&
        !((r->free[i / 64] | r->remote[i / 64] | r->headers_free[i / 64]) & bit)) {
        q->cell = true;
        q->usable = r->stride - 8;
    }
}

static void see_finding(void *context, const struct quarry_finding *f)
{
    ((struct question *)context)->findings++;
    fprintf(stderr, "%s: %#llx: %s\n", f->check, (unsigned long long)f->address, f->text);
}

static struct question ask(void *mem)
{
    static const struct quarry_visitor visitor = {
        .chunk = see_chunk, .mapped = see_mapped, .run = see_run, .finding = see_finding};
    struct question q = {.mem = (uint64_t)(uintptr_t)mem};
    enum quarry_walk_status (*walk)(const struct quarry_walk *) =
        (__typeof__(walk))dlsym(RTLD_DEFAULT, "quarry_walk");
    struct quarry_walk w = {
        .read = (quarry_read *)dlsym(RTLD_DEFAULT, "quarry_read_self"),
        .layout = (uint64_t)(uintptr_t)dlsym(RTLD_DEFAULT, "quarry_layout"),
        .visitor = &visitor,
        .visitor_context = &q,
        .memory = memory,
        .memory_bytes = sizeof memory,
    };
    QT_CHECK(walk && w.read && w.layout);
    errno = EDOM;
    QT_EQ(walk(&w), QUARRY_WALK_DONE);
    QT_EQ(errno, EDOM);
    return q;
}

static const size_t sizes[] = {0, 1, 24, 100, 1000, 1016, 1017, 5000, 100000, 1000000};

QTEST("a block in use is seen as one, with what it can hold")
{
    void *blocks[sizeof sizes / sizeof sizes[0]];
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        blocks[i] = malloc(sizes[i]);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct question q = ask(blocks[i]);
        QT_EQ(q.chunk + q.cell + q.mapped, 1);
        QT_EQ(q.usable, malloc_usable_size(blocks[i]));
        QT_EQ(q.findings, 0);
    }
}

QTEST("a freed block is not")
{
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        void *block = malloc(sizes[i]), *keep = malloc(sizes[i]);
        free(block);
        struct question q = ask(block);
        QT_CHECK(!q.chunk && !q.cell && !q.mapped);
        QT_EQ(q.findings, 0);
        free(keep);
    }
}

QTEST("a block that lies deep in a stack is seen as free")
{
    enum { COUNT = 400 };
    static void *blocks[COUNT];
    for (int turn = 0; turn < 30; turn++) {
        for (int i = 0; i < COUNT; i++)
            blocks[i] = malloc(48);
        for (int i = 0; i < COUNT; i++)
            free(blocks[i]);
    }
    for (int i = 0; i < COUNT; i += 50) {
        struct question q = ask(blocks[i]);
        QT_CHECK(!q.chunk && !q.cell && !q.mapped);
        QT_EQ(q.findings, 0);
    }
}

QTEST("a walk allocates nothing")
{
    free(malloc(100)); /* dlsym may allocate when it is first called */
    ask(NULL);
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < 10; i++)
        ask(NULL);
    QT_EQ(mallinfo2().uordblks, before);
}

QTEST("damage is a finding, and the walk goes on")
{
    char *first = malloc(3000), *second = malloc(3000), *third = malloc(200000);
    size_t *size = (size_t *)second - 1, was = *size;
    *size = 0x4141414141414141;
    struct question q = ask(third);
    QT_CHECK(q.findings > 0);
    QT_EQ(q.chunk + q.mapped, 1);
    *size = was;
    QT_EQ(ask(first).findings, 0);
}

QTEST("a descriptor that is none, and too little memory, are refused")
{
    struct quarry_visitor nothing = {0};
    enum quarry_walk_status (*walk)(const struct quarry_walk *) =
        (__typeof__(walk))dlsym(RTLD_DEFAULT, "quarry_walk");
    struct quarry_walk w = {.read = (quarry_read *)dlsym(RTLD_DEFAULT, "quarry_read_self"),
                            .layout = (uint64_t)(uintptr_t)memory,
                            .visitor = &nothing,
                            .memory = memory,
                            .memory_bytes = sizeof memory};
    QT_EQ(walk(&w), QUARRY_WALK_NO_LAYOUT);
    w.layout = 16;
    QT_EQ(walk(&w), QUARRY_WALK_NO_LAYOUT);
    w.memory_bytes = 1000;
    QT_EQ(walk(&w), QUARRY_WALK_MEMORY_TOO_SMALL);
}

QTEST_MAIN
