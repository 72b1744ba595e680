# SPDX-License-Identifier: MIT
"""Connections that are slow, or say nothing at all: many, from one address, in a process of their own."""

import collections
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time

# Kind: listener, what is said at once, and what of it again, an octet a second.
KINDS = {
    "silent": ("imap", b"", b""),
    "silent, POP3": ("pop3", b"", b""),
    "silent, SMTP": ("smtp", b"", b""),
    "silent, TLS": ("imaps", b"", b""),
    "an octet a second": ("imap", b"a1 LOGIN alice ", b"x"),
    "an octet a second, POP3": ("pop3", b"USER ", b"x"),
    "an octet a second, SMTP": ("submission", b"EHLO ", b"x"),
    "half a handshake": ("imaps", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b""),
    "a handshake, an octet a second": ("submissions", b"\x16\x03\x01\x10\x00\x01\x00\x0f\xfc\x03\x03", b"\0"),
    "half a command": ("imap", b"a1 NOOP\r\na2 LOG", b""),
    "a literal, announced": ("imap", b"a1 LOGIN {5}\r\n", b""),
    "a log-in, begun": ("imap", b"a1 AUTHENTICATE PLAIN\r\n", b""),
    "a log-in, begun, SMTP": ("submission", b"EHLO x\r\nAUTH PLAIN\r\n", b""),
    "wrong passwords": ("pop3", b"USER dave\r\nPASS wrong\r\n", b""),
    "slow DATA": ("smtp", b"EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n", b"x"),
    "slow DATA, LMTP": ("lmtp", b"LHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n", b"x"),
    "a huge literal, slowly": ("imap", b"a1 LOGIN carol pass\r\na2 APPEND INBOX {50000000+}\r\n", b"x"),
    "IDLE": ("imap", b"a1 LOGIN carol pass\r\na2 SELECT INBOX\r\na3 IDLE\r\n", b""),
}
PATIENCE = 120
GREETINGS = (b"* OK", b"+OK", b"220 ")
WORDS = (b"* BYE", b"-ERR", b"421 ")


class Member:
    """One place in the crowd: when its connection ends it makes another."""

    def __init__(self, crowd, kind):
        self.crowd, self.kind = crowd, kind
        self.sock = None
        self.again_at = 0.0

    def connect(self):
        self.first = b""
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.bind((self.crowd.source, 0))
        self.sock.connect_ex((self.crowd.host, self.crowd.ports[KINDS[self.kind][0]]))
        self.crowd.selector.register(self.sock, selectors.EVENT_WRITE, self)

    def lose(self):
        self.crowd.selector.unregister(self.sock)
        self.sock.close()
        self.sock = None
        self.again_at = time.monotonic() + 1
        self.crowd.count(self.first)

    def ready(self, events):
        try:
            if events & selectors.EVENT_WRITE:
                self.crowd.selector.modify(self.sock, selectors.EVENT_READ, self)
                self.say(KINDS[self.kind][1])
            else:
                octets = self.sock.recv(65536)
                self.first = self.first or octets
                if not octets:
                    self.lose()
        except BlockingIOError:
            pass
        except OSError:
            self.lose()

    def say(self, octets):
        if octets and self.sock.send(octets) < len(octets):
            raise OSError("it takes nothing")

    def each_second(self, now):
        if not self.sock:
            if now >= self.again_at:
                self.connect()
            return
        try:
            self.say(KINDS[self.kind][2])
        except BlockingIOError:
            pass
        except OSError:
            self.lose()


class Crowd:
    def __init__(self, host, source, ports, size):
        self.host, self.source, self.ports = host, source, ports
        self.selector = selectors.DefaultSelector()
        self.ends = collections.Counter()
        kinds = [kind for kind in KINDS if KINDS[kind][0] in ports]
        self.members = [Member(self, kinds[number % len(kinds)]) for number in range(size)]

    def count(self, first):
        """What a connection that has ended had heard first."""
        for what, starts in (("greeted", GREETINGS), ("refused", WORDS)):
            if first.startswith(starts):
                self.ends[what] += 1
                return
        self.ends["closed"] += 1

    def tell(self):
        held = collections.Counter(member.kind for member in self.members if member.sock)
        heard = sum(member.first.startswith(GREETINGS) for member in self.members if member.sock)
        print(json.dumps({"held": sum(held.values()), "greeted": heard, "ends": self.ends}), flush=True)

    def run(self):
        """A line of what it has, each second, until it is ended."""
        beat, told = 0.0, 0
        while True:
            now = time.monotonic()
            if now >= beat:
                beat = now + 1
                for member in self.members:
                    member.each_second(now)
            for key, events in self.selector.select(0.1):
                key.data.ready(events)
            if int(now) != told:
                told = int(now)
                self.tell()


class Running:
    """A crowd, as its starter sees it."""

    def __init__(self, ports, size, source="127.0.0.2", host="127.0.0.1"):
        self.process = subprocess.Popen((sys.executable, __file__, host, source, json.dumps(ports), str(size)),
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)

    def look(self):
        """The next of its lines."""
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError("the crowd has ended: %s" % self.process.wait())
        return json.loads(line)

    def look_for(self, what):
        end = time.monotonic() + PATIENCE
        while not what(seen := self.look()):
            if time.monotonic() > end:
                raise AssertionError("waited in vain for the crowd: %r" % seen)
        return seen

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.stdout.close()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


def room_for_descriptors():
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    room_for_descriptors()
    host, source, ports, size = sys.argv[1:]
    os.nice(5)  # who measures beside it is not to wait for it
    Crowd(host, source, json.loads(ports), int(size)).run()
