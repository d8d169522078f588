/*
 * Whether the process lives under a filter of system calls that it put upon itself. Such a filter lets through what
 * malloc is known to need, and may end the process for anything else: so from then on Quarry makes no call that other
 * allocators do not make (docs/decisions/0024-sandboxes.md).
 */
#ifndef QY_OS_SANDBOX_H
#define QY_OS_SANDBOX_H

#include "base/atomic.h"
#include "base/compiler.h"

QY_OURS bool qy_sandbox; /* atomic; never false again */

/* Before the filter is there. */
QY_INLINE void qy_sandbox_begins(void)
{
    qy_store_relaxed(&qy_sandbox, true);
}

QY_INLINE bool qy_sandboxed(void)
{
    return QY_UNLIKELY(qy_load_relaxed(&qy_sandbox));
}

#endif
