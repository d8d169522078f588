/*
 * The processors that this program may run on, as the allocator sees them: PROCESSORS=n in the environment says how
 * many; without it, the kernel.
 *
 * Owns: syscall() of the program that includes this (in one file only). It is asked when the library is loaded, before
 * there is an environment to ask for. A control group's quota counts, too: processors_need_no_quota.
 */
#ifndef PROCESSORS_H
#define PROCESSORS_H

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "qtest.h"

static int processors_bound; /* not 0: the thread that asks is bound to one */

static size_t processors_said(void)
{
    static char text[16384];
    int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/environ", O_RDONLY | O_CLOEXEC, 0);
    long length = fd < 0 ? 0 : syscall(SYS_read, fd, text, sizeof text - 1);
    if (fd >= 0)
        syscall(SYS_close, fd);
    for (const char *at = text; length > 0 && at < text + length; at += strlen(at) + 1) {
        if (strncmp(at, "PROCESSORS=", 11) == 0)
            return (size_t)strtoul(at + 11, NULL, 10);
    }
    return 0;
}

static long processors_ask(long number, const long *a)
{
#if defined __x86_64__
    register long r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4], r9 __asm__("r9") = a[5];
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
#elif defined __aarch64__
    register long x8 __asm__("x8") = number, result __asm__("x0") = a[0], x1 __asm__("x1") = a[1];
    register long x2 __asm__("x2") = a[2], x3 __asm__("x3") = a[3], x4 __asm__("x4") = a[4],
                     x5 __asm__("x5") = a[5];
    __asm__ volatile("svc 0"
                     : "+r"(result)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
#endif
    if (result >= 0 || result < -4095)
        return result;
    errno = (int)-result;
    return -1;
}

static long processors_set(size_t count, size_t bytes, cpu_set_t *set)
{
    CPU_ZERO_S(bytes, set);
    for (size_t i = 0; i < count; i++)
        CPU_SET_S(i, bytes, set);
    return (long)bytes;
}

long syscall(long number, ...)
{
    va_list rest;
    long a[6];
    va_start(rest, number);
    for (unsigned i = 0; i < 6; i++)
        a[i] = va_arg(rest, long);
    va_end(rest);
    bool asked = number == SYS_sched_getaffinity;
    size_t said = !asked ? 0 : processors_bound ? 1 : processors_said();
    return said ? processors_set(said, (size_t)a[1], (cpu_set_t *)a[2]) : processors_ask(number, a);
}

static inline void processors_need_no_quota(void)
{
    char line[64] = "max";
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "r");
    if (f && fgets(line, sizeof line, f) && strncmp(line, "max", 3) != 0)
        QT_SKIP("this control group limits the processors");
    if (f)
        fclose(f);
}

#endif
