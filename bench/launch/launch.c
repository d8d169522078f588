/*
 * launch -o FILE [-n TIMES] [-t SECONDS] [-u UID:GID] [-e NAME=VALUE]... -- PROGRAM [ARGUMENT...]
 *
 * Runs a program and writes what it used to FILE as NAME=VALUE lines. Linux keeps the largest resident size
 * across execve, so a child shows at least the size of the process that started it: this launcher is linked
 * statically, drops its own pages before it starts anything, and reports what it had left as floor_kib, far
 * below any program. It must not fork (a copy of its caller's size would be the same mistake); the child of
 * vfork shares its memory until execve.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

struct request {
    unsigned times;
    unsigned seconds_most;
    uid_t uid;
    gid_t gid;
    int changes_user;
    const char *result_path;
    char **command;
};

struct totals {
    double wall_s, user_s, system_s;
    long peak_kib, minor_faults, major_faults, switches;
    int status;
    long floor_kib; /* this launcher at its largest before a start: no peak shows as less */
};

static volatile pid_t running;

static _Noreturn void fail(const char *what)
{
    dprintf(STDERR_FILENO, "launch: %s: %s\n", what, strerror(errno));
    _exit(125);
}

static void on_alarm(int signal_number)
{
    (void)signal_number;
    if (running > 0)
        kill(running, SIGKILL);
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec * 1e-6;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static struct request request_parse(int argc, char **argv)
{
    struct request q = {.times = 1};
    int option;
    while ((option = getopt(argc, argv, "+n:t:u:o:e:")) != -1) {
        unsigned uid, gid;
        switch (option) {
        case 'n':
            q.times = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 't':
            q.seconds_most = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'o':
            q.result_path = optarg;
            break;
        case 'u':
            if (sscanf(optarg, "%u:%u", &uid, &gid) != 2)
                _exit(2);
            q.uid = uid, q.gid = gid, q.changes_user = 1;
            break;
        case 'e':
            if (putenv(optarg))
                fail("putenv");
            break;
        default:
            _exit(2);
        }
    }
    if (optind >= argc || !q.result_path) {
        dprintf(STDERR_FILENO, "launch: wants -o FILE and a program\n");
        _exit(2);
    }
    q.command = argv + optind;
    return q;
}

static int segment_drop(struct dl_phdr_info *object, size_t size, void *unused)
{
    (void)size, (void)unused;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (unsigned i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &object->dlpi_phdr[i];
        uintptr_t start = (object->dlpi_addr + p->p_vaddr) & ~(page - 1);
        if (p->p_type == PT_LOAD && !(p->p_flags & PF_W))
            madvise((void *)start, object->dlpi_addr + p->p_vaddr + p->p_memsz - start, MADV_DONTNEED);
    }
    return 0;
}

/* Drops the pages of code and constants (those needed come back from the page cache), then forgets the peak.
 */
static long floor_lower(void)
{
    char text[4096];
    int file = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    dl_iterate_phdr(segment_drop, NULL);
    if (file < 0 || write(file, "5", 1) != 1)
        fail("/proc/self/clear_refs");
    close(file);
    file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? 0 : read(file, text, sizeof text - 1);
    close(file);
    text[length > 0 ? length : 0] = 0;
    const char *peak = strstr(text, "VmHWM:");
    return peak ? strtol(peak + 6, NULL, 10) : -1;
}

static void child_exec(const struct request *q)
{
    signal(SIGPIPE, SIG_DFL);
    if (q->changes_user && (setgid(q->gid) || setuid(q->uid)))
        _exit(126);
    execvp(q->command[0], q->command);
    _exit(127);
}

static void run_once(const struct request *q, struct totals *t)
{
    struct rusage used;
    int status;
    long floor_kib = floor_lower();
    if (floor_kib > t->floor_kib)
        t->floor_kib = floor_kib;
    double start = now();
    pid_t child = vfork();
    if (child == 0)
        child_exec(q);
    if (child < 0)
        fail("vfork");
    running = child;
    while (wait4(child, &status, 0, &used) < 0)
        if (errno != EINTR)
            fail("wait4");
    running = 0;
    t->wall_s += now() - start;
    t->user_s += seconds(used.ru_utime);
    t->system_s += seconds(used.ru_stime);
    t->minor_faults += used.ru_minflt;
    t->major_faults += used.ru_majflt;
    t->switches += used.ru_nivcsw;
    if (used.ru_maxrss > t->peak_kib)
        t->peak_kib = used.ru_maxrss;
    if (status)
        t->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void totals_write(const struct request *q, const struct totals *t)
{
    int file = open(q->result_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0)
        fail(q->result_path);
    dprintf(file,
            "wall_s=%.6f\nuser_s=%.6f\nsystem_s=%.6f\npeak_kib=%ld\nminor_faults=%ld\nmajor_faults=%ld\n"
            "preempted=%ld\nstatus=%d\nfloor_kib=%ld\n",
            t->wall_s, t->user_s, t->system_s, t->peak_kib, t->minor_faults, t->major_faults, t->switches,
            t->status, t->floor_kib);
}

int main(int argc, char **argv)
{
    struct request q = request_parse(argc, argv);
    struct totals t = {0};
    struct sigaction on_time = {.sa_handler = on_alarm};
    sigaction(SIGALRM, &on_time, NULL);
    if (q.seconds_most)
        alarm(q.seconds_most);
    for (unsigned i = 0; i < q.times && !t.status; i++)
        run_once(&q, &t);
    totals_write(&q, &t);
    return 0;
}
