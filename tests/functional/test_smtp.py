# SPDX-License-Identifier: MIT
"""SMTP, submission and LMTP with Python's clients: what a dialogue cannot say."""

import concurrent.futures
import grp
import os
import re
import shutil
import smtplib
import socket
import subprocess
import time
import unittest

import postern
import realmail
from server_test import ServerTest, for_each_backend, in_time, status, subjects_by_uid

EVERY = 20  # message of the corpus
ALICE = "alice@example.test"
BOB = "bob@example.test"


def connect(server, title="smtp", client=smtplib.SMTP, user=None):
    """Over TLS, but for LMTP, and logged in if a user is named."""
    smtp = client("localhost", server.ports[title], local_hostname="client.example.org", timeout=postern.PATIENCE)
    if client is smtplib.SMTP:
        smtp.starttls(context=postern.authority().client_context())
    if user:
        smtp.login(user, postern.PASSWORD)
    return smtp


# A field with its continuation lines.
FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:[^\r]*\r\n(?:[ \t][^\r]*\r\n)*")


def without_return_path(octets):
    kept, at = [], 0
    while field := FIELD.match(octets, at):
        kept.append(b"" if field[1].lower() == b"return-path" else field[0])
        at = field.end()
    return b"".join(kept) + octets[at:]


def text(subject):
    return postern.message(subject)


