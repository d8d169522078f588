/*
 * The program that `quarry run` is to start: where it is, and whether a preloaded library can reach it.
 *
 * Owns: the search along PATH as execvp(3) does it, the way from a script to the program that runs it, and the reasons
 * why a preload does not take, or is of no use. May not know: command-line options, the environment that is built.
 */
#ifndef QUARRY_PROGRAM_H
#define QUARRY_PROGRAM_H

#include <limits.h>

enum program_result {
    PROGRAM_FINE,
    PROGRAM_NOT_FOUND,
    PROGRAM_CANNOT_RUN,   /* a directory, not executable, … */
    PROGRAM_OUT_OF_REACH, /* runs, but without any preloaded library */
    PROGRAM_OWN_MALLOC,   /* runs with the library, and does not use its malloc */
    PROGRAM_CHOKES,       /* runs, but not with the library: another libc's loader, or a sanitizer */
};

/* Looks at `name`; when not fine, `why` holds one line of text. `library` is the library to be preloaded. */
enum program_result program_examine(const char *name, const char *library, char *why, int why_size);

#endif
