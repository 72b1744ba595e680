# SPDX-License-Identifier: MIT
"""A little of ../load: what is slow, huge or many, and others who are served meanwhile. No time is judged here."""

import pathlib
import sys
import unittest

import postern

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "load"))
import crowd  # noqa: E402
import load  # noqa: E402


class Load(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        crowd.room_for_descriptors()

    def test_cases(self):
        for name in load.CASES:
            with self.subTest(name):
                load.Trial(name, postern.BACKENDS[0], "short", lambda text: print("# " + text, flush=True)).run()


if __name__ == "__main__":
    unittest.main()
