"""Real programs as workloads. Their inputs are generated, the same every time, into build/bench/input/."""

import pathlib
import pwd
import random
import shutil
import subprocess
import sys
import tempfile
import time

from . import allocators, paths, runner
from .catalogue import Workload
from .problem import Problem

SCRIPTS = paths.BENCH / "programs"


def _input(name, write):
    """A generated input file; made once, and again when this module or the generator is newer."""
    path = paths.INPUTS / name
    if not path.exists() or path.stat().st_mtime < pathlib.Path(__file__).stat().st_mtime:
        paths.INPUTS.mkdir(parents=True, exist_ok=True)
        path.write_text(write())
    return path


def _c_source(functions):
    """A large C file without includes: structures, switches, loops, calls among functions."""
    r = random.Random(1)
    out = []
    for i in range(functions):
        members = "".join(f"    {r.choice(['int', 'long', 'double'])} m{m};\n" for m in range(r.randint(3, 12)))
        cases = "".join(f"    case {c}: total += {r.randint(1, 99)} * a - s->m{c % 3}; break;\n"
                        for c in range(r.randint(4, 16)))
        call = f"f{r.randrange(i)}(b, a)" if i else "1"
        out.append(f"struct s{i} {{\n{members}}};\n"
                   f"long f{i}(int a, int b)\n{{\n    struct s{i} all[8], *s = &all[a & 7];\n    long total = 0;\n"
                   f"    __builtin_memset(all, b, sizeof all);\n"
                   f"    for (int i = 0; i < a; i++) {{\n        for (int k = i; k < b; k++)\n"
                   f"            total += i * k ^ (long)s->m1;\n    }}\n"
                   f"    switch (a % 17) {{\n{cases}    default: total += {call};\n    }}\n    return total;\n}}\n")
    return "".join(out)


class Program:
    """Runs to its end by itself. command: a function of the scale, as inputs scale by an argument."""

    def __init__(self, needs, package, command, settings=()):
        self.needs, self.package, self.command, self.settings = needs, package, command, settings

    def missing(self):
        return not shutil.which(self.needs)

    def run(self, allocator, scale):
        return runner.run(self.command(scale), allocator, settings=self.settings)


