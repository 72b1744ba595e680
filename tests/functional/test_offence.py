# SPDX-License-Identifier: MIT
"""What a role that somebody has taken over may do to the others by way of master: nothing but what its rows allow.

The test speaks on the channels of running roles, which takes root (pidfd_getfd())."""

import ctypes
import os
import re
import socket
import struct
import time
import unittest

import postern
from server_test import ServerTest

PIDFD_OPEN, PIDFD_GETFD = 434, 438
MASTER_FD = 3
ROLES = {"master": 1, "front": 2, "auth": 4, "signer": 8, "mail": 16}
MESSAGES = os.path.join(os.path.dirname(__file__), "../../core/process/messages.def")
libc = ctypes.CDLL(None, use_errno=True)


def message_type(name):
    with open(MESSAGES, encoding="ascii") as file:
        return re.findall(r"^\tM\((\w+),", file.read(), re.M).index(name) + 1


def channel_to_master(pid):
    """A descriptor of the role's own channel, in this process."""
    pidfd = libc.syscall(PIDFD_OPEN, pid, 0)
    fd = libc.syscall(PIDFD_GETFD, pidfd, MASTER_FD, 0) if pidfd >= 0 else -1
    if pidfd >= 0:
        os.close(pidfd)
    if fd < 0:
        raise unittest.SkipTest("the channels of a role cannot be had: " + os.strerror(ctypes.get_errno()))
    return socket.socket(fileno=fd)


class Offence(ServerTest):
    settings = "front_processes = 2\nmail_processes = 2\n" + ServerTest.settings
    may_die = True

    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("needs root")
        postern.wait_until(lambda: len(self.server.roles()) == 6, "all roles")

    def complain(self, by, role, index):
        pid = next(pid for pid, name in self.server.roles() if name == by)
        with channel_to_master(pid) as channel:
            channel.sendall(struct.pack("=III", message_type("OFFENCE"), role, index))

    def test_nobody_but_fronts_is_complained_about(self):
        before = sorted(self.server.roles())
        for by in ("mail", "auth"):
            for role in ("master", "auth", "signer", "mail"):
                for index in (0, 1, 2, 0xffffffff):
                    self.complain(by, ROLES[role], index)
            for role in (0, 6, 18, 31, 0xffffffff):
                self.complain(by, role, 0)
            self.complain(by, ROLES["front"], 2)
            self.complain(by, ROLES["front"], 0xffffffff)
        self.session().ok("NOOP")
        time.sleep(0.2)
        self.assertEqual(sorted(self.server.roles()), before)

    def test_a_front_complained_about_is_ended_and_no_other(self):
        before = self.server.roles()
        self.complain("mail", ROLES["front"], 1)
        postern.wait_until(lambda: self.server.roles() != before, "an end")
        gone = set(before) - set(self.server.roles())
        self.assertEqual([role for _, role in gone], ["front"])
        self.assertIn("event=role_killed role_name=front", self.server.log())
        postern.wait_until(lambda: len(self.server.roles()) == 6, "another")
        postern.wait_until(self.serves, "service")

    def test_a_front_that_complains_is_ended(self):
        """No row lets it."""
        before = self.server.roles()
        victim = next(pid for pid, name in before if name == "front")
        self.complain("front", ROLES["front"], 1)
        postern.wait_until(lambda: victim not in dict(self.server.roles()), "its end")
        self.assertEqual({pid for pid, _ in before} - {pid for pid, _ in self.server.roles()}, {victim})
        self.assertIn("front may not send offence", self.server.log())
        postern.wait_until(lambda: len(self.server.roles()) == 6, "another")
        postern.wait_until(self.serves, "service")

    def serves(self):
        try:
            with self.server.session() as client:
                client.ok("NOOP")
            return True
        except (OSError, postern.Closed, AssertionError):
            return False
