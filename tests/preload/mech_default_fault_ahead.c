/* variants: default */
/*
 * Faulting ahead (decision 0021): where the heap grows, its pages come several at a time, and no more of them than a
 * share of what is in use. This program's madvise counts them, and can refuse.
 */
#include "mech_maps.h"

#include <quarry/malloc.h>
#include <sys/syscall.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum { K = 1024, M = 1024 * K };

/* Volatile: a compiler knows malloc, and that it changes none of a program's variables. */
static volatile long calls;       /* that asked for pages */
static volatile size_t populated; /* pages that came by them */
static volatile int refusal;      /* an error number instead */

int madvise(void *at, size_t bytes, int advice)
{
    if (advice != MADV_POPULATE_WRITE)
        return (int)syscall(SYS_madvise, at, bytes, advice);
    calls++;
    if (refusal) {
        errno = refusal;
        return -1;
    }
    int rc = (int)syscall(SYS_madvise, at, bytes, advice);
    if (rc == 0)
        populated += bytes / PAGE;
    return rc;
}

static void need_a_kernel_that_populates(void)
{
    char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    QT_CHECK(p != MAP_FAILED);
    if (syscall(SYS_madvise, p, PAGE, MADV_POPULATE_WRITE) != 0)
        QT_SKIP("this kernel cannot make pages resident ahead");
    munmap(p, PAGE);
}

/* What a step made resident, and how. */
struct step {
    size_t resident, populated; /* pages */
    long calls;
};

/* Takes `count` blocks, and writes the first `used` bytes of each. */
static struct step take(size_t count, size_t size, size_t used)
{
    no_huge_pages();
    calls = 0;
    populated = 0;
    long before = qt_rss_kib();
    for (size_t i = 0; i < count; i++) {
        char *p = malloc(size);
        QT_CHECK(p);
        memset(p, 1, used);
    }
    return (struct step){(size_t)(qt_rss_kib() - before) * K / PAGE, populated, calls};
}

/* Most pages came by calls for several, and those that nothing uses yet are few. */
static void came_in_batches(struct step s, size_t bytes_used)
{
    size_t used = bytes_used / PAGE;
    QT_CHECKF(s.populated > s.resident * 3 / 4, "%zu of %zu pages", s.populated, s.resident);
    QT_CHECKF(s.populated > 6 * (size_t)s.calls, "%zu pages by %ld calls", s.populated, s.calls);
    QT_CHECKF(s.resident < used + used / 12 + 32, "%zu pages resident for %zu", s.resident, used);
}

QTEST(
    "the pages of cells come several at a time where a thread has many of a size, few of them too early (M-10)")
{
    need_a_kernel_that_populates();
    came_in_batches(take(100000, 100, 100), (size_t)100000 * 112);
}

QTEST("the pages of a few blocks of each size come one by one (M-10)")
{
    need_a_kernel_that_populates();
    for (size_t size = 16; size <= 1000; size += 16) {
        struct step s = take(8 * K / size, size, size);
        QT_EQ(s.calls, 0);
    }
}

QTEST("the pages of top come several at a time, where blocks leave none out (M-16)")
{
    need_a_kernel_that_populates();
    came_in_batches(take(4000, 3000, 3000), (size_t)4000 * 3008);
}

QTEST("so they do for larger blocks, once those before turned out to be used throughout (M-16)")
{
    need_a_kernel_that_populates();
    came_in_batches(take(600, 20000, 20000), (size_t)600 * 20016);
}

QTEST("blocks that are used in part have no more resident than was used (M-16)")
{
    need_a_kernel_that_populates();
    struct step s = take(200, 60000, 100);
    QT_EQ(s.calls, 0);
    QT_CHECKF(s.resident < 200 * 2 + 32, "%zu pages", s.resident);
}

QTEST("who used all of his blocks and now uses parts is soon found out (M-16)")
{
    need_a_kernel_that_populates();
    QT_CHECK(take(100, 40000, 40000).calls > 0);
    struct step s = take(200, 40000, 100);
    QT_CHECKF(s.resident < 200 * 2 + 200, "%zu pages", s.resident);
}

QTEST("what was believed of blocks is forgotten where top was given back (M-16, M-23)")
{
    need_a_kernel_that_populates();
    enum { COUNT = 500, BYTES = 100000 };
    static void *blocks[COUNT];
    for (int i = 0; i < COUNT; i++)
        memset(blocks[i] = malloc(BYTES), 1, BYTES);
    for (int i = COUNT; i-- > 0;)
        free(blocks[i]);
    malloc_trim(0);
    struct step s = take(COUNT, BYTES, 1);
    QT_CHECKF(s.resident < COUNT * 2 + 32, "%zu pages", s.resident);
}

