# SPDX-License-Identifier: MIT
"""`postern smtp explain`, with a DNS of our own on loopback."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(SOURCE / folder) for folder in ("tests/functional", "tests/dns", "tests/cli")]
import tap  # noqa: E402
from cli_test import BUILD, POSTERN  # noqa: E402

try:
    import dnslib  # noqa: F401
    from liar import Liar, reply
except ImportError:
    dnslib = None

TLSA = "3 1 1 " + "ab" * 32


def zone():
    def one(name, kind, *lines, **more):
        return {(name, kind): reply(*("%s 60 IN %s %s" % (name, kind, line) for line in lines), **more)}
    return {
        **one("plain.test", "MX", "20 b.plain.test", "10 a.plain.test"),
        **one("a.plain.test", "A", "192.0.2.1", "192.0.2.2"), **one("a.plain.test", "AAAA", "2001:db8::1"),
        **one("b.plain.test", "A"), **one("b.plain.test", "AAAA"),
        **one("null.test", "MX", "0 ."),
        **one("broken.test", "MX", code=2),
        **one("dane.test", "MX", "10 mx.dane.test", "20 bad.dane.test", ad=True),
        **one("mx.dane.test", "A", "192.0.2.3", ad=True), **one("mx.dane.test", "AAAA", ad=True),
        **one("bad.dane.test", "A", "192.0.2.4", ad=True), **one("bad.dane.test", "AAAA", ad=True),
        **one("_25._tcp.mx.dane.test", "TLSA", TLSA, ad=True),
        **one("_25._tcp.bad.dane.test", "TLSA", code=2),
        **one("loop.test", "MX", "10 lo.test"), **one("lo.test", "A", "127.0.0.1"), **one("lo.test", "AAAA"),
    }


CONFIG = """
hostname = "mail.home.test"
default_domain = "home.test"
mail_root = "{dir}/mail"
run_dir = "{dir}/run"
spool_dir = "{dir}/spool"
passwd_file = "{dir}/passwd"
alias_file = "{dir}/aliases"
domain "home.test" {{ }}
transport "fixed.test" {{ host = "192.0.2.9" port = 2525 tls = "required" }}
relay {{ resolvers = {{ "{dns}" }} resolvers_validate = yes }}
{more}
"""


@unittest.skipIf(dnslib is None, "python3-dnslib is not installed")
class Explain(unittest.TestCase):
    def setUp(self):
        self.dns = Liar(zone())
        self.addCleanup(self.dns.close)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)
        (self.dir / "mail").mkdir()
        (self.dir / "passwd").write_text("alice@home.test:{PLAIN}x:::::\n")
        (self.dir / "aliases").write_text("info@home.test  alice, bob@plain.test\n")

    def explain(self, address, *options, more="", code=0):
        (self.dir / "postern.conf").write_text(CONFIG.format(dir=self.dir, dns=self.dns.address, more=more))
        run = subprocess.run([POSTERN, "--config", str(self.dir / "postern.conf"), "smtp", "explain", *options, address], capture_output=True,
                             text=True, timeout=60, env=dict(os.environ, POSTERN_PLUGINDIR=str(BUILD)))
        self.assertEqual(run.returncode, code, run.stdout + run.stderr)
        return run.stdout

    def target(self, address, **more):
        targets = json.loads(self.explain(address, "--json", **more))["targets"]
        self.assertEqual(len(targets), 1)
        return targets[0]

    def test_local(self):
        got = self.target("alice+work@home.test")
        self.assertEqual((got["kind"], got["user"], got["mailbox"]), ("local", "alice@home.test", "work"))
        self.assertEqual(self.target("nobody@home.test")["kind"], "refused")

    def test_alias(self):
        text = self.explain("info@home.test")
        self.assertIn("user alice@home.test, mailbox INBOX", text)
        self.assertIn("bob@plain.test (by an alias)", text)

    def test_mx(self):
        got = self.target("bob@plain.test")
        self.assertEqual([(h["host"], h["preference"]) for h in got["hosts"]], [("a.plain.test", 10), ("b.plain.test", 20)])
        self.assertEqual(got["hosts"][0]["addresses"], ["2001:db8::1", "192.0.2.1", "192.0.2.2"])
        self.assertEqual((got["hosts"][0]["tls"], got["hosts"][0]["port"]), ("opportunistic", 25))
        self.assertEqual(got["hosts"][1]["enhanced"], "5.4.4")
        self.assertEqual(got["outcome"], "sent")
        text = self.explain("bob@plain.test")
        self.assertIn("10 a.plain.test, port 25: 2001:db8::1 192.0.2.1 192.0.2.2", text)
        self.assertIn("would be sent", text)

    def test_dane(self):
        got = self.target("bob@dane.test")
        self.assertTrue(got["mx"]["secure"])
        self.assertEqual((got["hosts"][0]["tls"], got["hosts"][0]["tlsa"]["records"]), ("dane", [TLSA]))
        self.assertEqual(got["hosts"][1]["enhanced"], "4.7.5")
        self.assertIn("TLSA: found, signed: " + TLSA, self.explain("bob@dane.test"))

    def test_hop(self):
        got = self.target("bob@fixed.test")
        self.assertEqual((got["next_hop"], got["hosts"][0]["tls"]), ({"host": "192.0.2.9", "port": 2525}, "required"))
        got = self.target("bob@plain.test", more='smarthost { host = "smart.test" }')
        self.assertTrue(got["smarthost"])
        self.assertEqual(got["outcome"], "deferred")  # a host that the settings name may come into being

    def test_nowhere(self):
        for domain, outcome, enhanced in (("null.test", "failed", "5.1.10"), ("absent.test", "failed", "5.1.2"), ("broken.test", "deferred", "4.4.3"),
                                          ("loop.test", "failed", "5.4.6")):
            with self.subTest(domain):
                got = self.target("bob@" + domain)
                self.assertEqual((got["outcome"], got["enhanced"]), (outcome, enhanced))
                self.assertIn(enhanced, self.explain("bob@" + domain))


if __name__ == "__main__":
    sys.exit(tap.main([__file__]))
