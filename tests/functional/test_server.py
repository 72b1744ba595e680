# SPDX-License-Identifier: MIT
"""The server as a whole: reload, roles that die, its end, who is there."""

import json
import os
import pathlib
import pwd
import signal
import subprocess
import sys
import unittest

import postern
from server_test import ServerTest, flags_by_uid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "load"))
import gauge  # noqa: E402


def run_daemon(server):
    """Starts posternd for a configuration with which it must end by itself."""
    return subprocess.run((server.installation.path("sbin/posternd"), "--config", server.config, "--foreground"),
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=postern.PATIENCE, check=False)


class Reload(ServerTest):
    def test_sessions_survive(self):
        client = self.session(select="INBOX")
        self.server.reload()
        postern.wait_until(lambda: "event=reloaded" in self.server.log(), "the end of the reload")
        client.ok("NOOP")
        self.assertRegex(client.append(postern.message()), b"^OK")

    def test_a_setting_takes_effect(self):
        self.server.write_config("plaintext_without_tls = yes")
        self.server.reload()

        def allowed():
            with self.server.connect() as client:
                return b"LOGINDISABLED" not in client.greeting()
        postern.wait_until(allowed, "log-in without TLS")

    @unittest.skipIf(postern.SANITIZED, "AddressSanitizer keeps what was freed")
    def test_the_same_configuration_again_costs_no_memory(self):
        self.server.tool("reload")
        before = gauge.by_role(self.server)
        for _ in range(40):
            self.server.tool("reload")
        for role, now in gauge.by_role(self.server).items():
            self.assertLess(now.own, before[role].own + 20 * 20 * now.processes, role)  # a configuration takes more than 20 KiB

    def test_what_needs_a_restart_is_told(self):
        self.server.write_config('relay { resolvers = { "127.0.0.1:5" } mta_sts = no expiry = 1d }')
        self.server.reload()
        for setting in ("resolvers", "mta_sts"):
            postern.wait_until(lambda: "event=reload_incomplete setting=%s " % setting in self.server.log(), setting)
        self.assertNotIn("setting=expiry", self.server.log())

    def test_a_mistake_changes_nothing_and_is_told(self):
        client = self.session()
        self.server.write_config("plaintext_without_tsl = yes")
        self.server.reload()
        postern.wait_until(lambda: "plaintext_without_tsl" in self.server.log(), "the mistake in the log")
        self.assertTrue(self.server.serves())
        client.ok("NOOP")
        self.server.write_config(ServerTest.settings)
        self.server.reload()
        postern.wait_until(lambda: self.server.log().count("event=reloaded") > 0, "a good reload")


class Roles(ServerTest):
    users = tuple("user%d" % number for number in range(12))
    settings = "mail_processes = 2 front_processes = 2\n" + ServerTest.settings
    may_die = True

    def of(self, role):
        return [pid for pid, name in self.server.roles() if name == role]

    def serves_all(self):
        try:
            for user in self.users:
                with self.server.session(user) as client:
                    client.ok("SELECT INBOX")
        except (OSError, postern.Closed, AssertionError):
            return False
        return True

    def killed(self, pid, role, count):
        os.kill(pid, signal.SIGKILL)
        postern.wait_until(lambda: pid not in self.of(role) and len(self.of(role)) == count, "a new " + role)

    def alive(self, client):
        try:
            client.ok("NOOP")
            return True
        except (OSError, postern.Closed):
            return False

    def test_each_is_a_process(self):
        self.assertEqual((len(self.of("front")), len(self.of("mail")), len(self.of("auth"))), (2, 2, 1))

    def test_a_dead_mail_process_takes_only_its_own_sessions(self):
        clients = [self.session(user, select="INBOX") for user in self.users]
        self.killed(self.of("mail")[0], "mail", 2)
        alive = [self.alive(client) for client in clients]
        self.assertIn(True, alive)
        self.assertIn(False, alive)
        self.assertTrue(postern.wait_until(self.serves_all, "all users"))

    def test_a_dead_auth_process_takes_none(self):
        client = self.session("user1", select="INBOX")
        self.killed(self.of("auth")[0], "auth", 1)
        self.assertTrue(self.alive(client))
        self.assertTrue(postern.wait_until(self.serves_all, "all users"))

    def test_a_dead_front_process_takes_only_its_own_sessions(self):
        self.session("user2")
        self.killed(self.of("front")[0], "front", 2)
        self.assertTrue(postern.wait_until(self.serves_all, "all users"))

    def test_a_running_server_is_not_started_twice(self):
        self.assertNotEqual(run_daemon(self.server).returncode, 0)
        self.assertTrue(self.serves_all())


