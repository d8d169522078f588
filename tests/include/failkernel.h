/*
 * A kernel that says no: every call that takes, changes or returns memory can be made to fail at its n-th use.
 *
 * Owns: mmap, munmap, mprotect, madvise, mremap, brk and sbrk of the program that includes this (in one file only).
 * They are exported, so the preloaded allocator's calls come here instead of to libc; they forward to the kernel
 * itself. libc's own calls (thread stacks) do not pass here. May not know: the allocator. Takes no lock and no memory.
 *
 *     fk_fail(n, false)   the n-th call from now fails, once        fk_seen()    calls since then
 *     fk_fail(n, true)    the n-th and all after it fail            fk_failed()  calls that were made to fail
 *     fk_fail_kinds(m)    only these kinds count and fail           fk_heal()    no more failures
 *
 * A program started with FK_FAIL_AT=n (and FK_FOREVER=1, FK_KINDS=m) has this in force from its first call on, before
 * main. sbrk(0) asks for nothing and does not count.
 */
#ifndef FAILKERNEL_H
#define FAILKERNEL_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum fk_kind { FK_BRK, FK_MMAP, FK_MUNMAP, FK_MPROTECT, FK_MADVISE, FK_MREMAP, FK_KINDS };
#define FK_ALL ((1u << FK_KINDS) - 1)

static const char *const fk_names[FK_KINDS] = {"brk", "mmap", "munmap", "mprotect", "madvise", "mremap"};

static atomic_long fk_count, fk_refused, fk_at;
static atomic_bool fk_forever, fk_started;
static atomic_uint fk_mask = FK_ALL;
static atomic_long fk_calls[FK_KINDS];

static inline void fk_fail(long at, bool forever)
{
    fk_started = true;
    fk_at = 0;
    fk_count = 0;
    fk_refused = 0;
    fk_forever = forever;
    fk_at = at;
}

static inline void fk_fail_kinds(unsigned mask)
{
    fk_mask = mask;
}

static inline void fk_heal(void)
{
    fk_at = 0;
}

static inline long fk_seen(void)
{
    return fk_count;
}

static inline long fk_failed(void)
{
    return fk_refused;
}

/* The decimal number after "NAME=" if that is what `at` begins with. */
static bool fk_number(const char *at, const char *name, long *value)
{
    size_t length = strlen(name);
    if (strncmp(at, name, length) != 0)
        return false;
    *value = 0;
    for (at += length; *at >= '0' && *at <= '9'; at++)
        *value = *value * 10 + (*at - '0');
    return true;
}

/* Reads FK_FAIL_AT, FK_FOREVER and FK_KINDS where they can be read before libc is ready. */
static void fk_start(void)
{
    static char text[16384];
    long number;
    atomic_store(&fk_started, true);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/environ", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return;
    long n = syscall(SYS_read, fd, text, sizeof text - 1);
    syscall(SYS_close, fd);
    for (const char *at = text; n > 0 && at < text + n; at += strlen(at) + 1) {
        if (fk_number(at, "FK_FAIL_AT=", &number))
            fk_at = number;
        else if (fk_number(at, "FK_FOREVER=", &number))
            fk_forever = number != 0;
        else if (fk_number(at, "FK_KINDS=", &number))
            fk_mask = (unsigned)number;
    }
}

static bool fk_refuses(enum fk_kind kind)
{
    if (!fk_started)
        fk_start();
    if (!(fk_mask & 1u << kind))
        return false;
    fk_calls[kind]++;
    long count = ++fk_count, at = fk_at;
    if (!at || (fk_forever ? count < at : count != at))
        return false;
    fk_refused++;
    errno = ENOMEM;
    return true;
}

void *mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    if (fk_refuses(FK_MMAP))
        return MAP_FAILED;
    return (void *)syscall(SYS_mmap, at, bytes, protection, flags, fd, offset);
}

#ifndef mmap64 /* musl has one of them under both names */
void *mmap64(void *at, size_t bytes, int protection, int flags, int fd, off64_t offset)
{
    return mmap(at, bytes, protection, flags, fd, offset);
}
#endif

int munmap(void *at, size_t bytes)
{
    return fk_refuses(FK_MUNMAP) ? -1 : (int)syscall(SYS_munmap, at, bytes);
}

int mprotect(void *at, size_t bytes, int protection)
{
    return fk_refuses(FK_MPROTECT) ? -1 : (int)syscall(SYS_mprotect, at, bytes, protection);
}

int madvise(void *at, size_t bytes, int advice)
{
    return fk_refuses(FK_MADVISE) ? -1 : (int)syscall(SYS_madvise, at, bytes, advice);
}

void *mremap(void *at, size_t old_bytes, size_t new_bytes, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    void *where = flags & MREMAP_FIXED ? va_arg(args, void *) : NULL;
    va_end(args);
    if (fk_refuses(FK_MREMAP))
        return MAP_FAILED;
    return (void *)syscall(SYS_mremap, at, old_bytes, new_bytes, flags, where);
}

/* The kernel's own break is the only one there is: nothing is remembered here. */
static uintptr_t fk_break(uintptr_t to)
{
    return (uintptr_t)syscall(SYS_brk, to);
}

int brk(void *to)
{
    if (fk_refuses(FK_BRK) || fk_break((uintptr_t)to) != (uintptr_t)to) {
        errno = ENOMEM;
        return -1;
    }
    return 0;
}

void *sbrk(intptr_t delta)
{
    uintptr_t was = fk_break(0);
    if (delta == 0)
        return (void *)was;
    if (fk_refuses(FK_BRK) || fk_break(was + (uintptr_t)delta) != was + (uintptr_t)delta) {
        errno = ENOMEM;
        return (void *)-1;
    }
    return (void *)was;
}

#endif
