#include "stop.h"

#include "memory.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>

/* A thread that waits for a disk or for its vfork()ed child does not stop; then the look is given up. */
#define PATIENCE_US 2000000

/* One that was let run and got no processor is waited for while all others run: that hurts nobody. */
#define LONG_PATIENCE_US 60000000

/*
 * A call takes less than a moment; after it, a thread that does nothing else is inside the next one as often as it is
 * not. On a busy machine it may have to wait for a processor first: then it is better to let all go and try again.
 */
#define MOMENT_NS 20000
#define SETTLE_US 5000

uint64_t clock_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static bool is_gone(int error)
{
    return error == ENOENT || error == ESRCH;
}

/* No thread has a higher number on any Linux of 64 bits (PID_MAX_LIMIT). */
#define TIDS (1 << 22)

/* PF_EXITING of the kernel: it runs no code of the program's any more, and its memory may be gone. */
#define IS_EXITING 4u

/* SIGKILL is pending: it waits for a processor to end on, and until then is traced by us or not to be traced. */
#define IS_KILLED (1ul << (SIGKILL - 1))

char thread_state(int pid, int tid)
{
    char path[64], line[512], state = 0;
    unsigned flags = 0;
    unsigned long pending = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", pid, tid);
    FILE *file = fopen(path, "re");
    if (!file)
        return is_gone(errno) ? 0 : '?';
    size_t got = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[got] = '\0';
    const char *after_name = strrchr(line, ')'); /* the name may contain anything */
    if (after_name)
        sscanf(
            after_name + 1,
            " %c %*d %*d %*d %*d %*d %u %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
            "%*s %*s %*s %lu",
            &state, &flags, &pending);
    return state != 'Z' && (flags & IS_EXITING || pending & IS_KILLED) ? 'X' : state;
}

static bool is_end(char state)
{
    return state == 0 || state == 'Z' || state == 'X';
}

static bool has_ended(int pid, int tid)
{
    return is_end(thread_state(pid, tid));
}

/* A bit for each number of a thread, for those of the one process that is being stopped. Little of it is ever used. */
static unsigned char known[TIDS / 8];

static bool is_known(int tid)
{
    return known[tid / 8] >> tid % 8 & 1;
}

/*
 * Calls `take` for each thread that is not in the list yet, until one returns an error. Returns how many there were, or
 * -1 and errno.
 */
static int for_new_threads(struct stop *s, int (*take)(struct stop *s, int tid))
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", s->pid);
    DIR *dir = opendir(path);
    if (!dir)
        return -1;
    int found = 0, error = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        int tid = atoi(e->d_name);
        if (tid <= 0 || tid >= TIDS || is_known(tid))
            continue;
        found++;
        if ((error = take(s, tid)) != 0)
            break;
    }
    closedir(dir);
    errno = error;
    return error ? -1 : found;
}

static struct stopped_thread *add_thread(struct stop *s, int tid)
{
    known[tid / 8] |= (unsigned char)(1u << tid % 8);
    s->threads = grow(s->threads, s->count, sizeof *s->threads);
    s->threads[s->count] = (struct stopped_thread){.tid = tid};
    return &s->threads[s->count++];
}

/* One that has ended is listed for as long as nobody asks for its status. */
static int seize(struct stop *s, int tid)
{
    if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) != 0) {
        int why = errno;
        char state = thread_state(s->pid, tid);
        if (state == '?')
            return errno;
        if (!is_end(state))
            return why == ESRCH ? 0 : why;
        add_thread(s, tid)->gone = true;
        return 0;
    }
    add_thread(s, tid);
    return ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) == 0 || errno == ESRCH ? 0 : errno;
}

/*
 * Where a thread stands that is somebody else's to trace: the last number of "NUMBER ARGUMENTS... SP PC" or "-1 SP PC".
 */
static uint64_t pc_of_standing(int pid, int tid)
{
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/task/%d/syscall", pid, tid);
    FILE *file = fopen(path, "re");
    const char *last = file && fgets(line, sizeof line, file) ? strrchr(line, ' ') : NULL;
    if (file)
        fclose(file);
    return last ? strtoull(last, NULL, 16) : 0;
}

static int look_whether_it_stands(struct stop *s, int tid)
{
    char state = thread_state(s->pid, tid);
    if (state == '?')
        return errno;
    if (state != 't' && state != 'T' && !is_end(state))
        return EPERM;
    add_thread(s, tid)->pc = pc_of_standing(s->pid, tid);
    return 0;
}

static void read_registers(struct stopped_thread *t)
{
#if defined(__x86_64__)
    struct user_regs_struct regs;
    struct iovec io = {&regs, sizeof regs};
    if (ptrace(PTRACE_GETREGSET, t->tid, NT_PRSTATUS, &io) == 0) {
        t->pointer = regs.fs_base;
        t->pc = regs.rip;
    }
#elif defined(__aarch64__)
    struct user_regs_struct regs;
    struct iovec io = {&regs, sizeof regs}, tls = {&t->pointer, sizeof t->pointer};
    if (ptrace(PTRACE_GETREGSET, t->tid, NT_PRSTATUS, &io) == 0)
        t->pc = regs.pc;
    ptrace(PTRACE_GETREGSET, t->tid, NT_ARM_TLS, &tls);
#else
    (void)t;
#endif
}

