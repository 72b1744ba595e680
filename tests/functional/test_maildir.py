# SPDX-License-Identifier: MIT
"""A Maildir that others use at the same time: deliveries, flags and removals from elsewhere, and a lost index."""

import os
import shutil
import threading

import postern
from server_test import ServerTest, flags_by_uid, status, subjects_by_uid


def find(maildir, needle):
    """(folder, name) of the message file that contains the octets."""
    for place in ("cur", "new"):
        for name in os.listdir(os.path.join(maildir, place)):
            with open(os.path.join(maildir, place, name), "rb") as file:
                if needle in file.read():
                    return os.path.join(maildir, place), name
    raise AssertionError("no such message in " + maildir)


def set_flags(maildir, needle, letters):
    """As mutt does it: the name's end is replaced, and the file goes into cur."""
    folder, name = find(maildir, needle)
    os.rename(os.path.join(folder, name), os.path.join(maildir, "cur", name.partition(":2,")[0] + ":2," + letters))


class Others(ServerTest):
    backend = "maildir"

    def setUp(self):
        self.client = self.session(select="INBOX")
        self.client.ok(r"UID STORE 1:* +FLAGS.SILENT (\Deleted)")
        self.client.ok("EXPUNGE")

    def poll(self, condition, what):
        def look():
            self.client.ok("NOOP")
            return condition()
        return postern.wait_until(look, what)

    def test_a_delivery_ends_idle(self):
        self.client.send(b"i IDLE\r\n")
        self.assertTrue(self.client.line().startswith(b"+"))
        self.server.deliver("alice", b"Subject: from procmail\n\nHello.\n")
        line = self.client.line()
        while b"EXISTS" not in line:
            line = self.client.line()
        self.client.send(b"DONE\r\n")
        self.client.finish(b"i")
        self.assertIn("from procmail", subjects_by_uid(self.client).values())

    def test_a_delivery_with_bare_line_feeds_is_served_with_crlf(self):
        self.server.deliver("alice", b"Subject: bare\n\none\ntwo\n")
        uid = self.poll(lambda: [u for u, s in subjects_by_uid(self.client).items() if s == "bare"], "the delivery")[0]
        body = self.client.ok("UID FETCH %d (RFC822.SIZE BODY.PEEK[])" % uid)[0]
        octets = b"Subject: bare\r\n\r\none\r\ntwo\r\n"
        self.assertIn(b"{%d}\r\n%s" % (len(octets), octets), body)
        self.assertIn(b"RFC822.SIZE %d" % len(octets), body)

    def test_flags_changed_elsewhere_appear(self):
        self.assertRegex(self.client.append(postern.message("to flag")), b"^OK")
        set_flags(self.server.maildir("alice"), b"to flag", "FRS")
        self.poll(lambda: {"\\Seen", "\\Answered", "\\Flagged"} in flags_by_uid(self.client).values(), "the flags")

    def test_a_removal_elsewhere_appears(self):
        self.assertRegex(self.client.append(postern.message("to remove")), b"^OK")
        self.assertIn("to remove", subjects_by_uid(self.client).values())
        folder, name = find(self.server.maildir("alice"), b"to remove")
        os.unlink(os.path.join(folder, name))
        self.poll(lambda: "to remove" not in subjects_by_uid(self.client).values(), "the removal")

    def test_what_we_change_others_read(self):
        self.assertRegex(self.client.append(postern.message("ours"), flags=r"\Seen"), b"^OK")
        folder, name = find(self.server.maildir("alice"), b"ours")
        self.assertTrue(folder.endswith("cur"))
        self.assertEqual(name.partition(":2,")[2], "S")
        uid = next(uid for uid, subject in subjects_by_uid(self.client).items() if subject == "ours")
        self.client.ok(r"UID STORE %d +FLAGS (\Flagged \Answered)" % uid)
        _, name = find(self.server.maildir("alice"), b"ours")
        self.assertEqual("".join(c for c in name.partition(":2,")[2] if c.isupper()), "FRS")
        self.client.ok(r"UID STORE %d +FLAGS (\Deleted)" % uid)
        self.client.ok("EXPUNGE")
        with self.assertRaises(AssertionError):
            find(self.server.maildir("alice"), b"ours")

    def test_flags_of_many_are_told_at_once_and_reach_the_names(self):
        for n in range(70):
            self.server.deliver("alice", b"Subject: many\n\n%d\n" % n)
        self.poll(lambda: len(flags_by_uid(self.client)) == 70, "the deliveries")
        self.client.ok(r"STORE 1:* +FLAGS (\Seen)")
        self.assertTrue(all("\\Seen" in flags for flags in flags_by_uid(self.client).values()))
        cur = os.path.join(self.server.maildir("alice"), "cur")
        postern.wait_until(lambda: sum(name.endswith(":2,S") for name in os.listdir(cur)) == 70, "the names")

    def test_a_folder_made_elsewhere_appears(self):
        owner = os.stat(self.server.maildir("alice"))
        for part in ("", "cur", "new", "tmp"):
            path = os.path.join(self.server.maildir("alice", "Elsewhere/Made"), part)
            os.makedirs(path, mode=0o700, exist_ok=True)
            os.chown(path, owner.st_uid, owner.st_gid)
        self.server.deliver("alice", b"Subject: there\n\nx\n", "Elsewhere/Made")
        self.poll(lambda: any(b"Elsewhere/Made" in line for line in self.client.ok('LIST "" *')), "the folder")
        self.assertEqual(status(self.session(), "Elsewhere/Made", "MESSAGES"), {"MESSAGES": 1})

    def test_each_delivery_is_seen_once_by_two_sessions_that_also_append(self):
        count = 60
        writer = threading.Thread(target=lambda: [self.server.deliver("alice", b"Subject: f%d\n\nx\n" % number)
                                                  for number in range(count)])
        other = self.session(select="INBOX")
        writer.start()
        for number in range(20):
            self.assertRegex(other.append(postern.message("own%d" % number)), b"^OK")
            self.client.ok("NOOP")
        writer.join()
        expected = {"f%d" % number for number in range(count)} | {"own%d" % number for number in range(20)}
        self.poll(lambda: len(flags_by_uid(self.client)) >= len(expected), "all messages")
        other.ok("NOOP")
        mine = subjects_by_uid(self.client)
        self.assertEqual(sorted(mine.values()), sorted(expected))
        postern.wait_until(lambda: other.ok("NOOP") is not None and subjects_by_uid(other) == mine, "the same in both")


