# SPDX-License-Identifier: MIT
"""Accounts full of real mail: the corpus again and again, each time with a change (tests/message/corpus_test.py says where it
is looked for; without it the mail is made up)."""

import functools
import os
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "message"))

import corpus_test  # noqa: E402

FOLDERS = ("", ".Archive", ".Archive.2025", ".L&AOQ-nge", ".Sent")
LETTERS = ("", "S", "RS", "FS", "T", "D", "S", "S")


@functools.lru_cache(maxsize=1)
def _corpus():
    place = corpus_test.find_corpus()
    if not place:
        return ()
    with tempfile.TemporaryDirectory() as folder:
        return tuple(file.read_bytes() for file in corpus_test.unpack(place, pathlib.Path(folder)))


def mail(count):
    """So many messages; the n-th says so in its first field."""
    files = _corpus()
    for n in range(count):
        if files:
            yield b"Subject: known-%d\n" % n + files[n * 7 % len(files)]
        else:
            yield b"Subject: known-%d\nFrom: a@example.test\n\n%s\n" % (n, b"line\n" * (n % 50))


def make_maildir(top, count, folders=FOLDERS):
    """As another program left it: folders, flags, a date of each message's own."""
    for folder in folders:
        for part in ("cur", "new", "tmp"):
            (top / folder / part).mkdir(parents=True, exist_ok=True)
    for n, octets in enumerate(mail(count)):
        folder = top / folders[n * n % 11 % len(folders)]
        if n % 9 == 0:
            path = folder / "new" / f"{1400000000 + n}.M{n}.{top.name}"
        else:
            path = folder / "cur" / f"{1400000000 + n}.M{n}.{top.name}:2,{LETTERS[n % 8]}"
        path.write_bytes(octets)
        os.utime(path, (1400000000 + n, 1400000000 + n))
