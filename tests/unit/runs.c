/* Runs: every cell of every class once, wherever it is given back; pages that hold no block can go and come again. */
/* not: asan */
#include "internals.h"
#include "run/run.h"

static void *cells[QY_RUN_MAX_CELLS + 1];
static struct rng r;
static char owner;

static void strides_serve(void **state)
{
    (void)state;
    internals_ready();
    unsigned last = 0, classes = 0;
    for (size_t request = 1; request <= QY_RUN_SMALL; request++) {
        unsigned stride = qy_cell_stride(request);
        size_t cell = request + QY_CELL_HEADER_BYTES;
        assert_true(stride >= cell && stride % QY_CELL_UNIT == 0 && stride >= last);
        assert_true(stride - cell < qy_max(QY_CELL_UNIT, cell / 8 + 1));
        assert_int_equal(qy_classes[qy_cell_class(request)].stride, stride);
        assert_int_equal(qy_class_of_stride(stride), qy_cell_class(request));
        classes += stride != last;
        last = stride;
    }
    assert_int_equal(classes, 32);
}

/*
 * Each power of two has cells of its own, that cost no more than a chunk would; what needs a chunk of another size has
 * none.
 */
static void powers_serve(void **state)
{
    (void)state;
    internals_ready();
    for (size_t request = QY_RUN_SMALL + 1; request <= 2 * QY_RUN_LARGEST; request++) {
        size_t chunk = qy_chunk_size_for(request), power = chunk - QY_CELL_UNIT;
        unsigned cls = qy_cell_class(request);
        bool wanted = power >= 1024 && power <= 8192 && qy_is_power_of_two(power);
        assert_int_equal(cls != 0, wanted);
        if (!wanted)
            continue;
        assert_int_equal(qy_classes[cls].stride, chunk);
        assert_int_equal(qy_class_of_stride(chunk), cls);
        assert_true(chunk - QY_CELL_HEADER_BYTES >= request);
    }
    assert_int_equal(qy_cell_class(1024), qy_cell_class(1017));
    assert_int_equal(qy_cell_class(8192), QY_CLASSES - 1);
}

static int by_address(const void *a, const void *b)
{
    uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;
    return x < y ? -1 : x > y;
}

/* All cells of a run, in batches of any size. */
static unsigned take_all(struct qy_run *run)
{
    unsigned count = 0;
    while (qy_run_has_cells(run)) {
        void *batch[64];
        unsigned most = 1 + (unsigned)rng_below(&r, 64);
        unsigned got = qy_run_take(run, batch + 64, most);
        assert_in_range(got, 1, most);
        for (unsigned i = 1; i <= got; i++) {
            assert_true(i == 1 || batch[64 - i] > batch[64 - i + 1]);
            cells[count++] = batch[64 - i];
        }
    }
    return count;
}

static void cells_are_sound(struct qy_run *run, unsigned count)
{
    const struct qy_class *k = &qy_classes[run->cls];
    char *base = qy_run_base(run);
    assert_int_equal(count, k->cells);
    qsort(cells, count, sizeof *cells, by_address);
    for (unsigned i = 0; i < count; i++) {
        char *cell = cells[i];
        assert_true(cell >= base + QY_CELL_HEADER_BYTES && cell + k->stride <= base + QY_RUN_BYTES);
        assert_int_equal((uintptr_t)cell % (k->stride & -k->stride), 0);
        assert_true(i == 0 || cell - (char *)cells[i - 1] == (ptrdiff_t)k->stride);
        assert_int_equal(*qy_cell_header(cell), qy_key_when_free(qy_class_keys[run->cls]));
        *qy_cell_header(cell) = qy_class_keys[run->cls];
    }
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(qy_cell_vet(cells[i]), run->cls);
}

static void shuffle(unsigned count)
{
    for (unsigned i = count; i > 1; i--) {
        unsigned k = (unsigned)rng_below(&r, i);
        void *held = cells[i - 1];
        cells[i - 1] = cells[k];
        cells[k] = held;
    }
}

/* By the owner. */
static void put(struct qy_run *run, void *const *batch, unsigned count)
{
    const struct qy_class *k = &qy_classes[run->cls];
    for (unsigned i = 0; i < count; i++)
        qy_run_put(run, (size_t)((char *)batch[i] - qy_run_base(run) - k->first) / k->stride, batch[i]);
}

/* Some by the owner, some by somebody else. */
static void give_all(struct qy_run *run, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        *qy_cell_header(cells[i]) = qy_key_when_free(qy_class_keys[run->cls]);
    for (unsigned i = 0, n; i < count; i += n) {
        n = 1 + (unsigned)rng_below(&r, qy_min(count - i, 50));
        if (rng_one_in(&r, 2))
            put(run, cells + i, n);
        else if (qy_run_put_remote(run, cells + i, n) && rng_one_in(&r, 2))
            assert_true(qy_run_collect(run));
    }
    assert_true(qy_run_collect(run));
    assert_true(qy_run_is_empty(run));
}

