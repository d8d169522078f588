/*
 * Threads, by the numbers that the kernel gives them. errno is kept.
 */
#ifndef QY_OS_THREADS_H
#define QY_OS_THREADS_H

#include "base/compiler.h"

struct qy_thread {
    int32_t process, number;
};

/* The calling one. */
struct qy_thread qy_thread_self(void);

/* It was one of this process, and is no more. Of another process, as the one that forked this is, nothing is known. */
bool qy_thread_is_gone(struct qy_thread thread);

#endif
