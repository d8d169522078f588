/*
 * mallopt (M-41) and the fill patterns of M_PERTURB: return values and effects as glibc's manual gives them.
 */
#include "heap.h"
#include "pattern.h"
#include "qtest.h"

#include <limits.h>

static void works(void)
{
    for (size_t n = 1; n < 3 * MIB; n = n * 2 + 1) {
        char *p = heap.malloc(n), *q = heap.calloc(1, n);
        QT_CHECK(p && q);
        memset(p, 1, n);
        QT_EQ(pattern_other_byte(q, n, 0), n);
        p = heap.realloc(p, n * 2);
        QT_CHECK(p);
        heap.free(p);
        heap.free(q);
    }
}

QTEST("mallopt accepts every documented parameter with 1, and the heap works on (M-41)")
{
    static const int good[][2] = {
        {M_MXFAST, 0},
        {M_MXFAST, 64},
        {M_MXFAST, 160},
        {M_TRIM_THRESHOLD, 0},
        {M_TRIM_THRESHOLD, 1 << 20},
        {M_TRIM_THRESHOLD, -1},
        {M_TOP_PAD, 0},
        {M_TOP_PAD, 1 << 20},
        {M_MMAP_THRESHOLD, 4096},
        {M_MMAP_THRESHOLD, 1 << 20},
        {M_MMAP_THRESHOLD, 32 << 20},
        {M_MMAP_THRESHOLD, 1 << 30},
        {M_MMAP_THRESHOLD, -1},
        {M_MMAP_MAX, 0},
        {M_MMAP_MAX, 100000},
        {M_MMAP_MAX, INT_MAX},
        {M_CHECK_ACTION, 0},
        {M_CHECK_ACTION, 3},
        {M_CHECK_ACTION, 7},
        {M_PERTURB, 0},
        {M_PERTURB, 255},
        {M_PERTURB, 0},
        {M_ARENA_TEST, 1},
        {M_ARENA_MAX, 1},
        {M_ARENA_MAX, 16},
        {M_ARENA_MAX, INT_MAX},
        {M_ARENA_MAX, -1},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        QT_CHECKF(heap.mallopt(good[i][0], good[i][1]) == 1, "mallopt(%d, %d)", good[i][0], good[i][1]);
        works();
    }
}

QTEST("mallopt refuses M_MXFAST beyond 160 with 0, and nothing changes (M-11, M-41)")
{
    QT_EQ(heap.mallopt(M_MXFAST, 161), 0);
    QT_EQ(heap.mallopt(M_MXFAST, 1 << 20), 0);
    QT_EQ(heap.mallopt(M_MXFAST, -1), 0);
    works();
}

QTEST("mallopt before the first allocation is honoured (M-41)")
{
    QT_EQ(heap.mallopt(M_MMAP_THRESHOLD, 8192), 1);
    works();
}

/* How many mappings of their own the process has: mallinfo2's hblks. */
static size_t mapped(void)
{
    return mallinfo2().hblks;
}

/*
 * Of ten blocks, how many are mapped: a request looks for a mapping only when no free chunk serves it, so blocks that
 * come from an arena are kept, and one that is mapped is given back.
 */
static size_t mapped_of_ten(size_t n)
{
    size_t count = 0;
    for (int i = 0; i < 10; i++) {
        size_t before = mapped();
        void *p = heap.malloc(n);
        QT_CHECK(p);
        if (mapped() == before)
            continue;
        QT_EQ(mapped(), before + 1);
        heap.free(p);
        QT_EQ(mapped(), before);
        count++;
    }
    return count;
}

QTEST("M_MMAP_THRESHOLD decides which requests get a mapping of their own, and stays (M-21, M-22, M-41)")
{
    QT_EQ(heap.mallopt(M_MMAP_THRESHOLD, 64 * 1024), 1);
    for (int round = 0; round < 3; round++) { /* set by hand, it no longer adapts */
        QT_CHECK(mapped_of_ten(70 * 1024) >= 7);
        QT_EQ(mapped_of_ten(50 * 1024), 0);
    }
    QT_EQ(heap.mallopt(M_MMAP_THRESHOLD, 1 << 20), 1);
    QT_EQ(mapped_of_ten(1000 * 1024), 0);
    QT_CHECK(mapped_of_ten(MIB) >= 7);
    QT_EQ(heap.mallopt(M_MMAP_THRESHOLD, 1 << 30), 1); /* further than it rises by itself */
    QT_EQ(mapped_of_ten(33 * MIB), 0);
}

