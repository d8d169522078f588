/*
 * For the tests of the always-on checks (M-50, M-51): one bug, done in a process of its own, and a judgement of how
 * that process ended.
 *
 * Owns: the process and the judgement. May not know: how an allocator finds a bug.
 *
 *     dies(bug, &arg, DOUBLE_FREE, "size %zu", n)     killed by SIGABRT, and stderr is exactly the one line
 *     does_no_harm(bug, &arg, "…")                    the same with any of Quarry's lines, or it ran to its end;
 *                                                     the bug itself calls QT_FAIL when harm was done
 */
#ifndef SAFETY_H
#define SAFETY_H

#include "mech_opaque.h"
#include "qtest.h"

#define HEX "0x[0-9a-f]+"
#define DOUBLE_FREE "^quarry: double free: " HEX ": this block is already free$"
/* Of a block that was merged, unmapped or given back, nothing is left that could be called free. */
#define FREED_BEFORE                                              \
    "^quarry: (double free: " HEX ": this block is already free|" \
    "invalid pointer: " HEX ": (no block begins here|Quarry never handed this out))$"
#define SAME_TIME \
    "^quarry: double free: " HEX ": this (block|mapped block) was freed by another thread at the same time$"
#define INVALID "^quarry: invalid pointer: " HEX ": (no block begins here|Quarry never handed this out)$"
#define PAST_END "^quarry: corrupted header: " HEX ": this block was written past its end$"
#define BEFORE_START \
    "^quarry: corrupted header: " HEX ": the size before this (block|mapped block) was written over$"
#define ANY_LINE                                                                                                  \
    "^quarry: (double free|invalid pointer|corrupted header|corrupted list|corrupted top|write after free): " HEX \
    ": "

/* What the process with the bug tells the one that judges it. */
struct safety_shared {
    const volatile void *named; /* the address that the message must name; NULL: any */
};
static struct safety_shared *safety;

struct safety_end {
    int status;
    const volatile void *named;
    char text[2048];
};

typedef void safety_bug(const void *arg);

static inline struct safety_end safety_run(safety_bug *bug, const void *arg)
{
    struct safety_end end = {0, NULL, ""};
    int fd = memfd_create("safety-stderr", MFD_CLOEXEC);
    if (!safety)
        safety = (struct safety_shared *)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                                              -1, 0);
    safety->named = NULL;
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fd, 2);
        alarm(20);
        bug(arg);
        _exit(0);
    }
    QT_CHECK(pid > 0 && fd >= 0);
    while (waitpid(pid, &end.status, 0) < 0)
        QT_CHECK(errno == EINTR);
    ssize_t n = pread(fd, end.text, sizeof end.text - 1, 0);
    end.text[n > 0 ? n : 0] = 0;
    end.named = safety->named;
    close(fd);
    return end;
}

static inline bool safety_names(const struct safety_end *end)
{
    const char *hex = strstr(end->text, "0x");
    return !end->named || (hex && strtoul(hex, NULL, 16) == (uintptr_t)end->named);
}

/* Empty when the process died of SIGABRT with exactly the one line. */
static inline const char *safety_fault(const struct safety_end *end, const char *re)
{
    if (!WIFSIGNALED(end->status))
        return "lived on";
    if (WTERMSIG(end->status) != SIGABRT)
        return strsignal(WTERMSIG(end->status));
    if (!qt_one_line_matches(end->text, re))
        return "said something else";
    return safety_names(end) ? "" : "named another address";
}

/* Tables go through to their end, so that one run shows all that is wrong; each case ends with safety_done(). */
static int safety_faults, safety_runs, safety_not_to_be_had;

__attribute__((format(printf, 3, 4))) static inline void safety_complain(const char *fault,
                                                                         const struct safety_end *end,
                                                                         const char *format, ...)
{
    char what[256];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    if (safety_faults++ < 8)
        qt_say("%s: %s: %s\n", what, fault, end->text);
}

/*
 * A bug that does not find its blocks as it needs them, for time has passed and memory has gone back, exits with 77 and
 * tries again. Few may never find them: where mapped blocks lie is the kernel's business.
 */
static inline bool safety_run_where_it_can(safety_bug *bug, const void *arg, struct safety_end *end)
{
    safety_runs++;
    for (int tries = 0; tries < 10; tries++) {
        *end = safety_run(bug, arg);
        if (!WIFEXITED(end->status) || WEXITSTATUS(end->status) != 77)
            return true;
    }
    safety_not_to_be_had++;
    return false;
}

#define dies(bug, arg, re, ...)                                                        \
    do {                                                                               \
        struct safety_end safety_end_;                                                 \
        bool safety_ran_ = safety_run_where_it_can(bug, arg, &safety_end_);            \
        const char *safety_fault_ = safety_ran_ ? safety_fault(&safety_end_, re) : ""; \
        if (*safety_fault_)                                                            \
            safety_complain(safety_fault_, &safety_end_, __VA_ARGS__);                 \
    } while (0)

#define does_no_harm(bug, arg, ...)                                              \
    do {                                                                         \
        struct safety_end safety_end_ = safety_run(bug, arg);                    \
        const char *safety_fault_ = safety_fault(&safety_end_, ANY_LINE);        \
        bool safety_harmless_ = safety_end_.status == 0 && !safety_end_.text[0]; \
        if (*safety_fault_ && !safety_harmless_)                                 \
            safety_complain(safety_fault_, &safety_end_, __VA_ARGS__);           \
    } while (0)

static inline void safety_done(void)
{
    QT_CHECKF(safety_faults == 0, "%d in all", safety_faults);
    QT_CHECKF(safety_not_to_be_had <= safety_runs / 8, "%d of %d found no blocks as they need them",
              safety_not_to_be_had, safety_runs);
}

/* Sizes of every regime, the borders between them among these. */
static const size_t safety_sizes[] = {
    1,    8,     24,    25,    40,    56,    72,     104,    120,    128,    136,    200,    248,    256,
    504,  600,   760,   1000,  1008,  1016,  1017,   1032,   1033,   1048,   1272,   1528,   2040,   4000,
    4096, 10000, 32760, 32769, 60000, 65536, 100000, 131000, 131072, 150000, 200000, 300000, 1048576};
#define SAFETY_SIZES (sizeof safety_sizes / sizeof *safety_sizes)
#define for_sizes(n) for (size_t n, n##_i = 0; n##_i < SAFETY_SIZES && (n = safety_sizes[n##_i], 1); n##_i++)

/* A block of this size stays what it was when it is freed: it waits in a cache, not merged, not unmapped. */
static inline bool safety_is_cached(size_t n)
{
    return n <= 1016;
}

/* Keeps the compiler from knowing that two pointers are the same. */
__attribute__((noinline, unused)) static void *again(void *p)
{
    void *volatile hidden = p;
    return hidden;
}

/* Writes byte by byte where nobody may. */
__attribute__((noinline, unused)) static void scribble(void *at, size_t bytes, int value)
{
    for (volatile unsigned char *p = (volatile unsigned char *)at; bytes-- > 0;)
        *p++ = (unsigned char)value;
}

static inline volatile size_t *words(void *p)
{
    return (volatile size_t *)p;
}

#endif
