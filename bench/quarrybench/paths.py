"""Where the instrument's files lie."""

import pathlib

BENCH = pathlib.Path(__file__).resolve().parent.parent
ROOT = BENCH.parent
BUILD = ROOT / "build" / "bench"
INPUTS = BUILD / "input"
RESULTS = BENCH / "results"
QUARRY = ROOT / "build" / "release" / "lib" / "libquarry.so"
