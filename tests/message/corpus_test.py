#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""corpus_test - what core derives from a corpus of real mail, held against the mail itself and against Python's email.

The corpus is a .tar.xz of one message a file, named by $POSTERN_CORPUS, or ../shared/corpus/real-mail.tar.xz beside the
sources; without it everything is skipped. Prints TAP.
"""
import email
import email.policy
import email.utils
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile

SOURCE = pathlib.Path(os.environ.get("srcdir") or pathlib.Path(__file__).resolve().parents[2]).resolve()
DUMP = "tests/message/derive_dump"


def find_corpus():
    named = os.environ.get("POSTERN_CORPUS")
    places = [pathlib.Path(named)] if named else [
        top / "shared/corpus/real-mail.tar.xz" for top in SOURCE.parents]
    return next((place for place in places if place.is_file()), None)


# ---- IMAP's texts, parsed again ----------------------------------------------------------------

def parse(text, at):
    """The value at `at` and where it ends: a list, a str (latin-1), an int or None."""
    if text[at] == "(":
        items, at = [], at + 1
        while text[at] != ")":
            if text[at] == " ":
                at += 1
            item, at = parse(text, at)
            items.append(item)
        return items, at + 1
    if text[at] == '"':
        value, at = [], at + 1
        while text[at] != '"':
            assert text[at] not in "\r\n\0" and ord(text[at]) < 128, "octet in a quoted string"
            at += text[at] == "\\"
            value.append(text[at])
            at += 1
        return "".join(value), at + 1
    if text[at] == "{":
        end = text.index("}", at)
        start = end + 3
        assert text[end + 1:start] == "\r\n"
        value = text[start:start + int(text[at + 1:end])]
        assert "\0" not in value, "NUL in a literal"
        return value, start + len(value)
    end = at
    while text[end] not in " ()":
        end += 1
    return (None if text[at:end] == "NIL" else int(text[at:end])), end


def parse_all(text):
    value, end = parse(text, 0)
    assert end == len(text), "something behind the value"
    return value


def is_params(value):
    return value is None or (isinstance(value, list) and len(value) % 2 == 0 and all(isinstance(v, str) for v in value))


def is_disposition(value):
    return value is None or (len(value) == 2 and isinstance(value[0], str) and is_params(value[1]))


def leaves(structure, number=(), message=True):
    """(number, fields) of each leaf of a BODYSTRUCTURE, which must be of the grammar of RFC 3501."""
    if isinstance(structure[0], list):
        count = next(i for i, item in enumerate(structure) if isinstance(item, str))
        assert len(structure) == count + 5 and is_params(structure[count + 1])
        assert is_disposition(structure[count + 2])
        for i, part in enumerate(structure[:count]):
            yield from leaves(part, number + (i + 1,), False)
        return
    if message:
        number += (1,)
    kind, subtype = structure[0].lower(), structure[1].lower()
    assert is_params(structure[2]) and isinstance(structure[5], str) and isinstance(structure[6], int)
    extension = structure[7:]
    if kind == "text":
        assert isinstance(extension[0], int)
        extension = extension[1:]
    elif kind == "message" and subtype in ("rfc822", "global"):
        check_envelope(extension[0])
        assert isinstance(extension[2], int)
        yield from ((n, f) for n, f in leaves(extension[1], number, True))
        extension = extension[3:]
    assert len(extension) == 4 and is_disposition(extension[1])
    yield number, structure


def check_address(address):
    assert len(address) == 4 and all(part is None or isinstance(part, str) for part in address)


def check_envelope(envelope):
    assert len(envelope) == 10
    for item in envelope[2:8]:
        for address in item or []:
            check_address(address)
    for item in envelope[:2] + envelope[8:]:
        assert item is None or isinstance(item, str)


# ---- checks: each gets the dump, the message as sent, and Python's reading of it -----------------

def check_internal(dump, wire, _):
    assert "error" not in dump, dump.get("error")


def check_sizes(dump, wire, _):
    """The size and lines of BODYSTRUCTURE are those of the octets that the section gives."""
    spans = {}
    for part in dump["parts"]:
        spans[part["part"]] = part
    found = set()
    for number, fields in leaves(parse_all(dump["bodystructure"])):
        name = ".".join(map(str, number))
        start, length, lines = spans[name]["body"]
        octets = wire[start:start + length]
        found.add(name)
        assert len(octets) == fields[6] == length, f"part {name}: {fields[6]} octets, section has {len(octets)}"
        assert octets.count(b"\n") == lines, f"part {name}: lines"
        if fields[0].lower() == "text":
            assert fields[7] == lines, f"part {name}: lines in BODYSTRUCTURE"
        head, size, _ = spans[name]["mime"]
        header = wire[head:head + size]
        assert head + size == start or name == "1", f"part {name}: header not ahead of body"
        assert header == b"" or b"\r\n\r\n" not in header[:-4], f"part {name}: blank line within the header"
    assert found == set(spans), "leaves and BODYSTRUCTURE differ"


def check_envelope_grammar(dump, wire, _):
    check_envelope(parse_all(dump["envelope"]))
    parse_all(dump["body"])


def unfolded(value):
    return value.replace("\r\n", "").replace("\n", "").strip(" \t\r\n")


def octets(value):
    """Python's surrogates back to octets, as the dump has them."""
    return value.encode("ascii", "surrogateescape").decode("latin-1")


