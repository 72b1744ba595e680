# SPDX-License-Identifier: MIT
"""What is measured: a scenario is a row of SCENARIOS, what runs it a function of KINDS."""

import dataclasses
import json
import os
import subprocess
import time
import typing

import mail
import postern
import servers

BIG, HUGE, STOCK, POP = 10000, 100000, 1000, 200  # messages of the mailboxes below
BIG_USER, HUGE_USER, SHARED_USER, STOCK_USER = 1, 2, 3, 4
POP_USERS, APPEND_USERS, LMTP_USERS, IDLE_USERS = (11, 10), (31, 10), (51, 20), (101, 20)  # first, how many
LOGIN_USERS = (201, 100)


@dataclasses.dataclass
class Scenario:
    name: str
    what: str
    kind: str = "imap"
    load: str = ""  # of imapload
    connections: int = 1
    operations: int = 1
    users: tuple = (BIG_USER, 1)
    messages: int = 1
    tls: bool = False
    prepare: typing.Callable = None  # gives more arguments of the client; not measured
    same: str = ""  # what was answered, of which both must have said as much
    targets: tuple = (None, None)  # ratios of throughput and of CPU per operation
    peers: tuple = ("dovecot",)
    options: tuple = ()
    usual: bool = True  # runs when none is named
    relaxed: bool = False  # it changes mail: measured a second time where both servers relax their syncs
    pairs: tuple = ()  # names of one of ours and of another that are compared


# ---- what must be there ahead of each run ---------------------------------------------------------