/* Who takes a run for the class that it had finds all its cells as they were left; for another, none of them. */
static void taken_again(void **state)
{
    (void)state;
    for (unsigned first = 1; first < QY_CLASSES; first++) {
        for (unsigned second = first; second < QY_CLASSES; second += 7) {
            struct qy_run *run = qy_zone_take(&owner, first);
            assert_non_null(run);
            qy_run_start(run, first, &owner);
            unsigned count = qy_run_take(run, cells + QY_RUN_MAX_CELLS, 40), available = run->available;
            memmove(cells, cells + QY_RUN_MAX_CELLS - count, count * sizeof *cells);
            put(run, cells, count);
            qy_zone_put(run);
            assert_ptr_equal(qy_zone_take(&owner, second), run);
            qy_run_start(run, second, &owner);
            assert_int_equal(run->available, first == second ? available : 0);
            qy_run_check(run);
            qy_zone_put(run);
        }
    }
}

/* Pages that come ahead hold no block, and go back as idle ones do; none comes twice, none beyond the run. */
static void pages_come_ahead(void **state)
{
    (void)state;
    unsigned pages = QY_RUN_BYTES / qy_page_bytes;
    if (pages < 16)
        skip();
    for (unsigned ahead = 0; ahead <= pages; ahead++) {
        struct qy_run *run = qy_zone_take(&owner, 4);
        assert_non_null(run);
        run->ready = run->stale = 0;
        assert_true(qy_pages_purge(qy_run_base(run), QY_RUN_BYTES));
        qy_run_start(run, 4, &owner);
        run->ahead = (uint16_t)ahead;
        run->stale = 1 << 9; /* resident already: none is asked for again */
        assert_int_equal(qy_run_take(run, cells + QY_RUN_MAX_CELLS, 1), 1);
        assert_int_equal(run->carved, 1);
        unsigned came = (unsigned)__builtin_popcount(run->stale) - 1;
        if (!ahead || came) /* a kernel that can */
            assert_int_equal(came, qy_min(ahead, 8));
        for (unsigned page = 0; page < pages; page++)
            assert_int_equal(qy_page_is_resident(qy_run_base(run) + page * qy_page_bytes), page <= came);
        qy_run_check(run);
        put(run, cells + QY_RUN_MAX_CELLS - 1, 1);
        take_all(run);
        assert_int_equal(run->carved, qy_run_all_pages());
        assert_int_equal(run->stale, 0);
        give_all(run, run->cells);
        unsigned most = 100;
        assert_int_equal(qy_run_purge(run, QY_PURGE_ALL, &most), pages);
        qy_zone_put(run);
    }
}

static void every_cell_once(void **state)
{
    (void)state;
    for (unsigned cls = 1; cls < QY_CLASSES; cls++) {
        struct qy_run *run = qy_zone_take(&owner, 1);
        assert_non_null(run);
        qy_run_start(run, cls, &owner);
        for (int round = 0; round < 3; round++) {
            unsigned count = take_all(run);
            cells_are_sound(run, count);
            shuffle(count);
            give_all(run, count);
        }
        qy_zone_put(run);
    }
}

static void idle_pages_go(void **state)
{
    (void)state;
    for (unsigned cls = 1; cls < QY_CLASSES; cls += 3) {
        struct qy_run *run = qy_zone_take(&owner, 1);
        qy_run_start(run, cls, &owner);
        unsigned count = take_all(run), kept = count / 2;
        cells_are_sound(run, count);
        void *survivor = cells[kept];
        memset(survivor, 0x5a, qy_classes[cls].stride - QY_CELL_HEADER_BYTES);
        cells[kept] = cells[count - 1];
        for (unsigned i = 0; i + 1 < count; i++) {
            *qy_cell_header(cells[i]) = qy_key_when_free(qy_class_keys[cls]);
            put(run, cells + i, 1);
        }
        const struct qy_class *k = &qy_classes[cls];
        size_t used = (k->first - QY_CELL_HEADER_BYTES + count * k->stride) / qy_page_bytes + 1;
        /* And what an earlier use of the run left behind, where this one did not come. */
        unsigned most = 3, stale = (unsigned)__builtin_popcount(run->stale);
        assert_in_range(qy_run_purge(run, QY_PURGE_ALL, &most), stale + used - 3, stale + used - 1);
        assert_int_equal(run->stale, 0);
        assert_in_range(most, 1, 2); /* one call before the survivor, one behind */
        assert_int_equal(qy_cell_vet(survivor), cls);
        for (size_t i = 0; i < qy_classes[cls].stride - QY_CELL_HEADER_BYTES; i++)
            assert_int_equal(((unsigned char *)survivor)[i], 0x5a);
        assert_int_equal(take_all(run), count - 1);
        *qy_cell_header(survivor) = qy_key_when_free(qy_class_keys[cls]);
        put(run, &survivor, 1);
        give_all(run, count - 1);
        qy_zone_put(run);
    }
}

