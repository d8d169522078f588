#!/usr/bin/env bats
# Programs that have an allocator of their own, or are linked with another: Quarry's functions and theirs must not get each other's
# blocks.
# shellcheck disable=SC2164 # bats ends a test at the first command that fails
bats_require_minimum_version 1.5.0

setup() {
    cd "$BATS_TEST_TMPDIR"
    cc=${QUARRY_CC:-gcc} cxx=${QUARRY_CXX:-g++}
}

under() { # CONF PROGRAM ARGS…
    local conf=$1
    shift
    QUARRY_CONF=$conf LD_PRELOAD=$QUARRY_LIB "$@"
}

@test "a program's own malloc, realloc and free serve reallocarray, cfree and the sized frees, too (M-40)" {
    cat >own.c <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char pool[1 << 20];
static size_t used;
static int freed;

static void must_be_own(void *p)
{
    if ((char *)p < pool || (char *)p >= pool + used)
        _exit(3);
}
void *malloc(size_t n)
{
    char *p = pool + used + 16;
    used += (n + 31) & ~(size_t)15;
    return used <= sizeof pool ? p : NULL;
}
void free(void *p)
{
    if (p) {
        must_be_own(p);
        freed++;
    }
}
void *calloc(size_t n, size_t size)
{
    return malloc(n * size); /* nothing is used twice */
}
void *realloc(void *old, size_t n)
{
    if (old)
        must_be_own(old);
    void *p = malloc(n);
    return old && p ? memcpy(p, old, 100) : p;
}

int main(void)
{
    void (*cfree)(void *) = dlsym(RTLD_DEFAULT, "cfree");
    void (*sized)(void *, size_t) = dlsym(RTLD_DEFAULT, "free_sized");
    void (*aligned_sized)(void *, size_t, size_t) = dlsym(RTLD_DEFAULT, "free_aligned_sized");
    volatile size_t much = (size_t)-1;
    char *p = reallocarray(NULL, 10, 10);
    must_be_own(p);
    memset(p, 7, 100);
    p = reallocarray(p, 100, 10);
    must_be_own(p);
    if (p[99] != 7 || reallocarray(p, much, 16))
        return 4;
    freed = 0;
    cfree(p);
    sized(malloc(10), 10);
    aligned_sized(malloc(10), 16, 10);
    return freed == 3 ? 0 : 5;
}
C
    "$cc" -O1 -rdynamic -fno-builtin -o own own.c -ldl
    for conf in '' classic:true; do
        under "$conf" ./own
    done
}

