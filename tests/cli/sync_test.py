# SPDX-License-Identifier: MIT
"""`postern sync` between all backends that are built, with mail of the corpus (else with made-up mail)."""

import itertools
import os
import pathlib
import pty
import random
import re
import signal
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(SOURCE / "tests/functional"), str(SOURCE / "tests/cli")]
from accounts import make_maildir  # noqa: E402
import cli_test  # noqa: E402
import tap  # noqa: E402
from cli_test import BUILD, FAILED, POSTERN, USAGE  # noqa: E402

BACKENDS = sorted(path.stem for path in BUILD.glob("backends/*/.libs/*.so") if path.stem != "memory")
MESSAGES = int(os.environ.get("POSTERN_TEST_MESSAGES", "1500"))
KILLS = int(os.environ.get("POSTERN_TEST_KILLS", "5"))


class Sync(cli_test.Case):
    def end(self, backend, name):
        return f"{backend}:{self.dir}/{name}"

    def maildir(self, count, name="source"):
        make_maildir(self.dir / name, count)
        return self.end("maildir", name)

    def sync(self, *args, code=0):
        return self.json("sync", *args, code=code)

    def ensure_equal(self, told, modseqs=True):
        self.assertTrue(told["complete"])
        self.assertTrue(told["equal"], told)
        if modseqs:
            self.assertTrue(told["modseqs_equal"], told)


class Directions(Sync):
    def test_all_directions_between_all_backends(self):
        """A walk over every ordered pair of backends; what comes out at its end is what went in."""
        at = self.maildir(MESSAGES)
        at_backend, first, left = "maildir", None, list(itertools.product(BACKENDS, BACKENDS))
        for step in itertools.count():
            pair = next((pair for pair in left if pair[0] == at_backend), left[0] if left else None)
            if not pair:
                break
            backend = pair[1]
            if pair[0] == at_backend:
                left.remove(pair)
            else:
                backend = pair[0]
            to = self.end(backend, f"step{step}")
            with self.subTest(f"{at_backend} to {backend}"):
                told = self.sync("--verify", at, to)
                self.ensure_equal(told)
                self.assertEqual(told["copied"], MESSAGES)
                first = first or told["from_digest"]
                self.assertEqual(told["to_digest"], first)
                self.assertEqual(self.sync(at, to)["copied"], 0)
            at, at_backend = to, backend

    def test_a_user_is_backed_up_changed_backed_up_and_restored(self):
        self.run_cli("import", "alice", self.maildir(200)[len("maildir:"):])
        for backend in BACKENDS:
            backup = self.end(backend, "backup-" + backend)
            self.ensure_equal(self.sync("--verify", "alice", backup))
            (self.dir / "one").write_text(f"Subject: for {backend}\n\nx\n")
            self.run_cli("import", "alice", self.dir / "one")
            told = self.sync("--verify", "alice", backup)
            self.ensure_equal(told)
            self.assertEqual((told["copied"], told["flagged"], told["expunged"]), (1, 0, 0))
        for n, backend in enumerate(BACKENDS):
            with self.passwd.open("a") as file:
                file.write(f"user{n}@example.test:{{PLAIN}}pass\n")
            told = self.sync("--verify", self.end(backend, "backup-" + backend), f"user{n}")
            self.assertTrue(told["equal"])


