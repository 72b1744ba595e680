# SPDX-License-Identifier: MIT
"""What a machine may lack: room on the disk, memory, a disk that answers. What is refused is refused politely, others are
unhurt, and when the machine has it again so have the users."""

import glob
import os
import poplib
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

import postern
from server_test import ServerTest

DURABLE = [backend for backend in postern.BACKENDS if backend != "memory"]
MEGABYTES = 12


def mail_of(size):
    """It does not get smaller by compression."""
    return postern.message("large", "".join("%s\r\n" % os.urandom(30).hex() for _ in range(size // 62)))


def may_mount():
    folder = tempfile.mkdtemp()
    try:
        if subprocess.run(("mount", "-t", "tmpfs", "none", folder), capture_output=True, check=False).returncode != 0:
            return False
        subprocess.run(("umount", folder), check=True)
        return True
    finally:
        os.rmdir(folder)


@unittest.skipUnless(DURABLE, "there is no backend on disk")
@unittest.skipUnless(may_mount(), "only root can mount a small disk")
class FullDisk(unittest.TestCase):
    """A disk of some megabytes, full to the last octet; mail is refused, read and removed, and then there is room."""

    def serve(self, backend):
        server = postern.Instance(backend=backend, users=("alice", "bob"))
        owner = os.stat(server.mail_root)
        subprocess.run(("mount", "-t", "tmpfs", "-o", "size=%dm,mode=700,uid=%d,gid=%d" % (MEGABYTES, owner.st_uid, owner.st_gid),
                        "none", server.mail_root), check=True)
        self.addCleanup(subprocess.run, ("umount", "-l", server.mail_root), check=True)
        self.addCleanup(server.stop)
        return server.start()

    def fill(self, server, client):
        """Gives how many messages there are."""
        count = 0
        with open(os.path.join(server.mail_root, "rest"), "wb", buffering=0) as file:
            for size in (300000, 30000, 3000):
                while re.match(b"^OK", client.append(mail_of(size))):
                    count += 1
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        return count

    def pop(self, server):
        client = poplib.POP3_SSL("127.0.0.1", server.ports["pop3s"], timeout=postern.PATIENCE,
                                 context=postern.authority().client_context())
        client.user("alice")
        client.pass_(postern.PASSWORD)
        return client

    def test_it_can_be_emptied(self):
        for backend in DURABLE:
            with self.subTest(backend):
                server = self.serve(backend)
                client = server.session("alice", "INBOX")
                count = self.fill(server, client)
                self.assertRegex(client.append(mail_of(300000)), rb"^NO \[(OVERQUOTA|UNAVAILABLE|LIMIT)\]")
                told = b"".join(client.ok("STATUS INBOX (MESSAGES)"))
                self.assertIn(b"MESSAGES %d" % count, told)
                client.ok("STORE 1:3 +FLAGS.SILENT (\\Deleted)")
                client.ok("EXPUNGE")
                pop = self.pop(server)
                self.assertEqual(pop.stat()[0], count - 3)
                pop.retr(1)
                pop.dele(1)
                pop.dele(2)
                pop.quit()
                pop = self.pop(server)
                self.assertEqual(pop.stat()[0], count - 5)
                pop.quit()
                client.ok("NOOP")
                client.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)")
                client.ok("EXPUNGE")
                os.unlink(os.path.join(server.mail_root, "rest"))
                self.assertRegex(client.append(mail_of(30000)), b"^OK")
                client.close()
                with server.session("alice", "INBOX") as again:
                    self.assertEqual(len(again.ok("FETCH 1:* (RFC822.SIZE)")), 1)


class Memory(ServerTest):
    """A mail process that gets no more memory refuses or dies, and that is all."""

    settings = "mail_processes = 2\nlimits { connections_per_address = 0 auth_failures_per_minute = 10000 }"
    users = tuple("user%d" % n for n in range(6))
    may_die = True
    MORE = 8 << 20  # octets than it needs to begin

    def mail(self):
        return {pid for pid, role in self.server.roles() if role == "mail"}

    def make_one_short_of_memory(self):
        """It has the limit that master had when it began."""
        first, master = self.mail(), self.server.process.pid
        victim = min(first)
        with open("/proc/%d/statm" % victim, encoding="ascii") as file:
            size = int(file.read().split()[0]) * resource.getpagesize()
        before = resource.prlimit(master, resource.RLIMIT_AS)
        resource.prlimit(master, resource.RLIMIT_AS, (size + self.MORE, before[1]))
        os.kill(victim, signal.SIGKILL)
        postern.wait_until(lambda: len(self.mail() - first) == 1, "a mail process")
        resource.prlimit(master, resource.RLIMIT_AS, before)

    @unittest.skipIf(postern.SANITIZED, "sanitizers reserve all that there is")
    def test_others_are_served_and_it_comes_back(self):
        self.make_one_short_of_memory()
        short = {user for user in self.users for _ in range(3) if not self.is_served(user)}
        self.assertTrue(short, "nobody was short of memory")
        self.assertLess(len(short), len(self.users), "users of the other process were cut off, too")
        for pid in self.mail():
            os.kill(pid, signal.SIGKILL)  # where it refused until now
        for user in self.users:
            postern.wait_until(lambda name=user: self.is_served(name), "a session of " + user)

    def is_served(self, user):
        """A long header, so that there is something to keep in memory."""
        octets = b"To: " + b",\r\n ".join(b"a%d@example.org" % n for n in range(200000)) + b"\r\n" + postern.message()
        try:
            with self.server.session(user, "INBOX") as client:
                answer = client.append(octets)
                return answer.startswith(b"OK") and bool(client.ok("FETCH * (ENVELOPE BODYSTRUCTURE)"))
        except (OSError, postern.Closed, AssertionError):
            return False


@unittest.skipUnless(DURABLE and DURABLE[0] == "maildir", "it is a Maildir's folder that is slow")
@unittest.skipUnless(shutil.which("strace") and os.geteuid() == 0, "no strace, or not root")
@unittest.skipIf(postern.SANITIZED, "a sanitized process may not be traced")
class SlowDisk(ServerTest):
    """A sync of one user's mailbox takes a minute, or until somebody has pity."""

    backend = "maildir"
    users = ("alice", "bob", "carol", "dave")
    settings = "mail_processes = 1\nlimits { connections_per_address = 0 auth_failures_per_minute = 10000 }"

    def slow_down(self, *paths):
        pid = next(pid for pid, role in self.server.roles() if role == "mail")
        told = os.path.join(postern.scratch_folder(), "trace")
        which = [word for path in paths for word in ("-P", path)]
        trace = subprocess.Popen(("strace", "-f", "-q", "-p", str(pid), "-o", told, *which,
                                  "-e", "inject=fsync,fdatasync:delay_exit=60000000"), stderr=subprocess.DEVNULL)
        self.addCleanup(trace.wait)
        self.addCleanup(trace.terminate)
        postern.wait_until(lambda: self.is_traced(pid), "strace")
        return trace, told

    def begin(self, told, *work):
        """Begins what is slow, and returns while it waits."""
        slow = threading.Thread(target=work[0], args=work[1:])
        slow.start()
        postern.wait_until(lambda: "sync(" in self.read(told), "a sync that is slow")
        return slow

    def test_others_do_not_wait(self):
        alice, bob = self.session("alice", "INBOX"), self.session("bob", "INBOX")
        for client in (alice, bob):
            client.append(postern.message())
        trace, told = self.slow_down(self.server.maildir("alice") + "/cur")
        slow = self.begin(told, alice.append, postern.message())
        longest = 0.0
        for _ in range(10):
            began = time.monotonic()
            self.assertRegex(bob.append(postern.message()), b"^OK")
            bob.ok("FETCH * (FLAGS)")
            longest = max(longest, time.monotonic() - began)
        self.assertTrue(slow.is_alive(), "alice's disk was not slow")
        print("# while one user's disk does not answer, another waits %.3f s for APPEND and FETCH at most" % longest)
        trace.terminate()
        slow.join()

    def test_others_log_in_meanwhile(self):
        """Each opens a store that nobody had open: carol's does not answer, and all the sessions she may have wait for it."""
        index = self.server.maildir("carol") + "/postern-index"
        trace, told = self.slow_down(index, index + "/mark")
        slow = [self.begin(told, self.open_and_leave, "carol") for _ in range(6)]
        began = time.monotonic()
        self.open_and_leave("dave")
        longest = time.monotonic() - began
        self.assertTrue(all(one.is_alive() for one in slow), "carol's disk was not slow")
        print("# while one user's store is being opened, another waits %.3f s for LOGIN and SELECT" % longest)
        trace.terminate()
        for one in slow:
            one.join()

    def open_and_leave(self, user):
        with self.server.session(user, "INBOX") as client:
            client.ok("LOGOUT")

    def read(self, path):
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def is_traced(self, pid):
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/status" % (pid, task), encoding="ascii") as file:
                if "TracerPid:\t0\n" in file.read():
                    return False
        return True


def libfaketime():
    found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    return found[0] if found else None


@unittest.skipUnless(DURABLE, "there is no backend on disk")
@unittest.skipUnless(libfaketime(), "faketime is not installed")
@unittest.skipIf(postern.SANITIZED, "sanitizers want to be loaded first")
class Clock(unittest.TestCase):
    """A clock that was a year ahead, and is put right, and is then a year behind."""

    def serve(self, server, offset):
        server.environment = {**os.environ, "LD_PRELOAD": libfaketime(), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        return server.start()

    def uidvalidity(self, client, mailbox):
        client.ok("CREATE " + mailbox)
        told = b"".join(client.ok("STATUS %s (UIDVALIDITY)" % mailbox))
        return int(re.search(rb"UIDVALIDITY (\d+)", told).group(1))

    def test_nothing_goes_back(self):
        for backend in DURABLE:
            with self.subTest(backend):
                server = postern.Instance(backend=backend, users=("alice",))
                self.addCleanup(lambda one=server: one.process and one.kill())
                validity = modseq = 0
                seen = set()
                for count, offset in enumerate(("+365d", "+0d", "-365d"), 1):
                    year = time.gmtime(time.time() + int(offset[:-1]) * 86400).tm_year
                    with self.serve(server, offset).session("alice", "INBOX") as client:
                        self.assertIn("\n%d-" % year, server.log(), "the clock is not false")
                        self.assertRegex(client.append(postern.message()), b"^OK")
                        rows = b"".join(client.ok("FETCH 1:* (UID MODSEQ)"))
                        uids = re.findall(rb"UID (\d+)", rows)
                        modseqs = [int(one) for one in re.findall(rb"MODSEQ \((\d+)\)", rows)]
                        self.assertEqual(len(uids), count)
                        self.assertEqual(modseqs, sorted(modseqs))
                        self.assertGreater(modseqs[-1], modseq)
                        self.assertLessEqual(seen, set(uids))
                        seen, modseq = set(uids), modseqs[-1]
                        now = self.uidvalidity(client, "Work")
                        self.assertGreater(now, validity)
                        validity = now
                        client.ok("DELETE Work")
                    server.stop()


if __name__ == "__main__":
    unittest.main()
