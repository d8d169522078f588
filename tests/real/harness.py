"""What the real-programs test needs to run a program with and without Quarry and to compare.

A program module (programs/*.py) has `run(r)` and, if it needs inputs, `prepare(r)`; `r` is a Run. prepare() is called once a
program, without Quarry; run() once for the reference and once for each profile. run() states *facts*, `r.fact(name,
value)`: what must be the same with Quarry and without. Everything else (time, memory, notes) is only reported.
"""

import glob
import hashlib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

PROFILES = {"default": "", "classic": "classic:true"}

# Settings of the caller that would change what is measured.
DROPPED = re.compile(r"^(LD_|MALLOC_|QUARRY_|GLIBC_TUNABLES|PYTHON|PERL|NODE_|JAVA_|JDK_|_JAVA|GIT_|PG|LC_|LANG|DISPLAY)")

# What Quarry says starts with its name; the loader names the object it could not preload.
COMPLAINT = re.compile(r"(?im)^.*(?:\bquarry: |\bfrom LD_PRELOAD cannot be preloaded).*$")


class Failed(Exception):
    """The program did not do what it should."""


class Skipped(Exception):
    """Nothing can be said here; the reason is the message."""


def digest(data):
    """A short name for contents: two equal digests mean equal contents."""
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogateescape")
    return f"{len(data)} bytes {hashlib.sha256(data).hexdigest()[:16]}"


def file_digest(path):
    with open(path, "rb") as f:
        return digest(f.read())


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, predicate, timeout=60, proc=None):
    """Wait until predicate() is true; it may raise OSError or Failed until then."""
    end = time.monotonic() + timeout
    last = None
    while time.monotonic() < end:
        try:
            if predicate():
                return
        except (OSError, Failed) as e:
            last = e
        if proc is not None and not proc.alive():
            raise Failed(f"{what}: {proc.wait().describe()} before it was ready\n{proc.tail()}")
        time.sleep(0.05)
    raise Failed(f"{what}: not ready after {timeout} s ({last})")


# --- looking at processes


def _parents():
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as f:
                    stat = f.read()
                parents[int(entry)] = int(stat[stat.rindex(b")") + 2:].split()[1])
            except (OSError, ValueError):
                pass
    return parents


def descendants(pid):
    """The processes below pid, parents first."""
    children = {}
    for child, parent in _parents().items():
        children.setdefault(parent, []).append(child)
    found, queue = [], [pid]
    while queue:
        for child in children.get(queue.pop(0), []):
            found.append(child)
            queue.append(child)
    return found


def names_of(pid):
    """What the process is called: its file and what it calls itself (a program's file may be a link to another's)."""
    names = set()
    try:
        names.add(os.path.basename(os.readlink(f"/proc/{pid}/exe")))
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as f:
            names.add(f.read().strip())
    except OSError:
        pass
    return names


def maps_contain(pid, name):
    try:
        with open(f"/proc/{pid}/maps", "rb") as f:
            return name.encode() in f.read()
    except OSError:
        return False


def status_kb(pid, field, file="status"):
    try:
        with open(f"/proc/{pid}/{file}", encoding="utf-8", errors="replace") as f:
            for line in f:
                if line.startswith(field + ":"):
                    return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return 0


def private_kb(pid):
    """What a process adds to the memory used: pages that it shares since a fork count in part."""
    return status_kb(pid, "Pss_Anon", "smaps_rollup") or status_kb(pid, "RssAnon")


def glibc():
    """The path of the C library; preloaded, its malloc comes before one that a program is linked with."""
    with open("/proc/self/maps", encoding="utf-8") as f:
        return next(line.split()[-1] for line in f if re.search(r"/libc[.-][^/]*$", line))


class Watch(threading.Thread):
    """Watches the processes below one pid: was the library really in them, and what did they occupy together?

    Without Quarry it looks for libc in its place: watching costs the machine something, and must cost every run the same.
    """

    def __init__(self, run, pid, memory):
        super().__init__(daemon=True)
        self.run_, self.pid, self.memory = run, pid, memory
        self.peak_together = 0
        self.stopped = threading.Event()

    def run(self):
        start = time.monotonic()
        while not self.stopped.wait(0.01 if time.monotonic() - start < 2 else 0.05):
            looking = not self.run_.expect <= self.run_.seen
            if not looking and not self.memory:
                return
            together = 0
            for pid in descendants(self.pid):
                if self.memory:
                    together += private_kb(pid)
                if not looking:
                    continue
                names = names_of(pid)
                if not names <= self.run_.seen and maps_contain(pid, self.run_.lib_name):
                    self.run_.seen |= names
            self.peak_together = max(self.peak_together, together)


