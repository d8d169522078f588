/* The web pages that lie beside the command, and putting data into one. */
#ifndef QUARRY_PAGE_H
#define QUARRY_PAGE_H

#include <stdio.h>

#include "json.h"

/*
 * Writes share/quarry/NAME.html to `out`, with what `fill` writes in place of `word`, which stands in it once. Returns
 * an exit status, having complained when that is not EXIT_FINE; whether `out` took it all is to be asked of `out`.
 */
int page_write(const char *command, const char *name, const char *word, FILE *out,
               void (*fill)(struct json *json, const void *data), const void *data);

#endif
