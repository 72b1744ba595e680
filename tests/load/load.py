#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Loads a server with what is slow, huge or many, and sees whether the others are served meanwhile.

    load.py --prefix DIR [--backend NAME] [--size full|short] [CASE]...

Each case has a server of its own, prints the figures that it saw, and fails where a promise does not hold. README.md says more.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "functional")]
import crowd  # noqa: E402
import gauge  # noqa: E402
import postern  # noqa: E402
import sink  # noqa: E402

USERS = ("alice", "bob", "carol", "dave")
SETTINGS = """
plaintext_without_tls = yes
front_processes = 2
"""
LIMITS = "auth_failures_per_minute = 100 user_messages_per_hour = 0 user_messages_per_day = 0 user_recipients_per_day = 0"


class Finding(Exception):
    """What was promised does not hold."""


class Size:
    """How much of it. `patience`: seconds that anybody may wait meanwhile; `brief`: after so many, what may fail has failed."""

    def __init__(self, connections, sessions, megabytes, messages, queued, patience, brief):
        self.connections, self.sessions, self.megabytes = connections, sessions, megabytes
        self.messages, self.queued, self.patience, self.brief = messages, queued, patience, brief


SIZES = {
    "full": Size(connections=5000, sessions=50, megabytes=1000, messages=100000, queued=10000, patience=1.0, brief=1.0),
    # In `check`: beside other tests, under sanitizers. Nothing is judged by time there.
    "short": Size(connections=300, sessions=10, megabytes=10, messages=500, queued=50, patience=postern.PATIENCE,
                  brief=0.3),
}


# ---- what people do, and how long it takes them


def by_imap(server, patience=postern.PATIENCE):
    with server.connect(tls=True, patience=patience) as client:
        client.greeting()
        for command in ("LOGIN alice " + postern.PASSWORD, "SELECT INBOX", "NOOP"):
            client.ok(command)


def by_pop3(server, patience=postern.PATIENCE):
    with server.connect(tls=True, protocol="pop3", patience=patience) as client:
        client.greeting()
        for line in (b"USER alice", b"PASS " + postern.PASSWORD.encode(), b"STAT"):
            client.send(line + b"\r\n")
            if not client.line().startswith(b"+OK"):
                raise Finding("POP3: %r was refused" % line)


MESSAGE = postern.message("load").decode()


def by_submission(server, patience=postern.PATIENCE):
    context = ssl.create_default_context(cafile=postern.authority().ca)
    with smtplib.SMTP_SSL("localhost", server.ports["submissions"], timeout=patience, context=context) as client:
        client.login("alice", postern.PASSWORD)
        client.sendmail("alice@example.test", ["bob@example.test"], MESSAGE)


def by_mx(server, patience=postern.PATIENCE, make=smtplib.SMTP, listener="smtp"):
    with make("127.0.0.1", server.ports[listener], timeout=patience) as client:
        client.sendmail("joe@example.org", ["bob@example.test"], MESSAGE)


def by_lmtp(server, patience=postern.PATIENCE):
    by_mx(server, patience, smtplib.LMTP, "lmtp")


WAYS = {"IMAP": by_imap, "POP3": by_pop3, "submission": by_submission, "MX": by_mx, "LMTP": by_lmtp}


def seconds(act, *args):
    began = time.monotonic()
    act(*args)
    return time.monotonic() - began


class Slowest:
    """Of each way the longest that it took anybody."""

    def __init__(self):
        self.times = {}

    def round(self, server, ways=WAYS):
        for name, act in ways.items():
            self.times[name] = max(self.times.get(name, 0), seconds(act, server))

    def judge(self, patience):
        late = {name: took for name, took in self.times.items() if took > patience}
        if late:
            raise Finding("not served within %.1f s: %r" % (patience, late))

    def __str__(self):
        return ", ".join("%s %.0f ms" % (name, 1000 * took) for name, took in self.times.items())


