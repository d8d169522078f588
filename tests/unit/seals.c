/* Seals: what a size word says it says of its chunk alone, and nobody but the holder takes a chunk out. */
#include "chunk/sound.h"
#include "internals.h"

enum { SECRETS = 64, BLOCKS = 100, OTHERS = 3 };

static struct rng r;
static char *field;
static struct qy_seals before;
static uint64_t secret_before, factor_before;

/* The process's own medium blocks bear the seals that are put away here: nothing may allocate one meanwhile. */
static int put_seals_away(void **state)
{
    (void)state;
    before = qy_seals;
    secret_before = qy_freed_secret;
    factor_before = qy_freed_factor;
    return 0;
}

static int bring_seals_back(void **state)
{
    (void)state;
    qy_seals = before;
    qy_freed_secret = secret_before;
    qy_freed_factor = factor_before;
    return 0;
}

static void draw_secrets(void)
{
    uint64_t numbers[3] = {rng_next(&r), rng_next(&r), rng_next(&r)};
    qy_freed_secret = rng_next(&r);
    qy_freed_factor = rng_next(&r) | 1;
    qy_seals_init(numbers, true);
}

static size_t size_below(size_t limit)
{
    return QY_MIN_CHUNK + rng_below(&r, (limit - QY_MIN_CHUNK) / QY_ALIGNMENT) * QY_ALIGNMENT;
}

/* Anywhere in the field, with room behind it. */
static struct qy_chunk *place_any(void)
{
    return (struct qy_chunk *)(field +
                               rng_below(&r, (FIELD_BYTES - QY_SEALED_BELOW) / QY_ALIGNMENT) * QY_ALIGNMENT);
}

/* A block of the program's, its neighbour free or not, in the main arena or another. */
static struct qy_chunk *block_any(void)
{
    struct qy_chunk *c = place_any();
    qy_chunk_set_used(c, size_below(QY_SEALED_BELOW), rng_next(&r) & (QY_PREV_INUSE | QY_NON_MAIN_ARENA));
    return c;
}

static uint32_t mark_any(int kind)
{
    uint32_t cache = QY_FIRST_CACHE + (uint32_t)rng_below(&r, QY_HOLDERS - QY_FIRST_CACHE);
    return kind == 0 ? qy_seals.bin : kind == 1 ? qy_seals.arena : qy_holder_mark(&qy_seals, cache);
}

static bool is_sound(struct qy_chunk *c)
{
    return qy_word_readable(qy_granule_of((uintptr_t)c), c) && qy_sound_itself(qy_chunk_mem(c)).low != 0;
}

/* ------------------------------------------------------------ marks of holders */

static void a_mark_leads_back_to_its_holder(void **state)
{
    (void)state;
    for (int i = 0; i < SECRETS; i++) {
        draw_secrets();
        assert_int_equal(qy_holder_mark(&qy_seals, QY_WITH_PROGRAM), QY_MARK_OF_PROGRAM);
        for (uint32_t holder = 0; holder < QY_HOLDERS; holder++) {
            uint32_t mark = qy_holder_mark(&qy_seals, holder);
            assert_in_range(mark, 0, QY_HOLDERS - 1);
            assert_int_equal(qy_holder_of_mark(&qy_seals, mark), holder);
        }
        assert_int_equal(qy_holder_of_mark(&qy_seals, qy_seals.bin), QY_IN_BIN);
        assert_int_equal(qy_holder_of_mark(&qy_seals, qy_seals.arena), QY_WITH_ARENA);
    }
}

static void a_word_names_its_holder(void **state)
{
    (void)state;
    for (int i = 0; i < SECRETS; i++) {
        draw_secrets();
        for (int k = 0; k < BLOCKS; k++) {
            struct qy_chunk *c = place_any();
            uint32_t holder = (uint32_t)rng_below(&r, QY_HOLDERS);
            qy_chunk_set_head(c, size_below(QY_SEALED_BELOW), QY_PREV_INUSE,
                              qy_holder_mark(&qy_seals, holder));
            assert_int_equal(qy_word_holder(&qy_seals, (uintptr_t)c, c->size), holder);
        }
    }
}

