# SPDX-License-Identifier: MIT
"""Commands that end too early, at every octet: each is answered, and the session goes on. For the parsers that no unit test cuts."""

import re

import postern
from server_test import ServerTest

COMMANDS = (
    'SEARCH RETURN (MIN MAX SAVE) CHARSET UTF-8 OR (FROM "a" NOT 1:3,5:*) UID 1:2 HEADER "X-Y" "z" KEYWORD $Junk SINCE 1-Feb-1994',
    'UID SEARCH RETURN (PARTIAL -1:-10 COUNT) MODSEQ "/flags/\\\\draft" all 12 YOUNGER 5 EMAILID M1 SAVEDON 1-Jan-2020',
    "SORT RETURN (ALL COUNT) (REVERSE DATE SUBJECT DISPLAYFROM) UTF-8 NOT DELETED $",
    "UID THREAD REFERENCES US-ASCII LARGER 5",
    'UID FETCH 1:*,$ (UID FLAGS BODY.PEEK[1.2.HEADER.FIELDS (A "b")]<5.10> BINARY.SIZE[1] BINARY.PEEK[1]<0.5> PREVIEW (LAZY)) '
    "(CHANGEDSINCE 5 PARTIAL 1:5)",
    "FETCH 1 (BODY[HEADER.FIELDS.NOT (X)] BODYSTRUCTURE RFC822.SIZE MODSEQ EMAILID THREADID SAVEDATE)",
    "STORE 1,1:* (UNCHANGEDSINCE 12) +FLAGS.SILENT (\\Seen $Work)",
    "UID STORE 1 FLAGS \\Flagged work",
    "EXAMINE INBOX (CONDSTORE QRESYNC (1 2 1:5,7 (1,2:3 1,2:3)))",
    'LIST (SUBSCRIBED RECURSIVEMATCH) "" ("INBOX" % a/*) RETURN (CHILDREN SPECIAL-USE STATUS (MESSAGES SIZE MAILBOXID))',
    'LSUB "" "%"',
    "STATUS INBOX (MESSAGES UIDNEXT HIGHESTMODSEQ APPENDLIMIT)",
    "CREATE t (USE (\\Drafts))",
    "RENAME none-such also-none",
    'ID ("name" "x" "version" NIL)',
    "ENABLE CONDSTORE X-NONE",
    'COPY 1 "none"',
    "UID MOVE 1:5,9 none",
    "UID EXPUNGE 1:5",
    "REPLACE 1 none (\\Seen) \"17-Jul-1996 02:44:25 -0700\" {5}",
    'APPEND none (\\Seen x) " 7-Jul-1996 02:44:25 -0700" {5}',
    "NAMESPACE",
)


class Truncated(ServerTest):
    def test_each_is_answered(self):
        with self.server.session() as client:
            client.append(postern.message("one"))
        client = self.session()
        client.ok("ENABLE QRESYNC")
        for command in COMMANDS:
            client.ok("SELECT INBOX")
            for cut in range(1, len(command) + 1):
                with self.subTest(command[:cut]):
                    self.assertRegex(client.command(command[:cut])[1], rb"^(OK|NO|BAD) ")
                if cut % 5 == 0:
                    client.ok("NOOP")  # ten that are BAD in a row would end the session
            self.assertIsNone(re.search("role_died", self.server.log()))

    def test_each_is_answered_behind_a_literal(self):
        """Where a literal stands, and the line ends behind it."""
        client = self.session()
        for before, after in (("SEARCH SUBJECT ", " UNSEEN"), ("STATUS ", " (MESSAGES)"), ('LIST "" ', " RETURN (CHILDREN)"),
                              ("SORT (DATE) UTF-8 TEXT ", " 1"), ("CREATE ", " (USE (\\Sent))"), ("LOGIN ", " x")):
            client.ok("SELECT INBOX")
            for cut in range(len(after) + 1):
                with self.subTest(before + "{1+}" + after[:cut]):
                    status = client.command(before.encode() + b"{1+}\r\nx" + after[:cut].encode())[1]
                    self.assertRegex(status, rb"^(OK|NO|BAD) ")
                if cut % 5 == 0:
                    client.ok("NOOP")
