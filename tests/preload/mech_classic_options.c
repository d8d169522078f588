/* not: musl */
/* variants: classic */
/*
 * glibc's own knobs, by what they do to the heap: MALLOC_* in the environment, GLIBC_TUNABLES, mallopt (M-41, M-42).
 * glibc 2.36 passes every case.
 */
#include "mech_heap.h"

#include <pthread.h>

enum { K = 1024, PAD = 128 * K, MINSIZE = 32 };

static void leave_little_top(void)
{
    use_up_bins();
    char *p = malloc(2000);
    while (top_bytes_after(p) > 30000)
        p = malloc(3000);
}

/* How far the break moves for a request that top cannot serve, less what that request itself needs of it. */
static size_t pad_of_growth(void)
{
    leave_little_top();
    char *p = malloc(2000);
    size_t top = top_bytes_after(p);
    uintptr_t brk = brk_end();
    malloc(60000);
    size_t moved = brk_end() - brk, own = chunk_for(60000) + MINSIZE - top;
    QT_CHECK(moved >= own);
    return page_down(moved - own);
}

/* --------------------------------------------------------------- thresholds */

static void threshold_is_70000(void)
{
    leave_little_top();
    char *below = malloc(request_for(70000) - 16);
    QT_CHECK(!(head_of(below) & M_BIT));
    leave_little_top();
    char *at = malloc(request_for(70000));
    QT_CHECK(head_of(at) & M_BIT);
    char *large = malloc(1000 * K);
    free(large); /* set by hand: stays */
    QT_CHECK(head_of(malloc(500 * K)) & M_BIT);
}

QTEST_X("MALLOC_MMAP_THRESHOLD_ sets the mmap threshold and freezes it (M-42, M-22)",
        .env = "MALLOC_MMAP_THRESHOLD_=70000")
{
    threshold_is_70000();
}

QTEST_X("glibc.malloc.mmap_threshold sets the mmap threshold and freezes it (M-42, M-22)",
        .env = "GLIBC_TUNABLES=glibc.malloc.mmap_threshold=70000")
{
    threshold_is_70000();
}

QTEST_X("mallopt(M_MMAP_THRESHOLD) sets the mmap threshold and freezes it (M-41, M-22)", .env = FRESH)
{
    QT_EQ(mallopt(M_MMAP_THRESHOLD, 70000), 1);
    threshold_is_70000();
}

static void top_stays_up_to_4m(void)
{
    leave_little_top();
    char *blocks[60];
    for (int i = 0; i < 60; i++)
        blocks[i] = malloc(100 * K);
    uintptr_t brk = brk_end();
    for (int i = 60; i-- > 25;)
        free(blocks[i]);
    QT_EQ(brk_end(), brk);
    for (int i = 25; i-- > 10;)
        free(blocks[i]);
    QT_CHECK(brk_end() < brk);
}

QTEST_X("MALLOC_TRIM_THRESHOLD_ sets what top may hold (M-42, M-23)", .env = "MALLOC_TRIM_THRESHOLD_=4194304")
{
    top_stays_up_to_4m();
}

QTEST_X("glibc.malloc.trim_threshold sets what top may hold (M-42, M-23)",
        .env = "GLIBC_TUNABLES=glibc.malloc.trim_threshold=4194304")
{
    top_stays_up_to_4m();
}

QTEST_X("mallopt(M_TRIM_THRESHOLD) sets what top may hold (M-41, M-23)", .env = FRESH)
{
    QT_EQ(mallopt(M_TRIM_THRESHOLD, 4194304), 1);
    top_stays_up_to_4m();
}

QTEST_X("mallopt(M_TRIM_THRESHOLD, -1) turns trimming off (M-41, M-23)", .env = FRESH)
{
    QT_EQ(mallopt(M_TRIM_THRESHOLD, -1), 1);
    leave_little_top();
    char *blocks[200];
    for (int i = 0; i < 200; i++)
        blocks[i] = malloc(100 * K);
    uintptr_t brk = brk_end();
    for (int i = 200; i-- > 0;)
        free(blocks[i]);
    QT_EQ(brk_end(), brk);
}

/* --------------------------------------------------------------- top_pad */

QTEST_X("without a word of it top_pad is 128 KiB (M-20)", .env = FRESH)
{
    QT_EQ(pad_of_growth(), PAD);
}

QTEST_X("MALLOC_TOP_PAD_ sets top_pad (M-42, M-20)", .env = "MALLOC_TOP_PAD_=1048576")
{
    QT_EQ(pad_of_growth(), 1048576);
}

QTEST_X("glibc.malloc.top_pad sets top_pad (M-42, M-20)",
        .env = "GLIBC_TUNABLES=glibc.malloc.top_pad=1048576")
{
    QT_EQ(pad_of_growth(), 1048576);
}

QTEST_X("a tunable may be written in hexadecimal (M-42)",
        .env = "GLIBC_TUNABLES=glibc.malloc.top_pad=0x100000")
{
    QT_EQ(pad_of_growth(), 1048576);
}

