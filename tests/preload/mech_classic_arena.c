/* not: musl */
/* variants: classic */
/*
 * Arenas as ptmalloc has them (M-30..M-34, E-8): A bit, sub-heaps found by masking, quota and sharing, reuse after a
 * thread's end and after fork. glibc 2.36 passes every case.
 */
#include "mech_heap.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>

#include "no_mappings.h"

#define TEST(name) QTEST_X(name, .env = NO_TCACHE)

enum { K = 1024 };

static void run_thread(void *(*body)(void *), void *context)
{
    pthread_t t;
    QT_EQ(pthread_create(&t, NULL, body, context), 0);
    QT_EQ(pthread_join(t, NULL), 0);
}

/* Threads that each take a block and then live until told to go: `crowd_arenas[i]` is what thread i got. */
enum { CROWD_MAX = 128 };
static pthread_t crowd[CROWD_MAX];
static void *crowd_blocks[CROWD_MAX];
static pthread_barrier_t crowd_ready, crowd_leave;

static void *crowd_body(void *slot)
{
    *(void **)slot = malloc(2000);
    pthread_barrier_wait(&crowd_ready);
    pthread_barrier_wait(&crowd_leave);
    return NULL;
}

static void crowd_come(int n)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 64 * K);
    pthread_barrier_init(&crowd_ready, NULL, (unsigned)n + 1);
    pthread_barrier_init(&crowd_leave, NULL, (unsigned)n + 1);
    for (int i = 0; i < n; i++)
        QT_EQ(pthread_create(&crowd[i], &attr, crowd_body, &crowd_blocks[i]), 0);
    pthread_barrier_wait(&crowd_ready);
}

static void crowd_go(int n)
{
    pthread_barrier_wait(&crowd_leave);
    for (int i = 0; i < n; i++)
        pthread_join(crowd[i], NULL);
}

/* How many different arenas the main arena and n blocks belong to, and the most blocks that share one. */
static int count_arenas(int n, int *most)
{
    void *seen[CROWD_MAX + 1] = {NULL};
    int users[CROWD_MAX + 1] = {1}, count = 1;
    for (int i = 0; i < n; i++) {
        void *arena = arena_of(crowd_blocks[i]);
        int k = 0;
        while (k < count && seen[k] != arena)
            k++;
        if (k == count)
            seen[count++] = arena;
        users[k]++;
    }
    *most = 0;
    for (int k = 0; k < count; k++)
        *most = users[k] > *most ? users[k] : *most;
    return count;
}

/* --------------------------------------------------------------- M-30, M-32, E-8 */

TEST("a second thread's blocks have A set and lie in a sub-heap that is not the break (E-8, M-02, M-30)")
{
    char *mine = malloc(2000);
    QT_CHECK(is_main_arena(mine) && in_brk(mine));
    crowd_come(1);
    const char *its = crowd_blocks[0];
    QT_CHECK(head_of(its) & A_BIT);
    QT_CHECK(!in_brk(its) && !vma_of(its).heap);
    crowd_go(1);
}

TEST("masking a block's address to 64 MiB finds a header that names its arena (M-32)")
{
    crowd_come(2);
    for (int i = 0; i < 2; i++) {
        char *base = (char *)heap_base(crowd_blocks[i]);
        QT_CHECK(is_mapped(base));
        char *arena = arena_of(crowd_blocks[i]);
        QT_CHECK(arena && is_mapped(arena));
        QT_CHECK((char *)crowd_blocks[i] > base + 8);
    }
    QT_CHECK(arena_of(crowd_blocks[0]) != arena_of(crowd_blocks[1]));
    QT_CHECK(heap_base(crowd_blocks[0]) != heap_base(crowd_blocks[1]));
    crowd_go(2);
}

static volatile bool busy_for_now;
static int busy_rounds = 50000;

