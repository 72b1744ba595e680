# SPDX-License-Identifier: MIT
"""Postfix as the next site: mail goes there and comes from there, over TLS, whole, and with reports of what became of it."""

import email
import email.policy
import os
import smtplib
import unittest

import ports
import postern
import postfix
from server_test import ServerTest
from test_delivery import DeliveryTest, address

ALICE = address("alice")
PETER = "peter@" + postfix.DOMAIN
JUERGEN = "jürgen@" + postfix.DOMAIN


def made(subject, body, headers=""):
    return ("From: sender@example.org\r\nTo: recipient@example.org\r\nSubject: %s\r\nDate: Mon, 02 Mar 2026 08:30:00 +0100\r\n"
            "Message-ID: <%s@example.org>\r\nMIME-Version: 1.0\r\n%s\r\n%s" % (subject, subject.encode().hex(), headers, body)).encode()


UTF8_TEXT = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"

# Name, what MAIL says of it, the message; lines with dots and the longest that are lawful among them.
MESSAGES = (
    ("plain", (), made("plain", "one\r\n.\r\n..two\r\n" + "x" * 998 + "\r\n")),
    ("8bit", ("BODY=8BITMIME",), made("8bit", "Grüße aus Köln\r\n", UTF8_TEXT)),
    ("utf8", ("SMTPUTF8", "BODY=8BITMIME"), made("Grüße", "Straße\r\n", UTF8_TEXT)),
    ("large", (), made("large", "".join("%07d%s\r\n" % (n, "." * (n % 70)) for n in range(150000)))),
)


def body_of(octets):
    return octets.partition(b"\r\n\r\n")[2]


def parsed(octets):
    return email.message_from_bytes(octets, policy=email.policy.default)


