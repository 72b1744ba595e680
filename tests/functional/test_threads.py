# SPDX-License-Identifier: MIT
"""THREAD=REFERENCES and THREAD=REFS against a model of them, over mailboxes made by chance, and against Dovecot."""

import imaplib
import random
import re
import time

import postern
import threads
from server_test import ServerTest, for_each_backend
from test_adoption import DOVECOT, Dovecot

SEED = 5256
MAILBOXES = 60


def append_all(client, mailbox, messages):
    """All in one command."""
    client.send(b"fill APPEND " + mailbox.encode())
    for message in messages:
        octets = message.octets()
        date = time.strftime("%d-%b-%Y %H:%M:%S +0000", time.gmtime(message.arrival))
        client.send(b' "%s" {%d+}\r\n%s' % (date.encode(), len(octets), octets))
    client.send(b"\r\n")
    assert client.finish(b"fill")[1].startswith(b"OK")


def thread(client, algorithm, command="THREAD"):
    line = next(line for line in client.ok("%s %s UTF-8 ALL" % (command, algorithm)) if b" THREAD" in line)
    return line.decode().rstrip("\r\n").removeprefix("* THREAD").strip()


@for_each_backend
class Threads(ServerTest):
    def mailbox(self, client, name, messages):
        client.ok("CREATE " + name)
        append_all(client, name, messages)
        client.ok("SELECT " + name)

    def test_chance(self):
        chance = random.Random(SEED)
        client = self.session()
        for number in range(MAILBOXES):
            names = ["%s@x" % name for name in "abcdefghij"[:chance.randint(2, 10)]]
            messages = threads.by_chance(chance, chance.randint(1, 25), names)
            self.mailbox(client, "T%d" % number, messages)
            for algorithm in ("REFERENCES", "REFS"):
                self.assertEqual(thread(client, algorithm), threads.answer(messages, algorithm),
                                 (number, [vars(message) for message in messages]))
            client.ok("UNSELECT")

    def test_uids(self):
        messages = threads.by_chance(random.Random(SEED), 12, ["a@x", "b@x", "c@x"])
        client = self.session()
        self.mailbox(client, "UIDs", messages)
        client.ok(r"STORE 1:3 +FLAGS.SILENT (\Deleted)")
        client.ok("EXPUNGE")
        numbers = thread(client, "REFERENCES")
        self.assertEqual(re.sub(r"\d+", lambda match: str(int(match.group()) + 3), numbers),
                         thread(client, "REFERENCES", "UID THREAD"))

    def test_deep(self):
        """A thread of thousands, each answering the one before."""
        count = 5000
        messages = [threads.Message(n, "%d@x" % n, ["%d@x" % (n - 1)], "s", False, 1700000000 + n, 1700000000 + n)
                    for n in range(1, count + 1)]
        client = self.session()
        client.ok("CREATE Deep")
        for at in range(0, count, 1000):
            append_all(client, "Deep", messages[at:at + 1000])
        client.ok("SELECT Deep")
        self.assertEqual(thread(client, "REFS"), "(%s)" % " ".join(str(n) for n in range(1, count + 1)))

    def test_like_dovecot(self):
        """The same threads. What Dovecot does otherwise is left out: see below."""
        if not DOVECOT or self.backend != postern.BACKENDS[0]:
            self.skipTest("no Dovecot, or compared already")
        chance = random.Random(SEED)
        client = self.session()
        with Dovecot() as dovecot:
            other = dovecot.session()
            for number in range(20):
                messages = threads.by_chance(chance, 20, ["%s@x" % name for name in "abcdefgh"])
                for message in messages:
                    message.subject = message.subject or "none"
                self.mailbox(client, "D%d" % number, messages)
                other.create("D%d" % number)
                for message in messages:
                    other.append("D%d" % number, None, imaplib.Time2Internaldate(message.arrival), message.octets())
                other.select("D%d" % number)
                theirs = other.thread("REFERENCES", "UTF-8", "ALL")[1][0].decode()
                self.assertEqual(thread(client, "REFERENCES"), theirs, [vars(message) for message in messages])
