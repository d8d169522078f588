#include "chunk/freed.h"

uint64_t qy_freed_secret, qy_freed_factor;

void qy_freed_twice(const void *mem)
{
    qy_fatal(QY_DOUBLE_FREE, mem, "this block is already free");
}

void qy_freed_changed(const void *mem)
{
    qy_fatal(QY_WRITE_AFTER_FREE, mem, "this free block was written to, or freed twice");
}
