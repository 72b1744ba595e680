#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the same work against Postern and Debian's Dovecot in turn, in one run, and prints ratios.

    tests/bench/bench.py --build BUILD-TREE [--backend NAME ...] [--rounds N] [--messages N] [SCENARIO ...]

Both serve on loopback, with the same users and the same mail, and sync what they write (Dovecot: mail_fsync=always; it does
so with messages and its logs, not with the new names of files whose flags change). Dovecot serves Maildir, Postern each backend named, in a server for each. A ratio above 1 means that Postern did more per second, or took less CPU or memory. Absolute
times mean little on a shared machine; the two take turns, so that a slow moment hurts both.

Needs: dovecot-imapd, and a user other than root for both servers' mail is not needed: each is started as itself.
"""
import argparse
import imaplib
import json
import os
import pwd
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
USERS = 20

# name, what runs, connections, operations, "big" where it needs the filled mailbox, TLS
SCENARIOS = [
    ("login", "login", 8, 1600, False, False),
    ("login-tls", "login", 8, 800, False, True),
    ("append-10-users", "append", 10, 1500, False, False),
    ("append-one-mailbox", "append", 10, 500, "shared", False),
    ("select-new-session", "select", 4, 400, "big", False),
    ("qresync", "qresync", 1, 200, "big", False),
    ("reselect", "reselect", 1, 400, "big", False),
    ("metadata", "metadata", 1, 10, "big", False),
    ("flags", "flags", 1, 20, "big", False),
    ("body", "body", 2, 4000, "big", False),
    ("download", "download", 1, 3, "big", False),
    ("download-tls", "download", 1, 3, "big", True),
    ("store", "store", 1, 2000, "big", False),
    ("store-all", "store-all", 1, 4, "big", False),
    ("search-flag", "search-flag", 1, 200, "big", False),
    ("search-header", "search-header", 1, 20, "big", False),
    ("search-body", "search-body", 1, 2, "big", False),
    ("mix", "mix", 4, 400, "big", False),
]


def family(pid):
    """The process and all below it."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as f:
                    fields = f.read().rsplit(")", 1)[1].split()
                children.setdefault(int(fields[1]), []).append(int(entry))
            except OSError:
                pass
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        todo += children.get(one, [])
    return found


def cpu_seconds(pid):
    """User and system time of the tree, and of its ended and waited-for children."""
    ticks = 0
    for one in family(pid):
        try:
            with open(f"/proc/{one}/stat") as f:
                fields = f.read().rsplit(")", 1)[1].split()
            ticks += sum(int(fields[i]) for i in (11, 12, 13, 14))
        except OSError:
            pass
    return ticks / os.sysconf("SC_CLK_TCK")


def pss_kib(pid):
    total = 0
    for one in family(pid):
        try:
            with open(f"/proc/{one}/smaps_rollup") as f:
                total += sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
        except OSError:
            pass
    return total


class Postern:

    def __init__(self, backend, top, base):
        self.name = self.backend = backend
        self.dir = os.path.join(top, "postern-" + backend)
        subprocess.run([os.path.join(TOP, "quickstart"), "--dir", self.dir, "--port-base", str(base), "--users",
                        str(USERS), "--backend", backend, "--detach"], check=True, stdout=subprocess.DEVNULL)
        with open(os.path.join(self.dir, "ready.json")) as f:
            ready = json.load(f)
        self.pid, self.ports = ready["pid"], ready["ports"]
        self.mail_root, self.config, self.prefix = ready["mail_root"], ready["config"], ready["prefix"]
        with open(ready["config"], "a") as f:
            f.write("\nplaintext_without_tls = yes\n")
        os.kill(self.pid, signal.SIGHUP)
        time.sleep(1)

    def take(self, user, maildir):
        if self.backend == "maildir":
            copy(maildir, os.path.join(self.mail_root, "example.test", user))
        else:
            subprocess.run([os.path.join(self.prefix, "bin/postern"), "--config", self.config, "import",
                            user + "@example.test", maildir], check=True, stdout=subprocess.DEVNULL)

    def stop(self):
        subprocess.run([os.path.join(TOP, "quickstart"), "--stop", "--dir", self.dir], check=True,
                       stdout=subprocess.DEVNULL)