/* ------------------------------------------------------------ sizes */

static void every_size_reads_back(void **state)
{
    (void)state;
    draw_secrets();
    for (size_t size = QY_ALIGNMENT; size < QY_SEALED_BELOW; size += QY_ALIGNMENT) {
        struct qy_chunk *c = place_any();
        qy_chunk_set_used(c, size, QY_PREV_INUSE | QY_NON_MAIN_ARENA);
        assert_true(qy_word_is_sealed(c->size));
        assert_int_equal(qy_chunk_size(c), size);
        assert_int_equal(qy_chunk_tags(c), QY_PREV_INUSE | QY_NON_MAIN_ARENA);
        assert_int_equal(qy_sound_size(qy_sound_itself(qy_chunk_mem(c))), size);
        qy_chunk_set_used(c, size, 0);
        assert_int_equal(qy_chunk_size(c), size);
        assert_int_equal(qy_chunk_tags(c), QY_PREV_FREE);
        qy_chunk_set_free(c, size, QY_PREV_INUSE | QY_PURGED);
        assert_int_equal(qy_chunk_size(c), size);
        assert_int_equal(qy_chunk_tags(c), QY_PREV_INUSE | QY_PURGED);
        qy_chunk_resize_free(c, QY_SEALED_BELOW - size);
        assert_int_equal(qy_chunk_size(c), QY_SEALED_BELOW - size);
        assert_int_equal(qy_chunk_tags(c), QY_PREV_INUSE | QY_PURGED);
    }
}

static void sizes_from_64_kib_on_are_plain(void **state)
{
    (void)state;
    draw_secrets();
    struct qy_chunk *c = place_any();
    for (size_t size = QY_SEALED_BELOW; size < (size_t)1 << 46; size = size * 2 + QY_ALIGNMENT) {
        qy_chunk_set_used(c, size, QY_PREV_INUSE);
        assert_int_equal(c->size, size | QY_PREV_INUSE);
        assert_false(is_sound(c));
        qy_chunk_set_used(c, size, QY_NON_MAIN_ARENA);
        assert_int_equal(c->size, size | QY_NON_MAIN_ARENA);
        qy_chunk_set_prev_inuse(c, true);
        assert_int_equal(c->size, size | QY_NON_MAIN_ARENA | QY_PREV_INUSE);
        qy_chunk_void(c);
        assert_int_equal(qy_chunk_size(c), size);
        qy_chunk_set_free(c, size, QY_SEEN_FREE);
        assert_int_equal(c->size, size | QY_SEEN_FREE);
    }
}

/* N is of sealed blocks alone. */
static void a_block_grows_out_of_its_seal_and_back(void **state)
{
    (void)state;
    draw_secrets();
    for (int i = 0; i < BLOCKS; i++) {
        struct qy_chunk *c = block_any();
        size_t size = qy_chunk_size(c), word = c->size, said = QY_PREV_INUSE | QY_NON_MAIN_ARENA;
        qy_chunk_resize_used(c, size + QY_SEALED_BELOW);
        assert_int_equal(c->size, (size + QY_SEALED_BELOW) | (word & said));
        qy_chunk_resize_used(c, size);
        assert_int_equal(c->size, word);
    }
}

/* ------------------------------------------------------------ the word of a block */

static void a_block_is_sound_and_no_flipped_bit_goes_unnoticed(void **state)
{
    (void)state;
    for (int i = 0; i < SECRETS; i++) {
        draw_secrets();
        for (int k = 0; k < BLOCKS; k++) {
            struct qy_chunk *c = block_any();
            size_t word = c->size;
            struct qy_sound sound = qy_sound_itself(qy_chunk_mem(c));
            assert_int_equal(qy_sound_size(sound), qy_chunk_size(c));
            for (unsigned bit = 0; bit < 64; bit++) {
                c->size = word ^ (size_t)1 << bit;
                assert_false(is_sound(c));
            }
            c->size = word;
            assert_true(is_sound(c));
        }
    }
}

