# SPDX-License-Identifier: MIT
"""Maildirs that Dovecot and Courier wrote, served in place: clients see the same UIDs, flags, keywords, subscriptions."""

import imaplib
import os
import poplib
import pwd
import re
import shutil
import signal
import subprocess
import unittest

import courier
import ports
import postern
from server_test import ServerTest, flags_by_uid, status, subjects_by_uid

DOVECOT = shutil.which("dovecot", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
DOVECOT_POP3 = os.path.exists("/usr/lib/dovecot/pop3")


class Dovecot:
    """Debian's Dovecot on a high port of the loopback, with all it needs in a folder of its own."""

    CONFIG = """
base_dir = {top}/run
state_dir = {top}/run
log_path = {top}/log
instance_name = {top}
protocols = imap{pop3}
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_failure_delay = 0
mail_location = maildir:{top}/mail/%n{options}
first_valid_uid = 0
first_valid_gid = 0
default_vsz_limit = 0
{internal}
passdb {{
  driver = static
  args = password=pass
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={top}/mail/%n
}}
service anvil {{
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {pop3_port}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service stats {{
  chroot =
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
namespace inbox {{
  inbox = yes
}}
"""

    def __init__(self, options=""):
        self.top = postern.scratch_folder()
        self.mail = os.path.join(self.top, "mail")
        self.config = os.path.join(self.top, "dovecot.conf")
        self._options = options
        os.mkdir(self.mail, 0o755)
        if os.geteuid() == 0:
            self._owner = pwd.getpwnam("postern")
            internal = ""
        else:
            self._owner = pwd.getpwuid(os.geteuid())
            internal = "default_internal_user = %s\ndefault_login_user = %s" % ((self._owner.pw_name,) * 2)
        os.chown(self.mail, self._owner.pw_uid, self._owner.pw_gid)
        self.port = ports.free()
        self.pop3_port = ports.free()
        with open(self.config, "w", encoding="ascii") as file:
            file.write(self.CONFIG.format(top=self.top, options=options, uid=self._owner.pw_uid, port=self.port,
                                          pop3=" pop3" if DOVECOT_POP3 else "", pop3_port=self.pop3_port, gid=self._owner.pw_gid, internal=internal))

    def __enter__(self):
        subprocess.run([DOVECOT, "-c", self.config], check=True, stdin=subprocess.DEVNULL)
        pid_file = os.path.join(self.top, "run", "master.pid")
        postern.wait_until(lambda: os.path.exists(pid_file) and os.path.getsize(pid_file) > 0, "Dovecot's pid file")
        with open(pid_file, encoding="ascii") as file:
            self._pid = int(file.read())
        return self

    def __exit__(self, *_):
        os.kill(self._pid, signal.SIGTERM)
        postern.wait_until(lambda: not os.path.exists("/proc/%d" % self._pid), "Dovecot's end")

    def session(self, user="alice"):
        client = imaplib.IMAP4("127.0.0.1", self.port)
        client.login(user, "pass")
        return client


    def unique_ids(self, user="alice"):
        """What POP3's UIDL says."""
        client = poplib.POP3("127.0.0.1", self.pop3_port)
        client.user(user)
        client.pass_("pass")
        ids = client.uidl()[1]
        client.quit()
        return ids


def fill(client, separator, prefix=""):
    """Folders, messages with flags and keywords, gaps in the UIDs, subscriptions."""
    lists, drafts, research = ('"%s%s"' % (prefix, name) for name in ("Lists%sdev" % separator, "Entw&APw-rfe", "R&-D"))
    for name in (prefix + "Work", lists, drafts, research, prefix + "Empty"):
        assert client.create(name)[0] == "OK", name
    for name in ("INBOX", prefix + "Work", lists, drafts, research):
        for number in range(1, 8):
            text = postern.message("%s %d" % (name.strip('"').replace("&", "+"), number))
            assert client.append(name, None, '"0%d-Mar-2026 10:00:00 +0100"' % number, text)[0] == "OK"
    for name in ("INBOX", prefix + "Work", lists, drafts, research):
        client.select(name)
        client.store("1,3", "+FLAGS", r"(\Seen $Forwarded)")
        client.store("2", "+FLAGS", r"(\Answered \Flagged Junk projekt-7)")
        client.store("4,7", "+FLAGS", r"(\Deleted)")
        client.expunge()
        client.store("4", "+FLAGS", r"(\Draft \Deleted)")
        client.unselect()
    for name in (prefix + "Work", lists, drafts):
        client.subscribe(name)
    client.subscribe(prefix + "Gone")


def view(client):
    """All that a client remembers of an account: by mailbox, what it saw there; and the subscriptions."""
    mailboxes, subscribed = {}, set()
    for line in client.list()[1]:
        attributes, separator, name = re.fullmatch(rb'\(([^)]*)\) "(.)" "?(.*?)"?', line).groups()
        if b"\\Noselect" in attributes:
            continue
        name = name.decode()
        counts = client.status('"%s"' % name, "(MESSAGES UIDNEXT UIDVALIDITY)")[1][0].rpartition(b"(")[2]
        client.select('"%s"' % name, readonly=True)
        messages = {}
        for item in client.uid("FETCH", "1:*", "(UID FLAGS INTERNALDATE BODY.PEEK[])")[1] or []:
            if not isinstance(item, tuple):
                continue
            head, octets = item
            flags = set(re.search(rb"FLAGS \(([^)]*)\)", head).group(1).split()) - {b"\\Recent"}
            messages[int(re.search(rb"UID (\d+)", head).group(1))] = (
                frozenset(flags), re.search(rb'INTERNALDATE "([^"]*)"', head).group(1), octets)
        numbers = dict(re.findall(r"(\w+) (\d+)", counts.decode()))
        mailboxes[name.replace(separator.decode(), "/")] = (numbers, messages)
    for line in client.lsub()[1]:
        if line:
            separator, name = re.fullmatch(rb'\([^)]*\) "(.)" "?(.*?)"?', line).groups()
            subscribed.add(name.replace(separator, b"/"))
    return mailboxes, subscribed


def instants(mailboxes):
    """The same with internal dates as instants: a zone may be another."""
    return {name: (numbers, {uid: (flags, imaplib.Internaldate2tuple(b'INTERNALDATE "' + date + b'"'), octets)
                             for uid, (flags, date, octets) in messages.items()})
            for name, (numbers, messages) in mailboxes.items()}


def files_below(path):
    """{path: octets} of all that is not ours."""
    found = {}
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith("postern-")]
        for name in names:
            if not name.startswith("postern-"):
                with open(os.path.join(folder, name), "rb") as file:
                    found[os.path.relpath(os.path.join(folder, name), path)] = file.read()
    return found


