/* A model as a compressed file, and back: docs/formats.md. */
#ifndef QUARRY_SNAPSHOT_FILE_H
#define QUARRY_SNAPSHOT_FILE_H

#include <stdio.h>

#include "model.h"

#define SNAPSHOT_MAGIC "QYSNAP\r\n"
#define SNAPSHOT_MAGIC_BYTES 8

/* False: the file did not take it, or, when it has no error, there was no memory to compress with. */
bool snapshot_write(const struct model *m, FILE *out);

/* NULL, or what is wrong with the file, as the end of a sentence. */
const char *snapshot_read(int fd, struct model *m);

#endif
