/* variants: default run_max0 */
/*
 * Huge pages (decision 0015): asked for where memory is used throughout, and never where it is sparse, even when the
 * kernel would make them unasked. Looked at through the kernel's own record, /proc/self/smaps.
 */
#include "mech_maps.h"

#include <quarry/malloc.h>

#include <sys/syscall.h>

enum { K = 1024, M = 1024 * K, HUGE_PAGE = 2 * M };

/*
 * The clock that the allocator reads to see whether a huge page comes slowly: it stands still, or runs far ahead, so
 * that no machine decides how a case ends.
 */
static enum { REAL, STILL, AHEAD } pace;

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static struct timespec held;
    if (clock != CLOCK_THREAD_CPUTIME_ID || pace == REAL)
        return (int)syscall(SYS_clock_gettime, clock, now);
    held.tv_sec += pace == AHEAD;
    *now = held;
    return 0;
}

/* What the kernel was told of a mapping: "hg" yes, "nh" no; or nothing. */
enum advice { NOTHING, HUGE_YES, HUGE_NO };

struct told {
    struct vma where;
    enum advice advice;
};

static struct told told_of(const void *address)
{
    struct told t = {vma_of(address), NOTHING};
    char start[32];
    static char line[4096];
    snprintf(start, sizeof start, "%08lx-", (unsigned long)t.where.start);
    FILE *smaps = fopen("/proc/self/smaps", "r");
    QT_CHECK(smaps);
    bool here = false;
    while (fgets(line, sizeof line, smaps)) {
        here |= strncmp(line, start, strlen(start)) == 0;
        if (here && strncmp(line, "VmFlags:", 8) == 0) {
            t.advice = strstr(line, " hg") ? HUGE_YES : strstr(line, " nh") ? HUGE_NO : NOTHING;
            break;
        }
    }
    fclose(smaps);
    return t;
}

/* Whether a kernel that makes huge pages unasked would make one here. */
static bool may_become_huge(struct told t)
{
    uintptr_t first = (t.where.start + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1);
    return t.advice != HUGE_NO && first + HUGE_PAGE <= t.where.end;
}

