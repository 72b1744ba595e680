# SPDX-License-Identifier: MIT
"""A mail server that misbehaves as it is told.

A script is a dict. Its keys are what the client does: "connect", a verb ("EHLO", "MAIL", ...), a verb with the local part that is asked for
("RCPT bob"), "END" for the end of the message, "IDLE" for the time after it. Its values are what the server does then: an action, or a list
with one for each time (the last of which is repeated). An action is a reply (text, CR LF is added), octets as they are, or a function
of the Talk. What a script does not name is done as a good server would.

Other keys: "caps": the keywords of EHLO; "certificate": (certificate, key) files, for STARTTLS; "implicit": TLS from the start; "lmtp": a reply
for each recipient."""

import socket
import ssl
import struct
import threading
import time

CAPS = ["PIPELINING", "SIZE 10000000", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES"]


class Gone(Exception):
    pass


class Talk:
    """One connection. `commands` are the lines of the client, `messages` what it sent as (sender, [recipients], octets)."""

    def __init__(self, server, sock):
        self.server, self.script, self.sock = server, server.script, sock
        self.commands, self.messages, self.counts = [], [], {}
        self.sender, self.recipients, self.chunks, self.secured = None, [], b"", False
        self.buffer = b""

    # ---- the wire

    def send(self, octets):
        try:
            self.sock.sendall(octets)
        except OSError as error:
            raise Gone from error

    def reply(self, text):
        self.send(text.encode("utf-8") + b"\r\n")

    def _more(self):
        try:
            octets = self.sock.recv(65536)
        except OSError as error:
            raise Gone from error
        if not octets:
            raise Gone
        self.buffer += octets

    def line(self):
        while b"\n" not in self.buffer:
            self._more()
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line + b"\n"

    def dotted(self):
        """What DATA brings, up to the dot that is alone."""
        data, start = bytearray(b"\r\n" + self.buffer), 0
        while (end := data.find(b"\r\n.\r\n", start)) < 0:
            start, self.buffer = max(0, len(data) - 4), b""
            self._more()
            data += self.buffer
        self.buffer = bytes(data[end + 5:])
        return bytes(data[:end + 2]).replace(b"\r\n.", b"\r\n")[2:]

    def octets(self, count):
        while len(self.buffer) < count:
            self._more()
        got, self.buffer = self.buffer[:count], self.buffer[count:]
        return got

    def close(self):
        raise Gone

    def reset(self):
        """An RST, not a FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Gone

    # ---- what happens

    def act(self, key, otherwise):
        action = self.script.get(key)
        if isinstance(action, list):
            action = action[min(self.server.count(key), len(action) - 1)]
        if action is None:
            action = otherwise
        if isinstance(action, bytes):
            self.send(action)
        elif isinstance(action, str):
            self.reply(action)
        elif action is not None:
            action(self)
        return action

    def run(self):
        if self.script.get("implicit"):
            self.secure()
        self.act("connect", "220 fake.test ESMTP")
        while True:
            line = self.line()
            self.commands.append(line)
            verb = line.split()[0].upper().decode("latin-1") if line.strip() else ""
            getattr(self, "on_" + verb.lower(), self.on_other)(verb, line)

    def on_other(self, verb, line):
        self.act(verb, "500 5.5.1 What?")

    def on_ehlo(self, verb, line):
        caps = list(self.script.get("caps", CAPS))
        if self.script.get("certificate") and not self.secured and not self.script.get("implicit"):
            caps.append("STARTTLS")
        lines = ["fake.test"] + caps
        self.act(verb, "\r\n".join("250%s%s" % ("-" if n < len(lines) - 1 else " ", l) for n, l in enumerate(lines)))

    on_lhlo = on_ehlo

    def on_helo(self, verb, line):
        self.act(verb, "250 fake.test")

    def secure(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.script["certificate"])
        self.script.get("context", lambda c: None)(context)
        try:
            self.sock = context.wrap_socket(self.sock, server_side=True)
        except (OSError, ssl.SSLError) as error:
            raise Gone from error
        self.secured, self.buffer = True, b""

    def on_starttls(self, verb, line):
        if self.act(verb, "220 2.0.0 Go ahead") in (None, "220 2.0.0 Go ahead"):
            self.secure()

    def on_auth(self, verb, line):
        self.act(verb, "235 2.7.0 Welcome")

    def on_mail(self, verb, line):
        self.sender, self.recipients = line[10:].split(b">")[0].decode("utf-8"), []
        self.act(verb, "250 2.1.0 Ok")

    def on_rcpt(self, verb, line):
        address = line[9:].split(b">")[0].decode("utf-8")
        key = "RCPT " + address.split("@")[0]
        done = self.act(key if key in self.script else verb, "250 2.1.5 Ok")
        if isinstance(done, str) and done.startswith("25"):
            self.recipients.append(address)

    def _end(self, message):
        self.messages.append((self.sender, self.recipients, message))
        for recipient in self.recipients if self.script.get("lmtp") else [None]:
            key = "END " + recipient.split("@")[0] if recipient else "END"
            self.act(key if key in self.script else "END", "250 2.0.0 Queued as %d" % self.server.count("queued"))
        self.act("IDLE", lambda talk: None)

    def on_data(self, verb, line):
        done = self.act(verb, "354 Go on")
        if isinstance(done, str) and not done.startswith("354"):
            return
        self._end(self.dotted())

    def on_bdat(self, verb, line):
        words = line.split()
        self.chunks += self.octets(int(words[1]))
        if len(words) < 3:
            self.act(verb, "250 2.0.0 Chunk")
            return
        message, self.chunks = self.chunks, b""
        self._end(message)

    def on_rset(self, verb, line):
        self.recipients = []
        self.act(verb, "250 2.0.0 Ok")

    def on_quit(self, verb, line):
        self.act(verb, "221 2.0.0 Bye")
        raise Gone

    def on_noop(self, verb, line):
        self.act(verb, "250 2.0.0 Ok")


class FakeMX:
    """Listens on an address of loopback. `talks` are all connections there were."""

    def __init__(self, script, address="127.0.0.1", port=0):
        self.script, self.talks, self.counts, self.lock = script, [], {}, threading.Lock()
        self.socket = socket.socket(socket.AF_INET)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((address, port))
        self.socket.listen(64)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def count(self, key):
        """How often it was asked before."""
        with self.lock:
            self.counts[key] = self.counts.get(key, 0) + 1
            return self.counts[key] - 1

    @property
    def messages(self):
        return [message for talk in self.talks for message in talk.messages]

    @property
    def commands(self):
        return [line for talk in self.talks for line in talk.commands]

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()

    def _run(self):
        while True:
            try:
                sock, _ = self.socket.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            talk = Talk(self, sock)
            self.talks.append(talk)
            threading.Thread(target=self._talk, args=(talk,), daemon=True).start()

    @staticmethod
    def _talk(talk):
        try:
            talk.run()
        except Gone:
            pass
        finally:
            talk.sock.close()


# ---- actions ------------------------------------------------------------------------------------------


def close(talk):
    talk.close()


def reset(talk):
    talk.reset()


def hang(talk):
    """Says nothing more; ends when the client does."""
    while True:
        talk.octets(1)


def then_close(text):
    def act(talk):
        talk.reply(text)
        talk.close()
    return act


def then_reset(text):
    def act(talk):
        talk.reply(text)
        talk.reset()
    return act


def slowly(octets, pause):
    """An octet at a time."""
    def act(talk):
        for octet in octets:
            talk.send(bytes([octet]))
            time.sleep(pause)
    return act


def endless(octets):
    def act(talk):
        while True:
            talk.send(octets)
    return act


def after(seconds, text):
    def act(talk):
        time.sleep(seconds)
        talk.reply(text)
    return act


def read_then(count, act_then):
    """Takes so many octets of the message, then goes on otherwise."""
    def act(talk):
        talk.reply("354 Go on")
        talk.octets(count)
        if isinstance(act_then, str):
            talk.reply(act_then)
        else:
            act_then(talk)
        hang(talk)
    return act
