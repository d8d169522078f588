/*
 * malloc, free, calloc, realloc (M-40): the fast path, the slow path behind it, and errno.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/block.h"
#include "quarry/malloc.h"
#include "quarry/quarry.h"
#include "tcache/kept.h"

static QY_NOINLINE void *malloc_uncached(size_t size)
{
    void *mem = qy_block_take_slow(size, NULL);
    if (QY_UNLIKELY(!mem))
        errno = ENOMEM;
    return mem;
}

static QY_NOINLINE void *malloc_medium(struct qy_tcache *t, size_t size)
{
    void *mem = qy_medium_pop(t, size);
    return QY_LIKELY(mem != NULL) ? mem : malloc_uncached(size);
}

QY_EXPORT void *malloc(size_t size)
{
    struct qy_tcache *t = qy_self;
    if (QY_UNLIKELY(!qy_tcache_serves(t, size)))
        return malloc_medium(t, size);
    void *mem = qy_tcache_pop(t, size);
    return QY_LIKELY(mem != NULL) ? mem : malloc_uncached(size);
}

QY_EXPORT void free(void *mem)
{
    qy_block_free(mem);
}

/* All of the block is zero, as with libc: some who ask for its usable size rely on that. */
static QY_NOINLINE void *calloc_slow(size_t bytes)
{
    uintptr_t clean_from = UINTPTR_MAX;
    void *mem = qy_block_take_slow(bytes, &clean_from);
    if (QY_UNLIKELY(!mem)) {
        errno = ENOMEM;
        return NULL;
    }
    /* Memory fresh from the kernel is zero, and stays untouched (M-24). */
    if (clean_from > (uintptr_t)mem)
        memset(mem, 0, qy_min(qy_block_room(mem), clean_from - (uintptr_t)mem));
    return mem;
}

/* ptmalloc's calloc passes the thread cache by; the classic profile does so too. */
static QY_NOINLINE void *calloc_medium(struct qy_tcache *t, size_t bytes)
{
    void *mem = QY_LIKELY(!qy_options.classic) ? qy_medium_pop(t, bytes) : NULL;
    return QY_LIKELY(mem != NULL) ? memset(mem, 0, qy_block_room(mem)) : calloc_slow(bytes);
}

QY_EXPORT void *calloc(size_t count, size_t size)
{
    size_t bytes;
    if (QY_UNLIKELY(__builtin_mul_overflow(count, size, &bytes))) {
        errno = ENOMEM;
        return NULL;
    }
    struct qy_tcache *t = qy_self;
    if (QY_UNLIKELY(!qy_tcache_serves(t, bytes)))
        return calloc_medium(t, bytes);
    void *mem = qy_tcache_pop(t, bytes);
    if (QY_UNLIKELY(!mem))
        return calloc_slow(bytes);
    size_t room = qy_cell_room(t, bytes);
    QY_HIDE(room); /* it is a multiple of 8, for which gcc has a slow instruction */
    return memset(mem, 0, room);
}

QY_EXPORT void *realloc(void *mem, size_t size)
{
    if (!mem)
        return malloc(size);
    if (size == 0) {
        free(mem);
        return NULL;
    }
    void *resized = qy_block_resize(mem, size);
    if (QY_UNLIKELY(!resized))
        errno = ENOMEM;
    return resized;
}

QY_EXPORT size_t malloc_usable_size(void *mem)
{
    return qy_block_usable(mem);
}

/* By these names libc exports the same once more; some programs ask for them, and give what they get to free. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *mem, size_t size);
void __libc_free(void *mem);
QY_EXPORT void *__libc_malloc(size_t size) QY_ALIAS(malloc);
QY_EXPORT void *__libc_calloc(size_t count, size_t size) QY_ALIAS(calloc);
QY_EXPORT void *__libc_realloc(void *mem, size_t size) QY_ALIAS(realloc);
QY_EXPORT void __libc_free(void *mem) QY_ALIAS(free);
