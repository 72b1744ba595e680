#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Which lines of the server its unit tests run: builds with --coverage below ./coverage, runs `make check`, and prints a summary.

usage: coverage.py [--no-run] [--missing FILE]... [TEST...]

With names of tests only these are run. --no-run: of what lies there from before. --missing: the lines of a file that were not run.
"""

import argparse
import collections
import concurrent.futures
import fnmatch
import json
import os
import pathlib
import subprocess
import sys

SOURCE = pathlib.Path(__file__).resolve().parent.parent

# What reads octets of anybody, and what makes changes durable. The rest is counted in the total only.
GROUPS = {
    "parsers": """
        auth/apps.c auth/entry.c auth/names.c auth/nets.c auth/passwdfile.c auth/sasl.c auth/scram.c auth/tokens.c
        backends/maildir/adopt*.c backends/maildir/keywords.c backends/maildir/msgname.c backends/maildir/names.c
        backends/maildir/uidlist.c backends/mbox/head.c backends/mbox/names.c backends/mbox/scan.c
        core/config/*.c core/delivery/client/caps.c core/delivery/client/reply.c core/delivery/client/sts_policy.c
        core/delivery/queue/record.c core/delivery/route/address.c core/delivery/route/aliases.c core/delivery/trace/record.c
        core/dns/answer.c core/dns/name.c core/message/*.c core/net/proxy.c core/process/messages.c core/store/index/filename.c
        core/store/mutf7.c core/store/name.c core/store/set.c core/sync/record.c
        protocols/imap/*_parse.c protocols/imap/args.c protocols/imap/flags.c protocols/imap/names.c protocols/imap/object_id.c
        protocols/imap/partial.c protocols/imap/reader.c protocols/imap/strings.c protocols/smtp/address.c protocols/smtp/header.c
        protocols/smtp/lines.c protocols/smtp/message.c protocols/smtp/parameters.c protocols/smtp/path.c""",
    "storage commit": """
        backends/*/commit.c backends/*/plan*.c backends/*/stage.c backends/*/steps.c backends/*/write.c backends/mbox/journal.c
        core/delivery/queue/bodies.c core/delivery/queue/commit.c core/delivery/queue/ops.c core/delivery/queue/take.c
        core/store/append.c core/store/catalogue/*.c core/store/change.c core/store/commit.c core/store/index/durable.c
        core/store/index/rows.c core/store/index/state.c core/store/index/tokens.c core/store/index/txn.c
        core/store/ledger/*.c core/store/pending.c""",
}


def run(arguments, **options):
    return subprocess.run(arguments, check=True, **options)


def build(folder):
    folder.mkdir(exist_ok=True)
    if not (folder / "config.status").exists():
        run([SOURCE / "configure", "-q", "CFLAGS=-O0 -g --coverage"], cwd=folder)
    run(["make", "-s", "-j%d" % os.cpu_count(), "all"], cwd=folder)
    run(["make", "-s", "-j%d" % os.cpu_count(), "check", "TESTS="], cwd=folder)


def test(folder, names):
    for old in folder.rglob("*.gcda"):
        old.unlink()
    tests = ["TESTS=" + " ".join(names)] if names else []
    # A test that fails has run its lines all the same; `make check` is there to say that it failed.
    subprocess.run(["make", "-s", "-k", "-j%d" % os.cpu_count(), "check"] + tests, cwd=folder, check=False,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def lines_of(note):
    """{file: {line: times}} of an object, whether or not it has run."""
    data = note.with_suffix(".gcda")
    text = run(["gcov", "--json-format", "--stdout", str(data if data.exists() else note)], cwd=note.parent, capture_output=True).stdout
    found = collections.defaultdict(dict)
    for document in filter(None, text.split(b"\n")):
        parsed = json.loads(document)
        base = pathlib.Path(parsed.get("current_working_directory", "."))
        for file in parsed["files"]:
            path = (base / file["file"]).resolve()
            if path.is_relative_to(SOURCE):
                lines = found[str(path.relative_to(SOURCE))]
                for line in file["lines"]:
                    lines[line["line_number"]] = max(line["count"], lines.get(line["line_number"], 0))
    return found


def gather(folder):
    """Of each source the lines, with how often any object of it has run them."""
    notes = [note for note in folder.rglob("*.gcno") if not str(note.relative_to(folder)).startswith(("tests/", "plugins/"))]
    total = collections.defaultdict(lambda: collections.defaultdict(int))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for found in pool.map(lines_of, notes):
            for file, lines in found.items():
                for line, count in lines.items():
                    total[file][line] += count
    return {file: lines for file, lines in total.items() if not file.startswith("tests/")}


def is_of(file, group):
    return any(fnmatch.fnmatch(file, pattern) for pattern in GROUPS[group].split())


def share(files):
    lines = sum(len(lines) for lines in files.values())
    ran = sum(sum(1 for count in lines.values() if count) for lines in files.values())
    return "%5.1f %%  %6d of %6d lines" % (100.0 * ran / max(lines, 1), ran, lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--no-run", action="store_true")
    parser.add_argument("--missing", action="append", default=[])
    parser.add_argument("tests", nargs="*")
    arguments = parser.parse_args()
    folder = pathlib.Path("coverage").resolve()
    if not arguments.no_run:
        build(folder)
        test(folder, arguments.tests)
    files = gather(folder)
    for file in sorted(files):
        print("%s  %s" % (share({file: files[file]}), file))
        if file in arguments.missing:
            print("   ", " ".join(str(line) for line in sorted(files[file]) if not files[file][line]))
    print("%-15s %s, %d files" % ("total", share(files), len(files)))
    for group in GROUPS:
        print("%-15s %s" % (group, share({file: lines for file, lines in files.items() if is_of(file, group)})))
    return 0


if __name__ == "__main__":
    sys.exit(main())
