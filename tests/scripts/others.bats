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
