#include "files.h"

#include "memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool files_find(enum files_place place, const char *name, char path[PATH_MAX])
{
    /* Seen from the command: in a build, and installed. */
    static const char *const folders[][2] = {
        [FILES_LIB] = {"../lib", QUARRY_BIN_TO_LIB},
        [FILES_SHARE] = {"../share/quarry", QUARRY_BIN_TO_DATA},
    };
    char folder[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", folder, sizeof folder - 1);
    if (length < 0)
        return false;
    folder[length] = '\0';
    *strrchr(folder, '/') = '\0';
    bool found = false;
    int why = ENOENT;
    for (int i = 0; i < 2 && !found; i++) {
        char candidate[2 * PATH_MAX];
        int wanted = snprintf(candidate, sizeof candidate, "%s/%s/%s", folder, folders[place][i], name);
        found = (size_t)wanted < sizeof candidate && realpath(candidate, path) && access(path, R_OK) == 0;
        if (errno != ENOENT)
            why = errno;
    }
    errno = why;
    return found;
}

char *files_read(const char *path, size_t *length)
{
    FILE *in = fopen(path, "re");
    if (!in)
        return NULL;
    size_t room = 1 << 16, got;
    char *text = allocate(room);
    *length = 0;
    while ((got = fread(text + *length, 1, room - 1 - *length, in)) > 0) {
        *length += got;
        if (*length < room - 1)
            continue;
        char *more = allocate(room *= 2);
        memcpy(more, text, *length);
        free(text);
        text = more;
    }
    bool failed = ferror(in);
    fclose(in); /* leaves errno: nothing was written */
    if (!failed)
        return text;
    free(text);
    return NULL;
}
