#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A server under mixed load for a long time: whether it stays right, and its memory and descriptors the same.

    soak.py --prefix DIR [--backend NAME]... [--minutes N] [--sessions N] [--pace SECONDS] [--stock N] [--seed N]

Sessions of IMAP, POP3, LMTP, SMTP and submission, each of which knows what it must see; nobody is killed, so any answer but the
expected one is a finding. README.md says more.
"""

import argparse
import collections
import concurrent.futures
import os
import pathlib
import random
import re
import statistics
import sys
import threading
import time

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "crash"), str(HERE.parent / "functional")]
import crowd  # noqa: E402
import drivers  # noqa: E402
import gauge  # noqa: E402
import journal  # noqa: E402
import postern  # noqa: E402

BACKENDS = ("maildir", "lmdb", "mbox")
GROWTH = 1.05  # between the first and the last five minutes that count
ROOM = 512  # KiB that a role may grow by in any case: a page here and there of a small process
SETTLED = 5 * 60  # seconds: caches are full, and stores open
WINDOW = 2 * 60  # seconds of which the median counts, after that and at the end

SETTINGS = """
plaintext_without_tls = yes
front_processes = 2
mail_processes = 2
limits { connections_per_address = 0 auth_failures_per_minute = 100000 user_messages_per_hour = 0 user_messages_per_day = 0
	user_recipients_per_day = 0 preauth_timeout = 10m tls_handshake_timeout = 10m }
