/*
 * The nothrow forms of operator new (M-40). They call the throwing ones, which the program may have replaced, and
 * return NULL for whatever these or a new_handler throw. C cannot catch that. So where there may be something to catch,
 * the C++ runtime's own forms do it, which are found in its table of symbols: by name one might find those of another
 * allocator that the program is linked with.
 *
 * For the same reason they are here at all, and not left to the runtime: another allocator's forms come before the
 * runtime's, and its blocks would come to our operator delete. An archive is linked with one allocator, and leaves them
 * to the runtime.
 */
#include "api/block.h"
#include "api/cxx.h"
#include "api/symbols.h"
#include "base/atomic.h"

extern void *_Znwm(size_t size);
extern void *_Znam(size_t size);
extern void *_ZnwmSt11align_val_t(size_t size, size_t alignment);
extern void *_ZnamSt11align_val_t(size_t size, size_t alignment);

typedef void *form(size_t size, const struct nothrow *tag);
typedef void *aligned_form(size_t size, size_t alignment, const struct nothrow *tag);

static bool may_throw(void)
{
    qy_get_new_handler *get = qy_cxx_get_new_handler();
    return get && get();
}

/* NULL: there is no runtime with such a form. */
static QY_COLD void *of_runtime(const char *name)
{
    struct qy_symbols runtime;
    qy_get_new_handler *get = qy_cxx_get_new_handler();
    if (!get || !qy_symbols_of((const void *)get, &runtime))
        return NULL;
    const ElfW(Sym) *symbol = qy_symbol_named(&runtime, name, NULL);
    return symbol ? qy_symbol_value(&runtime, symbol) : NULL;
}

/* As of_runtime, and remembered in *known: whoever asks first, all find the same. */
static void *known_of_runtime(void **known, const char *name)
{
    void *found = qy_load_relaxed(known);
    if (!found) {
        found = of_runtime(name);
        qy_store_relaxed(known, found);
    }
    return found;
}

static void *take(size_t size, size_t alignment)
{
    return alignment ? qy_block_take_aligned(alignment, size) : qy_block_take(size);
}

/* What the throwing form would give, if it is ours throughout. False: the runtime must look after it. */
QY_INLINE bool took(bool ours, size_t size, size_t alignment, void **mem)
{
    return QY_LIKELY(ours) && (QY_LIKELY((*mem = take(size, alignment)) != NULL) || !may_throw());
}

QY_OPERATOR(void *, _ZnwmRKSt9nothrow_t, size_t size, const struct nothrow *tag)
{
    static void *known;
    void *mem;
    if (took(_Znwm == qy_cxx_new, size, 0, &mem))
        return mem;
    form *theirs = (form *)known_of_runtime(&known, "_ZnwmRKSt9nothrow_t");
    return theirs ? theirs(size, tag) : _Znwm(size);
}

QY_OPERATOR(void *, _ZnamRKSt9nothrow_t, size_t size, const struct nothrow *tag)
{
    static void *known;
    void *mem;
    if (took(_Znam == qy_cxx_new_array && _Znwm == qy_cxx_new, size, 0, &mem))
        return mem;
    form *theirs = (form *)known_of_runtime(&known, "_ZnamRKSt9nothrow_t");
    return theirs ? theirs(size, tag) : _Znam(size);
}

QY_OPERATOR(void *, _ZnwmSt11align_val_tRKSt9nothrow_t, size_t size, size_t alignment,
            const struct nothrow *tag)
{
    static void *known;
    void *mem;
    if (took(_ZnwmSt11align_val_t == qy_cxx_new_aligned, size, alignment, &mem))
        return mem;
    aligned_form *theirs = (aligned_form *)known_of_runtime(&known, "_ZnwmSt11align_val_tRKSt9nothrow_t");
    return theirs ? theirs(size, alignment, tag) : _ZnwmSt11align_val_t(size, alignment);
}

QY_OPERATOR(void *, _ZnamSt11align_val_tRKSt9nothrow_t, size_t size, size_t alignment,
            const struct nothrow *tag)
{
    static void *known;
    void *mem;
    bool ours =
        _ZnamSt11align_val_t == qy_cxx_new_array_aligned && _ZnwmSt11align_val_t == qy_cxx_new_aligned;
    if (took(ours, size, alignment, &mem))
        return mem;
    aligned_form *theirs = (aligned_form *)known_of_runtime(&known, "_ZnamSt11align_val_tRKSt9nothrow_t");
    return theirs ? theirs(size, alignment, tag) : _ZnamSt11align_val_t(size, alignment);
}
