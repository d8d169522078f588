/*
 * Random words that an attacker must know before he can forge anything of ours: drawn once, at start-up.
 */
#ifndef QY_BASE_SECRET_H
#define QY_BASE_SECRET_H

#include "base/compiler.h"

/* Fills `words` from the kernel; when it has none to give yet, from AT_RANDOM, addresses and the clock. */
void qy_secret_draw(uint64_t *words, size_t count);

#endif
