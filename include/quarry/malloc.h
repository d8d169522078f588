/*
 * <malloc.h> as glibc has it, whatever the C library: what musl's leaves out is declared here, and Quarry has it there,
 * too. Meaning, units and errors are those of glibc's manual; docs/options.md says what the parameters of mallopt do.
 */
#ifndef QUARRY_MALLOC_H
#define QUARRY_MALLOC_H

#include <malloc.h>
#include <stdio.h>

#ifndef __GLIBC__

#define M_MXFAST 1
#define M_TRIM_THRESHOLD (-1)
#define M_TOP_PAD (-2)
#define M_MMAP_THRESHOLD (-3)
#define M_MMAP_MAX (-4)
#define M_CHECK_ACTION (-5)
#define M_PERTURB (-6)
#define M_ARENA_TEST (-7)
#define M_ARENA_MAX (-8)

struct mallinfo {
    int arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};

struct mallinfo2 {
    size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};

#ifdef __cplusplus
extern "C" {
#endif

struct mallinfo mallinfo(void);
struct mallinfo2 mallinfo2(void);
int malloc_info(int options, FILE *to);
void malloc_stats(void);
int malloc_trim(size_t pad);
int mallopt(int parameter, int value);
void *pvalloc(size_t size);
void *valloc(size_t size);

#ifdef __cplusplus
}
#endif

#endif /* __GLIBC__ */

#endif
