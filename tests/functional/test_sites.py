# SPDX-License-Identifier: MIT
"""Two servers in two network namespaces: each finds the other by its MX, proves it by its TLSA, and sends to its port 25."""

import base64
import hashlib
import os
import smtplib
import subprocess
import sys
import unittest

import namespaces
import postern
from server_test import subjects_by_uid

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../dns"))
import signed  # noqa: E402

ADDRESSES = {"one.test": "10.77.0.1", "two.test": "10.77.0.2"}


def why_not():
    return namespaces.why_not() or (None if signed.installed() else "Knot, Unbound or kdig is not installed")


def key_digest(certificate):
    """What a TLSA record 3 1 1 has."""
    pem = subprocess.run(("certtool", "--pubkey-info", "--load-certificate", certificate), check=True, capture_output=True, text=True).stdout
    body = pem.partition("-----BEGIN PUBLIC KEY-----")[2].partition("-----END")[0]
    return hashlib.sha256(base64.b64decode(body)).hexdigest()


class Site:
    """A domain's server and the resolver beside it."""

    def __init__(self, domain):
        self.domain = domain
        self.namespace = namespaces.Namespace()
        self.server = postern.Instance(users=("alice",), domain=domain)

    def zone(self):
        return "@ MX 10 mx\nmx A %s\n_25._tcp.mx TLSA 3 1 1 %s\n" % (ADDRESSES[self.domain], key_digest(self.server.certificate))

    def start(self, zones):
        with self.namespace:
            self.resolver = signed.Signed(zones)
            self.server.write_config("""
listener mx { protocol = "smtp" address = "%s" port = 25 }
relay { resolvers = { "%s" } resolvers_validate = yes retry_first = 1s retry_most = 2s }
""" % (ADDRESSES[self.domain], self.resolver.address))
            self.server.start()

    def stop(self):
        if self.server.process:
            self.server.stop()
        if hasattr(self, "resolver"):
            self.resolver.close()
        self.namespace.close()

    def submit(self, recipient, subject):
        sender = "alice@" + self.domain
        with self.namespace, smtplib.SMTP("127.0.0.1", self.server.ports["submission"], timeout=postern.PATIENCE) as client:
            client.starttls(context=postern.authority().client_context())
            client.login(sender, postern.PASSWORD)
            client.sendmail(sender, [recipient], postern.message(subject))

    def inbox(self):
        """{subject: header} of alice's."""
        with self.namespace, self.server.session("alice@" + self.domain, "INBOX") as client:
            return {subject: b"".join(client.ok("UID FETCH %d BODY.PEEK[]" % uid)) for uid, subject in subjects_by_uid(client).items()}

    def comes(self, wanted):
        """The first message of which wanted(subject, octets) is true."""
        def look():
            return [octets for subject, octets in self.inbox().items() if wanted(subject, octets)]

        return postern.wait_until(look, "mail at %s; the log:\n%s" % (self.domain, self.server.log_tail()), patience=60)[0]


@unittest.skipIf(why_not(), why_not())
class Sites(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sites = [Site(domain) for domain in ADDRESSES]
        for site in cls.sites:
            cls.addClassCleanup(site.stop)
        cls.sites[0].namespace.join(cls.sites[1].namespace, *ADDRESSES.values())
        for site in cls.sites:
            site.start({each.domain: each.zone() for each in cls.sites})

    def test_mail_goes_both_ways(self):
        for site, other in (self.sites, self.sites[::-1]):
            site.submit("alice@" + other.domain, "from " + site.domain)
            came = other.comes(lambda subject, _: subject == "from " + site.domain)
            self.assertIn(("Received: from mail.%s (" % site.domain).encode(), came)
            self.assertIn(ADDRESSES[site.domain].encode(), came)
            self.assertIn(b"with ESMTPS", came)

    def test_who_is_not_there_is_reported(self):
        one, two = self.sites
        one.submit("nobody@" + two.domain, "unknown")
        came = one.comes(lambda _, octets: b"Final-Recipient: rfc822; nobody@two.test" in octets)
        self.assertIn(b"Status: 5.1.1\r\n", came)
        self.assertIn(b"mx.two.test", came)

    def test_the_way_is_explained(self):
        one, two = self.sites
        with one.namespace:
            told = one.server.tool("smtp", "explain", "alice@" + two.domain).stdout
        self.assertIn("mx.two.test", told)
        self.assertIn(ADDRESSES[two.domain], told)
        self.assertIn("required, with a certificate that the TLSA records vouch for", told)


if __name__ == "__main__":
    unittest.main()