# --- running


class Done:
    """How one command ended."""

    def __init__(self, proc, code, signal_number, wall, cpu, peak_kb, timed_out):
        self.name, self.out_path, self.err_path = proc.name, proc.out_path, proc.err_path
        self.code, self.signal, self.wall, self.cpu, self.peak_kb = code, signal_number, wall, cpu, peak_kb
        self.timed_out = timed_out

    def text(self, path):
        with open(path, encoding="utf-8", errors="surrogateescape") as f:
            return f.read()

    @property
    def out(self):
        return self.text(self.out_path)

    @property
    def err(self):
        return self.text(self.err_path)

    def describe(self):
        if self.timed_out:
            return f"{self.name}: did not end in time, backtraces in {self.err_path}"
        if self.signal:
            return f"{self.name}: killed by {signal.Signals(self.signal).name}"
        return f"{self.name}: exit status {self.code}"


class Proc:
    """A command that is running, below a meter."""

    def __init__(self, run, name, argv, popen, paths, memory, watched):
        self.run, self.name, self.argv, self.popen, self.memory = run, name, argv, popen, memory
        self.out_path, self.err_path, self.report_path = paths
        self.done = None
        self.watch = None
        if memory or watched:
            self.watch = Watch(run, popen.pid, memory)
            self.watch.start()

    @property
    def pid(self):
        """The program itself, the meter's first child; 0 once it is gone."""
        below = descendants(self.popen.pid)
        return below[0] if below else 0

    def alive(self):
        return self.popen.poll() is None

    def send(self, number):
        pid = self.pid
        if pid:
            os.kill(pid, number)

    def tail(self, lines=25):
        text = ""
        for path in (self.out_path, self.err_path):
            with open(path, encoding="utf-8", errors="replace") as f:
                text += "".join(line[:300].rstrip("\n") + "\n" for line in f.readlines()[-lines:])
        return text

    def _kill_all(self):
        for _ in range(50):
            below = descendants(self.popen.pid)
            for pid in below:
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass
            try:
                self.popen.wait(0.2)
                return
            except subprocess.TimeoutExpired:
                pass
        self.popen.kill()
        self.popen.wait()

    def wait(self, timeout=600):
        if self.done:
            return self.done
        timed_out = False
        try:
            self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            timed_out = True
            self._backtraces()
            self._kill_all()
        if self.watch:
            self.watch.stopped.set()
            self.watch.join()
        try:
            with open(self.report_path, encoding="ascii") as f:
                code, sig, wall, user, system, peak = (int(x) for x in f.read().split()[1:])
        except (OSError, ValueError) as e:
            raise Failed(f"{self.name}: the meter left no report\n{self.tail()}") from e
        self.done = Done(self, code, sig, wall / 1e6, (user + system) / 1e6, peak, timed_out)
        self.run.account(self, self.done)
        return self.done

    def stop(self, number=signal.SIGTERM, timeout=60, ok=(0,)):
        """End a server with its own signal; it must end well."""
        if not self.alive():
            raise Failed(f"{self.wait().describe()}, before it was told to\n{self.tail()}")
        self.send(number)
        done = self.wait(timeout)
        if done.timed_out or done.signal or done.code not in ok:
            raise Failed(f"{done.describe()} when told to stop\n{self.tail()}")
        return done

    def _backtraces(self):
        if not shutil.which("gdb"):
            return
        with open(self.err_path, "ab") as f:
            for pid in descendants(self.popen.pid)[:6]:
                f.write(f"\n--- {pid} {names_of(pid)} still running\n".encode())
                f.flush()
                subprocess.run(["gdb", "-q", "-batch", "-p", str(pid), "-ex", "thread apply all bt 30"], stdout=f,
                               stderr=f, stdin=subprocess.DEVNULL, timeout=60, check=False)


