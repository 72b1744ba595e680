# SPDX-License-Identifier: MIT
"""Mail comes in by SMTP and LMTP, and is in the mailboxes; whatever was said to be stored is there, once."""

import json
import os
import re
import signal
import smtplib
import ssl
import subprocess
import threading
import time
import unittest

import postern
from server_test import ServerTest, for_each_backend, subjects_by_uid

JOE = "joe@example.com"


def address(name):
    return "%s@%s" % (name, postern.DOMAIN)


class DeliveryTest(ServerTest):
    def client(self, kind="smtp", user=None):
        """A client of Python's that has said EHLO, or LHLO; submission: that has logged in."""
        make = smtplib.LMTP if kind == "lmtp" else smtplib.SMTP
        client = make("127.0.0.1", self.server.ports[kind], timeout=postern.PATIENCE)
        self.addCleanup(client.close)
        if user:
            client.starttls(context=ssl.create_default_context(cafile=postern.authority().ca))
            client.login(user, postern.PASSWORD)
        client.ehlo_or_helo_if_needed()
        return client

    def send(self, client, sender, recipients, octets):
        """The replies to the message: one, or one for each with LMTP."""
        self.assertEqual(client.mail(sender)[0], 250)
        taken = [name for name in recipients if client.rcpt(name)[0] == 250]
        client.putcmd("data")
        self.assertEqual(client.getreply()[0], 354)
        client.send(octets + b".\r\n")
        count = len(taken) if isinstance(client, smtplib.LMTP) else 1
        return [client.getreply() for _ in range(count)]

    def subjects(self, user, mailbox="INBOX"):
        return sorted(subjects_by_uid(self.session(user, select=mailbox)).values())


