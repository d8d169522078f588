/*
 * Who puts a filter of system calls upon himself says so by prctl first: that he wants no more privileges, which lets
 * anybody have a filter, or the filter itself. So libquarry.so stands before it, and learns of it (os/sandbox.h). A
 * program that is linked with libquarry.a, or makes the system call without libc, is not seen; nor are filters that
 * were there when the program began (docs/decisions/0024-sandboxes.md).
 *
 * What is behind it is one system call, which is made here: children of a fork call prctl, where one must not look for
 * libc's.
 */
#include <errno.h>
#include <stdarg.h>
#include <sys/prctl.h>

#include "base/kernel.h"
#include "os/sandbox.h"

QY_EXPORT int prctl(int option, ...)
{
    long rest[4]; /* as libc's: so many are passed on, whatever the option has */
    va_list list;
    va_start(list, option);
    for (int i = 0; i < 4; i++)
        rest[i] = va_arg(list, long);
    va_end(list);
    if (option == PR_SET_NO_NEW_PRIVS || option == PR_SET_SECCOMP)
        qy_sandbox_begins();
    long result = qy_kernel(SYS_prctl, option, rest[0], rest[1], rest[2], rest[3]);
    if (result >= 0)
        return (int)result;
    errno = (int)-result;
    return -1;
}
