#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Real mail through a running server: what goes in comes out, octet for octet, whole and in parts.

usage: realmail.py [--prefix DIR] [--backend NAME] [--every N]

All messages of a corpus (tests/message/corpus_test.py says where it is looked for) go in by APPEND, and into another
mailbox by foreign delivery; each comes out as it went in, with the size that RFC822.SIZE says. Of every Nth (default: 1)
all sections are fetched, too: each part by number with its MIME header, messages within with HEADER and TEXT, and partial
ranges; and held against the octets of the whole and the sizes of BODYSTRUCTURE.
"""

import argparse
import binascii
import collections
import concurrent.futures
import hashlib
import os
import pathlib
import re
import sys
import tempfile

import postern

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "message"))

import corpus_test  # noqa: E402

AT_ONCE = 50
SESSIONS = 8
RANGES = ((0, 100), (7, 1), (1000, 4096))
WHOLE = "(UID RFC822.SIZE BODY.PEEK[] BODY.PEEK[HEADER] BODY.PEEK[TEXT] BODYSTRUCTURE ENVELOPE)"


class Different(AssertionError):
    """What came out is not what went in."""


def ensure(condition, text, *values):
    if not condition:
        raise Different(text % values)


class Corpus:
    """The messages as they must come out, by digest."""

    def __init__(self, path):
        self.names = {}
        self.messages = []
        with tempfile.TemporaryDirectory() as folder:
            for file in corpus_test.unpack(path, pathlib.Path(folder)):
                octets = file.read_bytes()
                self.names[digest(corpus_test.wire_form(octets))] = file.name
                self.messages.append(octets)

    def counts(self):
        return collections.Counter(digest(corpus_test.wire_form(octets)) for octets in self.messages)


def digest(octets):
    return hashlib.sha256(octets).digest()


def items(response):
    """What a FETCH response says: {item: octets of a string, int, list or None}."""
    text = response.decode("latin-1")
    at = text.index("(") + 1
    found = {}
    while text[at] != ")":
        match = re.compile(r" ?([A-Z0-9.]+(\[[^]]*\])?(<\d+>)?) ").match(text, at)
        ensure(match, "no item at %r", text[at:at + 40])
        value, at = corpus_test.parse(text, match.end())
        found[match.group(1)] = value.encode("latin-1") if isinstance(value, str) else value
    return found


# ---- in ------------------------------------------------------------------------------------------

def append_some(server, corpus, mailbox, messages):
    with server.session() as client:
        for octets in messages:
            answer = client.append(corpus_test.wire_form(octets), mailbox)
            ensure(answer.startswith(b"OK [APPENDUID "), "%s: APPEND was answered %r", name_of(corpus, octets), answer)


def append_all(server, corpus, mailbox):
    """By several sessions at once, which share what a commit costs."""
    with server.session() as client:
        client.ok("CREATE " + mailbox)
    with concurrent.futures.ThreadPoolExecutor(SESSIONS) as pool:
        for done in [pool.submit(append_some, server, corpus, mailbox, corpus.messages[first::SESSIONS])
                     for first in range(SESSIONS)]:
            done.result()


def deliver_all(server, corpus, mailbox):
    with server.session() as client:
        client.ok("CREATE " + mailbox)
    for octets in corpus.messages:
        server.deliver("alice", octets, mailbox)


def name_of(corpus, octets):
    return corpus.names[digest(corpus_test.wire_form(octets))]


# ---- out -----------------------------------------------------------------------------------------

def check_mailbox(client, corpus, mailbox, every):
    """Gives how many sections were compared."""
    missing = corpus.counts()
    client.ok("SELECT " + mailbox)
    sections = 0
    total = len(corpus.messages)
    for first in range(1, total + 1, AT_ONCE):
        for response in client.ok("FETCH %d:%d %s" % (first, min(first + AT_ONCE - 1, total), WHOLE)):
            if b"FETCH" not in response.split(b"(", 1)[0]:
                continue
            found = items(response)
            whole = found["BODY[]"]
            key = digest(whole)
            name = corpus.names.get(key)
            ensure(name, "%s: UID %d is no message of the corpus, or not as it went in", mailbox, found["UID"])
            missing[key] -= 1
            check_whole(name, found)
            if missing[key] == 0 and int.from_bytes(key[:4], "big") % every == 0:
                sections += check_sections(client, name, found)
    left = [corpus.names[key] for key, count in missing.items() if count != 0]
    ensure(not left, "%s: not there, or too often: %s", mailbox, left[:10])
    return sections


def check_whole(name, found):
    whole = found["BODY[]"]
    ensure(found["RFC822.SIZE"] == len(whole), "%s: RFC822.SIZE %d, BODY[] has %d", name, found["RFC822.SIZE"], len(whole))
    ensure(found["BODY[HEADER]"] + found["BODY[TEXT]"] == whole, "%s: HEADER and TEXT are not the whole", name)
    ensure(not re.search(rb"(?<!\r)\n", whole), "%s: a bare LF", name)
    corpus_test.check_envelope(found["ENVELOPE"])


def parts(structure, number=(), message=True):
    """(number, kind, fields) of every part that has a number; kind is "leaf", "message" or "multipart"."""
    if isinstance(structure[0], list):
        if number:
            yield number, "multipart", structure
        for child, part in enumerate(part for part in structure if isinstance(part, list) and is_body(part)):
            yield from parts(part, number + (child + 1,), False)
        return
    if message:
        number += (1,)
    within = structure[0].lower() == "message" and structure[1].lower() in ("rfc822", "global")
    yield number, "message" if within else "leaf", structure
    if within:
        inner = structure[8]
        yield from parts(inner, number, not isinstance(inner[0], list))


def is_body(part):
    """A body ahead of a multipart's subtype, and not its parameters behind."""
    return isinstance(part[0], list) or (len(part) >= 7 and isinstance(part[6], int))


