# SPDX-License-Identifier: MIT
"""Quotas: what is refused, by which words, and that what is counted is what is there. The examples of RFC 9208 as far as our roots are like
theirs."""

import json
import os
import re
import threading
import unittest

import postern
from server_test import ServerTest, for_each_backend, status
from test_delivery import JOE, DeliveryTest, address

BODY = "x" * 1000 + "\r\n"


class Quota(DeliveryTest):
    users = ("alice", "many", "admin", "given", "copied")
    users_with = {"quota_messages=3": ("few",), "userdb_quota_rule=*:storage=4:messages=9": ("dove",),
                  "quota_storage=0 quota_messages=20": ("parallel",)}
    settings = ServerTest.settings + """
mount "Archive" { backend = "lmdb" location = "archive/%d/%n" }
master_users = { "admin" }
extension quota {
    storage = 8K
    warnings = { }
    mailbox "Trash" { storage = 2K }
    mount "Archive" { messages = 2 }
    domain "small.test" { messages = 2 }
}
"""

    def refill(self, user, messages):
        client = self.session(user, select="INBOX")
        if status(client, "INBOX", "MESSAGES")["MESSAGES"]:
            client.ok("STORE 1:* FLAGS.SILENT (\\Deleted)")
            client.ok("EXPUNGE")
        for number in range(messages):
            client.append(postern.message(str(number), BODY))
        return client

    def recount(self, user):
        """What the command line counts, by every message: {root: (storage, messages)}. It fails when the figures differ. No other process
        sees what the backend memory holds."""
        if self.backend == "memory":
            counts = {"": [0, 0], "Archive": [0, 0]}
            client = self.session(user)
            for line in client.ok('LIST "" * RETURN (STATUS (SIZE MESSAGES))'):
                found = re.match(rb'\* STATUS "?([^" ]+)"? \(MESSAGES (\d+) SIZE (\d+)\)', line)
                if found:
                    count = counts["Archive" if found.group(1) == b"Archive" else ""]
                    count[0] += int(found.group(3))
                    count[1] += int(found.group(2))
            return {root: tuple(count) for root, count in counts.items()}
        return {row["root"]: (row["recount"]["storage"], row["recount"]["messages"])
                for row in json.loads(self.server.tool("quota", "recount", "--json", user).stdout)}

    def test_examples(self):
        client = self.refill("few", 2)
        self.assertRegex(client.ok("CAPABILITY")[0], rb" QUOTA QUOTA=RES-STORAGE QUOTA=RES-MESSAGE\b")
        self.assertNotIn(b"QUOTASET", client.ok("CAPABILITY")[0])
        self.assertEqual(client.ok('GETQUOTA ""')[0], b'* QUOTA "" (STORAGE 3 8 MESSAGE 2 3)\r\n')
        self.assertEqual(client.ok("GETQUOTAROOT INBOX")[:2],
                         [b'* QUOTAROOT "INBOX" ""\r\n', b'* QUOTA "" (STORAGE 3 8 MESSAGE 2 3)\r\n'])
        self.assertEqual(client.ok("GETQUOTAROOT Not/Made/Yet")[0], b'* QUOTAROOT "Not/Made/Yet" ""\r\n')
        self.assertEqual(client.ok("GETQUOTAROOT Archive/2024")[:2],
                         [b'* QUOTAROOT "Archive/2024" "Archive"\r\n', b'* QUOTA "Archive" (MESSAGE 0 2)\r\n'])
        self.assertEqual(client.ok("GETQUOTA Archive")[0], b'* QUOTA "Archive" (MESSAGE 0 2)\r\n')
        self.assertRegex(client.command("GETQUOTA nosuch")[1], rb"^NO \[NONEXISTENT\]")
        for bad in ("GETQUOTA", "GETQUOTAROOT", 'GETQUOTA "" ""', "SETQUOTA INBOX", 'SETQUOTA "" (STORAGE)', 'SETQUOTA "" (MESSAGE 1 MESSAGE 1)'):
            self.assertTrue(client.command(bad)[1].startswith(b"BAD"), bad)
        self.assertEqual(status(client, "INBOX", "MESSAGES", "DELETED", "DELETED-STORAGE"),
                         {"MESSAGES": 2, "DELETED": 0, "DELETED-STORAGE": 0})
        client.ok("STORE 2 FLAGS (\\Deleted)")
        size = status(client, "INBOX", "SIZE")["SIZE"]
        self.assertEqual(status(client, "INBOX", "MESSAGES", "DELETED", "DELETED-STORAGE"),
                         {"MESSAGES": 2, "DELETED": 1, "DELETED-STORAGE": size // 2})

    def test_master_users_set_quotas(self):
        client = self.session("given", select="INBOX")
        self.assertRegex(client.command('SETQUOTA "" (STORAGE 512)')[1], rb"^NO \[NOPERM\]")
        admin = self.session('"admin%given"')
        self.assertIn(b" QUOTASET", admin.ok("CAPABILITY")[0])
        self.assertEqual(admin.ok('SETQUOTA "" (MESSAGE 1)')[0], b'* QUOTA "" (MESSAGE 0 1)\r\n')
        client.append(b"x: y\r\n\r\n")
        self.assertTrue(client.command("APPEND INBOX {4+}\r\nx: \n")[1].startswith(b"NO [OVERQUOTA]"))
        mail = self.client("lmtp")
        mail.mail(JOE)
        code, text = mail.rcpt(address("given"))
        self.assertEqual((code, text[:5]), (552, b"5.2.2"))
        self.assertEqual(admin.ok('SETQUOTA "" (storage 512 MESSAGE 2)')[0], b'* QUOTA "" (STORAGE 1 512 MESSAGE 1 2)\r\n')
        client.append(b"x: y\r\n\r\n")
        for wrong, code in (('"" (STORAGE 0)', b"CANNOT"), ('"" (MAILBOX 3)', b"CANNOT"), ("nosuch (MESSAGE 1)", b"NONEXISTENT"),
                            ('"" (STORAGE 9223372036854775807)', b"CANNOT")):
            self.assertTrue(admin.command("SETQUOTA " + wrong)[1].startswith(b"NO [%s]" % code), wrong)
        self.assertEqual(admin.ok('SETQUOTA "" ()')[0], b'* QUOTA "" ()\r\n')
        client.append(postern.message("large", BODY * 10))
        self.assertEqual(admin.ok("SETQUOTA Archive (MESSAGE 7)")[0], b'* QUOTA "Archive" (MESSAGE 0 7)\r\n')
        if self.backend != "memory":
            self.check_the_command_line(client)

    def check_the_command_line(self, client):
        def told(*args):
            return {row["root"]: row for row in json.loads(self.server.tool("quota", *args[:1], "--json", *args[1:]).stdout)}

        self.assertEqual(told("show", "given")["Archive"]["messages"], {"used": 0, "limit": 7})
        self.assertEqual(told("set", "given", "messages", "3", "storage", "1M")[""]["storage"]["limit"], 1 << 20)
        self.assertTrue(client.command("APPEND INBOX {4+}\r\nx: \n")[1].startswith(b"NO [OVERQUOTA]"))
        self.assertRegex(client.ok('GETQUOTA ""')[0], rb"STORAGE \d+ 1024 MESSAGE 3 3\)")
        self.assertEqual(told("reset", "given", "Archive")["Archive"]["set"], False)
        self.assertEqual(told("reset", "given")[""]["storage"]["limit"], 8192)
        self.assertRegex(client.ok('GETQUOTA ""')[0], rb"\(STORAGE \d+ 8\)")
        self.assertEqual(self.server.tool("quota", "set", "given", "storage", "0", check=False).returncode, 2)
        self.assertEqual(self.recount("given")[""][1], 3)
        # What comes by sync, and goes to another backend, is counted as exactly.
        self.server.tool("sync", "given", "copied")
        self.assertEqual(self.recount("copied")[""], self.recount("given")[""])
        told("set", "copied", "messages", "5")
        self.server.tool("storage", "switch", "--yes", "--to", "lmdb" if self.backend == "maildir" else "maildir", "copied")
        self.assertEqual(self.recount("copied")[""], self.recount("given")[""])
        self.assertEqual(told("show", "copied")[""]["messages"], {"used": 3, "limit": 5})
        self.server.tool("storage", "switch", "--yes", "--undo", "copied")

    def test_imap_is_refused(self):
        client = self.refill("few", 3)
        client.ok("SELECT INBOX")
        self.assertTrue(client.command("APPEND Sent {70000}")[1].startswith(b"NO [OVERQUOTA]"))
        self.assertTrue(client.command("APPEND Sent {5+}\r\nx: y\n")[1].startswith(b"NO [OVERQUOTA]"))
        self.assertTrue(client.command("COPY 1:2 Sent")[1].startswith(b"NO [OVERQUOTA]"))
        client.ok("REPLACE 3 INBOX {6+}\r\nx: y\r\n")
        self.assertTrue(client.command("REPLACE 3 INBOX {9001+}\r\n" + "x" * 9001)[1].startswith((b"NO", b"BAD")))
        client.ok("MOVE 1 Sent")
        self.assertTrue(client.command("APPEND INBOX {70000}")[1].startswith(b"NO [OVERQUOTA]"))
        client.ok("STORE 1:* FLAGS (\\Deleted)")
        client.ok("EXPUNGE")
        client.append(b"x: y\r\n\r\n")
        self.assertEqual(self.recount("few")[""][1], 2)

    def test_a_mount_has_a_root_of_its_own(self):
        client = self.refill("few", 3)
        client.ok("COPY 1:2 Archive")
        self.assertTrue(client.command("COPY 3 Archive")[1].startswith(b"NO [OVERQUOTA]"))
        self.assertTrue(client.command("APPEND Archive {70000}")[1].startswith(b"NO [OVERQUOTA]"))
        self.assertEqual({root: messages for root, (_, messages) in self.recount("few").items()}, {"": 3, "Archive": 2})
        client.ok("SELECT Archive")
        client.ok("STORE 1:* FLAGS.SILENT (\\Deleted)")
        client.ok("EXPUNGE")

    def test_trash_takes_a_little_more(self):
        client = self.refill("alice", 6)
        client.ok("COPY 1:2 Trash")
        self.assertTrue(client.command("APPEND INBOX {1000+}\r\n" + "x" * 1000)[1].startswith(b"NO [OVERQUOTA]"))
        self.assertTrue(client.command("COPY 1:6 Trash")[1].startswith(b"NO [OVERQUOTA]"))
        client.ok("SELECT Trash")
        client.ok("STORE 1:* FLAGS.SILENT (\\Deleted)")
        client.ok("EXPUNGE")

    def test_mail_is_refused_at_rcpt(self):
        self.refill("few", 3)
        for kind in ("smtp", "lmtp"):
            client = self.client(kind)
            client.mail(JOE)
            code, text = client.rcpt(address("few"))
            self.assertEqual((code, text[:5]), (552, b"5.2.2"))
            self.assertEqual(client.rcpt(address("many"))[0], 250)
            client.rset()
            client.mail(JOE, ["SIZE=9000"])
            self.assertEqual(client.rcpt(address("many"))[0], 552)

    def test_mail_that_is_too_large_is_refused_after_it(self):
        self.refill("many", 7)
        replies = self.send(self.client(), JOE, [address("many")], postern.message("large", BODY * 2))
        self.assertEqual((replies[0][0], replies[0][1][:5]), (552, b"5.2.2"))
        replies = self.send(self.client("lmtp"), JOE, [address("many")], postern.message("large", BODY * 2))
        self.assertEqual((replies[0][0], replies[0][1][:5]), (552, b"5.2.2"))
        self.assertEqual(self.recount("many")[""][1], 7)

    def test_the_rule_of_dovecot(self):
        client = self.refill("dove", 1)
        self.assertEqual(client.ok('GETQUOTA ""')[0], b'* QUOTA "" (STORAGE 2 4 MESSAGE 1 9)\r\n')
        self.assertTrue(client.command("APPEND INBOX {4000+}\r\n" + "x" * 4000)[1].startswith(b"NO [OVERQUOTA]"))

    def test_many_at_once_do_not_overshoot(self):
        """50 sessions, each with one message, where 20 fit."""
        clients = [self.session("parallel") for _ in range(50)]
        answers, lock = [], threading.Lock()

        def append(client):
            answer = client.command("APPEND INBOX {8+}\r\nx: y\r\n\r\n")[1]
            with lock:
                answers.append(answer.split(b"]")[0].split(b" ")[:2])

        threads = [threading.Thread(target=append, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((answers.count([b"OK", b"[APPENDUID"]), answers.count([b"NO", b"[OVERQUOTA"])), (20, 30), answers)
        self.assertEqual(self.recount("parallel")[""], (20 * 8, 20))

    def write_users(self, text):
        """Aside, and renamed: nobody reads the half of it."""
        with open(self.server.passwd_file + ".new", "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(text)
        os.rename(self.server.passwd_file + ".new", self.server.passwd_file)

    def carl(self):
        client = self.connect(tls=True)
        client.greeting()
        return client.command("LOGIN carl@small.test " + postern.PASSWORD)[1].startswith(b"OK") and client

    def test_a_domain_has_a_limit_of_its_own(self):
        self.server.add_users("carl", domain="small.test")
        client = postern.wait_until(self.carl, "the new user")
        self.assertEqual(client.ok('GETQUOTA ""')[0], b'* QUOTA "" (MESSAGE 0 2)\r\n')
        for _ in range(2):
            self.assertTrue(client.append(b"x: y\r\n\r\n").startswith(b"OK"))
        self.assertTrue(client.command("APPEND INBOX {8+}\r\nx: y\r\n\r\n")[1].startswith(b"NO [OVERQUOTA]"))

    def test_another_limit_counts_for_sessions_that_are_open(self):
        client = self.refill("few", 3)
        with open(self.server.passwd_file, encoding="utf-8") as file:
            text = file.read()
        self.write_users(text.replace("quota_messages=3", "quota_messages=4"))
        try:
            postern.wait_until(lambda: self.session("few").ok('GETQUOTA ""')[0].endswith(b"MESSAGE 3 4)\r\n"), "the new limit",
                               patience=60)
            client.append(b"x: y\r\n\r\n")
        finally:
            self.write_users(text)
            postern.wait_until(lambda: self.session("few").ok('GETQUOTA ""')[0].endswith(b" 3)\r\n"), "the old limit", patience=60)


class QuotaOf(Quota):
    pass


class Foreign(ServerTest):
    """What other programs do to a Maildir counts before somebody is refused."""

    backend = "maildir"
    users_with = {"quota_messages=3": ("few",)}
    settings = ServerTest.settings + "\nextension quota { warnings = { } }"

    def test_what_others_deliver_and_remove_counts(self):
        client = self.session("few")
        for _ in range(3):
            self.server.deliver("few", postern.message())
        self.assertEqual(client.ok('GETQUOTA ""')[0], b'* QUOTA "" (MESSAGE 3 3)\r\n')
        self.assertTrue(client.command("APPEND Sent {70000}")[1].startswith(b"NO [OVERQUOTA]"))
        folder = self.server.maildir("few")
        for below in ("new", "cur"):
            for name in os.listdir(os.path.join(folder, below))[:1]:
                os.unlink(os.path.join(folder, below, name))
        client.append(b"x: y\r\n\r\n", "Sent")


class Warned(ServerTest):
    users_with = {"quota_messages=6 quota_storage=1G": ("near",)}
    settings = ServerTest.settings + "\nextension quota { warnings = { 50, 80 } }"

    def notices(self):
        return b"".join(self.session("near", select="INBOX").ok("UID FETCH 1:* (BODY.PEEK[])"))

    def test_a_user_is_told_once_when_a_level_is_reached(self):
        client = self.session("near")
        for _ in range(2):
            client.append(b"x: y\r\n\r\n", "Sent")
        self.assertEqual(status(client, "INBOX", "MESSAGES")["MESSAGES"], 0)
        client.append(b"x: y\r\n\r\n", "Sent")
        postern.wait_until(lambda: status(client, "INBOX", "MESSAGES")["MESSAGES"] == 1, "the warning", patience=60)
        text = self.notices()
        for part in (b"Subject: Your mail takes 50 % of its room\r\n", b"Auto-Submitted: auto-generated\r\n", b"Return-Path: <>\r\n",
                     b"To: <near@example.test>\r\n", b"3 of 6 messages\r\n"):
            self.assertIn(part, text)
        # Down, and up again: it was told today. The next level is another.
        client.ok("SELECT Sent")
        client.ok("STORE 1:2 FLAGS.SILENT (\\Deleted)")
        client.ok("EXPUNGE")
        for _ in range(3):
            client.append(b"x: y\r\n\r\n", "Sent")
        postern.wait_until(lambda: status(client, "INBOX", "MESSAGES")["MESSAGES"] == 2, "the second warning", patience=60)
        self.assertEqual(self.notices().count(b"50 % of its room"), 1)
        self.assertEqual(self.notices().count(b"80 % of its room"), 1)


if "maildir" not in postern.BACKENDS:
    del Foreign
for_each_backend(QuotaOf)
del QuotaOf, Quota

if __name__ == "__main__":
    unittest.main()
