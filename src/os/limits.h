/*
 * What this process may use: processors, as affinity and control group say; and time.
 */
#ifndef QY_OS_LIMITS_H
#define QY_OS_LIMITS_H

#include "base/compiler.h"

/*
 * Notes the processors that the process starts with: threads may be bound to some of them later. Without it, those
 * count that the first thread has who asks.
 */
void qy_limits_init(void);

/*
 * Processors this process may run on: the smaller of its affinity mask and its control group's quota; at least 1. Asked
 * once.
 */
unsigned qy_limit_cpus(void);

/* Threads of this process that run at the same time, at most: a quota is one of time. */
unsigned qy_limit_at_once(void);

/* Milliseconds of a clock that does not jump; coarse and cheap (no system call). */
uint64_t qy_clock_ms(void);

#endif
