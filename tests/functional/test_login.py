# SPDX-License-Identifier: MIT
"""Log-in: who gets in, who does not, and what may be said before TLS."""

import base64
import imaplib
import re
import ssl

import postern
from server_test import ServerTest


def b64(text):
    return base64.b64encode(text.encode()).decode()


class Login(ServerTest):
    def login(self, text):
        client = self.connect(tls=True)
        client.greeting()
        return client.command(text)[1].decode()

    def authenticate(self, *lines):
        """AUTHENTICATE with each of these as an answer to a challenge; the tagged line."""
        client = self.connect(tls=True)
        client.greeting()
        client.send(b"a1 AUTHENTICATE " + lines[0].encode() + b"\r\n")
        for line in lines[1:]:
            reply = client.line()
            if not reply.startswith(b"+"):
                return reply.decode()
            client.send(line.encode() + b"\r\n")
        return client.finish(b"a1")[1].decode()

    def test_with_and_without_domain_in_any_case(self):
        for name in ("alice", "alice@example.test", "Alice@Example.TEST"):
            with self.subTest(name):
                self.assertRegex(self.login("LOGIN %s pass" % name), "^OK")

    def test_quoted_and_literal(self):
        self.assertRegex(self.login('LOGIN "alice" "pass"'), "^OK")
        client = self.connect(tls=True)
        client.greeting()
        client.send(b"a1 LOGIN {5}\r\n")
        self.assertTrue(client.line().startswith(b"+"))
        client.send(b"alice {4}\r\n")
        self.assertTrue(client.line().startswith(b"+"))
        client.send(b"pass\r\n")
        self.assertRegex(client.finish(b"a1")[1], b"^OK")

    def test_wrong_password_and_unknown_user_read_the_same(self):
        wrong = self.login("LOGIN alice wrong")
        self.assertRegex(wrong, r"^NO \[AUTHENTICATIONFAILED\]")
        self.assertEqual(wrong, self.login("LOGIN nobody-of-that-name wrong"))

    def test_strange_user_names(self):
        for name in ("../alice", "alice/../bob", "*", "%n", "alice%", "a b", "alice@example.test/x", "", "@", "@example.test",
                     "alice@", "alice@example.test@example.test"):
            with self.subTest(name):
                self.assertRegex(self.login('LOGIN "%s" pass' % name), r"^(NO|BAD)")

    def test_name_with_nul_is_not_cut(self):
        self.assertRegex(self.authenticate("PLAIN " + b64("\0alice\0pass\0x")), "^(NO|BAD)")
        self.assertRegex(self.authenticate("PLAIN " + b64("\0alice\0\0pass")), "^(NO|BAD)")

    def test_plain(self):
        self.assertRegex(self.authenticate("PLAIN " + b64("\0alice\0pass")), "^OK")
        self.assertRegex(self.authenticate("PLAIN", b64("\0alice\0pass")), "^OK")
        self.assertRegex(self.authenticate("plain", b64("alice\0alice\0pass")), "^OK")

    def test_login_mechanism(self):
        self.assertRegex(self.authenticate("LOGIN", b64("alice"), b64("pass")), "^OK")
        self.assertRegex(self.authenticate("LOGIN", b64("alice"), b64("wrong")), r"^NO \[AUTHENTICATIONFAILED\]")

    def test_acting_as_another_is_refused(self):
        self.assertRegex(self.authenticate("PLAIN " + b64("bob\0alice\0pass")), "^NO")

    def test_bad_exchanges_hurt_only_themselves(self):
        other = self.connect(tls=True)
        other.greeting()
        for lines in (("PLAIN", "!!!"), ("PLAIN", "*"), ("PLAIN ="), ("PLAIN", ""), ("PLAIN", "AA="), ("NOSUCH",),
                      ("LOGIN", "*"), ("LOGIN", b64("alice"), "*"), ("PLAIN " + b64("alice"),)):
            lines = (lines,) if isinstance(lines, str) else lines
            with self.subTest(lines):
                self.assertRegex(self.authenticate(*lines), "(NO|BAD)")
        other.ok("LOGIN alice pass")

    def test_a_failed_log_in_may_be_tried_again(self):
        client = self.connect(tls=True)
        client.greeting()
        self.assertRegex(client.command("LOGIN alice wrong")[1], b"^NO")
        client.ok("LOGIN alice pass")

    def test_imaplib(self):
        with imaplib.IMAP4_SSL("localhost", self.server.ports["imaps"],
                               ssl_context=postern.authority().client_context()) as client:
            client.authenticate("PLAIN", lambda _: b"\0alice\0pass")
            self.assertEqual(client.select()[0], "OK")

    def test_pipelined_commands_behind_login_are_not_lost(self):
        client = self.connect(tls=True)
        client.greeting()
        client.send(b"a1 LOGIN alice pass\r\na2 NOOP\r\na3 SELECT INBOX\r\n")
        for tag in (b"a1", b"a2", b"a3"):
            self.assertRegex(client.finish(tag)[1], b"^OK")

    def test_users_added_and_removed_by_the_tool_count_at_once(self):
        self.assertRegex(self.login("LOGIN carol secret"), "^NO")
        self.server.tool("user", "add", "--password-stdin", "carol@example.test", text_input="secret\n")
        self.assertRegex(self.login("LOGIN carol secret"), "^OK")
        self.server.tool("user", "remove", "--yes", "carol@example.test")
        self.assertRegex(self.login("LOGIN carol secret"), "^NO")

    def test_a_replaced_passwd_file_is_noticed(self):
        self.server.add_users("dave")
        postern.wait_until(lambda: self.login("LOGIN dave pass").startswith("OK"), "dave's log-in")

    def test_the_log_tells_of_log_ins_and_holds_no_password(self):
        self.login("LOGIN alice pass-that-is-wrong")
        self.login("LOGIN alice pass")
        log = self.server.log()
        self.assertRegex(log, r"event=login\b.*user=alice@example.test")
        self.assertNotIn("pass-that-is-wrong", log)


