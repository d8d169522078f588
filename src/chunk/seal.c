#include "chunk/seal.h"

struct qy_seals qy_seals;

/* Newton's method: each step doubles the bits that are right, and an odd number is its own inverse to 3 bits. */
static uint32_t inverse_of(uint32_t odd)
{
    uint32_t inverse = odd;
    for (int bits = 3; bits < 32; bits *= 2)
        inverse *= 2 - odd * inverse;
    return inverse;
}

void qy_seals_init(const uint64_t *numbers, bool used)
{
    qy_seals.secret = numbers[0];
    qy_seals.factor = numbers[1] | 1;
    qy_seals.spread = (uint32_t)numbers[2] | 1;
    qy_seals.gather = inverse_of(qy_seals.spread);
    qy_seals.bin = qy_holder_mark(&qy_seals, QY_IN_BIN);
    qy_seals.arena = qy_holder_mark(&qy_seals, QY_WITH_ARENA);
    qy_seals.below = used ? QY_SEALED_BELOW : 0;
}
