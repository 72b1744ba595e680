# SPDX-License-Identifier: MIT
"""Sessions that others end: the administrator, or a credential that does not hold any more."""

import base64
import json
import os
import re
import signal
import sys
import time

import postern
from server_test import ServerTest

PATIENCE = 60


class Revocation(ServerTest):
    users = ("alice", "bob", "carol", "dora", "eve", "fay", "gil")
    may_die = True  # one test kills auth
    settings = ServerTest.settings + "\nplaintext_without_tls = yes"

    def imap(self, user, tls=True):
        client = self.connect(tls=tls, patience=PATIENCE)
        client.greeting()
        client.ok("LOGIN %s %s" % (user, postern.PASSWORD))
        return client

    def idling(self, user):
        client = self.imap(user)
        client.ok("SELECT INBOX")
        client.send(b"i IDLE\r\n")
        self.assertTrue(client.line().startswith(b"+"))
        return client

    def fetching(self, user):
        """In the middle of an answer, which the client does not read."""
        client = self.imap(user)
        client.append(postern.message(body="x" * 70 + "\r\n") * 100)
        client.ok("SELECT INBOX")
        client.send(b"".join(b"f%d FETCH 1 BODY.PEEK[]\r\n" % n for n in range(2000)))
        client.line()
        return client

    def pop3(self, user):
        client = self.connect(tls=True, protocol="pop3", patience=PATIENCE)
        client.greeting()
        for line in ("USER " + user, "PASS " + postern.PASSWORD):
            client.send(line.encode() + b"\r\n")
            self.assertTrue(client.line().startswith(b"+OK"))
        return client

    def submission(self, user):
        client = self.connect(tls=True, protocol="submission", patience=PATIENCE)
        client.greeting()
        login = base64.b64encode(("\0%s\0%s" % (user, postern.PASSWORD)).encode())
        self.assertTrue(self.smtp(client, b"EHLO client.example.test").startswith(b"250"))
        self.assertTrue(self.smtp(client, b"AUTH PLAIN " + login).startswith(b"235"))
        return client

    def smtp(self, client, line):
        client.send(line + b"\r\n")
        while (reply := client.line())[3:4] == b"-":
            pass
        return reply

    def every_kind(self, user):
        return {"IMAP": self.imap(user), "IMAP without TLS": self.imap(user, tls=False), "IDLE": self.idling(user),
                "FETCH": self.fetching(user), "POP3": self.pop3(user), "submission": self.submission(user)}

    def last_words(self, client):
        """What is said until the server closes."""
        said = b""
        try:
            while True:
                said = client.line()
        except (postern.Closed, OSError):
            return said

    def sessions(self, user=None):
        return [s for s in json.loads(self.server.tool("who", "--json").stdout)
                if user is None or s["user"] == "%s@%s" % (user, postern.DOMAIN)]

    def assert_ended(self, clients):
        words = {kind: self.last_words(client) for kind, client in clients.items()}
        for kind in ("IMAP", "IMAP without TLS", "IDLE"):
            self.assertRegex(words[kind], rb"^\* BYE ", kind)
        self.assertRegex(words["submission"], rb"^421 4\.7\.0 ")
        self.assertEqual(words["POP3"], b"")

    def edit(self, change):
        """Another passwd-file in the place of the one that is there; when that was."""
        with open(self.server.passwd_file, encoding="ascii") as file:
            lines = [change(line) for line in file]
        with open(self.server.passwd_file + ".new", "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o600)
            file.writelines(lines)
        os.rename(self.server.passwd_file + ".new", self.server.passwd_file)
        return time.monotonic()

    def revoke(self, user, what, change):
        clients, other = self.every_kind(user), self.imap("bob")
        end = change()
        self.assert_ended(clients)
        print("# %s: the sessions had ended after %.2f s" % (what, time.monotonic() - end), file=sys.stderr)
        postern.wait_until(lambda: not self.sessions(user), "the end of all sessions", PATIENCE)
        other.ok("NOOP")

    def test_another_password(self):
        self.revoke("alice", "a changed line", lambda: self.edit(
            lambda line: re.sub(":[^:]*:", ":{PLAIN}other:", line, count=1) if line.startswith("alice@") else line))
        client = self.connect(tls=True)
        client.greeting()
        self.assertTrue(client.command("LOGIN alice " + postern.PASSWORD)[1].startswith(b"NO"))
        client.ok("LOGIN alice other")

    def test_a_user_who_is_removed(self):
        def remove():
            self.server.tool("user", "remove", "--yes", "carol")
            return time.monotonic()
        self.revoke("carol", "postern user remove", remove)

    def test_a_user_who_is_disabled(self):
        self.revoke("dora", "a user who may not log in", lambda: self.edit(
            lambda line: line.rstrip("\n") + " nologin\n" if line.startswith("dora@") else line))

    def test_what_changes_while_auth_is_not_there(self):
        """The master is stopped meanwhile, so that no process has ever seen the former file beside the new one."""
        clients = {name: (self.imap(name), self.submission(name)) for name in ("fay", "gil")}
        auth = next(pid for pid, role in self.server.roles() if role == "auth")
        os.kill(self.server.process.pid, signal.SIGSTOP)
        try:
            os.kill(auth, signal.SIGKILL)
            self.edit(lambda line: re.sub(":[^:]*:", ":{PLAIN}other:", line, count=1) if line.startswith("fay@") else line)
        finally:
            os.kill(self.server.process.pid, signal.SIGCONT)
        self.assertRegex(self.last_words(clients["fay"][0]), rb"^\* BYE ")
        self.assertRegex(self.last_words(clients["fay"][1]), rb"^421 ")
        clients["gil"][0].ok("NOOP")
        self.assertTrue(self.smtp(clients["gil"][1], b"NOOP").startswith(b"250"))

    def kick(self, *what):
        return self.server.tool("kick", *what).stdout

    def test_kick_a_user(self):
        clients, other = self.every_kind("eve"), self.imap("bob")
        self.assertEqual(sorted(s["protocol"] for s in self.sessions("eve")), ["imap"] * 4 + ["pop3", "submission"])
        self.assertEqual(self.kick("user", "eve"), "6 sessions ended\n")
        self.assert_ended(clients)
        other.ok("NOOP")
        self.assertEqual(self.kick("user", "eve"), "0 sessions ended\n")
        self.imap("eve")  # may come back

    def test_kick_by_protocol_and_session_and_address(self):
        imap, pop3 = self.imap("bob"), self.pop3("bob")
        stranger = self.connect(tls=True, source="127.0.0.9")
        stranger.greeting()
        self.assertEqual(self.kick("user", "bob", "protocol", "pop3"), "1 session ended\n")
        self.assertEqual(self.last_words(pop3), b"")
        imap.ok("NOOP")
        self.assertEqual(self.kick("address", "127.0.0.8/31"), "1 session ended\n")
        self.assertRegex(self.last_words(stranger), rb"^\* BYE ")
        for session in self.sessions("bob"):
            self.assertEqual(self.kick("session", session["sid"]), "1 session ended\n")
        self.assertRegex(self.last_words(imap), rb"^\* BYE ")

    def test_kick_wants_to_know_whom(self):
        for wrong in ((), ("user",), ("user", "a", "user", "b"), ("colour", "red"), ("address", "nowhere"), ("user", "a b")):
            self.assertNotEqual(self.server.tool("kick", *wrong, check=False).returncode, 0, wrong)

    def test_what_was_deleted_by_pop3_stays(self):
        imap = self.imap("bob")
        imap.append(postern.message())
        pop3 = self.pop3("bob")
        pop3.send(b"DELE 1\r\n")
        self.assertTrue(pop3.line().startswith(b"+OK"))
        self.kick("user", "bob", "protocol", "pop3")
        self.assertEqual(self.last_words(pop3), b"")
        self.assertTrue(any(b"MESSAGES 1" in line for line in imap.ok("STATUS INBOX (MESSAGES)")))