/* An 8-byte boundary is none, whatever stands before it. */
static void no_block_begins_off_16_bytes(void **state)
{
    (void)state;
    draw_secrets();
    for (int i = 0; i < BLOCKS; i++) {
        struct qy_chunk *c = block_any();
        for (size_t off = 1; off < QY_ALIGNMENT; off++) {
            struct qy_chunk *at = (struct qy_chunk *)((char *)c + off);
            size_t word = 64 | QY_PREV_INUSE;
            word = qy_word_of_seal(qy_seal(&qy_seals, (uintptr_t)at, word), word, QY_MARK_OF_PROGRAM);
            memcpy((char *)at + offsetof(struct qy_chunk, size), &word, sizeof word);
            assert_false(is_sound(at));
        }
    }
}

static void the_neighbour_before_comes_and_goes(void **state)
{
    (void)state;
    draw_secrets();
    for (int i = 0; i < BLOCKS; i++) {
        struct qy_chunk *c = block_any();
        size_t size = qy_chunk_size(c), arena = c->size & QY_NON_MAIN_ARENA;
        qy_chunk_set_used(c, size, arena | QY_PREV_INUSE);
        size_t word = c->size;
        for (int k = 0; k < 2; k++) {
            qy_chunk_set_prev_inuse(c, false); /* the second time it is so already */
            assert_false(qy_chunk_prev_inuse(c));
            assert_true(is_sound(c));
            assert_int_equal(qy_chunk_size(c), size);
            assert_int_equal(c->size, word ^ (QY_PREV_INUSE | QY_PREV_FREE));
        }
        for (int k = 0; k < 2; k++) {
            qy_chunk_set_prev_inuse(c, true);
            assert_int_equal(c->size, word);
        }
    }
}

static void a_word_of_another_place_is_no_seal(void **state)
{
    (void)state;
    for (int i = 0; i < SECRETS; i++) {
        draw_secrets();
        for (int k = 0; k < BLOCKS; k++) {
            struct qy_chunk *c = block_any(), *other = place_any();
            struct qy_chunk *near = qy_chunk_at(c, QY_ALIGNMENT << rng_below(&r, 12));
            near->size = other->size = c->size;
            assert_false(is_sound(near));
            assert_true(other == c || !is_sound(other));
        }
    }
}

/* Who reads a word and knows how seals are made writes one that ends where the block ends. */
static void a_word_moved_into_its_block_with_the_rest_as_size_is_no_seal(void **state)
{
    (void)state;
    int forged = 0;
    for (int i = 0; i < SECRETS; i++) {
        draw_secrets();
        for (int k = 0; k < BLOCKS; k++) {
            struct qy_chunk *c = block_any();
            size_t into = size_below(qy_chunk_size(c) + QY_ALIGNMENT) / 2 / QY_ALIGNMENT * QY_ALIGNMENT;
            struct qy_chunk *inside = qy_chunk_at(c, into);
            inside->size = c->size - into;
            forged += is_sound(inside);
        }
    }
    assert_int_equal(forged, 0);
}

static void a_chunk_that_is_void_is_none(void **state)
{
    (void)state;
    draw_secrets();
    for (int i = 0; i < BLOCKS; i++) {
        struct qy_chunk *c = block_any();
        qy_chunk_void(c);
        assert_int_equal(c->size, 0);
        assert_false(is_sound(c) || qy_word_behind_sound(c, c->size));
    }
}

/* ------------------------------------------------------------ the word behind a block */