@test "a C++ program that is linked with another allocator gets all its blocks from Quarry, the nothrow forms' too (M-40)" {
    cat >other.cc <<'C'
#include <cstdlib>
#include <new>

// An allocator as others are: with all forms of operator new, and blocks that nobody else may free.
alignas(64) static char pool[1 << 16];
static std::size_t used;

static void *take(std::size_t n)
{
    used += (n + 63) & ~std::size_t{63};
    return used <= sizeof pool ? pool + used - ((n + 63) & ~std::size_t{63}) : nullptr;
}

extern "C" int other_is_asked()
{
    return used != 0;
}
void *operator new(std::size_t n) { return take(n); }
void *operator new[](std::size_t n) { return take(n); }
void *operator new(std::size_t n, const std::nothrow_t &) noexcept { return take(n); }
void *operator new[](std::size_t n, const std::nothrow_t &) noexcept { return take(n); }
void *operator new(std::size_t n, std::align_val_t) { return take(n); }
void *operator new[](std::size_t n, std::align_val_t) { return take(n); }
void *operator new(std::size_t n, std::align_val_t, const std::nothrow_t &) noexcept { return take(n); }
void *operator new[](std::size_t n, std::align_val_t, const std::nothrow_t &) noexcept { return take(n); }
void operator delete(void *) noexcept {}
void operator delete[](void *) noexcept {}
void operator delete(void *, std::size_t) noexcept {}
void operator delete[](void *, std::size_t) noexcept {}
void operator delete(void *, std::align_val_t) noexcept {}
void operator delete[](void *, std::align_val_t) noexcept {}
void operator delete(void *, std::size_t, std::align_val_t) noexcept {}
void operator delete[](void *, std::size_t, std::align_val_t) noexcept {}
C
    cat >program.cc <<'C'
#include <algorithm>
#include <new>
#include <vector>

extern "C" int other_is_asked();

struct alignas(64) Wide {
    char bytes[64];
};

static int asked;

static void handler()
{
    asked++;
    throw std::bad_alloc();
}

int main()
{
    std::vector<int> v;
    for (int i = 0; i < 1000; i++)
        v.push_back(i * 7919 % 1009);
    std::stable_sort(v.begin(), v.end()); // its buffer comes by a nothrow form
    delete new (std::nothrow) int(3);
    delete[] new (std::nothrow) int[30];
    delete new (std::nothrow) Wide;
    delete[] new (std::nothrow) Wide[3];
    volatile std::size_t much = std::size_t{1} << 62;
    if (::operator new(much, std::nothrow) || ::operator new[](much, std::nothrow) ||
        ::operator new(much, std::align_val_t{64}, std::nothrow) ||
        ::operator new[](much, std::align_val_t{64}, std::nothrow))
        return 3;
    std::set_new_handler(handler); // what it throws ends in the runtime's nothrow forms
    if (::operator new(much, std::nothrow) || ::operator new[](much, std::nothrow) ||
        ::operator new(much, std::align_val_t{64}, std::nothrow) ||
        ::operator new[](much, std::align_val_t{64}, std::nothrow))
        return 4;
    if (asked != 4)
        return 5;
    return other_is_asked() ? 6 : 0;
}
C
    "$cxx" -std=c++17 -O1 -shared -fPIC -o libother.so other.cc
    "$cxx" -std=c++17 -O1 -o program program.cc -Wl,--no-as-needed -L. -lother -Wl,-rpath,"$PWD"
    for conf in '' classic:true; do
        under "$conf" ./program
    done
}

@test "a library in C++ that a program in C opens gets bad_alloc, and its new_handler is asked (M-40)" {
    cat >plugin.cc <<'C'
#include <cstdlib>
#include <new>

static int asked;
void *volatile given;

static void handler()
{
    asked++;
    throw std::bad_alloc();
}

template <typename F> static int caught(F take)
{
    try {
        take();
    } catch (const std::bad_alloc &) {
        return 1;
    }
    return 0;
}

extern "C" int plugin()
{
    volatile std::size_t much = std::size_t{1} << 62;
    auto one = [&] { given = ::operator new(much); };
    auto array = [&] { given = ::operator new[](much); };
    auto aligned = [&] { given = ::operator new(much, std::align_val_t{64}); };
    if (!caught(one) || !caught(array) || !caught(aligned))
        return 3;
    if (::operator new(much, std::nothrow) || ::operator new[](much, std::nothrow))
        return 4;
    std::set_new_handler(handler);
    if (!caught(one) || !caught(array) || !caught(aligned) || asked != 3)
        return 5;
    if (::operator new(much, std::nothrow) || ::operator new(much, std::align_val_t{64}, std::nothrow) || asked != 5)
        return 6;
    return 0;
}
C
    cat >host.c <<'C'
#include <dlfcn.h>
int main(int argc, char **argv)
{
    void *library = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : 0;
    int (*plugin)(void) = library ? (int (*)(void))dlsym(library, "plugin") : 0;
    return plugin ? plugin() : 2;
}
C
    "$cc" -o host host.c -ldl
    "$cxx" -std=c++17 -O1 -shared -fPIC -o plugin.so plugin.cc
    for conf in '' classic:true; do
        under "$conf" ./host ./plugin.so
    done
}

@test "a constructor that forks before Quarry was asked for anything has a child, and so has .preinit_array (M-34)" {
    cat >ctor.c <<'C'
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
__attribute__((constructor)) static void forks(void)
{
    pid_t child = fork();
    if (child == 0)
        _exit(7);
    int status;
    if (waitpid(child, &status, 0) != child || status != 7 << 8)
        _exit(3);
}
C
    cat >preinit.c <<'C'
#include <pty.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static void first(void)
{
    int terminal, status;
    pid_t child = fork();
    if (child == 0)
        _exit(daemon(1, 1) == 0 ? 7 : 4);
    waitpid(child, &status, 0);
    child = forkpty(&terminal, NULL, NULL, NULL);
    if (child == 0)
        _exit(0);
    waitpid(child, &status, 0);
}
__attribute__((section(".preinit_array"), used)) static void (*at_first)(void) = first;
int main(void)
{
    free(malloc(100));
    return 0;
}
C
    "$cc" -shared -fPIC -o libctor.so ctor.c
    "$cc" -o preinit preinit.c -lutil
    LD_PRELOAD="$QUARRY_LIB $PWD/libctor.so" "$(command -v true)"
    LD_PRELOAD="$PWD/libctor.so $QUARRY_LIB" "$(command -v true)"
    under '' ./preinit
}

