# SPDX-License-Identifier: MIT
"""SASL on each protocol: SCRAM, what is offered to whom, and what goes wrong."""

import base64
import hashlib
import hmac
import json
import os
import re
import shutil
import ssl
import subprocess
import unittest

import postern
from issuer import Issuer
from server_test import ServerTest

PASSWORD = postern.PASSWORD


def b64(octets):
    return base64.b64encode(octets).decode()


class Scram:
    """The client's side (RFC 5802, RFC 7677)."""

    def __init__(self, user, password=PASSWORD, digest="sha256", gs2="n,,", binding=b""):
        self.password, self.digest, self.gs2, self.binding = password.encode(), digest, gs2, binding
        self.bare = "n=%s,r=fixed-nonce" % user
        self.server_first = self.signature = None

    def first(self):
        return (self.gs2 + self.bare).encode()

    def _hmac(self, key, text):
        return hmac.digest(key, text, self.digest)

    def final(self, challenge):
        self.server_first = challenge.decode()
        fields = dict(field.split("=", 1) for field in self.server_first.split(","))
        salted = hashlib.pbkdf2_hmac(self.digest, self.password, base64.b64decode(fields["s"]), int(fields["i"]))
        client_key = self._hmac(salted, b"Client Key")
        stored = hashlib.new(self.digest, client_key).digest()
        last = "c=%s,r=%s" % (b64(self.gs2.encode() + self.binding), fields["r"])
        message = ",".join((self.bare, self.server_first, last)).encode()
        proof = bytes(a ^ b for a, b in zip(client_key, self._hmac(stored, message)))
        self.signature = self._hmac(self._hmac(salted, b"Server Key"), message)
        return ("%s,p=%s" % (last, b64(proof))).encode()

    def check(self, challenge):
        return challenge == b"v=" + b64(self.signature).encode()


class Wire:
    """How a protocol carries it: the command, what a challenge begins with, how it says yes."""

    def __init__(self, protocol, command, challenge, yes, offers):
        self.protocol, self.command, self.challenge = protocol, command, challenge
        self.yes, self.offers = yes, offers


WIRES = (
    Wire("imap", b"a1 AUTHENTICATE ", b"+ ", rb"^a1 OK", (b"a0 CAPABILITY\r\n", rb"^a0 ", rb"AUTH=(\S+)")),
    Wire("pop3", b"AUTH ", b"+ ", rb"^\+OK", (b"CAPA\r\n", rb"^\.\r", rb"^SASL (.*)")),
    Wire("submission", b"AUTH ", b"334 ", rb"^235 ", (b"EHLO x\r\n", rb"^250 ", rb"AUTH (.*)")),
)


