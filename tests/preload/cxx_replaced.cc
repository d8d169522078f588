/*
 * A program that replaces only the two basic operators, operator new(size_t) and operator delete(void *), as
 * the standard allows ([replacement.functions]). The default forms of all others must go through these two,
 * or a block of the program's own pool reaches the allocator's free. What Quarry exports is such a default
 * form.
 */
#include "heap.h"
#include "qtest.h"
#include <atomic>
#include <new>
#include <string>
#include <vector>

/* GCC warns when the sized form is missing, and where forms are mixed; both are the point here. */
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#if !defined __clang__
#pragma GCC diagnostic ignored "-Wsized-deallocation"
#endif

namespace
{

alignas(64) char pool[32 * MIB];
std::atomic<size_t> used{0};
std::atomic<long> taken{0}, given{0};

bool is_ours(const void *p)
{
    return p >= pool && p < pool + sizeof pool;
}

} // namespace

/* Blocks of the pool are never used again: it is large enough. */
void *operator new(size_t n)
{
    size_t at = used.fetch_add((n + 63) / 64 * 64 + 64);
    if (at + n > sizeof pool)
        throw std::bad_alloc();
    taken++;
    return pool + at;
}

void operator delete(void *p) noexcept
{
    if (!p)
        return;
    QT_CHECKF(is_ours(p), "%p is not of the program's pool", p);
    given++;
}

QTEST("default forms of new call the program's operator new ([new.delete.single], M-40)")
{
    void *p = ::operator new[](100), *q = ::operator new(100, std::nothrow),
         *r = ::operator new[](100, std::nothrow);
    QT_CHECK(is_ours(p));
    QT_CHECK(is_ours(q));
    QT_CHECK(is_ours(r));
}

QTEST("default forms of delete call the program's operator delete ([new.delete.single], M-40)")
{
    ::operator delete(::operator new(100), 100);
    QT_EQ(given, 1);
    ::operator delete[](::operator new(100));
    QT_EQ(given, 2);
    ::operator delete[](::operator new(100), 100);
    QT_EQ(given, 3);
    ::operator delete(::operator new(100), std::nothrow);
    QT_EQ(given, 4);
    ::operator delete[](::operator new(100), std::nothrow);
    QT_EQ(given, 5);
}

QTEST(
    "aligned forms stay the library's own when only the basic ones are replaced ([new.delete.single], M-40)")
{
    std::align_val_t a{128};
    long before = given;
    for (int i = 0; i < 1000; i++) {
        void *p = ::operator new(1000, a), *q = ::operator new[](1000, a, std::nothrow);
        QT_CHECK(!is_ours(p) && heap_is_aligned(p, 128) && !is_ours(q) && heap_is_aligned(q, 128));
        memset(p, 1, 1000);
        memset(q, 1, 1000);
        ::operator delete(p, 1000, a);
        ::operator delete[](q, a);
    }
    QT_EQ(given, before);
}

QTEST("nothrow new returns nullptr when the program's operator new throws ([new.delete.single], M-40)")
{
    size_t volatile n = 64 * MIB;
    QT_CHECK(!::operator new(n, std::nothrow));
    QT_CHECK(!::operator new[](n, std::nothrow));
}

QTEST("containers and strings of such a program work (M-40)")
{
    std::vector<std::string> strings;
    for (size_t i = 0; i < 3000; i++)
        strings.push_back(std::string(i % 200, 'z'));
    for (size_t i = 0; i < 3000; i++)
        QT_EQ(strings[i].size(), i % 200);
    strings.clear();
    strings.shrink_to_fit();
    auto *array = new std::string[20];
    array[3] = "a string too long for the object itself, so that it allocates";
    delete[] array;
    QT_EQ(taken, given);
}

QTEST_MAIN
