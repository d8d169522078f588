#include "ration.h"

/*
 * What a sound heap costs the most of what there is: marks, with two steps for each 16 bytes of them when a copy is
 * planned, and chunks of 32 bytes in lists, with a few steps for each. That is nine times as much.
 */
#define TIMES 16
#define STEP ((uint64_t)64)
#define ALWAYS ((uint64_t)64 << 20)

void ration_use(struct ration *r, uint64_t bytes)
{
    r->used += bytes < STEP ? STEP : bytes;
    r->spent = r->spent || r->used > ALWAYS + TIMES * r->there(r->context);
}

size_t ration_read(void *context, uint64_t address, void *buffer, size_t length)
{
    struct ration *r = context;
    if (r->spent)
        return 0;
    size_t got = r->read(r->context, address, buffer, length);
    ration_use(r, got);
    return got;
}
