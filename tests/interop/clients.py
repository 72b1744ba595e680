#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Other people's mail programs against a quickstart instance: list, read, flag, move, append, both ways.

Run by `./check clients`, in the sources. A program that is not installed is skipped. mbsync and more of curl are in
newcomer.py, Python's imaplib in ../functional/test_imaplib.py.
"""

import contextlib
import fcntl
import os
import pty
import re
import select
import shlex
import shutil
import signal
import struct
import subprocess
import tempfile
import termios
import time
import unittest

from newcomer import Demo, flag_all, messages, put

PATIENCE = 90
MESSAGE = "From: a@example.test\r\nTo: b@example.test\r\nSubject: %s\r\nDate: Mon, 02 Mar 2026 08:30:00 +0100\r\n\r\nBody of %s\r\n"


def needs(program):
    return unittest.skipUnless(shutil.which(program), program + " is not installed")


class Terminal:
    """A program on a terminal: keys go in, and what it wrote is waited for."""

    def __init__(self, command, environment):
        self.screen = ""
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.execvpe(command[0], command, dict(os.environ, TERM="xterm", LC_ALL="C.UTF-8", **environment))
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 140, 0, 0))

    def _read(self, seconds):
        """False at the program's end."""
        if select.select([self._fd], [], [], seconds)[0]:
            try:
                octets = os.read(self._fd, 65536)
            except OSError:
                octets = b""
            if not octets:
                return False
            text = octets.decode("utf-8", "replace")
            self.screen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()=>][0-9A-B]?", "", text)
            if "\x1b[c" in text:  # it asks what the terminal is
                os.write(self._fd, b"\x1b[?62c")
        return True

    def wait_for(self, text):
        end = time.monotonic() + PATIENCE
        while text not in self.screen:
            if time.monotonic() > end or not self._read(0.2):
                raise AssertionError("waited in vain for %r on:\n%s" % (text, self.screen[-3000:]))

    def wait_until(self, condition, what):
        end = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > end or not self._read(0.2):
                raise AssertionError("waited in vain for %s:\n%s" % (what, self.screen[-3000:]))

    def type(self, keys):
        self.screen = ""
        os.write(self._fd, keys.encode())

    def wait_end(self):
        end = time.monotonic() + PATIENCE
        while self._read(0.2):
            if time.monotonic() > end:
                raise AssertionError("it does not end:\n" + self.screen[-3000:])
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self):
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            if os.waitpid(self.pid, os.WNOHANG)[0] == 0:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
        os.close(self._fd)


