# SPDX-License-Identifier: MIT
"""A file system in a file, whose power can be cut: what was not synced is gone, as FS_IOC_SHUTDOWN without a flush of the log has it."""

import ctypes
import fcntl
import os
import struct
import subprocess
import uuid

import postern

FS_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32)
NO_LOG_FLUSH = 2
MEGABYTES = 512
CLONE_NEWNS = 0x20000
BOOT_ID = "/proc/sys/kernel/random/boot_id"


def mounts_of_our_own():
    """A mount that somebody else's new namespace copies meanwhile would keep the dead file system alive."""
    if not mounts_of_our_own.made and ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) < 0:
        raise OSError(ctypes.get_errno(), "unshare")
    mounts_of_our_own.made = True
    run("mount", "--make-rprivate", "/")


mounts_of_our_own.made = False


def run(*args):
    done = subprocess.run(args, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError("%s: %s" % (" ".join(args), done.stderr.strip()))


class Disk:
    def __init__(self):
        mounts_of_our_own()
        self.folder = postern.scratch_folder()
        self.path = os.path.join(self.folder, "disk")
        self._image = os.path.join(self.folder, "image")
        os.mkdir(self.path)
        with open(self._image, "wb") as file:
            file.truncate(MEGABYTES << 20)
        self._boot_id = os.path.join(self.folder, "boot_id")
        self._boot()
        run("mount", "--bind", self._boot_id, BOOT_ID)
        run("mkfs.ext4", "-q", "-F", self._image)
        run("mount", "-o", "loop", self._image, self.path)

    def _boot(self):
        """By this a server knows that memory was lost, and what it had not synced."""
        with open(self._boot_id, "w", encoding="ascii") as file:
            file.write("%s\n" % uuid.uuid4())

    def mount(self):
        self._boot()
        run("mount", "-o", "loop", self._image, self.path)

    def cut(self):
        """From now on nothing gets to the disk, nor from it."""
        fd = os.open(self.path, os.O_RDONLY)
        fcntl.ioctl(fd, FS_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        os.close(fd)

    def unmount(self):
        run("umount", self.path)

    def close(self):
        run("umount", BOOT_ID)
        run("umount", self.path)


def why_not():
    """The reason why there can be none here, or None."""
    if os.geteuid() != 0:
        return "only root can mount"
    try:
        disk = Disk()
        try:
            disk.cut()
        finally:
            disk.close()
    except OSError as error:
        return str(error)
    return None
