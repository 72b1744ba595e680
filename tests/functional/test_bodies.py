# SPDX-License-Identifier: MIT
"""Bodies that lie on disk as they are sent go out from the file; and what must not be sent never does."""

import postern
from server_test import ServerTest

TEXT = b"".join(b"line %d: %s\r\n" % (n, b"x" * (n % 61)) for n in range(12000))
HEADER = b"Subject: big\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
PART = b"Content-Type: text/plain\r\n\r\n"
BIG = HEADER + b"--b\r\n" + PART + TEXT + b"\r\n--b--\r\n"


class Bodies(ServerTest):
    backend = "maildir"
    settings = "backend maildir { line_ends = crlf }\nplaintext_without_tls = yes\n"

    def setUp(self):
        self.client = self.session(select="INBOX")
        self.client.ok(r"UID STORE 1:* +FLAGS.SILENT (\Deleted)")
        self.client.ok("EXPUNGE")

    def expect(self, client, item, octets):
        body = client.ok("FETCH 1 (%s)" % item)[0]
        self.assertIn(b"{%d}\r\n" % len(octets), body[:200])
        self.assertTrue(body.endswith(b"}\r\n" + octets + b")\r\n"), item)

    def expect_big(self, client, octets):
        start = octets.index(b"line 0:")
        self.expect(client, "BODY.PEEK[]", octets)
        self.expect(client, "RFC822.SIZE BODY.PEEK[TEXT]", octets[len(HEADER):])
        self.expect(client, "BODY.PEEK[1]", octets[start:start + len(TEXT)])
        self.expect(client, "BODY.PEEK[1.MIME] BODY.PEEK[1]<70000.100000>", octets[start + 70000:start + 170000])
        self.expect(client, "BODY.PEEK[]<%d.99999>" % (len(octets) - 40000), octets[-40000:])
        self.expect(client, "BODY.PEEK[]<17.40> BODY.PEEK[HEADER]", HEADER)

    def on_both(self, octets):
        for tls in (False, True):
            with self.server.connect(tls=tls) as client:
                client.greeting()
                client.ok("LOGIN alice %s" % postern.PASSWORD)
                client.ok("SELECT INBOX")
                self.expect_big(client, octets)

    def test_ours(self):
        self.assertRegex(self.client.append(BIG), b"^OK")
        self.on_both(BIG)

    def test_a_foreign_one(self):
        self.server.deliver("alice", BIG)
        self.on_both(BIG)

    def test_a_foreign_one_with_nul(self):
        self.server.deliver("alice", BIG.replace(b"line 11999", b"line\x0011999"))
        self.on_both(BIG.replace(b"line 11999", b"line\x8011999"))

    def test_a_foreign_one_with_bare_line_feeds(self):
        self.server.deliver("alice", BIG.replace(b"\r\n", b"\n"))
        self.on_both(BIG)

    def test_one_that_is_expunged_while_it_is_sent(self):
        """What was begun is finished."""
        self.assertRegex(self.client.append(BIG + TEXT * 20), b"^OK")
        with self.server.connect() as slow:
            slow.greeting()
            slow.ok("LOGIN alice %s" % postern.PASSWORD)
            slow.ok("SELECT INBOX")
            slow.send(b"f FETCH 1 BODY.PEEK[]\r\n")
            slow.line()
            self.client.ok(r"STORE 1 +FLAGS.SILENT (\Deleted)")
            self.client.ok("EXPUNGE")
            self.assertEqual(slow.octets(len(BIG + TEXT * 20)), BIG + TEXT * 20)
            self.assertEqual(slow.line(), b")\r\n")
