#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Kills a server, or cuts its power, while mail flows and mailboxes change, and looks for what was promised and is not there.

    crash.py --prefix DIR [--backend NAME]... [--power] [--rounds N] [--seed N] [--plant FAULT]

In each round clients write by SMTP, submission, LMTP, IMAP, POP3 and `postern sync`, for a random time; roles die; then the whole
server dies, and is started again. What it answered with yes must be there: once, whole, under the same UIDs, and seen by
`postern storage check`; what it had not answered yet must be there wholly or not at all. README.md says more.
"""

import argparse
import json
import os
import pathlib
import random
import signal
import sys
import threading
import time

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "functional")]
import disk  # noqa: E402
import drivers  # noqa: E402
import journal  # noqa: E402
import postern  # noqa: E402
import sink  # noqa: E402

BACKENDS = ("maildir", "lmdb", "mbox")
ROLES = ("front", "auth", "mail", "relay")
ATTEMPTS = 4  # at a time to the next host
LOAD = 0.8  # seconds that clients work at most before something dies
BUSY = 100  # or longer, where the machine is too busy for so many changes

SETTINGS = """
plaintext_without_tls = yes
front_processes = 2
mail_processes = 2
limits { connections_per_address = 0 auth_failures_per_minute = 100000 user_messages_per_hour = 0 user_messages_per_day = 0
	user_recipients_per_day = 0 }
