/*
 * Probes: what an operation asked, took, split, merged, in its order (M-62). In the library they are nothing: not one
 * byte of it changes. libquarry-play.so is built from the same sources with QY_PLAY; there each probe writes one event,
 * which `quarry play` reads between two steps. Knows nothing of what the events mean.
 *
 *      QY_PROBE(store, did, at, bytes)
 *
 * `at` is the chunk or block that it happened to, or 0; `bytes` its size. Both are read only where probes exist.
 */
#ifndef QY_BASE_PROBE_H
#define QY_BASE_PROBE_H

#ifdef QY_PLAY
#include <quarry/probe.h>

void qy_probe(enum qy_probe_store store, enum qy_probe_did did, uintptr_t at, size_t bytes);
#define QY_PROBE(store, did, at, bytes) \
    qy_probe(QY_AT_##store, QY_DID_##did, (uintptr_t)(at), (size_t)(bytes))
#else
#define QY_PROBE(store, did, at, bytes) ((void)0)
#endif

#endif
