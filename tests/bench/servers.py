# SPDX-License-Identifier: MIT
"""Postern, and the servers of others beside it, each on loopback in a folder of its own, with what each of them takes: CPU and memory.

All of them sync what they write. With -relaxed behind its name Postern has `durability = relaxed`, and Dovecot its default mail_fsync.
They are set up as who knows them would for many users: processes that stay, limits raised, no delays for clients that come often.
"""

import contextlib
import imaplib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../functional")]
import mail  # noqa: E402
import ports  # noqa: E402
import postern  # noqa: E402
import postfix  # noqa: E402

USERS = 1200  # of each server; which of them a scenario takes is its business


def family(pid):
    """The process and all below it."""
    children = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as f:
            children.setdefault(int(f.read().rsplit(")", 1)[1].split()[1]), []).append(int(entry))
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


class Group:
    """A cgroup for what is started within `with`, or, where we may not make one, the trees of processes below pids()."""

    def __init__(self, name):
        self.path = None
        with open("/proc/mounts", encoding="utf-8") as f:
            mounts = [line.split()[1] for line in f if line.split()[2] == "cgroup2"]
        if mounts:
            with contextlib.suppress(OSError):
                path = os.path.join(mounts[0], "postern-bench-%d-%s" % (os.getpid(), name))
                os.mkdir(path)
                self.path = path
        self.pids = []  # the roots of trees

    def __enter__(self):
        if self.path:
            with open("/proc/self/cgroup", encoding="ascii") as f:
                self._home = next(line.split(":", 2)[2].strip() for line in f if line.startswith("0::"))
            self._move(self.path)

    def __exit__(self, *_):
        if self.path:
            self._move(os.path.dirname(self.path) + self._home)

    @staticmethod
    def _move(path):
        with open(os.path.join(path, "cgroup.procs"), "w", encoding="ascii") as f:
            f.write(str(os.getpid()))

    def processes(self):
        if not self.path:
            return [one for pid in self.pids for one in family(pid)]
        with open(os.path.join(self.path, "cgroup.procs"), encoding="ascii") as f:
            return [int(line) for line in f]

    def cpu(self):
        """Seconds, of ended processes too."""
        if self.path:
            with open(os.path.join(self.path, "cpu.stat"), encoding="ascii") as f:
                return next(int(line.split()[1]) for line in f if line.startswith("usage_usec")) / 1e6
        ticks = 0
        for pid in self.processes():
            with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
                fields = f.read().rsplit(")", 1)[1].split()
                ticks += sum(int(fields[i]) for i in (11, 12, 13, 14))
        return ticks / os.sysconf("SC_CLK_TCK")

    def pss(self):
        """KiB."""
        total = 0
        for pid in self.processes():
            with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
                total += sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
        return total

    def close(self):
        if self.path:
            with contextlib.suppress(OSError):
                os.rmdir(self.path)


class Server:
    """name; ports by protocol; user: a pattern of log-in names; address: one of mail addresses; group."""
    user = address = "user%04u@example.test"

    def __init__(self, name):
        self.name, self.ports, self.group = name, {}, Group(name)

    def fill(self, number, tree):
        """Puts a Maildir, its sub-folders too, into the mail of a user who has none."""
        raise NotImplementedError

    def session(self, number):
        client = imaplib.IMAP4("127.0.0.1", self.ports["imap"])
        client.login(self.user.replace("%04u", "%04d") % number, "pass")
        return client

    def wait_for_port(self, protocol):
        def connects():
            with contextlib.suppress(OSError), contextlib.closing(socket.create_connection(("127.0.0.1", self.ports[protocol]), 5)) as s:
                return s.recv(1)
            return None
        postern.wait_until(connects, "%s at port %d of %s" % (protocol, self.ports[protocol], self.name))

    def mail_root(self):
        """Where Maildirs of users lie, or None."""
        return None