class Adoption(ServerTest):
    maxDiff = None
    backend = "maildir"
    users = tuple("user%d" % number for number in range(1, 12))

    def take(self, source, user):
        """Moves a Maildir below the server's mail root, as an administrator would."""
        domain = os.path.join(self.server.mail_root, postern.DOMAIN)
        target = os.path.join(domain, user)
        owner = os.stat(self.server.mail_root)
        os.makedirs(domain, 0o700, exist_ok=True)
        shutil.copytree(source, target)
        for folder, folders, names in os.walk(domain):
            for path in [folder] + [os.path.join(folder, name) for name in names]:
                os.chown(path, owner.st_uid, owner.st_gid)
        for folder, folders, names in os.walk(source):
            for name in names:  # copytree keeps times of files, and chown does not change them
                path = os.path.join(folder, name)
                shutil.copystat(path, os.path.join(target, os.path.relpath(path, source)))
        return target

    def imap(self, user):
        client = imaplib.IMAP4_SSL("127.0.0.1", self.server.ports["imaps"],
                                   ssl_context=postern.authority().client_context())
        client.login(user, postern.PASSWORD)
        self.addCleanup(client.shutdown)
        return client

    def restart(self):
        self.server.stop()
        self.server.start()


def validity(client, mailbox):
    return status(client, mailbox, "UIDVALIDITY")["UIDVALIDITY"]


def by_dovecot(options, separator):
    """A view of an account, and its Maildir."""
    with Dovecot(options) as dovecot:
        client = dovecot.session()
        fill(client, separator)
        seen = view(client)
        client.logout()
    return seen, os.path.join(dovecot.mail, "alice")


