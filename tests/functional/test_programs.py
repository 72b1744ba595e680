# SPDX-License-Identifier: MIT
"""What a client that is logged in may ask: programs of every shape, thousands of commands at once, answers that it never reads.

Each is answered, refused or cut off within bounds; meanwhile another user in the same process is served. The bounds are those of what
is quadratic or worse, with much to spare, and of the time that the server computes: a busy machine keeps them.
"""

import contextlib
import json
import os
import random
import re
import threading
import time

import postern
from server_test import ServerTest, for_each_backend

BOUND = 10.0 * (6 if postern.SANITIZED else 1)  # seconds of computing; hostile input must be read in ten
WAIT = 60.0  # seconds that a neighbour may wait on a machine that has much else to do
COUNT = 400


class Neighbour:
    """Another user, who asks for this and that all the time; the longest that it had to wait."""

    def __init__(self, server):
        self.slowest = 0.0
        self.rounds = 0
        self.error = None
        self._client = server.session("bob", select="INBOX")
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        try:
            while not self._end.is_set():
                start = time.monotonic()
                self._client.ok("NOOP")
                self._client.ok("STATUS INBOX (MESSAGES UNSEEN)")
                self._client.ok("FETCH 1:* (FLAGS ENVELOPE)")
                self.slowest = max(self.slowest, time.monotonic() - start)
                self.rounds += 1
                time.sleep(0.01)
        except BaseException as error:  # told by __exit__
            self.error = error

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()
        self._client.close()
        if self.error:
            raise self.error


