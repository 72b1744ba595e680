# SPDX-License-Identifier: MIT
"""Other servers ask whether who logs in with them is a user of ours: Postfix and Exim, by Dovecot's auth protocol."""

import base64
import contextlib
import grp
import os
import pwd
import shutil
import smtplib
import socket
import subprocess
import unittest

import ports
import postern
from server_test import ServerTest

POSTFIX = "/usr/lib/postfix/sbin/master"
# Debian's cannot be installed beside Postfix, so `check` unpacks it.
EXIM = shutil.which("exim4") or shutil.which(
    os.path.join(os.environ.get("POSTERN_TEST_UNPACKED", ""), "exim4-daemon-heavy/usr/sbin/exim4"))

MAIN_CF = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
mail_owner = postfix
setgid_group = postdrop
myhostname = other.example.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_tls_security_level = may
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {path}
smtpd_relay_restrictions = permit_sasl_authenticated, reject
"""

MASTER_CF = """
127.0.0.1:{port} inet n - n - 4 smtpd
anvil unix - - n - 1 anvil
tlsmgr unix - - n - 1 tlsmgr
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
"""

EXIM_CONF = """
exim_user = {user}
exim_group = {user}
never_users =
spool_directory = {folder}/spool
log_file_path = {folder}/log_%slog
pid_file_path = {folder}/pid
primary_hostname = other.example.test
daemon_smtp_ports = {port}
local_interfaces = 127.0.0.1
tls_advertise_hosts = *
tls_certificate = {certificate}
tls_privatekey = {key}
host_lookup =
rfc1413_query_timeout = 0s
begin authenticators
plain:
  driver = dovecot
  public_name = PLAIN
  server_socket = {path}
  server_set_id = $auth1
  server_advertise_condition = ${{if def:tls_in_cipher}}
login:
  driver = dovecot
  public_name = LOGIN
  server_socket = {path}
  server_set_id = $auth1
  server_advertise_condition = ${{if def:tls_in_cipher}}
