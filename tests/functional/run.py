#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs dialogues and Python tests against an installed Postern, and prints TAP.

usage: run.py [--prefix DIR] [--backend NAME]... [--jobs N] [FILE...]

Without FILE: every *.dialogue below tests/ and every test_*.py beside this file.
"""

import argparse
import concurrent.futures
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
TESTS = HERE.parent
sys.path.insert(0, str(HERE))

import dialogue  # noqa: E402
import postern  # noqa: E402
from tap import diagnostic  # noqa: E402


class Report:
    """Numbers results as they come."""

    def __init__(self):
        self.count = 0
        self.failed = 0

    def add(self, good, name, text="", directive=""):
        self.count += 1
        self.failed += not good
        sys.stdout.write("%s %d - %s%s\n" % ("ok" if good else "not ok", self.count, name, directive))
        if text:
            sys.stdout.write(diagnostic(text))
        sys.stdout.flush()

    def add_tap(self, name, output, status):
        """Takes over the results of a program that printed TAP."""
        results = 0
        for line in output.splitlines():
            good = line.startswith("ok ")
            if good or line.startswith("not ok "):
                results += 1
                what, _, directive = line.partition(" - ")[2].partition(" # ")
                self.add(good, what, directive=" # " + directive if directive else "")
            elif line.startswith("#"):
                print(line)
        if status != 0 and "not ok " not in output or results == 0:
            self.add(False, name, "exit status %d after %d results\n%s" % (status, results, output[-3000:]))


def run_dialogue(path, backend, user, servers):
    try:
        parsed = dialogue.Dialogue(str(path))
        if backend not in parsed.backends:
            return None
        dialogue.Run(parsed, servers.get(backend, parsed.settings), user).run()
    except (dialogue.Mistake, dialogue.Mismatch, AssertionError) as error:
        return False, str(error)
    return True, ""


def run_dialogues(paths, backends, pool, report):
    users = ["d%04d" % number for number in range(len(paths))]
    servers = dialogue.Servers(users)
    futures = [(pool.submit(run_dialogue, path, backend, user, servers), path, backend)
               for backend in backends for user, path in zip(users, paths)]
    for future, path, backend in futures:
        result = future.result()
        if result is not None:
            report.add(result[0], "%s (%s)" % (os.path.relpath(path, TESTS), backend), result[1])
    wrong = servers.stop()
    report.add(not wrong, "the servers of the dialogues ended well", "\n".join(wrong))


LONGEST = ("test_switch.py", "test_outbound.py", "test_sync.py", "test_histories.py", "test_realmail.py", "test_delivery.py", "test_crash.py")


def run_module(path):
    return subprocess.run((sys.executable, str(HERE / "tap.py"), str(path)), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prefix", help="the installation (default: $POSTERN_PREFIX)")
    parser.add_argument("--backend", action="append", choices=dialogue.BACKENDS, help="only on this backend")
    parser.add_argument("--jobs", type=int, default=4, help="how many at once (default: 4)")
    parser.add_argument("files", nargs="*", type=pathlib.Path, metavar="FILE")
    options = parser.parse_args()
    if options.prefix:
        os.environ["POSTERN_PREFIX"] = os.path.abspath(options.prefix)
    os.environ["POSTERN_BACKENDS"] = " ".join(options.backend or dialogue.BACKENDS)
    postern.Installation()

    files = options.files or sorted(TESTS.rglob("*.dialogue")) + sorted(HERE.glob("test_*.py"))
    report = Report()
    dialogues = [path for path in files if path.suffix == ".dialogue"]
    # First those that take longest: nobody should wait for one that was begun last.
    modules = sorted((path for path in files if path.suffix == ".py"), key=lambda path: path.name not in LONGEST)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        done = pool.map(run_module, modules)
        if dialogues:
            run_dialogues(dialogues, options.backend or dialogue.BACKENDS, pool, report)
        for path, process in zip(modules, done):
            report.add_tap(os.path.relpath(path, TESTS), process.stdout, process.returncode)
    print("1..%d" % report.count)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
