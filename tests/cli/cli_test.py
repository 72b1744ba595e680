# SPDX-License-Identifier: MIT
"""The program `postern`, run from the build tree (the working folder of `make check`)."""

import json
import mailbox
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "tests/functional"))
import tap  # noqa: E402

BUILD = pathlib.Path(os.environ.get("POSTERN_BUILD", os.getcwd())).resolve()
POSTERN = str(BUILD / "cli/postern")
OK, FAILED, USAGE = 0, 1, 2
# Nothing is judged by this time; it only ends what hangs.
PATIENCE = float(os.environ.get("POSTERN_TEST_PATIENCE", "60"))


class Case(unittest.TestCase):
    """Each test has a folder with a configuration and the user alice."""

    backend = "maildir"

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="postern-cli-"))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.dir.chmod(0o755)
        self.config = self.dir / "postern.conf"
        self.passwd = self.dir / "passwd"
        self.mail = self.dir / "mail"
        self.mail.mkdir()
        if os.geteuid() == 0:
            # The mail belongs to the system user that the setting names; the tests need one that every system has.
            shutil.chown(self.mail, "nobody")
        self.configure()
        self.passwd.write_text("alice@example.test:{PLAIN}pass\n")

    def configure(self, more=""):
        self.config.write_text(
            f'mail_root = "{self.mail}"\npasswd_file = "{self.passwd}"\nrun_dir = "{self.dir}/run"\n'
            f"backend = {self.backend}\ndefault_domain = example.test\nuser_mail = nobody\n{more}"
        )

    def run_cli(self, *args, stdin="", code=OK):
        environment = dict(os.environ, POSTERN_PLUGINDIR=str(BUILD), POSTERN_CONFIG=str(self.config), LC_ALL="C.UTF-8")
        done = subprocess.run(
            [POSTERN, *map(str, args)], input=stdin, env=environment, capture_output=True, text=True, timeout=PATIENCE
        )
        self.assertEqual(done.returncode, code, f"{args}: {done.stdout}\n{done.stderr}")
        return done

    def json(self, *args, code=OK):
        return json.loads(self.run_cli(*args, "--json", code=code).stdout)

    def statuses(self, user="alice"):
        return {box["name"]: box for box in self.json("mailbox", "status", user)}


class Usage(Case):
    def test_help_lists_every_command_and_each_has_help_of_its_own(self):
        commands = commands_of(self.run_cli("--help").stdout)
        self.assertGreater(len(commands), 10)
        for command in commands:
            with self.subTest(command):
                text = self.run_cli(*command.split(), "--help").stdout
                self.assertIn("usage: postern " + command, text)
                self.assertIn("--config FILE", text)

    def test_wrong_usage_says_what_is_right_and_exits_with_2(self):
        cases = [
            ([], "usage: postern"),
            (["usr", "list"], 'did you mean "user"?'),
            (["user", "lst"], 'did you mean "list"?'),
            (["user"], "user add"),
            (["user", "add"], "usage: postern user add [OPTIONS] USER"),
            (["user", "list", "extra"], "usage: postern user list"),
            (["user", "list", "--yes"], "unrecognized option"),
            (["import", "alice"], "usage: postern import [OPTIONS] USER PATH"),
            (["--config"], "requires an argument"),
        ]
        for args, text in cases:
            with self.subTest(args):
                self.assertIn(text, self.run_cli(*args, code=USAGE).stderr)

    def test_the_configuration_is_named_by_option_or_environment(self):
        self.run_cli("--config", self.config, "user", "list")
        self.run_cli("user", "list", "-c", self.config)
        done = self.run_cli("user", "list", "--config=/nowhere/x.conf", code=FAILED)
        self.assertIn("/nowhere/x.conf: No such file or directory", done.stderr)

    def test_the_manual_knows_every_command_and_option(self):
        page = (SOURCE / "docs/man/postern.1").read_text().replace("\\-", "-")
        for command in commands_of(self.run_cli("--help").stdout):
            with self.subTest(command):
                self.assertRegex(page, rf"(?m)^\.It Ic {command}\b")
            entries = entries_of(page, command)
            for option in set(options_of(self.run_cli(*command.split(), "--help").stdout)) - {"config", "help"}:
                with self.subTest(option):
                    self.assertIn("Fl -" + option, entries)


