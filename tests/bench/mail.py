# SPDX-License-Identifier: MIT
"""The mail that all servers are filled with: a Maildir, whose files are linked into each server's own."""

import os
import pwd
import random
import subprocess

DISTINCT = 5000  # messages; more are links to these: what they say does not matter to an index


def owner():
    """Who mail belongs to: the mail role's user, or, where servers are not started by root, ourselves."""
    return pwd.getpwnam("postern") if os.getuid() == 0 else pwd.getpwuid(os.getuid())


def link(tree, to):
    """Flags are in names, and nobody writes to a message, so one file serves all servers."""
    os.makedirs(os.path.dirname(to), exist_ok=True)
    subprocess.run(["cp", "-a", "--link", tree, to], check=True)
    os.chown(os.path.dirname(to), owner().pw_uid, owner().pw_gid)


class Texts:
    """Plain and alternative messages of real-life sizes; small ones where there are very many."""

    def __init__(self, sizes):
        self._rng = random.Random(1)
        self._sizes = sizes
        self._words = [f"w{self._rng.randrange(100000)}" for _ in range(2000)] + ["lunch", "invoice", "meeting"]

    def message(self, n):
        size, body, octets = self._rng.choice(self._sizes), [], 0
        while octets < size:
            body.append(" ".join(self._rng.choices(self._words, k=10)))
            octets += len(body[-1])
        head = (f"From: Person {n % 97} <p{n % 97}@example.test>\nTo: user@example.test\nCc: list@example.test\n"
                f"Subject: {' '.join(self._rng.choices(self._words, k=5))}\nMessage-ID: <{n}.1@example.test>\n"
                f"Date: Mon, 7 Feb 2022 21:52:{n % 60:02} +0000\nReferences: <{n - 1}.1@example.test>\n"
                f"X-Filler: {'x' * 600}\nMIME-Version: 1.0\n")
        if n % 3 == 0:
            return head + "Content-Type: text/plain; charset=utf-8\n\n" + "\n".join(body) + "\n"
        return (head + "Content-Type: multipart/alternative; boundary=\"b1\"\n\n--b1\nContent-Type: text/plain; charset=utf-8\n\n"
                + "\n".join(body) + "\n--b1\nContent-Type: text/html; charset=utf-8\n\n<p>" + body[0] + "</p>\n--b1--\n")


def make(tree, messages, mailbox="INBOX", sizes=(800, 1500, 3000, 6000, 12000, 40000)):
    """A Maildir with so many messages; of mailboxes besides INBOX in its folder .NAME."""
    folder = tree if mailbox == "INBOX" else os.path.join(tree, "." + mailbox)
    texts, made = Texts(sizes), []
    for sub in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(folder, sub), exist_ok=True)
    if folder != tree:
        open(os.path.join(folder, "maildirfolder"), "w", encoding="ascii").close()
    for n in range(messages):
        size = made[n % DISTINCT][1] if n >= DISTINCT else 0
        text = "" if size else texts.message(n)
        size = size or len(text)
        path = os.path.join(folder, "cur", f"{1600000000 + n}.M{n}P1.bench,S={size}:2,{'S' if n % 4 else ''}")
        if n < DISTINCT:
            with open(path, "w", encoding="ascii") as f:
                f.write(text)
            os.utime(path, (1600000000 + n, 1600000000 + n))
            made.append((path, size))
        else:
            os.link(made[n % DISTINCT][0], path)
    own(tree)


def make_folders(tree, count):
    """A Maildir with so many folders besides INBOX, all empty."""
    for folder in [""] + [".F%05d" % n for n in range(count)]:
        for sub in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(tree, folder, sub))
        if folder:
            open(os.path.join(tree, folder, "maildirfolder"), "w", encoding="ascii").close()
    own(tree)


def own(tree):
    subprocess.run(["chown", "-R", "%d:%d" % (owner().pw_uid, owner().pw_gid), tree], check=True)