QTEST_X(
    "several tunables are separated by colons, foreign and unknown ones among them are no matter (M-42)",
    .env =
        "GLIBC_TUNABLES=glibc.rtld.optional_static_tls=1024:glibc.malloc.nonsense=3:glibc.malloc.top_pad=1048576:"
        "glibc.malloc.mmap_threshold=70000")
{
    QT_EQ(pad_of_growth(), 1048576);
    threshold_is_70000();
}

/* --------------------------------------------------------------- mmap_max */

static void at_most_two_mappings(void)
{
    leave_little_top();
    char *a = malloc(300 * K), *b = malloc(300 * K), *c = malloc(300 * K);
    QT_CHECK(head_of(a) & M_BIT && head_of(b) & M_BIT && !(head_of(c) & M_BIT));
}

QTEST_X("MALLOC_MMAP_MAX_ limits the mappings (M-42, M-21)", .env = "MALLOC_MMAP_MAX_=2")
{
    at_most_two_mappings();
}

QTEST_X("glibc.malloc.mmap_max limits the mappings (M-42, M-21)",
        .env = "GLIBC_TUNABLES=glibc.malloc.mmap_max=2")
{
    at_most_two_mappings();
}

QTEST_X("MALLOC_MMAP_MAX_=0 turns mappings off (M-42, M-21)", .env = "MALLOC_MMAP_MAX_=0")
{
    QT_CHECK(!(head_of(malloc(8 << 20)) & M_BIT));
}

/* --------------------------------------------------------------- arenas */

static void *thread_block(void *slot)
{
    *(void **)slot = malloc(2000);
    return NULL;
}

static void *block_of_thread(void)
{
    void *p;
    pthread_t t;
    QT_EQ(pthread_create(&t, NULL, thread_block, &p), 0);
    pthread_join(t, NULL);
    return p;
}

QTEST_X("MALLOC_ARENA_MAX=1 keeps every thread in the main arena (M-42, M-31)", .env = "MALLOC_ARENA_MAX=1")
{
    QT_CHECK(is_main_arena(block_of_thread()));
}

QTEST_X("glibc.malloc.arena_max=1 keeps every thread in the main arena (M-42, M-31)",
        .env = "GLIBC_TUNABLES=glibc.malloc.arena_max=1")
{
    QT_CHECK(is_main_arena(block_of_thread()));
}

QTEST_X("mallopt(M_ARENA_MAX, 1) keeps every thread in the main arena (M-41, M-31)", .env = FRESH)
{
    QT_EQ(mallopt(M_ARENA_MAX, 1), 1);
    QT_CHECK(is_main_arena(block_of_thread()));
}

/* --------------------------------------------------------------- fast bins */

QTEST_X("glibc.malloc.mxfast sets the largest fast chunk (M-42, M-11)",
        .env = "GLIBC_TUNABLES=glibc.malloc.mxfast=48:glibc.malloc.tcache_count=0")
{
    use_up_bins();
    char *fast = guarded(40), *not_fast = guarded(72);
    free(fast);
    free(not_fast);
    QT_CHECK(in_use(fast));
    QT_CHECK(!in_use(not_fast));
}

/* --------------------------------------------------------------- perturb */

static void filled_with_5a(void)
{
    use_up_bins();
    unsigned char *p = (unsigned char *)guarded(3000);
    for (int i = 0; i < 3000; i++)
        QT_EQ(p[i], 0x5a ^ 0xff);
    memset(p, 0, 3000);
    free(p);
    for (int i = 32; i < 2992; i++) /* past the links, before the next chunk's prev_size */
        QT_EQ(p[i], 0x5a);
    p = calloc(1, 3000);
    for (int i = 0; i < 3000; i++)
        QT_EQ(p[i], 0);
}

QTEST_X("MALLOC_PERTURB_ fills new and freed blocks, calloc still zeroes (M-42)", .env = "MALLOC_PERTURB_=90")
{
    filled_with_5a();
}

QTEST_X("glibc.malloc.perturb fills new and freed blocks (M-42)",
        .env = "GLIBC_TUNABLES=glibc.malloc.perturb=90")
{
    filled_with_5a();
}

QTEST_X("mallopt(M_PERTURB) fills new and freed blocks (M-41)", .env = FRESH)
{
    QT_EQ(mallopt(M_PERTURB, 90), 1);
    filled_with_5a();
}

/* --------------------------------------------------------------- others */

QTEST_X("MALLOC_CHECK_ is accepted (M-42)", .env = "MALLOC_CHECK_=3")
{
    char *p = malloc(100);
    memset(p, 1, 100);
    free(p);
}

QTEST_X(
    "rubbish in the environment changes nothing (M-42)",
    .env = "MALLOC_TOP_PAD_=rubbish;MALLOC_ARENA_MAX=-;GLIBC_TUNABLES=glibc.malloc.top_pad=:::=glibc.malloc")
{
    char *p = malloc(100), *q = malloc(1 << 20);
    memset(p, 1, 100);
    memset(q, 1, 1 << 20);
    free(p);
    free(q);
}

QTEST_MAIN
