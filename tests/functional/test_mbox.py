# SPDX-License-Identifier: MIT
"""mbox: files of others adopted, and used side by side with mutt, Python's mailbox and Dovecot. With POSTERN_TEST_MEGABYTES set
(`./check moving` does it) the large file is larger."""

import os
import pty
import re
import shutil
import subprocess
import time
import unittest

import postern
import test_adoption
from server_test import ServerTest, flags_by_uid, status, subjects_by_uid

MBOXO = """From a@example.test Thu Nov 23 09:12:09 2023
From: a@example.test
Subject: one
Status: RO
X-Status: AF
X-Keywords: work home

first
>From here on quoted
From not a line that begins a message

From b@example.test  Fri Nov 24 10:00:00 2023
Subject: two

second
"""

MBOXCL2 = """From a@example.test Thu Nov 23 09:12:09 2023
Subject: one
Content-Length: 48

From b@example.test Fri Nov 24 10:00:00 2023
not
From c@example.test Fri Nov 24 10:00:00 2023
Subject: two
Content-Length: 9999

wrong length
"""

UW = """From MAILER-DAEMON Thu Nov 23 09:12:09 2023
Date: 23 Nov 2023 09:12:09 +0000
From: Mail System Internal Data <MAILER-DAEMON@example.test>
Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA
X-IMAP: 1700000000 0000000012 work
Status: RO

not a message

From a@example.test Thu Nov 23 09:12:09 2023
Subject: one
Status: RO
X-Status: D
X-Keywords: work
X-UID: 5

first

From a@example.test Thu Nov 23 09:12:09 2023
Subject: two
X-UID: 12

second

From a@example.test Thu Nov 23 09:12:09 2023
Subject: three
X-UID: 99

above the last UID

"""


class Mbox(ServerTest):
    backend = "mbox"
    users = tuple("user%d" % number for number in range(1, 16))

    def root(self, user):
        return os.path.join(self.server.mail_root, postern.DOMAIN, user)

    def write(self, user, name, text):
        """A file of another program, at its place before the user was ever here."""
        path = os.path.join(self.root(user), name)
        owner = os.stat(self.server.mail_root)
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        for folder in (os.path.dirname(self.root(user)), self.root(user), path):
            os.chown(folder, owner.st_uid, owner.st_gid)
        return path

    def body(self, client, uid):
        return self.octets(client, uid, "TEXT")

    def octets(self, client, uid, section=""):
        text = b"".join(client.ok("UID FETCH %d BODY.PEEK[%s]" % (uid, section)))
        return re.search(rb"\{\d+\}\r\n(.*)\)\r\n", text, re.DOTALL).group(1)

    def as_owner(self, *command, **options):
        """Runs a program of the user's beside the server."""
        owner = os.stat(self.server.mail_root)
        if os.geteuid() == 0:
            command = ("setpriv", "--reuid=%d" % owner.st_uid, "--regid=%d" % owner.st_gid, "--clear-groups") + command
        return subprocess.run(command, check=True, timeout=postern.PATIENCE * 3, **options)


class Adopted(Mbox):
    def test_mboxo(self):
        path = self.write("user1", "Old", MBOXO)
        with self.session("user1", "Old") as client:
            self.assertEqual(subjects_by_uid(client), {1: "one", 2: "two"})
            self.assertEqual(flags_by_uid(client), {1: {"\\Seen", "\\Answered", "\\Flagged", "work", "home"}, 2: set()})
            self.assertEqual(self.body(client, 1), b"first\r\nFrom here on quoted\r\nFrom not a line that begins a message\r\n")
            self.assertIn(b"23-Nov-2023 09:12:09", b"".join(client.ok("UID FETCH 1 INTERNALDATE")))
            header = b"".join(client.ok("UID FETCH 1 BODY.PEEK[HEADER]"))
            self.assertNotIn(b"Status", header)
        with open(path, encoding="ascii") as file:
            self.assertIn("\n>From here on quoted\n", file.read())

    def test_mboxcl2(self):
        self.write("user2", "Old", MBOXCL2)
        with self.session("user2", "Old") as client:
            self.assertEqual(subjects_by_uid(client), {1: "one", 2: "two"})
            self.assertEqual(self.body(client, 1), b"From b@example.test Fri Nov 24 10:00:00 2023\r\nnot")
            self.assertEqual(self.body(client, 2), b"wrong length\r\n")

    def test_uids_of_uw_imap(self):
        self.write("user3", "Old", UW)
        with self.session("user3", "Old") as client:
            self.assertEqual(status(client, "Old", "UIDVALIDITY", "UIDNEXT"), {"UIDVALIDITY": 1700000000, "UIDNEXT": 14})
            self.assertEqual(subjects_by_uid(client), {5: "one", 12: "two", 13: "three"})
            self.assertEqual(flags_by_uid(client)[5], {"\\Seen", "\\Deleted", "work"})

    def test_base_in_the_first_message(self):
        text = MBOXO.replace("Subject: one", "Subject: one\nX-IMAPbase: 1600000000 20\nX-UID: 7")
        self.write("user4", "Old", text)
        with self.session("user4", "Old") as client:
            self.assertEqual(status(client, "Old", "UIDVALIDITY")["UIDVALIDITY"], 1600000000)
            self.assertEqual(subjects_by_uid(client), {7: "one", 21: "two"})

    def test_what_is_no_mbox_is_left_alone(self):
        path = self.write("user5", "notes", "From nobody, no date\nhello\n")
        with self.session("user5") as client:
            self.assertNotIn(b"notes", b"".join(client.ok('LIST "" *')))
        with open(path, encoding="ascii") as file:
            self.assertEqual(file.read(), "From nobody, no date\nhello\n")