def hostile_messages():
    """Mail that costs whoever reads it without bounds."""
    deep = "".join("Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(300))
    parts = "--p\r\n\r\nx\r\n" * 12000
    references = " ".join("<%d@loop>" % (n % 50) for n in range(5000))
    yield postern.message("deep", "x\r\n", headers=deep)
    yield postern.message("wide", parts + "--p--\r\n", headers="Content-Type: multipart/mixed; boundary=p\r\n")
    yield postern.message("Re: " * 3000 + "[x] " * 3000, headers="References: %s\r\n" % references)
    yield postern.message("=?utf-8?b?" * 3000)
    yield postern.message("list", headers="Cc: " + ", ".join("a%d@x" % n for n in range(5000)) + "\r\n")


def loops(chance):
    """Replies to each other without end."""
    for number in range(COUNT):
        loop = " ".join("<%d@loop>" % chance.randrange(COUNT) for _ in range(20))
        yield postern.message("%s %d" % (chance.choice(("Re: a", "a", "Fwd: b")), number % 7), "line\r\n" * 40,
                              headers="In-Reply-To: <%d@loop>\r\nReferences: %s\r\n" % (number, loop))


def nested(keys, depth):
    return "(" * depth + keys + ")" * depth


def programs(chance):
    """Search programs as clever as the limits permit, and cleverer."""
    wide = ",".join(str(number) for number in range(1, COUNT, 2))
    yield "ALL"
    yield nested("ALL", 31)
    yield nested("ALL", 32)
    yield nested("ALL", 33)
    yield nested("ALL", 20000)
    yield "NOT " * 30 + "ALL"
    yield "NOT " * 1000 + "SEEN"
    yield "NOT " * 2500 + "ALL"
    yield "OR " * 30 + "SEEN " * 31
    yield "OR " * 900 + "SEEN " * 901
    yield "OR SEEN " * 900 + "ALL"
    yield " ".join("NOT TEXT n%d" % number for number in range(900))
    yield " ".join("BODY line" for _ in range(1500))
    yield " ".join("OR BODY none%d TEXT none" % number for number in range(400)) + " ALL"
    yield " ".join('HEADER x-%d ""' % number for number in range(900))
    yield " ".join("UID 1:*" for _ in range(1900))
    yield " ".join(wide for _ in range(30))
    yield ",".join("1:*" for _ in range(9000))
    yield ",".join("1:*" for _ in range(20000))
    yield ",".join("%d" % chance.randrange(1, COUNT) for _ in range(9000))
    yield "UID " + ",".join("%d:%d" % (n * 3 + 1, n * 3 + 2) for n in range(7000))
    yield "UID 4294967295:1,1:4294967295"
    yield "TEXT " + "a" * 30000
    yield 'SUBJECT "' + "\\\\" * 10000 + '"'
    yield "SUBJECT {30000+}\r\n" + "ab" * 15000
    yield "OR " * 200 + "(" * 20 + "ALL"
    yield "KEYWORD " + "k" * 5000
    yield "MODSEQ 9223372036854775807"
    yield "YOUNGER 1 OLDER 4294967295 LARGER 4294967295"
    yield "FROM \"\" TO \"\" TEXT \"\""
    yield " ".join(chance.choice(("NOT", "OR", "(", ")", "ALL", "SEEN", "1:*", "UID", "TEXT x", "$", '"', "{3}"))
                   for _ in range(1500))


COMMANDS = (
    "SEARCH %s", "UID SEARCH RETURN (MIN MAX COUNT SAVE) %s", "SEARCH RETURN (PARTIAL -1:-100) %s",
    "SORT (SUBJECT REVERSE DATE FROM DISPLAYFROM SIZE) UTF-8 %s", "UID SORT RETURN (ALL COUNT) (CC TO ARRIVAL) UTF-8 %s",
    "THREAD REFERENCES UTF-8 %s", "THREAD REFS UTF-8 %s", "UID THREAD ORDEREDSUBJECT UTF-8 %s",
)


@for_each_backend
class Programs(ServerTest):
    settings = "mail_processes = 1\nplaintext_without_tls = yes\n" + ServerTest.settings  # both users in one process

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with cls.server.session() as client:
            for octets in hostile_messages():
                assert client.append(octets).startswith(b"OK")
            octets = b"".join(b" {%d+}\r\n%s" % (len(octets), octets) for octets in loops(random.Random(1)))
            client.send(b"fill APPEND INBOX" + octets + b"\r\n")
            assert client.finish(b"fill")[1].startswith(b"OK")
        with cls.server.session("bob") as client:
            client.append(postern.message("mine"))

    def ask(self, client, text):
        """The tagged answer, whatever it is, within the bound; None: the server has ended the session."""
        start = self.computed()
        try:
            status = client.command(text)[1]
        except (postern.Closed, ConnectionError):
            status = None
        self.assertLess(self.computed() - start, BOUND, text[:200])
        return status

    def computed(self):
        """Seconds that front and mail have computed so far."""
        ticks = 0
        for pid, role in self.server.roles():
            if role in ("front", "mail"):
                with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as file:
                    ticks += sum(map(int, file.read().rpartition(")")[2].split()[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def reopened(self, client, status):
        if status is not None and not status.startswith(b"BAD"):
            return client
        # Ten that are BAD in a row end a session.
        client.close()
        return self.session(select="INBOX")

    def test_every_program_is_answered_refused_or_cut_off(self):
        client = self.session(select="INBOX")
        counts = {b"OK": 0, b"NO": 0, b"BAD": 0}
        with Neighbour(self.server) as neighbour:
            for number, program in enumerate(programs(random.Random(2))):
                for command in COMMANDS if number % 3 == 0 else COMMANDS[:1] + COMMANDS[3:4] + COMMANDS[5:6]:
                    status = self.ask(client, command % program)
                    if status is not None:
                        counts[status.split(b" ")[0]] += 1
                    client = self.reopened(client, status)
        self.assertGreater(min(counts.values()), 5, counts)
        self.assertGreater(neighbour.rounds, 10)
        self.assertLess(neighbour.slowest, WAIT)

    def test_a_search_ends_with_its_client(self):
        """Nobody searches on for somebody who has gone."""
        with Neighbour(self.server) as neighbour:
            for _ in range(20):
                client = self.session(select="INBOX")
                client.send(b"s SEARCH " + b" ".join(b"NOT BODY n%d" % n for n in range(1500)) + b"\r\n")
                client.close()
            start = self.computed()
            self.session(select="INBOX").ok("SEARCH BODY line 1:10")
            self.assertLess(self.computed() - start, BOUND)
        self.assertLess(neighbour.slowest, WAIT)

    def test_thousands_of_commands_at_once(self):
        """All are answered, in order."""
        client = self.connect()  # without TLS: Python's must not send and receive at once
        client.greeting()
        client.ok("LOGIN alice " + postern.PASSWORD)
        client.ok("SELECT INBOX")
        lines = [b"FETCH 1:3 FLAGS", b"SEARCH ALL", b"NOOP", b"STATUS INBOX (MESSAGES)", b"SORT (SIZE) UTF-8 1:9",
                 b"UID THREAD REFS UTF-8 1:9", b"FETCH 1 ENVELOPE"] * 10 + [b"STORE 1 +FLAGS.SILENT (x)"]
        count = 5000
        sent = threading.Thread(target=lambda: client.send(
            b"".join(b"p%d %s\r\n" % (n, lines[n % len(lines)]) for n in range(count))))
        with Neighbour(self.server) as neighbour:
            sent.start()
            for number in range(count):
                self.assertRegex(client.finish(b"p%d" % number)[1], b"^OK")
            sent.join()
        self.assertLess(neighbour.slowest, WAIT)

    def test_thousands_of_wrong_commands_at_once(self):
        """They end the session, and nothing behind the end is done."""
        client = self.session(select="INBOX")
        with contextlib.suppress(OSError):
            client.send(b"".join(b"w%d NONSENSE (((\r\n" % n for n in range(5000)) + b"z CREATE not-made\r\n")
        with contextlib.suppress(OSError):
            self.assertTrue(client.is_closed())
        self.assertEqual(self.session().ok('LIST "" not-made'), [])


class NeverReads(ServerTest):
    """Clients that ask for much and take none of it."""

    settings = ("mail_processes = 1\nplaintext_without_tls = yes\n"
                "limits { output_timeout = 2s connections_per_address = 0 auth_failures_per_minute = 10000 }")

    def mail_memory(self):
        pid = next(pid for pid, role in self.server.roles() if role == "mail")
        with open("/proc/%d/status" % pid, encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))

    def sessions_of(self, user):
        return sum(row["user"].startswith(user) for row in json.loads(self.server.tool("who", "--json").stdout))

    def open(self, tls):
        client = self.connect(tls=tls)
        client.greeting()
        client.ok("LOGIN alice " + postern.PASSWORD)
        client.ok("SELECT INBOX")
        return client

    def test_they_cost_little_and_are_dropped(self):
        with self.server.session() as client:
            self.assertRegex(client.append(postern.message("big", ("x" * 70 + "\r\n") * 60000)), b"^OK")
        with self.server.session("bob") as client:
            client.append(postern.message("mine"))
        for tls in (True, False):
            clients = [self.open(tls) for _ in range(10)]
            before = self.mail_memory()
            with Neighbour(self.server) as neighbour:
                for client in clients:
                    client.send(b"".join(b"n%d FETCH 1 (BODY.PEEK[] ENVELOPE)\r\nm%d SEARCH TEXT x\r\n" % (n, n) for n in range(100)))
                time.sleep(1)
                grown = self.mail_memory() - before
                postern.wait_until(lambda: self.sessions_of("alice") == 0, "the end of those that never read")
            if not postern.SANITIZED:
                self.assertLess(grown, 10 * 1024 + 8192)
            self.assertLess(neighbour.slowest, WAIT)
