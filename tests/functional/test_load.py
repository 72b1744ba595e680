# SPDX-License-Identifier: MIT
"""A little of ../load: what is slow, huge or many, and others who are served meanwhile. No time is judged here."""

import pathlib
import sys
import unittest

import postern

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "load"))
import crowd  # noqa: E402
import load  # noqa: E402
import soak  # noqa: E402


def say(text):
    print("# " + text, flush=True)


CASES = ("crowd", "limit", "descriptors", "readers", "fairness", "queue")  # the others take longer


class Load(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        crowd.room_for_descriptors()

    def test_cases(self):
        for name in CASES:
            with self.subTest(name):
                load.Trial(name, postern.BACKENDS[0], "short", say).run()

    def test_soak(self):
        self.assertEqual(soak.soak(postern.BACKENDS[0], minutes=0.05, sessions=20, pace=0.1, seed=5, say=say), [])


if __name__ == "__main__":
    unittest.main()
