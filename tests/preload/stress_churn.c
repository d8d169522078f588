/* timeout: 120 */
/*
 * Threads that come and go (M-33): 10,000 births and deaths with blocks that outlive their thread, 1,000 at once,
 * stacks of 16 KiB, frees in destructors after the allocator has put the thread's cache away, cancellation. Nothing is
 * lost: the resident size stays bounded.
 */
#include "stress_blocks.h"

#include <limits.h>

enum { K = 1024, M = 1024 * K };

/* --------------------------------------------------------------- births and deaths */

enum { AT_ONCE = 10, KEPT = 64 };

/* Blocks on their way from one thread to a later one. */
static struct block handed[KEPT];
static pthread_mutex_t handed_lock = PTHREAD_MUTEX_INITIALIZER;

/* Puts this block there and takes what was there. */
static void hand_over(struct block *b, uint64_t place)
{
    pthread_mutex_lock(&handed_lock);
    struct block was = handed[place % KEPT];
    handed[place % KEPT] = *b;
    pthread_mutex_unlock(&handed_lock);
    *b = was;
}

static void *short_life(void *context)
{
    struct rng r = rng_seeded((uint64_t)(uintptr_t)context);
    struct block own[20];
    for (int i = 0; i < 20; i++)
        QT_CHECK(block_make(&own[i], block_size(&r, 40 * K), &r));
    for (int i = 0; i < 10; i++)
        hand_over(&own[i], rng_next(&r));
    for (int i = 0; i < 20; i++)
        block_drop(&own[i]);
    return NULL;
}

static void lives(int count, int *born)
{
    pthread_t t[AT_ONCE];
    for (int i = 0; i < count; i += AT_ONCE) {
        for (int k = 0; k < AT_ONCE; k++)
            t[k] = thread_start_with(short_life, (void *)(uintptr_t)++ * born, 64 * K);
        for (int k = 0; k < AT_ONCE; k++)
            thread_end(t[k]);
    }
}

QTEST_X("10,000 threads are born and die, blocks outlive them, and the resident size stays bounded (M-33)",
        .timeout_s = 60)
{
    int born = 0;
    lives(1000, &born);
    long rss = qt_rss_kib(), size = qt_status_kib("VmSize:");
    lives(9000, &born);
    QT_CHECKF(qt_rss_kib() - rss < 3 * K, "%ld KiB after 1,000 threads, %ld after 10,000", rss, qt_rss_kib());
    /* An arena reserves 64 MiB, and how many there are depends on how many threads met. */
    QT_CHECKF(qt_status_kib("VmSize:") - size < (AT_ONCE + 1) * 64 * K, "address space: %ld KiB, then %ld",
              size, qt_status_kib("VmSize:"));
    for (int i = 0; i < KEPT; i++)
        block_drop(&handed[i]);
}

static void *one_block(void *slot)
{
    struct rng r = rng_seeded(7);
    QT_CHECK(block_make(slot, 500, &r));
    return NULL;
}

QTEST("blocks of ended threads stay as they are and can be freed or resized by any other (M-33)")
{
    static struct block blocks[1000];
    for (int i = 0; i < 1000; i++)
        thread_end(thread_start_with(one_block, &blocks[i], 64 * K));
    for (int i = 0; i < 1000; i++)
        block_verify(&blocks[i]);
    for (int i = 0; i < 1000; i += 2)
        QT_CHECK(block_resize(&blocks[i], (size_t)i * 40 + 1));
    for (int i = 0; i < 1000; i++)
        block_drop(&blocks[i]);
}

/* --------------------------------------------------------------- many at once, small stacks */

enum { CROWD = 1000 };
static pthread_barrier_t all_here;

static void *of_the_crowd(void *context)
{
    struct rng r = rng_seeded((uint64_t)(uintptr_t)context);
    struct block own[12];
    for (int i = 0; i < 12; i++)
        QT_CHECK(block_make(&own[i], block_size(&r, 20 * K), &r));
    pthread_barrier_wait(&all_here);
    hand_over(&own[0], rng_next(&r));
    for (int i = 0; i < 12; i++)
        block_drop(&own[i]);
    pthread_barrier_wait(&all_here);
    return NULL;
}

