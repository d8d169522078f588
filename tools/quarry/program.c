#include "program.h"

#include "elf_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

/* The kernel follows five interpreters; we add those that env(1) starts. */
enum { MOST_INTERPRETERS = 8, FIRST_LINE = 256 };

struct examination {
    const char *library;
    char path[PATH_MAX]; /* the program, or what runs it when it is a script */
    bool is_interpreter;
    char *why;
    int why_size;
};

static enum program_result say(struct examination *e, enum program_result result, const char *format, ...)
{
    int used = 0;
    if (e->is_interpreter)
        used = snprintf(e->why, e->why_size, "its interpreter %s ", e->path);
    va_list args;
    va_start(args, format);
    if (used < e->why_size)
        vsnprintf(e->why + used, e->why_size - used, format, args);
    va_end(args);
    return result;
}

/* ---- finding ---- */

static bool runnable(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* As execvp(3): the first that can be run; else remembers that there was one that could not. */
static bool search_path(const char *name, char *found)
{
    const char *path = getenv("PATH");
    if (!path)
        path = "/bin:/usr/bin";
    bool seen = false;
    for (const char *at = path;; at++) {
        int length = (int)strcspn(at, ":");
        char candidate[PATH_MAX];
        int n = snprintf(candidate, sizeof candidate, "%.*s%s%s", length, at, length ? "/" : "./", name);
        struct stat st;
        if (n < (int)sizeof candidate && stat(candidate, &st) == 0 && (!seen || runnable(candidate))) {
            strcpy(found, candidate);
            seen = true;
            if (runnable(candidate))
                return true;
        }
        at += length;
        if (*at == '\0')
            return seen;
    }
}

static bool find(const char *name, char *found)
{
    if (*name == '\0' || strlen(name) >= PATH_MAX)
        return false;
    if (!strchr(name, '/'))
        return search_path(name, found);
    strcpy(found, name);
    return access(name, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

/* ---- the reasons why a preload does not take ---- */

/*
 * The loader ignores LD_PRELOAD when the kernel says AT_SECURE: the program gets an identity or capabilities that
 * its caller's real ids do not give (cap_bprm_creds_from_file in the kernel). Root that runs a set-uid root program
 * changes nothing, and such a program can be preloaded.
 */
static const char *gains_privileges(const char *path)
{
    struct stat st;
    struct statvfs fs;
    if (stat(path, &st) != 0 || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
        return NULL;
    if (statvfs(path, &fs) == 0 && (fs.f_flag & ST_NOSUID))
        return NULL;
    if ((st.st_mode & S_ISUID) && st.st_uid != getuid())
        return "is set-uid";
    if ((st.st_mode & S_ISGID) && (st.st_mode & S_IXGRP) && st.st_gid != getgid())
        return "is set-gid";
    if (getuid() != 0 && getxattr(path, "security.capability", NULL, 0) > 0)
        return "has file capabilities";
    return NULL;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool same_file(const char *a, const char *b)
{
    struct stat sa, sb;
    return stat(a, &sa) == 0 && stat(b, &sb) == 0 && sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

/*
 * Sanitizers that end a program at its start when a library with a malloc is preloaded: their own library has to come
 * before it, or they want the addresses that it takes. NULL: it has none of them.
 *
 * AddressSanitizer that is built into the program comes first, and runs. ThreadSanitizer that is built in is known by
 * its setjmp, which no other has: gcc's exports no name of its own.
 */
static const char *sanitizer_of(const char *path)
{
    static const struct {
        const char *name, *library;
    } shared[] = {{"AddressSanitizer", "libasan.so."},
                  {"AddressSanitizer", "libclang_rt.asan"},
                  {"ThreadSanitizer", "libtsan.so."},
                  {"ThreadSanitizer", "libclang_rt.tsan"}};
    for (size_t i = 0; i < sizeof shared / sizeof shared[0]; i++)
        if (elf_needs(path, shared[i].library))
            return shared[i].name;
    return !elf_defines(path, "malloc")       ? NULL
           : elf_defines(path, "__sigsetjmp") ? "ThreadSanitizer"
           : elf_defines(path, "__msan_init") ? "MemorySanitizer"
                                              : NULL;
}

static enum program_result examine_elf(struct examination *e, const struct elf_file *elf)
{
    struct elf_file library, self;
    char is[64], ours[64];
    if (elf_read(e->library, &library) == ELF_OK && !elf_same_kind(elf, &library))
        return say(e, PROGRAM_OUT_OF_REACH, "is a %s program, and this Quarry is %s",
                   elf_describe(elf, is, sizeof is), elf_describe(&library, ours, sizeof ours));
    const char *privileged = gains_privileges(e->path);
    if (privileged)
        return say(e, PROGRAM_OUT_OF_REACH, "%s: the loader preloads nothing into it", privileged);
    bool know_loader = elf_read("/proc/self/exe", &self) == ELF_OK && self.has_interpreter;
    if (know_loader && same_file(e->path, self.interpreter))
        return PROGRAM_FINE; /* ld.so, started by hand */
    if (!elf->has_interpreter)
        return say(e, PROGRAM_OUT_OF_REACH, "is statically linked: nothing can be preloaded into it");
    if (know_loader && strcmp(base_name(elf->interpreter), base_name(self.interpreter)) != 0)
        return say(e, PROGRAM_CHOKES, "belongs to another libc (its loader is %s, this Quarry's is %s)",
                   elf->interpreter, self.interpreter);
    if (access(elf->interpreter, F_OK) != 0)
        return say(e, PROGRAM_NOT_FOUND, "needs the loader %s, which is not there", elf->interpreter);
    const char *sanitizer = sanitizer_of(e->path);
    if (sanitizer)
        return say(e, PROGRAM_CHOKES, "is built with %s, which runs beside no other malloc", sanitizer);
    /*
     * One that is not exported may be one file's helper, and is known only where nobody stripped it: nothing is said of
     * it.
     */
    if (elf_defines(e->path, "malloc"))
        return say(e, PROGRAM_OWN_MALLOC, "brings its own malloc, which is used instead of Quarry's");
    return PROGRAM_FINE;
}

/* ---- scripts ---- */

static char *next_word(char **rest)
{
    char *word = *rest + strspn(*rest, " \t");
    char *end = word + strcspn(word, " \t");
    *rest = *end ? end + 1 : end;
    *end = '\0';
    return *word ? word : NULL;
}

/* "#! /usr/bin/env [-S] [NAME=value…] PROGRAM …" starts PROGRAM. NULL: we cannot tell. */
static char *behind_env(char *arguments)
{
    for (char *word; (word = next_word(&arguments));) {
        if (strncmp(word, "-S", 2) == 0 && word[2])
            word += 2;
        if (word[0] == '-' && strcmp(word, "-S") != 0 && strcmp(word, "-") != 0 && strcmp(word, "--") != 0)
            return NULL;
        if (word[0] != '-' && !strchr(word, '='))
            return word;
    }
    return NULL;
}

/*
 * If `path` is a script, replaces it by the program that the kernel (or execvp, for a text without #!) would start
 * for it. `interpreter` is empty when that cannot be told.
 */
static bool is_script(const char *path, char *interpreter)
{
    char line[FIRST_LINE + 1] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    ssize_t got = fd < 0 ? -1 : read(fd, line, FIRST_LINE);
    if (fd >= 0)
        close(fd);
    *interpreter = '\0';
    if (got < 2 || line[0] != '#' || line[1] != '!')
        return false;
    line[strcspn(line, "\n")] = '\0';
    char *rest = line + 2;
    char *word = next_word(&rest);
    if (word && strcmp(base_name(word), "env") == 0) {
        char *name = behind_env(rest);
        if (name)
            word = name;
    }
    if (word && !find(word, interpreter))
        strcpy(interpreter, word);
    return true;
}

/* ---- all together ---- */

static enum program_result examine_path(struct examination *e)
{
    struct stat st;
    if (stat(e->path, &st) != 0)
        return say(e, errno == ENOENT ? PROGRAM_NOT_FOUND : PROGRAM_CANNOT_RUN, "%s",
                   errno == ENOENT ? "is not there" : strerror(errno));
    if (S_ISDIR(st.st_mode))
        return say(e, PROGRAM_CANNOT_RUN, "is a directory");
    if (!runnable(e->path))
        return say(e, PROGRAM_CANNOT_RUN, "is not executable");
    return PROGRAM_FINE;
}

enum program_result program_examine(const char *name, const char *library, char *why, int why_size)
{
    struct examination e = {.library = library, .why = why, .why_size = why_size};
    if (!find(name, e.path)) {
        snprintf(why, why_size, "no such program");
        return PROGRAM_NOT_FOUND;
    }
    for (int i = 0; i < MOST_INTERPRETERS; i++) {
        struct elf_file elf;
        char interpreter[PATH_MAX];
        enum program_result result = examine_path(&e);
        if (result != PROGRAM_FINE)
            return result;
        switch (elf_read(e.path, &elf)) {
        case ELF_OK:
            return examine_elf(&e, &elf);
        case ELF_BROKEN:
            return say(&e, PROGRAM_CANNOT_RUN, "is a damaged program file");
        case ELF_UNREADABLE:
            return PROGRAM_FINE; /* may be run and not read: nothing can be told */
        case ELF_NOT_ELF:
            break;
        }
        if (!is_script(e.path, interpreter))
            strcpy(interpreter, "/bin/sh"); /* execvp(3) gives it to the shell */
        if (!*interpreter)
            return PROGRAM_FINE;
        strcpy(e.path, interpreter);
        e.is_interpreter = true;
    }
    return say(&e, PROGRAM_CANNOT_RUN, "is an interpreter of an interpreter without end");
}
