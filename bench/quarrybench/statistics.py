"""Medians of ratios and their spread. Knows nothing of files or processes.

The rounds of a run are interleaved, so a ratio is taken within one round (both sides met the same weather) and the
median over rounds stands for it. Its spread is a 95 % bootstrap interval of that median (Efron 1979); with few rounds
that is close to the range, which is honest. A ratio whose interval holds 1 is no difference.
"""

import dataclasses
import math
import random

RESAMPLES = 1000
COVERAGE = 0.95


def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    if not ordered:
        raise ValueError("the median of nothing")
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def geometric_mean(values):
    values = list(values)
    if not values or min(values) <= 0:
        raise ValueError("the geometric mean wants positive values")
    return math.exp(sum(map(math.log, values)) / len(values))


def bootstrap_interval(values, statistic=median, seed=1):
    """The interval that holds COVERAGE of the statistic over resampled values; the same for the same values."""
    if len(values) < 2:
        return (-math.inf, math.inf)
    source = random.Random(seed)
    found = sorted(statistic(source.choices(values, k=len(values))) for _ in range(RESAMPLES))
    tail = int(RESAMPLES * (1 - COVERAGE) / 2)
    return found[tail], found[-1 - tail]


@dataclasses.dataclass(frozen=True)
class Ratio:
    value: float
    low: float
    high: float
    rounds: int

    @property
    def is_none(self):
        """Inside the spread: no difference shown."""
        return self.low <= 1 <= self.high

    def surely_above(self, limit):
        return self.low > limit

    def above(self, limit):
        return self.value > limit


def ratio(ours, base):
    """The ratio of two {round: value} maps over the rounds both have; None when they share no round."""
    shared = [r for r in sorted(ours) if r in base and base[r] > 0 and ours[r] > 0]
    if not shared:
        return None
    ratios = [ours[r] / base[r] for r in shared]
    low, high = bootstrap_interval(ratios)
    return Ratio(median(ratios), low, high, len(ratios))


def mean_ratio(pairs):
    """The geometric mean of ratios over workloads, with its spread over rounds.

    pairs: one ({round: ours}, {round: base}) a workload. A round counts when every workload has it.
    """
    pairs = [(ours, base) for ours, base in pairs if ratio(ours, base)]
    if not pairs:
        return None
    value = geometric_mean(ratio(ours, base).value for ours, base in pairs)
    whole = set.intersection(*({r for r in ours if r in base and base[r] > 0 and ours[r] > 0} for ours, base in pairs))
    by_round = [geometric_mean(ours[r] / base[r] for ours, base in pairs) for r in sorted(whole)]
    low, high = bootstrap_interval(by_round)
    return Ratio(value, min(low, value), max(high, value), len(by_round))