transport "*" { host = "127.0.0.1" port = %d }
relay { retry_first = 1s retry_most = 1s connections_per_destination = %d }
backend maildir { rename_at_once = 1 }
"""


class NextHost(sink.Sink):
    """Is busy now and then, and notes when each copy of a message came."""

    def __init__(self, chance):
        super().__init__()
        self.chance = chance
        self.copies = {}

    def answer(self, recipient):
        return "451 4.3.0 Busy" if self.chance.random() < 0.05 else "250 2.1.5 OK"

    def keep(self, sender, recipients, octets, began):
        self.copies.setdefault(journal.token_of(octets), []).append(began)


class Site:
    """A server, its clients, and what they know."""

    def __init__(self, backend, power, seed, plant=None, load=LOAD, settings=""):
        self.chance = random.Random(seed)
        self.load = load
        self.believes_early = plant == "early"
        self.environment = dict(os.environ)
        if plant == "unsynced":
            self.environment["LD_PRELOAD"] = "libeatmydata.so"
        self.next_host = NextHost(self.new_chance())
        self.disk = disk.Disk() if power else None
        self.server = postern.Instance(backend=backend, users=("in1", "in2", "pop", "im1", "im2", "im3", "im4", "sub"),
                                       settings=SETTINGS % (self.next_host.port, ATTEMPTS) + settings, environment=self.environment)
        self.kills = journal.Kills(ATTEMPTS)
        self.slowest = 0.0
        if self.disk:
            self.server.spool_dir = os.path.join(self.disk.path, "spool")
            self.server.mail_root = self.make_folder(self.disk.path, "mail")
        self.make_clients(self.make_folder(self.server.mail_root, "copies"))

    def new_chance(self):
        return random.Random(self.chance.random())

    def make_folder(self, *path):
        """One of the user to whom all mail belongs."""
        path, owner = os.path.join(*path), os.stat(self.server.mail_root)
        os.mkdir(path, 0o700)
        os.chown(path, owner.st_uid, owner.st_gid)
        return path

    def make_clients(self, copies):
        boxes = {name: journal.Arrivals(name) for name in ("in1", "in2", "pop")}
        self.sent = journal.Arrivals("the next host")
        to = {"%s@%s" % (name, postern.DOMAIN): arrivals for name, arrivals in boxes.items()}
        one, two, _ = to
        chance = self.new_chance
        self.reader = drivers.Reader(self, "pop", chance(), boxes["pop"])
        self.copier = drivers.Copier(self, "copy", chance(), boxes["in1"], copies)
        self.people = [drivers.Person(self, name, chance()) for name in ("im1", "im2", "im3")] + [
            drivers.Gardener(self, "im4", chance())]
        self.switcher = drivers.Switcher(self, "switch", chance(), "im3", BACKENDS)
        self.boxes = boxes
        self.clients = [
            drivers.Sender(self, "smtp", chance(), "smtp", {one: to[one], two: to[two]}),
            drivers.Sender(self, "lmtp", chance(), "lmtp", {one: to[one], two: to[two]}),
            drivers.Sender(self, "sub", chance(), "submission", {"joe@example.com": self.sent, two: to[two]}, user="sub"),
            drivers.Sender(self, "away", chance(), "submission", {"joe@example.com": self.sent}, user="sub"),
            self.reader, self.copier, self.switcher, *self.people]

    # ---- life and death

    def start(self):
        began = time.monotonic()
        self.server.start()
        self.slowest = max(self.slowest, time.monotonic() - began)

    def die(self):
        """What clients have begun is cut off; nothing new is begun."""
        for client in self.clients:
            client.stop()
        before = time.monotonic()
        if self.disk:
            self.disk.cut()
        self.copier.kill()
        self.switcher.kill()
        self.server.kill()
        self.kills.times.append((before, time.monotonic()))

    def kill_role(self):
        role = self.chance.choice(ROLES)
        pids = [pid for pid, name in self.server.roles() if name == role]
        if not pids:
            return  # it is being started
        pid, before = self.chance.choice(pids), time.monotonic()
        os.kill(pid, signal.SIGKILL)
        postern.wait_until(lambda: not os.path.exists("/proc/%d" % pid), "the end of " + role, patience=60)
        self.kills.times.append((before, time.monotonic()))

    def work(self, changes):
        time.sleep(self.chance.uniform(0.1, 1) * self.load)
        end = time.monotonic() + 5 * self.load
        while self.changes() < changes and time.monotonic() < end:
            time.sleep(0.01)

    def round(self):
        for client in self.clients:
            client.begin()
        try:
            while not self.disk and self.chance.random() < 0.5:
                time.sleep(self.chance.uniform(0.1, 0.75) * self.load)
                self.kill_role()
            self.work(self.changes() + self.chance.randrange(BUSY))
            self.die()
        finally:
            self.stop()
        if self.disk:
            self.disk.unmount()
            self.disk.mount()
        self.start()
        self.check()

    def stop(self):
        for client in self.clients:
            client.stop()
        for client in self.clients:
            client.end()

    # ---- what is there

    def queue_is_empty(self):
        done = self.server.tool("queue", "stats", "--json", check=False)
        return done.returncode == 0 and json.loads(done.stdout)["messages"] == 0

    def check(self):
        postern.wait_until(self.queue_is_empty, "the end of the queue", patience=60)
        found = {}
        for name, arrivals in self.boxes.items():
            with self.server.session(name) as client:
                found[name] = drivers.View(client, "INBOX").tokens()
            arrivals.check(found[name])
        self.copier.check(found["in1"])
        for person in self.people:
            person.check()
        for user in ("in1", "im1", "im2", "im3", "im4", "pop"):
            self.storage_check(user)
        for name in ("in1", "in2"):
            self.empty(self.boxes[name], found[name])

    def storage_check(self, user):
        done = self.server.tool("storage", "check", "--json", user, check=False)
        told = json.loads(done.stdout) if done.stdout.startswith("{") else {}
        if done.returncode != 0 or told.get("faults"):
            raise journal.Broken("postern storage check %s: %s%s" % (user, done.stdout, done.stderr))

    def empty(self, arrivals, tokens):
        """So that the next round has less to read. What goes is not to come back."""
        arrivals.leaves(tokens)
        with self.server.session(arrivals.name, "INBOX") as client:
            if tokens:
                client.ok("UID STORE 1:* +FLAGS.SILENT (\\Deleted)")
                client.ok("EXPUNGE")
        arrivals.left()

    def check_next_host(self):
        """Gives how many messages it got twice because SMTP cannot do better."""
        with self.next_host.lock:
            copies = dict(self.next_host.copies)
        self.sent.check(list(copies))
        return self.kills.check(copies)

    def close(self):
        if self.server.process:
            self.server.kill()
        self.next_host.shutdown()
        if self.disk:
            self.disk.close()

    def changes(self):
        return sum(client.changes for client in self.clients) + self.reader.sender.changes


def run(backend, power=False, rounds=10, seed=1, plant=None, service=5.0, load=LOAD, say=print, settings=""):
    """Raises journal.Broken where a promise is."""
    site = Site(backend, power, seed, plant, load, settings)
    try:
        site.start()
        for number in range(rounds):
            site.round()
            if (number + 1) % 50 == 0:
                say("%s: %d rounds, %d changes" % (backend, number + 1, site.changes()))
        twice = site.check_next_host()
    except (journal.Broken, drivers.Refused, AssertionError, *drivers.GONE) as error:
        raise journal.Broken("%s\nseed %d; the end of the log:\n%s" % (error or repr(error), seed, site.server.log_tail())) from error
    finally:
        site.close()
    if site.slowest > service:
        raise journal.Broken("it served %.1f s after its start, not within %.1f" % (site.slowest, service))
    say("%s, %s: %d rounds (%d deaths), %d acknowledged changes: 0 lost, 0 doubled, 0 cut short; %d of %d sent twice within SMTP's "
        "window; served again within %.1f s; seed %d"
        % (backend, "power cuts" if power else "kills", rounds, len(site.kills.times), site.changes(), twice,
           len(site.next_host.copies), site.slowest, seed))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prefix", help="the installation (default: $POSTERN_PREFIX)")
    parser.add_argument("--backend", action="append", help="default: %s" % ", ".join(BACKENDS))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--power", action="store_true", help="cuts power in place of killing; as root")
    parser.add_argument("--load", type=float, default=LOAD, help="seconds that clients work at most before something dies")
    parser.add_argument("--service", type=float, default=5.0, help="seconds within which it must serve again")
    parser.add_argument("--plant", choices=("early", "unsynced"), help="a fault that must be found")
    parser.add_argument("--relaxed", action="store_true", help="with durability = relaxed, by which a kill must lose nothing either")
    options = parser.parse_args()
    if options.relaxed and options.power:
        parser.error("what of relaxed flags a power cut may take is not told apart here; postern-conform does that")
    if options.prefix:
        os.environ["POSTERN_PREFIX"] = os.path.abspath(options.prefix)
    if options.power and disk.why_not():
        sys.exit("no power cuts here: " + disk.why_not())
    print("seed %d" % options.seed, flush=True)
    status = 0
    for backend in options.backend or BACKENDS:
        try:
            run(backend, options.power, options.rounds, options.seed, options.plant, options.service, options.load,
                settings="durability = relaxed\n" if options.relaxed else "")
        except journal.Broken as error:
            print("%s: BROKEN: %s" % (backend, error), flush=True)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
