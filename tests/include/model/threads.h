/*
 * threads: the model with several threads at once. Each has slots of its own and hands blocks to the others
 * through mailboxes; after some thousand operations a thread makes its successor, which goes on with its
 * slots, and ends.
 */
#ifndef MODEL_THREADS_H
#define MODEL_THREADS_H

#include "run.h"
#include <pthread.h>
#include <sched.h>

enum { THREADS_MAX = 64, LETTERS = 64 };

/* A letter is taken by changing its state; acquire/release pass the block's contents on. */
enum letter_state { LETTER_EMPTY, LETTER_BUSY, LETTER_FULL };

struct mailbox {
    struct {
        int state;
        struct block block;
    } letters[LETTERS];
};

struct worker {
    struct model model;
    struct op_source source;
    struct team *team;
    struct rng lives;
    int done;
};

struct team {
    int threads;
    double end;          /* seconds on the monotonic clock */
    uint64_t steps_each; /* 0: until the end */
    uint64_t *steps;     /* shared: one for each worker */
    struct mailbox boxes[THREADS_MAX];
    struct worker workers[THREADS_MAX];
};

static inline bool letter_turn(struct mailbox *box, uint32_t i, int from, int to)
{
    return __atomic_compare_exchange_n(&box->letters[i].state, &from, to, false, __ATOMIC_ACQUIRE,
                                       __ATOMIC_RELAXED);
}

static bool mailbox_put(struct model *m, const struct block *b, uint32_t random)
{
    struct team *team = ((struct worker *)m)->team;
    struct mailbox *box =
        &team->boxes[(m->thread + 1 + (int)(random + *m->step) % team->threads) % team->threads];
    for (uint32_t k = 0; k < LETTERS; k++) {
        uint32_t i = (random * 7 + (uint32_t)*m->step + k) % LETTERS;
        if (!letter_turn(box, i, LETTER_EMPTY, LETTER_BUSY))
            continue;
        box->letters[i].block = *b;
        __atomic_store_n(&box->letters[i].state, LETTER_FULL, __ATOMIC_RELEASE);
        return true;
    }
    return false;
}

static bool mailbox_get(struct model *m, struct block *b, uint32_t random)
{
    for (uint32_t k = 0; k < LETTERS; k++) {
        uint32_t i = (random * 5 + (uint32_t)*m->step + k) % LETTERS;
        if (!letter_turn(m->mailbox, i, LETTER_FULL, LETTER_BUSY))
            continue;
        *b = m->mailbox->letters[i].block;
        __atomic_store_n(&m->mailbox->letters[i].state, LETTER_EMPTY, __ATOMIC_RELEASE);
        return true;
    }
    return false;
}

/* What the source believes of its slots follows what is in them: letters come or not. */
static inline void worker_step(struct worker *w)
{
    struct op o = op_next(&w->source);
    model_step(&w->model, &o);
    w->source.full[o.slot] = w->model.slots[o.slot].p != NULL;
}

static inline bool worker_over(const struct worker *w)
{
    return w->team->steps_each ? *w->model.step >= w->team->steps_each : qt_seconds() > w->team->end;
}

/*
 * Races show when a thread stands still in the middle of something while another goes on. So some threads are of the
 * idle class, and each time one of the others wakes from a short sleep, it interrupts one of these anywhere.
 */
static inline void worker_be(const struct worker *w, bool at_work)
{
    struct sched_param none = {0};
    pthread_setschedparam(pthread_self(), at_work && w->model.thread % 3 == 1 ? SCHED_IDLE : SCHED_OTHER,
                          &none);
}

static inline void worker_rest(struct worker *w)
{
    if (w->model.thread % 3 != 1 && rng_one_in(&w->lives, 100))
        usleep(10);
}

static void *worker_live(void *arg)
{
    struct worker *w = arg;
    uint64_t life = rng_log(&w->lives, 100, 30000);
    worker_be(w, true);
    while (life-- && !(life % 64 == 0 && worker_over(w))) {
        worker_step(w);
        worker_rest(w);
    }
    worker_be(w, false);
    if (worker_over(w)) {
        model_give_all(&w->model);
        __atomic_store_n(&w->done, 1, __ATOMIC_RELEASE);
        return NULL;
    }
    pthread_t successor;
    int error = pthread_create(&successor, NULL, worker_live, w);
    if (error)
        QT_FAIL("pthread_create: %s", strerror(error));
    pthread_detach(successor);
    return NULL;
}

static inline void team_open_mail(struct team *team)
{
    static const struct op none = {.kind = OP_VERIFY, .factor = 1};
    for (int t = 0; t < team->threads; t++) {
        struct model *m = &team->workers[t].model;
        m->op = &none;
        for (int i = 0; i < LETTERS; i++)
            if (team->boxes[t].letters[i].state == LETTER_FULL)
                model_give(m, &team->boxes[t].letters[i].block, OP_FREE);
    }
}

/* In a process of its own: runs all workers to their end, then empties the mailboxes. */
static inline void team_run(struct team *team, uint64_t seed)
{
    for (int t = 0; t < team->threads; t++) {
        struct worker *w = &team->workers[t];
        pthread_t thread;
        model_open(&w->model, &team->steps[t]);
        w->model.mailbox = &team->boxes[t];
        w->model.thread = t;
        w->team = team;
        w->source = op_source_of(rng_mix(seed + (uint64_t)t), (unsigned)team->threads);
        w->lives = rng_seeded(rng_mix(seed) + (uint64_t)t);
        int error = pthread_create(&thread, NULL, worker_live, w);
        if (error)
            QT_FAIL("pthread_create: %s", strerror(error));
        pthread_detach(thread);
    }
    for (int t = 0; t < team->threads; t++)
        while (!__atomic_load_n(&team->workers[t].done, __ATOMIC_ACQUIRE))
            usleep(2000);
    team_open_mail(team);
}

#endif
