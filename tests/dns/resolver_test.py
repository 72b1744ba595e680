# SPDX-License-Identifier: MIT
"""The resolver against name servers that lie, are slow, or say odd things. Each row of ROWS is a name, what the server says of it, and what the
resolver must say then."""

import concurrent.futures
import os
import pathlib
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "functional")]
import tap  # noqa: E402

try:
    import dnslib
    from dnslib import QTYPE, RCODE
    from liar import Liar, reply
except ImportError:
    dnslib = None

ASK = pathlib.Path(os.environ.get("POSTERN_TEST_BUILD", ".")) / "tests/dns/ask"
SOA = ("example. 60 IN SOA ns.example. root.example. 1 60 60 60 60",)


def ask(servers, kind, *names, options=()):
    run = subprocess.run([str(ASK), *options, "--servers", servers, kind, *names], capture_output=True, text=True, timeout=60)
    if run.returncode != 0:
        raise AssertionError("ask: %d %s %s" % (run.returncode, run.stdout, run.stderr))
    return dict(line.split(" ", 1) for line in run.stdout.splitlines())


def wire(change):
    """A true answer whose octets are changed."""
    def answer(query):
        return change(bytearray(reply("%s 60 IN A 192.0.2.1" % query.q.qname)(query).pack()))
    return answer


def only_tcp(whole):
    def answer(query):
        cut = query.reply()
        cut.header.tc = 1
        return {"udp": cut, "tcp": whole(query)}
    return answer


def twice(first, second):
    return lambda query: [first(query), second(query)]


def change_id(octets):
    octets[0] ^= 0x5A
    return bytes(octets)


def other_question(query):
    other = dnslib.DNSRecord.question("other.example", "A")
    other.header.id = query.header.id
    return reply("other.example. 60 IN A 192.0.2.66")(other)


def pointer_loop(query):
    head = query.reply()
    octets = bytearray(head.pack())
    octets[6:8] = b"\0\1"
    at = len(octets)
    return bytes(octets) + bytes([0xC0 | at >> 8, at & 0xFF]) + b"\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\1"


def chain(length, end="60 IN A 192.0.2.7"):
    def answer(query):
        name = str(query.q.qname)
        names = [name] + ["c%d.%s" % (n, name) for n in range(length)]
        lines = ["%s 60 IN CNAME %s" % (a, b) for a, b in zip(names, names[1:])]
        return reply(*lines, *(["%s %s" % (names[-1], end)] if end else []))(query)
    return answer


def short_record(kind, data):
    def answer(query):
        octets = bytearray(query.reply().pack())
        octets[6:8] = b"\0\1"
        return bytes(octets) + b"\xc0\x0c" + kind.to_bytes(2, "big") + b"\0\1\0\0\0\x3c" + len(data).to_bytes(2, "big") + data
    return answer


def mx(*pairs):
    return lambda query: reply(*("%s 60 IN MX %d %s" % (query.q.qname, p, host) for p, host in pairs))(query)


def odd_label(query):
    octets = bytearray(query.reply().pack())
    octets[6:8] = b"\0\1"
    data = b"\0\5" + b"\x05a\0b.c\xc0\x0c"
    return bytes(octets) + b"\xc0\x0c\0\x0f\0\1\0\0\0\x3c" + len(data).to_bytes(2, "big") + data


