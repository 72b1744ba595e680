# SPDX-License-Identifier: MIT
"""Some rounds of histories.py on each backend; it runs for hours by itself. Also run with ThreadSanitizer."""

import os
import unittest

import histories
import postern

MINUTES = float(os.environ.get("POSTERN_TEST_MINUTES", "0.5"))


class Histories(unittest.TestCase):

    def history(self, backend, seed):
        if backend not in postern.BACKENDS:
            self.skipTest("not on this backend")
        with postern.Instance(backend=backend, users=("alice",), settings=histories.SETTINGS) as server:
            histories.run(server, seed, MINUTES, sessions=6)

    def test_maildir_with_other_programs_at_it(self):
        self.history("maildir", 1)

    def test_memory(self):
        self.history("memory", 2)

    def test_lmdb(self):
        self.history("lmdb", 3)

    def test_mbox(self):
        self.history("mbox", 4)
