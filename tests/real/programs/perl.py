"""Perl: data/workload.pl, which prints what it computed."""

import os

DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data")


def run(r):
    done = r.run(["perl", os.path.join(DATA, "workload.pl"), str(r.size(60_000, 400_000))],
                 env={"PERL_HASH_SEED": "0", "PERL_PERTURB_KEYS": "0"})
    r.fact("output", done.out)
    r.fact("errors", done.err)