/* M of a free chunk is its age, so is N; and whoever may have it. */
#define MAY_DIFFER (QY_IS_MMAPPED | QY_PREV_FREE | ~(QY_SEAL_STATIC | 0xffff))

static void the_word_behind_a_block_is_looked_at_whoever_has_it(void **state)
{
    (void)state;
    for (int i = 0; i < SECRETS; i++) {
        draw_secrets();
        for (int k = 0; k < BLOCKS; k++) {
            struct qy_chunk *c = place_any();
            uint32_t mark = k % 4 ? mark_any(k % 4 - 1) : QY_MARK_OF_PROGRAM;
            qy_chunk_set_head(c, size_below(QY_SEALED_BELOW), QY_PREV_INUSE, mark);
            assert_true(qy_word_behind_sound(c, c->size));
            /* With another size or A another seal is due: right by chance once in 2^31. */
            for (unsigned bit = 0; bit < 64; bit++) {
                size_t flipped = (size_t)1 << bit;
                assert_int_equal(qy_word_behind_sound(c, c->size ^ flipped), (flipped & MAY_DIFFER) != 0);
            }
        }
    }
}

static void a_plain_word_is_none_behind_a_block(void **state)
{
    (void)state;
    draw_secrets();
    struct qy_chunk *c = place_any();
    for (size_t size = 0; size < 2 * QY_SEALED_BELOW; size += QY_ALIGNMENT)
        assert_false(qy_word_behind_sound(c, size | QY_PREV_INUSE));
}

/* ------------------------------------------------------------ holders */

static void what_another_holds_is_not_the_programs(void **state)
{
    (void)state;
    for (int i = 0; i < SECRETS; i++) {
        draw_secrets();
        for (int k = 0; k < BLOCKS; k++) {
            struct qy_chunk *c = block_any();
            size_t word = c->size;
            uint32_t mark = mark_any(k % OTHERS);
            qy_freed_sign(qy_chunk_mem(c), mark);
            assert_false(is_sound(c));
            assert_int_equal(qy_chunk_size(c), qy_word_size(word));
            qy_freed_unsign(qy_chunk_mem(c), mark);
            assert_int_equal(c->size, word);
            qy_chunk_set_free(c, qy_chunk_size(c), QY_PREV_INUSE);
            assert_false(is_sound(c));
        }
    }
}

struct taking {
    void *mem;
    uint32_t mark;
};

static void take_out(void *taking)
{
    const struct taking *t = taking;
    qy_freed_unsign(t->mem, t->mark);
}

static void free_once(void *taking)
{
    const struct taking *t = taking;
    qy_freed_sign_once(t->mem, t->mark);
}

static void only_the_holder_takes_a_block_out_and_once(void **state)
{
    (void)state;
    draw_secrets();
    for (int kind = 0; kind < OTHERS; kind++) {
        struct qy_chunk *c = block_any();
        size_t word = c->size;
        struct taking his = {qy_chunk_mem(c), mark_any(kind)}, other = his;
        while (other.mark == his.mark)
            other.mark = mark_any((kind + 1) % OTHERS);
        must_abort(take_out, &his); /* it is the program's */
        free_once(&his);
        must_abort(take_out, &other);
        qy_chunk_set_prev_inuse(c, !qy_chunk_prev_inuse(c)); /* meanwhile */
        take_out(&his);
        must_abort(take_out, &his);
        qy_chunk_set_prev_inuse(c, !qy_chunk_prev_inuse(c));
        assert_int_equal(c->size, word);
    }
}

/* Both passed the gate at the same moment. */
static void of_two_that_free_one_block_the_first_finds_that_it_is_the_others(void **state)
{
    (void)state;
    draw_secrets();
    struct taking first = {qy_chunk_mem(block_any()), mark_any(2)}, second = first;
    while (second.mark == first.mark)
        second.mark = mark_any(2);
    free_once(&first);
    free_once(&second);
    must_abort(take_out, &first);
    take_out(&second);
    must_abort(take_out, &first);
}

