"""Checks of the instrument itself, in seconds: its statistics, its memory figures, every workload at a tiny size."""

import contextlib
import io
import pathlib
import sys
import tempfile
import unittest

from . import allocators, build, catalogue, cli, programs, record, report, results, rounds, runner, statistics, verdict

GLIBC = allocators.Allocator("glibc")
MIB_IN_KIB = 1024


class Statistics(unittest.TestCase):
    def test_median_and_geometric_mean(self):
        self.assertEqual(statistics.median([3, 1, 2]), 2)
        self.assertEqual(statistics.median([4, 1, 2, 3]), 2.5)
        self.assertAlmostEqual(statistics.geometric_mean([0.5, 2]), 1)
        self.assertAlmostEqual(statistics.geometric_mean([1, 10, 100]), 10)

    def test_a_ratio_is_taken_within_its_round(self):
        base = {0: 1.0, 1: 10.0, 2: 100.0}  # weather: tenfold from round to round
        r = statistics.ratio({k: 0.8 * v for k, v in base.items()}, base)
        self.assertAlmostEqual(r.value, 0.8)
        self.assertAlmostEqual(r.low, 0.8)
        self.assertAlmostEqual(r.high, 0.8)
        self.assertFalse(r.is_none)

    def test_a_difference_inside_the_spread_is_none(self):
        base = dict.fromkeys(range(5), 1.0)
        self.assertTrue(statistics.ratio({0: 0.9, 1: 1.1, 2: 1.02, 3: 0.97, 4: 1.0}, base).is_none)
        self.assertFalse(statistics.ratio({0: 0.9, 1: 0.91, 2: 0.92, 3: 0.89, 4: 0.9}, base).is_none)

    def test_one_round_shows_no_spread(self):
        r = statistics.ratio({0: 0.5}, {0: 1.0})
        self.assertTrue(r.is_none)
        self.assertEqual(report.show(r), "?0.50")

    def test_rounds_that_one_side_lacks_do_not_count(self):
        self.assertEqual(statistics.ratio({0: 1.0, 1: 3.0}, {1: 1.5, 2: 9.0}).value, 2)
        self.assertIsNone(statistics.ratio({0: 1.0}, {1: 1.0}))

    def test_the_mean_ratio_is_over_workloads(self):
        a, b = ({0: 2.0, 1: 2.0}, {0: 1.0, 1: 1.0}), ({0: 1.0, 1: 1.0}, {0: 8.0, 1: 8.0})
        self.assertAlmostEqual(statistics.mean_ratio([a, b]).value, 0.5)


class Memory(unittest.TestCase):
    """Linux lends a child the resident peak of the process that starts it; the launcher must hide ours."""

    def test_true_is_small_however_large_its_starter(self):
        ballast = bytearray(200 << 20)
        ballast[::4096] = b"x" * len(ballast[::4096])
        peak = runner.run(["true"], GLIBC)["peak_kib"]
        del ballast
        self.assertLess(peak, 4 * MIB_IN_KIB)

    def test_the_launcher_is_smaller_than_any_program(self):
        sample = runner.run(["true"], GLIBC)
        self.assertLess(sample["floor_kib"], 512)
        self.assertLess(sample["floor_kib"], sample["peak_kib"])

    def test_the_peak_is_the_size_the_program_sees(self):
        sample = runner.run([build.TINY, "rss"], GLIBC)  # finish() puts the exact size in place of the launcher's
        with tempfile.TemporaryDirectory() as folder:
            used = pathlib.Path(folder) / "used"
            words = runner.launch_command([build.TINY], GLIBC, used)
            runner.subprocess.run(words, check=True)
            kernel = runner.fields(used.read_text())["peak_kib"]
        self.assertLess(abs(kernel - sample["rss_exact_kib"]), 1 * MIB_IN_KIB)  # the kernel counts in batches of pages

    def test_touched_memory_shows_and_untouched_does_not(self):
        sizes = [f"least={64 << 20}", f"most={64 << 20}", "slots=1", "ops=1"]
        peaks = [runner.run([build.WORKLOADS, "large", f"touch={t}", *sizes], GLIBC)["peak_kib"] for t in (1, 0)]
        self.assertAlmostEqual(peaks[0] - peaks[1], 64 * MIB_IN_KIB, delta=2 * MIB_IN_KIB)


class Workloads(unittest.TestCase):
    def test_each_of_ours_runs(self):
        plan = rounds.Plan([], [GLIBC], 1, scale=0.002)
        for w in catalogue.own():
            if w.group != "growth" or w.name == "growth-1e3":
                with self.subTest(w.name):
                    sample = rounds.measure(w, GLIBC, plan)
                    self.assertGreater(sample[w.figure], 0)
                    self.assertGreater(sample["peak_kib"], 500)

    def test_real_programs_run_where_they_are_installed(self):
        for w in programs.all_programs():
            if w.in_quick and not w.program.missing():
                with self.subTest(w.name):
                    self.assertGreater(w.program.run(GLIBC, 0.01)["cpu_s"], 0)

    def test_an_unknown_workload_fails_clearly(self):
        with self.assertRaisesRegex(runner.Failed, "exit 2.*no workload named nothing"):
            runner.run([build.WORKLOADS, "nothing"], GLIBC)

    def test_a_killed_program_is_a_failure(self):
        with self.assertRaisesRegex(runner.Failed, "exit 139"):
            runner.run(["sh", "-c", "kill -SEGV $$"], GLIBC)


