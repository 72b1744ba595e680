# SPDX-License-Identifier: MIT
"""TAP, version 13, from unittest: `tap.py FILE...` runs the tests of these modules."""

import os
import sys
import unittest


def diagnostic(text):
    return "".join("# %s\n" % line for line in text.rstrip("\n").split("\n"))


class TapResult(unittest.TestResult):
    """Prints a line per test as it ends. Subtests that fail make their test fail."""

    def __init__(self):
        super().__init__()
        self.count = 0
        self._failed_subtests = []

    def _print(self, test, good, directive="", text=""):
        self.count += 1
        name = test.id() if hasattr(test, "id") else str(test)
        sys.stdout.write("%s %d - %s%s\n" % ("ok" if good else "not ok", self.count, name.replace("#", ""), directive))
        if text:
            sys.stdout.write(diagnostic(text))
        sys.stdout.flush()

    def startTest(self, test):
        self._failed_subtests = []
        super().startTest(test)

    def stopTest(self, test):
        super().stopTest(test)
        if self._failed_subtests:  # for such a test nothing else is called
            self._print(test, False, text="\n".join(self._failed_subtests))

    def addSuccess(self, test):
        super().addSuccess(test)
        self._print(test, True)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._failed_subtests.append("%s\n%s" % (subtest, self._exc_info_to_string(err, test)))

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._print(test, False, text=self._exc_info_to_string(err, test))

    def addError(self, test, err):
        super().addError(test, err)
        self._print(test, False, text=self._exc_info_to_string(err, test))

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._print(test, True, directive=" # SKIP " + reason)


def main(paths):
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path.insert(0, here)
    suite = unittest.TestSuite()
    for path in paths:
        sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
        suite.addTests(unittest.defaultTestLoader.loadTestsFromName(os.path.splitext(os.path.basename(path))[0]))
    result = TapResult()
    suite.run(result)
    print("1..%d" % result.count)
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
