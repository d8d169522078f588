/*
 * A double free whose traces were written over: the program wrote to the block after freeing it. It must be found, or
 * the block must not have two owners (M-50).
 */
/* not: check */
#include "safety.h"

enum { MANY = 300 };

struct bug {
    size_t n;
    int value;
    size_t from, bytes;
    int between; /* other blocks of this size, freed between the two */
    int tail;    /* and after */
};

/* Live blocks must not share a byte, whatever the program did to free ones. */
static void check_apart(char **block, int count, size_t n)
{
    for (int i = 0; i < count; i++)
        for (int k = i + 1; k < count; k++)
            QT_CHECKF(block[i] >= block[k] + n || block[k] >= block[i] + n, "%p was handed out twice (%zu)",
                      (void *)block[i], n);
}

static void free_and_write_and_free(const struct bug *b)
{
    static char *other[MANY];
    char *p = malloc(b->n);
    for (int i = 0; i < b->between + b->tail; i++)
        other[i] = malloc(b->n);
    free(p);
    size_t to = b->from + b->bytes;
    if (to <= b->n)
        scribble(again(p + b->from), b->bytes, b->value);
    for (int i = 0; i < b->between; i++)
        free(other[i]);
    safety->named = p;
    free(again(p));
    safety->named = NULL;
    for (int i = 0; i < b->tail; i++)
        free(other[b->between + i]);
}

static void use_afterwards(const void *arg)
{
    const struct bug *b = arg;
    static char *block[MANY];
    free_and_write_and_free(b);
    int count = b->n > 50000 ? 30 : MANY;
    for (int i = 0; i < count; i++) {
        QT_CHECK(block[i] = malloc(b->n));
        scribble(block[i], b->n < 64 ? b->n : 64, i);
    }
    check_apart(block, count, b->n);
    for (int i = 0; i < count; i++)
        free(block[i]);
}

/* A block that is mapped, or whose page went back, cannot be written to: then the kernel found the bug. */
static bool is_mapped(size_t n)
{
    return n >= 4000;
}

static void check_no_harm(int between, int tail)
{
    static const int values[] = {0, 0x41, 0xff};
    for_sizes(n)
    {
        if (is_mapped(n))
            break;
        for (int v = 0; v < 3; v++)
            for (size_t from = 0; from <= 16; from += 8) {
                struct bug b = {n, values[v], from, from == 16 ? n - 16 : 8, between, tail};
                if (n >= 24)
                    does_no_harm(use_afterwards, &b, "size %zu, byte %#x from %zu", n, values[v], from);
            }
    }
    safety_done();
}

QTEST("a second free after a write to the free block gives no memory two owners (M-50)")
{
    check_no_harm(0, 0);
}

QTEST("nor with another block freed between the two (M-50)")
{
    check_no_harm(1, 0);
}

QTEST("nor when both went through a full cache (M-50)")
{
    check_no_harm(100, 100);
}

QTEST("nor when the first is in a cache and the second beyond it (M-50)")
{
    check_no_harm(6, 0);
    check_no_harm(63, 63);
}

/* Who reads what stands before his block can put it back. */
static void put_back_and_free(const void *arg)
{
    size_t n = *(const size_t *)arg;
    static char *block[MANY];
    char *p = malloc(n);
    size_t was = words(p)[-1];
    free(p);
    words(p)[-1] = was;
    free(again(p));
    for (int i = 0; i < MANY; i++)
        QT_CHECK(block[i] = malloc(n));
    check_apart(block, MANY, n);
}

/* What is before a cell is the same for all cells of its class. */
static bool may_be_a_cell(size_t n)
{
    return !qt_conf_has("classic") && !qt_conf_has("run_max:0") && n <= 1032;
}

QTEST("a second free after the word before the chunk was put back gives no memory two owners (M-50)")
{
    for_sizes(n)
    {
        if (!may_be_a_cell(n) && !is_mapped(n))
            does_no_harm(put_back_and_free, &n, "size %zu", n);
    }
    safety_done();
}

static void write_and_free(const void *arg)
{
    free_and_write_and_free(arg);
}

QTEST(
    "a second free after the free block was filled is found at that very free, at every size that is cached (M-50)")
{
    for_sizes(n)
    {
        struct bug b = {n, 0x41, 0, n, 0, 0};
        if (n <= 1016)
            dies(write_and_free, &b, DOUBLE_FREE, "size %zu", n);
    }
    safety_done();
}

QTEST_MAIN
