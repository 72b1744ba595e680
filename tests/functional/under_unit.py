#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs a program under what a systemd unit says of capabilities, system calls, sockets and files, where no systemd runs.

usage: under_unit.py UNIT FOLDER PROGRAM [ARGUMENT...]        as root; FOLDER is what the program may write to

It stays one process. Of the unit it knows CapabilityBoundingSet, NoNewPrivileges, SystemCallFilter, MemoryDenyWriteExecute,
RestrictAddressFamilies, RestrictNamespaces, LockPersonality, ProtectSystem=strict, PrivateDevices and ProtectProc=invisible.
"""

import ctypes
import os
import subprocess
import sys

CLONE_NEWNS = 0x20000
NAMESPACES = (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)
PROT_WRITE, PROT_EXEC = 2, 4
EPERM, EAFNOSUPPORT = 1, 97
ALLOW, ERRNO = 0x7FFF0000, 0x50000
NOT_EQUAL, EQUAL, MASKED_EQUAL = 1, 4, 7
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


def settings(unit):
    """{directive: the words of all its lines}"""
    found = {}
    with open(unit, encoding="utf-8") as file:
        for line in file:
            name, equals, value = line.strip().partition("=")
            if equals and not name.startswith("#"):
                found.setdefault(name, []).extend(value.split())
    return found


def calls_of(words):
    """The names behind @sets, by systemd's own tables."""
    calls = set()
    for word in words:
        if word.startswith("@"):
            lines = subprocess.run(("systemd-analyze", "syscall-filter", word), check=True, capture_output=True, text=True).stdout
            calls |= calls_of(line.strip() for line in lines.splitlines()[1:] if line.strip() and not line.strip().startswith("#"))
        else:
            calls.add(word)
    return calls


# ---- before capabilities go


def mount(*args):
    subprocess.run(("mount",) + args, check=True, stdin=subprocess.DEVNULL)


def restrict_files(unit, folder):
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    mount("--make-rprivate", "/")
    mount("--bind", folder, folder)
    if "yes" in unit["PrivateDevices"]:
        aside = os.path.join(folder, "dev")
        os.makedirs(aside)
        mount("-t", "tmpfs", "-o", "mode=755", "dev", aside)
        for name in DEVICES:
            open(os.path.join(aside, name), "w", encoding="ascii").close()
            mount("--bind", "/dev/" + name, os.path.join(aside, name))
        mount("--rbind", aside, "/dev")
    if "invisible" in unit["ProtectProc"]:
        mount("-t", "proc", "-o", "hidepid=invisible", "proc", "/proc")
    if "strict" in unit["ProtectSystem"]:
        with open("/proc/self/mounts", encoding="utf-8") as file:
            places = [line.split()[1] for line in file]
        for place in places:
            if not any((place + "/").startswith(kept + "/") for kept in (folder, "/dev", "/proc", "/sys")):
                mount("-o", "remount,bind,ro", place)


def restrict_capabilities(unit, then):
    capabilities = ",".join(["-all"] + ["+" + name.removeprefix("CAP_").lower() for name in unit["CapabilityBoundingSet"]])
    options = ["--bounding-set", capabilities] + (["--no-new-privs"] if "yes" in unit["NoNewPrivileges"] else [])
    os.execvp("setpriv", ["setpriv"] + options + then)


# ---- after that


class Comparison(ctypes.Structure):
    _fields_ = [("argument", ctypes.c_uint), ("how", ctypes.c_int), ("one", ctypes.c_uint64), ("two", ctypes.c_uint64)]


class Filter:
    def __init__(self, action):
        self._lib = ctypes.CDLL("libseccomp.so.2")
        self._lib.seccomp_init.restype = ctypes.c_void_p
        self._filter = ctypes.c_void_p(self._lib.seccomp_init(ctypes.c_uint32(action)))

    def rule(self, action, call, *comparisons):
        number = self._lib.seccomp_syscall_resolve_name(call.encode())
        array = (Comparison * max(1, len(comparisons)))(*comparisons)
        if number >= 0:
            self._lib.seccomp_rule_add_array(self._filter, ctypes.c_uint32(action), number, len(comparisons), array)

    def load(self):
        if self._lib.seccomp_load(self._filter) != 0:
            raise OSError("seccomp_load")


def masked(argument, bits):
    return Comparison(argument, MASKED_EQUAL, bits, bits)


def restrict_calls(unit):
    allowed = Filter(ERRNO | EPERM)
    for call in calls_of(unit["SystemCallFilter"]):
        allowed.rule(ALLOW, call)
    refused = Filter(ALLOW)
    if "yes" in unit["MemoryDenyWriteExecute"]:
        refused.rule(ERRNO | EPERM, "mmap", masked(2, PROT_WRITE | PROT_EXEC))
        refused.rule(ERRNO | EPERM, "mprotect", masked(2, PROT_EXEC))
        refused.rule(ERRNO | EPERM, "pkey_mprotect", masked(2, PROT_EXEC))
    if "yes" in unit["RestrictNamespaces"]:
        for bit in NAMESPACES:
            refused.rule(ERRNO | EPERM, "unshare", masked(0, bit))
            refused.rule(ERRNO | EPERM, "clone", masked(0, bit))
        refused.rule(ERRNO | EPERM, "setns")
    if "yes" in unit["LockPersonality"]:
        refused.rule(ERRNO | EPERM, "personality", Comparison(0, NOT_EQUAL, 0xFFFFFFFF, 0))
    families = {FAMILIES[name] for name in unit["RestrictAddressFamilies"]}
    for family in set(range(64)) - families:
        refused.rule(ERRNO | EAFNOSUPPORT, "socket", Comparison(0, EQUAL, family, 0))
    refused.load()
    allowed.load()


def main():
    stage, path, folder, *program = ["files"] + sys.argv[1:] if sys.argv[1] != "--calls" else sys.argv[1:]
    unit = settings(path)
    if stage == "files":
        restrict_files(unit, folder)
        restrict_capabilities(unit, [sys.executable, os.path.abspath(__file__), "--calls", path, folder] + program)
    restrict_calls(unit)
    os.execv(program[0], program)


if __name__ == "__main__":
    main()
