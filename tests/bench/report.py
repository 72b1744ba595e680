# SPDX-License-Identifier: MIT
"""Rounds of two servers become a row of ratios; rows become lines of a terminal, a Markdown table, and a plot as text or SVG."""

import html
import math
import os
import statistics

import servers


def per_second(r):
    return r["operations"] / r["seconds"]


def cpu_each(r):
    return max(r["cpu"] / r["operations"], 1e-9)


def describe(scenario, server, peer, ours, theirs):
    """Each ratio is the median of the pairs' and above 1 where Postern did more, or took less."""
    def ratio(better):
        return statistics.median(better(a, b) for a, b in zip(ours, theirs))

    def medians(figure):
        return [statistics.median(map(figure, rounds)) for rounds in (ours, theirs)]

    timed = scenario.kind != "memory"
    speed = {
        "memory": lambda a, b: b["pss"] / max(a["pss"], 0.01),
        "notice": lambda a, b: b["p50_us"] / max(a["p50_us"], 1),
    }.get(scenario.kind, lambda a, b: per_second(a) / per_second(b))
    every = ours + theirs
    return {
        "scenario": scenario.name, "what": scenario.what, "server": server, "peer": peer, "kind": scenario.kind,
        "speed": ratio(speed), "cpu": ratio(lambda a, b: cpu_each(b) / cpu_each(a)) if timed else None,
        "memory": ratio(lambda a, b: b["pss"] / max(a["pss"], 0.01)),
        "ops": medians(per_second), "cpu_ms": [1000 * one for one in medians(cpu_each)], "pss": medians(lambda r: r["pss"]),
        "p50": [one / 1000 for one in medians(lambda r: r["p50_us"])], "p99": [one / 1000 for one in medians(lambda r: r["p99_us"])],
        "client": max(medians(lambda r: r["client_cpu"] / r["seconds"] / os.cpu_count())),
        "spread": [min(map(speed, ours, theirs)), max(map(speed, ours, theirs))],
        "targets": scenario.targets,
        "errors": sum(r["errors"] for r in every),
        "different": bool(scenario.same) and len({r[scenario.same] for r in every}) > 1,
    }


def verdict(row):
    """What hinders belief in the row, or how far it is from its targets."""
    if row["errors"]:
        return "%d ERRORS" % row["errors"]
    if row["different"]:
        return "DIFFERENT WORK"
    if row["kind"] == "memory":
        return "%s %g KB" % ("reached" if row["pss"][0] <= row["targets"][0] else "missed:", row["targets"][0])
    wanted = [(name, got, target) for name, got, target in zip(("speed", "CPU"), (row["speed"], row["cpu"]), row["targets"]) if target]
    missed = ["%s %gx" % (name, target) for name, got, target in wanted if got < target]
    return "missed: " + ", ".join(missed) if missed else "reached" if wanted else ""


def two(pair, digits=3):
    return ":".join(short(one, digits) for one in pair)


def short(number, digits=3):
    if number is None:
        return ""
    whole = 0 if number == 0 else int(math.log10(abs(number))) + 1
    return "%.*f" % (max(0, min(2, digits - whole)), number)


def cells(row):
    memory = two(row["pss"]) + " KB" if row["kind"] == "memory" else two([one / 1024 for one in row["pss"]])
    if row["kind"] == "memory":
        return [row["scenario"], row["server"], row["peer"], "%.2f" % row["speed"], "", "", "", memory, "", "", "", verdict(row)]
    ops = "" if row["kind"] == "notice" else two(row["ops"])
    return [row["scenario"], row["server"], row["peer"], "%.2f" % row["speed"], "%.2f" % row["cpu"], ops, two(row["cpu_ms"]), memory,
            two(row["p50"]), two(row["p99"]), "%.0f %%" % (100 * row["client"]), verdict(row)]


HEAD = ["scenario", "Postern", "beside", "speed", "CPU", "a second", "CPU ms", "PSS MB", "p50 ms", "p99 ms", "client", "target"]
WIDTHS = [19, 15, 15, 7, 7, 15, 15, 15, 15, 15, 7, 0]


def line(texts):
    return " ".join(text.ljust(width) if n < 3 else text.rjust(width) for n, (text, width) in enumerate(zip(texts, WIDTHS)))


