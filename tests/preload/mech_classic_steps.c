/* not: musl */
/* variants: classic */
/*
 * realloc, memalign, malloc_trim and mallopt in the steps that ptmalloc makes: whole blocks are taken, cut and freed,
 * and what is cut off goes where any freed block goes (M-05, M-10, M-18). glibc 2.36 passes every case;
 * tests/scripts/ptmalloc.py compares with it call by call.
 */
#include <malloc.h>
#include <pthread.h>

#include "mech_heap.h"

#define TEST(name) QTEST_X(name, .env = FRESH)
#define TEST_WITHOUT_CACHE(name) QTEST_X(name, .env = NO_TCACHE)

/* --------------------------------------------------------------- realloc */

TEST("what realloc cuts off is freed: the thread's cache has it next (M-05, M-10)")
{
    use_up_bins();
    char *p = guarded(400);
    QT_EQ((uintptr_t)realloc(p, 200), (uintptr_t)p);
    QT_EQ(chunk_bytes(p), chunk_for(200));
    char *rest = next_of(p);
    QT_CHECK(in_use(rest)); /* as what a cache holds is */
    QT_EQ((uintptr_t)malloc(request_for(chunk_for(400) - chunk_for(200))), (uintptr_t)rest);
}

TEST("a block that realloc moves comes from the arena, not from the thread's cache (M-10)")
{
    use_up_bins();
    char *kept = guarded(500), *p = guarded(100);
    memset(p, 7, 100);
    free(kept);
    char *moved = realloc(p, 500);
    QT_CHECK(moved != kept && moved != p);
    for (int i = 0; i < 100; i++)
        QT_EQ(moved[i], 7);
    QT_EQ((uintptr_t)malloc(500), (uintptr_t)kept);
    QT_EQ((uintptr_t)malloc(100), (uintptr_t)p);
}

/* Leaves little of top behind the last block. */
static void use_up_top(void)
{
    use_up_bins();
    for (char *p = malloc(request_for(2048)); top_bytes_after(p) > 8192;)
        p = malloc(request_for(2048));
}

TEST("when top does not suffice, realloc takes more behind the block, which stays (M-16, M-20)")
{
    use_up_top();
    char *p = malloc(request_for(2048));
    memset(p, 7, request_for(2048));
    uintptr_t end = brk_end();
    for (size_t n = 3000; n < 120000; n += 5000) {
        QT_EQ((uintptr_t)realloc(p, n), (uintptr_t)p);
        QT_EQ(chunk_bytes(p), chunk_for(n));
        QT_CHECK(borders_top(p));
    }
    QT_CHECK(brk_end() > end);
    for (size_t i = 0; i < request_for(2048); i++)
        QT_EQ(p[i], 7);
}

TEST_WITHOUT_CACHE("where a block began that another grew over, a free chunk may begin (M-06, M-16)")
{
    use_up_top();
    for (int i = 0; i < 10; i++) {
        char *p = malloc(200);
        while (top_bytes_after(p) > 600) /* both in one KiB: marks.h */
            p = malloc(200);
        QT_EQ((uintptr_t)realloc(p, 20000), (uintptr_t)p);
        malloc(24); /* p does not border top */
        free(p);
        QT_EQ((uintptr_t)malloc(200), (uintptr_t)p);
        QT_EQ((uintptr_t)malloc(3000), (uintptr_t)next_of(p));
        use_up_top();
    }
}

TEST("realloc of a mapped block has as many pages as a new one of the size (M-21)")
{
    char *p = malloc(1 << 20);
    for (size_t n = 300000; n < 300000 + 2 * PAGE; n += 8) {
        char *fresh = malloc(n);
        p = realloc(p, n);
        QT_EQ(malloc_usable_size(p), malloc_usable_size(fresh));
        QT_CHECK(head_of(p) & M_BIT);
        free(fresh);
        if (n == 300000)
            heap.mallopt(M_MMAP_THRESHOLD, 131072); /* fresh ones stay mapped */
    }
}

/* --------------------------------------------------------------- memalign */

