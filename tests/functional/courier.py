#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Records a Maildir that Courier wrote, and what a client of Courier saw there, as courier.json.

usage: courier.py IMAPD      the program of Debian's courier-imap, which may be unpacked (dpkg -x) instead of installed: it
                             and dovecot-imapd exclude each other. It runs as a shell account would run it, without a log-in.
"""

import base64
import imaplib
import json
import os
import pathlib
import shlex
import sys
import tempfile

RECORD = pathlib.Path(__file__).with_name("courier.json")
PREFIX = "INBOX."


def record(imapd):
    import test_adoption  # which reads what is recorded here

    with tempfile.TemporaryDirectory() as top:
        maildir = os.path.join(top, "Maildir")
        for place in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(maildir, place))
        client = imaplib.IMAP4_stream(shlex.join((
            "env", "IMAP_KEYWORDS=1", "IMAP_UMASK=077", "IMAP_ULIMITD=500000", "IMAP_CAPABILITY=IMAP4rev1 UIDPLUS",
            imapd, maildir)) + " 2>/dev/null")
        client.state = "AUTH"  # where FAM does not run, a warning comes ahead of PREAUTH
        test_adoption.fill(client, ".", PREFIX)
        mailboxes, subscribed = test_adoption.view(client)
        client.logout()
        files = {}
        for path in sorted(pathlib.Path(maildir).rglob("*")):
            if path.is_file():
                files[str(path.relative_to(maildir))] = [path.read_text("utf-8"), int(path.stat().st_mtime)]
    return {
        "mailboxes": {plain(name): [numbers, {
            uid: [sorted(flag.decode() for flag in flags), date.decode(), base64.b64encode(octets).decode()]
            for uid, (flags, date, octets) in messages.items()}] for name, (numbers, messages) in mailboxes.items()},
        "subscribed": sorted(plain(name.decode()) for name in subscribed),
        "files": files,
    }


def plain(name):
    """The name as a client of ours sees it: Courier has a prefix."""
    return name.removeprefix("INBOX/")


def read():
    """(mailboxes, subscribed) as test_adoption.view() gives them, and {path: (text, time)}."""
    recorded = json.loads(RECORD.read_text("ascii"))
    mailboxes = {name: (numbers, {
        int(uid): (frozenset(flag.encode() for flag in flags), date.encode(), base64.b64decode(octets))
        for uid, (flags, date, octets) in messages.items()}) for name, (numbers, messages) in recorded["mailboxes"].items()}
    return mailboxes, {name.encode() for name in recorded["subscribed"]}, recorded["files"]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    RECORD.write_text(json.dumps(record(sys.argv[1]), indent=0, sort_keys=True) + "\n", "ascii")
