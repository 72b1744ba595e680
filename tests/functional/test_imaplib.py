# SPDX-License-Identifier: MIT
"""Python's own client, as its users would."""

import email
import imaplib
import time

import postern
from server_test import ServerTest, for_each_backend


@for_each_backend
class Imaplib(ServerTest):
    def setUp(self):
        self.client = imaplib.IMAP4_SSL("localhost", self.server.ports["imaps"],
                                        ssl_context=postern.authority().client_context(), timeout=postern.PATIENCE)
        self.addCleanup(self.client.logout)
        self.do("login", "alice", "pass")
        self.mailbox = "T-" + self._testMethodName
        self.do("create", self.mailbox)
        self.do("select", self.mailbox)

    def do(self, method, *args):
        status, data = getattr(self.client, method)(*args)
        self.assertEqual(status, "OK", (method, args, data))
        return data

    def fill(self, count=5):
        for number in range(count):
            self.do("append", self.mailbox, None, None, postern.message("m%d" % (number + 1), "body %d\r\n" % (number + 1)))
        self.do("noop")

    def test_new_users_have_the_usual_mailboxes(self):
        listed = b"\n".join(self.do("list"))
        for name, use in (("Drafts", r"\Drafts"), ("Sent", r"\Sent"), ("Junk", r"\Junk"), ("Trash", r"\Trash"),
                          ("Archive", r"\Archive")):
            self.assertRegex(listed.decode(), r"\([^)]*%s[^)]*\) \"/\" \"?%s" % (use.replace("\\", r"\\"), name))
        subscribed = b"\n".join(self.do("lsub"))
        self.assertIn(b"Drafts", subscribed)

    def test_append_keeps_octets_flags_and_date(self):
        octets = postern.message("kept", "a\r\n.\r\n\t b \r\nno end")
        date = time.strptime("2020-02-03 04:05:06 +0000", "%Y-%m-%d %H:%M:%S %z")
        self.do("append", self.mailbox, r"(\Seen \Flagged mine)", imaplib.Time2Internaldate(time.mktime(date)), octets)
        self.do("noop")
        data = self.do("fetch", "1", "(FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])")
        head, body = data[0]
        self.assertEqual(body, octets)
        flags = {flag.decode() for flag in imaplib.ParseFlags(head + data[1])}
        self.assertLessEqual({"\\Seen", "\\Flagged", "mine"}, flags)
        self.assertEqual(imaplib.Internaldate2tuple(head), time.localtime(time.mktime(date)))
        self.assertIn(b"RFC822.SIZE %d" % len(octets), head)

    def test_utf8_in_headers_and_names(self):
        octets = "From: Jøran <jøran@blåbær.example>\r\nSubject: Grüße\r\n\r\nGrüße\r\n".encode()
        self.do("create", "Entw&APw-rfe")
        self.do("append", "Entw&APw-rfe", None, None, octets)
        self.do("unselect")
        self.do("enable", "UTF8=ACCEPT")
        self.assertIn('"Entwürfe"'.encode(), b"\n".join(self.do("list")))
        self.do("select", '"Entwürfe"')
        self.assertEqual(self.do("fetch", "1", "(BODY.PEEK[])")[0][1], octets)
        self.assertEqual(self.do("search", None, 'FROM "jøran"'), [b"1"])
        self.do("unselect")
        self.do("delete", '"Entwürfe"')

    def test_peek_and_read(self):
        self.fill(1)
        self.do("fetch", "1", "(BODY.PEEK[TEXT])")
        self.assertNotIn(b"\\Seen", self.do("fetch", "1", "(FLAGS)")[0])
        self.do("fetch", "1", "(BODY[TEXT])")
        self.assertIn(b"\\Seen", self.do("fetch", "1", "(FLAGS)")[0])

    def test_store_search_expunge(self):
        self.fill()
        self.do("store", "2:3", "+FLAGS", r"(\Deleted)")
        self.assertEqual(self.do("search", None, "DELETED"), [b"2 3"])
        self.assertEqual(self.do("search", None, "UNDELETED", "SUBJECT", "m5"), [b"5"])
        self.assertEqual(self.do("search", None, "BODY", '"body 4"'), [b"4"])
        self.assertEqual(self.do("search", None, "NOT", "1:4"), [b"5"])
        self.assertEqual(len(self.do("expunge")), 2)
        self.assertEqual(self.do("search", None, "ALL"), [b"1 2 3"])

    def test_copy_and_move(self):
        self.fill(3)
        target = self.mailbox + "-to"
        self.do("create", target)
        self.do("copy", "1:2", target)
        self.assertEqual(self.client.uid("MOVE", "3", target)[0], "OK")
        self.assertEqual(self.do("search", None, "ALL"), [b"1 2"])
        self.do("select", target)
        subjects = [email.message_from_bytes(item[1])["Subject"]
                    for item in self.do("fetch", "1:*", "(BODY.PEEK[HEADER])") if isinstance(item, tuple)]
        self.assertEqual(subjects, ["m1", "m2", "m3"])

    def test_mailboxes(self):
        self.do("create", "Tree-a/b/c")
        self.do("subscribe", "Tree-a/b/c")
        self.do("rename", "Tree-a/b", "Tree-x")
        self.assertTrue(any(b"Tree-x/c" in line for line in self.do("list", '""', "Tree-*")))
        self.do("delete", "Tree-x/c")
        self.assertFalse(any(b"Tree-x/c" in line for line in self.do("list", '""', "Tree-*") if line))
        self.assertEqual(self.client.delete("INBOX")[0], "NO")
        self.assertEqual(self.client.create("INBOX")[0], "NO")
        self.assertEqual(self.client.select("nowhere")[0], "NO")

    def test_structure_as_the_email_package_sees_it(self):
        with open(DEMO + "5-forwarded.eml", "rb") as file:
            octets = file.read().replace(b"\n", b"\r\n")
        self.do("append", self.mailbox, None, None, octets)
        self.do("noop")
        parts = email.message_from_bytes(octets)
        inner = parts.get_payload()[1].get_payload()[0]
        for section, expected in (("1", parts.get_payload()[0].get_payload()), ("2.HEADER", None),
                                  ("2.1", inner.get_payload()[0].get_payload()),
                                  ("2.2", inner.get_payload()[1].get_payload())):
            with self.subTest(section):
                body = self.do("fetch", "1", "(BODY.PEEK[%s])" % section)[0][1].decode()
                if expected is None:
                    self.assertEqual(email.message_from_string(body)["Subject"], "minutes")
                else:
                    self.assertEqual(body, expected)
        structure = self.do("fetch", "1", "(BODYSTRUCTURE)")[0]
        self.assertIn(b'"RFC822"', structure.upper())

    def test_readonly(self):
        self.fill(1)
        self.do("select", self.mailbox, True)
        self.assertEqual(self.client._simple_command("STORE", "1", "+FLAGS", r"(\Seen)")[0], "NO")


DEMO = __file__.rpartition("/tests/")[0] + "/contrib/demo/"
