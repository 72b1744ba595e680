# SPDX-License-Identifier: MIT
"""What a newcomer does: quickstart in a copy of the sources (the current directory), then the lines it prints.

Run by `./check newcomer`, as an ordinary user, and again as root.
"""

import contextlib
import imaplib
import json
import os
import re
import shlex
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
import unittest

import ports

PATIENCE = 900  # it builds first
DISTANCES = (24, 25, 110, 143, 465, 587, 993, 995, 2525)  # of what quickstart serves from its base


def quickstart(*args, check=True, env=None):
    done = subprocess.run(("./quickstart",) + args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=PATIENCE, check=False, env=env)
    if check and done.returncode != 0:
        raise AssertionError("./quickstart %s:\n%s" % (" ".join(args), done.stdout))
    return done


def shell(line):
    return subprocess.run(("bash", "-c", line), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=120, check=True).stdout


def terminal(line):
    """As shell(), on a terminal: there mbsync tells what it moved."""
    return shell("script -qec %s /dev/null" % shlex.quote(line))


def is_gone(pid):
    """Ended; whoever inherited it need not have asked for its status yet."""
    try:
        with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


class Demo:
    """An instance in a folder of its own."""

    def __init__(self, *options):
        self.folder = tempfile.mkdtemp(prefix="postern-newcomer-")
        os.chmod(self.folder, 0o755)
        self.dir = os.path.join(self.folder, "demo")
        self.base = ports.free_base(DISTANCES)
        self.options = options
        self.output = ""

    def start(self, *options):
        self.output = quickstart("--dir", self.dir, "--port-base", str(self.base), "--detach",
                                 *self.options, *options).stdout
        with open(os.path.join(self.dir, "ready.json"), encoding="utf-8") as file:
            self.ready = json.load(file)

    def stop(self):
        return quickstart("--stop", "--dir", self.dir)

    def remove(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def printed(self, program):
        """The command lines printed for a program."""
        return [line.strip() for line in self.output.splitlines() if line.startswith("  %s " % program)]

    def password(self, name):
        return next(user["password"] for user in self.ready["users"] if user["name"] == name)

    @contextlib.contextmanager
    def imap(self, name="alice@example.test", login=None, password=None):
        context = ssl.create_default_context(cafile=self.ready["ca"])
        client = imaplib.IMAP4_SSL("localhost", self.ready["ports"]["imaps"], ssl_context=context, timeout=60)
        client.login(login or name, password or self.password(name))
        try:
            yield client
        finally:
            client.logout()

    def subjects(self, mailbox="INBOX"):
        with self.imap() as client:
            _, data = client.select(mailbox, readonly=True)
            if data[0] == b"0":
                return []
            _, data = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
            return [item[1].decode().strip() for item in data if isinstance(item, tuple)]


class Printed(unittest.TestCase):
    """One instance; its printed lines, in the order they are printed."""

    @classmethod
    def setUpClass(cls):
        cls.demo = Demo()
        cls.addClassCleanup(cls.demo.remove)
        # Who calls these has been seen: with nothing missing, nobody may.
        cls.calls = os.path.join(cls.demo.folder, "calls")
        tools = os.path.join(cls.demo.folder, "bin")
        os.mkdir(tools)
        for name in ("sudo", "apt-get", "su"):
            with open(os.path.join(tools, name), "w", encoding="ascii") as file:
                file.write("#!/bin/sh\necho %s >>'%s'\nexit 1\n" % (name, cls.calls))
            os.chmod(os.path.join(tools, name), 0o755)
        path = os.environ["PATH"]
        os.environ["PATH"] = tools + ":" + path
        try:
            cls.demo.start()
        finally:
            os.environ["PATH"] = path

    def test_1_no_rights_are_asked_for_when_nothing_is_missing(self):
        self.assertFalse(os.path.exists(self.calls))

    def test_1_progress_is_shown_in_few_lines(self):
        self.assertRegex(self.demo.output, r"Building \(release\) +done")
        self.assertLess(len(self.demo.output.splitlines()), 40)

    def test_1_ready_file(self):
        ready = self.demo.ready
        ports = {"imap": 143, "imaps": 993, "pop3": 110, "pop3s": 995, "smtp": 25, "submission": 587,
                 "submissions": 465, "lmtp": 24}
        self.assertEqual(ready["ports"], {name: self.demo.base + port for name, port in ports.items()})
        self.assertTrue(os.path.isdir(ready["mail_root"]))
        self.assertTrue(os.path.isfile(ready["config"]))
        os.kill(ready["pid"], 0)
        self.assertEqual([user["name"] for user in ready["users"]], ["alice@example.test", "bob@example.test"])

    def test_2_curl_lines(self):
        lines = self.demo.printed("curl")
        self.assertEqual(len(lines), 7, self.demo.output)
        self.assertIn("INBOX", shell(lines[0]))
        self.assertIn("Drafts", shell(lines[0]))
        self.assertIn("Subject: Welcome", shell(lines[1]))
        self.assertRegex(shell(lines[2]), r"\* SEARCH \d+")
        self.assertEqual(self.demo.subjects("Drafts"), [])
        shell(lines[3])
        self.assertEqual(self.demo.subjects("Drafts"), ["Subject: Welcome to your mail server"])
        self.assertRegex(shell(lines[4]), r"(?m)^1 \d+")
        self.assertIn("Subject: Welcome", shell(lines[5]))
        with self.demo.imap("alice@example.test") as client:
            before = int(client.select("INBOX")[1][0])
            shell(lines[6])
            self.assertEqual(int(client.select("INBOX")[1][0]), before + 1)

    def test_3_starttls_for_curl(self):
        line = self.demo.printed("curl")[0].replace(str(self.demo.ready["ports"]["imaps"]),
                                                     str(self.demo.ready["ports"]["imap"]))
        self.assertIn("INBOX", shell(line.replace("imaps://", "imap://").replace("curl ", "curl --ssl-reqd ")))

    def test_4_mbsync_line_twice(self):
        line, = self.demo.printed("mbsync")
        mailboxes = ["Projects", "Projects/Caf&AOk-", "Projects/Old/2025"]  # mbsync leaves names as they come
        with self.demo.imap() as client:
            for name in ('"Projects"', '"Projects/Caf&AOk-"', '"Projects/Old/2025"'):
                self.assertEqual(client.create(name)[0], "OK")
                client.append(name, r"\Flagged", None, b"Subject: from the server\r\n\r\nx\r\n")
        self.assertNotEqual(transferred(terminal(line)), 0)
        self.assertEqual(transferred(terminal(line)), 0)

        local = os.path.join(self.demo.dir, "mbsync")
        for name in mailboxes:
            self.assertTrue(os.path.isdir(os.path.join(local, name, "cur")), name)
        put(os.path.join(local, "Projects"), "here:2,S", b"Subject: from the client\n\ny\n")
        for part in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(local, "Made here", part))
        put(os.path.join(local, "Made here"), "new:2,", b"Subject: in a new folder\n\nz\n")
        flag_all(os.path.join(local, "Projects", "Old", "2025"), "R")
        self.assertNotEqual(transferred(terminal(line)), 0)
        self.assertEqual(transferred(terminal(line)), 0)
        self.assertEqual(self.demo.subjects("Projects"), ["Subject: from the server", "Subject: from the client"])
        self.assertEqual(self.demo.subjects('"Made here"'), ["Subject: in a new folder"])
        with self.demo.imap() as client:
            client.select("Projects/Old/2025")
            self.assertIn(b"\\Answered", client.fetch("1", "(FLAGS)")[1][0])
            client.store("1", "+FLAGS", r"\Deleted")
            client.expunge()
        shell(line)
        self.assertEqual(messages(os.path.join(local, "Projects", "Old", "2025")), [])
        self.assertEqual(transferred(terminal(line)), 0)

    def test_5_a_running_instance_is_not_started_twice(self):
        done = quickstart("--dir", self.demo.dir, "--detach", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("runs in", done.stdout)

    def test_5_taken_ports_are_named(self):
        done = quickstart("--dir", os.path.join(self.demo.folder, "other"), "--port-base", str(self.demo.base),
                          "--detach", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("port %d is taken" % self.demo.ready["ports"]["imap"], done.stdout)

    def test_6_a_second_start_goes_on_with_the_mail(self):
        before = self.demo.subjects()
        pid = self.demo.ready["pid"]
        self.demo.stop()
        self.assertFalse(os.path.exists(os.path.join(self.demo.dir, "ready.json")))
        self.assertTrue(is_gone(pid))
        self.demo.start()
        self.assertEqual(self.demo.subjects(), before)
        self.assertEqual(transferred(terminal(self.demo.printed("mbsync")[0])), 0)

    def test_7_stop_without_an_instance_is_no_error(self):
        done = quickstart("--stop", "--dir", os.path.join(self.demo.folder, "nowhere"))
        self.assertIn("No instance", done.stdout)


class Options(unittest.TestCase):
    """The other options."""

    def demo(self, *options):
        demo = Demo(*options)
        self.addCleanup(demo.remove)
        return demo

    def test_many_users_and_import(self):
        demo = self.demo("--users", "12")
        folder = os.path.join(demo.folder, "messages")
        os.mkdir(folder)
        for number in range(3):
            with open(os.path.join(folder, "%d.eml" % number), "w", encoding="ascii") as file:
                file.write("Subject: imported %d\n\nHello.\n" % number)
        demo.start("--import", folder)
        names = [user["name"] for user in demo.ready["users"]]
        self.assertEqual(names[0], "user0001@example.test")
        self.assertEqual(names[11], "user0012@example.test")
        for login in ("user0012@example.test", "user0012"):
            with demo.imap("user0012@example.test", login=login) as client:
                self.assertEqual(client.select()[0], "OK")
        for number in range(3):
            self.assertIn("Subject: imported %d" % number, demo.subjects())

    def test_memory(self):
        demo = self.demo("--backend", "memory")
        demo.start()
        self.assertIn("Subject: Welcome to your mail server", demo.subjects())

    def test_foreground_until_interrupted(self):
        demo = self.demo()
        ready = os.path.join(demo.dir, "ready.json")
        with subprocess.Popen(("./quickstart", "--dir", demo.dir, "--port-base", str(demo.base)),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, start_new_session=True,
                              preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)) as process:
            end = time.monotonic() + PATIENCE
            while not os.path.exists(ready) and process.poll() is None and time.monotonic() < end:
                time.sleep(0.1)
            self.assertIsNone(process.poll())
            with open(ready, encoding="utf-8") as file:
                master = json.load(file)["pid"]
            os.kill(process.pid, signal.SIGINT)
            output, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, output)
        self.assertFalse(os.path.exists(ready))
        self.assertTrue(is_gone(master))

    def test_mistakes_are_explained(self):
        for options, expected in ((("--port-base", "x"), "--port-base takes a number"),
                                  (("--users",), "--users needs a value"),
                                  (("--wrong",), "unknown option --wrong"),
                                  (("--import", "/nowhere"), "there is no /nowhere"),
                                  (("--dir", "/usr"), "was not made by quickstart")):
            with self.subTest(options):
                done = quickstart(*options, check=False)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(expected, done.stdout)