QTEST("M_MMAP_MAX 0 turns mappings of their own off (M-21, M-41)")
{
    QT_EQ(heap.mallopt(M_MMAP_MAX, 0), 1);
    size_t before = mapped();
    char *p = heap.malloc(4 * MIB);
    QT_CHECK(p);
    p[0] = p[4 * MIB - 1] = 1;
    QT_EQ(mapped(), before);
    heap.free(p);
}

QTEST("M_MMAP_MAX bounds the number of mappings of their own (M-21, M-41)")
{
    void *p[10];
    QT_EQ(heap.mallopt(M_MMAP_MAX, 4), 1);
    for (int i = 0; i < 10; i++)
        QT_CHECK(p[i] = heap.malloc(MIB));
    QT_CHECKF(mapped() <= 4, "%zu", mapped());
    for (int i = 0; i < 10; i++)
        heap.free(p[i]);
}

QTEST("the mmap threshold adapts to a freed mapped block unless it was set by hand (M-22)")
{
    if (getenv("MALLOC_MMAP_THRESHOLD_") || qt_conf_has("mmap_threshold") || qt_conf_has("tiny"))
        QT_SKIP("set by hand here");
    size_t before = mapped();
    heap.free(heap.malloc(MIB));
    void *p = heap.malloc(MIB - 8192);
    QT_EQ(mapped(), before);
    heap.free(p);
}

/* ------------------------------------------------- M_PERTURB */

static const size_t perturbed[] = {1, 100, 1000, 1017, 3000, 30000, 100000, 200000, MIB};
enum { PERTURBED = sizeof perturbed / sizeof *perturbed, COPIES = 10 };

static void check_filled(const void *p, size_t n, unsigned char byte)
{
    size_t at = pattern_other_byte(p, n, byte);
    QT_CHECKF(at == n, "byte %zu of %zu is not 0x%02x", at, n, byte);
}

/* Fresh blocks: in glibc what a thread's cache holds from start-up is not filled, so the last of some is
   judged. */
static void check_perturbed_take(unsigned char byte)
{
    for (int i = 0; i < PERTURBED; i++) {
        void *p = NULL;
        for (int k = 0; k < COPIES; k++)
            QT_CHECK(p = heap.malloc(perturbed[i]));
        check_filled(p, perturbed[i], byte ^ 0xff);
        void *q = heap.calloc(1, perturbed[i]);
        check_filled(q, perturbed[i], 0);
    }
}

/* Freed memory is read on purpose, past what the lists keep in it, between two live blocks so that it stays
   mapped. */
static void check_perturbed_free(unsigned char byte)
{
    static const size_t sizes[] = {3000, 30000, 60000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        void *below = heap.malloc(sizes[i]);
        unsigned char *volatile p = heap.malloc(sizes[i]);
        void *above = heap.malloc(sizes[i]);
        memset(p, 0, sizes[i]);
        heap.free(p);
        size_t at = pattern_other_byte(p + 64, sizes[i] - 128, byte);
        QT_CHECKF(at == sizes[i] - 128, "byte %zu of a freed block of %zu", at + 64, sizes[i]);
        heap.free(below);
        heap.free(above);
    }
}

/* Blocks, as malloc_info has them; 0 where it has none, as libc's. */
static size_t in_thread_caches(void)
{
    char *text = NULL;
    size_t length, count = 0;
    FILE *out = open_memstream(&text, &length);
    QT_CHECK(out && malloc_info(0, out) == 0 && fclose(out) == 0);
    const char *line = strstr(text, "<total type=\"tcache\"");
    QT_CHECK(!line || sscanf(line, "<total type=\"tcache\" count=\"%zu\"", &count) == 1);
    heap.free(text);
    return count;
}

QTEST("M_PERTURB fills new blocks with the byte's complement, but not calloc's (M-41)")
{
    QT_EQ(heap.mallopt(M_PERTURB, 0xa5), 1);
    check_perturbed_take(0xa5);
}

