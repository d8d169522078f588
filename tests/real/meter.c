// meter: run a program and write down what it cost.
//
// usage: meter [-u UID -g GID] [-c] -o REPORT -- PROGRAM ARGS...
//
// The report is one line: "exit STATUS SIGNAL WALL_US USER_US SYSTEM_US PEAK_KB".
// Why not wait4 in the runner itself: Linux carries the peak resident size of the process that calls exec over into the
// new program, so everything a Python runner starts would seem to need at least what Python needs. This program is
// small.
//
// The environment for the program is given as `--env NAME=VALUE` (as LD_PRELOAD must reach the program, not the meter).
// Whatever the program leaves behind (daemons, orphans) stays below the meter and is ended with it.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile pid_t child_pid;

static void forward(int signal_number)
{
    if (child_pid > 0) {
        kill(child_pid, signal_number);
    }
}

static long long microseconds(struct timeval t)
{
    return (long long)t.tv_sec * 1000000 + t.tv_usec;
}

static long long now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

// Ends every process that is still below us. Orphans become our children (subreaper), so this ends with none left.
static void end_orphans(void)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    for (int round = 0; round < 500; round++) {
        while (waitpid(-1, NULL, WNOHANG) > 0) {}
        FILE *f = fopen(path, "r");
        if (f == NULL) {
            return;
        }
        int pid;
        int found = 0;
        while (fscanf(f, "%d", &pid) == 1) {
            found++;
            // A short grace for those that are just ending by themselves.
            if (round >= 20) {
                kill(pid, SIGKILL);
            }
        }
        fclose(f);
        if (found == 0) {
            return;
        }
        usleep(10000);
    }
}

int main(int argc, char **argv)
{
    const char *report = NULL;
    long uid = -1;
    long gid = -1;
    int core = 0;
    int i = 1;
    for (; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        }
        if (strcmp(argv[i], "-c") == 0) {
            core = 1;
        } else if (i + 1 < argc && strcmp(argv[i], "-o") == 0) {
            report = argv[++i];
        } else if (i + 1 < argc && strcmp(argv[i], "-u") == 0) {
            uid = atol(argv[++i]);
        } else if (i + 1 < argc && strcmp(argv[i], "-g") == 0) {
            gid = atol(argv[++i]);
        } else if (i + 1 < argc && strcmp(argv[i], "--env") == 0) {
            i++;
        } else {
            fprintf(stderr, "meter: unknown argument %s\n", argv[i]);
            return 125;
        }
    }
    if (report == NULL || i >= argc) {
        fprintf(stderr,
                "usage: meter [-u UID -g GID] [-c] [--env NAME=VALUE]... -o REPORT -- PROGRAM ARGS...\n");
        return 125;
    }
    int out = open(report, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (out < 0) {
        perror("meter: report");
        return 125;
    }
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    struct sigaction action = {.sa_handler = forward, .sa_flags = SA_RESTART};
    const int passed_on[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
    for (size_t s = 0; s < sizeof passed_on / sizeof *passed_on; s++) {
        sigaction(passed_on[s], &action, NULL);
    }

    long long start = now_us();
    pid_t pid = fork();
    if (pid < 0) {
        perror("meter: fork");
        return 125;
    }
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        struct rlimit limit;
        getrlimit(RLIMIT_CORE, &limit);
        limit.rlim_cur = core ? limit.rlim_max : 0;
        setrlimit(RLIMIT_CORE, &limit);
        if (gid >= 0 && (setgroups(0, NULL) != 0 || setgid((gid_t)gid) != 0)) {
            perror("meter: setgid");
            _exit(125);
        }
        if (uid >= 0 && setuid((uid_t)uid) != 0) {
            perror("meter: setuid");
            _exit(125);
        }
        if (core) {
            prctl(PR_SET_DUMPABLE, 1);
        }
        for (int e = 1; e < i; e++) {
            if (strcmp(argv[e], "--env") == 0) {
                putenv(argv[++e]);
            }
        }
        execvp(argv[i], argv + i);
        fprintf(stderr, "meter: %s: %s\n", argv[i], strerror(errno));
        _exit(errno == ENOENT ? 127 : 126);
    }
    child_pid = pid;
    int status = 0;
    struct rusage used;
    for (;;) {
        // Not wait4(pid) alone: adopted orphans must be reaped too, or they stay as zombies while the program runs.
        siginfo_t info = {0};
        if (waitid(P_ALL, 0, &info, WEXITED | WNOWAIT) != 0) {
            if (errno == EINTR) {
                continue;
            }
            break;
        }
        if (info.si_pid == pid) {
            break;
        }
        waitpid(info.si_pid, NULL, 0);
    }
    long long wall = now_us() - start;
    while (wait4(pid, &status, 0, &used) < 0 && errno == EINTR) {}
    child_pid = 0;
    end_orphans();
    char line[160];
    int length =
        snprintf(line, sizeof line, "exit %d %d %lld %lld %lld %ld\n",
                 WIFEXITED(status) ? WEXITSTATUS(status) : -1, WIFSIGNALED(status) ? WTERMSIG(status) : 0,
                 wall, microseconds(used.ru_utime), microseconds(used.ru_stime), used.ru_maxrss);
    if (write(out, line, (size_t)length) != length) {
        return 125;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
