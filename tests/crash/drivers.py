# SPDX-License-Identifier: MIT
"""Clients that go on until they are stopped, whatever happens to the server, and write down what it said. Each has a thread."""

import collections
import os
import re
import shutil
import signal
import smtplib
import ssl
import subprocess
import threading
import time

import postern
from journal import Broken, Mailbox, made, token_of

GONE = (OSError, EOFError, postern.Closed, smtplib.SMTPException)


class Refused(Exception):
    """The server says that it cannot just now."""


class Driver:
    """`act` does one thing. When the connection ends, `lost` forgets it, and the next act makes another."""

    def __init__(self, site, name, chance):
        self.site, self.name, self.chance = site, name, chance
        self.count = 0
        self.changes = 0  # that were acknowledged
        self.wrong = None
        self._stop = threading.Event()
        self._thread = None

    def token(self):
        self.count += 1
        return "%s-%d" % (self.name, self.count)

    def size(self):
        return self.chance.choice((300, 1000, 3000, 10000)) if self.chance.random() < 0.97 else 300000

    def begin(self):
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._drive)
        self._thread.start()

    def stop(self):
        self._stop.set()

    def end(self):
        self._thread.join()
        self.lost()
        if self.wrong:
            raise self.wrong

    def _drive(self):
        while not self._stop.is_set():
            try:
                self.act()
                self.rest()
            except (*GONE, Refused) as error:
                self.interrupted(error)
            except Exception as error:  # told by end()
                self.wrong = error
                return

    def rest(self):
        """Between two acts."""

    def interrupted(self, _error):
        """The server has gone, or cannot just now: so it is here, now and then."""
        self.lost()
        time.sleep(0.02)


class Sender(Driver):
    """SMTP, submission, LMTP: a message to some of `recipients`, {address: where it arrives}."""

    def __init__(self, site, name, chance, kind, recipients, user=None):
        super().__init__(site, name, chance)
        self.kind, self.recipients, self.user = kind, recipients, user
        self.sender = "%s@%s" % (user, postern.DOMAIN) if user else "joe@example.com"
        self.client = None

    def lost(self):
        if self.client:
            self.client.close()
        self.client = None

    def connect(self):
        make = smtplib.LMTP if self.kind == "lmtp" else smtplib.SMTP
        self.client = make("127.0.0.1", self.site.server.ports[self.kind], timeout=postern.PATIENCE)
        if self.user:
            self.client.starttls(context=ssl.create_default_context(cafile=postern.authority().ca))
            self.client.login(self.user, postern.PASSWORD)
        self.client.ehlo_or_helo_if_needed()

    def act(self):
        if not self.client:
            self.connect()
        chosen = [one for one in self.recipients if self.chance.random() < 0.7] or list(self.recipients)[:1]
        token, size = self.token(), self.size()
        self.expect(self.client.mail(self.sender), 250)
        taken = []
        for recipient in chosen:
            code = self.client.rcpt(recipient)[0]
            if code == 250:
                taken.append(recipient)
            elif code // 100 == 5:
                raise Broken("%s was refused for ever: %d" % (recipient, code))
        if not taken:
            raise Refused
        for recipient in taken:
            self.recipients[recipient].sending(token)
        self.client.putcmd("DATA")
        self.expect(self.client.getreply(), 354)
        self.client.send(made(token, size) + b".\r\n")
        self.answers(token, taken)

    def expect(self, reply, code):
        if reply[0] != code:
            raise Refused

    def answers(self, token, taken):
        """One for all; LMTP: one for each."""
        if self.site.believes_early:
            for recipient in taken:
                self.recipients[recipient].accepted(token)
        groups = [[one] for one in taken] if self.kind == "lmtp" else [taken]
        for group in groups:
            code = self.client.getreply()[0]
            if code // 100 == 5:
                raise Broken("%s was refused for ever: %d" % (token, code))
            if code == 250:
                self.changes += 1
                for recipient in group:
                    self.recipients[recipient].accepted(token)


