"""Objects, text, JSON: the load of the python workloads. Argument: rounds."""

import json
import re
import sys


class Node:
    def __init__(self, key, parent):
        self.key, self.parent, self.children = key, parent, []


def tree(count):
    nodes = [Node(0, None)]
    for i in range(1, count):
        parent = nodes[(i * 7919) % len(nodes)]
        nodes.append(Node(i, parent))
        parent.children.append(nodes[-1])
    return sum(len(n.children) for n in nodes)


def text(count):
    words = [f"word{(i * 104729) % 5003}" for i in range(count)]
    joined = " ".join(words)
    counts = {}
    for word in re.findall(r"\w+", joined):
        counts[word] = counts.get(word, 0) + 1
    return len(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))


def records(count):
    rows = [{"id": i, "name": f"n{i}", "tags": [str(i % 7), str(i % 11)], "value": i / 3} for i in range(count)]
    back = json.loads(json.dumps(rows))
    return sum(len(row["tags"]) for row in back)


def buffers(count):
    held = [bytearray(100 + (i * 37) % 20000) for i in range(count)]
    return sum(len(b"".join([bytes(b[:500]), b"x"])) for b in held)


total = 0
for _ in range(int(sys.argv[1])):
    total += tree(20000) + text(20000) + records(5000) + buffers(1000)
print("total", total)
