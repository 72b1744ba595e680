# SPDX-License-Identifier: MIT
"""UNAUTHENTICATE (RFC 8437): a session goes back to those who talk to strangers, and from there to another user."""

import base64
import contextlib
import json
import os
import re
import signal
import time
import zlib

import postern
from postern import compress
from server_test import ServerTest, in_time

LOGIN = b"LOGIN %s " + postern.PASSWORD.encode() + b"\r\n"


def settle(client, text):
    """The tagged answer of what was sent already."""
    return client.finish(text)[1]


class Unauthenticate(ServerTest):
    settings = "plaintext_without_tls = yes\n" + ServerTest.settings

    def open(self, kind, user="alice"):
        client = self.connect(tls=kind == "tls")
        client.greeting()
        if kind == "starttls":
            client.ok("STARTTLS")
            client.start_tls()
        client.ok("LOGIN %s %s" % (user, postern.PASSWORD))
        return client

    def who(self):
        return sorted(row["user"].partition("@")[0] for row in json.loads(self.server.tool("who", "--json").stdout))

    def test_from_user_to_user(self):
        for kind in ("plain", "tls", "starttls"):
            with self.subTest(kind):
                client = self.open(kind)
                client.ok("CREATE of-alice-%s" % kind)
                client.ok("UNAUTHENTICATE")
                self.assertRegex(client.command("SELECT INBOX")[1], b"^BAD")
                client.ok("LOGIN bob " + postern.PASSWORD)
                self.assertEqual(client.ok('LIST "" of-alice-%s' % kind), [])
                client.ok("UNAUTHENTICATE")
                client.ok("LOGIN alice " + postern.PASSWORD)
                self.assertEqual(len(client.ok('LIST "" of-alice-%s' % kind)), 1)

    def test_capabilities_are_those_of_the_state(self):
        for kind in ("plain", "tls"):
            client = self.open(kind)
            self.assertIn(b" UNAUTHENTICATE", client.ok("CAPABILITY")[0])
            client.ok("UNAUTHENTICATE")
            capabilities = client.ok("CAPABILITY")[0]
            self.assertIn(b" AUTH=PLAIN", capabilities)
            self.assertNotIn(b"UNAUTHENTICATE", capabilities)
            self.assertEqual(b"STARTTLS" in capabilities, kind == "plain")

    def test_only_whoever_is_logged_in(self):
        client = self.connect(tls=True)
        self.assertNotIn(b"UNAUTHENTICATE", client.greeting())
        self.assertRegex(client.command("UNAUTHENTICATE")[1], b"^BAD")
        client.ok("LOGIN alice " + postern.PASSWORD)
        self.assertRegex(client.command("UNAUTHENTICATE now")[1], b"^BAD")
        client.ok("UNAUTHENTICATE")
        self.assertRegex(client.command("UNAUTHENTICATE")[1], b"^BAD")

    def test_starttls_in_between(self):
        client = self.open("plain")
        client.ok("UNAUTHENTICATE")
        client.ok("STARTTLS")
        client.start_tls()
        client.ok("LOGIN bob " + postern.PASSWORD)
        client.ok("UNAUTHENTICATE")
        self.assertRegex(client.command("STARTTLS")[1], b"^BAD")

    def test_commands_sent_together(self):
        for kind in ("plain", "tls"):
            client = self.open(kind)
            client.send(b"".join(b"u%d UNAUTHENTICATE\r\nl%d " % (n, n) + LOGIN % (b"bob", b"alice")[n % 2] + b"n%d NOOP\r\n" % n
                                 for n in range(40)))
            for n in range(40):
                for tag in (b"u%d", b"l%d", b"n%d"):
                    self.assertRegex(settle(client, tag % n), b"^OK")

    def test_authenticated_anew_in_one_round_trip(self):
        """RFC 8437 section 3, with SASL-IR."""
        for kind in ("plain", "tls", "starttls"):
            client = self.open(kind)
            secret = base64.b64encode(b"\0bob\0" + postern.PASSWORD.encode())
            client.send(b"u UNAUTHENTICATE\r\na AUTHENTICATE PLAIN " + secret + b"\r\n")
            self.assertRegex(settle(client, b"u"), b"^OK")
            self.assertRegex(settle(client, b"a"), b"^OK")
            self.assertEqual(self.who(), ["bob"])
            client.close()

    def test_a_literal_cut_by_the_hand_over(self):
        for kind in ("plain", "tls"):
            client = self.open(kind)
            client.send(b"u UNAUTHENTICATE\r\nl LOGIN {3+}\r\nb")
            self.assertRegex(settle(client, b"u"), b"^OK")
            client.send(b"ob " + postern.PASSWORD.encode() + b"\r\n")
            self.assertRegex(settle(client, b"l"), b"^OK")

    def test_cut_at_every_octet(self):
        octets = b"u UNAUTHENTICATE\r\nl " + LOGIN % b"bob"
        for kind in ("plain", "tls"):
            client = self.open(kind)
            for cut in range(1, len(octets)):
                client.send(octets[:cut])
                time.sleep(0.001)
                client.send(octets[cut:])
                self.assertRegex(settle(client, b"u"), b"^OK")
                self.assertRegex(settle(client, b"l"), b"^OK")

    def test_much_behind_it(self):
        """More than a session before log-in takes at once: it waits, and nothing of it is lost, or run as somebody else."""
        for kind in ("plain", "tls"):
            client = self.open(kind)
            client.send(b"u UNAUTHENTICATE\r\n")
            count = 0
            for n in range(3000):
                client.send(b"q%d CAPABILITY\r\n" % n)
                count += 1
            try:
                self.assertRegex(settle(client, b"u"), b"^OK")
                for n in range(count):
                    self.assertRegex(settle(client, b"q%d" % n), b"^OK")
            except AssertionError:
                raise
            except postern.Closed:
                pass

    def test_too_much_at_once_ends_the_session(self):
        client = self.open("plain")
        client.send(b"u UNAUTHENTICATE\r\n" + b"x CREATE not-run\r\n" * 5000)
        try:
            while True:
                line = client.line()
                self.assertNotRegex(line, b"^x OK")
        except (postern.Closed, OSError):
            pass
        self.assertEqual(self.session().ok('LIST "" not-run'), [])

    def test_a_selected_mailbox_is_left(self):
        client = self.open("tls")
        self.assertRegex(client.append(postern.message("stays"), flags=r"\Deleted"), b"^OK")
        client.ok("SELECT INBOX")
        self.assertEqual(client.ok("UNAUTHENTICATE"), [])
        client.ok("LOGIN alice " + postern.PASSWORD)
        self.assertRegex(client.command("FETCH 1 FLAGS")[1], b"^BAD")
        client.ok("SELECT INBOX")
        self.assertTrue(client.ok("FETCH * FLAGS"))

    def test_what_was_enabled_is_not(self):
        client = self.open("tls")
        client.ok("ENABLE QRESYNC")
        client.ok("UNAUTHENTICATE")
        client.ok("LOGIN alice " + postern.PASSWORD)
        client.append(postern.message("enabled"))
        self.assertNotIn(b"MODSEQ", b"".join(client.ok("SELECT INBOX")).replace(b"HIGHESTMODSEQ", b""))
        self.assertNotIn(b"MODSEQ", b"".join(client.ok("FETCH * FLAGS")))

    def test_under_compression(self):
        """Each direction is plain behind the command, and behind its answer."""
        for kind in ("plain", "tls"):
            for flush in (zlib.Z_SYNC_FLUSH, zlib.Z_FINISH):
                for user in (b"bob", b"alice"):
                    client = compress(self.open(kind))
                    client.ok("SELECT INBOX")
                    deflated = client.sock
                    deflated.sock.sendall(deflated.pack(b"u UNAUTHENTICATE\r\n", flush) + b"l " + LOGIN % user)
                    self.assertRegex(client.line(), b"^u OK")
                    while not deflated._inflate.eof:
                        deflated._inflate.decompress(deflated.sock.recv(65536))
                    client.sock, client._buffer = deflated.sock, deflated._inflate.unused_data
                    self.assertRegex(settle(client, b"l"), b"^OK")
                    compress(client).ok("NOOP")

    def test_the_end_of_compression_cut_at_every_octet(self):
        for flush in (zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_FINISH):
            client = self.open("plain")
            cut = 1
            while True:
                deflated = compress(client).sock
                client.ok("NOOP")
                octets = deflated.pack(b"u UNAUTHENTICATE\r\n", flush) + b"l " + LOGIN % b"alice"
                if cut == len(octets):
                    break
                deflated.sock.sendall(octets[:cut])
                time.sleep(0.002)
                deflated.sock.sendall(octets[cut:])
                self.assertRegex(client.line(), b"^u OK")
                while not deflated._inflate.eof:
                    deflated._inflate.decompress(deflated.sock.recv(65536))
                client.sock, client._buffer = deflated.sock, deflated._inflate.unused_data
                self.assertRegex(settle(client, b"l"), b"^OK")
                cut += 1
            client.close()

    def test_more_that_is_compressed_ends_the_session(self):
        client = compress(self.open("tls"))
        client.send(b"u UNAUTHENTICATE\r\nc CREATE not-compressed\r\n")
        self.assertTrue(client.is_closed())
        self.assertEqual(self.session().ok('LIST "" not-compressed'), [])

    def test_who_tells_who_is_there(self):
        before = self.who()
        client = self.open("plain")
        self.assertEqual(self.who(), sorted(before + ["alice"]))
        client.ok("UNAUTHENTICATE")
        postern.wait_until(lambda: self.who() == before, "nobody is there")
        client.ok("LOGIN bob " + postern.PASSWORD)
        self.assertEqual(self.who(), sorted(before + ["bob"]))
        client.close()

    def test_wrong_passwords_and_the_client_going(self):
        for kind in ("plain", "tls"):
            client = self.open(kind)
            client.ok("UNAUTHENTICATE")
            self.assertRegex(client.command("LOGIN bob wrong")[1], rb"^NO \[AUTHENTICATIONFAILED\]")
            client.ok("LOGIN bob " + postern.PASSWORD)
            client.send(b"u UNAUTHENTICATE\r\nn NOOP\r\n")
            client.close()
            client = self.open(kind)
            client.send(b"u UNAUTHENTICATE\r\nl LOGOUT\r\n")
            self.assertRegex(settle(client, b"l"), b"^OK")
            self.assertTrue(client.is_closed())
        self.session().ok("NOOP")

    def test_what_the_log_says(self):
        client = self.open("tls")
        client.ok("UNAUTHENTICATE")
        client.ok("LOGIN bob " + postern.PASSWORD)
        log = self.server.log()
        sid = re.findall(r"event=unauthenticate sid=(\w+) user=alice", log)[-1]
        self.assertRegex(log, r"event=login sid=%s user=bob" % sid)


