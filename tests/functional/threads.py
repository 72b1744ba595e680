# SPDX-License-Identifier: MIT
"""RFC 5256's REFERENCES, and REFS, written down sentence by sentence, to hold a server's answers against; and mailboxes by
chance, full of what makes threads go wrong."""

import email.utils
import re


class Node:
    """A message or a dummy."""

    def __init__(self, message=None):
        self.message = message
        self.parent = None
        self.children = []

    def adopt(self, child):
        if child.parent:
            child.parent.children.remove(child)
        child.parent = self
        self.children.append(child)

    def leave(self):
        if self.parent:
            self.parent.children.remove(self)
        self.parent = None

    def is_below(self, other):
        node = self
        while node is not None and node is not other:
            node = node.parent
        return node is other

    def key(self):
        """Sent date, then number; a dummy's first child speaks for it."""
        if self.message:
            return self.message.sent, self.message.number
        return min(child.key() for child in self.children)

    def speaker(self):
        return self.message or min(self.children, key=Node.key).message

    def arrivals(self):
        own = [self.message.arrival] if self.message else []
        return own + [time for child in self.children for time in child.arrivals()]


class Message:
    """Ids are bare; references may be to nobody."""

    def __init__(self, number, ident, references, subject, is_reply, sent, arrival):
        self.number, self.ident, self.references = number, ident, references
        self.subject, self.is_reply = subject, is_reply
        self.base = re.sub(r"^\[list\] ", "", subject).lower()
        self.sent, self.arrival = sent, arrival

    def octets(self):
        lines = ["From: alice@example.test", "Date: " + email.utils.formatdate(self.sent)]
        if self.ident:
            lines.append("Message-ID: <%s>" % self.ident)
        if len(self.references) == 1:
            lines.append("In-Reply-To: <%s>" % self.references[0])
        elif self.references:
            lines.append("References: " + "\r\n ".join("<%s>" % ident for ident in self.references))
        lines.append("Subject: " + ("Re: " if self.is_reply else "") + self.subject)
        return ("\r\n".join(lines) + "\r\n\r\nx\r\n").encode()


def link(messages):
    """Step 1."""
    table, nodes = {}, []

    def lookup(ident):
        return table.setdefault(ident, Node())

    for message in messages:
        node = lookup(message.ident) if message.ident else Node()
        if node.message:
            node = Node()
        node.message = message
        nodes.append(node)
        chain = [lookup(ident) for ident in message.references]
        for above, below in zip(chain, chain[1:]):
            if not below.parent and not above.is_below(below):
                above.adopt(below)
        node.leave()
        if chain and not chain[-1].is_below(node):
            chain[-1].adopt(node)
    return nodes + [node for node in table.values() if not node.message]


def prune(node, is_top):
    """Step 3: what stands in the place of a node."""
    kept = [below for child in node.children for below in prune(child, False)]
    node.children = []
    if not node.message and (not is_top or len(kept) < 2):
        return kept
    for child in kept:
        child.parent = node
    node.children = kept
    return [node]


def merge_subjects(tops):
    """Step 5."""
    table = {}
    for node in tops:
        subject, old = node.speaker().base, table.get(node.speaker().base)
        if subject and (old is None or (old.message and (not node.message or (old.speaker().is_reply and
                                                                              not node.speaker().is_reply)))):
            table[subject] = node
    result = list(tops)
    for node in tops:
        subject = node.speaker().base
        old = table.get(subject)
        if not subject or old is node:
            continue
        result.remove(node)
        if not old.message and not node.message:
            for child in list(node.children):
                old.adopt(child)
        elif not old.message or (node.speaker().is_reply and not old.speaker().is_reply):
            old.adopt(node)
        else:
            dummy = Node()
            result[result.index(old)] = dummy
            dummy.adopt(old)
            dummy.adopt(node)
            table[subject] = dummy
    return result


def shown(node):
    children = sorted(node.children, key=Node.key)
    number = str(node.message.number) if node.message else ""
    if len(children) == 1:
        return number + " " + shown(children[0])
    return (number + " " if number and children else number) + "".join("(%s)" % shown(child) for child in children)


def answer(messages, algorithm):
    """What stands behind "* THREAD "."""
    tops = []
    for node in link(messages):
        if node.parent is None:
            tops += [(node, kept) for kept in prune(node, True)]
    tops = sorted((kept for _, kept in tops), key=Node.key)
    for node in tops:
        node.parent = None
    if algorithm == "REFERENCES":
        tops = sorted(merge_subjects(tops), key=Node.key)
    else:
        tops.sort(key=lambda node: max(node.arrivals()))
    return "".join("(%s)" % shown(node) for node in tops)


def by_chance(chance, count, names):
    """Messages whose ids and references are drawn from few names, so that there are loops, doubles and gaps."""
    messages = []
    for number in range(1, count + 1):
        ident = chance.choice(names + [None])
        references = chance.choices(names, k=chance.choice((0, 0, 1, 1, 2, 3, 6)))
        sent = 1700000000 + chance.randrange(count)
        messages.append(Message(number, ident, references, chance.choice(("apple", "Banana", "", "[list] x")),
                                chance.random() < 0.4, sent, 1600000000 + chance.randrange(count)))
    return messages
