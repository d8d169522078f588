/* timeout: 120 */
/*
 * The beginning and the end of a process: requests in constructors, atexit handlers and destructors, at exit while
 * other threads still allocate, and blocks that live through all of it.
 */
#include "stress_blocks.h"

#include <wchar.h>

enum { K = 1024, M = 1024 * K };

/* --------------------------------------------------------------- before main */

static struct block early[30];

__attribute__((constructor(101))) static void before_main(void)
{
    struct rng r = rng_seeded(1);
    for (int i = 0; i < 30; i++)
        QT_CHECK(block_make(&early[i], (size_t)i * i * 700 + 1, &r));
    for (int i = 0; i < 30; i += 3)
        block_drop(&early[i]);
}

static void *early_thread(void *context)
{
    struct rng r = rng_seeded(2);
    struct block b;
    (void)context;
    QT_CHECK(block_make(&b, 5000, &r));
    block_drop(&b);
    return NULL;
}

__attribute__((constructor(102))) static void thread_before_main(void)
{
    thread_end(thread_start(early_thread, NULL));
}

QTEST("blocks taken in constructors are whole in main and can be resized and freed (M-40)")
{
    for (int i = 0; i < 30; i++)
        if (early[i].p) {
            block_verify(&early[i]);
            QT_CHECK(block_resize(&early[i], 3000));
            block_drop(&early[i]);
        }
}

/* --------------------------------------------------------------- at exit */

static struct block late[30];
static int *order; /* shared with the parent: how far the end has come */

/* A process of its own that ends by exit(0), with these handlers; returns how far it came. */
static int end_of_process(void (*body)(void))
{
    order = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    *order = 0;
    pid_t pid = fork();
    if (pid == 0) {
        alarm(20);
        body();
        exit(0);
    }
    qt_wait_exit(pid, 0);
    return *order;
}

static void last_handler(void)
{
    for (int i = 0; i < 30; i++)
        block_drop(&late[i]);
    malloc_trim(0);
    free(malloc(100));
    ++*order;
}

static void first_handler(void)
{
    struct rng r = rng_seeded(3);
    for (int i = 0; i < 30; i++)
        QT_CHECK(late[i].p ? block_resize(&late[i], 9000) : block_make(&late[i], 50 * K, &r));
    ++*order;
}

static void with_handlers(void)
{
    struct rng r = rng_seeded(4);
    QT_EQ(atexit(last_handler), 0);
    QT_EQ(atexit(first_handler), 0);
    for (int i = 0; i < 20; i++)
        QT_CHECK(block_make(&late[i], block_size(&r, 200 * K), &r));
}

QTEST("atexit handlers allocate, resize and free (M-40)")
{
    QT_EQ(end_of_process(with_handlers), 2);
}

static void quick_handler(void)
{
    free(malloc(1000));
    ++*order;
}

static void quickly(void)
{
    at_quick_exit(quick_handler);
    quick_exit(0);
}

QTEST("quick_exit handlers allocate (M-40)")
{
    QT_EQ(end_of_process(quickly), 1);
}

static void key_destructor(void *value)
{
    free(value);
    free(malloc(500));
}

extern int __cxa_thread_atexit_impl(void (*)(void *), void *, void *) __attribute__((weak)); /* not in musl */
extern void *__dso_handle;

static void thread_local_destructor(void *value)
{
    free(value);
    free(malloc(5000));
    ++*order;
}

static void with_thread_locals(void)
{
    pthread_key_t key;
    pthread_key_create(&key, key_destructor);
    pthread_setspecific(key, malloc(100));
    if (__cxa_thread_atexit_impl)
        __cxa_thread_atexit_impl(thread_local_destructor, malloc(100), &__dso_handle);
    atexit(last_handler);
}

QTEST("thread_local destructors of the main thread run and allocate before atexit handlers do (M-40)")
{
    QT_EQ(end_of_process(with_thread_locals), __cxa_thread_atexit_impl ? 2 : 1);
}

static void main_thread_leaves(void)
{
    atexit(last_handler);
    pthread_exit(NULL); /* the process ends with its last thread, which is this one */
}

QTEST("pthread_exit of the main thread, then exit handlers that allocate (M-33)")
{
    QT_EQ(end_of_process(main_thread_leaves), 1);
}

/* --------------------------------------------------------------- while others allocate */

static void *forever(void *context)
{
    struct rng r = rng_seeded((uint64_t)(uintptr_t)context);
    struct block own[16];
    memset(own, 0, sizeof own);
    for (;;) {
        struct block *b = &own[rng_below(&r, 16)];
        if (b->p)
            block_drop(b);
        else
            QT_CHECK(block_make(b, block_size(&r, 300 * K), &r));
    }
}

static void leave_them_running(void)
{
    struct rng r = rng_seeded((uint64_t)getpid());
    for (uintptr_t i = 0; i < 4; i++)
        thread_start(forever, (void *)(i + 1));
    usleep((useconds_t)rng_below(&r, 3000));
    atexit(last_handler);
}

QTEST("a process exits 0 while its threads allocate (M-33)")
{
    for (int i = 0; i < 100; i++)
        QT_EQ(end_of_process(leave_them_running), 1);
}

static void *exits(void *context)
{
    (void)context;
    free(malloc(1000));
    exit(0);
}

static void a_thread_ends_it(void)
{
    leave_them_running();
    thread_start(exits, NULL);
    for (;;)
        pause();
}

QTEST("a thread other than the main one ends the process (M-33)")
{
    for (int i = 0; i < 50; i++)
        QT_EQ(end_of_process(a_thread_ends_it), 1);
}

static void through_stdio(void)
{
    FILE *f = fopen("/dev/null", "w");
    for (int i = 0; i < 1000; i++)
        fprintf(f, "%d %s", i, "text that is flushed at exit");
    fwide(stdout, 0);
    atexit(last_handler);
}

QTEST("stdio's buffers, taken by libc, are freed at exit")
{
    QT_EQ(end_of_process(through_stdio), 1);
}

extern void __libc_freeres(void) __attribute__((weak)); /* glibc's */

static void libc_gives_all_back(void)
{
    setenv("SOME", "thing", 1);
    free(strdup("x"));
    FILE *f = fopen("/dev/null", "w");
    fprintf(f, "x");
    fclose(f);
    if (__libc_freeres)
        __libc_freeres();
    ++*order;
    _exit(0);
}

QTEST("libc may free all it has, as memory checkers make it do")
{
    QT_EQ(end_of_process(libc_gives_all_back), 1);
}

QTEST_MAIN
