# SPDX-License-Identifier: MIT
"""The command line, beside a running server."""

import json
import os
import subprocess
import unittest

import postern
from server_test import ServerTest, flags_by_uid, subjects_by_uid


class Tools(ServerTest):
    backend = "maildir"

    def test_each_command_has_help(self):
        overview = self.server.tool("--help").stdout
        for words in (("user", "add"), ("user", "list"), ("user", "passwd"), ("user", "remove"), ("mailbox", "list"),
                      ("mailbox", "status"), ("import",), ("who",), ("config", "check"), ("config", "show")):
            with self.subTest(words):
                self.assertIn(" ".join(words), overview)
                self.assertIn("usage: postern " + " ".join(words), self.server.tool(*words, "--help").stdout)

    def test_mailboxes_as_a_client_sees_them(self):
        with self.server.session() as client:
            client.ok("CREATE Work/2026")
            client.append(postern.message("one"), "Work/2026")
        names = [row["name"] for row in json.loads(self.server.tool("mailbox", "list", "--json", "alice").stdout)]
        for name in ("INBOX", "Drafts", "Work/2026"):
            self.assertIn(name, names)
        rows = json.loads(self.server.tool("mailbox", "status", "--json", "alice", "Work/2026").stdout)
        self.assertEqual(rows[0]["messages"], 1)
        with self.server.session() as client:
            client.ok("CREATE Above/Below")
            client.ok("SUBSCRIBE Above/Below")
            client.ok("DELETE Above/Below")
            client.ok("CREATE Above/Other")
        lines = self.server.tool("mailbox", "list", "alice").stdout
        self.assertRegex(lines, r"(?m)^Above/Below +\(only subscribed\)$")
        self.assertRegex(lines, r"(?m)^Above +\(no mailbox itself, only above others\)$")

    def test_an_import_appears_in_an_open_session(self):
        folder = postern.scratch_folder()
        for name, octets in (("1.eml", b"Subject: first\n\nx\n"), ("2.eml", b"Subject: second\r\n\r\ny\r\n")):
            with open(os.path.join(folder, name), "wb") as file:
                file.write(octets)
        client = self.session("bob", select="INBOX")
        self.server.tool("import", "bob", folder)
        client.send(b"i IDLE\r\n")
        postern.wait_until(lambda: sorted(subjects_by_uid(self.session("bob", select="INBOX")).values())
                           == ["first", "second"], "the messages in a new session")
        while b"2 EXISTS" not in client.line():
            pass
        client.send(b"DONE\r\n")
        client.finish(b"i")
        self.server.tool("import", "bob", folder)
        self.assertEqual(len(flags_by_uid(self.session("bob", select="INBOX"))), 2)

    def test_mistakes_have_a_line_and_an_exit_code(self):
        for words in (("frobnicate",), ("user",), ("user", "add"), ("import", "alice"), ("who", "--nonsense")):
            with self.subTest(words):
                done = self.server.tool(*words, check=False)
                self.assertEqual(done.returncode, 2)
                self.assertTrue(done.stderr)
        for words in (("mailbox", "list", "nobody-of-that-name"), ("import", "alice", "/nowhere"),
                      ("mailbox", "status", "alice", "No such")):
            with self.subTest(words):
                done = self.server.tool(*words, check=False)
                self.assertEqual(done.returncode, 1)
                self.assertTrue(done.stderr.startswith("postern: "), done.stderr)

    def test_two_users_of_one_name_are_refused(self):
        done = self.server.tool("user", "add", "--password-stdin", "alice", check=False, text_input="x\n")
        self.assertEqual(done.returncode, 1)


class Configuration(unittest.TestCase):
    def check(self, settings):
        server = postern.Instance()
        server.write_config(settings)
        return server, server.tool("config", "check", check=False)

    def test_a_good_one(self):
        _, done = self.check("limits { preauth_timeout = 30s }")
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_what_is_wrong_is_told_with_its_line(self):
        for settings, expected in (("pasword_file = x", "passwd_file"), ("limits { connections = many }", "connections"),
                                   ("limits { preauth_timeout = 30x }", "preauth_timeout"), ("front_processes = -1", ""),
                                   ("listener x { tls = maybe port = 1 }", "implicit"), ("protocol imap { literal = all }", "minus"),
                                   ("listener x { protocol = pop9 port = 1 }", "pop9"), ("limits {", "")):
            with self.subTest(settings):
                server, done = self.check(settings)
                self.assertEqual(done.returncode, 1)
                self.assertRegex(done.stderr, r"%s:\d+: " % server.config)
                self.assertIn(expected, done.stderr)

    def test_the_server_refuses_it_with_the_same_words(self):
        server, done = self.check("pasword_file = x")
        daemon = subprocess.run((server.installation.path("sbin/posternd"), "--config", server.config, "--foreground"),
                                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
        self.assertNotEqual(daemon.returncode, 0)
        self.assertIn("did you mean", done.stderr)
        self.assertIn("did you mean", daemon.stderr)

    def test_what_is_shown_reads_back_the_same(self):
        server, _ = self.check("log_level = debug\nnamespace { separator = \".\" }")
        shown = server.tool("config", "show").stdout
        with open(server.config, "w", encoding="utf-8") as file:
            file.write(shown)
        self.assertEqual(server.tool("config", "show").stdout, shown)