# Name, type asked for, {type asked of the server: answer}, what `ask` prints behind the name.
ROWS = [
    ("plain.example", "address", {"A": reply("plain.example 60 IN A 192.0.2.1")}, "ok 192.0.2.1"),
    ("both.example", "address", {"A": reply("both.example 60 IN A 192.0.2.1", "both.example 60 IN A 192.0.2.2"),
                                 "AAAA": reply("both.example 60 IN AAAA 2001:db8::1")}, "ok 2001:db8::1 192.0.2.1 192.0.2.2"),
    ("absent.example", "address", {}, "nxdomain"),
    ("empty.example", "address", {"A": reply(authority=SOA), "AAAA": reply(authority=SOA)}, "nodata"),
    ("half.example", "address", {"A": reply("half.example 60 IN A 192.0.2.1"), "AAAA": reply(code=2)}, "ok 192.0.2.1"),
    ("halffail.example", "address", {"A": reply(authority=SOA), "AAAA": reply(code=2)}, "servfail"),
    ("servfail.example", "mx", {"MX": reply(code=2)}, "servfail"),
    ("refused.example", "mx", {"MX": reply(code=5)}, "servfail"),
    ("notimp.example", "mx", {"MX": reply(code=4)}, "servfail"),
    ("formerr.example", "mx", {"MX": reply(code=1)}, "servfail"),
    ("silent.example", "mx", {"MX": lambda query: None}, "timeout"),
    ("wrongid.example", "a", {"A": wire(change_id)}, "timeout 0 ttl=0"),
    ("wrongidfirst.example", "address", {"A": twice(wire(change_id), reply("wrongidfirst.example 60 IN A 192.0.2.9"))}, "ok 192.0.2.9"),
    ("otherquestion.example", "a", {"A": other_question}, "timeout 0 ttl=0"),
    ("notanswer.example", "a", {"A": wire(lambda o: bytes(o[:2]) + b"\x01\x00" + bytes(o[4:]))}, "malformed 0 ttl=0"),
    ("short.example", "a", {"A": wire(lambda o: bytes(o[:-2]))}, "malformed 0 ttl=0"),
    ("tiny.example", "a", {"A": wire(lambda o: bytes(o[:11]))}, "timeout 0 ttl=0"),
    ("counts.example", "a", {"A": wire(lambda o: bytes(o[:6]) + b"\xff\xff" + bytes(o[8:]))}, "malformed 0 ttl=0"),
    ("pointer.example", "a", {"A": pointer_loop}, "malformed 0 ttl=0"),
    ("bada.example", "a", {"A": short_record(1, b"\x7f\0\0")}, "malformed 0 ttl=0"),
    ("badmx.example", "mx", {"MX": short_record(15, b"\0")}, "malformed"),
    ("badtlsa.example", "tlsa", {"TLSA": short_record(52, b"\3\1\1")}, "malformed"),
    ("badtxt.example", "txt", {"TXT": short_record(16, b"\xffabc")}, "malformed"),
    ("longmx.example", "mx", {"MX": short_record(15, b"\0\1\1a\0junk")}, "malformed"),
    ("tc.example", "address", {"A": only_tcp(reply("tc.example 60 IN A 192.0.2.3"))}, "ok 192.0.2.3"),
    ("tctc.example", "a", {"A": lambda q: (lambda r: (setattr(r.header, "tc", 1), r)[1])(q.reply())}, "malformed 0 ttl=0"),
    ("alias8.example", "address", {"A": chain(8), "AAAA": chain(8, None)}, "ok 192.0.2.7 as c7.alias8.example"),
    ("alias9.example", "address", {"A": chain(9), "AAAA": chain(9)}, "malformed"),
    ("loop.example", "a", {"A": reply("loop.example 60 IN CNAME back.example", "back.example 60 IN CNAME loop.example")},
     "malformed 0 ttl=0"),
    ("self.example", "a", {"A": reply("self.example 60 IN CNAME self.example")}, "malformed 0 ttl=0"),
    ("step.example", "a", {"A": reply("step.example 60 IN CNAME step2.example")}, "ok 1 ttl=30"),
    ("round.example", "a", {"A": reply("round.example 60 IN CNAME round2.example")}, "malformed 0 ttl=60"),
    ("astray.example", "address", {"A": reply("other.example 60 IN A 192.0.2.66")}, "nxdomain"),
    ("dangling.example", "a", {"A": reply("dangling.example 60 IN CNAME gone.example", code=3)}, "nxdomain 0 ttl=60"),
    ("ttl.example", "a", {"A": reply("ttl.example 0 IN A 192.0.2.1")}, "ok 1 ttl=0"),
    ("longttl.example", "a", {"A": reply("longttl.example 4000000 IN A 192.0.2.1")}, "ok 1 ttl=86400"),
    ("many.example", "address", {"A": reply(*("many.example 60 IN A 192.0.2.%d" % n for n in range(60)))},
     "ok " + " ".join("192.0.2.%d" % n for n in range(20))),
    ("mx.example", "mx", {"MX": mx((20, "b.example."), (10, "a.example."), (30, "c.example."))}, "ok 10:a.example 20:b.example 30:c.example"),
    ("nullmx.example", "mx", {"MX": mx((0, "."))}, "ok null"),
    ("rootbeside.example", "mx", {"MX": mx((0, "."), (10, "a.example."))}, "ok 10:a.example"),
    ("nomx.example", "mx", {"MX": reply(authority=SOA)}, "ok implicit 0:nomx.example"),
    ("absent.example", "mx", {}, "nxdomain"),
    ("mxtwice.example", "mx", {"MX": mx((10, "a.example."), (10, "A.example."), (5, "a.EXAMPLE."))}, "ok 5:a.EXAMPLE"),
    ("mxaddress.example", "mx", {"MX": mx((10, "192.0.2.1."))}, "badname"),
    ("mxodd.example", "mx", {"MX": odd_label}, "badname"),
    ("mx100.example", "mx", {"MX": mx(*((n, "m%d.example." % n) for n in reversed(range(100))))},
     "ok " + " ".join("%d:m%d.example" % (n, n) for n in range(20))),
    ("_25._tcp.mx.example", "tlsa", {"TLSA": reply("_25._tcp.mx.example 60 IN TLSA 3 1 1 " + "ab" * 32)}, "ok 3:1:1:" + "ab" * 32),
    ("tlsanone.example", "tlsa", {"TLSA": reply(authority=SOA)}, "nodata"),
    ("_mta-sts.example", "txt", {"TXT": reply('_mta-sts.example 60 IN TXT "v=STSv1; " "id=1;"')}, "ok [v=STSv1; id=1;] 14"),
    ("huge.example", "txt", {"TXT": only_tcp(reply("huge.example 60 IN TXT " + " ".join('"%s"' % ("x" * 250) for _ in range(200))))},
     "ok [%s] 50000" % ("x" * 40)),
    ("large.example", "txt", {"TXT": reply("large.example 60 IN TXT " + " ".join('"%s"' % ("y" * 250) for _ in range(4)))},
     "ok [%s] 1000" % ("y" * 40)),
    ("bücher.example", "address", {}, "nxdomain"),
    ("-..example", "address", {}, "badname"),
    ("a_b..example", "address", {}, "badname"),
    ("a" * 64 + ".example", "address", {}, "badname"),
    ("192.0.2.1", "address", {}, "badname"),
]

