/* The file that -o names. */
#ifndef QUARRY_OUTPUT_H
#define QUARRY_OUTPUT_H

#include <stdbool.h>
#include <stdio.h>

/*
 * Has `fill` write `data` to `file` ("-" is standard output). A regular file is written beside its place and renamed
 * when it is complete: until then, and when it cannot be written, what was there before stays. `fill` returns an exit
 * status, having complained when that is not EXIT_FINE; it need not look whether `out` took what it wrote. Returns an
 * exit status, too. `command` is the subcommand's name, for messages.
 */
int output_write(const char *command, const char *file, int (*fill)(FILE *out, const void *data),
                 const void *data);

/* Standard output is a terminal that is known to obey the codes that most do. */
bool output_obeys(void);

/* What was shown gives way to what follows; where that cannot be, an empty line comes between. */
void output_clear(bool is_first);

#endif