class Run:
    """One execution of one program: without Quarry (lib None) or with it under a profile."""

    def __init__(self, program, profile, lib, conf, long, directory, shared, meter, expect):
        self.program, self.profile, self.lib, self.conf, self.long = program, profile, lib, conf, long
        self.dir, self.shared, self.meter = directory, shared, meter
        self.preloaded = lib  # what LD_PRELOAD names; a program that brings a malloc of its own may set it without Quarry
        self.expect = set(expect)
        self.seen = set()
        self.lib_name = os.path.basename(os.path.realpath(lib)) if lib else "libc.so"
        self.facts, self.notes, self.flaky, self.complaints = {}, [], [], []
        self.wall = self.cpu = 0.0
        self.peak_kb = 0
        self.peak_fixed = False
        self.procs = []
        self.reference = None
        self.count = 0
        os.makedirs(directory, exist_ok=True)
        os.makedirs(shared, exist_ok=True)
        self.logs = os.path.join(directory, "logs")
        os.makedirs(self.logs, exist_ok=True)

    # paths

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def input(self, *names):
        """A file of prepare(); the same for every run."""
        return os.path.join(self.shared, *names)

    def size(self, quick, long):
        return long if self.long else quick

    # what the program says

    def fact(self, name, value):
        self.facts[name] = value

    def note(self, text):
        self.notes.append(text)

    def peak(self, kb):
        """Report this as the memory used, in place of the largest of the commands."""
        self.peak_kb = max(self.peak_kb if self.peak_fixed else 0, kb)
        self.peak_fixed = True

    # commands

    def environment(self, preload, extra):
        env = {k: v for k, v in os.environ.items() if not DROPPED.match(k)}
        env.update(LC_ALL="C.UTF-8", TZ="UTC", HOME=self.path("home"), TMPDIR=self.path("tmp"))
        env.update(extra or {})
        own = []
        if self.preloaded and preload:
            own += ["--env", "LD_PRELOAD=" + self.preloaded]
            if self.conf:
                own += ["--env", "QUARRY_CONF=" + self.conf]
        return env, own

    def start(self, argv, *, name=None, cwd=None, stdin=None, env=None, user=None, preload=True, measured=True,
              memory=False):
        """Start a command. `measured`: its time and memory count; `memory`: sample what all its processes occupy."""
        for d in ("home", "tmp"):
            os.makedirs(self.path(d), exist_ok=True)
            if os.geteuid() == 0:
                os.chmod(self.path(d), 0o1777)
        self.count += 1
        name = name or os.path.basename(argv[0])
        stem = os.path.join(self.logs, f"{self.count:02d}-{re.sub(r'[^A-Za-z0-9._-]+', '-', name)[:40]}")
        paths = (stem + ".out", stem + ".err", stem + ".meter")
        env, own = self.environment(preload, env)
        ids = []
        if user and os.geteuid() == 0:
            entry = pwd.getpwnam(user)
            ids = ["-u", str(entry.pw_uid), "-g", str(entry.pw_gid)]
        command = [self.meter, "-o", paths[2], "-c", *ids, *own, "--", *argv]
        with open(stem + ".cmd", "w", encoding="utf-8", errors="surrogateescape") as f:
            f.write(" ".join(command) + "\n")
        with open(paths[0], "wb") as out, open(paths[1], "wb") as err:
            source = open(stdin, "rb") if stdin else subprocess.DEVNULL
            try:
                popen = subprocess.Popen(command, cwd=cwd or self.dir, env=env, stdin=source, stdout=out, stderr=err,
                                         start_new_session=True)
            finally:
                if stdin:
                    source.close()
        proc = Proc(self, name, argv, popen, paths, memory, watched=preload)
        proc.measured = measured
        self.procs.append(proc)
        return proc

    def run(self, argv, *, timeout=600, ok=(0,), **how):
        """Run a command to its end; any other exit status than those in `ok` (None: any) is a failure."""
        proc = self.start(argv, **how)
        done = proc.wait(timeout)
        if done.timed_out or done.signal or (ok is not None and done.code not in ok):
            raise Failed(f"{done.describe()}\n{proc.tail()}")
        return done

    def account(self, proc, done):
        if proc.measured:
            self.wall += done.wall
            self.cpu += done.cpu
            if not self.peak_fixed:
                self.peak_kb = max(self.peak_kb, done.peak_kb)
        for match in COMPLAINT.finditer(done.err):
            self.complaints.append(f"{done.name}: {match.group(0).strip()}")

    def end(self):
        """End everything that is still running."""
        for proc in self.procs:
            if proc.popen.poll() is None:
                proc._kill_all()
            if proc.watch:
                proc.watch.stopped.set()

    def cores(self):
        """Backtraces of the core files that were left, the first ones."""
        text = ""
        if not shutil.which("gdb"):
            return text
        found = [p for p in glob.glob(self.dir + "/**/core*", recursive=True)
                 if re.fullmatch(r"core(\.\d+)?", os.path.basename(p)) and os.path.isfile(p)]
        for core in found[:3]:
            facts = subprocess.run(["gdb", "-q", "-batch", "-c", core], capture_output=True, text=True, errors="replace",
                                   check=False, stdin=subprocess.DEVNULL, timeout=120)
            argv0 = re.search(r"Core was generated by `(\S+?)[ ']", facts.stdout)
            exe = shutil.which(argv0.group(1)) if argv0 else None
            shown = subprocess.run(["gdb", "-q", "-batch", *([exe] if exe else []), "-c", core, "-ex", "bt 40",
                                    "-ex", "thread apply all bt 12"], capture_output=True, text=True, errors="replace",
                                   check=False, stdin=subprocess.DEVNULL, timeout=300)
            log = os.path.join(self.logs, f"backtrace-{os.path.basename(core)}-{len(text)}.txt")
            with open(log, "w", encoding="utf-8") as f:
                f.write(shown.stdout + shown.stderr)
            kept = [l for l in shown.stdout.splitlines() if re.match(r"#\d+ |Core was|Program term", l)]
            text += f"\n{core} ({log}):\n  " + "\n  ".join(kept[:20])
        return text