def check_sections(client, name, found):
    """All sections of one message; in one FETCH what it has, in a second one their ranges."""
    whole, uid = found["BODY[]"], found["UID"]
    bodies = {"": whole}
    asked = []
    known = list(parts(found["BODYSTRUCTURE"]))
    for number, kind, _ in known:
        dotted = ".".join(map(str, number))
        asked += [dotted, dotted + ".MIME"] + ([dotted + ".HEADER", dotted + ".TEXT"] if kind == "message" else [])
    got = fetch(client, uid, asked)
    for number, kind, fields in known:
        dotted = ".".join(map(str, number))
        body, mime = got[dotted], got[dotted + ".MIME"]
        if kind != "multipart":
            ensure(len(body) == fields[6], "%s: part %s has %d octets, says %d", name, dotted, len(body), fields[6])
        if kind == "message":
            ensure(got[dotted + ".HEADER"] + got[dotted + ".TEXT"] == body, "%s: %s.HEADER and TEXT", name, dotted)
        ensure(mime + body in whole, "%s: part %s and its header are not in the whole", name, dotted)
        bodies[dotted] = body
    check_ranges(client, name, uid, bodies)
    check_binary(client, name, uid, {".".join(map(str, number)): fields[5].lower() for number, kind, fields in known
                                     if kind == "leaf" and fields[5].lower() in DECODED}, bodies)
    return len(asked)


def decode_base64(body):
    return binascii.a2b_base64(body.replace(b"\r\n", b""), strict_mode=True)


def decode_quoted(body):
    if re.search(rb"=(?![0-9A-Fa-f]{2}|\r\n)|[ \t]\r\n|[ \t]$", body):
        raise ValueError("not as it should be")
    return re.sub(rb"=\r\n|=(..)", lambda match: bytes.fromhex(match.group(1).decode()) if match.group(1) else b"", body)


DECODED = {"base64": decode_base64, "quoted-printable": decode_quoted, "7bit": bytes, "8bit": bytes, "binary": bytes}


