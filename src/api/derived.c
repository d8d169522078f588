/*
 * Functions that are other ones by another name (M-40). A program may bring a malloc, realloc and free of its own, as
 * browsers do, and none of these; then its blocks are its own here, too, as with libc's. So they go by the names,
 * wherever these lead in this process: they must not be in the file that defines them.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/compiler.h"
#include "quarry/quarry.h"

QY_EXPORT void *reallocarray(void *mem, size_t count, size_t size)
{
    size_t bytes;
    if (QY_UNLIKELY(__builtin_mul_overflow(count, size, &bytes))) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(mem, bytes);
}

QY_EXPORT void cfree(void *mem)
{
    free(mem);
}

/* C23. The size is what the program says; our own record is what is true. */
QY_EXPORT void free_sized(void *mem, size_t size)
{
    (void)size;
    free(mem);
}

QY_EXPORT void free_aligned_sized(void *mem, size_t alignment, size_t size)
{
    (void)alignment;
    (void)size;
    free(mem);
}