QTEST_X("1,000 living threads all allocate, and leave nothing behind (M-31, M-33)", .timeout_s = 60)
{
    static pthread_t t[CROWD];
    long before = 0;
    for (int round = 0; round < 7; round++) {
        pthread_barrier_init(&all_here, NULL, CROWD);
        for (uintptr_t i = 0; i < CROWD; i++)
            t[i] = thread_start_with(of_the_crowd, (void *)(i + 1), 64 * K);
        for (int i = 0; i < CROWD; i++)
            thread_end(t[i]);
        malloc_trim(0);
        if (round == 2)
            before = qt_rss_kib();
    }
    QT_CHECKF(qt_rss_kib() - before < 8 * K, "%ld KiB after three thousand, %ld after seven", before,
              qt_rss_kib());
    for (int i = 0; i < KEPT; i++)
        block_drop(&handed[i]);
}

static void *on_a_small_stack(void *context)
{
    struct rng r = rng_seeded(9);
    struct block own[16];
    (void)context;
    for (int round = 0; round < 40; round++) {
        for (int i = 0; i < 16; i++)
            QT_CHECK(block_make(&own[i], block_size(&r, 2 * M), &r));
        for (int i = 0; i < 16; i++)
            QT_CHECK(block_resize(&own[i], block_size(&r, 2 * M)));
        for (int i = 0; i < 16; i++)
            block_drop(&own[i]);
        malloc_trim(0);
        mallinfo2();
    }
    return NULL;
}

QTEST("every call works on a stack of 16 KiB (M-40)")
{
    size_t stack = (size_t)sysconf(_SC_THREAD_STACK_MIN);
    if (stack < 16 * K)
        stack = 16 * K;
    for (int i = 0; i < 10; i++)
        thread_end(thread_start_with(on_a_small_stack, NULL, stack));
}

/* --------------------------------------------------------------- destructors */

static pthread_key_t keys[3];

/* Frees what the key held, takes some more, and asks to be called again. */
static void key_destructor(void *value)
{
    uintptr_t *round = value;
    uintptr_t n = *round;
    void *other = malloc(n * 1000 + 10);
    memset(other, 1, n * 1000 + 10);
    free(round);
    if (n > 1) {
        round = malloc(40 + n);
        *round = n - 1;
        pthread_setspecific(keys[n % 3], round);
    }
    free(other);
}

extern int __cxa_thread_atexit_impl(void (*)(void *), void *, void *) __attribute__((weak)); /* not in musl */
extern void *__dso_handle;

static void thread_local_destructor(void *value)
{
    struct rng r = rng_seeded(3);
    struct block b;
    free(value);
    QT_CHECK(block_make(&b, 300, &r));
    QT_CHECK(block_resize(&b, 3000));
    block_drop(&b);
}

static void *with_destructors(void *context)
{
    if (__cxa_thread_atexit_impl)
        __cxa_thread_atexit_impl(thread_local_destructor, malloc(100), &__dso_handle);
    for (int i = 0; i < 3; i++) {
        uintptr_t *round = malloc(100);
        *round = PTHREAD_DESTRUCTOR_ITERATIONS +
                 1; /* more rounds than there are: the last is lost, as it must be */
        pthread_setspecific(keys[i], round);
    }
    (void)context;
    return NULL;
}

static void *only_in_destructors(void *context)
{
    static __thread uintptr_t first;
    (void)context;
    first = 3;
    pthread_setspecific(keys[0], memcpy(malloc(16), &first, sizeof first));
    return NULL;
}

QTEST("frees and requests in TLS destructors, several rounds of them, lose nothing (M-33)")
{
    long before = 0;
    for (int i = 0; i < 3; i++)
        QT_EQ(pthread_key_create(&keys[i], key_destructor), 0);
    for (int i = 0; i < 3000; i++) {
        if (i == 500)
            before = qt_rss_kib();
        thread_end(thread_start_with(i % 2 ? with_destructors : only_in_destructors, NULL, 64 * K));
    }
    QT_CHECKF(qt_rss_kib() - before < 2 * K, "%ld KiB, then %ld", before, qt_rss_kib());
}

static pthread_key_t first_use;

static void allocates_first_here(void *value)
{
    struct rng r = rng_seeded(4);
    struct block b;
    (void)value;
    QT_CHECK(block_make(&b, 1000, &r));
    block_drop(&b);
    thread_local_destructor(malloc(10));
}

static void *never_allocates(void *context)
{
    pthread_setspecific(first_use, context);
    return NULL;
}

QTEST("a thread's very first request may come from its destructors (M-33)")
{
    long before = 0;
    QT_EQ(pthread_key_create(&first_use, allocates_first_here), 0);
    for (int i = 0; i < 3000; i++) {
        if (i == 500)
            before = qt_rss_kib();
        thread_end(thread_start_with(never_allocates, &before, 64 * K));
    }
    QT_CHECKF(qt_rss_kib() - before < 2 * K, "%ld KiB, then %ld", before, qt_rss_kib());
}

