/*
 * Start-up: lazily, by whoever allocates first, which may be the dynamic linker.
 */
#ifndef QY_API_INIT_H
#define QY_API_INIT_H

#include "base/atomic.h"
#include "base/compiler.h"

QY_OURS uint32_t qy_ready;

QY_COLD void qy_init_slow(void);

/* Acquire: pairs with the release at the end of start-up, so that options, secrets and zone are seen set up. */
QY_INLINE void qy_init(void)
{
    if (QY_UNLIKELY(!qy_load_acquire(&qy_ready)))
        qy_init_slow();
}

#endif
