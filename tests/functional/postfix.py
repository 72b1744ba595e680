# SPDX-License-Identifier: MIT
"""Debian's Postfix on loopback, in a folder of its own and as its own users; so root must start it."""

import os
import pathlib
import pwd
import shutil
import subprocess

import ports
import postern

DOMAIN = "postfix.test"


def why_not():
    """The reason why it cannot run here, or None."""
    if os.geteuid() != 0:
        return "only root can start Postfix"
    return None if shutil.which("postfix", path="/usr/sbin") else "Postfix is not installed"


MAIN = """
compatibility_level = 3.6
queue_directory = {dir}/queue
data_directory = {dir}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
maillog_file = {dir}/log
maillog_file_prefixes = {dir}
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.{domain}
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtp_host_lookup = native
smtpd_peername_lookup = no
virtual_mailbox_domains = {domain}
virtual_mailbox_base = {dir}/mail
virtual_mailbox_maps = inline:{{ {mailboxes} }}
virtual_mailbox_limit = 0
message_size_limit = 50000000
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
smtpd_tls_security_level = may
smtpd_tls_cert_file = {dir}/cert.pem
smtpd_tls_key_file = {dir}/key.pem
smtpd_tls_received_header = yes
smtp_tls_CAfile = {ca}
smtp_tls_security_level = encrypt
{settings}
"""

# Service, type, most processes, program.
MASTER = """
{address} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """Takes mail for `users` of its domain into Maildirs. `settings`, lines of main.cf, come last, so they count."""

    def __init__(self, users, settings=""):
        self.dir = pathlib.Path(postern.scratch_folder())
        self.port = ports.free()
        owner = pwd.getpwnam("postfix")
        for name in ("queue", "data", "mail"):
            (self.dir / name).mkdir()
        for name in ("data", "mail"):
            os.chown(self.dir / name, owner.pw_uid, owner.pw_gid)
        postern.authority().issue(str(self.dir / "cert.pem"), str(self.dir / "key.pem"))
        mailboxes = ", ".join("{ %s@%s = %s/ }" % (user, DOMAIN, user) for user in users)
        (self.dir / "main.cf").write_text(MAIN.format(
            dir=self.dir, domain=DOMAIN, mailboxes=mailboxes, uid=owner.pw_uid, gid=owner.pw_gid, ca=postern.authority().ca,
            settings=settings))
        (self.dir / "master.cf").write_text(MASTER.format(address="127.0.0.1:%d" % self.port))

    def start(self):
        """Returns when its master serves; that is no child of ours."""
        done = self.postfix("start")
        if done.returncode != 0:
            raise AssertionError("Postfix does not start:\n" + done.stdout + self.log())
        return self

    def stop(self):
        self.postfix("stop")

    def postfix(self, command):
        return subprocess.run(("/usr/sbin/postfix", "-c", str(self.dir), command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)

    @property
    def pid(self):
        return int((self.dir / "queue/pid/master.pid").read_text())

    def log(self):
        path = self.dir / "log"
        return path.read_text(errors="replace")[-5000:] if path.exists() else ""

    def messages(self, user):
        """What is in the user's Maildir, with CRLF as it came."""
        return [path.read_bytes().replace(b"\n", b"\r\n") for path in (self.dir / "mail" / user / "new").glob("*")]
