"""gdb commands for heaps of the Quarry memory allocator: quarry heap, quarry bins, quarry chunk.

    (gdb) source /usr/local/share/quarry/quarry-gdb.py

The `quarry` command reads the process that gdb stopped, or the core file that gdb looks at; this file asks it, and reads
what docs/formats.md describes. One snapshot is taken and all questions go to it, so that their answers fit together. It is
taken anew after the process ran or gdb wrote into it.
"""
import bisect
import itertools
import json
import os
import re
import runpy
import shutil
import subprocess
import tempfile

import gdb

# share/quarry and bin have the same parent where Quarry is installed, and in a build folder.
BESIDE = os.path.normpath(os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../bin/quarry"))

WORD_BYTES = 8
CHUNK_HEADER_BYTES = 16  # prev_size and size; memory begins behind them
SIZE_FLAGS = 0xF
SEALED = 1 << 63  # such a size word holds its size in its lowest 16 bits (src/chunk/seal.h)
SEALED_BITS = 0xFFFF
PREV_IN_USE = 1
FREE_IN_A_LIST = ("binned", "unsorted", "fast", "inbox")


def plural(count, noun):
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


# ---- the quarry command ----

def find_quarry():
    command = BESIDE if os.access(BESIDE, os.X_OK) else shutil.which("quarry")
    if not command:
        raise gdb.GdbError(f"quarry: there is no command `quarry`, neither as {BESIDE} nor in PATH")
    return command


def ask(*words, fine=(0,)):
    """What `quarry WORDS` prints; its own error line where it fails."""
    try:
        done = subprocess.run([find_quarry(), *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, encoding="utf-8", errors="replace")
    except OSError as error:
        raise gdb.GdbError(f"quarry: cannot run {error.filename}: {error.strerror}")
    if done.returncode not in fine or (done.returncode and not done.stdout):
        raise gdb.GdbError(done.stderr.strip() or f"quarry {words[0]}: ended with status {done.returncode}")
    return done.stdout


# ---- what gdb looks at ----

def core_file():
    """gdb 13 tells the name of its core file to people only."""
    found = re.search(r"core dump file:\n\s*[`'‘](.*)['’], file type", gdb.execute("info files", to_string=True))
    if not found:
        raise gdb.GdbError("quarry: gdb does not say which core file it looks at")
    return found.group(1)


def target():
    """The process or core file of the current inferior, as `quarry` wants it named."""
    inferior = gdb.selected_inferior()
    connection = inferior.connection
    if connection and connection.type == "core":
        return core_file()
    if not inferior.pid:
        raise gdb.GdbError("quarry: no process and no core file to look at (use run, attach or core-file)")
    if connection and connection.type != "native":
        raise gdb.GdbError(f"quarry: process {inferior.pid} is behind a connection of type {connection.type}; "
                           "only processes of this machine and core files can be looked at")
    if any(thread.is_running() for thread in inferior.threads()):
        raise gdb.GdbError(f"quarry: process {inferior.pid} is running; interrupt it first")
    return str(inferior.pid)


class Heap:
    """One snapshot: a file for `quarry stat` and `quarry explain`, and its contents."""

    def __init__(self, of, *options):
        self.of = of
        self.folder = tempfile.TemporaryDirectory(prefix="quarry-gdb-")
        self.file = os.path.join(self.folder.name, "heap.qs")
        ask("snapshot", *options, of, "-o", self.file)
        self.data = json.loads(ask("snapshot", "--json", self.file))
        chunks = self.data["chunks"]
        self.chunk_at = list(itertools.accumulate(chunks["at"]))
        self.chunk_size = chunks["size"]

    def size_of(self, at):
        """Of the chunk that begins there; None if none does."""
        i = bisect.bisect_left(self.chunk_at, at)
        return self.chunk_size[i] if i < len(self.chunk_at) and self.chunk_at[i] == at else None

    def stat(self):
        return ask("stat", self.file, fine=(0, 1))  # 1: damage was found; it is in the text

    def explain(self, address):
        return ask("explain", hex(address), self.file)

    def facts(self, address):
        """What explain says, as a dict; empty where nothing is known."""
        try:
            return json.loads(ask("explain", "--json", hex(address), self.file, fine=(0, 1)))
        except ValueError:
            return {}


current = None


def heap():
    global current
    of = target()
    if not current or current.of != of:
        current = Heap(of)
    return current


def heap_with_lists():
    """In a very large heap, lists are only read when they are asked for: seconds, where the rest takes less than one."""
    global current
    if not heap().data["lists_read"]:
        current = Heap(current.of, "--whole")
    return current


def forget(_event):
    global current
    current = None


# ---- words ----

def name_of_arena(data, index):
    arena = data["arenas"][index]
    return f"arena {index}{', the main arena' if arena['main'] else ''}, at {arena['address']:#x}"


def caches_of_threads():
    """Address of a cache -> its thread. A process has one tracer, here gdb, so that the `quarry` command cannot learn where
    threads keep their caches; gdb can, where the library has its debugging information."""
    owners = {}
    selected, frame = gdb.selected_thread(), None
    try:
        frame = gdb.selected_frame()
        for thread in gdb.selected_inferior().threads():
            thread.switch()
            owners[int(gdb.parse_and_eval("(unsigned long) qy_self"))] = thread
    except gdb.error:
        pass
    finally:
        selected.switch()
        if frame and frame.is_valid():
            frame.select()
    return owners


def name_of_cache(cache, owners):
    thread = owners.get(cache["address"])
    owner = ""
    if thread:
        owner = f" of thread {thread.num} (LWP {thread.ptid[1]})"
    elif cache["tid"]:
        owner = f" of LWP {cache['tid']}"
    elif cache["orphan"]:
        owner = ", which no thread uses"
    return f"thread cache{owner}, at {cache['address']:#x}"


def show_list(title, addresses):
    """A list in its order, as many as gdb's `print elements` allows."""
    limit = gdb.parameter("print elements") or len(addresses)
    print(f"  {title}")
    shown = [f"{address:#x}" for address in addresses[:limit]]
    for i in range(0, len(shown), 4):
        print("    " + ("-> " if i else "   ") + " -> ".join(shown[i:i + 4]))
    if len(addresses) > limit:
        print(f"    -> {len(addresses) - limit:,} more (set print elements)")


def range_of_sizes(each):
    if each["to"] is None:
        return f"{each['from']:,} bytes and more"
    if each["from"] == each["to"]:
        return f"{each['from']:,} bytes"
    return f"{each['from']:,} to {each['to']:,} bytes"


# ---- commands ----

class QuarryPrefix(gdb.Command):
    """Look into a heap of the Quarry memory allocator.

The process must be stopped, or gdb must look at a core file of one. Nothing is
run in the process. What is shown is so at this moment; after a step it is
looked at anew."""

    def __init__(self):
        super().__init__("quarry", gdb.COMMAND_DATA, prefix=True)

    def invoke(self, argument, from_tty):
        if argument:
            raise gdb.GdbError(f"quarry: no command '{argument}'; see `help quarry`")
        gdb.execute("help quarry")


class QuarryHeap(gdb.Command):
    """Show where the memory of the heap is.
Usage: quarry heap

The parts, which add up to what is mapped, as `quarry stat` shows them; what is
damaged; the segments, and the arenas with their top chunks."""

    def __init__(self):
        super().__init__("quarry heap", gdb.COMMAND_DATA, gdb.COMPLETE_NONE)

    def invoke(self, argument, from_tty):
        if argument.strip():
            raise gdb.GdbError("quarry heap: takes no argument; see `help quarry heap`")
        h = heap()
        print(h.stat())
        print(f"{'segment':<31} {'used to':<15} {'bytes':>15}  what")
        for s in sorted(h.data["segments"], key=lambda s: s["from"]):
            arena = "" if s["arena"] is None else f" of arena {s['arena']}"
            span = f"{s['from']:#x}-{s['to']:#x}"
            print(f"{span:<31} {s['used_to']:#15x} {s['to'] - s['from']:>15,}  {s['kind']}{arena}")
        print()
        for i, arena in enumerate(h.data["arenas"]):
            top = arena["top"]
            what = "no top" if top is None else f"top at {top:#x}, {plural(h.size_of(top) or 0, 'byte')}"
            locked = ", locked" if arena["locked"] else ""
            print(f"{name_of_arena(h.data, i)}: {plural(arena['threads'], 'thread')}, {what}{locked}")


class QuarryBins(gdb.Command):
    """Show the lists of free blocks, each in its order.
Usage: quarry bins [ARENA]

Every bin that holds something, of each arena (or of the one with number ARENA),
and every stack of the thread caches (of those that use ARENA).

Addresses in bins and inboxes are those of chunks, 16 bytes before the memory;
in thread caches they are those that malloc returns. Small and large bins and
the unsorted bin begin as fd leads; malloc takes the last. Fast bins begin with
the chunk that malloc takes first. Stacks of thread caches are shown from their
top: malloc takes the first.

Of long lists the beginning is shown: `set print elements` says how much."""

    def __init__(self):
        super().__init__("quarry bins", gdb.COMMAND_DATA, gdb.COMPLETE_NONE)

    def invoke(self, argument, from_tty):
        word = argument.strip()
        if word and not word.isdecimal():
            raise gdb.GdbError(f"quarry bins: '{word}' is no number of an arena; see `help quarry bins`")
        h = heap_with_lists()
        count = len(h.data["arenas"])
        if word and int(word) >= count:
            raise gdb.GdbError(f"quarry bins: no arena {word}; this heap has {plural(count, 'arena')}, from 0")
        for arena in [int(word)] if word else range(count):
            self.show_arena(h, arena)
        owners = {} if h.data["source"] == "core" else caches_of_threads()
        for cache in h.data["caches"]:
            if not word or cache["arena"] == int(word):
                self.show_cache(cache, owners)

    def show_arena(self, h, arena):
        bins = [b for b in h.data["bins"] if b["arena"] == arena and b["chunks"]]
        print(name_of_arena(h.data, arena) + ("" if bins else ": all bins are empty"))
        for each in bins:
            name, sizes = each["kind"], ""
            if name in ("fast", "small", "large"):
                name, sizes = f"{name} bin {each['index']}", ", " + range_of_sizes(each)
            elif name == "unsorted":
                name = "unsorted bin"
            show_list(f"{name}{sizes}: {plural(len(each['chunks']), 'chunk')}", each["chunks"])

    def show_cache(self, cache, owners):
        stacks = [(f"cells of {s['stride']:,} bytes", s) for s in cache["cells"]]
        stacks += [(f"chunks from {s['from']:,} bytes", s) for s in cache["chunks"]]
        stacks = [(title, s) for title, s in stacks if s["blocks"]]
        print(name_of_cache(cache, owners) + ("" if stacks else ": all stacks are empty"))
        for title, s in stacks:
            show_list(f"{title}: {len(s['blocks']):,}, at most {s['limit']:,}", s["blocks"][::-1])


class QuarryChunk(gdb.Command):
    """Show everything known of the block that an address lies in.
Usage: quarry chunk EXPRESSION

EXPRESSION is any that gdb can evaluate to an address; it may lie anywhere in a
block. Says what the block is, in which state and list, what lies beside it, and
what the words of its header mean."""

    def __init__(self):
        super().__init__("quarry chunk", gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

    def invoke(self, argument, from_tty):
        if not argument.strip():
            raise gdb.GdbError("quarry chunk: an address, please; see `help quarry chunk`")
        target()  # without a process, that is what there is to say, not that a name has no value
        try:
            address = self.evaluate(argument)
        except gdb.error as error:
            raise gdb.GdbError(f"quarry chunk: {argument.strip()}: {error}")
        h = heap()
        if h.facts(address).get("state") == "binned":
            h = heap_with_lists()
        print(h.explain(address), end="")
        facts = h.facts(address)
        if facts.get("what") == "chunk":
            self.show_chunk_header(h, facts)
        elif facts.get("what") == "cell":
            self.show_cells_beside(h, facts)
            self.show_cell_header(facts)

    @staticmethod
    def evaluate(expression):
        value = gdb.parse_and_eval(expression)
        if value.type.strip_typedefs().code in (gdb.TYPE_CODE_REF, gdb.TYPE_CODE_RVALUE_REF):
            value = value.referenced_value()
        kind = value.type.strip_typedefs().code
        if kind in (gdb.TYPE_CODE_ARRAY, gdb.TYPE_CODE_FUNC):
            value = value.address
        elif kind not in (gdb.TYPE_CODE_PTR, gdb.TYPE_CODE_INT, gdb.TYPE_CODE_ENUM):
            raise gdb.error(f"a value of type {value.type} is no address")
        return int(value) & (1 << 64) - 1

    @staticmethod
    def words(address, count):
        """As they stand in memory; fewer if some cannot be read."""
        found = []
        for i in range(count):
            try:
                memory = gdb.selected_inferior().read_memory(address + i * WORD_BYTES, WORD_BYTES)
            except gdb.MemoryError:
                break
            found.append(int.from_bytes(bytes(memory), "little"))
        return found

    def show_chunk_header(self, h, facts):
        at, size = facts["chunk"], facts["size"]
        names = ["prev_size", "size"]
        if facts["state"] in FREE_IN_A_LIST:
            names += ["fd"] if facts["state"] in ("fast", "inbox") else ["fd", "bk"]
        print(f"Chunk header at {at:#x}:")
        values = dict(zip(names, self.words(at, len(names))))
        for i, (name, value) in enumerate(values.items()):
            what = self.meaning(h, facts, name, value, values.get("size", size))
            print(f"  {at + i * WORD_BYTES:#x}  {name:<9}  {value:#018x}  {what}")

    def meaning(self, h, facts, name, value, size_word):
        at = facts["chunk"]
        mapped = facts["state"] == "mapped"
        if name == "prev_size":
            if mapped:
                return f"{plural(value, 'byte')} of padding before the chunk"
            if size_word & PREV_IN_USE:
                return "data of the block before, which is in use"
            return f"the chunk before, at {at - value:#x}, is free and has {value:,} bytes"
        if name == "size":
            if value & SEALED:
                value &= SEALED_BITS
                seal = "sealed, "
            else:
                seal = ""
            flags = [text for bit, text in self.flags(facts["state"]) if value & bit]
            return f"{seal}{value & ~SIZE_FLAGS:,} bytes; " + (", ".join(flags) or "no flags")
        if facts["state"] == "fast":
            place = at + CHUNK_HEADER_BYTES
            value ^= place >> 12
            what = f"stored as fd ^ ({place:#x} >> 12): "
            return what + (f"{value:#x}, {self.name_link(h, at, name, value)}" if value else "the last of its bin")
        if facts["state"] == "inbox":
            return "stored as fd ^ a secret of the process"
        return self.name_link(h, at, name, value)

    @staticmethod
    def flags(state):
        free = state in FREE_IN_A_LIST
        return ((1, "P: the chunk before is in use"),
                (2, "M: was free at the last tick already" if free else "M: a mapping of its own"),
                (4, "A: not of the main arena"))

    @staticmethod
    def name_link(h, of, name, to):
        size = h.size_of(to)
        if size is not None:
            return f"a chunk of {plural(size, 'byte')}"
        end = -1 if name == "fd" else 0
        if any(each["chunks"][end] == of for each in h.data["bins"] if each["chunks"]):
            return "the head of the bin"
        return "no chunk begins there"

    @staticmethod
    def show_cells_beside(h, facts):
        for word, address in (("Before", facts["memory"] - facts["stride"]), ("Behind", facts["memory"] + facts["stride"])):
            beside = h.facts(address)
            if beside.get("what") == "cell" and beside["run"] == facts["run"]:
                print(f"{word} it: a cell at {beside['memory']:#x}, state: {beside['state']}.")

    def show_cell_header(self, facts):
        at = facts["memory"] - WORD_BYTES
        for value in self.words(at, 1):
            print(f"Cell header at {at:#x}:")
            tag = value & 0xFFFF
            sound = "stride + 8" if tag == facts["stride"] + 8 else f"not that of cells of {facts['stride']:,} bytes"
            print(f"  {at:#x}  tag        {tag:#018x}  {sound}")
            print(f"  {at + 2:#x}  secret     {value >> 16:#018x}  " +
                  ("its upper 32 bits are set: in use" if value >> 32 else "its upper 32 bits are 0: free"))


def register():
    for command in (QuarryPrefix, QuarryHeap, QuarryBins, QuarryChunk):
        command()
    for event in ("cont", "inferior_call", "exited", "memory_changed", "new_objfile"):
        getattr(gdb.events, event).connect(forget)


if __name__ == "__main__":  # gdb's scripts share one namespace: what the commands use is in one of their own
    runpy.run_path(__file__, run_name="quarry-gdb")["register"]()