class Postern(Server):
    SETTINGS = """
plaintext_without_tls = yes
limits { connections = 30000 connections_per_address = 0 user_messages_per_hour = 0 user_messages_per_day = 0 user_recipients_per_day = 0 }
transport "*" { host = "127.0.0.1" port = %d }
"""

    def __init__(self, name, backend="maildir", settings="", environment=None):
        super().__init__(name)
        self.backend, self.sink = backend, ports.free()
        self.instance = postern.Instance(backend, ["user%04d" % n for n in range(1, USERS + 1)],
                                         self.SETTINGS % self.sink + settings, environment=environment)
        with self.group:
            self.instance.start()
        self.ports = self.instance.ports
        self.group.pids = [self.instance.process.pid]

    @staticmethod
    def why_not():
        return None if os.environ.get("POSTERN_PREFIX") else "POSTERN_PREFIX names no installation"

    def version(self):
        done = subprocess.run([self.instance.installation.path("sbin/posternd"), "--version"], capture_output=True, text=True, check=True)
        return done.stdout.strip().replace("posternd", "Postern")

    def fill(self, number, tree):
        if self.backend == "maildir":
            mail.link(tree, os.path.join(self.mail_root(), "user%04d" % number))
        else:
            subprocess.run([self.instance.installation.path("bin/postern"), "--config", self.instance.config, "import",
                            "user%04d@example.test" % number, tree], check=True, stdout=subprocess.DEVNULL)

    def mail_root(self):
        return os.path.join(self.instance.mail_root, "example.test") if self.backend == "maildir" else None

    def stop(self):
        self.instance.stop()
        self.group.close()


class Dovecot(Server):
    CONFIG = """
base_dir = {top}/run
state_dir = {top}/run
instance_name = postern-bench-{name}
log_path = {top}/log
protocols = imap pop3 lmtp
listen = 127.0.0.1
ssl = yes
ssl_cert = <{authority}/bench-cert.pem
ssl_key = <{authority}/bench-key.pem
disable_plaintext_auth = no
auth_failure_delay = 0
auth_cache_size = 100M
mail_location = {format}:{top}/mail/%n
mail_fsync = {fsync}
mail_max_userip_connections = 0
first_valid_uid = 1
default_client_limit = 30000
default_process_limit = 30000
default_vsz_limit = 0
passdb {{
  driver = passwd-file
  args = scheme=CRYPT username_format=%u {top}/passwd
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={top}/mail/%n
}}
service imap-login {{
  service_count = 0
  process_min_avail = 2
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service pop3-login {{
  service_count = 0
  process_min_avail = 2
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = {pop3s}
    ssl = yes
  }}
}}
service imap {{
  service_count = 1000
  process_min_avail = 4
}}
service pop3 {{
  service_count = 1000
  process_min_avail = 4
}}
service lmtp {{
  process_min_avail = 4
  inet_listener lmtp {{
    port = {lmtp}
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
namespace inbox {{
  inbox = yes
  separator = .
}}
"""

    def __init__(self, name, format="maildir", fsync="always"):
        super().__init__(name)
        self.dir, self.format = os.path.join(postern.scratch_folder(), "d"), format
        os.makedirs(os.path.join(self.dir, "mail"))
        owner = mail.owner()
        os.chown(os.path.join(self.dir, "mail"), owner.pw_uid, owner.pw_gid)
        self.ports = {protocol: ports.free() for protocol in ("imap", "imaps", "pop3", "pop3s", "lmtp")}
        self.config = os.path.join(self.dir, "dovecot.conf")
        authority = postern.authority()
        authority.issue(authority.folder + "/bench-cert.pem", authority.folder + "/bench-key.pem")
        with open(os.path.join(self.dir, "passwd"), "w", encoding="ascii") as f:
            f.writelines("user%04d@example.test:%s::::::\n" % (n, postern.PASSWORD_HASH) for n in range(1, USERS + 1))
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(self.CONFIG.format(top=self.dir, name=name, format=format, fsync=fsync, user=owner.pw_uid,
                                       group=owner.pw_gid, authority=authority.folder, **self.ports))
        with self.group:
            # It warns of limits that only more clients than there are would meet.
            with open(os.path.join(self.dir, "start"), "w", encoding="utf-8") as said:
                subprocess.run(["dovecot", "-c", self.config], stdout=said, stderr=said, check=True)
        for protocol in ("imap", "pop3", "lmtp"):
            self.wait_for_port(protocol)
        with open(os.path.join(self.dir, "run", "master.pid"), encoding="ascii") as f:
            self.group.pids = [int(f.read())]

    @staticmethod
    def why_not():
        if os.getuid() != 0:
            return "only root can start Dovecot"
        missing = [name for name in ("imap", "pop3", "lmtp") if not os.path.exists("/usr/lib/dovecot/" + name)]
        return "Debian's dovecot-%sd is not installed" % missing[0] if missing else None

    def version(self):
        return "Dovecot " + subprocess.run(["dovecot", "--version"], capture_output=True, text=True, check=True).stdout.split()[0]

    def fill(self, number, tree):
        if self.format == "maildir":
            mail.link(tree, os.path.join(self.mail_root(), "user%04d" % number))
        else:
            subprocess.run(["doveadm", "-c", self.config, "-o", "mail_fsync=never", "backup", "-R", "-u",
                            "user%04d@example.test" % number, "maildir:" + tree], check=True)

    def mail_root(self):
        return os.path.join(self.dir, "mail") if self.format == "maildir" else None

    def stop(self):
        os.kill(self.group.pids[0], signal.SIGTERM)
        postern.wait_until(lambda: not self.group.processes() or not os.path.exists("/proc/%d" % self.group.pids[0]), "Dovecot's end")
        self.group.close()