QTEST("M_PERTURB fills what a block that realloc moves has more (M-41)")
{
    if (qt_conf_has("mmap_threshold"))
        QT_SKIP("these are mapped, and their pages move");
    QT_EQ(heap.mallopt(M_PERTURB, 0xa5), 1);
    for (int i = 1; i < PERTURBED; i++) {
        unsigned char *p = heap.malloc(perturbed[i]);
        size_t had = heap.malloc_usable_size(p), wanted = had + perturbed[i] + 100;
        heap.malloc(40); /* behind it */
        unsigned char *q = heap.realloc(p, wanted);
        if (q != p && wanted < 128 * 1024) /* glibc leaves some bytes at the end */
            check_filled(q + had, wanted - had - 16, 0x5a);
    }
}

QTEST("M_PERTURB fills blocks that the thread had before, too (M-10, M-41)")
{
    if (!qt_under_quarry())
        QT_SKIP("glibc's thread cache does not fill");
    QT_EQ(heap.mallopt(M_PERTURB, 0xa5), 1);
    for (int round = 0; round < 100; round++)
        for (int i = 0; i < PERTURBED; i++) {
            void *p = heap.malloc(perturbed[i]);
            check_filled(p, perturbed[i], 0x5a);
            memset(p, 0, perturbed[i]);
            heap.free(p);
            p = heap.realloc(heap.malloc(10), perturbed[i]);
            memset(p, 0, perturbed[i]);
            heap.free(p);
        }
}

QTEST(
    "a thread keeps nothing while M_PERTURB is set, and again what it kept before once it is not (M-10, M-41)")
{
    static const size_t some[] = {40, 100, 1000, 2000, 5000, 20000};
    enum { SOME = sizeof some / sizeof *some, EACH = 30 };
    void *blocks[EACH];
    size_t kept[3];
    for (int phase = 0; phase < 3; phase++) {
        QT_EQ(heap.mallopt(M_PERTURB, phase == 1 ? 0xa5 : 0), 1);
        for (int round = 0; round < 5; round++)
            for (int i = 0; i < SOME; i++) {
                for (int k = 0; k < EACH; k++)
                    QT_CHECK((blocks[k] = heap.malloc(some[i])) != NULL);
                for (int k = 0; k < EACH; k++)
                    heap.free(blocks[k]);
            }
        kept[phase] = in_thread_caches();
    }
    QT_EQ(kept[1], 0);
    QT_CHECKF(kept[2] >= kept[0] / 2, "%zu at first, then %zu", kept[0], kept[2]);
}

QTEST("M_PERTURB fills freed blocks with the byte (M-41)")
{
    if (qt_conf_has("mmap_threshold:4096"))
        QT_SKIP("freed blocks are unmapped here");
    QT_EQ(heap.mallopt(M_PERTURB, 0xa5), 1);
    check_perturbed_free(0xa5);
}

QTEST_X("MALLOC_PERTURB_ in the environment fills new blocks (M-42)", .env = "MALLOC_PERTURB_=60")
{
    check_perturbed_take(60);
}

QTEST_X("glibc.malloc.perturb in GLIBC_TUNABLES fills new blocks (M-42)",
        .env = "GLIBC_TUNABLES=glibc.malloc.perturb=61")
{
    check_perturbed_take(61);
}

QTEST_X("MALLOC_MMAP_THRESHOLD_ in the environment decides what is mapped (M-21, M-42)",
        .env = "MALLOC_MMAP_THRESHOLD_=600000;QUARRY_CONF=")
{
    QT_EQ(mapped_of_ten(550000), 0);
    QT_CHECK(mapped_of_ten(650000) >= 7);
}

QTEST_X("glibc.malloc.mmap_threshold in GLIBC_TUNABLES decides what is mapped (M-21, M-42)",
        .env = "GLIBC_TUNABLES=glibc.malloc.mmap_threshold=600000;QUARRY_CONF=")
{
    QT_EQ(mapped_of_ten(550000), 0);
    QT_CHECK(mapped_of_ten(650000) >= 7);
}

QTEST_X("MALLOC_MMAP_MAX_=0 in the environment turns mappings of their own off (M-21, M-42)",
        .env = "MALLOC_MMAP_MAX_=0;QUARRY_CONF=")
{
    QT_EQ(mapped_of_ten(4 * MIB), 0);
}

QTEST_X("QUARRY_CONF decides, whatever glibc's variables say (M-42)",
        .env = "MALLOC_MMAP_THRESHOLD_=100000;QUARRY_CONF=mmap_threshold:600000")
{
    if (!qt_under_quarry())
        QT_SKIP("Quarry's own");
    QT_EQ(mapped_of_ten(550000), 0);
    QT_CHECK(mapped_of_ten(650000) >= 7);
}

QTEST_MAIN
