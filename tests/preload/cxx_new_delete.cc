/*
 * C++ operators (M-40): every form of new and delete, new_handler, bad_alloc at exhaustion, and exceptions,
 * containers and threads on top of them. The standard's clauses are of C++17.
 */
#include "heap.h"
#include "pattern.h"
#include "qtest.h"
#include <atomic>
#include <list>
#include <map>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

/* GCC takes operator delete(nullptr) for the end of a block. */
#pragma GCC diagnostic ignored "-Wuse-after-free"

namespace
{

const size_t sizes[] = {0,    1,    15,   16,   24,    25,     100,    1000,   1016,
                        1017, 1040, 4096, 5000, 65536, 100000, 131072, 200000, MIB};

void *check(void *p, size_t n, size_t alignment)
{
    QT_CHECKF(p && heap_is_aligned(p, alignment), "%p, size %zu, alignment %zu", p, n, alignment);
    QT_CHECK(heap.malloc_usable_size(p) >= n);
    memset(p, 'n', n);
    return p;
}

/* What the compiler makes of an object may not be left out: it escapes here. */
template <typename T> T *escape(T *p)
{
    __asm__ volatile("" : "+r"(p) : : "memory");
    return p;
}

void limit_address_space(size_t extra)
{
    size_t now = static_cast<size_t>(qt_status_kib("VmSize:")) * KIB;
    struct rlimit limit = {now + extra, now + extra};
    QT_EQ(setrlimit(RLIMIT_AS, &limit), 0);
}

} // namespace

/* --------------------------------------------------------------- forms */

QTEST("operator new and delete, scalar and array, plain and sized ([new.delete.single], M-40)")
{
    for (int round = 0; round < 300; round++)
        for (size_t n : sizes) {
            ::operator delete(check(::operator new(n), n, 16));
            ::operator delete(check(::operator new(n), n, 16), n);
            ::operator delete[](check(::operator new[](n), n, 16));
            ::operator delete[](check(::operator new[](n), n, 16), n);
        }
}

QTEST("operator new and delete, nothrow ([new.delete.single], M-40)")
{
    for (int round = 0; round < 300; round++)
        for (size_t n : sizes) {
            ::operator delete(check(::operator new(n, std::nothrow), n, 16), std::nothrow);
            ::operator delete[](check(::operator new[](n, std::nothrow), n, 16), std::nothrow);
            ::operator delete(check(::operator new(n, std::nothrow), n, 16));
            ::operator delete[](check(::operator new[](n, std::nothrow), n, 16), n);
        }
}

QTEST("operator new and delete, aligned, sized and nothrow, all alignments ([new.delete.single], M-40)")
{
    for (size_t alignment = 1; alignment <= 4 * MIB; alignment *= 2)
        for (size_t n : sizes) {
            std::align_val_t a{alignment};
            ::operator delete(check(::operator new(n, a), n, alignment), a);
            ::operator delete(check(::operator new(n, a), n, alignment), n, a);
            ::operator delete[](check(::operator new[](n, a), n, alignment), a);
            ::operator delete[](check(::operator new[](n, a), n, alignment), n, a);
            ::operator delete(check(::operator new(n, a, std::nothrow), n, alignment), a, std::nothrow);
            ::operator delete[](check(::operator new[](n, a, std::nothrow), n, alignment), a, std::nothrow);
            ::operator delete(check(::operator new(n, a, std::nothrow), n, alignment), n, a);
            ::operator delete[](check(::operator new[](n, a, std::nothrow), n, alignment), n, a);
        }
}

QTEST("delete of nullptr does nothing, in every form ([expr.delete], M-40)")
{
    void *p = escape<void>(nullptr);
    std::align_val_t a{64};
    errno = EXDEV;
    ::operator delete(p), ::operator delete[](p);
    ::operator delete(p, 8), ::operator delete[](p, 8);
    ::operator delete(p, std::nothrow), ::operator delete[](p, std::nothrow);
    ::operator delete(p, a), ::operator delete[](p, a);
    ::operator delete(p, 8, a), ::operator delete[](p, 8, a);
    ::operator delete(p, a, std::nothrow), ::operator delete[](p, a, std::nothrow);
    QT_EQ(errno, EXDEV);
}

QTEST("new of zero bytes gives unique blocks ([basic.stc.dynamic.allocation])")
{
    void *p = ::operator new(0), *q = ::operator new[](0), *r = ::operator new (0, std::align_val_t{64});
    QT_CHECK(p && q && r && p != q && q != r && p != r);
    ::operator delete(p), ::operator delete[](q), ::operator delete (r, std::align_val_t{64});
}

