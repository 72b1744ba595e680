# SPDX-License-Identifier: MIT
"""`make bench` and `make bench-growth` with little to do and without other servers: no error. Nothing is judged by time."""

import os
import subprocess
import sys
import unittest

import postern

BENCH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../bench")
SHARED = ("load.c", "connection.c")
PROGRAMS = {"imapload": SHARED, "popload": SHARED, "idleload": SHARED, "mailload": ()}


def build(folder):
    for name, others in PROGRAMS.items():
        sources = [os.path.join(BENCH, one) for one in (name + ".c",) + others]
        subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-I" + os.path.join(BENCH, "../.."), "-o", os.path.join(folder, name),
                        *sources, "-lgnutls", "-lpthread"], check=True)


def run(program, folder, *options):
    done = subprocess.run([sys.executable, os.path.join(BENCH, program), "--programs", folder, "--output", folder + "/results", "--rounds", "1",
                           *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


@unittest.skipIf(postern.SANITIZED, "the build without sanitizers runs it")
class Bench(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = postern.scratch_folder()
        build(cls.folder)

    def results(self):
        return set(os.listdir(self.folder + "/results"))

    def test_all_scenarios(self):
        status, output = run("bench.py", self.folder, "--alone", "--mail", "0.01", "--scale", "0.01", "--sessions", "20")
        self.assertEqual(status, 0, output)
        self.assertLessEqual({"results.json", "table.md", "plot.svg", "plot.txt"}, self.results())

    def test_growth(self):
        status, output = run("growth.py", self.folder, "--mail", "0.1", "--largest", "20", "messages", "folders", "sessions")
        self.assertEqual(status, 0, output)
        self.assertLessEqual({"growth.json", "growth.md", "growth.svg"}, self.results())