class SwitchedOff(ServerTest):
    settings = "protocol imap { unauthenticate = no }\n" + ServerTest.settings

    def test_it_is_not_there(self):
        client = self.session()
        self.assertNotIn(b"UNAUTHENTICATE", client.ok("CAPABILITY")[0])
        self.assertRegex(client.command("UNAUTHENTICATE")[1], b"^BAD")
        client.ok("NOOP")


class ManyFronts(ServerTest):
    """Whichever front accepts: an address has so many connections, in all of them together."""

    settings = ("plaintext_without_tls = yes\nfront_processes = 4\nmail_processes = 2\n"
                "limits { connections_per_address = 6 auth_failures_per_minute = 10000 }\n")
    may_die = True

    def open_all(self, count):
        """At one moment; who was welcome."""
        clients = [self.connect() for _ in range(count)]
        return [client for client in clients if client.greeting().startswith(b"* OK")]

    def await_room(self, count):
        def look():
            clients = self.open_all(count)
            for client in clients:
                client.close()
            return len(clients) == count
        postern.wait_until(look, "room for %d" % count)

    def test_all_together(self):
        for _ in range(5):
            clients = []
            while len(clients) < 6:
                clients += self.open_all(40)
                self.assertLessEqual(len(clients), 6)
            for client in clients[:3]:
                client.ok("LOGIN alice " + postern.PASSWORD)
            self.assertEqual(self.open_all(20), [])
            for client in clients:
                client.close()
            self.await_room(6)

    def test_what_a_front_had_goes_with_it(self):
        self.await_room(6)
        clients = self.open_all(6)
        count = len(self.server.roles())
        for pid, role in self.server.roles():
            if role == "front":
                os.kill(pid, signal.SIGKILL)
        for client in clients:
            self.assertTrue(client.is_closed())
        postern.wait_until(lambda: len(self.server.roles()) == count, "all roles")
        self.await_room(6)
        self.test_all_together()