class Redis(Program):
    """redis-server alone is measured; redis-benchmark is the load. Debian links it with jemalloc: see _libc_first."""

    def __init__(self):
        super().__init__("redis-server", "redis-server", None)

    def run(self, allocator, scale):
        with _Scratch("redis") as directory:
            socket = directory / "socket"
            server = runner.Server(["redis-server", "--port", "0", "--unixsocket", socket, "--save", "",
                                    "--appendonly", "no", "--hz", "10"], _libc_first(allocator), directory)
            try:
                server.wait_ready(lambda: _quiet("redis-cli", "-s", socket, "ping"))
                requests, start = int(25000 * scale) + 100, time.monotonic()
                for size in (40, 700):
                    load = ["redis-benchmark", "-s", str(socket), "-q", "-n", str(requests), "-r", "50000", "-P", "32",
                            "-c", "20", "-d", str(size), "-t", "set,get,lpush,rpop,sadd,hset,zadd"]
                    subprocess.run(load, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                ops_per_s = 14 * requests / (time.monotonic() - start)
                _quiet("redis-cli", "-s", socket, "flushall")
                after = runner.resident_kib(server.pid())
                return server.stop() | {"ops_per_s": ops_per_s, "rss_after_kib": after}
            except subprocess.CalledProcessError as error:
                raise runner.Failed(f"redis-benchmark under {allocator.name}: exit {error.returncode}") from error
            finally:
                server.abandon()


class Postgres(Program):
    """A server with one process a client; figures are of all its processes, the peak of the largest."""

    def __init__(self):
        super().__init__("pgbench", "postgresql", None)
        self.home = None

    @staticmethod
    def _tool(name):
        found = sorted(pathlib.Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
        return str(found[-1]) if found else ""

    def missing(self):
        return super().missing() or not self._tool("initdb")

    def _cluster(self, user):
        """initdb once a process of the instrument; the load only reads and uses temporary tables."""
        if self.home:
            return
        self.home = _Scratch("postgres")
        data = self.home.path / "data"
        shutil.chown(self.home.path, *user)
        done = subprocess.run([self._tool("initdb"), "-D", str(data), "-A", "trust", "-N", "-U", "bench"], text=True,
                              capture_output=True, user=user[0], group=user[1], cwd=self.home.path, env={"LC_ALL": "C"})
        if done.returncode:
            raise runner.Failed(f"initdb: {done.stderr.strip().splitlines()[-1]}")

    def run(self, allocator, scale):
        entry = pwd.getpwnam("postgres")
        user = (entry.pw_uid, entry.pw_gid)
        self._cluster(user)
        directory = self.home.path
        server = runner.Server([self._tool("postgres"), "-D", directory / "data", "-k", directory, "-h", "",
                                "-c", "fsync=off", "-c", "autovacuum=off", "-c", "jit=off",
                                "-c", "shared_buffers=16MB", "-c", "max_parallel_workers_per_gather=0"],
                               allocator, directory, user=user)
        client = ["-h", str(directory), "-U", "bench", "postgres"]
        try:
            server.wait_ready(lambda: _quiet("psql", "-c", "select 1", *client))
            transactions, start = max(2, int(20 * scale)), time.monotonic()
            load = ["pgbench", "-n", "-c", "2", "-t", str(transactions), "-f", str(SCRIPTS / "mix.pgbench"), *client]
            done = subprocess.run(load, capture_output=True, text=True)
            if done.returncode:
                raise runner.Failed(f"pgbench under {allocator.name}: {done.stderr.strip().splitlines()[-1]}")
            ops_per_s = 2 * transactions / (time.monotonic() - start)
            return server.stop(2) | {"ops_per_s": ops_per_s}
        finally:
            server.abandon()


class _Scratch:
    """A folder under /tmp that other users may enter; removed at the end of the with block or of the process."""

    def __init__(self, name):
        self.holder = tempfile.TemporaryDirectory(prefix=f"quarry-bench-{name}-", ignore_cleanup_errors=True)
        self.path = pathlib.Path(self.holder.name)

    def __enter__(self):
        return self.path

    def __exit__(self, *error):
        self.holder.cleanup()


def _quiet(*command):
    return subprocess.run(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def _libc_first(allocator):
    """Without a preload, a program linked with jemalloc would be measured under that: libc goes first for glibc."""
    if allocator.library:
        return allocator
    libc = allocators.shared_library("libc.so.6")
    return allocators.Allocator(allocator.name, libc, allocator.settings)


def _python():
    """Debian's interpreter, else the one that runs this (not a wrapper script found on PATH)."""
    debian = pathlib.Path("/usr/bin/python3")
    return str(debian.resolve() if debian.exists() else pathlib.Path(sys.executable).resolve())


def _script(name):
    return str(SCRIPTS / name)


def _scaled(count, scale):
    return str(max(1, int(count * scale)))


def _compiler_proper(name):
    """cc1 itself: the driver's start-up is not what is measured."""
    found = subprocess.run([name, "-print-prog-name=cc1"], capture_output=True, text=True).stdout.strip()
    return found or name


def _large_file(functions):
    count = max(1, int(functions))
    return _input(f"large-{count}.c", lambda: _c_source(count))


def _gcc(scale):
    return [_compiler_proper("gcc"), "-quiet", "-O1", _large_file(80 * scale), "-o", "/dev/null"]


def _clang(scale):
    return ["clang", "-O1", "-w", "-c", _large_file(70 * scale), "-o", "/dev/null"]


def _sqlite(scale):
    rows = _scaled(100000, scale)
    text = (SCRIPTS / "mix.sql").read_text().replace(":rows", rows)
    return ["sqlite3", ":memory:", f".read {_input(f'mix-{rows}.sql', lambda: text)}"]


def all_programs():
    """(workload, program) of every real program, present or not."""
    script = _script("mix.py")
    rows = [
        ("redis", "redis-server under redis-benchmark", Redis(), False),
        ("sqlite", "sqlite3: inserts, joins, groups in memory",
         Program("sqlite3", "sqlite3", _sqlite), True),
        ("python", "python3: objects, text, JSON",
         Program(_python(), "python3", lambda s: [_python(), "-S", "-E", script, _scaled(8, s)]), True),
        ("python-malloc", "the same without Python's own small-object allocator",
         Program(_python(), "python3", lambda s: [_python(), "-S", script, _scaled(8, s)],  # -E would ignore the setting
                 ("PYTHONMALLOC=malloc",)), True),
        ("lua", "lua5.4: tables, strings, closures",
         Program("lua5.4", "lua5.4", lambda s: ["lua5.4", _script("mix.lua"), _scaled(12, s)]), True),
        ("perl", "perl: hashes, lists, regular expressions",
         Program("perl", "perl", lambda s: ["perl", _script("mix.pl"), _scaled(12, s)]), True),
        ("gcc", "gcc's cc1 on a large generated file", Program("gcc", "gcc", _gcc), False),
        ("clang", "clang on another", Program("clang", "clang", _clang), False),
        ("postgres", "postgres under pgbench", Postgres(), False),
        ("stl", "C++ containers", Program("c++", "g++", lambda s: [paths.BUILD / "stl", f"scale={s:g}"]), True),
    ]
    return [Workload(name, "programs", about, program=program, in_quick=quick, scales=False)
            for name, about, program, quick in rows]


def available(workloads, say):
    """Those whose program is here or could be installed."""
    kept = []
    for w in workloads:
        if w.program and w.program.missing():
            allocators.install([w.program.package], say)
            if w.program.missing():
                say(f"{w.name} is left out: {w.program.needs} is not installed")
                continue
        kept.append(w)
    if workloads and not kept:
        raise Problem("none of the programs asked for is installed")
    return kept