/* There is one signature, whoever holds it. */
static void a_plain_block_is_taken_out_once(void **state)
{
    (void)state;
    draw_secrets();
    struct qy_chunk *c = place_any();
    qy_chunk_set_used(c, QY_SEALED_BELOW, QY_PREV_INUSE);
    struct taking his = {qy_chunk_mem(c), mark_any(2)};
    must_abort(take_out, &his);
    free_once(&his);
    must_abort(free_once, &his);
    take_out(&his);
    must_abort(take_out, &his);
    assert_int_equal(c->size, QY_SEALED_BELOW | QY_PREV_INUSE);
}

/* ------------------------------------------------------------ without seals, as in the classic profile */

static void without_seals_words_are_ptmallocs(void **state)
{
    (void)state;
    draw_secrets();
    qy_seals.below = 0;
    for (size_t size = QY_ALIGNMENT; size < 2 * QY_SEALED_BELOW; size += QY_ALIGNMENT) {
        struct qy_chunk *c = place_any();
        void *mem = qy_chunk_mem(c);
        qy_chunk_set_used(c, size, QY_PREV_INUSE);
        assert_int_equal(c->size, size | QY_PREV_INUSE);
        qy_chunk_set_prev_inuse(c, false);
        assert_int_equal(c->size, size);
        qy_chunk_set_used(c, size, QY_NON_MAIN_ARENA);
        assert_int_equal(c->size, size | QY_NON_MAIN_ARENA);
        assert_false(is_sound(c));
        qy_freed_sign(mem, qy_seals.arena);
        assert_int_equal(c->size, size | QY_NON_MAIN_ARENA);
        assert_true(qy_freed_is_signed(mem));
        qy_freed_unsign(mem, qy_seals.arena);
        assert_false(qy_freed_is_signed(mem));
        qy_chunk_set_free(c, size, QY_PREV_INUSE);
        assert_int_equal(c->size, size | QY_PREV_INUSE);
        qy_chunk_resize_free(c, size + QY_ALIGNMENT);
        assert_int_equal(c->size, (size + QY_ALIGNMENT) | QY_PREV_INUSE);
        qy_chunk_void(c);
        assert_int_equal(c->size, (size + QY_ALIGNMENT) | QY_PREV_INUSE);
    }
    uint64_t numbers[3] = {1, 2, 3};
    qy_seals_init(numbers, false);
    assert_int_equal(qy_seals.below, 0);
}

/* ------------------------------------------------------------ what can be read */

/* Asks all over [from, to) and at its edges; what cannot be read ends the program. */
static void nothing_is_read_in(const char *from, const char *to)
{
    for (int i = 0; i < 1000; i++)
        assert_false(is_sound(
            (struct qy_chunk *)(from + rng_below(&r, (size_t)(to - from) / QY_ALIGNMENT) * QY_ALIGNMENT)));
    assert_false(is_sound((struct qy_chunk *)from));
    assert_false(is_sound((struct qy_chunk *)(to - QY_ALIGNMENT)));
    assert_false(is_sound(qy_mem_chunk(to))); /* its word is in there */
}

static void a_block_is_found_at(char *at)
{
    struct qy_chunk *c = (struct qy_chunk *)at;
    qy_chunk_set_used(c, QY_MIN_CHUNK, QY_PREV_INUSE);
    assert_true(is_sound(c));
}

static void closed(char *from, char *to)
{
    assert_int_equal(mprotect(from, (size_t)(to - from), PROT_NONE), 0);
    nothing_is_read_in(from, to);
}

static char *shut(char *from, char *to)
{
    qy_granules_close(from, to);
    closed(from, to);
    return from;
}

static void open_up(char *from, char *to)
{
    assert_int_equal(mprotect(from, (size_t)(to - from), PROT_READ | PROT_WRITE), 0);
    qy_granules_open(from, to);
}

