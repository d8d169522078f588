/*
 * The pattern of cfrac (Barrett's factoring of integers by continued fractions, in the collection of Zorn
 * and Grunwald): arithmetic on numbers of many digits with reference counts. Every result is a new block of
 * 8 to 40 bytes, and most live for one operation; a few hundred that divide well are kept. Here the numbers
 * come from squaring modulo 2^128 - 159 and adding one, and each is divided by small primes as long as that
 * goes.
 */
#include "bench.h"

enum { DIGITS = 4, DIGIT_BITS = 32, FOLD = 159, KEPT = 512, DIVISORS_KEPT = 6 };

struct number {
    uint16_t references, count; /* count: digits, least first; no leading zeros but of zero itself */
    uint32_t digits[];
};

static uint64_t numbers_made;

static struct number *number_new(size_t count)
{
    struct number *n = take_bare(sizeof *n + count * sizeof *n->digits);
    n->references = 1;
    n->count = (uint16_t)count;
    numbers_made++;
    return n;
}

static struct number *number_hold(struct number *n)
{
    n->references++;
    return n;
}

static void number_drop(struct number *n)
{
    if (n && --n->references == 0)
        free(n);
}

/* What a variable names from now on. */
static void number_set(struct number **variable, struct number *n)
{
    number_drop(*variable);
    *variable = n;
}

static struct number *trimmed(struct number *n)
{
    while (n->count > 1 && !n->digits[n->count - 1])
        n->count--;
    return n;
}

static struct number *number_small(uint32_t value)
{
    struct number *n = number_new(1);
    n->digits[0] = value;
    return n;
}

/* count digits from `from` on. */
static struct number *number_part(const struct number *n, size_t from, size_t count)
{
    struct number *part = number_new(count);
    memcpy(part->digits, n->digits + from, count * sizeof *part->digits);
    return trimmed(part);
}

static struct number *number_add(const struct number *a, const struct number *b)
{
    const struct number *more = a->count > b->count ? a : b, *less = more == a ? b : a;
    struct number *sum = number_new(more->count + 1u);
    uint64_t carry = 0;
    for (unsigned i = 0; i < more->count; i++) {
        carry += (uint64_t)more->digits[i] + (i < less->count ? less->digits[i] : 0);
        sum->digits[i] = (uint32_t)carry;
        carry >>= DIGIT_BITS;
    }
    sum->digits[more->count] = (uint32_t)carry;
    return trimmed(sum);
}

static struct number *number_multiply(const struct number *a, const struct number *b)
{
    struct number *product = number_new((size_t)a->count + b->count);
    memset(product->digits, 0, product->count * sizeof *product->digits);
    for (unsigned i = 0; i < a->count; i++) {
        uint64_t carry = 0;
        for (unsigned j = 0; j < b->count; j++) {
            carry += (uint64_t)a->digits[i] * b->digits[j] + product->digits[i + j];
            product->digits[i + j] = (uint32_t)carry;
            carry >>= DIGIT_BITS;
        }
        product->digits[i + b->count] = (uint32_t)carry;
    }
    return trimmed(product);
}

static struct number *number_divide(const struct number *n, uint32_t divisor, uint32_t *rest)
{
    struct number *quotient = number_new(n->count);
    uint64_t left = 0;
    for (unsigned i = n->count; i-- > 0;) {
        left = left << DIGIT_BITS | n->digits[i];
        quotient->digits[i] = (uint32_t)(left / divisor);
        left %= divisor;
    }
    *rest = (uint32_t)left;
    return trimmed(quotient);
}

/* 2^128 is FOLD here: the digits above the fourth count so many times. */
static void number_fold(struct number **n)
{
    struct number *fold = number_small(FOLD);
    while ((*n)->count > DIGITS) {
        struct number *high = number_part(*n, DIGITS, (*n)->count - DIGITS),
                      *low = number_part(*n, 0, DIGITS);
        struct number *folded = number_multiply(high, fold);
        number_set(n, number_add(low, folded));
        number_drop(high);
        number_drop(low);
        number_drop(folded);
    }
    number_drop(fold);
}

static void number_step(struct number **n)
{
    struct number *one = number_small(1), *square = number_multiply(*n, *n);
    number_set(n, number_add(square, one));
    number_fold(n);
    number_drop(square);
    number_drop(one);
}

/* Divides by small primes as often as it goes; how often that is. */
static unsigned number_reduce(struct number **n)
{
    static const uint32_t primes[] = {2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53};
    unsigned divisors = 0;
    for (unsigned i = 0; i < sizeof primes / sizeof *primes;) {
        uint32_t rest;
        struct number *quotient = number_divide(*n, primes[i], &rest);
        bool divides = !rest && quotient->digits[quotient->count - 1];
        if (divides)
            number_set(n, number_hold(quotient));
        number_drop(quotient);
        divisors += divides;
        i += !divides;
    }
    return divisors;
}

uint64_t cfrac(void)
{
    static struct number *kept[KEPT];
    uint64_t operations = scaled("ops", 8000000);
    struct number *n = number_small(12345);
    for (size_t at = 0; numbers_made < operations;) {
        number_step(&n);
        struct number *rest = number_hold(n);
        if (number_reduce(&rest) >= DIVISORS_KEPT) {
            number_set(&kept[at], number_hold(rest));
            at = (at + 1) % KEPT;
        }
        number_drop(rest);
    }
    for (unsigned i = 0; i < KEPT; i++)
        number_set(&kept[i], NULL);
    number_drop(n);
    return numbers_made;
}
