# SPDX-License-Identifier: MIT
"""isolation = per-user: each user's mail process, what it reaches, and what ends it."""

import json
import os
import re
import signal
import subprocess
import unittest

import postern
import test_mounts
from server_test import ServerTest

HERE = os.path.dirname(os.path.abspath(__file__))
PER_USER = 'isolation = "per-user"\n'
STAYS = PER_USER + 'user_process_idle = "1h"\n'
# A process is not ended while a ticket for it may be on its way, which is half a minute.
PATIENCE = 120
MANY = 20 if postern.SANITIZED else 200


def mail_processes(server):
    return {pid for pid, role in server.roles() if role == "mail"}


def uids_of(pid):
    with open("/proc/%d/status" % pid, encoding="ascii") as file:
        return next(line.split()[1:] for line in file if line.startswith("Uid:"))


def is_idling(client):
    client.send(b"i IDLE\r\n")
    return client.line().startswith(b"+")


def stops_idling(client):
    client.send(b"DONE\r\n")
    client.finish(b"i")


def lmtp(server, user, text):
    with server.connect(protocol="lmtp") as client:
        client.line()
        for command in ("LHLO here", "MAIL FROM:<>", "RCPT TO:<%s@%s>" % (user, server.domain), "DATA"):
            client.send(command.encode() + b"\r\n")
            line = client.line()
            while line[3:4] == b"-":
                line = client.line()
            assert line[:1] in b"23", line
        client.send(postern.message(text) + b".\r\n")
        return client.line()


class PerUser(ServerTest):
    settings = STAYS + ServerTest.settings
    users = ("alice", "bob", "carol")
    may_die = True

    def processes_of(self):
        rows = json.loads(self.server.tool("who", "--json").stdout)
        return {row["user"].partition("@")[0]: row["pid"] for row in rows if row["protocol"] == "imap"}

    def test_each_user_has_one_and_all_their_sessions_are_in_it(self):
        clients = [self.session(user) for user in ("alice", "bob", "alice")]
        processes = self.processes_of()
        self.assertNotEqual(processes["alice"], processes["bob"])
        self.assertLessEqual({processes["alice"], processes["bob"]}, mail_processes(self.server))
        for client in clients:
            client.ok("SELECT INBOX")

    def test_one_session_sees_what_another_stores(self):
        one, other = self.session("alice", "INBOX"), self.session("alice")
        self.assertTrue(is_idling(one))
        other.append(postern.message("x"), "INBOX")
        self.assertIn(b"EXISTS", one.line())
        stops_idling(one)

    def test_mail_comes_to_who_has_no_process_yet(self):
        before = len(mail_processes(self.server))
        self.assertTrue(lmtp(self.server, "carol", "first").startswith(b"250"))
        self.assertEqual(len(mail_processes(self.server)), before + 1)
        client = self.session("carol", "INBOX")
        self.assertTrue(is_idling(client))
        self.assertTrue(lmtp(self.server, "carol", "second").startswith(b"250"))
        self.assertIn(b"2 EXISTS", client.line())
        stops_idling(client)
        with self.server.connect(tls=True, protocol="pop3") as reader:
            for command in (None, "USER carol", "PASS " + postern.PASSWORD, "STAT"):
                if command:
                    reader.send(command.encode() + b"\r\n")
                line = reader.line()
                self.assertTrue(line.startswith(b"+OK"), line)
        self.assertTrue(line.startswith(b"+OK 2 "), line)

    def test_a_crash_is_its_users_alone(self):
        alice, bob = self.session("alice"), self.session("bob", "INBOX")
        processes = self.processes_of()
        os.kill(processes["alice"], signal.SIGKILL)
        self.assertTrue(alice.is_closed())
        bob.ok("NOOP")
        self.assertIn(processes["bob"], mail_processes(self.server))
        postern.wait_until(self.serves_alice, "another process for alice")
        self.assertEqual(self.processes_of()["bob"], processes["bob"])

    def serves_alice(self):
        try:
            self.session("alice").ok("SELECT INBOX")
            return True
        except (postern.Closed, AssertionError):
            return False

    def test_mail_moves_while_its_user_is_there(self):
        client = self.session("bob")
        client.append(postern.message("kept"), "INBOX")
        client.ok("SELECT INBOX")
        self.server.tool("storage", "switch", "--to", "lmdb", "bob")
        self.assertIn(b"kept", b"".join(client.ok("FETCH 1:* BODY.PEEK[HEADER]")))
        client.append(postern.message("after"), "INBOX")
        self.server.tool("storage", "check", "bob")

    def test_sessions_are_ended_by_name(self):
        client, other = self.session("alice"), self.session("bob")
        self.server.tool("kick", "user", "alice@" + self.server.domain)
        self.assertTrue(client.line().startswith(b"* BYE"))
        other.ok("NOOP")


