#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Does the same work with Postern and with other servers in turn, in one run, and prints how they compare.

    tests/bench/bench.py --programs BUILD/tests/bench [options] [SCENARIO ...]        (make bench SCENARIOS="login metadata" BENCH="--rounds 3")

Each round runs a scenario on one server after the other, the next round in the other order, so that a slow moment of the machine hurts
all; ratios are medians of the rounds' pairs, and above 1 where Postern did more in a second, or took less processor time or memory for
it. A missing server is left out with the reason. Root is needed: the others start as root only. Postern is the installation that
POSTERN_PREFIX names, or else is built as quickstart builds it: -O2, from these sources.
"""
import argparse
import dataclasses
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../functional")]
import report  # noqa: E402
import scenarios  # noqa: E402
import servers  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", required=True, help="where the load clients were built")
    parser.add_argument("--backend", action="append", help="of Postern's: maildir (default), lmdb, mbox; may be given several times")
    parser.add_argument("--peer", action="append", help="in place of dovecot: dovecot-relaxed, dovecot-sdbox, ...; may be given several times")
    parser.add_argument("--strict", action="store_true", help="leave out what is measured a second time with relaxed syncs")
    parser.add_argument("--alone", action="store_true", help="Postern without others: no ratios, but whether all runs without an error")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="times the operations of each scenario")
    parser.add_argument("--mail", type=float, default=1.0, help="times the messages of the mailboxes")
    parser.add_argument("--sessions", type=int, help="how many idle, instead of what the scenarios say")
    parser.add_argument("--output", help="folder for results.json, table.md, plot.svg and plot.txt")
    parser.add_argument("--list", action="store_true", help="what scenarios there are")
    parser.add_argument("scenarios", nargs="*")
    return parser.parse_args()


def installation():
    """Where Postern is; built like quickstart's if nobody says."""
    if not os.environ.get("POSTERN_PREFIX"):
        top = os.path.dirname(os.path.dirname(HERE))
        done = subprocess.run(["bash", "-c", ". \"$PS_SOURCE\"/contrib/setup.sh && choose_tree >&2 && build_tree release >&2 && "
                               "printf %s \"$PS_BUILDS\"/release/prefix"], env={**os.environ, "PS_SOURCE": top}, stdout=subprocess.PIPE,
                              text=True, check=True)
        os.environ["POSTERN_PREFIX"] = done.stdout


def choose(args):
    unknown = set(args.scenarios) - {one.name for one in scenarios.SCENARIOS}
    if unknown:
        sys.exit("bench: there is no scenario %s; --list tells which there are" % ", ".join(sorted(unknown)))
    rows = [one for one in scenarios.SCENARIOS if (one.name in args.scenarios if args.scenarios else one.usual)]
    return [dataclasses.replace(one, messages=max(1, int(one.messages * args.mail)), pairs=pairs_of(args, one)) for one in rows]


def pairs_of(args, scenario):
    """Each of ours beside each of the others; and, of mail that changes, both relaxed. One that stands alone is beside itself."""
    ours = args.backend or ["maildir"]
    if args.alone:
        return tuple((one, one) for one in ours)
    peers = [other for one in scenario.peers for other in (args.peer if args.peer and one == "dovecot" else [one])]
    pairs = [(one, peer) for one in ours for peer in peers]
    if scenario.relaxed and not args.peer and not args.strict:
        pairs += [(one + servers.RELAXED, "dovecot" + servers.RELAXED) for one in ours]
    return tuple(pairs)


def start(chosen, started):
    for name in dict.fromkeys(name for one in chosen for pair in sorted(one.pairs) for name in pair):
        reason = servers.why_not(name)
        if reason:
            print("left out: %s: %s" % (name, reason), flush=True)
        else:
            started[name] = servers.start(name)


def run(args, scenario, taking_part):
    """The rounds of each server, by name."""
    kind = scenarios.KINDS[scenario.kind]
    # Those that set and take away in turn do both equally often.
    operations = max(2 * scenario.connections, int(scenario.operations * args.scale) // 2 * 2)
    if scenario.kind == "pop3":
        operations = min(operations, scenario.users[1])  # each takes all of its user's mail
    once = scenario.kind in ("memory", "notice")
    if once:
        operations = scenario.operations

    def one_run(server, count):
        extra = scenario.prepare(server, scenario, count) if scenario.prepare else []
        return kind(args, server, scenario, count, extra)

    rounds = {server.name: [] for server in taking_part}
    for server in taking_part if not once else ():
        one_run(server, max(2 * scenario.connections, operations // 20 * 2))
    for number in range(1 if once else args.rounds):
        for server in taking_part if number % 2 == 0 else reversed(taking_part):
            rounds[server.name].append(one_run(server, operations))
    return rounds


def machine():
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as f:
        model = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return "%d cores of %s, %.0f GB, Linux %s; load %.1f at the start" % (
        os.cpu_count(), model, memory, platform.release(), os.getloadavg()[0])


def measure(args, chosen, started):
    rows = []
    print(report.line(report.HEAD), flush=True)
    for scenario in chosen:
        # What has nobody to stand beside is run all the same.
        pairs = [(ours, peer if peer in started else ours) for ours, peer in scenario.pairs]
        rounds = run(args, scenario, [started[name] for name in dict.fromkeys(name for pair in pairs for name in pair)])
        for ours, peer in pairs:
            rows.append(report.describe(scenario, ours, peer, rounds[ours], rounds[peer]))
            print(report.line(report.cells(rows[-1])), flush=True)
    return rows


def write(args, rows, title):
    os.makedirs(args.output, exist_ok=True)
    for name, text in (("results.json", json.dumps(rows, indent=1)), ("table.md", report.markdown(rows, title)),
                       ("plot.svg", report.svg(rows, title)), ("plot.txt", report.text_plot(rows))):
        with open(os.path.join(args.output, name), "w", encoding="utf-8") as f:
            f.write(text)
    print("written: %s/table.md, plot.svg, plot.txt, results.json" % args.output)


def main():
    args = arguments()
    if args.list:
        for one in scenarios.SCENARIOS:
            print("%-20s %s%s" % (one.name, one.what, "" if one.usual else "; when named"))
        return 0
    chosen = choose(args)
    installation()
    # All on one disk, with a name that is short enough for sockets.
    args.top = tempfile.tempdir = tempfile.mkdtemp(prefix="pb-", dir="/var/tmp")
    os.chmod(args.top, 0o755)
    if not args.alone:  # then it is a test, which leaves the machine as it is
        servers.raise_limits()
    started = {}
    try:
        began = machine()
        start(chosen, started)
        scenarios.fill(args, list(started.values()), chosen)
        title = "%s. %s. %s." % (datetime.date.today(), "; ".join(dict.fromkeys(one.version() for one in started.values())), began)
        print(title)
        rows = measure(args, chosen, started)
        print("\n" + report.text_plot(rows))
        if args.output:
            write(args, rows, title)
    finally:
        for server in started.values():
            server.stop()
        shutil.rmtree(args.top, ignore_errors=True)
    return 1 if any(row["errors"] or row["different"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
