# SPDX-License-Identifier: MIT
"""Access tokens of issuers who are asked by HTTPS, and the end of credentials that hold for a while only."""

import base64
import datetime
import json
import os
import re
import ssl
import sys
import threading
import time
import unittest

import postern
from issuer import Issuer, Web
from server_test import ServerTest
from test_sasl import WIRES

CLIENT, SECRET = "mail:server", "100% s+cret"
LIFE = 4  # seconds: long enough to log in, on most tries


class Issued(ServerTest):
    """Two issuers: one whose keys are fetched, and one that is asked for each token."""

    tls = 'client_authorities = "%s"' % postern.authority().ca

    @classmethod
    def setUpClass(cls):
        cls.web = Web(lambda *question: cls.answer(*question))
        cls.addClassCleanup(cls.web.stop)
        cls.issuer = Issuer(postern.scratch_folder())
        cls.down, cls.max_age, cls.fetches = False, 3600, 0
        cls.hold, cls.holds = None, threading.Event()  # requests wait for the first, and say so by the second
        cls.tokens, cls.asked = {}, []
        cls.certified = postern.ports.free()
        cls.apps = os.path.join(postern.scratch_folder(), "apps")
        cls.settings = ServerTest.settings.replace("limits {", "limits { userdb_timeout = 60s") + """
protocol pop3 { maildrop = "shared" }
listener certified { protocol = "imap" address = "127.0.0.1" port = %d tls = "implicit" client_certificate = "optional" }
sasl_mechanisms = { "EXTERNAL", "OAUTHBEARER", "XOAUTH2", "PLAIN" }
app_password_file = "%s"
userdb "keys" { driver = "oauth" jwks = "https://localhost:%d/keys" issuer = "https://id.example.test" audience = "mail"
                refresh_pause = 0 timeout = 60s ca_file = "%s" }
userdb "said" { driver = "oauth" introspection = "https://127.0.0.1:%d/ask" client_id = "%s" client_secret = "%s"
                user_claim = "username" scope = "mail" timeout = 60s ca_file = "%s" }
""" % (cls.certified, cls.apps, cls.web.port, postern.authority().ca, cls.web.port, CLIENT, SECRET, postern.authority().ca)
        super().setUpClass()
        postern.wait_until(lambda: "OAUTHBEARER" in cls.capability(cls), "the mechanisms of tokens", 60)

    def capability(self):
        client = self.server.connect(tls=True)
        try:
            return client.greeting().decode()
        finally:
            client.close()

    @classmethod
    def answer(cls, path, form, authorization):
        if cls.hold:
            cls.holds.set()
            cls.hold.wait(postern.PATIENCE * 3)
        if cls.down:
            return 503, {}, {}
        if path == "/keys":
            cls.fetches += 1
            with open(cls.issuer.jwks, encoding="ascii") as file:
                return 200, {"Cache-Control": "public, Max-Age=%d" % cls.max_age}, json.load(file)
        cls.asked.append((path, form, authorization))
        said = cls.tokens.get(form.get("token"))
        return 200, {}, said() if callable(said) else said or {"active": False}

    def tearDown(self):
        Issued.down, Issued.hold = False, None

    def say(self, token, **claims):
        self.tokens[token] = {"active": True, "username": "alice", "scope": "other mail", **claims}
        return token

    def bearer(self, token, wire=WIRES[0], mechanism="OAUTHBEARER"):
        """A client, and what it was told."""
        client = self.connect(tls=True, protocol=wire.protocol, patience=postern.PATIENCE * 3)
        client.line()
        if wire.protocol == "submission":
            client.send(b"EHLO x\r\n")
            while client.line()[3:4] == b"-":
                pass
        start = "n,a=alice@example.test," if mechanism == "OAUTHBEARER" else "user=alice"
        message = base64.b64encode(("%s\1auth=Bearer %s\1\1" % (start, token)).encode())
        client.send(wire.command + mechanism.encode() + b" " + message + b"\r\n")
        line = client.line()
        if line.startswith(wire.challenge):
            client.send(b"AQ==\r\n")
            line = client.line()
        return client, line

    def comes_in(self, token, **how):
        client, line = self.bearer(token, **how)
        self.assertRegex(line, how.get("wire", WIRES[0]).yes)
        return client

    def stays_out(self, token, code=rb"AUTHENTICATIONFAILED"):
        self.assertRegex(self.bearer(token)[1], rb"^a1 NO \[" + code + rb"\]")

    # ---- keys at a URL

    def test_keys_by_url_on_each_protocol(self):
        for wire in WIRES:
            for mechanism in ("OAUTHBEARER", "XOAUTH2"):
                with self.subTest(protocol=wire.protocol, mechanism=mechanism):
                    self.comes_in(self.issuer.token(), wire=wire, mechanism=mechanism)
                    line = self.bearer(self.issuer.token(aud="other"), wire, mechanism)[1]
                    self.assertNotRegex(line, wire.yes)

    def test_keys_are_kept_for_as_long_as_the_answer_says(self):
        self.comes_in(self.issuer.token())
        before = self.fetches
        for _ in range(3):
            self.comes_in(self.issuer.token())
        self.assertEqual(self.fetches, before)
        Issued.max_age = 0
        self.rotate("short")
        self.comes_in(self.issuer.token())
        before = self.fetches
        Issued.max_age = 3600
        self.comes_in(self.issuer.token())
        self.assertEqual(self.fetches, before + 1)
        self.comes_in(self.issuer.token())
        self.assertEqual(self.fetches, before + 1)

    def rotate(self, kid):
        Issued.issuer = Issuer(postern.scratch_folder(), kid)

    def test_an_unknown_key_is_asked_for(self):
        former = self.issuer
        self.comes_in(former.token())
        self.rotate("next")
        self.comes_in(self.issuer.token())
        self.stays_out(former.token())

    def test_former_keys_serve_while_the_issuer_is_down(self):
        Issued.max_age = 0
        self.rotate("down")
        self.comes_in(self.issuer.token())
        Issued.down = True
        self.comes_in(self.issuer.token())
        self.stays_out(Issuer(postern.scratch_folder(), "later").token(), b"UNAVAILABLE")
        Issued.down, Issued.max_age = False, 3600
        self.comes_in(self.issuer.token())

    # ---- introspection

    def test_introspection_on_each_protocol(self):
        token = self.say("on/each+protocol=")
        for wire in WIRES:
            with self.subTest(protocol=wire.protocol):
                self.comes_in(token, wire=wire)
        questions = [question for question in self.asked if question[1].get("token") == token]
        self.assertEqual(len(questions), 1)
        path, form, authorization = questions[0]
        self.assertEqual((path, form["token_type_hint"]), ("/ask", "access_token"))
        kind, _, text = authorization.partition(" ")
        self.assertEqual(kind, "Basic")
        self.assertEqual(base64.b64decode(text), b"mail%3Aserver:100%25%20s%2Bcret")

    def test_a_token_of_which_the_issuer_says_no(self):
        self.tokens["refused"] = {"active": False}
        for token in ("refused", "never-seen", self.say("scoped", scope="other"), self.say("nobodys", username=""),
                      self.say("of-bob", username="bob"), self.say("past", exp=int(time.time()) - 1)):
            with self.subTest(token):
                self.stays_out(token)

    def test_an_issuer_that_cannot_tell(self):
        Issued.down = True
        self.stays_out("nobody-knows", b"UNAVAILABLE")
        Issued.down = False
        self.tokens["odd"] = {"no": "answer"}
        self.stays_out("odd", b"UNAVAILABLE")
        self.tokens["odd"] = {"active": False}
        self.stays_out("odd")

    def test_a_slow_issuer_keeps_nobody_else_waiting(self):
        known = self.say("known")
        self.comes_in(known)
        Issued.holds.clear()
        Issued.hold = hold = threading.Event()
        slow = self.say("slow")
        result = []
        thread = threading.Thread(target=lambda: result.append(self.bearer(slow)[1]))
        thread.start()
        self.assertTrue(self.holds.wait(60))
        self.session("bob").ok("NOOP")
        self.comes_in(self.issuer.token())
        self.assertEqual(result, [])
        Issued.hold = None
        hold.set()
        thread.join()
        self.assertRegex(result[0], WIRES[0].yes)

    # ---- the end of credentials

    def until_in(self, log_in):
        """Under load one may expire before it is used: then another."""
        return postern.wait_until(log_in, "a log-in in time", 120)

    def read_on(self, client):
        """Until the server closes."""
        try:
            while True:
                client.line()
        except (postern.Closed, OSError):
            pass

    def assert_expire(self, **log_ins):
        """Each gives a client that is logged in and when its credential expires, or nothing."""
        other = self.session("bob")
        there = {what: self.until_in(log_in) for what, log_in in log_ins.items()}
        for what, (client, expires) in there.items():
            self.read_on(client)
            late = time.time() - expires
            print("# %s: the session had ended %.2f s after it expired" % (what, late), file=sys.stderr)
            self.assertGreater(late, -1)
        other.ok("NOOP")

    def test_an_expired_token_ends_its_sessions(self):
        def log_in(wire, token):
            expires = int(time.time()) + LIFE
            client, line = self.bearer(token(expires), wire)
            return re.search(wire.yes, line) and (client, expires)
        self.assert_expire(
            jwt=lambda: log_in(WIRES[0], lambda expires: self.issuer.token(exp=expires)),
            **{wire.protocol: lambda wire=wire: log_in(wire, lambda expires: self.say(
                "short%d" % expires + wire.protocol, exp=expires)) for wire in WIRES})

    def test_an_expired_certificate_ends_its_sessions(self):
        folder = postern.scratch_folder()
        certificate, key = os.path.join(folder, "client.pem"), os.path.join(folder, "client-key.pem")

        def log_in():
            expires = int(time.time()) + LIFE
            end = datetime.datetime.fromtimestamp(expires, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
            postern.authority().issue_client(certificate, key, "alice@example.test", 'expiration_date = "%s"' % end)
            context = postern.authority().client_context()
            context.load_cert_chain(certificate, key)
            try:
                client = postern.Client(self.certified)
                self.addCleanup(client.close)
                client.sock = context.wrap_socket(client.sock, server_hostname="localhost")
                client.greeting()
                return client.command("AUTHENTICATE EXTERNAL =")[1].startswith(b"OK") and (client, expires)
            except (ssl.SSLError, postern.Closed, OSError):
                return None
        self.assert_expire(certificate=log_in)

    def test_an_expired_app_password_ends_its_sessions(self):
        password = self.server.tool("user", "app-password", "add", "alice").stdout.strip()

        def client_of():
            client = self.connect(tls=True, patience=postern.PATIENCE * 3)
            client.greeting()
            return client if client.command('LOGIN alice "%s"' % password)[1].startswith(b"OK") else None

        def set_end(expires):
            with open(self.apps, encoding="ascii") as file:
                text = re.sub("(id=%s[^\n]*?)( expires=[0-9]+)?\n" % password.replace("-", "")[:8],
                              r"\1 expires=%d\n" % expires, file.read())
            with open(self.apps + ".new", "w", encoding="ascii") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(text)
            os.rename(self.apps + ".new", self.apps)

        def log_in():
            """Another end ends what there is: then it is known."""
            set_end(int(time.time()) + 3600)
            former = postern.wait_until(client_of, "the app password", 60)
            expires = int(time.time()) + LIFE
            set_end(expires)
            self.read_on(former)
            client = client_of()
            return client and (client, expires)
        self.assert_expire(app_password=log_in)


if __name__ == "__main__":
    unittest.main()
