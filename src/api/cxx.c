/*
 * C++ operators new and delete (M-40), in C, by their mangled names, so that the library needs no C++ runtime. What
 * throws is taken from the program's own runtime (qy_cxx_runtime); a program without one cannot call these.
 *
 * A program may replace any of them, and the default forms must then go through its own ([new.delete]): so all are
 * weak, array forms call the scalar ones, sized ones the unsized. The nothrow forms of new are in nothrow_shared.c.
 */
#include <stdlib.h>

#include "api/block.h"
#include "api/cxx.h"
#include "tcache/kept.h"

extern void _ZSt17__throw_bad_allocv(void) __attribute__((weak)); /* std::__throw_bad_alloc() */
extern qy_get_new_handler _ZSt15get_new_handlerv __attribute__((weak));

qy_get_new_handler *qy_cxx_get_new_handler(void)
{
    return (qy_get_new_handler *)qy_cxx_runtime((void *)_ZSt15get_new_handlerv, "_ZSt15get_new_handlerv");
}

static QY_COLD __attribute__((noreturn)) void throw_bad_alloc(void)
{
    void *throws = qy_cxx_runtime((void *)_ZSt17__throw_bad_allocv, "_ZSt17__throw_bad_allocv");
    if (throws)
        ((void (*)(void))throws)();
    abort();
}

/* As the standard says: ask the handler for memory until there is some or it throws. */
static QY_COLD void *new_failed(size_t size, size_t alignment)
{
    for (;;) {
        qy_get_new_handler *get = qy_cxx_get_new_handler();
        qy_new_handler handler = get ? get() : NULL;
        if (!handler)
            throw_bad_alloc();
        handler();
        void *mem = qy_block_take_aligned(alignment, size);
        if (mem)
            return mem;
    }
}

static QY_NOINLINE void *new_uncached(size_t size)
{
    void *mem = qy_block_take_slow(size, NULL);
    return QY_LIKELY(mem != NULL) ? mem : new_failed(size, 1);
}

static QY_NOINLINE void *new_medium(struct qy_tcache *t, size_t size)
{
    void *mem = qy_medium_pop(t, size);
    return QY_LIKELY(mem != NULL) ? mem : new_uncached(size);
}

QY_OPERATOR(void *, _Znwm, size_t size) /* operator new(size_t) */
{
    struct qy_tcache *t = qy_self;
    if (QY_UNLIKELY(!qy_tcache_serves(t, size)))
        return new_medium(t, size);
    void *mem = qy_tcache_pop(t, size);
    return QY_LIKELY(mem != NULL) ? mem : new_uncached(size);
}

QY_OPERATOR(void *, _Znam, size_t size) /* operator new[](size_t) */
{
    return _Znwm(size);
}

QY_OPERATOR(void *, _ZnwmSt11align_val_t, size_t size, size_t alignment)
{
    void *mem = qy_block_take_aligned(alignment, size);
    return QY_LIKELY(mem != NULL) ? mem : new_failed(size, alignment);
}

QY_OPERATOR(void *, _ZnamSt11align_val_t, size_t size, size_t alignment)
{
    return _ZnwmSt11align_val_t(size, alignment);
}

QY_OPERATOR(void, _ZdlPv, void *mem) /* operator delete(void *) */
{
    qy_block_free(mem);
}

QY_OPERATOR(void, _ZdaPv, void *mem) /* operator delete[](void *) */
{
    _ZdlPv(mem);
}

QY_OPERATOR(void, _ZdlPvm, void *mem, QY_UNUSED size_t size)
{
    _ZdlPv(mem);
}

QY_OPERATOR(void, _ZdaPvm, void *mem, QY_UNUSED size_t size)
{
    _ZdaPv(mem);
}

QY_OPERATOR(void, _ZdlPvRKSt9nothrow_t, void *mem, QY_UNUSED const struct nothrow *tag)
{
    _ZdlPv(mem);
}

QY_OPERATOR(void, _ZdaPvRKSt9nothrow_t, void *mem, QY_UNUSED const struct nothrow *tag)
{
    _ZdaPv(mem);
}

QY_OPERATOR(void, _ZdlPvSt11align_val_t, void *mem, QY_UNUSED size_t alignment)
{
    qy_block_free(mem);
}

QY_OPERATOR(void, _ZdaPvSt11align_val_t, void *mem, size_t alignment)
{
    _ZdlPvSt11align_val_t(mem, alignment);
}

QY_OPERATOR(void, _ZdlPvmSt11align_val_t, void *mem, QY_UNUSED size_t size, size_t alignment)
{
    _ZdlPvSt11align_val_t(mem, alignment);
}

QY_OPERATOR(void, _ZdaPvmSt11align_val_t, void *mem, QY_UNUSED size_t size, size_t alignment)
{
    _ZdaPvSt11align_val_t(mem, alignment);
}

QY_OPERATOR(void, _ZdlPvSt11align_val_tRKSt9nothrow_t, void *mem, size_t alignment,
            QY_UNUSED const struct nothrow *tag)
{
    _ZdlPvSt11align_val_t(mem, alignment);
}

QY_OPERATOR(void, _ZdaPvSt11align_val_tRKSt9nothrow_t, void *mem, size_t alignment,
            QY_UNUSED const struct nothrow *tag)
{
    _ZdaPvSt11align_val_t(mem, alignment);
}

#define OURS(name, form) extern __typeof(form) name __attribute__((alias(#form), visibility("hidden")))

OURS(qy_cxx_new, _Znwm);
OURS(qy_cxx_new_array, _Znam);
OURS(qy_cxx_new_aligned, _ZnwmSt11align_val_t);
OURS(qy_cxx_new_array_aligned, _ZnamSt11align_val_t);