class Incoming(DeliveryTest):
    def setUp(self):
        for user in self.users:
            client = self.session(user, select="INBOX")
            client.ok("STORE 1:* FLAGS.SILENT (\\Deleted)") if subjects_by_uid(client) else None
            client.ok("EXPUNGE")

    def test_a_session_in_idle_sees_it(self):
        alice = self.session("alice", select="INBOX")
        alice.send(b"i1 IDLE\r\n")
        self.assertTrue(alice.line().startswith(b"+"))
        replies = self.send(self.client(), JOE, [address("alice"), address("bob")], postern.message("idle"))
        self.assertEqual(replies[0][0], 250)
        self.assertEqual(alice.line(), b"* 1 EXISTS\r\n")
        self.assertEqual(self.subjects("bob"), ["idle"])

    def test_trace_fields_stand_on_top(self):
        self.send(self.client(), JOE, [address("alice")], postern.message("trace"))
        alice = self.session("alice", select="INBOX")
        header = b"".join(alice.ok("FETCH 1 BODY.PEEK[HEADER]"))
        names = re.findall(rb"^([A-Za-z-]+):", header[header.index(b"\r\n") + 2:], re.M)
        self.assertEqual(names[:4], [b"Return-Path", b"Delivered-To", b"Received", b"From"])
        self.assertIn(b"Return-Path: <joe@example.com>\r\nDelivered-To: alice@example.test\r\n", header)

    def test_the_null_sender(self):
        self.send(self.client(), "", [address("alice")], postern.message("null"))
        alice = self.session("alice", select="INBOX")
        self.assertIn(b"Return-Path: <>\r\n", b"".join(alice.ok("FETCH 1 BODY.PEEK[HEADER]")))

    def test_who_is_not_there_and_who_is_elsewhere(self):
        client = self.client()
        client.mail(JOE)
        self.assertEqual(client.rcpt(address("nobody"))[0], 550)
        for path in ("joe@example.com", "joe%example.com@example.test", '"joe@example.com"@example.test',
                     "example.com!joe@example.test", "joe@[127.0.0.1]"):
            with self.subTest(path):
                self.assertEqual(client.rcpt(path)[0] // 100, 5)

    def test_lmtp_answers_for_each(self):
        client = self.client("lmtp")
        replies = self.send(client, JOE, [address("alice"), address("nobody"), address("bob")],
                            postern.message("lmtp"))
        self.assertEqual([code for code, _ in replies], [250, 250])
        self.assertEqual(self.subjects("alice"), ["lmtp"])
        self.assertEqual(self.subjects("bob"), ["lmtp"])

    def test_a_folder_behind_the_name(self):
        self.session("alice").ok("CREATE Work")
        client = self.client()
        for folder in ("Work", "nosuch", "../../etc", "INBOX"):
            self.send(client, JOE, ['"alice+%s"@example.test' % folder], postern.message(re.sub(r"\W", "", folder)))
        self.assertEqual(self.subjects("alice", "Work"), ["Work"])
        self.assertEqual(self.subjects("alice"), ["INBOX", "etc", "nosuch"])

    def test_two_names_of_one_mailbox_get_one_copy(self):
        self.send(self.client(), JOE, [address("alice"), "ALICE@Example.TEST"], postern.message("once"))
        self.assertEqual(self.subjects("alice"), ["once"])

    def test_its_own_trace_makes_a_loop(self):
        looped = b"Delivered-To: Alice@example.test\r\n" + postern.message("loop")
        self.assertEqual(self.send(self.client(), JOE, [address("alice")], looped)[0][0], 554)
        self.assertEqual(self.send(self.client(), JOE, [address("bob")], looped)[0][0], 250)

    def test_a_line_like_a_dot_and_a_large_message(self):
        body = "".join("%07d%s\r\n" % (i, "x" * 60) for i in range(60000))
        octets = postern.message("large", body="." + body)
        self.assertEqual(self.send(self.client(), JOE, [address("alice")], octets.replace(b"\r\n.", b"\r\n.."))[0][0],
                         250)
        alice = self.session("alice", select="INBOX")
        fetched = b"".join(alice.ok("FETCH 1 BODY.PEEK[TEXT]"))
        self.assertIn(b"." + body.encode(), fetched)

    def test_sizes_around_what_needs_no_file(self):
        """32 KiB, Received and all, go from role to role in memory, more in a file; APPEND takes its octets by as many."""
        alice = self.session("alice", select="INBOX")
        lines = "".join("%s%06d\r\n" % (".x"[i % 2], i) for i in range(4000))

        def arrive(kind, octets):
            if kind == "append":
                self.assertTrue(alice.append(octets).startswith(b"OK"))
            else:
                stuffed = octets.replace(b"\r\n.", b"\r\n..")
                self.assertEqual(self.send(self.client(kind), JOE, [address("alice")], stuffed)[0][0], 250)
            alice.ok("NOOP")
            return b"".join(alice.ok("FETCH * BODY.PEEK[]"))

        for kind in ("lmtp", "smtp", "append"):
            received = re.search(rb"Received: .*?(?=From: )", arrive(kind, postern.message("first")), re.S)
            most = 32768 - len(received[0] if received else b"")
            for size in (most - 1, most, most + 1):
                with self.subTest(kind, size=size):
                    octets = postern.message("edge", body=lines)[:size - 8].rstrip(b"\r\n")
                    octets += b"e" * (size - 2 - len(octets)) + b"\r\n"
                    self.assertTrue(arrive(kind, octets).endswith(octets + b")\r\n"))

    def test_submission(self):
        client = self.client("submission", user="alice")
        self.assertEqual(self.send(client, address("alice"), [address("bob")], postern.message("sent"))[0][0], 250)
        self.assertEqual(self.subjects("bob"), ["sent"])
        self.assertEqual(client.mail(address("bob"))[0], 553)
        self.assertEqual(client.mail(JOE)[0], 553)
        self.assertEqual(self.client("submission").mail(address("alice"))[0], 530)


for_each_backend(Incoming)
del Incoming


class Many(DeliveryTest):
    users = tuple("many%03d" % i for i in range(150))

    def test_one_message_for_many(self):
        for kind in ("smtp", "lmtp"):
            replies = self.send(self.client(kind), JOE, [address(name) for name in self.users],
                                postern.message("many " + kind))
            self.assertEqual({code for code, _ in replies}, {250})
        for user in self.users[::25]:
            self.assertEqual(self.subjects(user), ["many lmtp", "many smtp"])

    def test_many_at_once(self):
        failed = []

        def send(number):
            client = self.client()
            for i in range(10):
                replies = self.send(client, JOE, [address(self.users[1])], postern.message("t%d-%d" % (number, i)))
                failed.extend(reply for reply in replies if reply[0] != 250)

        threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failed, [])
        found = [subject for subject in self.subjects(self.users[1]) if subject.startswith("t")]
        self.assertEqual(len(found), len(set(found)))
        self.assertEqual(len(found), 80)