def parse_binary(text, at):
    """A literal8, and then it has NUL; or a string, which has none."""
    match = re.compile(r"~\{(\d+)\}\r\n").match(text, at)
    if not match:
        value, at = corpus_test.parse(text, at)
        return value.encode("latin-1"), at
    end = match.end() + int(match.group(1))
    ensure("\0" in text[match.end():end], "a literal8 without NUL")
    return text[match.end():end].encode("latin-1"), end


def check_binary(client, name, uid, encodings, bodies):
    """BINARY (RFC 3516) is what decoding gives where nothing is wrong with the encoding; and has the size it says everywhere."""
    if not encodings:
        return
    response = next(line for line in client.ok("UID FETCH %d (%s)" % (uid, " ".join(
        "BINARY.SIZE[%s] BINARY.PEEK[%s]" % (section, section) for section in encodings))) if b"BINARY" in line)
    text = response.decode("latin-1")
    at = text.index("(") + 1
    for section, encoding in encodings.items():
        at = text.index("BINARY.SIZE[%s] " % section, at)
        size, at = corpus_test.parse(text, text.index(" ", at) + 1)
        at = text.index("BINARY[%s] " % section, at)
        value, at = parse_binary(text, text.index(" ", at) + 1)
        ensure(len(value) == size, "%s: BINARY.SIZE[%s] is %d, BINARY has %d", name, section, size, len(value))
        try:
            ensure(value.replace(b"\0", b"\x80") == DECODED[encoding](bodies[section]).replace(b"\0", b"\x80"),
                   "%s: BINARY[%s]", name, section)
        except ValueError:
            pass


def check_ranges(client, name, uid, bodies):
    ranges = [(section, start, count) for section, body in bodies.items()
              for start, count in RANGES + ((max(len(body) - 5, 0), 100), (len(body), 5))]
    response = next(line for line in client.ok("UID FETCH %d (%s)" % (uid, " ".join(
        "BODY.PEEK[%s]<%d.%d>" % asked for asked in ranges))) if b"BODY[" in line)
    text = response.decode("latin-1")
    at = text.index("(") + 1
    for section, start, count in ranges:
        at = text.index("BODY[%s]<%d> " % (section, start), at)
        value, at = corpus_test.parse(text, text.index(" ", at) + 1)
        ensure(value is not None and value.encode("latin-1") == bodies[section][start:start + count],
               "%s: BODY[%s]<%d.%d>", name, section, start, count)


def fetch(client, uid, sections):
    line = next(line for line in client.ok("UID FETCH %d (%s)" % (
        uid, " ".join("BODY.PEEK[%s]" % section for section in sections))) if b"BODY[" in line)
    found = items(line)
    for section in sections:
        ensure(found["BODY[%s]" % section] is not None, "UID %d: BODY[%s] is NIL", uid, section)
    return {section: found["BODY[%s]" % section] for section in sections}


# ---- both ways -----------------------------------------------------------------------------------

def run_appended(server, corpus, every):
    append_all(server, corpus, "Appended")
    with server.session() as client:
        return check_mailbox(client, corpus, "Appended", every)


def run_delivered(server, corpus, every):
    deliver_all(server, corpus, "Delivered")
    with server.session() as client:
        return check_mailbox(client, corpus, "Delivered", every)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prefix", help="the installation (default: $POSTERN_PREFIX)")
    parser.add_argument("--backend", default="maildir")
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()
    path = corpus_test.find_corpus()
    if not path:
        sys.exit("there is no corpus: set POSTERN_CORPUS")
    corpus = Corpus(path)
    with postern.Instance(backend=options.backend, users=("alice",),
                          installation=postern.Installation(options.prefix)) as server:
        print("%d messages" % len(corpus.messages), flush=True)
        print("appended: %d sections" % run_appended(server, corpus, options.every), flush=True)
        if options.backend == "maildir":
            print("delivered: %d sections" % run_delivered(server, corpus, options.every), flush=True)
        reports = postern.sanitizer_reports(server.log())
    return "\n".join(reports) or 0


if __name__ == "__main__":
    os.environ.setdefault("POSTERN_TEST_PATIENCE", "60")
    sys.exit(main())
