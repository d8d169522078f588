/*
 * Bins (M-12 to M-15), both kinds: what goes in comes out, what is found fits, what was written over is not followed.
 */
#include "bin/bin.h"
#include "internals.h"

enum { CHUNKS = 3000 };

static struct qy_bins bins;
static struct qy_chunk *chunks[CHUNKS];
static size_t sizes[CHUNKS];
static struct rng r;

/* Free chunks, each behind a small one in use, so that none are neighbours. */
static void lay_out(bool sorted)
{
    struct qy_arena *owner = (struct qy_arena *)&chunks[sorted];
    internals_ready();
    char *at = field_make(owner);
    qy_bins_init(&bins, owner, sorted);
    for (int i = 0; i < CHUNKS; i++) {
        sizes[i] = chunk_size_random(&r, 60000);
        chunk_make((struct qy_chunk *)at, QY_MIN_CHUNK);
        chunks[i] = (struct qy_chunk *)(at + QY_MIN_CHUNK);
        chunk_make(chunks[i], sizes[i]);
        at = (char *)chunks[i] + sizes[i];
    }
    chunk_make((struct qy_chunk *)at, QY_MIN_CHUNK);
    for (int i = 0; i < CHUNKS; i++) {
        qy_chunk_mark_free(chunks[i]);
        qy_chunk_set_free(chunks[i], sizes[i], QY_PREV_INUSE);
        qy_chunk_set_foot(chunks[i], sizes[i]);
        qy_chunk_set_prev_inuse(qy_chunk_next(chunks[i]), false);
        qy_bin_insert(&bins, chunks[i]);
    }
    for (struct qy_chunk *c; (c = qy_bin_last(&bins, QY_UNSORTED)) != NULL;) {
        qy_bin_unlink(&bins, c);
        qy_bin_insert_sorted(&bins, c);
    }
}

static void order_of_indices(bool sorted)
{
    struct qy_bins any = {.sorted = sorted};
    unsigned last = 0;
    for (size_t size = QY_MIN_CHUNK; size < (size_t)1 << 24; size += QY_ALIGNMENT) {
        unsigned index = qy_bin_index(&any, size);
        assert_in_range(index, last, last + 1 + (size == QY_MIN_CHUNK));
        assert_in_range(index, 2, QY_BIN_COUNT - 2);
        last = index;
    }
    assert_in_range(qy_bin_index(&any, (size_t)1 << 46), last, QY_BIN_COUNT - 2);
}

/* The smallest that there is and fits, in bin `index`, by looking at all chunks; 0: none. */
static size_t smallest_fit(unsigned index, size_t size)
{
    size_t best = 0;
    for (int i = 0; i < CHUNKS; i++) {
        if (chunks[i] && sizes[i] >= size && qy_bin_index(&bins, sizes[i]) == index &&
            (!best || sizes[i] < best))
            best = sizes[i];
    }
    return best;
}

static bool any_above(unsigned index)
{
    for (int i = 0; i < CHUNKS; i++) {
        if (chunks[i] && qy_bin_index(&bins, sizes[i]) > index)
            return true;
    }
    return false;
}

static void look_for(size_t size)
{
    unsigned index = qy_bin_index(&bins, size);
    if (!qy_bin_is_small(size)) {
        struct qy_chunk *fit = qy_bin_fit(&bins, index, size);
        size_t best = smallest_fit(index, size);
        assert_true(!fit || (best && qy_chunk_size(fit) >= size));
        if (bins.sorted)
            assert_int_equal(fit ? qy_chunk_size(fit) : 0, best); /* M-14: best fit */
    }
    struct qy_chunk *larger = qy_bin_next_larger(&bins, index);
    assert_int_equal(larger != NULL, any_above(index));
    if (larger) {
        assert_true(qy_chunk_size(larger) >= size);
        assert_false(smallest_fit(index + 1, size) &&
                     qy_bin_index(&bins, qy_chunk_size(larger)) != index + 1);
    }
}

static void take_out(int i)
{
    qy_bin_unlink(&bins, chunks[i]);
    qy_chunk_mark_inuse(chunks[i]);
    qy_chunk_next(chunks[i])->size |= QY_PREV_INUSE;
    chunks[i] = NULL;
}

static void in_and_out(bool sorted)
{
    order_of_indices(sorted);
    lay_out(sorted);
    assert_int_equal(qy_bins_check(&bins), CHUNKS);
    for (int left = CHUNKS; left > 0; left--) {
        if (left % 16 == 0)
            look_for(chunk_size_random(&r, 70000));
        int i = (int)rng_below(&r, CHUNKS);
        while (!chunks[i])
            i = (i + 1) % CHUNKS;
        take_out(i);
        if (left % 500 == 0)
            assert_int_equal(qy_bins_check(&bins), left - 1);
    }
    assert_int_equal(qy_bins_check(&bins), 0);
    assert_null(qy_bin_next_larger(&bins, 1));
}

static void in_and_out_default(void **state)
{
    (void)state;
    in_and_out(false);
}

static void in_and_out_classic(void **state)
{
    (void)state;
    in_and_out(true);
}

static void unlink_it(void *chunk)
{
    qy_bin_unlink(&bins, chunk);
}

/* Every word that unlinking reads, written over with an address that is readable, and with one that is not. */
static void damage_is_seen(void **state)
{
    (void)state;
    lay_out(true);
    static struct qy_chunk elsewhere;
    for (int i = 0; i < CHUNKS; i += CHUNKS / 8) {
        struct qy_chunk *c = chunks[i];
        size_t *const words[] = {&c->size, (size_t *)&c->fd, (size_t *)&c->bk, &qy_chunk_next(c)->prev_size};
        for (size_t k = 0; k < sizeof words / sizeof *words; k++) {
            size_t held = *words[k];
            const size_t wrong[] = {(size_t)&elsewhere, 0x4141414141414141, held ^ 64};
            for (size_t w = 0; w < sizeof wrong / sizeof *wrong; w++) {
                *words[k] = wrong[w];
                must_abort(unlink_it, c);
            }
            *words[k] = held;
        }
        take_out(i);
    }
}

int main(void)
{
    r = rng_seeded(4);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_and_out_default),
        cmocka_unit_test(in_and_out_classic),
        cmocka_unit_test(damage_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
