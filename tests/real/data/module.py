"""usage: module.py TEST-MODULE REPORT: run one of Python's own test modules, write {test: outcome} as JSON."""

import json
import sys
import unittest


class Outcomes(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.outcomes = {}

    def put(self, test, outcome):
        self.outcomes[test.id()] = outcome

    def startTest(self, test):
        super().startTest(test)
        # Whoever looks at a crash wants to know where it was.
        print(test.id(), file=sys.stderr, flush=True)

    def addSuccess(self, test):
        self.outcomes.setdefault(test.id(), "ok")

    def addError(self, test, err):
        super().addError(test, err)
        self.put(test, "error")
        print(self.errors[-1][1], file=sys.stderr, flush=True)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.put(test, "failure")
        print(self.failures[-1][1], file=sys.stderr, flush=True)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.put(test, "failure")
            import traceback
            traceback.print_exception(*err, file=sys.stderr)

    def addSkip(self, test, reason):
        self.put(test, "skipped")

    def addExpectedFailure(self, test, err):
        self.put(test, "expected failure")

    def addUnexpectedSuccess(self, test):
        self.put(test, "unexpected success")


def main():
    name, report = sys.argv[1:3]
    only = sys.argv[3:]
    from test import support
    support.verbose = False
    support.max_memuse = 0
    # Nothing that takes the network, a screen, gigabytes or minutes.
    support.use_resources = []
    loader = unittest.TestLoader()
    result = Outcomes()
    if only:
        loader.testNamePatterns = only
    try:
        suite = loader.loadTestsFromName("test." + name)
        if loader.errors:
            raise ImportError("\n".join(loader.errors))
        suite.run(result)
    except unittest.SkipTest as e:
        result.outcomes["(module)"] = f"skipped: {e}"
    with open(report, "w", encoding="utf-8") as f:
        json.dump({"tests": result.outcomes, "run": result.testsRun}, f)


if __name__ == "__main__":
    main()
