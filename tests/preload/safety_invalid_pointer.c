/*
 * A pointer that was never handed out is refused with a message, whatever it is and whichever function it is given to
 * (M-50). Nothing is read that cannot be read.
 */
/* timeout: 120 */
#include "mech_heap.h"
#include "safety.h"

#include <pthread.h>

enum function { FREE, REALLOC, USABLE, FUNCTIONS };

struct bug {
    void *p;
    enum function function;
};

static void give(const void *arg)
{
    const struct bug *b = arg;
    safety->named = b->p;
    if (b->function == FREE)
        free(again(b->p));
    else if (b->function == REALLOC)
        realloc(again(b->p), 100);
    else
        malloc_usable_size(again(b->p));
}

static void refused_as(const char *re, void *p, const char *what, size_t n)
{
    for (int f = FREE; f < FUNCTIONS; f++) {
        struct bug b = {p, (enum function)f};
        dies(give, &b, re, "%s, %zu (function %d)", what, n, f);
    }
}

static void refused(void *p, const char *what)
{
    refused_as(INVALID, p, what, 0);
}

static char some_global[256] = "global", zero_global[256];
static const char constant[64] = "constant";

QTEST("pointers to stack, globals, functions and the C library's data are refused (M-50)")
{
    _Alignas(16) char on_stack[256];
    free(malloc(100));
    memset(on_stack, 0x21, sizeof on_stack);
    for (size_t d = 0; d <= 32; d += 4) {
        refused(on_stack + d, "stack");
        refused(some_global + d, "data");
        refused(zero_global + d, "bss");
        refused((char *)(uintptr_t)constant + d, "constant");
    }
    refused((void *)(uintptr_t)refused, "function");
    refused((void *)(uintptr_t)abs, "library function");
    refused(stdout, "library data");
    refused(&errno, "thread-local");
    refused(getenv("LD_PRELOAD"), "environment");
    refused(qt_argv, "arguments");
    safety_done();
}

QTEST("wild pointers are refused, not followed (M-50)")
{
    static const uintptr_t wild[] = {0x1,
                                     0x8,
                                     0xf,
                                     0x10,
                                     0x18,
                                     0x20,
                                     0x1000,
                                     0x10010,
                                     0xdeadbeef000,
                                     0xdeadbeefdeadbee0,
                                     0x4141414141414140,
                                     0x4141414141414141,
                                     0x7fffffffe000,
                                     0x7ffffffff010,
                                     0x800000000000,
                                     0x1000000000000,
                                     0xffff800000000000,
                                     0xffffffff81000000,
                                     0xfffffffffffffff0,
                                     0xffffffffffffffff};
    free(malloc(100));
    for (size_t i = 0; i < sizeof wild / sizeof *wild; i++)
        refused((void *)wild[i], "wild");
    for (unsigned bit = 12; bit < 64; bit++)
        refused((void *)(((uintptr_t)1 << bit) + 16), "one bit");
    safety_done();
}

QTEST("pointers into mappings that are not Quarry's are refused (M-50)")
{
    free(malloc(100));
    char *map = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *none = mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t at = 0; at < 1 << 20; at += 100016) {
        refused(map + at, "mapping");
        refused(none + at, "mapping that cannot be read");
    }
    words(map)[1] = 0x1000 | 2 | 1;
    refused(map + 16, "mapping made up like a block");
    safety_done();
}

QTEST("pointers into a block, and to its end, are refused at every size (M-50)")
{
    for_sizes(n)
    {
        char *p = malloc(n);
        QT_CHECK(p);
        size_t usable = malloc_usable_size(p);
        static const size_t inside[] = {1, 2, 4, 7, 8, 15, 16, 24, 32, 48, 64, 4096, 65536};
        memset(p, 0x31, n);
        for (size_t i = 0; i < sizeof inside / sizeof *inside; i++)
            if (inside[i] < usable)
                refused_as(INVALID, p + inside[i], "inside", n);
        refused_as(INVALID, p + usable / 2 / 16 * 16 + 8, "the middle", n);
        refused_as(INVALID, p - 1, "before", n);
        refused_as(INVALID, p - 8, "the size word", n);
        if (usable % 4096 != 0)
            refused_as(INVALID, p + usable, "the end", n);
        free(p);
    }
    safety_done();
}

/* Whatever the program writes where the size words would be, 8 bytes off a 16-byte boundary no block begins. */
QTEST("a misaligned pointer is refused, with forged headers around it, too (M-50)")
{
    static const size_t sizes[] = {100, 2000, 40000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t *p = NULL, *next = malloc(sizes[i]), tries = 100;
        do {
            p = next;
            next = malloc(sizes[i]);
        } while ((char *)next != (char *)p + (p[-1] & ~(size_t)15) && --tries);
        if (!tries)
            continue; /* cells: their headers are no sizes */
        p[0] = p[-1];
        next[0] = next[-1];
        refused_as(INVALID, p + 1, "forged headers", sizes[i]);
    }
    safety_done();
}

/* From p on to the end of its run: of this size, one block was ever handed out. Chunks of others may lie anywhere. */
QTEST("where no block was handed out yet, none is found (M-50)")
{
    if (qt_conf_has("classic:true") || qt_conf_has("run_max:0"))
        QT_SKIP("no runs");
    static const size_t sizes[] = {328, 616, 904, 1016};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t n = sizes[i];
        char *p = malloc(n), *end = (char *)(((uintptr_t)p | 0xffff) + 1);
        size_t step = malloc_usable_size(p) + 8;
        for (char *at = p + step; at < end; at += at < p + 20 * step ? step : 11 * step)
            refused_as(FREED_BEFORE, at, "not handed out", n);
        for (char *at = p + step + 16; at < p + 4 * step; at += 16)
            refused_as(FREED_BEFORE, at, "not handed out", n);
    }
    safety_done();
}

