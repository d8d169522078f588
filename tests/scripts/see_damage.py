#!/usr/bin/env python3
"""A heap whose every kind of metadata was overwritten: quarry ends, with a right exit status and well-formed output, finds what
can be found, and the process it looked at is as it was.

    see_damage.py [ROUNDS]    random damage, beside the cases with names
"""
# timeout: 300
# builds: release asan
import ctypes, json, os, random, struct, subprocess, sys, tempfile

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 25
QUARRY, CC, SOURCE = os.environ["QUARRY_BIN"], os.environ.get("QUARRY_CC", "gcc"), os.environ["QUARRY_SOURCE"]


def quarry(*words, expect=(0,)):
    result = subprocess.run([QUARRY, *map(str, words)], capture_output=True, timeout=60)
    assert result.returncode in expect, f"quarry {words}: {result.returncode}: {result.stderr.decode()[-2000:]}"
    return result


def heap_of(pid):
    result = quarry("snapshot", "--json", pid, expect=(0, 1))
    if result.returncode == 1:
        assert result.stderr.count(b"\n") == 1, result.stderr
        return None
    return json.loads(result.stdout)


class Program:
    def __init__(self, path, conf):
        self.process = subprocess.Popen([QUARRY, "run", "--", path], env={**os.environ, "QUARRY_CONF": conf},
                                        stdout=subprocess.PIPE)
        self.pid = self.process.pid
        self.small, self.large, self.medium, self.after = (int(w, 16) for w in self.process.stdout.readline().split())
        self.memory = open(f"/proc/{self.pid}/mem", "r+b", buffering=0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.memory.close()
        self.process.kill()
        self.process.wait()

    def read(self, address, count):
        self.memory.seek(address)
        return self.memory.read(count)

    def write(self, address, data):
        self.memory.seek(address)
        self.memory.write(data)

    def damage(self, address, data):
        """Writes, looks, and puts back what was there."""
        was = self.read(address, len(data))
        self.write(address, data)
        heap = heap_of(self.pid)
        quarry("stat", self.pid, expect=(0, 1))
        quarry("explain", hex(self.medium), self.pid, expect=(0, 1))
        self.write(address, was)
        assert self.process.poll() is None, "the program died of being looked at"
        return heap


def must_find(heap, check, what):
    assert heap, f"{what}: no answer at all"
    assert any(check == f["check"] for f in heap["findings"]), f"{what}: {heap['findings'][:5]}"


def free_chunk(heap):
    at = 0
    for delta, size, state in zip(heap["chunks"]["at"], heap["chunks"]["size"], heap["chunks"]["state"]):
        at += delta
        if heap["states"][state] in ("binned", "unsorted") and size >= 64:
            return at, size
    return None


def cut_off(program, whole, word):
    """Chunks that no list leads to any more are said to be in none, and what stands in the link is shown to the last bit."""
    bins = [b for b in whole["bins"] if b["kind"] in ("unsorted", "small", "large") and len(b["chunks"]) > 2]
    heap = program.damage(bins[0]["chunks"][0] + 16, word)
    must_find(heap, "corrupted list", "fd of the first chunk of a bin")
    assert hex(0x4141414141414141) in heap["chunks"]["fd"], "what was written over fd is not shown"
    lost = heap["chunks"]["state"].count(heap["states"].index("moving"))
    assert lost >= len(bins[0]["chunks"]) - 2, f"{lost} of {len(bins[0]['chunks'])} chunks are in no list"


DESCRIPTOR_BYTES = 640


def descriptors_and_zone(heap):
    """The first descriptor lies last."""
    return (next((s for s in heap["segments"] if s["kind"] == kind), None) for kind in ("run descriptors", "runs"))


def cases(program, conf):
    """Damage with a name: each is found, and named as docs/messages.md names it."""
    whole = heap_of(program.pid)
    assert whole and not whole["findings"], whole["findings"][:3]
    word = struct.pack("<Q", 0x4141414141414141)
    must_find(program.damage(program.medium - 8, word), "corrupted header", "size of a block in use")
    must_find(program.damage(program.small - 8, word), "corrupted header", "header of a small block")
    must_find(program.damage(program.large - 8, word), "corrupted header", "size of a mapped block")
    at, size = free_chunk(whole)
    must_find(program.damage(at + 8, word), "corrupted header", "size of a free chunk")
    must_find(program.damage(at + 16, word), "corrupted list", "fd of a free chunk")
    cut_off(program, whole, word)
    must_find(program.damage(at + 24, word), "corrupted list", "bk of a free chunk")
    must_find(program.damage(at + size, word), "corrupted header", "foot of a free chunk")
    top = whole["arenas"][0]["top"]
    must_find(program.damage(top + 8, word), "corrupted top", "size of top")
    for segment in whole["segments"]:
        if segment["kind"] == "subheap":
            must_find(program.damage(segment["from"], word), "corrupted header", "header of a sub-heap")
    if conf == "":
        owned = next(r for r in whole["runs"] if r["state"] == "owned")
        descriptors, zone = descriptors_and_zone(whole)
        run = descriptors["to"] - ((owned["at"] - zone["from"]) // 65536 + 1) * DESCRIPTOR_BYTES
        must_find(program.damage(run + 16, word), "corrupted run", "owner of a run")
    heap = program.damage(whole["caches"][0]["address"], b"\0" * 4096)
    assert heap, "a cache of zeros"


def anything(program, heap, count):
    """Random words over all of Quarry's own memory. Whatever is said then, it is said in order."""
    places = [s for s in heap["segments"] if s["kind"] != "mapped"]
    descriptors, zone = descriptors_and_zone(heap)
    if descriptors:
        descriptors["from"] = descriptors["to"] - (zone["used_to"] - zone["from"]) // 65536 * DESCRIPTOR_BYTES
    for _ in range(count):
        segment = random.choice(places)
        words = random.choice((1, 1, 2, 64, 512))
        address = random.randrange(segment["from"], max(segment["from"] + 8, segment["used_to"] - words * 8), 8)
        if random.random() < 0.3:
            data = b"\xff" * 8 * words
        elif random.random() < 0.5:
            data = b"".join(struct.pack("<Q", random.choice(places)["from"] + random.randrange(0, 4096, 16))
                            for _ in range(words))
        else:
            data = random.randbytes(8 * words)
        try:
            program.damage(address, data)
        except OSError:
            continue  # the page cannot be written


def core_files(program, folder, conf):
    path = os.path.join(folder, "core")
    process_figures = heap_of(program.pid)["figures"]
    gcore = subprocess.run(["gcore", "-o", path, str(program.pid)], capture_output=True)
    if gcore.returncode != 0:
        print("see_damage: no gcore here, core files are left out")
        return
    path += f".{program.pid}"
    core = json.loads(quarry("snapshot", "--json", path).stdout)
    assert core["source"] == "core" and not core["findings"], core["findings"][:3]
    for name, figure in process_figures.items():
        assert core["figures"][name]["bytes"] == figure["bytes"], (name, figure, core["figures"][name])
    quarry("explain", hex(program.medium), path)
    size = os.path.getsize(path)
    for part in (100, 4096, size // 4, size // 2, size - 5000):
        with open(path, "rb") as whole, open(path + ".cut", "wb") as cut:
            cut.write(whole.read(part))
        result = quarry("stat", path + ".cut", expect=(0, 1))
        assert result.returncode == 0 or result.stderr.count(b"\n") <= 1, result.stderr
    os.unlink(path)


def zstd():
    library = ctypes.CDLL("libzstd.so.1")
    for name in ("ZSTD_compress", "ZSTD_decompress", "ZSTD_compressBound"):
        getattr(library, name).restype = ctypes.c_size_t
    return library


def change_some(data):
    """Numbers that are other numbers, lengths that are too long, bytes that are gone."""
    for _ in range(random.randrange(1, 6)):
        at = random.randrange(len(data))
        if random.random() < 0.7:
            data[at] = random.choice((0, 1, 0x7f, 0x80, 0xff, random.randrange(256)))
        elif random.random() < 0.5:
            del data[at:at + random.randrange(40)]
        else:
            data[at:at] = random.choice((b"\xff" * 9 + b"\x01", b"\x80", random.randbytes(8)))


def damaged_parts(whole, path):
    """What a checksum cannot see: the compressed part is right, and what it holds is not."""
    library, room = zstd(), 64 << 20
    plain = ctypes.create_string_buffer(room)
    count = library.ZSTD_decompress(plain, ctypes.c_size_t(room), whole[12:], ctypes.c_size_t(len(whole) - 12))
    for _ in range(ROUNDS):
        data = bytearray(plain.raw[:count])
        change_some(data)
        bound = library.ZSTD_compressBound(ctypes.c_size_t(len(data)))
        packed = ctypes.create_string_buffer(bound)
        length = library.ZSTD_compress(packed, ctypes.c_size_t(bound), bytes(data), ctypes.c_size_t(len(data)), 1)
        open(path, "wb").write(whole[:12] + packed.raw[:length])
        for words in (["stat"], ["snapshot", "--json", "-o", "/dev/null"], ["explain", "0x1000"]):
            result = quarry(*words, path, expect=(0, 1))
            assert result.returncode == 0 or words == ["stat"] or result.stderr.count(b"\n") == 1, result.stderr


def snapshot_files(program, folder):
    path = os.path.join(folder, "heap.qs")
    quarry("snapshot", program.pid, "-o", path)
    whole = open(path, "rb").read()
    first = quarry("snapshot", "--json", path).stdout
    quarry("snapshot", path, "-o", path + "2")
    assert open(path + "2", "rb").read() == whole, "a snapshot of a snapshot is another one"
    assert json.loads(first)["process"]["pid"] == program.pid
    for _ in range(ROUNDS):
        damaged = bytearray(whole[: random.randrange(len(whole))] if random.random() < 0.3 else whole)
        for _ in range(random.randrange(4)):
            if damaged:
                damaged[random.randrange(len(damaged))] = random.randrange(256)
        open(path + ".bad", "wb").write(damaged)
        result = quarry("stat", path + ".bad", expect=(0, 1))
        assert result.returncode == 0 or result.stderr.count(b"\n") == 1, result.stderr
    damaged_parts(whole, path + ".bad")


def main():
    seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
    random.seed(seed)
    print(f"see_damage: seed {seed}")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "damage")
        subprocess.run([CC, "-O1", "-pthread", "-fno-builtin", "-o", path, f"{SOURCE}/tests/see/damage.c"], check=True)
        for conf in ("", "classic:true"):
            with Program(path, conf) as program:
                if conf == "":
                    snapshot_files(program, folder)
                core_files(program, folder, conf)
                cases(program, conf)
                anything(program, heap_of(program.pid), ROUNDS)
            print(f"{conf or 'default'}: fine")


if __name__ == "__main__":
    main()
