/* not: musl */
/* variants: classic */
/*
 * The thread cache as ptmalloc has it (M-10, E-6, E-7): which blocks it keeps, how many, in which order, and what
 * passes it by. Nothing is said of what it writes into them. glibc 2.36 passes every case.
 */
#include "mech_heap.h"

#include <pthread.h>

#define TEST(name) QTEST_X(name, .env = FRESH)

enum { KEPT = 7 }; /* of each size */

struct seven {
    size_t n;
    char *p[KEPT];
};

static struct seven take_seven(size_t n)
{
    struct seven s = {.n = n};
    for (int i = 0; i < KEPT; i++)
        s.p[i] = guarded(n);
    return s;
}

static void fill(struct seven *s)
{
    for (int i = 0; i < KEPT; i++)
        free(s->p[i]);
}

static void drain(struct seven *s)
{
    for (int i = KEPT; i-- > 0;)
        QT_EQ((uintptr_t)malloc(s->n), (uintptr_t)s->p[i]);
}

static uintptr_t fast_link_to_none(const void *p)
{
    return (uintptr_t)p >> 12;
}

TEST("free, then malloc of the same small size, returns the same address (E-7, M-10)")
{
    for (size_t n = 0; n <= 1032; n++) {
        char *p = malloc(n);
        free(p);
        QT_EQ((uintptr_t)malloc(n), (uintptr_t)p);
    }
}

TEST("each of 64 sizes, chunks 32 to 1040, keeps seven; the eighth goes to its bin (M-10, E-6)")
{
    use_up_bins();
    int sizes = 0;
    for (size_t chunk = 1040; chunk >= 32; chunk -= 16, sizes++) {
        struct seven s = take_seven(request_for(chunk));
        char *eighth = guarded(request_for(chunk));
        memset(eighth, 0, 24);
        fill(&s);
        for (int i = 0; i < KEPT; i++)
            QT_CHECKF(in_use(s.p[i]), "chunk %zu, block %d", chunk, i);
        free(eighth);
        if (chunk <= 128) {
            QT_CHECKF(in_use(eighth), "chunk %zu: not in a fast bin", chunk);
            QT_EQ(*(uintptr_t *)eighth, fast_link_to_none(eighth));
        } else {
            QT_CHECKF(!in_use(eighth), "chunk %zu: not in the unsorted bin", chunk);
            QT_EQ((uintptr_t)fd_of(eighth), (uintptr_t)bk_of(eighth));
        }
        drain(&s);
        QT_EQ((uintptr_t)malloc(s.n), (uintptr_t)eighth);
    }
    QT_EQ(sizes, 64);
}

TEST("a chunk above 1040 passes the thread cache by (M-10)")
{
    use_up_bins();
    char *cached = guarded(1032), *not_cached = guarded(1033);
    free(cached);
    free(not_cached);
    QT_CHECK(in_use(cached));
    QT_CHECK(!in_use(not_cached));
}

TEST("the thread cache is LIFO (M-10)")
{
    use_up_bins();
    for (size_t n = 1032; n > 24; n -= 48) {
        struct seven s = take_seven(n);
        fill(&s);
        drain(&s);
    }
}

TEST("the thread cache is asked before the fast and small bins (M-10)")
{
    static const size_t sizes[] = {500, 100};
    for (int i = 0; i < 2; i++) {
        use_up_bins();
        struct seven s = take_seven(sizes[i]);
        char *binned = guarded(sizes[i]);
        fill(&s);
        free(binned);
        sort_unsorted();
        drain(&s);
    }
}

TEST("cached blocks are not coalesced (M-10)")
{
    use_up_bins();
    char *a = malloc(500), *b = malloc(500), *c = guarded(500);
    QT_CHECK(next_of(a) == b && next_of(b) == c);
    free(a);
    free(c);
    free(b);
    QT_CHECK(in_use(a) && in_use(b) && in_use(c));
    QT_CHECK((char *)malloc(1000) > c);
}

TEST("each size has a stack of its own (M-10)")
{
    use_up_bins();
    for (size_t chunk = 48; chunk <= 1040; chunk += 16) {
        char *p = malloc(request_for(chunk));
        free(p);
        char *q = malloc(request_for(chunk - 16));
        QT_CHECK(q != p);
        QT_EQ((uintptr_t)malloc(request_for(chunk)), (uintptr_t)p);
    }
}

TEST("calloc passes the thread cache by (M-10)")
{
    static const size_t sizes[] = {0, 500};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char *p = malloc(sizes[i]);
        free(p);
        char *q = calloc(1, sizes[i]);
        QT_CHECK(q != p);
        QT_EQ((uintptr_t)malloc(sizes[i]), (uintptr_t)p);
    }
}

/* --------------------------------------------------------------- filling the cache from the bins */

