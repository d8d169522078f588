#define _GNU_SOURCE
#include "os/threads.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/sandbox.h"

struct qy_thread qy_thread_self(void)
{
    if (qy_sandboxed())
        return (struct qy_thread){0};
    int saved = errno; /* a sandbox's filter may refuse anything */
    struct qy_thread self = {(int32_t)syscall(SYS_getpid), (int32_t)syscall(SYS_gettid)};
    errno = saved;
    return self;
}

bool qy_thread_is_gone(struct qy_thread thread)
{
    int saved = errno;
    bool gone = !qy_sandboxed() && syscall(SYS_getpid) == thread.process &&
                syscall(SYS_tgkill, thread.process, thread.number, 0) != 0 && errno == ESRCH;
    errno = saved;
    return gone;
}
