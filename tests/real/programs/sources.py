"""Generated C and C++ for the compilers: large, deterministic, and it runs."""

import os
import random


def c_source(functions, seed=7):
    rng = random.Random(seed)
    out = ["#include <stdint.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n"]
    for i in range(functions // 10 + 1):
        fields = "".join(f" {rng.choice(['int', 'long', 'double', 'uint32_t', 'uint8_t'])} f{k};" for k in range(8))
        out.append(f"struct s{i} {{{fields} struct s{max(i - 1, 0)} *next; }};\n")
    names = []
    for i in range(functions):
        s = rng.randrange(functions // 10 + 1)
        body = [f"static uint32_t fn{i}(uint32_t a, uint32_t b) {{\n    struct s{s} v; memset(&v, 0, sizeof v);\n"
                f"    uint32_t x = a + {rng.randrange(1 << 31)}u, y = b;\n"]
        for k in range(rng.randint(4, 14)):
            n = rng.randrange(1 << 30)
            body.append(rng.choice([
                f"    for (uint32_t i = 0; i < {rng.randint(2, 9)}; i++) {{ x ^= (y << (i & 7)) + {n}u; y += x >> 3; }}\n",
                f"    if ((x & {n}u) > y) {{ v.f{k % 8} = x & 63; x -= (uint32_t)v.f{k % 8}; }} else {{ y = x * {n | 1}u; }}\n",
                f"    switch (x % 7) {{ case 0: y += {n}u; break; case 1: y ^= x; /* fall through */ case 2: x = ~y; break;"
                f" case 5: x += {n % 977}u; break; default: y--; }}\n",
                f"    {{ uint8_t t[{rng.randint(8, 64)}]; for (unsigned i = 0; i < sizeof t; i++) t[i] = (uint8_t)(x >> (i & 15));"
                f" for (unsigned i = 0; i < sizeof t; i++) y = y * 33 + t[i]; }}\n",
                f"    x = fn{rng.choice(names)}(y & 0xffff, x & 15);\n" if names and rng.random() < 0.15
                else f"    x = (x >> {n % 31}) | (x << ({n % 31} ^ 31));\n",
                f"    double d{k} = x * {n / 7:.3f}; y += (uint32_t)((int64_t)d{k} & 0xffff);\n",
            ]))
        body.append("    return x ^ y;\n}\n")
        out.append("".join(body))
        # Deep call chains would take for ever to run: only early functions are called.
        if i < 40:
            names.append(i)
    out.append("int main(void) {\n    uint32_t h = 1;\n")
    out += [f"    h = h * 31 + fn{i}({i}u, h);\n" for i in range(functions)]
    out.append('    printf("%u\\n", h);\n    return 0;\n}\n')
    return "".join(out)


def cxx_source(classes):
    out = ["#include <algorithm>\n#include <functional>\n#include <iostream>\n#include <map>\n#include <memory>\n"
           "#include <numeric>\n#include <regex>\n#include <set>\n#include <string>\n#include <tuple>\n"
           "#include <unordered_map>\n#include <variant>\n#include <vector>\n",
           "template <int N> struct Fib { static constexpr long value = Fib<N - 1>::value + Fib<N - 2>::value; };\n"
           "template <> struct Fib<0> { static constexpr long value = 0; };\n"
           "template <> struct Fib<1> { static constexpr long value = 1; };\n"
           "template <typename... T> auto all(T... t) { return std::make_tuple(std::vector<T>{t}...); }\n"]
    for i in range(classes):
        out.append(f"""
struct K{i} {{
    int a; std::string b;
    bool operator<(const K{i} &o) const {{ return std::tie(a, b) < std::tie(o.a, o.b); }}
}};
template <typename T> long use{i}(T start) {{
    std::map<K{i}, std::vector<T>> m;
    std::unordered_map<std::string, std::function<T(T)>> f;
    std::variant<T, std::string, K{i}> v = start;
    for (int k = 0; k < 10; k++) {{
        m[K{i}{{k % 4, std::string(k, 'x')}}].push_back(static_cast<T>(start + k));
        f[std::to_string(k)] = [k, start](T x) {{ return static_cast<T>(x * {i + 2} + k + start); }};
        if (k == 5) v = std::to_string(k);
        if (k == 7) v = K{i}{{k, "k"}};
    }}
    T sum = static_cast<T>(Fib<{20 + i % 50}>::value & 0xff);
    for (auto &[key, values] : m) sum += std::accumulate(values.begin(), values.end(), static_cast<T>(key.a));
    for (int k = 0; k < 10; k++) sum = f[std::to_string(k)](sum) % 10007;
    std::set<T> s; s.insert(sum); s.insert(start);
    auto t = all(sum, std::string("{i}"), K{i}{{1, "t"}}, static_cast<T>(v.index()));
    return static_cast<long>(std::get<0>(t)[0] + s.size() + std::get<3>(t)[0]);
}}
""")
    out.append("int main() {\n    long h = 0;\n")
    for i in range(classes):
        out.append(f"    h = h * 31 + use{i}<int>({i}) + use{i}<long>({i * 3});\n")
    out.append('    std::regex r("([a-z]+)([0-9]*)"); std::smatch m; std::string s = "abc123";\n'
               "    h += std::regex_match(s, m, r);\n    std::cout << h << '\\n';\n}\n")
    return "".join(out)


def write(r, functions, classes):
    for name, text in (("large.c", c_source(functions)), ("large.cpp", cxx_source(classes))):
        if not os.path.exists(r.input(name)):
            with open(r.input(name), "w", encoding="ascii") as f:
                f.write(text)
