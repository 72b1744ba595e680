# SPDX-License-Identifier: MIT
"""A second store below a mailbox name."""

import re
import unittest

import postern
from server_test import ServerTest, for_each_backend

MESSAGE = b"From: a@example.test\r\nSubject: s\r\n\r\nbody\r\n"


class Mounts:
    """Names, messages and special uses, whatever the two stores are."""

    settings = ServerTest.settings + '\nmount "Archive" { backend = "maildir" location = "archive/%d/%n" }'

    def client(self, user, select=None):
        return self.session(user, select)

    def append(self, client, mailbox, flags=""):
        answer = client.append(MESSAGE, mailbox, flags)
        return int(re.match(rb"OK \[APPENDUID \d+ (\d+)\]", answer).group(1))

    def names(self, client, command='LIST "" *'):
        return {re.search(rb' "?([^" ]+)"?\r\n$', line).group(1).decode() for line in client.ok(command)
                if line.startswith(b"* L")}

    def test_the_mount_is_a_mailbox_with_mailboxes_below(self):
        client = self.client("alice")
        lines = [line for line in client.ok('LIST (SPECIAL-USE) "" *') if b" Archive" in line or b'"Archive"' in line]
        self.assertTrue(lines and b"\\Archive" in lines[0], lines)
        client.ok("CREATE Archive/2024/Spring")
        client.ok("SUBSCRIBE Archive/2024/Spring")
        self.assertLessEqual({"INBOX", "Sent", "Archive", "Archive/2024", "Archive/2024/Spring"}, self.names(client))
        self.assertIn("Archive/2024/Spring", self.names(client, 'LSUB "" *'))
        uid = self.append(client, "Archive/2024/Spring")
        client.ok("SELECT Archive/2024/Spring")
        self.assertIn(b"body", b"".join(client.ok("UID FETCH %d BODY[TEXT]" % uid)))
        client.ok("RENAME Archive/2024/Spring Archive/2024/Summer")
        self.assertIn("Archive/2024/Summer", self.names(client))
        client.ok("CLOSE")
        client.ok("DELETE Archive/2024/Summer")
        self.assertNotIn("Archive/2024/Summer", self.names(client))

    def test_what_cannot_be(self):
        client = self.client("alice")
        for command in ("DELETE Archive", "CREATE Archive", "RENAME Archive Old", "RENAME Sent Archive/Sent", "RENAME INBOX Archive/In",
                        "CREATE Archive/INBOX", "SELECT Archive/inbox"):
            with self.subTest(command):
                self.assertTrue(client.command(command)[1].startswith(b"NO "))
        self.assertIn("Sent", self.names(client))

    def test_messages_go_from_store_to_store(self):
        client = self.client("bob")
        first = self.append(client, "INBOX", "\\Seen Kept")
        second = self.append(client, "INBOX")
        client.ok("SELECT INBOX")
        email_id = re.search(rb"EMAILID \(([^)]+)\)", b"".join(client.ok("UID FETCH %d EMAILID" % first))).group(1)
        copied = client.command("UID COPY %d,%d Archive" % (first, second))[1]
        self.assertRegex(copied, rb"COPYUID \d+ %d[:,]%d " % (first, second))
        moved = b"".join(client.ok("UID MOVE %d Archive" % first))
        self.assertRegex(moved, rb"COPYUID \d+ %d \d+\]" % first)
        self.assertIn(b"EXPUNGE", moved)
        self.assertNotIn(b"UID %d " % first, b"".join(client.ok("UID FETCH 1:* (UID)")))
        there = client.ok("STATUS Archive (MESSAGES UNSEEN)")
        self.assertIn(b"MESSAGES 3 UNSEEN 1", b"".join(there))
        client.ok("SELECT Archive")
        rows = b"".join(client.ok("FETCH 3 (FLAGS EMAILID BODY.PEEK[])"))
        self.assertIn(email_id, rows)
        self.assertIn(b"Kept", rows)
        self.assertIn(MESSAGE, rows)
        self.assertTrue(client.command("COPY 1:3 Nowhere")[1].startswith(b"NO [TRYCREATE]"))
        client.ok("MOVE 1:3 INBOX")
        client.ok("SELECT INBOX")
        self.assertIn(b"MESSAGES 4", b"".join(client.ok("STATUS INBOX (MESSAGES)")))

    def test_others_see_it_at_once(self):
        one, other = self.client("alice", "Archive"), self.client("alice")
        one.send(b"i IDLE\r\n")
        self.assertTrue(one.line().startswith(b"+"))
        self.append(other, "Archive")
        self.assertIn(b"EXISTS", one.line())
        one.send(b"DONE\r\n")
        one.finish(b"i")

    def test_replace_into_another_store(self):
        client = self.client("alice")
        self.append(client, "Drafts")
        client.ok("SELECT Drafts")
        lines = b"".join(client.ok("REPLACE 1 Archive {%d+}\r\n%s" % (len(MESSAGE), MESSAGE.decode())))
        self.assertIn(b"1 EXPUNGE", lines)
        self.assertIn(b"MESSAGES 0", b"".join(client.ok("STATUS Drafts (MESSAGES)")))


class MountsOf(Mounts, ServerTest):
    pass


for_each_backend(MountsOf)
del MountsOf

if __name__ == "__main__":
    unittest.main()
