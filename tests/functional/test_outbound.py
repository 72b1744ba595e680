# SPDX-License-Identifier: MIT
"""Mail for elsewhere: queued before the 250, sent, tried again, and given back to its sender."""

import email
import email.utils
import json
import os
import signal
import threading
import time

import postern
from sink import Sink
from test_delivery import JOE, DeliveryTest, address


class OutboundTest(DeliveryTest):
    relay = "retry_first = 1s retry_most = 2s"
    limits = "connections_per_address = 0 auth_failures_per_minute = 10000"

    @classmethod
    def setUpClass(cls):
        cls.sink = Sink()
        cls.addClassCleanup(cls.sink.shutdown)
        cls.settings = ('transport "*" { host = "127.0.0.1" port = %d }\nrelay { %s }\nlimits { %s }\n'
                        % (cls.sink.port, cls.relay, cls.limits))
        super().setUpClass()

    def submit(self, recipients, subject, sender="alice"):
        client = self.client("submission", user=sender)
        replies = self.send(client, address(sender), recipients, postern.message(subject))
        self.assertEqual(replies[0][0], 250, replies)

    def arrives(self, subject):
        postern.wait_until(lambda: subject in self.sink.subjects(), "%s at the next host" % subject)

    def report(self, user="alice"):
        """The first report that comes for the user, as a message."""
        def look():
            client = self.session(user, select="INBOX")
            found = client.ok("UID SEARCH HEADER Content-Type multipart/report")
            uids = b"".join(line for line in found if line.startswith(b"* SEARCH")).split()[2:]
            if not uids:
                return None
            fetched = client.ok("UID FETCH %d BODY[]" % int(uids[0]))
            octets = next(line for line in fetched if b" FETCH " in line.partition(b"\r\n")[0])
            client.ok("UID STORE %d FLAGS (\\Deleted)" % int(uids[0]))
            client.ok("EXPUNGE")
            return email.message_from_bytes(octets[octets.index(b"\n") + 1:])

        return postern.wait_until(look, "a report", patience=60)

    def fields(self, report):
        """Those of each recipient."""
        status = next(part for part in report.walk() if part.get_content_type() == "message/delivery-status")
        return status.get_payload()[1:]


class Outbound(OutboundTest):
    def test_from_a_user_to_elsewhere(self):
        self.submit(["joe@example.com", address("bob")], "hello")
        self.arrives("hello")
        sender, recipients, octets = self.sink.received[self.sink.subjects().index("hello")]
        self.assertEqual((sender, recipients), (address("alice"), ["joe@example.com"]))
        self.assertNotIn(b"Return-Path", octets)
        self.assertIn("hello", self.subjects("bob"))

    def test_later_is_tried_again(self):
        self.sink.answers["later"] = ["451 4.7.1 Greylisted", "451 4.7.1 Greylisted", "250 2.1.5 OK"]
        self.submit(["later@example.com"], "greylisted")
        self.arrives("greylisted")
        self.assertEqual(self.sink.subjects().count("greylisted"), 1)

    def test_never_is_reported(self):
        self.sink.answers["never"] = ["550 5.1.1 <b>No such user</b>"]
        self.submit(["never@example.com", "joe@example.com"], "bounced")
        report = self.report()
        self.assertEqual(report["Return-Path"], "<>")
        self.assertEqual(report["To"].strip("<>"), address("alice"))
        fields = self.fields(report)
        self.assertEqual(len(fields), 1)
        self.assertEqual(fields[0]["Action"], "failed")
        self.assertEqual(fields[0]["Status"], "5.1.1")
        self.assertIn("never@example.com", fields[0]["Final-Recipient"])
        self.arrives("bounced")
        told = json.loads(self.server.tool("trace", "--json", "never@example.com").stdout)
        events = [event["event"] for message in told for event in message["events"]]
        for event in ("received", "queued", "failed", "sent", "reported"):
            self.assertIn(event, events)

    def test_one_of_many(self):
        self.sink.answers["slow"] = ["450 4.2.0 busy", "250 2.1.5 OK"]
        self.submit(["slow@example.com", "quick@example.com"], "both")
        postern.wait_until(lambda: self.sink.subjects().count("both") == 2, "both copies")
        found = sorted(to for _, to, octets in self.sink.received if b"Subject: both\r\n" in octets)
        self.assertEqual(found, [["quick@example.com"], ["slow@example.com"]])

    def test_a_stranger_sends_nothing_elsewhere(self):
        client = self.client()
        client.mail(JOE)
        self.assertEqual(client.rcpt("joe@example.com")[0], 550)


