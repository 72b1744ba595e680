# SPDX-License-Identifier: MIT
"""Name servers on loopback that answer as a table says, truly or not.

ANSWERS maps (name, type) to a function that gets the query (dnslib.DNSRecord) and gives a reply to send: a DNSRecord, octets, a list of
those (sent one after the other), or None (nothing is sent)."""

import socket
import struct
import threading
import traceback

import dnslib
from dnslib import QTYPE, RR


def reply(*lines, code=0, ad=False, authority=()):
    """As a true server answers: lines are records in zone file form."""
    def answer(query):
        record = query.reply(ra=1, aa=0)
        record.header.rcode = code
        record.header.ad = 1 if ad else 0
        for line in lines:
            record.add_answer(*RR.fromZone(line))
        for line in authority:
            record.add_auth(*RR.fromZone(line))
        return record
    return answer


class Liar:
    """A server on UDP and TCP, on one port of its own. `log` has (name, type, protocol) of what was asked."""

    def __init__(self, answers, default=None):
        self.answers, self.default, self.log = answers, default, []
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.port = self.tcp.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", self.port))
        for run in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=run, daemon=True).start()

    @property
    def address(self):
        return "127.0.0.1:%d" % self.port

    def close(self):
        for sock in (self.udp, self.tcp):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()

    def _answers(self, octets, protocol):
        query = dnslib.DNSRecord.parse(octets)
        name, kind = str(query.q.qname).rstrip(".").lower(), QTYPE[query.q.qtype]
        self.log.append((name, kind, protocol))
        answer = self.answers.get((name, kind), self.default)
        try:
            got = answer(query) if answer else reply(code=dnslib.RCODE.NXDOMAIN)(query)
        except Exception:  # a mistake in the table: told, and the server goes on
            traceback.print_exc()
            return
        if isinstance(got, dict):
            got = got[protocol]
        for one in got if isinstance(got, list) else [got]:
            if one is not None:
                yield one if isinstance(one, bytes) else bytes(one.pack())

    def _serve_udp(self):
        while True:
            try:
                octets, peer = self.udp.recvfrom(4096)
            except OSError:
                return
            if not octets:  # that is how close() ends it
                return
            for answer in self._answers(octets, "udp"):
                self.udp.sendto(answer[:65000], peer)

    def _serve_tcp(self):
        while True:
            try:
                sock, _ = self.tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(sock,), daemon=True).start()

    def _talk(self, sock):
        with sock, sock.makefile("rb") as stream:
            while len(head := stream.read(2)) == 2:
                octets = stream.read(struct.unpack(">H", head)[0])
                for answer in self._answers(octets, "tcp"):
                    sock.sendall(struct.pack(">H", len(answer)) + answer)
