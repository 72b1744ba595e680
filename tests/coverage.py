#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Which lines of the server its tests have run: sums up, in the folder of a build with --enable-coverage, what ran there since ./coverage was made.

usage: coverage.py [--missing FILE]...

--missing: the lines of a file that were not run. Counters lie in files that each process maps when it begins, so roles that are confined, and what is
killed, count like all else.
"""

import argparse
import collections
import fnmatch
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

AIMS = {"total": 85, "parsers": 95, "storage commit": 95}  # per cent


def run(*arguments):
    return subprocess.run([str(argument) for argument in arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def gather():
    """Of each source the lines, with how often they were run, by whichever program."""
    profile, prefix = pathlib.Path("coverage/sum.profdata"), pathlib.Path("prefix")
    # Who was killed in its first instant may leave a file that is none.
    run("llvm-profdata", "merge", "-sparse", "-failure-mode=all", "-o", profile, *sorted(profile.parent.glob("*.profraw")))
    # Test programs have copies of what plugins have: counters are merged by the names of functions.
    objects = [prefix / "lib/libpostern.so", prefix / "sbin/posternd", prefix / "bin/postern", *(prefix / "lib/postern").rglob("*.so")]
    text = run("llvm-cov", "export", "--format=lcov", "--instr-profile", profile, objects[0],
               *(word for each in objects[1:] for word in ("--object", each)))
    files = collections.defaultdict(lambda: collections.defaultdict(int))
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == "SF":
            path = pathlib.Path(value).resolve()
            file = str(path.relative_to(SOURCE)) if path.is_relative_to(SOURCE) else None
        elif key == "DA" and file and not file.startswith(("tests/", "plugins/")):
            number, count = value.split(",")[:2]
            files[file][int(number)] += int(count)
    return files


def is_of(file, group):
    return any(fnmatch.fnmatch(file, pattern) for pattern in GROUPS[group].split())


def lines_of(files):
    """How many were run, and how many there are."""
    return sum(sum(1 for count in lines.values() if count) for lines in files.values()), sum(len(lines) for lines in files.values())


def share(files):
    ran, lines = lines_of(files)
    return "%5.1f %%  %6d of %6d lines" % (100.0 * ran / max(lines, 1), ran, lines)


def reaches(files, aim):
    ran, lines = lines_of(files)
    return 100.0 * ran >= aim * lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--missing", action="append", default=[])
    arguments = parser.parse_args()
    files = gather()
    for file in sorted(files):
        print("%s  %s" % (share({file: files[file]}), file))
        if file in arguments.missing:
            print("   ", " ".join(str(line) for line in sorted(files[file]) if not files[file][line]))
    sums = {"total": files}
    for group in GROUPS:
        sums[group] = {file: lines for file, lines in files.items() if is_of(file, group)}
    for name, counted in sums.items():
        print("%-15s %s; aim: %d %%" % (name, share(counted), AIMS[name]))
    return 0 if all(reaches(counted, AIMS[name]) for name, counted in sums.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