@test "a thread may end, and the process fork, after a dlclose of Quarry (M-33, M-34)" {
    cat >closes.c <<'C'
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static void *(*take)(size_t);
static void (*give)(void *);
static pthread_barrier_t step;
static void *thread(void *unused)
{
    give(take(100));
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    return unused;
}
int main(int argc, char **argv)
{
    for (int i = 0; i < 1100; i++) { /* more often than there are keys */
        void *quarry = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
        if (!quarry)
            return 2;
        *(void **)&take = dlsym(quarry, "malloc");
        *(void **)&give = dlsym(quarry, "free");
        pthread_t t;
        pthread_barrier_init(&step, NULL, 2);
        if (i % 100 == 0)
            pthread_create(&t, NULL, thread, NULL), pthread_barrier_wait(&step);
        give(take(50));
        dlclose(quarry);
        if (i % 100 == 0)
            pthread_barrier_wait(&step), pthread_join(t, NULL);
    }
    pthread_key_t key;
    if (pthread_key_create(&key, NULL))
        return 3;
    pid_t child = fork();
    if (child == 0)
        _exit(7);
    int status;
    return waitpid(child, &status, 0) == child && status == 7 << 8 ? 0 : 4;
}
C
    "$cc" -o closes closes.c -ldl -pthread
    ./closes "$QUARRY_LIB"
}

@test "in a program linked with libquarry.a all functions are Quarry's, also those that only a plugin calls (M-40)" {
    cat >plugin.c <<'C'
#define _GNU_SOURCE
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
int plugin(void)
{
    void *p = NULL;
    if (posix_memalign(&p, 64, 100))
        return 1;
    free(p);
    free(aligned_alloc(64, 128));
    free(memalign(64, 100));
    free(valloc(100));
    free(pvalloc(100));
    free(reallocarray(malloc(10), 10, 10));
    free(realloc(calloc(3, 4), 500));
    free(strdup("text"));
    if (malloc_usable_size(p = malloc(100)) < 100)
        return 2;
    struct mallinfo2 before = mallinfo2();
    void *q = malloc(1000);
    size_t grown = mallinfo2().uordblks - before.uordblks;
    free(q);
    free(p);
    malloc_trim(0);
    return mallopt(M_TOP_PAD, 4096) == 1 && grown >= 1000 && grown < 2000 ? 0 : 3;
}
C
    cat >host.c <<'C'
#include <dlfcn.h>
#include <stdlib.h>
int main(int argc, char **argv)
{
    free(malloc(100));
    void *library = argc == 2 ? dlopen(argv[1], RTLD_NOW) : NULL;
    int (*plugin)(void);
    *(void **)&plugin = library ? dlsym(library, "plugin") : NULL;
    return plugin ? plugin() : 9;
}
C
    "$cc" -shared -fPIC -fno-builtin -o plugin.so plugin.c
    "$cc" -fno-builtin -o host host.c "$QUARRY_BUILD/lib/libquarry.a" -ldl -pthread
    ./host "$PWD/plugin.so"
    QUARRY_CONF=classic:true ./host "$PWD/plugin.so"
}

