/*
 * Calls of the allocator that the compiler cannot see through.
 *
 * Owns: one rule. A call of malloc, free and their family in a file that includes this goes through a volatile
 * pointer, so the compiler can neither drop a malloc/free pair, nor assume that a new block's contents are
 * undefined, nor that a freed one is never looked at again: all of which these tests do on purpose.
 */
#ifndef MECH_OPAQUE_H
#define MECH_OPAQUE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif

#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>

static void *(*volatile opaque_malloc)(size_t) __attribute__((unused)) = malloc;
static void (*volatile opaque_free)(void *) __attribute__((unused)) = free;
static void *(*volatile opaque_calloc)(size_t, size_t) __attribute__((unused)) = calloc;
static void *(*volatile opaque_realloc)(void *, size_t) __attribute__((unused)) = realloc;
static void *(*volatile opaque_memalign)(size_t, size_t) __attribute__((unused)) = memalign;
static size_t (*volatile opaque_usable)(void *) __attribute__((unused)) = malloc_usable_size;

#define malloc(n) opaque_malloc(n)
#define free(p) opaque_free(p)
#define calloc(n, size) opaque_calloc(n, size)
#define realloc(p, n) opaque_realloc(p, n)
#define memalign(alignment, n) opaque_memalign(alignment, n)
#define malloc_usable_size(p) opaque_usable(p)

#endif
