/* timeout: 120 */
/* not: musl */
/*
 * A library opened with RTLD_DEEPBIND looks for malloc and free in its own libc first. Its blocks and the program's are
 * one heap all the same, whoever frees them (M-40, M-50). The library is this file again (plugin.h).
 */
#ifdef PLUGIN

#include <dlfcn.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))

static void *held[100];

/* Its constructor runs before dlopen returns. */
__attribute__((constructor)) static void load(void)
{
    for (size_t i = 0; i < 100; i++)
        held[i] = memset(malloc(i * i * 30 + 1), 5, i * i * 30 + 1);
}

API void *plugin_held(size_t i)
{
    void *p = held[i];
    held[i] = NULL;
    return p;
}

API void *plugin_make(unsigned how, size_t n)
{
    void *p;
    switch (how) {
    case 0:
        return malloc(n);
    case 1:
        return calloc(n, 1);
    case 2:
        return realloc(malloc(n / 2 + 1), n);
    case 3:
        return memalign(256, n);
    case 4:
        return posix_memalign(&p, 4096, n) ? NULL : p;
    case 5:
        return valloc(n);
    case 6:
        return aligned_alloc(64, n);
    default:
        return reallocarray(NULL, n, 1);
    }
}

API void plugin_take(void *p, size_t n)
{
    if (malloc_usable_size(p) < n)
        abort();
    free(n % 2 ? p : realloc(p, n + 100));
}

/* A child of a process whose other threads allocate; it is forked from here. */
API int plugin_fork(void)
{
    pid_t child = fork();
    if (child == 0) {
        for (size_t n = 1; n < 1 << 20; n *= 2)
            free(memset(malloc(n), 1, n));
        _exit(7);
    }
    int status;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* By the RUNPATH of this library alone it is found. */
API void *plugin_open(const char *name, int mode)
{
    return dlopen(name, mode);
}

#else

#include "plugin.h"
#include "stress_blocks.h"

#include <dlfcn.h>

enum { K = 1024, WAYS = 8 };

static void *open_deep(void)
{
    void *library = dlopen(plugin_path, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
    QT_CHECKF(library != NULL, "%s", dlerror());
    return library;
}

static void compile(void)
{
    plugin_compile(__FILE__, "-Wl,-rpath,'$ORIGIN'");
}

static void exchange(void *library, uint64_t seed)
{
    void *(*make)(unsigned, size_t) = (void *(*)(unsigned, size_t))dlsym(library, "plugin_make");
    void (*take)(void *, size_t) = (void (*)(void *, size_t))dlsym(library, "plugin_take");
    struct rng r = rng_seeded(seed);
    for (int i = 0; i < 3000; i++) {
        size_t n = rng_log(&r, 1, 300 * K);
        char *p = make((unsigned)i % WAYS, n);
        QT_CHECK(p != NULL);
        pattern_fill(p, n, seed);
        QT_EQ(pattern_check(p, n, seed), n);
        free(i % 2 ? p : realloc(p, n + n / 2));
        take(calloc(n, 1), n);
    }
}

QTEST("blocks go both ways between a program and a library that binds deeply (M-40)")
{
    compile();
    for (int i = 0; i < 3; i++) {
        void *library = open_deep();
        void *(*held)(size_t) = (void *(*)(size_t))dlsym(library, "plugin_held");
        for (size_t k = 0; k < 100; k++) {
            void *p = held(k);
            QT_EQ(pattern_other_byte(p, k * k * 30 + 1, 5), k * k * 30 + 1);
            free(p);
        }
        exchange(library, (uint64_t)i + 1);
        QT_EQ(dlclose(library), 0);
    }
    plugin_remove();
}

static void *opens_and_exchanges(void *context)
{
    void *library = open_deep();
    exchange(library, (uint64_t)(uintptr_t)context);
    QT_EQ(dlclose(library), 0);
    return NULL;
}

QTEST("threads open such a library at the same time")
{
    compile();
    pthread_t t[8];
    for (uintptr_t i = 0; i < 8; i++)
        t[i] = thread_start(opens_and_exchanges, (void *)(i + 1));
    for (int i = 0; i < 8; i++)
        thread_end(t[i]);
    plugin_remove();
}

/*
 * Whoever looks for it when libc's table says ours already must not find ours behind ours: it would call itself for
 * ever.
 */
QTEST("behind our dlopen is libc's, before such a library is opened and after (M-40)")
{
    compile();
    void *libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD), *behind = dlsym(libc, "dlopen");
    QT_CHECK(behind && behind != dlsym(RTLD_DEFAULT, "dlopen"));
    void *library = open_deep();
    QT_CHECK(dlsym(libc, "malloc") == dlsym(RTLD_DEFAULT, "malloc"));
    QT_CHECK(dlsym(libc, "dlopen") == behind);
    QT_EQ(dlclose(library), 0);
    QT_EQ(dlclose(libc), 0);
    plugin_remove();
}

static atomic_bool leave;

static void *allocates(void *context)
{
    struct rng r = rng_seeded((uint64_t)(uintptr_t)context);
    while (!leave) {
        struct block b;
        QT_CHECK(block_make(&b, block_size(&r, 100 * K), &r));
        block_drop(&b);
    }
    return NULL;
}

QTEST("the child that such a library forks can allocate, whatever other threads did (M-34)")
{
    compile();
    void *library = open_deep();
    int (*forks)(void) = (int (*)(void))dlsym(library, "plugin_fork");
    pthread_t busy[2];
    for (uintptr_t i = 0; i < 2; i++)
        busy[i] = thread_start(allocates, (void *)(i + 1));
    for (int i = 0; i < 200; i++)
        QT_EQ(forks(), 7);
    leave = true;
    for (int i = 0; i < 2; i++)
        thread_end(busy[i]);
    QT_EQ(dlclose(library), 0);
    plugin_remove();
}

QTEST("who asks to open a library is known to the dynamic linker: his RUNPATH is searched")
{
    compile();
    void *library = dlopen(plugin_path, RTLD_NOW);
    QT_CHECKF(library != NULL, "%s", dlerror());
    void *(*open)(const char *, int) = (void *(*)(const char *, int))dlsym(library, "plugin_open");
    const char *names[2] = {"plain.so", "deep.so"}; /* the dynamic linker has not heard of these */
    for (int i = 0; i < 2; i++) {
        char link[200];
        snprintf(link, sizeof link, "%s/%s", plugin_folder, names[i]);
        QT_EQ(symlink("plugin.so", link), 0);
        QT_CHECK(!dlopen(names[i], RTLD_NOW));
        void *again = open(names[i], RTLD_NOW | (i ? RTLD_DEEPBIND : 0));
        QT_CHECKF(again == library, "%s", dlerror());
        QT_EQ(dlclose(again), 0);
        unlink(link);
    }
    QT_EQ(dlclose(library), 0);
    plugin_remove();
}

QTEST_MAIN

#endif
