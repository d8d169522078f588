/*
 * The pattern of espresso (the minimiser of two-level logic of Berkeley, in the collection of Zorn and
 * Grunwald): covers, which are arrays of sets of bits. A cover is split by a variable into two that hold
 * copies of those sets that fit, each is worked on in the same way, and the two are joined, sorted, and
 * freed of what one of them says already. Sets of 16 to 400 bytes, one size a cover; arrays of pointers
 * grow by realloc; a result lives as long as chance wants.
 */
#include "bench.h"

enum { SETS_LEAST = 8, SETS_SPREAD = 33, LEVELS = 4, KEPT = 64 };

/* Two bits a variable: may be 0, may be 1. Variable v of those that are split by has bits 2v and 2v + 1 of
 * the last word. */
struct cover {
    size_t count, room, words;
    uint32_t **sets;
};

static uint64_t sets_made;
static size_t words_compared; /* for qsort */

static struct cover *cover_new(size_t words, size_t room)
{
    struct cover *c = take_bare(sizeof *c);
    *c = (struct cover){.room = room, .words = words, .sets = take_bare(room * sizeof *c->sets)};
    return c;
}

static void cover_add(struct cover *c, uint32_t *set)
{
    if (c->count == c->room) {
        c->room += c->room / 2 + 1;
        c->sets = realloc(c->sets, c->room * sizeof *c->sets);
        if (!c->sets)
            die("realloc");
    }
    c->sets[c->count++] = set;
}

static uint32_t *set_new(const struct cover *c)
{
    sets_made++;
    return take_bare(c->words * sizeof(uint32_t));
}

static uint32_t *set_copy(const struct cover *c, const uint32_t *set)
{
    return memcpy(set_new(c), set, c->words * sizeof *set);
}

static void cover_drop(struct cover *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->count; i++)
        free(c->sets[i]);
    free(c->sets);
    free(c);
}

/* Most variables may be anything; those that covers are split by are 0 or 1 in half of the sets. */
static uint32_t *set_at_random(const struct cover *c, struct rng *r)
{
    uint32_t *set = set_new(c);
    for (size_t i = 0; i < c->words; i++)
        set[i] = (uint32_t)(rng_next(r) | rng_next(r));
    for (unsigned v = 0; v < LEVELS; v++) {
        unsigned value = (unsigned)rng_next(r) % 4; /* 0 and 3: anything */
        set[c->words - 1] |= 3u << 2 * v;
        if (value == 1 || value == 2)
            set[c->words - 1] ^= value << 2 * v;
    }
    return set;
}

static struct cover *cover_at_random(const struct sizes *sizes, struct rng *r)
{
    size_t count = SETS_LEAST + rng_below(r, SETS_SPREAD);
    struct cover *c = cover_new(sizes_pick(sizes, r) / sizeof(uint32_t), count);
    while (c->count < count)
        cover_add(c, set_at_random(c, r));
    return c;
}

/* Copies of the sets in which the variable may have the value, as if it might be anything. */
static struct cover *cover_cofactor(const struct cover *c, unsigned variable, unsigned value)
{
    struct cover *part = cover_new(c->words, c->count / 2 + 1);
    for (size_t i = 0; i < c->count; i++) {
        if (!(c->sets[i][c->words - 1] & (value << 2 * variable)))
            continue;
        uint32_t *set = set_copy(c, c->sets[i]);
        set[c->words - 1] |= 3u << 2 * variable;
        cover_add(part, set);
    }
    return part;
}

static void cover_restrict(struct cover *c, unsigned variable, unsigned value)
{
    for (size_t i = 0; i < c->count; i++)
        c->sets[i][c->words - 1] &= ~(3u << 2 * variable) | value << 2 * variable;
}

static int set_order(const void *a, const void *b)
{
    const uint32_t *const *left = a, *const *right = b;
    for (size_t i = 0; i < words_compared; i++)
        if ((*left)[i] != (*right)[i])
            return (*left)[i] < (*right)[i] ? -1 : 1;
    return 0;
}

static bool set_differs_in_last_only(const uint32_t *a, const uint32_t *b, size_t words, uint32_t mask)
{
    return !memcmp(a, b, (words - 1) * sizeof *a) && !((a[words - 1] ^ b[words - 1]) & ~mask);
}

/* Sets that differ in the variable alone lie side by side once sorted, and become one. */
static void cover_merge(struct cover *c, unsigned variable)
{
    words_compared = c->words;
    qsort(c->sets, c->count, sizeof *c->sets, set_order);
    size_t kept = 0;
    for (size_t i = 0; i < c->count; i++) {
        uint32_t *set = c->sets[i], *last = kept ? c->sets[kept - 1] : NULL;
        if (last && set_differs_in_last_only(last, set, c->words, 3u << 2 * variable)) {
            last[c->words - 1] |= set[c->words - 1];
            free(set);
        } else {
            c->sets[kept++] = set;
        }
    }
    c->count = kept;
}

/* The sets of both; b is no more. */
static struct cover *cover_join(struct cover *a, struct cover *b)
{
    for (size_t i = 0; i < b->count; i++)
        cover_add(a, b->sets[i]);
    free(b->sets);
    free(b);
    return a;
}

/* Frees the cover it gets. */
static struct cover *cover_simplify(struct cover *c, unsigned variable)
{
    if (variable == LEVELS || c->count < 2)
        return c;
    struct cover *parts[2];
    for (unsigned side = 0; side < 2; side++) {
        parts[side] = cover_simplify(cover_cofactor(c, variable, 1 + side), variable + 1);
        cover_restrict(parts[side], variable, 1 + side);
    }
    cover_drop(c);
    c = cover_join(parts[0], parts[1]);
    cover_merge(c, variable);
    return c;
}

uint64_t espresso(void)
{
    static struct cover *kept[KEPT];
    struct sizes sizes;
    sizes_of_params(&sizes, "log", 16, 400);
    uint64_t operations = scaled("ops", 3000000);
    struct rng r = {25};
    while (sets_made < operations) {
        struct cover **slot = &kept[rng_next(&r) % KEPT];
        cover_drop(*slot);
        *slot = cover_simplify(cover_at_random(&sizes, &r), 0);
    }
    for (unsigned i = 0; i < KEPT; i++)
        cover_drop(kept[i]);
    return sets_made;
}