@for_each_backend
class Smtp(ServerTest):
    may_die = True

    def setUp(self):
        self.imap = self.session("alice", "INBOX")
        self.imap.ok("UID STORE 1:* +FLAGS.SILENT (\\Deleted)")
        self.imap.ok("EXPUNGE")

    def inbox(self, user="alice"):
        with self.server.session(user, "INBOX") as client:
            return sorted(subjects_by_uid(client).values())

    def newest(self):
        """The newest message in INBOX, without what was put before it."""
        self.imap.ok("NOOP")
        whole = self.imap.ok("FETCH * BODY.PEEK[]")[0]
        size, _, rest = whole.partition(b"{")[2].partition(b"}\r\n")
        octets = rest[:int(size)]
        for field in (b"Return-Path:", b"Delivered-To:", b"Received:"):
            self.assertTrue(octets.startswith(field), octets[:200])
            octets = octets.partition(b"\r\n")[2]
            while octets[:1] in (b"\t", b" ") and field == b"Received:":
                octets = octets.partition(b"\r\n")[2]
        return octets

    def test_a_user_sends_to_another(self):
        with connect(self.server, "submission", user="alice") as client:
            client.sendmail(ALICE, [ALICE, BOB], text("to both"))
        self.assertIn("to both", self.inbox("alice"))
        self.assertIn("to both", self.inbox("bob"))

    def test_implicit_tls(self):
        with smtplib.SMTP_SSL("localhost", self.server.ports["submissions"],
                              context=postern.authority().client_context()) as client:
            client.login("alice", postern.PASSWORD)
            client.sendmail(ALICE, [ALICE], text("implicit"))
        self.assertIn("implicit", self.inbox())

    def test_many_recipients_are_not_told_of_each_other(self):
        with connect(self.server) as client:
            client.sendmail("a@example.org", [ALICE, BOB], text("to two"))
        self.imap.ok("NOOP")
        header = self.imap.ok("FETCH * BODY.PEEK[HEADER]")[0]
        self.assertNotIn(b"bob@", header.replace(b"To: bob@example.test", b""))
        self.assertNotIn(b"for <", header)

    def test_who_idles_is_told_at_once(self):
        self.imap.send(b"i1 IDLE\r\n")
        self.assertTrue(self.imap.line().startswith(b"+"))
        with connect(self.server) as client:
            client.sendmail("a@example.org", [ALICE], text("idle"))
        self.assertIn(b"EXISTS", self.imap.line())
        self.imap.send(b"DONE\r\n")
        self.imap.finish(b"i1")

    def test_a_large_message_with_dots_comes_whole(self):
        message = b"Subject: dots\r\n\r\n" + b"".join(b"." * (n % 5) + b"line %d\r\n" % n for n in range(300000))
        with connect(self.server) as client:
            client.sendmail("a@example.org", [ALICE], message)
        self.assertEqual(self.newest(), message)

    def test_chunks_of_any_size(self):
        message = b"Subject: chunks\r\n\r\n" + b"".join(b"." * (n % 5) + b"line %d\r\n" % n for n in range(3000))
        with connect(self.server) as client:
            client.ehlo()
            for line in ("MAIL FROM:<a@example.org>", "RCPT TO:<%s>" % ALICE):
                self.assertEqual(client.docmd(line)[0], 250)
            at = 0
            for number in range(len(message)):
                size = min(number * 37 % 5000, len(message) - at)
                last = at + size == len(message)
                client.send(b"BDAT %d%s\r\n" % (size, b" LAST" if last else b"") + message[at:at + size])
                self.assertEqual(client.getreply()[0], 250)
                at += size
                if last:
                    break
        self.assertEqual(self.newest(), message)

    def test_real_mail(self):
        """DATA takes all but what has NUL, and so does BDAT."""
        path = realmail.corpus_test.find_corpus()
        if not path:
            self.skipTest("no corpus: set POSTERN_CORPUS")
        with connect(self.server) as client:
            for octets in realmail.Corpus(path).messages[::EVERY]:
                octets = realmail.corpus_test.wire_form(octets)
                if b"\0" in octets or not octets.endswith(b"\r\n"):
                    continue
                client.sendmail("a@example.org", [ALICE], octets)
                octets = without_return_path(octets)
                self.assertIn(self.newest(), (octets, b"\r\n" + octets))  # with a blank line before it, if it has no header

    def test_many_at_once(self):
        def send(number):
            with connect(self.server) as client:
                for n in range(5):
                    client.sendmail("a@example.org", [ALICE, BOB], text("m%d.%d" % (number, n)))

        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            list(pool.map(send, range(20)))
        wanted = sorted("m%d.%d" % (number, n) for number in range(20) for n in range(5))
        self.assertEqual(self.inbox(), wanted)
        self.assertTrue(set(wanted) <= set(self.inbox("bob")))

    def test_lmtp_answers_for_each(self):
        with connect(self.server, "lmtp", smtplib.LMTP) as client:
            client.ehlo()
            for line, code in (("MAIL FROM:<>", 250), ("RCPT TO:<%s>" % ALICE, 250), ("RCPT TO:<nobody@example.test>", 550),
                               ("RCPT TO:<%s>" % BOB, 250), ("DATA", 354)):
                self.assertEqual(client.docmd(line)[0], code)
            client.send(text("lmtp") + b".\r\n")
            self.assertEqual([client.getreply()[0] for _ in range(2)], [250, 250])
        self.assertIn("lmtp", self.inbox("bob"))

    def test_what_a_sender_is_told(self):
        """DSN (RFC 3461), of mail that was delivered here."""
        def say(client, line, code=250):
            self.assertEqual(client.docmd(line)[0], code)

        with connect(self.server, "submission", user="alice") as client:
            client.ehlo()
            self.assertTrue(client.has_extn("dsn"))
            for notify in ("NEVER", "FAILURE,DELAY", "SUCCESS"):
                say(client, "MAIL FROM:<%s> RET=HDRS ENVID=my+2Bid" % ALICE)
                say(client, "RCPT TO:<%s> NOTIFY=%s ORCPT=rfc822;robert+40example.test" % (BOB, notify))
                say(client, "DATA", 354)
                client.send(text("notify " + notify.replace(",", " ")) + b"the body\r\n.\r\n")
                self.assertEqual(client.getreply()[0], 250)
        postern.wait_until(lambda: self.inbox(), "a report")
        self.assertEqual(len(self.inbox()), 1)
        self.imap.ok("NOOP")
        report = self.imap.ok("FETCH 1 BODY.PEEK[]")[0]
        for wanted in (b"Return-Path: <>", b"multipart/report", b"\r\nOriginal-Envelope-Id: my+id\r\n", b"\r\nAction: delivered\r\n",
                       b"\r\nOriginal-Recipient: rfc822; robert@example.test\r\n", b"\r\nSubject: notify SUCCESS\r\n"):
            self.assertIn(wanted, report)
        self.assertNotIn(b"the body", report)

    def test_a_lost_connection_leaves_nothing(self):
        for what in (b"", b"Subject: lost\r\n\r\nhalf", b"Subject: lost\r\n\r\nall but the end\r\n.\r"):
            client = connect(self.server)
            client.ehlo()
            for line in ("MAIL FROM:<a@example.org>", "RCPT TO:<%s>" % ALICE, "DATA"):
                client.docmd(line)
            client.send(what)
            client.sock.shutdown(socket.SHUT_RDWR)
            client.close()
        for what in (b"BDAT 10\r\n1234", b"BDAT 10 LAST\r\n1234", b"BDAT 4\r\n1234"):
            client = connect(self.server)
            client.ehlo()
            for line in ("MAIL FROM:<a@example.org>", "RCPT TO:<%s>" % ALICE):
                client.docmd(line)
            client.send(what)
            client.close()
        with connect(self.server) as client:
            client.sendmail("a@example.org", [ALICE], text("after"))
        self.assertEqual(self.inbox(), ["after"])

    def test_250_is_durable(self):
        if self.backend == "memory":
            self.skipTest("memory forgets")
        with connect(self.server) as client:
            for n in range(10):
                client.sendmail("a@example.org", [ALICE], text("d%d" % n))
            self.imap.close()
            self.server.kill()
            client.sock.close()
        self.server.start()
        self.assertEqual(self.inbox(), ["d%d" % n for n in range(10)])
        self.imap = self.session("alice", "INBOX")


