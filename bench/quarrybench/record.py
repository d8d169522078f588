"""bench record -o FILE -- PROGRAM...: a program's allocation calls, to be replayed by bench --trace FILE."""

import os
import pathlib
import subprocess
import tempfile

from . import build, runner
from .problem import Problem, Usage

USAGE = "record wants: record -o FILE -- PROGRAM [ARGUMENT...]"


def parse(arguments):
    """(file, command)"""
    options, dashes, command = [], False, []
    for word in arguments:
        if word == "--" and not dashes:
            dashes = True
        else:
            (command if dashes else options).append(word)
    if len(options) != 2 or options[0] not in ("-o", "--output") or not command:
        raise Usage(USAGE)
    return pathlib.Path(options[1]).resolve(), command


def record(path, command, say=lambda text: None, **how):
    """(the program's exit status, what the trace holds)."""
    if not path.parent.is_dir():
        raise Usage(f"record: no folder '{path.parent}'")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".recording-") as scratch:
        raw = pathlib.Path(scratch) / "raw"
        try:
            done = subprocess.run(command, **how, env=os.environ | {
                "LD_PRELOAD": str(build.RECORDER), "QUARRY_BENCH_RECORD": str(raw)})
        except OSError as error:
            raise Problem(f"record: {command[0]}: {error.strerror}") from error
        if not raw.exists():
            raise Problem(f"record: {command[0]} did not load the recorder (a static or set-uid program?)")
        packed = subprocess.run([build.PACK, raw, path], capture_output=True, text=True)
        if packed.stderr:
            say(packed.stderr.strip())
        if packed.returncode:
            raise Problem("record: the recording could not be packed")
    return done.returncode, runner.fields(packed.stdout)


def main(arguments, say):
    path, command = parse(arguments)
    build.build(say)
    status, held = record(path, command, say)
    say(f"{path.name}: {held['records']:.0f} calls, {held['threads']:.0f} threads, at most {held['slots']:.0f} blocks "
        f"and {held['peak_bytes'] / 2**20:.1f} MiB alive, {held['bytes'] / 2**20:.1f} MiB of trace")
    if status:
        say(f"the program ended with status {status}")
    return 1 if status else 0
