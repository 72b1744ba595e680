# SPDX-License-Identifier: MIT
"""The templates of plugins/template, built as their author would: out of tree, against what was installed."""

import os
import shutil
import socket
import subprocess
import unittest

import ports
import postern

TEMPLATE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "plugins", "template")


def make(folder, prefix, *words):
    """As its author would. What it prints."""
    result = subprocess.run(("make", "-s", "-C", folder) + words, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                            env=dict(os.environ, PKG_CONFIG_PATH=os.path.join(prefix, "lib/pkgconfig"), MAKEFLAGS=""))
    if result.returncode != 0 or result.stderr:
        raise AssertionError("make %s:\n%s%s" % (" ".join(words), result.stdout, result.stderr))
    return result.stdout


@unittest.skipIf(postern.SANITIZED, "a plugin that is not sanitized does not fit a server that is")
class Template(unittest.TestCase):
    """A copy of the template, built, and plugged in."""

    @classmethod
    def setUpClass(cls):
        cls.installation = postern.Installation()
        cls.folder = os.path.join(postern.scratch_folder(), "template")
        shutil.copytree(TEMPLATE, cls.folder)
        make(cls.folder, cls.installation.prefix)
        os.environ["POSTERN_PLUGINDIR"] = cls.folder + ":" + cls.installation.path("lib/postern")
        cls.addClassCleanup(os.environ.pop, "POSTERN_PLUGINDIR")


class Protocol(Template):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.port = ports.free()
        cls.instance = postern.Instance(settings='listener tally { protocol = "tally" address = "127.0.0.1"'
                                        ' port = %d tls = "none" }\nplaintext_without_tls = yes' % cls.port).start()
        cls.addClassCleanup(cls.instance.stop)

    def dialogue(self, line):
        with socket.create_connection(("127.0.0.1", self.port), timeout=postern.PATIENCE) as client:
            client.sendall(line)
            return client.makefile("rb").read()

    def test_the_protocol_serves(self):
        client = self.instance.session("alice")
        client.ok("APPEND INBOX (\\Seen) {6+}\r\na: b\r\n")
        client.ok("APPEND INBOX {6+}\r\na: c\r\n")
        client.close()
        reply = self.dialogue(b"LOGIN alice pass\r\n")
        self.assertTrue(reply.startswith(b"+OK tally\r\n"), reply)
        self.assertIn(b"\r\nINBOX 2 1\r\n", reply)
        self.assertTrue(reply.endswith(b"\r\n.\r\n"), reply)

    def test_what_the_protocol_refuses(self):
        for line, says in ((b"LOGIN alice wrong\r\n", b"-ERR the name or the password is wrong"), (b"HELLO\r\n", b"-ERR LOGIN"),
                           (b"LOGIN alice\r\n", b"-ERR LOGIN"), (b"LOGIN " + b"x" * 600, b"-ERR the line is too long")):
            with self.subTest(line):
                self.assertIn(says, self.dialogue(line))


class Backend(Template):
    def test_the_kit_passes(self):
        tap = make(self.folder, self.installation.prefix, "check")
        self.assertRegex(tap, r"\n# drawer: [0-9]{3} passed, 0 failed, ")

    def test_it_serves_and_keeps_what_it_was_given(self):
        with postern.Instance(backend="drawer") as instance:
            client = instance.session("alice", select="INBOX")
            for body in (b"one", b"two", b"three"):
                client.append(postern.message(body=body.decode() + "\r\n"))
            client.ok("CREATE Work")
            client.ok("COPY 1:2 Work")
            client.ok("STORE 2 +FLAGS.SILENT (\\Deleted $Forwarded)")
            client.ok("EXPUNGE")
            client.close()
            instance.stop()
            instance.start()
            client = instance.session("alice", select="INBOX")
            self.assertIn(b"* SEARCH 2\r\n", client.ok("SEARCH BODY three"))
            client.ok("SELECT Work")
            self.assertIn(b"* SEARCH 2\r\n", client.ok("SEARCH BODY two"))
            letters = os.path.join(instance.maildir("alice"), "letters")
            self.assertEqual(sorted(os.listdir(letters)), ["1.eml", "3.eml", "4.eml", "5.eml"])
            client.close()


if __name__ == "__main__":
    unittest.main()