class Cyrus(Server):
    """Debian's cyrus-imapd excludes dovecot-imapd, so POSTERN_CYRUS names a folder with its package unpacked; cyrus-common is installed."""
    BIN = "/usr/lib/cyrus/bin"
    FEW = 320  # users: a password takes a process of its own
    CONFIG = """
configdirectory: {top}/config
partition-default: {top}/mail
defaultpartition: default
proc_path: {top}/proc
mboxname_lockpath: {top}/lock
idlesocket: {top}/idle
lmtpsocket: {top}/lmtp
notifysocket: {top}/notify
syslog_prefix: postern-bench
servername: localhost
virtdomains: userid
defaultdomain: example.test
admins: cyrus
allowplaintext: yes
unixhierarchysep: yes
altnamespace: yes
popminpoll: 0
maxlogins_per_host: 0
maxlogins_per_user: 0
duplicatesuppression: no
autocreate_quota: 0
autocreate_post: yes
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {top}/passwords
sasl_mech_list: PLAIN LOGIN
tls_server_cert: {top}/bench-cert.pem
tls_server_key: {top}/bench-key.pem
timeout: 60
"""
    SERVICES = """
START {{
  recover cmd="/usr/lib/cyrus/bin/ctl_cyrusdb -C {conf} -r"
}}
SERVICES {{
  imap cmd="{bin}/imapd -C {conf}" listen="127.0.0.1:{imap}" prefork=4 maxchild=30000
  imaps cmd="{bin}/imapd -C {conf} -s" listen="127.0.0.1:{imaps}" prefork=4 maxchild=30000
  pop3 cmd="{bin}/pop3d -C {conf}" listen="127.0.0.1:{pop3}" prefork=4 maxchild=30000
  lmtp cmd="/usr/lib/cyrus/bin/lmtpd -C {conf} -a" listen="127.0.0.1:{lmtp}" prefork=4 maxchild=200
}}
DAEMON {{
  idled cmd="{bin}/idled -C {conf}"
}}
"""

    def __init__(self, name):
        super().__init__(name)
        self.dir = os.path.join(postern.scratch_folder(), "c")
        for folder in ("mail", "proc", "lock", "config/socket", "config/proc", "config/lock", "config/db", "config/user", "config/log"):
            os.makedirs(os.path.join(self.dir, folder))
        authority = postern.authority()
        authority.issue(authority.folder + "/bench-cert.pem", authority.folder + "/bench-key.pem")
        for part in ("cert", "key"):  # which it reads as its own user
            shutil.copy("%s/bench-%s.pem" % (authority.folder, part), self.dir)
        self.ports = {protocol: ports.free() for protocol in ("imap", "imaps", "pop3", "lmtp")}
        conf = os.path.join(self.dir, "imapd.conf")
        with open(conf, "w", encoding="ascii") as f:
            f.write(self.CONFIG.format(top=self.dir))
        with open(os.path.join(self.dir, "cyrus.conf"), "w", encoding="ascii") as f:
            f.write(self.SERVICES.format(bin=os.environ["POSTERN_CYRUS"] + self.BIN, conf=conf, **self.ports))
        for n in range(1, self.FEW):
            subprocess.run(["saslpasswd2", "-p", "-c", "-f", self.dir + "/passwords", "-u", "localhost", "user%04d" % n], input="pass\n", text=True,
                           check=True)
        subprocess.run(["chown", "-R", "cyrus:mail", self.dir], check=True)
        pid_file = os.path.join(self.dir, "pid")
        with self.group:
            subprocess.run([self.BIN + "/master", "-C", conf, "-M", self.dir + "/cyrus.conf", "-p", pid_file, "-d", "-L", self.dir + "/log"],
                           check=True)
        for protocol in ("imap", "pop3", "lmtp"):
            self.wait_for_port(protocol)
        with open(pid_file, encoding="ascii") as f:
            self.group.pids = [int(f.read())]

    @classmethod
    def why_not(cls):
        if not os.path.exists(os.environ.get("POSTERN_CYRUS", "") + cls.BIN + "/imapd"):
            return "POSTERN_CYRUS names no folder where Debian's cyrus-imapd and cyrus-pop3d are unpacked"
        missing = [name for name in (cls.BIN + "/master", "/usr/sbin/saslpasswd2") if not os.path.exists(name)]
        return missing[0] + " is missing" if missing else None

    def version(self):
        done = subprocess.run([self.BIN + "/cyr_info", "-C", self.dir + "/imapd.conf", "version"], stdout=subprocess.PIPE, text=True, check=False)
        return "Cyrus " + (done.stdout.split() or ["3"])[-1]

    def fill(self, number, tree):
        """By APPEND of many messages at once."""
        folders = [(tree, "INBOX")] + [(one.path, one.name[1:]) for one in os.scandir(tree) if one.name.startswith(".")]
        for where, name in (one for one in folders if os.path.isdir(os.path.join(one[0], "cur"))):
            with self.session(number) as client:
                if name != "INBOX":
                    client.create(name)
                files = sorted(os.scandir(os.path.join(where, "cur")), key=lambda one: int(one.name.split(".")[0]))
                for n in range(0, len(files), 500):
                    append(client, name, files[n:n + 500])

    def stop(self):
        os.kill(self.group.pids[0], signal.SIGTERM)
        postern.wait_until(lambda: not os.path.exists("/proc/%d" % self.group.pids[0]), "Cyrus' end")
        self.group.close()


