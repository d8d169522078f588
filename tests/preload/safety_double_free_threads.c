/*
 * Double frees that two threads make together (M-50).
 */
/* timeout: 180 */
#include "safety.h"

#include <pthread.h>
#include <stdatomic.h>

struct block {
    void *p;
    size_t n;
};

static void *do_free(void *arg)
{
    free(arg);
    return NULL;
}

static void in_thread(void *(*body)(void *), void *arg)
{
    pthread_t t;
    QT_CHECK(pthread_create(&t, NULL, body, arg) == 0);
    pthread_join(t, NULL);
}

struct late {
    void *p;
    atomic_int freed;
};

static void *free_again(void *arg)
{
    struct late *late = arg;
    while (!atomic_load(&late->freed))
        ;
    free(late->p);
    return NULL;
}

/* The thread is there before the first free: what its making allocates may be this very block. */
static void freed_here_then_there(const void *arg)
{
    struct late late = {again(malloc(*(const size_t *)arg)), 0};
    pthread_t t;
    QT_CHECK(pthread_create(&t, NULL, free_again, &late) == 0);
    free(late.p);
    safety->named = late.p;
    atomic_store(&late.freed, 1);
    pthread_join(t, NULL);
}

static void freed_there_then_here(const void *arg)
{
    void *p = malloc(*(const size_t *)arg);
    in_thread(do_free, p);
    safety->named = p;
    free(again(p));
}

static void *take_and_free(void *arg)
{
    struct block *b = arg;
    b->p = malloc(b->n);
    free(b->p);
    return NULL;
}

static void *take(void *arg)
{
    struct block *b = arg;
    b->p = malloc(b->n);
    return NULL;
}

static void freed_by_the_dead(const void *arg)
{
    struct block b = {NULL, *(const size_t *)arg};
    in_thread(take_and_free, &b);
    safety->named = b.p;
    free(again(b.p));
}

static void twice_of_the_dead(const void *arg)
{
    struct block b = {NULL, *(const size_t *)arg};
    in_thread(take, &b);
    free(b.p);
    safety->named = b.p;
    free(again(b.p));
}

QTEST("a block freed here and again by another thread is found (M-50)")
{
    for_sizes(n) dies(freed_here_then_there, &n, FREED_BEFORE, "size %zu", n);
    safety_done();
}

QTEST("a block freed by a thread that is gone, and again here, is found (M-50)")
{
    for_sizes(n)
    {
        dies(freed_there_then_here, &n, FREED_BEFORE, "ours, size %zu", n);
        dies(freed_by_the_dead, &n, FREED_BEFORE, "his, size %zu", n);
        dies(twice_of_the_dead, &n, FREED_BEFORE, "his, both frees ours, size %zu", n);
    }
    safety_done();
}

/* ------------------------------------------------- at the same time */

enum { BLOCKS = 150, ROUNDS = 60 };

struct race {
    void *p;
    size_t n;
    bool one_is_full; /* the second thread's cache has no room: its free goes to the arena or run */
    atomic_int ready, freed, done;
    char *got[2][BLOCKS];
};

struct racer {
    struct race *race;
    int index;
};

static void meet(atomic_int *at)
{
    atomic_fetch_add(at, 1);
    while (atomic_load(at) < 2)
        ;
}

static void *race_to_free(void *arg)
{
    struct racer *r = arg;
    struct race *race = r->race;
    static void *warm[2][BLOCKS];
    int fill = race->one_is_full && r->index ? BLOCKS : 1;
    for (int i = 0; i < fill; i++)
        warm[r->index][i] = malloc(race->n);
    for (int i = 0; i < fill; i++)
        free(warm[r->index][i]);
    meet(&race->ready);
    free(race->p);
    meet(&race->freed);
    int count = race->n > 50000 ? 10 : BLOCKS;
    for (int i = 0; i < count; i++)
        if ((race->got[r->index][i] = malloc(race->n)))
            race->got[r->index][i][0] = (char)r->index;
    meet(&race->done);
    return NULL;
}

static void both_free(const void *arg)
{
    static struct race race;
    static struct racer racers[2] = {{&race, 0}, {&race, 1}};
    pthread_t t;
    race.n = ((const struct race *)arg)->n;
    race.one_is_full = ((const struct race *)arg)->one_is_full;
    race.p = malloc(race.n);
    QT_CHECK(pthread_create(&t, NULL, race_to_free, &racers[1]) == 0);
    race_to_free(&racers[0]);
    pthread_join(t, NULL);
    for (int i = 0; i < BLOCKS && race.got[0][i]; i++)
        for (int k = 0; k < BLOCKS && race.got[1][k]; k++)
            QT_CHECKF(race.got[0][i] != race.got[1][k], "%p belongs to two threads (size %zu)",
                      (void *)race.got[0][i], race.n);
}

static void check_races(size_t n)
{
    for (int round = 0; round < ROUNDS; round++) {
        struct race race = {.n = n, .one_is_full = round % 2};
        does_no_harm(both_free, &race, "size %zu, round %d", n, round);
    }
    safety_done();
}

QTEST("two threads that free one small block at the same time do no harm (M-50)")
{
    /* Two fast paths that meet within nanoseconds can both take a cell: docs/decisions/0001 */
    if (qt_conf_has("classic") || qt_conf_has("run_max:0"))
        check_races(100);
}

QTEST("two threads that free one medium block at the same time do no harm (M-50)")
{
    check_races(1048);
    check_races(5000);
}

QTEST("two threads that free one larger block at the same time do no harm (M-50)")
{
    check_races(60000);
}

QTEST("two threads that free one mapped block at the same time do no harm (M-50)")
{
    check_races(300000);
}

QTEST_MAIN
