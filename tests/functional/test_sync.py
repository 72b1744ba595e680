# SPDX-License-Identifier: MIT
"""`postern sync` beside a running server, between all backends on disk: whatever a mail program does to an account by chance, copies follow
it, killed at times; a copy shows to mail programs what the account shows. POSTERN_TEST_ROUNDS and POSTERN_TEST_SEED make it longer, and
another."""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
import unittest

import accounts
import postern
from server_test import ServerTest, subjects_by_uid
from test_switch import DURABLE, KNOWN_BEFORE, MbSync

ROUNDS = int(os.environ.get("POSTERN_TEST_ROUNDS", "4"))
SEED = int(os.environ.get("POSTERN_TEST_SEED", "7"))
NAMES = ("INBOX", "Work", "Work/2026", "Lists", "Lists/postern", "&AOQ-nge", "Drafts")
FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "\\Draft", "\\Deleted", "$Forwarded", "urgent", "later")


class Person:
    """Somebody who does this and that to an account by chance."""

    def __init__(self, server, user, chance, names=NAMES):
        self.client = server.session(user)
        self.user, self.chance, self.names, self.count = user, chance, names, 0
        self.mailbox = None

    def some_flags(self):
        return " ".join(self.chance.sample(FLAGS, self.chance.randint(0, 3)))

    def select(self):
        """UIDs of a mailbox that there is, some of them."""
        _, answer = self.client.command("SELECT " + self.chance.choice(self.names))
        uids = list(subjects_by_uid(self.client)) if answer.startswith(b"OK") else []
        return ",".join(map(str, self.chance.sample(uids, min(len(uids), self.chance.randint(1, 4)))))

    def append(self):
        self.count += 1
        text = "line of %s %d\r\n" % (self.user, self.count) * self.chance.randint(0, 60)
        self.client.append(postern.message("%s-%d" % (self.user, self.count), text + "From here on\r\n"),
                           self.chance.choice(self.names), self.some_flags())

    def store(self):
        uids = self.select()
        if uids:
            self.client.ok("UID STORE %s %sFLAGS (%s)" % (uids, self.chance.choice(("", "+", "-")), self.some_flags()))

    def expunge(self):
        uids = self.select()
        if uids:
            self.client.ok("UID STORE %s +FLAGS (\\Deleted)" % uids)
            self.client.ok("UID EXPUNGE " + uids)

    def copy(self):
        uids = self.select()
        if uids:
            self.client.command("UID %s %s %s" % (self.chance.choice(("COPY", "MOVE")), uids, self.chance.choice(self.names)))

    def mailboxes(self):
        self.client.command("UNSELECT")
        one, other = self.chance.sample(self.names[1:], 2)
        self.client.command(self.chance.choice(("CREATE " + one, "CREATE " + one, "DELETE " + one, "SUBSCRIBE " + one,
                                                "UNSUBSCRIBE " + one, "RENAME %s %s" % (one, other))))

    def act(self, times):
        deeds = (self.append,) * 4 + (self.store,) * 4 + (self.expunge, self.copy, self.copy, self.mailboxes)
        for _ in range(times):
            self.chance.choice(deeds)()
        self.client.command("UNSELECT")


def picture(client):
    """All that a mail program can see of an account; and the modseqs, {mailbox: {UID: modseq}}."""
    seen, modseqs = {}, {}
    listed = client.ok('LIST (SPECIAL-USE) "" * RETURN (SUBSCRIBED SPECIAL-USE)')
    for line in listed + client.ok('LSUB "" *'):
        if line.startswith((b"* LIST", b"* LSUB")):
            seen[line] = True
    for line in client.ok('LIST "" *'):
        name = line.rpartition(b'"/" ')[2].rstrip()
        if not line.startswith(b"* LIST") or b"\\NonExistent" in line or b"\\Noselect" in line:
            continue
        status = b"".join(client.ok("STATUS %s (MESSAGES UIDNEXT UIDVALIDITY UNSEEN SIZE MAILBOXID)" % name.decode()))
        client.ok("EXAMINE " + name.decode())
        rows = client.ok("UID FETCH 1:* (UID FLAGS INTERNALDATE SAVEDATE EMAILID RFC822.SIZE MODSEQ BODY.PEEK[])")
        modseqs[name] = {}
        for row in rows:
            found = re.search(rb"UID (\d+)", row), re.search(rb"MODSEQ \((\d+)\)", row)
            if all(found):
                modseqs[name][int(found[0].group(1))] = int(found[1].group(1))
        seen[name] = status, [normal(row) for row in rows if b" FETCH (" in row]
        client.ok("UNSELECT")
    return seen, modseqs


def normal(row):
    """Without what has no order, and modseqs."""
    row = re.sub(rb"MODSEQ \(\d+\)", b"", row)
    return re.sub(rb"FLAGS \(([^)]*)\)", lambda m: b"FLAGS (%s)" % b" ".join(
        sorted(set(m.group(1).split()) - {b"\\Recent"})), row)


