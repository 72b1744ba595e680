# SPDX-License-Identifier: MIT
"""The next host, to which a server sends mail on."""

import contextlib
import re
import socketserver
import threading
import time


class Sink(socketserver.ThreadingTCPServer):
    """The next host. What it says to a recipient is in `answers`: {local part: [replies, the last for ever]}; 250 without."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), SinkSession)
        self.port = self.server_address[1]
        self.answers = {}
        self.received = []  # (sender, [recipients], octets)
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def answer(self, recipient):
        with self.lock:
            replies = self.answers.get(recipient.partition("@")[0], ["250 2.1.5 OK"])
            return replies.pop(0) if len(replies) > 1 else replies[0]

    def keep(self, sender, recipients, octets, _began):
        """A message that gets its 250 next; `_began` is when its MAIL came."""
        self.received.append((sender, recipients, octets))

    def subjects(self):
        with self.lock:
            return [re.search(rb"^Subject: (.*?)\r\n", octets, re.M).group(1).decode() for _, _, octets in self.received]


class SinkSession(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def handle(self):
        with contextlib.suppress(ConnectionError):
            self.dialogue()

    def dialogue(self):
        sender, recipients, began = "", [], 0
        self.say("220 sink ESMTP")
        for line in self.rfile:
            verb = line[:4].upper()
            path = re.search(rb"<([^>]*)>", line)
            if verb == b"EHLO":
                self.say("250-sink\r\n250-ENHANCEDSTATUSCODES\r\n250 8BITMIME")
            elif verb == b"MAIL":
                sender, recipients, began = path.group(1).decode(), [], time.monotonic()
                self.say("250 2.1.0 OK")
            elif verb == b"RCPT":
                reply = self.server.answer(path.group(1).decode())
                if reply.startswith("2"):
                    recipients.append(path.group(1).decode())
                self.say(reply)
            elif verb == b"DATA":
                self.say("354 go" if recipients else "554 5.5.1 nobody")
                if recipients:
                    self.message(sender, recipients, began)
            elif verb == b"QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 OK")

    def message(self, sender, recipients, began):
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            if not line.endswith(b"\n"):
                return  # the client is gone, and this is not its message
            lines.append(line[1:] if line.startswith(b".") else line)
        with self.server.lock:
            self.server.keep(sender, recipients, b"".join(lines), began)
        self.say("250 2.0.0 taken")
