# SPDX-License-Identifier: MIT
"""`postern storage switch`: mail moves to another backend while its user is logged in and mail arrives. With POSTERN_TEST_MESSAGES
and POSTERN_TEST_KILLS set (`./check moving` does it) accounts are large and kills many; POSTERN_TEST_SEED chooses their moments."""

import contextlib
import glob
import itertools
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import threading
import time
import unittest

import accounts
import postern
from server_test import ServerTest, flags_by_uid, status, subjects_by_uid

# Others keep nothing that another process could move.
DURABLE = sorted(os.path.basename(path)[:-3] for path in glob.glob(
    os.path.join(os.environ.get("POSTERN_PREFIX", ""), "lib/postern/backends/*.so")) if "memory" not in path)
PAIRS = list(itertools.combinations(DURABLE, 2))
DIRECTIONS = list(itertools.permutations(DURABLE, 2))
KILLS = int(os.environ.get("POSTERN_TEST_KILLS", "5"))
KNOWN_BEFORE = int(os.environ.get("POSTERN_TEST_MESSAGES", "150"))
SEED = int(os.environ.get("POSTERN_TEST_SEED", "5"))
FEWEST = 4  # deliveries while it moves, or shortly after
DELIVERIES_A_SECOND = 10


def crc32c(octets):
    crc = 0xFFFFFFFF
    for octet in octets:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


class Load:
    """Sessions of alice: five that wait, one that stores flags, one that delivers ten messages a second."""

    def __init__(self, server, user, waiting=5):
        self.server = server
        self.user = user
        self.over = threading.Event()
        self.errors = []
        self.delivered = {}  # UID: subject, as they were acknowledged
        self.refused = 0
        self.flags = {}  # UID: as they were acknowledged
        self.stalls = {"APPEND": 0.0, "STORE": 0.0}
        self.waiting = [server.session(user, select="INBOX") for _ in range(waiting)]
        self.idle_seen = [0] * waiting
        self.threads = [threading.Thread(target=self.guarded, args=(work, *args)) for work, args in
                        [(self.deliver, ()), (self.store, ())] + [(self.idle, (n,)) for n in range(waiting)]]

    def guarded(self, work, *args):
        try:
            work(*args)
        except BaseException as error:  # told by finish()
            self.errors.append("%s: %r" % (work.__name__, error))

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def timed(self, what, work):
        began = time.monotonic()
        answer = work()
        self.stalls[what] = max(self.stalls[what], time.monotonic() - began)
        return answer

    def deliver(self):
        with self.server.session(self.user) as client:
            number, due = 0, time.monotonic()
            while not self.over.is_set():
                subject = "load-%d" % number
                answer = self.timed("APPEND", lambda: client.append(postern.message(subject)))
                if answer.startswith(b"OK"):
                    uid = int(re.search(rb"APPENDUID \d+ (\d+)", answer).group(1))
                    self.delivered[uid] = subject
                    number += 1
                else:
                    assert b"UNAVAILABLE" in answer, answer  # and nothing is stored: once more
                    self.refused += 1
                due += 1 / DELIVERIES_A_SECOND
                time.sleep(max(0, due - time.monotonic()))

    def store(self):
        chance = random.Random(1)
        with self.server.session(self.user, select="INBOX") as client:
            known = sorted(flags_by_uid(client))
            while not self.over.is_set():
                uid, flag = chance.choice(known), chance.choice(["\\Seen", "\\Flagged", "urgent", "$Label1"])
                untagged, answer = self.timed("STORE", lambda: client.command("UID STORE %d FLAGS (%s)" % (uid, flag)))
                assert answer.startswith(b"OK"), answer
                assert not any(b"BYE" in line for line in untagged), untagged
                self.flags[uid] = {flag}

    def idle(self, number):
        client = self.waiting[number]
        client.send(b"i IDLE\r\n")
        client.sock.settimeout(0.2)
        while not self.over.is_set():
            try:
                self.hear(number)
            except TimeoutError:
                continue

    def hear(self, number):
        line = self.waiting[number].line()
        found = re.match(rb"\* (\d+) EXISTS", line)
        if found:
            self.idle_seen[number] = int(found.group(1))
        assert b"BYE" not in line and not re.match(rb"\* \d+ EXPUNGE", line), line

    def finish(self):
        end = time.monotonic() + postern.PATIENCE  # a busy machine delivers late, and a switch may be quick
        while len(self.delivered) < FEWEST and not self.errors and time.monotonic() < end:
            time.sleep(0.05)
        self.over.set()
        for thread in self.threads:
            thread.join()
        for client in self.waiting:
            client.sock.settimeout(postern.PATIENCE)
        if self.errors:
            raise AssertionError("\n".join(self.errors))

    def report(self, what):
        print("# %s: longest stall %s; APPENDs refused and made again %d" % (
            what, ", ".join("%s %.0f ms" % (name, 1000 * seconds) for name, seconds in self.stalls.items()),
            self.refused), flush=True)


