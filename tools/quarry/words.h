/* Numbers as a person reads and writes them. The text lies in a ring of buffers, good for a few calls. */
#ifndef QUARRY_WORDS_H
#define QUARRY_WORDS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

const char *words_bytes(uint64_t bytes);                  /* "12.3 MiB" */
const char *words_count(uint64_t count);                  /* "1,234,567" */
const char *words_percent(uint64_t part, uint64_t whole); /* "12.3 %" */
const char *words_address(uint64_t address);
const char *words_other_copies(unsigned count); /* a sentence about copies of Quarry */

/*
 * The number that `text` begins with, and where it ends: hexadecimal with 0x, else decimal. A decimal one with a 0 in
 * front is none: it would be octal to some, and half of a hexadecimal address to others.
 */
bool words_number(const char *text, const char **end, uint64_t *number);

/*
 * Prints what somebody else chose: names of files and threads, command lines, what stands in a core file or a snapshot.
 * What a terminal would obey becomes '?', but for newlines and tabs where these are `allowed`.
 */
void words_print_plain(FILE *out, const char *text, const char *allowed);

#endif
