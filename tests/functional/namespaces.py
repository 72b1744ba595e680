# SPDX-License-Identifier: MIT
"""Network namespaces: sites of their own, with all ports free, joined by a cable. Only root can make them."""

import ctypes
import os
import subprocess

import postern

CLONE_NEWNET = 0x40000000


def _enter(path):
    with open(path, "rb") as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) < 0:
            raise OSError(ctypes.get_errno(), "setns " + path)


def why_not():
    """The reason why there are none here, or None."""
    if os.geteuid() != 0:
        return "only root can make network namespaces"
    made = subprocess.run(("unshare", "--net", "ip", "link", "add", "name", "one", "type", "veth", "peer", "name", "two"),
                          capture_output=True, text=True, check=False)
    return made.stderr.strip() or "no network namespaces" if made.returncode != 0 else None


class Namespace:
    """`with namespace:` the sockets that this thread makes, and the processes that it starts, belong to it."""

    def __init__(self):
        self._holder = subprocess.Popen(("unshare", "--net", "cat"), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self.path = "/proc/%d/ns/net" % self._holder.pid
        outside = os.readlink("/proc/self/ns/net")
        postern.wait_until(lambda: os.readlink(self.path) != outside, "a network namespace")
        with self:
            ip("link", "set", "lo", "up")

    def __enter__(self):
        _enter(self.path)
        return self

    def __exit__(self, *_):
        _enter("/proc/%d/ns/net" % os.getpid())

    def close(self):
        """It goes with the last process in it."""
        self._holder.communicate()

    def join(self, other, own_address, others_address):
        """A cable between the two."""
        with self:
            ip("link", "add", "name", "cable", "type", "veth", "peer", "name", "cable", "netns", str(other._holder.pid))
        for namespace, address in ((self, own_address), (other, others_address)):
            with namespace:
                ip("address", "add", address + "/24", "dev", "cable")
                ip("link", "set", "cable", "up")


def ip(*args):
    subprocess.run(("ip",) + args, check=True, capture_output=True)
