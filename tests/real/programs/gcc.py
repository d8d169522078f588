"""gcc and g++ over large sources: assembly and objects must be the same to the byte; what is built must run alike."""

from harness import file_digest
from programs import sources


def prepare(r):
    sources.write(r, r.size(70, 300), r.size(1, 4))


def compile_all(r, cc, cxx, jobs):
    """jobs: (language, name, flags); each compiled twice, to assembly and to an object."""
    for language, name, flags in jobs:
        compiler = [cc, "-std=gnu17"] if language == "c" else [cxx, "-std=c++17"]
        source = r.input("large.c" if language == "c" else "large.cpp")
        for kind, switch, ending in (("assembly", "-S", "s"), ("object", "-c", "o")):
            if kind == "object" and not r.long and language == "cxx":
                continue
            out = r.path(f"{name}.{ending}")
            done = r.run([*compiler, *flags, "-frandom-seed=1", switch, source, "-o", out], cwd=r.shared,
                         name=f"{name} {kind}")
            r.fact(f"{name} {kind}", file_digest(out))
            r.fact(f"{name} {kind}, messages", done.err)


def build_and_run(r, name, command):
    out = r.path(name)
    r.run([*command, "-o", out], name=f"{name} link")
    # The program itself without Quarry: what is compared here is what the compiler made.
    r.fact(name + " runs", r.run([out], name=f"{name} runs", preload=False, measured=False).out)
    r.fact(name + " binary", file_digest(out))


def run(r):
    jobs = [("c", "c-O1" if not r.long else "c-O2", ["-O1" if not r.long else "-O2", "-g"]),
            ("cxx", "cxx-O1", ["-O1"])]
    if r.long:
        jobs += [("cxx", "cxx-O2-g", ["-O2", "-g"]), ("c", "c-O3", ["-O3"])]
    compile_all(r, "gcc", "g++", jobs)
    build_and_run(r, "program", ["g++", *(["-O1"] if not r.long else ["-O2"]), r.path(jobs[0][1] + ".o")])
    if r.long:
        build_and_run(r, "lto", ["gcc", "-O2", "-flto=2", "-frandom-seed=1", r.input("large.c")])
