#include "base/probe.h"

#ifdef QY_PLAY
#include "base/atomic.h"
#include "base/compiler.h"

static struct qy_probe_ring ring;

QY_EXPORT struct qy_probe_ring *quarry_probe_ring(void)
{
    return &ring;
}

void qy_probe(enum qy_probe_store store, enum qy_probe_did did, uintptr_t at, size_t bytes)
{
    uint64_t i = qy_add_relaxed(&ring.count, 1);
    if (i < QY_PROBE_EVENTS)
        ring.events[i] =
            (struct qy_probe_event){.store = (uint16_t)store, .did = (uint16_t)did, .at = at, .bytes = bytes};
}
#endif
