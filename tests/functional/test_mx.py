# SPDX-License-Identifier: MIT
"""Mail by MX through the whole server: its own resolver, DANE, MTA-STS and what they leave in the spool. What servers may do is in
tests/delivery/client."""

import hashlib
import http.server
import json
import os
import ssl
import subprocess
import sys
import threading
import time
import unittest

import postern
from fakemx import CAPS, FakeMX
from server_test import ServerTest
from test_delivery import DeliveryTest, address

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "dns"))
try:
    from liar import Liar, reply
except ImportError:
    Liar = None

HOSTS = ("127.0.0.2", "127.0.0.3")
POLICY = "version: STSv1\nmode: enforce\nmx: %s\nmax_age: 86400\n"


def tlsa(certificate):
    key = subprocess.run(["certtool", "--pubkey-info", "--outder", "--load-certificate", certificate], check=True, capture_output=True).stdout
    return "3 1 1 " + hashlib.sha256(key).hexdigest()


def zone(port, right):
    """Each domain has hosts on HOSTS; those below dane.test are signed."""
    answers = {("null.test", "MX"): reply("null.test 60 IN MX 0 ."), ("broken.test", "MX"): reply(code=2)}
    for domain, record in (("plain.test", None), ("good.dane.test", right), ("bad.dane.test", "3 1 1 " + "00" * 32),
                           ("sts.test", None), ("stsother.test", None), ("fetched.test", None)):
        signed = record is not None
        names = ["mx%d.%s" % (n, domain) for n in (1, 2)]
        answers[(domain, "MX")] = reply(*("%s 60 IN MX %d %s" % (domain, n, name) for n, name in enumerate(names)), ad=signed)
        for name, host in zip(names, HOSTS):
            answers[(name, "A")] = reply("%s 60 IN A %s" % (name, host), ad=signed)
            answers[(name, "AAAA")] = reply(ad=signed)
            if signed:
                answers[("_%d._tcp.%s" % (port, name), "TLSA")] = reply("_%d._tcp.%s 60 IN TLSA %s" % (port, name, record), ad=True)
    answers[("_mta-sts.fetched.test", "TXT")] = reply('_mta-sts.fetched.test 60 IN TXT "v=STSv1; id=1;"')
    answers[("mta-sts.fetched.test", "A")] = reply("mta-sts.fetched.test 60 IN A " + HOSTS[1])
    answers[("mta-sts.fetched.test", "AAAA")] = reply()
    return answers


class Policy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = (POLICY % "elsewhere.fetched.test").encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args):
        pass


class ByMx(DeliveryTest):
    """The first host of each domain is busy, the second takes everything."""

    @classmethod
    def setUpClass(cls):
        if Liar is None:
            cls.skipTest(cls, "python3-dnslib is not installed")
        folder = postern.scratch_folder()
        certificate, key = (os.path.join(folder, name) for name in ("mx.pem", "mx-key.pem"))
        postern.authority().issue(certificate, key)
        cls.busy = FakeMX({"connect": "421 4.3.2 Busy"}, HOSTS[0])
        cls.mx = FakeMX({"caps": CAPS, "certificate": (certificate, key)}, HOSTS[1], cls.busy.port)
        cls.dns = Liar(zone(cls.mx.port, tlsa(certificate)))
        for server in (cls.busy, cls.mx, cls.dns):
            cls.addClassCleanup(server.close)
        cls.settings = ('relay { resolvers = { "%s" } resolvers_validate = yes mx_port = %d allow_loopback = yes ca_file = "%s" }\n'
                        % (cls.dns.address, cls.mx.port, postern.authority().ca)) + ServerTest.settings
        super().setUpClass()

    def submit(self, recipient):
        subject = "to " + recipient
        replies = self.send(self.client("submission", user="alice"), address("alice"), [recipient], postern.message(subject))
        self.assertEqual(replies[0][0], 250, replies)
        return subject.encode()

    def arrives(self, recipient):
        """The connection by which it came."""
        subject = self.submit(recipient)
        return postern.wait_until(lambda: next((talk for talk in self.mx.talks if any(subject in m[2] for m in talk.messages)), None), recipient)

    def waits(self, recipient):
        """What was said of it at its first attempt."""
        def look():
            rows = json.loads(self.server.tool("queue", "list", "--recipient", recipient, "--json").stdout)
            return rows and rows[0]["last"]
        self.submit(recipient)
        return json.dumps(postern.wait_until(look, "an attempt"))

    def test_the_next_host_takes_what_the_first_does_not(self):
        before = len(self.busy.talks)
        self.assertTrue(self.arrives("joe@plain.test").secured)
        self.assertEqual(len(self.busy.talks), before + 1)

    def test_tlsa_records_are_believed(self):
        self.assertTrue(self.arrives("joe@good.dane.test").secured)
        self.assertIn("4.7.5", self.waits("joe@bad.dane.test"))

    def test_a_policy_in_the_spool_counts(self):
        folder = os.path.join(self.server.spool_dir, "mta-sts")
        postern.wait_until(lambda: os.path.isdir(folder), "the folder of policies")
        for domain, host in (("sts.test", "mx2.sts.test"), ("stsother.test", "other.test")):
            with open(os.path.join(folder, domain), "w") as file:
                file.write("1 %d\n%s" % (time.time(), POLICY % host))
            os.chmod(file.name, 0o644)
        self.assertIn("4.7.5", self.waits("joe@sts.test"))  # the host's certificate has another name
        self.assertIn("4.7.5", self.waits("joe@stsother.test"))

    @unittest.skipUnless(os.geteuid() == 0, "only root serves at port 443")
    def test_a_policy_is_fetched(self):
        """By the relay as it is confined."""
        folder = postern.scratch_folder()
        certificate, key = (os.path.join(folder, name) for name in ("web.pem", "web-key.pem"))
        postern.authority().issue(certificate, key, "mta-sts.fetched.test")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        with http.server.ThreadingHTTPServer((HOSTS[1], 443), Policy) as web:
            web.socket = context.wrap_socket(web.socket, server_side=True)
            threading.Thread(target=web.serve_forever, daemon=True).start()
            try:
                self.assertIn("MTA-STS", self.waits("joe@fetched.test"))  # a policy that no host of the domain meets
            finally:
                web.shutdown()
        kept = os.path.join(self.server.spool_dir, "mta-sts", "fetched.test")
        with open(kept, encoding="ascii") as file:
            self.assertIn("mx: elsewhere.fetched.test", file.read())

    def test_what_cannot_be_goes_back_or_waits(self):
        self.assertIn("4.4.3", self.waits("joe@broken.test"))
        self.submit("joe@null.test")
        postern.wait_until(lambda: any("null.test" in str(row) for row in self.reports()), "a report", patience=60)

    def reports(self):
        client = self.session("alice", select="INBOX")
        return client.ok("UID FETCH 1:* BODY.PEEK[]")

    def test_explained(self):
        told = json.loads(self.server.tool("smtp", "explain", "joe@good.dane.test", "--json").stdout)["targets"][0]
        self.assertEqual([host["tls"] for host in told["hosts"]], ["dane", "dane"])

    def test_counted(self):
        """Also what came right before the end."""
        self.arrives("jane@good.dane.test")
        self.server.stop()
        self.server.start()
        days = {time.strftime("%Y-%m-%d", time.gmtime(time.time() - back)) for back in (0, 600)}
        rows = [row for day in days for row in json.loads(self.server.tool("smtp", "tls-report", day, "--json").stdout)]
        self.assertGreaterEqual(sum(row.get("successful", 0) for row in rows if row["domain"] == "good.dane.test"), 1)
