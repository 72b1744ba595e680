# SPDX-License-Identifier: MIT
"""App passwords: what they are good for, and for how long. And what fail2ban makes of the log."""

import base64
import configparser
import json
import os
import re
import subprocess
import sys
import unittest

import postern
from server_test import ServerTest

FILTER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../contrib/fail2ban.conf")


class AppPasswords(ServerTest):
    @classmethod
    def setUpClass(cls):
        cls.file = os.path.join(postern.scratch_folder(), "apps")
        cls.settings = ServerTest.settings + '\napp_password_file = "%s"\nmaster_users = { "bob" }\n' % cls.file
        super().setUpClass()

    def add(self, *scope, user="alice"):
        return self.server.tool("user", "app-password", "add", user, *scope).stdout.strip()

    def list(self, user="alice"):
        return json.loads(self.server.tool("user", "app-password", "list", "--json", user).stdout)

    def login(self, password, user="alice", client=None):
        client = client or self.connect(tls=True)
        client.greeting()
        return client.command('LOGIN "%s" "%s"' % (user, password))[1].decode()

    def comes_in(self, password, user="alice"):
        """The server takes a changed file in very soon, not at once."""
        postern.wait_until(lambda: self.login(password, user).startswith("OK"), "a log-in by the app password", 60)

    def stays_out(self, password, user="alice"):
        self.assertRegex(self.login(password, user), r"^NO \[AUTHENTICATIONFAILED\]")

    def test_it_is_one_password_more(self):
        password = self.add("name", "a phone")
        self.assertRegex(password, r"^([a-z2-9]{4}-){5}[a-z2-9]{4}$")
        self.comes_in(password)
        self.comes_in(password.replace("-", "").upper())
        self.assertRegex(self.login(postern.PASSWORD), "^OK")
        self.stays_out(password, "bob")
        self.stays_out(password[:-1] + ("2" if password[-1] != "2" else "3"))
        self.assertRegex(self.server.log(), "event=login .*user=alice@example.test app_password=" + password[:4])

    def test_it_is_for_some_protocols_and_networks(self):
        first, second = self.add("protocols", "pop3"), self.add("nets", "192.0.2.0/24")
        self.comes_in(self.add("protocols", "imap", "nets", "127.0.0.0/8"))
        self.stays_out(first)
        self.stays_out(second)

    def test_it_expires(self):
        password = self.add("days", "1")
        self.comes_in(password)
        with open(self.file, encoding="ascii") as file:
            text = re.sub("(id=%s.*) expires=[0-9]+" % password.replace("-", "")[:8], r"\1 expires=1", file.read())
        with open(self.file + ".new", "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(text)
        os.rename(self.file + ".new", self.file)
        postern.wait_until(lambda: self.login(password).startswith("NO"), "its end", 60)

    def test_its_last_use_is_noted(self):
        password = self.add("name", "rarely used")
        entry = next(app for app in self.list() if app["name"] == "rarely used")
        self.assertEqual(entry["used"], 0)
        self.comes_in(password)
        entry = postern.wait_until(lambda: next((app for app in self.list() if app["name"] == "rarely used" and app["used"]), None),
                                   "its use", 60)
        self.assertGreaterEqual(entry["used"], entry["made"])

    def test_removing_it_ends_its_sessions_and_no_others(self):
        password = self.add()
        self.comes_in(password)
        mine, own = self.connect(tls=True), self.session("alice")
        self.assertRegex(self.login(password, client=mine), "^OK")
        self.server.tool("user", "app-password", "remove", "alice", password.replace("-", "")[:8])
        self.assertTrue(mine.is_closed())
        own.ok("NOOP")
        self.stays_out(password)

    def test_a_master_needs_the_own_password(self):
        password = self.add(user="bob")
        self.comes_in(password, "bob")
        self.stays_out(password, "bob%alice")
        self.assertRegex(self.login(postern.PASSWORD, "bob%alice"), "^OK")

    def test_what_the_command_refuses(self):
        for arguments in (("add", "alice", "protocols"), ("add", "alice", "nets", "all"), ("add", "alice", "days", "0"),
                          ("remove", "alice", "nosuchid"), ("remove", "alice"), ("change", "alice"), ("add", "../alice")):
            with self.subTest(arguments):
                self.assertNotEqual(self.server.tool("user", "app-password", *arguments, check=False).returncode, 0)

    def test_databases_can_be_forgotten(self):
        self.server.tool("user", "forget", "alice@example.test")
        self.server.tool("user", "forget")

    def test_fail2ban_sees_who_failed_and_nobody_else(self):
        for line in ('LOGIN alice wrong', 'LOGIN no-such-user wrong', 'LOGIN "../alice" wrong',
                     'AUTHENTICATE PLAIN ' + base64.b64encode(b"bob\0alice\0pass").decode()):
            client = self.connect(tls=True)
            client.greeting()
            client.command(line)
        parser = configparser.RawConfigParser()
        parser.read(FILTER)
        failed = re.compile(parser["Definition"]["failregex"].replace("<ADDR>", r"(?P<ip>[0-9a-f.:]+)"))
        text = self.server.log().replace("127.0.0.1", "192.0.2.77")
        found = [failed.search(line) for line in text.splitlines() if "event=login_failed" in line]
        self.assertGreaterEqual(len(found), 4)
        self.assertEqual({match.group("ip") for match in found if match}, {"192.0.2.77"})
        self.assertFalse(any(failed.search(line) for line in text.splitlines() if "event=login_failed" not in line))
        forged = 'level=warning role=auth pid=1 event=login_failed sid=S service=imap remote=[2001:db8::1]:9 tls=no ' \
            'mechanism="X remote=192.0.2.1:1 tls=no mechanism=X" reason=bad_response'
        self.assertEqual(failed.search(forged).group("ip"), "2001:db8::1")
        self.assertIsNone(failed.search('level=info role=front pid=1 event=helo name="%s"' % forged.replace('"', "")))
        self.assertIsNotNone(failed.search("mail posternd[7]: 2026-01-01T00:00:00.000Z " + forged))
        self.by_fail2ban(text, [match.group("ip") for match in found if match])

    def by_fail2ban(self, text, addresses):
        """Its own program, which check unpacks, finds in the log what the expression finds."""
        place = os.path.join(os.environ.get("POSTERN_TEST_UNPACKED", ""), "fail2ban")
        if not os.path.isdir(place):
            self.skipTest("fail2ban is not unpacked in $POSTERN_TEST_UNPACKED; the expression alone was tried")
        log = os.path.join(postern.scratch_folder(), "log")
        with open(log, "w", encoding="utf-8") as file:
            file.write(text)
        done = subprocess.run((sys.executable, place + "/usr/bin/fail2ban-regex", "-c", place + "/etc/fail2ban", "-o", "ip", log, FILTER),
                              env=dict(os.environ, PYTHONPATH=place + "/usr/lib/python3/dist-packages"), capture_output=True, text=True,
                              timeout=postern.PATIENCE * 3, check=False)
        self.assertEqual(done.stdout.split(), addresses, done.stderr)


if __name__ == "__main__":
    unittest.main()
