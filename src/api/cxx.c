/*
 * C++ operators new and delete (M-40), in C, by their mangled names, so that the library needs no C++ runtime. Whatever must
 * throw is taken from the program's own runtime through weak references; a program without one cannot call these.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

#include "api/block.h"
#include "quarry/quarry.h"
#include "tcache/tcache.h"

typedef void (*new_handler)(void);

extern new_handler _ZSt15get_new_handlerv(void) __attribute__((weak));                   /* std::get_new_handler() */
extern void _ZSt17__throw_bad_allocv(void) __attribute__((weak, noreturn));              /* std::__throw_bad_alloc() */

struct nothrow;

static new_handler current_handler(void)
{
    return _ZSt15get_new_handlerv ? _ZSt15get_new_handlerv() : NULL;
}

/* As the standard says: ask the handler for memory until there is some or it throws. */
static QY_COLD void *new_failed(size_t size, size_t alignment)
{
    for (;;) {
        new_handler handler = current_handler();
        if (!handler) {
            if (_ZSt17__throw_bad_allocv)
                _ZSt17__throw_bad_allocv();
            abort();
        }
        handler();
        void *mem = qy_block_take_aligned(alignment, size);
        if (mem)
            return mem;
    }
}

/*
 * nothrow: a handler may throw, which must end in NULL, and C cannot catch. The runtime's own nothrow operator can: it calls
 * the throwing one, which is ours.
 */
static QY_COLD void *nothrow_failed(size_t size, const struct nothrow *tag, const char *operator_name)
{
    void *(*original)(size_t, const struct nothrow *) =
        current_handler() ? (void *(*)(size_t, const struct nothrow *))dlsym(RTLD_NEXT, operator_name) : NULL;
    return original ? original(size, tag) : NULL;
}

static QY_COLD void *nothrow_aligned_failed(size_t size, size_t alignment, const struct nothrow *tag,
                                            const char *operator_name)
{
    void *(*original)(size_t, size_t, const struct nothrow *) =
        current_handler() ? (void *(*)(size_t, size_t, const struct nothrow *))dlsym(RTLD_NEXT, operator_name) : NULL;
    return original ? original(size, alignment, tag) : NULL;
}

static QY_NOINLINE void *new_slow(size_t size)
{
    void *mem = qy_block_take(size, NULL);
    return QY_LIKELY(mem != NULL) ? mem : new_failed(size, 1);
}

QY_INLINE void *new_plain(size_t size)
{
    void *mem = qy_tcache_pop(qy_self, size);
    return QY_LIKELY(mem != NULL) ? mem : new_slow(size);
}

QY_INLINE void *new_nothrow(size_t size, const struct nothrow *tag, const char *operator_name)
{
    void *mem = malloc(size);
    return QY_LIKELY(mem != NULL) ? mem : nothrow_failed(size, tag, operator_name);
}

QY_INLINE void *new_aligned(size_t size, size_t alignment)
{
    void *mem = qy_block_take_aligned(alignment, size);
    return QY_LIKELY(mem != NULL) ? mem : new_failed(size, alignment);
}

QY_INLINE void *new_aligned_nothrow(size_t size, size_t alignment, const struct nothrow *tag, const char *operator_name)
{
    void *mem = qy_block_take_aligned(alignment, size);
    return QY_LIKELY(mem != NULL) ? mem : nothrow_aligned_failed(size, alignment, tag, operator_name);
}

QY_INLINE void delete_any(void *mem)
{
    if (QY_UNLIKELY(!qy_tcache_push(qy_self, mem)))
        qy_block_free(mem);
}

#define NEW(name) QY_EXPORT void *name(size_t size)
#define NEW_NOTHROW(name) QY_EXPORT void *name(size_t size, const struct nothrow *tag)
#define NEW_ALIGNED(name) QY_EXPORT void *name(size_t size, size_t alignment)
#define NEW_ALIGNED_NOTHROW(name) QY_EXPORT void *name(size_t size, size_t alignment, const struct nothrow *tag)

NEW(_Znwm); /* operator new(size_t) */
NEW(_Znam); /* operator new[](size_t) */
NEW_NOTHROW(_ZnwmRKSt9nothrow_t);
NEW_NOTHROW(_ZnamRKSt9nothrow_t);
NEW_ALIGNED(_ZnwmSt11align_val_t);
NEW_ALIGNED(_ZnamSt11align_val_t);
NEW_ALIGNED_NOTHROW(_ZnwmSt11align_val_tRKSt9nothrow_t);
NEW_ALIGNED_NOTHROW(_ZnamSt11align_val_tRKSt9nothrow_t);

NEW(_Znwm)
{
    return new_plain(size);
}

NEW(_Znam)
{
    return new_plain(size);
}

NEW_NOTHROW(_ZnwmRKSt9nothrow_t)
{
    return new_nothrow(size, tag, "_ZnwmRKSt9nothrow_t");
}

NEW_NOTHROW(_ZnamRKSt9nothrow_t)
{
    return new_nothrow(size, tag, "_ZnamRKSt9nothrow_t");
}

NEW_ALIGNED(_ZnwmSt11align_val_t)
{
    return new_aligned(size, alignment);
}

NEW_ALIGNED(_ZnamSt11align_val_t)
{
    return new_aligned(size, alignment);
}

NEW_ALIGNED_NOTHROW(_ZnwmSt11align_val_tRKSt9nothrow_t)
{
    return new_aligned_nothrow(size, alignment, tag, "_ZnwmSt11align_val_tRKSt9nothrow_t");
}

NEW_ALIGNED_NOTHROW(_ZnamSt11align_val_tRKSt9nothrow_t)
{
    return new_aligned_nothrow(size, alignment, tag, "_ZnamSt11align_val_tRKSt9nothrow_t");
}

/* Every delete is free(): size and alignment are known from the block. */
#define DELETE(name, ...)                                                                                        \
    QY_EXPORT void name(__VA_ARGS__);                                                                            \
    QY_EXPORT void name(__VA_ARGS__)                                                                             \
    {                                                                                                            \
        delete_any(mem);                                                                                         \
    }
#define UNUSED __attribute__((unused))

DELETE(_ZdlPv, void *mem)
DELETE(_ZdaPv, void *mem)
DELETE(_ZdlPvm, void *mem, UNUSED size_t size)
DELETE(_ZdaPvm, void *mem, UNUSED size_t size)
DELETE(_ZdlPvRKSt9nothrow_t, void *mem, UNUSED const struct nothrow *tag)
DELETE(_ZdaPvRKSt9nothrow_t, void *mem, UNUSED const struct nothrow *tag)
DELETE(_ZdlPvSt11align_val_t, void *mem, UNUSED size_t alignment)
DELETE(_ZdaPvSt11align_val_t, void *mem, UNUSED size_t alignment)
DELETE(_ZdlPvmSt11align_val_t, void *mem, UNUSED size_t size, UNUSED size_t alignment)
DELETE(_ZdaPvmSt11align_val_t, void *mem, UNUSED size_t size, UNUSED size_t alignment)
DELETE(_ZdlPvSt11align_val_tRKSt9nothrow_t, void *mem, UNUSED size_t alignment, UNUSED const struct nothrow *tag)
DELETE(_ZdaPvSt11align_val_tRKSt9nothrow_t, void *mem, UNUSED size_t alignment, UNUSED const struct nothrow *tag)
