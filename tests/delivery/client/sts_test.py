# SPDX-License-Identifier: MIT
"""MTA-STS: what the domain publishes, by DNS and HTTPS, and what becomes of its mail."""

import concurrent.futures
import json
import os
import pathlib
import re
import socket
import ssl
import sys
import tempfile
import threading
import time
import unittest

sys.dont_write_bytecode = True
sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent)]
import client_test  # noqa: E402
import tap  # noqa: E402
from client_test import HOSTS, SENT, no_mail_in_the_clear, run_send, summary  # noqa: E402
from fakemx import CAPS, FakeMX  # noqa: E402

try:
    import dnslib
    from liar import Liar, reply
except ImportError:
    dnslib = None


def ok(body, kind="text/plain", status="200 OK", length=True):
    head = "HTTP/1.1 %s\r\nContent-Type: %s\r\n" % (status, kind)
    return (head + ("Content-Length: %d\r\n" % len(body) if length else "") + "\r\n" + body).encode()


def policy(mode="enforce", mx="host.%s.sts.test", age=86400, end="\r\n"):
    return lambda name: end.join(["version: STSv1", "mode: " + mode, "mx: " + (mx % name if "%" in mx else mx), "max_age: %d" % age, ""])


def chunked(text, size=7):
    parts = ["%x;x=y\r\n%s\r\n" % (len(text[n:n + size]), text[n:n + size]) for n in range(0, len(text), size)]
    return ("HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n" + "".join(parts) + "0\r\n\r\n").encode()


NO_STS = dict(cert="self")  # the mail goes to a host whose certificate is not right: no policy was believed
DEFERRED = "deferred 0 4.7.5"

# Name of the domain, what HTTPS answers (from its policy), the server's certificate ("host" is right), what becomes of the mail; more: TXT records, ...
ROWS = [
    ("good", lambda name: ok(policy()(name)), dict(cert="host"), SENT),
    ("lf", lambda name: ok(policy(end="\n")(name)), dict(cert="host"), SENT),
    ("wild", lambda name: ok(policy(mx="*.%s.sts.test")(name)), dict(cert="host"), SENT),
    ("closed", lambda name: ok(policy()(name), length=False), dict(cert="self"), DEFERRED),
    ("cutoff", lambda name: ok(policy()(name), length=False), NO_STS, SENT),  # it may have gone on
    ("chunked", lambda name: chunked(policy()(name)), dict(cert="self"), DEFERRED),
    ("badcert", lambda name: ok(policy()(name)), dict(cert="self"), DEFERRED),
    ("othername", lambda name: ok(policy()(name)), dict(cert="other"), DEFERRED),
    ("othermx", lambda name: ok(policy(mx="mail.%s.sts.test")(name)), dict(cert="host"), DEFERRED + " the host is not one"),
    ("wildtoodeep", lambda name: ok(policy(mx="*.sts.test")(name)), dict(cert="host"), DEFERRED + " the host is not one"),
    ("notls", lambda name: ok(policy()(name)), dict(cert=None), "deferred 0 4.7.10"),
    ("testing", lambda name: ok(policy("testing")(name)), NO_STS, SENT),
    ("none", lambda name: ok(policy("none")(name)), NO_STS, SENT),
    ("notxt", lambda name: ok(policy()(name)), dict(cert="self", txt=[]), SENT),
    ("twotxt", lambda name: ok(policy()(name)), dict(cert="self", txt=["v=STSv1; id=1;", "v=STSv1; id=2;"]), SENT),
    ("othertxt", lambda name: ok(policy()(name)), dict(cert="self", txt=["v=spf1 -all", "v=STSv1; id=1"]), DEFERRED),
    ("badid", lambda name: ok(policy()(name)), dict(cert="self", txt=["v=STSv1; id=a-b;"]), SENT),
    ("noid", lambda name: ok(policy()(name)), dict(cert="self", txt=["v=STSv1;"]), SENT),
    ("txtfails", lambda name: ok(policy()(name)), dict(cert="self", code=2), SENT),
    ("absent", lambda name: ok("", status="404 Not Found"), NO_STS, SENT),
    ("moved", lambda name: b"HTTP/1.1 301 Moved\r\nLocation: https://x.test/\r\nContent-Length: 0\r\n\r\n", NO_STS, SENT),
    ("plainhttp", lambda name: b"HTTP/1.1 302 Found\r\nLocation: http://mta-sts.good.sts.test/.well-known/mta-sts.txt\r\nContent-Length: 0\r\n\r\n", NO_STS, SENT),
    ("headers", lambda name: b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000 + ok(policy()(name))[17:], NO_STS, SENT),
    ("empty", lambda name: ok(""), NO_STS, SENT),
    ("html", lambda name: ok(policy()(name), kind="text/html"), NO_STS, SENT),
    ("notype", lambda name: b"HTTP/1.1 200 OK\r\n\r\n" + policy()(name).encode(), NO_STS, SENT),
    ("garbage", lambda name: b"\0\1\2\3" * 100, NO_STS, SENT),
    ("huge", lambda name: ok(policy()(name) + "x" * 100000), NO_STS, SENT),
    ("endless", lambda name: b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000000, NO_STS, SENT),
    ("cut", lambda name: ok(policy()(name))[:-5], NO_STS, SENT),
    ("badchunk", lambda name: chunked(policy()(name)).replace(b"7;x", b"zz;x", 1), NO_STS, SENT),
    ("hugechunk", lambda name: chunked(policy()(name)).replace(b"7;x", b"fffffffff;x", 1), NO_STS, SENT),
    ("nomode", lambda name: ok(policy()(name).replace("mode", "mood")), NO_STS, SENT),
    ("version2", lambda name: ok(policy()(name).replace("STSv1", "STSv2")), NO_STS, SENT),
    ("nomx", lambda name: ok("version: STSv1\nmode: enforce\nmax_age: 100\n"), NO_STS, SENT),
    ("hangs", lambda name: None, NO_STS, SENT),
    ("wrongcert", lambda name: ok(policy()(name)), dict(cert="self", web="other"), SENT),
    ("selfcert", lambda name: ok(policy()(name)), dict(cert="self", web="self"), SENT),
    ("requiretls", lambda name: ok(policy()(name)), dict(cert="host", caps=CAPS + ["REQUIRETLS"], args=["options=requiretls"]), SENT),
    ("requiretlsnone", lambda name: ok("", status="404 Not"), dict(cert="host", caps=CAPS + ["REQUIRETLS"], args=["options=requiretls"]), "failed 0 5.7.30"),
    ("requiretlstesting", lambda name: ok(policy("testing")(name)), dict(cert="host", caps=CAPS + ["REQUIRETLS"], args=["options=requiretls"]),
     "failed 0 5.7.30"),
]