@unittest.skipUnless(os.geteuid() == 0, "only root can start roles under users of their own")
class Users(ServerTest):
    def test_each_role_runs_as_its_own(self):
        expected = {"front": "postern-net", "auth": "postern-auth", "mail": "postern", "relay": "postern-relay"}
        for pid, role in self.server.roles():
            with open("/proc/%d/status" % pid, encoding="ascii") as file:
                lines = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
            uid = pwd.getpwnam(expected[role]).pw_uid
            with self.subTest(role):
                self.assertEqual(lines["Uid"].split(), [str(uid)] * 4)
                self.assertEqual(int(lines["CapEff"], 16) | int(lines["CapPrm"], 16) | int(lines["CapBnd"], 16), 0)
                self.assertEqual(lines["Groups"].split(), [])
                self.assertEqual(lines["NoNewPrivs"], "1")
                self.assertEqual(lines["Seccomp"], "2")

    def test_mail_belongs_to_the_mail_user(self):
        self.assertRegex(self.session().append(postern.message()), b"^OK")
        owner = pwd.getpwnam("postern").pw_uid
        for folder, _, files in os.walk(self.server.mail_root):
            for path in [folder] + [os.path.join(folder, name) for name in files]:
                self.assertEqual(os.lstat(path).st_uid, owner, path)
                self.assertEqual(os.lstat(path).st_mode & 0o077, 0, path)


class Who(ServerTest):
    def test_it_lists_sessions(self):
        client = self.session("alice", select="INBOX")
        self.session("bob")
        rows = json.loads(self.server.tool("who", "--json").stdout)
        self.assertEqual(sorted(row["user"] for row in rows), ["alice@example.test", "bob@example.test"])
        self.assertIn("alice@example.test", self.server.tool("who").stdout)
        client.ok("LOGOUT")


class End(unittest.TestCase):
    def test_sessions_are_told_and_nothing_is_left(self):
        with postern.Instance() as server:
            clients = [server.session(select="INBOX"), server.session("bob")]
            idle = server.session(select="INBOX")
            idle.send(b"i IDLE\r\n")
            self.assertTrue(idle.line().startswith(b"+"))
            fresh = server.connect()
            fresh.greeting()
            children = [pid for pid, _ in server.roles()]
            self.assertEqual(server.stop(), 0)
            for client in clients + [idle]:
                self.assertRegex(client.line(), rb"^\* BYE")
                self.assertTrue(client.is_closed())
                client.close()
            self.assertTrue(fresh.is_closed())
            fresh.close()
            for pid in children:
                self.assertFalse(os.path.exists("/proc/%d" % pid))
            self.assertEqual(postern.sanitizer_reports(server.log()), [])

    def test_killed_at_once_it_starts_again_with_everything_acknowledged(self):
        server = postern.Instance(backend="maildir").start()
        try:
            client = server.session(select="INBOX")
            for number in range(10):
                self.assertRegex(client.append(postern.message("m%d" % number)), b"^OK")
            client.ok(r"UID STORE 1:3 +FLAGS (\Seen kept)")
            before = flags_by_uid(client)
            server.kill()
            client.close()
            server.start()
            with server.session(select="INBOX") as client:
                self.assertEqual(flags_by_uid(client), before)
        finally:
            server.stop()

    def test_a_port_in_use_is_named(self):
        with postern.Instance() as server:
            other = postern.Instance()
            other.ports = dict(server.ports)
            other.write_config()
            done = run_daemon(other)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(str(server.ports["imap"]), done.stderr)
