/* variants: default */
/*
 * What the default profile's thread cache does beyond ptmalloc's (M-10): blocks above 1040 bytes, aligned ones, and a
 * bound on the bytes of all of them. That a block came from the cache is seen by its address: an arena would have
 * merged it.
 */
#include "mech_maps.h"
#include "mech_opaque.h"

#include <pthread.h>
#include <quarry/malloc.h>

enum { K = 1024 };

/* A block between two that stay, so that nothing merges with it; freed, it lies in the thread's cache. */
static char *kept(size_t alignment, size_t size)
{
    void *wall[2];
    wall[0] = malloc(2000);
    char *p = aligned_alloc(alignment, size);
    wall[1] = malloc(2000);
    QT_CHECK(wall[0] && p && wall[1]);
    free(p);
    return p;
}

QTEST("a block that the thread keeps serves a request for up to a quarter less, and no smaller one (M-10)")
{
    for (size_t size = 2048; size <= 16 * K; size += 1500) {
        char *p = kept(16, size), *little = malloc(size / 2), *other = malloc(size - size / 8);
        QT_CHECKF(little != p, "%zu bytes hold a request for half of it", size);
        QT_CHECKF(other == p, "a block of %zu bytes did not serve %zu", size, size - size / 8);
    }
}

QTEST_X("a block of each size up to tcache_max is kept, and serves the next request for as much (M-10, M-42)",
        .env = "QUARRY_CONF=decay:0") /* a tick empties the stacks */
{
    for (size_t size = 1100; size <= 32 * K; size += size % 1024 ? 1024 - size % 1024 : 340) {
        char *p[2] = {malloc(size), malloc(size)};
        for (int i = 0; i < 2; i++)
            free(p[i]); /* an arena would have made one of them */
        QT_CHECKF(malloc(size) == p[1] && malloc(size) == p[0], "%zu bytes", size);
    }
}

QTEST("an aligned request is served by an aligned block that the thread keeps, also by a larger one (M-10)")
{
    char *p = kept(4096, 8 * K);
    QT_CHECK(aligned_alloc(4096, 8 * K) == p);
    free(p);
    QT_CHECK(aligned_alloc(4096, 7 * K) == p);
    free(p);
    QT_CHECK(aligned_alloc(4096, 4 * K) != p);
}

QTEST("a larger block that is not aligned does not serve an aligned request (M-10)")
{
    char *p = kept(16, 9 * K);
    if ((uintptr_t)p % 4096 == 0)
        QT_SKIP("this one happens to be");
    char *q = aligned_alloc(4096, 8 * K);
    QT_EQ((uintptr_t)q % 4096, 0);
}

QTEST("what a thread keeps of medium blocks is bounded, whatever sizes it frees (M-10)")
{
    enum { COUNT = 4000 };
    static char *blocks[COUNT];
    size_t bytes = 0;
    int count = 0;
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    for (size_t size = 1100; size < 30 * K; size += size / 16) {
        for (size_t had = 0; had < 50 * K && count < COUNT; had += size) {
            blocks[count++] = malloc(size);
            bytes += size;
        }
    }
    while (count-- > 0)
        free(blocks[count]);
    /* Most of it is merged again, and holds larger blocks. */
    uintptr_t end = brk_end();
    for (size_t had = 0; had < bytes / 2; had += 100 * K)
        QT_CHECK(malloc(100 * K));
    QT_CHECKF(brk_end() - end < bytes / 4, "the break moved by %zu of %zu that were free", brk_end() - end,
              bytes);
}

/* How many of `count` blocks, freed in no order of their addresses, come again last freed first: those on the stack. */
static int come_again(size_t size, int count)
{
    void *blocks[512];
    for (int i = 0; i < count; i++)
        blocks[i * 89 % count] = malloc(size);
    for (int i = 0; i < count; i++)
        free(blocks[i]);
    int again = 0;
    while (again < count && malloc(size) == blocks[count - 1 - again])
        again++;
    return again;
}

QTEST(
    "a thread that takes and frees many blocks in turns keeps them; one that seldom does so does not (M-10)")
{
    enum { COUNT = 400 };
    static void *blocks[COUNT];
    for (int times = 1; times <= 3; times++) {
        int soon = come_again(48, COUNT);
        QT_CHECKF(soon <= 64, "%d blocks lay on the stack when it was done %d times", soon, times);
    }
    for (int turn = 0; turn < 30; turn++) {
        for (int i = 0; i < COUNT; i++)
            blocks[i] = malloc(48);
        for (int i = 0; i < COUNT; i++)
            free(blocks[i]);
    }
    int again = come_again(48, COUNT);
    QT_CHECKF(again > 300, "%d of %d blocks lay on the stack", again, COUNT);
}

