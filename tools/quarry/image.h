/*
 * A sparse copy of another process's memory: filled while the process stands still, read when it runs again. Owns:
 * which pages were copied, and copying many of them in few system calls.
 */
#ifndef QUARRY_IMAGE_H
#define QUARRY_IMAGE_H

#include "maps.h"

struct image;

#define IMAGE_LINE ((uint64_t)256) /* what is copied at least */
#define IMAGE_PIECE_COST \
    ((uint64_t)1024) /* a piece apart from others takes as long as this many bytes more */

/*
 * `pagemap` is a descriptor of /proc/PID/pagemap, or -1; the maps say where a page that is not present reads as zero.
 */
struct image *image_new(int pid, int pagemap, const struct maps *maps);
void image_free(struct image *image);

/*
 * What was copied is no longer good, and wanted again: the next image_fetch copies it all at once. The memory it took
 * is kept, so that this meets no page fault of ours.
 */
void image_forget(struct image *image);

/* Memory for a quarter more than was copied so far, so that a heap that grew meanwhile meets none either. */
void image_make_room(struct image *image);

/* While it is live, what is read and was not copied yet is copied. */
void image_set_live(struct image *image, bool live);

/* Copied by the next image_fetch, all at once. */
void image_want(struct image *image, uint64_t from, uint64_t to);
void image_fetch(struct image *image);

/* A quarry_read. */
size_t image_read(void *image, uint64_t address, void *buffer, size_t length);

uint64_t image_bytes(const struct image *image); /* copied */

/* Also pages that read as zero: a process may map any number of these, so they count up to a limit. */
uint64_t image_there(const void *image);

#endif