@unittest.skipUnless(DOVECOT, "Dovecot is not installed (package dovecot-imapd)")
class FromDovecot(Adoption):
    @classmethod
    def setUpClass(cls):
        cls.seen, cls.source = by_dovecot("", ".")
        super().setUpClass()

    @staticmethod
    def path(target, mailbox):
        return os.path.join(target, "." + mailbox)

    def same(self, user, seen=None):
        mailboxes, subscribed = view(self.imap(user))
        expected, expected_subscribed = seen or self.seen
        made = set(mailboxes) - set(expected)  # for new users: Sent and the like
        for name in made:
            self.assertEqual(mailboxes.pop(name)[1], {}, name)
        self.assertEqual(set(mailboxes), set(expected))
        mailboxes, expected = instants(mailboxes), instants(expected)
        for name, what in expected.items():
            self.assertEqual(mailboxes[name], what, name)
        self.assertEqual({name for name in subscribed if name.decode() not in made}, expected_subscribed)

    def test_clients_see_no_change(self):
        target = self.take(self.source, "user1")
        before = files_below(target)
        self.same("user1")
        after = files_below(target)
        for name, octets in before.items():
            if name != "subscriptions":
                self.assertEqual(after.get(name), octets, name)
        self.restart()
        self.same("user1")
        shutil.rmtree(os.path.join(target, "postern-index"))
        self.restart()
        self.same("user1")

    @unittest.skipUnless(DOVECOT_POP3, "Dovecot has no POP3 (package dovecot-pop3d)")
    def test_pop3_clients_download_nothing_again(self):
        with Dovecot() as dovecot:
            client = dovecot.session()
            fill(client, ".")
            client.logout()
            wanted = dovecot.unique_ids()
        self.take(os.path.join(dovecot.mail, "alice"), "user11")
        client = poplib.POP3_SSL("localhost", self.server.ports["pop3s"], context=postern.authority().client_context())
        client.user("user11")
        client.pass_(postern.PASSWORD)
        self.assertEqual(client.uidl()[1], wanted)
        self.assertGreater(len(wanted), 3)
        client.quit()

    def test_uids_go_on_where_they_were(self):
        self.take(self.source, "user2")
        with self.session("user2", "Work") as client:
            answer = client.append(postern.message("new"), "Work")
            validity, uid = re.search(rb"APPENDUID (\d+) (\d+)", answer).groups()
            numbers = self.seen[0]["Work"][0]
            self.assertEqual((validity.decode(), uid.decode()), (numbers["UIDVALIDITY"], numbers["UIDNEXT"]))

    def test_flags_change_and_stay(self):
        self.take(self.source, "user3")
        with self.session("user3", "Work") as client:
            client.ok(r"UID STORE 1 -FLAGS (\Seen $Forwarded)")
            client.ok(r"UID STORE 1 +FLAGS (Junk another)")
        self.restart()
        with self.session("user3", "Work") as client:
            self.assertEqual(flags_by_uid(client)[1] - {"\\Recent"}, {"Junk", "another"})

    def test_once_only(self):
        target = self.take(self.source, "user4")
        with self.session("user4", "Work") as client:
            client.ok(r"UID STORE 1 +FLAGS (\Deleted)")
            client.ok("UID EXPUNGE 1")
        with open(os.path.join(self.path(target, "Work"), "dovecot-uidlist"), "w", encoding="ascii") as file:
            file.write("3 V77 N99\n")
        shutil.rmtree(os.path.join(target, "postern-index"))
        self.restart()
        with self.session("user4", "Work") as client:
            self.assertEqual(validity(client, "Work"), int(self.seen[0]["Work"][0]["UIDVALIDITY"]))
            self.assertEqual(sorted(subjects_by_uid(client)), [2, 3, 5, 6])

    def test_what_is_malformed_is_passed_over(self):
        target = self.take(self.source, "user5")
        path = os.path.join(self.path(target, "Work"), "dovecot-uidlist")
        with open(path, encoding="ascii") as file:
            lines = file.read().splitlines()
        lines[2:2] = ["", "x y", "0 :a", "4294967295 :b", "1 :again", "2 W12"]
        lines[-1] = "99999999999999999999 :" + lines[-1].partition(":")[2]
        with open(path, "w", encoding="latin-1") as file:
            file.write("\n".join(lines) + "\n\xff\x01")
        with open(os.path.join(self.path(target, "Work"), "dovecot-keywords"), "a", encoding="latin-1") as file:
            file.write("26 toofar\nx y\n3 a(b\n0 twice\n\n")
        with open(os.path.join(self.path(target, "Entw&APw-rfe"), "dovecot-uidlist"), "w", encoding="ascii") as file:
            file.write("not a list\n")
        with self.session("user5", "Work") as client:
            subjects = subjects_by_uid(client)
            self.assertEqual(sorted(subjects.values()), ["Work %d" % number for number in (1, 2, 3, 5, 6)])
            self.assertEqual(validity(client, "Work"), int(self.seen[0]["Work"][0]["UIDVALIDITY"]))
            self.assertEqual(subjects[1], "Work 1")
            self.assertEqual(max(subjects), int(self.seen[0]["Work"][0]["UIDNEXT"]))
            client.ok('SELECT "Entw&APw-rfe"')
            self.assertEqual(len(subjects_by_uid(client)), 5)
        self.assertIn("maildir_adoption_passed_over", self.server.log())

    def test_version_1(self):
        target = self.take(self.source, "user6")
        for folder, folders, names in os.walk(target):
            if "dovecot-uidlist" not in names:
                continue
            path = os.path.join(folder, "dovecot-uidlist")
            with open(path, encoding="ascii") as file:
                head, *lines = file.read().splitlines()
            validity, uid_next = re.search(r"V(\d+)", head).group(1), re.search(r"N(\d+)", head).group(1)
            with open(path, "w", encoding="ascii") as file:
                file.write("1 %s %s\n" % (validity, uid_next))
                for line in lines:
                    file.write("%s %s\n" % (line.split()[0], line.partition(" :")[2]))
        self.same("user6")