/* Takes and frees blocks of all binned sizes; each is filled with what only this thread writes. */
static void *thread_busy(void *mark)
{
    enum { SLOTS = 16 };
    unsigned char *blocks[SLOTS] = {NULL};
    int mine = (int)(intptr_t)mark;
    unsigned random = (unsigned)mine;
    for (int round = 0; round < busy_rounds || busy_for_now; round++) {
        random = random * 1103515245 + 12345;
        size_t n = 24 + (random >> 16) % 3000;
        unsigned char **slot = &blocks[round % SLOTS];
        if (*slot)
            QT_EQ((*slot)[0] + (*slot)[23], 2 * mine);
        free(*slot);
        *slot = malloc(n);
        QT_CHECK(*slot != NULL);
        (*slot)[0] = (*slot)[23] = (unsigned char)mine;
    }
    return NULL;
}

QTEST_X("threads that share an arena do each other no harm: one at a time is in it (M-30)",
        .env = "GLIBC_TUNABLES=glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1")
{
    enum { BUSY = 4 };
    pthread_t t[BUSY];
    for (intptr_t i = 0; i < BUSY; i++)
        QT_EQ(pthread_create(&t[i], NULL, thread_busy, (void *)(i + 1)), 0);
    for (int i = 0; i < BUSY; i++)
        QT_EQ(pthread_join(t[i], NULL), 0);
}

enum { MANY = 2400, BLOCK = 100 * 1024 };

struct heaps {
    uintptr_t base[16];
    int count;
};

static void heaps_note(struct heaps *h, uintptr_t base)
{
    for (int i = 0; i < h->count; i++)
        if (h->base[i] == base)
            return;
    QT_CHECK(h->count < 16);
    h->base[h->count++] = base;
}

static void *thread_chain(void *context)
{
    static char *blocks[MANY];
    struct heaps heaps = {.count = 0};
    (void)context;
    for (int i = 0; i < MANY; i++) {
        blocks[i] = malloc(BLOCK);
        QT_CHECK(head_of(blocks[i]) & A_BIT);
        QT_EQ((uintptr_t)arena_of(blocks[i]), (uintptr_t)arena_of(blocks[0]));
        if (heap_base(blocks[i]) != (i ? heap_base(blocks[i - 1]) : 0))
            QT_CHECK(head_of(blocks[i]) &
                     P_BIT); /* the first of a sub-heap: nothing before it is looked at (M-02) */
        heaps_note(&heaps, heap_base(blocks[i]));
    }
    QT_CHECK(heaps.count >= 4); /* 240 MB in sub-heaps of 64 MiB */
    for (int i = 0; i < MANY; i++)
        blocks[i][0] = 1;
    for (int i = MANY; i-- > 0;)
        free(blocks[i]);
    int left = 0;
    for (int i = 0; i < heaps.count; i++)
        left += is_mapped((char *)heaps.base[i]);
    QT_EQ(left, 1);
    return NULL;
}

TEST("an arena chains sub-heaps, and empty ones are unmapped (M-32)")
{
    run_thread(thread_chain, NULL);
}

static void *thread_chain_upwards(void *context)
{
    static char *blocks[MANY];
    struct heaps heaps = {.count = 0};
    (void)context;
    for (int i = 0; i < MANY; i++) {
        blocks[i] = malloc(BLOCK);
        heaps_note(&heaps, heap_base(blocks[i]));
    }
    for (int i = 0; i < MANY; i++)
        free(blocks[i]);
    int left = 0;
    for (int i = 0; i < heaps.count; i++)
        left += is_mapped((char *)heaps.base[i]);
    QT_EQ(left, 1);
    return NULL;
}

TEST("sub-heaps emptied in the order they were made are unmapped too (M-32)")
{
    run_thread(thread_chain_upwards, NULL);
}