/* The thread has had no block of this size, so nothing of its own says how one looks. */
static void *ask_behind(void *p)
{
    char *end = (char *)(((uintptr_t)p | 0xffff) + 1);
    size_t step = malloc_usable_size(p) + 8;
    for (char *at = (char *)p + step; at < end; at += step)
        refused_as(FREED_BEFORE, at, "not handed out, another thread's size", step - 8);
    return p;
}

QTEST("where no block was handed out yet, a thread finds none that never had one of that size (M-50)")
{
    for (size_t n = 64; n <= 8192; n *= 2) {
        char *p = NULL;
        for (int i = 0; i < 40; i++)
            QT_CHECK(p = malloc(n));
        if (in_brk(p))
            continue; /* no cell */
        pthread_t t;
        QT_CHECK(pthread_create(&t, NULL, ask_behind, p) == 0);
        pthread_join(t, NULL);
    }
    safety_done();
}

/* Behind the last block, to the end of the mapping and over it. */
QTEST("the ends of Quarry's own memory are refused (M-50)")
{
    static const size_t sizes[] = {100, 5000, 60000, 300000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *p = malloc(sizes[i]);
        struct vma v = vma_of(p);
        for (long d = -64; d <= 64; d += 8)
            refused_as(FREED_BEFORE, (char *)v.end + d, "end of memory", sizes[i]);
        for (long d = -64; d < 16; d += 8)
            refused_as(FREED_BEFORE, (char *)v.start + d, "start of memory", sizes[i]);
        refused_as(FREED_BEFORE, (char *)v.end + 65536, "beyond", sizes[i]);
        refused_as(FREED_BEFORE, (char *)v.end + (64 << 20), "far beyond", sizes[i]);
    }
    safety_done();
}

/* Address space of a thread's arena that no memory is in yet. */
static void *ask_beyond(void *arg)
{
    char *p = malloc(5000), *base = (char *)((uintptr_t)p & -HEAP_BYTES);
    struct vma v = vma_of(p);
    for (long d = -64; d <= 64; d += 8)
        refused_as(FREED_BEFORE, (char *)v.end + d, "the end of what is used", 5000);
    for (char *at = base + HEAP_BYTES - 16; at > (char *)v.end; at -= HEAP_BYTES / 9 / 16 * 16)
        refused_as(FREED_BEFORE, at, "reserved", 5000);
    return arg;
}

QTEST("what a thread's arena has only reserved is refused, not read (M-32, M-50)")
{
    pthread_t t;
    QT_CHECK(pthread_create(&t, NULL, ask_beyond, NULL) == 0);
    pthread_join(t, NULL);
    safety_done();
}

/* ------------------------------------------------- memory that was given back */

enum { MANY = 2000 };
static char *block[MANY];

static void check_given_back(size_t n, int count)
{
    for (int i = 0; i < count; i++)
        QT_CHECK(block[i] = malloc(n));
    for (int i = 0; i < count; i++)
        free(block[i]);
    malloc_trim(0);
    for (int i = 0; i < count; i += count / 20)
        refused_as(FREED_BEFORE, block[i], "given back", n);
}

QTEST("blocks whose memory was given back are refused (M-23, M-50)")
{
    static const size_t sizes[] = {16, 100, 1000, 3000, 20000, 100000, 300000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        check_given_back(sizes[i], sizes[i] > 10000 ? 200 : MANY);
    safety_done();
}

/* More than a sub-heap holds: all but the first are given back. */
static void *ask_what_was_a_subheap(void *arg)
{
    enum { BLOCKS = 3400 };
    static char *chunk[BLOCKS];
    for (int i = 0; i < BLOCKS; i++)
        QT_CHECK(chunk[i] = malloc(60000));
    for (int i = 0; i < BLOCKS; i++)
        free(chunk[i]);
    malloc_trim(0);
    for (int i = 0; i < BLOCKS; i += BLOCKS / 50)
        refused_as(FREED_BEFORE, chunk[i], "of a sub-heap", 60000);
    return arg;
}

QTEST("blocks of sub-heaps that were given back are refused (M-32, M-50)")
{
    pthread_t t;
    QT_CHECK(pthread_create(&t, NULL, ask_what_was_a_subheap, NULL) == 0);
    pthread_join(t, NULL);
    safety_done();
}

enum { CELLS = 200000 };

/* Before it says no, Quarry gives back what it can. */
static char **unmapped_cells(void)
{
    char **cell = heap_private(CELLS * sizeof *cell);
    for (int i = 0; i < CELLS; i++)
        cell[i] = malloc(200);
    for (int i = 0; i < CELLS; i++)
        free(cell[i]);
    QT_CHECK(!malloc((size_t)1 << 46));
    return cell;
}

QTEST("blocks whose address space was given back are refused (M-25, M-50)")
{
    char **cell = unmapped_cells();
    for (int i = 0; i < CELLS; i += CELLS / 50)
        refused_as(FREED_BEFORE, cell[i], "unmapped", 200);
    safety_done();
}

/* In the very process that gave it back, which has freed nothing since. */
QTEST_DEATH("who gave address space back reads none of it (M-25, M-50)", SIGABRT, "^quarry: ")
{
    free(unmapped_cells()[CELLS - 100]);
}

QTEST_MAIN
