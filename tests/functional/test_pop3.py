# SPDX-License-Identifier: MIT
"""POP3 with Python's client: what a dialogue cannot say."""

import concurrent.futures
import os
import pathlib
import poplib
import time
import unittest

import postern
import realmail
from server_test import ServerTest, for_each_backend

EVERY = 20  # message of the corpus


def connect(server, user="alice", patience=None):
    client = poplib.POP3_SSL("localhost", server.ports["pop3s"], timeout=patience or postern.PATIENCE,
                             context=postern.authority().client_context())
    client.user(user)
    client.pass_(postern.PASSWORD)
    return client


def retrieve(client, number):
    """The message as it was sent, its guarding dots removed by poplib."""
    return b"".join(line + b"\r\n" for line in client.retr(number)[1])


@for_each_backend
class Pop3(ServerTest):
    may_die = True  # one test ends it by force

    def setUp(self):
        self.imap = self.server.session("alice", select="INBOX")
        self.addCleanup(self.imap.close)
        self.imap.ok("UID STORE 1:* +FLAGS.SILENT (\\Deleted)")
        self.imap.ok("EXPUNGE")

    def put(self, *octets):
        for message in octets:
            self.assertTrue(self.imap.append(message).startswith(b"OK"))

    def flags(self):
        return [line.split(b"FLAGS ")[1] for line in self.imap.ok("UID FETCH 1:* (FLAGS)") if b"FETCH" in line]

    def test_what_was_retrieved_is_seen_after_quit(self):
        self.put(postern.message("one"), postern.message("two"), postern.message("three"))
        client = connect(self.server)
        client.retr(1)
        client.top(2, 0)
        client.quit()
        self.imap.ok("NOOP")
        self.assertEqual([b"\\Seen" in flags for flags in self.flags()], [True, False, False])

    def test_deleted_vanishes_at_quit_for_imap(self):
        self.put(postern.message("stays"), postern.message("goes"))
        client = connect(self.server)
        client.dele(2)
        self.assertEqual(len(self.flags()), 2)
        client.quit()
        self.imap.ok("NOOP")
        self.assertEqual(len(self.flags()), 1)

    def test_mail_that_arrives_is_for_the_next_session(self):
        self.put(postern.message("early"))
        client = connect(self.server)
        self.put(postern.message("late"))
        self.assertEqual(client.stat()[0], 1)
        client.dele(1)
        client.quit()
        client = connect(self.server)
        self.assertIn(b"Subject: late", client.top(1, 0)[1])
        client.quit()

    def test_expunged_by_imap_meanwhile(self):
        self.put(postern.message("expunged"), postern.message("kept"))
        client = connect(self.server)
        self.imap.ok("STORE 1 +FLAGS (\\Deleted)")
        self.imap.ok("EXPUNGE")
        with self.assertRaises(poplib.error_proto):
            client.retr(1)
        self.assertIn(b"Subject: kept", client.retr(2)[1])
        client.dele(1)
        client.dele(2)
        client.quit()
        self.imap.ok("NOOP")
        self.assertEqual(self.flags(), [])

    def test_a_large_message_with_dots_comes_whole(self):
        body = b"".join(b"." * (n % 5) + b"line %d\r\n" % n for n in range(60000))
        message = b"Subject: dots\r\n\r\n" + body
        self.put(message)
        client = connect(self.server)
        self.assertEqual(client.list(1).split()[-1], b"%d" % len(message))
        self.assertEqual(retrieve(client, 1), message)
        client.quit()

    def test_no_line_end_at_the_end(self):
        self.put(b"Subject: x\r\n\r\nno end")
        client = connect(self.server)
        self.assertEqual(client.retr(1)[1], [b"Subject: x", b"", b"no end"])
        client.quit()

    def test_unique_ids_over_many_sessions_and_a_restart(self):
        self.put(*(postern.message("m%d" % n) for n in range(300)))
        client = connect(self.server)
        before = [line.split()[1] for line in client.uidl()[1]]
        self.assertEqual(len(set(before)), 300)
        for number in range(1, 300, 3):
            client.dele(number)
        client.quit()
        if self.server.backend != "memory":
            self.imap.close()
            self.server.stop()
            self.server.start()
        client = connect(self.server)
        self.assertEqual([line.split()[1] for line in client.uidl()[1]],
                         [uid for n, uid in enumerate(before) if n % 3])
        client.quit()

    def test_what_the_administrator_must_mend_is_told_so(self):
        if self.server.backend != "maildir":
            self.skipTest("a message has a file of its own in a Maildir")
        self.put(postern.message("kept"), postern.message("lost"))
        client = connect(self.server)
        path = max(pathlib.Path(self.server.mail_root).rglob("cur/*"), key=lambda path: path.stat().st_mtime_ns)
        os.chmod(path, 0)
        with self.assertRaisesRegex(poplib.error_proto, r"-ERR \[SYS/PERM\]"):
            for number in (1, 2):
                client.retr(number)
        os.chmod(path, 0o600)
        client.retr(1)
        client.retr(2)
        client.quit()

    def test_quit_is_durable(self):
        if self.server.backend == "memory":
            self.skipTest("memory forgets")
        self.put(*(postern.message("m%d" % n) for n in range(10)))
        client = connect(self.server)
        for number in range(1, 8):
            client.dele(number)
        client.quit()
        self.imap.close()
        self.server.kill()
        self.server.start()
        client = connect(self.server)
        self.assertEqual(client.stat()[0], 3)
        client.quit()

    def test_one_of_many_has_the_maildrop(self):
        def try_it(_):
            try:
                return connect(self.server)
            except poplib.error_proto as error:
                self.assertIn(b"[IN-USE]", error.args[0])
                return None

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            clients = [client for client in pool.map(try_it, range(8)) if client]
        self.assertEqual(len(clients), 1)
        clients[0].quit()