class Beside(Mbox):
    def fill(self, user, count=3):
        client = self.session(user, "INBOX")
        for number in range(1, count + 1):
            client.append(postern.message("message %d" % number))
        client.ok("NOOP")
        return client

    def path(self, user):
        return os.path.join(self.root(user), "INBOX")

    def test_delivery_of_others(self):
        client = self.fill("user6")
        size = os.path.getsize(self.path("user6"))
        with open(self.path("user6"), "a", encoding="ascii") as file:
            file.write("From x@example.test Thu Nov 23 09:12:09 2023\nSubject: brought\n\n>From x\n\n")
        client.ok("NOOP")
        self.assertEqual(subjects_by_uid(client)[4], "brought")
        self.assertEqual(self.body(client, 4), b"From x\r\n")
        self.assertGreater(os.path.getsize(self.path("user6")), size)

    PYTHON = """
import mailbox, sys
box = mailbox.mbox(sys.argv[1])
box.lock()
keys = list(box.keys())
assert [box[key]["Subject"] for key in keys[1:]] == ["message 1", "message 2", "message 3"]
message = box[keys[2]]
assert set(message.get_flags()) == set("ROF"), message.get_flags()
message.set_flags("ROFA")
box[keys[2]] = message
del box[keys[1]]
box.add(mailbox.mboxMessage("Subject: added\\n\\nbody\\n"))
box.flush()
box.unlock()
"""

    def test_python(self):
        client = self.fill("user7")
        client.ok("UID STORE 2 +FLAGS (\\Flagged \\Seen)")
        self.as_owner("/usr/bin/python3", "-c", self.PYTHON, self.path("user7"))
        client.ok("NOOP")
        self.assertEqual(subjects_by_uid(client), {2: "message 2", 3: "message 3", 4: "added"})
        self.assertEqual(flags_by_uid(client)[2], {"\\Seen", "\\Flagged", "\\Answered"})

    def mutt(self, program, user):
        client = self.fill(user)
        before = self.octets(client, 3)
        keys = "2<enter><flag-message>3<enter><delete-message><sync-mailbox><quit>"
        settings = ["set delete=yes quit=yes mbox_type=mbox wait_key=no sort=mailbox-order mark_old=no", 'push "%s"' % keys]
        command = [program, "-n", "-F", "/dev/null", "-f", self.path(user)]
        for setting in settings:
            command += ["-e", setting]
        master, slave = pty.openpty()
        process = None
        try:
            process = subprocess.Popen(
                (["setpriv", "--reuid=%d" % os.stat(self.server.mail_root).st_uid, "--clear-groups"] if os.geteuid() == 0 else [])
                + command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                env=dict(os.environ, TERM="vt100", HOME="/nonexistent"))
            os.close(slave)
            os.set_blocking(master, False)
            end = time.monotonic() + postern.PATIENCE
            while process.poll() is None and time.monotonic() < end:
                try:
                    os.read(master, 65536)
                except (BlockingIOError, OSError):
                    time.sleep(0.05)
            self.assertEqual(process.poll(), 0)
        finally:
            if process and process.poll() is None:
                process.kill()
            os.close(master)
        client.ok("NOOP")
        self.assertEqual(subjects_by_uid(client), {1: "message 1", 3: "message 3"})
        self.assertIn("\\Flagged", flags_by_uid(client)[1])
        self.assertEqual(self.octets(client, 3), before)

    @unittest.skipUnless(shutil.which("mutt"), "mutt is not installed")
    def test_mutt(self):
        self.mutt("mutt", "user8")

    @unittest.skipUnless(shutil.which("neomutt"), "neomutt is not installed")
    def test_neomutt(self):
        self.mutt("neomutt", "user9")


class DovecotOfMbox(test_adoption.Dovecot):
    CONFIG = test_adoption.Dovecot.CONFIG.replace("maildir:{top}/mail/%n{options}", "mbox:{options}")


