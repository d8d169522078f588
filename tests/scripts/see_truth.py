#!/usr/bin/env python3
"""What quarry says of a heap is true: compared with a program that knows its own blocks, stopped at any instruction.

    see_truth.py [STOPS]      in each profile, with one thread and with four

The test stops the program itself, so that the program's table and Quarry's answer are of the same moment; every third look is
quarry's own stop, of which sums and findings are judged.
"""
# timeout: 300
# builds: release asan
import base64, ctypes, json, mmap, os, random, subprocess, sys, tempfile, time

STOPS = int(sys.argv[1]) if len(sys.argv) > 1 else 18
QUARRY, CC, SOURCE = os.environ["QUARRY_BIN"], os.environ.get("QUARRY_CC", "gcc"), os.environ["QUARRY_SOURCE"]
SLOTS, NONE, CHANGING, LIVE = 4096, 0, 1, 2
PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT, WALL = 17, 0x4206, 0x4207, 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


class Stopped:
    def __init__(self, pid):
        self.pid = pid

    def __enter__(self):
        self.tids = []
        while True:
            new = [int(t) for t in os.listdir(f"/proc/{self.pid}/task") if int(t) not in self.tids]
            if not new:
                return
            for tid in new:
                assert libc.ptrace(PTRACE_SEIZE, tid, None, None) == 0, os.strerror(ctypes.get_errno())
                libc.ptrace(PTRACE_INTERRUPT, tid, None, None)
            for tid in new:
                os.waitpid(tid, WALL)
            self.tids += new

    def __exit__(self, *_):
        for tid in self.tids:
            libc.ptrace(PTRACE_DETACH, tid, None, None)


def snapshot(pid, *options):
    result = subprocess.run([QUARRY, "snapshot", "--json", *options, str(pid)], capture_output=True)
    assert result.returncode == 0, result.stderr.decode()
    return json.loads(result.stdout)


def bits(run, name):
    raw = int.from_bytes(base64.b64decode(run[name]), "little")
    return raw


def blocks_in_use(heap):
    """address -> usable bytes"""
    found, at = {}, 0
    chunks, names = heap["chunks"], heap["states"]
    for delta, size, state in zip(chunks["at"], chunks["size"], chunks["state"]):
        at += delta
        if names[state] in ("in use", "mapped", "broken"):
            found[at + 16] = size - (16 if names[state] == "mapped" else 8)
    for run in heap["runs"]:
        if run["state"] != "owned":
            continue
        sets = [bits(run, n) for n in ("free", "remote", "cached", "moving")]
        free = 0
        for s in sets:
            assert free & s == 0, "bitmaps overlap"
            free |= s
        used = bits(run, "available") & ~free
        for i in range(run["cells"]):
            if used >> i & 1:
                found[run["at"] + run["first"] + i * run["stride"]] = run["stride"] - 8
    return found


PART_OF_STATE = {"binned": "binned", "unsorted": "binned", "fast": "fast", "cached": "cached", "inbox": "inbox",
                 "top": "top", "fence": "fence", "moving": "moving"}


def block_parts(heap):
    """What the figures must say of blocks, added up anew from the blocks themselves: part -> (bytes, blocks)"""
    parts = {name: [0, 0] for name in (*PART_OF_STATE.values(), "free_cells")}

    def add(name, size, count):
        parts[name][0] += size * count
        parts[name][1] += count

    chunks = heap["chunks"]
    for size, state in zip(chunks["size"], chunks["state"]):
        name = PART_OF_STATE.get(heap["states"][state])
        if name:
            add(name, size, 1)
    for run in heap["runs"]:
        if run["state"] == "owned":
            for bitmap, name in (("free", "free_cells"), ("remote", "free_cells"), ("cached", "cached"), ("moving", "moving")):
                add(name, run["stride"], bin(bits(run, bitmap)).count("1"))
    live = blocks_in_use(heap)
    parts["live"] = [sum(live.values()), len(live)]
    return parts


def check_sums(heap):
    figures = heap["figures"]
    for kind in ("bytes", "resident"):
        parts = sum(f[kind] for n, f in figures.items() if n != "mapped")
        assert parts == figures["mapped"][kind], f"{kind}: {parts} is not {figures['mapped'][kind]}"
    for name, f in figures.items():
        assert 0 <= f["resident"] <= f["bytes"], f"{name}: {f}"
    for name, (size, count) in block_parts(heap).items():
        said = figures[name]["bytes"], figures[name]["count"]
        assert said == (size, count), f"{name}: {said} said, and the blocks are {size, count}"


