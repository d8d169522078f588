/*
 * For the tests of exploitation techniques, by the names they have in the public how2heap catalogue. The code is our
 * own: the idea of each technique, with every write that its attacker is granted.
 *
 * A technique has reached its goal when malloc returns memory that it must not (the attacker's target, or part of a
 * live block), or when the target was written to. Then the test fails; an abort with one of Quarry's lines, or nothing
 * at all, is what it asks for.
 */
#ifndef SAFETY_ATTACK_H
#define SAFETY_ATTACK_H

#include "safety.h"

enum { WORDS = 512, LIVE = 1024 };

/* What the attacker wants to have: fake chunks are built in it. */
static _Alignas(64) size_t target[WORDS];
static size_t target_was[WORDS];

/* Blocks that the program holds. */
static struct {
    char *p;
    size_t n;
} live[LIVE];
static int live_count;

__attribute__((unused)) static void target_is_ready(void)
{
    memcpy(target_was, target, sizeof target);
}

__attribute__((unused)) static void target_is_untouched(void)
{
    for (int i = 0; i < WORDS; i++)
        QT_CHECKF(target[i] == target_was[i], "word %d of the target became %#zx", i, target[i]);
}

static void must_be_apart(const char *p, size_t n)
{
    const char *t = (const char *)target;
    QT_CHECKF(p + n <= t || p >= t + sizeof target, "malloc(%zu) returned the target", n);
    const char *frame = (const char *)__builtin_frame_address(0);
    QT_CHECKF(p + n < frame - 65536 || p > frame + (1 << 20), "malloc(%zu) returned the stack", n);
    for (int i = 0; i < live_count; i++)
        QT_CHECKF(!live[i].p || p + n <= live[i].p || p >= live[i].p + live[i].n,
                  "malloc(%zu) returned %p, which overlaps the live %p of %zu", n, (const void *)p,
                  (void *)live[i].p, live[i].n);
}

/* malloc, and the block is nobody else's. */
__attribute__((unused)) static char *take(size_t n)
{
    char *p = malloc(n);
    if (p) {
        must_be_apart(p, n);
        QT_CHECK(live_count < LIVE);
        live[live_count].p = p;
        live[live_count++].n = n;
    }
    return p;
}

__attribute__((unused)) static char *take_zeroed(size_t n)
{
    char *p = calloc(1, n);
    if (p) {
        must_be_apart(p, n);
        live[live_count].p = p;
        live[live_count++].n = n;
    }
    return p;
}

/* free, and the program knows that the block is no longer its own. */
__attribute__((unused)) static void drop(void *p)
{
    for (int i = 0; i < live_count; i++)
        if (live[i].p == p)
            live[i].p = NULL;
    free(p);
}

/* A free of what the program still believes to hold, or never held. */
__attribute__((unused)) static void wrong_free(void *p)
{
    free(again(p));
}

/*
 * Fills the thread's cache for this size, so that further frees pass it by. What lies between keeps them from merging.
 */
enum { FILL = 80, GUARD = 0x600 };
__attribute__((unused)) static void take_filler(char **filler, size_t n)
{
    for (int i = 0; i < FILL; i++) {
        filler[i] = take(n);
        take(GUARD);
    }
}
__attribute__((unused)) static void drop_filler(char **filler)
{
    for (int i = 0; i < FILL; i++)
        drop(filler[i]);
}

/* What a program does afterwards, so that whatever was planted comes up. */
__attribute__((unused)) static void harvest(size_t n)
{
    for (int i = 0; i < 100; i++) {
        char *p = take(n);
        if (p)
            memset(p, 0x5a, n);
    }
    target_is_untouched();
}

/* The link as the thread cache and the fast bins of glibc 2.32 hide it. */
static inline size_t hidden(const void *at, const void *link)
{
    return ((size_t)at >> 12) ^ (size_t)link;
}

/* A chunk in the target: header at `word`, of this size, and one behind it. Returns its user memory. */
__attribute__((unused)) static void *fake_chunk(int word, size_t size)
{
    target[word] = 0;
    target[word + 1] = size | 1;
    size_t behind = (size_t)word + size / 8;
    if (behind + 1 < WORDS) {
        target[behind] = size;
        target[behind + 1] = 0x41;
    }
    return &target[word + 2];
}

#endif
