# SPDX-License-Identifier: MIT
"""Many sessions at once. Also run with ThreadSanitizer."""

import random
import re
import threading

import postern
from server_test import ServerTest, flags_by_uid, for_each_backend, status, subjects_by_uid


class Together:
    """Runs functions in threads; the first exception of any is raised at the end."""

    def __init__(self):
        self._threads = []
        self._errors = []

    def run(self, work, *args):
        def guarded():
            try:
                work(*args)
            except BaseException as error:  # raised again by join()
                self._errors.append(error)
        self._threads.append(threading.Thread(target=guarded))
        self._threads[-1].start()

    def join(self):
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]


@for_each_backend
class Many(ServerTest):
    users = ("alice", "idle") + tuple("user%d" % number for number in range(10))

    def test_appends_of_many_are_all_there_once(self):
        together = Together()

        def work(number):
            with self.server.session(select="INBOX") as client:
                for count in range(15):
                    answer = client.append(postern.message("a%d-%d" % (number, count)))
                    assert re.match(rb"OK \[APPENDUID \d+ \d+\]", answer), answer

        for number in range(8):
            together.run(work, number)
        together.join()
        subjects = subjects_by_uid(self.session(select="INBOX"))
        ours = [subject for subject in subjects.values() if subject.startswith("a")]
        self.assertEqual(len(ours), 8 * 15)
        self.assertEqual(len(set(ours)), 8 * 15)

    def test_random_histories_end_in_one_picture(self):
        self.session().ok("CREATE Shared")
        together = Together()
        for seed in range(6):
            together.run(self.history, seed)
        together.join()
        pictures = []
        for _ in range(2):
            client = self.session(select="Shared")
            pictures.append((flags_by_uid(client), subjects_by_uid(client)))
        self.assertEqual(pictures[0], pictures[1])
        self.assertEqual(status(self.session(), "Shared", "MESSAGES")["MESSAGES"], len(pictures[0][0]))

    def history(self, seed):
        """Commands at random; the session's count of messages follows EXISTS and EXPUNGE, and must be right."""
        chance = random.Random(seed)
        with self.server.session() as client:
            picture = Picture(client, "Shared")
            for step in range(40):
                picture.act(chance, "h%d-%d" % (seed, step))
            picture.check()

    def test_users_do_not_meet(self):
        together = Together()

        def work(user):
            with self.server.session(user, select="INBOX") as client:
                for count in range(5):
                    assert client.append(postern.message("%s-%d" % (user, count))).startswith(b"OK")
                for subject in subjects_by_uid(client).values():
                    assert subject.startswith(user + "-"), subject

        for user in self.users[2:]:
            together.run(work, user)
        together.join()

    def test_all_idle_sessions_hear_of_a_message(self):
        idle = [self.session("idle", select="INBOX") for _ in range(12)]
        for client in idle:
            client.send(b"i IDLE\r\n")
            while not client.line().startswith(b"+"):
                pass
        self.assertRegex(self.session("idle").append(postern.message("news")), b"^OK")
        for client in idle:
            while b"EXISTS" not in client.line():
                pass
            client.send(b"DONE\r\n")
            self.assertRegex(client.finish(b"i")[1], b"^OK")


class Picture:
    """A session and what it must believe from the untagged responses alone."""

    def __init__(self, client, mailbox):
        self._client = client
        self._mailbox = mailbox
        self._count = 0
        self._take(client.ok("SELECT " + mailbox))

    def _take(self, untagged):
        for line in untagged:
            match = re.match(rb"\* (\d+) (EXISTS|EXPUNGE)\r\n", line)
            if not match:
                continue
            number = int(match.group(1))
            if match.group(2) == b"EXISTS":
                assert number >= self._count, "EXISTS goes down without EXPUNGE"
                self._count = number
            else:
                assert 1 <= number <= self._count, "EXPUNGE of a number that is not there"
                self._count -= 1

    def act(self, chance, subject):
        before = self._count
        number = chance.randint(1, max(1, self._count))
        command = chance.choice((
            None, None, "NOOP", "FETCH %d (UID FLAGS)" % number, r"STORE %d +FLAGS (\Seen)" % number,
            r"STORE %d +FLAGS (\Deleted)" % number, r"STORE %d -FLAGS (\Seen work)" % number, "EXPUNGE", "SEARCH SEEN",
            "COPY %d Shared" % number))
        if command is None:
            tag = b"append-" + subject.encode()
            octets = postern.message(subject)
            self._client.send(b"%s APPEND %s {%d+}\r\n%s\r\n" % (tag, self._mailbox.encode(), len(octets), octets))
            untagged, answer = self._client.finish(tag)
        else:
            untagged, answer = self._client.command(command)
        self._take(untagged)
        # A message that another session has expunged may be refused; nothing else may.
        assert answer.startswith(b"OK") or before == 0 or b"EXPUNGEISSUED" in answer or b"NO" in answer, (command, answer)

    def check(self):
        self._take(self._client.ok("NOOP"))
        # What others do meanwhile is told behind: flags without UID, and EXISTS.
        responses = self._client.ok("FETCH 1:* (UID)" if self._count else "NOOP")
        found = [line for line in responses if b"FETCH (UID" in line]
        assert len(found) == self._count, "%d messages believed, %d there" % (self._count, len(found))
