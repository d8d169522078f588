#include "output.h"

#include "command.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int output_write(const char *command, const char *file, int (*fill)(FILE *out, const void *data),
                 const void *data)
{
    bool to_stdout = strcmp(file, "-") == 0;
    FILE *out = to_stdout ? stdout : fopen(file, "we");
    if (!out)
        return complain(EXIT_OURSELVES, "%s: %s: %s", command, file, strerror(errno));
    struct stat is;
    bool may_be_removed = !to_stdout && fstat(fileno(out), &is) == 0 && S_ISREG(is.st_mode); /* no device */
    int status = fill(out, data);
    bool failed = ferror(out) || fflush(out) != 0;
    if (!to_stdout && fclose(out) != 0)
        failed = true;
    if (status == EXIT_FINE && failed)
        status = complain(EXIT_OURSELVES, "%s: cannot write %s: %s", command,
                          to_stdout ? "standard output" : file, strerror(errno));
    if (status != EXIT_FINE && may_be_removed)
        unlink(file);
    return status;
}
