#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Sends the same mail through Postern and Debian's Postfix in turn, in one run, and prints ratios.

    tests/bench/mailbench.py --build BUILD-TREE [--backend NAME] [--rounds N] [--scale X] [SCENARIO ...]

relay*: from an SMTP client to the next host, through the queue. Postern's client has logged in; Postfix trusts its address, which is
less work. local*: into the Maildirs of twenty users, by Postfix's own virtual(8), and by Dovecot's LMTP behind Postfix. The clock
runs until the last message has arrived, not until it was answered: Postfix queues what Postern stores at once. No TLS. All of them sync
each message before they answer; Postfix's virtual(8) syncs the file in the Maildir, not its name.
A ratio above 1 means that Postern did more per second, or took less CPU or memory. `client` is the share of the machine that the
load and the next host took. Needs root, and Debian's postfix and dovecot-lmtpd.
"""
import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../functional")]
import bench  # noqa: E402
import ports  # noqa: E402
import postern  # noqa: E402
import postfix  # noqa: E402

USERS = ["user%04d" % number for number in range(1, bench.USERS + 1)]

# name, kind, connections, messages, octets, whether all goes to one mailbox
SCENARIOS = [
    ("relay", "relay", 20, 3000, 4000, False),
    ("relay-one-client", "relay", 1, 400, 4000, False),
    ("relay-large", "relay", 10, 150, 1000000, False),
    ("local", "local", 20, 3000, 4000, False),
    ("local-one-client", "local", 1, 400, 4000, False),
    ("local-one-mailbox", "local", 20, 2000, 4000, True),
    ("local-large", "local", 10, 150, 1000000, False),
]


class Postern(bench.Postern):
    domain = "example.test"

    def __init__(self, backend, top, base):
        super().__init__(backend, top, base)
        with open(self.config, encoding="utf-8") as file:
            text = file.read()
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(text.replace("limits {", "limits {\n\tuser_messages_per_hour = 0\n\tuser_messages_per_day = 0\n"
                                                "\tuser_recipients_per_day = 0"))
        os.kill(self.pid, signal.SIGHUP)
        time.sleep(1)
        self.sink = base + 2525
        self.mail = os.path.join(self.mail_root, self.domain)

    def load_options(self, kind):
        if kind == "relay":
            return ["--port", str(self.ports["submission"]), "--log-in"]
        return ["--port", str(self.ports["smtp"])]


class Postfix(postfix.Postfix):
    domain = postfix.DOMAIN

    def __init__(self, name, sink, settings=""):
        # Else it makes clients wait a second when mail comes in faster than it goes out.
        super().__init__(USERS, settings="smtp_tls_security_level = may\nin_flow_delay = 0\n"
                         "transport_maps = inline:{ { example.org = smtp:[127.0.0.1]:%d } }\n" % sink + settings)
        self.name, self.sink = name, sink
        self.mail = os.path.join(str(self.dir), "mail")
        self.start()

    def load_options(self, _):
        return ["--port", str(self.port)]


LMTP = """
base_dir = {top}/run
state_dir = {top}/run
instance_name = postern-mailbench
log_path = {top}/log
protocols = lmtp
listen = 127.0.0.1
ssl = no
mail_location = maildir:{mail}/%n
mail_fsync = always
first_valid_uid = 1
auth_username_format = %Ln
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={mail}/%n allow_all_users=yes
}}
service lmtp {{
  process_min_avail = 4
  inet_listener lmtp {{
    port = {port}
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
"""


class PostfixDovecot(Postfix):
    """Postfix hands local mail to Dovecot by LMTP. The CPU and memory are those of both."""

    def __init__(self, sink, top):
        port = ports.free()
        super().__init__("postfix+dovecot", sink, "virtual_transport = lmtp:inet:127.0.0.1:%d\n" % port)
        folder = os.path.join(top, "lmtp")
        os.mkdir(folder)
        owner = os.stat(self.mail)
        path = os.path.join(folder, "dovecot.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(LMTP.format(top=folder, mail=self.mail, uid=owner.st_uid, gid=owner.st_gid, port=port))
        subprocess.run(["dovecot", "-c", path], check=True)
        pid_file = os.path.join(folder, "run", "master.pid")
        postern.wait_until(lambda: os.path.exists(pid_file) and os.path.getsize(pid_file), "Dovecot")
        with open(pid_file, encoding="ascii") as file:
            self.dovecot = int(file.read())

    def stop(self):
        os.kill(self.dovecot, signal.SIGTERM)
        super().stop()


def pids_of(server):
    return [server.pid] + ([server.dovecot] if hasattr(server, "dovecot") else [])


def count(server):
    found = 0
    for user in USERS:
        for folder in ("new", "cur"):
            path = os.path.join(server.mail, user, folder)
            found += len(os.listdir(path)) if os.path.isdir(path) else 0
    return found


def load(server, args, row, messages):
    _, kind, connections, _, size, shared = row
    recipient = "someone@example.org" if kind == "relay" else ("user0001@" if shared else "user%04u@") + server.domain
    options = ["--connections", str(connections), "--messages", str(messages), "--size", str(size), "--users", str(len(USERS)),
               "--sender", "user%04u@" + server.domain, "--recipient", recipient]
    if kind == "relay":
        options += ["--sink", str(server.sink)]
    there, cpu = count(server), sum(map(bench.cpu_seconds, pids_of(server)))
    began = time.monotonic()
    done = subprocess.run([args.load, *server.load_options(kind), *options], stdout=subprocess.PIPE, text=True, check=False)
    result = json.loads(done.stdout)
    if kind == "local":
        all_there = there + result["operations"] - result["errors"]
        postern.wait_until(lambda: count(server) >= all_there, "mail in the mailboxes of " + server.name, patience=120)
        result["arrived"] = time.monotonic() - began
    result["cpu"] = sum(map(bench.cpu_seconds, pids_of(server))) - cpu
    result["memory"] = sum(map(bench.pss_kib, pids_of(server)))
    return result


def run_scenario(servers, args, row):
    messages = max(2 * row[2], int(row[3] * args.scale))
    rounds = {server.name: [] for server in servers}
    for server in servers:
        load(server, args, row, max(row[2], messages // 10))
    for number in range(args.rounds):
        for server in servers if number % 2 == 0 else reversed(servers):
            rounds[server.name].append(load(server, args, row, messages))
    return rounds


def describe(name, ours, theirs, peer):
    def ratio(figure):
        return statistics.median(figure(b) / max(figure(a), 1e-9) for a, b in zip(ours, theirs))

    def median(rounds, figure):
        return statistics.median(map(figure, rounds))

    each = [lambda r: r["operations"] / r["arrived"], lambda r: r["cpu"] / r["operations"] * 1000, lambda r: r["memory"] / 1024,
            lambda r: r["p50_us"] / 1000, lambda r: r["p99_us"] / 1000]
    return {
        "scenario": name, "peer": peer,
        "throughput": ratio(lambda r: r["arrived"]), "cpu": ratio(lambda r: r["cpu"]), "memory": ratio(lambda r: r["memory"]),
        "ours": [median(ours, figure) for figure in each], "theirs": [median(theirs, figure) for figure in each],
        "client": max(median(rounds, lambda r: r["client_cpu"] / r["arrived"] / os.cpu_count()) for rounds in (ours, theirs)),
        "errors": sum(r["errors"] for r in ours + theirs),
    }


def print_row(row):
    pairs = " ".join("%7.1f:%-7.1f" % pair for pair in zip(row["ours"], row["theirs"]))
    print("%-18s %-16s %6.2fx %6.2fx %6.2fx  %s %5.0f %% %s" % (
        row["scenario"], row["peer"], row["throughput"], row["cpu"], row["memory"], pairs, 100 * row["client"],
        "%d ERRORS" % row["errors"] if row["errors"] else ""), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(bench.TOP, "build"))
    parser.add_argument("--backend", default="maildir")
    parser.add_argument("--port-base", type=int, default=31000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="times the messages of each scenario")
    parser.add_argument("--json", help="also write the rows to this file")
    parser.add_argument("scenarios", nargs="*")
    args = parser.parse_args()
    args.load = os.path.join(args.build, "tests/bench/mailload")
    if postfix.why_not() or not os.path.exists("/usr/lib/dovecot/lmtp"):
        sys.exit("mailbench.py: needs root, and Debian's postfix and dovecot-lmtpd")
    # All on one disk, with a name that is short enough for sockets.
    top = tempfile.tempdir = tempfile.mkdtemp(prefix="postern-bench-", dir="/var/tmp")
    os.chmod(top, 0o755)
    servers = []
    try:
        servers.append(Postern(args.backend, top, args.port_base))
        servers.append(Postfix("postfix", args.port_base + 2526))
        servers.append(PostfixDovecot(args.port_base + 2527, top))
        print("ratios Postern : peer, above 1 is better; then of each messages/s, CPU ms a message, memory MB, p50 and p99 ms of an answer")
        print("%-18s %-16s %7s %7s %7s  %15s %15s %15s %15s %15s %7s" % ("scenario", "peer", "through", "cpu", "memory", "messages/s",
                                                                       "cpu ms", "MB", "p50 ms", "p99 ms", "client"))
        rows = []
        for row in SCENARIOS:
            if args.scenarios and row[0] not in args.scenarios:
                continue
            chosen = servers[:2] if row[1] == "relay" else servers
            rounds = run_scenario(chosen, args, row)
            for peer in chosen[1:]:
                rows.append(describe(row[0], rounds[servers[0].name], rounds[peer.name], peer.name))
                print_row(rows[-1])
        if args.json:
            with open(args.json, "w", encoding="utf-8") as file:
                json.dump(rows, file, indent=1)
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(top, ignore_errors=True)


if __name__ == "__main__":
    main()