@unittest.skipUnless(DOVECOT, "Dovecot is not installed (package dovecot-imapd)")
class FromDovecotTree(FromDovecot):
    """LAYOUT=fs: mailboxes as directories within each other."""

    settings = ServerTest.settings + '\nbackend maildir { layout = "fs" }'

    @classmethod
    def setUpClass(cls):
        cls.seen, cls.source = by_dovecot(":LAYOUT=fs", "/")
        super(FromDovecot, cls).setUpClass()

    @staticmethod
    def path(target, mailbox):
        return os.path.join(target, mailbox)

    def test_mailboxes_are_made_renamed_and_removed(self):
        target = self.take(self.source, "user7")
        with self.session("user7", "INBOX") as client:
            for command in ("CREATE v1.0/sub", "CREATE v1.0", "RENAME Lists Old", "CREATE Old", "DELETE v1.0"):
                client.ok(command)
            client.ok("SELECT Old/dev")
            self.assertEqual(len(subjects_by_uid(client)), 5)
            client.ok("RENAME Old Newer/Old")
            self.assertRegex(client.append(postern.message("after"), "Newer/Old/dev"), b"^OK")
            client.ok("SELECT Newer/Old/dev")
            self.assertEqual(len(subjects_by_uid(client)), 6)
            for name in ("cur", "a/tmp", ".hidden", "postern-control/x", "subscriptions"):
                client.ok("CREATE " + name)
                self.assertRegex(client.append(postern.message("there"), name), b"^OK")
        for path in ("v1.0/sub/cur", "Newer/Old/cur", "Newer/Old/dev/cur"):
            self.assertTrue(os.path.isdir(os.path.join(target, path)), path)
        for path in ("v1.0/cur", "Lists/dev", "Old"):
            self.assertFalse(os.path.exists(os.path.join(target, path)), path)
        self.restart()
        with self.session("user7", "INBOX") as client:
            lines = b"".join(client.ok('LIST "" *'))
            for name in (b"v1.0/sub", b"Newer/Old/dev", b"Newer/Old", b"cur", b"a/tmp", b".hidden"):
                self.assertIn(b'"%s"\r\n' % name, lines)
            client.ok("SELECT Newer/Old/dev")
            self.assertEqual(len(subjects_by_uid(client)), 6)

    def test_a_mailbox_made_by_others_deep_below_is_seen(self):
        target = self.take(self.source, "user8")
        owner = os.stat(target)
        with self.session("user8", "INBOX") as client:
            client.ok('LIST "" *')
            for part in ("", "cur", "new", "tmp"):
                path = os.path.join(target, "Lists", "dev", "deep", part)
                os.mkdir(path, 0o700)
                os.chown(path, owner.st_uid, owner.st_gid)
            self.assertIn(b"Lists/dev/deep", b"".join(client.ok('LIST "" *')))


