#include "output.h"

#include "command.h"
#include "memory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_NAMES = 100, MOST_INHERITED = 256 };

/* ---- the file beside, which goes when we are ended ---- */

static const int ends[] = {SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGTERM, SIGXCPU, SIGXFSZ};
enum { ENDS = sizeof ends / sizeof ends[0] };
static char *volatile beside;

static void remove_beside(void)
{
    if (beside)
        unlink(beside);
    beside = NULL;
}

static void remove_and_end(int signal)
{
    remove_beside();
    raise(signal); /* its action is the default again, and it arrives on return */
}

static void watch_for_ends(void)
{
    struct sigaction old, action = {.sa_handler = remove_and_end, .sa_flags = (int)SA_RESETHAND};
    for (int i = 0; i < ENDS; i++)
        if (sigaction(ends[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL)
            sigaction(ends[i], &action, NULL);
}

/*
 * As a plain open would: the mode, and what the folder says of new files. No signal comes between the file and its
 * name.
 */
static int create(char *name)
{
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    beside = fd < 0 ? NULL : name;
    int why = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    errno = why;
    return fd;
}

/* Not named after the file: one that is as long as names may be leaves no room for more. */
static int create_beside(const char *path, char **name)
{
    watch_for_ends();
    const char *slash = strrchr(path, '/');
    int folder = slash ? (int)(slash + 1 - path) : 0, fd = -1;
    errno = EEXIST;
    for (int i = 0; fd < 0 && errno == EEXIST && i < MOST_NAMES; i++) {
        free(*name);
        if (asprintf(name, "%.*s.quarry-%d-%d", folder, path, (int)getpid(), i) < 0)
            exit(complain(EXIT_OURSELVES, "out of memory"));
        fd = create(*name);
    }
    return fd;
}

/* ---- the file that is meant ---- */

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* As standard output is, under the name of /dev/stdout or its own: who opened it would keep the old one. */
static bool is_open_twice(int fd, const struct stat *is)
{
    struct stat other;
    for (int i = 0; i < MOST_INHERITED; i++)
        if (i != fd && fstat(i, &other) == 0 && is_same(is, &other))
            return true;
    return false;
}

static bool is_mount_point(const char *path)
{
    struct statx is;
    return statx(AT_FDCWD, path, 0, 0, &is) == 0 && is.stx_attributes & STATX_ATTR_MOUNT_ROOT;
}

/* The kernel has followed the links, as it allows that. NULL: where that is, cannot be told. */
static char *real_path(int fd, const struct stat *is)
{
    char link[64], path[PATH_MAX];
    struct stat there;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = '\0';
    return lstat(path, &there) == 0 && is_same(is, &there) ? copy_text(path) : NULL;
}

/* The new file gets owner, group and mode of the one that it will replace. */
static bool can_stand_in(int fd, const struct stat *old)
{
    return fchown(fd, old->st_uid, old->st_gid) == 0 && fchmod(fd, old->st_mode & 0777) == 0;
}

static int open_beside(const char *path, const struct stat *old, char **name)
{
    int fd = create_beside(path, name);
    if (fd < 0 || can_stand_in(fd, old))
        return fd;
    remove_beside();
    close(fd);
    errno = EPERM;
    return -1;
}

/*
 * *path and *name: the file to be replaced, and the one beside it, when what is written goes there first. What another
 * file cannot stand in for is written in place: a device, a pipe, a file that is open already, has several names, or is
 * somebody else's or in a folder where we may make none.
 */
static int open_file(const char *file, char **path, char **name)
{
    struct stat is;
    if (lstat(file, &is) != 0 && errno == ENOENT) {
        *path = copy_text(file);
        return create_beside(*path, name);
    }
    int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0 || fstat(fd, &is) != 0 || !S_ISREG(is.st_mode))
        return fd;
    if (is.st_nlink == 1 && !is_open_twice(fd, &is) && (*path = real_path(fd, &is)) &&
        !is_mount_point(*path)) {
        int new = open_beside(*path, &is, name);
        if (new >= 0 || (errno != EACCES && errno != EPERM && errno != EROFS)) {
            close(fd);
            return new;
        }
    }
    return ftruncate(fd, 0) == 0 ? fd : -1;
}

/* ---- terminals ---- */

bool output_obeys(void)
{
    const char *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && term && *term && strcmp(term, "dumb") != 0;
}

void output_clear(bool is_first)
{
    if (output_obeys())
        fputs("\033[H\033[2J", stdout);
    else if (!is_first)
        putchar('\n');
}

/* ---- writing ---- */

static int fill_and_close(const char *command, const char *file, FILE *out,
                          int (*fill)(FILE *out, const void *data), const void *data)
{
    bool to_stdout = out == stdout;
    int status = fill(out, data);
    int why = ferror(out) || fflush(out) != 0 ? errno : 0;
    if (!to_stdout && fclose(out) != 0 && !why)
        why = errno;
    if (status == EXIT_FINE && why)
        status = complain(EXIT_OURSELVES, "%s: cannot write %s: %s", command,
                          to_stdout ? "standard output" : file, strerror(why));
    return status;
}

int output_write(const char *command, const char *file, int (*fill)(FILE *out, const void *data),
                 const void *data)
{
    if (strcmp(file, "-") == 0)
        return fill_and_close(command, file, stdout, fill, data);
    char *path = NULL, *name = NULL;
    int fd = open_file(file, &path, &name), status;
    FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
    if (!out)
        status = complain(EXIT_OURSELVES, "%s: %s: %s", command, file, strerror(errno));
    else
        status = fill_and_close(command, file, out, fill, data);
    if (beside && status == EXIT_FINE && rename(beside, path) != 0)
        status = complain(EXIT_OURSELVES, "%s: cannot write %s: %s", command, file, strerror(errno));
    if (status != EXIT_FINE)
        remove_beside();
    beside = NULL;
    free(path);
    free(name);
    return status;
}
