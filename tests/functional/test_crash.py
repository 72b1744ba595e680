# SPDX-License-Identifier: MIT
"""A little of ../crash: kills and power cuts while clients work; and that it finds a server that says yes too early."""

import os
import pathlib
import shutil
import sys
import types
import unittest

import postern

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "crash"))
import crash  # noqa: E402
import disk  # noqa: E402
import journal  # noqa: E402

SEED = int(os.environ.get("POSTERN_TEST_SEED", "11"))
NO_POWER_CUTS = disk.why_not()
DURABLE = [backend for backend in postern.BACKENDS if backend in crash.BACKENDS]


def run(backend, **options):
    crash.run(backend, seed=SEED, service=postern.PATIENCE * 3, say=lambda text: print("# " + text, flush=True), **options)


@unittest.skipUnless(DURABLE, "there is no backend on disk")
class Deaths(unittest.TestCase):
    def test_kills(self):
        run(DURABLE[0], rounds=4)

    @unittest.skipIf(NO_POWER_CUTS, NO_POWER_CUTS)
    def test_power_cuts(self):
        run(DURABLE[-1], rounds=2, power=True)

    def test_a_yes_that_comes_too_early_is_found(self):
        with self.assertRaisesRegex(journal.Broken, "lost"):
            run(DURABLE[0], rounds=50, plant="early")

    @unittest.skipIf(NO_POWER_CUTS, NO_POWER_CUTS)
    @unittest.skipIf(postern.SANITIZED, "sanitizers want to be loaded first")
    @unittest.skipUnless(shutil.which("eatmydata"), "eatmydata is not installed")
    def test_an_fsync_that_does_nothing_is_found(self):
        with self.assertRaises(journal.Broken):
            run(DURABLE[0], rounds=50, power=True, plant="unsynced")


class Judge(unittest.TestCase):
    """What the journal calls broken."""

    def arrivals(self):
        arrivals = journal.Arrivals("inbox")
        for token in ("a-1", "b-1", "c-1"):
            arrivals.sending(token)
        arrivals.accepted("a-1")
        return arrivals

    def test_arrivals(self):
        for tokens, wrong in ((["a-1"], None), (["a-1", "b-1"], None), (["b-1"], "lost: a-1"), (["a-1", "a-1"], "doubled: a-1"),
                              (["a-1", "b-1", "b-1"], "doubled: b-1"), (["a-1", "x-1"], "of nobody: x-1")):
            with self.subTest(tokens):
                if wrong:
                    self.assertRaisesRegex(journal.Broken, wrong, self.arrivals().check, tokens)
                else:
                    self.arrivals().check(tokens)

    def test_what_was_removed(self):
        arrivals = self.arrivals()
        arrivals.leaves(["a-1"])
        arrivals.check(["a-1"])  # not answered: it may stay
        arrivals.leaves(["a-1"])
        arrivals.check([])  # or go
        self.assertRaisesRegex(journal.Broken, "back after it was removed: a-1", arrivals.check, ["a-1"])

    def test_messages(self):
        octets = journal.made("a-1", 3000)
        self.assertEqual(journal.token_of(b"Received: x\r\n" + octets), "a-1")
        for wrong in (octets[:-10], octets[:1000] + octets[1001:], octets + b"x", b"Subject: x\r\n\r\n"):
            self.assertRaises(journal.Broken, journal.token_of, wrong)

    def test_copies_at_the_next_host(self):
        kills = journal.Kills(3)
        kills.times = [(10, 11), (20, 21)]
        self.assertEqual(kills.check({"a": [9, 12], "b": [10.5, 10.6], "c": [1], "d": [19, 30], "e": [9, 12, 22]}), 5)
        self.assertRaisesRegex(journal.Broken, "nothing was killed", kills.check, {"a": [12, 19]})
        self.assertRaisesRegex(journal.Broken, "4 messages twice", kills.check, {name: [9, 12] for name in "abcd"})

    def test_numbers(self):
        def view(**changes):
            return types.SimpleNamespace(**{"uidvalidity": 7, "uidnext": 5, "modseq": 50, "rows": {4: ("a-1", set())},
                                            "modseqs": {4: 40}, **changes})

        for changes, wrong in (({}, None), ({"uidvalidity": 8}, "UIDVALIDITY"), ({"uidnext": 4}, "UIDNEXT"), ({"modseq": 49}, "HIGHESTMODSEQ"),
                               ({"rows": {4: ("b-1", set())}}, "UID 4 was a-1 and is b-1"),
                               ({"rows": {3: ("b-1", set())}, "modseqs": {3: 41}}, "all of a sudden"),
                               ({"modseqs": {4: 39}}, "MODSEQ 39"), ({"modseqs": {4: 51}}, "MODSEQ 51")):
            with self.subTest(changes):
                mailbox = journal.Mailbox()
                mailbox.check_numbers("inbox", view())
                mailbox.rows = view().rows
                if wrong:
                    self.assertRaisesRegex(journal.Broken, wrong, mailbox.check_numbers, "inbox", view(**changes))
                else:
                    mailbox.check_numbers("inbox", view())


if __name__ == "__main__":
    unittest.main()
