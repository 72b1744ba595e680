# SPDX-License-Identifier: MIT
"""Ports for servers that tests start, each for one test program as long as that runs.

They lie below those that the kernel gives to clients, or somebody's connection could take one before the server does. What keeps
other test programs away is a local socket named for the port: the kernel forgets it with the program that made it.
"""

import contextlib
import errno
import os
import socket

FIRST, LAST = 13000, 32000  # those that quickstart takes by itself are below


def _last():
    with contextlib.suppress(OSError), open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        low = int(file.read().split()[0])
        return min(LAST, low - 1) if low > FIRST + 1000 else LAST
    return LAST


_held = {}  # port: its local socket


def _can_be_bound(port):
    """By whom it may be: another server may listen at one address only, or for UDP."""
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            try:
                with contextlib.closing(socket.socket(family, kind)) as probe:
                    if family == socket.AF_INET6:
                        probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    probe.bind((address, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return False  # others: this machine has no IPv6
    return True


def take(port):
    """Whether it is ours from now on."""
    if port in _held:
        return False
    held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        held.bind("\0postern-test-port-%d" % port)
    except OSError:
        held.close()
        return False
    if not _can_be_bound(port):
        held.close()
        return False
    _held[port] = held
    return True


def take_all(numbers):
    """All of them or none."""
    taken = []
    for port in numbers:
        if not take(port):
            for other in taken:
                _held.pop(other).close()
            return False
        taken.append(port)
    return True


def _from_somewhere(step):
    """Programs that begin together look in places of their own first."""
    count = (_last() - FIRST) // step
    begin = os.getpid() * 61 % count
    return (FIRST + (begin + n) % count * step for n in range(count))


def free():
    for port in _from_somewhere(1):
        if take(port):
            return port
    raise AssertionError("no port is free")


def free_base(distances):
    """A number that gives free ports with all the distances."""
    for base in _from_somewhere(7):
        if take_all(base + distance for distance in distances):
            return base
    raise AssertionError("no ports are free")
