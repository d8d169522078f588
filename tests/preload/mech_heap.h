/*
 * Reading a ptmalloc heap raw: headers, links, top, the arena of a block.
 *
 * Owns: the layout of a chunk as glibc 2.36 has it (M-01..M-04), and nothing else of the allocator: every test of the
 * classic profile must hold for glibc 2.36 itself. Run the programs without LD_PRELOAD to see it.
 *
 *        chunk ->  +----------------------------------+
 *                  | prev_size  (if P == 0)           |
 *                  | size                       A|M|P |
 *          mem ->  +----------------------------------+
 *                  | fd          } while free         |
 *                  | bk          }                    |
 *                  | fd_nextsize } large bins only    |
 *                  | bk_nextsize }                    |
 *                  | ...                              |
 *   next chunk ->  +----------------------------------+
 */
#ifndef MECH_HEAP_H
#define MECH_HEAP_H

#include "mech_maps.h"
#include "mech_opaque.h"

#define P_BIT ((size_t)1)
#define M_BIT ((size_t)2)
#define A_BIT ((size_t)4)
#define HEAP_BYTES ((size_t)64 << 20)

/* A fresh image of the program, with the thread cache as it is, and without: what `.env` of a case says. */
#define FRESH "GLIBC_TUNABLES="
#define NO_TCACHE "GLIBC_TUNABLES=glibc.malloc.tcache_count=0"

static inline size_t head_of(const void *mem)
{
    return ((const volatile size_t *)mem)[-1];
}
static inline size_t prev_size_of(const void *mem)
{
    return ((const volatile size_t *)mem)[-2];
}
static inline size_t chunk_bytes(const void *mem)
{
    return head_of(mem) & ~(size_t)7;
}
static inline char *next_of(const void *mem)
{
    return (char *)mem + chunk_bytes(mem);
}

/* What the chunk after says of this one. */
static inline bool in_use(const void *mem)
{
    return head_of(next_of(mem)) & P_BIT;
}

/* M-01 */
static inline size_t chunk_for(size_t n)
{
    return n + 8 < 32 ? 32 : (n + 8 + 15) & ~(size_t)15;
}

/* The largest request that a chunk of this size serves. */
static inline size_t request_for(size_t chunk)
{
    return chunk - 8;
}

/* Links hold chunks; the tests speak of mem throughout, so a bin too is known by the mem that its pseudo chunk has. */
static inline char *link_at(const void *mem, int i)
{
    return ((char *const volatile *)mem)[i] + 16;
}
static inline char *fd_of(const void *mem)
{
    return link_at(mem, 0);
}
static inline char *bk_of(const void *mem)
{
    return link_at(mem, 1);
}
static inline char *fd_nextsize_of(const void *mem)
{
    return link_at(mem, 2);
}
static inline char *bk_nextsize_of(const void *mem)
{
    return link_at(mem, 3);
}

/* In the main arena, unless the program moved the break itself, top ends at the break. */
static inline bool borders_top(const void *mem)
{
    const char *top = next_of(mem);
    return (uintptr_t)top - 16 + chunk_bytes(top) == brk_end();
}

static inline size_t top_bytes_after(const void *mem)
{
    QT_CHECK(borders_top(mem));
    return chunk_bytes(next_of(mem));
}

/* Takes blocks until none is left in any bin, so that what follows is cut from top, side by side. */
static inline void use_up_bins(void)
{
    for (size_t chunk = 65536; chunk >= 32; chunk = chunk > 1056 ? chunk / 2 : chunk - 16)
        for (;;) {
            char *p = malloc(request_for(chunk));
            QT_CHECK(p != NULL);
            if (in_brk(p) && borders_top(p))
                break;
        }
}

/* A block with an in-use neighbour behind it, both cut from top. */
static inline char *guarded(size_t n)
{
    char *p = malloc(n), *fence = malloc(24);
    QT_CHECKF(fence == next_of(p), "block %p of %zu, fence %p", (void *)p, chunk_bytes(p), (void *)fence);
    QT_EQ(chunk_bytes(p), chunk_for(n));
    return p;
}

/* Makes one walk through the unsorted bin that finds nothing: all that is in it goes to its own bin. */
static inline void sort_unsorted(void)
{
    char *p = malloc(100 * 1024);
    QT_CHECK(p && borders_top(p));
}

static inline bool is_main_arena(const void *mem)
{
    return !(head_of(mem) & A_BIT);
}

/* The 64 MiB granule that holds a block of a thread's arena, and the arena that its header names (M-32). */
static inline uintptr_t heap_base(const void *mem)
{
    return (uintptr_t)mem & ~(HEAP_BYTES - 1);
}
static inline void *arena_of(const void *mem)
{
    return is_main_arena(mem) ? NULL : *(void *const volatile *)heap_base(mem);
}

#endif