class Sasl(ServerTest):
    users = ("crypt",)
    settings = ServerTest.settings + """
protocol pop3 { maildrop = "shared" }
sasl_mechanisms = { "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "OAUTHBEARER", "XOAUTH2",
                    "PLAIN", "LOGIN" }"""

    @classmethod
    def setUpClass(cls):
        cls.issuer = Issuer(postern.scratch_folder())
        cls.asked = postern.ports.free()
        cls.settings = Sasl.settings + (
            '\noauth { jwks = "%s" issuer = "https://id.example.test" audience = "mail" }' % cls.issuer.jwks +
            '\nlistener asked { protocol = "auth" address = "127.0.0.1" port = %d tls = "none" }' % cls.asked)
        super().setUpClass()
        with open(cls.server.passwd_file, "a", encoding="ascii") as file:
            file.write("clear@example.test:{PLAIN}%s\n" % PASSWORD)
        cls.server.tool("user", "add", "--password-stdin", "--scheme", "SCRAM-SHA-256", "alice@example.test",
                        text_input=PASSWORD + "\n")
        cls.server.tool("user", "add", "--password-stdin", "--scheme", "SCRAM-SHA-1", "bob@example.test",
                        text_input=PASSWORD + "\n")
        postern.wait_until(lambda: cls._offered_now(cls) == {"SCRAM-SHA-256", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS",
                                                           "SCRAM-SHA-1-PLUS", "PLAIN", "LOGIN", "OAUTHBEARER",
                                                           "XOAUTH2"}, "all mechanisms")

    def _offered_now(self):
        client = self.server.connect(tls=True)
        try:
            client.greeting()
            return self.offered(self, client, WIRES[0])
        finally:
            client.close()

    def offered(self, client, wire):
        question, last, names = wire.offers
        client.send(question)
        found = set()
        while True:
            line = client.line()
            found.update(name for match in re.findall(names, line) for name in match.decode().split())
            if re.search(last, line):
                return found

    def open(self, wire, tls=True, context=None):
        client = self.connect(tls=tls, protocol=wire.protocol, context=context)
        client.line()
        if wire.protocol == "submission":
            self.offered(client, wire)
        return client

    def talk(self, client, wire, mechanism, *answers, initial=None):
        """Each answer is octets, or a function of the challenge. The last line, and all challenges."""
        client.send(wire.command + mechanism.encode() + (b" " + initial if initial is not None else b"") + b"\r\n")
        challenges = []
        for answer in answers:
            line = client.line()
            if not line.startswith(wire.challenge):
                return line, challenges
            challenges.append(base64.b64decode(line[len(wire.challenge):]))
            octets = answer(challenges[-1]) if callable(answer) else answer
            client.send(octets + b"\r\n")
        return client.line(), challenges

    def scram(self, client, wire, scram, mechanism="SCRAM-SHA-256", initial=True):
        answers = [lambda challenge: base64.b64encode(scram.final(challenge)), b""]
        if not initial:
            answers.insert(0, base64.b64encode(scram.first()))
        first = base64.b64encode(scram.first()) if initial else None
        return self.talk(client, wire, mechanism, *answers, initial=first)

    def test_scram(self):
        for wire in WIRES:
            for user, mechanism, digest, initial in (
                    ("alice", "SCRAM-SHA-256", "sha256", True), ("clear", "SCRAM-SHA-256", "sha256", False),
                    ("bob", "SCRAM-SHA-1", "sha1", True), ("clear", "SCRAM-SHA-1", "sha1", True)):
                with self.subTest(protocol=wire.protocol, user=user, mechanism=mechanism, initial=initial):
                    scram = Scram(user, digest=digest)
                    line, challenges = self.scram(self.open(wire), wire, scram, mechanism, initial)
                    self.assertRegex(line, wire.yes)
                    self.assertTrue(scram.check(challenges[-1]))

    def test_scram_that_fails(self):
        for wire in WIRES:
            client = self.open(wire)
            for user, password in (("alice", "wrong"), ("nobody", PASSWORD), ("crypt", PASSWORD), ("bob", PASSWORD)):
                with self.subTest(protocol=wire.protocol, user=user):
                    line, challenges = self.scram(client, wire, Scram(user, password))
                    self.assertNotRegex(line, wire.yes)
                    self.assertEqual(len(challenges), 1)

    def test_exchanges_that_break_off(self):
        """Cancelled, not base64, not SCRAM, a first message replayed as the last; and the connection goes on."""
        for wire in WIRES:
            client = self.open(wire)
            first = base64.b64encode(Scram("alice").first())
            for initial, answers in ((first, (b"*",)), (first, (b"!",)), (first, (first,)), (first, (b"",)),
                                     (b"AAAA", ()), (b"!", ()), (None, (b"*",)), (b"=", ())):
                with self.subTest(protocol=wire.protocol, initial=initial, answers=answers):
                    line, _ = self.talk(client, wire, "SCRAM-SHA-256", *answers, initial=initial)
                    self.assertNotRegex(line, wire.yes)
            self.assertRegex(self.scram(client, wire, Scram("alice"))[0], wire.yes)

    def test_access_tokens(self):
        good = self.issuer.token()
        for wire in WIRES:
            for mechanism, message, yes in (
                    ("OAUTHBEARER", "n,,\1host=x\1port=1\1auth=Bearer %s\1\1" % good, True),
                    ("OAUTHBEARER", "n,a=alice@example.test,\1auth=bearer %s\1\1" % good, True),
                    ("XOAUTH2", "user=alice\1auth=Bearer %s\1\1" % good, True),
                    ("OAUTHBEARER", "n,a=bob@example.test,\1auth=Bearer %s\1\1" % good, False),
                    ("XOAUTH2", "user=bob\1auth=Bearer %s\1\1" % good, False),
                    ("OAUTHBEARER", "n,,\1auth=Bearer %s\1\1" % self.issuer.token(email="nobody@example.test"), False),
                    ("OAUTHBEARER", "p=tls-exporter,,\1auth=Bearer %s\1\1" % good, False),
                    ("OAUTHBEARER", "n,,\1auth=Basic %s\1\1" % good, False),
                    ("OAUTHBEARER", "n,,\1\1", False), ("XOAUTH2", "", False)):
                with self.subTest(protocol=wire.protocol, mechanism=mechanism, message=message[:30]):
                    first = base64.b64encode(message.encode())
                    line, _ = self.talk(self.open(wire), wire, mechanism, first)
                    self.assertEqual(bool(re.search(wire.yes, line)), yes, line)

    def test_an_access_token_that_does_not_hold(self):
        """What is wrong is told in a challenge (RFC 7628), whose answer ends it; the connection goes on."""
        for wire in WIRES:
            client = self.open(wire)
            for token in (self.issuer.token(exp=1), self.issuer.token(aud="other"), self.issuer.token()[:-2] + "AA", "x"):
                for mechanism, start in (("OAUTHBEARER", "n,,"), ("XOAUTH2", "user=alice")):
                    with self.subTest(protocol=wire.protocol, mechanism=mechanism, token=token[-20:]):
                        message = "%s\1auth=Bearer %s\1\1" % (start, token)
                        line, challenges = self.talk(client, wire, mechanism, b"AQ==",
                                                     initial=base64.b64encode(message.encode()))
                        self.assertNotRegex(line, wire.yes)
                        self.assertEqual(json.loads(challenges[0])["status"], "invalid_token")
            self.assertRegex(self.scram(client, wire, Scram("alice"))[0], wire.yes)

    def test_zz_keys_that_replace_others_count(self):
        """The last: the former ones do not any more."""
        def line_for(issuer):
            message = "user=alice\1auth=Bearer %s\1\1" % issuer.token()
            return self.talk(self.open(WIRES[0]), WIRES[0], "XOAUTH2", b"", initial=base64.b64encode(message.encode()))[0]
        other = Issuer(postern.scratch_folder())
        self.assertNotRegex(line_for(other), WIRES[0].yes)
        os.replace(other.jwks, self.issuer.jwks)
        postern.wait_until(lambda: re.search(WIRES[0].yes, line_for(other)), "the new keys", 60)
        self.assertNotRegex(line_for(self.issuer), WIRES[0].yes)

    def test_the_password_is_taken_too(self):
        for wire in WIRES:
            for user in ("alice", "bob", "clear"):
                with self.subTest(protocol=wire.protocol, user=user):
                    line, _ = self.talk(self.open(wire), wire, "PLAIN",
                                        initial=base64.b64encode(b"\0%s\0%s" % (user.encode(), PASSWORD.encode())))
                    self.assertRegex(line, wire.yes)

    def test_without_tls_only_what_shows_no_password(self):
        for wire in WIRES:
            with self.subTest(wire.protocol):
                client = self.open(wire, tls=False)
                self.assertEqual(self.offered(client, wire), {"SCRAM-SHA-256", "SCRAM-SHA-1"})
                self.assertRegex(self.scram(client, wire, Scram("alice", gs2="y,,"))[0], wire.yes)

    def test_binding_to_tls_1_2(self):
        """tls-unique: with TLS 1.2 and its extended master secret."""
        context = postern.authority().client_context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        for wire in WIRES:
            for tampered, yes in ((False, True), (True, False)):
                with self.subTest(protocol=wire.protocol, tampered=tampered):
                    client = self.open(wire, context=context)
                    unique = client.sock.get_channel_binding("tls-unique")
                    data = bytes((unique[0] ^ tampered,)) + unique[1:]
                    line, _ = self.scram(client, wire, Scram("alice", gs2="p=tls-unique,,", binding=data),
                                         "SCRAM-SHA-256-PLUS")
                    self.assertEqual(bool(re.search(wire.yes, line)), yes)

    def test_binding_to_the_certificate(self):
        for wire in WIRES:
            for user, mechanism, name in (("alice", "SCRAM-SHA-256-PLUS", "sha256"), ("bob", "SCRAM-SHA-1-PLUS", "sha1")):
                for tampered, yes in ((False, True), (True, False)):
                    with self.subTest(protocol=wire.protocol, mechanism=mechanism, tampered=tampered):
                        client = self.open(wire)
                        digest = hashlib.sha256(client.sock.getpeercert(binary_form=True)).digest()
                        data = bytes((digest[0] ^ tampered,)) + digest[1:]
                        scram = Scram(user, digest=name, gs2="p=tls-server-end-point,,", binding=data)
                        self.assertEqual(bool(re.search(wire.yes, self.scram(client, wire, scram, mechanism)[0])), yes)

    def test_what_is_no_binding(self):
        """Who was kept from seeing -PLUS; -PLUS without binding; one of another connection, or that TLS 1.3 does not have."""
        for wire in WIRES:
            for gs2, mechanism in (("y,,", "SCRAM-SHA-256"), ("n,,", "SCRAM-SHA-256-PLUS"), ("y,,", "SCRAM-SHA-256-PLUS"),
                                   ("p=tls-exporter,,", "SCRAM-SHA-256"), ("p=tls-exporter,,", "SCRAM-SHA-256-PLUS"),
                                   ("p=tls-unique,,", "SCRAM-SHA-256-PLUS"), ("p=made-up,,", "SCRAM-SHA-256-PLUS")):
                with self.subTest(protocol=wire.protocol, gs2=gs2, mechanism=mechanism):
                    scram = Scram("alice", gs2=gs2, binding=b"" if gs2[0] != "p" else bytes(32))
                    self.assertNotRegex(self.scram(self.open(wire), wire, scram, mechanism)[0], wire.yes)

    # ---- each mechanism, good and bad, on each protocol

    def dialogues(self):
        """Mechanism, first response (None: there is none), answers, and whether it is a log-in."""
        def scram(user, mechanism="SCRAM-SHA-256", password=PASSWORD, **how):
            client = Scram(user, password, "sha256" if "256" in mechanism else "sha1", **how)
            return mechanism, client.first(), (client.final, b"")

        def plain(text):
            return "PLAIN", text, ()
        good, word = self.issuer.token(), PASSWORD.encode()
        return (
            (*plain(b"\0alice\0" + word), True),
            ("PLAIN", None, (b"\0alice\0" + word,), True),
            (*plain(b"alice@example.test\0alice\0" + word), True),
            (*plain(b"bob\0alice\0" + word), False),
            (*plain(b"\0alice\0wrong"), False),
            (*plain(b"\0alice\0"), False),
            (*plain(b"\0\0" + word), False),
            (*plain(b"\0nobody\0" + word), False),
            (*plain(b"alice"), False),
            (*plain(b"\0alice\0" + word + b"\0"), False),
            (*plain(b"\0" + b"a" * 300 + b"\0" + word), False),
            ("LOGIN", None, (b"alice", word), True),
            ("LOGIN", b"alice", (word,), True),
            ("LOGIN", None, (b"alice", b"wrong"), False),
            ("LOGIN", None, (b"alice", b""), False),
            ("LOGIN", None, (b"", word), False),
            ("LOGIN", None, (b"bob%alice", word), False),
            (*scram("alice"), True),
            (*scram("alice", password="wrong"), False),
            (*scram("bob", "SCRAM-SHA-1"), True),
            (*scram("bob", "SCRAM-SHA-1", password="wrong"), False),
            (*scram("alice", gs2="n,a=alice,"), True),
            (*scram("alice", gs2="n,a=bob,"), False),
            ("OAUTHBEARER", ("n,a=alice,\1auth=Bearer %s\1\1" % good).encode(), (), True),
            ("OAUTHBEARER", None, (("n,,\1auth=Bearer %s\1\1" % good).encode(),), True),
            ("OAUTHBEARER", b"n,,\1auth=Bearer x\1\1", (b"\1",), False),
            ("XOAUTH2", ("user=alice\1auth=Bearer %s\1\1" % good).encode(), (), True),
            ("XOAUTH2", ("user=bob\1auth=Bearer %s\1\1" % good).encode(), (), False),
            ("XOAUTH2", b"user=alice\1auth=Bearer x\1\1", (b"",), False),
            ("EXTERNAL", b"", (), False),
            ("ANONYMOUS", b"", (), False),
            ("NOSUCH", b"", (), False),
        )

    def test_each_mechanism_on_each_protocol(self):
        for wire in WIRES:
            for mechanism, first, answers, good in self.dialogues():
                with self.subTest(protocol=wire.protocol, mechanism=mechanism, first=first):
                    encoded = [(lambda challenge, answer=answer: base64.b64encode(answer(challenge))) if callable(answer)
                               else base64.b64encode(answer) for answer in answers]
                    initial = None if first is None else base64.b64encode(first) or b"="
                    line, _ = self.talk(self.open(wire), wire, mechanism, *encoded, initial=initial)
                    self.assertEqual(bool(re.search(wire.yes, line)), good, line)

    def test_each_mechanism_when_others_ask(self):
        """Dovecot's auth protocol: the server that asks has the TLS connection."""
        client = postern.Client(self.asked)
        self.addCleanup(client.close)
        while client.line() != b"DONE\n":
            pass
        client.send(b"VERSION\t1\t2\nCPID\t1\n")
        for number, (mechanism, first, answers, good) in enumerate(self.dialogues(), 1):
            with self.subTest(mechanism=mechanism, first=first):
                begin = "AUTH\t%d\t%s\tservice=smtp\tsecured" % (number, mechanism)
                client.send((begin + ("" if first is None else "\tresp=" + b64(first)) + "\n").encode())
                line = client.line()
                for answer in answers:
                    if not line.startswith(b"CONT\t"):
                        break
                    challenge = base64.b64decode(line.rstrip(b"\n").split(b"\t")[2])
                    octets = answer(challenge) if callable(answer) else answer
                    client.send(("CONT\t%d\t%s\n" % (number, b64(octets))).encode())
                    line = client.line()
                self.assertRegex(line, b"^%s\t%d\\b" % (b"OK" if good else b"FAIL", number))

    @unittest.skipUnless(shutil.which("gsasl"), "gsasl is not installed")
    def test_gsasl(self):
        """GNU SASL's client binds to TLS 1.3 by tls-exporter."""
        for wire in (WIRES[0], WIRES[2]):
            for mechanism, password, more in (
                    ("SCRAM-SHA-256-PLUS", PASSWORD, ()), ("SCRAM-SHA-256", PASSWORD, ("--no-cb",)),
                    ("SCRAM-SHA-256-PLUS", "wrong", ()), ("PLAIN", PASSWORD, ())):
                with self.subTest(protocol=wire.protocol, mechanism=mechanism, password=password):
                    done = subprocess.run(
                        ("gsasl", "--imap" if wire.protocol == "imap" else "--smtp",
                         "--connect=localhost:%d" % self.server.ports[wire.protocol], "--mechanism=" + mechanism,
                         "--authentication-id=alice@example.test", "--password=" + password,
                         "--x509-ca-file=" + postern.authority().ca) + more,
                        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=postern.PATIENCE * 3,
                        check=False)
                    self.assertEqual(done.returncode == 0, password == PASSWORD, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
