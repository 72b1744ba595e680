# SPDX-License-Identifier: MIT
"""What a server's processes hold: memory and descriptors, by role."""

import contextlib
import os
import re


def _smaps(pid):
    with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as file:
        return {key: int(kib) for key, kib in re.findall(r"^(\w+): +(\d+) kB", file.read(), re.M)}


class Gauge:
    """`own`: KiB that are nobody else's doing: heap, stacks, and what is copied of files. `pss` counts mapped files, too, the kernel's
    cache of mail and indexes among them; what several map is shared between them."""

    def __init__(self, own=0, pss=0, descriptors=0, processes=0):
        self.own, self.pss, self.descriptors, self.processes = own, pss, descriptors, processes

    def __repr__(self):
        return "%d KiB (%d with mapped files), %d descriptors" % (self.own, self.pss, self.descriptors)

    def add(self, pid):
        smaps = _smaps(pid)
        self.own += smaps["Pss_Anon"]
        self.pss += smaps["Pss"]
        self.descriptors += len(os.listdir("/proc/%d/fd" % pid))
        self.processes += 1


def by_role(server):
    """{role: Gauge}, master included."""
    found = {}
    for pid, role in server.roles() + [(server.process.pid, "master")]:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found.setdefault(role, Gauge()).add(pid)
    return found


def of(server, role):
    return by_role(server).get(role, Gauge())