"""


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as sock:
        return sock.recv(4) == b"220 "
    return False


class AskedTest(ServerTest):
    """A server with a socket for others."""

    @classmethod
    def setUpClass(cls):
        cls.folder = postern.scratch_folder()
        cls.path = os.path.join(cls.folder, "auth")
        cls.settings = ServerTest.settings + '\nlistener asked { protocol = "auth" path = "%s" tls = "none" }' % cls.path
        super().setUpClass()


class Pipelined(AskedTest):
    """One connection for all clients of the other server, as Dovecot's log-in processes have it."""

    COUNT = 200

    def ask(self, *lines):
        """All at once; what comes until the end."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(postern.PATIENCE)
            sock.connect(self.path)
            sock.sendall("".join(line + "\n" for line in ("VERSION\t1\t2", *lines)).encode())
            sock.shutdown(socket.SHUT_WR)
            with sock.makefile("r", encoding="ascii") as file:
                return file.read().partition("DONE\n")[2].splitlines()

    def test_each_is_answered_once_and_rightly(self):
        def request(number):
            password = "wrong" if number % 50 == 0 else postern.PASSWORD
            response = base64.b64encode(("\0%s\0%s" % (("alice", "bob")[number % 2], password)).encode()).decode()
            return "AUTH\t%d\tPLAIN\tservice=smtp\tsecured\trip=192.0.2.%d\tresp=%s" % (number, number % 200 + 1, response)

        def answer(number):
            return "FAIL\t%d" % number if number % 50 == 0 else "OK\t%d\tuser=%s@example.test" % (number, ("alice", "bob")[number % 2])

        said = self.ask(*map(request, range(self.COUNT)))
        self.assertEqual(sorted(said), sorted(map(answer, range(self.COUNT))))

    def test_exchanges_that_wait_for_their_clients_are_limited(self):
        said = self.ask(*("AUTH\t%d\tLOGIN\tservice=smtp\tsecured" % number for number in range(66)), "CANCEL\t7",
                        "AUTH\t66\tLOGIN\tservice=smtp\tsecured")
        self.assertEqual([line for line in said if line.startswith("FAIL")], ["FAIL\t64\ttemp", "FAIL\t65\ttemp", "FAIL\t7"])
        self.assertEqual(len(said), 68)


@unittest.skipUnless(os.geteuid() == 0, "other servers start as root")
class Asking(AskedTest):
    def log_in_at(self, port):
        """Right and wrong, by each mechanism, over TLS; and nothing is taken before it."""
        for mechanism in ("PLAIN", "LOGIN"):
            for user, password in (("alice", postern.PASSWORD), ("alice", "wrong"), ("nobody", "x")):
                with self.subTest(mechanism=mechanism, user=user, password=password):
                    client = smtplib.SMTP("127.0.0.1", port, timeout=postern.PATIENCE * 3)
                    client.ehlo()
                    self.assertFalse(client.has_extn("auth"))
                    client.starttls(context=self.context())
                    client.ehlo()
                    client.user, client.password = user, password
                    if password == postern.PASSWORD:
                        client.auth(mechanism, getattr(client, "auth_" + mechanism.lower()))
                    else:
                        with self.assertRaises(smtplib.SMTPAuthenticationError):
                            client.auth(mechanism, getattr(client, "auth_" + mechanism.lower()))
                    client.close()
        self.assertRegex(self.server.log(), r"event=login sid=\w+ user=alice@example.test service=auth remote=127.0.0.1:")

    @staticmethod
    def context():
        context = postern.authority().client_context()
        context.check_hostname = False
        return context

    def prepare(self, name, group):
        """A folder of the other server's, and a socket that it may connect to."""
        folder = os.path.join(self.folder, name)
        os.mkdir(folder)
        certificate, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
        shutil.copy(self.server.certificate, certificate)
        shutil.copy(self.server.key, key)
        os.chown(key, 0, group)
        os.chmod(key, 0o640)
        os.chown(self.path, 0, group)
        os.chmod(self.path, 0o660)
        return {"folder": folder, "certificate": certificate, "key": key, "path": self.path,
                "port": ports.free()}

    def write(self, path, text):
        with open(path, "w", encoding="ascii") as file:
            file.write(text)

    @unittest.skipUnless(os.path.exists(POSTFIX), "Postfix is not installed")
    def test_postfix(self):
        names = self.prepare("postfix", grp.getgrnam("postfix").gr_gid)
        folder = names["folder"]
        for place in ("queue", "data"):
            os.mkdir(os.path.join(folder, place))
        shutil.chown(os.path.join(folder, "data"), "postfix")
        self.write(os.path.join(folder, "main.cf"), MAIN_CF.format(**names))
        self.write(os.path.join(folder, "master.cf"), MASTER_CF.format(**names))
        postfix = ("postfix", "-c", folder)
        subprocess.run(postfix + ("start",), check=True, stdin=subprocess.DEVNULL, capture_output=True)
        try:
            postern.wait_until(lambda: answers(names["port"]), "Postfix", postern.PATIENCE * 3)
            self.log_in_at(names["port"])
        finally:
            subprocess.run(postfix + ("stop",), check=False, stdin=subprocess.DEVNULL, capture_output=True)

    @unittest.skipUnless(EXIM, "Exim is neither installed nor unpacked in $POSTERN_TEST_UNPACKED")
    def test_exim(self):
        names = self.prepare("exim", grp.getgrnam("mail").gr_gid)
        folder = names["folder"]
        os.mkdir(os.path.join(folder, "spool"))
        shutil.chown(os.path.join(folder, "spool"), "mail", "mail")
        shutil.chown(folder, "mail", "mail")
        conf = os.path.join(folder, "exim.conf")
        self.write(conf, EXIM_CONF.format(user="mail", **names))
        exim = subprocess.Popen((EXIM, "-C", conf, "-bdf"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                env={**os.environ, **self.exim_user(folder)})
        try:
            postern.wait_until(lambda: exim.poll() is not None or answers(names["port"]), "Exim", postern.PATIENCE * 3)
            if exim.poll() is not None:
                self.fail(exim.stdout.read())
            self.log_in_at(names["port"])
        finally:
            exim.terminate()
            exim.communicate()

    def exim_user(self, folder):
        """The user that is built into Debian's Exim comes with its installation; here it is another name of mail."""
        mail = pwd.getpwnam("mail")
        users, groups = os.path.join(folder, "users"), os.path.join(folder, "groups")
        names = ("root", 0, 0), ("mail", mail.pw_uid, mail.pw_gid), ("Debian-exim", mail.pw_uid, mail.pw_gid)
        self.write(users, "".join("%s:x:%d:%d::/:/bin/sh\n" % name for name in names))
        self.write(groups, "".join("%s:x:%d:\n" % (name, group) for name, _, group in names))
        return {"LD_PRELOAD": "libnss_wrapper.so", "NSS_WRAPPER_PASSWD": users, "NSS_WRAPPER_GROUP": groups}


if __name__ == "__main__":
    unittest.main()
