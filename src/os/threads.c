#include "os/threads.h"

#include <errno.h>

#include "base/kernel.h"
#include "os/sandbox.h"

struct qy_thread qy_thread_self(void)
{
    if (qy_sandboxed())
        return (struct qy_thread){0};
    return (struct qy_thread){(int32_t)qy_kernel(SYS_getpid), (int32_t)qy_kernel(SYS_gettid)};
}

bool qy_thread_is_gone(struct qy_thread thread)
{
    return !qy_sandboxed() && qy_kernel(SYS_getpid) == thread.process &&
           qy_kernel(SYS_tgkill, thread.process, thread.number, 0) == -ESRCH;
}
