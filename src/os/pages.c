#define _GNU_SOURCE
#include "os/pages.h"

#include <errno.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/kernel.h"
#include "base/probe.h"
#include "os/sandbox.h"

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* As long as 512 small pages take on a slow machine; and so many more than came faster are not by chance. */
#define SLOW_HUGE_NS 1000000
#define TOO_MANY_SLOW 2

/* Atomic: how many more came slowly than fast; a guess that threads may spoil for each other. */
static unsigned slow_huge;

size_t qy_page_bytes = 4096;
unsigned qy_page_shift = 12;
size_t qy_fresh_bytes QY_ALIGNED(64);

/*
 * The process was started under a filter of system calls, as systemd and containers have them. They know what other
 * allocators call, and may end it for mincore. Written at start-up.
 */
static bool filtered;

void qy_pages_init(void)
{
    filtered = qy_kernel(SYS_prctl, PR_GET_SECCOMP) > 0;
    unsigned long bytes = getauxval(AT_PAGESZ);
    if (bytes)
        qy_page_bytes = bytes;
    qy_page_shift = qy_high_bit(qy_page_bytes);
}

/* So that /proc/PID/maps reads well. Kernels without CONFIG_ANON_VMA_NAME refuse, and are not asked again. */
static void name_pages(void *at, size_t bytes, const char *name)
{
    static bool refused; /* atomic */
    if (!qy_load_relaxed(&refused) && !qy_sandboxed() &&
        qy_kernel(SYS_prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, (long)at, (long)bytes, (long)name) == -EINVAL)
        qy_store_relaxed(&refused, true);
}

static void *map(size_t bytes, int protection, int flags, const char *name)
{
    int saved = errno;
    void *at = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    QY_PROBE(KERNEL, MMAP, at, bytes);
    if (at == MAP_FAILED)
        at = NULL;
    else if (name)
        name_pages(at, bytes, name);
    errno = saved;
    return at;
}

void *qy_pages_map(size_t bytes, const char *name)
{
    return map(bytes, PROT_READ | PROT_WRITE, 0, name);
}

bool qy_pages_map_at(void *at, size_t bytes, const char *name)
{
    int saved = errno;
    void *got =
        mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    bool done = got == at;
    QY_PROBE(KERNEL, MMAP, got, bytes);
    if (done)
        name_pages(at, bytes, name);
    else if (got != MAP_FAILED)
        munmap(got, bytes); /* kernels before 4.17 take the address for a wish */
    errno = saved;
    return done;
}

/* Of a mapping that is `alignment` longer than `bytes`, what begins at a multiple of it. */
static char *cut_aligned(char *padded, size_t bytes, size_t alignment)
{
    char *aligned = (char *)qy_align_up((uintptr_t)padded, alignment);
    size_t before = (size_t)(aligned - padded);
    if (before)
        qy_pages_unmap(padded, before);
    if (before != alignment)
        qy_pages_unmap(aligned + bytes, alignment - before);
    return aligned;
}

void *qy_pages_reserve(size_t bytes, size_t alignment, const char *name)
{
    /* The kernel often returns neighbouring ranges, so the exact size is tried before the padded one. */
    void *at = map(bytes, PROT_NONE, MAP_NORESERVE, NULL);
    if (at && ((uintptr_t)at & (alignment - 1)) != 0) {
        if (!qy_pages_unmap(at, bytes))
            return NULL;
        char *padded = map(bytes + alignment, PROT_NONE, MAP_NORESERVE, NULL);
        if (!padded)
            return NULL;
        at = cut_aligned(padded, bytes, alignment);
    }
    if (at)
        name_pages(at, bytes, name);
    return at;
}

