#define _DEFAULT_SOURCE
#include "os/brk.h"

#include <errno.h>
#include <unistd.h>

#include "base/probe.h"

void *qy_brk_move(intptr_t delta)
{
    int saved = errno;
    void *was = sbrk(delta);
    errno = saved;
    if (delta)
        QY_PROBE(KERNEL, BRK, was, delta);
    return was == (void *)-1 ? NULL : was;
}