class Killed(Sync):
    chance = random.Random(int(os.environ.get("POSTERN_TEST_SEED", "4")))

    def kill_and_finish(self, source, to, messages, *options):
        """Killed again and again, by one chance for all pairs; what the next run then makes of it."""
        environment = dict(os.environ, POSTERN_PLUGINDIR=str(BUILD), POSTERN_CONFIG=str(self.config))
        rate = f"--throttle={messages}msg"  # all of it in about a second
        for _ in range(KILLS):
            running = subprocess.Popen([POSTERN, "sync", rate, *options, source, to], env=environment,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            time.sleep(self.chance.uniform(0.02, 0.35))
            running.send_signal(signal.SIGKILL)
            _, errors = running.communicate()
            self.assertIn(running.returncode, (-signal.SIGKILL, 0), errors)
        return self.sync("--verify", *options, source, to)

    def test_a_sync_that_is_killed_at_any_moment_is_finished_by_the_next(self):
        first = self.maildir(MESSAGES // 2)
        for one in BACKENDS:
            source = self.end(one, "from-" + one)
            self.sync(first, source)
            for other in BACKENDS:
                with self.subTest(f"{one} to {other}"):
                    told = self.kill_and_finish(source, self.end(other, f"{one}-to-{other}"), MESSAGES // 2)
                    self.ensure_equal(told)
                    self.assertEqual(told["to_digest"]["messages"], MESSAGES // 2)

    def test_two_ways_too(self):
        for backend in BACKENDS:
            with self.subTest(backend):
                one, other = self.maildir(300, "one-" + backend), self.end(backend, "other-" + backend)
                self.sync(self.maildir(200, "more-" + backend), other)
                told = self.kill_and_finish(one, other, 500, "--two-way")
                self.assertTrue(told["equal"])
                self.assertEqual(told["to_digest"]["messages"], 500)

    @staticmethod
    def has_mail(maildir):
        try:
            return any(maildir.glob("**/cur/*"))
        except FileNotFoundError:  # what it looks at is being made, and renamed
            return False

    def test_an_interrupt_ends_between_two_batches(self):
        source, to = self.maildir(600), self.end("maildir", "to")
        environment = dict(os.environ, POSTERN_PLUGINDIR=str(BUILD), POSTERN_CONFIG=str(self.config))
        running = subprocess.Popen([POSTERN, "sync", "--throttle", "50msg", source, to], env=environment,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + cli_test.PATIENCE
        while not self.has_mail(self.dir / "to") and time.monotonic() < deadline:
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=cli_test.PATIENCE)
        self.assertEqual(running.returncode, FAILED)
        self.assertIn("run it again", errors)
        self.ensure_equal(self.sync("--verify", source, to))


class Parts(Sync):
    def test_one_mailbox_or_one_message_is_restored(self):
        self.run_cli("import", "alice", self.maildir(50)[len("maildir:"):])
        backup = self.end("maildir", "backup")
        self.sync("alice", backup)
        before = self.statuses()
        for path in (self.mail / "example.test/alice/.Sent/cur").iterdir():
            path.unlink()
        self.sync("--mailbox", "Sent", backup, "alice")
        after = self.statuses()
        self.assertEqual(after["Sent"]["messages"], before["Sent"]["messages"])
        self.assertEqual(after["INBOX"], before["INBOX"])
        for path in (self.mail / "example.test/alice/cur").iterdir():
            path.unlink()
        told = self.sync("--mailbox", "INBOX", "--uid", "2:3", backup, "alice")
        self.assertEqual(told["copied"], 2)
        self.assertEqual(self.sync("--mailbox", "INBOX", "--uid", "2:3", backup, "alice")["already_there"], 2)
        self.assertEqual(self.statuses()["INBOX"]["messages"], 2)

    def test_both_ways(self):
        one, other = self.maildir(20), self.end(BACKENDS[0], "other")
        self.assertTrue(self.sync("--two-way", "--verify", one, other)["equal"])
        make_maildir(self.dir / "third", 5)
        third = self.end("maildir", "third")
        told = self.sync("--two-way", "--verify", third, other)
        self.assertTrue(told["equal"])
        self.assertEqual(told["copied"], 25)
        self.assertEqual(self.sync("--two-way", "--verify", one, other)["copied"], 5)


class Mounts(Sync):
    """What is mounted in a user's mail goes along."""

    MOUNTS = """
mount "Archive" { backend = "mbox" location = "archive/%d/%n" }
mount "Old/100%" { backend = "lmdb" location = "old/%u" }
"""

    def setUp(self):
        super().setUp()
        self.configure(self.MOUNTS)
        with self.passwd.open("a") as file:
            file.write("bob@example.test:{PLAIN}pass\n")
        self.number = 0

    def put(self, user, *mailboxes):
        for mailbox in mailboxes:
            self.number += 1
            (self.dir / "one").write_text(f"Subject: message {self.number}\n\nx\n")
            self.run_cli("import", "--mailbox", mailbox, user, self.dir / "one")

    def same(self, *ends):
        """But for modseqs, which are in the same order only."""
        one, other = (self.statuses(end) for end in ends)
        for box in (*one.values(), *other.values()):
            box["highest_modseq"] = 0
        self.assertEqual(one, other)
        return one

    def test_a_backup_has_them_and_a_restore_brings_them_back(self):
        self.put("alice", "INBOX", "Archive", "Archive/2024", "Old/100%/Inner")
        for backend in BACKENDS:
            backup = self.end(backend, "backup-" + backend)
            told = self.sync("--verify", "alice", backup)
            self.ensure_equal(told)
            self.assertEqual(told["copied"], 4 if backend == BACKENDS[0] else told["copied"])
            self.assertEqual({m["mount"]: (m["equal"], m["complete"]) for m in told["mounts"]},
                             {"Archive": (True, True), "Old/100%": (True, True)})
            self.put("alice", "Archive/2024")
            self.assertEqual(self.sync("--verify", "alice", backup)["copied"], 1)
            self.assertEqual(self.sync("alice", backup)["copied"], 0)
        told = self.sync("--verify", backup, "bob")
        self.assertTrue(told["equal"] and all(m["equal"] for m in told["mounts"]), told)
        self.assertEqual(self.same("alice", "bob")["Archive/2024"]["messages"], 1 + len(BACKENDS))
        copy = self.end(BACKENDS[0], "copy of the backup")
        self.assertEqual(self.sync("--verify", backup, copy)["copied"], 4 + len(BACKENDS))
        self.assertIn("with it the mount Archive, to", self.run_cli("sync", "alice", backup).stdout)

    def test_one_mailbox_of_a_mount_is_restored(self):
        self.put("alice", "INBOX", "Archive", "Archive/2024", "Archives")
        backup = self.end("maildir", "backup")
        self.sync("alice", backup)
        for path in (self.mail / "archive").rglob("2024*"):
            path.unlink()
        self.assertFalse(self.statuses()["Archive/2024"]["exists"])
        self.assertEqual(self.sync("--mailbox", "Archive/2024", backup, "alice")["copied"], 1)
        self.assertEqual(self.sync("--mailbox", "Archive", backup, "alice")["already_there"], 1)
        self.assertEqual(self.sync("--mailbox", "Archives", backup, "alice")["already_there"], 1)
        self.assertEqual(self.statuses()["Archive/2024"]["messages"], 1)

    def test_mail_that_has_no_place_is_told(self):
        self.put("alice", "INBOX", "Archive")
        backup = self.end("maildir", "backup")
        self.sync("alice", backup)
        self.configure()
        done = self.run_cli("sync", backup, "bob", code=FAILED)
        self.assertIn("bob@example.test has no mount Archive", done.stderr)
        self.assertEqual(self.statuses("bob")["INBOX"]["messages"], 1)
        self.assertIn("has no mount", self.run_cli("sync", "--mailbox", "Archive", backup, "bob", code=FAILED).stderr)
        # What is not mounted any more stays in its backup.
        self.assertIn("keeps what it has of the mount Archive", self.run_cli("sync", "alice", backup).stderr)
        self.assertTrue((self.dir / "backup/postern-control/mounts/Archive/cur").exists())

    def test_two_ways_and_not_at_all(self):
        self.put("alice", "INBOX", "Archive")
        other = self.end("lmdb", "other")
        self.run_cli("sync", "--dry-run", "alice", other)
        self.assertFalse((self.dir / "other").exists())
        self.assertEqual(self.sync("--two-way", "alice", other)["copied"], 2)
        self.put("alice", "Archive/2024")
        self.assertEqual(self.sync("--dry-run", "--two-way", "alice", other)["copied"], 1)
        self.assertEqual(self.sync("--two-way", "--verify", other, "bob")["copied"], 2)
        self.put("bob", "Archive", "Old/100%")
        told = self.sync("--two-way", "--verify", other, "bob")
        self.assertEqual((told["copied"], [m["equal"] for m in told["mounts"]]), (2, [True, True]))
        self.assertEqual(self.sync("--two-way", "alice", other)["copied"], 3)

    def test_they_are_checked_and_go_with_the_user_and_stay_at_a_switch(self):
        self.configure(self.MOUNTS + 'mount "Third" { backend = "maildir" location = "third/%u" }')
        self.put("alice", "INBOX", "Archive", "Old/100%", "Third")
        told = self.json("storage", "check", "alice")
        self.assertEqual([(m["messages"], m["faults"]) for m in (told, *told["mounts"])], [(1, [])] * 4)
        self.assertEqual(len(self.json("storage", "compact", "alice")["mounts"]), 3)
        file = next((self.mail / "third").glob("*/cur/*"))
        octets = file.read_bytes()
        os.truncate(file, len(octets) - 2)
        self.assertEqual(len(self.json("storage", "check", "alice", code=FAILED)["mounts"][2]["faults"]), 1)
        os.truncate(file, 0)
        file.write_bytes(octets)
        before = self.statuses()
        done = self.run_cli("storage", "switch", "--to", "lmdb", "alice")
        self.assertIn("what is mounted as Archive stays where it is", done.stdout)
        self.assertEqual(self.statuses(), before)
        self.run_cli("user", "remove", "alice", "--yes", "--mail")
        self.assertEqual([path for path in self.mail.rglob("*") if path.is_file()], [])

    def test_a_mount_that_nobody_used_is_not_made(self):
        self.put("alice", "INBOX")
        told = self.sync("--verify", "alice", self.end("maildir", "backup"))
        self.assertEqual([m["mount"] for m in told["mounts"]], ["Archive"])  # a mailbox that every user has
        self.assertFalse((self.mail / "old").exists())


class Pace(Sync):
    def test_a_rate_is_kept_and_how_far_it_is_is_told(self):
        """Never faster than asked for; on a terminal, with the rate and the time that is left."""
        source = self.maildir(300)
        for rate, seconds in (("100msg", 2), ("200K", 3)):
            with self.subTest(rate):
                began = time.monotonic()
                text = self.on_terminal("sync", "--throttle", rate, source, self.end("maildir", "at " + rate))
                self.assertGreater(time.monotonic() - began, seconds)
                told = re.findall(r"(\d+) of 300 messages, \d+/s, \d+ %, \d+ s left", text)
                self.assertGreater(len(set(told)), 1, text)
                self.assertIn("copied 300", text)

    def on_terminal(self, *args):
        environment = dict(os.environ, POSTERN_PLUGINDIR=str(BUILD), POSTERN_CONFIG=str(self.config))
        ours, theirs = pty.openpty()
        with subprocess.Popen([POSTERN, *args], env=environment, stdout=theirs, stderr=theirs) as running:
            os.close(theirs)
            text = b""
            try:
                while piece := os.read(ours, 4096):
                    text += piece
            except OSError:  # how Linux tells the end
                pass
        os.close(ours)
        self.assertEqual(running.returncode, 0, text)
        return text.decode()


class Mistakes(Sync):
    def test_wrong_usage(self):
        for args, text in [
            (["alice"], "usage: postern sync [OPTIONS] FROM TO"),
            (["--add", "--two-way", "a", "b"], "exclude each other"),
            (["--uid", "1", "a", "b"], "--uid needs --mailbox"),
            (["--uid", "x", "--mailbox", "INBOX", "a", "b"], "--uid takes numbers"),
            (["--throttle", "fast", "a", "b"], "--throttle takes octets a second"),
            (["--throttle", "0", "a", "b"], "--throttle takes octets a second"),
            (["--two-way", "--force", "a", "b"], "--force"),
            (["--add", "--verify", "a", "b"], "--verify"),
            (["--mailbox", "a//b", "a", "b"], "a component is empty"),
        ]:
            with self.subTest(args):
                self.assertIn(text, self.run_cli("sync", *args, code=USAGE).stderr)

    def test_ends_that_are_none(self):
        there = self.maildir(1)
        for args, text in [
            (["nobody", there], 'there is no user "nobody@example.test"'),
            (["tape:/dev/st0", there], 'there is no backend "tape"'),
            (["maildir:", there], "a path is missing"),
            (["maildir:/nowhere/x", there], "/nowhere/x"),
            ([there, "memory:x"], "keeps nothing on disk"),
        ]:
            with self.subTest(args):
                self.assertIn(text, self.run_cli("sync", *args, code=FAILED).stderr)
        self.assertIn("the same place", self.run_cli("sync", there, there, code=USAGE).stderr)

    def test_a_source_is_never_made(self):
        to = self.dir / "to"
        self.run_cli("sync", self.end("maildir", "nothing"), f"maildir:{to}", code=FAILED)
        self.assertFalse((self.dir / "nothing").exists())
        self.assertFalse(to.exists())

    def test_a_target_with_other_mail_is_left_alone(self):
        source, to = self.maildir(10), self.maildir(5, "to")
        self.assertIn("is not known to be a copy", self.run_cli("sync", source, to, code=FAILED).stderr)
        self.assertEqual(len(list((self.dir / "to").glob("**/*.to*"))), 5)

    def test_a_dry_run_leaves_no_trace(self):
        source, to = self.maildir(10), self.dir / "to"
        self.assertIn("all would be copied", self.run_cli("sync", "--dry-run", source, f"maildir:{to}").stderr)
        self.assertFalse(to.exists())
        self.sync(source, f"maildir:{to}")
        (self.dir / "source/new/1.x").write_text("Subject: x\n\n")
        told = self.sync("--dry-run", source, f"maildir:{to}")
        self.assertEqual((told["copied"], told["complete"]), (1, False))
        self.assertEqual(self.sync(source, f"maildir:{to}")["copied"], 1)

    def test_verify_finds_what_is_not_the_same(self):
        source, to = self.maildir(10), self.end("maildir", "to")
        self.sync(source, to)
        victim = next((self.dir / "to/cur").iterdir())
        octets = bytearray(victim.read_bytes())
        octets[-2] ^= 1
        victim.write_bytes(octets)
        done = self.run_cli("sync", "--verify", source, to, code=FAILED)
        self.assertIn("mailbox INBOX is not the same", done.stderr)

    def test_it_works_without_any_configuration(self):
        self.config.unlink()
        environment = {k: v for k, v in os.environ.items() if k != "POSTERN_CONFIG"}
        environment["POSTERN_PLUGINDIR"] = str(BUILD)
        if (pathlib.Path("/etc/postern/postern.conf")).exists():
            self.skipTest("this machine has a configuration of its own")
        done = subprocess.run([POSTERN, "sync", self.maildir(3), self.end("maildir", "to")], env=environment,
                              capture_output=True, text=True, check=False, timeout=cli_test.PATIENCE)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_root_leaves_nothing_of_its_own_in_a_users_mail(self):
        source, backup = self.maildir(10), self.dir / "backup"
        self.sync(source, "alice")
        self.sync("alice", f"maildir:{backup}")
        owner = self.mail.stat().st_uid
        for path in self.mail.rglob("*"):
            self.assertEqual(path.lstat().st_uid, owner, path)
        for path in backup.rglob("*"):
            self.assertEqual(path.lstat().st_uid, 0, path)


if __name__ == "__main__":
    sys.exit(tap.main([__file__]))