class FromCourier(Adoption):
    """In the format of courier-imap 5.0: partly written by it, partly by hand after it."""

    ONE = "1795419945.M26529P4739V000000000000FE00I0000000000E688A3_0.vm,S=19"
    TWO = "1795420148.M582495P32157V000000000000FE00I0000000000E68011_0.vm,S=19"
    THREE = "1795420150.M1P32157V000000000000FE00I0000000000E68012_0.vm,S=19"
    SENT = "1795420151.M1P32157V000000000000FE00I0000000000E68013_0.vm,S=19"
    FILES = {
        "courierimapuiddb": "1 795419946 9\n1 %s\n2 %s\n7 %s\n" % (ONE, TWO, THREE),
        "courierimapsubscribed": "INBOX.Sent\nINBOX.Lists.dev\n#shared.x.y\n",
        "courierimapkeywords/:list": "Work\n$Forwarded\nLater\n\n%s:1 0\n%s:2 0\n%s:0\n" % (ONE, TWO, THREE),
        "courierimapkeywords/.5984733." + TWO: "Work\n",
        "courierimapkeywords/.5984734." + TWO: "Later\nMore\n",
        "courierimapkeywords/" + THREE: "",
        "courierimaphieracl/Sent": "owner aceilrstwx\nadministrators aceilrstwx\n",
        ".Sent/courierimapacl": "owner aceilrstwx\nadministrators aceilrstwx\n",
        ".Sent/courierimapuiddb": "1 795419945 5\n4 %s\n" % SENT,
        ".Sent/maildirfolder": "",
        ".Lists.dev/courierimapuiddb": "1 795419999 1\n",
        "cur/%s:2,S" % ONE: "Subject: one\n\na\n",
        "cur/%s:2,F" % TWO: "Subject: two\n\na\n",
        "cur/%s:2," % THREE: "Subject: three\n\na\n",
        "new/1795420200.M1P1.vm": "Subject: four\n\na\n",
        ".Sent/cur/%s:2,RS" % SENT: "Subject: sent\n\na\n",
    }

    def write(self, **changes):
        top = os.path.join(postern.scratch_folder(), "Maildir")
        for folder in ("", ".Sent", ".Lists.dev"):
            for part in ("cur", "new", "tmp", "courierimapkeywords"):
                os.makedirs(os.path.join(top, folder, part))
        for name, text in {**self.FILES, **changes}.items():
            path = os.path.join(top, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="ascii") as file:
                file.write(text)
        return top

    def check(self, user):
        with self.session(user, "INBOX") as client:
            self.assertEqual(validity(client, "INBOX"), 795419946)
            self.assertEqual(subjects_by_uid(client), {1: "one", 2: "two", 7: "three", 9: "four"})
            flags = {uid: flags - {"\\Recent"} for uid, flags in flags_by_uid(client).items()}
            self.assertEqual(flags, {1: {"\\Seen", "Work", "$Forwarded"}, 2: {"\\Flagged", "Later", "More"}, 7: set(),
                                     9: set()})
            client.ok("SELECT Sent")
            self.assertEqual(validity(client, "Sent"), 795419945)
            self.assertEqual(subjects_by_uid(client), {4: "sent"})
            self.assertEqual(validity(client, "Lists/dev"), 795419999)
            lines = b"".join(client.ok('LSUB "" *'))
            self.assertIn(b"Sent", lines)
            self.assertIn(b"Lists/dev", lines)

    def test_clients_see_no_change(self):
        target = self.take(self.write(), "user1")
        before = files_below(target)
        self.check("user1")
        after = files_below(target)
        for name, octets in before.items():
            self.assertEqual(after.get(name), octets, name)
        shutil.rmtree(os.path.join(target, "postern-index"))
        self.restart()
        self.check("user1")

    def test_keywords_change_and_stay(self):
        target = self.take(self.write(), "user2")
        with self.session("user2", "INBOX") as client:
            client.ok("UID STORE 1 -FLAGS (Work)")
            client.ok("UID STORE 7 +FLAGS (Later)")
        shutil.rmtree(os.path.join(target, "postern-index"))
        self.restart()
        with self.session("user2", "INBOX") as client:
            flags = flags_by_uid(client)
            self.assertEqual((flags[1] - {"\\Recent"}, flags[7] - {"\\Recent"}), ({"\\Seen", "$Forwarded"}, {"Later"}))

    def test_what_is_malformed_is_passed_over(self):
        top = self.write(**{"courierimapkeywords/:list": "Wo rk\n\n:0\nno colon\n%s:0 9 x\n" % self.ONE,
                            "courierimapkeywords/.x.y": "a\n", ".Sent/courierimapuiddb": "",
                            ".Lists.dev/courierimapuiddb": "2 1 1\n"})
        self.take(top, "user3")
        with self.session("user3", "INBOX") as client:
            self.assertEqual(subjects_by_uid(client), {1: "one", 2: "two", 7: "three", 9: "four"})
            self.assertEqual(flags_by_uid(client)[1] - {"\\Recent"}, {"\\Seen"})
            client.ok("SELECT Sent")
            self.assertEqual(list(subjects_by_uid(client).values()), ["sent"])