class Dovecot:
    name = "dovecot"
    CONFIG = """
base_dir = {top}/run
state_dir = {top}/run
instance_name = postern-bench
log_path = {top}/log
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <{cert}
ssl_key = <{key}
disable_plaintext_auth = no
auth_failure_delay = 0
mail_location = maildir:{top}/mail/%n
mail_fsync = always
mail_max_userip_connections = 0
first_valid_uid = 1
default_client_limit = 4096
default_process_limit = 2048
default_vsz_limit = 0
passdb {{
  driver = passwd-file
  args = scheme=CRYPT username_format=%u {passwd}
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={top}/mail/%n
}}
service imap-login {{
  service_count = 0
  client_limit = 4096
  process_min_avail = 2
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service imap {{
  service_count = 1000
  process_min_avail = 4
  process_limit = 2048
}}
service auth {{
  client_limit = 8192
}}
service anvil {{
  client_limit = 8192
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
namespace inbox {{
  inbox = yes
}}
"""

    def __init__(self, top, base, cert, key, passwd):
        self.dir = os.path.join(top, "dovecot")
        os.makedirs(os.path.join(self.dir, "mail"))
        owner = pwd.getpwnam("postern")
        os.chown(os.path.join(self.dir, "mail"), owner.pw_uid, owner.pw_gid)
        self.ports = {"imap": base + 143, "imaps": base + 993}
        self.config = os.path.join(self.dir, "dovecot.conf")
        with open(self.config, "w") as f:
            f.write(self.CONFIG.format(top=self.dir, cert=cert, key=key, user=owner.pw_uid, group=owner.pw_gid,
                                       passwd=self.own_passwd(passwd),
                                       imap=self.ports["imap"], imaps=self.ports["imaps"]))
        subprocess.run(["dovecot", "-c", self.config], check=True)
        pid_file = os.path.join(self.dir, "run", "master.pid")
        for _ in range(100):
            if os.path.exists(pid_file) and os.path.getsize(pid_file):
                break
            time.sleep(0.1)
        with open(pid_file) as f:
            self.pid = int(f.read())

    def own_passwd(self, passwd):
        """The same hashes, so that a log-in is the same work for both."""
        own = os.path.join(self.dir, "passwd")
        with open(passwd) as source, open(own, "w") as f:
            f.writelines(":".join(line.split(":")[:2]) + "::::::\n" for line in source if line[0] not in "#\n")
        return own

    def take(self, user, maildir):
        copy(maildir, os.path.join(self.dir, "mail", user))

    def stop(self):
        os.kill(self.pid, signal.SIGTERM)


def copy(maildir, to):
    owner = pwd.getpwnam("postern")
    shutil.copytree(maildir, to, dirs_exist_ok=True)
    for where, _, files in os.walk(to):
        os.chown(where, owner.pw_uid, owner.pw_gid)
        for one in files:
            os.chown(os.path.join(where, one), owner.pw_uid, owner.pw_gid)


def fill(maildir, messages, seed=1):
    """The same mail for both: plain, alternative and attachment messages of real-life sizes."""
    rng = random.Random(seed)
    words = [f"w{rng.randrange(100000)}" for _ in range(2000)] + ["lunch", "invoice", "meeting"]
    for sub in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(maildir, sub), exist_ok=True)
    for n in range(messages):
        size = rng.choice((800, 1500, 3000, 6000, 12000, 40000))
        body = []
        while sum(map(len, body)) < size:
            body.append(" ".join(rng.choice(words) for _ in range(10)))
        text = (f"From: Person {n % 97} <p{n % 97}@example.test>\nTo: user@example.test\nCc: list@example.test\n"
                f"Subject: {' '.join(rng.choice(words) for _ in range(5))}\nMessage-ID: <{n}.{seed}@example.test>\n"
                f"Date: Mon, 7 Feb 2022 21:52:{n % 60:02} +0000\nReferences: <{n - 1}.{seed}@example.test>\n"
                f"X-Filler: {'x' * 600}\nMIME-Version: 1.0\n")
        if n % 3:
            text += ("Content-Type: multipart/alternative; boundary=\"b1\"\n\n--b1\nContent-Type: text/plain; charset=utf-8\n\n"
                     + "\n".join(body) + "\n--b1\nContent-Type: text/html; charset=utf-8\n\n<p>" + body[0] + "</p>\n--b1--\n")
        else:
            text += "Content-Type: text/plain; charset=utf-8\n\n" + "\n".join(body) + "\n"
        flags = "S" if n % 4 else ""
        path = os.path.join(maildir, "cur", f"{1600000000 + n}.M{n}P1.bench,S={len(text)}:2,{flags}")
        with open(path, "w") as f:
            f.write(text)
        os.utime(path, (1600000000 + n, 1600000000 + n))