QTEST("where the blocks lie that became free again no page comes ahead: it is there (M-23)")
{
    need_a_kernel_that_populates();
    enum { COUNT = 2000 };
    static void *blocks[COUNT];
    for (int round = 0; round < 5; round++) {
        calls = 0;
        for (int i = 0; i < COUNT; i++)
            QT_CHECK((blocks[i] = malloc(3000)) != NULL);
        QT_CHECKF((calls > 0) == (round == 0), "%ld calls in round %d", calls, round);
        for (int i = 0; i < COUNT; i++)
            free(blocks[i]);
    }
}

/*
 * A mapped block that grows by `step` until it has 16 MiB; what it has is written, the first `used` in a hundred of it.
 */
static struct step grow(size_t step, size_t used)
{
    no_huge_pages();
    size_t have = 4 * M;
    char *p = malloc(have);
    memset(p, 1, have);
    calls = 0;
    populated = 0;
    long before = qt_rss_kib();
    while (have < 16 * M) {
        p = realloc(p, have + step);
        QT_CHECK(p);
        memset(p + have, 1, step / 100 * used);
        have += step;
    }
    return (struct step){(size_t)(qt_rss_kib() - before) * K / PAGE, populated, calls};
}

QTEST("what a large block grows by a little at a time comes at once (M-21)")
{
    need_a_kernel_that_populates();
    struct step s = grow(40000, 100);
    QT_CHECKF(s.populated > s.resident * 3 / 4, "%zu of %zu pages", s.populated, s.resident);
    QT_CHECKF(s.resident < 12 * M / PAGE + 64, "%zu pages", s.resident);
}

QTEST("but not where it was not used before (M-21)")
{
    need_a_kernel_that_populates();
    QT_CHECK(grow(200000, 10).calls < 3);
}

QTEST("of a block that doubles, an eighth of what it had comes at once (M-21)")
{
    need_a_kernel_that_populates();
    struct step s = grow(12 * M, 0);
    QT_CHECKF(s.populated <= 4 * M / PAGE / 8, "%zu pages", s.populated);
}

QTEST_X("malloc_trim gives back what came ahead (M-23)", .env = "QUARRY_CONF=decay:0")
{
    need_a_kernel_that_populates();
    enum { COUNT = 60000 };
    static void *blocks[COUNT];
    memset(blocks, 1, sizeof blocks);
    long before = qt_rss_kib();
    for (size_t i = 0; i < COUNT; i++) {
        QT_CHECK((blocks[i] = malloc(i % 2 ? 100 : 1500)) != NULL);
        memset(blocks[i], 1, i % 2 ? 100 : 1500);
    }
    QT_CHECK(populated > 1000);
    for (size_t i = 0; i < COUNT; i++)
        free(blocks[i]);
    malloc_trim(0);
    long left = qt_rss_kib() - before;
    QT_CHECKF(left < 1024, "%ld KiB left", left);
}

QTEST_X("... also around a block that stays (M-23)", .env = "QUARRY_CONF=decay:0")
{
    need_a_kernel_that_populates();
    no_huge_pages();
    enum { BYTES = 2 * M };
    static void *blocks[BYTES / 100];
    for (size_t size = 100; size <= 1000; size += 100) {
        size_t count = BYTES / size;
        for (size_t i = 0; i < count; i++)
            QT_CHECK((blocks[i] = malloc(size)) != NULL);
        while (--count > 0)
            free(blocks[count - 1]);
        malloc_trim(0);
        char *run = (char *)((uintptr_t)blocks[BYTES / size - 1] & ~(uintptr_t)(64 * K - 1));
        size_t around = resident_pages_inside(run, 64 * K);
        QT_CHECKF(around <= 2, "%zu pages around a block of %zu bytes", around, size);
    }
}

static void refused_once(int error)
{
    refusal = error;
    struct step s = take(30000, 200, 200);
    QT_EQ(s.calls, 1);
    s = take(1000, 3000, 3000);
    QT_EQ(s.calls, 0);
}

QTEST("a kernel that does not know the advice is asked once (M-25)")
{
    refused_once(EINVAL);
}

QTEST("a sandbox that does not allow it is asked once (M-25)")
{
    refused_once(EPERM);
}

QTEST("without memory the pages come one by one, and are asked for again later (M-25)")
{
    refusal = ENOMEM;
    struct step s = take(30000, 200, 200);
    QT_CHECK(s.calls > 1);
    QT_CHECKF(s.resident < 30000 * 208 / PAGE + 40, "%zu pages", s.resident);
}

QTEST("errno stays what it was (M-40)")
{
    refusal = ENOMEM;
    errno = EBADF;
    QT_CHECK(take(30000, 200, 200).calls > 0);
    QT_EQ(errno, EBADF);
}

QTEST_X("no page comes ahead with fault_ahead:false", .env = "QUARRY_CONF=fault_ahead:false")
{
    QT_EQ(take(100000, 100, 100).calls, 0);
    QT_EQ(take(4000, 3000, 3000).calls, 0);
}

QTEST_X("nor in the classic profile", .env = "QUARRY_CONF=classic:true")
{
    QT_EQ(take(100000, 100, 100).calls, 0);
    QT_EQ(take(4000, 3000, 3000).calls, 0);
}

QTEST_MAIN