/* The field lies across the border of two granules. */
static void nothing_is_read_that_is_not_open(void **state)
{
    (void)state;
    enum { MIB = 1 << 20 };
    draw_secrets();
    char *area = field_make((struct qy_arena *)&area), *border = area + FIELD_BYTES / 2;
    char *end = area + FIELD_BYTES;
    closed(area, end);

    open_up(border - 8 * MIB, border - 4 * MIB);
    a_block_is_found_at(border - 8 * MIB);
    a_block_is_found_at(border - 4 * MIB - QY_ALIGNMENT);
    nothing_is_read_in(area, border - 8 * MIB);
    nothing_is_read_in(border - 4 * MIB, end);

    open_up(border - 4 * MIB, border + 4 * MIB); /* grows into the next granule */
    a_block_is_found_at(border - 8 * MIB);
    a_block_is_found_at(border - QY_ALIGNMENT);
    a_block_is_found_at(border);
    a_block_is_found_at(border + 4 * MIB - QY_ALIGNMENT);
    nothing_is_read_in(area, border - 8 * MIB);
    nothing_is_read_in(border + 4 * MIB, end);

    char *to = shut(border + 2 * MIB, border + 4 * MIB);
    a_block_is_found_at(to - QY_ALIGNMENT);
    to = shut(border - 6 * MIB, to); /* the whole of the second, part of the first */
    a_block_is_found_at(to - QY_ALIGNMENT);
    nothing_is_read_in(border, end);
    shut(border - 8 * MIB, to);
    nothing_is_read_in(area, end);

    open_up(border - MIB, border + MIB); /* elsewhere than before */
    a_block_is_found_at(border - MIB);
    a_block_is_found_at(border + MIB - QY_ALIGNMENT);
    nothing_is_read_in(area, border - MIB);
    nothing_is_read_in(border + MIB, end);
}

static void a_granule_that_is_given_up_is_not_read(void **state)
{
    (void)state;
    draw_secrets();
    char *area = field_make((struct qy_arena *)&area), *border = area + FIELD_BYTES / 2;
    char *end = area + FIELD_BYTES;
    qy_granules_open(border, end);
    a_block_is_found_at(border);
    qy_granule_release(border);
    closed(border, end);
}

int main(void)
{
    internals_ready();
    r = rng_seeded(17);
    field = field_make((struct qy_arena *)&field);
    put_seals_away(NULL);
    draw_secrets(); /* where nothing is sealed, nothing is opened */
    qy_granules_open(field, field + FIELD_BYTES);
    bring_seals_back(NULL);
#define CASE(name) cmocka_unit_test_setup_teardown(name, put_seals_away, bring_seals_back)
    const struct CMUnitTest tests[] = {
        CASE(a_mark_leads_back_to_its_holder),
        CASE(a_word_names_its_holder),
        CASE(every_size_reads_back),
        CASE(sizes_from_64_kib_on_are_plain),
        CASE(a_block_grows_out_of_its_seal_and_back),
        CASE(a_block_is_sound_and_no_flipped_bit_goes_unnoticed),
        CASE(no_block_begins_off_16_bytes),
        CASE(the_neighbour_before_comes_and_goes),
        CASE(a_word_of_another_place_is_no_seal),
        CASE(a_word_moved_into_its_block_with_the_rest_as_size_is_no_seal),
        CASE(a_chunk_that_is_void_is_none),
        CASE(the_word_behind_a_block_is_looked_at_whoever_has_it),
        CASE(a_plain_word_is_none_behind_a_block),
        CASE(what_another_holds_is_not_the_programs),
        CASE(only_the_holder_takes_a_block_out_and_once),
        CASE(of_two_that_free_one_block_the_first_finds_that_it_is_the_others),
        CASE(a_plain_block_is_taken_out_once),
        CASE(without_seals_words_are_ptmallocs),
        CASE(nothing_is_read_that_is_not_open),
        CASE(a_granule_that_is_given_up_is_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