class MbSync:
    """isync, with a Maildir of its own; what it says it did."""

    def __init__(self, server, user, folder):
        self.folder = os.path.join(folder, "mail")
        self.config = os.path.join(folder, "mbsyncrc")
        os.mkdir(self.folder)
        with open(self.config, "w", encoding="ascii") as file:
            file.write("""
IMAPAccount there
Host localhost
Port %d
User %s
Pass %s
SSLType IMAPS
SystemCertificates no
CertificateFile %s

IMAPStore far
Account there

MaildirStore near
Path %s/
Inbox %s/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Near
Sync All
SyncState *
""" % (server.ports["imaps"], user, postern.PASSWORD, postern.authority().ca, self.folder, self.folder))

    def run(self):
        done = subprocess.run(("mbsync", "--config", self.config, "--all", "--verbose"), capture_output=True, text=True,
                              timeout=postern.PATIENCE * 3, check=False)
        if done.returncode != 0:
            raise AssertionError("mbsync: %s%s" % (done.stdout, done.stderr))
        # "C: 1/1  B: 7/7  F: +0/0 *0/0 #0/0  N: +55/55 *0/0 #0/0"
        return re.findall(r"F: .*$", done.stdout.replace("\r", "\n"), re.MULTILINE)[-1] if "F: " in done.stdout else ""

    def files(self):
        return sorted(name for _, _, names in os.walk(self.folder) for name in names if not name.startswith("."))

    def first_run(self):
        """What is there then."""
        self.run()
        files = self.files()
        assert len(files) > 50, files
        return files

    def ensure_nothing_is_transferred(self, before):
        counts = self.run()
        assert not re.search(r"[+*#]([1-9])", counts), counts
        assert self.files() == before, "files of mbsync came, went or changed"