class Drawn(unittest.TestCase):
    def test_the_same_seed_draws_the_same_loads_and_a_name_is_enough(self):
        loads = catalogue.drawn(40, 7)
        self.assertEqual(loads, catalogue.drawn(60, 7)[:40])
        self.assertEqual(loads, [catalogue.drawn_again(w.name) for w in loads])
        self.assertFalse({w.command for w in loads} & {w.command for w in catalogue.drawn(40, 8)})

    def test_they_run_and_each_order_is_among_them(self):
        orders = set()
        for w in catalogue.drawn(40, 7):
            orders |= {word for word in w.command if word.startswith("order=")}
            sample = runner.run(w.with_scale(1e-3), GLIBC)
            self.assertGreaterEqual(sample["ops"], 1, w.name)
        self.assertEqual(len(orders), 4)


class Traces(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.path = pathlib.Path(holder.name) / "some.trace"

    def recorded(self, *command):
        status, held = record.record(self.path, list(map(str, command)), stdout=runner.subprocess.DEVNULL)
        self.assertEqual(status, 0)
        sample = runner.run([build.WORKLOADS, "replay", f"file={self.path}"], GLIBC)
        self.assertEqual(sample["ops"], held["records"])
        return held

    def test_one_thread(self):
        held = self.recorded(build.WORKLOADS, "churn", "ops=5000", "slots=100")
        self.assertGreaterEqual(held["records"], 10000)
        self.assertEqual(held["threads"], 1)
        self.assertLess(held["slots"], 200)

    def test_realloc(self):
        self.assertGreater(self.recorded(build.WORKLOADS, "grow", "ops=5000")["records"], 5000)

    def test_aligned_and_zeroed(self):
        self.recorded(build.WORKLOADS, "aligned", "ops=2000", "slots=50")
        self.recorded(build.WORKLOADS, "zeroed", "ops=2000", "slots=50")

    def test_blocks_that_change_threads(self):
        self.assertEqual(self.recorded(build.WORKLOADS, "ring", "ops=20000", "threads=3")["threads"], 4)
        self.recorded(build.WORKLOADS, "server", "requests=1000", "sessions=50", "threads=4", "life=50")


def _made_up(ratios):
    """Samples of two workloads over three rounds in which each allocator has the given ratio to glibc."""
    return [rounds.Sample(r, name, allocator, {"cpu_s": ratio * (1 + r), "peak_kib": 1000.0 * ratio})
            for r in range(3) for name in ("lifo", "fifo") for allocator, ratio in ratios.items()]


class Reports(unittest.TestCase):
    def test_csv_gives_back_what_was_written(self):
        samples = _made_up({"glibc": 1.0, "quarry": 0.5})
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "results.csv"
            path.write_text(results.to_csv(samples, {"kernel": "1: 2"}))
            self.assertEqual(results.from_csv(path), (samples, {"kernel": "1: 2"}))

    def test_targets_are_flagged(self):
        run = report.Run(_made_up({"glibc": 1.0, "jemalloc": 0.8, "quarry": 0.9}), catalogue.own())
        text = "\n".join(verdict.text(run, "quarry", ["glibc", "jemalloc"]))
        self.assertIn("geometric mean of time: 1.125", text)
        self.assertIn("of jemalloc's, target at most 0.85: MISS", text)
        self.assertIn("peak resident size: 0.900", text)
        self.assertIn("workloads over 1.05 x the best in time: 2 of 2", text)
        run = report.Run(_made_up({"glibc": 1.0, "jemalloc": 0.8, "quarry": 0.6}), catalogue.own())
        self.assertNotIn("MISS", "\n".join(verdict.text(run, "quarry", ["glibc", "jemalloc"])))

    def test_wrong_arguments_are_one_line_and_exit_2(self):
        for arguments in (["--nonsense"], ["--only", "no-such"], ["--rounds", "0"], ["--rounds", "x"],
                          ["--allocators", "nothing"], ["--lib", "x"], ["--lib", "x=/no/such"], ["extra"],
                          ["--base", "nothing"], ["--trace", "/no/such"], ["--random", "0"], ["--seed", "3"], ["record"], ["record", "-o", "x"]):
            with self.subTest(arguments), contextlib.redirect_stderr(io.StringIO()) as complaint:
                self.assertEqual(cli.main(arguments), 2)
                self.assertEqual(complaint.getvalue().count("\n"), 1, complaint.getvalue())


def main():
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules[__name__])
    done = unittest.TextTestRunner(stream=sys.stderr, verbosity=1).run(suite)
    return 0 if done.wasSuccessful() else 1