class Settings(unittest.TestCase):
    def test_login_delay(self):
        with postern.Instance(settings="protocol pop3 { login_delay = 3s }") as server:
            while True:
                began = time.monotonic()
                connect(server).quit()
                try:
                    connect(server).quit()
                except poplib.error_proto as error:
                    self.assertIn("[LOGIN-DELAY]", str(error))
                    break
                self.assertGreater(time.monotonic() - began, 3)  # else it was too soon; a busy machine takes longer
            connect(server, "bob").quit()
            end = time.monotonic() + postern.PATIENCE
            while True:
                try:
                    client = connect(server)
                    break
                except poplib.error_proto:
                    self.assertLess(time.monotonic(), end)
                    time.sleep(0.2)
            self.assertEqual(client.capa()["LOGIN-DELAY"], ["3"])
            client.quit()

    def test_nothing_is_marked_where_that_is_set(self):
        with postern.Instance(settings="protocol pop3 { mark_seen = no }") as server:
            with server.session("alice", select="INBOX") as imap:
                imap.append(postern.message("x"))
                client = connect(server)
                client.retr(1)
                client.quit()
                self.assertNotIn(b"Seen", b"".join(imap.ok("FETCH 1 (FLAGS)")))

    def test_autologout_says_nothing_and_deletes_nothing(self):
        with postern.Instance(settings="protocol pop3 { autologout = 10s }") as server:
            with server.session("alice", select="INBOX") as imap:
                imap.append(postern.message("x"))
                client = connect(server, patience=60)
                client.dele(1)
                self.assertEqual(client.sock.recv(100), b"")
                self.assertIn(b"* 1 EXISTS\r\n", imap.ok("SELECT INBOX"))


@for_each_backend
class RealMail(ServerTest):
    """The corpus, octet for octet. The server makes what is not a line of CRLF into one, as it does in IMAP."""

    def test_corpus(self):
        path = realmail.corpus_test.find_corpus()
        if not path:
            self.skipTest("no corpus: set POSTERN_CORPUS")
        messages = realmail.Corpus(path).messages[::EVERY]
        imap = self.session()
        for message in messages:
            self.assertTrue(imap.append(message).startswith(b"OK"))
        client = connect(self.server)
        for number, message in enumerate(messages, 1):
            wanted = realmail.corpus_test.wire_form(message)
            self.assertEqual(client.list(number).split()[-1], b"%d" % len(wanted))
            self.assertEqual(raw(client, number), wanted if wanted.endswith(b"\r\n") else wanted + b"\r\n")
        client.quit()


def raw(client, number):
    """RETR without poplib's limit to the length of lines."""
    client._putcmd("RETR %d" % number)
    client._getresp()
    octets = b""
    while True:
        line = client.file.readline()
        if line == b".\r\n":
            return octets
        octets += line[1:] if line.startswith(b".") else line

