/*
 * Aligned blocks (M-40), with glibc's rules for what an alignment may be.
 */
#include <errno.h>
#include <stdlib.h>

#include "api/block.h"
#include "api/init.h"
#include "base/bits.h"
#include "os/pages.h"
#include "quarry/malloc.h"
#include "quarry/quarry.h"

static void *take(size_t alignment, size_t size)
{
    void *mem = qy_block_take_aligned(alignment, size);
    if (QY_UNLIKELY(!mem))
        errno = ENOMEM;
    return mem;
}

/* As glibc: an alignment that is no power of two is rounded up to one. */
QY_EXPORT void *memalign(size_t alignment, size_t size)
{
    if (alignment > SIZE_MAX / 2 + 1) {
        errno = EINVAL;
        return NULL;
    }
    if (!qy_is_power_of_two(alignment))
        alignment = alignment < 2 ? 1 : (size_t)1 << (qy_high_bit(alignment - 1) + 1);
    return take(alignment, size);
}

QY_EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

QY_EXPORT int posix_memalign(void **out, size_t alignment, size_t size)
{
    if (!qy_is_power_of_two(alignment) || alignment % sizeof(void *) != 0)
        return EINVAL;
    void *mem = qy_block_take_aligned(alignment, size);
    if (!mem)
        return ENOMEM;
    *out = mem;
    return 0;
}

QY_EXPORT void *valloc(size_t size)
{
    qy_init(); /* which asks for the size of a page */
    return take(qy_page_bytes, size);
}

QY_EXPORT void *pvalloc(size_t size)
{
    qy_init();
    size_t rounded = qy_align_up(size, qy_page_bytes);
    if (rounded < size) {
        errno = ENOMEM;
        return NULL;
    }
    return take(qy_page_bytes, rounded);
}

/* As in malloc.c. */
void *__libc_memalign(size_t alignment, size_t size);
void *__libc_valloc(size_t size);
void *__libc_pvalloc(size_t size);
QY_EXPORT void *__libc_memalign(size_t alignment, size_t size) QY_ALIAS(memalign);
QY_EXPORT void *__libc_valloc(size_t size) QY_ALIAS(valloc);
QY_EXPORT void *__libc_pvalloc(size_t size) QY_ALIAS(pvalloc);
