# SPDX-License-Identifier: MIT
"""The unit that is installed: every directive is one that systemd knows, the score, and that the server works under it."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

import postern

tempfile.tempdir = "/tmp"  # whatever $TMPDIR says: under the unit /dev, with /dev/shm, is another
UNIT = "lib/systemd/system/postern.service"
HERE = os.path.dirname(os.path.abspath(__file__))
MAY_UNSHARE = shutil.which("setpriv") and subprocess.run(("unshare", "-m", "true"), stderr=subprocess.DEVNULL).returncode == 0
SCORE = 30  # tenths; the smaller, the less is exposed


def analyze(*args):
    return subprocess.run(("systemd-analyze",) + args, capture_output=True, text=True, check=False)


class Confined(postern.Installation):
    """Its posternd runs under the unit."""

    def __init__(self, folder):
        super().__init__()
        self._wrapper = os.path.join(folder, "posternd")
        words = (sys.executable, os.path.join(HERE, "under_unit.py"), self.path(UNIT), folder, super().path("sbin/posternd"))
        with open(self._wrapper, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\nexec %s \"$@\"\n" % shlex.join(words))
        os.chmod(self._wrapper, 0o755)

    def path(self, name):
        wrapper = getattr(self, "_wrapper", None)
        return wrapper if wrapper and name == "sbin/posternd" else super().path(name)


@unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is not here")
class Unit(unittest.TestCase):
    path = postern.Installation().path(UNIT)

    def test_systemd_knows_every_directive(self):
        said = analyze("verify", "--man=no", self.path).stderr
        self.assertEqual([line for line in said.splitlines() if "postern.service" in line], [])

    def test_a_directive_it_does_not_know_would_be_seen(self):
        folder = postern.scratch_folder()
        path = os.path.join(folder, "postern.service")
        with open(self.path, encoding="utf-8") as file, open(path, "w", encoding="utf-8") as out:
            out.write(file.read().replace("PrivateTmp=", "PrivateTemp="))
        self.assertIn("PrivateTemp", analyze("verify", "--man=no", path).stderr)

    def test_the_score(self):
        done = analyze("security", "--offline=true", "--threshold=%d" % SCORE, "--no-pager", self.path)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertLessEqual(float(re.search(r"Overall exposure level for postern.service: ([\d.]+)", done.stdout)[1]), SCORE / 10)


@unittest.skipIf(postern.SANITIZED, "sanitizers map what the unit does not let them")
@unittest.skipUnless(os.geteuid() == 0 and MAY_UNSHARE and shutil.which("systemd-analyze"), "needs root and namespaces")
class Under(unittest.TestCase):
    def works(self, settings, fields):
        server = postern.Instance(backend="maildir", settings=settings)
        server.installation = Confined(server.folder)
        os.chmod(server.mail_root, 0o711)
        with server:
            self.assertEqual(self.value(server, "NoNewPrivs"), "1")
            self.assertLess(bin(int(self.value(server, "CapBnd"), 16)).count("1"), 10)
            server.add_users("carol", fields=fields)
            postern.wait_until(lambda: "users=3" in server.log(), "the other passwd-file")
            for user in ("alice", "carol"):
                with server.session(user) as client:
                    client.append(postern.message("x", "text\r\n"), "INBOX")
                    client.ok("SELECT INBOX")
                    self.assertIn(b"text", b"".join(client.ok("FETCH 1 BODY[]")))
            self.assertEqual({role for _, role in server.roles()}, {"auth", "front", "mail", "relay"})
            server.reload()
            postern.wait_until(lambda: "event=reloaded" in server.log(), "a reload")
        self.assertNotIn("role_died", server.log())

    def test_the_server_works_under_it(self):
        self.works("", "")

    def test_users_have_processes_and_uids_of_their_own_under_it(self):
        self.works('isolation = "per-user"', "uid=64001 gid=64001")

    def test_what_it_takes_away_is_gone(self):
        folder = postern.scratch_folder()
        for command in ("touch /etc/postern-test", "unshare -m true", "mknod node b 7 0", "chroot / mount -t tmpfs none /tmp",
                        "python3 -c 'import socket; socket.socket(socket.AF_PACKET)'", "test -e /dev/mem -o -e /dev/loop0"):
            with self.subTest(command):
                place = os.path.join(folder, str(len(os.listdir(folder))))
                os.mkdir(place)
                done = subprocess.run((sys.executable, os.path.join(HERE, "under_unit.py"), Unit.path, place, "/bin/sh", "-c",
                                       "cd %s && echo here && { %s; }" % (place, command)), capture_output=True, text=True,
                                      check=False)
                self.assertEqual(done.stdout, "here\n", done.stderr)
                self.assertNotEqual(done.returncode, 0)

    @staticmethod
    def value(server, name):
        with open("/proc/%d/status" % server.process.pid, encoding="ascii") as file:
            return re.search(r"^%s:\s+(\w+)" % name, file.read(), re.M)[1]


if __name__ == "__main__":
    unittest.main()