static void take_and_free_in_turns(size_t size)
{
    enum { COUNT = 200 };
    static void *blocks[COUNT];
    for (int turn = 0; turn < 20; turn++) {
        for (int i = 0; i < COUNT; i++)
            blocks[i] = malloc(size);
        for (int i = 0; i < COUNT; i++)
            free(blocks[i]);
    }
}

QTEST(
    "who takes and frees many medium blocks in turns keeps them, and they make way for others before the heap grows (M-10)")
{
    enum { COUNT = 200, SIZE = 5000, OTHER = 20 * K };
    static void *blocks[COUNT];
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
    for (int times = 1; times <= 2; times++) {
        int soon = come_again(SIZE, COUNT);
        QT_CHECKF(soon <= 32, "%d blocks lay on the stack when it was done %d times", soon, times);
    }
    take_and_free_in_turns(SIZE);
    int again = come_again(SIZE, COUNT);
    QT_CHECKF(again > 150, "%d of %d blocks lay on the stack", again, COUNT);
    for (int i = 0; i < COUNT; i++)
        blocks[i] = malloc(SIZE);
    for (int i = 0; i < COUNT; i++)
        free(blocks[i]);
    uintptr_t end = brk_end();
    size_t had = 0;
    for (; had < COUNT * SIZE * 3 / 4; had += OTHER)
        QT_CHECK(malloc(OTHER));
    QT_CHECKF(brk_end() - end < had / 4, "the break moved by %zu for %zu, while %d were free",
              brk_end() - end, had, COUNT * SIZE);
}

/* How many blocks malloc_info says that threads keep. */
static unsigned long said_to_be_kept(void)
{
    char *text = NULL;
    size_t length;
    FILE *stream = open_memstream(&text, &length);
    QT_EQ(malloc_info(0, stream), 0);
    fclose(stream);
    const char *figure = strstr(text, "<total type=\"tcache\" count=\"");
    QT_CHECK(figure);
    unsigned long count = strtoul(strpbrk(strstr(figure, "count"), "0123456789"), NULL, 10);
    free(text);
    return count;
}

QTEST_X("however many blocks a thread keeps, malloc_info counts them (M-10, M-41)",
        .env = "QUARRY_CONF=decay:0")
{
    take_and_free_in_turns(5000);
    unsigned long kept = said_to_be_kept();
    QT_CHECKF(kept > 150, "%lu blocks", kept);
}

QTEST_X("while the heap grows by small blocks, a thread gives back what it keeps of others (M-10, M-23)",
        .env = "QUARRY_CONF=decay:1000000")
{
    take_and_free_in_turns(5000);
    unsigned long before = said_to_be_kept();
    for (int i = 0; i < 200000; i++)
        QT_CHECK(malloc(100));
    unsigned long kept = said_to_be_kept();
    QT_CHECKF(before > 150 && kept < before / 2, "%lu blocks before, %lu after", before, kept);
}

QTEST_X("who takes and frees many page-aligned blocks in turns keeps them (M-05, M-10)",
        .env = "QUARRY_CONF=decay:0")
{
    enum { COUNT = 50, SIZE = 20000 };
    char *blocks[COUNT];
    for (int turn = 0; turn < 20; turn++) {
        for (int i = 0; i < COUNT; i++)
            blocks[i] = aligned_alloc(4096, SIZE);
        for (int i = 0; i < COUNT; i++)
            free(blocks[i]);
    }
    unsigned long kept = said_to_be_kept();
    QT_CHECKF(kept > COUNT * 3 / 4, "%lu blocks", kept);
}

enum { PIECE = 120 * K };

/* So many pieces side by side, used before and just freed. */
static char *freed(int pieces)
{
    char *p[10];
    for (int i = 0; i < pieces; i++) {
        p[i] = malloc(PIECE);
        memset(p[i], 1, PIECE);
    }
    QT_CHECK(malloc(PIECE)); /* what stays keeps them out of top */
    for (int i = 0; i < pieces; i++)
        free(p[i]);
    return p[0];
}