@unittest.skipIf(postfix.why_not(), postfix.why_not())
class Neighbour(DeliveryTest):
    @classmethod
    def setUpClass(cls):
        folder = postern.scratch_folder()
        # Who is here an alias for somebody unknown there.
        with open(os.path.join(folder, "aliases"), "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write("%s  nobody@%s\n" % (address("gone"), postfix.DOMAIN))
        port = ports.free()
        to_here = "[127.0.0.1]:%d" % port
        cls.postfix = postfix.Postfix(("peter", "jürgen", "closed"), settings="""
transport_maps = inline:{ { %s = smtp:%s }, { closed@%s = error:5.2.1 This mailbox is closed } }
smtp_tls_policy_maps = inline:{ { %s = secure match=localhost } }
""" % (postern.DOMAIN, to_here, postfix.DOMAIN, to_here))
        cls.settings = """
alias_file = "%s/aliases"
listener neighbours { protocol = "smtp" address = "127.0.0.1" port = %d }
transport "%s" { host = "127.0.0.1" port = %d tls = "required" }
relay { retry_first = 1s retry_most = 2s }
%s""" % (folder, port, postfix.DOMAIN, cls.postfix.port, ServerTest.settings)
        super().setUpClass()
        cls.addClassCleanup(cls.postfix.stop)
        cls.postfix.start()

    def hand_over(self, client, sender, recipient, octets, mail=(), rcpt=()):
        self.assertEqual(client.mail(sender, list(mail))[0], 250)
        self.assertEqual(client.rcpt(recipient, list(rcpt))[0], 250)
        self.assertEqual(client.data(octets)[0], 250)

    def submit(self, *args, **options):
        self.hand_over(self.client("submission", user="alice"), ALICE, *args, **options)

    def post(self, *args, **options):
        client = smtplib.SMTP("127.0.0.1", self.postfix.port, timeout=postern.PATIENCE)
        self.addCleanup(client.close)
        client.ehlo()
        self.hand_over(client, *args, **options)

    def first(self, look, wanted, whose):
        """The first message that look() gives of which wanted(octets) is true."""
        try:
            return postern.wait_until(lambda: [octets for octets in look() if wanted(octets)], "mail for " + whose, patience=60)[0]
        except AssertionError as error:
            raise AssertionError("%s\n%s\n%s" % (error, self.server.log_tail(), self.postfix.log())) from None

    def there(self, user, wanted):
        return self.first(lambda: self.postfix.messages(user), wanted, user + " at Postfix")

    def here(self, wanted):
        def look():
            session = self.session("alice", select="INBOX")
            rows = session.ok("UID FETCH 1:* BODY.PEEK[]")
            return [row.partition(b"\r\n")[2] for row in rows if b" FETCH (" in row.partition(b"\r\n")[0]]

        return self.first(look, wanted, "alice")

    def fields(self, report):
        """Those of its only recipient."""
        status = next(part for part in report.walk() if part.get_content_type() == "message/delivery-status")
        return status.get_payload()[1]

    def report_there(self, action, sender):
        def is_it(octets):
            return b"\r\nAction: %s\r\n" % action.encode() in octets and sender.encode() in octets.partition(b"\r\n\r\n")[0].lower()

        return parsed(self.there("peter", is_it))

    # ---- from here to there

    def test_to_postfix(self):
        for name, options, octets in MESSAGES:
            with self.subTest(name):
                self.submit(JUERGEN if name == "utf8" else PETER, octets, mail=options)
                came = self.there("jürgen" if name == "utf8" else "peter", lambda found: body_of(found) == body_of(octets))
                self.assertEqual(parsed(came)["Subject"], parsed(octets)["Subject"])
                self.assertEqual(parsed(came)["Return-Path"], "<%s>" % ALICE)
                received = str(parsed(came)["Received"])
                self.assertIn("using TLSv1.", received)
                self.assertIn("with UTF8SMTPS" if name == "utf8" else "with ESMTPS", received)

    def test_who_is_unknown_there_is_reported_here(self):
        self.submit("nobody@" + postfix.DOMAIN, made("unknown there", "x\r\n"))
        fields = self.fields(parsed(self.here(lambda octets: b"Final-Recipient: rfc822; nobody@" in octets)))
        self.assertEqual((fields["Action"], fields["Status"]), ("failed", "5.1.1"))
        self.assertIn("User unknown in virtual mailbox table", fields["Diagnostic-Code"])

    def test_a_report_of_failure_that_postfix_makes(self):
        self.submit("closed@" + postfix.DOMAIN, made("closed", "x\r\n"))
        came = parsed(self.here(lambda octets: b"This mailbox is closed" in octets))
        self.assertEqual(came["Return-Path"], "<>")
        self.assertEqual(came.get_content_type(), "multipart/report")

    def test_a_report_of_success_that_postfix_makes(self):
        self.submit(PETER, made("success there", "x\r\n"), mail=("RET=HDRS", "ENVID=QQ1"),
                    rcpt=("NOTIFY=SUCCESS", "ORCPT=rfc822;" + PETER))
        came = self.here(lambda octets: b"Original-Envelope-Id: QQ1" in octets)
        self.assertIn(b"\r\nAction: delivered\r\n", came)
        self.assertIn(b"\r\nOriginal-Recipient: rfc822;%s\r\n" % PETER.encode(), came)

    # ---- from there to here

    def test_from_postfix(self):
        for name, options, octets in MESSAGES:
            with self.subTest(name):
                self.post(JUERGEN if name == "utf8" else PETER, ALICE, octets, mail=options)
                came = self.here(lambda found: body_of(octets) in found)
                self.assertEqual(parsed(came)["Subject"], parsed(octets)["Subject"])
                self.assertIn("with UTF8SMTPS" if name == "utf8" else "with ESMTPS", str(parsed(came)["Received"]))

    def test_who_is_unknown_here_is_reported_there(self):
        self.post(PETER, address("nobody"), made("unknown here", "x\r\n"))
        report = self.report_there("failed", "mailer-daemon@mx." + postfix.DOMAIN)
        fields = self.fields(report)
        self.assertEqual(fields["Status"], "5.1.1")
        self.assertIn("550", fields["Diagnostic-Code"])

    def test_a_report_of_failure_that_we_make(self):
        self.post(PETER, address("gone"), made("forwarded", "x\r\n"))
        report = self.report_there("failed", "mailer-daemon@mail." + postern.DOMAIN)
        self.assertEqual(report["Return-Path"], "<>")
        self.assertEqual(self.fields(report)["Status"], "5.1.1")

    def test_a_report_of_success_that_we_make(self):
        self.post(PETER, address("bob"), made("success here", "x\r\n"), mail=("ENVID=QQ2",),
                  rcpt=("NOTIFY=SUCCESS", "ORCPT=rfc822;" + address("bob")))
        report = self.report_there("delivered", "mailer-daemon@mail." + postern.DOMAIN)
        self.assertIn("bob", str(self.fields(report)["Original-Recipient"]))
        self.assertIn(b"Original-Envelope-Id: QQ2", report.as_bytes())
