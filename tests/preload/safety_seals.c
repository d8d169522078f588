/*
 * Of a free block that waits somewhere, the word before it says who has it (M-50): nobody else hands it out, and of two
 * threads that free it at the same moment one finds that it is the other's.
 */
/* variants: default run_max0 onearena */
/* not: check */
#include "safety.h"

#include <pthread.h>

#define FREE_SIZE "^quarry: corrupted header: " HEX ": the size of this free block was written over$"
#define CHANGED "^quarry: write after free: " HEX ": this free block was written to, or freed twice$"

/* Medium blocks below 64 KiB, none near a power of two. */
static const size_t sizes[] = {1100, 1528, 3000, 5000, 20000, 30000};
#define for_medium(n) \
    for (size_t n, n##_i = 0; n##_i < sizeof sizes / sizeof *sizes && (n = sizes[n##_i], 1); n##_i++)

static size_t word_of(const void *p)
{
    return ((const volatile size_t *)p)[-1];
}

static bool is_sealed(const void *p)
{
    return word_of(p) >> 63;
}

/* malloc, until it is this one again. */
static void take_again(const void *p, size_t n)
{
    int tries = 100;
    while (malloc(n) != p)
        QT_CHECK(--tries);
}

static void *free_and_look(void *p)
{
    free(p);
    return (void *)word_of(p);
}

static size_t word_when_freed_by_another(void *p)
{
    pthread_t t;
    void *word;
    QT_CHECK(pthread_create(&t, NULL, free_and_look, p) == 0);
    pthread_join(t, &word);
    return (size_t)word;
}

QTEST("the word before a free block says which thread keeps it (M-50)")
{
    for_medium(n)
    {
        void *p = malloc(n);
        size_t live = word_of(p), here = (size_t)free_and_look(p);
        QT_CHECK(is_sealed(p));
        QT_CHECKF(here >> 32 != live >> 32 && (uint32_t)here == (uint32_t)live, "size %zu: %zx, %zx", n, live,
                  here);
        take_again(p, n);
        QT_EQ(word_of(p), live);
        size_t there = word_when_freed_by_another(p);
        QT_CHECKF(there >> 32 != live >> 32 && there >> 32 != here >> 32, "size %zu: %zx, %zx, %zx", n, live,
                  here, there);
    }
}

struct exchange {
    size_t n, other; /* bits of the word that become others */
};

static void exchanged(const void *arg)
{
    const struct exchange *e = arg;
    char *p = malloc(e->n);
    free(p);
    words(p)[-1] ^= e->other;
    safety->named = p;
    take_again(p, e->n);
}

QTEST("a block whose word says that another has it is not handed out (M-50)")
{
    for_medium(n)
    {
        for (unsigned bit = 32; bit < 63; bit++) {
            struct exchange e = {n, (size_t)1 << bit};
            dies(exchanged, &e, CHANGED, "size %zu, bit %u", n, bit);
        }
    }
    safety_done();
}

/* The word of a block that is free in the same way, as who reads it may have kept it. */
static void freed_twice_as_another(const void *arg)
{
    size_t n = *(const size_t *)arg;
    char *p = malloc(n), *q = malloc(n), *fence = malloc(n);
    size_t word = word_of(p);
    free(p);
    words(q)[-1] = word;
    safety->named = q;
    free(again(q));
    (void)fence;
}

QTEST("the word of one block is not another's (M-50)")
{
    for_medium(n) dies(freed_twice_as_another, &n, BEFORE_START, "size %zu", n);
    safety_done();
}

/* What ptmalloc would have there. */
static void made_plain(const void *arg)
{
    char *p = malloc(*(const size_t *)arg);
    QT_CHECK(is_sealed(p));
    words(p)[-1] = (malloc_usable_size(p) + 8) | (word_of(p) & 5);
    safety->named = p;
    free(again(p));
}

QTEST("a word without a seal is not believed where one should be (M-50)")
{
    for_medium(n) dies(made_plain, &n, BEFORE_START, "size %zu", n);
    safety_done();
}

/* A block that went to its arena, between two that stay. */
static void *binned(size_t n)
{
    char *before, *p = malloc(n), *behind = malloc(n);
    int tries = 200;
    do {
        before = p;
        p = behind;
        behind = malloc(n);
        QT_CHECK(--tries);
    } while (p != before + malloc_usable_size(before) + 8 || behind != p + malloc_usable_size(p) + 8);
    free(p);
    malloc_trim(0); /* what the thread keeps goes home */
    QT_CHECK(is_sealed(p));
    return p;
}

static void damaged_in_a_bin(const void *arg)
{
    const struct exchange *e = arg;
    char *p = binned(e->n);
    words(p)[-1] ^= e->other;
    safety->named = p;
    for (int i = 0; i < 100; i++)
        malloc(e->n);
}

QTEST("the seal of a block in a bin is looked at before it is handed out (M-50)")
{
    for_medium(n)
    {
        for (unsigned bit = 16; bit < 32; bit++) {
            struct exchange e = {n, (size_t)1 << bit};
            dies(damaged_in_a_bin, &e, FREE_SIZE, "size %zu, bit %u", n, bit);
        }
    }
    safety_done();
}

QTEST_MAIN
