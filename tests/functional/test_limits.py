# SPDX-License-Identifier: MIT
"""What a stranger may cost."""

import socket
import time
import unittest

import postern
from server_test import ServerTest, in_time


class BeforeLogin(ServerTest):
    def refused(self, octets):
        """Sends it on a fresh connection: no "+" may come, but BAD, BYE, NO, or the end of the connection. The
        server goes on."""
        client = self.connect(tls=True)
        client.greeting()
        try:
            client.send(octets)
            reply = client.line()
        except (OSError, postern.Closed):
            reply = b"BYE"
        self.assertRegex(reply, rb"\b(BAD|BYE|NO)\b")
        self.assertNotRegex(reply, rb"^\+")
        self.session()

    def test_literals(self):
        for size in ("4294967296", "4294967295", "18446744073709551616", "-1", "99999999999999999999999", "2147483648",
                     "1000000", "4097", "", "x", "0x10", "1 ", "+", "4097+", "4294967296+", "-1+"):
            with self.subTest(size):
                self.refused(b"a1 LOGIN {%s}\r\n" % size.encode())

    def test_parentheses(self):
        self.refused(b"a1 X " + b"(" * 20000 + b"\r\n")
        self.refused(b"a1 SEARCH " + b"(" * 20000 + b"\r\n")
        self.refused(b"a1 ID " + b"(" * 20000 + b"\r\n")

    def test_a_line_without_end(self):
        self.refused(b"a1 LOGIN " + b"x" * 1000000)

    def test_many_small_literals(self):
        client = self.connect(tls=True)
        client.greeting()
        try:
            client.send(b"a1 ID (")
            for _ in range(200):
                client.send(b" {4000}\r\n")
                if not client.line().startswith(b"+"):
                    break
                client.send(b"y" * 4000)
            else:
                self.fail("800 kB of literals were taken before log-in")
        except (OSError, postern.Closed):
            pass
        self.session()

    def test_other_protocols(self):
        for line in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n", b"CONNECT x:25 HTTP/1.1\r\n\r\n"):
            with self.subTest(line):
                client = self.connect()
                client.greeting()
                client.send(line)
                self.assertTrue(client.is_closed())

    @unittest.skipIf(postern.SANITIZED, "a sanitizer keeps what was freed, and shadows the rest")
    def test_memory_of_unfinished_commands(self):
        clients = [self.connect() for _ in range(100)]
        before = self.server.front_memory()
        for client in clients:
            client.greeting()
            client.sock.settimeout(1)
            try:
                client.send(b"a1 LOGIN " + b"x" * 2000000)
            except OSError:
                pass
        self.assertLess(self.server.front_memory() - before, 100 * 128 + 8192)

    def test_commands_of_a_session_are_refused(self):
        client = self.connect(tls=True)
        client.greeting()
        for command in ("SELECT INBOX", 'LIST "" *', "FETCH 1 FLAGS", "EXPUNGE", "IDLE", "STATUS INBOX (MESSAGES)"):
            with self.subTest(command):
                self.assertRegex(client.command(command)[1], b"^BAD")


class Times(ServerTest):
    settings = "limits { preauth_timeout = 2s tls_handshake_timeout = 2s connections_per_address = 0 }"

    def greeted(self):
        client = self.connect(tls=True)
        client.greeting()
        return client

    def test_silence_before_log_in(self):
        client = in_time(self.greeted)
        self.assertTrue(client.is_closed())

    def test_dribble_before_log_in(self):
        client = in_time(self.greeted)
        end = time.monotonic() + postern.PATIENCE
        try:
            while time.monotonic() < end:
                client.send(b"x")
                time.sleep(0.2)
        except OSError:
            return
        self.fail("one octet at a time keeps a connection for ever")

    def test_half_a_handshake(self):
        with socket.create_connection(("127.0.0.1", self.server.ports["imaps"]), postern.PATIENCE) as sock:
            sock.sendall(b"\x16\x03\x01")
            while sock.recv(1000):
                pass  # an alert; then the end

    def test_a_session_is_not_bound_by_it(self):
        client = in_time(self.session)
        time.sleep(3)
        client.ok("NOOP")