def append(client, mailbox, files):
    """Non-synchronising literals, in one command."""
    parts = [b"F APPEND " + mailbox.encode()]
    for one in files:
        with open(one.path, "rb") as f:
            octets = f.read().replace(b"\n", b"\r\n")
        parts.append(b' %s{%d+}\r\n%s' % (b"(\\Seen) " if one.name.endswith("S") else b"", len(octets), octets))
    client.send(b"".join(parts) + b"\r\n")
    line = b""
    while not line.startswith(b"F "):
        line = client.readline()
    assert line.startswith(b"F OK"), line


class Postfix(Server):
    """Takes mail of users of its domain into Maildirs, and sends what is for example.org on to the sink."""
    address = "user%04u@" + postfix.DOMAIN

    def __init__(self, name, settings="", programs=()):
        super().__init__(name)
        self.sink = ports.free()
        # in_flow_delay: else it makes clients wait a second when mail comes in faster than it goes out.
        self.postfix = postfix.Postfix(["user%04d" % n for n in range(1, USERS + 1)],
                                       "smtp_tls_security_level = may\nin_flow_delay = 0\n"
                                       "transport_maps = inline:{ { example.org = smtp:[127.0.0.1]:%d } }\n" % self.sink + settings)
        with self.group:
            self.postfix.start()
        self.group.pids = [self.postfix.pid, *programs]
        self.ports = {"smtp": self.postfix.port, "submission": self.postfix.port}

    @staticmethod
    def why_not():
        return postfix.why_not()

    def version(self):
        done = subprocess.run(["/usr/sbin/postconf", "-dh", "mail_version"], capture_output=True, text=True, check=True)
        return "Postfix " + done.stdout.strip()

    def mail_root(self):
        return os.path.join(str(self.postfix.dir), "mail")

    def stop(self):
        self.postfix.stop()
        self.group.close()