/* As a free chunk of the arena's, which no thread keeps. */
static char *used_before(int pieces)
{
    char *from = freed(pieces);
    QT_CHECK(malloc(2 << 20)); /* none of them serves it, so the thread keeps none */
    return from;
}

/* Of blocks that follow each other: what the next takes. */
static ptrdiff_t stride(size_t size)
{
    return (ptrdiff_t)((size + 8 + 15) / 16 * 16);
}

QTEST("who asks for one size again and again has some more of it at hand (M-10)")
{
    enum { SIZE = 2176, COUNT = 8 };
    char *from = used_before(1), *p[COUNT];
    for (int i = 0; i < COUNT; i++)
        p[i] = malloc(SIZE);
    char *other = malloc(9000), *next = malloc(SIZE);
    QT_EQ(p[0], from);
    for (int i = 1; i < COUNT; i++)
        QT_EQ(p[i] - p[i - 1], stride(SIZE));
    QT_EQ(next - p[COUNT - 1], stride(SIZE));
    QT_CHECKF(other > next && other < from + PIECE, "at %td", other - from);
}

QTEST("who asks for a few sizes by turns has some more of each (M-10)")
{
    enum { SIZES = 6, TURNS = 5 };
    char *from = used_before(1), *last[SIZES], *next[SIZES];
    for (int turn = 0; turn < TURNS; turn++) {
        for (int i = 0; i < SIZES; i++)
            last[i] = malloc(1100 + (size_t)i * 400);
    }
    char *other = malloc(9000);
    for (int i = 0; i < SIZES; i++)
        next[i] = malloc(1100 + (size_t)i * 400);
    for (int i = 0; i < SIZES; i++)
        QT_CHECKF(last[i] >= from && next[i] < other && next[i] > last[i],
                  "size %d: %td, then %td, other %td", i, last[i] - from, next[i] - from, other - from);
}

QTEST("a large block that was just freed serves the next request for as much, or a little less (M-10)")
{
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    for (size_t size = 40 * K; size <= 512 * K; size += size / 3) {
        char *p = malloc(size), *q = malloc(size);
        free(p);
        free(q); /* an arena would have made one of them */
        QT_CHECKF(malloc(size) == q && malloc(size - size / 20) == p, "%zu bytes", size);
        free(p);
        QT_CHECKF(malloc(size / 2) != p, "%zu bytes hold a request for half of it", size);
    }
}

QTEST("a large block serves an aligned request if it is as aligned, and no other (M-05, M-10)")
{
    char *p = aligned_alloc(4096, 100 * K), *q = aligned_alloc(4096, 100 * K);
    free(p);
    free(q); /* an arena would have made one of them */
    QT_CHECK(aligned_alloc(4096, 100 * K) == q && aligned_alloc(4096, 100 * K) == p);
    free(p);
    QT_EQ(malloc(100 * K), p);
    do {
        p = malloc(60 * K);
        QT_CHECK(malloc(1200)); /* between it and the next */
    } while ((uintptr_t)p % 4096 == 0);
    free(p);
    QT_EQ((uintptr_t)aligned_alloc(4096, 60 * K) % 4096, 0);
}

QTEST(
    "large blocks of a thread are in nobody's way: for one that none of them serves they are merged (M-06, M-10)")
{
    enum { PIECES = 3 };
    char *from = freed(PIECES);
    QT_EQ(malloc(PIECES * PIECE - K), from);
}

QTEST("before the heap grows for a medium block, a thread's large ones are merged (M-06, M-10)")
{
    enum { PIECES = 3, SIZE = 10000 };
    freed(PIECES);
    uintptr_t end = brk_end();
    size_t had = 0, top = 160 * K;
    for (; had < PIECES * PIECE / 2 + top; had += SIZE)
        QT_CHECK(malloc(SIZE));
    QT_CHECKF(brk_end() == end, "the break moved by %zu for %zu bytes", brk_end() - end, had);
}

static char *large[6];

static void *free_large(void *unused)
{
    free(large[0]);
    QT_CHECK(malloc(PIECE) != large[0]);
    return unused;
}

QTEST("a large block that another thread frees is not that thread's to keep (M-10, M-32)")
{
    pthread_t other;
    large[0] = malloc(PIECE);
    QT_CHECK(malloc(1200)); /* between it and top */
    QT_EQ(pthread_create(&other, NULL, free_large, NULL), 0);
    QT_EQ(pthread_join(other, NULL), 0);
    QT_EQ(malloc(PIECE), large[0]);
}

