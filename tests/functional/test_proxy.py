# SPDX-License-Identifier: MIT
"""The PROXY protocol: a load balancer tells whom it speaks for, and is believed where the settings say so."""

import socket
import ssl
import struct

import ports
import postern
from server_test import ServerTest

V1 = b"PROXY TCP4 192.0.2.77 198.51.100.2 4199 143\r\n"
V2 = (b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack(">H", 12) + socket.inet_aton("192.0.2.78") +
      socket.inet_aton("198.51.100.2") + struct.pack(">HH", 4199, 143))


class Proxy(ServerTest):
    settings = ("limits { connections_per_address = 3 auth_failures_per_minute = 10000 tls_handshake_timeout = 10s }\n"
                "front_processes = 1\n"
                'listener proxied { port = %d proxy = { "127.0.0.2", "10.0.0.0/8" } }\n'
                'listener proxieds { port = %d tls = "implicit" proxy = { "127.0.0.2/32" } }')

    OTHERS = {"pop3": b"+OK ", "smtp": b"220 ", "submission": b"220 ", "lmtp": b"220 ", "auth": b"VERSION\t"}  # and what they say first

    @classmethod
    def setUpClass(cls):
        cls.ports = (ports.free(), ports.free())
        cls.others = {protocol: ports.free() for protocol in cls.OTHERS}
        cls.settings = Proxy.settings % cls.ports + "".join(
            '\nlistener proxied-%s { protocol = "%s" port = %d tls = "none" proxy = { "127.0.0.2" } }' % (protocol, protocol, port)
            for protocol, port in cls.others.items())
        super().setUpClass()

    def client(self, tls=False, source="127.0.0.2"):
        client = postern.Client(self.ports[tls], source=source)
        self.addCleanup(client.close)
        return client

    def log_of(self, remote):
        return [line for line in self.server.log().splitlines() if "remote=" + remote in line]

    def log_in(self, client):
        client.start_tls()
        client.ok("LOGIN alice " + postern.PASSWORD)

    def test_the_client_is_who_the_balancer_says(self):
        for tls, header, address in ((False, V1, "192.0.2.77"), (False, V2, "192.0.2.78"), (True, V1, "192.0.2.77")):
            with self.subTest(tls=tls, address=address):
                client = self.client(tls)
                client.send(header)
                if not tls:
                    client.greeting()
                    client.ok("STARTTLS")
                    self.log_in(client)
                else:
                    client.start_tls()
                    client.greeting()
                    client.ok("LOGIN alice " + postern.PASSWORD)
                self.assertTrue(any("event=login" in line for line in self.log_of(address + ":4199")))

    def test_header_and_handshake_in_one_piece(self):
        """What is behind the header is for TLS."""
        client = self.client(True)
        sent, wire = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = postern.authority().client_context().wrap_bio(wire, sent, server_hostname="localhost")
        ahead, done = V2, False
        while not done:
            try:
                tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            client.send(ahead + sent.read())
            ahead = b""
            if not done:
                octets = client.sock.recv(65536)
                self.assertNotEqual(octets, b"", "the handshake was cut off")
                wire.write(octets)

    def test_a_header_octet_by_octet(self):
        client = self.client()
        for octet in V1:
            client.send(bytes([octet]))
        self.assertTrue(client.greeting().startswith(b"* OK"))

    def test_without_a_header_the_balancer_is_not_served(self):
        for said in (b"a CAPABILITY\r\n", b"\x16\x03\x01\x00\x05hello", b"PROXY TCP4 here there 1 2\r\n"):
            client = self.client()
            client.send(said)
            self.assertTrue(client.is_closed(), said)
        client = self.client()  # and nothing at all
        self.assertTrue(client.is_closed())

    def test_others_are_not_believed(self):
        client = self.client(source="127.0.0.1")
        self.assertTrue(client.greeting().startswith(b"* OK"))
        client.send(V1)
        self.assertIn(b"BAD", client.line())

    def test_on_every_protocol(self):
        for number, (protocol, hello) in enumerate(self.OTHERS.items(), 1):
            with self.subTest(protocol):
                client = postern.Client(self.others[protocol], source="127.0.0.2")
                self.addCleanup(client.close)
                client.send(b"PROXY TCP4 127.0.1.%d 127.0.0.1 4199 143\r\n" % number)
                self.assertTrue(client.line().startswith(hello))
                client.close()
                postern.wait_until(lambda: self.log_of("127.0.1.%d:4199" % number), "the session in the log")

    def test_health_check(self):
        client = self.client()
        client.send(b"PROXY UNKNOWN\r\n")
        self.assertTrue(client.greeting().startswith(b"* OK"))

    def test_connections_count_for_the_client(self):
        """The balancer itself may have more than one address has."""
        header = b"PROXY TCP4 192.0.2.%d 198.51.100.2 4199 143\r\n"
        clients = []
        for number in range(5):
            client = self.client()
            client.send(header % (100 + number))
            client.greeting()
            clients.append(client)
        for _ in range(2):
            client = self.client()
            client.send(header % 100)
            client.greeting()
        client = self.client()
        client.send(header % 100)
        self.assertTrue(client.is_closed())

    def test_a_reload_changes_who_is_believed(self):
        former = self.server._settings
        self.addCleanup(self.believe, former)
        session = self.client(source="127.0.0.1")
        session.greeting()
        self.server.write_config(former.replace('{ "127.0.0.2", "10.0.0.0/8" }', '{ "127.0.0.3" }'))
        self.server.tool("reload")
        postern.wait_until(lambda: b"BAD" in self.answer_to_header("127.0.0.2"), "the end of the belief", 60)
        self.assertEqual(self.answer_to_header("127.0.0.3"), b"")
        session.ok("NOOP")  # who is there stays

    def believe(self, settings):
        self.server.write_config(settings)
        self.server.tool("reload")
        postern.wait_until(lambda: self.answer_to_header("127.0.0.2") == b"", "the belief", 60)

    def answer_to_header(self, source):
        """What is said to a header behind the greeting; nothing to one that is believed."""
        client = self.client(source=source)
        client.send(V1 + b"a NOOP\r\n")
        client.greeting()
        line = client.line()
        return b"" if line.startswith(b"a ") else line
