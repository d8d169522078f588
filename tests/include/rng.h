/*
 * rng: small seeded random numbers (xoshiro256**, Blackman and Vigna 2018, seeded by splitmix64), the same
 * everywhere, so that a printed seed repeats a run.
 */
#ifndef RNG_H
#define RNG_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct rng {
    uint64_t s[4];
};

/* A bijection of 64 bits that scatters its argument (splitmix64's output function). */
static inline uint64_t rng_mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static inline struct rng rng_seeded(uint64_t seed)
{
    struct rng r;
    for (int i = 0; i < 4; i++)
        r.s[i] = rng_mix(seed += 0x9e3779b97f4a7c15u);
    return r;
}

static inline uint64_t rng_rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

static inline uint64_t rng_next(struct rng *r)
{
    uint64_t result = rng_rotl(r->s[1] * 5, 7) * 9, t = r->s[1] << 17;
    r->s[2] ^= r->s[0];
    r->s[3] ^= r->s[1];
    r->s[1] ^= r->s[2];
    r->s[0] ^= r->s[3];
    r->s[2] ^= t;
    r->s[3] = rng_rotl(r->s[3], 45);
    return result;
}

/* 0 … n-1; the bias of the multiplication is below n / 2^64. */
static inline uint64_t rng_below(struct rng *r, uint64_t n)
{
    return (uint64_t)(((unsigned __int128)rng_next(r) * n) >> 64);
}

static inline int rng_one_in(struct rng *r, uint64_t n)
{
    return rng_below(r, n) == 0;
}

/* low … high, each doubling equally likely; low >= 1. */
static inline uint64_t rng_log(struct rng *r, uint64_t low, uint64_t high)
{
    int doublings = 0;
    while (low << (doublings + 1) <= high)
        doublings++;
    uint64_t base = low << rng_below(r, (uint64_t)doublings + 1);
    uint64_t n = base + rng_below(r, base);
    return n > high ? high : n;
}

/* The environment's QUARRY_TEST_SEED, or a new seed. */
static inline uint64_t rng_seed(void)
{
    const char *given = getenv("QUARRY_TEST_SEED");
    struct timespec t;
    if (given)
        return strtoull(given, NULL, 0);
    clock_gettime(CLOCK_REALTIME, &t);
    return rng_mix((uint64_t)t.tv_sec * 1000000007u ^ (uint64_t)t.tv_nsec ^ (uint64_t)getpid() << 40) >> 16;
}

#endif