def transferred(output):
    """How much mbsync moved, either way: "F: +1/1 *0/0 #0/0  N: +0/0 *0/0 #0/0" at its end."""
    last = output.replace("\r", "\n").strip().splitlines()[-1]
    counts = re.findall(r"[+*#](\d+)/(\d+)", last)
    if not counts:
        raise AssertionError("mbsync told no counts: " + output)
    return sum(int(done) + int(planned) for done, planned in counts)


def put(maildir, name, octets):
    path = os.path.join(maildir, "tmp", name)
    with open(path, "wb") as file:
        file.write(octets)
    os.rename(path, os.path.join(maildir, "cur", name))


def flag_all(maildir, letter, subject=""):
    """Flags the messages with that in their subject, as a mail reader on the Maildir does."""
    for place, name in messages(maildir):
        with open(os.path.join(maildir, place, name), encoding="utf-8") as file:
            if not re.search("^Subject: .*" + subject, file.read(), re.M):
                continue
        base, _, flags = name.partition(":2,")
        os.rename(os.path.join(maildir, place, name),
                  os.path.join(maildir, "cur", "%s:2,%s" % (base, "".join(sorted(set(flags + letter))))))


def messages(maildir):
    return [(place, name) for place in ("new", "cur") for name in os.listdir(os.path.join(maildir, place))]


if __name__ == "__main__":
    unittest.main()