@unittest.skipUnless(test_adoption.DOVECOT, "Dovecot is not installed (package dovecot-imapd)")
class WithDovecot(Mbox):
    def test_side_by_side(self):
        client = self.session("user10", "INBOX")
        for number in range(1, 4):
            client.append(postern.message("message %d" % number))
        root = self.root("user10")
        validity = status(client, "INBOX", "UIDVALIDITY")["UIDVALIDITY"]
        dovecot = DovecotOfMbox("%s:INBOX=%s/INBOX:INDEX=MEMORY" % (root, root))
        with dovecot:
            other = dovecot.session()
            self.assertEqual(other.select("INBOX"), ("OK", [b"3"]))
            self.assertEqual(int(other.response("UIDVALIDITY")[1][0]), validity)
            found = other.uid("FETCH", "1:*", "(UID FLAGS)")[1]
            self.assertEqual([int(re.search(rb"UID (\d+)", line).group(1)) for line in found], [1, 2, 3])
            other.uid("STORE", "2", "+FLAGS", r"(\Answered theirs)")
            other.append("INBOX", None, None, postern.message("theirs"))
            other.check()
            client.ok("NOOP")
            self.assertEqual(subjects_by_uid(client), {1: "message 1", 2: "message 2", 3: "message 3", 4: "theirs"})
            self.assertEqual(flags_by_uid(client)[2], {"\\Answered", "theirs"})
            client.ok(r"UID STORE 1 +FLAGS (\Deleted ours)")
            client.ok("EXPUNGE")
            client.ok(r"UID STORE 3 +FLAGS (\Flagged ours)")
            other.noop()
            found = b"".join(other.uid("FETCH", "1:*", "(UID FLAGS)")[1])
            self.assertEqual(re.findall(rb"UID (\d+)", found), [b"2", b"3", b"4"])
            self.assertIn(b"ours", found)
            other.uid("STORE", "4", "+FLAGS", r"(\Deleted)")
            other.expunge()
            client.ok("NOOP")
            self.assertEqual(sorted(subjects_by_uid(client)), [2, 3])
            self.assertEqual(status(client, "INBOX", "UIDVALIDITY")["UIDVALIDITY"], validity)
            other.logout()


class Large(Mbox):
    """A file that nobody has changed is opened without being read. Octets are counted by the kernel."""

    users = ("large",)
    MEGABYTES = int(os.environ.get("POSTERN_TEST_MEGABYTES", "50"))
    MESSAGE = 100000

    def fill(self):
        path = self.write("large", "INBOX", "")
        filler = ("x" * 75 + "\n") * (self.MESSAGE // 76)
        with open(path, "w", encoding="ascii") as file:
            for number in range(self.MEGABYTES * 1000000 // self.MESSAGE):
                file.write("From a@example.test Thu Nov 23 09:12:09 2023\nSubject: %d\n\n%s\n" % (number, filler))
        return path

    @staticmethod
    def octets_of(pid):
        """What a process, and those of its children that have ended, have read by read() and its like."""
        with open("/proc/%d/io" % pid, encoding="ascii") as file:
            return int(re.search(r"rchar: (\d+)", file.read()).group(1))

    def status_reads(self):
        command = (self.server.installation.path("bin/postern"), "--config", self.server.config, "mailbox", "status", "--json",
                   "large", "INBOX")
        with subprocess.Popen(command, stdout=subprocess.PIPE) as running:
            told = running.stdout.read()
            os.waitid(os.P_PID, running.pid, os.WEXITED | os.WNOWAIT)
            octets = self.octets_of(running.pid)
        self.assertEqual(running.returncode, 0)
        return octets, re.search(rb'"messages": (\d+)', told).group(1)

    def server_reads(self):
        """What new mail processes read until a session has the mailbox open, and one message."""
        self.server.stop()
        self.server.start()
        with self.server.session("large", select="INBOX") as client:
            client.ok("UID FETCH 7 (FLAGS BODY.PEEK[])")
            try:
                return sum(self.octets_of(pid) for pid, role in self.server.roles() if role == "mail")
            except PermissionError:  # nobody but root may look at confined processes
                return 0

    @unittest.skipIf(postern.SANITIZED, "a sanitizer reads, too")
    def test_a_large_file_is_not_read_again(self):
        path = self.fill()
        size, count = os.path.getsize(path), str(self.MEGABYTES * 1000000 // self.MESSAGE).encode()
        first, messages = self.status_reads()
        self.assertGreater(first, size)  # it is read when it is adopted, and we do count
        self.assertEqual(messages, count)
        again, messages = self.status_reads()
        serving = self.server_reads()
        print("# %d octets: read at first %d, again %d, by the server %d" % (size, first, again, serving), flush=True)
        self.assertEqual(messages, count)
        self.assertLess(again, 2000000)
        self.assertLess(serving, 5000000)  # two processes, with plugins
        with open(path, "a", encoding="ascii") as file:
            file.write("From b@example.test Thu Nov 23 09:12:09 2023\nSubject: new\n\nx\n\n")
        more, messages = self.status_reads()
        self.assertEqual(int(messages), int(count) + 1)
        self.assertLess(more, 3000000)


if __name__ == "__main__":
    unittest.main()