def relaxed_cell(rows, row):
    """Speed and CPU of the same scenario where both relax their syncs."""
    for one in rows:
        if one["scenario"] == row["scenario"] and one["server"] == row["server"] + servers.RELAXED:
            return "%.2f, %.2f%s" % (one["speed"], one["cpu"], " ERRORS" if one["errors"] or one["different"] else "")
    return ""


def markdown(rows, title):
    """What is relaxed is a column of its own, beside the same strict."""
    head = HEAD[:5] + ["relaxed: speed, CPU"] + HEAD[5:]
    out = [title, "", "| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for row in rows:
        if not row["server"].endswith(servers.RELAXED):
            own = [cell.replace(":", " : ") if 4 < n < 10 else cell for n, cell in enumerate(cells(row))]
            out.append("| " + " | ".join(own[:5] + [relaxed_cell(rows, row)] + own[5:]) + " |")
    return "\n".join(out) + "\n"


# ---- the plot: bars to the right are better, each doubling as long as the next -----------------------

LEAST, MOST = 0.5, 256


def place(ratio):
    """0 to 1 along the axis."""
    return (math.log2(min(max(ratio, LEAST), MOST)) - math.log2(LEAST)) / (math.log2(MOST) - math.log2(LEAST))


def bars(row):
    """(name, ratio, target): memory has no CPU."""
    return [(name, ratio, target) for name, ratio, target in (("", row["speed"], row["targets"][0] if row["kind"] != "memory" else None),
                                                             ("CPU", row["cpu"], row["targets"][1])) if ratio]


def text_plot(rows, width=72):
    one = round(place(1) * width)
    ticks = [" "] * (width + 4)
    for power in range(int(math.log2(LEAST)), int(math.log2(MOST)) + 1):
        for n, sign in enumerate("%g" % 2 ** power):
            ticks[round(place(2 ** power) * width) + n] = sign
    out = [" " * 34 + "".join(ticks).rstrip()]
    for row in rows:
        label = "%s, %s : %s" % (row["scenario"], row["server"], row["peer"])
        for name, ratio, target in bars(row):
            at, signs = round(place(ratio) * width), [" "] * (width + 1)
            for n in range(min(one, at), max(one, at) + 1):
                signs[n] = "-" if name else "="
            signs[one] = "|"
            if target:
                signs[round(place(target) * width)] = "T"
            out.append("%-33s %s %.2f" % (name.rjust(33) if name else label[:33], "".join(signs), ratio))
    return "\n".join(out) + "\n"


def svg(rows, title):
    left, scale, step = 340, 560, 16
    height = 60 + step * sum(len(bars(row)) for row in rows) + 6 * len(rows)
    out = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">' % (left + scale + 80, height),
           '<rect width="100%" height="100%" fill="white"/>', '<text x="10" y="18" font-size="10">%s</text>' % html.escape(title)]
    for power in range(int(math.log2(LEAST)), int(math.log2(MOST)) + 1):
        x = left + place(2 ** power) * scale
        out.append('<line x1="%.1f" y1="42" x2="%.1f" y2="%d" stroke="%s"/><text x="%.1f" y="38" text-anchor="middle">%gx</text>'
                   % (x, x, height - 8, "black" if power == 0 else "#dddddd", x, 2 ** power))
    y = 50
    for row in rows:
        out.append('<text x="%d" y="%d" text-anchor="end">%s</text>' % (
            left - 40, y + 10, html.escape("%s, %s beside %s" % (row["scenario"], row["server"], row["peer"]))))
        for name, ratio, target in bars(row):
            a, b = sorted((left + place(1) * scale, left + place(ratio) * scale))
            out.append('<rect x="%.1f" y="%d" width="%.1f" height="11" fill="%s"/><text x="%.1f" y="%d">%.2f</text>'
                       % (a, y, max(b - a, 1), "#88aa44" if name else "#3366aa", b + 5, y + 10, ratio))
            out.append('<text x="%d" y="%d" text-anchor="end" fill="#666666">%s</text>' % (left - 4, y + 10, name or ("PSS" if row["kind"] == "memory" else "speed")))
            if target:
                x = left + place(target) * scale
                out.append('<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#cc2222" stroke-width="3"/>' % (x, y - 2, x, y + 13))
            y += step
        y += 6
    return "\n".join(out + ["</svg>"]) + "\n"
