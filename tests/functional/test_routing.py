# SPDX-License-Identifier: MIT
"""Whom mail is for: domains, aliases, folders, catch-all, postmaster; and that nobody sends through us who may not."""

import os
import pathlib
import re
import sys
import unittest

import postern
from sink import Sink
from test_delivery import JOE, DeliveryTest, address
from test_outbound import OutboundTest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "dns"))

try:
    import liar  # noqa: E402
except ModuleNotFoundError:  # python3-dnslib
    liar = None

ALIASES = """
info                 alice, bob+Work
copy                 copy, bob
@other.example       @example.test
ring                 ring2
ring2                ring
broken               |/bin/sh
gr\u00fc\u00dfe    alice
@b\u00fccher.example @example.test
"""


class Routing(DeliveryTest):
    users = ("alice", "bob", "copy")

    @classmethod
    def setUpClass(cls):
        cls.alias_file = os.path.join(postern.scratch_folder(), "aliases")
        with open(cls.alias_file, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(ALIASES)
        cls.settings = ('alias_file = "%s"\npostmaster = alice\ndomain other.example { }\n'
                        'domain "b\u00fccher.example" { }\n'
                        'domain all.example { catch_all = "bob@example.test" postmaster = "copy@example.test" }\n'
                        % cls.alias_file) + DeliveryTest.settings
        super().setUpClass()

    def setUp(self):
        for user in self.users:
            client = self.session(user, select="INBOX")
            client.ok("STORE 1:* FLAGS.SILENT (\\Deleted)") if self.subjects(user) else None
            client.ok("EXPUNGE")

    def code(self, path, client=None):
        client = client or self.client()
        client.mail(JOE)
        return client.rcpt(path)[0]

    def test_each_address_reaches_its_users(self):
        self.session("bob").command("CREATE Work")
        ways = {
            address("info"): {"alice": "INBOX", "bob": "Work"},
            address("Copy"): {"copy": "INBOX", "bob": "INBOX"},
            "ALICE@Other.Example": {"alice": "INBOX"},
            "info@other.example": {"alice": "INBOX", "bob": "Work"},
            "anybody@all.example": {"bob": "INBOX"},
            "postmaster": {"alice": "INBOX"},
            "Abuse@other.example": {"alice": "INBOX"},
            "postmaster@all.example": {"copy": "INBOX", "bob": "INBOX"},
            "postmaster@mail.example.test": {"alice": "INBOX"},
        }
        for number, (path, users) in enumerate(ways.items()):
            subject = "way%d" % number
            with self.subTest(path):
                self.assertEqual(self.send(self.client(), JOE, [path], postern.message(subject))[0][0], 250)
                for user in self.users:
                    boxes = {"INBOX": self.subjects(user)}
                    if user == "bob":
                        boxes["Work"] = self.subjects(user, "Work")
                    found = [box for box, subjects in boxes.items() for one in subjects if one == subject]
                    self.assertEqual(found, [users[user]] if user in users else [])

    def test_addresses_beyond_ascii(self):
        for number, path in enumerate((address("gr\u00fc\u00dfe"), address("GRU\u0308SSE"), "alice@b\u00fccher.example",
                                       "alice@XN--Bcher-KVA.example", "gr\u00fc\u00dfe@B\u00dcCHER.example")):
            with self.subTest(path):
                client = self.client()
                client.command_encoding = "utf-8"
                self.assertEqual(client.docmd("MAIL", "FROM:<%s> SMTPUTF8" % JOE)[0], 250)
                self.assertEqual(client.docmd("RCPT", "TO:<%s>" % path)[0], 250)
                self.assertEqual(client.data(postern.message("utf8-%d" % number))[0], 250)
                self.assertIn("utf8-%d" % number, self.subjects("alice"))

    def test_who_is_refused(self):
        for path, code in ((address("nobody"), 550), (address("ring"), 550), (address("broken"), 451),
                           ("nobody@other.example", 550), ("a%b@all.example", 550), ("a!b@all.example", 550),
                           ('"a@b"@all.example', 550), ("joe@elsewhere.test", 550), ("joe@[127.0.0.1]", 550),
                           ("alice@mail.example.test", 550), ("alice@sub.example.test", 550)):
            with self.subTest(path):
                self.assertEqual(self.code(path), code)

    def test_config_check_reads_the_aliases(self):
        run = self.server.tool("config", "check", check=False)
        self.assertEqual(run.returncode, 1)
        for text in ("aliases:5: ring@example.test: The aliases of this address lead in a circle",
                     "aliases:7: mail is not given to programs"):
            self.assertIn(text, run.stderr)


class OtherWays(OutboundTest):
    """What was queued when all mail went one way goes, after a change of the settings, to each domain's own host."""

    def test_each_domain_goes_its_new_way(self):
        sinks = {name: Sink() for name in ("one", "two")}
        for sink in sinks.values():
            self.addCleanup(sink.shutdown)
        self.sink.answers.update({name: ["451 4.3.2 not now"] for name in "abc"})
        self.submit(["a@one.test", "b@two.test", "c@one.test"], "moved")
        postern.wait_until(lambda: self.server.log().count("outcome=deferred") >= 3, "the first attempt")
        self.server.write_config("".join('transport "%s.test" { host = "127.0.0.1" port = %d }\n' % (name, sink.port)
                                         for name, sink in sinks.items()) + "relay { %s }\n" % self.relay)
        self.server.reload()
        postern.wait_until(lambda: all(sink.received for sink in sinks.values()), "the new hosts", patience=60)
        self.assertEqual({name: sorted(sinks[name].received[0][1]) for name in sinks},
                         {"one": ["a@one.test", "c@one.test"], "two": ["b@two.test"]})
        self.assertEqual([len(sink.received) for sink in sinks.values()], [1, 1])


@unittest.skipUnless(liar, "there is no dnslib")
class Smarthost(OutboundTest):
    """All mail goes to another server, which wants a log-in: here a second Postern."""

    @classmethod
    def setUpClass(cls):
        names = liar.Liar({(name, "A"): liar.reply("%s. 60 A 127.0.0.1" % name) for name in ("localhost", "other.test")},
                          default=liar.reply())
        cls.addClassCleanup(names.close)
        cls.relay = (OutboundTest.relay + ' allow_loopback = yes ca_file = "%s" resolvers = { "%s" }'
                     % (postern.authority().ca, names.address))
        super().setUpClass()
        cls.password_file = os.path.join(postern.scratch_folder(), "password")
        with open(cls.password_file, "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(postern.PASSWORD + "\n")
        cls.other = postern.Instance(users=("mx",), settings=(
            'transport "*" { host = "127.0.0.1" port = %d }\nrelay { submission_sender = any }\n' % cls.sink.port) +
            DeliveryTest.settings)
        cls.addClassCleanup(cls.other.stop)
        cls.other.start()

    def use(self, tls="verify", host="localhost", password_file=None):
        self.server.write_config(
            'relay { %s }\n'
            'smarthost { host = "%s" port = %d tls = %s user = "%s" password_file = "%s" }\n'
            % (self.relay, host, self.other.ports["submission"], tls, address("mx"),
               password_file or self.password_file))
        self.server.reload()

    def test_mail_passes_through(self):
        for tls, host in (("verify", "localhost"), ("required", "127.0.0.1")):
            with self.subTest(tls):
                self.use(tls, host)
                self.submit(["joe@example.com"], "by " + tls)
                self.arrives("by " + tls)
        self.assertIn("user=mx@example.test", self.other.log())

    def test_a_name_that_is_not_the_certificates(self):
        self.use("verify", "other.test")
        self.submit(["wrong@example.com"], "never")
        postern.wait_until(lambda: re.search(r"to=wrong@example.com .*outcome=deferred", self.server.log()), "an attempt")
        self.assertNotIn("never", self.sink.subjects())

    def test_a_wrong_password_puts_off(self):
        wrong = self.password_file + ".wrong"
        with open(wrong, "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write("wrong\n")
        self.use(password_file=wrong)
        self.submit(["locked@example.com"], "unlocked")
        postern.wait_until(lambda: re.search(r"to=locked@example.com .*outcome=deferred", self.server.log()), "an attempt")
        self.assertNotIn("unlocked", self.sink.subjects())
        self.use()
        self.arrives("unlocked")
