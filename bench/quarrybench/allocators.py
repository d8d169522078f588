"""What can be measured, and the environment that puts a program under it."""

import dataclasses
import glob
import pathlib
import subprocess

from . import build, paths
from .problem import Problem, Usage


@dataclasses.dataclass(frozen=True)
class Allocator:
    name: str
    library: str = ""  # a path; empty means what the program would use by itself
    settings: tuple = ()  # further NAME=VALUE words of the environment
    package: str = ""
    is_peer: bool = False  # one of Debian's, which Quarry is held against

    def environment(self):
        """NAME=VALUE words. glibc is preloaded too where a program links another allocator (redis does)."""
        return ([f"LD_PRELOAD={self.library}"] if self.library else []) + list(self.settings)


# name -> (package, file name of the library)
DEBIAN = {
    "jemalloc": ("libjemalloc2", "libjemalloc.so.2"),
    "mimalloc": ("libmimalloc2.0", "libmimalloc.so.2"),
    "tcmalloc": ("libtcmalloc-minimal4", "libtcmalloc_minimal.so.4"),
    "tbbmalloc": ("libtbbmalloc2", "libtbbmalloc_proxy.so.2"),
}
QUARRY_SETTINGS = {"quarry": (), "quarry-classic": ("QUARRY_CONF=classic:true",)}
NAMES = ["glibc", *DEBIAN, *QUARRY_SETTINGS]


def shared_library(file_name):
    """The path of an installed library, or an empty string."""
    for pattern in ("/usr/lib/*/", "/usr/lib/", "/lib/*/", "/usr/local/lib/"):
        found = sorted(glob.glob(pattern + file_name))
        if found:
            return found[0]
    return ""


def install(packages, say):
    """Installs Debian packages; False when that is not possible here."""
    say(f"installing {' '.join(packages)}")
    command = ["apt-get", "install", "-o", "DPkg::Lock::Timeout=300", "-y", "-q", "--no-install-recommends", *packages]
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        return False
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        say(f"could not install {' '.join(packages)}: {lines[-1] if lines else 'apt-get failed'}")
    return done.returncode == 0


def _debian(name, say):
    package, file_name = DEBIAN[name]
    if not shared_library(file_name):
        install([package], say)
    library = shared_library(file_name)
    if not library:
        say(f"{name} is left out: {file_name} is not installed")
        return None
    return Allocator(name, library, package=package, is_peer=True)


def _one(name, say):
    if name == "glibc":
        return Allocator("glibc", package="libc6", is_peer=True)
    if name in DEBIAN:
        return _debian(name, say)
    if not paths.QUARRY.exists():
        say(f"{name} is left out: {paths.QUARRY.relative_to(paths.ROOT)} is not built")
        return None
    return Allocator(name, str(paths.QUARRY), QUARRY_SETTINGS[name])


def _given(word):
    """--lib NAME=PATH"""
    name, equals, path = word.partition("=")
    if not equals or not name or not path:
        raise Usage(f"--lib wants NAME=PATH, not '{word}'")
    if name in NAMES:
        raise Usage(f"--lib: the name '{name}' is taken")
    if not pathlib.Path(path).is_file():
        raise Usage(f"--lib {name}: no file '{path}'")
    return Allocator(name, str(pathlib.Path(path).resolve()))


def chosen(wanted, libraries, base, say):
    """The allocators of one run: by name (None: all but classic), and those given by path."""
    given = {a.name: a for a in map(_given, libraries)}
    known = [*NAMES, *given]
    names = wanted if wanted is not None else [n for n in NAMES if n != "quarry-classic"]
    for name in names:
        if name not in known:
            raise Usage(f"no allocator named '{name}'; known: {', '.join(known)}")
    names = list(dict.fromkeys([*names, *given]))
    if base not in names:
        raise Usage(f"--base: '{base}' is not among the allocators measured")
    found = [a for a in (given.get(n) or _one(n, say) for n in names) if a]
    wrong = {a.name: _not_under(a) for a in found}
    for name in (n for n in wrong if wrong[n]):
        if wanted is not None or name in given:
            raise Problem(f"{name}: {wrong[name]}")
        say(f"{name} is left out: {wrong[name]}")
    found = [a for a in found if not wrong[a.name]]
    if base not in [a.name for a in found]:
        raise Problem(f"--base: {base} is not here")
    return found


def _not_under(allocator):
    """Why a program would not run under it; empty when it does.

    A library that cannot be preloaded is only a warning of the dynamic linker: ask whose malloc a program gets.
    """
    if not allocator.library:
        return ""
    done = subprocess.run(["env", *allocator.environment(), build.TINY, "whose"], capture_output=True, text=True)
    if done.returncode:
        return f"a tiny program ends with status {done.returncode} under {allocator.library}"
    if pathlib.Path(done.stdout.strip()).resolve() != pathlib.Path(allocator.library).resolve():
        first = (done.stderr.strip().splitlines() or ["it exports no malloc"])[0]
        return f"malloc does not come from {allocator.library}: {first}"
    return ""
