/*
 * What the files that define C++ operators share.
 */
#ifndef QY_API_CXX_H
#define QY_API_CXX_H

#include "base/compiler.h"

struct nothrow; /* std::nothrow_t */

/*
 * The C++ runtime's function of that name: `bound`, if the program was started with a runtime, or one of a runtime that
 * a library brought along. NULL: there is none. May take the dynamic linker's lock.
 */
void *qy_cxx_runtime(void *bound, const char *name);

typedef void (*qy_new_handler)(void);
typedef qy_new_handler qy_get_new_handler(void);
qy_get_new_handler *qy_cxx_get_new_handler(void); /* std::get_new_handler */

#define QY_OPERATOR(type, name, ...)                        \
    QY_EXPORT __attribute__((weak)) type name(__VA_ARGS__); \
    type name(__VA_ARGS__)
#define QY_UNUSED __attribute__((unused))

/* Our own throwing forms, whatever the program has in their place. */
QY_OURS void *qy_cxx_new(size_t size);
QY_OURS void *qy_cxx_new_array(size_t size);
QY_OURS void *qy_cxx_new_aligned(size_t size, size_t alignment);
QY_OURS void *qy_cxx_new_array_aligned(size_t size, size_t alignment);

#endif