@unittest.skipIf(len(DURABLE) < 2, "there is but one backend on disk")
class Copies(ServerTest):
    backend = DURABLE[0] if DURABLE else "memory"
    users = ("alice",)
    users_with = {
        **{"backend=" + one: ["at-" + one, "two-way-" + one, "around-" + one] for one in DURABLE},
        # "lmdb-as-mbox" is the copy of at-lmdb in an mbox.
        **{"mail=%s:{mail_root}/copies/%s-as-%s" % (other, one, other): ["%s-as-%s" % (one, other)]
           for one in DURABLE for other in DURABLE},
    }

    def place(self, name):
        """A folder for a copy, that the server can use as well."""
        path = os.path.join(self.server.mail_root, "copies", name)
        owner = os.stat(self.server.mail_root)
        for folder in (os.path.dirname(path), path):
            os.makedirs(folder, mode=0o700, exist_ok=True)
            os.chown(folder, owner.st_uid, owner.st_gid)
        return path

    def sync(self, *args):
        done = self.server.tool("sync", "--json", "--verify", *args)
        told = json.loads(done.stdout)
        self.assertTrue(told["complete"] and told["equal"], told)
        return told

    def kill_sync(self, chance, *args):
        running = subprocess.Popen((self.server.installation.path("bin/postern"), "--config", self.server.config, "sync",
                                    *args), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        time.sleep(chance.uniform(0, 0.06))
        running.send_signal(signal.SIGKILL)
        _, errors = running.communicate()
        self.assertIn(running.returncode, (-signal.SIGKILL, 0), errors)

    def test_copies_follow_whatever_is_done(self):
        for one in DURABLE:
            with self.subTest(one):
                self.follow(one, random.Random("%d %s" % (SEED, one)))

    def follow(self, one, chance):
        user = "at-" + one
        targets = {other: "%s:%s" % (other, self.place("%s-as-%s" % (one, other))) for other in DURABLE}
        person = Person(self.server, user, chance)
        for _ in range(ROUNDS):
            for target in targets.values():
                person.act(chance.randint(3, 25))
                if chance.random() < 0.5:
                    self.kill_sync(chance, user, target)
                    person.act(chance.randint(0, 5))
                self.sync(user, target)
                self.assertEqual(self.sync(user, target)["copied"], 0)
        account, modseqs = picture(person.client)
        for other, target in targets.items():
            with self.subTest("%s as %s" % (one, other)):
                self.sync(user, target)
                with self.server.session("%s-as-%s" % (one, other)) as client:
                    there, copied = picture(client)
                self.assertEqual(there, account)
                for name, of_uids in modseqs.items():
                    # Who asks the copy for changes since something that the account told hears of all.
                    self.assertEqual([uid for uid in of_uids if copied[name][uid] < of_uids[uid]], [])
        person.client.close()

    def test_two_accounts_are_kept_alike(self):
        """What nobody removes is never lost, and both ends are the same after each run."""
        for one, other in zip(DURABLE, DURABLE[1:] + DURABLE[:1]):
            with self.subTest("%s and %s" % (one, other)):
                self.keep_alike("two-way-" + one, "%s:%s" % (other, self.place("other-way-" + one)), one,
                                random.Random("%d two ways %s" % (SEED, one)))

    def keep_alike(self, user, there, backend, chance):
        """The person at the other end has an account with a two-way copy of its own: changes come from both sides."""
        here, elsewhere = Person(self.server, user, chance), Person(self.server, "around-" + backend, chance)
        kept = set()
        for person in (here, elsewhere):
            person.client.command("CREATE Kept")
        for number in range(ROUNDS * 2):
            for person in (here, elsewhere):
                person.act(chance.randint(0, 15))
                subject = "kept-%s-%d" % (person.user, number)
                person.client.append(postern.message(subject), "Kept")
                kept.add(subject)
            if chance.random() < 0.5:
                self.kill_sync(chance, "--two-way", user, there)
            for person in (here, elsewhere, here):
                self.sync("--two-way", person.user, there)
        for person in (here, elsewhere):
            person.client.ok("SELECT Kept")
            subjects = list(subjects_by_uid(person.client).values())
            self.assertEqual(sorted(subjects), sorted(kept))
            person.client.close()

    @unittest.skipUnless(shutil.which("mbsync"), "mbsync is not installed")
    def test_a_client_that_had_synced_before_a_conversion_transfers_nothing_after(self):
        """An account goes around all backends by conversions; its user's passwd line names each place in turn."""
        folder = os.path.join(postern.scratch_folder(), "account")
        accounts.make_maildir(accounts.pathlib.Path(folder), KNOWN_BEFORE)
        self.server.tool("import", "alice", folder)
        walk = [self.backend]
        left = {(one, other) for one in DURABLE for other in DURABLE if one != other}
        while left:
            step = min(pair for pair in left if pair[0] == walk[-1] or not any(p[0] == walk[-1] for p in left))
            left.discard((walk[-1], step[1]))
            walk.append(step[1])
        mbsync = MbSync(self.server, "alice", postern.scratch_folder())
        before = mbsync.first_run()
        at = "alice"
        for number, backend in enumerate(walk[1:]):
            to = "%s:%s" % (backend, self.place("step-%d" % number))
            self.assertEqual(self.sync(at, to)["to_digest"]["messages"], KNOWN_BEFORE)
            self.move_user("alice", to)
            mbsync.ensure_nothing_is_transferred(before)
            at = to

    def move_user(self, user, place):
        """What lies there is the user's mail from now on."""
        with open(self.server.passwd_file, encoding="ascii") as file:
            lines = [re.sub("::::::.*", "::::::mail=" + place, line) if line.startswith(user + "@") else line for line in file]
        with open(self.server.passwd_file + ".new", "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o600)
            file.writelines(lines)
        os.rename(self.server.passwd_file + ".new", self.server.passwd_file)
        self.server.add_users("witness-" + os.path.basename(place))

        def is_known():
            with contextlib.suppress(AssertionError, OSError, postern.Closed):
                self.server.session("witness-" + os.path.basename(place)).close()
                return True
            return False

        postern.wait_until(is_known, "what the passwd-file says last")


if __name__ == "__main__":
    unittest.main()