static void need_a_kernel_with_huge_pages(void)
{
    char *p = mmap(NULL, 2 * HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    QT_CHECK(p != MAP_FAILED);
    if (madvise(p, 2 * HUGE_PAGE, MADV_HUGEPAGE) != 0)
        QT_SKIP("this kernel has no transparent huge pages");
    munmap(p, 2 * HUGE_PAGE);
}

static void need_runs(void)
{
    char *p = malloc(100);
    QT_CHECK(p);
    if ((uintptr_t)p >> 45) /* the zone lies below */
        QT_SKIP("small blocks are chunks here");
    free(p);
}

/* So many bytes of small blocks, filled; all but one in `kept` of them free again. Returns the last. */
static void *fill(size_t bytes, size_t size, int kept)
{
    pace = pace == REAL ? STILL : pace;
    size_t count = bytes / size;
    void **blocks =
        mmap(NULL, count * sizeof *blocks, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    QT_CHECK(blocks != MAP_FAILED);
    for (size_t i = 0; i < count; i++) {
        blocks[i] = malloc(size);
        QT_CHECK(blocks[i]);
        memset(blocks[i], 1, size);
    }
    for (size_t i = 0; i + 1 < count; i++) {
        if (i % (size_t)kept)
            free(blocks[i]);
    }
    pace = REAL;
    return blocks[count - 1];
}

QTEST("a small heap has no huge pages, even where the kernel makes them unasked")
{
    need_a_kernel_with_huge_pages();
    need_runs();
    QT_CHECK(!may_become_huge(told_of(malloc(100))));
    void *last = NULL;
    for (int step = 0; step < 10; step++) {
        last = fill(1 * M, 100 + 100 * (size_t)step, 1);
        QT_CHECKF(!may_become_huge(told_of(last)), "after %d MiB", step + 1);
    }
}

QTEST_X("a heap of small blocks that are in use grows by huge pages", .env = "QUARRY_CONF=decay:0,huge:true")
{
    need_a_kernel_with_huge_pages();
    need_runs();
    struct told t = told_of(fill(64 * M, 500, 1));
    QT_EQ(t.advice, HUGE_YES);
    QT_EQ(t.where.start % HUGE_PAGE, 0);
}

QTEST_X("a heap whose first huge page comes slowly has no more of them",
        .env = "QUARRY_CONF=decay:0,huge:true")
{
    need_a_kernel_with_huge_pages();
    need_runs();
    pace = AHEAD;
    void *last = fill(64 * M, 500, 1);
    QT_CHECK(!may_become_huge(told_of(last)));
}

QTEST_X("no huge pages without huge:true", .env = "QUARRY_CONF=decay:0")
{
    need_a_kernel_with_huge_pages();
    need_runs();
    QT_CHECK(!may_become_huge(told_of(fill(64 * M, 500, 1))));
}

QTEST_X("a heap that is mostly free grows by small pages", .env = "QUARRY_CONF=decay:0,huge:true")
{
    need_a_kernel_with_huge_pages();
    need_runs();
    fill(64 * M, 1000, 60);
    malloc_trim(0);
    void *last = fill(16 * M, 500, 1);
    struct told t = told_of(last);
    QT_CHECKF(t.advice == HUGE_NO, "told %d at %p", t.advice, last);
}

QTEST_X("threads that use a little of each size do not make a heap dense",
        .env = "QUARRY_CONF=decay:0,huge:true")
{
    need_a_kernel_with_huge_pages();
    need_runs();
    /* A page of each run: as many threads with a block of each class would have. */
    long before = qt_rss_kib();
    for (int round = 0; round < 40; round++) {
        for (size_t size = 24; size <= 1016; size += 16)
            memset(malloc(size), 1, size);
    }
    QT_CHECKF(qt_rss_kib() - before < 4 * K, "%ld KiB for %d", qt_rss_kib() - before, 40 * 63 / 2);
}

QTEST_X("what was made huge is told no more once it was touched, so that what goes back stays away (M-23)",
        .env = "QUARRY_CONF=huge:true")
{
    need_a_kernel_with_huge_pages();
    need_runs();
    void *last = fill(64 * M, 500, 1);
    double end = qt_seconds() + 2.5;
    while (qt_seconds() < end) {
        for (size_t size = 2000; size < 20000; size += 100)
            free(malloc(size));
    }
    QT_EQ(told_of(last).advice, HUGE_NO);
}

QTEST_X("what a huge page brought along and nobody uses goes back (M-23)",
        .env = "QUARRY_CONF=decay:0,huge:true")
{
    need_a_kernel_with_huge_pages();
    need_runs();
    char *last = fill(64 * M, 500, 1);
    pace = STILL;
    do
        last = malloc(500);
    while (((uintptr_t)last & (HUGE_PAGE - 1)) < 128 * K || ((uintptr_t)last & (HUGE_PAGE - 1)) > M);
    char *rest = last + 128 * K;
    size_t bytes = HUGE_PAGE - ((uintptr_t)rest & (HUGE_PAGE - 1));
    if (resident_pages_inside(rest, bytes) == 0)
        QT_SKIP("the kernel had no huge page");
    malloc_trim(0);
    QT_EQ(resident_pages_inside(rest, bytes), 0);
    memset(last, 2, 500);
    QT_EQ(last[499], 2);
}

/* ---- large blocks ---- */

static char *large(size_t bytes, bool filled)
{
    pace = pace == REAL ? STILL : pace;
    char *p = malloc(bytes);
    QT_CHECK(p);
    if (filled)
        memset(p, 1, bytes);
    else
        p[0] = p[bytes - 1] = 1;
    return p;
}

QTEST_X("once a huge page came slowly, no large block has any (M-21)", .env = "QUARRY_CONF=huge:true")
{
    need_a_kernel_with_huge_pages();
    pace = AHEAD;
    for (int i = 0; i < 3; i++) {
        char *p = large(40 * M, true);
        QT_CHECK(told_of(p + HUGE_PAGE).advice != HUGE_YES);
        free(p);
    }
    pace = STILL;
    QT_CHECK(told_of(large(40 * M, true) + HUGE_PAGE).advice != HUGE_YES);
}

QTEST_X("one that came slowly among others is a chance, and the block small (M-21)",
        .env = "QUARRY_CONF=huge:true")
{
    need_a_kernel_with_huge_pages();
    free(large(40 * M, true));
    for (int round = 0; round < 4; round++) {
        char *p = large(40 * M, true);
        QT_EQ(told_of(p + HUGE_PAGE).advice, HUGE_YES);
        free(p);
        pace = AHEAD;
        p = large(40 * M, true);
        QT_CHECK(told_of(p + HUGE_PAGE).advice != HUGE_YES);
        free(p);
        pace = STILL;
    }
}

QTEST_X("a large block is huge when the last one like it was filled, and not when it was not (M-21)",
        .env = "QUARRY_CONF=huge:true")
{
    need_a_kernel_with_huge_pages();
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < (round ? 9 : 1); i++) /* where blocks were sparse, one in eight is looked at */
            free(large(40 * M, true));
        char *like = large(40 * M, true), *other = malloc(160 * M);
        QT_EQ(told_of(like + HUGE_PAGE).advice, HUGE_YES);
        QT_EQ(((uintptr_t)like - 16) % HUGE_PAGE, 0);
        QT_CHECK(told_of(other + HUGE_PAGE).advice != HUGE_YES);
        free(like);
        free(other);
        free(large(40 * M, false));
        like = malloc(40 * M);
        QT_CHECK(told_of(like + HUGE_PAGE).advice != HUGE_YES);
        free(like);
    }
}