static void *thread_shrink(void *context)
{
    enum { N = 200 };
    char *blocks[N];
    (void)context;
    no_huge_pages();
    for (int i = 0; i < N; i++)
        memset(blocks[i] = malloc(BLOCK), 1, BLOCK);
    char *first = blocks[0];
    QT_CHECK(heap_base(first) == heap_base(blocks[N - 1]));
    QT_CHECK(resident_pages_inside(first, (size_t)N * BLOCK) > N * (BLOCK / PAGE - 1));
    for (int i = 0; i < N; i++)
        free(blocks[i]);
    size_t resident = 0;
    for (char *p = first; p < first + (size_t)N * BLOCK; p += PAGE)
        if (is_mapped(p))
            resident += resident_pages_inside((char *)page_down((uintptr_t)p), PAGE);
    QT_CHECKF(resident * PAGE <= 160 * K, "%zu pages", resident);
    return NULL;
}

TEST("a sub-heap's top above the trim threshold gives its pages back (M-23, M-32)")
{
    run_thread(thread_shrink, NULL);
}

TEST("malloc_trim releases whole free pages inside every arena (M-23, M-30)")
{
    static char *blocks[3];
    no_huge_pages();
    crowd_come(3);
    for (int i = 0; i < 3; i++)
        blocks[i] = crowd_blocks[i];
    for (int i = 0; i < 3; i++)
        QT_CHECK(arena_of(blocks[i]) != arena_of(blocks[(i + 1) % 3]));
    crowd_go(3);

    /* Threads one after the other would share an arena; three at once have one each, and each leaves a hole. */
    extern void *thread_hole(void *);
    pthread_t t[3];
    static char *holes[3];
    pthread_barrier_init(&crowd_ready, NULL, 4);
    pthread_barrier_init(&crowd_leave, NULL, 4);
    for (int i = 0; i < 3; i++)
        QT_EQ(pthread_create(&t[i], NULL, thread_hole, &holes[i]), 0);
    pthread_barrier_wait(&crowd_ready);
    for (int i = 0; i < 3; i++)
        QT_CHECK(resident_pages_inside(holes[i], BLOCK) == whole_pages_inside(holes[i], BLOCK));
    malloc_trim(0);
    for (int i = 0; i < 3; i++)
        QT_CHECK(resident_pages_inside(holes[i], BLOCK) <= 1);
    pthread_barrier_wait(&crowd_leave);
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
}

void *thread_hole(void *slot)
{
    char *hole = malloc(BLOCK);
    char *live = malloc(2000);
    memset(hole, 1, BLOCK);
    memset(live, 2, 2000);
    free(hole);
    *(char **)slot = hole;
    pthread_barrier_wait(&crowd_ready);
    pthread_barrier_wait(&crowd_leave);
    for (int i = 0; i < 2000; i++)
        QT_EQ(live[i], 2);
    return NULL;
}

/* --------------------------------------------------------------- M-31: quota */

static int cpus_allowed(void)
{
    cpu_set_t set;
    sched_getaffinity(0, sizeof set, &set);
    return CPU_COUNT(&set);
}

static void use_one_cpu(void)
{
    cpu_set_t set;
    sched_getaffinity(0, sizeof set, &set);
    for (int i = 0, kept = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &set) && kept++)
            CPU_CLR(i, &set);
    QT_EQ(sched_setaffinity(0, sizeof set, &set), 0);
}

TEST("there are 8 arenas for each CPU, shared evenly by more threads (M-31)")
{
    int most, quota = 8 * cpus_allowed(), threads = 3 * quota;
    if (threads > CROWD_MAX)
        QT_SKIP("too many CPUs here");
    crowd_come(threads);
    QT_EQ(count_arenas(threads, &most), quota);
    QT_CHECKF(most <= 6, "%d", most);
    crowd_go(threads);
}

TEST("the CPUs that count are those this process may run on (M-31)")
{
    int most;
    if (!qt_under_quarry())
        QT_SKIP("glibc 2.36 counts all that are online");
    use_one_cpu();
    crowd_come(40);
    QT_EQ(count_arenas(40, &most), 8);
    QT_CHECKF(most <= 10, "%d", most);
    crowd_go(40);
}

TEST("below the quota each living thread has an arena of its own (M-31)")
{
    int most;
    crowd_come(7);
    QT_EQ(count_arenas(7, &most), 8);
    QT_EQ(most, 1);
    crowd_go(7);
}

