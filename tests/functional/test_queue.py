# SPDX-License-Identifier: MIT
"""postern queue: mail that cannot be sent now is listed, held, released, tried, returned and removed."""

import json
import re

import postern
from server_test import ServerTest
from sink import Sink
from test_delivery import DeliveryTest, address


class QueueTest(DeliveryTest):
    """The next host takes nobody's mail now."""

    @classmethod
    def setUpClass(cls):
        cls.sink = Sink()
        cls.sink.answer = lambda recipient: "450 4.2.0 Come back later"
        cls.addClassCleanup(cls.sink.shutdown)
        cls.settings = ('transport "*" { host = "127.0.0.1" port = %d }\n' % cls.sink.port) + cls.more_settings() \
            + ServerTest.settings
        super().setUpClass()

    @classmethod
    def more_settings(cls):
        return ""

    def queue(self, *words, check=True):
        run = self.server.tool("queue", *words, "--json", check=False)
        self.assertEqual(run.returncode, 0 if check else 1, run.stderr)
        return json.loads(run.stdout) if run.stdout else None

    def submit(self, recipient):
        """The id of a message to somewhere else, that has been attempted."""
        reply = self.send(self.client("submission", user="alice"), address("alice"), [recipient],
                          postern.message("queued"))[0]
        self.assertEqual(reply[0], 250, reply)
        number = re.search(rb"\((\w+)\)", reply[1]).group(1).decode()
        postern.wait_until(lambda: self.row(number) and self.row(number)["last"], "an attempt")
        return number

    def row(self, number):
        rows = [row for row in self.queue("list") if row["id"] == number]
        return rows[0] if rows else None

    def setUp(self):
        self.queue("remove", "--every", "--yes")


class Queue(QueueTest):
    def test_what_waits_is_listed_and_shown(self):
        number = self.submit("joe@example.org")
        row = self.row(number)
        self.assertEqual((row["sender"], row["to"], row["user"]),
                         (address("alice"), ["joe@example.org"], address("alice")))
        self.assertGreater(row["next"], 60)
        shown = self.queue("show", number)
        self.assertEqual(shown["parts"][0]["state"], "waiting")
        self.assertEqual(shown["parts"][0]["attempts"], 1)
        self.assertEqual(shown["parts"][0]["last"]["text"], "Come back later")
        text = self.server.tool("queue", "list").stdout
        self.assertIn("from <alice@example.test>, user alice@example.test", text)
        self.assertIn("to joe@example.org", text)
        self.assertIn("next attempt in", text)
        self.assertIn("joe@example.org: open", self.server.tool("queue", "show", number).stdout)
        self.assertEqual(self.queue("stats")["messages"], 1)
        self.assertEqual(len(self.queue("destinations")), 1)

    def test_filters_choose(self):
        first, second = self.submit("joe@example.org"), self.submit("ann@example.net")
        for words, found in (
                (("--recipient", "joe@example.org"), [first]),
                (("--recipient", "@example.net"), [second]),
                (("--sender", "@example.test", "--user", address("alice")), [first, second]),
                (("--sender", "bob@example.test"), []),
                (("--older", "1h"), []),
                (("--younger", "1h"), [first, second]),
                (("--held",), []),
                (("--most", "1"), [first])):
            with self.subTest(words):
                self.assertEqual([row["id"] for row in self.queue("list", *words)], found)
        self.assertEqual(self.queue("hold", "--recipient", "@example.net"), {"hold": 1})
        self.assertEqual([row["id"] for row in self.queue("list", "--held")], [second])
        self.assertEqual(self.queue("release", second), {"release": 1})
        self.assertEqual(self.server.tool("queue", "list", "--older", "5w", check=False).returncode, 2)

    def test_acts_ask_which(self):
        run = self.server.tool("queue", "remove", check=False)
        self.assertEqual((run.returncode, run.stdout), (2, ""))
        self.assertIn("which messages?", run.stderr)
        number = self.submit("joe@example.org")
        run = self.server.tool("queue", "remove", number, "NOSUCHID", check=False)
        self.assertEqual((run.returncode, run.stdout), (1, "1 message removed\n"))
        self.assertIn("no message NOSUCHID", run.stderr)
        self.assertEqual(self.queue("list"), [])

    def test_a_retry_is_an_attempt(self):
        number = self.submit("joe@example.org")
        self.queue("retry", number)
        postern.wait_until(lambda: self.queue("show", number)["parts"][0]["attempts"] == 2, "the attempt")

    def test_what_is_returned_comes_back(self):
        number = self.submit("joe@example.org")
        before = len(self.subjects("alice"))
        self.queue("bounce", number)
        postern.wait_until(lambda: len(self.subjects("alice")) == before + 1, "the report")
        self.assertEqual(self.queue("list"), [])


class Rate(QueueTest):
    """Destinations have settings of their own."""

    @classmethod
    def more_settings(cls):
        return 'destination "host:127.0.0.1:%d" { attempts_per_minute = 1 }\n' % cls.sink.port

    def test_what_exceeds_the_rate_waits(self):
        self.submit("joe@example.org")
        reply = self.send(self.client("submission", user="alice"), address("alice"), ["ann@example.net"],
                          postern.message("second"))[0]
        self.assertEqual(reply[0], 250)
        row = self.queue("destinations")[0]
        self.assertEqual((row["dead"], row["parts"]), (False, 2))
        self.assertGreater(row["blocked_for"], 0)
        waiting = self.queue("list", "--recipient", "ann@example.net")[0]
        self.assertEqual(self.queue("show", waiting["id"])["parts"][0]["attempts"], 0)


class Kill(QueueTest):
    may_die = True

    def test_it_survives_a_kill(self):
        numbers = [self.submit("joe%d@example.org" % i) for i in range(3)]
        self.server.kill()
        self.server.start()
        self.assertEqual([row["id"] for row in self.queue("list")], numbers)
