/* timeout: 120 */
/*
 * Libraries that come and go: constructors and destructors that allocate, blocks that outlive their library, dynamic
 * thread-local storage, which libc takes by malloc and frees after the thread is all but gone. The library is this
 * file again (plugin.h).
 */
#ifdef PLUGIN

#include <stdlib.h>
#include <string.h>

static void *volatile held[50];
static __thread char large_local[50000];
static __thread char *volatile small_local;

__attribute__((constructor)) static void load(void)
{
    for (size_t i = 0; i < 50; i++)
        held[i] = memset(malloc(i * i * 30 + 1), 1, i * i * 30 + 1);
}

__attribute__((destructor)) static void unload(void)
{
    for (size_t i = 0; i < 50; i++)
        free(held[i]);
    free(malloc(12345));
}

__attribute__((visibility("default"))) void *plugin_make(size_t n)
{
    large_local[n % sizeof large_local] = 1;
    return memset(malloc(n), 3, n);
}

__attribute__((visibility("default"))) int plugin_local(void)
{
    int sum = 0;
    for (size_t i = 0; i < sizeof large_local; i += 100)
        sum += large_local[i]++;
    small_local = large_local;
    return sum;
}

#else

#include "plugin.h"
#include "stress_blocks.h"

#include <dlfcn.h>
#include <link.h>

enum { K = 1024, M = 1024 * K };

static void compile(void)
{
    plugin_compile(__FILE__, "-ftls-model=global-dynamic");
}

typedef void *maker(size_t);
typedef int local(void);

static void *open_plugin(void)
{
    void *library = dlopen(plugin_path, RTLD_NOW | RTLD_LOCAL);
    QT_CHECKF(library != NULL, "%s", dlerror());
    return library;
}

QTEST("a library that allocates as it comes and goes, 300 times (M-40)")
{
    compile();
    void *left[300];
    long before = 0;
    for (int i = 0; i < 300; i++) {
        void *library = open_plugin();
        maker *make = (maker *)dlsym(library, "plugin_make");
        left[i] = make((size_t)i * 10 + 1);
        QT_EQ(dlclose(library), 0);
        if (i == 50)
            before = qt_rss_kib();
    }
    QT_CHECKF(qt_rss_kib() - before < 2 * K, "%ld KiB, then %ld", before, qt_rss_kib());
    for (int i = 0; i < 300; i++) {
        QT_EQ(pattern_other_byte(left[i], (size_t)i * 10 + 1, 3), (size_t)i * 10 + 1);
        free(left[i]);
    }
    plugin_remove();
}

static void *uses_local(void *context)
{
    local *use = (local *)dlsym(context, "plugin_local");
    maker *make = (maker *)dlsym(context, "plugin_make");
    QT_EQ(use(), 0);
    free(make(100));
    use();
    return NULL;
}

QTEST("dynamic thread-local storage is taken and freed for each of 2,000 threads (M-33)")
{
    compile();
    void *library = open_plugin();
    long before = 0;
    for (int i = 0; i < 2000; i++) {
        if (i == 200)
            before = qt_rss_kib();
        thread_end(thread_start_with(uses_local, library, 64 * K));
    }
    QT_CHECKF(qt_rss_kib() - before < 2 * K, "%ld KiB, then %ld", before, qt_rss_kib());
    QT_EQ(dlclose(library), 0);
    plugin_remove();
}

static atomic_bool leave;

static void *opens_and_closes(void *context)
{
    void *library = open_plugin();
    uses_local(library);
    QT_EQ(dlclose(library), 0);
    free(malloc(1000));
    return context;
}

static void *allocates(void *context)
{
    struct rng r = rng_seeded((uint64_t)(uintptr_t)context);
    while (!leave) {
        struct block b;
        QT_CHECK(block_make(&b, block_size(&r, 100 * K), &r));
        QT_CHECK(block_resize(&b, block_size(&r, 100 * K)));
        block_drop(&b);
    }
    return NULL;
}

QTEST("threads open and close a library while others allocate, and end (M-33)")
{
    compile();
    pthread_t busy[2], t[4];
    for (uintptr_t i = 0; i < 2; i++)
        busy[i] = thread_start(allocates, (void *)(i + 1));
    for (int round = 0; round < 80; round++) {
        for (int i = 0; i < 4; i++)
            t[i] = thread_start_with(opens_and_closes, NULL, 128 * K);
        for (int i = 0; i < 4; i++)
            thread_end(t[i]);
    }
    leave = true;
    for (int i = 0; i < 2; i++)
        thread_end(busy[i]);
    plugin_remove();
}

QTEST("a failed dlopen and its message cost nothing")
{
    long before = 0;
    for (int i = 0; i < 3000; i++) {
        if (i == 300)
            before = qt_rss_kib();
        QT_CHECK(!dlopen("/nonexistent/quarry-test.so", RTLD_NOW));
        QT_CHECK(dlerror() != NULL);
    }
    QT_CHECK(qt_rss_kib() - before < 1 * K);
}

#ifdef LM_ID_NEWLM /* not in musl */
QTEST("a library in a namespace of its own has its own libc, whose blocks do not mix with these (M-50)")
{
    compile();
    void *library = dlmopen(LM_ID_NEWLM, plugin_path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        plugin_remove();
        QT_SKIP("no namespaces here");
    }
    maker *make = (maker *)dlsym(library, "plugin_make");
    struct rng r = rng_seeded(1);
    void *foreign[100];
    for (int i = 0; i < 100; i++) {
        struct block b;
        foreign[i] = make((size_t)i * 1000 + 1);
        QT_CHECK(block_make(&b, block_size(&r, 300 * K), &r));
        block_drop(&b);
    }
    for (int i = 0; i < 100; i++)
        QT_EQ(pattern_other_byte(foreign[i], (size_t)i * 1000 + 1, 3), (size_t)i * 1000 + 1);
    QT_EQ(dlclose(library), 0);
    plugin_remove();
}
#endif

QTEST_MAIN

#endif
