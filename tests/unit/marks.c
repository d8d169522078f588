/* Marks (I-01 to I-09): what they say of a heap that is known, and that they say nothing else. */
#include "internals.h"

enum { CHUNKS = 4000 };

static struct qy_chunk *chunks[CHUNKS + 1];
static size_t sizes[CHUNKS];
static struct rng r;

/* Chunks side by side, across the border of two granules. */
static void lay_out(char *from)
{
    for (int i = 0; i < CHUNKS; i++) {
        sizes[i] = chunk_size_random(&r, 40000);
        chunks[i] = (struct qy_chunk *)from;
        chunk_make(chunks[i], sizes[i]);
        from += sizes[i];
    }
    chunks[CHUNKS] = (struct qy_chunk *)from;
    chunk_make(chunks[CHUNKS], QY_MIN_CHUNK);
}

static char *field_across(void)
{
    internals_ready();
    /* 4000 chunks are about 15 MiB. */
    return field_make((struct qy_arena *)&chunks) + QY_GRANULE_BYTES / 2 - (8 << 20);
}

static void sizes_are_known(void **state)
{
    (void)state;
    char *field = field_across();
    lay_out(field);
    assert_true(((uintptr_t)chunks[0] ^ (uintptr_t)chunks[CHUNKS]) >= QY_GRANULE_BYTES);
    for (int i = 0; i < CHUNKS; i++) {
        assert_true(qy_chunk_begins(chunks[i]) && qy_chunk_inuse(chunks[i]));
        assert_true(qy_chunk_has_size(chunks[i], sizes[i]));
        assert_true(qy_place_has_size(qy_place_of(chunks[i]), chunks[i], sizes[i]));
        assert_true(qy_chunk_whole(chunks[i], sizes[i]));
        assert_false(qy_chunk_whole(chunks[i], sizes[i] + QY_ALIGNMENT));
    }
}

static void other_sizes_are_refused(void **state)
{
    (void)state;
    for (int i = 0; i < CHUNKS; i++) {
        const size_t wrong[] = {0,
                                QY_ALIGNMENT,
                                sizes[i] - QY_ALIGNMENT,
                                sizes[i] + QY_ALIGNMENT,
                                sizes[i] ^ 1024,
                                sizes[i] * 2,
                                sizes[i] + qy_chunk_size(chunks[i + 1]),
                                qy_chunk_size(chunks[i + 1]),
                                (size_t)1 << (11 + rng_below(&r, 36)),
                                chunk_size_random(&r, 80000),
                                (size_t)1 << 40};
        for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
            if (wrong[k] == sizes[i])
                continue;
            assert_false(qy_place_has_size(qy_place_of(chunks[i]), chunks[i], wrong[k]));
            assert_false(qy_chunk_has_size(chunks[i], wrong[k]));
        }
    }
}

static void nothing_begins_inside(void **state)
{
    (void)state;
    for (int i = 0; i < CHUNKS; i++) {
        for (int k = 0; k < 20; k++) {
            size_t inside = rng_below(&r, sizes[i] / QY_ALIGNMENT) * QY_ALIGNMENT;
            assert_int_equal(qy_chunk_begins(qy_chunk_at(chunks[i], inside)), inside == 0);
        }
    }
}

static void freed_and_merged(void **state)
{
    (void)state;
    for (int i = 0; i + 1 < CHUNKS; i += 2) {
        qy_chunk_mark_free(chunks[i]);
        assert_true(qy_place_free(qy_place_of(chunks[i])) && !qy_chunk_inuse(chunks[i]));
        qy_chunk_unmark(chunks[i + 1]);
        qy_chunk_resize_used(chunks[i], sizes[i] + sizes[i + 1]);
        qy_chunk_note_size(chunks[i]);
        assert_true(qy_chunk_has_size(chunks[i], sizes[i] + sizes[i + 1]));
        assert_false(qy_chunk_has_size(chunks[i], sizes[i]));
        assert_false(qy_chunk_begins(chunks[i + 1]));
    }
}

static void split_again(void **state)
{
    (void)state;
    for (int i = 0; i + 1 < CHUNKS; i += 2) {
        qy_chunk_mark(chunks[i + 1]);
        qy_chunk_set_used(chunks[i + 1], sizes[i + 1], QY_PREV_INUSE);
        qy_chunk_note_size(chunks[i + 1]);
        qy_chunk_resize_used(chunks[i], sizes[i]);
        qy_chunk_note_size(chunks[i]);
    }
    for (int i = 0; i < CHUNKS; i++)
        assert_true(qy_chunk_has_size(chunks[i], sizes[i]));
}

static void no_granule_nothing_said(void **state)
{
    (void)state;
    for (int i = 0; i < 100000; i++) {
        struct qy_chunk *anywhere = (struct qy_chunk *)(uintptr_t)(rng_next(&r) >> rng_below(&r, 64));
        if (!qy_granule_of((uintptr_t)anywhere))
            assert_false(qy_chunk_begins(anywhere) || qy_chunk_inuse(anywhere));
    }
}

int main(void)
{
    r = rng_seeded(5);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_known),       cmocka_unit_test(other_sizes_are_refused),
        cmocka_unit_test(nothing_begins_inside), cmocka_unit_test(freed_and_merged),
        cmocka_unit_test(split_again),           cmocka_unit_test(no_granule_nothing_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
