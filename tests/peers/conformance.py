"""Runs client_test.py of eclipse/paho.mqtt.testing and names each test's outcome: SUITE_FOLDER PORT [test name ...].

The suite sets its names as globals of the main module; imported it needs them from outside. One run cleans up
once, as the suite does, so what a test leaves behind meets the next one. Its test of wills is not named so
that unittest would find it; it is run all the same.
"""
import contextlib
import io
import sys
import time
import unittest


class Outcomes(unittest.TestResult):
    def __init__(self, said):
        super().__init__()
        self.said, self.out, self.n_passed = said, sys.stdout, 0

    def startTest(self, test):
        super().startTest(test)
        self.start, self.is_good = time.monotonic(), True
        self.said.seek(0)
        self.said.truncate()

    def stopTest(self, test):
        super().stopTest(test)
        self.n_passed += self.is_good
        word = "pass" if self.is_good else "FAIL"
        print(f"{word}  {test._testMethodName}  ({time.monotonic() - self.start:.1f} s)", file=self.out, flush=True)
        if not self.is_good:
            print("      " + self.said.getvalue().strip().replace("\n", "\n      "), file=self.out, flush=True)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.is_good = False
        print(self.failures[-1][1], file=self.said)

    def addError(self, test, error):
        super().addError(test, error)
        self.is_good = False
        print(self.errors[-1][1], file=self.said if hasattr(self, "start") else self.out)


def main():
    folder, port, wanted = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    sys.path.insert(0, folder)
    import client_test as suite
    suite.host, suite.port = "127.0.0.1", port
    suite.topics = ("TopicA", "TopicA/B", "Topic/C", "TopicA/C", "/TopicA")
    suite.wildtopics = ("TopicA/+", "+/C", "#", "/#", "/+", "+/+", "TopicA/#")
    suite.nosubscribe_topics = ("nosubscribe",)
    names = unittest.TestLoader().getTestCaseNames(suite.Test)
    names += [n for n in dir(suite.Test) if n.endswith("_test") and n not in names]
    unknown = set(wanted) - set(names)
    if unknown:
        sys.exit(f"the suite has no {', '.join(sorted(unknown))}; it has {', '.join(names)}")
    tests = [suite.Test(name) for name in wanted or names]
    said = io.StringIO()
    outcomes = Outcomes(said)
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        unittest.TestSuite(tests).run(outcomes)
    print(f"{outcomes.n_passed} passed, {len(tests) - outcomes.n_passed} failed")
    sys.exit(0 if outcomes.n_passed == len(tests) else 1)


main()