class LostIndex(ServerTest):
    backend = "maildir"

    def test_uids_flags_and_keywords_come_back(self):
        with self.server.session(select="INBOX") as client:
            client.ok("CREATE Kept")
            for number in range(30):
                self.assertRegex(client.append(postern.message("m%d" % number)), b"^OK")
            self.server.deliver("alice", b"Subject: foreign\n\nx\n")
            postern.wait_until(lambda: client.ok("NOOP") is not None and len(flags_by_uid(client)) == 31, "the delivery")
            client.ok(r"UID STORE 5:9 +FLAGS (\Seen $Forwarded work)")
            client.ok(r"UID STORE 31 +FLAGS (\Flagged private)")
            client.ok(r"UID STORE 10:12,30 +FLAGS (\Deleted)")
            client.ok("EXPUNGE")
            client.ok("UID COPY 1:5 Kept")
            flags, subjects = flags_by_uid(client), subjects_by_uid(client)
            figures = status(client, "INBOX", "UIDNEXT", "UIDVALIDITY")
            kept = status(client, "Kept", "UIDNEXT", "UIDVALIDITY", "MESSAGES")
        self.server.stop()
        self.assertTrue(self.remove_indexes(), "no index was found")
        self.server.start()
        with self.server.session(select="INBOX") as client:
            self.assertEqual(flags_by_uid(client), flags)
            self.assertEqual(subjects_by_uid(client), subjects)
            again = status(client, "INBOX", "UIDNEXT", "UIDVALIDITY")
            self.assertEqual(again["UIDVALIDITY"], figures["UIDVALIDITY"])
            self.assertGreaterEqual(again["UIDNEXT"], figures["UIDNEXT"])
            again = status(client, "Kept", "UIDNEXT", "UIDVALIDITY", "MESSAGES")
            self.assertEqual((again["UIDVALIDITY"], again["MESSAGES"]), (kept["UIDVALIDITY"], kept["MESSAGES"]))
            self.assertRegex(client.append(postern.message("later")), b"^OK")
            self.assertGreater(max(flags_by_uid(client)), max(flags))

    def remove_indexes(self):
        """Every LMDB file, and the folder it is alone in."""
        removed = 0
        for folder, folders, files in os.walk(self.server.mail_root, topdown=False):
            for name in files:
                if name.endswith((".mdb", ".mdb-lock", ".lmdb", ".lmdb-lock")) or "index" in name:
                    os.unlink(os.path.join(folder, name))
                    removed += 1
            for name in folders:
                if "index" in name:
                    shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
        return removed
