/* Files: those that are installed with this command, and the contents of any. */
#ifndef QUARRY_FILES_H
#define QUARRY_FILES_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

enum files_place { FILES_LIB, FILES_SHARE };

/*
 * The real path of lib/NAME or share/quarry/NAME, beside this command as the build leaves it, or where it is installed.
 * False: errno says why not, mostly ENOENT.
 */
bool files_find(enum files_place place, const char *name, char path[PATH_MAX]);

/* All of a file, *length bytes and a NUL, to be freed; NULL: errno says why not. */
char *files_read(const char *path, size_t *length);

#endif