class TimeToLogIn(ServerTest):
    settings = "limits { preauth_timeout = 2s connections_per_address = 0 auth_failures_per_minute = 10000 }\n"

    def test_it_begins_anew(self):
        while True:
            client = in_time(self.session)
            time.sleep(2.5)
            start = time.monotonic()
            client.ok("UNAUTHENTICATE")
            time.sleep(1)
            with contextlib.suppress(postern.Closed, OSError):
                client.ok("NOOP")
                break
            self.assertGreater(time.monotonic() - start, 2)  # else it was too soon; a busy machine takes longer
        self.assertTrue(client.is_closed())


class Limits(ServerTest):
    """Of connections before log-in hold again; connections that were handed over count."""
    settings = ("plaintext_without_tls = yes\nfront_processes = 1\nmail_processes = 1\n"
                "limits { connections_per_address = 3 auth_failures_per_minute = 10000 }\n")
    may_die = True

    def login(self, tls):
        """Connections of before, though closed, may count for a moment yet."""
        client = postern.wait_until(lambda: self.welcomed(tls), "room for a session")
        client.ok("LOGIN alice " + postern.PASSWORD)
        return client

    def welcomed(self, tls):
        try:
            client = self.connect(tls=tls)
            return client if client.greeting().startswith(b"* OK") else None
        except (OSError, postern.Closed):
            return None

    def refused(self):
        with self.server.connect() as client:
            return client.greeting().startswith(b"* BYE")

    def welcome(self):
        return not self.refused()

    def test_connections_count_until_they_end(self):
        for tls in (False, True):
            clients = [self.login(tls) for _ in range(3)]
            self.assertTrue(self.refused())
            for client in clients:
                client.ok("UNAUTHENTICATE")
            self.assertTrue(self.refused())
            for client in clients:
                client.ok("LOGIN bob " + postern.PASSWORD)
            self.assertTrue(self.refused())
            for client in clients[:2]:
                client.ok("LOGOUT")
                client.close()
            postern.wait_until(self.welcome, "room for another")
            clients[2].close()
            postern.wait_until(self.welcome, "room for another")

    def test_roles_that_die(self):
        for victim in ("mail", "front"):
            postern.wait_until(self.serves, "service")
            clients = [self.login(False) for _ in range(2)]
            pid = next(pid for pid, role in self.server.roles() if role == victim)
            os.kill(pid, signal.SIGKILL)
            if victim == "mail":
                for client in clients:
                    self.assertTrue(client.is_closed())
            else:
                postern.wait_until(lambda: any(r == "front" and p != pid for p, r in self.server.roles()), "another front")
                postern.wait_until(self.serves, "service")
                clients[0].ok("NOOP")
                clients[0].send(b"u UNAUTHENTICATE\r\n")
                self.assertTrue(clients[0].is_closed())
            for client in clients:
                client.close()
            postern.wait_until(self.serves, "service")

    def serves(self):
        try:
            with self.server.session() as client:
                client.ok("NOOP")
            return True
        except (OSError, postern.Closed, AssertionError):
            return False