TEST("what lies before and behind an aligned block is freed, as any block (M-05, M-10)")
{
    int fronts = 0, rests = 0;
    for (size_t n = 24; n < 1000; n += 48) {
        use_up_bins();
        char *before = malloc(n), *p = memalign(512, 200), *m = next_of(before);
        QT_EQ((uintptr_t)p % 512, 0);
        size_t all = chunk_for(chunk_for(200) + 512 + 32), front = (size_t)(p - m);
        size_t rest = all - front - chunk_for(200);
        QT_CHECK(front == 0 || front >= 32);
        QT_EQ(chunk_bytes(p),
              chunk_for(200) + (rest > 32 ? 0 : rest)); /* 32 would do for a chunk, but stay */
        if (front) {
            QT_CHECK(chunk_bytes(m) == front && in_use(m));
            QT_EQ((uintptr_t)malloc(request_for(front)), (uintptr_t)m);
            fronts++;
        }
        if (rest > 32) {
            QT_CHECK(chunk_bytes(next_of(p)) == rest && in_use(next_of(p)));
            QT_EQ((uintptr_t)malloc(request_for(rest)), (uintptr_t)next_of(p));
            rests++;
        }
    }
    QT_CHECKF(fronts > 5 && rests > 5, "%d and %d", fronts, rests);
}

TEST("a mapped block is aligned within its mapping (M-05, M-21)")
{
    for (size_t alignment = 32; alignment <= 1 << 20; alignment *= 2) {
        char *p = memalign(alignment, 200000);
        QT_EQ((uintptr_t)p % alignment, 0);
        QT_EQ(head_of(p) & (M_BIT | A_BIT), M_BIT);
        uintptr_t from = (uintptr_t)p - 16 - prev_size_of(p), to = (uintptr_t)p - 16 + chunk_bytes(p);
        QT_EQ(from % PAGE, 0);
        QT_EQ(to - from,
              (chunk_for(chunk_for(200000) + alignment + 32) + 8 + PAGE - 1) & ~(size_t)(PAGE - 1));
        memset(p, 1, malloc_usable_size(p));
        free(p);
        QT_CHECK(!is_mapped((char *)from));
        if (alignment == 32)
            heap.mallopt(M_MMAP_THRESHOLD, 131072);
    }
}

/* --------------------------------------------------------------- malloc_trim, mallopt, sub-heaps */

TEST("malloc_trim leaves what a thread's cache holds (M-10, M-23)")
{
    use_up_bins();
    char *p = guarded(100);
    free(p);
    malloc_trim(0);
    QT_CHECK(in_use(p));
    QT_EQ((uintptr_t)malloc(100), (uintptr_t)p);
}

TEST_WITHOUT_CACHE("mallopt empties the fast bins of the main arena, whatever it is asked for (M-18, M-41)")
{
    static const int parameters[] = {M_MXFAST, M_TOP_PAD, M_ARENA_MAX, M_MXFAST};
    static const int values[] = {64, 131072, 8, 100000};
    for (int i = 0; i < 4; i++) {
        use_up_bins();
        char *p = guarded(24);
        free(p);
        QT_CHECK(in_use(p));
        heap.mallopt(parameters[i], values[i]);
        QT_CHECK(!in_use(p));
    }
}

static void *thread_grow(void *context)
{
    (void)context;
    for (int i = 0; i < 200; i++) {
        char *p = malloc(request_for(2000));
        char *top = next_of(p);
        /* At first as large as an arena's first sub-heap is; from then on as much as is needed. */
        if ((uintptr_t)top - heap_base(top) > 33 * PAGE)
            QT_CHECKF(chunk_bytes(top) <= PAGE + 32, "%zu bytes of top", chunk_bytes(top));
    }
    return NULL;
}

TEST_WITHOUT_CACHE("a sub-heap grows by the pages that are needed, without top_pad (M-32)")
{
    pthread_t t;
    QT_EQ(pthread_create(&t, NULL, thread_grow, NULL), 0);
    QT_EQ(pthread_join(t, NULL), 0);
}

QTEST_MAIN