def check_mapped(heap):
    """Segments do not overlap, their sum is what is said to be mapped, and the kernel has mapped all of it."""
    address = lambda v: int(v, 16) if isinstance(v, str) else v
    segments = sorted((s["from"], s["to"]) for s in heap["segments"])
    maps = sorted((address(m["from"]), address(m["to"])) for m in heap["maps"] if m["perms"].startswith("rw"))
    end = 0
    for first, last in segments:
        assert end <= first < last, f"segment {first:#x} begins before the last one ends, at {end:#x}"
        end = last
        there = sum(max(0, min(last, b) - max(first, a)) for a, b in maps)
        assert there == last - first, f"of segment {first:#x} to {last:#x}, {last - first - there} bytes are not mapped"
    total = sum(b - a for a, b in segments)
    assert total == heap["figures"]["mapped"]["bytes"], f"segments are {total} bytes"


def check_findings(heap):
    certain = [f for f in heap["findings"] if not f["doubtful"]]
    assert not certain, f"false findings: {certain[:3]} of {len(certain)}"


def read_table(memory):
    words = memoryview(memory).cast("Q")
    for i in range(SLOTS):
        yield words[2 * i], words[2 * i + 1] & 0xffffffff, words[2 * i + 1] >> 32


def judge(heap, table, before, classic):
    """The number of statements compared; raises on a false one."""
    said = blocks_in_use(heap)
    live, changing, in_calls = {}, set(), 0
    for address, size, state in table:
        if state == LIVE:
            live[address] = size
        elif state == CHANGING:
            in_calls += 1
            changing.add(address)
    for address, size in live.items():
        assert address in said, f"{address:#x} of {size} bytes is live, and said not to be"
        assert said[address] >= size, f"{address:#x} holds {size} bytes, and is said to have {said[address]}"
        if classic and size < 100000:
            exact = max(32, (size + 8 + 15) & ~15) - 8
            mapped = said[address] % 4096 == 4080  # a large block that realloc made small keeps its mapping, as ptmalloc's
            assert mapped or said[address] in (exact, exact + 16), f"{address:#x}: {size} bytes, {said[address]} said"  # M-05
    wrong = [a for a in said if a not in live and a not in changing and a not in before]
    return len(said) + len(live), max(0, len(wrong) - in_calls), wrong


def run(conf, threads, program, folder):
    path = os.path.join(folder, "table")
    with open(path, "wb") as f:
        f.write(bytes(SLOTS * 16))
    seed = random.randrange(1 << 32)
    env = {**os.environ, "QUARRY_CONF": conf}
    process = subprocess.Popen([QUARRY, "run", "--", program, path, str(threads), str(seed)], env=env,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    statements = busy = excess = worst = caught = 0
    try:
        process.stdout.readline()
        with open(path, "r+b") as f, mmap.mmap(f.fileno(), SLOTS * 16) as memory:
            with Stopped(process.pid):
                table = {a for a, _, s in read_table(memory) if s != NONE}
                before = {a for a in blocks_in_use(snapshot(process.pid)) if a not in table}
            process.stdin.write(b"g")
            process.stdin.flush()
            for i in range(STOPS):
                time.sleep(random.random() * 0.004)
                if i % 3 == 2:
                    heap = snapshot(process.pid)
                    worst = max(worst, heap["stopped_us"])
                    caught += heap["busy"]
                else:
                    with Stopped(process.pid):
                        heap = snapshot(process.pid)
                        table = list(read_table(memory))
                    if not heap["busy"]:  # else the break may have moved, and its end not been noted yet
                        check_mapped(heap)
                    count, more, wrong = judge(heap, table, before, conf == "classic:true")
                    statements += count
                    if more:
                        # A thread inside a call may have several free blocks in hand that no list names; then `busy` is said.
                        assert heap["busy"], f"said to be in use, and are not: {[hex(a) for a in wrong[:5]]}"
                        excess += more
                busy += heap["busy"]
                check_sums(heap)
                check_findings(heap)
                assert process.poll() is None, "the program died"
    except AssertionError:
        print(f"see_truth: conf '{conf}', {threads} threads, seed {seed}", file=sys.stderr)
        raise
    finally:
        process.kill()
        process.wait()
    print(f"{conf or 'default':14} {threads} threads: {statements} statements true in {STOPS} stops, {busy} of them inside Quarry; "
          f"{excess} blocks in hand; longest stop of {STOPS // 3} by quarry {worst / 1000:.1f} ms, {caught} inside")
    return excess


def main():
    with tempfile.TemporaryDirectory() as folder:
        program = os.path.join(folder, "truth")
        subprocess.run([CC, "-O2", "-pthread", "-fno-builtin", "-o", program, f"{SOURCE}/tests/see/truth.c"], check=True)
        for conf in ("", "classic:true", "run_max:0"):
            for threads in (1, 4):
                run(conf, threads, program, folder)


if __name__ == "__main__":
    main()
