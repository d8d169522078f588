// Uses every replaceable allocation function of C++20 and what is built on them. Prints what must not depend on the allocator.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <functional>
#include <future>
#include <list>
#include <map>
#include <memory>
#include <memory_resource>
#include <mutex>
#include <new>
#include <random>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include <malloc.h>

static std::atomic<long> problems{0};

#define CHECK(condition)                                                    \
    do {                                                                    \
        if (!(condition)) {                                                 \
            problems++;                                                     \
            std::printf("line %d: %s does not hold\n", __LINE__, #condition); \
        }                                                                   \
    } while (0)

static bool aligned(const void *p, std::size_t to) {
    return reinterpret_cast<std::uintptr_t>(p) % to == 0;
}

// The compiler may leave out a new that is only deleted again; not one whose address escapes.
static void escape(void *p) {
    asm volatile("" : : "g"(p) : "memory");
}

static std::size_t huge() {
    volatile std::size_t n = PTRDIFF_MAX;
    return n - 4096;
}

static void every_function(std::size_t n) {
    const auto &nt = std::nothrow;
    std::size_t least = n < 16 ? 8 : 16;
    // throwing, nothrow; single, array; deleted plainly, with size, nothrow
    for (int form = 0; form < 6; form++) {
        void *p = form % 2 ? ::operator new(n, nt) : ::operator new(n);
        void *q = form % 2 ? ::operator new[](n, nt) : ::operator new[](n);
        CHECK(p && q && p != q && aligned(p, least) && aligned(q, least));
        CHECK(malloc_usable_size(p) >= n && malloc_usable_size(q) >= n);
        escape(p);
        std::memset(p, 0x5a, n);
        std::memset(q, 0xa5, n);
        switch (form / 2) {
        case 0:
            ::operator delete(p);
            ::operator delete[](q);
            break;
        case 1:
            ::operator delete(p, n);
            ::operator delete[](q, n);
            break;
        default:
            ::operator delete(p, nt);
            ::operator delete[](q, nt);
        }
    }
    for (std::size_t a = 1; a <= 1U << 16; a *= 2) {
        std::align_val_t al{a};
        for (int form = 0; form < 6; form++) {
            void *p = form % 2 ? ::operator new(n, al, nt) : ::operator new(n, al);
            void *q = form % 2 ? ::operator new[](n, al, nt) : ::operator new[](n, al);
            CHECK(p && q && p != q && aligned(p, a) && aligned(q, a));
            escape(p);
            std::memset(p, 0x5a, n);
            std::memset(q, 0xa5, n);
            switch (form / 2) {
            case 0:
                ::operator delete(p, al);
                ::operator delete[](q, al);
                break;
            case 1:
                ::operator delete(p, n, al);
                ::operator delete[](q, n, al);
                break;
            default:
                ::operator delete(p, al, nt);
                ::operator delete[](q, al, nt);
            }
        }
    }
    ::operator delete(nullptr);
    ::operator delete[](nullptr);
    ::operator delete(nullptr, n);
    ::operator delete(nullptr, std::align_val_t{64});
}

template <typename F> static bool throws_bad_alloc(F f) {
    try {
        escape(f());
    } catch (const std::bad_alloc &) {
        return true;
    }
    return false;
}

static int handler_calls;

static void handler_gives_up() {
    if (++handler_calls == 3) {
        std::set_new_handler(nullptr);
    }
}

static void handler_throws() {
    handler_calls++;
    throw std::bad_alloc();
}

static void exhaustion() {
    std::align_val_t al{128};
    CHECK(throws_bad_alloc([] { return ::operator new(huge()); }));
    CHECK(throws_bad_alloc([] { return ::operator new[](huge()); }));
    CHECK(throws_bad_alloc([&] { return ::operator new(huge(), al); }));
    CHECK(throws_bad_alloc([&] { return ::operator new[](huge(), al); }));
    CHECK(!::operator new(huge(), std::nothrow));
    CHECK(!::operator new[](huge(), std::nothrow));
    CHECK(!::operator new(huge(), al, std::nothrow));
    CHECK(!::operator new[](huge(), al, std::nothrow));
    CHECK(throws_bad_alloc([] { return ::operator new(SIZE_MAX - 8); }));
    volatile long long negative = -1;
    bool length = false;
    try {
        escape(new int[negative]);
    } catch (const std::bad_array_new_length &) {
        length = true;
    }
    CHECK(length);

    handler_calls = 0;
    std::set_new_handler(handler_gives_up);
    CHECK(throws_bad_alloc([] { return ::operator new(huge()); }));
    CHECK(handler_calls == 3);
    handler_calls = 0;
    std::set_new_handler(handler_gives_up);
    CHECK(!::operator new(huge(), al, std::nothrow));
    CHECK(handler_calls == 3);
    handler_calls = 0;
    std::set_new_handler(handler_throws);
    CHECK(throws_bad_alloc([] { return ::operator new[](huge()); }));
    CHECK(!::operator new(huge(), std::nothrow));
    CHECK(handler_calls == 2);
    std::set_new_handler(nullptr);
    std::printf("exhaustion: handlers called, exceptions seen\n");
}

struct Counted {
    static std::atomic<long> alive;
    Counted() { alive++; }
    Counted(const Counted &) { alive++; }
    ~Counted() { alive--; }
    char body[40];
};
std::atomic<long> Counted::alive{0};

struct alignas(64) Wide : Counted {
    double d[8];
};

struct Base {
    virtual ~Base() = default;
    virtual int id() const { return 1; }
};
struct Derived : Base {
    std::string name = std::string(100, 'd');
    int id() const override { return 2; }
};
struct Throwing {
    explicit Throwing(int at) {
        if (at == 3) {
            throw at;
        }
        text.assign(200, 't');
    }
    std::string text;
};
struct Own {
    static long news, deletes;
    static void *operator new(std::size_t n) {
        news++;
        return ::operator new(n);
    }
    static void operator delete(void *p, std::size_t n) {
        deletes++;
        ::operator delete(p, n);
    }
    int x[10];
};
long Own::news, Own::deletes;

static void expressions() {
    std::unique_ptr<Counted[]> array(new Counted[1000]);
    std::unique_ptr<Wide[]> wide(new Wide[100]);
    CHECK(aligned(wide.get(), 64));
    std::unique_ptr<Base> base(new Derived);
    CHECK(base->id() == 2);
    auto shared = std::make_shared<Wide>();
    CHECK(aligned(shared.get(), 64));
    alignas(Counted) unsigned char place[sizeof(Counted)];
    auto *placed = new (place) Counted;
    placed->~Counted();
    int caught = 0;
    for (int i = 0; i < 100; i++) {
        try {
            delete new Throwing(i % 5);
        } catch (int at) {
            caught += at;
        }
    }
    for (int i = 0; i < 100; i++) {
        delete new Own;
    }
    array.reset();
    wide.reset();
    shared.reset();
    std::printf("expressions: %d caught, %ld alive, own %ld %ld\n", caught, Counted::alive.load(), Own::news,
                Own::deletes);
}

static std::uint64_t containers(unsigned seed, int rounds) {
    std::mt19937 rng(seed);
    std::uint64_t sum = 0;
    std::map<std::string, std::vector<int>> tree;
    std::unordered_map<int, std::string> table;
    std::list<std::string> list;
    std::deque<std::unique_ptr<Base>> queue;
    std::set<std::pair<int, std::string>> pairs;
    for (int i = 0; i < rounds * 100; i++) {
        unsigned v = rng();
        tree[std::to_string(v % 997)].push_back(static_cast<int>(v));
        table[static_cast<int>(v % 4001)] += static_cast<char>('a' + v % 26);
        list.push_back(std::string(v % 300, 'l'));
        if (list.size() > 200) {
            list.pop_front();
        }
        queue.push_back(v % 2 ? std::make_unique<Base>() : std::unique_ptr<Base>(new Derived));
        if (queue.size() > 500) {
            sum += static_cast<std::uint64_t>(queue.front()->id());
            queue.pop_front();
        }
        pairs.emplace(static_cast<int>(v % 1000), std::string(v % 50, 'p'));
        if (v % 64 == 0) {
            tree.erase(tree.begin());
        }
    }
    for (const auto &[key, values] : tree) {
        for (int value : values) {
            sum = sum * 31 + static_cast<std::uint64_t>(value) + key.size();
        }
    }
    for (int i = 0; i < 4001; i++) {
        auto found = table.find(i);
        if (found != table.end()) {
            sum = sum * 33 + std::hash<std::string_view>{}(found->second);
        }
    }
    for (const auto &pair : pairs) {
        sum = sum * 37 + static_cast<std::uint64_t>(pair.first) + pair.second.size();
    }
    return sum;
}

static std::uint64_t resources(int rounds) {
    std::uint64_t sum = 0;
    for (int i = 0; i < rounds; i++) {
        std::pmr::monotonic_buffer_resource buffer;
        std::pmr::unsynchronized_pool_resource pool;
        std::pmr::synchronized_pool_resource shared_pool;
        for (std::pmr::memory_resource *from :
             {static_cast<std::pmr::memory_resource *>(&buffer), static_cast<std::pmr::memory_resource *>(&pool),
              static_cast<std::pmr::memory_resource *>(&shared_pool), std::pmr::new_delete_resource()}) {
            std::pmr::vector<std::pmr::string> strings(from);
            for (int k = 0; k < 200; k++) {
                strings.emplace_back(static_cast<std::size_t>(k), static_cast<char>('a' + k % 26));
            }
            void *p = from->allocate(100, 256);
            CHECK(aligned(p, 256));
            from->deallocate(p, 100, 256);
            for (const auto &s : strings) {
                sum = sum * 7 + s.size();
            }
        }
    }
    return sum;
}

static std::string words() {
    std::ostringstream out;
    std::string text;
    for (int i = 0; i < 2000; i++) {
        text += "key" + std::to_string(i) + "=value" + std::to_string(i * 7) + (i % 3 ? ";" : ",");
    }
    std::regex pattern("(key[0-9]+)=(value[0-9]+)[;,]");
    long found = 0;
    for (std::sregex_iterator it(text.begin(), text.end(), pattern), end; it != end; ++it) {
        found += (*it)[2].length();
    }
    out << "regex " << found;
    return out.str();
}

// Blocks and exceptions born in one thread and ended in another.
static void threads(int rounds) {
    std::vector<std::thread> all;
    std::vector<std::uint64_t> sums(6);
    std::mutex lock;
    std::vector<std::unique_ptr<std::string>> handed;
    std::vector<std::exception_ptr> thrown;
    for (unsigned t = 0; t < sums.size(); t++) {
        all.emplace_back([&, t] {
            sums[t] = containers(t + 1, rounds);
            thread_local std::vector<std::unique_ptr<Derived>> late;
            for (int i = 0; i < 100; i++) {
                late.push_back(std::make_unique<Derived>());
            }
            for (int i = 0; i < rounds * 20; i++) {
                auto mine = std::make_unique<std::string>(static_cast<std::size_t>(i % 700), 'h');
                std::lock_guard<std::mutex> guard(lock);
                handed.push_back(std::move(mine));
                if (handed.size() > 64) {
                    handed.erase(handed.begin());
                }
            }
            try {
                throw std::runtime_error("from thread " + std::to_string(t));
            } catch (...) {
                std::lock_guard<std::mutex> guard(lock);
                thrown.push_back(std::current_exception());
            }
            every_function(100 + t);
        });
    }
    for (auto &thread : all) {
        thread.join();
    }
    std::vector<std::string> what;
    for (auto &e : thrown) {
        try {
            std::rethrow_exception(e);
        } catch (const std::exception &caught) {
            what.push_back(caught.what());
        }
    }
    std::sort(what.begin(), what.end());
    for (const auto &w : what) {
        std::printf("%s\n", w.c_str());
    }
    for (auto s : sums) {
        std::printf("containers %016llx\n", static_cast<unsigned long long>(s));
    }
    std::vector<std::future<std::uint64_t>> futures;
    for (int i = 0; i < 32; i++) {
        futures.push_back(std::async(std::launch::async, [i] { return containers(100U + static_cast<unsigned>(i), 3); }));
    }
    std::uint64_t sum = 0;
    for (auto &f : futures) {
        sum ^= f.get();
    }
    std::printf("futures %016llx\n", static_cast<unsigned long long>(sum));
}

static Derived *at_exit_block = new Derived;
struct AtEnd {
    ~AtEnd() { delete at_exit_block; }
} at_end;

int main(int argc, char **argv) {
    int rounds = argc > 1 ? std::atoi(argv[1]) : 20;
    for (std::size_t n : {0, 1, 8, 15, 16, 17, 100, 1000, 1023, 1024, 1025, 5000, 70000, 131072, 300000, 5000000}) {
        every_function(n);
    }
    std::printf("every function called\n");
    exhaustion();
    expressions();
    std::printf("resources %016llx\n", static_cast<unsigned long long>(resources(std::min(rounds, 50))));
    std::printf("%s\n", words().c_str());
    threads(rounds);
    std::printf("problems %ld\n", problems.load());
    if (problems) {
        return 1;
    }
    std::printf("all forms used\n");
    return 0;
}