class Reader(Driver):
    """POP3: puts messages into a mailbox by LMTP, reads them, and takes half of them away."""

    def __init__(self, site, name, chance, arrivals):
        super().__init__(site, name, chance)
        self.arrivals = arrivals
        address = "%s@%s" % (arrivals.name, postern.DOMAIN)
        self.sender = Sender(site, name, chance, "lmtp", {address: arrivals})
        self.client = None
        self.ids = {}  # token: unique-id

    def lost(self):
        self.sender.lost()
        if self.client:
            self.client.close()
        self.client = None

    def say(self, text):
        self.client.send(text.encode() + b"\r\n")
        line = self.client.line()
        if not line.startswith(b"+OK"):
            raise Refused(text, line)
        return line

    def lines(self):
        """Up to the dot, as they came before they were stuffed."""
        found = []
        while (line := self.client.line()) != b".\r\n":
            found.append(line[1:] if line.startswith(b".") else line)
        return found

    def act(self):
        for _ in range(self.chance.randrange(1, 4)):
            self.sender.act()
        self.client = self.site.server.connect(protocol="pop3")
        self.client.line()
        self.say("USER " + self.arrivals.name)
        self.say("PASS " + postern.PASSWORD)
        self.say("UIDL")
        ids = dict(line.split() for line in self.lines())
        there = {}
        for number, unique in ids.items():
            self.say("RETR " + number.decode())
            token = there[number] = token_of(b"".join(self.lines()))
            if self.ids.setdefault(token, unique) != unique:
                raise Broken("%s had the unique-id %r and has %r" % (token, self.ids[token], unique))
        self.arrivals.seen(there.values())
        chosen = [number for number in there if self.chance.random() < 0.5]
        for number in chosen:
            self.say("DELE " + number.decode())
        self.arrivals.leaves(there[number] for number in chosen)
        self.say("QUIT")
        self.arrivals.left()
        self.changes += len(chosen)
        self.lost()