MORE = {
    ("step2.example", "A"): lambda q: reply("step2.example 30 IN A 192.0.2.1")(q),
    ("round2.example", "A"): lambda q: reply("round2.example 60 IN CNAME round.example")(q),
    ("xn--bcher-kva.example", "A"): lambda q: reply("xn--bcher-kva.example 60 IN A 192.0.2.1")(q),
}


@unittest.skipIf(dnslib is None, "python3-dnslib is not installed")
class Resolver(unittest.TestCase):
    def liar(self, answers, default=None):
        server = Liar(answers, default)
        self.addCleanup(server.close)
        return server

    def test_rows(self):
        answers = dict(MORE)
        for name, _, kinds, _ in ROWS:
            answers.update({(name, kind): answer for kind, answer in kinds.items()})
        expected = {}
        for name, kind, _, line in ROWS:
            expected.setdefault(kind, {})[name] = line
        expected["address"]["bücher.example"] = "ok 192.0.2.1 as xn--bcher-kva.example"
        for kind, lines in expected.items():
            # One at a time: what one answer does to c-ares must not be the fate of another here.
            for name, line in lines.items():
                with self.subTest(kind=kind, name=name):
                    # An answer has its time on a busy machine; for one that does not come a little is enough.
                    options = ["--timeout", "300"] if line.startswith("timeout") else []
                    got = ask(self.liar(answers).address, kind, name, options=options)[name].rstrip()
                    if line.startswith(("nxdomain", "nodata", "badname", "malformed", "servfail")) and kind == "address":
                        got = got.split(" as")[0]
                    if line.endswith("ttl=0") and not line.startswith("ok"):
                        got, line = got.split(" ttl=")[0], line.split(" ttl=")[0]
                    self.assertEqual(got, line)

    def test_all_at_once(self):
        """The same in one resolver, where one bad answer follows the other: who is answered truly gets it."""
        answers = dict(MORE)
        for name, _, kinds, _ in ROWS:
            answers.update({(name, kind): answer for kind, answer in kinds.items()})
        names = [(name, line) for name, kind, _, line in ROWS if kind == "address" and line.startswith("ok")]
        bad = [name for name, kind, _, line in ROWS if kind == "a"]
        got = ask(self.liar(answers).address, "address", *[name for name, _ in names] * 20, *bad)
        for name, line in names:
            self.assertEqual(got[name], line)

    def test_equals_by_chance(self):
        server = self.liar({("eq.example", "MX"): mx((10, "a.example."), (10, "b.example."), (20, "c.example."))})
        seen = {ask(server.address, "mx", "eq.example")["eq.example"] for _ in range(40)}
        self.assertEqual(seen, {"ok 10:a.example 10:b.example 20:c.example", "ok 10:b.example 10:a.example 20:c.example"})

    def test_authenticated(self):
        """AD counts only where the configuration says that the server validates, and on the whole way."""
        server = self.liar({
            ("ad.example", "MX"): lambda q: reply("ad.example 60 IN MX 1 m.example", ad=True)(q),
            ("ad.example", "A"): reply("ad.example 60 IN A 192.0.2.1", ad=True),
            ("ad.example", "AAAA"): reply(authority=SOA, ad=False),
            ("to.example", "A"): reply("to.example 60 IN CNAME ad.example", ad=False),
            ("to.example", "AAAA"): reply("to.example 60 IN CNAME six.example", ad=True),
            ("six.example", "AAAA"): reply("six.example 60 IN AAAA 2001:db8::6", ad=True),
        })
        self.assertEqual(ask(server.address, "mx", "ad.example")["ad.example"], "ok 1:m.example")
        self.assertEqual(ask(server.address, "mx", "ad.example", options=["--validating"])["ad.example"], "ok secure 1:m.example")
        self.assertEqual(ask(server.address, "address", "ad.example", options=["--validating"])["ad.example"], "ok secure 192.0.2.1")
        self.assertEqual(ask(server.address, "a", "to.example", options=["--validating"])["to.example"], "ok 1 ttl=60")
        self.assertEqual(ask(server.address, "aaaa", "to.example", options=["--validating"])["to.example"], "ok secure 1 ttl=60")

    def test_bogus(self):
        """A validating server answers SERVFAIL, and without validation (CD) it would have answered."""
        def answer(query):
            return reply("bogus.example 60 IN MX 1 m.example")(query) if query.header.cd else reply(code=RCODE.SERVFAIL)(query)
        server = self.liar({("bogus.example", "MX"): answer, ("broken.example", "MX"): reply(code=RCODE.SERVFAIL)})
        self.assertEqual(ask(server.address, "mx", "bogus.example", options=["--validating"])["bogus.example"], "bogus")
        self.assertEqual(ask(server.address, "mx", "broken.example", options=["--validating"])["broken.example"], "servfail")
        self.assertEqual(ask(server.address, "mx", "bogus.example")["bogus.example"], "servfail")

    def test_next_server(self):
        dead = self.liar({}, lambda query: None)
        good = self.liar({("a.example", "MX"): mx((1, "m.example."))})
        self.assertEqual(ask("%s,%s" % (dead.address, good.address), "mx", "a.example")["a.example"], "ok 1:m.example")
        refuses = self.liar({})
        refuses.close()
        self.assertEqual(ask("%s,%s" % (refuses.address, good.address), "mx", "a.example")["a.example"], "ok 1:m.example")
        self.assertEqual(ask(refuses.address, "mx", "a.example")["a.example"], "timeout")

    def test_without_edns(self):
        """A server that answers FORMERR to EDNS is asked without it; long answers come through afterwards all the same."""
        def shy(query):
            return reply(code=RCODE.FORMERR)(query) if query.ar else mx((1, "m.example."))(query)
        server = self.liar({("shy.example", "MX"): shy})
        self.assertEqual(ask(server.address, "mx", "shy.example")["shy.example"], "ok 1:m.example")

    def test_ids_and_ports(self):
        """No id twice in a row, and a port of its own for each question that is alone."""
        seen = []
        server = self.liar({("id.example", "A"): lambda q: (seen.append(q.header.id), reply("id.example 60 IN A 192.0.2.1")(q))[1]})
        for _ in range(8):
            ask(server.address, "a", "id.example")
        self.assertGreater(len(set(seen)), 6)

    def test_cancelled(self):
        server = self.liar({("slow.example", "A"): lambda query: None})
        self.assertEqual(ask(server.address, "cancel", "slow.example"), {})

    def test_servers_that_are_none(self):
        run = subprocess.run([str(ASK), "--servers", "nonsense", "mx", "a.example"], capture_output=True, text=True)
        self.assertEqual(run.returncode, 1)
        self.assertIn('name servers "nonsense"', run.stdout)


if __name__ == "__main__":
    sys.exit(tap.main([__file__]))
