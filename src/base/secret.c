#include "base/secret.h"

#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <time.h>

#include "base/kernel.h"

/* splitmix64 (Steele, Lea, Flood 2014): a bijection that spreads every input bit. */
static uint64_t mix(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void qy_secret_draw(uint64_t *words, size_t count)
{
    size_t bytes = count * sizeof *words;
    if (qy_kernel(SYS_getrandom, (long)words, (long)bytes, GRND_NONBLOCK) != (long)bytes) {
        uint64_t seed[2] = {0};
        const void *kernel_bytes = (const void *)getauxval(AT_RANDOM);
        if (kernel_bytes)
            memcpy(seed, kernel_bytes, sizeof seed);
        struct timespec now;
        qy_kernel(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&now);
        uint64_t state = seed[0] ^ (seed[1] << 1) ^ (uintptr_t)&state ^ ((uint64_t)now.tv_nsec << 20);
        for (size_t i = 0; i < count; i++)
            words[i] = mix(&state);
    }
}