@contextlib.contextmanager
def serving(backend, settings="", limits="", log_path=None):
    text = "%s\nlimits { %s %s }\n%s" % (SETTINGS, LIMITS, limits, settings)
    server = postern.Instance(backend=backend, users=USERS, settings=text)
    server.log_path = log_path or server.log_path
    with server:
        by_lmtp(server)  # bob is there
        by_imap(server)
        yield server
        if server.process.poll() is not None or "event=role_died" in server.log():
            raise Finding("a role died:\n" + server.log_tail())


# ---- many connections that are slow or say nothing


def besieged(trial, server, held, refused=0):
    """A crowd comes, of which `held` connections stay; others are served meanwhile."""
    slowest, before = Slowest(), gauge.of(server, "front")
    with crowd.Running(server.ports, trial.size.connections) as others:
        seen = others.look_for(lambda seen: seen["greeted"] >= held and seen["ends"].get("refused", 0) >= refused)
        for _ in range(trial.rounds):
            slowest.round(server)
        front = gauge.of(server, "front")
        written = len(server.log())
        began = time.monotonic()
        for _ in range(trial.rounds):
            seen = others.look()
        rate = (len(server.log()) - written) / 1024 / (time.monotonic() - began)
    trial.say("%d greeted, and so far %r; slowest: %s; front has %.1f KiB more for each that is held; %.1f KiB/s of log"
              % (seen["greeted"], seen["ends"], slowest, (front.own - before.own) / max(held, 1), rate))
    slowest.judge(trial.size.patience)