def ten_changes(server, scenario, _):
    """Flags of ten messages; what a client knew of the mailbox before: UIDVALIDITY and the modseq."""
    with server.session(scenario.users[0]) as client:
        client.enable("CONDSTORE")
        client.select()
        known = [client.untagged_responses[name][-1].decode() for name in ("UIDVALIDITY", "HIGHESTMODSEQ")]
        # Some are set and some not, from earlier rounds: all of them change.
        for n in range(10):
            client.store(str(scenario.messages * n // 10 + 1), "-FLAGS", "(\\Answered)")
            client.store(str(scenario.messages * n // 10 + 1), "+FLAGS", "(\\Answered)")
    return ["--known", " ".join(known)]


def empty_other(server, scenario, _):
    with server.session(scenario.users[0]) as client:
        client.delete("Other")
        client.create("Other")
    return []


def other_is_there(server, scenario, _):
    with server.session(scenario.users[0]) as client:
        client.create("Other")
    return []


def mail_to_take(server, scenario, operations):
    """From Spare into each INBOX, which is empty: the run before has taken all."""
    for n in range(operations):
        with server.session(scenario.users[0] + n) as client:
            client.select("Spare")
            status, answer = client.copy("1:*", "INBOX")
            assert status == "OK", answer
    return []


# ---- how a kind is run -------------------------------------------------------------------------


FAILED = {"operations": 1, "errors": 1, "seconds": 1, "client_cpu": 0, "p50_us": 0, "p99_us": 0, "fetched": 0, "exists": 0, "hits": 0}


def measured(server, what):
    """What the function returns, with what the server took meanwhile."""
    before = server.group.cpu()
    result = what()
    result["cpu"] = server.group.cpu() - before
    result["pss"] = server.group.pss()
    return result


def client(args, server, program, *options):
    """A load client that says when its sessions are there, and measures from then on."""
    with subprocess.Popen([os.path.join(args.programs, program), *map(str, options)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as one:
        def go():
            one.stdin.write("\n")
            one.stdin.flush()
            return json.loads(one.stdout.readline() or json.dumps(FAILED))
        return measured(server, go) if one.stdout.readline() == "ready\n" else {**FAILED, "cpu": 0, "pss": 0}


def load_options(server, scenario, protocol, operations):
    first, users = scenario.users
    return ["--port", server.ports[protocol + "s" * scenario.tls], "--user", server.user, "--first", first, "--users", users, "--connections",
            scenario.connections, "--operations", operations, "--messages", scenario.messages] + ["--tls"] * scenario.tls


def run_imap(args, server, scenario, operations, extra):
    return client(args, server, "imapload", "--scenario", scenario.load, *load_options(server, scenario, "imap", operations), *scenario.options, *extra)


def run_pop3(args, server, scenario, operations, extra):
    return client(args, server, "popload", *load_options(server, scenario, "pop3", operations), *extra)


def count_mail(server, scenario):
    """Messages in the Maildirs that the scenario delivers to."""
    found = 0
    for n in range(scenario.users[0], sum(scenario.users)):
        for folder in ("new", "cur"):
            path = os.path.join(server.mail_root(), "user%04d" % n, folder)
            found += len(os.listdir(path)) if os.path.isdir(path) else 0
    return found


def run_mail(args, server, scenario, operations, _, into_mailboxes=False):
    """LMTP; SMTP through the queue to the next host; SMTP into mailboxes, where it counts when the last message has arrived."""
    lmtp, relay = scenario.kind == "lmtp", scenario.kind == "relay"
    first, users = scenario.users
    options = ["--connections", scenario.connections, "--messages", operations, "--first", first, "--users", users, "--sender", server.address,
               "--recipient", "someone@example.org" if relay else server.address, *scenario.options]
    if relay:
        options += ["--sink", server.sink]
    if relay and isinstance(server, servers.Postern):
        options += ["--log-in"]  # Postfix trusts the address, which is less work
    port = server.ports["lmtp" if lmtp else "submission" if relay else "smtp"]
    there = count_mail(server, scenario) if into_mailboxes else 0

    def send():
        began = time.monotonic()
        done = subprocess.run([os.path.join(args.programs, "mailload"), "--port", str(port), *["--lmtp"] * lmtp, *map(str, options)],
                              stdout=subprocess.PIPE, text=True, check=False)
        result = json.loads(done.stdout or json.dumps(FAILED))
        if into_mailboxes:
            postern.wait_until(lambda: count_mail(server, scenario) >= there + result["operations"] - result["errors"],
                               "mail in the mailboxes of " + server.name, patience=120)
            result["seconds"] = time.monotonic() - began
        return result
    return measured(server, send)


def run_local(args, server, scenario, operations, extra):
    return run_mail(args, server, scenario, operations, extra, into_mailboxes=True)


class Idling:
    """Sessions that IDLE as long as `with` lasts, of clients that have descriptors enough."""

    def __init__(self, args, server, scenario, sessions):
        clients = -(-sessions // 9000)
        first, users = scenario.users
        users = max(users, sessions // 20)  # twenty of each
        self.results, self._running = [], []
        for n in range(clients):
            options = load_options(server, scenario, "imap", 1)
            for name, value in (("--connections", sessions // clients), ("--users", users // clients), ("--first", first + n * (users // clients))):
                options[options.index(name) + 1] = value
            self._running.append(subprocess.Popen([os.path.join(args.programs, "idleload"), *map(str, options)], stdin=subprocess.PIPE,
                                                  stdout=subprocess.PIPE, text=True))
            self.results.append(json.loads(self._running[-1].stdout.readline()))

    def ask(self, what):
        self._running[0].stdin.write(what + "\n")
        self._running[0].stdin.flush()
        return json.loads(self._running[0].stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in self._running:
            one.stdin.close()
            one.wait()


def settled_pss(server):
    """KiB, once it goes down no more: what a log-in needed is given back some time after it."""
    last = server.group.pss()
    for _ in range(10):
        time.sleep(1)
        now = server.group.pss()
        if now >= last * 0.99:
            return min(now, last)
        last = now
    return last


def run_memory(args, server, scenario, _, extra):
    """Of a server that has just started: one that has done much has memory to spare."""
    sessions = args.sessions or scenario.connections
    fresh = servers.start(server.name, sessions)
    try:
        before = settled_pss(fresh)
        with Idling(args, fresh, scenario, sessions) as idling:
            count = sum(one["sessions"] for one in idling.results)
            return {"operations": count, "errors": sum(one["errors"] for one in idling.results), "client_cpu": 0, "cpu": 0,
                    "seconds": sum(one["seconds"] for one in idling.results), "p50_us": idling.results[0]["p50_us"],
                    "p99_us": idling.results[0]["p99_us"], "pss": (settled_pss(fresh) - before) / count}
    finally:
        fresh.stop()


def run_notice(args, server, scenario, operations, _):
    with Idling(args, server, scenario, args.sessions or scenario.connections) as idling:
        before = server.group.cpu()
        result = idling.ask("notice %d" % operations)
        result["cpu"] = server.group.cpu() - before
        result["pss"] = server.group.pss()
    result["client_cpu"] = 0
    result["operations"] = operations
    return result


KINDS = {"imap": run_imap, "pop3": run_pop3, "lmtp": run_mail, "relay": run_mail, "local": run_local, "memory": run_memory, "notice": run_notice}

# ---- the table -----------------------------------------------------------------------------------

SCENARIOS = [
    Scenario("login", "log in and out", load="login", connections=8, operations=1200, users=LOGIN_USERS, targets=(4, 5)),
    Scenario("login-tls", "the same over TLS, full handshakes", load="login", connections=8, operations=400, users=LOGIN_USERS, tls=True,
             targets=(2, 4)),
    Scenario("append-10-users", "APPEND of 2 to 200 KB, ten users", load="append", connections=10, operations=500, users=APPEND_USERS,
             targets=(3, None), relaxed=True),
    Scenario("append-one-mailbox", "APPEND, ten connections to one mailbox", load="append", connections=10, operations=150,
             users=(SHARED_USER, 1), targets=(6, None), relaxed=True),
    Scenario("select", "log in, SELECT of 100,000 messages, log out", load="select", connections=4, operations=400, users=(HUGE_USER, 1),
             messages=HUGE, same="exists", targets=(5, None)),
    Scenario("metadata", "FETCH 1:* flags, dates, sizes, ENVELOPE, BODYSTRUCTURE of 100,000", load="metadata", users=(HUGE_USER, 1),
             messages=HUGE, same="fetched", targets=(10, None)),
    Scenario("flags", "FETCH 1:* FLAGS of 100,000", load="flags", operations=2, users=(HUGE_USER, 1), messages=HUGE, same="fetched"),
    Scenario("body", "FETCH of one BODY.PEEK[], at random", load="body", connections=2, operations=4000, messages=BIG, same="fetched",
             targets=(4, 4)),
    Scenario("download", "FETCH 1:* BODY.PEEK[] of 10,000", load="download", messages=BIG, same="fetched", targets=(3, None)),
    Scenario("download-tls", "the same over TLS", load="download", messages=BIG, tls=True, same="fetched", targets=(3, None)),
    Scenario("store", "STORE of one flag of one message, at random", load="store", operations=2000, messages=BIG, same="fetched",
             targets=(3, None), relaxed=True),
    Scenario("store-all", "STORE of one flag of 10,000 messages", load="store-all", operations=2, messages=BIG, same="fetched",
             targets=(20, None), relaxed=True),
    Scenario("search-flag", "SEARCH UNSEEN NOT FLAGGED in 10,000", load="search-flag", operations=200, messages=BIG, same="hits",
             targets=(10, None)),
    Scenario("search-header", "SEARCH SUBJECT in 10,000", load="search-header", operations=10, messages=BIG, same="hits", targets=(10, None)),
    Scenario("search-body", "SEARCH BODY in 10,000, no hits, no index", load="search-body", messages=BIG, same="hits", targets=(10, None)),
    Scenario("qresync", "SELECT with QRESYNC, ten changes in 100,000 messages", load="qresync", operations=4, users=(HUGE_USER, 1),
             messages=HUGE, prepare=ten_changes, same="fetched", targets=(100, None)),
    Scenario("copy", "COPY of 1,000", load="copy", operations=4, users=(STOCK_USER, 1), messages=STOCK, prepare=empty_other,
             targets=(4, None), relaxed=True),
    Scenario("move", "MOVE of 1,000", load="move", operations=4, users=(STOCK_USER, 1), messages=STOCK, prepare=other_is_there,
             targets=(4, None), relaxed=True),
    Scenario("mix", "log in, SELECT, FETCH 50, FETCH one, STORE, log out", load="mix", connections=4, operations=300, messages=BIG,
             targets=(4, None), relaxed=True),
    Scenario("pop3", "log in, UIDL, RETR and DELE of 200, QUIT", kind="pop3", connections=4, operations=8, users=POP_USERS, messages=POP,
             prepare=mail_to_take, same="fetched", targets=(4, None), relaxed=True),
    Scenario("lmtp", "LMTP, one recipient", kind="lmtp", connections=10, operations=500, users=LMTP_USERS, targets=(3, None),
             relaxed=True),
    Scenario("lmtp-five", "LMTP, five recipients", kind="lmtp", connections=10, operations=200, users=LMTP_USERS,
             options=("--recipients", 5), targets=(4, None), relaxed=True),
    Scenario("relay", "submission in to the next host, 4 KB", kind="relay", connections=20, operations=1000, users=LMTP_USERS,
             peers=("postfix",), targets=(3, None)),
    Scenario("relay-one-client", "the same, one connection", kind="relay", operations=300, users=LMTP_USERS, peers=("postfix",), usual=False),
    Scenario("relay-large", "the same, 1 MB", kind="relay", connections=10, operations=150, users=LMTP_USERS, peers=("postfix",),
             options=("--size", 1000000), usual=False),
    Scenario("local", "SMTP into mailboxes, 4 KB", kind="local", connections=20, operations=2000, users=LMTP_USERS,
             peers=("postfix", "postfix+dovecot"), usual=False),
    Scenario("local-one-client", "the same, one connection", kind="local", operations=400, users=LMTP_USERS,
             peers=("postfix", "postfix+dovecot"), usual=False),
    Scenario("local-one-mailbox", "the same, to one mailbox", kind="local", connections=20, operations=2000, users=(SHARED_USER, 1),
             peers=("postfix", "postfix+dovecot"), usual=False),
    Scenario("local-large", "the same, 1 MB", kind="local", connections=10, operations=150, users=LMTP_USERS,
             peers=("postfix", "postfix+dovecot"), options=("--size", 1000000), usual=False),
    Scenario("notice", "new mail to IDLE's notice, 400 sessions", kind="notice", connections=400, operations=10, users=IDLE_USERS),
    Scenario("idle", "memory of a session in IDLE", kind="memory", connections=400, users=IDLE_USERS, targets=(12, None)),
    Scenario("idle-tls", "the same over TLS", kind="memory", connections=400, users=IDLE_USERS, tls=True, targets=(24, None)),
]


def fill(args, started, chosen):
    """Puts mail into all servers' mailboxes: what the chosen scenarios need of it there."""
    used = {(one.users[0], name) for one in chosen if one.kind in ("imap", "pop3") for pair in one.pairs for name in pair}
    trees = {
        BIG_USER: ("big", "INBOX", BIG, {}),
        HUGE_USER: ("huge", "INBOX", HUGE, {"sizes": (300, 500, 700)}),
        STOCK_USER: ("stock", "INBOX", STOCK, {}),
        POP_USERS[0]: ("pop", "Spare", POP, {"sizes": (800, 3000, 6000)}),
    }
    for user, (name, mailbox, messages, how) in trees.items():
        who = [one for one in started if (user, one.name) in used]
        if not who:
            continue
        tree = os.path.join(args.top, name)
        mail.make(tree, int(messages * args.mail), mailbox, **how)
        for server in who:
            for number in range(user, user + (POP_USERS[1] if user == POP_USERS[0] else 1)):
                server.fill(number, tree)
            first_look(server, user, mailbox, int(messages * args.mail))


def first_look(server, user, mailbox, messages):
    """Indexes and caches are made now; what is measured is what a client meets each day."""
    with server.session(user) as one:
        found = int(one.select(mailbox)[1][0])
        assert found == messages, "%s has %d messages in %s of user %d" % (server.name, found, mailbox, user)
        one.fetch("1:*", "(FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)")