class Web:
    """HTTPS on loopback. `asked` counts by host."""

    def __init__(self, answers, certificate_of):
        self.answers, self.certificate_of, self.asked = answers, certificate_of, {}
        self.socket = socket.create_server((HOSTS[1], 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def _run(self):
        while True:
            try:
                sock, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(sock,), daemon=True).start()

    def _talk(self, sock):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.certificate_of("host"))

        def by_name(tls, name, _):
            other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            other.load_cert_chain(*self.certificate_of(name.split(".")[1] if name else ""))
            tls.context = other
        context.sni_callback = by_name
        try:
            with context.wrap_socket(sock, server_side=True) as tls:
                request = b""
                while b"\r\n\r\n" not in request and (some := tls.recv(4096)):
                    request += some
                host = re.search(rb"Host: ([^\r]*)\r\n", request)
                if not host or not request.startswith(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\n"):
                    return
                name = host.group(1).decode().split(".")[1]
                self.asked[name] = self.asked.get(name, 0) + 1
                answer = self.answers[name](name)
                if answer is None:
                    tls.recv(1)
                else:
                    tls.sendall(answer)
                    if not name.startswith("cutoff"):
                        tls.unwrap()
        except OSError:
            pass


@unittest.skipIf(dnslib is None, "python3-dnslib is not installed")
class Sts(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = pathlib.Path(cls.folder.name)
        client_test.certificates(cls.path)
        names = [row[0] for row in ROWS]
        template = "cn = sts\ntls_www_server\nsigning_key\nexpiration_days = 3650\n"
        (cls.path / "sts.t").write_text(template + "".join("dns_name = %s.%s.sts.test\n" % (a, name) for name in names for a in ("host", "mta-sts")))
        client_test.subprocess.run(["certtool", "--generate-certificate", "--load-privkey", "good.key", "--load-ca-certificate", "ca.crt",
                                    "--load-ca-privkey", "ca.key", "--template", "sts.t", "--outfile", "host.crt"], check=True,
                                   capture_output=True, cwd=cls.path)
        (cls.path / "host.key").write_bytes((cls.path / "good.key").read_bytes())

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def pair(self, name):
        return str(self.path / (name + ".crt")), str(self.path / (name + ".key"))

    def setUp(self):
        self.rows = {row[0]: dict(row[2]) for row in ROWS}
        self.answers = {row[0]: row[1] for row in ROWS}
        self.web = Web(self.answers, lambda name: self.pair(self.rows.get(name, {}).get("web", "host")))
        self.dns = Liar({}, self.answer)
        self.addCleanup(self.web.close)
        self.addCleanup(self.dns.close)

    def answer(self, query):
        name, kind = str(query.q.qname).rstrip("."), dnslib.QTYPE[query.q.qtype]
        labels = name.split(".")
        row = self.rows.get(labels[-3], {})
        if kind == "MX":
            return reply("%s 60 IN MX 1 host.%s" % (name, name))(query)
        if kind == "TXT" and labels[0] == "_mta-sts":
            return reply(*('%s 60 IN TXT "%s"' % (name, text) for text in row.get("txt", ["v=STSv1; id=1;"])), code=row.get("code", 0))(query)
        if kind == "A":
            return reply("%s 60 IN A %s" % (name, HOSTS[1] if labels[0] == "mta-sts" else HOSTS[0]))(query)
        return reply()(query)

    def send(self, name, *args, folder=None):
        row = self.rows[name]
        mx = FakeMX({"caps": row.get("caps", CAPS), "certificate": self.pair(row["cert"]) if row["cert"] else None}, HOSTS[0])
        try:
            with tempfile.TemporaryDirectory() as new:
                reports = run_send("dns=" + self.dns.address, "port=%d" % mx.port, "ca=%s" % (self.path / "ca.crt"), "ms=4000",
                                   "sts=%s" % (folder or new + "/sts"), "stsport=%d" % self.web.port, *row.get("args", []), *args,
                                   "bob@%s.sts.test" % name)
            return mx, [report["results"][0] for report in reports]
        finally:
            mx.close()

    def run_row(self, name, expect):
        mx, (result,) = self.send(name)
        self.assertEqual(summary(result, expect), expect, result)
        if expect != SENT:
            no_mail_in_the_clear(self, [mx])

    def test_rows(self):
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            runs = [(row[0], pool.submit(self.run_row, row[0], row[3])) for row in ROWS]
            for name, run in runs:
                with self.subTest(name):
                    run.result()

    def test_kept(self):
        """A policy holds over a restart, without DNS and HTTPS, until its time is over."""
        with tempfile.TemporaryDirectory() as folder:
            folder += "/sts"
            self.assertEqual(self.send("badcert", folder=folder)[1][0]["outcome"], "deferred")
            self.rows["badcert"]["txt"] = []
            self.assertEqual(self.send("badcert", folder=folder)[1][0]["outcome"], "deferred")
            self.rows["badcert"]["txt"] = ["v=STSv1; id=2;"]
            self.answers["badcert"] = lambda name: b"nonsense"
            self.assertEqual(self.send("badcert", folder=folder)[1][0]["outcome"], "deferred")
            file = pathlib.Path(folder) / "badcert.sts.test"
            head, text = file.read_text().split("\n", 1)
            file.write_text("%s %d\n%s" % (head.split()[0], time.time() - 86401, text))
            self.assertEqual(self.send("badcert", folder=folder)[1][0]["outcome"], "delivered")

    def test_kept_file_that_is_broken(self):
        with tempfile.TemporaryDirectory() as folder:
            for text in ("", "x", "1 2\n", "1 99999999999\nversion: STSv1\n", "\0" * 100, "1 2" * 50000):
                (pathlib.Path(folder) / "testing.sts.test").write_text(text)
                self.assertEqual(self.send("testing", folder=folder)[1][0]["outcome"], "delivered")

    def test_what_is_over_goes(self):
        """Policies whose time is over, and what is none, are removed from the folder, though no mail goes to their domains."""
        with tempfile.TemporaryDirectory() as folder:
            files = {"over.sts.test": "1 %d\n%s" % (time.time() - 86401, policy()("over")), "broken.sts.test": "x", ".half.sts.test": "1 2",
                     "No Name": "x", "holds.sts.test": "1 %d\n%s" % (time.time() - 1000, policy()("holds"))}
            for name, text in files.items():
                (pathlib.Path(folder) / name).write_text(text)
            self.send("good", folder=folder)
            self.assertEqual(sorted(os.listdir(folder)), ["good.sts.test", "holds.sts.test"])

    def test_refreshed_without_mail(self):
        """Half of its time before a policy is over it is fetched anew, though no mail goes to its domain; a younger one is not."""
        with tempfile.TemporaryDirectory() as folder:
            for name, age in (("wild", 43300), ("lf", 43000)):
                (pathlib.Path(folder) / (name + ".sts.test")).write_text("1 %d\n%s" % (time.time() - age, policy()(name)))
            refreshed = threading.Event()
            was = self.answers["wild"]
            self.answers["wild"] = lambda name: refreshed.set() or was(name)
            self.answers["good"] = lambda name: refreshed.wait(100) and ok(policy()(name))
            self.assertEqual(self.send("good", folder=folder)[1][0]["outcome"], "delivered")
            self.assertEqual(self.web.asked, {"good": 1, "wild": 1})

    def test_asked_once(self):
        """One question and one fetch for many messages; the same id again: none."""
        with tempfile.TemporaryDirectory() as folder:
            self.send("good", "at-once=10", folder=folder)
            self.assertEqual(self.web.asked["good"], 1)
            self.send("good", folder=folder)
            self.assertEqual(self.web.asked["good"], 1)
            self.rows["good"]["txt"] = ["v=STSv1; id=new;"]
            self.send("good", folder=folder)
            self.assertEqual(self.web.asked["good"], 2)

    def test_counted(self):
        """What came of TLS is counted by domain, over restarts, in the words of RFC 8460."""
        expected = {
            "good": ("sts", 2, {}), "badcert": ("sts", 0, {"certificate-not-trusted": 1}), "othername": ("sts", 0, {"certificate-host-mismatch": 1}),
            "othermx": ("sts", 0, {"validation-failure": 1}), "notls": ("sts", 0, {"starttls-not-supported": 1}),
            "testing": ("sts", 0, {"certificate-not-trusted": 1}), "notxt": ("no-policy-found", 1, {}),
            "absent": ("no-policy-found", 1, {"sts-policy-fetch-error": 1}), "wrongcert": ("no-policy-found", 1, {"sts-webpki-invalid": 1}),
            "selfcert": ("no-policy-found", 1, {"sts-webpki-invalid": 1}), "nomode": ("no-policy-found", 1, {"sts-policy-invalid": 1}),
            "html": ("no-policy-found", 1, {"sts-policy-fetch-error": 1}), "huge": ("no-policy-found", 1, {"sts-policy-fetch-error": 1}),
        }
        self.rows["plain"] = dict(cert=None, txt=[])
        expected["plain"] = ("no-policy-found", 0, {"starttls-not-supported": 1})
        with tempfile.TemporaryDirectory() as folder:
            for name, (_, good, bad) in expected.items():
                for _ in range(2 if name == "good" else 1):
                    self.send(name, "reports=" + folder + "/r")
            file, = pathlib.Path(folder, "r").iterdir()
            self.assertRegex(file.name, r"^tls-report-\d{4}-\d\d-\d\d\.json$")
            counted = json.loads(file.read_text())
            got = {name.split(".")[0]: (entry["policy-type"], entry.get("successful", 0), entry.get("failed", {})) for name, entry in counted.items()}
            self.assertEqual(got, expected)
            file.write_text("nonsense")
            self.send("good", "reports=" + folder + "/r")
            self.assertEqual(json.loads(file.read_text())["good.sts.test"]["successful"], 1)

    def test_refreshed(self):
        """A policy of yesterday is used at once, and fetched anew behind that."""
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "badcert.sts.test"
            file.write_text("1 %d\n%s" % (time.time() - 90000, policy(age=864000)("badcert")))
            self.answers["badcert"] = lambda name: ok(policy("none")(name))
            mx, results = self.send("badcert", "repeat=2", "pause=700", folder=folder)
            self.assertEqual([r["outcome"] for r in results], ["deferred", "delivered"])
            self.assertIn("mode: none", file.read_text())


if __name__ == "__main__":
    sys.exit(tap.main([__file__]))