def case_crowd(trial):
    """Connections from one address that are slow, or say nothing; without a limit all are held."""
    with serving(trial.backend, limits="connections_per_address = 0") as server:
        besieged(trial, server, held=trial.size.connections * 7 // 10)  # of TLS they hear nothing


def case_limit(trial):
    """The same, and an address may have a hundred: who is refused comes again at once."""
    with serving(trial.backend) as server:
        besieged(trial, server, held=50, refused=100)


# ---- descriptors


def used(pid):
    return max(map(int, os.listdir("/proc/%d/fd" % pid)))


def limit_descriptors(pid, limit):
    """As the process' own user: even root may not everywhere."""
    with open("/proc/%d/status" % pid, encoding="ascii") as file:
        owner = dict(re.findall(r"^([UG]id):\t(\d+)", file.read(), re.M))
    as_user = () if os.geteuid() else ("setpriv", "--reuid=" + owner["Uid"], "--regid=" + owner["Gid"], "--clear-groups")
    subprocess.run((*as_user, "prlimit", "--pid=%d" % pid, "--nofile=%d:" % limit), check=True)


@contextlib.contextmanager
def without_descriptors(server, role):
    """Processes of the role have but a few more than they use now."""
    pids = [pid for pid, name in server.roles() if name == role]
    for pid in pids:
        limit_descriptors(pid, used(pid) + 3)
    yield
    for pid in pids:
        limit_descriptors(pid, 4096)


def attempt(act):
    """Whether it went well; that it may be refused now is the point."""
    try:
        act()
        return True
    except smtplib.SMTPResponseException as error:
        if error.smtp_code // 100 == 5:
            raise Finding("refused for ever, though it is for now: %r" % error) from error
        return False
    except (OSError, AssertionError, Finding, postern.Closed, smtplib.SMTPException):
        return False


def some_connections(server, number, brief):
    """They stay, and log in where they are greeted: so many are, and all of them."""
    clients = [server.connect() for _ in range(number)]
    greeted = []
    for client in clients:
        client.sock.settimeout(brief / 10)
        if attempt(client.greeting):
            greeted.append(client)
    for client in greeted:
        client.sock.settimeout(brief)
        attempt(lambda: client.ok("LOGIN carol pass"))
    return len(greeted), clients


def starved(trial, server, role):
    settled = [server.session(user, "INBOX") for user in ("alice", "bob")]
    with without_descriptors(server, role):
        greeted, crowded = some_connections(server, 40, trial.size.brief)
        went = [name for name, act in WAYS.items() if attempt(lambda: act(server, trial.size.brief))]
        for client in settled:
            client.ok("NOOP")
            status = client.command("UID STORE 1:* +FLAGS (\\Flagged)")[1]
            if not status.startswith((b"OK", b"NO [UNAVAILABLE]")):
                raise Finding("STORE was answered %r" % status)
    for client in crowded:
        client.close()
    slowest = Slowest()
    slowest.round(server)  # without being told anything
    for client in settled:
        client.ok("NOOP")
        client.close()
    trial.say("%s without descriptors: %d of 40 greeted, served meanwhile: %s; afterwards %s"
              % (role, greeted, ", ".join(went) or "nobody", slowest))


def case_descriptors(trial):
    """Each role in turn has none left: who is there goes on, and what comes later is served when there are some again."""
    with serving(trial.backend, limits="connections_per_address = 0") as server:
        for role in ("front", "auth", "mail", "relay"):
            starved(trial, server, role)


# ---- answers that nobody reads, and messages that do not come to an end


class Meanwhile:
    """Does something again and again beside what is done in the block, in a thread; ends with it."""

    def __init__(self, act):
        self._act, self._stop, self._wrong = act, threading.Event(), None
        self._thread = threading.Thread(target=self._go_on, daemon=True)

    def _go_on(self):
        try:
            while not self._stop.is_set():
                self._act()
        except Exception as error:  # told at the end
            self._wrong = error

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        self._stop.set()
        self._thread.join()
        if self._wrong and kind is None:
            raise Finding("%s: %s" % (type(self._wrong).__name__, self._wrong)) from self._wrong


def fill(server, user, count, size):
    """Messages into INBOX, hundreds of small ones by one command."""
    octets = postern.message("much", ("x" * 70 + "\r\n") * (size // 72))
    at_once = 500 if len(octets) < 4096 else 1
    with server.session(user) as client:
        for first in range(0, count, at_once):
            number = min(at_once, count - first)
            if number > 1:
                client.send(b"f%d APPEND INBOX" % first + b" {%d+}\r\n%s" % (len(octets), octets) * number + b"\r\n")
                status = client.finish(b"f%d" % first)[1]
            else:
                status = client.append(octets)
            if not status.startswith(b"OK"):
                raise Finding("APPEND was answered %r" % status)


class Growth:
    """Of the memory that is the processes' own, in front and mail together."""

    def __init__(self, server):
        self.server, self.most = server, 0
        self.before = self._now()

    def _now(self):
        roles = gauge.by_role(self.server)
        return sum(roles[role].own for role in ("front", "mail", "relay"))

    def look(self):
        self.most = max(self.most, self._now() - self.before)


def bounded(trial, server, clients, beat, each):
    """While `beat(client)` is done each second for `trial.rounds` seconds, others are served, and memory stays below `each` KiB a client."""
    growth, slowest = Growth(server), Slowest()
    for _ in range(trial.rounds):
        began = time.monotonic()
        for client in clients:
            beat(client)
        slowest.round(server)
        growth.look()
        time.sleep(max(0, began + 1 - time.monotonic()))
    trial.say("%d sessions: at most %d KiB more in front, mail and relay, %d for each; slowest: %s"
              % (len(clients), growth.most, growth.most // len(clients), slowest))
    if growth.most > each * len(clients) + 4096 and not postern.SANITIZED:
        raise Finding("%d KiB for %d sessions" % (growth.most, len(clients)))
    slowest.judge(trial.size.patience)


def case_readers(trial):
    """A large mailbox is downloaded by sessions that read a kilobyte a second, half of them over TLS."""
    with serving(trial.backend, limits="connections_per_address = 0") as server:
        fill(server, "carol", trial.size.megabytes, 1 << 20)
        clients = []
        for number in range(trial.size.sessions):
            client = server.connect(tls=number % 2 == 0)
            client.greeting()
            client.ok("LOGIN carol " + postern.PASSWORD)
            client.ok("SELECT INBOX")
            client.send(b"x FETCH 1:* BODY.PEEK[]\r\n")
            clients.append(client)
        bounded(trial, server, clients, lambda client: client.octets(1024), each=512)
        for client in clients:
            client.close()


def begin_append(server):
    client = server.session("carol")
    client.send(b"x APPEND INBOX {50000000}\r\n")
    if not client.line().startswith(b"+"):
        raise Finding("a literal of 50 MB is not taken")
    return client


def begin_data(server):
    client = server.connect(protocol="lmtp")
    client.greeting()
    client.send(b"LHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n")
    while not client.line().startswith(b"354"):
        pass
    return client


def case_writers(trial):
    """Huge messages by APPEND and by LMTP, of which megabytes come, and then little."""
    lines = b"x" * 70 + b"\r\n"
    with serving(trial.backend, limits="connections_per_address = 0") as server:
        clients = [(begin_append, begin_data)[number % 2](server) for number in range(trial.size.sessions)]
        for client in clients:
            client.send(lines * (trial.size.megabytes * 1000000 // len(clients) // len(lines)))
        bounded(trial, server, clients, lambda client: client.send(lines), each=512)
        for client in clients:
            client.close()
        refused_early(server)


def refused_early(server):
    """What is too large is refused before it comes."""
    with server.session("carol") as client:
        client.send(b"x APPEND INBOX {1000000000}\r\n")
        if not client.line().startswith(b"x NO "):
            raise Finding("a literal of a gigabyte is waited for")
    with smtplib.LMTP("127.0.0.1", server.ports["lmtp"], timeout=postern.PATIENCE) as client:
        client.ehlo_or_helo_if_needed()
        if client.docmd("MAIL FROM:<a@example.org> SIZE=1000000000")[0] // 100 != 5:
            raise Finding("a message of a gigabyte is waited for")


# ---- one user with much to do


def case_fairness(trial):
    """In the one mail process a user searches the text of a large mailbox, lists many mailboxes, and sorts, in many sessions at once."""
    work = ("SEARCH BODY nowhere", 'LIST "" * RETURN (STATUS (MESSAGES UNSEEN))', "SORT (SUBJECT) UTF-8 TEXT x", "SEARCH TEXT nowhere",
            "FETCH 1:* (ENVELOPE BODYSTRUCTURE)", "THREAD REFERENCES UTF-8 ALL")
    with serving(trial.backend, "mail_processes = 1", "connections_per_address = 0") as server, contextlib.ExitStack() as stack:
        fill(server, "carol", trial.size.messages, 500)
        with server.session("carol") as client:
            for number in range(trial.size.messages // 500):
                client.ok("CREATE many/%d" % number)
        for number in range(3 * len(work)):
            client = stack.enter_context(server.session("carol", "INBOX"))
            client.sock.settimeout(600)
            command = work[number % len(work)]
            stack.enter_context(Meanwhile(lambda client=client, command=command: client.ok(command)))
        slowest = Slowest()
        for _ in range(trial.rounds):
            slowest.round(server)
        trial.say("%d sessions of a user with %d messages at work; slowest of others: %s"
                  % (3 * len(work), trial.size.messages, slowest))
        slowest.judge(trial.size.patience)


# ---- a log that takes nothing, a queue with much in it


@contextlib.contextmanager
def small_disk():
    path = postern.scratch_folder()
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=1m", "none", path), check=True, stderr=subprocess.DEVNULL)
    try:
        yield path
    finally:
        subprocess.run(("umount", "-l", path), check=True)


def case_log(trial):
    """The disk that the log is on is full, and then it is not any more."""
    with contextlib.ExitStack() as stack:
        try:
            path = stack.enter_context(small_disk())
        except subprocess.CalledProcessError:
            trial.say("left out: no file system can be mounted here")
            return
        server = stack.enter_context(serving(trial.backend, log_path=os.path.join(path, "log")))
        rest, slowest = os.path.join(path, "rest"), Slowest()
        with contextlib.suppress(OSError), open(rest, "wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        for _ in range(trial.rounds * 5):
            slowest.round(server)
        lines = server.log().count("event=login")
        os.unlink(rest)
        by_imap(server)
        if server.log().count("event=login") <= lines:
            raise Finding("nothing is logged though there is room again")
        trial.say("nothing can be logged; slowest: %s" % slowest)
        slowest.judge(trial.size.patience)


class SlowHost(sink.Sink):
    def keep(self, sender, recipients, octets, began):
        time.sleep(0.01)
        super().keep(sender, recipients, octets, began)


class Flood:
    """Messages to elsewhere, by some sessions of submission."""

    SESSIONS = 8

    def __init__(self, server, messages):
        self._server, self._each, self.sent, self._wrong = server, -(-messages // self.SESSIONS), 0, None
        self._threads = [threading.Thread(target=self._send) for _ in range(self.SESSIONS)]

    def _send(self):
        try:
            with smtplib.SMTP("127.0.0.1", self._server.ports["submission"], timeout=600) as client:
                client.login("dave", postern.PASSWORD)
                for _ in range(self._each):
                    client.sendmail("dave@example.test", ["joe@example.com"], MESSAGE)
                    self.sent += 1
        except Exception as error:  # told by join()
            self._wrong = error

    def start(self):
        for thread in self._threads:
            thread.start()

    def runs(self):
        return any(thread.is_alive() for thread in self._threads)

    def join(self):
        for thread in self._threads:
            thread.join()
        if self._wrong:
            raise Finding("submission: %s" % self._wrong) from self._wrong


def case_queue(trial):
    """A user submits very many messages for a host that is slow; others' mail is taken and stored meanwhile."""
    host = SlowHost()
    transport = 'transport "*" { host = "127.0.0.1" port = %d }' % host.port
    with contextlib.closing(host.socket), serving(trial.backend, transport, "connections_per_address = 0") as server:
        flood, slowest, began = Flood(server, trial.size.queued), Slowest(), time.monotonic()
        flood.start()
        while flood.runs():
            slowest.round(server)
        flood.join()
        took = time.monotonic() - began
        slowest.round(server)
        waiting = json.loads(server.tool("queue", "stats", "--json").stdout)["messages"]
        trial.say("%d messages submitted in %.0f s, %d of them waiting; slowest of others: %s" % (flood.sent, took, waiting, slowest))
        slowest.judge(trial.size.patience)
        host.shutdown()


CASES = {name[5:]: function for name, function in list(globals().items()) if name.startswith("case_")}


class Trial:
    def __init__(self, name, backend, size, say=print):
        self.name, self.backend, self.size = name, backend, SIZES[size]
        self.rounds = 10 if size == "full" else 1
        self._say = say

    def say(self, text):
        self._say("%s: %s" % (self.name, text))

    def run(self):
        CASES[self.name](self)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prefix", help="the installation (default: $POSTERN_PREFIX)")
    parser.add_argument("--backend", default="maildir")
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("case", nargs="*", help="default: all of %s" % ", ".join(CASES))
    options = parser.parse_args()
    if options.prefix:
        os.environ["POSTERN_PREFIX"] = os.path.abspath(options.prefix)
    unknown = set(options.case) - set(CASES)
    if unknown:
        parser.error("there is no case " + ", ".join(sorted(unknown)))
    crowd.room_for_descriptors()
    status = 0
    for name in options.case or CASES:
        try:
            Trial(name, options.backend, options.size, lambda text: print(text, flush=True)).run()
        except (Finding, AssertionError, OSError, postern.Closed, smtplib.SMTPException) as error:
            print("%s: FAILED: %s: %s" % (name, type(error).__name__, error), flush=True)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
