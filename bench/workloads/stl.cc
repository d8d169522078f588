// A mix of the C++ containers as programs use them: ordered and hashed maps of strings, vectors that grow,
// deques, shared pointers, string streams. stl [scale=F] [idle=MS is ignored]
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <unordered_map>
#include <vector>

namespace
{

using Random = std::mt19937_64;

std::string word(Random &random)
{
    std::string text(3 + random() % 40, 'a');
    for (char &c : text)
        c = static_cast<char>('a' + random() % 26);
    return text;
}

// Words counted, then listed by count: the classic.
std::uint64_t word_count(Random &random, std::uint64_t rounds)
{
    std::vector<std::string> vocabulary;
    for (int i = 0; i < 20000; i++)
        vocabulary.push_back(word(random));
    std::uint64_t lines = 0;
    for (std::uint64_t round = 0; round < rounds; round++) {
        std::unordered_map<std::string, std::uint64_t> counts;
        for (int i = 0; i < 40000; i++)
            counts[vocabulary[random() % vocabulary.size()] + (i % 3 ? "" : "-suffix")]++;
        std::multimap<std::uint64_t, std::string, std::greater<>> by_count;
        for (const auto &entry : counts)
            by_count.emplace(entry.second, entry.first);
        lines += by_count.size();
    }
    return lines;
}

// A graph of objects that own each other.
struct Item {
    std::string name;
    std::vector<std::shared_ptr<Item>> uses;
    std::function<std::size_t()> weight;
};

std::uint64_t object_graph(Random &random, std::uint64_t rounds)
{
    std::uint64_t total = 0;
    for (std::uint64_t round = 0; round < rounds; round++) {
        std::vector<std::shared_ptr<Item>> items;
        for (int i = 0; i < 15000; i++) {
            auto item = std::make_shared<Item>();
            item->name = word(random);
            for (int u = 0; u < 4 && !items.empty(); u++)
                item->uses.push_back(items[random() % items.size()]);
            std::string copy = item->name;
            item->weight = [copy, i] { return copy.size() + static_cast<std::size_t>(i); };
            items.push_back(std::move(item));
        }
        for (const auto &item : items)
            total += item->weight();
    }
    return total;
}

// Queues, lists and sets with entries coming and going.
std::uint64_t queues(Random &random, std::uint64_t rounds)
{
    std::deque<std::string> waiting;
    std::list<std::vector<int>> rows;
    std::set<std::string> seen;
    std::uint64_t handled = 0;
    for (std::uint64_t i = 0; i < rounds * 10000; i++) {
        waiting.push_back(word(random));
        if (i % 4 == 0)
            rows.emplace_back(random() % 200, 1);
        if (waiting.size() > 3000) {
            handled += seen.insert(std::move(waiting.front())).second;
            waiting.pop_front();
        }
        if (rows.size() > 2000)
            rows.pop_front();
        if (seen.size() > 20000)
            seen.erase(seen.begin(), std::next(seen.begin(), 5000));
    }
    return handled;
}

std::uint64_t text_format(Random &random, std::uint64_t rounds)
{
    std::uint64_t length = 0;
    for (std::uint64_t i = 0; i < rounds * 2000; i++) {
        std::ostringstream out;
        out << "id=" << random() << " value=" << static_cast<double>(random() % 1000) / 7;
        std::istringstream in(out.str());
        std::vector<std::string> fields;
        for (std::string field; in >> field;)
            fields.push_back(field);
        length += fields.size();
    }
    return length;
}

} // namespace

int main(int argc, char **argv)
{
    double scale = 1;
    for (int i = 1; i < argc; i++)
        if (!std::strncmp(argv[i], "scale=", 6))
            scale = std::atof(argv[i] + 6);
    const auto rounds = static_cast<std::uint64_t>(std::max(1.0, 12 * scale));
    Random random(1);
    std::uint64_t sum = word_count(random, rounds) + object_graph(random, rounds) +
                        queues(random, 3 * rounds) + text_format(random, 3 * rounds);
    std::printf("checksum=%llu\n", static_cast<unsigned long long>(sum));
    return 0;
}
