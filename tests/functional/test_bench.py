# SPDX-License-Identifier: MIT
"""Each scenario of `make bench`, with little to do and without other servers: no error. Nothing is judged by time."""

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


class Bench(unittest.TestCase):
    @unittest.skipIf(postern.SANITIZED, "the build without sanitizers runs it")
    def test_all_scenarios(self):
        folder = postern.scratch_folder()
        build(folder)
        done = subprocess.run([sys.executable, os.path.join(BENCH, "bench.py"), "--programs", folder, "--output", folder + "/results", "--alone",
                               "--mail", "0.01", "--scale", "0.01", "--rounds", "1", "--sessions", "20"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(set(os.listdir(folder + "/results")), {"results.json", "table.md", "plot.svg", "plot.txt"})

