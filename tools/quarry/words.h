/* Numbers as a person reads them. The text lies in a ring of buffers, good for a few calls. */
#ifndef QUARRY_WORDS_H
#define QUARRY_WORDS_H

#include <stdint.h>

const char *words_bytes(uint64_t bytes);                  /* "12.3 MiB" */
const char *words_count(uint64_t count);                  /* "1,234,567" */
const char *words_percent(uint64_t part, uint64_t whole); /* "12.3 %" */
const char *words_address(uint64_t address);

#endif
