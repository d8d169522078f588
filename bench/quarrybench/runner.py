"""Launches one program under one allocator and collects what it used."""

import os
import pathlib
import signal
import subprocess
import tempfile
import time

from . import build

TIMEOUT_SECONDS = 120
# Settings of the allocators themselves and of the linker: none leaks from the shell into a measurement.
_STRAY = ("LD_", "MALLOC_", "GLIBC_TUNABLES", "MIMALLOC_", "TCMALLOC_", "TBB_", "QUARRY_", "PYTHON")


class Failed(Exception):
    """The program under measurement did not end well."""


def clean_environment():
    return {k: v for k, v in os.environ.items() if not k.startswith(_STRAY)} | {"LC_ALL": "C", "TZ": "UTC"}


def fields(text):
    """NAME=VALUE lines with numbers; other lines are the program's own."""
    found = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and name.replace("_", "").isalnum():
            try:
                found[name] = float(value)
            except ValueError:
                continue
    return found


def launch_command(command, allocator, result_path, times=1, user=None, settings=()):
    words = [str(build.LAUNCH), "-o", str(result_path), "-t", str(TIMEOUT_SECONDS), "-n", str(times)]
    if user:
        words += ["-u", f"{user[0]}:{user[1]}"]
    for setting in [*settings, *allocator.environment()]:
        words += ["-e", setting]
    return [*words, "--", *map(str, command)]


def resident_kib(pid):
    """The resident size of a running process, now."""
    lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("Rss:")))


def finish(used, own, allocator, command, stderr):
    """One sample from the launcher's and the program's own lines."""
    status = int(used.get("status", 125))
    if status:
        last = (stderr.strip().splitlines() or ["no message"])[-1]
        raise Failed(f"{pathlib.Path(str(command[0])).name} under {allocator.name}: exit {status}: {last}")
    sample = own | used
    sample["cpu_s"] = used["user_s"] + used["system_s"]
    sample["wall_s"] = used["wall_s"] - own.get("idle_s", 0)
    if own.get("ops"):
        sample["ops_per_s"] = own["ops"] / own.get("work_s", sample["wall_s"])
    if "rss_exact_kib" in own:
        sample["peak_kib"] = own["rss_exact_kib"]
    return sample


def run(command, allocator, times=1, settings=(), working_directory=None):
    """Runs a program to its end: the sample, a dict of numbers."""
    with tempfile.TemporaryDirectory(prefix="quarry-bench-") as scratch:
        result = pathlib.Path(scratch) / "used"
        words = launch_command(command, allocator, result, times, settings=settings)
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", env=clean_environment(),
                              cwd=working_directory or scratch, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise Failed(f"launch: exit {done.returncode}: {done.stderr.strip()}")
        return finish(fields(result.read_text()), fields(done.stdout), allocator, command, done.stderr)


class Server:
    """A program measured while clients talk to it: start, wait until ready, stop, read what it used."""

    def __init__(self, command, allocator, directory, user=None, settings=()):
        self.command, self.allocator = command, allocator
        self.result = pathlib.Path(directory) / "used"
        self.result.unlink(missing_ok=True)
        self.log = open(pathlib.Path(directory) / "log", "w+")
        words = launch_command(command, allocator, self.result, user=user, settings=settings)
        if user:  # the launcher writes as who started it; only the program changes its user
            os.chown(directory, *user)
        self.launcher = subprocess.Popen(words, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL,
                                         env=clean_environment(), cwd=directory)

    def wait_ready(self, is_ready, seconds=20):
        end = time.monotonic() + seconds
        while not is_ready():
            if self.launcher.poll() is not None or time.monotonic() > end:
                self.abandon()
                raise Failed(f"{self.command[0]} under {self.allocator.name} does not come up: {self._last_line()}")
            time.sleep(0.02)

    def pid(self):
        """The measured process: the launcher's only child."""
        path = f"/proc/{self.launcher.pid}/task/{self.launcher.pid}/children"
        return int(pathlib.Path(path).read_text().split()[0])

    def stop(self, number=signal.SIGTERM):
        os.kill(self.pid(), number)
        self.launcher.wait(timeout=60)
        sample = finish(fields(self.result.read_text()), {}, self.allocator, self.command, self._last_line())
        self.log.close()
        return sample

    def abandon(self):
        if self.launcher.poll() is None:
            try:
                os.kill(self.pid(), signal.SIGKILL)
            except (OSError, IndexError, ValueError):
                self.launcher.kill()
            self.launcher.wait()

    def _last_line(self):
        if self.log.closed:
            return ""
        self.log.flush()
        self.log.seek(0)
        return (self.log.read().strip().splitlines() or [""])[-1]
