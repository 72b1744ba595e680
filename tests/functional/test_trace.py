# SPDX-License-Identifier: MIT
"""postern trace tells what became of a message, by its id, its Message-ID and its addresses."""

import json
import re

import postern
from server_test import ServerTest
from test_delivery import JOE, DeliveryTest, address
from test_outbound import OutboundTest


class Trace(DeliveryTest):
    def trace(self, what, *options):
        run = self.server.tool("trace", "--json", *options, "--", what, check=False)
        self.assertIn(run.returncode, (0, 1), run.stderr)
        return json.loads(run.stdout) if run.stdout else []

    def test_a_message_for_two_mailboxes(self):
        octets = postern.message("traced")
        reply = self.send(self.client(), JOE, [address("alice"), address("bob+x")], octets)[0]
        self.assertEqual(reply[0], 250)
        number = re.search(rb"\((\w+)\)", reply[1]).group(1).decode()
        for what in (number, "<traced@example.test>", "traced@example.test", "JOE@example.com", address("bob+x")):
            with self.subTest(what):
                found = self.trace(what, "--most", "1")
                self.assertEqual([message["id"] for message in found], [number])
                events = found[0]["events"]
                self.assertEqual([event["event"] for event in events], ["received", "stored", "stored"])
                self.assertEqual(events[0]["sender"], JOE)
                self.assertEqual(events[0]["message_id"], "traced@example.test")
                self.assertEqual(events[0]["source"], "mx")
                self.assertEqual({event["user"] for event in events[1:]}, {address("alice"), address("bob")})
        text = self.server.tool("trace", number).stdout
        self.assertIn("received  from <joe@example.com>, by mx, session ", text)
        self.assertIn("stored    alice@example.test in INBOX", text)

    def test_who_is_not_known(self):
        run = self.server.tool("trace", "nobody@example.com", check=False)
        self.assertEqual((run.returncode, run.stdout), (1, ""))
        self.assertIn("nothing is known of nobody@example.com", run.stderr)
        self.assertEqual(self.server.tool("trace", "--most", "0", "x", check=False).returncode, 2)

    def test_hostile_octets_do_not_reach_the_terminal(self):
        octets = b"Message-ID: <a\x1b[31m.b@example.com>\r\n\r\ntext\r\n"
        self.send(self.client(), "evil@example.com", [address("alice")], octets)
        text = self.server.tool("trace", "evil@example.com").stdout
        self.assertNotIn("\x1b", text)
        self.assertIn("stored", text)

    def test_it_survives_a_restart(self):
        self.send(self.client(), "before@example.com", [address("alice")], postern.message("before"))
        self.assertEqual(self.server.stop(), 0)
        self.server.start()
        self.assertEqual([event["event"] for event in self.trace("before@example.com")[0]["events"]],
                         ["received", "stored"])


class WithoutSpool(ServerTest):
    def test_is_told(self):
        with open(self.server.config, encoding="utf-8") as file:
            lines = [line for line in file if not line.startswith("spool_dir")]
        self.assertEqual(self.server.stop(), 0)
        listener = re.compile("^listener (smtp|submission|submissions|lmtp)")
        with open(self.server.config, "w", encoding="utf-8") as file:
            file.writelines(line for line in lines if not listener.match(line))
        self.server._start_once()  # pylint: disable=protected-access
        run = self.server.tool("trace", "x", check=False)
        self.assertEqual(run.returncode, 1)
        self.assertIn("takes no mail", run.stderr)


class Removed(OutboundTest):
    relay = "retry_first = 1h retry_most = 1h"

    def test_what_the_administrator_removes(self):
        self.sink.answers["joe"] = ["451 4.3.2 not now"]
        self.submit(["joe@example.com"], "removed")

        def events():
            found = json.loads(self.server.tool("trace", "--json", "joe@example.com").stdout)
            return [event["event"] for event in found[0]["events"]]

        postern.wait_until(lambda: events() == ["received", "queued", "deferred"], "the first attempt")
        self.server.tool("queue", "remove", "--yes", "--recipient", "joe@example.com")
        self.assertEqual(events(), ["received", "queued", "deferred", "removed"])
        text = self.server.tool("trace", "joe@example.com").stdout
        self.assertIn("deferred  joe@example.com: 127.0.0.1", text)
        self.assertIn(": 451 4.3.2 not now", text)