TEST("a fast bin hit moves the rest of that bin into the thread cache (M-10, M-11)")
{
    use_up_bins();
    struct seven s = take_seven(100);
    char *a = guarded(100), *b = guarded(100), *c = guarded(100);
    fill(&s);
    free(a);
    free(b);
    free(c);
    drain(&s);
    QT_EQ((uintptr_t)malloc(100), (uintptr_t)c); /* LIFO */
    QT_EQ((uintptr_t)malloc(100), (uintptr_t)a); /* b, then a went over: turned round */
    QT_EQ((uintptr_t)malloc(100), (uintptr_t)b);
}

TEST("a small bin hit moves the rest of that bin into the thread cache (M-10, M-13)")
{
    use_up_bins();
    struct seven s = take_seven(500);
    char *a = guarded(500), *b = guarded(500), *c = guarded(500);
    fill(&s);
    free(a);
    free(b);
    free(c);
    sort_unsorted();
    drain(&s);
    QT_EQ((uintptr_t)malloc(500), (uintptr_t)a); /* FIFO */
    QT_CHECK(in_use(b) && in_use(c));            /* marked in use: they left the bin */
    QT_EQ((uintptr_t)malloc(500), (uintptr_t)c);
    QT_EQ((uintptr_t)malloc(500), (uintptr_t)b);
}

TEST("exact fits met in the unsorted bin go to the thread cache first (M-10, M-12)")
{
    use_up_bins();
    struct seven s = take_seven(500);
    char *a = guarded(500), *b = guarded(500), *c = guarded(500);
    fill(&s);
    free(a);
    free(b);
    free(c);
    drain(&s);
    QT_EQ((uintptr_t)malloc(500), (uintptr_t)c);
    QT_CHECK(in_use(a) && in_use(b));
    QT_EQ((uintptr_t)malloc(500), (uintptr_t)b);
    QT_EQ((uintptr_t)malloc(500), (uintptr_t)a);
}

/* --------------------------------------------------------------- threads */

struct exchange {
    char *in, *out;
};

static void *thread_malloc_500(void *context)
{
    struct exchange *x = context;
    x->out = malloc(500);
    return NULL;
}

static void run_thread(void *(*body)(void *), void *context)
{
    pthread_t t;
    QT_EQ(pthread_create(&t, NULL, body, context), 0);
    QT_EQ(pthread_join(t, NULL), 0);
}

TEST("what one thread has cached another does not get (M-10)")
{
    char *p = malloc(500);
    struct exchange x = {NULL, NULL};
    free(p);
    run_thread(thread_malloc_500, &x);
    QT_CHECK(x.out && x.out != p);
    QT_EQ((uintptr_t)malloc(500), (uintptr_t)p);
}

static void *thread_free_and_malloc_500(void *context)
{
    struct exchange *x = context;
    free(x->in);
    x->out = malloc(500);
    return NULL;
}

TEST("a thread caches what it frees, whichever arena it is from (M-10)")
{
    struct exchange x = {malloc(500), NULL};
    run_thread(thread_free_and_malloc_500, &x);
    QT_EQ((uintptr_t)x.out, (uintptr_t)x.in);
}

static void *thread_fill(void *context)
{
    struct seven *s = context;
    fill(s);
    for (int i = 0; i < KEPT; i++)
        QT_CHECK(in_use(s->p[i]));
    return NULL;
}

TEST("an exiting thread returns what it had cached to the arenas (M-10, M-33)")
{
    use_up_bins();
    struct seven s = take_seven(500);
    run_thread(thread_fill, &s);
    for (int i = 0; i < KEPT; i++)
        QT_CHECKF(!in_use(s.p[i]), "block %d", i);
}

/* --------------------------------------------------------------- options */

QTEST_X("glibc.malloc.tcache_count sets how many of a size are kept (M-10, M-42)",
        .env = "GLIBC_TUNABLES=glibc.malloc.tcache_count=3")
{
    use_up_bins();
    char *p[4];
    for (int i = 0; i < 4; i++)
        p[i] = guarded(500);
    for (int i = 0; i < 4; i++) {
        free(p[i]);
        QT_EQ(in_use(p[i]), i < 3);
    }
}

QTEST_X("glibc.malloc.tcache_count=0 turns the thread cache off (M-10, M-42)", .env = NO_TCACHE)
{
    use_up_bins();
    char *p = guarded(500);
    free(p);
    QT_CHECK(!in_use(p));
}

QTEST_X("glibc.malloc.tcache_max sets the largest size kept (M-10, M-42)",
        .env = "GLIBC_TUNABLES=glibc.malloc.tcache_max=504")
{
    use_up_bins();
    char *kept = guarded(504), *not_kept = guarded(505);
    free(kept);
    free(not_kept);
    QT_CHECK(in_use(kept));
    QT_CHECK(!in_use(not_kept));
}

QTEST_MAIN