def load(server, args, scenario, users, tls, connections, operations, extra=()):
    port = server.ports["imaps" if tls else "imap"]
    before = cpu_seconds(server.pid)
    out = subprocess.run([args.load, "--scenario", scenario, "--port", str(port), "--connections", str(connections),
                          "--operations", str(operations), "--messages", str(args.messages), *users,
                          *(["--tls"] if tls else []), *extra], stdout=subprocess.PIPE, text=True)
    result = json.loads(out.stdout)
    result["cpu"] = cpu_seconds(server.pid) - before
    return result


def change_ten(server, messages):
    """Flags of ten messages; gives what a client knew of the mailbox before: UIDVALIDITY and the modseq."""
    c = imaplib.IMAP4("127.0.0.1", server.ports["imap"])
    c.login("user0001@example.test", "pass")
    c.enable("CONDSTORE")
    c.select()
    known = [c.untagged_responses[name][-1].decode() for name in ("UIDVALIDITY", "HIGHESTMODSEQ")]
    for n in range(10):
        c.store(str(messages * n // 10 + 1), "+FLAGS", "(\\Answered)")
    c.logout()
    return " ".join(known)


def run_scenario(servers, args, row):
    name, scenario, connections, operations, data, tls = row
    users = {"big": ["--user", "user0001@example.test"], "shared": ["--user", "user0002@example.test"],
             False: ["--users", str(USERS - 2), "--user", "user%04u@example.test"]}[data]
    # Those that set and take away in turn do both equally often, so that each changes something.
    operations = max(2 * connections, int(operations * args.scale) // 2 * 2)
    rounds = {s.name: [] for s in servers}
    extra = {s.name: ["--known", change_ten(s, args.messages)] if scenario == "qresync" else [] for s in servers}
    for s in servers:
        load(s, args, scenario, users, tls, connections, max(2 * connections, operations // 20 * 2),
             extra[s.name])
    for n in range(args.rounds):
        for s in servers if n % 2 == 0 else reversed(servers):
            rounds[s.name].append(load(s, args, scenario, users, tls, connections, operations, extra[s.name]))
    return rounds


def median(rounds, fn):
    return statistics.median(fn(r) for r in rounds)


def describe(name, rounds, dovecot, postern):
    a, b = rounds[postern], rounds[dovecot]
    pairs = list(zip(a, b))
    row = {
        "scenario": name,
        "backend": postern,
        "throughput": statistics.median((x["operations"] / x["seconds"]) / (y["operations"] / y["seconds"]) for x, y in pairs),
        "cpu": statistics.median((y["cpu"] / y["operations"]) / max(x["cpu"] / x["operations"], 1e-9) for x, y in pairs),
        "ops_postern": median(a, lambda r: r["operations"] / r["seconds"]),
        "ops_dovecot": median(b, lambda r: r["operations"] / r["seconds"]),
        "p50": median(a, lambda r: r["p50_us"]), "p50_dovecot": median(b, lambda r: r["p50_us"]),
        "p99": median(a, lambda r: r["p99_us"]), "p99_dovecot": median(b, lambda r: r["p99_us"]),
        "client_share": median(a, lambda r: r["client_cpu"] / r["seconds"]),
        "errors": sum(r["errors"] for r in a + b),
        "same_work": len({r["untagged"] for r in a + b}) == 1 or scenario_varies(name),
    }
    return row


def scenario_varies(name):
    """Untagged lines differ where servers tell different things of the same work (RECENT, FLAGS, capabilities)."""
    return not name.startswith(("metadata", "flags", "body", "download"))


def print_row(row):
    print(f"{row['scenario']:20} {row['backend']:8} {row['throughput']:8.2f}x {row['cpu']:8.2f}x "
          f"{row['ops_postern']:10.1f} {row['ops_dovecot']:10.1f} "
          f"{row['p50'] / 1000:9.2f} {row['p50_dovecot'] / 1000:9.2f} {row['p99'] / 1000:9.2f} {row['p99_dovecot'] / 1000:9.2f} "
          f"{row['client_share']:7.2f}  {'' if row['same_work'] else 'DIFFERENT WORK '}"
          f"{str(row['errors']) + ' ERRORS' if row['errors'] else ''}", flush=True)


def idle_memory(servers, args):
    """PSS of all of a server's processes, per session that idles over TLS."""
    count = args.idle
    for s in servers:
        before = pss_kib(s.pid)
        client = subprocess.Popen([args.load, "--scenario", "idle", "--port", str(s.ports["imaps"]), "--tls",
                                   "--connections", str(count), "--operations", str(count), "--users", str(USERS - 2),
                                   "--hold", "8"], stdout=subprocess.PIPE, text=True)
        client.stdout.readline()
        time.sleep(2)
        print(f"idle-tls memory      {s.name}: {(pss_kib(s.pid) - before) / count:.1f} KiB a session ({count} sessions)")
        client.wait()
        time.sleep(1)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default=os.path.join(TOP, "build"))
    p.add_argument("--backend", action="append", help="of Postern's (default: maildir); may be given several times")
    p.add_argument("--port-base", type=int, default=27000)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--messages", type=int, default=10000)
    p.add_argument("--scale", type=float, default=1.0, help="times the operations of each scenario")
    p.add_argument("--idle", type=int, default=200)
    p.add_argument("--json", help="also write the rows to this file")
    p.add_argument("scenarios", nargs="*")
    args = p.parse_args()
    args.load = os.path.join(args.build, "tests/bench/imapload")
    if os.getuid() != 0 or not shutil.which("dovecot"):
        sys.exit("bench.py: needs root and Debian's dovecot-imapd, to start both servers under users of their own")
    top = tempfile.mkdtemp(prefix="postern-bench-", dir="/var/tmp")
    os.chmod(top, 0o755)
    servers = []
    try:
        for n, backend in enumerate(args.backend or ["maildir"]):
            servers.append(Postern(backend, top, args.port_base + 2000 * n))
        postern = servers[0]
        servers.append(Dovecot(top, args.port_base + 1000, f"{postern.dir}/tls/cert.pem", f"{postern.dir}/tls/key.pem",
                               f"{postern.dir}/users"))
        fill(os.path.join(top, "fill"), args.messages)
        for s in servers:
            s.take("user0001", os.path.join(top, "fill"))
            load(s, args, "metadata", ["--user", "user0001@example.test"], False, 1, 1)
        print("ratio Postern : Dovecot, above 1 is better; ops/s, p50 and p99 in ms of each; client: its CPU over the time")
        print(f"{'scenario':20} {'backend':8} {'through':>9} {'cpu/op':>9} {'ops':>10} {'dovecot':>10} {'p50':>9} {'dovecot':>9} "
              f"{'p99':>9} {'dovecot':>9} {'client':>7}")
        rows = []
        for row in SCENARIOS:
            if not args.scenarios or row[0] in args.scenarios:
                rounds = run_scenario(servers, args, row)
                for s in servers[:-1]:
                    rows.append(describe(row[0], rounds, "dovecot", s.name))
                    print_row(rows[-1])
        if not args.scenarios or "idle" in args.scenarios:
            idle_memory(servers, args)
        if args.json:
            with open(args.json, "w") as f:
                json.dump(rows, f, indent=1)
    finally:
        for s in servers:
            s.stop()
        shutil.rmtree(top, ignore_errors=True)


if __name__ == "__main__":
    main()
