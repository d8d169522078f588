/*
 * A server: sessions live for many requests, and each request is served by whichever thread is free, so that
 * the blocks of one session come from several threads. A thread dies after a number of requests and another
 * takes its place.
 */
#include "bench.h"

enum { SESSION_BLOCKS = 24, SCRATCH_MOST = 20, SESSIONS_MOST = 65536 };

struct session {
    uint64_t tag;
    unsigned requests_left;
    void *blocks[SESSION_BLOCKS];
};

static struct {
    pthread_mutex_t lock;
    struct session *sessions[SESSIONS_MOST]; /* a queue: sessions waiting for their next request */
    unsigned first, count;
} waiting = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct sizes session_sizes, scratch_sizes;
static atomic_llong requests_left; /* threads that race for the last one may take it below zero */
static uint64_t requests_of_a_thread;

static struct session *session_new(struct rng *r)
{
    struct session *s = take(sizeof *s);
    s->requests_left = 10 + (unsigned)rng_below(r, 100);
    for (unsigned i = 0; i < SESSION_BLOCKS; i++)
        s->blocks[i] = i < SESSION_BLOCKS / 2 ? take(sizes_pick(&session_sizes, r)) : NULL;
    return s;
}

static void session_drop(struct session *s)
{
    for (unsigned i = 0; i < SESSION_BLOCKS; i++)
        give(s->blocks[i]);
    give(s);
}

static void session_put(struct session *s)
{
    pthread_mutex_lock(&waiting.lock);
    waiting.sessions[(waiting.first + waiting.count++) % SESSIONS_MOST] = s;
    pthread_mutex_unlock(&waiting.lock);
}

static struct session *session_get(void)
{
    pthread_mutex_lock(&waiting.lock);
    struct session *s = waiting.count ? waiting.sessions[waiting.first] : NULL;
    if (s) {
        waiting.first = (waiting.first + 1) % SESSIONS_MOST;
        waiting.count--;
    }
    pthread_mutex_unlock(&waiting.lock);
    return s;
}

/* Parse into scratch blocks, build an answer by realloc, leave a few changed blocks in the session. */
static void request_serve(struct session *s, struct rng *r)
{
    void *scratch[SCRATCH_MOST];
    unsigned used = 4 + (unsigned)rng_below(r, SCRATCH_MOST - 4);
    for (unsigned i = 0; i < used; i++)
        scratch[i] = take(sizes_pick(&scratch_sizes, r));
    size_t length = 256 + rng_below(r, 1024);
    char *answer = take(length);
    for (unsigned i = 0; i < 3; i++) {
        answer = realloc(answer, 2 * length);
        if (!answer)
            die("realloc");
        memset(answer + length, TAG, length);
        length *= 2;
    }
    for (unsigned i = 0; i < 3; i++) {
        void **slot = &s->blocks[rng_below(r, SESSION_BLOCKS)];
        give(*slot);
        *slot = take(sizes_pick(&session_sizes, r));
    }
    give(answer);
    while (used)
        give(scratch[--used]);
}

static void *worker(void *seed)
{
    struct rng r = {(uintptr_t)seed};
    for (uint64_t i = 0; i < requests_of_a_thread; i++) {
        bool done = atomic_load_explicit(&requests_left, memory_order_relaxed) <= 0;
        struct session *s = done ? NULL : session_get();
        if (!s)
            break;
        atomic_fetch_sub_explicit(&requests_left, 1, memory_order_relaxed);
        request_serve(s, &r);
        if (!--s->requests_left) {
            session_drop(s);
            s = session_new(&r);
        }
        session_put(s);
    }
    return NULL;
}

/* One place of the pool: threads of limited life, one after the other. */
static void workers_in_turn(unsigned index)
{
    for (uintptr_t seed = index + 1; atomic_load(&requests_left) > 0; seed += 1000) {
        pthread_t id;
        if (pthread_create(&id, NULL, worker, (void *)seed))
            die("pthread_create");
        pthread_join(id, NULL);
    }
}

uint64_t server(void)
{
    unsigned sessions = (unsigned)param("sessions", 2000), threads = (unsigned)param("threads", 8);
    uint64_t requests = scaled("requests", 400000);
    struct rng r = {9};
    if (sessions < threads || sessions > SESSIONS_MOST)
        die("sessions= is at least threads=, at most 65536");
    sizes_draw(&session_sizes, "power", 24, 8192);
    sizes_draw(&scratch_sizes, "power", 16, 2048);
    requests_of_a_thread = param("life", 5000);
    requests_left = (long long)requests;
    for (unsigned i = 0; i < sessions; i++)
        session_put(session_new(&r));
    threads_run(threads, workers_in_turn);
    for (struct session *s; (s = session_get());)
        session_drop(s);
    return requests;
}