class Patience(ServerTest):
    settings = ServerTest.settings + """
        protocol smtp { command_timeout = 1s data_timeout = 1s data_rate = 1M }
        protocol submission { errors = 3 }
    """

    def begin(self, *more):
        """A client that has said so much before the server lost its patience."""
        def attempt():
            client = connect(self.server)
            client.ehlo()
            for line in ("MAIL FROM:<a@example.org>", "RCPT TO:<%s>" % ALICE, *more):
                if client.docmd(line)[0] not in (250, 354):
                    return None
            return client
        return in_time(attempt)

    def ends(self, client):
        """What is said before the end."""
        code, words = client.getreply()
        self.assertEqual(code, 421)
        self.assertEqual(client.sock.recv(100), b"")
        client.close()
        return words

    def test_silence_between_commands(self):
        client = in_time(lambda: connect(self.server))
        self.assertIn(b"4.4.2", self.ends(client))

    def test_silence_within_a_message(self):
        client = self.begin("DATA")
        client.send(b"Subject: one\r\n")
        self.assertIn(b"4.4.2", self.ends(client))

    def test_silence_within_a_chunk(self):
        client = self.begin()
        client.send(b"BDAT 100\r\nSubject: one\r\n")
        self.assertIn(b"4.4.2", self.ends(client))

    def test_a_message_that_trickles(self):
        client = self.begin("DATA")

        def trickles():
            try:
                client.send(b"Subject: one\r\n")
            except (OSError, smtplib.SMTPServerDisconnected):
                pass
            return "event=too_slow" in self.server.log()

        postern.wait_until(trickles, "its end")
        client.close()