/* Waits until the thread stands or is gone. The first thread's end is told only when all others' was asked for. */
static bool wait_for(const struct stop *s, struct stopped_thread *t, uint64_t until_us)
{
    for (unsigned tries = 0;; tries++) {
        int status, got = waitpid(t->tid, &status, __WALL | WNOHANG);
        if (got < 0 || (got > 0 && !WIFSTOPPED(status)) ||
            (tries > 20 && got == 0 && has_ended(s->pid, t->tid))) {
            t->gone = true;
            t->pc = 0;
            return true;
        }
        if (got > 0) {
            t->stands = true;
            t->signal = status >> 16 == 0 ? WSTOPSIG(status) : 0; /* it was about to get this signal */
            t->halted = status >> 16 == PTRACE_EVENT_STOP && WSTOPSIG(status) != SIGTRAP;
            read_registers(t);
            return true;
        }
        if (clock_us() > until_us)
            return false;
        if (tries > 20) /* it may need this very processor to come to a stop */
            nanosleep(&(struct timespec){0, MOMENT_NS}, NULL);
    }
}

static bool all_stand(struct stop *s, uint64_t until_us)
{
    for (size_t i = 0; i < s->count; i++) {
        struct stopped_thread *t = &s->threads[i];
        if (!t->stands && !t->gone && !wait_for(s, t, until_us))
            return false;
        if (!s->begun)
            s->from_us = clock_us(); /* before that, all were running */
        s->begun = true;
    }
    return true;
}

static bool any_stands(const struct stop *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->threads[i].stands)
            return true;
    return false;
}

static const char *give_up(struct stop *s, const char *why)
{
    stop_end(s);
    stop_free(s);
    return why;
}

static const char *text_of(int error)
{
    return is_gone(error) ? "it is gone"
           : error == EPERM
               ? "may not be stopped: another tracer is attached, or the kernel forbids it (ptrace)"
               : strerror(error);
}

static const char *read_it_standing(struct stop *s)
{
    stop_free(s);
    s->foreign = true;
    int found = for_new_threads(s, look_whether_it_stands), error = found ? errno : ESRCH;
    if (found > 0)
        return NULL;
    stop_free(s);
    return text_of(error);
}

/* Threads may be born while others are being stopped. */
static const char *stop_new_threads(struct stop *s, uint64_t until)
{
    for (;;) {
        int found = for_new_threads(s, seize);
        if (found < 0 && errno == EPERM && s->count == 0)
            return read_it_standing(s);
        if (found < 0)
            return give_up(s, text_of(errno));
        if (!all_stand(s, until))
            return give_up(s,
                           "a thread of it does not stop: it waits for a device, or for a child of vfork()");
        if (found == 0)
            return any_stands(s) ? NULL : give_up(s, "it is gone");
    }
}

const char *stop_process(int pid, struct stop *s)
{
    *s = (struct stop){.pid = pid, .from_us = clock_us(), .nice = getpriority(PRIO_PROCESS, 0)};
    /*
     * While others stand still for us, we should not wait for a processor; without the right to say so, we may have to.
     */
    setpriority(PRIO_PROCESS, 0, -20);
    prctl(PR_SET_TIMERSLACK, 1UL); /* moments are shorter than what the kernel adds to a sleep */
    const char *why = stop_new_threads(s, s->from_us + PATIENCE_US);
    if (why)
        setpriority(PRIO_PROCESS, 0, s->nice);
    return why;
}

/* ---- out of what it is inside of ---- */

static bool let_run(struct stopped_thread *t)
{
    if (!t->stands || t->halted || ptrace(PTRACE_CONT, t->tid, NULL, (long)t->signal) != 0)
        return false;
    t->stands = false;
    return true;
}

static void interrupt(const struct stop *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (!s->threads[i].stands && !s->threads[i].gone)
            ptrace(PTRACE_INTERRUPT, s->threads[i].tid, NULL, NULL);
}

const char *stop_settle(struct stop *s,
                        bool (*is_inside)(const void *context, const struct stopped_thread *thread),
                        const void *context, bool *settled)
{
    uint64_t until = clock_us() + SETTLE_US;
    for (;;) {
        bool in_time = clock_us() < until;
        size_t inside = 0, running = 0;
        for (size_t i = 0; i < s->count; i++) {
            if (!is_inside(context, &s->threads[i]))
                continue;
            inside++;
            running += in_time && let_run(&s->threads[i]);
        }
        *settled = inside == 0;
        if (running == 0)
            return NULL;
        nanosleep(&(struct timespec){0, MOMENT_NS}, NULL);
        interrupt(s);
        s->straggles = !all_stand(s, until);
        if (s->straggles) {
            *settled = false;
            return NULL;
        }
        const char *why = stop_new_threads(s, clock_us() + PATIENCE_US);
        if (why)
            return why;
    }
}

static void detach(struct stopped_thread *t)
{
    if (t->stands)
        ptrace(PTRACE_DETACH, t->tid, NULL, (long)t->signal);
    t->stands = false;
    t->gone = true;
}

uint64_t stop_end(struct stop *s)
{
    setpriority(PRIO_PROCESS, 0, s->nice);
    if (s->foreign)
        return 0;
    for (size_t i = 0; i < s->count; i++)
        if (s->threads[i].stands)
            detach(&s->threads[i]);
    uint64_t stopped_us = clock_us() - s->from_us;
    /*
     * What does not stand yet can only be let go when it does. What did not in time is not waited for again: it goes
     * with us.
     */
    uint64_t until = clock_us() + (s->straggles ? LONG_PATIENCE_US : 0);
    for (size_t i = 0; i < s->count; i++)
        if (!s->threads[i].gone && wait_for(s, &s->threads[i], until))
            detach(&s->threads[i]);
    /* Who has ended is its parent's to ask for, and not ours to keep: the first thread last. */
    for (size_t i = s->count; i-- > 0;)
        waitpid(s->threads[i].tid, NULL, __WALL | WNOHANG);
    return stopped_us;
}

void stop_free(struct stop *s)
{
    for (size_t i = 0; i < s->count; i++)
        known[s->threads[i].tid / 8] = 0;
    free(s->threads);
    s->threads = NULL;
    s->count = 0;
}