void qy_pages_wish_huge(void *at, size_t bytes, bool huge)
{
    int saved = errno;
    madvise(at, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    QY_PROBE(KERNEL, ADVISED, at, bytes);
    errno = saved;
}

bool qy_pages_can_be_huge(void)
{
    return qy_page_bytes == QY_HUGE_BYTES / 512 && qy_load_relaxed(&slow_huge) < TOO_MANY_SLOW &&
           !qy_sandboxed();
}

/*
 * What this thread computed, not what it waited for a processor that others use. What the host of a virtual machine
 * does for it counts.
 */
static uint64_t thread_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

bool qy_pages_take_huge(void *at)
{
    uint64_t before = thread_ns();
    *(volatile char *)at = 0;
    bool fast = thread_ns() - before < SLOW_HUGE_NS;
    unsigned slow = qy_load_relaxed(&slow_huge);
    if (!fast || slow)
        qy_store_relaxed(&slow_huge, fast ? slow - 1 : slow + 1);
    return fast;
}

void *qy_pages_map_huge(size_t bytes, const char *name)
{
    char *padded = map(bytes + QY_HUGE_BYTES, PROT_READ | PROT_WRITE, 0, name);
    if (!padded)
        return qy_pages_map(bytes, name);
    char *at = cut_aligned(padded, bytes, QY_HUGE_BYTES);
    qy_pages_wish_huge(at, bytes, true);
    if (!qy_pages_take_huge(at))
        qy_pages_wish_huge(at, bytes, false);
    return at;
}

bool qy_pages_populate(void *at, size_t bytes)
{
    static bool refused; /* atomic */
    if (qy_load_relaxed(&refused) || qy_sandboxed())
        return false;
    int saved = errno;
    bool failed = madvise(at, bytes, MADV_POPULATE_WRITE) != 0;
    QY_PROBE(KERNEL, POPULATED, at, bytes);
    /*
     * Before Linux 5.14; and a sandbox's filter that does not know the advice. Any other error may have come half-way.
     */
    bool refuses = failed && (errno == EINVAL || errno == EPERM || errno == ENOSYS);
    if (refuses)
        qy_store_relaxed(&refused, true);
    errno = saved;
    return !refuses;
}

bool qy_pages_are_resident(const void *at, size_t bytes)
{
    int saved = errno;
    unsigned char states[64];
    size_t resident = 0, pages = bytes >> qy_page_shift;
    QY_ASSERT(pages <= sizeof states);
    if (!filtered && !qy_sandboxed() && mincore((void *)at, bytes, states) == 0) {
        for (size_t i = 0; i < pages; i++)
            resident += states[i] & 1;
    }
    errno = saved;
    return resident == pages;
}

bool qy_page_is_resident(const void *address)
{
    return qy_pages_are_resident((const void *)qy_align_down((uintptr_t)address, qy_page_bytes),
                                 qy_page_bytes);
}

bool qy_pages_commit(void *at, size_t bytes, const char *name)
{
    int saved = errno;
    bool done = mprotect(at, bytes, PROT_READ | PROT_WRITE) == 0;
    QY_PROBE(KERNEL, MPROTECT, at, bytes);
    if (done)
        name_pages(at, bytes, name);
    errno = saved;
    return done;
}

bool qy_pages_purge(void *at, size_t bytes)
{
    int saved = errno;
    bool done = madvise(at, bytes, MADV_DONTNEED) == 0;
    QY_PROBE(KERNEL, MADVISE, at, bytes);
    errno = saved;
    return done;
}

bool qy_pages_decommit(void *at, size_t bytes, const char *name)
{
    int saved = errno;
    bool done =
        mmap(at, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == at;
    QY_PROBE(KERNEL, MMAP, at, bytes);
    if (done)
        name_pages(at, bytes, name);
    errno = saved;
    return done;
}

bool qy_pages_unmap(void *at, size_t bytes)
{
    int saved = errno;
    bool done = munmap(at, bytes) == 0;
    QY_PROBE(KERNEL, MUNMAP, at, bytes);
    errno = saved;
    return done;
}

void qy_pages_drop(void *at, size_t bytes)
{
    if (!qy_pages_unmap(at, bytes))
        qy_pages_purge(at, bytes);
}

void *qy_pages_remap(void *at, size_t old_bytes, size_t new_bytes)
{
    int saved = errno;
    void *moved = mremap(at, old_bytes, new_bytes, MREMAP_MAYMOVE);
    errno = saved;
    QY_PROBE(KERNEL, MREMAP, moved, new_bytes);
    return moved == MAP_FAILED ? NULL : moved;
}