class Connections(ServerTest):
    settings = "front_processes = 1\nlimits { connections_per_address = 5 }"

    def test_per_address(self):
        def five():
            clients = [self.connect() for _ in range(5)]
            if all(client.greeting().startswith(b"* OK") for client in clients):
                return clients
            for client in clients:
                client.close()
            return None

        # The connection that saw the server start may not have ended there yet.
        clients = postern.wait_until(five, "five connections")
        extra = self.connect()
        try:
            reply = extra.line()
        except (OSError, postern.Closed):
            reply = b"* BYE"
        self.assertRegex(reply, rb"^\* BYE")
        clients.pop().close()
        postern.wait_until(self.server.serves, "room for another")


class Total(ServerTest):
    settings = "front_processes = 3\nlimits { connections = 6 connections_per_address = 0 }"

    def test_all_processes_together(self):
        def six():
            clients = [self.connect() for _ in range(6)]
            if all(client.greeting().startswith(b"* OK") for client in clients):
                return clients
            for client in clients:
                client.close()
            return None

        clients = postern.wait_until(six, "six connections")
        for protocol, words in (("imap", b"* BYE"), ("pop3", b"-ERR"), ("smtp", b"421 "), ("submission", b"421 "), ("lmtp", b"421 ")):
            with self.subTest(protocol):
                self.assertEqual(self.connect(protocol=protocol).line()[:len(words)], words)
        for _ in range(30):
            self.connect().is_closed()
        self.assertLessEqual(self.server.log().count("event=refused"), 20 * 3)
        clients[0].ok("NOOP")
        clients.pop().close()
        postern.wait_until(self.server.serves, "room for another")


class Failures(ServerTest):
    settings = "limits { auth_failures_per_minute = 3 auth_delay_max = 2s connections_per_address = 0 }"

    def test_guessing_is_slowed(self):
        client = self.connect(tls=True)
        client.greeting()
        started = time.monotonic()
        for _ in range(6):
            try:
                self.assertRegex(client.command("LOGIN alice wrong")[1], b"^NO")
            except postern.Closed:
                client = self.connect(tls=True)
                client.greeting()
        self.assertGreater(time.monotonic() - started, 2)

    def test_it_counts_for_the_name_wherever_it_comes_from(self):
        """From many addresses, at any front, and by any protocol."""
        for number in range(3):
            client = self.connect(tls=True, protocol="pop3", source="127.0.2.%d" % (number + 1))
            client.line()
            client.send(b"USER bob\r\nPASS wrong\r\n")
            self.assertTrue(client.line().startswith(b"+OK") and client.line().startswith(b"-ERR [AUTH]"))
        client = self.connect(tls=True, source="127.0.2.9")
        client.greeting()
        started = time.monotonic()
        client.ok("LOGIN bob " + postern.PASSWORD)
        self.assertGreater(time.monotonic() - started, 1.9)


class SlowReader(ServerTest):
    def test_others_are_served_meanwhile(self):
        big = postern.message("big", ("x" * 70 + "\r\n") * 30000)
        client = self.session()
        self.assertRegex(client.append(big), b"^OK")
        slow = [self.session(select="INBOX") for _ in range(8)]
        for session in slow:
            session.send(b"".join(b"s%d FETCH 1 BODY.PEEK[]\r\n" % n for n in range(10)))
        other = self.session("bob", select="INBOX")
        other.ok("NOOP")
        other.ok("STATUS INBOX (MESSAGES)")
        for number in range(10):
            untagged, status = slow[0].finish(b"s%d" % number)
            self.assertRegex(status, b"^OK")
            self.assertIn(big, untagged[0])
