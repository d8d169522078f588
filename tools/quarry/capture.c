#include "capture.h"

#include "command.h"
#include "snapshot_file.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool all_digits(const char *text)
{
    return *text && text[strspn(text, "0123456789")] == '\0';
}

static int capture_file(const char *command, const char *path, struct model *m)
{
    char start[SNAPSHOT_MAGIC_BYTES] = {0};
    const char *why;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* of a pipe, nobody has to write to it */
    if (fd < 0)
        return complain(EXIT_FINDING, "%s: %s: %s", command, path, strerror(errno));
    ssize_t got = pread(fd, start, sizeof start, 0);
    int result;
    if (got < 0 && errno != ESPIPE)
        result = complain(EXIT_FINDING, "%s: %s: %s", command, path, strerror(errno));
    else if (memcmp(start, ELFMAG, SELFMAG) == 0)
        result = capture_core(command, path, fd, m);
    else if (memcmp(start, SNAPSHOT_MAGIC, sizeof start) != 0)
        result = complain(EXIT_FINDING, "%s: %s: neither a core file nor a snapshot", command, path);
    else if ((why = snapshot_read(fd, m)) != NULL)
        result = complain(EXIT_FINDING, "%s: %s: %s", command, path, why);
    else
        result = EXIT_FINE;
    close(fd);
    return result;
}

int capture(const char *command, const char *target, const struct capture_options *options, struct model *m)
{
    *m = (struct model){0};
    if (!*target)
        return complain(EXIT_FINDING, "%s: no target: its name is empty", command);
    if (!all_digits(target))
        return capture_file(command, target, m);
    errno = 0;
    long pid = strtol(target, NULL, 10);
    if (errno || pid <= 0 || pid > INT_MAX)
        return complain(EXIT_USAGE, "%s: '%s' is no process id", command, target);
    return capture_process(command, (int)pid, options, m);
}

bool capture_is_there(const char *target)
{
    return all_digits(target) ? !capture_process_gone(atoi(target)) : access(target, F_OK) == 0;
}
