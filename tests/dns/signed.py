# SPDX-License-Identifier: MIT
"""Signed zones on loopback: Knot serves and signs them, Unbound validates what it says. Both are ended by close()."""

import pathlib
import shutil
import subprocess
import tempfile
import time

import ports

PATIENCE = 120


def installed():
    return all(shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin") for name in ("knotd", "unbound", "kdig"))


KNOT = """
server:
    rundir: "{dir}"
    listen: [ 127.0.0.1@{port} ]
log:
  - target: stderr
    any: warning
database:
    storage: "{dir}"
policy:
  - id: one
    algorithm: ecdsap256sha256
    single-type-signing: on
template:
  - id: default
    storage: "{dir}"
    file: "%s.zone"
    zonefile-load: whole
    zonefile-sync: -1
zone:
"""

UNBOUND = """
server:
    interface: 127.0.0.1
    port: {port}
    do-ip6: no
    do-daemonize: no
    chroot: ""
    username: ""
    directory: "{dir}"
    pidfile: "{dir}/unbound.pid"
    use-syslog: no
    logfile: ""
    module-config: "validator iterator"
    do-not-query-localhost: no
    local-zone: "test." nodefault
    {anchors}
remote-control:
    control-enable: no
"""


class Signed:
    """`zones`: name to text (without SOA and NS). Names in `unsigned` are not signed; Unbound believes a wrong key of those in `bogus`."""

    def __init__(self, zones, unsigned=(), bogus=()):
        self.folder = tempfile.TemporaryDirectory()
        self.dir = pathlib.Path(self.folder.name)
        self.processes = []
        self.knot_port, self.port = ports.free(), ports.free()
        try:
            self._serve(zones, unsigned)
            self._validate(zones, unsigned, bogus)
        except Exception:
            self.close()
            raise

    @property
    def address(self):
        return "127.0.0.1:%d" % self.port

    def close(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait()
        self.folder.cleanup()

    def _run(self, *args):
        log = open(self.dir / (args[0] + ".log"), "wb")
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin"}
        self.processes.append(subprocess.Popen(args, stdout=log, stderr=log, env=env))
        log.close()

    def ask(self, port, name, kind, *more):
        return subprocess.run(["kdig", "@127.0.0.1", "-p", str(port), "+short", "+timeout=2", "+retry=0", *more, name, kind],
                              capture_output=True, text=True).stdout.strip()

    def _wait(self, port, name, kind, log):
        end = time.monotonic() + PATIENCE
        while not (answer := self.ask(port, name, kind)) or answer.startswith(";;"):
            if time.monotonic() > end:
                raise AssertionError("%s does not answer:\n%s" % (log, (self.dir / log).read_text()))
            time.sleep(0.1)
        return answer

    def _serve(self, zones, unsigned):
        text = KNOT.format(dir=self.dir, port=self.knot_port)
        for name, records in zones.items():
            (self.dir / (name + ".zone")).write_text("$ORIGIN %s.\n$TTL 60\n@ SOA ns root 1 60 60 60 60\n@ NS ns\nns A 127.0.0.1\n%s\n" % (name, records))
            text += "  - domain: %s\n" % name
            if name not in unsigned:
                text += "    dnssec-signing: on\n    dnssec-policy: one\n"
        (self.dir / "knot.conf").write_text(text)
        self._run("knotd", "-c", str(self.dir / "knot.conf"))
        for name in zones:
            self._wait(self.knot_port, name, "SOA", "knotd.log")

    def _validate(self, zones, unsigned, bogus):
        anchors = []
        for name in zones:
            if name in unsigned:
                anchors.append('domain-insecure: "%s"' % name)
                continue
            key = self._wait(self.knot_port, name, "DNSKEY", "knotd.log").splitlines()[0]
            if name in bogus:
                flags, protocol, algorithm, octets = key.split(" ", 3)
                key = " ".join((flags, protocol, algorithm, octets[:10] + ("A" if octets[10] != "A" else "B") + octets[11:]))
            anchors.append('trust-anchor: "%s. DNSKEY %s"' % (name, key))
        text = UNBOUND.format(dir=self.dir, port=self.port, anchors="\n    ".join(anchors))
        for name in zones:
            text += 'stub-zone:\n    name: "%s"\n    stub-addr: 127.0.0.1@%d\n    stub-prime: no\n' % (name, self.knot_port)
        (self.dir / "unbound.conf").write_text(text)
        self._run("unbound", "-c", str(self.dir / "unbound.conf"))
        for name in zones:
            if name not in bogus:
                self._wait(self.port, name, "SOA", "unbound.log")
