#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Loads a server with what is slow, huge or many, and sees whether the others are served meanwhile.

    load.py --prefix DIR [--backend NAME] [--size full|short] [CASE]...

Each case has a server of its own, prints the figures that it saw, and fails where a promise does not hold. README.md says more.
"""

import argparse
import contextlib
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
def serving(backend, settings="", limits="", **options):
    text = "%s\nlimits { %s %s }\n%s" % (SETTINGS, LIMITS, limits, settings)
    with postern.Instance(backend=backend, users=USERS, settings=text, **options) as server:
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
        seen = others.look()
        while seen["greeted"] < held or seen["ends"].get("refused", 0) < refused:
            seen = others.look()
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