QTEST("every form of delete returns the memory (M-40)")
{
    long before = qt_rss_kib();
    std::align_val_t a{128};
    for (int i = 0; i < 20000; i++) {
        size_t n = static_cast<size_t>(i) % 7 * 500 + 1;
        ::operator delete(check(::operator new(n), n, 16), n);
        ::operator delete[](check(::operator new[](n), n, 16), n);
        ::operator delete(check(::operator new(n, std::nothrow), n, 16), std::nothrow);
        ::operator delete[](check(::operator new[](n, std::nothrow), n, 16), std::nothrow);
        ::operator delete(check(::operator new(n, a), n, 128), a);
        ::operator delete[](check(::operator new[](n, a), n, 128), n, a);
        ::operator delete(check(::operator new(n, a, std::nothrow), n, 128), a, std::nothrow);
    }
    QT_CHECKF(qt_rss_kib() - before < 8192, "grew by %ld KiB", qt_rss_kib() - before);
}

namespace
{
struct alignas(256) Overaligned {
    char bytes[300];
};
struct Counted {
    static std::atomic<int> live;
    char bytes[40];
    explicit Counted(bool fail = false)
    {
        if (fail)
            throw std::runtime_error("constructor");
        live++;
    }
    ~Counted()
    {
        live--;
    }
};
std::atomic<int> Counted::live{0};
} // namespace

QTEST("new-expressions: objects, arrays, over-aligned types (M-40)")
{
    for (int i = 0; i < 10000; i++) {
        auto *one = escape(new Counted);
        auto *many = escape(new Counted[17]);
        auto *wide = escape(new Overaligned);
        auto *wides = escape(new Overaligned[5]);
        QT_CHECK(heap_is_aligned(wide, 256) && heap_is_aligned(wides, 256));
        QT_EQ(Counted::live, 18);
        delete one;
        delete[] many;
        delete wide;
        delete[] wides;
    }
    QT_EQ(Counted::live, 0);
}

/* --------------------------------------------------------------- failure */