struct pair {
    struct qy_run *run;
    void *cell;
};

static void put_twice(void *pair)
{
    struct pair *p = pair;
    put(p->run, &p->cell, 1);
    put(p->run, &p->cell, 1);
}

static void put_twice_by_others(void *pair)
{
    struct pair *p = pair;
    qy_run_put_remote(p->run, &p->cell, 1);
    qy_run_put_remote(p->run, &p->cell, 1);
}

static void put_by_both(void *pair)
{
    struct pair *p = pair;
    qy_run_put_remote(p->run, &p->cell, 1);
    put(p->run, &p->cell, 1);
    qy_run_collect(p->run);
}

static void twice_is_fatal(void **state)
{
    (void)state;
    struct pair p = {.run = qy_zone_take(&owner, 1)};
    qy_run_start(p.run, 5, &owner);
    qy_run_take(p.run, &p.cell + 1, 1);
    must_abort(put_twice, &p);
    must_abort(put_twice_by_others, &p);
    must_abort(put_by_both, &p);
    put(p.run, &p.cell, 1);
    qy_zone_put(p.run);
}

static void check(void *run)
{
    qy_run_check(run);
}

static void check_zone(void *unused)
{
    (void)unused;
    qy_zone_check();
}

/* The walker finds what it is for. */
static void broken_runs_are_found(void **state)
{
    (void)state;
    struct qy_run *run = qy_zone_take(&owner, 1);
    void *batch[40];
    qy_run_start(run, 6, &owner);
    unsigned taken = qy_run_take(run, batch + 40, 40);
    qy_run_check(run);
    qy_zone_check();
    run->free--;
    must_abort(check, run);
    run->free++;
    run->available++;
    must_abort(check, run);
    run->available--;
    run->free_bits[QY_RUN_WORDS - 1] = 1;
    must_abort(check, run);
    run->free_bits[QY_RUN_WORDS - 1] = 0;
    uint8_t first_word = run->first_word;
    run->first_word = QY_RUN_WORDS;
    must_abort(check, run);
    run->first_word = first_word;
    run->stale |= run->carved;
    must_abort(check, run);
    run->stale = 0;
    qy_run_check(run);
    put(run, batch + 40 - taken, taken);
    qy_zone.taken++;
    must_abort(check_zone, NULL);
    qy_zone.taken--;
    qy_zone_put(run);
    run->owner = &owner;
    must_abort(check_zone, NULL);
    run->owner = NULL;
    run->carved = 1;
    must_abort(check_zone, NULL);
    run->carved = 0;
    qy_zone_check();
}

/*
 * Of the free runs, the one whose cells are of the right size already and that came home last; else the very last of
 * all.
 */
static void its_class_comes_first(void **state)
{
    (void)state;
    enum { RUNS = 34 };
    struct qy_run *runs[RUNS];
    void *batch[4];
    for (unsigned i = 0; i < RUNS; i++) {
        runs[i] = qy_zone_take(&owner, 1);
        qy_run_start(runs[i], 2 + i / 2, &owner);
        unsigned taken = qy_run_take(runs[i], batch + 4, 4);
        put(runs[i], batch + 4 - taken, taken);
    }
    for (unsigned i = 0; i < RUNS; i++)
        qy_zone_put(runs[i]);
    assert_ptr_equal(qy_zone_take(&owner, 2 + RUNS), runs[RUNS - 1]);
    qy_zone_put(runs[RUNS - 1]);
    assert_ptr_equal(qy_zone_take(&owner, 2), runs[1]);
    assert_ptr_equal(qy_zone_take(&owner, 2), runs[0]);
    qy_zone_check();
    qy_zone_put(runs[0]);
    qy_zone_put(runs[1]);
    assert_ptr_equal(qy_zone_take(&owner, 2), runs[1]);
    qy_zone_put(runs[1]);
    qy_zone_check();
}

int main(void)
{
    r = rng_seeded(4);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strides_serve),         cmocka_unit_test(powers_serve),
        cmocka_unit_test(pages_come_ahead),      cmocka_unit_test(every_cell_once),
        cmocka_unit_test(taken_again),           cmocka_unit_test(idle_pages_go),
        cmocka_unit_test(twice_is_fatal),        cmocka_unit_test(its_class_comes_first),
        cmocka_unit_test(broken_runs_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
