# SPDX-License-Identifier: MIT
"""An installed Postern, instances of it in folders of their own, and a client that speaks raw IMAP lines."""

import atexit
import contextlib
import itertools
import os
import pwd
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import zlib

import ports

DOMAIN = "example.test"
PASSWORD = "pass"
# One hash of "pass" with few rounds: tests log in thousands of times.
PASSWORD_HASH = (
    "{SHA512-CRYPT}$6$rounds=1000$postern.demo$"
    "qZKAEK77vsfg9OK3d8HkJK4jvS3GTpyLuuIauprqT93uZZD56LeAlCej.pp0XcEpk2KJI/S1Hch2E2iSxDvd/."
)
# How `check` runs the builds with sanitizers.
SANITIZED = "ASAN_OPTIONS" in os.environ or "TSAN_OPTIONS" in os.environ

# Sanitizers and a busy machine are slow. Nothing is judged by this time; it only ends what hangs.
PATIENCE = float(os.environ.get("POSTERN_TEST_PATIENCE", "60"))

BACKENDS = os.environ.get("POSTERN_BACKENDS", "maildir memory").split()


class Installation:
    """Where the programs are: $POSTERN_PREFIX, as `make install` left it."""

    def __init__(self, prefix=None):
        self.prefix = prefix or os.environ.get("POSTERN_PREFIX", "")
        if not os.path.exists(self.path("sbin/posternd")):
            raise SystemExit("no sbin/posternd below '%s': set POSTERN_PREFIX to an installation" % self.prefix)

    def path(self, name):
        return os.path.join(self.prefix, name)


_folders = []


def scratch_folder():
    """A folder that goes away at exit, and that the roles' own users can reach when we are root."""
    path = tempfile.mkdtemp(prefix="postern-test-")
    os.chmod(path, 0o755)
    _folders.append(path)
    return path


@atexit.register
def _remove_folders():
    if os.environ.get("POSTERN_TEST_KEEP"):
        return
    for path in _folders:
        shutil.rmtree(path, ignore_errors=True)


