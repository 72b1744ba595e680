#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What operations cost when there is ten times as much of it: messages, sessions, folders, what is queued.

    tests/bench/growth.py --programs BUILD/tests/bench [options] [FAMILY ...]        (make bench-growth GROWTH="messages --largest 1000000")

Postern alone. The cost is processor time of all its processes, the least of some rounds, so other work on the machine matters little; where it
says ms it is time that passed. An exponent of 0 means that the cost is the same at any size, 1 that it grows with it. One that is larger than
what the operation must do is marked: a surprise.
"""
import argparse
import contextlib
import datetime
import html
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../functional")]
import bench  # noqa: E402
import mail  # noqa: E402
import scenarios  # noqa: E402
import servers  # noqa: E402

CONSTANT, LINEAR = 0, 1
SURPRISE = 0.15  # so much more than that in the exponent


class Curve:
    """What one operation costs at each size."""

    def __init__(self, family, name, expected, unit="CPU µs"):
        self.family, self.name, self.expected, self.unit, self.points = family, name, expected, unit, []

    def add(self, size, cost):
        self.points.append((size, max(cost, 0.01)))

    def exponent(self):
        (a, least), (b, most) = self.points[0], self.points[-1]
        return math.log(most / least) / math.log(b / a) if b > a else 0

    def surprises(self):
        return self.exponent() > self.expected + SURPRISE

    def line(self):
        return "%-9s %-26s %-8s %-60s %6.2f, %s%s" % (
            self.family, self.name, self.unit, "  ".join("%s: %s" % (count(size), figure(cost)) for size, cost in self.points), self.exponent(),
            "linear" if self.expected == LINEAR else "constant", "  SURPRISE" if self.surprises() else "")


def count(size):
    return "%gM" % (size / 1e6) if size >= 1000000 else "%gk" % (size / 1000) if size >= 1000 else str(size)


def figure(cost):
    return "%.0f" % cost if cost >= 100 else "%.1f" % cost if cost >= 1 else "%.2f" % cost


def sizes(args, usual, least):
    found = [size for size in usual if size >= least and size <= args.largest]
    return found or usual[:1]


# ---- messages in a mailbox --------------------------------------------------------------------

# imapload's scenario, what it should be like, operations, what must be there first, the largest mailbox that is not too slow for it
MESSAGES = [
    ("select", CONSTANT, 100, None, None),
    ("reselect", CONSTANT, 200, None, None),
    ("page", CONSTANT, 200, None, None),
    ("body", CONSTANT, 200, None, None),
    ("store", CONSTANT, 100, None, None),
    ("append", CONSTANT, 30, None, None),
    ("expunge", CONSTANT, 30, None, None),
    ("qresync", CONSTANT, 20, scenarios.ten_changes, None),
    ("flags", LINEAR, 1, None, None),
    ("metadata", LINEAR, 1, None, None),
    ("search-flag", LINEAR, 4, None, None),
    ("search-header", LINEAR, 1, None, None),
    ("search-body", LINEAR, 1, None, 100000),
    ("store-all", LINEAR, 2, None, 100000),
    ("copy", LINEAR, 1, scenarios.empty_other, 100000),
]


def messages(args, server):
    curves = {name: Curve("messages", name, expected) for name, expected, _, _, _ in MESSAGES}
    for number, size in enumerate(sizes(args, [1000, 10000, 100000, 1000000], 0), 1):
        tree = os.path.join(args.top, "mail%d" % size)
        mail.make(tree, int(size * args.mail), sizes=(300, 500, 700))
        server.fill(number, tree)
        before = server.group.cpu()
        scenarios.first_look(server, number, "INBOX", int(size * args.mail))
        curves.setdefault("first look", Curve("messages", "first look", LINEAR)).add(size, (server.group.cpu() - before) * 1e6)
        for name, _, operations, prepare, largest in MESSAGES:
            if not largest or size <= largest:
                curves[name].add(size, cost_of(args, server, number, int(size * args.mail), name, operations, prepare))
    return list(curves.values())


def cost_of(args, server, number, size, name, operations, prepare):
    scenario = scenarios.Scenario(name, "", load=name, users=(number, 1), messages=size, prepare=prepare)
    costs = []
    for _ in range(args.rounds):
        extra = prepare(server, scenario, operations) if prepare else []
        result = scenarios.run_imap(args, server, scenario, operations, extra)
        assert result["errors"] == 0, "%s at %d messages: %s" % (name, size, result)
        costs.append(result["cpu"] / operations * 1e6)
    return min(costs)


# ---- folders of an account --------------------------------------------------------------------


def folders(args, server):
    wanted = [Curve("folders", name, expected) for name, expected in (
        ("first look", LINEAR), ("LIST \"\" *", LINEAR), ("LIST \"\" %", LINEAR), ("LSUB \"\" *", LINEAR), ("LIST of one", CONSTANT),
        ("STATUS of one", CONSTANT), ("SELECT of one", CONSTANT), ("CREATE", CONSTANT), ("RENAME", CONSTANT), ("log in, LIST of one", CONSTANT))]
    for number, size in enumerate(sizes(args, [10, 100, 1000, 10000], 10), 11):
        fill_folders(args, server, number, size)
        before = server.group.cpu()
        with server.session(number) as client:
            client.list('""', "F00005")
            wanted[0].add(size, (server.group.cpu() - before) * 1e6)
            names = iter("G%05d" % n for n in range(10000))
            commands = [lambda: client.list('""', "*"), lambda: client.list('""', "%"), lambda: client.lsub('""', "*"),
                        lambda: client.list('""', "F00005"), lambda: client.status("F00005", "(MESSAGES UIDNEXT)"), lambda: client.select("F00005"),
                        lambda: client.create(next(names)), lambda: (client.rename("F00004", "R"), client.rename("R", "F00004")),
                        lambda: again(server, number)]
            for curve, command in zip(wanted[1:], commands):
                time.sleep(0.2)  # what has just changed is looked at anew
                curve.add(size, cheapest(args, server, command, 10))
    return wanted


def fill_folders(args, server, number, size):
    """The mail of others is a Maildir; where the backend keeps it otherwise, only CREATE makes empty folders."""
    if args.backend == "maildir":
        tree = os.path.join(args.top, "folders%d" % size)
        mail.make_folders(tree, size)
        server.fill(number, tree)
        return
    with server.session(number) as client:
        for n in range(size):
            client.create("F%05d" % n)


def again(server, number):
    with server.session(number) as client:
        client.list('""', "F00005")


def cheapest(args, server, command, times):
    costs = []
    for _ in range(args.rounds):
        before = server.group.cpu()
        for _ in range(times):
            command()
        costs.append((server.group.cpu() - before) / times * 1e6)
    return min(costs)


# ---- sessions that idle -----------------------------------------------------------------------


def sessions(args, server):
    curves = [Curve("sessions", *one) for one in (("log in and out", CONSTANT), ("the same", CONSTANT, "ms"), ("notice of a message", CONSTANT),
                                                  ("the same, p50", CONSTANT, "ms"), ("the same, p99", CONSTANT, "ms"), ("a log-in to come there", CONSTANT),
                                                  ("memory of each", CONSTANT, "KB"))]
    if args.mail < 1:
        usual = [10, 20]
    else:
        usual = [100, 1000, 5000, 10000, 20000]
    scenario = scenarios.Scenario("", "", users=(101, 1), tls=not args.plain)
    for size in sizes(args, usual, 0):
        before, memory = server.group.cpu(), scenarios.settled_pss(server)
        with scenarios.Idling(args, server, scenario, size) as idling:
            errors = sum(one["errors"] for one in idling.results)
            assert errors == 0, "%d of %d sessions were refused" % (errors, size)
            curves[5].add(size, (server.group.cpu() - before) * 1e6 / size)
            curves[6].add(size, (scenarios.settled_pss(server) - memory) / size)
            for what, cost, passed in (("login 50", 0, {1: "p50_us"}), ("notice 20", 2, {3: "p50_us", 4: "p99_us"})):
                before = server.group.cpu()
                answer = idling.ask(what)
                curves[cost].add(size, (server.group.cpu() - before) * 1e6 / int(what.split()[1]))
                for n, key in passed.items():
                    curves[n].add(size, answer[key] / 1000)
                assert answer["errors"] == 0, answer
    return curves


# ---- the queue ----------------------------------------------------------------------------------

QUEUE = [("take in one", "added, a second", CONSTANT, lambda n: 1e6 / n, "µs"), ("open", "open", CONSTANT, lambda n: n, "ms"),
         ("first page of a list", "list: one page of 100", CONSTANT, lambda n: n, "ms"),
         ("all of one sender", "list: all messages of one sender in a thousand", LINEAR, lambda n: n, "ms"),
         ("first attempt after start", "the first attempt after the start", CONSTANT, lambda n: n, "ms"),
         ("begin and settle one", "sent, a second", CONSTANT, lambda n: 1e6 / n, "µs")]


def queue(args, _):
    curves = [Curve("queue", name, expected, unit) for name, _, expected, _, unit in QUEUE] + [Curve("queue", "own memory", CONSTANT, "MB")]
    for size in sizes(args, [1000, 10000, 100000, 1000000], 0):
        folder = os.path.join(args.top, "queue%d" % size)
        os.mkdir(folder)
        done = subprocess.run([os.path.join(args.programs, "queueload"), folder, str(int(size * args.mail))], stdout=subprocess.PIPE, text=True, check=True)
        shutil.rmtree(folder)
        for curve, (_, text, _, cost, _) in zip(curves, QUEUE):
            curve.add(size, cost(float(re.search(re.escape(text) + r"\s+([0-9.]+)", done.stdout).group(1))))
        curves[-1].add(size, max(float(n) for n in re.findall(r"own memory\s+([0-9.]+)", done.stdout)))
    return curves


FAMILIES = {"messages": messages, "folders": folders, "sessions": sessions, "queue": queue}

# ---- what it looks like ---------------------------------------------------------------------------


def svg(curves, title):
    """A small plot each, both axes logarithmic, so that what is linear rises by a decade with each decade."""
    width, height, across = 250, 170, 4
    out = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="10">' % (
        width * across + 20, height * -(-len(curves) // across) + 40),
        '<rect width="100%" height="100%" fill="white"/>', '<text x="10" y="18" font-size="13">%s</text>' % html.escape(title)]
    for n, curve in enumerate(curves):
        out += one_plot(curve, 10 + n % across * width, 30 + n // across * height, width - 60, height - 60)
    return "\n".join(out + ["</svg>"]) + "\n"


def one_plot(curve, x, y, width, height):
    """Five decades of cost: enough for what is linear, and what is constant looks so."""
    low = math.floor(math.log10(min(cost for _, cost in curve.points)))
    first, last = math.log10(curve.points[0][0]), math.log10(curve.points[-1][0])
    decades = max(4, math.ceil(math.log10(max(cost for _, cost in curve.points))) - low)
    x += 40

    def at(size, cost):
        return (x + (math.log10(size) - first) / max(last - first, 1e-9) * width, y + 20 + height - (math.log10(cost) - low) / decades * height)

    colour = "#cc2222" if curve.surprises() else "#3366aa"
    out = ['<text x="%d" y="%d" font-weight="bold">%s: %s</text>' % (x - 30, y + 10, curve.family, html.escape(curve.name)),
           '<text x="%d" y="%d" text-anchor="end" fill="%s">%.2f</text>' % (x + width, y + 22, colour, curve.exponent())]
    for decade in range(decades + 1):
        _, line = at(curve.points[0][0], 10 ** (low + decade))
        out.append('<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#dddddd"/><text x="%d" y="%.1f" text-anchor="end">%g</text>'
                   % (x, line, x + width, line, x - 3, line + 3, 10 ** (low + decade)))
    for size, cost in curve.points:
        px, py = at(size, cost)
        out.append('<circle cx="%.1f" cy="%.1f" r="2.5" fill="%s"/><text x="%.1f" y="%.1f" text-anchor="middle">%s</text>'
                   % (px, py, colour, px, y + height + 32, count(size)))
    out.append('<polyline fill="none" stroke="%s" stroke-width="1.5" points="%s"/>' % (colour, " ".join("%.1f,%.1f" % at(*one) for one in curve.points)))
    out.append('<text x="%d" y="%d" fill="#666666">%s</text>' % (x + 4, y + 22, curve.unit))
    return out


def markdown(curves, title):
    rows = ["| %s | %s | %s | %s | %.2f | %s |" % (
        curve.family, curve.name, curve.unit, " ".join("%s: %s" % (count(size), figure(cost)) for size, cost in curve.points), curve.exponent(),
        "linear" if curve.expected else "constant") for curve in curves]
    return "\n".join([title, "", "| of | what | unit | cost | exponent | should be |", "| --- | --- | --- | --- | --- | --- |"] + rows) + "\n"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", required=True, help="where the load clients were built")
    parser.add_argument("--backend", default="maildir")
    parser.add_argument("--largest", type=int, default=100000, help="size up to which it goes; 1000000 takes long")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plain", action="store_true", help="sessions without TLS")
    parser.add_argument("--mail", type=float, default=1.0, help="times the messages: a test of the program itself")
    parser.add_argument("--output", help="folder for growth.json, growth.md and growth.svg")
    parser.add_argument("families", nargs="*", help="of " + ", ".join(FAMILIES))
    return parser.parse_args()


def main():
    args = arguments()
    bench.installation()
    args.top = tempfile.tempdir = tempfile.mkdtemp(prefix="pg-", dir="/var/tmp")
    os.chmod(args.top, 0o755)
    curves = []
    if args.mail == 1:
        servers.raise_limits()
    # A process has descriptors for some 9,000 sessions: more fronts serve more.
    server = servers.Postern("growth", args.backend, "front_processes = 4\nmail_processes = 4\n")
    try:
        title = "%s. %s, %s. %s." % (datetime.date.today(), server.version(), args.backend, bench.machine())
        print(title, flush=True)
        for name in args.families or FAMILIES:
            found = [curve for curve in FAMILIES[name](args, server) if curve.points]
            curves += found
            for curve in found:
                print(curve.line(), flush=True)
    finally:
        server.stop()
        with contextlib.suppress(OSError):
            shutil.rmtree(args.top)
    if args.output:
        os.makedirs(args.output, exist_ok=True)
        for name, text in (("growth.json", json.dumps([vars(curve) for curve in curves], indent=1)), ("growth.md", markdown(curves, title)),
                           ("growth.svg", svg(curves, title))):
            with open(os.path.join(args.output, name), "w", encoding="utf-8") as f:
                f.write(text)
        print("written: %s/growth.md, growth.svg, growth.json" % args.output)


if __name__ == "__main__":
    main()