namespace
{

const size_t too_big[] = {PTRDIFF_MAX, static_cast<size_t>(PTRDIFF_MAX) + 1, SIZE_MAX - 15, SIZE_MAX};

/* libstdc++ 12 rounds a size up to the alignment, and so serves the last ones as 0. */
bool aligned_too(size_t n)
{
    return qt_under_quarry() || n < SIZE_MAX - 64;
}

template <typename Call> void must_throw(Call call)
{
    bool thrown = false;
    try {
        escape(call());
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    QT_CHECK(thrown);
}

int handler_calls;
void *reserve;

void release_reserve()
{
    handler_calls++;
    ::operator delete(reserve);
    reserve = nullptr;
    std::set_new_handler(nullptr);
}

void give_up_after_three()
{
    if (++handler_calls == 3)
        std::set_new_handler(nullptr);
}

void throw_bad_alloc()
{
    throw std::bad_alloc();
}
struct own_bad_alloc : std::bad_alloc {
};
void throw_own()
{
    throw own_bad_alloc();
}

} // namespace

QTEST("new throws bad_alloc for what cannot be had, in every throwing form ([new.delete.single], M-40)")
{
    for (size_t volatile n : too_big) {
        must_throw([&] { return ::operator new(n); });
        must_throw([&] { return ::operator new[](n); });
        if (!aligned_too(n))
            continue;
        must_throw([&] { return ::operator new (n, std::align_val_t{64}); });
        must_throw([&] { return ::operator new[](n, std::align_val_t{64}); });
    }
}

QTEST("new nothrow returns nullptr for what cannot be had ([new.delete.single], M-40)")
{
    for (size_t volatile n : too_big) {
        QT_CHECK(!::operator new(n, std::nothrow));
        QT_CHECK(!::operator new[](n, std::nothrow));
        if (!aligned_too(n))
            continue;
        QT_CHECK(!::operator new (n, std::align_val_t{64}, std::nothrow));
        QT_CHECK(!::operator new[](n, std::align_val_t{64}, std::nothrow));
    }
}

QTEST("the new_handler is called until it gives up ([new.handler], M-40)")
{
    size_t volatile n = PTRDIFF_MAX;
    auto counted = [&](auto call) {
        handler_calls = 0;
        std::set_new_handler(give_up_after_three);
        call();
        QT_EQ(handler_calls, 3);
        QT_CHECK(std::get_new_handler() == nullptr);
    };
    counted([&] { must_throw([&] { return ::operator new(n); }); });
    counted([&] { must_throw([&] { return ::operator new[](n); }); });
    counted([&] { must_throw([&] { return ::operator new (n, std::align_val_t{64}); }); });
    counted([&] { QT_CHECK(!::operator new(n, std::nothrow)); });
    counted([&] { QT_CHECK(!::operator new[](n, std::nothrow)); });
    counted([&] { QT_CHECK(!::operator new (n, std::align_val_t{64}, std::nothrow)); });
}

QTEST("a new_handler that frees memory lets new succeed ([new.handler], M-25, M-40)")
{
    limit_address_space(400 * MIB);
    for (int round = 0; round < 20; round++) {
        handler_calls = 0;
        reserve = ::operator new(300 * MIB);
        std::set_new_handler(release_reserve);
        void *p = ::operator new(round % 2 ? 200 * MIB : 250 * MIB);
        QT_EQ(handler_calls, 1);
        ::operator delete(p);
    }
}

QTEST("an exception of the new_handler passes through throwing new ([new.delete.single])")
{
    size_t volatile n = PTRDIFF_MAX;
    bool own = false;
    std::set_new_handler(throw_own);
    try {
        escape(::operator new(n));
    } catch (const own_bad_alloc &) {
        own = true;
    }
    QT_CHECK(own);
}

QTEST("a new_handler's bad_alloc makes nothrow new return nullptr ([new.delete.single])")
{
    size_t volatile n = PTRDIFF_MAX;
    std::set_new_handler(throw_bad_alloc);
    QT_CHECK(!::operator new(n, std::nothrow));
    QT_CHECK(!::operator new[](n, std::nothrow));
    QT_CHECK(!::operator new (n, std::align_val_t{64}, std::nothrow));
    QT_CHECK(!::operator new[](n, std::align_val_t{64}, std::nothrow));
    must_throw([&] { return ::operator new(n); });
}

QTEST("at exhaustion new throws, and after freeing it works again (M-25, M-40)")
{
    static const size_t steps[] = {200, 5000, 100000, 3 * MIB};
    limit_address_space(128 * MIB);
    for (size_t step : steps) {
        void **chain = nullptr;
        size_t count = 0;
        bool thrown = false;
        try {
            for (;; count++) {
                void **p = static_cast<void **>(escape(::operator new(step)));
                *p = chain;
                chain = p;
            }
        } catch (const std::bad_alloc &e) {
            thrown = e.what() != nullptr;
        }
        QT_CHECK(thrown);
        QT_CHECKF(count * step > 64 * MIB, "only %zu of %zu", count, step);
        QT_CHECK(!::operator new(64 * MIB, std::nothrow));
        while (chain) {
            void **next = static_cast<void **>(*chain);
            ::operator delete(chain, step);
            chain = next;
        }
        std::vector<int> again(1000, 7);
        QT_EQ(again[999], 7);
    }
}

/* --------------------------------------------------------------- programs */

QTEST("a constructor that throws in new leaves nothing behind ([expr.new])")
{
    long before = qt_rss_kib();
    for (int i = 0; i < 100000; i++) {
        bool thrown = false;
        try {
            escape(new Counted(true));
        } catch (const std::runtime_error &) {
            thrown = true;
        }
        QT_CHECK(thrown);
    }
    QT_EQ(Counted::live, 0);
    QT_CHECKF(qt_rss_kib() - before < 4096, "grew by %ld KiB", qt_rss_kib() - before);
}

QTEST("standard containers hold what was put into them (M-40)")
{
    std::vector<std::string> strings;
    std::map<int, std::string> ordered;
    std::unordered_map<std::string, std::unique_ptr<std::list<int>>> hashed;
    for (int i = 0; i < 30000; i++) {
        std::string s(static_cast<size_t>(i % 300), static_cast<char>('a' + i % 26));
        strings.push_back(s);
        ordered[i * 7919 % 30011] = s;
        auto &list = hashed["key" + std::to_string(i % 1000)];
        if (!list)
            list = std::make_unique<std::list<int>>();
        list->push_back(i);
        if (i % 3 == 0)
            ordered.erase(i * 104729 % 30011);
    }
    for (int i = 0; i < 30000; i++)
        QT_CHECK(strings[static_cast<size_t>(i)] ==
                 std::string(static_cast<size_t>(i % 300), static_cast<char>('a' + i % 26)));
    size_t total = 0;
    for (auto &entry : hashed)
        for (int i : *entry.second)
            total += static_cast<size_t>(i);
    QT_EQ(total, 30000L * 29999 / 2);
    strings.shrink_to_fit();
    strings.clear();
}

QTEST("threads allocate, throw and catch at the same time (M-31, M-40)")
{
    std::atomic<long> caught{0};
    auto work = [&](int id) {
        for (int i = 0; i < 5000; i++)
            try {
                auto p = std::make_unique<Counted[]>(static_cast<size_t>(i % 50 + 1));
                std::string text(static_cast<size_t>(i % 2000), 'x');
                if (i % 3 == 0)
                    throw std::runtime_error(text + std::to_string(id));
            } catch (const std::exception &e) {
                caught += e.what()[0] != 0;
            }
    };
    std::vector<std::thread> threads;
    for (int id = 0; id < 8; id++)
        threads.emplace_back(work, id);
    for (auto &thread : threads)
        thread.join();
    QT_EQ(caught, 8 * 1667);
    QT_EQ(Counted::live, 0);
}

QTEST("what one thread makes another may delete (M-40)")
{
    for (int round = 0; round < 50; round++) {
        std::vector<std::unique_ptr<std::string>> made(2000);
        std::thread maker([&] {
            for (size_t i = 0; i < made.size(); i++)
                made[i] = std::make_unique<std::string>(i % 500, 'y');
        });
        maker.join();
        for (size_t i = 0; i < made.size(); i++)
            QT_EQ(made[i]->size(), i % 500);
        std::thread([&] { made.clear(); }).join();
    }
}

QTEST_MAIN
