"""The real window, driven as a person would: sentences about what it shows and what it does.

    tests/window/run.sh APP CLI [TEST...]

What a device runs is asked of the device itself, over plain HTTP, past the app.
"""

import os
import subprocess
import sys
import unittest

import case
import test_keys
import test_releases
import test_shell
import test_updates
import test_usb
from harness import Desk

MODULES = (test_shell, test_updates, test_releases, test_keys, test_usb)


class Sentences(unittest.TextTestResult):
    """Prints a line a test, keeps a picture of each failure, and counts."""

    def __init__(self, *args):
        super().__init__(*args)
        self.passed = 0

    def getDescription(self, test):
        name = getattr(test, "_testMethodName", str(test))
        words = name.removeprefix("test_").replace("_", " ")
        return f"{type(test).__name__}: {words}"

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.keep_picture(test)

    def addError(self, test, err):
        super().addError(test, err)
        self.keep_picture(test)

    def keep_picture(self, test):
        """A picture says what a stack trace does not."""
        name = "".join(each if each.isalnum() else "-" for each in test.id())[-80:]
        try:
            case.DESK.picture(case.DESK.dir / f"{name}.png")
        except (OSError, subprocess.SubprocessError) as error:
            print(f"no picture: {error}", file=sys.stderr)


def module_of(name):
    """The module that has a class."""
    owner = name.partition(".")[0]
    found = [each for each in MODULES if hasattr(each, owner)]
    if not found:
        sys.exit(f"there is no class {owner}")
    return found[0]


def main():
    """Runs all tests, or those that are named (CLASS or CLASS.test)."""
    case.APP, case.CLI = (os.path.abspath(each) for each in sys.argv[1:3])
    names = sys.argv[3:]
    loader = unittest.defaultTestLoader
    suite = unittest.TestSuite(loader.loadTestsFromModule(each) for each in MODULES)
    if names:
        suite = unittest.TestSuite(
            loader.loadTestsFromNames([name], module_of(name)) for name in names
        )
    case.DESK = Desk(case.APP, case.CLI)
    bad = True
    try:
        runner = unittest.TextTestRunner(
            stream=sys.stdout, verbosity=2, resultclass=Sentences, failfast=False
        )
        result = runner.run(suite)
        bad = not result.wasSuccessful()
        failed = len(result.failures) + len(result.errors)
        print(f"{result.passed} passed, {failed} failed")
        if bad:
            print(f"Logs and pictures: {case.DESK.dir}")
    finally:
        case.DESK.end(keep=bad)
    sys.exit(bad)


if __name__ == "__main__":
    main()
