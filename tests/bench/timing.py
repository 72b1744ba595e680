#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""How long the server takes to refuse a wrong password: of a user, and of a name that nobody has.

usage: timing.py [TRIES]

Runs against the installation that $POSTERN_PREFIX names. For each place where users may be, log-ins of both kinds take turns; a line tells
their means and the ratio. Nothing is judged: on a machine that does other things as well, the figures tell of these.
"""

import base64
import os
import sqlite3
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../functional"))

import postern  # noqa: E402
import test_userdb  # noqa: E402

# "pass" with a hash that takes some milliseconds, as it does for users; those of tests are quicker.
postern.PASSWORD_HASH = (
    "{SHA512-CRYPT}$6$rounds=20000$postern.timing$vPu"
    "dPJH7rtZ0Qun/gBk9HWtvIMLIXn.mHJa9CWiv0c2uSuemPUFScJ9HOiT1ahYR4Rb57btCmdzjOFxFCg0pw0"
)
LIMITS = "limits { connections_per_address = 0 auth_failures_per_minute = 100000 userdb_cache_time = 0 }\n"


def in_sqlite():
    path = os.path.join(postern.scratch_folder(), "users.sqlite")
    db = sqlite3.connect(path)
    with db:
        db.execute(test_userdb.CREATE)
        db.execute(test_userdb.INSERT + test_userdb.row("lisa"))
    db.close()
    return 'userdb "lite" { driver = "sqlite" path = "%s" query = "%s" }' % (path, test_userdb.QUERY)


def measure(name, user, users, settings, tries):
    with postern.Instance(users=users, settings=LIMITS + settings) as server:
        client = server.connect(tls=True)
        client.greeting()
        took = {user: [], "no-such-user": []}
        for _ in range(tries + 5):
            for who, times in took.items():
                begin = time.perf_counter()
                answer = client.command("AUTHENTICATE PLAIN " + plain(who))[1]
                times.append(time.perf_counter() - begin)
                assert answer.startswith(b"NO [AUTHENTICATIONFAILED]"), answer
    known, unknown = (statistics.mean(times[5:]) * 1000 for times in took.values())
    print("%-22s user %7.2f ms   unknown %7.2f ms   ratio %.3f" % (name, known, unknown, known / unknown), flush=True)


def plain(who):
    return base64.b64encode(b"\0" + who.encode() + b"\0wrong").decode()


def main():
    tries = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    measure("passwd-file", "alice", ("alice",), "", tries)
    measure("sqlite", "lisa", (), in_sqlite(), tries)
    directory = test_userdb.Directory(("dora", "pass", "imap"))
    try:
        measure("ldap", "dora", (), 'userdb "dir" { driver = "ldap" uri = "%s" base = "dc=example,dc=test" }' % directory.uri, tries)
    finally:
        directory.stop()
    database = test_userdb.PostgreSQL()
    try:
        database.sql(test_userdb.CREATE + ";" + test_userdb.INSERT + test_userdb.row("peggy"))
        measure("postgresql", "peggy", (), 'userdb "big" { driver = "postgresql" connection = "host=%s dbname=postgres user=postern" query = "%s" }'
                % (database.folder, test_userdb.QUERY), tries)
    finally:
        database.stop()
    pam = 'userdb "pam" { driver = "pam" folder = "%s" }' % test_userdb.pam_folder()
    measure("pam", "daemon", (), pam, tries)
    measure("pam, and a passwd-file", "daemon", ("alice",), pam, tries)


if __name__ == "__main__":
    main()
