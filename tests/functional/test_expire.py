# SPDX-License-Identifier: MIT
"""Mail that goes by itself (autoexpunge)."""

import json
import unittest

import postern
from server_test import ServerTest, status


@unittest.skipUnless("maildir" in postern.BACKENDS, "it needs files that are there before the server looks")
class Expire(ServerTest):
    backend = "maildir"
    users = ("alice", "bob")
    settings = ServerTest.settings + "\nmailbox Trash { special_use = trash autoexpunge_messages = 2 }\nmailbox Sent { }\n"

    def fill(self, user):
        """Before the server opens the user's mail."""
        self.server.tool("mailbox", "list", user)
        for mailbox in ("Trash", "Sent"):
            for _ in range(5):
                self.server.deliver(user, postern.message(), mailbox)

    def test_the_command_does_it_now(self):
        self.fill("alice")
        run = self.server.tool("mailbox", "expire", "--json", "alice")
        self.assertEqual(json.loads(run.stdout), {"Trash": 3})
        self.assertEqual(json.loads(self.server.tool("mailbox", "expire", "--json", "alice").stdout), {})

    def test_the_server_does_it_and_sessions_are_told(self):
        self.fill("bob")
        client = self.session("bob", select="Trash")
        postern.wait_until(lambda: client.ok("NOOP") and status(client, "Trash", "MESSAGES")["MESSAGES"] == 2,
                           "messages to go", patience=60)
        client.ok("NOOP")
        self.assertEqual(client.ok("UID SEARCH ALL")[0], b"* SEARCH 4 5\r\n")
        self.assertEqual(status(client, "Sent", "MESSAGES")["MESSAGES"], 5)
        self.assertIn("event=autoexpunge user=bob@example.test mailbox=Trash messages=3", self.server.log())


@unittest.skipUnless("maildir" in postern.BACKENDS, "it needs files that are there before the server looks")
class ExpireInbox(ServerTest):
    backend = "maildir"
    settings = ServerTest.settings + "\nmailbox INBOX { autoexpunge_messages = 2 }\n"

    def test_inbox_has_a_rule_and_new_users_have_all_the_others(self):
        names = self.server.tool("mailbox", "list", "alice").stdout
        self.assertIn("Trash", names)
        for _ in range(3):
            self.server.deliver("alice", postern.message())
        run = self.server.tool("mailbox", "expire", "--json", "alice")
        self.assertEqual(json.loads(run.stdout), {"INBOX": 1})


if __name__ == "__main__":
    unittest.main()