QTEST_X("MALLOC_ARENA_MAX is the quota, the main arena counted (M-31, M-42)",
        .env = "GLIBC_TUNABLES=;MALLOC_ARENA_MAX=3")
{
    int most;
    crowd_come(12);
    QT_EQ(count_arenas(12, &most), 3);
    QT_CHECKF(most <= 7, "%d", most);
    crowd_go(12);
}

QTEST_X("with one arena every thread uses the main arena (M-31, M-42)",
        .env = "GLIBC_TUNABLES=;MALLOC_ARENA_MAX=1")
{
    crowd_come(4);
    for (int i = 0; i < 4; i++)
        QT_CHECK(is_main_arena(crowd_blocks[i]) && in_brk(crowd_blocks[i]));
    crowd_go(4);
}

TEST("mallopt(M_ARENA_MAX) is the quota too (M-31, M-41)")
{
    int most;
    QT_EQ(mallopt(M_ARENA_MAX, 2), 1);
    crowd_come(6);
    QT_EQ(count_arenas(6, &most), 2);
    crowd_go(6);
}

/* On one CPU, whose quota is 8, 30 threads have 21 arenas: the quota counts once there are more than 20. */
static void arena_test_is_20(void)
{
    int most;
    if (!qt_under_quarry())
        QT_SKIP("glibc 2.36 counts all CPUs that are online");
    use_one_cpu();
    crowd_come(30);
    QT_EQ(count_arenas(30, &most), 21);
    crowd_go(30);
}

QTEST_X("MALLOC_ARENA_TEST puts the quota off (M-31, M-42)", .env = "GLIBC_TUNABLES=;MALLOC_ARENA_TEST=20")
{
    arena_test_is_20();
}

QTEST_X("glibc.malloc.arena_test puts the quota off (M-31, M-42)",
        .env = "GLIBC_TUNABLES=glibc.malloc.arena_test=20")
{
    arena_test_is_20();
}

TEST("mallopt(M_ARENA_TEST) puts the quota off (M-31, M-41)")
{
    QT_EQ(mallopt(M_ARENA_TEST, 20), 1);
    arena_test_is_20();
}

TEST("a new thread takes the arena that an ended one has left (M-31, M-33)")
{
    void *arena = NULL;
    for (int i = 0; i < 200; i++) {
        crowd_come(1);
        if (!arena)
            arena = arena_of(crowd_blocks[0]);
        QT_CHECK(arena);
        QT_EQ((uintptr_t)arena_of(crowd_blocks[0]), (uintptr_t)arena);
        crowd_go(1);
        if (i % 2)
            free(crowd_blocks[0]);
    }
}

/* Threads that leave one by one. */
struct guest {
    pthread_t thread;
    void *arena;
    sem_t came, may_leave;
};

static void *guest_body(void *context)
{
    struct guest *g = context;
    g->arena = arena_of(malloc(2000));
    sem_post(&g->came);
    while (sem_wait(&g->may_leave))
        ;
    return NULL;
}

static void guest_comes(struct guest *g)
{
    sem_init(&g->came, 0, 0);
    sem_init(&g->may_leave, 0, 0);
    QT_EQ(pthread_create(&g->thread, NULL, guest_body, g), 0);
    while (sem_wait(&g->came))
        ;
}

static void guest_leaves(struct guest *g)
{
    sem_post(&g->may_leave);
    QT_EQ(pthread_join(g->thread, NULL), 0);
}