GROUPS = {"user", "mailbox", "config", "storage", "queue", "smtp", "quota"}


def entries_of(page, command):
    """What the manual says of the command; of the queue's, which have options in common, of all of them."""
    name = "queue" if command.startswith("queue ") else command
    entries = re.split(r"(?m)^(?=\.It Ic )", page)
    told = [n for n, entry in enumerate(entries) if entry.startswith(".It Ic " + name + " ") or entry.startswith(".It Ic " + name + "\n")]
    while entries[told[-1]].count("\n") == 1:  # the text is that of the next
        told.append(told[-1] + 1)
    return "".join(entries[n] for n in told)


def commands_of(text):
    words = [line.split() for line in text.splitlines() if line.startswith("  ")]
    groups = GROUPS
    return [" ".join(w[:2]) if w[0] in groups else w[0] for w in words]


def options_of(text):
    return [line.split("--")[1].split()[0] for line in text.splitlines() if line.startswith("  -")]


class Users(Case):
    def test_add_list_passwd_remove(self):
        self.run_cli("user", "add", "Bob", "--password-stdin", stdin="secret\n")
        self.assertEqual(
            self.run_cli("user", "list").stdout.split(), ["alice@example.test", "bob@example.test"]
        )
        before = self.passwd.read_text()
        self.assertNotIn("secret", before)
        self.run_cli("user", "passwd", "bob", "--password-stdin", stdin="other\n")
        self.assertNotEqual(before, self.passwd.read_text())
        self.run_cli("user", "remove", "bob", "--yes")
        self.assertEqual([u["name"] for u in self.json("user", "list")], ["alice@example.test"])
        self.assertEqual(self.passwd.read_text(), "alice@example.test:{PLAIN}pass\n")

    def test_what_cannot_be_done_is_told_and_changes_nothing(self):
        before = self.passwd.read_text()
        cases = [
            (["user", "add", "alice", "--password-stdin"], "x\n", "alice@example.test"),
            (["user", "add", "../x", "--password-stdin"], "x\n", ""),
            (["user", "add", "a:b", "--password-stdin"], "x\n", ""),
            (["user", "add", "carol", "--password-stdin"], "\n", ""),
            (["user", "add", "carol", "--password-stdin"], "", "nothing was given"),
            (["user", "add", "carol", "--password-stdin"], "x" * 2000 + "\n", "longer than"),
            (["user", "add", "carol", "--password-stdin", "--scheme", "ROT13"], "x\n", "ROT13"),
            (["user", "passwd", "nobody", "--password-stdin"], "x\n", "nobody@example.test"),
            (["user", "remove", "nobody", "--yes"], "", "nobody@example.test"),
            (["user", "remove", "alice"], "", "--yes"),
        ]
        for args, stdin, text in cases:
            with self.subTest(args):
                self.assertIn(text, self.run_cli(*args, stdin=stdin, code=FAILED).stderr)
                self.assertEqual(self.passwd.read_text(), before)

    def test_a_line_with_an_error_is_listed_as_such(self):
        self.passwd.write_text("alice@example.test:{PLAIN}x\nbad@example.test:{PLAIN}x:::::::nopassword=y\n")
        listed = {u["name"]: u["valid"] for u in self.json("user", "list")}
        self.assertEqual(listed, {"alice@example.test": True, "bad@example.test": False})

    def on_terminal(self, args, answers):
        """What the program shows on a terminal, and how it ends; an answer is typed after each prompt."""
        shown = b""
        pid, terminal = pty.fork()
        if pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # whatever those who started us ignore
            os.environ.update(POSTERN_PLUGINDIR=str(BUILD), POSTERN_CONFIG=str(self.config))
            os.execv(POSTERN, [POSTERN, *args])
        while True:
            if not select.select([terminal], [], [], PATIENCE)[0]:
                os.kill(pid, signal.SIGKILL)
                self.fail(f"{args} waits after: {shown}")
            try:
                part = os.read(terminal, 1000)
            except OSError:  # how Linux says that nobody has the terminal open any more
                break
            if not part:
                break
            shown += part
            if answers and shown.endswith((b": ", b"] ")):
                os.write(terminal, answers.pop(0).encode())
        os.close(terminal)
        return shown.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def test_the_password_is_asked_for_without_echo(self):
        shown, code = self.on_terminal(["user", "add", "dave"], ["secret\n", "secret\n"])
        self.assertEqual(code, OK, shown)
        self.assertIn("New password for dave@example.test", shown)
        self.assertNotIn("secret", shown)
        self.assertIn("dave@example.test:{", self.passwd.read_text())

    def test_two_different_passwords_or_an_interrupt_change_nothing(self):
        before = self.passwd.read_text()
        shown, code = self.on_terminal(["user", "passwd", "alice"], ["one\n", "two\n"])
        self.assertEqual((code, "differ" in shown), (FAILED, True), shown)
        _, code = self.on_terminal(["user", "passwd", "alice"], ["one\n", "\x03"])
        self.assertEqual(code, -signal.SIGINT)
        self.assertEqual(self.passwd.read_text(), before)

    def test_removing_asks(self):
        _, code = self.on_terminal(["user", "remove", "alice"], ["n\n"])
        self.assertEqual((code, "alice" in self.passwd.read_text()), (FAILED, True))
        _, code = self.on_terminal(["user", "remove", "alice"], ["y\n"])
        self.assertEqual((code, "alice" in self.passwd.read_text()), (OK, False))


