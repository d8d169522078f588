/*
 * Memory that the program locked, as those do that keep keys: the kernel does not take it back, nor what lies behind
 * it, but what lies before it is gone by the time it says so. The lock outlives the block.
 */
#include "qtest.h"

#include <quarry/malloc.h>

#include "pattern.h"

enum { COUNT = 20000, SIZE = 100, LOCKED_EVERY = 3000 };

static unsigned char *blocks[COUNT];

static void take(int i)
{
    blocks[i] = malloc(SIZE);
    QT_CHECK(blocks[i]);
    memset(blocks[i], i, SIZE);
}

/* All but every n-th. */
static void give_back(int keep_every)
{
    for (int i = 0; i < COUNT; i++) {
        if (i % keep_every == 0)
            continue;
        free(blocks[i]);
        blocks[i] = NULL;
    }
}

static void take_some_locked(void)
{
    for (int i = 0; i < COUNT; i++)
        take(i);
    for (int i = LOCKED_EVERY / 2; i < COUNT; i += LOCKED_EVERY) {
        if (mlock(blocks[i], SIZE) != 0)
            QT_SKIP("nothing may be locked here");
    }
}

static void take_again(void)
{
    for (int i = 0; i < COUNT; i++) {
        if (!blocks[i])
            take(i);
    }
    for (int i = 0; i < COUNT; i++)
        QT_EQ(pattern_other_byte(blocks[i], SIZE, (unsigned char)i), SIZE);
}

QTEST("where a page of a run is locked, the others can go, and all can be used again (M-23, I-37)")
{
    take_some_locked();
    give_back(400);
    malloc_trim(0);
    take_again();
}

QTEST("so they can where the run is nobody's any more (M-23, I-31)")
{
    take_some_locked();
    give_back(COUNT + 1);
    malloc_trim(0);
    take_again();
    give_back(COUNT + 1);
    malloc_trim(0);
    take_again();
}

QTEST_X("so they can when time gives them back (M-23, I-37)", .env = "QUARRY_CONF=decay:20")
{
    take_some_locked();
    give_back(400);
    for (int i = 0; i < 30 * 64; i++) { /* slow calls, some of which look at the clock */
        free(malloc(200000));
        if (i % 64 == 0)
            usleep(5000);
    }
    take_again();
}

QTEST("what is locked keeps nothing else resident (M-23)")
{
    QT_GLIBC_ONLY("top lies in a sub-heap, where a locked page holds all of it");
    long before = qt_rss_kib();
    take_some_locked();
    long full = qt_rss_kib();
    give_back(COUNT + 1);
    malloc_trim(0);
    QT_CHECK(qt_rss_kib() - before < (full - before) / 2);
}

QTEST_MAIN