@test "a library that stands before libc's syscall(), and allocates there, does not wait for itself (M-40)" {
    cat >wrap.c <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>

/* As torsocks and uid_wrapper do it: set up at the first call, under a lock. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static long (*libcs)(long, ...);

static void set_up(void)
{
    void *volatile p = malloc(40);
    free(p);
    if (!dlopen("libc.so.6", RTLD_NOW | RTLD_DEEPBIND))
        abort();
    libcs = dlsym(RTLD_NEXT, "syscall");
}

long syscall(long n, ...)
{
    long a[6];
    va_list list;
    va_start(list, n);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    pthread_once(&once, set_up);
    free(malloc(100000));
    return libcs(n, a[0], a[1], a[2], a[3], a[4], a[5]);
}
C
    cat >many.c <<'C'
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* One arena for all, so that they wait for each other. */
static void *work(void *x)
{
    void *p[50] = {0};
    for (unsigned i = 0, r = 1; i < 50000; i++, r = r * 1103515245 + 12345) {
        free(p[r >> 8 & 31]);
        p[r >> 8 & 31] = malloc((r >> 13) % 100000);
    }
    for (int i = 0; i < 50; i++)
        free(p[i]);
    return x;
}
int main(void)
{
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, work, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    return syscall(SYS_getpid) != getpid();
}
C
    "$cc" -shared -fPIC -o wrap.so wrap.c
    "$cc" -pthread -o many many.c
    for conf in arena_max:1 arena_max:1,classic:true; do
        QUARRY_CONF=$conf LD_PRELOAD=$QUARRY_LIB:./wrap.so timeout 60 ./many
        QUARRY_CONF=$conf LD_PRELOAD=./wrap.so:$QUARRY_LIB timeout 60 ./many
    done
}

@test "another library before fork finds libc's, also after a library was bound deeply (M-34)" {
    cat >wrap.c <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pty.h>
#include <sys/types.h>

int forks;

pid_t fork(void)
{
    forks++;
    return ((pid_t(*)(void))dlsym(RTLD_NEXT, "fork"))();
}
pid_t forkpty(int *terminal, char *name, const struct termios *mode, const struct winsize *size)
{
    forks++;
    return ((__typeof(forkpty) *)dlsym(RTLD_NEXT, "forkpty"))(terminal, name, mode, size);
}
C
    cat >forks.c <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <pty.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void *allocate(void *x)
{
    for (;;)
        free(malloc(100000));
    return x;
}
static int child_is_whole(pid_t child)
{
    if (child == 0) {
        free(malloc(100000));
        _exit(7);
    }
    int status;
    return child > 0 && waitpid(child, &status, 0) == child && status == 7 << 8;
}
int main(void)
{
    if (!dlopen("libm.so.6", RTLD_NOW | RTLD_DEEPBIND))
        return 2;
    int terminal, *seen = dlsym(RTLD_DEFAULT, "forks");
    pthread_t t;
    pthread_create(&t, NULL, allocate, NULL);
    for (int i = 0; i < 20; i++) {
        if (!child_is_whole(fork()))
            return 3;
        if (!child_is_whole(forkpty(&terminal, NULL, NULL, NULL)))
            return 4;
        close(terminal);
    }
    return *seen < 40 ? 5 : 0;
}
C
    "$cc" -shared -fPIC -o wrap.so wrap.c -ldl
    "$cc" -o forks forks.c -pthread -ldl -lutil
    for conf in '' classic:true; do
        QUARRY_CONF=$conf LD_PRELOAD=$QUARRY_LIB:./wrap.so timeout 60 ./forks
        QUARRY_CONF=$conf LD_PRELOAD=./wrap.so:$QUARRY_LIB timeout 60 ./forks
    done
}

@test "of two copies of Quarry, the first serves what binds deeply, too (M-40)" {
    cat >deep.c <<'C'
#include <stdlib.h>
void *take(void)
{
    return malloc(100);
}
C
    cat >opens.c <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
int main(void)
{
    void *deep = dlopen("./deep.so", RTLD_NOW | RTLD_DEEPBIND);
    void *(*take)(void) = deep ? (void *(*)(void))dlsym(deep, "take") : NULL;
    if (!take)
        return 2;
    for (int i = 0; i < 1000; i++)
        free(take());
    return 0;
}
C
    "$cc" -shared -fPIC -o deep.so deep.c
    "$cc" -o opens opens.c -ldl
    cp -L "$QUARRY_LIB" copy.so
    for conf in '' classic:true; do
        QUARRY_CONF=$conf LD_PRELOAD=$QUARRY_LIB:./copy.so ./opens
        QUARRY_CONF=$conf LD_PRELOAD=./copy.so:$QUARRY_LIB ./opens
    done
}