QTEST_X("a large block is huge when the last one like it is there and filled (M-21)",
        .env = "QUARRY_CONF=huge:true")
{
    need_a_kernel_with_huge_pages();
    char *first = large(40 * M, true), *second = large(40 * M, false), *third = malloc(40 * M);
    QT_CHECK(told_of(first + HUGE_PAGE).advice != HUGE_YES);
    QT_EQ(told_of(second + HUGE_PAGE).advice, HUGE_YES);
    QT_CHECK(told_of(third + HUGE_PAGE).advice != HUGE_YES);
    QT_CHECKF(resident_pages_inside(second, 40 * M) * PAGE < 5 * M,
              "of a block of which two bytes were written");
}

QTEST_X("a large block of the heap is huge until it is freed (M-20)", .env = "QUARRY_CONF=decay:0,huge:true")
{
    QT_GLIBC_ONLY("the break does not move");
    need_a_kernel_with_huge_pages();
    mallopt(M_MMAP_THRESHOLD, 32 * M);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    char *first = large(10 * M, true), *like = large(10 * M, true), *wall = malloc(2000);
    QT_CHECK(in_brk(first) && in_brk(like) && wall);
    QT_CHECK(told_of(first + 4 * M).advice != HUGE_YES);
    QT_EQ(told_of(like + 4 * M).advice, HUGE_YES);
    QT_CHECK(told_of(like - 1).advice != HUGE_YES);
    QT_CHECK(told_of(wall).advice != HUGE_YES);
    free(like);
    QT_EQ(told_of(like + 4 * M).advice, HUGE_NO);
}

QTEST_X("a filled large block costs the memory it asked for and no more", .env = "QUARRY_CONF=huge:true")
{
    need_a_kernel_with_huge_pages();
    free(large(35 * M + 5 * K, true));
    long before = qt_rss_kib();
    char *p = large(35 * M + 5 * K, true);
    long grew = qt_rss_kib() - before;
    QT_CHECKF(grew < 35 * K + 512, "%ld KiB", grew);
    free(p);
    QT_CHECKF(qt_rss_kib() - before < 512, "%ld KiB are left", qt_rss_kib() - before);
}

QTEST("no large block is huge without huge:true")
{
    free(large(40 * M, true));
    char *p = large(40 * M, true);
    QT_CHECK(told_of(p + HUGE_PAGE).advice != HUGE_YES);
    free(p);
}

QTEST_X("the classic profile asks for no huge page", .env = "QUARRY_CONF=classic:true")
{
    for (int i = 0; i < 3; i++) {
        char *p = large(40 * M, true);
        QT_EQ(told_of(p + HUGE_PAGE).advice, NOTHING);
        free(p);
    }
}

QTEST_MAIN
