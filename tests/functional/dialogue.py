# SPDX-License-Identifier: MIT
"""Dialogues with a server, as data: README.md describes the format."""

import base64
import os
import re
import ssl
import threading

import postern

BACKENDS = ("maildir", "lmdb", "mbox", "memory")
ORDINALS = {"second": "2", "third": "3", "fourth": "4"}


class Mistake(Exception):
    """The dialogue file itself is wrong."""


class Mismatch(Exception):
    """The server said something else."""


class Dialogue:
    """One file: its steps, the backends it is for, and the settings it needs of the server."""

    def __init__(self, path):
        self.path = path
        self.backends = BACKENDS
        self.settings = ""
        self.texts = {}
        self.steps = []
        with open(path, encoding="utf-8", newline="") as file:
            self._lines = list(enumerate(file.read().replace("\r\n", "\n").split("\n"), 1))
        self._parse()

    def _parse(self):
        lines = iter(self._lines)
        for number, line in lines:
            if not line.strip() or line.startswith("#"):
                continue
            if line.startswith("@"):
                self._directive(number, line[1:].split(), lines)
                continue
            match = re.match(r"(C|Cx|S|S\*|S~)(\d?): ?(.*)$", line, re.S)
            if not match:
                raise Mistake("%s:%d: neither C:, S:, a directive nor a comment" % (self.path, number))
            self.steps.append((number,) + match.groups())

    def _directive(self, number, words, lines):
        name, args = words[0], words[1:]
        if args and args[-1].startswith("<<"):
            text = "".join(line + "\r\n" for line in self._here(number, args[-1][2:], lines))
            if name == "message" and len(args) == 2:
                self.texts[args[0]] = text
            elif name == "inbox" and len(args) == 2:
                self.steps.append((number, "@inbox", "", [args[0], text]))
            elif name == "config" and len(args) == 1:
                self.settings = text.replace("\r\n", "\n")
            else:
                raise Mistake("%s:%d: @%s takes no text" % (self.path, number, name))
        elif name == "backend":
            self.backends = tuple(args)
        elif name in ("user", "plain", "connect", "deliver", "starttls", "close", "protocol"):
            self.steps.append((number, "@" + name, "", args))
        else:
            raise Mistake("%s:%d: unknown directive @%s" % (self.path, number, name))

    def _here(self, number, end, lines):
        for _, line in lines:
            if line == end:
                return
            yield line
        raise Mistake("%s:%d: no line %s ends this text" % (self.path, number, end))


LINE_ENDS = {"auth": "\n"}


