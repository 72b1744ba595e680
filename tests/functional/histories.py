#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Random histories of several sessions, with other programs at the Maildir meanwhile.

usage: histories.py [--prefix DIR] [--seed N] [--minutes N] [--sessions N] [--backend NAME]

Sessions read, store, copy, move, expunge, append and idle on one mailbox and two others. A delivery agent puts messages
into new, and a mail reader that works on the Maildir itself renames, moves and removes files. Each session keeps a view
from the untagged responses alone. It is checked at every response, and at the end of each round against what a new
session sees and against the files. On a failure the seed and the last events are printed; with the same seed everybody
makes the same choices again, though not at the same moments.
"""

import argparse
import collections
import os
import pathlib
import random
import re
import sys
import threading
import time

import postern

MAILBOXES = ("Shared", "Other", "Box/Inner")
ROUND = 10.0  # seconds
CROWD = 60  # with more messages, some go
SYSTEM_FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "\\Draft")
ITEMS = "(UID FLAGS RFC822.SIZE BODY.PEEK[HEADER.FIELDS (SUBJECT)])"


class Wrong(AssertionError):
    """Something that no RFC allows, or that is not so at the end."""


def ensure(condition, text, *values):
    if not condition:
        raise Wrong(text % values)


def octets_of(ident):
    """The message of that name; names are given once."""
    filler = "line of %s\r\n" % ident
    return postern.message(ident, filler * (1 + sum(ident.encode()) % 40))


class World:
    """What the actors share: the server, the events, and which message may be where."""

    def __init__(self, server, seed):
        self.server = server
        self.seed = seed
        self.events = collections.deque(maxlen=400)
        self.counts = collections.Counter()
        self._lock = threading.Lock()
        self._names = {}
        self._arrivals = collections.Counter()
        self._seen = collections.defaultdict(set)

    def event(self, who, text):
        if isinstance(text, bytes):
            text = text[:200].decode("utf-8", "replace").rstrip("\r\n").replace("\r\n", "|")
        self.events.append("%.3f %-8s %s" % (time.monotonic(), who, text))

    def arrives(self, mailbox, ident, count=1):
        """To be called before anybody can see it; with -1 when it did not happen after all."""
        with self._lock:
            self._arrivals[mailbox, ident] += count

    def sees(self, mailbox, validity, uid, ident):
        """A UID stands for one message forever, and each arrival makes one UID."""
        with self._lock:
            known = self._names.setdefault((mailbox, validity, uid), ident)
            ensure(known == ident, "UID %d of %s was %s and is %s", uid, mailbox, known, ident)
            seen = self._seen[mailbox, ident]
            seen.add((validity, uid))
            ensure(len(seen) <= self._arrivals[mailbox, ident], "%s came into %s %d times, and is seen as %s",
                   ident, mailbox, self._arrivals[mailbox, ident], sorted(seen))


class Row:
    """A message as a session knows it; None is what it has not been told."""

    __slots__ = ("uid", "flags", "ident", "least")

    def __init__(self, least):
        self.uid = self.flags = self.ident = None
        self.least = least  # what is new has a UID of UIDNEXT at least


class Session:
    """A client and its view."""

    def __init__(self, world, number):
        self.world = world
        self.name = "s%d" % number
        self.keyword = "mine%d" % number  # nobody else sets or clears it
        self.chance = random.Random("%d-%d" % (world.seed, number))
        self.mine = {}  # (mailbox, UIDVALIDITY, UID): whether it has the keyword; None while that is being changed
        self.may_expunge = False
        self.gone = set()  # rows of which the server has let slip that they are no more
        self.appended = 0
        self.earlier = set()  # what VANISHED (EARLIER) told
        self.remembered = collections.defaultdict(list)  # {mailbox: states it was in}
        self.connect()

    # ---- what is said

    def connect(self):
        self.client = self.world.server.connect(tls=True)
        self.client.greeting()
        self.client.ok("LOGIN alice " + postern.PASSWORD)
        self.qresync = self.rev2 = False
        if self.chance.random() < 0.3:
            postern.compress(self.client)
        if self.chance.random() < 0.4:
            self.client.ok("ENABLE IMAP4rev2")
            self.rev2 = True
        if b"QRESYNC" in self.client.ok("CAPABILITY")[0] and self.chance.random() < 0.5:
            self.client.ok("ENABLE QRESYNC")
            self.qresync = True
        self.select(self.chance.choice((MAILBOXES[0],) * 3 + MAILBOXES))

    def command(self, text, *more, literal=None):
        """Sends commands at once, takes what comes, and gives the tagged answer of the first and the untagged lines."""
        numbers = not text.startswith(("FETCH", "STORE", "SEARCH", "SORT", "THREAD"))
        lines = []
        for tag, line in enumerate((text,) + more):
            self.world.event(self.name, "> " + line)
            data = line.encode() + (b"" if literal is None else b" {%d+}\r\n%s" % (len(literal), literal))
            self.client.send(b"t%d %s\r\n" % (tag, data))
        answer = None
        for tag in range(1 + len(more)):
            while True:
                line = self.client.response()
                self.world.event(self.name, line)
                if line.startswith(b"t%d " % tag):
                    break
                self.take(line, numbers, any("FETCH" in command for command in (text,) + more))
                lines.append(line)
            status = line.split(b" ", 2)[1]
            ensure(status in (b"OK", b"NO"), "%s was answered %r", text, line)
            answer = answer or line[3:].rstrip(b"\r\n")
        self.world.counts[text.partition(" ")[0] if not text.startswith("UID") else " ".join(text.split(" ")[:2])] += 1
        return answer, lines

    # ---- the view

    def take(self, line, may_expunge, fetches=False):
        ensure(line.startswith(b"* "), "%r is not an untagged response", line)
        match = re.match(rb"\* (\d+) (EXISTS|EXPUNGE|FETCH|RECENT)\b", line)
        if match:
            number, what = int(match.group(1)), match.group(2)
            if what == b"EXISTS":
                ensure(number >= len(self.rows), "EXISTS %d when there were %d", number, len(self.rows))
                self.rows += [Row(self.uidnext) for _ in range(number - len(self.rows))]
            elif what == b"RECENT":
                ensure(not self.rev2, "RECENT after ENABLE IMAP4rev2")
                ensure(number <= len(self.rows), "RECENT %d of %d", number, len(self.rows))
            else:
                ensure(1 <= number <= len(self.rows), "%s of %d of %d", what.decode(), number, len(self.rows))
                if what == b"FETCH":
                    self.take_fetch(self.rows[number - 1], number, line)
                    ensure(not self.rev2 or fetches or b"(UID " in line, "FETCH without UID after ENABLE IMAP4rev2")
                else:
                    ensure(may_expunge, "EXPUNGE where none may be")
                    ensure(not self.qresync, "EXPUNGE after ENABLE QRESYNC")
                    del self.rows[number - 1]
        elif line.startswith(b"* VANISHED (EARLIER) "):
            ensure(self.qresync, "VANISHED (EARLIER) without ENABLE QRESYNC")
            self.earlier |= uid_set(line.split()[3])
        elif line.startswith(b"* VANISHED "):
            ensure(may_expunge and self.qresync, "VANISHED where none may be")
            self.take_vanished(uid_set(line.split()[2]))
        else:
            ensure(not line.startswith(b"* BYE"), "the server says %r", line)

    def take_vanished(self, uids):
        for uid in sorted(uids):
            row = next((row for row in self.rows if row.uid == uid), None) or self.unknown_for(uid)
            ensure(row is not None, "VANISHED %d, which was not there", uid)
            self.rows.remove(row)

    def unknown_for(self, uid):
        """One that came and went before we knew its UID: it lies between those that we know."""
        found = None
        for row in self.rows:
            if row.uid and row.uid > uid:
                break
            found = row if row.uid is None else None
        return found

    def take_fetch(self, row, number, line):
        uid = re.search(rb"[ (]UID (\d+)", line)
        if uid:
            self.take_uid(row, number, int(uid.group(1)))
        flags = re.search(rb"[ (]FLAGS \(([^)]*)\)", line)
        if flags:
            row.flags = set(flags.group(1).decode().split())
            ensure(not self.rev2 or "\\Recent" not in row.flags, "\\Recent after ENABLE IMAP4rev2")
            row.flags.discard("\\Recent")
            self.check_mine(row)
        subject = re.search(rb"\r\nSubject: (\S+)\r\n", line)
        if subject and row.uid and "BODY[HEADER.FIELDS" in line.decode("utf-8", "replace"):
            row.ident = subject.group(1).decode()
            self.world.sees(self.mailbox, self.validity, row.uid, row.ident)
            size = re.search(rb"RFC822.SIZE (\d+)", line)
            ensure(not size or int(size.group(1)) == len(octets_of(row.ident)), "the size of %s is %s", row.ident, size)

    def take_uid(self, row, number, uid):
        ensure(row.uid in (None, uid), "number %d was UID %s and is %d", number, row.uid, uid)
        row.uid = uid
        before = [other.uid for other in self.rows[:number - 1] if other.uid]
        behind = [other.uid for other in self.rows[number:] if other.uid]
        ensure(not before or max(before) < uid, "UID %d behind %s", uid, before[-5:])
        ensure(not behind or min(behind) > uid, "UID %d ahead of %s", uid, behind[:5])
        ensure(uid >= row.least, "UID %d is new, when UIDNEXT was %d", uid, row.least)

    def check_mine(self, row):
        """What others have expunged and we still show does not change any more; NOOP will tell."""
        known = self.mine.get((self.mailbox, self.validity, row.uid)) if row.uid else None
        if known is not None and known != (self.keyword in row.flags):
            self.gone.add(row)

    def select(self, mailbox, verb="SELECT"):
        states = self.remembered[mailbox]
        state = self.chance.choice(states) if self.qresync and states else None
        self.mailbox, self.rows, self.gone = mailbox, [], set()
        self.validity = self.uidnext = 0
        self.earlier = set()
        answer, lines = self.command('%s "%s"%s' % (verb, mailbox, " (QRESYNC (%d %d))" % state[:2] if state else ""))
        ensure(answer.startswith(b"OK"), "%s was answered %r", verb, answer)
        whole = b"".join(lines)
        self.validity = int(re.search(rb"UIDVALIDITY (\d+)", whole).group(1))
        self.uidnext = int(re.search(rb"UIDNEXT (\d+)", whole).group(1))
        modseq = re.search(rb"HIGHESTMODSEQ (\d+)", whole)
        self.modseq = int(modseq.group(1)) if modseq else None
        if state:
            self.resume(state)
        self.learn()

    def remember(self):
        """What it knows when it leaves: all that was so at SELECT, and perhaps more."""
        if self.qresync and self.modseq and all(row.uid and row.ident for row in self.rows):
            known = {row.uid: (row.ident, frozenset(row.flags)) for row in self.rows}
            self.remembered[self.mailbox] = self.remembered[self.mailbox][-4:] + [(self.validity, self.modseq, known)]

    def resume(self, state):
        """The present, from the state it was in and what SELECT told of the time since."""
        self.world.counts["QRESYNC"] += 1
        known = {uid: what for uid, what in state[2].items() if uid not in self.earlier}
        known.update((row.uid, (None, frozenset(row.flags or ()))) for row in self.rows if row.uid)
        ensure(len(known) == len(self.rows), "QRESYNC from modseq %d leads to %d messages, there are %d: %s",
               state[1], len(known), len(self.rows), sorted(known))
        for number, (row, uid) in enumerate(zip(self.rows, sorted(known)), 1):
            self.take_uid(row, number, uid)
            if row.flags is None:
                row.flags = set(known[uid][1])
                row.ident = known[uid][0]

    def learn(self):
        """Asks for what it has not been told of new messages."""
        unknown = [number for number, row in enumerate(self.rows, 1) if row.ident is None and row not in self.gone]
        if not unknown:
            return
        asked = self.rows[unknown[0] - 1:unknown[-1]]
        self.command("FETCH %d:%d %s" % (unknown[0], unknown[-1], ITEMS))
        # Not told, though asked for: others have expunged it.
        self.gone.update(row for row in asked if row.ident is None)

    # ---- acts, each chosen at random

    def act(self):
        self.learn()
        acts = [self.noop, self.fetch, self.fetch_body, self.store, self.store, self.store_mine, self.store_mine,
                self.replace, self.search_mine, self.search_mine, self.append, self.append, self.copy, self.move,
                self.idle, self.idle, self.pipeline, self.delete, self.expunge, self.status, self.uid_fetch,
                self.reselect]
        if len(self.rows) > CROWD:
            acts += [self.delete, self.expunge] * 6
        if self.chance.random() < 0.01:
            acts = [self.reconnect]
        self.chance.choice(acts)()

    def some(self, accept=lambda row: True, most=6):
        """(number, row) of a few messages that are known."""
        known = [(number, row) for number, row in enumerate(self.rows, 1)
                 if row.uid and row.ident and row not in self.gone and accept(row)]
        return sorted(self.chance.sample(known, min(len(known), self.chance.randint(1, most))), key=lambda pair: pair[0])

    def address(self, chosen):
        """The same messages by UID or by number: "UID ", set."""
        if self.chance.random() < 0.5:
            return "UID ", ",".join(str(row.uid) for _, row in chosen)
        return "", ",".join(str(number) for number, _ in chosen)

    def noop(self):
        answer, _ = self.command(self.chance.choice(("NOOP", "CHECK")))
        ensure(answer.startswith(b"OK"), "%r", answer)
        left = [row.uid for row in self.rows if row in self.gone]
        ensure(not left, "UIDs %s were not told, or not as we set them, and are there after NOOP", left)

    def fetch(self):
        chosen = self.some()
        if chosen:
            prefix, which = self.address(chosen)
            self.command("%sFETCH %s (FLAGS UID)" % (prefix, which))

    def uid_fetch(self):
        """All of it: what is not told is gone."""
        before = list(self.rows)
        _, lines = self.command("UID FETCH 1:* (UID FLAGS)")
        told = {int(uid) for line in lines for uid in re.findall(rb"FETCH \(.*?UID (\d+)", line)}
        self.gone.update(row for row in before if row.uid and row.uid not in told)

    def fetch_body(self):
        chosen = self.some(most=2)
        if not chosen:
            return
        peek = self.chance.choice((".PEEK", ""))
        prefix, which = self.address(chosen)
        by_uid = {row.uid: row for _, row in chosen}
        _, lines = self.command("%sFETCH %s (UID BODY%s[])" % (prefix, which, peek))
        for line in lines:
            body = re.search(rb"[ (]BODY\[\] \{(\d+)\}\r\n", line)
            if body:
                uid = int(re.search(rb"[ (]UID (\d+)", line).group(1))
                octets = line[body.end():body.end() + int(body.group(1))]
                ensure(octets == octets_of(by_uid[uid].ident), "BODY[] of UID %d is not %s", uid, by_uid[uid].ident)

    def store(self):
        chosen = self.some()
        if chosen:
            prefix, which = self.address(chosen)
            flags = " ".join(self.chance.sample(SYSTEM_FLAGS + ("work",), 2))
            self.command("%sSTORE %s %sFLAGS (%s)" % (prefix, which, self.chance.choice("+-"), flags))

    def replace(self):
        """Only where nobody keeps a keyword of his own."""
        chosen = self.some(lambda row: row.uid % 7 == 0)
        if chosen:
            prefix, which = self.address(chosen)
            flags = self.chance.sample(SYSTEM_FLAGS + ("work",), 2)
            self.command("%sSTORE %s FLAGS (%s)" % (prefix, which, " ".join(flags)))

    def store_mine(self):
        """Nobody else touches this keyword: from the OK on it is as we said, whoever asks."""
        chosen = self.some(lambda row: row.uid % 7 != 0)
        if not chosen:
            return
        value, silent = self.chance.random() < 0.6, self.chance.random() < 0.5
        prefix, which = self.address(chosen)
        keys = {(self.mailbox, self.validity, row.uid): row for _, row in chosen}
        for key in keys:
            self.mine[key] = None
        answer, _ = self.command("%sSTORE %s %sFLAGS%s (%s)" % (prefix, which, "+" if value else "-",
                                                               ".SILENT" if silent else "", self.keyword))
        if not answer.startswith(b"OK"):
            return
        for key, row in keys.items():
            self.mine[key] = value
            if silent and value:
                row.flags.add(self.keyword)
            elif silent:
                row.flags.discard(self.keyword)
            elif row in self.rows and (self.keyword in row.flags) != value:
                self.gone.add(row)  # it was not told, so it must be gone

    def search_mine(self):
        uids = self.chance.random() < 0.5
        before = {row.uid: row for row in self.rows if row.uid and row.flags is not None}
        have = {uid for uid, row in before.items() if self.mine.get((self.mailbox, self.validity, uid))}
        numbers = [row.uid for row in self.rows]
        found = self.find_mine("UID " if uids else "")
        ensure(len(found) == len(set(found)), "SEARCH gave twice %s", found)
        if not uids:
            ensure(all(1 <= number <= len(numbers) for number in found), "SEARCH gave %s of %d", found, len(numbers))
            found = [numbers[number - 1] for number in found]
        cleared = {uid for uid in before if self.mine.get((self.mailbox, self.validity, uid)) is False}
        self.gone.update(before[uid] for uid in have - set(found) | cleared & set(found))

    def find_mine(self, prefix):
        """What has our keyword, by one of the commands that find."""
        verb = self.chance.choice(("SEARCH", "SEARCH", "SORT", "THREAD"))
        how = {"SEARCH": "", "SORT": "(%s) UTF-8 " % self.chance.choice(("SUBJECT", "REVERSE ARRIVAL FROM", "SIZE")),
               "THREAD": "%s UTF-8 " % self.chance.choice(("REFS", "REFERENCES", "ORDEREDSUBJECT"))}[verb]
        _, lines = self.command("%s%s %sKEYWORD %s" % (prefix, verb, how, self.keyword))
        if self.rev2 and verb == "SEARCH":
            return [number for line in lines for told in re.findall(rb"\* ESEARCH .* ALL (\S+)\r", line)
                    for number in sorted(uid_set(told))]
        return [int(number) for line in lines if line.startswith(b"* %s" % verb.encode())
                for number in re.findall(rb"\d+", line)]

    def append(self):
        self.appended += 1
        ident = "%s-%d" % (self.name, self.appended)
        mailbox = self.chance.choice((self.mailbox,) + MAILBOXES)
        self.world.arrives(mailbox, ident)
        flags = self.chance.choice(("", "\\Seen", "\\Flagged \\Seen", "work"))
        answer, _ = self.command('APPEND "%s" (%s)' % (mailbox, flags), literal=octets_of(ident))
        uid = re.match(rb"OK \[APPENDUID (\d+) (\d+)\]", answer)
        ensure(uid, "APPEND was answered %r", answer)
        self.world.sees(mailbox, int(uid.group(1)), int(uid.group(2)), ident)

    def copy(self, verb="COPY"):
        chosen = self.some(most=3)
        if not chosen:
            return
        target = self.chance.choice(MAILBOXES)
        prefix, which = self.address(chosen)
        idents = {row.uid: row.ident for _, row in chosen}
        for ident in idents.values():
            self.world.arrives(target, ident)
        answer, lines = self.command('%s%s %s "%s"' % (prefix, verb, which, target))
        done = re.search(rb"COPYUID (\d+) (\S+) (\S+)\]", b"".join(lines) + answer)
        sources, targets = (uid_list(done.group(2)), uid_list(done.group(3))) if done else ([], [])
        ensure(len(sources) == len(targets) and set(sources) <= set(idents), "COPYUID %s of %s", sources, idents)
        for source, uid in zip(sources, targets):
            self.world.sees(target, int(done.group(1)), uid, idents[source])
        for source in set(idents) - set(sources):
            self.world.arrives(target, idents[source], -1)
        if answer.startswith(b"OK") and verb == "MOVE":
            left = [row.uid for row in self.rows if row.uid in sources]
            ensure(not left, "UIDs %s are moved and still there", left)

    def move(self):
        self.copy("MOVE")

    def delete(self):
        chosen = self.some(most=10)
        if chosen:
            prefix, which = self.address(chosen)
            self.command("%sSTORE %s +FLAGS (\\Deleted)" % (prefix, which))

    def expunge(self):
        """Nobody takes \\Deleted away again, except where flags are replaced."""
        deleted = [row for row in self.rows if row.flags and "\\Deleted" in row.flags and row.uid]
        if deleted and self.chance.random() < 0.4:
            deleted = self.chance.sample(deleted, 1)
            answer, _ = self.command("UID EXPUNGE %d" % deleted[0].uid)
        else:
            answer, _ = self.command("EXPUNGE")
        ensure(answer.startswith(b"OK"), "EXPUNGE was answered %r", answer)
        left = [row.uid for row in deleted if row in self.rows and row.uid % 7 != 0]
        ensure(not left, "UIDs %s had \\Deleted and are still there after EXPUNGE", left)

    def pipeline(self):
        """Several commands by number at once."""
        one, two, three = ([str(number) for number, _ in self.some(most=2)] for _ in range(3))
        if one:
            self.command("FETCH %s (UID FLAGS)" % ",".join(one), "STORE %s +FLAGS (\\Seen)" % ",".join(two),
                         "SEARCH FLAGGED", "FETCH %s (FLAGS RFC822.SIZE)" % ",".join(three))

    def status(self):
        self.command('STATUS "%s" (MESSAGES UIDNEXT UNSEEN UIDVALIDITY)' % self.chance.choice(MAILBOXES))

    def idle(self, until=None):
        self.world.event(self.name, "> IDLE")
        self.client.send(b"i IDLE\r\n")
        end = time.monotonic() + (postern.PATIENCE if until else self.chance.uniform(0.02, 0.6))
        while time.monotonic() < end and not (until and until()):
            self.client.sock.settimeout(max(0.01, min(end - time.monotonic(), 0.2)))
            try:
                self.take_idle(self.client.response())
            except TimeoutError:
                pass
        self.client.sock.settimeout(postern.PATIENCE)
        self.client.send(b"DONE\r\n")
        while not (line := self.client.response()).startswith(b"i "):
            self.take_idle(line)
        ensure(line.startswith(b"i OK"), "IDLE was answered %r", line)
        self.world.counts["IDLE"] += 1

    def take_idle(self, line):
        self.world.event(self.name, line)
        if not line.startswith(b"+"):
            self.take(line, True)

    def reselect(self):
        if self.chance.random() < 0.3:
            self.remember()
            self.select(self.chance.choice((MAILBOXES[0],) * 3 + MAILBOXES))

    def reconnect(self):
        self.remember()
        self.world.event(self.name, "> LOGOUT")
        self.client.close()
        self.connect()

    # ---- at the end of a round

    def picture(self):
        """{UID: (name, flags)} after NOOP, of the view."""
        self.noop()
        self.learn()
        return {row.uid: (row.ident, frozenset(row.flags or ())) for row in self.rows}


def uid_list(text):
    found = []
    for piece in text.decode().split(","):
        first, _, last = piece.partition(":")
        found += range(int(first), int(last or first) + 1)
    return found


def uid_set(text):
    return set(uid_list(text))


# ---- others at the Maildir -----------------------------------------------------------------------

class Deliverer:
    """An agent that knows nothing of the server: tmp, then new."""

    def __init__(self, world):
        self.world = world
        self.name = "mda"
        self.chance = random.Random("%d-mda" % world.seed)
        self.count = 0

    def deliver(self, mailbox):
        self.count += 1
        ident = "mda-%d" % self.count
        self.world.arrives(mailbox, ident)
        self.world.event(self.name, "%s into %s" % (ident, mailbox))
        octets = octets_of(ident)
        self.world.server.deliver("alice", octets if self.chance.random() < 0.3 else octets.replace(b"\r\n", b"\n"), mailbox)
        self.world.counts["delivery"] += 1

    def act(self):
        for _ in range(self.chance.choice((1, 1, 1, 4))):
            self.deliver(self.chance.choice((MAILBOXES[0],) * 3 + MAILBOXES))
        time.sleep(self.chance.uniform(0.02, 0.4))


class Reader:
    """A mail reader on the Maildir itself, as mutt is one: what it does is a rename or an unlink."""

    def __init__(self, world):
        self.world = world
        self.name = "reader"
        self.chance = random.Random("%d-reader" % world.seed)

    def act(self):
        mailbox = self.chance.choice(MAILBOXES)
        folder = pathlib.Path(self.world.server.maildir("alice", mailbox))
        place = self.chance.choice(("new", "cur", "cur", "cur"))
        names = sorted(os.listdir(folder / place))
        for name in self.chance.sample(names, min(len(names), self.chance.randint(1, 4))):
            try:
                self.touch(mailbox, folder, place, name)
            except FileNotFoundError:
                self.world.event(self.name, "%s/%s is no longer there" % (place, name))
        time.sleep(self.chance.uniform(0.0, 0.15))

    def touch(self, mailbox, folder, place, name):
        base, _, letters = name.partition(":2,")
        dice = self.chance.random()
        if place == "new" or dice < 0.7:
            letters = set(letters) ^ set(self.chance.sample("FRSD", 1)) | set("T" if dice < 0.05 else "")
            self.rename(folder / place / name, folder / "cur" / (base + ":2," + "".join(sorted(letters))))
        elif dice < 0.85:
            self.world.event(self.name, "removes %s/%s" % (mailbox, name))
            os.unlink(folder / place / name)
        else:
            self.move(mailbox, folder / place / name, base)
        self.world.counts["rename"] += 1

    def rename(self, old, new):
        self.world.event(self.name, "%s -> %s" % (old, new.name))
        os.rename(old, new)

    def move(self, mailbox, path, base):
        """To another mailbox, with a new name or the old one."""
        target = self.chance.choice([other for other in MAILBOXES if other != mailbox])
        ident = re.search(rb"^Subject: (\S+)", path.read_bytes(), re.M).group(1).decode()
        if self.chance.random() < 0.5:
            base = "%d.R%d.moved" % (time.time(), self.chance.getrandbits(60))
        self.world.arrives(target, ident)
        try:
            self.rename(path, pathlib.Path(self.world.server.maildir("alice", target)) / "cur" / (base + ":2,S"))
        except FileNotFoundError:
            self.world.arrives(target, ident, -1)
            raise


# ---- a run ---------------------------------------------------------------------------------------

class Run:
    """One server, and rounds."""

    def __init__(self, server, seed, sessions):
        self.world = World(server, seed)
        with server.session() as client:
            for mailbox in MAILBOXES:
                client.ok('CREATE "%s"' % mailbox)
        self.foreign = [Deliverer(self.world), Reader(self.world)] if server.backend == "maildir" else []
        self.sessions = [Session(self.world, number) for number in range(1, sessions + 1)]
        self.errors = []
        self.chance = random.Random(seed)

    def _work(self, actor, end):
        try:
            while time.monotonic() < end and not self.errors:
                actor.act()
        except Exception as error:  # any; told by round() with the name of its actor
            self.world.event(actor.name, "!! %s: %s" % (type(error).__name__, error))
            self.errors.append((actor.name, error))

    def round(self, seconds):
        end = time.monotonic() + seconds
        threads = [threading.Thread(target=self._work, args=(actor, end)) for actor in self.sessions + self.foreign]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.errors:
            raise self.errors[0][1]
        self.check_idle()
        self.check_pictures()

    def check_idle(self):
        """Each session that idles hears of a delivery without asking."""
        if not self.foreign:
            return
        for session in self.sessions:
            session.noop()
        self.foreign[0].deliver(MAILBOXES[0])
        for session in self.sessions:
            if session.mailbox == MAILBOXES[0]:
                before = len(session.rows)
                session.idle(until=lambda: len(session.rows) > before)  # pylint: disable=cell-var-from-loop
                ensure(len(session.rows) == before + 1, "%s idles, and has heard of %d messages",
                       session.name, len(session.rows) - before)

    def check_pictures(self):
        fresh = {}
        for mailbox in MAILBOXES:
            witness = Session(self.world, 0)
            witness.select(mailbox, "EXAMINE")
            fresh[mailbox] = witness.picture()
            witness.client.close()
            if self.foreign:
                self.check_files(mailbox, fresh[mailbox])
        for session in self.sessions:
            if self.chance.random() < 0.5:  # also from a state of earlier
                session.remember()
                session.select(session.mailbox)
            ours = session.picture()
            for uid in sorted(set(ours) | set(fresh[session.mailbox])):
                ensure(ours.get(uid) == fresh[session.mailbox].get(uid), "%s of %s: UID %s is %s, for a new session %s",
                       session.name, session.mailbox, uid, ours.get(uid), fresh[session.mailbox].get(uid))

    def check_files(self, mailbox, picture):
        """Every file is a message and every message a file."""
        folder = pathlib.Path(self.world.server.maildir("alice", mailbox))
        files = [path for place in ("new", "cur") for path in (folder / place).iterdir()]
        idents = sorted(re.search(rb"^Subject: (\S+)", path.read_bytes(), re.M).group(1).decode() for path in files)
        shown = sorted(ident for ident, _ in picture.values())
        ensure(idents == shown, "%s: only in files %s, only in the session %s", mailbox,
               sorted((collections.Counter(idents) - collections.Counter(shown)).elements()),
               sorted((collections.Counter(shown) - collections.Counter(idents)).elements()))

    def for_minutes(self, minutes):
        end = time.monotonic() + minutes * 60
        rounds = 0
        while (left := end - time.monotonic()) > 0:
            self.round(min(ROUND, max(left, 1)))
            rounds += 1
        for session in self.sessions:
            session.client.close()
        return rounds

    def report(self, error):
        return "seed %d: %s\nthe last events:\n  %s\n" % (self.world.seed, error, "\n  ".join(self.world.events))


def run(server, seed, minutes, sessions):
    """Raises Wrong, with the seed and the last events, when something is not as it must be."""
    history = Run(server, seed, sessions)
    try:
        rounds = history.for_minutes(minutes)
    except Exception as error:
        raise Wrong(history.report("%s: %s" % (type(error).__name__, error))) from error
    reports = postern.sanitizer_reports(server.log())
    ensure(not reports, "seed %d: %s", seed, "\n".join(reports))
    return rounds, history.world.counts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prefix", help="the installation (default: $POSTERN_PREFIX)")
    parser.add_argument("--seed", type=int, default=None, help="(default: of this moment)")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--sessions", type=int, default=6)
    parser.add_argument("--backend", default="maildir")
    options = parser.parse_args()
    seed = int(time.time()) if options.seed is None else options.seed
    print("seed %d" % seed, flush=True)
    server = postern.Instance(backend=options.backend, users=("alice",), settings=SETTINGS,
                              installation=postern.Installation(options.prefix))
    with server:
        try:
            rounds, counts = run(server, seed, options.minutes, options.sessions)
        except Wrong as error:
            sys.stdout.write("%s\nthe server's log:\n%s\n" % (error, server.log_tail()))
            return 1
    print("%d rounds: %s" % (rounds, ", ".join("%d %s" % (count, what) for what, count in counts.most_common())))
    return 0


SETTINGS = "limits { connections_per_address = 0 auth_failures_per_minute = 10000 }"

if __name__ == "__main__":
    sys.exit(main())
