#define _DEFAULT_SOURCE
#include "os/brk.h"

#include <errno.h>
#include <unistd.h>

void *qy_brk_move(intptr_t delta)
{
    int saved = errno;
    void *was = sbrk(delta);
    errno = saved;
    return was == (void *)-1 ? NULL : was;
}
