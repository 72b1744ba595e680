# SPDX-License-Identifier: MIT
"""What was said and what was done: for each mailbox, and for the next host, what a server must show after its end."""

import collections
import re
import threading

DOMAIN = "example.test"
TOKEN = re.compile(rb"^X-Token: ([a-z0-9]+-\d+-\d+)\r\n", re.M)


class Broken(Exception):
    """A promise is broken."""


def made(token, size):
    """The message of that token, the same each time: what is cut short or mixed up does not equal it."""
    head = ("From: sender@%s\r\nTo: all@example.org\r\nSubject: %s\r\nDate: Mon, 02 Mar 2026 08:30:00 +0100\r\n"
            "Message-ID: <%s@%s>\r\nX-Token: %s-%d\r\n\r\n" % (DOMAIN, token, token, DOMAIN, token, size))
    line = "%s %s" % (token, "x" * 40)
    lines = ["%s %d" % (line, number) for number in range(size // 60)]
    return (head + "\r\n".join(lines + ["end of " + token, ""])).encode()


def token_of(octets):
    """The token of a message as it was found, which must be whole but for what servers put on top."""
    found = TOKEN.search(octets)
    if not found:
        raise Broken("a message of nobody: %r" % octets[:300])
    token, _, size = found.group(1).decode().rpartition("-")
    if not octets.endswith(made(token, int(size))):
        raise Broken("%s has not the octets that were sent: %r ... %r" % (token, octets[:200], octets[-200:]))
    return token


class Arrivals:
    """Where messages arrive: which may have come, which were answered with 250, which were taken away, and which a command takes away
    that was not answered."""

    def __init__(self, name):
        self.name = name
        self._lock = threading.Lock()
        self.maybe, self.said, self.gone, self.leaving = set(), set(), set(), set()

    def sending(self, token):
        with self._lock:
            self.maybe.add(token)

    def accepted(self, token):
        with self._lock:
            self.said.add(token)

    def staying(self):
        with self._lock:
            return self.said - self.gone - self.leaving

    def leaves(self, tokens):
        with self._lock:
            self.leaving |= set(tokens)

    def left(self):
        with self._lock:
            self.gone |= self.leaving
            self.leaving = set()

    def check(self, tokens):
        """`tokens`: of all that is there, when nothing is under way."""
        there, counts = set(tokens), collections.Counter(tokens)
        for what, wrong in (("lost", self.staying() - there),
                            ("doubled", {token for token, count in counts.items() if count > 1}),
                            ("back after it was removed", self.gone & there),
                            ("of nobody", there - self.maybe)):
            if wrong:
                raise Broken("%s: %s: %s" % (self.name, what, ", ".join(sorted(wrong)[:10])))
        self.seen(there)

    def seen(self, tokens):
        """What was to leave is there still or is gone."""
        with self._lock:
            self.gone |= self.leaving - set(tokens)
            self.leaving = set()


class Kills:
    """When what could send was killed. A message may be sent twice only when that is between its copies: the 250 of the next
    host was not noted yet. Of so many at a time can that be true as there are attempts at a time."""

    def __init__(self, attempts):
        self.attempts = attempts
        self.times = []  # (before, after), monotonic

    def between(self, one, other):
        return next((kill for kill in self.times if one <= kill[1] and kill[0] <= other), None)

    def check(self, copies):
        """`copies`: {token: [when each began]}. Gives how many there are too many."""
        doubled = collections.Counter()
        for token, times in copies.items():
            for one, other in zip(sorted(times), sorted(times)[1:]):
                kill = self.between(one, other)
                if not kill:
                    raise Broken("the next host got %s twice, and nothing was killed in between" % token)
                doubled[kill] += 1
        if doubled and max(doubled.values()) > self.attempts:
            raise Broken("after one kill the next host got %d messages twice; %d were under way at most"
                         % (max(doubled.values()), self.attempts))
        return sum(doubled.values())


class Mailbox:
    """A mailbox as its only client knows it."""

    def __init__(self):
        self.rows = {}  # uid: (token, set of flags)
        self.modseqs = {}  # uid: what was told
        self.uidvalidity = None
        self.uidnext = 1
        self.modseq = 0

    def told(self, uid=None, modseq=None, uidnext=None):
        if uid:
            self.uidnext = max(self.uidnext, uid + 1)
        if uid and modseq:
            self.modseqs[uid] = max(self.modseqs.get(uid, 0), modseq)
        self.modseq = max(self.modseq, modseq or 0)
        self.uidnext = max(self.uidnext, uidnext or 0)

    def check_numbers(self, name, view):
        """What is shown, against what was ever told."""
        for what, was, is_now in (("UIDNEXT", self.uidnext, view.uidnext), ("HIGHESTMODSEQ", self.modseq, view.modseq)):
            if is_now < was:
                raise Broken("%s: %s is %d, and %d was told" % (name, what, is_now, was))
        if self.uidvalidity not in (None, view.uidvalidity):
            raise Broken("%s: UIDVALIDITY was %d and is %d" % (name, self.uidvalidity, view.uidvalidity))
        for uid, (token, _) in view.rows.items():
            if uid in self.rows and self.rows[uid][0] != token:
                raise Broken("%s: UID %d was %s and is %s" % (name, uid, self.rows[uid][0], token))
            if uid not in self.rows and uid < self.uidnext:
                raise Broken("%s: UID %d, below UIDNEXT %d, is %s all of a sudden" % (name, uid, self.uidnext, token))
            if not self.modseqs.get(uid, 0) <= view.modseqs[uid] <= view.modseq:
                raise Broken("%s: UID %d has MODSEQ %d; %d was told of it, and HIGHESTMODSEQ is %d"
                             % (name, uid, view.modseqs[uid], self.modseqs.get(uid, 0), view.modseq))
        self.uidvalidity, self.uidnext, self.modseq = view.uidvalidity, view.uidnext, view.modseq
        self.modseqs = dict(view.modseqs)
