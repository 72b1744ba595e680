# SPDX-License-Identifier: MIT
"""Certificates of domains and of clients, stapled responses, resumed sessions, other protocols' clients."""

import os
import re
import ssl
import subprocess

import ports
import postern
from server_test import ServerTest

EMAIL = "alice@example.test"


class Tls(ServerTest):
    """One server, with all of it."""

    @classmethod
    def setUpClass(cls):
        authority = postern.authority()
        cls.folder = postern.scratch_folder()
        cls.ports = {name: ports.free() for name in ("optional", "required")}
        cls.others = {protocol: ports.free() for protocol in ("pop3", "submission")}
        for name in ("one.test", "*.two.test"):
            authority.issue(*cls.files(name), name=name)
        cls.client = (cls.path("client.pem"), cls.path("client-key.pem"))
        cls.stranger = (cls.path("stranger.pem"), cls.path("stranger-key.pem"))
        authority.issue_client(*cls.client, EMAIL)
        postern.Authority().issue_client(*cls.stranger, EMAIL)
        cls.staple(cls.files("one.test")[0])
        cls.settings = "\n".join([
            ServerTest.settings,
            "front_processes = 2",
            'sasl_mechanisms = { "EXTERNAL", "PLAIN" }',
            'domain one.test { certificate = "%s" key = "%s" ocsp_response = "%s" }'
            % (*cls.files("one.test"), cls.path("ocsp.der")),
            'domain two.test { certificate = "%s" key = "%s" }' % cls.files("*.two.test"),
        ] + ['listener %s { port = %d tls = "implicit" client_certificate = "%s" }' % (name, port, name)
             for name, port in cls.ports.items()]
            + ['listener other-%s { protocol = "%s" port = %d tls = "implicit" client_certificate = "optional" }'
               % (protocol, protocol, port) for protocol, port in cls.others.items()])
        cls.tls = 'client_authorities = "%s"' % authority.ca
        super().setUpClass()

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder, name)

    @classmethod
    def files(cls, name):
        name = name.replace("*", "any")
        return cls.path(name + ".pem"), cls.path(name + "-key.pem")

    @classmethod
    def openssl(cls, *args):
        done = subprocess.run(("openssl",) + args, cwd=cls.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              check=False, timeout=postern.PATIENCE * 3)
        return done.stdout + done.stderr

    @classmethod
    def staple(cls, certificate):
        """A response of the authority: good."""
        serial = cls.openssl("x509", "-in", certificate, "-noout", "-serial").strip().partition("=")[2]
        with open(cls.path("index"), "w", encoding="ascii") as file:
            file.write("V\t491231235959Z\t\t%s\tunknown\t/CN=x\n" % serial)
        authority = postern.authority()
        cls.openssl("ocsp", "-issuer", authority.ca, "-cert", certificate, "-no_nonce", "-reqout", "request.der")
        cls.openssl("ocsp", "-index", "index", "-rsigner", authority.ca, "-rkey", authority.key, "-CA", authority.ca,
                    "-reqin", "request.der", "-respout", "ocsp.der.new", "-ndays", "1")
        os.rename(cls.path("ocsp.der.new"), cls.path("ocsp.der"))

    def greet(self, port, name="localhost", context=None, session=None):
        """A TLS connection that has read its greeting."""
        context = context or postern.authority().client_context()
        client = postern.Client(port)
        self.addCleanup(client.close)
        client.sock = context.wrap_socket(client.sock, server_hostname=name, session=session)
        self.assertTrue(client.greeting().startswith(b"* OK"))
        return client

    def imaps(self, **options):
        return self.greet(self.server.ports["imaps"], **options)

    def serial(self, name):
        return self.imaps(name=name).sock.getpeercert()["serialNumber"]

    def test_the_name_chooses_the_certificate(self):
        for asked, shown in (("one.test", "one.test"), ("mx.two.test", "*.two.test"), ("localhost", "localhost")):
            names = [value for kind, value in self.imaps(name=asked).sock.getpeercert()["subjectAltName"] if kind == "DNS"]
            self.assertEqual(names, [shown])

    def test_a_new_certificate_is_used_and_nobody_disconnected(self):
        session = self.imaps(name="mx.two.test")
        former = {name: self.serial(name) for name in ("one.test", "mx.two.test", "localhost")}
        postern.authority().issue(*self.files("*.two.test"), name="*.two.test")
        postern.wait_until(lambda: self.serial("mx.two.test") != former["mx.two.test"], "the new certificate", 60)
        session.ok("LOGIN alice " + postern.PASSWORD)
        self.assertEqual({name: self.serial(name) for name in ("one.test", "localhost")},
                         {name: former[name] for name in ("one.test", "localhost")})

    def status(self, name):
        return self.openssl("s_client", "-connect", "127.0.0.1:%d" % self.server.ports["imaps"], "-servername", name, "-status")

    def test_a_response_is_stapled_for_its_certificate(self):
        self.assertIn("OCSP Response Status: successful", self.status("one.test"))
        self.assertIn("OCSP response: no response sent", self.status("mx.two.test"))

    def test_all_fronts_take_the_tickets(self):
        context = postern.authority().client_context()
        session = None
        for _ in range(8):
            client = self.imaps(context=context, session=session)
            self.assertEqual(client.sock.session_reused, session is not None)
            session = client.sock.session  # read: TLS 1.3 sends tickets with the first octets

    def test_a_client_of_another_protocol_is_refused(self):
        for protocol, name, good in (("imap", "imap", True), ("imap", "http/1.1", False), ("pop3", "pop3", True),
                                     ("pop3", "imap", False), ("submission", "smtp", True), ("submission", "esmtp", True),
                                     ("submission", "h2", False)):
            with self.subTest(protocol=protocol, name=name):
                context = postern.authority().client_context()
                context.set_alpn_protocols([name])
                client = postern.Client(self.server.ports[protocol + "s"])
                self.addCleanup(client.close)
                if good:
                    sock = context.wrap_socket(client.sock, server_hostname="localhost")
                    self.assertEqual(sock.selected_alpn_protocol(), name)
                else:
                    with self.assertRaises(ssl.SSLError):
                        context.wrap_socket(client.sock, server_hostname="localhost")

    def with_certificate(self, pair):
        context = postern.authority().client_context()
        if pair:
            context.load_cert_chain(*pair)
        return context

    def test_clients_certificates(self):
        for listener, pair, good in (("optional", None, True), ("optional", self.client, True),
                                     ("optional", self.stranger, True), ("required", self.client, True),
                                     ("required", None, False), ("required", self.stranger, False)):
            with self.subTest(listener=listener, pair=pair):
                context = self.with_certificate(pair)
                if good:
                    self.greet(self.ports[listener], context=context).ok("NOOP")
                    continue
                with self.assertRaises((ssl.SSLError, postern.Closed, ConnectionError)):
                    self.greet(self.ports[listener], context=context)

    def test_who_has_shown_a_certificate_logs_in_by_it(self):
        """EXTERNAL: as whom the certificate names, and nobody else."""
        for pair, identity, good in ((self.client, "=", True), (self.client, "YWxpY2U=", True),
                                     (self.client, "Ym9i", False), (self.stranger, "=", False), (None, "=", False)):
            with self.subTest(pair=pair, identity=identity):
                client = self.greet(self.ports["optional"], context=self.with_certificate(pair))
                offered = b"AUTH=EXTERNAL" in b"".join(client.ok("CAPABILITY"))
                self.assertEqual(offered, pair is self.client)
                status = client.command("AUTHENTICATE EXTERNAL " + identity)[1]
                self.assertEqual(status.startswith(b"OK"), good, status)
        client = self.greet(self.ports["optional"], context=self.with_certificate(self.client))
        client.send(b"a1 AUTHENTICATE EXTERNAL\r\n")
        self.assertEqual(client.line(), b"+ \r\n")
        client.send(b"\r\n")
        self.assertTrue(client.finish(b"a1")[1].startswith(b"OK"))

    def test_and_by_the_other_protocols(self):
        for protocol, yes in (("pop3", b"+OK "), ("submission", b"235 ")):
            for pair, identity, good in ((self.client, b"=", True), (self.client, b"Ym9i", False), (None, b"=", False)):
                with self.subTest(protocol=protocol, pair=pair, identity=identity):
                    client = postern.Client(self.others[protocol])
                    self.addCleanup(client.close)
                    client.sock = self.with_certificate(pair).wrap_socket(client.sock, server_hostname="localhost")
                    client.line()
                    if protocol == "submission":
                        client.send(b"EHLO x\r\n")
                        while not client.line().startswith(b"250 "):
                            pass
                    client.send(b"AUTH EXTERNAL " + identity + b"\r\n")
                    self.assertEqual(client.line().startswith(yes), good)

    def test_zz_a_configuration_that_names_less(self):
        """The last. A certificate that the configuration names no more is not used any more, and what is behind it goes on."""
        former = self.server._settings
        authority = postern.authority().client_context()
        ticket = self.imaps(context=authority).sock.session
        self.assertTrue(self.imaps(context=authority, session=ticket).sock.session_reused)
        self.server._tls += " resumption_time = 11h"  # another time is another key
        self.server.write_config(re.sub("domain one.test.*\n", "", former))
        self.server.tool("reload")

        def shown():
            context = postern.authority().client_context()
            context.check_hostname = False
            return dict(self.imaps(name="one.test", context=context).sock.getpeercert()["subjectAltName"])["DNS"]
        postern.wait_until(lambda: shown() == "localhost", "the end of the certificate", 60)
        self.assertTrue(self.serial("mx.two.test"))
        postern.wait_until(lambda: not self.imaps(context=authority, session=ticket).sock.session_reused, "the key's end", 60)