if __name__ == "__main__":
    unittest.main()


class FromDebiansCourier(Adoption):
    """Written by Debian 12's courier-imap 5.0.13; courier.py recorded it, and what its clients saw."""

    def write(self, files):
        top = os.path.join(postern.scratch_folder(), "Maildir")
        for name, (text, when) in files.items():
            path = os.path.join(top, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            os.utime(path, (when, when))
        for folder in {os.path.dirname(os.path.dirname(name)) for name in files if "/cur/" in "/" + name} | {".Empty"}:
            for part in ("cur", "new", "tmp"):
                os.makedirs(os.path.join(top, folder, part), exist_ok=True)
        return top

    def test_clients_see_no_change(self):
        mailboxes, subscribed, files = courier.read()
        target = self.take(self.write(files), "user3")
        before = files_below(target)
        for _ in range(2):
            seen, seen_subscribed = view(self.imap("user3"))
            made = {name for name in seen if name not in mailboxes}  # for new users: Sent and the like
            self.assertEqual({name: messages for name, (_, messages) in seen.items() if name in made}, {name: {} for name in made})
            seen = {name: what for name, what in seen.items() if name not in made}
            self.assertEqual(set(seen), set(mailboxes))
            seen, expected = instants(seen), instants(mailboxes)
            for name, what in expected.items():
                self.assertEqual(seen[name], what, name)
            # Courier shows what is above a subscribed mailbox, too.
            self.assertEqual(subscribed - {b"Lists"}, {name for name in seen_subscribed if name.decode() not in made})
            self.restart()
        after = files_below(target)
        for name, octets in before.items():
            name = name.replace(".Entw\u00fcrfe/", ".Entw&APw-rfe/").replace(".R&D/", ".R&-D/")
            self.assertEqual(after.pop(name), octets, name)
        self.assertEqual(set(after), {"subscriptions"})

    def test_a_folder_stays_where_its_name_is_taken(self):
        files = courier.read()[2]
        source = self.write(files)
        for part in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(source, ".R&-D", part))
        os.makedirs(os.path.join(source, ".Not\u00e4/cur"))  # nothing of Courier's is in it
        target = self.take(source, "user4")
        self.assertEqual(view(self.imap("user4"))[0]["R&-D"][1], {})
        self.assertTrue(os.path.isdir(os.path.join(target, ".R&D")))
        self.assertTrue(os.path.isdir(os.path.join(target, ".Not\u00e4")))
        self.assertIn("maildir_folder_renamed", self.server.log())
