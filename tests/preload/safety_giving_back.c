/*
 * Giving memory back (M-23) believes neither links nor sizes that a program wrote over: no page of a live block, or of
 * anybody else's, is emptied (M-50).
 */
/* timeout: 120 */
#include "safety_attack.h"

enum { PAGES = 16, N = 70000, COUNT = 20 };

static char *block[COUNT];
static unsigned char *foreign; /* a mapping that Quarry knows nothing of */

static void check_foreign(void)
{
    for (size_t i = 256; i < PAGES * 4096; i++)
        QT_CHECKF(foreign[i] == 0x77, "byte %zu of a foreign mapping became %#x", i, foreign[i]);
}

static void check_blocks(int free_one)
{
    for (int i = 0; i < COUNT; i++)
        for (size_t k = 0; i != free_one && k < N; k++)
            QT_CHECKF(block[i][k] == (char)(i + 1), "byte %zu of live block %d became %#x", k, i,
                      block[i][k]);
}

static bool mapped; /* the blocks are mappings of their own, and one that was freed is gone */

/* One block of many is in a bin; it has pages to give back. */
static int free_one(void)
{
    for (int i = 0; i < COUNT; i++) {
        QT_CHECK(block[i] = malloc(N));
        memset(block[i], i + 1, N);
    }
    mapped = words(block[7])[-1] & 2;
    free(block[7]);
    return 7;
}

/* malloc_trim, or the clock's turn: calls for small blocks, a second apart. */
static void let_time_pass(bool trim)
{
    if (trim) {
        malloc_trim(0);
        return;
    }
    static char *small[4000];
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 4000; i++)
            small[i] = malloc(100);
        for (int i = 0; i < 4000; i++)
            free(small[i]);
        usleep(1050 * 1000);
    }
}

struct bug {
    bool trim;
    int word;
};

static void link_into_foreign(const void *arg)
{
    const struct bug *b = arg;
    foreign = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(foreign, 0x77, PAGES * 4096);
    memset(foreign, 0, 64);
    words(foreign)[1] = (PAGES - 1) * 4096 | 1;
    int f = free_one();
    if (mapped)
        return;
    words(foreign)[2] = words(block[f])[0]; /* the walk finds its way back */
    words(foreign)[3] = words(block[f])[1];
    words(block[f])[b->word] = (size_t)foreign;
    alarm(8); /* a walk that never ends is harm, too */
    let_time_pass(b->trim);
    check_foreign();
    QT_EQ(words(foreign)[1], (PAGES - 1) * 4096 | 1);
    check_blocks(f);
}

/* The block before the free one is written past its end: the free one seems to hold the next, live, one. */
static void size_over_live(const void *arg)
{
    const struct bug *b = arg;
    int f = free_one();
    if (mapped)
        return;
    char *end = block[f - 1] + malloc_usable_size(block[f - 1]);
    words(end)[0] = 3 * ((malloc_usable_size(block[f - 1]) + 8) & ~(size_t)15) | 1;
    let_time_pass(b->trim);
    check_blocks(f);
}

static void check(safety_bug *bug, bool trim)
{
    for (int word = 0; word < 2; word++) {
        struct bug b = {trim, word};
        does_no_harm(bug, &b, "word %d", word);
    }
    safety_done();
}

QTEST("a link that was written over is not followed by malloc_trim (M-23, M-50)")
{
    check(link_into_foreign, true);
}

QTEST("a link that was written over is not followed when time gives memory back (M-23, M-50)")
{
    check(link_into_foreign, false);
}

QTEST("a size that was written over gives no live pages back by malloc_trim (M-23, M-50)")
{
    check(size_over_live, true);
}

QTEST("a size that was written over gives no live pages back when time does it (M-23, M-50)")
{
    check(size_over_live, false);
}

QTEST_MAIN