class Config(Case):
    def test_check_tells_all_errors_with_their_lines(self):
        self.assertIn("no errors", self.run_cli("config", "check").stdout)
        self.configure("lisener x { }\nworker_threads = many\n")
        done = self.run_cli("config", "check", code=FAILED)
        self.assertIn(f'{self.config}:7: unknown setting "lisener"; did you mean "listener"?\n', done.stderr)
        self.assertIn(f'{self.config}:8: "worker_threads" must be a whole number from 1 to 256', done.stderr)
        answer = self.json("config", "check", code=FAILED)
        self.assertFalse(answer["ok"])
        self.assertEqual(len(answer["errors"]), 2)

    def test_check_looks_at_the_files(self):
        self.passwd.unlink()
        self.assertIn(f"cannot read {self.passwd}", self.run_cli("config", "check", code=FAILED).stderr)

    def test_databases_that_would_not_be_asked_are_an_error(self):
        for count, code in ((32, OK), (33, FAILED)):
            self.configure("".join(f'userdb d{n} {{ driver = "static" }}\n' for n in range(count)))
            done = self.run_cli("config", "check", code=code)
        self.assertIn(f"{self.config}:39: there may be at most 32 sections userdb", done.stderr)

    def test_what_show_prints_is_a_configuration(self):
        self.configure('listener a { port = 1 tls = none }\nlimits { message_size = 5M }\nmailbox "Ä b" { }\n')
        for more in ([], ["--all"]):
            first = self.run_cli("config", "show", *more).stdout
            other = self.dir / "other.conf"
            other.write_text(first)
            self.assertEqual(self.run_cli("config", "show", *more, "-c", other).stdout, first)
        shown = self.json("config", "show", "--all")
        self.assertEqual(shown["limits"]["message_size"], 5 << 20)
        self.assertEqual(shown["listener"]["a"]["port"], 1)
        self.assertIn("maildir", shown["backends"])
        self.assertNotIn("tls", self.json("config", "show"))


    def test_passwords_of_databases_are_shown_to_who_asks_for_them(self):
        self.configure('userdb a { driver = "static" fields = { "password={PLAIN}s3cret" } }\n')
        for words in (["show"], ["show", "--all"], ["show", "--json"]):
            shown = self.run_cli("config", *words).stdout
            self.assertNotIn("s3cret", shown)
            self.assertIn('"(hidden)"', shown)
            self.assertIn("s3cret", self.run_cli("config", *words, "--secrets").stdout)


