# SPDX-License-Identifier: MIT
"""QRESYNC (RFC 7162): from any remembered state, what the server tells gives the present one."""

import random
import re

import postern
from server_test import ServerTest, flags_by_uid, for_each_backend

FIRST = 20  # messages to begin with
FLAGS = (r"\Seen", r"\Answered", r"\Flagged", "work", "home")


def uids_of(text):
    """{2, 3, 4, 6} of b"2:4,6"."""
    found = set()
    for part in text.decode().split(","):
        first, _, last = part.partition(":")
        found.update(range(int(first), int(last or first) + 1))
    return found


class Memory:
    """What a client remembers of a mailbox, kept from untagged responses alone."""

    def __init__(self):
        self.flags = {}  # of a UID
        self.modseq = 0

    def take(self, untagged):
        for line in untagged:
            vanished = re.match(rb"\* VANISHED (?:\(EARLIER\) )?([0-9:,]+)\r\n", line)
            fetch = re.match(rb"\* \d+ FETCH \(UID (\d+) FLAGS \(([^)]*)\) MODSEQ \((\d+)\)\)", line)
            assert b" EXPUNGE\r\n" not in line, line
            if vanished:
                for uid in uids_of(vanished.group(1)):
                    self.flags.pop(uid, None)
            elif fetch:
                self.flags[int(fetch.group(1))] = set(fetch.group(2).decode().split()) - {"\\Recent"}

    def copy(self):
        copy = Memory()
        copy.flags, copy.modseq = dict(self.flags), self.modseq
        return copy


def open_mailbox(client, name, arguments=""):
    """Untagged responses of SELECT, UIDVALIDITY and HIGHESTMODSEQ."""
    untagged = client.ok("SELECT %s%s" % (name, arguments))
    text = b"".join(untagged)
    return (untagged, int(re.search(rb"\[UIDVALIDITY (\d+)\]", text).group(1)),
            int(re.search(rb"\[HIGHESTMODSEQ (\d+)\]", text).group(1)))


@for_each_backend
class Resync(ServerTest):
    def change(self, chance, client, step):
        uid = chance.randint(1, FIRST + step // 4)
        command = chance.choice((
            None, None, "UID STORE %d +FLAGS (%s)" % (uid, chance.choice(FLAGS)),
            "UID STORE %d:%d -FLAGS.SILENT (%s)" % (uid, uid + 3, chance.choice(FLAGS)),
            r"UID STORE %d +FLAGS.SILENT (\Deleted)" % uid, "EXPUNGE", "UID COPY %d Box" % uid, "UID MOVE %d Other" % uid))
        if command is None:
            client.append(postern.message("s%d" % step), "Box", chance.choice(FLAGS))
        else:
            client.ok(command)

    def remember(self):
        """The state of a client that has just looked at everything."""
        memory = Memory()
        with self.server.session() as client:
            client.ok("ENABLE QRESYNC")
            memory.modseq = open_mailbox(client, "Box")[2]
            memory.take(client.ok("UID FETCH 1:* (UID FLAGS MODSEQ)"))
        return memory

    def check(self, memory, present, arguments):
        with self.server.session() as client:
            client.ok("ENABLE QRESYNC")
            known = memory.copy()
            known.take(open_mailbox(client, "Box", arguments)[0])
            self.assertEqual(known.flags, present, arguments)

    def test_any_remembered_state_comes_to_the_present(self):
        chance = random.Random(7162)
        workers = [self.session() for _ in range(2)]
        workers[0].ok("CREATE Box")
        workers[0].ok("CREATE Other")
        for number in range(FIRST):
            workers[0].append(postern.message("f%d" % number), "Box")
        for worker in workers:
            validity = open_mailbox(worker, "Box")[1]
        memories = [self.remember()]
        for step in range(120):
            self.change(chance, chance.choice(workers), step)
            if step % 15 == 0:
                memories.append(self.remember())
        present = flags_by_uid(self.session(select="Box"))
        self.assertTrue(all(set(memory.flags) - set(present) for memory in memories[:-1]), "nothing vanished")
        for memory in memories:
            self.check(memory, present, " (QRESYNC (%d %d))" % (validity, memory.modseq))
        # A client that says which UIDs it knows is told of these, and of none else.
        for memory in memories:
            if not memory.flags:
                continue
            top = max(memory.flags)
            known = {uid: flags for uid, flags in present.items() if uid <= top}
            self.check(memory, known, " (QRESYNC (%d %d 1:%d))" % (validity, memory.modseq, top))
        # From before all history: by comparing what is known with what is there.
        self.check(memories[0], present, " (QRESYNC (%d 0))" % validity)

    def test_a_session_that_listens_knows_all_along(self):
        chance = random.Random(5162)
        listener, worker = self.session(user="bob"), self.session(user="bob")
        listener.ok("CREATE Box")
        listener.ok("CREATE Other")
        listener.ok("ENABLE QRESYNC")
        for number in range(FIRST):
            worker.append(postern.message("f%d" % number), "Box")
        open_mailbox(listener, "Box")
        open_mailbox(worker, "Box")
        memory = Memory()
        memory.take(listener.ok("UID FETCH 1:* (UID FLAGS MODSEQ)"))
        for step in range(80):
            self.change(chance, worker, step)
            if chance.random() < 0.3:
                memory.take(listener.ok(chance.choice(("NOOP", "UID FETCH 1 (UID)", "CHECK"))))
        memory.take(listener.ok("NOOP"))
        # Flags of what came are asked for; all else was told.
        present = flags_by_uid(worker)
        self.assertLessEqual(set(memory.flags), set(present))
        for uid, flags in memory.flags.items():
            self.assertEqual(flags, present[uid], uid)