@unittest.skipIf(len(DURABLE) < 2, "there is but one backend on disk")
class Live(ServerTest):
    backend = DURABLE[0] if DURABLE else "memory"
    users = ("alice", "bob", "robert", "robin", "wren")
    # "lmdb-mbox-load" begins in lmdb.
    users_with = {"backend=" + one: ["%s-%s-%s" % (one, other, what) for other in DURABLE for what in ("load", "kill", "sync")]
                  for one in DURABLE}

    def load_account(self, user):
        """Real mail, in INBOX and a mailbox beside it."""
        folder = pathlib.Path(postern.scratch_folder())
        accounts.make_maildir(folder / "account", KNOWN_BEFORE, ("", "", "", ".Work.2026"))
        self.server.tool("import", user, str(folder / "account"))
        shutil.rmtree(folder)

    def fill(self, user, count):
        """Half of it by APPEND, and mailboxes beside INBOX."""
        with self.server.session(user) as client:
            client.ok("CREATE Work/2026")
            for number in range(count):
                flags = "\\Seen $Label1" if number % 3 else ""
                answer = client.append(postern.message("known-%d" % number, "x" * number + "\r\n"),
                                       "Work/2026" if number % 10 == 9 else "INBOX", flags)
                self.assertTrue(answer.startswith(b"OK"), answer)

    def switch(self, user, *options, check=True):
        done = self.server.tool("storage", "switch", "--json", *options, *([user] if user else []), check=check)
        return json.loads(done.stdout)

    def picture(self, user):
        """All that a client sees."""
        seen = {}
        with self.server.session(user) as client:
            for mailbox in ("INBOX", "Work/2026", "Drafts"):
                figures = status(client, mailbox, "UIDVALIDITY", "UIDNEXT", "MESSAGES", "UNSEEN")
                client.ok("EXAMINE " + mailbox)
                seen[mailbox] = figures, subjects_by_uid(client), flags_by_uid(client)
        return seen

    def test_a_live_switch_in_each_direction_under_load(self):
        for one, other in PAIRS:
            with self.subTest("%s and %s" % (one, other)):
                self.there_and_back("%s-%s-load" % (one, other), one, other)

    def there_and_back(self, user, one, other):
        self.load_account(user)
        before = self.picture(user)
        load = Load(self.server, user).start()
        try:
            for option in (("--to", other), ("--undo",), ("--undo",)):
                time.sleep(1)
                told = self.switch(user, *option)[0]
                self.assertEqual(told["outcome"], "done", told)
                print("# %(from)s to %(to)s: shut for %(pause_ms)d ms, copied %(copied)d" % told, flush=True)
            time.sleep(1)
        finally:
            load.finish()
        load.report("%s to %s and back" % (one, other))
        self.verify(user, load, before)

    def test_undo_brings_everything_back(self):
        others = [b for b in DURABLE if b != self.backend]
        before = {other: self.move_and_change("bob" if other == others[0] else "robert", other) for other in others}
        for other, user in zip(others, ("bob", "robert")):
            with self.subTest(other):
                self.assertEqual(self.switch(user, "--undo")[0]["outcome"], "done")
                self.assertEqual(self.picture(user), before[other])
                state = self.state(user)
                self.assertEqual((state["now"]["backend"], state["before"]["backend"]), (self.backend, other))
        for other, user in zip(others, ("bob", "robert")):
            with self.subTest(other):
                self.switch(user, "--purge", "--yes")
                self.assertEqual(self.picture(user), before[other])
                self.assertEqual(self.switch(user, "--undo", check=False)[0]["outcome"], "failed")
                self.assertEqual(os.listdir(os.path.join(self.server.maildir(user), "postern-control/places")), [])

    def move_and_change(self, user, other):
        self.fill(user, 40)
        self.assertEqual(self.switch(user, "--to", other)[0]["outcome"], "done")
        with self.server.session(user, select="INBOX") as client:
            client.ok("UID STORE 3 +FLAGS (\\Deleted)")
            client.ok("EXPUNGE")
            client.append(postern.message("after the move"))
        return self.picture(user)

    def test_killed_at_any_moment_and_finished(self):
        """Whatever is left behind, one of the two places is right, and sessions go on in it."""
        chance = random.Random(SEED)
        for one, other in DIRECTIONS:
            with self.subTest("%s to %s" % (one, other)):
                self.kill_and_finish("%s-%s-kill" % (one, other), other, chance)

    def kill_and_finish(self, user, other, chance):
        self.load_account(user)
        before = self.picture(user)
        load, died = Load(self.server, user, waiting=1).start(), 0
        try:
            for _ in range(KILLS):
                option = self.next_option(user, other)
                # To go back takes less time than to go.
                seconds = 0.08 if "--undo" in option else 0.05 + KNOWN_BEFORE / 5000
                died += self.kill_switch(user, chance.uniform(0, seconds), *option)
            while self.state(user)["moving_to"]:
                self.assertEqual(self.switch(user, *self.next_option(user, other))[0]["outcome"], "done")
        finally:
            load.finish()
        load.report("%d of %d killed on the way to %s" % (died, KILLS, other))
        self.verify(user, load, before)

    @unittest.skipUnless("maildir" in DURABLE[1:], "others deliver into Maildirs")
    def test_what_cannot_be_gone_on_with_is_begun_anew(self):
        """Somebody put mail into the new place before it was the place."""
        self.fill("robin", 40)
        before = self.picture("robin")
        place = os.path.join(self.server.maildir("robin"), "postern-control/places/2-maildir")
        running = subprocess.Popen((self.server.installation.path("bin/postern"), "--config", self.server.config, "storage",
                                    "switch", "--to", "maildir", "--throttle", "20msg", "robin"), stderr=subprocess.DEVNULL)
        postern.wait_until(lambda: glob.glob(place + "/cur/*"), "the copy")
        running.kill()
        running.communicate()
        with open(place + "/new/1.foreign", "wb") as file:
            file.write(postern.message("foreign"))
            os.fchown(file.fileno(), os.stat(place).st_uid, os.stat(place).st_gid)
        self.assertEqual(self.switch("robin", "--to", "maildir")[0]["outcome"], "done")
        self.assertEqual(self.picture("robin"), before)

    @unittest.skipUnless("maildir" in DURABLE[1:], "wren's mail goes to a Maildir")
    def test_two_that_are_killed_in_a_row_shut_nobody_out(self):
        """The first between raising the store's generation and moving; the next while it copies."""
        self.fill("wren", 40)
        before = self.picture("wren")
        control = os.path.join(self.server.maildir("wren"), "postern-control")
        record = "postern-place 1\nnow %s . 99\ntarget maildir 2-maildir 0\npaused\n" % DURABLE[0]
        os.makedirs(control, 0o700, exist_ok=True)
        with open(control + "/place", "w", encoding="ascii") as file:
            file.write("%send %08x\n" % (record, crc32c(record.encode())))
        owner = os.stat(self.server.maildir("wren"))
        for path in (control, control + "/place"):
            os.chown(path, owner.st_uid, owner.st_gid)
        running = subprocess.Popen((self.server.installation.path("bin/postern"), "--config", self.server.config, "storage",
                                    "switch", "--to", "maildir", "--throttle", "20msg", "wren"), stderr=subprocess.DEVNULL)
        postern.wait_until(lambda: glob.glob(control + "/places/2-maildir/cur/*"), "the copy")
        running.kill()
        running.communicate()
        self.server.tool("mailbox", "status", "wren", "INBOX")  # in a process that opens the store anew
        self.assertEqual(self.picture("wren"), before)

    def state(self, user):
        return json.loads(self.server.tool("storage", "status", "--json", user).stdout)

    def next_option(self, user, other):
        """What goes on with a move that was begun, else what makes the next one."""
        state = self.state(user)
        if state["before"]:
            return ("--undo",)
        return ("--to", (state["moving_to"] or {"backend": other})["backend"])

    def kill_switch(self, user, seconds, *option):
        """Whether it was not done by then."""
        running = subprocess.Popen((self.server.installation.path("bin/postern"), "--config", self.server.config,
                                    "storage", "switch", *option, user),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        time.sleep(seconds)
        running.send_signal(signal.SIGKILL)
        _, errors = running.communicate()
        self.assertIn(running.returncode, (-signal.SIGKILL, 0), errors)
        return running.returncode != 0

    def test_mail_processes_that_die_find_the_new_place(self):
        other = next(b for b in DURABLE if b != self.backend)
        with postern.Instance(backend=self.backend, users=("alice",)) as server:
            with server.session() as client:
                client.append(postern.message("first"))
            server.tool("storage", "switch", "--to", other, "alice")
            for pid, role in server.roles():
                if role == "mail":
                    os.kill(pid, signal.SIGKILL)
            postern.wait_until(lambda: server.log().count("event=role_died") == 2, "the end of the mail processes")
            subjects = postern.wait_until(lambda: self.subjects_if_served(server), "new mail processes")
            self.assertEqual(subjects, ["first"])

    def subjects_if_served(self, server):
        try:
            with server.session(select="INBOX") as client:
                return list(subjects_by_uid(client).values())
        except postern.Closed:
            return None

    @unittest.skipUnless(shutil.which("mbsync"), "mbsync is not installed")
    def test_a_client_that_had_synced_before_transfers_nothing_after(self):
        for one, other in PAIRS:
            user = "%s-%s-sync" % (one, other)
            self.load_account(user)
            mbsync = MbSync(self.server, user, postern.scratch_folder())
            before = mbsync.first_run()
            for option in (("--to", other), ("--undo",)):
                with self.subTest("%s and %s, %s" % (one, other, option[0])):
                    self.assertEqual(self.switch(user, *option)[0]["outcome"], "done")
                    mbsync.ensure_nothing_is_transferred(before)

    def test_a_domain_is_moved_some_at_a_time_and_gone_on_with(self):
        for other in DURABLE:
            if other == self.backend:
                continue
            with self.subTest(other), postern.Instance(backend=self.backend,
                                                       users=("u1", "u2", "u3", "u4", "u5")) as server:
                self.move_domain(server, other)

    def move_domain(self, server, other):
        for number in range(1, 6):
            with server.session("u%d" % number) as client:
                client.append(postern.message("m%d" % number))
        done = server.tool("storage", "switch", "--json", "--to", other, "u3")
        self.assertEqual(json.loads(done.stdout)[0]["outcome"], "done")
        domain = ("storage", "switch", "--domain", postern.DOMAIN)
        rows = json.loads(server.tool(*domain, "--json", "--jobs", "3", "--to", other).stdout)
        self.assertEqual([row["outcome"] for row in rows], ["done", "done", "nothing to do", "done", "done"])
        report = server.tool(*domain, "--to", other).stdout
        self.assertIn("of 5 users: done 0, nothing to do 5, failed 0, left 0", report)
        self.ensure_all_see_their_mail(server)
        rows = json.loads(server.tool(*domain, "--json", "--undo").stdout)
        self.assertEqual([(row["outcome"], row["to"]) for row in rows], [("done", self.backend)] * 5)
        self.ensure_all_see_their_mail(server)
        self.assertNotEqual(server.tool("storage", "switch", "--domain", "nowhere.test", "--to", other,
                                        check=False).returncode, 0)

    def ensure_all_see_their_mail(self, server):
        for number in range(1, 6):
            with server.session("u%d" % number, select="INBOX") as client:
                self.assertEqual(list(subjects_by_uid(client).values()), ["m%d" % number])

    def test_a_domain_is_gone_on_with_after_the_command_was_killed(self):
        other = DURABLE[-1]
        names = ["u%d" % number for number in range(1, 6)]
        with postern.Instance(backend=self.backend, users=names) as server:
            for name in names:
                with server.session(name) as client:
                    for number in range(20):
                        client.append(postern.message("m%s-%d" % (name[1:], number)))
            command = ("storage", "switch", "--domain", postern.DOMAIN, "--to", other)
            running = subprocess.Popen((server.installation.path("bin/postern"), "--config", server.config) + command +
                                       ("--throttle", "40msg", "--jobs", "2"), stdout=subprocess.PIPE, text=True)
            self.assertIn("moved from", running.stdout.readline())
            running.kill()
            running.communicate()
            rows = json.loads(server.tool(*command, "--json").stdout)
            outcomes = [row["outcome"] for row in rows]
            self.assertIn("nothing to do", outcomes)
            self.assertEqual(set(outcomes), {"nothing to do", "done"})
            for name in names:
                with server.session(name, select="INBOX") as client:
                    self.assertEqual(list(subjects_by_uid(client).values()),
                                     ["m%s-%d" % (name[1:], number) for number in range(20)])

    def test_what_others_deliver_to_the_old_place_is_fetched_before_it_is_purged(self):
        ways = {"maildir": self.deliver_to_maildir, "mbox": self.deliver_to_mbox}
        with contextlib.ExitStack() as stack:
            servers = [stack.enter_context(postern.Instance(backend=backend, users=("alice",)))
                       for backend in ways if backend in DURABLE]
            for server in servers:
                self.deliver_around_a_move(server, next(b for b in DURABLE if b != server.backend), ways[server.backend])
            for server in servers:  # the first one waits until its move is half a minute old
                with self.subTest(server.backend):
                    self.purge_and_look(server)

    def deliver_to_maildir(self, server, subject):
        server.deliver("alice", postern.message(subject))

    def deliver_to_mbox(self, server, subject):
        with open(os.path.join(server.mail_root, postern.DOMAIN, "alice", "INBOX"), "a", encoding="ascii") as file:
            file.write("From b@example.test Thu Nov 23 09:12:09 2023\nSubject: %s\n\nx\n\n" % subject)

    def deliver_around_a_move(self, server, other, deliver):
        with server.session() as client:
            client.append(postern.message("first"))
        deliver(server, "foreign, before")
        server.tool("storage", "switch", "--to", other, "alice")
        with server.session(select="INBOX") as client:
            self.assertEqual(sorted(subjects_by_uid(client).values()), ["first", "foreign, before"])
            client.append(postern.message("second"))
        deliver(server, "foreign, late")

    def purge_and_look(self, server):
        told = json.loads(server.tool("storage", "switch", "--json", "--purge", "--yes", "alice").stdout)[0]
        self.assertEqual((told["outcome"], told["late"]), ("done", 1))
        with server.session(select="INBOX") as client:
            self.assertEqual(sorted(subjects_by_uid(client).values()),
                             ["first", "foreign, before", "foreign, late", "second"])
        self.assertEqual(os.listdir(os.path.join(server.mail_root, postern.DOMAIN, "alice")), ["postern-control"])

    def test_mistakes_are_told(self):
        for options, text in [
            (("alice",), "one of --to"),
            (("--to", "x", "--undo", "alice"), "one of --to"),
            (("--undo",), "either USER or --domain"),
            (("--undo", "--domain", "x", "alice"), "either USER or --domain"),
            (("--undo", "--jobs", "0", "alice"), "--jobs"),
            (("--to", "tape", "alice"), 'no backend "tape"'),
            (("--to", "memory", "alice"), "keeps nothing on disk"),
            (("--undo", "alice"), "no former place"),
        ]:
            with self.subTest(options):
                done = self.server.tool("storage", "switch", *options, check=False)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(text, done.stderr)
        self.assertIsNone(self.state("alice")["before"])

    def verify(self, user, load, before):
        """Nothing lost, nothing doubled, no UID changed, and every session sees the same."""
        after = self.picture(user)
        self.assertEqual(after["Work/2026"], before["Work/2026"])
        figures, subjects, flags = after["INBOX"]
        self.assertEqual(figures["UIDVALIDITY"], before["INBOX"][0]["UIDVALIDITY"])
        self.assertEqual(subjects, {**before["INBOX"][1], **load.delivered})
        self.assertEqual(len(set(subjects.values())), len(subjects))
        self.assertGreaterEqual(len(load.delivered), FEWEST)
        for uid, expected in {**before["INBOX"][2], **load.flags}.items():
            self.assertEqual(flags[uid], expected, uid)
        for number, client in enumerate(load.waiting):
            while load.idle_seen[number] < len(subjects):
                load.hear(number)
            client.send(b"DONE\r\n")
            client.finish(b"i")
            client.ok("NOOP")
            self.assertEqual(subjects_by_uid(client), subjects)
            client.close()


if __name__ == "__main__":
    unittest.main()