class Mailboxes(Case):
    def test_list_and_status(self):
        boxes = {box["name"]: box for box in self.json("mailbox", "list", "alice")}
        self.assertEqual(set(boxes), {"INBOX", "Drafts", "Sent", "Junk", "Trash", "Archive"})
        self.assertEqual(boxes["Sent"]["special_use"], "sent")
        self.assertIsNone(boxes["INBOX"]["special_use"])
        self.assertEqual([b["name"] for b in self.json("mailbox", "status", "alice", "inbox")], ["INBOX"])
        self.assertIn("uid_next 1", self.run_cli("mailbox", "status", "alice", "Sent").stdout)
        self.run_cli("mailbox", "status", "alice", "Nowhere", code=FAILED)
        self.run_cli("mailbox", "list", "nobody", code=FAILED)


def message(n, body="hello\n"):
    return f"From: a@example.test\nSubject: {n}\nMessage-ID: <{n}@example.test>\n\n{body}"


class Import(Case):
    def maildir(self):
        top = self.dir / "source"
        for folder in ("", ".Sent.2024", ".Entw&APw-rfe", ".git"):
            for part in ("cur", "new", "tmp") if folder != ".git" else ("objects",):
                (top / folder / part).mkdir(parents=True)
        self.put(top / "new/1600000000.1.host", 1)
        self.put(top / "cur/1600000001.2.host:2,FSa", 2)
        self.put(top / ".Sent.2024/cur/1600000002.3.host:2,PR", 3)
        self.put(top / ".Entw&APw-rfe/cur/1600000003.4.host:2,DT", 4)
        (top / "dovecot-keywords").write_text("0 $Label1\n")
        (top / "dovecot-uidlist").write_text("3 V1 N3\n")
        os.symlink("/etc/passwd", top / "new/1600000009.evil")
        return top

    def put(self, path, n, date=None, body="hello\n"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(message(n, body))
        if date:
            os.utime(path, (date, date))

    def found(self, mailbox_name=""):
        return {m["Subject"]: m for m in mailbox.Maildir(self.mail / "example.test/alice" / mailbox_name, create=False)}

    def test_a_maildir_keeps_folders_flags_and_dates(self):
        done = self.json("import", "alice", self.maildir())
        self.assertEqual((done["found"], done["imported"], done["failed"]), (4, 4, 0))
        self.assertTrue(done["complete"])
        boxes = self.statuses()
        self.assertEqual(boxes["INBOX"]["messages"], 2)
        self.assertEqual(boxes["INBOX"]["unseen"], 1)
        self.assertEqual(boxes["Sent/2024"]["messages"], 1)
        self.assertTrue(boxes["Sent/2024"]["subscribed"])
        self.assertEqual(boxes["Entwürfe"]["deleted"], 1)
        inbox = self.found()
        self.assertEqual(set(inbox["2"].get_flags()) & set("DFPRST"), set("FS"))
        self.assertEqual(int(inbox["2"].get_date()), 1600000001)

    def test_an_import_can_be_repeated(self):
        source = self.maildir()
        self.assertEqual(self.json("import", "alice", source)["imported"], 4)
        again = self.json("import", "alice", source)
        self.assertEqual((again["imported"], again["already_there"]), (0, 4))
        self.put(source / "new/1600000005.5.host", 5)
        self.put(source / "new/1600000006.5.host", 5)
        more = self.json("import", "alice", source)
        self.assertEqual((more["imported"], more["already_there"]), (2, 4))
        self.assertEqual(self.statuses()["INBOX"]["messages"], 4)

    def test_the_same_message_twice_in_the_source_stays_twice(self):
        for name in ("a.eml", "b.eml"):
            self.put(self.dir / "source" / name, 1, date=1500000000)
        self.assertEqual(self.json("import", "alice", self.dir / "source")["imported"], 2)
        self.assertEqual(self.json("import", "alice", self.dir / "source")["already_there"], 2)

    def test_a_folder_of_files(self):
        top = self.dir / "source"
        self.put(top / "a.eml", 1, date=1500000000)
        self.put(top / "Work/2024/b.eml", 2)
        (top / "README").write_text("Hello, this is no message\n")
        (top / "one.mbox").write_text("From alice Mon Nov 23 06:00:00 2026\n" + message(3))
        done = self.json("import", "alice", top)
        self.assertEqual((done["imported"], done["not_messages"], done["failed"]), (3, 1, 0))
        boxes = self.statuses()
        self.assertEqual((boxes["INBOX"]["messages"], boxes["Work/2024"]["messages"]), (2, 1))
        inbox = self.found()
        self.assertEqual(set(inbox), {"1", "3"})
        self.assertEqual(int(inbox["1"].get_date()), 1500000000)
        self.assertNotIn("alice Mon", inbox["3"].as_string().replace("\r", ""))

    def test_all_into_one_mailbox_and_a_single_file(self):
        source = self.maildir()
        self.json("import", "alice", source, "--mailbox", "Old/All")
        self.assertEqual(self.statuses()["Old/All"]["messages"], 4)
        self.json("import", "alice", source / "new/1600000000.1.host")
        self.assertEqual(self.statuses()["INBOX"]["messages"], 1)
        self.run_cli("import", "alice", source, "--mailbox", "a//b", code=USAGE)

    def mbox(self, path, count, first=1):
        """As mutt writes it: flags in fields of its own, lines that look like the next message's start quoted."""
        path.parent.mkdir(parents=True, exist_ok=True)
        text = ""
        for n in range(first, first + count):
            body = f">From here {n}\n>>From there\n\nend\n"
            notes = "Status: RO\nX-Status: AF\nX-Keywords: work  $Label1\n" if n % 2 else "Content-Length: 39\n"
            text += f"From a@example.test Mon Nov 23 06:{n:02}:00 2026\n{notes}{message(n, body)}\n"
        path.write_text(text)

    def test_an_mbox_of_several_messages(self):
        self.mbox(self.dir / "source/m", 5)
        done = self.json("import", "alice", self.dir / "source/m")
        self.assertEqual((done["found"], done["imported"], done["complete"]), (5, 5, True))
        self.assertEqual(self.statuses()["INBOX"]["unseen"], 2)
        inbox = self.found()
        self.assertEqual(set(inbox["1"].get_flags()) & set("DFPRST"), set("FRS"))
        self.assertEqual(int(inbox["2"].get_date()), 1795413720)
        self.assertEqual(inbox["3"].get_payload().replace("\r", ""), "From here 3\n>From there\n\nend\n")
        self.assertIsNone(inbox["3"]["Status"])
        self.assertIsNone(inbox["4"]["Content-Length"])
        again = self.json("import", "alice", self.dir / "source/m")
        self.assertEqual((again["imported"], again["already_there"]), (0, 5))

    def test_each_mbox_of_a_folder_is_a_mailbox(self):
        top = self.dir / "source"
        self.mbox(top / "work.mbox", 3)
        self.mbox(top / "Sent", 2)
        self.mbox(top / "lists/postern", 4)
        self.mbox(top / "inbox", 2)
        self.put(top / "lists/one.eml", 1)
        told = self.json("import", "alice", top, "--dry-run")["mailboxes"]
        self.assertEqual(told, {"INBOX": 2, "Sent": 2, "lists": 1, "lists/postern": 4, "work": 3})
        self.assertEqual(self.json("import", "alice", top)["imported"], 12)
        boxes = self.statuses()
        self.assertEqual({name: boxes[name]["messages"] for name in told}, told)

    def test_one_message_of_an_mbox_that_is_too_large_fails_and_the_others_come(self):
        self.configure("limits { message_size = 10K }\n")
        path = self.dir / "source/m"
        self.mbox(path, 2)
        with path.open("a") as file:
            file.write("From a Mon Nov 23 07:00:00 2026\n" + message(9, "x" * 20000 + "\n") + "\n")
        with path.open("a") as file:
            file.write("From a Mon Nov 23 08:00:00 2026\n" + message(10))
        done = self.run_cli("import", "alice", path, code=FAILED)
        self.assertIn("m, at octet", done.stderr)
        self.assertIn("message_size allows 10240", done.stderr)
        self.assertEqual(self.statuses()["INBOX"]["messages"], 3)

    def test_several_messages_without_dates_between_them_are_refused(self):
        top = self.dir / "source"
        top.mkdir()
        (top / "m").write_text("From a\n" + message(1) + "\nFrom b\n" + message(2))
        done = self.run_cli("import", "alice", top, code=FAILED)
        self.assertIn("mbox with several messages", done.stderr)
        self.assertEqual(self.statuses()["INBOX"]["messages"], 0)

    def test_a_message_that_is_too_large_fails_and_the_others_come(self):
        self.configure("limits { message_size = 10K }\n")
        top = self.dir / "source"
        self.put(top / "a", 1)
        self.put(top / "b", 2, body="x" * 20000 + "\n")
        self.put(top / "c", 3)
        done = self.json("import", "alice", top, code=FAILED)
        self.assertEqual((done["imported"], done["failed"], done["complete"]), (2, 1, False))

    def test_a_dry_run_does_nothing(self):
        done = self.json("import", "alice", self.maildir(), "--dry-run")
        self.assertEqual(done["mailboxes"], {"INBOX": 2, "Sent/2024": 1, "Entwürfe": 1})
        self.assertEqual(os.listdir(self.mail), [])

    def test_a_symbolic_link_is_not_followed(self):
        top = self.dir / "source"
        self.put(top / "a", 1)
        os.symlink("a", top / "link")
        os.symlink(".", top / "loop")
        self.assertEqual(self.json("import", "alice", top)["found"], 1)

    def test_a_source_that_is_not_there(self):
        done = self.run_cli("import", "alice", "/nowhere", code=FAILED)
        self.assertIn("/nowhere: No such file or directory", done.stderr)

    def test_many_messages_come_in_the_order_of_their_dates(self):
        top = self.dir / "source"
        for n in range(250):
            self.put(top / f"{(n * 7) % 250}", n, date=1500000000 + n)
        self.assertEqual(self.json("import", "alice", top)["imported"], 250)
        self.assertEqual(self.statuses()["INBOX"]["uid_next"], 251)

    def test_mail_goes_with_the_user_if_asked(self):
        self.json("import", "alice", self.maildir())
        home = self.mail / "example.test/alice"
        self.assertTrue(home.exists())
        os.symlink(self.config, home / "link")
        self.run_cli("user", "remove", "alice", "--yes", "--mail")
        self.assertFalse(home.exists())
        self.assertTrue(self.config.exists())

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_what_root_imports_belongs_to_the_mail_user(self):
        source = self.maildir()
        os.chmod(source, 0o700)
        self.assertEqual(self.json("import", "alice", source)["imported"], 4)
        owner = self.mail.stat().st_uid
        for path in self.mail.rglob("*"):
            self.assertEqual(path.lstat().st_uid, owner, path)


if __name__ == "__main__":
    sys.exit(tap.main([__file__]))