static int round_of_first_use;

static void allocates_first_in_a_late_round(void *value)
{
    intptr_t round = (intptr_t)value;
    if (round >= round_of_first_use)
        allocates_first_here(value);
    pthread_setspecific(first_use, (void *)(round + 1));
}

static void *never_allocates_but_late(void *context)
{
    pthread_setspecific(first_use, (void *)1);
    return NULL;
}

QTEST("so may it from the last round of them (M-33)")
{
    QT_EQ(pthread_key_create(&first_use, allocates_first_in_a_late_round), 0);
    for (round_of_first_use = 2; round_of_first_use <= PTHREAD_DESTRUCTOR_ITERATIONS; round_of_first_use++) {
        long before = 0;
        for (int i = 0; i < 1500; i++) {
            if (i == 500)
                before = qt_rss_kib();
            thread_end(thread_start_with(never_allocates_but_late, NULL, 64 * K));
        }
        QT_CHECKF(qt_rss_kib() - before < 2 * K, "round %d: %ld KiB, then %ld", round_of_first_use, before,
                  qt_rss_kib());
    }
}

static void *detached_life(void *context)
{
    struct rng r = rng_seeded(5);
    struct block b;
    QT_CHECK(block_make(&b, 1000, &r));
    block_drop(&b);
    __atomic_sub_fetch((int *)context, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

QTEST("detached threads that end at any moment (M-33)")
{
    static int alive;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 64 * K);
    for (int i = 0; i < 3000; i++) {
        pthread_t t;
        while (__atomic_load_n(&alive, __ATOMIC_SEQ_CST) > 50)
            usleep(100);
        __atomic_add_fetch(&alive, 1, __ATOMIC_SEQ_CST);
        QT_EQ(pthread_create(&t, &attr, detached_life, &alive), 0);
    }
    while (__atomic_load_n(&alive, __ATOMIC_SEQ_CST))
        usleep(100);
}

/* --------------------------------------------------------------- cancellation */

static void drop_if_any(void *b)
{
    block_drop(b);
}

static void *until_cancelled(void *context)
{
    struct rng r = rng_seeded((uint64_t)(uintptr_t)context);
    struct block b = {NULL, 0, 0};
    pthread_cleanup_push(drop_if_any, &b);
    for (;;) {
        if (b.p)
            block_drop(&b);
        else
            block_make(&b, block_size(&r, 300 * K), &r);
        if (rng_one_in(&r, 4))
            pthread_testcancel();
        if (rng_one_in(&r, 300))
            usleep(1);
    }
    pthread_cleanup_pop(1);
    return NULL;
}

QTEST("threads cancelled at random points leave a heap that works (M-33)")
{
    struct rng r = rng_seeded(6);
    long before = 0;
    for (int i = 0; i < 400; i++) {
        pthread_t t[4];
        if (i == 100)
            before = qt_rss_kib();
        for (uintptr_t k = 0; k < 4; k++)
            t[k] = thread_start_with(until_cancelled, (void *)(k + 1 + (uintptr_t)i * 4), 64 * K);
        usleep((useconds_t)rng_below(&r, 1500));
        for (int k = 0; k < 4; k++)
            QT_EQ(pthread_cancel(t[k]), 0);
        for (int k = 0; k < 4; k++) {
            void *result;
            QT_EQ(pthread_join(t[k], &result), 0);
            QT_CHECK(result == PTHREAD_CANCELED);
        }
    }
    QT_CHECKF(qt_rss_kib() - before < 3 * K, "%ld KiB, then %ld", before, qt_rss_kib());
}

static bool survived;

static void *with_cancel_pending(void *context)
{
    struct rng r = rng_seeded(8);
    static struct block own[2000];
    (void)context;
    pthread_cancel(pthread_self());
    for (int i = 0; i < 2000; i++)
        QT_CHECK(block_make(&own[i], block_size(&r, 4 * M), &r));
    for (int i = 0; i < 2000; i++)
        QT_CHECK(block_resize(&own[i], block_size(&r, 4 * M)));
    for (int i = 0; i < 2000; i++)
        block_drop(&own[i]);
    malloc_trim(0);
    mallinfo2();
    survived = true;
    pthread_testcancel();
    return NULL;
}

QTEST("no call of the allocator is a cancellation point, a thread's first neither")
{
    void *result;
    pthread_t t = thread_start(with_cancel_pending, NULL);
    QT_EQ(pthread_join(t, &result), 0);
    QT_CHECK(result == PTHREAD_CANCELED);
    QT_CHECK(survived);
}

QTEST_MAIN
