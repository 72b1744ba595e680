# SPDX-License-Identifier: MIT
"""What the Python tests share: a test case with a server of its own."""

import re
import smtplib
import sys
import unittest

import postern


class ServerTest(unittest.TestCase):
    """One server for the tests of a class. At its end it must stop by itself, without a sanitizer's report."""

    backend = postern.BACKENDS[0]
    users = ("alice", "bob")
    settings = "limits { connections_per_address = 0 auth_failures_per_minute = 10000 }"
    tls = ""
    users_with = {}  # {fields of the passwd-file: more users}; {mail_root} stands for its path
    may_die = False  # the test kills roles

    @classmethod
    def setUpClass(cls):
        cls.server = postern.Instance(backend=cls.backend, users=cls.users, settings=cls.settings, tls=cls.tls)
        for fields, names in cls.users_with.items():
            cls.server.add_users(*names, fields=fields.replace("{mail_root}", cls.server.mail_root))
        cls.server.start()
        cls.addClassCleanup(cls._finish)

    @classmethod
    def _finish(cls):
        log_path = cls.server.log_path
        status = cls.server.stop()
        with open(log_path, encoding="utf-8", errors="replace") as file:
            reports = postern.sanitizer_reports(file.read())
        if cls.may_die:
            reports = [report for report in reports if "Sanitizer" in report or "runtime error" in report]
        if status != 0 or reports:
            raise AssertionError("exit status %s\n%s" % (status, "\n".join(reports) or cls.server.log_tail()))

    def session(self, user="alice", select=None):
        client = self.server.session(user, select)
        self.addCleanup(client.close)
        return client

    def connect(self, **options):
        client = self.server.connect(**options)
        self.addCleanup(client.close)
        return client


def in_time(connect):
    """What connect() gives, of a server that has little patience on purpose: a busy machine may be slower than that."""
    def attempt():
        try:
            return connect()
        except (OSError, postern.Closed, smtplib.SMTPException):
            return None
    return postern.wait_until(attempt, "a client that is quick enough")


def for_each_backend(cls):
    """Makes a class per backend of it."""
    module = sys.modules[cls.__module__]
    for backend in postern.BACKENDS:
        name = "%s_%s" % (cls.__name__, backend)
        setattr(module, name, type(name, (cls,), {"backend": backend, "__module__": cls.__module__}))


def flags_by_uid(client):
    """{uid: set of flags} of the selected mailbox."""
    found = {}
    for line in client.ok("UID FETCH 1:* (UID FLAGS)"):
        uid = re.search(rb"UID (\d+)", line)
        flags = re.search(rb"FLAGS \(([^)]*)\)", line)
        if uid and flags:
            found[int(uid.group(1))] = set(flags.group(1).decode().split()) - {"\\Recent"}
    return found


def subjects_by_uid(client):
    found = {}
    for line in client.ok("UID FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])"):
        uid = re.search(rb"UID (\d+)", line)
        subject = re.search(rb"Subject: ([^\r\n]*)", line)
        if uid and subject:
            found[int(uid.group(1))] = subject.group(1).decode()
    return found


def status(client, mailbox, *items):
    """STATUS as {item: number}."""
    line = next(l for l in client.ok("STATUS %s (%s)" % (mailbox, " ".join(items))) if b"STATUS" in l)
    words = re.search(rb"\(([^()]*)\)\r\n$", line).group(1).decode().split()
    return dict(zip(words[::2], map(int, words[1::2])))
