/*
 * Writes to a block after it was freed: whatever the program writes, and wherever, no memory gets two owners and
 * nothing outside the heap is handed out (M-50).
 */
/* not: check */
/* variants: default classic run_max0 notcache onearena */
#include "safety_attack.h"

enum { MANY = 120 };
enum pattern { ONE_FREE, ALL_FREE, EVERY_OTHER_FREE, PATTERNS };
enum value {
    ZERO,
    LETTERS,
    ONES,
    TARGET,
    HIDDEN_TARGET,
    LIVE_BLOCK,
    HIDDEN_LIVE,
    ITSELF,
    HIDDEN_ITSELF,
    VALUES
};

struct bug {
    size_t n;
    enum pattern pattern;
    enum value value;
    int word; /* of the block; the word after the last: its last */
};

static size_t value_of(enum value value, char *at, char *other)
{
    switch (value) {
    case LETTERS:
        return 0x4141414141414141;
    case ONES:
        return (size_t)-1;
    case TARGET:
        return (size_t)&target[8];
    case HIDDEN_TARGET:
        return hidden(at, &target[8]);
    case LIVE_BLOCK:
        return (size_t)other;
    case HIDDEN_LIVE:
        return hidden(at, other);
    case ITSELF:
        return (size_t)at;
    case HIDDEN_ITSELF:
        return hidden(at, at - 16);
    default:
        return 0;
    }
}

static void churn(size_t n)
{
    for (int i = 0; i < MANY; i++) {
        char *p = take(n);
        if (p)
            memset(p, 0x5a, n < 256 ? n : 256);
    }
    drop(take(400));
    drop(take(3000));
    drop(take(100000));
    malloc_trim(0);
    for (int i = 0; i < live_count; i += 3)
        drop(live[i].p);
    for (int i = 0; i < 40; i++)
        take(n + (size_t)i % 3 * 16);
    target_is_untouched();
}

static void write_after_free(const void *arg)
{
    const struct bug *b = arg;
    static char *block[MANY];
    fake_chunk(8, (b->n + 23) / 16 * 16);
    target_is_ready();
    for (int i = 0; i < MANY; i++)
        QT_CHECK(block[i] = take(b->n));
    if (b->n * MANY > 100000)
        take(b->n); /* else all would be given back, and the kernel finds the bug */
    if (b->pattern == ONE_FREE)
        drop(block[60]);
    for (int i = 0; i < MANY; i += b->pattern == ALL_FREE ? 1 : 2)
        if (b->pattern != ONE_FREE)
            drop(block[i]);
    words(block[60])[b->word] = value_of(b->value, block[60], block[61]);
    churn(b->n);
}

static void check(enum pattern pattern)
{
    static const size_t sizes[] = {24, 40, 104, 248, 504, 1000, 1032, 1500, 5000, 20000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int value = 0; value < VALUES; value++)
            for (int word = 0; word < 4 && (size_t)word * 8 < sizes[i] - 8; word++) {
                struct bug b = {sizes[i], pattern, (enum value)value, word};
                does_no_harm(write_after_free, &b, "size %zu, value %d to word %d", sizes[i], value, word);
            }
    safety_done();
}

QTEST("a write to a block in a cache gives no memory two owners (M-50)")
{
    check(ONE_FREE);
}

QTEST("a write to a block beyond the caches gives no memory two owners (M-50)")
{
    check(EVERY_OTHER_FREE);
}

QTEST("a write to a block whose neighbours are free gives no memory two owners (M-50)")
{
    check(ALL_FREE);
}

QTEST_MAIN
