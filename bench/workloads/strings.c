/*
 * Strings as scripting and text programs handle them (copy, concatenate, split, join), and buffers that grow
 * by realloc: several at once a little at a time, or one to many megabytes.
 */
#include "bench.h"

static char *word_new(struct rng *r, size_t *length)
{
    *length = 3 + rng_next(r) % 18;
    char *word = take(*length + 1);
    word[*length] = 0;
    return word;
}

static char *concatenate(const char *a, size_t a_length, const char *b, size_t b_length)
{
    char *sum = malloc(a_length + b_length + 1);
    if (!sum)
        die("malloc");
    memcpy(sum, a, a_length);
    memcpy(sum + a_length, b, b_length + 1);
    return sum;
}

/* Appends to a line whose capacity doubles, as every string builder does. */
static char *append(char *line, size_t *used, size_t *capacity, const char *text, size_t length)
{
    if (*used + length + 1 > *capacity) {
        *capacity = 2 * (*used + length + 1);
        line = realloc(line, *capacity);
        if (!line)
            die("realloc");
    }
    memcpy(line + *used, text, length + 1);
    *used += length;
    return line;
}

uint64_t strings(void)
{
    enum { HELD = 4096 };
    static char *held[HELD];
    uint64_t words = scaled("words", 5000000);
    struct rng r = {6};

    for (uint64_t done = 0; done < words;) {
        char *line = NULL;
        size_t used = 0, capacity = 0;
        for (uint64_t end = done + 4 + rng_next(&r) % 60; done < end; done++) {
            size_t a_length, b_length;
            char *a = word_new(&r, &a_length), *b = word_new(&r, &b_length);
            char *both = concatenate(a, a_length, b, b_length);
            line = append(line, &used, &capacity, both, a_length + b_length);
            give(a);
            give(b);
            give(both);
        }
        char **slot = &held[rng_next(&r) % HELD];
        give(*slot);
        *slot = line;
    }
    for (unsigned i = 0; i < HELD; i++) {
        give(held[i]);
        held[i] = NULL;
    }
    return words;
}

struct buffer {
    char *bytes;
    size_t used;
};

static void buffer_drop(struct buffer *b)
{
    give(b->bytes);
    *b = (struct buffer){0};
}

/* Grows to exactly what is needed: the habit of programs that leave amortisation to realloc. */
static void buffer_grow(struct buffer *b, size_t by)
{
    b->bytes = realloc(b->bytes, b->used + by);
    if (!b->bytes)
        die("realloc");
    memset(b->bytes + b->used, TAG, by);
    b->used += by;
}

uint64_t grow(void)
{
    enum { BUFFERS_MOST = 256 };
    static struct buffer buffers[BUFFERS_MOST];
    size_t count = param("buffers", 32), step_most = param("step", 500), limit = param("limit", 64 * KIB);
    uint64_t operations = scaled("ops", 3000000);
    struct rng r = {7};
    if (!count || count > BUFFERS_MOST)
        die("buffers= is 1 to 256");

    for (uint64_t i = 0; i < operations; i++) {
        struct buffer *b = &buffers[rng_below(&r, count)];
        if (b->used >= limit / 2 + rng_below(&r, limit))
            buffer_drop(b);
        buffer_grow(b, 1 + rng_below(&r, step_most));
    }
    for (size_t i = 0; i < count; i++)
        buffer_drop(&buffers[i]);
    return operations;
}
