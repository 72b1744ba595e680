# SPDX-License-Identifier: MIT
"""What strangers, and users with bad intentions, may try: docs/security.md says what holds."""

import base64
import contextlib
import os
import re
import socket
import ssl
import stat
import struct
import subprocess
import time
import unittest

import postern
from server_test import ServerTest

LOG_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z level=\w+ role=\w+ pid=\d+ event=\w+( \w+=(\"([^\"\\]|\\.)*\"|[^ \"]+))*$")


def b64(octets):
    return base64.b64encode(octets)


class BeforeLogin(ServerTest):
    settings = "log_level = debug\n" + ServerTest.settings

    def ask(self, octets):
        """On a fresh connection; the last line of the answer."""
        client = self.connect(tls=True)
        client.greeting()
        client.send(octets)
        line = client.line()
        while line.startswith((b"*", b"+")) and not line.startswith((b"* BYE", b"* BAD")):
            line = client.line()
        client.close()
        return line.decode()

    def plain(self, octets):
        return self.ask(b"a AUTHENTICATE PLAIN " + b64(octets) + b"\r\n")

    def test_what_cannot_be_a_password_is_answered_too(self):
        """However long it is. Nobody waits for the time-out."""
        for size in (1024, 1025, 8000, 8185, 8192, 9000):
            with self.subTest(size):
                self.assertRegex(self.ask(b'a LOGIN alice "%s"\r\n' % (b"x" * size)), "^a NO")
                self.assertRegex(self.ask(b'a LOGIN "%s" pass\r\n' % (b"x" * size)), "^a NO")
                self.assertRegex(self.plain(b"\0alice\0" + b"x" * size), "^a NO")
                self.assertRegex(self.ask(b"a AUTHENTICATE PLAIN\r\n" + b64(b"\0alice\0" + b"x" * size) + b"\r\n"),
                                 r"^(a NO|\* BYE)")

    def test_user_names_read_the_same_as_unknown_ones(self):
        unknown = self.plain(b"\0nobody-of-that-name\0pass")
        self.assertRegex(unknown, r"^a NO \[AUTHENTICATIONFAILED\]")
        for name in (b"../alice", b"alice/../bob", b".", b"..", b"alice/", b"*", b"%n", b"%", b"~alice", b"-", b"alice\r\nbob",
                     b"alice\x01", b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"al\xc2\xadice", "алиса".encode(), b"alice " * 40,
                     b"a" * 255, b"a" * 256, b"a" * 2000, b"alice@example.test@example.test", b"alice:x", b"#alice",
                     b"$(id)", b"'; DROP TABLE users; --", b"alice)(uid=*"):
            with self.subTest(name):
                self.assertEqual(self.plain(b"\0" + name + b"\0pass"), unknown)
        for wrong in (b"alice", b"\0alice", b"\0alice\0", b"\0\0pass", b"\0alice\0\0pass", b"\0alice\0pass\0",
                      b"\0alice\0pass\0x", b"\0ali\0ce\0pass", b"bob\0alice\0pass", b"../alice\0alice\0pass", b"\0" * 4000):
            with self.subTest(wrong):
                self.assertEqual(self.plain(wrong), unknown)

    def test_nothing_said_makes_a_line_of_the_log(self):
        forged = b"\r\n2026-01-01T00:00:00.000Z level=error role=auth pid=1 event=forged"
        self.plain(b"\0alice" + forged + b"\0pass")
        self.plain(forged + b"\0alice\0pass")
        self.plain(b'\0alice" event=forged x="\0pass')
        self.ask(b"a ID (\"name\" {%d+}\r\n%s \"version\" \"\x1b[2J\\\" event=forged\")\r\n" % (len(forged), forged))
        self.ask(b"x\" event=forged NOOP\r\n")
        self.ask(b"a AUTHENTICATE event=forged\r\n")
        self.session("alice").command(b"SELECT {%d+}\r\n%s" % (len(forged), forged))
        for line in self.server.log().splitlines():
            self.assertRegex(line, LOG_LINE)
            self.assertNotIn("forged", re.sub(r'"([^"\\]|\\.)*"', "", line))

    def test_nothing_secret_is_logged(self):
        secrets = [b"S3cret-%d-word" % number for number in range(8)]
        self.ask(b"a LOGIN alice %s\r\n" % secrets[0])
        self.ask(b'a LOGIN "alice" "%s"\r\n' % secrets[1])
        self.ask(b"a LOGIN {5+}\r\nalice {%d+}\r\n%s\r\n" % (len(secrets[2]), secrets[2]))
        self.plain(b"\0alice\0" + secrets[3])
        self.plain(b"\0%s\0" % secrets[4])
        self.ask(b"a AUTHENTICATE LOGIN\r\n%s\r\n%s\r\n" % (b64(b"alice"), b64(secrets[5])))
        self.ask(b"a LOGIN alice %s extra\r\n" % secrets[6])
        self.ask(b"LOGIN alice %s\r\n" % secrets[7])
        client = self.session(select="INBOX")
        self.assertRegex(client.append(postern.message("S3cret-subject", "S3cret-body\r\n")), b"^OK")
        client.ok('SEARCH BODY "S3cret-search"')
        client.ok("FETCH 1:* BODY[]")
        log = self.server.log().encode()
        for secret in secrets + [b"S3cret"]:
            self.assertNotIn(secret, log)
            for start in range(3):
                self.assertNotIn(b64(b"x" * start + secret)[4:12], log)
        with open(self.server.passwd_file, "rb") as file:
            for line in file:
                self.assertNotIn(line.split(b"$")[-1].split(b":")[0], log)

    def test_tls_that_is_too_old_or_too_weak(self):
        for ciphers in ("AES256-GCM-SHA384:AES128-SHA", "aNULL:eNULL:@SECLEVEL=0", "ECDHE-ECDSA-DES-CBC3-SHA:@SECLEVEL=0"):
            context = postern.authority().client_context()
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            with contextlib.suppress(ssl.SSLError):  # this machine's OpenSSL has it no more
                context.set_ciphers(ciphers)
                with self.subTest(ciphers), self.assertRaises(ssl.SSLError):
                    self.connect(tls=True, context=context)

    def test_a_hello_of_megabytes_is_not_waited_for(self):
        with socket.create_connection(("127.0.0.1", self.server.ports["imaps"]), postern.PATIENCE) as sock:
            hello = b"\x01\xff\xff\xff\x03\x03" + bytes(1000000)
            with contextlib.suppress(ConnectionError):
                for start in range(0, len(hello), 16000):
                    piece = hello[start:start + 16000]
                    sock.sendall(b"\x16\x03\x01" + struct.pack("!H", len(piece)) + piece)
                while sock.recv(1000):
                    pass  # an alert; then the end
        self.session()

    @unittest.skipIf(postern.SANITIZED, "a sanitizer keeps what was freed, and shadows the rest")
    def test_memory_of_unfinished_commands_in_tls(self):
        clients = [self.connect(tls=True) for _ in range(60)]
        for client in clients:
            client.greeting()
        before = self.server.front_memory()
        for client in clients:
            client.send(b"a LOGIN {4000}\r\n")
            client.line()
            client.send(b"x" * 4000 + b" {4000}\r\n")
            client.line()
            client.send(b"x" * 4000 + b" \"" + b"y" * 8000)
        self.assertLess(self.server.front_memory() - before, 60 * 128)
        self.session()


class Times(ServerTest):
    settings = "limits { preauth_timeout = 2s tls_handshake_timeout = 2s connections_per_address = 0 }"

    def dribble(self, sock, octets):
        """One octet at a time. True: the other side has closed."""
        end = time.monotonic() + postern.PATIENCE
        try:
            for octet in octets:
                if time.monotonic() > end:
                    return False
                sock.sendall(bytes((octet,)))
                time.sleep(0.1)
        except OSError:
            return True
        return False

    def test_a_handshake_octet_by_octet(self):
        with socket.create_connection(("127.0.0.1", self.server.ports["imaps"]), postern.PATIENCE) as sock:
            self.assertTrue(self.dribble(sock, b"\x16\x03\x01\x10\x00\x01\x00\x0f\xfc\x03\x03" + bytes(5000)))

    def test_commands_do_not_extend_the_time(self):
        end = time.monotonic() + postern.PATIENCE
        with self.assertRaises((OSError, postern.Closed)):
            client = self.connect(tls=True)
            client.greeting()
            while time.monotonic() < end:
                client.ok("NOOP")
                time.sleep(0.1)


class Canary(ServerTest):
    """Bob's mail in the same mail process, the same worker, the same memory, as Alice's."""
    settings = "mail_processes = 1\nfront_processes = 1\nworker_threads = 1\n" + ServerTest.settings
    canary = b"C4nary-in-the-mine"

    def bob(self):
        with self.server.session("bob", select="INBOX") as client:
            text = self.canary.decode()
            octets = postern.message(text, (text + "\r\n") * 2000, "X-Canary: %s\r\n" % text)
            self.assertRegex(client.append(octets), b"^OK")
            client.command("CREATE " + text)
            client.ok("FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE BODY[])")
            client.ok("SEARCH TEXT " + text)

    def replies(self, client, octets):
        client.send(octets + b"end NOOP\r\n")
        whole = b""
        while not whole.endswith(b"\n") or not re.search(rb"^end OK", whole.splitlines()[-1]):
            whole += client.line()
        return whole

    def test_no_octet_of_it_is_seen_by_another(self):
        commands = (
            b"a1 SELECT ../bob\r\n", b"a1 SELECT ../bob/INBOX\r\n", b"a1 EXAMINE \"INBOX/../../bob\"\r\n", b"a1 LIST \"\" *\r\n",
            b"a1 LIST \"../\" *\r\n", b"a1 LIST \"\" \"../bob/*\"\r\n", b"a1 LIST \"~bob\" %\r\n", b"a1 LSUB \"\" *\r\n",
            b"a1 STATUS \"../bob\" (MESSAGES)\r\n", b"a1 SUBSCRIBE \"../bob\"\r\n", b"a1 RENAME \"../bob\" mine\r\n",
            b"a1 COPY 1:* \"../bob\"\r\n", b"a1 CREATE \"../bob/x\"\r\n", b"a1 DELETE \"../bob\"\r\n",
            b"a1 SELECT INBOX\r\na2 FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE BODY[])\r\na3 FETCH 4294967295 BODY[]\r\n",
            b"a1 SELECT INBOX\r\na2 FETCH 1 (BODY[]<0.4294967295> BODY[HEADER] BODY[1] BODY[99.99])\r\n",
            b"a1 SELECT INBOX\r\na2 SEARCH TEXT Canary\r\na3 UID SEARCH 1:*\r\n",
            b"a1 " + b"x" * 3000 + b"\r\n", b"a1 APPEND INBOX {3+}\r\nx\x00y\r\n",
        )
        self.assertRegex(self.session().append(postern.message("alice")), b"^OK")
        for command in commands:
            with self.subTest(command):
                self.bob()
                with self.server.session("alice") as client:
                    reply = self.replies(client, command)
                    self.assertNotIn(self.canary.lower(), reply.replace(command, b"").lower())


class Names(ServerTest):
    """What lies on disk after names of every nasty kind."""
    backend = "maildir"

    names = (
        b"..", b".", b"../x", b"x/..", b"x/../../y", b"/etc", b"//x", b"x//y", b"x/", b"~", b"~/x", b"~root", b"cur", b"new/cur",
        b"tmp/new/cur", b"x.y", b".x", b"x.", b"...", b"a\\b", b"&AC8-", b"&AC4ALg-", b"&AAA-", b"&2AA-", b"&3AA-", b"&-", b"&", b"&x",
        b"&AOk", b"&AOkA6Q-", b"&AGE-", b"e&AwE-", b"\xc3\xa9", b"\xff", b"*", b"%", b"x*y", b"INBOX", b"inbox/x", b"Inbox/INBOX",
        b"a:2,S", b"dovecot-uidlist", b"postern", b"-rf", b"con\x01trol", b"\x7f", b"a\tb", b"|", b"$(id)", b"`id`", b"x" * 255,
        b"x" * 1000, b"y/" * 40 + b"z", b"&2D3eAA-", b" ", b"a b", b"\"", b"(", b"{5}",
    )

    def tree(self, path):
        return sorted(os.path.relpath(os.path.join(folder, name), path)
                      for folder, folders, files in os.walk(path) for name in folders + files)

    def literal(self, name):
        return b"{%d+}\r\n%s" % (len(name), name)

    def test_nothing_is_made_outside(self):
        client = self.session("alice")
        self.session("bob").ok("SELECT INBOX")
        others = [self.server.maildir("bob"), self.server.run_dir]
        before = [self.tree(path) for path in others]
        for name in self.names:
            for command in (b"CREATE %s", b"SUBSCRIBE %s", b"STATUS %s (MESSAGES)", b"RENAME Drafts %s", b"CREATE Drafts",
                            b"LIST %s %%", b"LIST \"\" %s", b"DELETE %s", b"APPEND %s {1+}\r\nx", b"CREATE %s"):
                try:
                    client.command(command.replace(b"%s", self.literal(name)).replace(b"%%", b"%"))
                except postern.Closed:  # ten mistakes in a row
                    client = self.session("alice")
        after = [self.tree(path) for path in others]
        for old, new in zip(before, after):
            self.assertEqual([path for path in new if path not in old and "index" not in path and ".mdb" not in path], [])
        self.assertEqual(sorted(os.listdir(self.server.mail_root)), [postern.DOMAIN])
        self.assertEqual(sorted(os.listdir(os.path.join(self.server.mail_root, postern.DOMAIN))), ["alice", "bob"])
        for folder, folders, files in os.walk(self.server.maildir("alice")):
            for name in folders + files:
                self.assertFalse(os.path.islink(os.path.join(folder, name)))
                self.assertRegex(name.encode("utf-8", "surrogateescape"), rb"^[\x20-\x7e\x80-\xff]+$")
            if folder == self.server.maildir("alice"):
                for name in folders:
                    self.assertTrue(name in ("cur", "new", "tmp") or name.startswith(".") or "postern" in name, name)
        # What was made is there under the name that LIST tells.
        for line in self.session("alice").ok('LIST "" *'):
            match = re.match(rb'\* LIST \(([^)]*)\) "/" (.*)\r\n$', line, re.DOTALL)
            if match and b"\\No" not in match.group(1) and b"{" not in line:
                self.assertRegex(self.session("alice").command(b"STATUS %s (MESSAGES)" % match.group(2))[1], b"^OK")


class Planted(ServerTest):
    """A Maildir in which somebody who could write there has left traps."""
    backend = "maildir"
    canary = "C4nary-planted"

    def setUp(self):
        bob = self.session("bob", select="INBOX")
        self.assertRegex(bob.append(postern.message(self.canary, self.canary + "\r\n")), b"^OK")
        folder = os.path.join(self.server.maildir("bob"), "cur")
        self.treasure = os.path.join(folder, os.listdir(folder)[0]) if os.listdir(folder) else None
        if not self.treasure:
            folder = os.path.join(self.server.maildir("bob"), "new")
            self.treasure = os.path.join(folder, os.listdir(folder)[0])

    def seen(self, select="INBOX"):
        client = self.session("alice")
        status = client.command("SELECT " + select)[1]
        if not status.startswith(b"OK"):
            return b""
        return b"".join(client.command("FETCH 1:* (ENVELOPE BODY[])")[0])

    def test_links_and_other_things_among_the_messages(self):
        self.assertRegex(self.session("alice").append(postern.message("mine")), b"^OK")
        for place in ("new", "cur"):
            folder = os.path.join(self.server.maildir("alice"), place)
            os.symlink(self.treasure, os.path.join(folder, "1700000000.M1P1.link:2,"))
            os.symlink(os.path.join("..", "..", "bob", "cur", os.path.basename(self.treasure)),
                       os.path.join(folder, "1700000000.M2P1.link:2,"))
            os.symlink("/etc/passwd", os.path.join(folder, "1700000000.M3P1.link:2,"))
            os.symlink("/dev/zero", os.path.join(folder, "1700000000.M4P1.link:2,"))
            os.mkfifo(os.path.join(folder, "1700000000.M5P1.fifo:2,"))
            os.mkdir(os.path.join(folder, "1700000000.M6P1.folder:2,"))
        seen = self.seen()
        self.assertIn(b"mine", seen)
        self.assertNotIn(self.canary.encode(), seen)
        self.assertNotIn(b"root:", seen)

    def test_folders_that_are_links(self):
        self.session("alice")
        os.symlink(self.server.maildir("bob"), os.path.join(self.server.maildir("alice"), ".Trap"))
        os.symlink("/", os.path.join(self.server.maildir("alice"), ".Root"))
        os.mkdir(os.path.join(self.server.maildir("alice"), ".Half"))
        os.symlink(os.path.dirname(self.treasure), os.path.join(self.server.maildir("alice"), ".Half", "cur"))
        os.mkdir(os.path.join(self.server.maildir("alice"), ".Half", "new"))
        os.mkdir(os.path.join(self.server.maildir("alice"), ".Half", "tmp"))
        for name in ("Trap", "Root", "Half"):
            self.assertNotIn(self.canary.encode(), self.seen(name))
        self.session("alice").command("DELETE Trap")
        self.assertTrue(os.path.exists(self.treasure))

    def test_a_file_of_another_users_is_not_given_away(self):
        """A hard link needs no right to read: it is the owner that tells."""
        if os.geteuid() != 0:
            self.skipTest("only root can make a file of another's")
        foreign = os.path.join(self.server.folder, "foreign")
        with open(foreign, "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write("Subject: %s\n\n" % self.canary)
        self.session("alice")
        link = os.path.join(self.server.maildir("alice"), "new", "1700000000.M9P1.hard")
        try:
            os.link(foreign, link)
        except OSError:
            self.skipTest("on another file system")
        self.assertNotIn(self.canary.encode(), self.seen())
        os.unlink(link)


class Exposed(ServerTest):
    """Files whose modes let others in are told of, at the start and when they change."""

    def test_modes_are_told(self):
        self.assertNotIn("exposed", self.server.log())
        for path, mode, event in ((self.server.passwd_file, 0o640, None), (self.server.passwd_file, 0o644, "secret_exposed"),
                                  (self.server.key, 0o604, "secret_exposed"), (self.server.config, 0o666, "config_exposed")):
            os.chmod(path, mode)
            self.server.reload()
            if event:
                line = r'event=%s msg="%s has mode %04o' % (event, re.escape(path), mode)
                postern.wait_until(lambda line=line: re.search(line, self.server.log()), line)
        self.assertNotIn("mode 0640", self.server.log())

    def test_a_user_s_mail_that_is_a_link_is_not_opened(self):
        self.session("bob").append(postern.message("mine"))
        self.server.add_users("eve", "mallory")
        os.symlink("bob", self.server.maildir("eve"))
        os.symlink("/", self.server.maildir("mallory"))
        for user in ("eve", "mallory"):
            with self.subTest(user):
                postern.wait_until(lambda: "users=4" in self.server.log(), "the new users")
                with self.server.connect(tls=True) as client:
                    client.greeting()
                    try:
                        answer = client.command("LOGIN %s pass" % user)[1]
                    except postern.Closed as closed:
                        answer = str(closed).encode()
                    self.assertNotRegex(answer, b"^OK")


class RunDir(ServerTest):
    def mode(self, name):
        return stat.S_IMODE(os.lstat(os.path.join(self.server.run_dir, name)).st_mode)

    def test_what_lies_there_is_masters(self):
        self.assertEqual(self.mode("control"), 0o600)
        self.assertEqual(self.mode("posternd.pid") & 0o133, 0)
        self.assertEqual(self.mode("empty") & 0o222, 0)
        for name in ("control", "posternd.pid", "empty"):
            self.assertEqual(os.lstat(os.path.join(self.server.run_dir, name)).st_uid, os.geteuid())

    def test_where_others_may_write_it_does_not_start(self):
        other = postern.Instance()
        other.ports = {"imap": 1, "imaps": 2}
        os.chmod(other.run_dir, 0o777)
        other.write_config()
        done = subprocess.run((other.installation.path("sbin/posternd"), "--config", other.config, "--foreground"),
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=postern.PATIENCE, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(other.run_dir + " must be a folder that only its owner", done.stderr)

    def test_strangers_on_the_machine_may_not_ask(self):
        if os.geteuid() != 0:
            self.skipTest("only root can become somebody else")
        control = os.path.join(self.server.run_dir, "control")
        os.chmod(control, 0o666)  # even if somebody changes it
        self.addCleanup(os.chmod, control, 0o600)
        script = ("import os, socket, sys\nos.setgid(65534)\nos.setuid(65534)\nsock = socket.socket(socket.AF_UNIX)\n"
                  "sock.connect(sys.argv[1])\nsock.sendall(b'{\"do\": \"ping\"}\\n')\nsys.stdout.buffer.write(sock.recv(100))\n")
        done = subprocess.run(("python3", "-c", script, control), capture_output=True,
                              timeout=postern.PATIENCE, check=False)
        self.assertEqual(done.stdout, b"")
