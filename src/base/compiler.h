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
/* Of a variable declared: it is of this very library, so it is found without a table of addresses. */
#define QY_OURS extern __attribute__((visibility("hidden")))
#define QY_NOINLINE __attribute__((noinline))
#define QY_COLD __attribute__((noinline, cold))
#define QY_INLINE static inline __attribute__((always_inline))
/* A table of which little is used: it lies behind all other variables, so that these share their pages. */
#define QY_SPARSE __attribute__((section(".bss.sparse")))
/* One of which only the head is used: it lies before these, and its head in the last page of the other variables. */
#define QY_HEAD_USED __attribute__((section(".bss.head")))
#define QY_ALIGNED(n) __attribute__((aligned(n)))

/*
 * One more name of a function, of the same file. What is known of the function holds for it: gcc wants to hear that,
 * clang has no word for it.
 */
#if __has_attribute(copy)
#define QY_ALIAS(function) __attribute__((alias(#function), copy(function)))
#else
#define QY_ALIAS(function) __attribute__((alias(#function)))
#endif

/* Thread-local storage that costs two loads and never calls the dynamic linker. */
#define QY_THREAD __thread __attribute__((tls_model("initial-exec")))

#define QY_STATIC_ASSERT(cond, text) _Static_assert(cond, text)

/* What the compiler cannot see. */
#define QY_ASSUME(cond) ((cond) ? (void)0 : __builtin_unreachable())

/*
 * The compiler knows no longer where `variable` came from, so it computes anew what an address can contain for nothing.
 */
#define QY_HIDE(variable) __asm__("" : "+r"(variable))

/* `variable` stands where a function returns it from now on, and need not be moved there at the end. */
#if defined(__x86_64__)
#define QY_RETURNED(variable) __asm__("" : "+a"(variable))
#else
#define QY_RETURNED(variable) ((void)0)
#endif

/*
 * word -= n, of 32 bits, n constant; whether that borrowed. In place where the machine can: compilers load, subtract
 * and store.
 */
#if defined(__x86_64__)
#define QY_SUB_BORROWS(word, n)                                                  \
    ({                                                                           \
        bool borrowed_;                                                          \
        __asm__("subl %2, %0" : "+m"(word), "=@ccc"(borrowed_) : "i"((int)(n))); \
        borrowed_;                                                               \
    })
#else
#define QY_SUB_BORROWS(word, n) __builtin_sub_overflow(word, (uint32_t)(n), &(word))
#endif

/*
 * What is first read and then written faults twice in a fresh page. So where the machine can: word |= bits, of 64 bits,
 * in place; and a word that is read now and written soon is written as it is.
 */
#if defined(__x86_64__)
#define QY_SET_BITS(word, bits) __asm__("orq %1, %0" : "+m"(word) : "r"((uint64_t)(bits)) : "cc")
#define QY_WILL_WRITE(word) __asm__ volatile("orq $0, %0" : "+m"(word) : : "cc")
#else
#define QY_SET_BITS(word, bits) ((void)((word) |= (bits)))
#define QY_WILL_WRITE(word) ((void)0)
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
