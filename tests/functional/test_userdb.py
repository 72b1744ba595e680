# SPDX-License-Identifier: MIT
"""Users in databases: a passwd-file, SQLite, PostgreSQL, LDAP, PAM and the configuration itself, asked one after the other."""

import json
import os
import pathlib
import re
import signal
import sqlite3
import subprocess
import sys
import time
import unittest
import urllib.parse

import postern
from server_test import ServerTest

CREATE = "CREATE TABLE users (name TEXT, domain TEXT, password TEXT, nologin TEXT, reason TEXT, protocols TEXT)"
INSERT = "INSERT INTO users (name, domain, password, nologin, reason, protocols) VALUES "
QUERY = "SELECT password, nologin, reason, protocols FROM users WHERE name = :local AND domain = :domain"

HASH = postern.PASSWORD_HASH.replace("$", "\\$")


def row(name, nologin="NULL", reason="NULL", protocols="NULL"):
    return "('%s', '%s', '%s', %s, %s, %s)" % (name, postern.DOMAIN, postern.PASSWORD_HASH, nologin, reason, protocols)


class PostgreSQL:
    """A server of one's own in a folder, on a UNIX socket; as root it runs as postgres."""

    def __init__(self):
        self.folder = postern.scratch_folder()
        versions = "/usr/lib/postgresql"
        self._programs = os.path.join(versions, max(os.listdir(versions), key=int), "bin")
        self._user = "postgres" if os.geteuid() == 0 else None
        self._data = os.path.join(self.folder, "data")
        if self._user:
            subprocess.run(("chown", self._user, self.folder), check=True)
        self._run("initdb", "-D", self._data, "-A", "trust", "-U", "postern", "--no-sync", "--no-locale", "-E", "UTF8")
        self.start()

    def _run(self, program, *args):
        subprocess.run((os.path.join(self._programs, program),) + args, check=True, cwd=self.folder, user=self._user,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def start(self):
        options = "-c listen_addresses='' -c fsync=off -c shared_buffers=1MB -k " + self.folder
        self._run("pg_ctl", "-D", self._data, "-w", "-t", "60", "-o", options, "start")

    def stop(self):
        self._run("pg_ctl", "-D", self._data, "-w", "-t", "60", "-m", "immediate", "stop")

    def sql(self, text):
        self._run("psql", "-h", self.folder, "-U", "postern", "-v", "ON_ERROR_STOP=1", "-q", "-c", text, "postgres")


SLAPD = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
database mdb
suffix "dc=example,dc=test"
rootdn "cn=admin,dc=example,dc=test"
rootpw secret
directory {folder}/data
maxsize 1048576
access to attrs=userPassword by anonymous auth by * none
access to * by * read
"""
LDIF = """
dn: dc=example,dc=test
objectClass: dcObject
objectClass: organization
dc: example
o: example
"""
PERSON = """
dn: cn={name},dc=example,dc=test
objectClass: inetOrgPerson
cn: {name}
sn: {name}
mail: {name}@example.test
userPassword: {password}
employeeType: {protocols}
"""


class Directory:
    """A slapd of one's own in a folder, on a UNIX socket."""

    def __init__(self, *people):
        self.folder = postern.scratch_folder()
        self.uri = "ldapi://" + urllib.parse.quote(self.folder + "/socket", safe="")
        self._config = os.path.join(self.folder, "slapd.conf")
        os.mkdir(self.folder + "/data")
        pathlib.Path(self._config).write_text(SLAPD.format(folder=self.folder), encoding="ascii")
        ldif = LDIF + "".join(PERSON.format(name=name, password=password, protocols=protocols)
                              for name, password, protocols in people)
        subprocess.run(("/usr/sbin/slapadd", "-q", "-f", self._config), input=ldif, text=True, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._process = subprocess.Popen(("/usr/sbin/slapd", "-f", self._config, "-h", self.uri, "-d", "0"),
                                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        postern.wait_until(lambda: os.path.exists(self.folder + "/socket"), "slapd", 60)
        os.chmod(self.folder + "/socket", 0o777)

    def stop(self):
        self._process.terminate()
        self._process.wait()


def pam_folder():
    """A PAM configuration, and the module that it names."""
    folder = postern.scratch_folder()
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pam_module.c")
    subprocess.run(("gcc", "-shared", "-fPIC", "-o", folder + "/module.so", source, "-lpam"), check=True)
    pathlib.Path(folder, "postern").write_text("auth required {0}/module.so\naccount required {0}/module.so\n".format(folder),
                                               encoding="ascii")
    return folder


class DatabaseTest(ServerTest):
    def login(self, name, password=postern.PASSWORD):
        client = self.connect(tls=True)
        client.greeting()
        return client.command('LOGIN "%s" %s' % (name, password))[1].decode()

    def ended(self, client):
        """The last that is said."""
        said = b""
        try:
            while True:
                said = client.line()
        except (postern.Closed, OSError):
            return said


class Reload(DatabaseTest):
    """What a reload changes of the sections counts at once; sessions of users who are still there stay."""

    settings = ServerTest.settings.replace("limits {", "limits { userdb_check_time = 1s")

    @staticmethod
    def names(title, *names):
        return 'userdb "%s" { driver = "static" names = { %s } fields = { "password=%s" } }\n' % (
            title, ", ".join('"%s@%s"' % (name, postern.DOMAIN) for name in names), HASH)

    @staticmethod
    def lite(name):
        """A database of a driver that was not there at the start, and which is confined to its file."""
        path = os.path.join(postern.scratch_folder(), "users.sqlite")
        db = sqlite3.connect(path)
        with db:
            db.execute(CREATE)
            db.execute(INSERT + row(name))
        db.close()
        return 'userdb "lite" { driver = "sqlite" path = "%s" query = "%s" }\n' % (path, QUERY)

    def reload(self, *sections):
        self.server.write_config(self.settings + "\n" + "".join(sections))
        self.server.tool("reload")

    def wait_for(self, **users):
        """Whether each may log in; while a process is exchanged, that is put off."""
        def said(name):
            answer = self.login(name)
            return None if answer.startswith("NO [UNAVAILABLE]") else answer

        for name, may in users.items():
            answer = postern.wait_until(lambda name=name: said(name), "an answer about " + name)
            self.assertEqual(answer.startswith("OK"), may, (name, answer))

    def test_databases_come_change_and_go(self):
        ann, lisa = self.names("one", "ann"), self.lite("lisa")
        self.wait_for(alice=True, ann=False)
        self.reload(ann)
        self.wait_for(alice=True, ann=True, lisa=False)
        first = self.session("ann")
        self.reload(ann, lisa)
        self.wait_for(ann=True, lisa=True)
        second = self.session("lisa")
        self.reload(lisa, ann, self.names("two", "tom"))  # in another order: one does not know whom the other one does
        self.wait_for(ann=True, lisa=True, tom=True)
        for client in (first, second):
            client.ok("NOOP")
        self.reload(self.lite("lars"), ann)
        self.wait_for(ann=True, lars=True, lisa=False, tom=False)
        self.assertRegex(self.ended(second), rb"^\* BYE ")
        first.ok("NOOP")
        self.server.write_config(self.settings + '\nuserdb "x" { driver = "no-such" }')
        self.assertNotEqual(self.server.tool("reload", check=False).returncode, 0)
        self.wait_for(ann=True, lars=True)
        self.reload()
        self.wait_for(alice=True, ann=False, lars=False)
        self.assertRegex(self.ended(first), rb"^\* BYE ")
        postern.wait_until(lambda: "userdb" not in [role for _, role in self.server.roles()], "the end of the databases' processes")


class Chain(DatabaseTest):
    users = ("alice", "both")
    may_die = True

    @classmethod
    def setUpClass(cls):
        cls.postgresql = PostgreSQL()
        cls.addClassCleanup(cls.postgresql.stop)
        cls.postgresql.sql(CREATE + ";" + INSERT + row("peggy") + "," + row("peter", "'t'", "'Please pay first'"))
        cls.directory = Directory(("dora", "pass", "imap,pop3"), ("dick", "{SSHA}bad", "imap"), ("dave", "pass", "pop3"))
        cls.addClassCleanup(cls.directory.stop)
        cls.sqlite = os.path.join(postern.scratch_folder(), "users.sqlite")
        cls.sql(CREATE)
        cls.sql(INSERT + ",".join((row("lisa"), row("both", "1"), row("popeye", protocols="'pop3,smtp'"), row("twice"),
                                   row("twice"), row("odd", protocols="'imap'"))))
        cls.settings = ServerTest.settings.replace("limits {", "limits { userdb_cache_time = 0 auth_cache_time = 0 userdb_timeout = 60s") + """
master_users = { "alice" }
userdb "lite" { driver = "sqlite" path = "%s" query = "%s" }
userdb "big" { driver = "postgresql" connection = "host=%s dbname=postgres user=postern" query = "%s" }
userdb "some" { driver = "static" names = { "stan@%s" } fields = { "password=%s", "protocols=imap" } }
userdb "dir" { driver = "ldap" uri = "%s" base = "dc=example,dc=test" attributes = { "protocols=employeeType" } }
userdb "pam" { driver = "pam" folder = "%s" }
userdb "few" { driver = "static" names = { "sam@%s" } fields = { "password=%s", "sessions=2" } }
""" % (cls.sqlite, QUERY, cls.postgresql.folder, QUERY, postern.DOMAIN, HASH, cls.directory.uri, pam_folder(), postern.DOMAIN,
       HASH)
        super().setUpClass()

    @classmethod
    def sql(cls, text):
        db = sqlite3.connect(cls.sqlite)
        with db:
            db.execute(text)
        db.close()

    def test_each_database_knows_its_users(self):
        for name in ("alice", "lisa", "peggy", "stan", "dora", "daemon", "sam"):
            with self.subTest(name):
                self.assertRegex(self.login(name), "^OK")
                self.assertRegex(self.login(name, "wrong"), r"^NO \[AUTHENTICATIONFAILED\]")

    KNOWN = {"alice": "users", "lisa": "userdb lite", "peggy": "userdb big", "stan": "userdb some", "dora": "userdb dir",
             "daemon": "userdb pam", "sam": "userdb few"}

    def check_the_command_line(self, tool):
        for name, source in self.KNOWN.items():
            with self.subTest(name):
                user = json.loads(tool("user", "show", "--json", name).stdout)
                self.assertEqual((user["name"], user["mail"]), (name + "@" + postern.DOMAIN, "%s/%s/%s" % (
                    self.server.mail_root, postern.DOMAIN, name)))
                self.assertTrue(user["source"].endswith(source), user["source"])
                self.assertNotIn("{", tool("user", "show", name).stdout)
        self.assertEqual(json.loads(tool("user", "show", "--json", "peter").stdout)["reason"], "Please pay first")
        self.assertIn("INBOX", tool("mailbox", "list", "peggy").stdout)
        self.assertIn("of any", tool("quota", "show", "dora").stdout)
        tool("mailbox", "expire", "lisa")
        tool("sync", "--dry-run", "peggy", "maildir:%s/copy" % postern.scratch_folder())
        for name, text in (("no-such-user", "there is no user"), ("twice", "userdb lite: .*|cannot tell")):
            done = tool("mailbox", "list", name, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, text)

    def test_the_command_line_knows_them(self):
        self.check_the_command_line(self.server.tool)
        self.assertRegex(self.server.tool("smtp", "explain", "peggy@" + postern.DOMAIN).stdout, "user peggy@.*\n.*would be stored")
        self.assertRegex(self.server.tool("smtp", "explain", "no-such-user@" + postern.DOMAIN).stdout, "would be refused")
        self.assertRegex(self.server.tool("user", "list").stderr, "not among them.*: userdb lite, big, some, dir, pam, few")
        done = self.server.tool("user", "remove", "--mail", "--yes", "lisa", check=False)
        self.assertRegex(done.stderr, "a user of userdb lite")

    def test_the_command_line_knows_them_where_no_server_runs(self):
        """The same configuration, but nobody at its control socket."""
        config = os.path.join(postern.scratch_folder(), "postern.conf")
        text = pathlib.Path(self.server.config).read_text(encoding="utf-8")
        pathlib.Path(config).write_text(text.replace(self.server.run_dir, os.path.dirname(config)), encoding="utf-8")
        self.check_the_command_line(lambda *args, **options: self.server.tool(*args, "--config", config, **options))

    def test_unknown_everywhere(self):
        self.assertEqual(self.login("no-such-user"), self.login("lisa", "wrong"))

    def test_the_first_that_knows_the_name_counts(self):
        self.assertRegex(self.login("both"), "^OK")

    def test_a_directory_and_pam_say_more_than_a_password(self):
        self.assertRegex(self.login("dave"), r"^NO \[AUTHORIZATIONFAILED\]")
        self.assertRegex(self.login("dick"), r"^NO \[AUTHENTICATIONFAILED\]")
        self.assertRegex(self.login("games"), r"^NO \[AUTHENTICATIONFAILED\]")  # the account has expired

    def test_nothing_of_a_name_is_sql(self):
        for name in ("lisa'--", "' or 1=1 --", "lisa%", "$1", ":local", "*", "d*", "dora)(cn=*"):
            with self.subTest(name):
                self.assertRegex(self.login('"%s"' % name), r"^(NO|BAD)")

    def test_the_reason_is_shown(self):
        self.assertRegex(self.login("peter"), r"^NO \[AUTHORIZATIONFAILED\] Please pay first")
        self.assertRegex(self.login("peter", "wrong"), r"^NO \[AUTHENTICATIONFAILED\]")
        for protocol, lines, answer in (("pop3", b"USER peter\r\nPASS pass\r\n", rb"-ERR \[AUTH\] Please pay first"),
                                        ("submission", b"EHLO here\r\nAUTH PLAIN AHBldGVyAHBhc3M=\r\n", rb"525 5\.7\.13 Please pay first")):
            with self.subTest(protocol):
                client = self.connect(tls=True, protocol=protocol)
                client.line()
                client.send(lines)
                line = client.line()
                while not re.match(rb"-ERR|[45]\d\d ", line):
                    line = client.line()
                self.assertRegex(line, answer)

    def test_protocols(self):
        self.assertRegex(self.login("popeye"), r"^NO \[AUTHORIZATIONFAILED\]")
        client = self.connect(tls=True, protocol="pop3")
        client.line()
        client.send(b"USER popeye\r\n")
        client.line()
        client.send(b"PASS pass\r\n")
        self.assertTrue(client.line().startswith(b"+OK"))

    def test_one_name_with_two_rows_is_nobody_just_now(self):
        self.assertRegex(self.login("twice"), r"^NO \[UNAVAILABLE\]")
        self.assertRegex(self.login("lisa"), "^OK")

    def test_mail_comes_for_them(self):
        client = self.connect(protocol="lmtp")
        client.line()
        client.send(b"LHLO here\r\nMAIL FROM:<>\r\nRCPT TO:<peggy@example.test>\r\nRCPT TO:<no-such-user@example.test>\r\n")
        while not client.line().startswith(b"250 "):
            pass
        answers = [client.line()[:3] for _ in range(3)]
        self.assertEqual(answers, [b"250", b"250", b"550"])

    def test_a_new_user_and_a_new_password_count_at_once(self):
        self.assertRegex(self.login("newcomer"), "^NO")
        self.sql(INSERT + row("newcomer"))
        self.assertRegex(self.login("newcomer"), "^OK")
        self.sql("UPDATE users SET password = '{PLAIN}other' WHERE name = 'newcomer'")
        self.assertRegex(self.login("newcomer"), r"^NO \[AUTHENTICATIONFAILED\]")
        self.assertRegex(self.login("newcomer", "other"), "^OK")

    def test_a_master_user_logs_in_as_another(self):
        for name in ("alice%lisa", "alice@example.test%peggy@example.test"):
            with self.subTest(name):
                self.assertRegex(self.login(name), "^OK")
        self.assertRegex(self.login("alice%no-such-user"), r"^NO \[AUTHENTICATIONFAILED\]")
        self.assertRegex(self.login("alice%lisa", "wrong"), r"^NO \[AUTHENTICATIONFAILED\]")
        self.assertRegex(self.login("lisa%alice"), r"^NO \[AUTHENTICATIONFAILED\]")
        self.assertRegex(self.server.log(), r"event=login .*user=lisa@example.test master=alice@example.test ")

    def test_no_more_sessions_than_allowed(self):
        first = [self.session("sam") for _ in range(2)]
        third = self.connect(tls=True)
        third.greeting()
        third.send(b"a LOGIN sam pass\r\n")
        self.assertTrue(third.line().startswith(b"* BYE [LIMIT]"))
        pop3 = self.connect(tls=True, protocol="pop3")
        pop3.line()
        pop3.send(b"USER sam\r\nPASS pass\r\n")
        self.assertTrue(pop3.line().startswith(b"+OK") and pop3.line().startswith(b"+OK"))
        first[0].ok("LOGOUT")
        postern.wait_until(lambda: self.login("sam").startswith("OK"), "room for a session", 60)

    def test_no_more_sessions_of_submission_than_allowed(self):
        def log_in():
            client = self.connect(tls=True, protocol="submission")
            client.line()
            client.send(b"EHLO here\r\nAUTH PLAIN AHNhbQBwYXNz\r\n")
            line = client.line()
            while not re.match(rb"235|[45]\d\d ", line):
                line = client.line()
            return client, line[:3]

        kept = [log_in() for _ in range(2)]
        self.assertEqual([code for _, code in kept], [b"235", b"235"])
        self.assertEqual(log_in()[1], b"454")
        kept[0][0].close()
        postern.wait_until(lambda: log_in()[1] == b"235", "room for a session", 60)

    def test_a_database_that_is_gone_hurts_only_who_is_behind_it(self):
        before = self.session("peggy")
        self.postgresql.stop()
        try:
            self.assertRegex(self.login("alice"), "^OK")
            self.assertRegex(self.login("lisa"), "^OK")
            self.assertRegex(self.login("peggy"), r"^NO \[UNAVAILABLE\]")
            self.assertRegex(self.login("stan"), r"^NO \[UNAVAILABLE\]")
            # That it was asked whether the session may go on is seen in the log; what cannot be told ends none.
            postern.wait_until(lambda: self.server.log().count("event=userdb_error user=peggy@") > 1, "a question", 60)
            before.ok("NOOP")
        finally:
            self.postgresql.start()
        self.assertRegex(self.login("peggy"), "^OK")

    def test_a_database_that_blocks_keeps_nobody_elses_users_waiting(self):
        db = sqlite3.connect(self.sqlite, isolation_level=None)
        db.execute("BEGIN EXCLUSIVE")
        waiting = []
        try:
            for _ in range(8):  # more than there are threads
                client = self.connect(tls=True)
                client.greeting()
                client.send(b"a LOGIN lisa pass\r\n")
                waiting.append(client)
            self.assertRegex(self.login("alice"), "^OK")
        finally:
            db.execute("ROLLBACK")
            db.close()
        for client in waiting:  # those who waited too long are put off
            self.assertRegex(client.line(), rb"^a (OK|NO \[UNAVAILABLE\])")
        self.assertRegex(self.login("lisa"), "^OK")

    def test_a_process_that_dies_is_started_again(self):
        before = {pid for pid, role in self.server.roles() if role == "userdb"}
        self.assertEqual(len(before), 6)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        postern.wait_until(lambda: self.login("peggy").startswith("OK"), "PostgreSQL's users", 60)
        self.assertRegex(self.login("lisa"), "^OK")

    def test_what_changes_in_a_database_ends_sessions(self):
        names = ["moved", "gone", "barred", "stays"]
        self.sql(INSERT + ",".join(row(name) for name in names))
        self.postgresql.sql(INSERT + row("away"))
        clients = {name: self.session(name) for name in names + ["away"]}
        begin = time.monotonic()
        self.sql("UPDATE users SET password = '{PLAIN}other' WHERE name = 'moved'")
        self.sql("DELETE FROM users WHERE name = 'gone'")
        self.sql("UPDATE users SET nologin = '1' WHERE name = 'barred'")
        self.postgresql.sql("DELETE FROM users WHERE name = 'away'")
        for name in ("moved", "gone", "barred", "away"):
            self.assertRegex(self.ended(clients[name]), rb"^\* BYE ", name)
        print("# databases: the sessions had ended after %.2f s" % (time.monotonic() - begin), file=sys.stderr)
        clients["stays"].ok("NOOP")
        for name in ("moved", "gone", "barred", "away"):  # what is revoked besides is told of first, and ends the session
            told = "event=credential_revoked user=%s@%s which=one" % (name, postern.DOMAIN)
            postern.wait_until(lambda told=told: told in self.server.log(), told, 60)
            self.assertEqual(self.server.log().count(told), 1)
        self.assertNotIn("event=credential_revoked user=stays@", self.server.log())

    @unittest.skipUnless(os.geteuid() == 0, "roles cannot be looked into by their own user")
    def test_their_drivers_are_in_no_other_process(self):
        for pid, role in self.server.roles():
            with open("/proc/%d/maps" % pid, encoding="ascii") as file:
                drivers = {line.split("/")[-1] for line in file.read().split("\n") if "/postern/auth/" in line}
            self.assertEqual(len(drivers), 1 if role == "userdb" else 0, (role, drivers))


if __name__ == "__main__":
    unittest.main()
