# SPDX-License-Identifier: MIT
"""DANE with zones that Knot signs and a resolver that validates (Unbound). What TLSA records may say is in client_test.py."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent)]
import client_test  # noqa: E402
import tap  # noqa: E402
from client_test import HOSTS, SENT, run_send, summary  # noqa: E402
from fakemx import CAPS, FakeMX  # noqa: E402

import signed  # noqa: E402  (tests/dns)

# Domain, what becomes of the mail.
ROWS = [
    ("good.signed.test", SENT),
    ("other.signed.test", "deferred 0 4.7.5 no TLSA record fits"),
    ("none.signed.test", SENT),
    ("alias.signed.test", SENT),
    ("toplain.signed.test", SENT),
    ("any.plain.test", SENT),
    ("any.bogus.test", "deferred 0 4.4.3 any.bogus.test: the signature"),
    ("tobogus.signed.test", "deferred 0 4.4.3 address of"),
    ("absent.signed.test", "failed 0 5.1.2"),
]


def host(name, port, tlsa):
    return "%s A %s\n" % (name, HOSTS[0]) + ("_%d._tcp.%s TLSA %s\n" % (port, name, tlsa) if tlsa else "")


@unittest.skipUnless(signed.installed(), "knot, unbound or kdig is not installed")
class Dane(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = pathlib.Path(cls.folder.name)
        client_test.certificates(cls.path)
        script = {"caps": CAPS, "certificate": (str(cls.path / "self.crt"), str(cls.path / "self.key"))}
        cls.mx = FakeMX(script, HOSTS[0])
        data = client_test.Tlsa(cls.path).data
        right, wrong, port = data("3 1 1 self"), data("3 1 1 good"), cls.mx.port
        zones = {
            "signed.test": "\n".join(["good MX 1 mx.good", host("mx.good", port, right), "other MX 1 mx.other", host("mx.other", port, wrong),
                                      "none MX 1 mx.none", host("mx.none", port, None),
                                      "alias MX 1 mx.alias", "mx.alias CNAME mx.good", "toplain MX 1 mx.plain.test.", "tobogus MX 1 mx.bogus.test."]),
            "plain.test": "any MX 1 mx\n" + host("mx", port, wrong),
            "bogus.test": "any MX 1 mx\n" + host("mx", port, right),
        }
        try:
            cls.dns = signed.Signed(zones, unsigned=["plain.test"], bogus=["bogus.test"])
        except BaseException:
            cls.folder.cleanup()
            raise

    @classmethod
    def tearDownClass(cls):
        cls.dns.close()
        cls.mx.close()
        cls.folder.cleanup()

    def test_rows(self):
        for domain, expect in ROWS:
            with self.subTest(domain):
                del self.mx.talks[:]
                report, = run_send("dns=" + self.dns.address, "port=%d" % self.mx.port, "validating=1", "ms=8000", "bob@" + domain)
                self.assertEqual(summary(report["results"][0], expect), expect, report)
                self.assertTrue(all(talk.secured for talk in self.mx.talks if talk.messages))

    def test_fails_closed(self):
        """Mandatory DANE: only where it is signed, and fits."""
        for domain, _ in ROWS:
            with self.subTest(domain):
                report, = run_send("dns=" + self.dns.address, "port=%d" % self.mx.port, "validating=1", "tls=dane", "ms=8000", "bob@" + domain)
                good = domain in ("good.signed.test", "alias.signed.test")
                self.assertEqual(report["results"][0]["outcome"] == "delivered", good, report)

    def test_what_the_resolver_says(self):
        ask = str(client_test.SEND.parents[2] / "dns/ask")
        for domain, kind, expect in (("good.signed.test", "mx", "ok secure 1:mx.good.signed.test"), ("any.plain.test", "mx", "ok 1:mx.plain.test"),
                                     ("any.bogus.test", "mx", "bogus"), ("absent.signed.test", "mx", "nxdomain secure"),
                                     ("mx.alias.signed.test", "address", "ok secure 127.0.0.2 as mx.good.signed.test")):
            got = subprocess.run([ask, "--validating", "--timeout", "3000", "--servers", self.dns.address, kind, domain], capture_output=True, text=True).stdout
            self.assertEqual(got.rstrip(), "%s %s" % (domain, expect))


if __name__ == "__main__":
    sys.exit(tap.main([__file__]))
