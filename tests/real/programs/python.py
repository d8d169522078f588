"""python3's own test modules: each test must come out the same. PYTHONMALLOC=malloc: every object is a block of malloc."""

import json
import os

from harness import Failed

DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data")

# module -> name patterns of the tests to run of it, [] for all
QUICK = {
    "test_list": [], "test_dict": [], "test_set": [], "test_json": [], "test_re": [], "test_ctypes": [],
    "test_threading": ["*ThreadTests*", "*ConditionTests*", "*BarrierTests*"],
    "test_multiprocessing_fork": ["WithProcessesTestQueue*", "*WithProcessesTestQueue*", "*WithThreadsTestPool*"],
}
LONG = {name: [] for name in (
    "test_list test_dict test_set test_tuple test_deque test_array test_bytes test_unicode test_memoryview test_struct "
    "test_json test_re test_pickle test_copy test_marshal test_csv test_sort test_itertools test_functools "
    "test_collections test_generators test_descr test_weakref test_gc test_zlib test_bz2 test_lzma test_mmap test_ctypes "
    "test_ast test_compile test_thread test_threading test_queue test_fork1 test_signal test_os test_posix "
    "test_subprocess test_tempfile test_io test_multiprocessing_fork "
    "test_multiprocessing_spawn test_multiprocessing_forkserver").split()}


def run_module(r, name, patterns, python, tag=""):
    report = r.path(f"{name}{tag}.json")
    folder = r.path("cwd-" + name + tag)
    os.makedirs(folder, exist_ok=True)
    env = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    if python == "malloc":
        env["PYTHONMALLOC"] = "malloc"
    r.run(["/usr/bin/python3", os.path.join(DATA, "module.py"), name, report, *patterns], cwd=folder, env=env,
          name=f"{name} {python}{tag}", timeout=900)
    with open(report, encoding="utf-8") as f:
        tests = json.load(f)["tests"]
    if not tests:
        raise Failed(f"{name}: no test was run")
    return tests


def run(r):
    total = 0
    rounds = [("malloc", LONG if r.long else QUICK)]
    if r.long:
        rounds.append(("pymalloc", {name: QUICK[name] for name in ("test_list", "test_dict", "test_json", "test_threading")}))
    for python, modules in rounds:
        for name, patterns in modules.items():
            fact = f"{name} ({python})"
            tests = run_module(r, name, patterns, python)
            wanted = r.reference.facts[fact] if r.reference else tests
            if tests != wanted:
                # Some of these tests race with the clock. One more try, said aloud; a crash never gets here.
                again = run_module(r, name, patterns, python, tag="-again")
                differing = sorted(t for t in set(tests) | set(wanted) if tests.get(t) != wanted.get(t))
                r.flaky.append(f"{fact} {', '.join(t.split('.')[-1] for t in differing[:3])}")
                tests = again
            r.fact(fact, tests)
            total += len(tests)
    r.note(f"{total} tests")
