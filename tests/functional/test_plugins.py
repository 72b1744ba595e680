# SPDX-License-Identifier: MIT
"""The templates of plugins/template, built as their author would: out of tree, against what was installed."""

import os
import shutil
import socket
import subprocess
import unittest

import postern

TEMPLATE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "plugins", "template")


def build(prefix):
    """A copy of the template, built; its folder."""
    folder = os.path.join(postern.scratch_folder(), "template")
    shutil.copytree(TEMPLATE, folder)
    result = subprocess.run(("make", "-s", "-C", folder), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                            env=dict(os.environ, PKG_CONFIG_PATH=os.path.join(prefix, "lib/pkgconfig"), MAKEFLAGS=""))
    if result.returncode != 0 or result.stderr:
        raise AssertionError("the template does not build:\n" + result.stdout + result.stderr)
    return folder


@unittest.skipIf(postern.SANITIZED, "a plugin that is not sanitized does not fit a server that is")
class Template(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        installation = postern.Installation()
        cls.folder = build(installation.prefix)
        cls.port = postern._free_port()
        os.environ["POSTERN_PLUGINDIR"] = cls.folder + ":" + installation.path("lib/postern")
        cls.addClassCleanup(os.environ.pop, "POSTERN_PLUGINDIR")
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


if __name__ == "__main__":
    unittest.main()