class Clients(unittest.TestCase):
    """One instance; each test has a user of its own, with three messages."""

    users = iter(range(1, 20))

    @classmethod
    def setUpClass(cls):
        cls.demo = Demo("--users", "10")
        cls.addClassCleanup(cls.demo.remove)
        cls.demo.start()
        cls.port = cls.demo.ready["ports"]["imaps"]
        cls.ca = cls.demo.ready["ca"]

    def setUp(self):
        self.user = "user%04d@example.test" % next(self.users)
        self.folder = tempfile.mkdtemp(prefix="postern-client-")
        self.addCleanup(shutil.rmtree, self.folder, True)
        with self.imap() as client:
            for subject in ("one", "two", "three"):
                client.append("INBOX", None, None, (MESSAGE % (subject, subject)).encode())

    @contextlib.contextmanager
    def imap(self, mailbox=None):
        with self.demo.imap(self.user, password="pass") as client:
            if mailbox:
                self.assertEqual(client.select(mailbox)[0], "OK")
            yield client

    def flags(self, mailbox="INBOX"):
        """{subject: flags without \\Recent} of a mailbox, as the server has it."""
        found = {}
        with self.imap(mailbox) as client:
            _, data = client.uid("FETCH", "1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
            for item in data:
                if isinstance(item, tuple):
                    words = re.search(rb"FLAGS \(([^)]*)\)", item[0]).group(1).decode().split()
                    found[item[1].decode().strip()[len("Subject: "):]] = set(words) - {"\\Recent"}
        return found

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(text)
        return path

    def run_program(self, *command):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=PATIENCE, check=False, env=dict(os.environ, HOME=self.folder))
        self.assertEqual(done.returncode, 0, "%s:\n%s" % (shlex.join(command), done.stdout))
        return done.stdout

    def terminal(self, *command):
        terminal = Terminal(command, {"HOME": self.folder, "XDG_CONFIG_HOME": self.folder})
        self.addCleanup(terminal.close)
        return terminal

    # ---- curl

    def curl(self, path, *options):
        return self.run_program("curl", "--silent", "--show-error", "--cacert", self.ca, "--user", self.user + ":pass",
                                "imaps://localhost:%d/%s" % (self.port, path), *options)

    @needs("curl")
    def test_curl(self):
        self.assertRegex(self.curl(""), r'"/" "?INBOX')
        self.assertEqual(self.curl("INBOX;MAILINDEX=2"), (MESSAGE % ("two", "two")).replace("\r\n", "\n"))
        self.assertIn("* SEARCH 3", self.curl("INBOX?SUBJECT%20three"))
        self.curl("INBOX", "--request", "STORE 1 +FLAGS (\\Flagged)")
        self.curl("INBOX", "--request", "MOVE 3 Archive")
        message = self.write("message", MESSAGE % ("sent", "sent"))
        self.curl("Sent", "--upload-file", message)
        self.assertIn("\\Flagged", self.flags()["one"])
        self.assertEqual(set(self.flags("Archive")), {"three"})
        self.assertEqual(set(self.flags("Sent")), {"sent"})

    # ---- offlineimap

    @needs("offlineimap")
    def test_offlineimap_both_ways(self):
        local = os.path.join(self.folder, "mail")
        config = self.write("offlineimaprc", (
            "[general]\naccounts = a\nmetadata = %s/state\nui = quiet\n[Account a]\nlocalrepository = l\n"
            "remoterepository = r\n[Repository l]\ntype = Maildir\nlocalfolders = %s\nsep = /\n[Repository r]\ntype = IMAP\n"
            "remotehost = localhost\nremoteport = %d\nssl = yes\nsslcacertfile = %s\nremoteuser = %s\nremotepass = pass\n")
            % (self.folder, local, self.port, self.ca, self.user))
        sync = ("offlineimap", "-c", config, "-o", "-1")
        self.run_program(*sync)
        self.assertEqual(self.local_subjects(os.path.join(local, "INBOX")), ["one", "three", "two"])
        self.assertTrue(os.path.isdir(os.path.join(local, "Drafts", "cur")))

        with self.imap("INBOX") as client:
            client.store("1", "+FLAGS", "\\Answered")
            client.store("3", "+FLAGS", "\\Deleted")
            client.expunge()
            client.create("Made/there")
            client.append("Made/there", None, None, (MESSAGE % ("there", "there")).encode())
        put(os.path.join(local, "Sent"), "1772436600.here:2,S", (MESSAGE % ("here", "here")).encode())
        flag_all(os.path.join(local, "INBOX"), "F", "two")
        self.run_program(*sync)
        self.assertEqual(self.local_subjects(os.path.join(local, "INBOX")), ["one", "two"])
        self.assertEqual(self.local_subjects(os.path.join(local, "Made/there")), ["there"])
        self.assertEqual(self.flags("Sent"), {"here": {"\\Seen"}})
        self.assertEqual(self.flags(), {"one": {"\\Answered"}, "two": {"\\Flagged"}})
        answered = [name for _, name in messages(os.path.join(local, "INBOX")) if "R" in name.partition(":2,")[2]]
        self.assertEqual(len(answered), 1)

    def local_subjects(self, maildir):
        found = []
        for place, name in messages(maildir):
            with open(os.path.join(maildir, place, name), encoding="utf-8") as file:
                found.append(re.search(r"^Subject: (.*)$", file.read(), re.M).group(1))
        return sorted(found)

    # ---- mutt and neomutt

    def mutt(self, program):
        config = self.write("muttrc", (
            'set imap_user="%s"\nset imap_pass="pass"\nset folder="imaps://localhost:%d/"\nset spoolfile="+INBOX"\n'
            'set certificate_file="%s"\nset quit=yes\nset delete=yes\nset confirmappend=no\n'
            'set record="+Sent"\nset postponed="+Drafts"\nset mail_check=1\nset wait_key=no\nset editor="true"\n'
            'set sendmail="/bin/true"\nset edit_headers=no\nset mark_old=no\nset imap_idle=yes\nset pager_index_lines=0\n'
            'set header_cache=""\nset fast_reply=yes\nset sort=mailbox-order\nset confirmcreate=no\nset abort_unmodified=no\n')
            % (self.user, self.port, self.ca))
        terminal = self.terminal(program, "-n", "-F", config)
        terminal.wait_for("three")
        terminal.type("=\r")
        terminal.wait_for("Body of one")
        terminal.type("i")
        terminal.wait_for("three")
        terminal.type("=F")  # flag
        terminal.type("=js+Archive\r")  # move
        terminal.type("$")
        terminal.wait_until(lambda: set(self.flags()) == {"one", "three"}, "the move")
        self.assertEqual(self.flags()["one"], {"\\Seen", "\\Flagged"})
        self.assertEqual(set(self.flags("Archive")), {"two"})
        with self.imap() as client:
            client.append("INBOX", None, None, (MESSAGE % ("meanwhile", "meanwhile")).encode())
        terminal.wait_for("meanwhile")
        terminal.type("mb@example.test\rwritten\r")
        terminal.wait_for("Subject: written")
        terminal.type("y")
        terminal.wait_until(lambda: "written" in self.flags("Sent"), "the copy of what was sent")
        terminal.type("q")
        self.assertEqual(terminal.wait_end(), 0)
        self.assertEqual(set(self.flags()), {"one", "three", "meanwhile"})

    @needs("neomutt")
    def test_neomutt(self):
        self.mutt("neomutt")

    # ---- aerc

    @needs("aerc")
    def test_aerc(self):
        self.write("aerc/accounts.conf", (
            "[a]\nsource = imaps://%s:pass@localhost:%d\ndefault = INBOX\nfrom = A <a@example.test>\n"
            "cache-headers = false\n") % (self.user.replace("@", "%40"), self.port))
        self.write("aerc/aerc.conf", "[general]\nunsafe-accounts-conf = true\n[ui]\nmouse-enabled = false\n")
        os.environ["SSL_CERT_FILE"] = self.ca
        self.addCleanup(os.environ.pop, "SSL_CERT_FILE")
        terminal = self.terminal("aerc")
        terminal.wait_for("three")
        terminal.wait_for("Archive")
        terminal.type(":select 0\r:flag\r")
        terminal.wait_until(lambda: "\\Flagged" in self.flags()["three"], "the flag")
        terminal.type(":move Archive\r")
        terminal.wait_until(lambda: "three" in self.flags("Archive"), "the move")
        with self.imap() as client:
            client.append("INBOX", None, None, (MESSAGE % ("meanwhile", "meanwhile")).encode())
        terminal.wait_for("meanwhile")
        terminal.type(":quit\r")
        terminal.wait_end()
        self.assertEqual(set(self.flags()), {"one", "two", "meanwhile"})


if __name__ == "__main__":
    unittest.main()