class Run:
    """A dialogue against one server, as one fresh user."""

    def __init__(self, dialogue, instance, user):
        self.dialogue = dialogue
        self.instance = instance
        self.user = user
        self.texts = dict(dialogue.texts)
        self.texts.update(user=user, fulluser="%s@%s" % (user, postern.DOMAIN), password=postern.PASSWORD)
        self.clients = {}
        self.transcript = []
        self.logged_in = False
        self.plain = False
        self.protocol = "imap"

    def run(self):
        """Raises Mismatch, with what was said so far."""
        group = []
        number = 0
        try:
            for number, kind, label, text in self.dialogue.steps:
                if group and (kind, label) != ("S*", group[0]):
                    self._any_order(*group)
                    group = []
                if kind == "S*":
                    group = [label, (group[1] if group else []) + [self.expand(text)]]
                else:
                    self._step(kind, label, text)
            if group:
                self._any_order(*group)
        except (Mismatch, postern.Closed, OSError, AssertionError) as error:
            reason = "timed out" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
            if isinstance(error, postern.Closed):
                reason = "the server closed the connection" + (" after: " + reason if str(error) else "")
            raise Mismatch("line %d: %s\n%s" % (number, reason, "\n".join(self.transcript[-12:]))) from error
        finally:
            for client in self.clients.values():
                client.close()

    def _step(self, kind, label, text):
        if kind == "C":
            self._send(label, self.expand(text) + self._line_end())
        elif kind == "Cx":
            octets = self.expand(text).encode("utf-8", "surrogateescape")
            self._send(label, octets.decode("unicode_escape"), "latin-1")
        elif kind == "S~":
            while not self._matches(self.expand(text), self._line(label)):
                pass
        elif kind == "S":
            for pattern in self.expand(text).split("\r\n"):
                self._expect(label, pattern)
        else:
            getattr(self, "_do_" + kind[1:])(*text)

    # ---- directives

    def _do_user(self):
        self.logged_in = True

    def _do_plain(self):
        self.plain = True

    def _do_protocol(self, name):
        self.protocol = name

    def _do_connect(self, name, user=None):
        self.client(ORDINALS.get(name, name), user)

    def _do_starttls(self, label=""):
        self.client(label).start_tls()

    def _do_close(self, label=""):
        self.clients.pop(label).close()

    def _do_deliver(self, mailbox, source, flags=None):
        octets = self._octets(source)
        if self.instance.backend == "maildir":
            if not os.path.isdir(self.instance.maildir(self.user)):
                self.instance.session(self.user).close()  # the first log-in makes it
            self.instance.deliver(self.user, octets.replace(b"\r\n", b"\n"), mailbox, flags)
            return
        with self.instance.session(self.user) as client:
            status = client.append(octets, mailbox)
            if not status.startswith(b"OK"):
                raise Mismatch("@deliver: %r" % status)

    def _do_inbox(self, count, text):
        """The newest message of so many, line by line."""
        with self.instance.session(self.user, "INBOX") as client:
            found = len(client.ok("UID SEARCH ALL")[-1].split()) - 2
            if found != int(count):
                raise Mismatch("there are %d messages in INBOX" % found)
            octets = b"".join(client.ok("FETCH %s BODY.PEEK[]" % count)[:1])
        size, _, rest = octets.partition(b"{")[2].partition(b"}\r\n")
        lines = rest[:int(size)].decode("utf-8", "surrogateescape").split("\r\n")[:-1]
        self.transcript += ["  message: " + line for line in lines]
        patterns = self.expand(text).split("\r\n")[:-1]
        for pattern, line in zip(patterns, lines):
            if not self._matches(pattern, line):
                raise Mismatch("expected: " + pattern)
        if len(patterns) != len(lines):
            raise Mismatch("the message has %d lines, not %d" % (len(lines), len(patterns)))

    def _octets(self, source):
        if source in self.texts:
            return self.texts[source].encode()
        with open(os.path.join(os.path.dirname(self.dialogue.path), source), "rb") as file:
            return file.read().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")

    # ---- lines

    def client(self, label, user=None):
        if label not in self.clients:
            client = self.instance.connect(tls=not self.plain, protocol=self.protocol)
            self.clients[label] = client
            if self.logged_in or user:
                client.greeting()
                LOG_IN[self.protocol](client, user or self.user)
        return self.clients[label]

    def _send(self, label, text, charset="utf-8"):
        self._note("C" + label, text)
        self.client(label).send(text.encode(charset))

    def _note(self, who, text):
        text = text.rstrip("\r\n")
        self.transcript.append("  %s: %s" % (who, text if len(text) < 300 else text[:300] + "..."))

    def _line(self, label):
        line = self.client(label).line().decode("utf-8", "surrogateescape")
        self._note("S" + label, line.encode("utf-8", "replace").decode())
        end = self._line_end()
        if not line.endswith(end):
            raise Mismatch("the line ends without CR: %r" % line)
        return line[:-len(end)]

    def _line_end(self):
        return LINE_ENDS.get(self.protocol, "\r\n")

    def _expect(self, label, pattern):
        if pattern == "<close>":
            if not self.client(label).is_closed():
                raise Mismatch("expected the server to close the connection")
            return
        line = self._line(label)
        if not self._matches(pattern, line):
            raise Mismatch("expected: " + pattern)

    def _any_order(self, label, patterns):
        left = list(patterns)
        while left:
            line = self._line(label)
            found = next((pattern for pattern in left if self._matches(pattern, line)), None)
            if found is None:
                raise Mismatch("expected, in any order:\n  " + "\n  ".join(left))
            left.remove(found)

    def _matches(self, pattern, line):
        match = re.fullmatch(_regex(pattern), line, re.S)
        if match:
            self.texts.update({name: value for name, value in match.groupdict().items() if value is not None})
        return bool(match)

    def expand(self, text):
        def value(match):
            name = match.group(1)
            if name.startswith("base64:"):
                return base64.b64encode(name[7:].encode()).decode()
            if name.startswith("repeat:"):
                _, count, what = name.split(":", 2)
                return what * int(count)
            wanted = name.lstrip("#")
            if wanted not in self.texts:
                raise Mistake("%s: there is no ${%s}" % (self.dialogue.path, wanted))
            if name.startswith("#"):
                return str(len(self.texts[wanted].encode("utf-8", "surrogateescape")))
            return self.texts[wanted]

        while (expanded := re.sub(r"\$\{([^{}]*)\}", value, text)) != text:
            text = expanded
        return text


def _regex(pattern):
    """<*>: anything. <re:X>: the regular expression X. <name=X>: X, kept as ${name}."""
    out = []
    at = 0
    for match in re.finditer(r"<(?:(\*)|re:([^>]*)|(\w+)=([^>]*))>", pattern):
        out.append(re.escape(pattern[at:match.start()]))
        if match.group(1):
            out.append(".*")
        elif match.group(3):
            out.append("(?P<%s>%s)" % (match.group(3), match.group(4) or ".*"))
        else:
            out.append("(?:%s)" % match.group(2))
        at = match.end()
    out.append(re.escape(pattern[at:]))
    return "".join(out)


def _log_in_imap(client, user):
    client.ok("LOGIN %s %s" % (user, postern.PASSWORD))


def _log_in_pop3(client, user):
    for line in ("USER " + user, "PASS " + postern.PASSWORD):
        client.send(line.encode() + b"\r\n")
        answer = client.line()
        if not answer.startswith(b"+OK"):
            raise Mismatch("%r was answered %r" % (line, answer))


LOG_IN = {"imap": _log_in_imap, "pop3": _log_in_pop3}


class Servers:
    """A server per backend and settings, started when the first dialogue asks."""

    def __init__(self, users):
        self._users = users
        self._instances = {}
        self._lock = threading.Lock()

    def get(self, backend, settings):
        with self._lock:
            key = (backend, settings)
            if key not in self._instances:
                instance = postern.Instance(backend=backend, users=self._users, settings=settings or DEFAULTS)
                instance.start()
                self._instances[key] = instance
            return self._instances[key]

    def stop(self):
        """Gives what was wrong at the end: an exit status, a sanitizer's report in a log."""
        wrong = []
        for (backend, _), instance in self._instances.items():
            try:
                status = instance.stop()
                if status != 0:
                    wrong.append("%s: exit status %s\n%s" % (backend, status, instance.log_tail()))
            except AssertionError as error:
                wrong.append("%s: %s" % (backend, error))
            wrong += ["%s: %s" % (backend, report) for report in postern.sanitizer_reports(instance.log())]
        return wrong


# Dialogues come in a rush from one address, and some fail to log in on purpose.
DEFAULTS = "limits { connections_per_address = 0 auth_failures_per_minute = 10000 }"