QTEST_X("what a thread keeps of large blocks is bounded, by their number and their bytes (M-10)",
        .env = "QUARRY_CONF=decay:0")
{
    static const size_t sizes[] = {40 * K, 400 * K};
    for (int s = 0; s < 2; s++) {
        char *p[6], *again[6];
        int kept = 0;
        mallopt(M_MMAP_THRESHOLD, 32 << 20);
        for (int i = 0; i < 6; i++)
            p[i] = malloc(sizes[s]);
        QT_CHECK(malloc(1200)); /* between the last and top */
        for (int i = 0; i < 6; i++)
            free(p[i]); /* those that are not kept become one, and come again from its start */
        for (int i = 0; i < 6; i++) {
            again[i] = malloc(sizes[s]);
            kept += kept == i && again[i] == p[5 - i];
        }
        QT_CHECKF(kept == (s ? 2 : 4), "%d blocks of %zu bytes", kept, sizes[s]);
    }
}

QTEST("aligned blocks lie side by side, with nothing in front of each (M-05)")
{
    enum { COUNT = 20 };
    for (size_t alignment = 32; alignment <= 128; alignment *= 2) {
        char *before = aligned_alloc(alignment, 3000);
        for (int i = 0; i < COUNT; i++) {
            char *p = aligned_alloc(alignment, 3000);
            QT_EQ(p - before, (ptrdiff_t)malloc_usable_size(before) + 8);
            QT_CHECKF(malloc_usable_size(p) < 3000 + 3000 / 8, "%zu bytes for 3000", malloc_usable_size(p));
            before = p;
        }
    }
}

QTEST("a block that is aligned to more than a part of its size is not larger for that (M-05)")
{
    char *p = aligned_alloc(4096, 9000), *q = aligned_alloc(512, 2000);
    QT_CHECK(p && q);
    QT_CHECKF(malloc_usable_size(p) < 9000 + 9000 / 8, "%zu bytes for 9000", malloc_usable_size(p));
    QT_CHECKF(malloc_usable_size(q) < 2000 + 2000 / 8, "%zu bytes for 2000", malloc_usable_size(q));
}

QTEST("who asks for aligned blocks again and again has some more at hand (M-05, M-10)")
{
    char *from = used_before(1), *last = NULL;
    for (int i = 0; i < 8; i++)
        last = aligned_alloc(64, 3000);
    char *other = malloc(9000), *next = aligned_alloc(64, 3000);
    QT_CHECKF(last >= from && next < other && next > last, "last at %td, next %td, other %td", last - from,
              next - from, other - from);
}

QTEST("who asks for many sizes gets no more than he asked for, also the second time (M-10)")
{
    char *at = used_before(8);
    for (int turn = 0; turn < 2; turn++) {
        for (size_t size = 1152; size < 16 * K; size += size / 16) {
            char *p = malloc(size);
            QT_CHECKF(p == at, "%zu bytes: %td behind the last", size, p - at);
            at = p + malloc_usable_size(p) + 8;
        }
    }
}

QTEST("of what was never used a thread has no more at hand than it asked for (M-10, M-24)")
{
    enum { SIZE = 2176, COUNT = 8 };
    char *p = NULL;
    for (int i = 0; i < COUNT; i++)
        p = malloc(SIZE);
    char *other = malloc(9000);
    QT_EQ(other - p, stride(SIZE));
}

QTEST_X("of more blocks of a size than a thread keeps, those that it freed last serve it (M-10)",
        .env = "QUARRY_CONF=decay:0")
{
    enum { SIZE = 1200, COUNT = 600 };
    static char *p[COUNT];
    /* From here on not the bytes of all are the bound, but the blocks of a size. */
    take_and_free_in_turns(5000);
    for (int i = 0; i < COUNT; i++) {
        p[i] = malloc(SIZE);
        QT_CHECK(malloc(1500)); /* nothing merges */
    }
    for (int i = 0; i < COUNT; i++)
        free(p[i]);
    for (int i = COUNT; i-- > COUNT - 100;)
        QT_CHECKF(malloc(SIZE) == p[i], "block %d", i);
}

enum { HANDED = 8, HANDED_SIZE = 2176 };

static void *free_backwards(void *blocks)
{
    for (int i = HANDED; i-- > 0;)
        free(((char **)blocks)[i]);
    return NULL;
}