class PostfixDovecot(Postfix):
    """Postfix hands local mail to Dovecot by LMTP. The CPU and memory are those of both."""
    address = Server.address

    def __init__(self, name):
        self.dovecot = Dovecot(name + "-lmtp")
        super().__init__(name, "virtual_transport = lmtp:inet:127.0.0.1:%d\n" % self.dovecot.ports["lmtp"]
                         + "virtual_mailbox_domains = example.test\nvirtual_mailbox_maps = static:any\n", self.dovecot.group.pids)
        self.group.cpu = lambda own=self.group.cpu: own() + self.dovecot.group.cpu()
        self.group.pss = lambda own=self.group.pss: own() + self.dovecot.group.pss()

    @staticmethod
    def why_not():
        return Dovecot.why_not() or postfix.why_not()

    def version(self):
        return super().version() + " and " + self.dovecot.version()

    def mail_root(self):
        return self.dovecot.mail_root()

    def stop(self):
        super().stop()
        self.dovecot.stop()


# What runs: how it is made, and, of ours, beside which of the others it stands when their Maildirs, queues and formats are compared.
RELAXED = "-relaxed"
RELAX = "durability = relaxed\n"
SERVERS = {
    "maildir": (Postern, {"backend": "maildir"}),
    "lmdb": (Postern, {"backend": "lmdb"}),
    "mbox": (Postern, {"backend": "mbox"}),
    "maildir-relaxed": (Postern, {"backend": "maildir", "settings": RELAX}),
    "lmdb-relaxed": (Postern, {"backend": "lmdb", "settings": RELAX}),
    "mbox-relaxed": (Postern, {"backend": "mbox", "settings": RELAX}),
    "dovecot": (Dovecot, {}),
    "dovecot-relaxed": (Dovecot, {"fsync": "optimized"}),
    "dovecot-sdbox": (Dovecot, {"format": "sdbox"}),
    "dovecot-mdbox": (Dovecot, {"format": "mdbox"}),
    "cyrus": (Cyrus, {}),
    "postfix": (Postfix, {}),
    "postfix+dovecot": (PostfixDovecot, {}),
}


def start(name, sessions=0):
    """For so many sessions at once, if they are more than usual: a front needs two descriptors for each with TLS."""
    made, options = SERVERS[name]
    fronts = -(-2 * sessions // (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 1000))
    if made is Postern and fronts > os.cpu_count():
        options = {**options, "settings": options.get("settings", "") + "front_processes = %d\n" % fronts}
    return made(name, **options)


def why_not(name):
    return SERVERS[name][0].why_not()


def raise_limits():
    """Of this machine: what a server of many users needs. What could not be raised is told."""
    for path, least in (("/proc/sys/fs/inotify/max_user_instances", 8192), ("/proc/sys/fs/inotify/max_user_watches", 1000000)):
        with open(path, encoding="ascii") as f:
            if int(f.read()) >= least:
                continue
        try:
            with open(path, "w", encoding="ascii") as f:
                f.write(str(least))
        except OSError as error:
            print("bench: %s stays below %d: %s" % (path, least, error.strerror), file=sys.stderr)
