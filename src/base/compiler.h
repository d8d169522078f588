/*
 * What we ask of the compiler, under one name each. Knows nothing of Quarry.
 */
#ifndef QY_BASE_COMPILER_H
#define QY_BASE_COMPILER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QY_LIKELY(x) __builtin_expect(!!(x), 1)
#define QY_UNLIKELY(x) __builtin_expect(!!(x), 0)

#define QY_EXPORT __attribute__((visibility("default")))
#define QY_NOINLINE __attribute__((noinline))
#define QY_COLD __attribute__((noinline, cold))
#define QY_INLINE static inline __attribute__((always_inline))
#define QY_ALIGNED(n) __attribute__((aligned(n)))

/* Thread-local storage that costs two loads and never calls the dynamic linker. */
#define QY_THREAD __thread __attribute__((tls_model("initial-exec")))

#define QY_STATIC_ASSERT(cond, text) _Static_assert(cond, text)

/*
 * *(base + index + field) += n, field and n constant, in one instruction where the machine has one: compilers prefer three when
 * the old value is at hand, and one more to have the address in a register.
 */
#if defined(__x86_64__)
#define QY_ADD_IN_PLACE(base, index, field, n)                                   \
    __asm__ volatile("addq %0, %c1(%2,%3)"                                       \
                     :                                                           \
                     : "i"((long)(n)), "i"((long)(field)), "r"(base), "r"(index) \
                     : "cc", "memory")
#else
#define QY_ADD_IN_PLACE(base, index, field, n) \
    (*(uintptr_t *)((char *)(base) + (index) + (field)) += (uintptr_t)(n))
#endif

/*
 * Three grades of checking (docs/invariants.md). A check that protects the program from itself is neither:
 * it is an `if` that ends in qy_fatal(), in every build.
 */
#ifdef QY_DEBUG
#define QY_ASSERT(cond) ((cond) ? (void)0 : qy_assert_failed(#cond, __FILE__, __LINE__))
#else
#define QY_ASSERT(cond) ((void)0)
#endif
void qy_assert_failed(const char *cond, const char *file, int line) __attribute__((noreturn, cold));

#endif
