/*
 * heap: every allocator entry point, called through a pointer that the compiler cannot see through.
 *
 * A compiler may delete a malloc/free pair, assume what calloc returned, or warn of sizes that are wrong on
 * purpose. `heap.malloc(n)` is none of its business.
 */
#ifndef HEAP_H
#define HEAP_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif

#include <dlfcn.h>
#include <quarry/malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

struct heap_calls {
    void *(*malloc)(size_t);
    void (*free)(void *);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void *(*reallocarray)(void *, size_t, size_t);
    void *(*aligned_alloc)(size_t, size_t);
    void *(*memalign)(size_t, size_t);
    int (*posix_memalign)(void **, size_t, size_t);
    void *(*valloc)(size_t);
    void *(*pvalloc)(size_t);
    size_t (*malloc_usable_size)(void *);
    int (*mallopt)(int, int);
    int (*malloc_trim)(size_t);
};

__attribute__((unused)) static const volatile struct heap_calls heap = {
    malloc,      free,           calloc, realloc, reallocarray,       aligned_alloc,
    memalign,    posix_memalign, valloc, pvalloc, malloc_usable_size, mallopt,
    malloc_trim,
};

typedef void heap_free_sized(void *, size_t);
typedef void heap_free_aligned_sized(void *, size_t, size_t);
typedef void heap_cfree(void *);

/* A symbol that only some C libraries have, or NULL. */
static inline void *heap_symbol(const char *name)
{
    return dlsym(RTLD_DEFAULT, name);
}

static inline uintptr_t heap_addr(const void *p)
{
    return (uintptr_t)p;
}

static inline int heap_is_aligned(const void *p, size_t alignment)
{
    return heap_addr(p) % alignment == 0;
}

/* Memory for a test's own books: not from the allocator under test. */
static inline void *heap_private(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/*
 * The sizes where allocators change their mind: around every multiple of 16 to 1100, around eight borders a
 * doubling (exact, and less the 8 or 16 bytes of a header) to 256 KiB. Ascending for each base, not overall.
 */
static inline size_t heap_sizes_add(size_t *out, size_t count, size_t border)
{
    for (int d = -1; d <= 1; d++)
        out[count++] = border + (size_t)d;
    return count;
}

enum { HEAP_SIZES_MAX = 1024 };

static inline size_t heap_sizes(size_t *out, size_t limit)
{
    size_t count = 0;
    out[count++] = 0;
    for (size_t n = 1; n <= 1100 && n <= limit; n = n == 1 ? 16 : n + 16)
        count = n == 1 ? (out[count] = 1, count + 1) : heap_sizes_add(out, count, n);
    for (size_t base = 1024; base <= 256 * KIB; base *= 2)
        for (size_t eighth = 0; eighth < 8; eighth++) {
            size_t border = base + eighth * base / 8;
            if (border + 1 > limit)
                return count;
            count = heap_sizes_add(out, count, border);
            count = heap_sizes_add(out, count, border - 8);
            out[count++] = border - 16;
        }
    return count;
}

#endif
