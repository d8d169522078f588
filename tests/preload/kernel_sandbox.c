/*
 * A filter of system calls that a program puts upon itself, as sshd does before it talks to strangers: what malloc is
 * known to need is let through, and anything else ends the process.
 */
#include "stress_blocks.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <quarry/malloc.h>
#include <stddef.h>
#include <sys/syscall.h>

enum { K = 1024, M = 1024 * K };

static const int allowed[] = {
    SYS_read,    SYS_write, SYS_brk,   SYS_mmap,           SYS_munmap,     SYS_mremap, SYS_mprotect,
    SYS_madvise, SYS_futex, SYS_close, SYS_rt_sigprocmask, SYS_exit_group, SYS_exit,   SYS_getrandom,
};

enum { ALLOWED = sizeof allowed / sizeof *allowed };

static void sandbox(void)
{
    struct sock_filter code[ALLOWED + 3];
    size_t at = 0;
    code[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < ALLOWED; i++)
        code[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)allowed[i],
                                                  (unsigned char)(ALLOWED - i), 0);
    code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {(unsigned short)at, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        QT_SKIP("this kernel has no filters");
}

static void take(size_t count, size_t size)
{
    for (size_t i = 0; i < count; i++)
        memset(malloc(size), 1, size);
}

QTEST("a heap that grows makes no system call that a sandbox does not expect (M-25)")
{
    sandbox();
    take(100000, 100);
    take(3000, 5000);
    take(300, 70000);
    take(20, 3 * M);
    _exit(0);
}

QTEST("nor does one that changes and goes back (M-25)")
{
    struct rng r = rng_seeded(7);
    static struct block blocks[200];
    take(3000, 5000);
    sandbox();
    for (int i = 0; i < 20000; i++) {
        struct block *b = &blocks[rng_below(&r, 200)];
        if (!b->p)
            QT_CHECK(block_make(b, block_size(&r, 4 * M), &r));
        else if (rng_one_in(&r, 2))
            QT_CHECK(block_resize(b, block_size(&r, 4 * M)));
        else
            block_drop(b);
        if (i % 5000 == 0)
            malloc_trim(0);
    }
    _exit(0);
}

/* The filter of a service: it was there before the program, and lets through all but one. */
static void without_mincore(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mincore, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        QT_SKIP("this kernel has no filters");
}

#define INHERITED "KERNEL_SANDBOX_INHERITED"

static __attribute__((constructor)) void grow_under_what_was_inherited(void)
{
    if (!getenv(INHERITED))
        return;
    take(20000, 6000);
    take(20, 3 * M);
    char *p = malloc(M);
    for (size_t n = M; p && n < 16 * M; n += 40000)
        p = realloc(p, n);
    _exit(p ? 0 : 1);
}

QTEST("nor does a program that was started under one (M-25)")
{
    setenv(INHERITED, "1", 1);
    without_mincore();
    execl("/proc/self/exe", "inherited", (char *)NULL);
    _exit(127);
}

QTEST_MAIN
