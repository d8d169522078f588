/*
 * The processors that this program may run on, as the allocator sees them when it starts: PROCESSORS=n in the
 * environment says how many; without it, the kernel.
 *
 * The allocator asks by a system call of its own. So the program starts itself once more, as its own debugger, and puts
 * another answer in the place of the kernel's first; from then on it runs alone. A case that needs this begins with
 * processors_needed(). A control group's quota counts, too.
 */
#ifndef PROCESSORS_H
#define PROCESSORS_H

#include <elf.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "qtest.h"

#if defined __x86_64__
typedef unsigned long processors_registers[27];
enum { PROCESSORS_RESULT = 10 }; /* rax */
#elif defined __aarch64__
typedef unsigned long processors_registers[34];
enum { PROCESSORS_RESULT = 0 };
#endif

/* At the end of sched_getaffinity(0, bytes, set). */
static bool processors_answer(pid_t child, size_t count, const uint64_t *arguments)
{
    cpu_set_t set;
    processors_registers registers;
    struct iovec all = {registers, sizeof registers}, from = {&set, sizeof set},
                 to = {(void *)(uintptr_t)arguments[2], sizeof set};
    CPU_ZERO(&set);
    for (size_t i = 0; i < count; i++)
        CPU_SET(i, &set);
    if (arguments[1] < sizeof set || process_vm_writev(child, &from, 1, &to, 1, 0) != (ssize_t)sizeof set ||
        ptrace(PTRACE_GETREGSET, child, (void *)NT_PRSTATUS, &all) != 0)
        return false;
    registers[PROCESSORS_RESULT] = sizeof set;
    return ptrace(PTRACE_SETREGSET, child, (void *)NT_PRSTATUS, &all) == 0;
}

/* Lets it run up to the next system call's beginning or end; a signal that comes first is its own. */
static bool processors_step(pid_t child, int *status)
{
    int stop = WIFSTOPPED(*status) ? WSTOPSIG(*status) : 0;
    long signal = stop == SIGTRAP || stop == (SIGTRAP | 0x80) ? 0 : stop;
    return ptrace(PTRACE_SYSCALL, child, NULL, (void *)signal) == 0 && waitpid(child, status, 0) == child;
}

/* Up to the one that asks. False: it could not be told. Of who ends and never asks, *status is how. */
static bool processors_tell(pid_t child, size_t count, int *status)
{
    struct __ptrace_syscall_info stop;
    if (ptrace(PTRACE_SETOPTIONS, child, NULL, (void *)PTRACE_O_TRACESYSGOOD) != 0)
        return false;
    while (processors_step(child, status) && WIFSTOPPED(*status)) {
        if (ptrace(PTRACE_GET_SYSCALL_INFO, child, (void *)sizeof stop, &stop) <= 0)
            return false;
        if (stop.op == PTRACE_SYSCALL_INFO_ENTRY && stop.entry.nr == SYS_sched_getaffinity)
            return processors_step(child, status) && WIFSTOPPED(*status) &&
                   processors_answer(child, count, stop.entry.args);
    }
    return !WIFSTOPPED(*status);
}

static void processors_be_told(char **argv)
{
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        return;
    setenv("PROCESSORS_TOLD", "1", 1);
    execv("/proc/self/exe", argv);
    _exit(99);
}

__attribute__((constructor)) static void processors_start(int argc, char **argv)
{
#ifndef __GLIBC__
    return; /* musl hands constructors no arguments */
#endif
    const char *count = getenv("PROCESSORS");
    int status;
    pid_t child = argc && count && !getenv("PROCESSORS_TOLD") ? fork() : 0;
    if (child < 0 || !count || getenv("PROCESSORS_TOLD"))
        return;
    if (child == 0) {
        processors_be_told(argv);
        return; /* may not be looked at here */
    }
    waitpid(child, &status, 0);
    if (WIFSTOPPED(status)) { /* by execve */
        if (!processors_tell(child, strtoul(count, NULL, 10), &status))
            kill(child, SIGKILL);
        if (WIFSTOPPED(status)) {
            ptrace(PTRACE_DETACH, child, NULL, NULL);
            waitpid(child, &status, 0);
        }
    }
    if (WIFSIGNALED(status))
        raise(WTERMSIG(status));
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 99);
}

static inline void processors_needed(void)
{
    char line[64] = "max";
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "r");
    if (f && fgets(line, sizeof line, f) && strncmp(line, "max", 3) != 0)
        QT_SKIP("this control group limits the processors");
    if (f)
        fclose(f);
    if (!getenv("PROCESSORS_TOLD"))
        QT_SKIP("no process may look at another here");
}

/* This thread, and those that it starts. */
static inline void processors_bind(void)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    QT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
}

#endif
