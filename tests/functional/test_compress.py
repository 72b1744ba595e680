# SPDX-License-Identifier: MIT
"""COMPRESS=DEFLATE (RFC 4978), by a client that has nothing but zlib."""

import os
import random
import re
import time
import zlib

import postern
from postern import compress
from server_test import ServerTest, for_each_backend


def noise(count, seed=1):
    """Lines that hardly get smaller."""
    rng = random.Random(seed)
    return b"".join(b"%030x%030x\r\n" % (rng.getrandbits(120), rng.getrandbits(120)) for _ in range(count // 62))


class Compress(ServerTest):
    settings = "plaintext_without_tls = yes\n" + ServerTest.settings

    def compressed(self, select=None, tls=True, **options):
        client = self.connect(tls=tls)
        client.greeting()
        client.ok("LOGIN alice " + postern.PASSWORD)
        compress(client, **options)
        if select:
            client.ok("SELECT " + select)
        return client

    def test_on_any_connection(self):
        for tls in (False, True):
            client = self.compressed("INBOX", tls=tls)
            self.assertRegex(client.append(postern.message("on any")), b"^OK")
            self.assertIn(b"Subject: on any", client.ok("FETCH * BODY.PEEK[HEADER]")[-1])

    def test_the_example_of_the_rfc(self):
        """Section 3: encrypted first, then compressed, by commands in lower case; and not twice."""
        client = self.connect(tls=False)
        client.greeting()
        client.ok("starttls")
        client.start_tls()
        client.ok("login alice " + postern.PASSWORD)
        self.assertRegex(client.command("compress deflate")[1], b"^OK")
        client.sock = postern.Deflated(client.sock)
        client.ok("noop")
        self.assertRegex(client.command("compress deflate")[1], rb"^NO \[COMPRESSIONACTIVE\]")
        client.ok("noop")

    def test_it_is_announced_until_it_is_active(self):
        client = self.session()
        self.assertIn(b" COMPRESS=DEFLATE", client.ok("CAPABILITY")[0])
        compress(client)
        self.assertNotIn(b"COMPRESS", client.ok("CAPABILITY")[0])

    def test_it_is_not_for_strangers(self):
        client = self.connect(tls=True)
        self.assertNotIn(b"COMPRESS", client.greeting())
        self.assertRegex(client.command("COMPRESS DEFLATE")[1], b"^BAD")

    def test_once_only(self):
        client = self.compressed()
        self.assertRegex(client.command("COMPRESS DEFLATE")[1], rb"^NO \[COMPRESSIONACTIVE\]")
        client.ok("NOOP")

    def test_other_algorithms_and_bad_arguments(self):
        client = self.session()
        for arguments in ("", " LZ77", " DEFLATE x", " (DEFLATE)", ' "DEFLATE"', "  DEFLATE"):
            self.assertRegex(client.command("COMPRESS" + arguments)[1], b"^BAD", arguments)
        compress(client).ok("NOOP")

    def test_in_a_selected_mailbox(self):
        client = self.session(select="INBOX")
        compress(client)
        client.ok("NOOP")
        client.ok("UNSELECT")

    def test_commands_sent_together(self):
        client = self.compressed("INBOX")
        client.send(b"".join(b"p%d NOOP\r\n" % n for n in range(2000)))
        for n in range(2000):
            self.assertEqual(client.line()[:20].split()[0], b"p%d" % n)

    def test_a_client_that_does_not_wait(self):
        """It is not lawful, but there is only one thing it can mean."""
        client = self.session()
        deflated = postern.Deflated(client.sock)
        client.sock.sendall(b"c COMPRESS DEFLATE\r\n" + deflated.pack(b"d NOOP\r\n"))
        self.assertRegex(client.line(), b"^c OK")
        rest, client._buffer = client._buffer, b""
        client._buffer = deflated._inflate.decompress(rest)
        client.sock = deflated
        self.assertRegex(client.line(), b"^d OK")

    def test_a_command_cut_at_every_octet(self):
        client = self.compressed("INBOX")
        packed = client.sock.pack(b"cut UID SEARCH SUBJECT {4}\r\nabcd\r\n")
        for octet in packed:
            client.sock.sock.sendall(bytes([octet]))
        lines = [client.line() for _ in range(3)]
        self.assertRegex(lines[0], rb"^\+")
        self.assertRegex(lines[2], rb"^cut OK")
        for cut in range(1, 40):
            packed = client.sock.pack(b"c%d NOOP\r\n" % cut)
            client.sock.sock.sendall(packed[:cut])
            time.sleep(0.002)
            client.sock.sock.sendall(packed[cut:])
            self.assertRegex(client.line(), rb"^c%d OK" % cut)

    def test_every_way_of_flushing(self):
        for flush in (zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_PARTIAL_FLUSH):
            for level in (0, 1, 9):
                client = self.compressed(level=level)
                for _ in range(3):
                    client.sock.sock.sendall(client.sock.pack(b"f NOOP\r\n", flush))
                    self.assertRegex(client.line(), b"^f OK")

    def test_large_messages_both_ways(self):
        client = self.compressed("INBOX")
        octets = postern.message("large", noise(3000000).decode())
        self.assertRegex(client.append(octets), b"^OK")
        for item in ("BODY.PEEK[]", "RFC822.SIZE BODY.PEEK[TEXT]<100000.2000000>"):
            text = octets if item == "BODY.PEEK[]" else octets.partition(b"\r\n\r\n")[2][100000:2100000]
            self.assertIn(text, client.ok("FETCH * (%s)" % item)[-1])

    def test_what_gets_smaller_does(self):
        client = self.compressed("INBOX")
        octets = postern.message("small", "the same line again and again\r\n" * 50000)
        self.assertRegex(client.append(octets), b"^OK")
        before = client.sock.raw
        self.assertIn(octets, client.ok("FETCH * BODY.PEEK[]")[-1])
        self.assertLess(client.sock.raw - before, len(octets) // 50)

    def test_a_slow_reader(self):
        client = self.compressed("INBOX")
        octets = postern.message("slow", noise(1500000, 2).decode())
        self.assertRegex(client.append(octets), b"^OK")
        client.send(b"".join(b"s%d FETCH * BODY.PEEK[]\r\n" % n for n in range(12)))
        time.sleep(0.3)
        other = self.session(select="INBOX")
        other.ok("NOOP")
        for n in range(12):
            self.assertIn(octets, client.response())
            self.assertRegex(client.line(), b"^s%d OK" % n)

    def test_idle_tells_at_once(self):
        client = self.compressed("INBOX")
        client.send(b"i IDLE\r\n")
        self.assertRegex(client.line(), rb"^\+")
        self.assertRegex(self.session().append(postern.message("pushed")), b"^OK")
        self.assertRegex(client.line(), rb"^\* \d+ EXISTS")
        client.send(b"DONE\r\n")
        client.finish(b"i")

    def test_after_a_rest(self):
        """Longer than the tables are kept; the client refers to what it said before."""
        client = self.compressed("INBOX")
        name = "a name that is too long to be said twice %s" % os.urandom(20).hex()
        client.ok('CREATE "%s"' % name)
        time.sleep(6.5)
        self.assertIn(name.encode(), client.ok('LIST "" "%s"' % name)[0])
        client.ok('DELETE "%s"' % name)
        self.assertRegex(client.append(postern.message("after")), b"^OK")

    def test_logout_is_readable(self):
        client = self.compressed()
        client.send(b"l LOGOUT\r\n")
        self.assertRegex(client.line(), rb"^\* BYE")
        self.assertRegex(client.line(), rb"^l OK")
        self.assertTrue(client.is_closed())


for_each_backend(Compress)
del Compress


class Hostile(ServerTest):
    def session_compressed(self, select=None):
        client = self.session()
        compress(client)
        if select:
            client.ok("SELECT " + select)
        return client

    def mail_memory(self):
        total = 0
        for pid, role in self.server.roles():
            if role == "mail":
                with open("/proc/%d/status" % pid, encoding="ascii") as file:
                    total += int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))
        return total

    def test_a_line_of_600_megabytes(self):
        """It is cut off; it takes no memory; others notice nothing."""
        client = self.session_compressed()
        other = self.session(select="INBOX")
        before = self.mail_memory()
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        bomb = packer.compress(b"b NOOP " + b"x" * 600_000_000) + packer.flush(zlib.Z_SYNC_FLUSH)
        self.assertLess(len(bomb), 1_000_000)
        try:
            client.sock.sock.sendall(bomb)
        except OSError:
            pass
        for _ in range(50):
            other.ok("NOOP")
        try:
            lines = client.line() + client.line()
            self.assertIn(b"b BAD", lines)
            self.assertIn(b"* BYE", lines)
        except OSError:
            pass
        if not postern.SANITIZED:
            self.assertLess(self.mail_memory() - before, 20_000)

    def test_a_literal_of_zeros(self):
        client = self.session_compressed()
        client.send(b"z APPEND INBOX {50000000}\r\n")
        self.assertRegex(client.line(), rb"^\+")
        before = self.mail_memory()
        client.send(b"y" * 49_999_998 + b"\r\n\r\n")
        self.assertRegex(client.line(), b"^z OK")
        if not postern.SANITIZED:
            self.assertLess(self.mail_memory() - before, 40_000)

    def test_what_is_not_compressed(self):
        for octets in (b"a NOOP\r\n", b"\xff" * 100, os.urandom(5000)):
            client = self.session_compressed()
            client.sock.sock.sendall(octets)
            self.assertTrue(client.is_closed())
        self.session().ok("NOOP")

    def test_empty_blocks_for_ever(self):
        """Octets that mean nothing bring nothing on, and block nobody."""
        client = self.session_compressed()
        client.sock.sock.sendall(b"\x00\x00\x00\xff\xff" * 200_000)
        client.send(b"e NOOP\r\n")
        self.assertRegex(client.line(), b"^e OK")

    def test_the_end_of_the_stream_is_the_end(self):
        client = self.session_compressed()
        client.sock.sock.sendall(client.sock.pack(b"f NOOP\r\n", zlib.Z_FINISH))
        self.assertRegex(client.line(), b"^f OK")
        self.assertTrue(client.is_closed())

    def test_a_client_that_goes_in_the_middle(self):
        for _ in range(20):
            client = self.session_compressed()
            client.sock.sock.sendall(client.sock.pack(b"g FETCH 1:* BODY[]\r\n" * 50)[:-3])
            client.close()
        self.session().ok("NOOP")


class Refused(ServerTest):
    settings = "protocol imap { compress = no }\n" + ServerTest.settings

    def test_where_it_is_switched_off(self):
        client = self.session()
        self.assertNotIn(b"COMPRESS", client.ok("CAPABILITY")[0])
        self.assertRegex(client.command("COMPRESS DEFLATE")[1], b"^BAD")
        client.ok("NOOP")


class Level(ServerTest):
    settings = "protocol imap { compress_level = 1 }\n" + ServerTest.settings

    def test_another_level(self):
        client = compress(self.session(select="INBOX"))
        self.assertRegex(client.append(postern.message("level", noise(200000).decode())), b"^OK")
        self.assertIn(b"Subject: level", client.ok("FETCH * BODY.PEEK[]")[-1])