def _certtool(*args):
    subprocess.run(("certtool",) + args, check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Authority:
    """A CA, and certificates by it."""

    def __init__(self):
        self.folder = scratch_folder()
        self.ca = os.path.join(self.folder, "ca.pem")
        self.key = os.path.join(self.folder, "ca-key.pem")
        template = self._template("ca", "cn = test CA", "ca", "cert_signing_key", "expiration_days = 30")
        _certtool("--generate-privkey", "--key-type=ecdsa", "--curve=secp256r1", "--outfile", self.key)
        _certtool("--generate-self-signed", "--load-privkey", self.key, "--template", template, "--outfile", self.ca)

    def _template(self, name, *lines):
        path = os.path.join(self.folder, name + ".tmpl")
        with open(path, "w", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")
        return path

    def issue(self, certificate, key, name="localhost", kind=("--key-type=ecdsa", "--curve=secp256r1")):
        """Writes a certificate and its key, each by a rename, as certificate renewal does."""
        self._issue(certificate, key, kind, "cn = " + name, "dns_name = " + name, "ip_address = 127.0.0.1", "tls_www_server")

    def issue_client(self, certificate, key, email, expiry="expiration_days = 30"):
        self._issue(certificate, key, ("--key-type=ecdsa", "--curve=secp256r1"), "cn = " + email, "email = " + email,
                    "tls_www_client", expiry=expiry)

    def _issue(self, certificate, key, kind, *lines, expiry="expiration_days = 30"):
        template = self._template("other", *lines, "signing_key", expiry)
        _certtool("--generate-privkey", *kind, "--outfile", key + ".new")
        _certtool("--generate-certificate", "--load-privkey", key + ".new", "--load-ca-certificate", self.ca,
                  "--load-ca-privkey", self.key, "--template", template, "--outfile", certificate + ".new")
        os.rename(key + ".new", key)
        os.rename(certificate + ".new", certificate)

    def client_context(self):
        return ssl.create_default_context(cafile=self.ca)


_authority = None


def authority():
    global _authority
    if _authority is None:
        _authority = Authority()
    return _authority


def _passwd_line(name, domain, fields=""):
    return "%s@%s:%s::::::%s\n" % (name, domain, PASSWORD_HASH, fields)


def wait_until(condition, what, patience=None):
    """Polls until condition() is true; its value is returned."""
    end = time.monotonic() + (patience or PATIENCE)
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError("waited in vain for: " + what)


# Title, protocol, and how TLS begins. The implicit one, where there is one, has the title of the other and an "s".
LISTENERS = (
    ("imap", "imap", "starttls"),
    ("imaps", "imap", "implicit"),
    ("pop3", "pop3", "starttls"),
    ("pop3s", "pop3", "implicit"),
    ("smtp", "smtp", "starttls"),
    ("submission", "submission", "starttls"),
    ("submissions", "submission", "implicit"),
    ("lmtp", "lmtp", "starttls"),
    ("auth", "auth", "none"),
)


class Instance:
    """A server with its own folder, ports and users. `settings` is added to the configuration, `tls` to its section tls."""

    def __init__(self, backend=BACKENDS[0], users=("alice", "bob"), settings="", tls="", listeners=True, installation=None, domain=DOMAIN,
                 environment=None):
        self.installation = installation or Installation()
        self.backend = backend
        self.domain = domain
        self.environment = environment
        self.folder = scratch_folder()
        self.config = os.path.join(self.folder, "postern.conf")
        self.log_path = os.path.join(self.folder, "log")
        self.mail_root = os.path.join(self.folder, "mail")
        self.run_dir = os.path.join(self.folder, "run")
        self.spool_dir = os.path.join(self.folder, "spool")
        self.certificate = os.path.join(self.folder, "cert.pem")
        self.key = os.path.join(self.folder, "key.pem")
        self.passwd_file = os.path.join(self.folder, "users")
        self.ports = {}
        self.process = None
        self._settings = settings
        self._tls = tls
        self._listeners = listeners
        os.mkdir(self.mail_root, 0o700)
        os.mkdir(self.run_dir, 0o755)
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postern")
            os.chown(self.mail_root, owner.pw_uid, owner.pw_gid)
        authority().issue(self.certificate, self.key)
        with open(self.passwd_file, "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o600)
            file.writelines(_passwd_line(name, domain) for name in users)

    # ---- configuration and life

    def write_config(self, settings=None):
        if settings is not None:
            self._settings = settings
        text = [
            'hostname = "mail.%s"' % self.domain,
            'default_domain = "%s"' % self.domain,
            'mail_root = "%s"' % self.mail_root,
            'run_dir = "%s"' % self.run_dir,
            'spool_dir = "%s"' % self.spool_dir,
            'passwd_file = "%s"' % self.passwd_file,
            'backend = "%s"' % self.backend,
            'tls { certificate = "%s" key = "%s" %s }' % (self.certificate, self.key, self._tls),
        ]
        if self._listeners:
            for title, protocol, tls in LISTENERS:
                self.ports.setdefault(title, ports.free())
                text.append('listener %s { protocol = "%s" address = "127.0.0.1" port = %d tls = "%s" }'
                            % (title, protocol, self.ports[title], tls))
        text += [self._settings, os.environ.get("POSTERN_TEST_SETTINGS", "")]
        with open(self.config + ".new", "w", encoding="utf-8") as file:
            file.write("\n".join(text) + "\n")
        os.rename(self.config + ".new", self.config)

    def start(self):
        for _ in range(3):
            self.write_config()
            if self._start_once():
                return self
            self.ports = {}  # a machine may have servers on them that show only now
        raise AssertionError("the server does not serve:\n" + self.log_tail())

    def _start_once(self):
        with open(self.log_path, "ab") as log:
            begin = log.tell()
            self.process = subprocess.Popen(
                (self.installation.path("sbin/posternd"), "--config", self.config, "--foreground"),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.process.poll() is None:
            if self.all_ready(begin) and self.serves():
                return True
            time.sleep(0.05)
        if self.process.poll() is None:
            self.stop()
        return False

    def all_ready(self, begin):
        """Whether every role has confined itself and serves: a front alone greets sooner."""
        with open(self.log_path, "rb") as log:
            log.seek(begin)
            return b" event=ready " in log.read()

    def serves(self):
        try:
            # From an address of its own: that of the tests' clients may have a limit, and it is not known when this one has ended.
            with contextlib.closing(socket.create_connection(("127.0.0.1", self.ports["imap"]), PATIENCE, ("127.0.0.3", 0))) as sock:
                return sock.recv(5) == b"* OK "
        except OSError:
            return False

    def stop(self):
        """Asks it to end, waits, and gives its exit status."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("the server did not end:\n" + self.log_tail()) from None
        self.process = None
        return status

    def kill(self):
        """Every process of the server at once, as a power cut would. Nor is a role started meanwhile."""
        self.process.send_signal(signal.SIGSTOP)
        ends = []
        for pid in [pid for pid, _ in self.roles()] + [self.process.pid]:
            with contextlib.suppress(ProcessLookupError):
                ends.append(os.pidfd_open(pid))
                signal.pidfd_send_signal(ends[-1], signal.SIGKILL)
        self.process.wait()
        self.process = None
        for end in ends:  # whoever inherits them may be slow to bury them
            ended, _, _ = select.select([end], [], [], PATIENCE)
            os.close(end)
            if not ended:
                raise AssertionError("waited in vain for: the end of all roles")

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.process is not None:
            self.stop()

    def front_memory(self):
        """Resident kilobytes of all front processes."""
        total = 0
        for pid, role in self.roles():
            if role == "front":
                with open("/proc/%d/status" % pid, encoding="ascii") as file:
                    total += next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))
        return total

    def roles(self):
        """(pid, role) of the master's children."""
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open("/proc/%s/stat" % entry, encoding="ascii", errors="replace") as file:
                    parent = int(file.read().rpartition(")")[2].split()[1])
                if parent != self.process.pid:
                    continue
                with open("/proc/%s/cmdline" % entry, "rb") as file:
                    words = file.read().split(b"\0")
            except (OSError, IndexError):
                continue
            role = words[words.index(b"--role") + 1].decode() if b"--role" in words[:-1] else "?"
            found.append((int(entry), role))
        return found

    # ---- looking at it from outside

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def log_tail(self, lines=30):
        return "\n".join(self.log().splitlines()[-lines:])

    def tool(self, *args, check=True, text_input=None):
        """Runs `postern ARGS` for this instance; gives the finished process."""
        done = subprocess.run((self.installation.path("bin/postern"), "--config", self.config) + args,
                              input=text_input, capture_output=True, text=True, timeout=PATIENCE * 3, check=False)
        if check and done.returncode != 0:
            raise AssertionError("postern %s: %s%s" % (" ".join(args), done.stdout, done.stderr))
        return done

    def add_users(self, *names, fields="", domain=None):
        """Writes the passwd-file aside and renames it, as administrators' tools do. `fields`: as in "backend=lmdb"."""
        with open(self.passwd_file, encoding="ascii") as file:
            text = file.read()
        with open(self.passwd_file + ".new", "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(text + "".join(_passwd_line(name, domain or self.domain, fields) for name in names))
        os.rename(self.passwd_file + ".new", self.passwd_file)

    # ---- a Maildir in the hands of others

    def maildir(self, user, mailbox="INBOX"):
        path = os.path.join(self.mail_root, self.domain, user)
        if mailbox != "INBOX":
            path = os.path.join(path, "." + mailbox.replace("/", "."))
        return path

    _deliveries = itertools.count(1)

    def deliver(self, user, octets, mailbox="INBOX", flags=None):
        """As another program would: written below tmp, renamed into new, or into cur if it has flags. Gives the name."""
        path = self.maildir(user, mailbox)
        name = "%d.M%06dP%d.elsewhere" % (time.time(), next(self._deliveries), os.getpid())
        owner = os.stat(os.path.join(path, "tmp"))
        temporary = os.path.join(path, "tmp", name)
        with open(temporary, "wb") as file:
            file.write(octets)
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        place = ("new", name) if flags is None else ("cur", name + ":2," + flags)
        os.rename(temporary, os.path.join(path, *place))
        return name

    # ---- clients

    def connect(self, tls=False, protocol="imap", **options):
        tls = tls and protocol + "s" in self.ports
        return Client(self.ports[protocol + "s" if tls else protocol], tls=tls, **options)

    def session(self, user="alice", select=None):
        """A client that is logged in over TLS."""
        client = self.connect(tls=True)
        client.greeting()
        client.ok("LOGIN %s %s" % (user, PASSWORD))
        if select:
            client.ok("SELECT " + select)
        return client


class Closed(Exception):
    """The server has closed the connection."""


class Client:
    """Lines to a server and lines from it; nothing is parsed but the ends of lines and, in answer(), literals."""

    def __init__(self, port, tls=False, patience=None, context=None, source="127.0.0.1"):
        self.sock = socket.create_connection(("127.0.0.1", port), patience or PATIENCE, (source, 0))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self._tags = itertools.count(1)
        self._context = context
        if tls:
            self.start_tls()

    def start_tls(self):
        context = self._context or authority().client_context()
        self.sock = context.wrap_socket(self.sock, server_hostname="localhost")

    def send(self, octets):
        self.sock.sendall(octets)

    def line(self):
        """One line, with its CRLF."""
        while b"\n" not in self._buffer:
            self._fill()
        end = self._buffer.index(b"\n") + 1
        line, self._buffer = self._buffer[:end], self._buffer[end:]
        return line

    def octets(self, count):
        while len(self._buffer) < count:
            self._fill()
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def _fill(self):
        try:
            data = self.sock.recv(65536)
        except (ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            data = b""
        if not data:
            raise Closed(self._buffer.decode("utf-8", "replace"))
        self._buffer += data

    def is_closed(self):
        """Reads on until the server closes; False if it sends nothing and does not."""
        try:
            while True:
                self._buffer = b""
                self._fill()
        except Closed:
            return True
        except TimeoutError:
            return False

    def greeting(self):
        return self.line()

    def response(self):
        """One response, literals included, as one string of octets."""
        whole = line = self.line()
        while match := re.search(rb"\{(\d+)\}\r\n$", line):
            whole += self.octets(int(match.group(1)))
            line = self.line()
            whole += line
        return whole

    def command(self, text):
        """Sends a command with a tag of its own; gives (untagged responses, tagged line without the tag)."""
        tag = b"x%d" % next(self._tags)
        self.send(tag + b" " + (text if isinstance(text, bytes) else text.encode()) + b"\r\n")
        return self.finish(tag)

    def finish(self, tag):
        untagged = []
        while True:
            response = self.response()
            if response.startswith(tag + b" "):
                return untagged, response[len(tag) + 1:].rstrip(b"\r\n")
            untagged.append(response)

    def ok(self, text):
        untagged, status = self.command(text)
        if not status.startswith(b"OK"):
            raise AssertionError("%r was answered %r" % (text, status))
        return untagged

    def append(self, octets, mailbox="INBOX", flags="", patience=None):
        """APPEND with a synchronising literal; the tagged answer."""
        tag = b"x%d" % next(self._tags)
        self.send(tag + (" APPEND %s (%s) {%d}\r\n" % (mailbox, flags, len(octets))).encode())
        while not (line := self.response()).startswith(b"+"):
            if line.startswith(tag):
                return line[len(tag) + 1:]
        self.send(octets + b"\r\n")
        return self.finish(tag)[1]

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Deflated:
    """Lies between a client and its socket."""

    def __init__(self, sock, level=6, window=15):
        self.sock = sock
        self._deflate = zlib.compressobj(level, zlib.DEFLATED, -window)
        self._inflate = zlib.decompressobj(-15)
        self.raw = 0

    def pack(self, octets, flush=zlib.Z_SYNC_FLUSH):
        return self._deflate.compress(octets) + self._deflate.flush(flush)

    def sendall(self, octets):
        self.sock.sendall(self.pack(octets))

    def recv(self, count):
        while data := self.sock.recv(count):
            self.raw += len(data)
            if plain := self._inflate.decompress(data):
                return plain
        return b""

    def settimeout(self, seconds):
        self.sock.settimeout(seconds)

    def close(self):
        self.sock.close()


def compress(client, **options):
    client.ok("COMPRESS DEFLATE")
    client.sock = Deflated(client.sock, **options)
    return client


def message(subject="test", body="Hello.\r\n", headers=""):
    """A small lawful message as CRLF octets."""
    return ("From: alice@example.test\r\nTo: bob@example.test\r\nSubject: %s\r\n"
            "Date: Mon, 02 Mar 2026 08:30:00 +0100\r\nMessage-ID: <%s@example.test>\r\n%s\r\n%s"
            % (subject, re.sub(r"\W", "-", subject), headers, body)).encode()


def sanitizer_reports(log):
    """What a sanitizer, or a role that died, wrote into a log."""
    found = []
    lines = log.splitlines()
    for number, line in enumerate(lines):
        if re.search(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|event=role_died", line):
            found.append("\n".join(lines[number:number + 25]))
    return found