TEST("of the arenas without a thread the one that was left last is taken first (M-31, M-33)")
{
    enum { GUESTS = 4 };
    static const int order[GUESTS] = {2, 0, 3, 1};
    struct guest first[GUESTS], later[GUESTS + 1];
    for (int i = 0; i < GUESTS; i++)
        guest_comes(&first[i]);
    for (int i = 0; i < GUESTS; i++)
        guest_leaves(&first[order[i]]);
    for (int i = 0; i < GUESTS; i++) {
        guest_comes(&later[i]);
        QT_EQ((uintptr_t)later[i].arena, (uintptr_t)first[order[GUESTS - 1 - i]].arena);
    }
    guest_comes(&later[GUESTS]); /* none is left: a new one */
    for (int i = 0; i < GUESTS; i++)
        QT_CHECK(later[GUESTS].arena != first[i].arena);
    for (int i = 0; i <= GUESTS; i++)
        guest_leaves(&later[i]);
}

static void *thread_leave_block(void *slot)
{
    char *p = malloc(BLOCK), *fence = malloc(2000);
    QT_EQ((uintptr_t)next_of(p), (uintptr_t)fence);
    *(char **)slot = p;
    return NULL;
}

static void *thread_take_block(void *slot)
{
    *(char **)slot = malloc(BLOCK);
    return NULL;
}

TEST("a block freed after its thread's end goes to that thread's arena and serves the next there (M-33)")
{
    char *p, *q;
    run_thread(thread_leave_block, &p);
    QT_CHECK(head_of(p) & A_BIT);
    free(p);
    QT_CHECK(!in_use(p));
    run_thread(thread_take_block, &q);
    QT_EQ((uintptr_t)q, (uintptr_t)p);
}

static void *thread_without_mappings(void *context)
{
    (void)context;
    char *p = malloc(BLOCK);
    QT_CHECK(head_of(p) & A_BIT);
    no_mappings();
    for (int i = 0; i < 3 * (int)(HEAP_BYTES / BLOCK); i++) {
        p = malloc(BLOCK);
        QT_CHECK(p != NULL);
        if (is_main_arena(p)) {
            memset(p, 1, BLOCK);
            free(p);
            return NULL;
        }
    }
    QT_FAIL("the main arena was never asked");
}

TEST("when a thread's arena cannot serve, another does (M-31)")
{
    run_thread(thread_without_mappings, NULL);
}

/* --------------------------------------------------------------- M-34 */

TEST("in a fork's child the arenas of the threads that are gone serve new threads (M-34)")
{
    crowd_come(3);
    void *arenas[3];
    for (int i = 0; i < 3; i++)
        arenas[i] = arena_of(crowd_blocks[i]);
    pid_t pid = fork();
    if (pid == 0) {
        crowd_come(3);
        for (int i = 0; i < 3; i++) {
            void *arena = arena_of(crowd_blocks[i]);
            QT_CHECK(arena == arenas[0] || arena == arenas[1] || arena == arenas[2]);
        }
        crowd_go(3);
        _exit(0);
    }
    qt_wait_exit(pid, 0);
    crowd_go(3);
}

TEST("a fork's child frees and reuses what the parent's threads had taken (M-34)")
{
    crowd_come(3);
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < 3; i++)
            free(crowd_blocks[i]);
        char *p = malloc(BLOCK);
        QT_CHECK(is_main_arena(p));
        memset(p, 1, BLOCK);
        _exit(0);
    }
    qt_wait_exit(pid, 0);
    crowd_go(3);
}

QTEST_X("a fork waits for who is in an arena: the child's is whole, and the lock is still one (M-34)",
        .env = "GLIBC_TUNABLES=glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1")
{
    enum { BUSY = 4, FORKS = 100 };
    pthread_t t[BUSY];
    busy_for_now = true;
    for (intptr_t i = 0; i < BUSY; i++)
        QT_EQ(pthread_create(&t[i], NULL, thread_busy, (void *)(i + 1)), 0);
    for (int i = 0; i < FORKS; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            busy_for_now = false;
            busy_rounds = 500;
            malloc_trim(0); /* walks all bins */
            thread_busy((void *)9);
            _exit(0);
        }
        qt_wait_exit(pid, 0);
    }
    busy_for_now = false;
    for (int i = 0; i < BUSY; i++)
        QT_EQ(pthread_join(t[i], NULL), 0);
}

QTEST_MAIN
