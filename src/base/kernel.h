/*
 * System calls, made here and not by libc's syscall(): a library that stands before that one (torsocks, uid_wrapper)
 * may allocate in it, and we call the kernel with locks held and before we are set up
 * (docs/decisions/0027-system-calls.md).
 *
 * May not know: anything of Quarry. What takes, changes or returns memory goes through libc's functions none the less:
 * who keeps a record of mappings stands before those.
 */
#ifndef QY_BASE_KERNEL_H
#define QY_BASE_KERNEL_H

#include <sys/syscall.h>

#include "base/compiler.h"

QY_INLINE long qy_kernel_call(long number, const long a[6])
{
#if defined(__x86_64__)
    register long d __asm__("r10") = a[3];
    register long e __asm__("r8") = a[4];
    register long f __asm__("r9") = a[5];
    __asm__ volatile("syscall"
                     : "+a"(number)
                     : "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(d), "r"(e), "r"(f)
                     : "rcx", "r11", "memory");
    return number;
#elif defined(__aarch64__)
    register long call __asm__("x8") = number;
    register long result __asm__("x0") = a[0];
    register long b __asm__("x1") = a[1];
    register long c __asm__("x2") = a[2];
    register long d __asm__("x3") = a[3];
    register long e __asm__("x4") = a[4];
    register long f __asm__("x5") = a[5];
    __asm__ volatile("svc 0" : "+r"(result) : "r"(call), "r"(b), "r"(c), "r"(d), "r"(e), "r"(f) : "memory");
    return result;
#else
#error "no system calls for this architecture"
#endif
}

/*
 * qy_kernel(SYS_name, arguments, each a long): what the kernel returns, on failure minus what errno would be. Never
 * touches errno, and is no cancellation point.
 */
#define qy_kernel(number, ...) qy_kernel_call(number, (const long[6]){__VA_ARGS__})

#endif
