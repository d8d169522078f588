/*
 * qtest: a fork-per-test harness in one header, for C and C++.
 *
 * Owns: running each case in a process of its own under a time limit, and judging how that process ended. May
 * not know: Quarry. It tests whatever allocator the program runs with; the parent process allocates as little
 * as it can, so a broken allocator fails its cases and not the harness.
 *
 *     #include "qtest.h"
 *
 *     QTEST("free preserves errno (M-40)")                          // passes by returning
 *     {
 *         errno = EBADF;
 *         free(p);
 *         QT_EQ(errno, EBADF);
 *     }
 *
 *     QTEST_DEATH("a double free aborts (M-50)", SIGABRT, "^quarry: double free")    // must die so, saying so
 *     {
 *         free(p); free(p);
 *     }
 *
 *     QTEST_X("…", .timeout_s = 60, .env = "QUARRY_CONF=decay:0;MALLOC_ARENA_MAX=1") { … }
 *
 *     QTEST_MAIN
 *
 * A case named in QTEST_DEATH passes only if the process is killed by that signal and its stderr is exactly
 * one line that the POSIX extended regular expression matches. With `.env` the case runs in a new image of
 * this program (execve) with those variables set ("NAME=value;NAME=value", an empty value unsets), so that
 * options read at start-up take effect; LD_PRELOAD stays.
 *
 * Program arguments: -l lists, -v shows each case's stderr, any other word runs only cases whose name
 * contains it. The last line is `N passed, N failed, N skipped`; the exit status is 0 if none failed, else 1.
 */
#ifndef QTEST_H
#define QTEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif

#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --------------------------------------------------------------- a case */

struct qt_options {
    int signal;            /* the case must be killed by this signal; 0: it must end normally */
    const char *stderr_re; /* its stderr must be one line that this matches; 0: stderr is not judged */
    int exit_status;       /* how it must exit when `signal` is 0 */
    int timeout_s;         /* 0: QT_TIMEOUT_S; multiplied by the environment's QTEST_TIMEOUT_SCALE */
    const char *env;       /* run in a new image with these variables */
};

struct qt_case {
    const char *name;
    const char *file;
    int line;
    void (*body)(void);
    struct qt_options options;
    struct qt_case *next;
};

#ifndef QT_TIMEOUT_S
#define QT_TIMEOUT_S 60
#endif

enum { QT_EXIT_FAILED = 99, QT_EXIT_SKIPPED = 77, QT_STDERR_MAX = 65536 };

static struct qt_case *qt_first, **qt_last = &qt_first;

static inline void qt_add(struct qt_case *c)
{
    *qt_last = c;
    qt_last = &c->next;
}

#define QT_JOIN2(a, b) a##b
#define QT_JOIN(a, b) QT_JOIN2(a, b)

#ifdef __cplusplus /* designated initialisers leave the other members zero, and that is meant */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wpedantic"
#endif

#define QT_DEFINE(id, name_, ...)                                                                          \
    static void QT_JOIN(qt_body_, id)(void);                                                               \
    __attribute__((constructor)) static void QT_JOIN(qt_register_, id)(void)                               \
    {                                                                                                      \
        static struct qt_case c = {name_, __FILE__, __LINE__, QT_JOIN(qt_body_, id), {__VA_ARGS__}, NULL}; \
        qt_add(&c);                                                                                        \
    }                                                                                                      \
    static void QT_JOIN(qt_body_, id)(void)

#define QTEST_X(name, ...) QT_DEFINE(__COUNTER__, name, __VA_ARGS__)
#define QTEST(name) QTEST_X(name, .signal = 0)
#define QTEST_DEATH(name, sig, re) QTEST_X(name, .signal = (sig), .stderr_re = (re))

/* --------------------------------------------------------------- inside a case */

/* To stderr without stdio's buffers, so it works in any state of the heap. */
__attribute__((format(printf, 1, 2))) static inline void qt_say(const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t length = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    ssize_t ignored = write(2, text, length);
    (void)ignored;
}

/* Fails the case, from any of its threads. */
#define QT_FAIL(...)                           \
    do {                                       \
        qt_say("%s:%d: ", __FILE__, __LINE__); \
        qt_say(__VA_ARGS__);                   \
        qt_say("\n");                          \
        _exit(QT_EXIT_FAILED);                 \
    } while (0)