QTEST("what others free of a thread's medium blocks comes back to it as it was (M-10, M-32)")
{
    char *p[HANDED];
    pthread_t other;
    for (int i = 0; i < HANDED; i++)
        p[i] = malloc(HANDED_SIZE); /* side by side: merged, they would come in this order again */
    QT_EQ(pthread_create(&other, NULL, free_backwards, p), 0);
    QT_EQ(pthread_join(other, NULL), 0);
    for (int i = HANDED; i-- > 0;)
        QT_CHECKF(malloc(HANDED_SIZE) == p[i], "block %d", i);
}

QTEST("blocks that change their size again and again do not leave the heap full of holes (M-06, M-10)")
{
    enum { COUNT = 3000 };
    static char *blocks[COUNT];
    unsigned seed = 1;
    size_t live = 0;
    uintptr_t start = brk_end();
    for (int step = 0; step < 200000; step++) {
        seed = seed * 1103515245 + 12345;
        char **block = &blocks[seed / 65536 % COUNT];
        seed = seed * 1103515245 + 12345;
        size_t size = (size_t)256 << (seed / 65536 % 7);
        size += seed / 16384 % size;
        live -= *block ? malloc_usable_size(*block) : 0;
        if (*block && step % 2 == 0) {
            free(*block);
            *block = NULL;
        }
        *block = realloc(*block, size);
        live += malloc_usable_size(*block);
    }
    QT_CHECKF(brk_end() - start < live + live / 3, "%zu bytes of blocks in %zu of heap", live,
              brk_end() - start);
}

QTEST("a block made much smaller is a block of its new size, with what it held (M-40)")
{
    char *p = malloc(6000), *behind = malloc(6000);
    memset(p, 'x', 6000);
    p = realloc(p, 100);
    QT_CHECK(p && behind && malloc_usable_size(p) < 200);
    for (int i = 0; i < 100; i++)
        QT_EQ(p[i], 'x');
}

QTEST("blocks that a thread frees are kept from the first on, last freed first (M-10)")
{
    char *p[6];
    for (int i = 0; i < 6; i++)
        p[i] = malloc(2000);
    for (int i = 0; i < 6; i++)
        free(p[i]); /* side by side: an arena would have made one of them */
    for (int i = 5; i >= 0; i--)
        QT_CHECKF(malloc(2000) == p[i], "block %d", i);
}

static size_t distinct_pages(char *const *blocks, int count)
{
    size_t pages = 0;
    for (int i = 0; i < count; i++) {
        bool seen = false;
        for (int j = 0; j < i; j++)
            seen |= (uintptr_t)blocks[i] / PAGE == (uintptr_t)blocks[j] / PAGE;
        pages += !seen;
    }
    return pages;
}

QTEST(
    "a little of every size touches a third of the pages that the sizes have; a size that is used has its own (M-10, M-24)")
{
    enum { SIZES = 62, MUCH = 40 };
    char *p[SIZES], *much[MUCH];
    for (int i = 0; i < SIZES; i++)
        p[i] = malloc(24 + (size_t)i * 16);
    QT_CHECKF(distinct_pages(p, SIZES) <= 20, "%zu pages", distinct_pages(p, SIZES));
    for (int i = 0; i < MUCH; i++)
        much[i] = malloc(40);
    QT_CHECK(malloc_usable_size(much[MUCH - 1]) < malloc_usable_size(much[0]));
    QT_EQ(much[MUCH - 1] - much[MUCH - 2], 48);
}

QTEST_X("with the largest tcache_count there are slots for all that a thread keeps of every size (M-10)",
        .env = "QUARRY_CONF=tcache_count:256")
{
    enum { COUNT = 3000, TURNS = 20 };
    static char *blocks[COUNT];
    for (size_t size = 8; size <= 8200; size += size < 256 ? 16 : size < 1000 ? 60 : 900) {
        size_t count = size < 1000 ? COUNT : 200;
        for (int turn = 0; turn < TURNS; turn++) {
            for (size_t i = 0; i < count; i++) {
                blocks[i] = malloc(size);
                memset(blocks[i], (int)i, size);
            }
            for (size_t i = 0; i < count; i++) {
                QT_EQ(blocks[i][0], (char)i);
                QT_EQ(blocks[i][size - 1], (char)i);
                free(blocks[i]);
            }
        }
    }
}

QTEST_MAIN
