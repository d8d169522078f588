/*
 * The processors that this program may run on, as the allocator sees them: PROCESSORS=n in the environment says how many; without it, the kernel.
 *
 * Owns: sched_getaffinity of the program that includes this (in one file only). It is asked when the library is loaded, before there is an environment
 * to ask for. A control group's quota counts, too: processors_need_no_quota.
 */
#ifndef PROCESSORS_H
#define PROCESSORS_H

#include <fcntl.h>
#include <sched.h>
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

int sched_getaffinity(pid_t who, size_t bytes, cpu_set_t *set)
{
    size_t said = processors_bound ? 1 : processors_said();
    CPU_ZERO_S(bytes, set);
    if (!said)
        return syscall(SYS_sched_getaffinity, who, bytes, set) < 0 ? -1 : 0;
    for (size_t i = 0; i < said; i++)
        CPU_SET_S(i, bytes, set);
    return 0;
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
