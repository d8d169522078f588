"""clang and clang++ over the same sources as gcc."""

from programs import gcc, sources


def prepare(r):
    sources.write(r, r.size(70, 300), r.size(1, 4))


def run(r):
    jobs = [("c", "c-O2", ["-O2", "-g"]), ("cxx", "cxx-O1", ["-O1"])]
    if r.long:
        jobs += [("cxx", "cxx-O2-g", ["-O2", "-g"])]
    # -frandom-seed is gcc's: clang takes it and says that it does not use it.
    gcc.compile_all(r, "clang", "clang++", [(l, n, [*f, "-Wno-unused-command-line-argument", "-Wno-ignored-optimization-argument"])
                                            for l, n, f in jobs])
    gcc.build_and_run(r, "program", ["clang", r.path("c-O2.o")])