def check_texts(dump, wire, message):
    """Subject and Message-ID are what Python finds."""
    envelope = parse_all(dump["envelope"])
    for place, name in ((0, "Date"), (1, "Subject"), (8, "In-Reply-To"), (9, "Message-ID")):
        want = next((v for k, v in message.raw_items() if k.lower() == name.lower()), None)
        if want is None:
            assert envelope[place] is None, f"{name} from nowhere"
        else:
            want = octets(unfolded(want))
            assert envelope[place] == want, f"{name}: {envelope[place]!r}, not {want!r}"


def check_addresses(dump, wire, message):
    """Where Python reads plain addresses, so do we."""
    envelope = parse_all(dump["envelope"])
    for place, name in ((2, "From"), (5, "To"), (6, "Cc")):
        values = [v for k, v in message.raw_items() if k.lower() == name.lower()]
        want = [octets(a) for _, a in email.utils.getaddresses([unfolded(v) for v in values])]
        ours = [f"{a[2]}@{a[3]}" for a in envelope[place] or [] if a[3] is not None]
        odd = any(c in v for v in values for c in ":;\\[]\"()") or any(a.count("@") != 1 or " " in a for a in want)
        if odd or any("<" in v and "@" in v.split("<")[0] for v in values):  # "a@b <a@b>" is two to Python
            continue
        assert ours == want, f"{name}: {ours}, not {want}"


def check_date(dump, wire, message):
    value = next((v for k, v in message.raw_items() if k.lower() == "date"), None)
    parsed = email.utils.parsedate_tz(value) if value else None
    if parsed and "date" in dump and abs(parsed[9] or 0) <= 14 * 3600:
        want = email.utils.mktime_tz(parsed)
        assert dump["date"][0] == want, f"{value!r}: {dump['date'][0]}, not {want}"
    elif parsed:
        assert "date" in dump or parsed[9] is None or want_impossible(parsed), f"{value!r} is not read"


def want_impossible(parsed):
    year, month, day, hour, minute, second = parsed[:6]
    return hour > 23 or minute > 59 or second > 60 or day > 31 or year < 1000


def python_leaves(part, number=(), message=True):
    if part.is_multipart() and part.get_content_maintype() == "multipart":
        for i, child in enumerate(part.get_payload()):
            yield from python_leaves(child, number + (i + 1,), False)
        return
    if message:
        number += (1,)
    yield number, part
    if part.get_content_type() == "message/rfc822" and part.is_multipart():
        yield from python_leaves(part.get_payload(0), number, True)


def check_tree(dump, wire, message):
    """Parts, types and octets are Python's, where it found no defect."""
    if any(part.defects for part in message.walk()):
        return
    ours = {part["part"]: part for part in dump["parts"]}
    theirs = {".".join(map(str, n)): part for n, part in python_leaves(message)}
    assert sorted(ours) == sorted(theirs), f"parts {sorted(ours)}, not {sorted(theirs)}"
    for name, part in theirs.items():
        mine = ours[name]
        kind = f"{mine['type']}/{mine['subtype']}"
        if " " in part.get_content_type():  # a semicolon was forgotten
            continue
        assert kind == part.get_content_type(), f"part {name}: {kind}, not {part.get_content_type()}"
        if part.is_multipart():
            continue
        start, length, _ = mine["body"]
        body = wire[start:start + length]
        payload = vars(part)["_payload"].encode("ascii", "surrogateescape")  # get_payload() decodes charsets
        assert body == payload, f"part {name}: other octets ({len(body)}, not {len(payload)})"


CHECKS = [check_internal, check_sizes, check_envelope_grammar, check_texts, check_addresses, check_date, check_tree]


# ---- all messages ------------------------------------------------------------------------------

def unpack(corpus, folder):
    """One file a message, without the mbox line that many have ahead."""
    with tarfile.open(corpus) as tar:
        for member in tar:
            if not member.isfile():
                continue
            octets = tar.extractfile(member).read()
            if octets.startswith(b"From "):
                octets = octets[octets.index(b"\n") + 1:]
            path = folder / member.name.replace("/", "_")
            path.write_bytes(octets)
            yield path


def wire_form(octets):
    return octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n").replace(b"\0", b"\x80")


def run(corpus):
    failures = {check.__name__: [] for check in CHECKS}
    total = cache = size = 0
    with tempfile.TemporaryDirectory() as folder:
        paths = list(unpack(corpus, pathlib.Path(folder)))
        names = "".join(f"{path}\n" for path in paths)
        out = subprocess.run([DUMP], input=names, stdout=subprocess.PIPE, text=True, check=True, encoding="ascii").stdout
        for line, path in zip(out.splitlines(), paths, strict=True):
            dump, wire = json.loads(line), wire_form(path.read_bytes())
            message = email.message_from_bytes(wire, policy=email.policy.compat32)
            total, cache, size = total + 1, cache + dump["cache"], size + len(wire)
            for check in CHECKS:
                try:
                    check(dump, wire, message)
                except (AssertionError, KeyError, IndexError, ValueError, TypeError) as error:
                    failures[check.__name__].append(f"{path.name}: {error!r:.300}")
    print(f"# {total} messages, {size // max(total, 1)} octets each, caches {cache // max(total, 1)} octets each")
    return failures


def main():
    corpus = find_corpus()
    print(f"1..{len(CHECKS)}")
    if not corpus:
        for i, check in enumerate(CHECKS):
            print(f"ok {i + 1} - {check.__name__} # SKIP no corpus: set POSTERN_CORPUS")
        return 0
    failures = run(corpus)
    for i, (name, what) in enumerate(failures.items()):
        print(f"{'not ok' if what else 'ok'} {i + 1} - {name}" + (f": {len(what)} messages" if what else ""))
        for text in what[:20]:
            print("#", text)
    return 1 if any(failures.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