class Hostile(ServerTest):
    settings = ServerTest.settings + "front_processes = 1 protocol smtp { recipients = 100 errors = 100000 }"
    ROOM = 8 * 1024  # kilobytes that the front may grow by

    def setUp(self):
        with connect(self.server, user=None) as client:
            client.noop()
        self.before = self.server.front_memory()

    def grew_little(self):
        if not postern.SANITIZED:
            self.assertLess(self.server.front_memory() - self.before, self.ROOM)

    def begin(self):
        client = smtplib.SMTP("localhost", self.server.ports["smtp"], timeout=postern.PATIENCE)
        client.ehlo()
        for line in ("MAIL FROM:<a@example.org>", "RCPT TO:<%s>" % ALICE, "DATA"):
            self.assertIn(client.docmd(line)[0], (250, 354))
        return client

    def finish(self, client):
        client.send(b"\r\n.\r\n")
        code = client.getreply()[0]
        client.quit()
        return code

    def test_a_client_that_does_not_read(self):
        """What it is told is kept within bounds, and comes when it reads at last."""
        with socket.create_connection(("localhost", self.server.ports["smtp"])) as sock:
            sock.settimeout(1)
            sent = 0
            try:
                while sent < 50000000:
                    sent += sock.send(b"HELP\r\n" * 1000)
            except TimeoutError:
                pass
            self.assertLess(sent, 50000000)
            self.grew_little()
            with connect(self.server) as client:
                client.sendmail("a@example.org", [ALICE], text("others are served"))
            sock.settimeout(postern.PATIENCE)
            sock.shutdown(socket.SHUT_WR)
            got = 0
            while octets := sock.recv(1 << 20):
                got += octets.count(b"\n")
            self.assertGreaterEqual(got, sent // 6)

    def test_a_header_of_half_a_million_fields(self):
        client = self.begin()
        for _ in range(500):
            client.send(b"Subject: x\r\n" * 1000)
        self.grew_little()
        self.assertEqual(self.finish(client), 250)

    def test_a_header_line_of_ten_megabytes(self):
        for start in (b"", b"Subject: ", b"From: ", b"x" * 127 + b":"):
            client = self.begin()
            client.send(start)
            for _ in range(100):
                client.send(b"x" * 100000)
            self.grew_little()
            self.assertEqual(self.finish(client), 250)

    def test_a_from_of_ten_megabytes(self):
        client = connect(self.server, "submission", user="alice")
        client.ehlo()
        for line in ("MAIL FROM:<%s>" % ALICE, "RCPT TO:<%s>" % ALICE, "DATA"):
            client.docmd(line)
        client.send(b"From: ")
        for _ in range(1000):
            client.send(b"a@example.org,\r\n " * 1000)
        self.grew_little()
        self.assertEqual(self.finish(client), 554)

    def test_too_many_recipients(self):
        client = smtplib.SMTP("localhost", self.server.ports["smtp"], timeout=postern.PATIENCE)
        client.ehlo()
        self.assertEqual(client.esmtp_features["limits"], "RCPTMAX=100")
        client.docmd("MAIL FROM:<a@example.org>")
        codes = [client.docmd("RCPT TO:<%s>" % ALICE)[0] for _ in range(102)]
        self.assertEqual(codes, [250] * 100 + [452] * 2)
        self.assertEqual(client.docmd("DATA")[0], 354)
        self.assertEqual(self.finish(client), 250)

    def test_nobody_relays(self):
        client = smtplib.SMTP("localhost", self.server.ports["smtp"], timeout=postern.PATIENCE)
        client.ehlo()
        self.assertEqual(client.docmd("MAIL FROM:<%s>" % ALICE)[0], 250)
        for path in ("x@example.com", "x%example.com@example.test", "example.com!x", "example.com!x@example.test",
                     '"x@example.com"', '"x@example.com"@example.test', '"x%example.com"@example.test',
                     "@example.test:x@example.com", "@example.test,@mail.example.test:x@example.com", "x@example.com@example.test",
                     "x%example.com@[127.0.0.1]", "x@[127.0.0.1]", "x@example.test.example.com", "x@example.test@example.com",
                     '"alice@example.test"@example.com', "x@[192.0.2.1]", "x@localhost", "alice@example.test%example.com"):
            with self.subTest(path):
                self.assertIn(client.docmd("RCPT TO:<%s>" % path)[0] // 10, (50, 55))
        self.assertEqual(client.docmd("DATA")[0], 554)
        client.quit()


class LocalSocket(unittest.TestCase):
    """LMTP by a path."""

    def send(self, path):
        client = smtplib.LMTP(path, local_hostname="client.example.org")
        client.sendmail("a@example.org", [ALICE], text("local"))
        client.quit()

    def test_it_comes_and_goes(self):
        with postern.Instance() as server:
            paths = [os.path.join(server.folder, name) for name in ("lmtp", "lmtp2")]
            listener = 'listener local { protocol = "lmtp" path = "%s" tls = "none" }'
            server.write_config(listener % paths[0])
            server.reload()
            postern.wait_until(lambda: os.path.exists(paths[0]), "the socket")
            self.assertEqual(os.stat(paths[0]).st_mode & 0o777, 0o600)
            self.send(paths[0])
            with server.session("alice", "INBOX") as client:
                header = client.ok("FETCH * BODY.PEEK[HEADER]")[0]
            self.assertIn(b"Received: from client.example.org\r\n\tby mail.example.test (Postern) with LMTP id ", header)
            server.write_config(listener % paths[1])
            server.reload()
            postern.wait_until(lambda: os.path.exists(paths[1]) and not os.path.exists(paths[0]), "the other socket")
            self.send(paths[1])
            server.kill()
            self.assertTrue(os.path.exists(paths[1]))
            server.start()
            self.send(paths[1])
            server.stop()
            self.assertFalse(os.path.exists(paths[1]))

    def test_a_group(self):
        with postern.Instance(settings="") as server:
            path = os.path.join(server.folder, "lmtp")
            group = grp.getgrgid(os.getgid())
            server.write_config('listener local { protocol = "lmtp" path = "%s" group = "%s" tls = "none" }' % (path, group.gr_name))
            server.reload()
            postern.wait_until(lambda: os.path.exists(path), "the socket")
            postern.wait_until(lambda: os.stat(path).st_mode & 0o777 == 0o660, "its mode")
            self.assertEqual(os.stat(path).st_gid, group.gr_gid)
            self.send(path)

    def test_what_is_no_socket_stays(self):
        with postern.Instance(settings="") as server:
            path = os.path.join(server.folder, "lmtp")
            with open(path, "w", encoding="ascii") as file:
                file.write("precious")
            server.write_config('listener local { protocol = "lmtp" path = "%s" tls = "none" }' % path)
            server.reload()
            postern.wait_until(lambda: "event=listener_failed" in server.log(), "a refusal")
            with open(path, encoding="ascii") as file:
                self.assertEqual(file.read(), "precious")


class Auth(ServerTest):
    """Users may log in on port 25, where that is allowed."""
    settings = ServerTest.settings + "protocol smtp { auth = yes }"

    def test_it_is_a_submission_then(self):
        with connect(self.server, user="alice") as client:
            client.sendmail(ALICE, [BOB], b"Subject: from 25\r\n\r\n")
        with self.session("bob", "INBOX") as client:
            self.assertIn(b"Message-ID:", client.ok("FETCH * BODY.PEEK[HEADER]")[0])

    def test_strangers_still_may_send_to_us(self):
        with connect(self.server) as client:
            client.sendmail("a@example.org", [BOB], b"Subject: stranger\r\n\r\n")
            self.assertEqual(client.docmd("MAIL FROM:<%s>" % ALICE)[0], 250)
            self.assertEqual(client.docmd("RCPT TO:<somebody@example.com>")[0], 550)

    def test_another_sender(self):
        with connect(self.server, user="alice") as client:
            client.ehlo()
            self.assertGreaterEqual(client.docmd("MAIL FROM:<%s>" % BOB)[0], 550)


def needs(program):
    return unittest.skipUnless(shutil.which(program), program + " is not installed")


class Programs(ServerTest):
    """Mail programs of others."""

    def setUp(self):
        self.folder = postern.scratch_folder()
        self.ca = postern.authority().ca

    def run_program(self, *command, given=b""):
        done = subprocess.run(command, input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                              timeout=postern.PATIENCE * 3, env=dict(os.environ, HOME=self.folder, MAILRC="/dev/null"))
        self.assertEqual(done.returncode, 0, done.stdout.decode("utf-8", "replace"))

    def arrived(self, subject):
        with self.server.session("bob", "INBOX") as client:
            self.assertIn(subject, subjects_by_uid(client).values())

    @needs("swaks")
    def test_swaks(self):
        common = ("swaks", "--server", "localhost", "--helo", "client.example.org", "--to", BOB, "--hide-all")
        for name, *options in (
                ("plain", "--port", str(self.server.ports["smtp"]), "--from", "a@example.org"),
                ("tls", "--port", str(self.server.ports["smtp"]), "--from", "a@example.org", "--tls", "--tls-ca-path", self.ca,
                 "--tls-verify"),
                ("pipelined", "--port", str(self.server.ports["smtp"]), "--from", "a@example.org", "--pipeline"),
                ("lmtp", "--port", str(self.server.ports["lmtp"]), "--from", "a@example.org", "--protocol", "LMTP"),
                ("login", "--port", str(self.server.ports["submission"]), "--from", ALICE, "--tls", "--auth", "LOGIN",
                 "--auth-user", ALICE, "--auth-password", postern.PASSWORD),
                ("plain auth", "--port", str(self.server.ports["submissions"]), "--from", ALICE, "--tls-on-connect", "--auth",
                 "PLAIN", "--auth-user", ALICE, "--auth-password", postern.PASSWORD)):
            with self.subTest(name):
                self.run_program(*common, *options, "--header", "Subject: swaks " + name)
                self.arrived("swaks " + name)

    @needs("msmtp")
    def test_msmtp(self):
        for title, starttls in (("submission", "on"), ("submissions", "off")):
            config = os.path.join(self.folder, "msmtprc")
            with open(config, "w", encoding="ascii") as file:
                file.write("account a\nhost localhost\nport %d\ntls on\ntls_starttls %s\ntls_trust_file %s\nauth on\n"
                           "user %s\npassword %s\nfrom %s\n"
                           % (self.server.ports[title], starttls, self.ca, ALICE, postern.PASSWORD, ALICE))
            os.chmod(config, 0o600)
            self.run_program("msmtp", "--file=" + config, "--account=a", BOB,
                             given=b"From: %s\nSubject: msmtp %s\n\n.\nhello\n" % (ALICE.encode(), title.encode()))
            self.arrived("msmtp " + title)

    @needs("curl")
    def test_curl(self):
        mail = os.path.join(self.folder, "mail")
        with open(mail, "wb") as file:
            file.write(b"From: %s\r\nSubject: curl\r\n\r\n.\r\n..hello\r\n" % ALICE.encode())
        self.run_program("curl", "--silent", "--show-error", "--cacert", self.ca, "--ssl-reqd", "--mail-from", ALICE,
                         "--mail-rcpt", BOB, "--mail-rcpt", ALICE, "--upload-file", mail, "--user", ALICE + ":" + postern.PASSWORD,
                         "smtp://localhost:%d/client.example.org" % self.server.ports["submission"])
        self.arrived("curl")

    @needs("s-nail")
    def test_s_nail(self):
        self.run_program("s-nail", "-:/", "-Sv15-compat", "-Ssmtp-auth=login", "-Stls-verify=strict",
                         "-Stls-ca-file=" + self.ca, "-Sfrom=" + ALICE, "-Shostname=client.example.org",
                         "-Smta=submissions://%s:%s@localhost:%d" % (ALICE.replace("@", "%40"), postern.PASSWORD,
                                                                  self.server.ports["submissions"]),
                         "-Ssendwait", "-s", "s-nail", BOB, given=b"hello\n")
        self.arrived("s-nail")