class Aliases(DeliveryTest):
    @classmethod
    def setUpClass(cls):
        folder = postern.scratch_folder()
        cls.alias_file = os.path.join(folder, "aliases")
        cls.write("team@example.test  alice@example.test, bob@example.test\n")
        cls.settings = 'alias_file = "%s"\n' % cls.alias_file + ServerTest.settings
        super().setUpClass()

    @classmethod
    def write(cls, text):
        with open(cls.alias_file + ".new", "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text)
        os.rename(cls.alias_file + ".new", cls.alias_file)

    def test_each_gets_it_and_a_change_counts_without_a_reload(self):
        self.assertEqual(self.send(self.client(), JOE, [address("team")], postern.message("all"))[0][0], 250)
        self.assertEqual(self.subjects("alice"), ["all"])
        self.assertEqual(self.subjects("bob"), ["all"])
        self.write("other@example.test  alice@example.test\n")

        def is_there():
            client = self.client()
            client.mail(JOE)
            return client.rcpt(address("other"))[0] == 250

        postern.wait_until(is_there, "the new alias")
        client = self.client()
        client.mail(JOE)
        self.assertEqual(client.rcpt(address("team"))[0], 550)


class Spool(unittest.TestCase):
    @unittest.skipUnless(os.geteuid() == 0, "only root gives the roles users of their own")
    def test_a_spool_of_somebody_else_is_not_used(self):
        server = postern.Instance()
        os.mkdir(server.spool_dir, 0o755)
        server.write_config()
        done = subprocess.run((server.installation.path("sbin/posternd"), "--config", server.config, "--foreground"),
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=postern.PATIENCE, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(b"must belong to the user of user_relay", done.stderr)


class Hangs(DeliveryTest):
    settings = "mail_processes = 1\nrelay { retry_first = 1s retry_most = 1s }\n" + ServerTest.settings

    def test_a_mail_process_that_hangs(self):
        """RFC 5321 section 6.1: the answer comes soon. The queue has the message then, and the mailbox gets it once."""
        mail = [pid for pid, role in self.server.roles() if role == "mail"]
        for pid in mail:
            os.kill(pid, signal.SIGSTOP)
        try:
            client = self.client()
            client.sock.settimeout(60)
            began = time.monotonic()
            replies = self.send(client, JOE, [address("alice")], postern.message("hangs"))
            self.assertEqual(replies[0][0], 250)
            self.assertLess(time.monotonic() - began, 50)
            time.sleep(3)  # the queue tries, too
        finally:
            for pid in mail:
                os.kill(pid, signal.SIGCONT)
        postern.wait_until(lambda: self.subjects("alice"), "the message")
        postern.wait_until(lambda: json.loads(self.server.tool("queue", "stats", "--json").stdout)["messages"] == 0, "the end of the queue")
        self.assertEqual(self.subjects("alice"), ["hangs"])


class Stop(DeliveryTest):
    """A server that stops answers the messages that it has: none is stored of which the client was not told."""

    def sender(self, kind, said, stop):
        number = 0
        while not stop.is_set():
            number += 1
            try:
                replies = self.send(self.client(kind), JOE, [address("alice")], postern.message("%s-%d" % (kind, number)))
                said.extend("%s-%d" % (kind, number) for code, _ in replies if code == 250)
            except (OSError, smtplib.SMTPException, AssertionError):
                time.sleep(0.02)

    def test_stop_and_start(self):
        said, stop = [], threading.Event()
        threads = [threading.Thread(target=self.sender, args=(kind, said, stop)) for kind in ("smtp", "lmtp")]
        for thread in threads:
            thread.start()
        try:
            for _ in range(3):
                before = len(said)
                postern.wait_until(lambda: len(said) > before + 5, "mail")
                self.assertEqual(self.server.stop(), 0)
                self.server.start()
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual(self.subjects("alice"), sorted(said))


class Kills(DeliveryTest):
    """Roles are killed while mail comes in: what was answered with 250 is there, and no message of one transaction is there twice."""

    may_die = True
    settings = "relay { retry_first = 1s retry_most = 2s }\n" + ServerTest.settings
    rounds = int(os.environ.get("POSTERN_TEST_KILLS", "8"))

    def sender(self, kind, said, stop):
        number = 0
        while not stop.is_set():
            number += 1
            subject = "%s-%d" % (kind, number)
            try:
                client = self.client(kind)
                for code, text in self.send(client, JOE, [address("alice")], postern.message(subject)):
                    said[subject] = code
            except (OSError, smtplib.SMTPException, AssertionError):
                time.sleep(0.02)

    def test_killed_roles(self):
        said, stop = {}, threading.Event()
        threads = [threading.Thread(target=self.sender, args=(kind, said, stop)) for kind in ("smtp", "lmtp")]
        for thread in threads:
            thread.start()
        try:
            for number in range(self.rounds):
                role = ("mail", "relay", "auth", "front")[number % 4]
                time.sleep(0.4)
                for pid, name in self.server.roles():
                    if name == role:
                        os.kill(pid, signal.SIGKILL)
                before = sum(code == 250 for code in list(said.values()))
                postern.wait_until(lambda: sum(code == 250 for code in list(said.values())) > before + 1,
                                   "mail after the end of " + role)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        good = {subject for subject, code in said.items() if code == 250}
        postern.wait_until(lambda: good <= set(self.subjects("alice")), "all that was answered with 250")
        found = self.subjects("alice")
        self.assertEqual([subject for subject in found if found.count(subject) > 1], [])