class Planted(unittest.TestCase):
    """A plugin that reads another's mail, in a server that lets users share processes, and in one that does not."""

    @classmethod
    def setUpClass(cls):
        if postern.SANITIZED:
            raise unittest.SkipTest("a plugin that is not sanitized does not fit a server that is")
        prefix = postern.Installation().prefix
        cls.plugins = postern.scratch_folder()
        os.mkdir(os.path.join(cls.plugins, "extensions"))
        subprocess.run(("gcc", "-shared", "-fPIC", "-I" + os.path.join(prefix, "include"), "-o",
                        os.path.join(cls.plugins, "extensions/spy.so"), os.path.join(HERE, "spy.c")), check=True)

    def spied(self, settings):
        environment = dict(os.environ, POSTERN_PLUGINDIR=self.plugins + ":" + postern.Installation().path("lib/postern"))
        server = postern.Instance(backend="maildir", environment=environment)
        server.write_config(settings + '\nextension spy { path = "%s/planted" }' % server.maildir("bob"))
        with server:
            with server.session("bob") as bob:
                bob.append(postern.message("secret"), "INBOX")
            path = os.path.join(server.maildir("bob"), "planted")
            with open(path, "w", encoding="ascii") as file:
                file.write("secret")
            owner = os.stat(server.maildir("bob"))
            os.chown(path, owner.st_uid, owner.st_gid)
            with server.session("alice") as alice:
                alice.append(postern.message("x"), "INBOX")
            return postern.wait_until(lambda: re.findall(r'event=spied user=alice@\S+ found="?([^"\n]*)', server.log()), "a try")[-1]

    def test_it_reads_where_users_share_a_process(self):
        self.assertEqual(self.spied("mail_processes = 1"), "open")

    def test_it_does_not_where_they_have_their_own(self):
        self.assertEqual(self.spied(PER_USER), "Permission denied")


@unittest.skipUnless(os.geteuid() == 0, "needs root")
class OwnUid(ServerTest):
    settings = STAYS + ServerTest.settings
    users_with = {"uid=64001 gid=64001": ("dora",), "uid=64002 gid=64002": ("emil",)}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        os.chmod(cls.server.mail_root, 0o711)

    def test_the_process_and_the_mail_are_the_users(self):
        client = self.session("dora")
        client.append(postern.message("x"), "INBOX")
        self.assertTrue(lmtp(self.server, "dora", "y").startswith(b"250"))
        self.assertIn(["64001"] * 4, [uids_of(pid) for pid in mail_processes(self.server)])
        owners = {os.lstat(os.path.join(place, name)).st_uid
                  for place, folders, files in os.walk(self.server.maildir("dora")) for name in folders + files}
        self.assertEqual(owners | {os.stat(self.server.maildir("dora")).st_uid}, {64001})
        self.session("emil").append(postern.message("x"), "INBOX")
        self.assertEqual(os.stat(self.server.maildir("emil")).st_uid, 64002)
        self.session("alice").append(postern.message("x"), "INBOX")
        self.server.tool("storage", "switch", "--to", "lmdb", "dora")
        client.ok("SELECT INBOX")
        self.assertIn(b"2", b"".join(client.ok("SEARCH ALL")))

    def test_roots_and_roles_uids_are_nobodys(self):
        role = postern.pwd.getpwnam("postern-auth").pw_uid
        self.server.add_users("evil", fields="uid=%d gid=%d" % (role, role))
        postern.wait_until(lambda: "users=5" in self.server.log(), "the passwd-file")
        with self.server.connect(tls=True) as client:
            client.greeting()
            self.assertTrue(client.command("LOGIN evil " + postern.PASSWORD)[1].startswith(b"NO [UNAVAILABLE]"))
        self.assertIn("has the uid of role auth", self.server.log())


class Many(ServerTest):
    settings = STAYS + ServerTest.settings + "\nfront_processes = 1"
    users = tuple("u%d" % number for number in range(MANY))
    may_die = True

    def test_many_users_at_a_time(self):
        clients = [self.session(user) for user in self.users]
        self.assertEqual(len(mail_processes(self.server)), MANY)
        for client in clients:
            client.send(b"n NOOP\r\n")
        for client in clients:
            client.finish(b"n")
        front = next(pid for pid, role in self.server.roles() if role == "front")
        os.kill(front, signal.SIGKILL)
        postern.wait_until(lambda: any(role == "front" and pid != front for pid, role in self.server.roles()), "another front")
        postern.wait_until(self.server.serves, "service")
        self.session(self.users[-1]).ok("SELECT INBOX")
        self.assertEqual(len(mail_processes(self.server)), MANY)


class Ends(unittest.TestCase):
    """Both wait for the same half minute."""

    def test_it_is_ended_when_it_is_idle_or_another_needs_the_place(self):
        limits = ServerTest.settings + "\nfront_processes = 1\n"
        with postern.Instance(settings=PER_USER + limits + 'user_process_idle = "1s"') as idle, \
                postern.Instance(settings=PER_USER + limits + 'user_processes = 2\nuser_process_idle = "1h"',
                                 users=("alice", "bob", "carol")) as full:
            idle.session("alice").close()
            stays = idle.session("bob", "INBOX")
            self.assertTrue(is_idling(stays))
            goes, holds = full.session("alice"), full.session("bob", "INBOX")
            self.assertIs(self.logs_in(full, "carol"), False)
            goes.close()
            postern.wait_until(lambda: len(mail_processes(idle)) == 1, "the end of alice's process", PATIENCE)
            postern.wait_until(lambda: self.logs_in(full, "carol"), "a place for carol", PATIENCE)
            self.assertEqual(len(mail_processes(full)), 2)
            holds.ok("NOOP")
            self.assertTrue(lmtp(idle, "bob", "x").startswith(b"250"))
            self.assertIn(b"1 EXISTS", stays.line())
            self.assertTrue(self.logs_in(idle, "alice"))
            for server in (idle, full):
                self.assertNotIn("role_died", server.log())

    @staticmethod
    def logs_in(server, user):
        with server.connect(tls=True) as client:
            client.greeting()
            status = client.command("LOGIN %s %s" % (user, postern.PASSWORD))[1]
            assert status.startswith((b"OK", b"NO [UNAVAILABLE]")), status
            return status.startswith(b"OK")


class MountsOfTheirOwn(test_mounts.Mounts, ServerTest):
    settings = PER_USER + test_mounts.Mounts.settings


if __name__ == "__main__":
    unittest.main()
