/*
 * Pages of memory from the kernel. Owns no state but the page size. Every function keeps errno: only the API
 * layer decides what the program sees.
 */
#ifndef QY_OS_PAGES_H
#define QY_OS_PAGES_H

#include "base/atomic.h"
#include "base/compiler.h"

QY_OURS size_t qy_page_bytes;   /* set by qy_pages_init; a power of two */
QY_OURS unsigned qy_page_shift; /* which one: a division takes as long as twenty other instructions */

/* Atomic: bytes taken into use so far that were not resident. Whoever takes such memory counts it. */
QY_OURS size_t qy_fresh_bytes;

QY_INLINE void qy_count_fresh(size_t bytes)
{
    qy_add_relaxed(&qy_fresh_bytes, bytes);
}

void qy_pages_init(void);

/* All sizes and addresses below are multiples of qy_page_bytes. NULL or false: the kernel said no. */

/* Readable, writable, zero; not resident before it is touched. */
void *qy_pages_map(size_t bytes, const char *name);

/* The same at this very address; false also when something else lies there. */
bool qy_pages_map_at(void *at, size_t bytes, const char *name);

/* Address space only: not accessible, not counted as memory, at a multiple of `alignment` (a power of two). */
void *qy_pages_reserve(size_t bytes, size_t alignment, const char *name);

/*
 * Huge pages: 512 faults become one, and the processor finds more memory with as many entries, but all of it is
 * resident once a byte of it is touched. So they are for memory that will be used throughout
 * (docs/decisions/0015-huge-pages.md).
 */
#define QY_HUGE_BYTES ((size_t)2 << 20) /* where a page has 4 KiB */

/* Pages have that size, and huge ones were not slow to come. */
bool qy_pages_can_be_huge(void);

/* Whether what is not resident yet comes in huge pages; a wish. A kernel that has none goes on as it did. */
void qy_pages_wish_huge(void *at, size_t bytes, bool huge);

/*
 * Takes the huge page at `at`, which is wished, fresh, and zero. False: it came slowly, as in a virtual machine whose
 * host has to find the memory first, where small pages are the ones that were used before. Then what it is part of
 * shall have no more.
 */
bool qy_pages_take_huge(void *at);

/* As qy_pages_map, with the wish, at a multiple of QY_HUGE_BYTES. The first page is taken. */
void *qy_pages_map_huge(size_t bytes, const char *name);

/*
 * Makes pages resident that will be used soon, as if each had been written: in one call of the kernel instead of a
 * fault for each. False: the kernel cannot do it, or may not, and is not asked again; they come one by one. So may some
 * of them where memory is short.
 */
bool qy_pages_populate(void *at, size_t bytes);

/* Whether the page of an address is resident; any address will do. Not if one may not ask. */
bool qy_page_is_resident(const void *address);

/* Whether all of these are, 64 at most. */
bool qy_pages_are_resident(const void *at, size_t bytes);

/* Makes reserved pages readable and writable. */
bool qy_pages_commit(void *at, size_t bytes, const char *name);

/*
 * Gives the memory back; the pages stay accessible and read as zero. False: some of it stays, as what the program
 * locked does, and some of it may have gone: what it held is lost.
 */
bool qy_pages_purge(void *at, size_t bytes);

/* Gives the memory back, and is not accessible any more, nor counted as memory: as qy_pages_reserve made it. */
bool qy_pages_decommit(void *at, size_t bytes, const char *name);

/* False: the kernel could not (a mapping would have to be split and the limit is reached). */
bool qy_pages_unmap(void *at, size_t bytes);

/* For good: where the kernel could not, the memory goes back all the same, and address space alone is lost. */
void qy_pages_drop(void *at, size_t bytes);

/* Moves or resizes a mapping, contents kept. NULL: nothing changed. */
void *qy_pages_remap(void *at, size_t old_bytes, size_t new_bytes);

#endif