def compare(reference, other):
    """The differences between two dicts of facts, as lines."""
    lines = []
    for key in sorted(set(reference) | set(other)):
        a, b = reference.get(key, "(missing)"), other.get(key, "(missing)")
        if a != b:
            if isinstance(a, dict) and isinstance(b, dict):
                lines += [f"{key}: {line}" for line in compare(a, b)]
            else:
                lines.append(f"{key}: without {str(a)[:200]!s}, with {str(b)[:200]!s}")
    return lines


# --- packages


def present(probe):
    """Is there such a command, or (with a slash) such a file?"""
    return bool(glob.glob(probe)) if "/" in probe else shutil.which(probe) is not None


def install(needs, say):
    """Install through apt what is missing of [(probe, package)]; raises Skipped when that cannot be done."""
    missing = sorted({package for probe, package in needs if not present(probe)})
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Skipped("not installed: " + ", ".join(missing) + " (and no apt-get as root)")
    say("installing " + ", ".join(missing))
    # A package may start its daemon or not, says this file; we want the program only.
    policy = "/usr/sbin/policy-rc.d"
    ours = not os.path.lexists(policy)
    if ours and os.path.isdir(os.path.dirname(policy)):
        with open(policy, "w", encoding="ascii") as f:
            f.write("#!/bin/sh\nexit 101\n")
        os.chmod(policy, 0o755)
    try:
        env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
        apt = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300", "--no-install-recommends"]
        done = None
        for attempt in range(2):
            if attempt:
                subprocess.run([*apt, "update"], env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=600,
                               check=False)
            done = subprocess.run([*apt, "install", *missing], env=env, stdin=subprocess.DEVNULL, capture_output=True,
                                  text=True, errors="replace", timeout=1500, check=False)
            if done.returncode == 0:
                break
        if done.returncode != 0:
            raise Skipped(f"apt-get could not install {', '.join(missing)}: "
                          + (done.stderr.strip().splitlines() or ["no reason given"])[-1])
    except subprocess.TimeoutExpired as e:
        raise Skipped(f"apt-get took too long to install {', '.join(missing)}") from e
    finally:
        if ours:
            try:
                os.unlink(policy)
            except OSError:
                pass
    still = [package for probe, package in needs if not present(probe)]
    if still:
        raise Skipped(f"{', '.join(still)} installed, but the program is not there")