class Limits(OutboundTest):
    limits = "user_messages_per_hour = 2 " + OutboundTest.limits

    def test_a_user_who_sends_too_much(self):
        client = self.client("submission", user="alice")
        for number in range(2):
            self.send(client, address("alice"), [address("bob")], postern.message("limit-%d" % number))
        client.mail(address("alice"))
        client.rcpt(address("bob"))
        self.assertEqual(client.docmd("data")[0], 450)
        self.assertIn("event=submission_limit", self.server.log())


class Success(OutboundTest):
    relay = "retry_first = 2s retry_most = 2s delay_notice = 1s"

    def test_delivery_here_and_there_is_reported_to_who_asks(self):
        client = self.client("submission", user="alice")
        client.mail(address("alice"), ["RET=HDRS", "ENVID=QQ314159"])
        for name in ("joe@example.com", address("bob")):
            self.assertEqual(client.rcpt(name, ["NOTIFY=SUCCESS", "ORCPT=rfc822;" + name])[0], 250)
        client.putcmd("data")
        client.getreply()
        client.send(postern.message("success") + b".\r\n")
        self.assertEqual(client.getreply()[0], 250)
        found = {}
        for _ in range(2):
            report = self.report()
            for fields in self.fields(report):
                found[fields["Original-Recipient"].partition(";")[2].strip()] = fields["Action"]
        self.assertEqual(found, {"joe@example.com": "relayed", address("bob"): "delivered"})
        self.assertEqual(self.subjects("bob"), ["success"])

    def test_who_waits_is_told_once(self):
        self.sink.answers["wait"] = ["451 4.3.0 not now"] * 4 + ["250 2.1.5 OK"]
        self.submit(["wait@example.com"], "delayed", sender="bob")
        fields = self.fields(self.report("bob"))
        self.assertEqual(fields[0]["Action"], "delayed")
        until = email.utils.parsedate_to_datetime(fields[0]["Will-Retry-Until"]).timestamp()
        self.assertAlmostEqual(until, time.time() + 5 * 86400, delta=600)
        self.arrives("delayed")
        time.sleep(1)
        self.assertEqual([subject for subject in self.subjects("bob") if subject != "success"], [])


class PowerCut(OutboundTest):
    may_die = True

    def test_what_was_queued_is_sent_after_the_end_of_all(self):
        self.sink.answers["later"] = ["451 4.3.0 not now"]
        subjects = ["cut-%d" % number for number in range(20)]
        for subject in subjects:
            self.submit(["later@example.com", address("bob")], subject)
        self.server.kill()
        self.sink.answers.clear()
        self.server.start()
        postern.wait_until(lambda: set(subjects) <= set(self.sink.subjects()), "all that was queued", patience=60)
        self.assertEqual(sorted(self.sink.subjects()), sorted(subjects))
        self.assertEqual(self.subjects("bob"), sorted(subjects))


class Expiry(OutboundTest):
    relay = "retry_first = 1s retry_most = 1s expiry = 3s"

    def test_what_waits_for_too_long_goes_back(self):
        self.sink.answers["wait"] = ["451 4.3.0 not now"]
        self.submit(["wait@example.com"], "expired")
        fields = self.fields(self.report())
        self.assertEqual(fields[0]["Action"], "failed")
        self.assertIn("wait@example.com", fields[0]["Final-Recipient"])


class OutboundKills(OutboundTest):
    """Relay is killed while users send: what was answered with 250 goes out, and twice only if it was killed between a reply and noting it."""

    may_die = True
    rounds = int(os.environ.get("POSTERN_TEST_KILLS", "5"))

    def test_killed_relay(self):
        said, stop = [], threading.Event()

        def send():
            number = 0
            while not stop.is_set():
                number += 1
                try:
                    self.submit(["joe%d@example.com" % number, address("bob")], "kill-%d" % number)
                    said.append("kill-%d" % number)
                except (OSError, AssertionError, postern.Closed):
                    time.sleep(0.05)

        thread = threading.Thread(target=send)
        thread.start()
        try:
            for _ in range(self.rounds):
                time.sleep(0.5)
                before = len(said)
                for pid, role in self.server.roles():
                    if role == "relay":
                        os.kill(pid, signal.SIGKILL)
                postern.wait_until(lambda: len(said) > before + 1, "mail after the end of relay")
        finally:
            stop.set()
            thread.join()
        postern.wait_until(lambda: set(said) <= set(self.sink.subjects()), "all that was answered with 250", patience=90)
        postern.wait_until(lambda: set(said) <= set(self.subjects("bob")), "the same for bob")
        found = self.sink.subjects()
        twice = {subject for subject in found if found.count(subject) > 1}
        self.assertLessEqual(len(twice), self.rounds * 20)
        bobs = self.subjects("bob")
        self.assertEqual([subject for subject in said if bobs.count(subject) != 1], [])
