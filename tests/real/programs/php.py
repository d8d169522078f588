"""PHP: data/workload.php, which prints what it computed. PHP opens its modules with RTLD_DEEPBIND."""

import os

DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data")


def run(r):
    for name, environment in (("own", {}), ("malloc", {"USE_ZEND_ALLOC": "0"})):
        done = r.run(["php", "-d", "memory_limit=-1", os.path.join(DATA, "workload.php"), str(r.size(60_000, 400_000))],
                     env=environment)
        r.fact(name, done.out)
        r.fact(f"{name}: errors", done.err)