"""


class Steady:
    """Before a driver of ../crash: nothing may go wrong, and it takes its time."""

    def rest(self):
        self._stop.wait(min(self.chance.expovariate(1 / self.site.pace), 120))

    def interrupted(self, error):
        if not self._stop.is_set():
            self.site.found("%s %s: %s: %s" % (type(self).__name__, self.name, type(error).__name__, error))
        self.lost()
        self._stop.wait(1)


class Sender(Steady, drivers.Sender):
    pass


class Reader(Steady, drivers.Reader):
    pass


class Person(Steady, drivers.Person):
    """Comes again now and then, and compares all that there is."""

    def connect(self):
        self.client = self.site.server.connect(tls=self.chance.random() < 0.5, context=self.site.context)
        self.client.greeting()
        self.say("LOGIN %s %s" % (self.name, postern.PASSWORD))
        if not any(line.startswith(b"* LIST") for line in self.say('LIST "" Kept')):
            self.say("CREATE Kept")

    def act(self):
        if self.client and self.chance.random() < 0.03:
            self.say("LOGOUT")
            self.lost()
        super().act()


class Collector(Steady, drivers.Driver):
    """IMAP: finds what senders were told is there, and removes half of it."""

    def __init__(self, site, name, chance, arrivals):
        super().__init__(site, name, chance)
        self.arrivals, self.client = arrivals, None

    def lost(self):
        if self.client:
            self.client.close()
        self.client = None

    def act(self):
        if not self.client:
            self.client = self.site.server.connect(tls=True, context=self.site.context)
            self.client.greeting()
            self.client.ok("LOGIN %s %s" % (self.name, postern.PASSWORD))
        before = self.arrivals.staying()
        rows = drivers.View(self.client, "INBOX").rows
        missing = before - {token for token, _ in rows.values()}
        if missing:
            raise journal.Broken("%s: not there: %s" % (self.name, ", ".join(sorted(missing)[:10])))
        chosen = [uid for uid in rows if self.chance.random() < 0.5]
        if chosen:
            self.arrivals.leaves(rows[uid][0] for uid in chosen)
            self.client.ok("UID STORE %s +FLAGS.SILENT (\\Deleted)" % drivers.set_of(chosen))
            self.client.ok("UID EXPUNGE " + drivers.set_of(chosen))
            self.arrivals.left()
            self.changes += len(chosen)


class Watcher(Steady, drivers.Driver):
    """IMAP: IDLE, and keeps what it is told of messages and flags, which must be what a look at it says."""

    LAWFUL = {b"\\Answered", b"\\Deleted", b"\\Draft", b"\\Flagged", b"\\Seen", b"\\Recent", b"$Later", b"Red"}

    def __init__(self, site, name, chance):
        super().__init__(site, name, chance)
        self.client, self.count, self.tag = None, 0, 0

    def lost(self):
        if self.client:
            self.client.close()
        self.client = None

    def hear(self, lines):
        for line in lines:
            if line.endswith(b" EXISTS\r\n"):
                count = int(line.split()[1])
                if count < self.count:
                    raise journal.Broken("%s: EXISTS %d after %d, with no EXPUNGE" % (self.name, count, self.count))
                self.count = count
            elif line.endswith(b" EXPUNGE\r\n"):
                number = int(line.split()[1])
                if not 1 <= number <= self.count:
                    raise journal.Broken("%s: EXPUNGE %d of %d" % (self.name, number, self.count))
                self.count -= 1
            elif flags := re.search(rb"FLAGS \(([^)]*)\)", line):
                unlawful = set(flags.group(1).split()) - self.LAWFUL
                if unlawful and b" FETCH " in line:
                    raise journal.Broken("%s: flags of nobody: %r" % (self.name, unlawful))

    def command(self, text):
        lines, tagged = self.client.command(text)
        if not tagged.startswith(b"OK"):
            raise drivers.Refused(text, tagged)
        self.hear(lines)
        return lines

    def connect(self):
        self.client = self.site.server.connect(tls=self.chance.random() < 0.5, context=self.site.context)
        self.client.greeting()
        self.command("LOGIN %s %s" % (self.name, postern.PASSWORD))
        self.count = 0
        self.command("SELECT INBOX")

    def act(self):
        if not self.client:
            self.connect()
        self.client.send(b"i%d IDLE\r\n" % self.tag)
        if not self.client.line().startswith(b"+"):
            raise drivers.Refused("IDLE")
        self._stop.wait(self.chance.uniform(2, 6) * self.site.pace)
        self.client.send(b"DONE\r\n")
        lines, tagged = self.client.finish(b"i%d" % self.tag)
        self.tag += 1
        self.hear(lines)
        seen = [line for line in self.command("FETCH 1:* (UID FLAGS)") if b" FETCH (" in line] if self.count else []
        # What has come meanwhile may be told after the rows.
        if len({line.split()[1] for line in seen if b"UID" in line}) > self.count or not tagged.startswith(b"OK"):
            raise journal.Broken("%s: %d rows of %d messages" % (self.name, len(seen), self.count))
        self.changes += 1


class Site:
    """A server, its clients, and what they found."""

    believes_early = False

    def __init__(self, backend, sessions, pace, seed):
        self.chance, self.pace = random.Random(seed), pace
        self.context = postern.authority().client_context()
        self.findings = []
        self._lock = threading.Lock()
        groups = max(sessions // 10, 1)
        self.names = [kind + str(number) for number in range(groups) for kind in "prw"]
        self.server = postern.Instance(backend=backend, users=self.names, settings=SETTINGS)
        self.boxes, self.clients = {}, []
        for number in range(groups):
            self.add_group(str(number))

    def found(self, text):
        with self._lock:
            self.findings.append(text)

    def add_group(self, number):
        """Ten sessions: of a person, of one who only gets mail, and of one who reads by POP3."""
        person, reader, getter = "p" + number, "r" + number, "w" + number
        for name in (reader, getter):
            self.boxes[name] = journal.Arrivals(name)
        to = {"%s@%s" % (getter, postern.DOMAIN): self.boxes[getter]}

        def chance():
            return random.Random(self.chance.random())

        self.clients += [
            Person(self, person, chance()),
            Reader(self, reader, chance(), self.boxes[reader]),
            Collector(self, getter, chance(), self.boxes[getter]),
            *(Sender(self, "%s%d" % (getter, way), chance(), kind, to, user)
              for way, (kind, user) in enumerate((("smtp", None), ("lmtp", None), ("submission", person)))),
            *(Watcher(self, name, chance()) for name in (person, person, getter, getter))]

    def stock(self, doublings):
        """Each user has mail before the first session comes, as users have: 2 ** doublings messages, in a mailbox that nobody looks into."""
        def fill(name):
            with self.server.connect() as client:
                client.greeting()
                for command in ("LOGIN %s %s" % (name, postern.PASSWORD), "CREATE Stock"):
                    client.ok(command)
                client.append(postern.message(), mailbox="Stock")
                for command in ("SELECT Stock", *["COPY 1:* Stock"] * doublings):
                    client.ok(command)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(fill, self.names))

    def begin(self):
        """Not all at once: each begins with a rest."""
        for client in self.clients:
            client.begin()
            time.sleep(min(self.pace / len(self.clients), 0.05))

    def end(self):
        for client in self.clients:
            client.stop()
        for client in self.clients:
            self.try_to(client.end)

    def last_look(self):
        """Nothing is under way any more."""
        for name, arrivals in self.boxes.items():
            self.try_to(self.look_into, name, arrivals)
        for client in self.clients:
            if isinstance(client, Person):
                self.try_to(client.check)

    def look_into(self, name, arrivals):
        with self.server.session(name) as client:
            arrivals.check(drivers.View(client, "INBOX").tokens())

    def try_to(self, act, *args):
        try:
            act(*args)
        except Exception as error:  # whatever it is, it was not to be
            self.found("%s: %s" % (type(error).__name__, error))

    def look_at_log(self):
        """What the server itself found wrong."""
        for line in self.server.log().splitlines():
            if "level=error" in line or "event=role_died" in line:
                self.found(line)


class Memory:
    """Samples of each role, and whether they grew."""

    def __init__(self):
        self.began = time.monotonic()
        self.samples = collections.defaultdict(list)  # role: [(seconds, Gauge)]

    def sample(self, server):
        for role, one in gauge.by_role(server).items():
            self.samples[role].append((time.monotonic() - self.began, one))

    def between(self, role, what, begin, end):
        """The median of then."""
        return statistics.median([getattr(one, what) for at, one in self.samples[role] if begin <= at <= end] or [0])

    def judge(self, found, say):
        length = max(at for samples in self.samples.values() for at, _ in samples)
        settled, window = (SETTLED, WINDOW) if length > 2 * SETTLED else (length / 3, length / 6)
        for role in self.samples:
            told = []
            for what, room in (("own", ROOM), ("pss", ROOM), ("descriptors", 10)):
                first = self.between(role, what, settled, settled + window)
                last = self.between(role, what, length - window, length)
                told.append("%s %d, then %d" % (what, first, last))
                if length > 2 * SETTLED and what != "pss" and last > max(first * GROWTH, first + room):
                    found("%s: %s grew from %d to %d" % (role, what, first, last))
            say("  %-6s %s" % (role, "; ".join(told)))


def soak(backend, minutes, sessions, pace, seed, say, stock=0):
    """Gives what it found."""
    site, memory = Site(backend, sessions, pace, seed), None
    with site.server:
        if stock:
            site.stock(stock)
            site.server.stop()
            site.server.start()
        site.begin()
        memory = Memory()
        end = time.monotonic() + minutes * 60
        reload_at = time.monotonic() + 300
        while time.monotonic() < end and len(site.findings) < 100:
            memory.sample(site.server)
            if time.monotonic() > reload_at:
                site.server.reload()
                reload_at += 300
            time.sleep(min(5, minutes * 6))
        site.end()
        site.last_look()
        site.look_at_log()
        changes = collections.Counter()
        for client in site.clients:
            changes[type(client).__name__] += client.changes
        say("%s: %.1f minutes, %d sessions, %s; seed %d" % (backend, minutes, len(site.clients),
            ", ".join("%s %d" % change for change in sorted(changes.items())), seed))
        memory.judge(site.found, say)
    say("  %d findings" % len(site.findings))
    return site.findings


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prefix", help="the installation (default: $POSTERN_PREFIX)")
    parser.add_argument("--backend", action="append", help="default: %s" % ", ".join(BACKENDS))
    parser.add_argument("--minutes", type=float, default=30, help="of each backend")
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--pace", type=float, default=10, help="seconds from one act of a session to its next, about")
    parser.add_argument("--stock", type=int, default=7, help="what each user has at the beginning: 2 to the power of this messages; 0: nothing")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    if options.prefix:
        os.environ["POSTERN_PREFIX"] = os.path.abspath(options.prefix)
    crowd.room_for_descriptors()
    threading.stack_size(512 * 1024)
    print("seed %d" % options.seed, flush=True)
    findings = []
    for backend in options.backend or BACKENDS:
        findings += soak(backend, options.minutes, options.sessions, options.pace, options.seed,
                         lambda text: print(text, flush=True), options.stock)
    for finding in findings[:50]:
        print("FINDING: " + finding, flush=True)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