class Cleartext(ServerTest):
    def capabilities(self, client):
        return set(client.ok("CAPABILITY")[0].decode().split())

    def test_no_password_before_tls(self):
        client = self.connect()
        self.assertIn(b"LOGINDISABLED", client.greeting())
        offered = self.capabilities(client)
        self.assertIn("LOGINDISABLED", offered)
        self.assertIn("STARTTLS", offered)
        self.assertFalse([name for name in offered if name.startswith("AUTH=")])
        self.assertRegex(client.command("LOGIN alice pass")[1], rb"^NO \[PRIVACYREQUIRED\]")
        self.assertRegex(client.command("AUTHENTICATE PLAIN " + b64("\0alice\0pass"))[1], b"^(NO|BAD)")

    def test_starttls(self):
        client = self.connect()
        client.greeting()
        client.ok("STARTTLS")
        client.start_tls()
        offered = self.capabilities(client)
        self.assertNotIn("LOGINDISABLED", offered)
        self.assertNotIn("STARTTLS", offered)
        self.assertIn("AUTH=PLAIN", offered)
        self.assertRegex(client.command("STARTTLS")[1], b"^BAD")
        client.ok("LOGIN alice pass")
        client.ok("SELECT INBOX")

    def test_what_was_sent_behind_starttls_is_dropped(self):
        client = self.connect()
        client.greeting()
        client.send(b"a1 STARTTLS\r\na2 NOOP\r\n")
        self.assertRegex(client.line(), rb"^(a1 (OK|BAD)|\* BYE)")
        try:
            client.start_tls()
            client.send(b"a3 NOOP\r\n")
            reply = client.line()
        except (OSError, postern.Closed):
            return  # closing is best
        self.assertRegex(reply, b"^a3 OK")

    def test_starttls_takes_no_argument(self):
        client = self.connect()
        client.greeting()
        self.assertRegex(client.command("STARTTLS now")[1], b"^BAD")

    def test_not_offered_where_tls_is_on(self):
        client = self.connect(tls=True)
        self.assertNotIn(b"STARTTLS", client.greeting())


class Allowed(ServerTest):
    settings = "plaintext_without_tls = yes"

    def test_the_setting_allows_it(self):
        client = self.connect()
        self.assertNotIn(b"LOGINDISABLED", client.greeting())
        client.ok("LOGIN alice pass")
        client.ok("SELECT INBOX")


class Tls(ServerTest):
    def handshake(self, change):
        context = postern.authority().client_context()
        change(context)
        client = self.connect(tls=True, context=context)
        client.greeting()
        return client.sock

    def test_versions(self):
        def only(version):
            def change(context):
                context.minimum_version = context.maximum_version = version
            return change
        self.assertEqual(self.handshake(only(ssl.TLSVersion.TLSv1_3)).version(), "TLSv1.3")
        self.assertEqual(self.handshake(only(ssl.TLSVersion.TLSv1_2)).version(), "TLSv1.2")

        def old(context):
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        with self.assertRaises(ssl.SSLError):
            self.handshake(old)

    def test_alpn(self):
        self.assertEqual(self.handshake(lambda context: context.set_alpn_protocols(["imap"]))
                         .selected_alpn_protocol(), "imap")
        with self.assertRaises(ssl.SSLError):
            self.handshake(lambda context: context.set_alpn_protocols(["h2", "http/1.1"]))

    def test_a_renewed_certificate_is_used_without_a_signal(self):
        before = self.handshake(lambda _: None).getpeercert()["serialNumber"]
        kept = self.session()
        postern.authority().issue(self.server.certificate, self.server.key)
        postern.wait_until(lambda: self.handshake(lambda _: None).getpeercert()["serialNumber"] != before,
                           "the new certificate")
        kept.ok("NOOP")

    def test_keys_of_every_kind_sign(self):
        """The key is in another process, which is asked in a form of its own for each kind."""
        def only(version):
            def change(context):
                context.minimum_version = context.maximum_version = version
            return change
        for kind in (("--key-type=rsa", "--bits=2048"), ("--key-type=rsa-pss", "--bits=2048", "--hash=sha256"),
                     ("--key-type=ed25519",), ("--key-type=ecdsa", "--curve=secp384r1")):
            before = self.handshake(lambda _: None).getpeercert()["serialNumber"]
            postern.authority().issue(self.server.certificate, self.server.key, kind=kind)
            postern.wait_until(lambda: self.handshake(lambda _: None).getpeercert()["serialNumber"] != before,
                               "the certificate of " + kind[0])
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                with self.subTest(kind[0], version=version):
                    self.handshake(only(version))

    def test_a_certificate_that_does_not_fit_its_key_changes_nothing(self):
        before = self.handshake(lambda _: None).getpeercert()["serialNumber"]
        with open(self.server.key, "rb") as file:
            good = file.read()
        with open(self.server.key, "wb") as file:
            file.write(b"-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----\n")
        self.server.reload()
        postern.wait_until(lambda: re.search(r"level=(error|warning).*key", self.server.log()), "a line in the log")
        self.assertEqual(self.handshake(lambda _: None).getpeercert()["serialNumber"], before)
        with open(self.server.key, "wb") as file:
            file.write(good)
