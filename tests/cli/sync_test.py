# SPDX-License-Identifier: MIT
"""`postern sync` between all backends that are built, with mail of the corpus (else with made-up mail)."""

import itertools
import os
import pathlib
import random
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

    def test_an_interrupt_ends_between_two_batches(self):
        source, to = self.maildir(600), self.end("maildir", "to")
        environment = dict(os.environ, POSTERN_PLUGINDIR=str(BUILD), POSTERN_CONFIG=str(self.config))
        running = subprocess.Popen([POSTERN, "sync", "--throttle", "200msg", source, to], env=environment,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + cli_test.PATIENCE
        while not list((self.dir / "to").glob("**/cur/*")) and time.monotonic() < deadline:
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
