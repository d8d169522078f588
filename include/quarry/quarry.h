/*
 * Quarry: a memory allocator that can be looked into.
 *
 * Linking or preloading libquarry replaces malloc and its family, and C++'s operator new and delete; nothing of this
 * header is needed for that. Every function is safe to call from any thread.
 */
#ifndef QUARRY_QUARRY_H
#define QUARRY_QUARRY_H

#include <stddef.h>

#include <quarry/walk.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QUARRY_VERSION_MAJOR 0
#define QUARRY_VERSION_MINOR 1
#define QUARRY_VERSION_PATCH 0

/* The version of the library in this process, "0.1.0". Valid for the life of the process. */
const char *quarry_version(void);

/*
 * A program may carry its own options: define `const char *quarry_conf = "name:value,...";`. QUARRY_CONF in the
 * environment overrules them. docs/options.md lists the options.
 */
extern const char *quarry_conf;

/* C23 and glibc names that older headers do not declare. */
void free_sized(void *ptr, size_t size);
void free_aligned_sized(void *ptr, size_t alignment, size_t size);
void cfree(void *ptr);

#ifdef __cplusplus
}
#endif

#endif