#define QT_CHECK(condition)                      \
    do {                                         \
        if (!(condition))                        \
            QT_FAIL("not true: %s", #condition); \
    } while (0)

/* As QT_CHECK, with what is known: QT_CHECKF(p != NULL, "size %zu", n). */
#define QT_CHECKF(condition, ...)                                            \
    do {                                                                     \
        if (!(condition)) {                                                  \
            qt_say("%s:%d: not true: %s: ", __FILE__, __LINE__, #condition); \
            qt_say(__VA_ARGS__);                                             \
            qt_say("\n");                                                    \
            _exit(QT_EXIT_FAILED);                                           \
        }                                                                    \
    } while (0)

/* Compares two integers or pointers and shows both. */
#define QT_EQ(got, expected)                                                                              \
    do {                                                                                                  \
        long long qt_got = (long long)(got), qt_expected = (long long)(expected);                         \
        if (qt_got != qt_expected)                                                                        \
            QT_FAIL("%s is %lld (0x%llx), expected %s = %lld (0x%llx)", #got, qt_got,                     \
                    (unsigned long long)qt_got, #expected, qt_expected, (unsigned long long)qt_expected); \
    } while (0)

#define QT_SKIP(...)            \
    do {                        \
        qt_say(__VA_ARGS__);    \
        _exit(QT_EXIT_SKIPPED); \
    } while (0)

/* Of a case for which another libc lacks something. */
#ifdef __GLIBC__
#define QT_GLIBC_ONLY(why) ((void)0)
#else
#define QT_GLIBC_ONLY(why) QT_SKIP("not with this libc: " why)
#endif

/* Whether the program runs under Quarry: some promises are Quarry's own, not every allocator's. */
static inline bool qt_under_quarry(void)
{
    const char *preload = getenv("LD_PRELOAD");
    return preload && strstr(preload, "quarry");
}

/* Whether QUARRY_CONF contains this text, e.g. "classic:true". */
static inline bool qt_conf_has(const char *text)
{
    const char *conf = getenv("QUARRY_CONF");
    return conf && strstr(conf, text);
}

/* Waits for a process that the case forked; the case fails unless it exited with `status`. */
static inline void qt_wait_exit(pid_t pid, int status)
{
    int got;
    while (waitpid(pid, &got, 0) < 0)
        QT_CHECK(errno == EINTR);
    QT_CHECKF(WIFEXITED(got) && WEXITSTATUS(got) == status, "child ended with wait status 0x%x",
              (unsigned)got);
}

static inline double qt_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* One figure of /proc/self/status in KiB ("VmRSS:", "VmHWM:", "VmSize:"), read without stdio. */
static inline long qt_status_kib(const char *key)
{
    char text[8192];
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    const char *at = strstr(text, key);
    return at ? strtol(at + strlen(key), NULL, 10) : -1;
}

/*
 * What this process's own memory takes, in KiB. Pages of files are left out: how many of a library's the kernel maps
 * around a fault depends on how its page cache holds the file, by hundreds of KiB, and says nothing of the heap.
 */
static inline long qt_rss_kib(void)
{
    return qt_status_kib("RssAnon:") + qt_status_kib("RssShmem:");
}

/* --------------------------------------------------------------- running */

static char **qt_argv;

static inline void qt_print(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline void qt_print(const char *format, ...)
{
    char text[2048];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t length = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    ssize_t ignored = write(1, text, length);
    (void)ignored;
}

static inline int qt_timeout_s(const struct qt_case *c)
{
    const char *scale = getenv("QTEST_TIMEOUT_SCALE");
    int limit = c->options.timeout_s ? c->options.timeout_s : QT_TIMEOUT_S;
    return scale && atoi(scale) > 0 ? limit * atoi(scale) : limit;
}

/* In the child: sets "NAME=value;…" and replaces the image by `program --qt-case=index`. */
static inline void qt_exec(const struct qt_case *c, int index)
{
    char pairs[1024], word[64];
    snprintf(pairs, sizeof pairs, "%s", c->options.env);
    char *rest = NULL;
    for (char *pair = strtok_r(pairs, ";", &rest); pair; pair = strtok_r(NULL, ";", &rest)) {
        char *value = strchr(pair, '=');
        if (!value)
            QT_FAIL("bad .env: %s", pair);
        *value++ = 0;
        if (*value)
            setenv(pair, value, 1);
        else
            unsetenv(pair);
    }
    snprintf(word, sizeof word, "--qt-case=%d", index);
    char *argv[] = {qt_argv[0], word, NULL};
    execv("/proc/self/exe", argv);
    if (errno == ENOEXEC)
        QT_SKIP("under an emulator no program starts itself anew");
    QT_FAIL("execv: %s", strerror(errno));
}

static inline void qt_become_child(const struct qt_case *c, int index, int stderr_fd)
{
    struct rlimit no_core = {0, 0};
    sigset_t none;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0);
    setrlimit(RLIMIT_CORE, &no_core);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    dup2(stderr_fd, 2);
    if (c->options.env)
        qt_exec(c, index);
    c->body();
    exit(0);
}

/* Waits for the case; kills its process group at the limit. Returns false when it ran out of time. */
static inline bool qt_wait(pid_t pid, int limit_s, int *status)
{
    double end = qt_seconds() + limit_s;
    bool in_time = true;
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    while (waitpid(pid, status, WNOHANG) == 0) {
        struct timespec nap = {0, 200 * 1000 * 1000};
        if (in_time && qt_seconds() > end) {
            in_time = false;
            kill(-pid, SIGKILL);
            kill(pid, SIGKILL);
        }
        sigtimedwait(&child, NULL, &nap);
    }
    kill(-pid, SIGKILL); /* what the case left running */
    return in_time;
}

static inline bool qt_one_line_matches(const char *text, const char *re)
{
    regex_t compiled;
    const char *newline = strchr(text, '\n');
    if (!newline || newline[1])
        return false;
    char line[4096];
    size_t length = (size_t)(newline - text) < sizeof line - 1 ? (size_t)(newline - text) : sizeof line - 1;
    memcpy(line, text, length);
    line[length] = 0;
    if (regcomp(&compiled, re, REG_EXTENDED | REG_NOSUB))
        return false;
    bool matches = regexec(&compiled, line, 0, NULL, 0) == 0;
    regfree(&compiled);
    return matches;
}

/* Why the case failed, into `why`; empty when it passed. */
static inline void qt_judge(const struct qt_case *c, int status, const char *text, char *why, size_t size)
{
    why[0] = 0;
    if (c->options.signal && !WIFSIGNALED(status))
        snprintf(why, size, "exited with %d instead of signal %d", WEXITSTATUS(status), c->options.signal);
    else if (c->options.signal && WTERMSIG(status) != c->options.signal)
        snprintf(why, size, "killed by signal %d instead of %d", WTERMSIG(status), c->options.signal);
    else if (!c->options.signal && WIFSIGNALED(status))
        snprintf(why, size, "killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (!c->options.signal && WEXITSTATUS(status) != c->options.exit_status)
        snprintf(why, size, "exited with %d", WEXITSTATUS(status));
    else if (c->options.stderr_re && !qt_one_line_matches(text, c->options.stderr_re))
        snprintf(why, size, "stderr is not the one line /%s/", c->options.stderr_re);
}

enum qt_verdict { QT_PASSED, QT_FAILED_CASE, QT_SKIPPED_CASE };

static inline enum qt_verdict qt_run_case(const struct qt_case *c, int index, bool verbose)
{
    static char text[QT_STDERR_MAX];
    char why[512];
    int status = 0, stderr_fd = memfd_create("qtest-stderr", MFD_CLOEXEC);
    double start = qt_seconds();
    pid_t pid = fork();
    if (pid == 0)
        qt_become_child(c, index, stderr_fd);
    setpgid(pid, pid);
    bool in_time = qt_wait(pid, qt_timeout_s(c), &status);
    ssize_t n = pread(stderr_fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = 0;
    close(stderr_fd);

    double took = qt_seconds() - start;
    if (in_time && WIFEXITED(status) && WEXITSTATUS(status) == QT_EXIT_SKIPPED) {
        qt_print("skip  %s: %s\n", c->name, text);
        return QT_SKIPPED_CASE;
    }
    qt_judge(c, status, text, why, sizeof why);
    if (!in_time)
        snprintf(why, sizeof why, "timed out after %d s", qt_timeout_s(c));
    if (why[0])
        qt_print("FAIL  %s (%.2f s): %s [%s:%d]\n", c->name, took, why, c->file, c->line);
    else
        qt_print("ok    %s (%.2f s)\n", c->name, took);
    if (text[0] && (why[0] || verbose))
        qt_print("      | %.1500s%s", text, text[strlen(text) - 1] == '\n' ? "" : "\n");
    return why[0] ? QT_FAILED_CASE : QT_PASSED;
}

static inline bool qt_selected(const struct qt_case *c, int argc, char **argv)
{
    bool any = false;
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '-')
            continue;
        if (strstr(c->name, argv[i]))
            return true;
        any = true;
    }
    return !any;
}

static inline int qt_main(int argc, char **argv)
{
    int counts[3] = {0, 0, 0}, index = 0, only = -1;
    bool list = false, verbose = false;
    qt_argv = argv;
    for (int i = 1; i < argc; i++) {
        list |= !strcmp(argv[i], "-l");
        verbose |= !strcmp(argv[i], "-v");
        if (!strncmp(argv[i], "--qt-case=", 10))
            only = atoi(argv[i] + 10);
    }
    for (struct qt_case *c = qt_first; c; c = c->next, index++) {
        if (index == only) { /* the new image of a case with .env */
            c->body();
            exit(0);
        }
        if (only >= 0 || !qt_selected(c, argc, argv))
            continue;
        if (list) {
            qt_print("%s\n", c->name);
            continue;
        }
        sigset_t child;
        sigemptyset(&child);
        sigaddset(&child, SIGCHLD);
        sigprocmask(SIG_BLOCK, &child, NULL);
        counts[qt_run_case(c, index, verbose)]++;
    }
    if (list)
        return 0;
    qt_print("%d passed, %d failed, %d skipped\n", counts[QT_PASSED], counts[QT_FAILED_CASE],
             counts[QT_SKIPPED_CASE]);
    return counts[QT_FAILED_CASE] || counts[QT_PASSED] + counts[QT_SKIPPED_CASE] == 0;
}

#ifdef __cplusplus
}
#endif

#define QTEST_MAIN                  \
    int main(int argc, char **argv) \
    {                               \
        return qt_main(argc, argv); \
    }

#endif