class Command(Driver):
    """Runs `postern`, again and again; the command dies with the server."""

    def __init__(self, site, name, chance):
        super().__init__(site, name, chance)
        self._process = None

    def lost(self):
        pass

    def kill(self):
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def command(self, *arguments):
        return (self.site.server.installation.path("bin/postern"), "--config", self.site.server.config, *arguments)

    def run(self, *arguments):
        """Its exit status and what it complained of; the status is None when it died, or when the server did meanwhile."""
        self._process = subprocess.Popen(self.command(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                         env=self.site.environment)
        _, errors = self._process.communicate()
        status = self._process.returncode
        died = status == -signal.SIGKILL or (status != 0 and self._stop.is_set())
        return None if died else status, errors.decode()


class Copier(Command):
    """`postern sync` of a user's mail to a Maildir."""

    def __init__(self, site, name, chance, arrivals, target):
        super().__init__(site, name, chance)
        self.arrivals, self.target = arrivals, target
        self.synced = set()  # what was there before a sync that went well

    def sync(self, *options):
        """What a power cut leaves of the copy's index is made anew, and looks like others' changes: hence by force."""
        if self.site.disk:
            options += ("--force",)
        return ("sync", *options, self.arrivals.name, "maildir:" + self.target)

    def copy(self, *options):
        """UIDs that a power cut left reserved in the copy, without their messages, cannot be given again: it is begun anew."""
        status, errors = self.run(*self.sync(*options))
        if self.site.disk and status != 0 and "begin with an empty target" in errors:
            self.synced = set()
            for name in os.listdir(self.target):
                path = os.path.join(self.target, name)
                shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
            status, errors = self.run(*self.sync(*options))
        return status, errors

    def act(self):
        before = self.arrivals.staying()
        if not before:
            raise Refused("there may be no source yet: it is made by the first delivery")
        status, errors = self.copy()
        if status == 0:
            self.synced |= before
            self.changes += 1
        elif status is not None:
            raise Broken("postern sync: %s" % errors)

    def tokens(self):
        found = []
        for folder in ("cur", "new"):
            path = os.path.join(self.target, folder)
            for name in os.listdir(path) if os.path.isdir(path) else ():
                with open(os.path.join(path, name), "rb") as file:
                    found.append(token_of(file.read().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")))
        return found

    def check(self, there):
        """The copy has what was copied, and after one more sync what is there."""
        missing = self.synced - set(self.tokens())
        if missing:
            raise Broken("lost in the copy: " + ", ".join(sorted(missing)[:10]))
        status, errors = self.copy("--verify")
        found = self.tokens()
        if status != 0 or sorted(found) != sorted(there):
            raise Broken("the copy differs: %s\n%s\n%s" % (sorted(found), sorted(there), errors))
        self.synced = set()


class Switcher(Command):
    """`postern storage switch`: a user's mail goes to other backends and back, while its owner works in it."""

    def __init__(self, site, name, chance, user, backends):
        super().__init__(site, name, chance)
        self.user, self.backends = user, backends

    def act(self):
        where = self.chance.choice([("--to", backend) for backend in self.backends] + [("--undo",), ("--purge",)])
        status, _ = self.run("storage", "switch", *where, self.user)
        if status == 0:
            self.changes += 1
        self._stop.wait(self.chance.uniform(0, 0.5))  # or its owner would do nothing else than follow


def number_in(pattern, octets):
    found = re.search(pattern, octets)
    return int(found.group(1)) if found else None


def uids_in(pattern, octets):
    """Those of a set such as 3:5,7."""
    found, match = [], re.search(pattern, octets)
    for part in match.group(1).decode().split(",") if match else ():
        first, _, last = part.partition(":")
        found += range(int(first), int(last or first) + 1)
    return found


def answered(client, text):
    """All that was answered to a command, which was done. On a disk that has died it is not."""
    lines, tagged = client.command(text)
    if not tagged.startswith(b"OK"):
        raise Refused(text, tagged)
    return lines + [tagged]


class View:
    """What a mailbox shows: its numbers, and its messages, each of which is whole."""

    def __init__(self, client, box):
        told = b"".join(answered(client, "SELECT %s (CONDSTORE)" % box))
        self.uidvalidity = number_in(rb"UIDVALIDITY (\d+)", told)
        self.uidnext = number_in(rb"UIDNEXT (\d+)", told)
        self.modseq = number_in(rb"HIGHESTMODSEQ (\d+)", told)
        self.rows, self.modseqs = {}, {}  # by UID: (token, flags), and MODSEQ
        for row in answered(client, "UID FETCH 1:* (UID FLAGS MODSEQ BODY.PEEK[])")[:-1]:
            if b"BODY[]" not in row:
                continue  # of what others do meanwhile
            size, _, rest = row.partition(b"{")[2].partition(b"}\r\n")
            items = row.partition(b"{")[0] + rest[int(size):]
            uid = number_in(rb"[( ]UID (\d+)", items)
            flags = re.search(rb"FLAGS \(([^)]*)\)", items).group(1).decode().split()
            self.rows[uid] = (token_of(rest[:int(size)]), set(flags) - {"\\Recent"})
            self.modseqs[uid] = number_in(rb"MODSEQ \((\d+)\)", items)

    def tokens(self):
        return [token for token, _ in self.rows.values()]


class Person(Driver):
    """IMAP: changes two mailboxes that nobody else changes. `doing` does to `boxes` what a command under way may have done; the
    messages that it makes have no UIDs then."""

    BOXES = ("INBOX", "Kept")
    FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "$Later", "Red")
    MOST = 30

    def __init__(self, site, name, chance):
        super().__init__(site, name, chance)
        self.boxes = {box: Mailbox() for box in self.BOXES}
        self.client = None
        self.selected = None
        self.doing = None
        self._without_uid = 0

    def lost(self):
        if self.client:
            self.client.close()
        self.client = None

    def say(self, text):
        return answered(self.client, text)

    def connect(self):
        self.client = self.site.server.connect()
        self.client.greeting()
        self.say("LOGIN %s %s" % (self.name, postern.PASSWORD))
        if not any(line.startswith(b"* LIST") for line in self.say('LIST "" Kept')):
            self.say("CREATE Kept")

    def select(self, box):
        told = b"".join(self.say("SELECT %s (CONDSTORE)" % box))
        self.selected = box
        self.boxes[box].told(modseq=number_in(rb"HIGHESTMODSEQ (\d+)", told), uidnext=number_in(rb"UIDNEXT (\d+)", told))

    def act(self):
        if not self.client:
            self.connect()
            self.settle()
            self.select(self.BOXES[0])
        if self.chance.random() < 0.1:
            self.select(self.chance.choice(self.BOXES))
        uids = sorted(self.boxes[self.selected].rows)
        some = [uid for uid in uids if self.chance.random() < 0.2] or uids[:1]
        if len(uids) > self.MOST:
            self.expunge(uids[:-self.MOST // 2])
        elif not some or self.chance.random() < 0.3:
            self.append()
        else:
            self.chance.choice((self.store, self.store, self.copy, self.move, self.expunge))(some)

    # ---- what can be done

    def change(self, send, then):
        """`send` gives the responses; then(all that they say, or nothing) does it to `boxes`."""
        self.doing = then
        lines = send()
        then(b"".join(lines))
        self.doing = None
        self.changes += 1
        for line in lines:
            uid, modseq = number_in(rb"[( ]UID (\d+)", line), number_in(rb"MODSEQ \((\d+)\)", line)
            self.boxes[self.selected].told(uid=uid, modseq=modseq)

    def put(self, box, row, uid):
        self._without_uid -= 1
        self.boxes[box].rows[uid or self._without_uid] = (row[0], set(row[1]))
        self.boxes[box].told(uid=uid)

    def append(self):
        token, flags = self.token(), {flag for flag in self.FLAGS if self.chance.random() < 0.2}
        octets, box = made(token, self.size()), self.chance.choice(self.BOXES)

        def send():
            tagged = self.client.append(octets, box, " ".join(sorted(flags)))
            if isinstance(tagged, bytes) and tagged.startswith(b"OK"):
                return [tagged]
            raise Refused("APPEND", tagged)

        self.change(send, lambda told: self.put(box, (token, flags), number_in(rb"APPENDUID \d+ (\d+)", told)))

    def store(self, uids, flag=None, add=True):
        if not flag:
            flag, add = self.chance.choice(self.FLAGS), self.chance.random() < 0.6
        rows = self.boxes[self.selected].rows

        def then(_):
            for uid in uids:
                (rows[uid][1].add if add else rows[uid][1].discard)(flag)

        self.change(lambda: self.say("UID STORE %s %sFLAGS (%s)" % (set_of(uids), "+" if add else "-", flag)), then)

    def copy(self, uids, verb="COPY"):
        target = self.BOXES[self.BOXES.index(self.selected) - 1]
        rows = self.boxes[self.selected].rows

        def then(told):
            copies = uids_in(rb"COPYUID \d+ \S+ ([0-9,:]+)", told) or [None] * len(uids)
            for uid, copy in zip(uids, copies):
                self.put(target, rows[uid], copy)
                if verb == "MOVE":
                    del rows[uid]

        self.change(lambda: self.say("UID %s %s %s" % (verb, set_of(uids), target)), then)

    def move(self, uids):
        self.copy(uids, "MOVE")

    def expunge(self, uids):
        rows = self.boxes[self.selected].rows

        def then(_):
            for uid in uids:
                del rows[uid]

        self.store(uids, "\\Deleted")
        self.change(lambda: self.say("UID EXPUNGE " + set_of(uids)), then)

    # ---- what became of it

    def settle(self):
        """What is there now is what was answered with OK, and of the command that was under way all or nothing."""
        views = {box: View(self.client, box) for box in self.BOXES}
        for box, view in views.items():
            self.boxes[box].check_numbers("%s/%s" % (self.name, box), view)
        lawful = [self.content()]
        if self.doing:
            self.doing(b"")
            lawful.append(self.content())
        if [content_of(view.rows) for view in views.values()] not in lawful:
            raise Broken("%s: there is %s; lawful is %s" % (self.name, [view.rows for view in views.values()], lawful))
        for box, view in views.items():
            self.boxes[box].rows = view.rows
        self.doing = None

    def content(self):
        return [content_of(mailbox.rows) for mailbox in self.boxes.values()]

    def check(self):
        self.connect()
        self.settle()
        self.lost()


class Gardener(Driver):
    """IMAP: makes, renames, removes and subscribes to mailboxes, a tree of them, and puts messages into them. `is_now` and, of the
    command under way, `next` are ({mailbox: tokens}, the names subscribed to)."""

    MOST = 6

    def __init__(self, site, name, chance):
        super().__init__(site, name, chance)
        self.client = None
        self.is_now, self.next = ({}, frozenset()), None

    def lost(self):
        if self.client:
            self.client.close()
        self.client = None

    def say(self, text):
        return answered(self.client, text)

    def connect(self):
        self.client = self.site.server.connect()
        self.client.greeting()
        self.say("LOGIN %s %s" % (self.name, postern.PASSWORD))

    def act(self):
        if not self.client:
            self.connect()
            self.settle()
        boxes, subscribed = self.is_now
        if len(boxes) > self.MOST:
            self.delete(dict(boxes), subscribed)
        elif not boxes or self.chance.random() < 0.2:
            self.create(dict(boxes), subscribed)
        else:
            self.chance.choice((self.put, self.put, self.rename, self.delete, self.subscribe))(dict(boxes), subscribed)

    def change(self, send, boxes, subscribed):
        self.next = (boxes, subscribed)
        send()
        self.is_now, self.next = self.next, None
        self.changes += 1

    def fresh(self):
        self.count += 1
        return "g%d" % self.count

    def create(self, boxes, subscribed):
        name = self.fresh()
        tops = [one for one in boxes if "/" not in one]
        if tops and self.chance.random() < 0.5:
            name = self.chance.choice(tops) + "/" + name
        boxes[name] = ()
        self.change(lambda: self.say("CREATE " + name), boxes, subscribed)

    def put(self, boxes, subscribed):
        name, token = self.chance.choice(sorted(boxes)), self.token()

        def send():
            tagged = self.client.append(made(token, 300), name)
            if not isinstance(tagged, bytes) or not tagged.startswith(b"OK"):
                raise Refused("APPEND", tagged)

        boxes[name] += (token,)
        self.change(send, boxes, subscribed)

    def rename(self, boxes, subscribed):
        name, new = self.chance.choice([one for one in sorted(boxes) if "/" not in one]), self.fresh()
        moved = {new + one[len(name):] if one == name or one.startswith(name + "/") else one: tokens for one, tokens in boxes.items()}
        self.change(lambda: self.say("RENAME %s %s" % (name, new)), moved, subscribed)

    def delete(self, boxes, subscribed):
        name = self.chance.choice([one for one in sorted(boxes) if not any(other.startswith(one + "/") for other in boxes)])
        del boxes[name]
        self.change(lambda: self.say("DELETE " + name), boxes, subscribed)

    def subscribe(self, boxes, subscribed):
        name = self.chance.choice(sorted(boxes))
        verb = "UNSUBSCRIBE" if name in subscribed else "SUBSCRIBE"
        self.change(lambda: self.say("%s %s" % (verb, name)), boxes, subscribed ^ {name})

    # ---- what became of it

    def names(self, options):
        lines = self.say('LIST %s"" g*' % options)
        return sorted(line.split()[-1].decode().strip('"') for line in lines if line.startswith(b"* LIST"))

    def settle(self):
        boxes = {name: tuple(View(self.client, name).tokens()) for name in self.names("")}
        there = (boxes, frozenset(self.names("(SUBSCRIBED) ")))
        if there not in (self.is_now, self.next):
            raise Broken("%s: there is %s; lawful is %s or %s" % (self.name, there, self.is_now, self.next))
        self.is_now, self.next = there, None

    def check(self):
        self.connect()
        self.settle()
        self.lost()


def set_of(uids):
    return ",".join(map(str, uids))


def content_of(rows):
    """What can be compared where UIDs were not told."""
    return collections.Counter((token, frozenset(flags)) for token, flags in rows.values())
