# SPDX-License-Identifier: MIT
"""The SMTP client against servers that misbehave. A row of ROWS is what the servers of the domain do (tests/functional/fakemx.py), and what must
become of each recipient: "outcome code enhanced", and a piece of the text where it matters."""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import unittest

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
SOURCE = HERE.parents[2]
sys.path[:0] = [str(SOURCE / "tests/functional"), str(SOURCE / "tests/dns")]
import fakemx  # noqa: E402
import tap  # noqa: E402
from fakemx import CAPS, FakeMX, after, close, endless, hang, read_then, reset, slowly, then_close, then_reset  # noqa: E402

try:
    import dnslib
    from liar import Liar, reply
except ImportError:
    dnslib = None

SEND = pathlib.Path(os.environ.get("POSTERN_TEST_BUILD", ".")) / "tests/delivery/client/send"
PATIENCE = float(os.environ.get("POSTERN_TEST_PATIENCE", "60"))
MESSAGE = b"From: sender@home.test\r\nSubject: test\r\n\r\nHello.\r\n.\r\n..dots\r\n.\r\n"
EIGHT = b"From: sender@home.test\r\nSubject: test\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n"
HEADER8 = b"From: sender@home.test\r\nSubject: Gr\xc3\xbc\xc3\x9fe\r\n\r\nHello\r\n"
LARGE = b"Subject: large\r\n\r\n" + (b"." + b"x" * 70 + b"\r\n") * 100000
HOSTS = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]

SENT = "delivered 250 2.0.0"
NO_PIPELINING = [cap for cap in CAPS if cap != "PIPELINING"]
WITHOUT_8BIT = [cap for cap in CAPS if cap not in ("8BITMIME", "SMTPUTF8")]

ROWS = []


def row(name, scripts, expect, *args, rcpt=("bob",), message=MESSAGE, check=None, verdict=None, tls=None, domain=None):
    """`expect`: one for all recipients, or by local part. `check(mxs, row)` looks at what the servers saw."""
    scripts = scripts if isinstance(scripts, list) else [scripts]
    domain = domain or "mx%d.test" % len(scripts)
    ROWS.append(dict(name=name, scripts=scripts, expect=expect, args=args, rcpt=rcpt, message=message, check=check, verdict=verdict,
                     tls=tls, domain=domain))


def got_whole(message=MESSAGE, times=1):
    def check(test, mxs):
        test.assertEqual([m[2] for mx in mxs for m in mx.messages], [message] * times)
    return check


def commands(*patterns, mx=0):
    """The commands of the server's first connection."""
    def check(test, mxs):
        lines = [line.decode("utf-8").rstrip("\r\n") for line in mxs[mx].talks[0].commands]
        test.assertEqual(len(lines), len(patterns), lines)
        for line, pattern in zip(lines, patterns):
            test.assertRegex(line, "^%s$" % pattern)
    return check


def talks(*counts):
    """How often each server was connected to."""
    return lambda test, mxs: test.assertEqual([len(mx.talks) for mx in mxs], list(counts))


def nothing_sent(test, mxs):
    test.assertEqual([m for mx in mxs for m in mx.messages], [])


# ---- as it should be
row("plain", {}, SENT, check=got_whole(), verdict="good")
row("commands", {}, SENT, check=commands("EHLO home.test", r"MAIL FROM:<sender@home.test> SIZE=\d+", "RCPT TO:<bob@mx1.test>", "DATA"))
row("without pipelining", {"caps": NO_PIPELINING}, SENT, rcpt=("bob", "eve"), check=got_whole())
row("null sender", {}, SENT, "from=", check=commands("EHLO .*", r"MAIL FROM:<> SIZE=\d+", "RCPT .*", "DATA"))
row("large, with dots", {}, SENT, message=LARGE, check=got_whole(LARGE))
row("bare line ends", {}, SENT, message=b"Subject: x\n\na\rb\n.\nc", check=got_whole(b"Subject: x\r\n\r\na\r\nb\r\n.\r\nc\r\n"))
row("smuggling", {}, SENT, message=b"Subject: x\r\n\r\na\n.\r\nMAIL FROM:<x@y.test>\r\n",
    check=lambda test, mxs: test.assertEqual(len([c for c in mxs[0].commands if c.startswith(b"MAIL")]), 1))
row("greeting of many lines", {"connect": b"220-one\r\n220-two\r\n220 three\r\n"}, SENT)
row("replies without text", {"MAIL": "250", "RCPT": "250", "DATA": "354", "END": "250"}, SENT)
row("replies ended by LF", {"connect": b"220 x\n", "EHLO": b"250-x\n250 PIPELINING\n"}, SENT)
row("HELO", {"EHLO": "502 5.5.1 No", "HELO": "250 x"}, SENT, check=commands("EHLO .*", "HELO home.test", "MAIL FROM:<sender@home.test>", "RCPT .*", "DATA"))
row("another 2yz", {"MAIL": "251 ok", "RCPT": "251 will forward", "END": "251 ok"}, "delivered 251 2.0.0")
row("chunks", {"caps": CAPS + ["CHUNKING"]}, SENT, check=got_whole())
row("large, by chunks", {"caps": CAPS + ["CHUNKING"]}, SENT, message=LARGE, check=got_whole(LARGE))
row("chunk refused", {"caps": CAPS + ["CHUNKING"], "BDAT": "552 5.2.3 Too much"}, "failed 552 5.2.3", message=LARGE)
row("last chunk put off", {"caps": CAPS + ["CHUNKING"], "END": "451 4.3.0 Later"}, "deferred 451 4.3.0")

# ---- refusals
row("unknown user", {"RCPT": "550 5.1.1 No such user"}, "failed 550 5.1.1 No such user", check=nothing_sent, verdict="good")
row("one of many unknown", {"RCPT eve": "550 5.1.1 No"}, {"bob": SENT, "eve": "failed 550 5.1.1", "ann": SENT}, rcpt=("bob", "eve", "ann"))
row("one of many put off", {"RCPT eve": "450 4.2.0 Later"}, {"bob": SENT, "eve": "deferred 450 4.2.0", "ann": SENT}, rcpt=("bob", "eve", "ann"))
row("one of each, no pipelining", {"caps": NO_PIPELINING, "RCPT eve": "450 4.2.0 Later", "RCPT ann": "550 5.1.1 No"},
    {"bob": SENT, "eve": "deferred 450 4.2.0", "ann": "failed 550 5.1.1"}, rcpt=("ann", "eve", "bob"))
row("greylisting", {"RCPT": "450 4.7.1 Greylisted, come back"}, "deferred 450 4.7.1 Greylisted", verdict="good")
row("greylisting, nobody else is asked", [{"RCPT": "450 4.7.1 Greylisted"}, {}], "deferred 450 4.7.1", check=talks(1, 0))
row("sender refused", {"MAIL": "550 5.7.1 Not you"}, "failed 550 5.7.1", rcpt=("bob", "eve"), check=nothing_sent)
row("sender refused, RCPT taken", {"MAIL": "451 4.1.8 Later"}, "deferred 451 4.1.8", rcpt=("bob", "eve"), check=nothing_sent)
row("DATA refused", {"DATA": "554 5.5.1 No valid recipients"}, "failed 554 5.5.1", check=nothing_sent)
row("DATA put off", {"DATA": "451 4.3.0 Try later"}, "deferred 451 4.3.0", check=nothing_sent)
row("message refused", {"END": "550 5.7.1 Spam"}, "failed 550 5.7.1 Spam")
row("message put off", {"END": "451 4.3.0 Disk"}, "deferred 451 4.3.0")
row("code against class", {"RCPT": "550 4.1.1 No"}, "failed 550 5.1.1")
row("no enhanced codes", {"RCPT": "550 no such user"}, "failed 550 5.0.0 no such user")
row("too many recipients", {"RCPT": ["250 ok", "250 ok", "452 4.5.3 Too many", "250 ok"]}, SENT, rcpt=("r1", "r2", "r3"), check=got_whole(times=2))
row("LIMITS RCPTMAX", {"caps": CAPS + ["LIMITS RCPTMAX=2"]}, SENT, rcpt=("r1", "r2", "r3", "r4", "r5"), check=got_whole(times=3))
row("150 recipients", {}, SENT, rcpt=tuple("r%d" % n for n in range(150)), check=got_whole(times=2))
row("all of a batch refused", {"caps": CAPS + ["LIMITS RCPTMAX=2"], "RCPT r1": "550 5.1.1 No", "RCPT r2": "550 5.1.1 No"},
    {"r1": "failed 550 5.1.1", "r2": "failed 550 5.1.1", "r3": SENT}, rcpt=("r1", "r2", "r3"))
row("larger than SIZE", {"caps": ["SIZE 20"]}, "failed 0 5.3.4", check=nothing_sent)
row("RSET refused", {"RCPT r1": "550 5.1.1 No", "caps": ["LIMITS RCPTMAX=1"], "RSET": "500 No"}, {"r1": "failed 550 5.1.1", "r2": "deferred 500 4.5.0"},
    rcpt=("r1", "r2"))

# ---- hosts that are of no use: the next one is tried
row("second takes over: 421", [{"connect": "421 4.3.2 Busy"}, {}], SENT, check=talks(1, 1), verdict="good")
row("second takes over: 554 greeting", [{"connect": "554 5.7.1 Go away"}, {}], SENT)
row("second takes over: no greeting", [{"connect": close}, {}], SENT)
row("second takes over: silence", [{"connect": hang}, {}], SENT, "ms=2000")
row("second takes over: nonsense", [{"connect": "HTTP/1.1 400 Bad Request"}, {}], SENT)
row("second takes over: SSH", [{"connect": "SSH-2.0-OpenSSH_9.2"}, {}], SENT)
row("second takes over: 421 to RCPT", [{"RCPT": then_close("421 4.3.2 Closing")}, {}], SENT, check=talks(1, 1))
row("second takes over: gone after MAIL", [{"MAIL": close}, {}], SENT)
row("second takes over: RST after 354", [{"DATA": then_reset("354 Go on")}, {}], SENT, message=LARGE)
row("second takes over: gone in the message", [{"DATA": read_then(100000, close)}, {}], SENT, message=LARGE)
row("second takes over: 421 at the end", [{"END": then_close("421 4.3.2 Closing")}, {}], SENT)
row("third takes over", [{"connect": close}, {"connect": "421 busy"}, {}], SENT, check=talks(1, 1, 1))
row("first refuses connections", [None, {}], SENT)
row("all refuse connections", [None, None], "deferred 0 4.4.1 connect: Connection refused", verdict="dead")
row("all busy", [{"connect": "421 4.3.2 Busy"}, {"connect": "450 4.3.2 Busy too"}], "deferred 450 4.3.2 Busy too", verdict="busy")
row("all refuse for good", [{"connect": "554 5.7.1 Never"}, {"connect": "554 5.7.1 Not you"}], "failed 554 5.7.1 Not you")
row("one of all may be back", [{"connect": "421 4.3.2 Busy"}, {"connect": "554 5.7.1 Never"}], "deferred 421 4.3.2")
row("421 after one was refused", [{"RCPT bob": "550 5.1.1 No", "RCPT eve": then_close("421 4.3.2 Closing")}, {}],
    {"bob": "failed 550 5.1.1", "eve": SENT}, rcpt=("bob", "eve"))
row("EHLO put off", {"EHLO": "451 4.3.0 Later"}, "deferred 451 4.3.0")
row("EHLO and HELO refused", {"EHLO": "550 5.7.1 No", "HELO": "550 5.7.1 No"}, "failed 550 5.7.1")

# ---- the reply to the message never comes: nobody knows, and nobody else is asked
row("gone after the end", [{"END": close}, {}], "deferred 0 4.4.2", check=talks(1, 0))
row("RST after the end", [{"END": reset}, {}], "deferred 0 4.4.2", check=talks(1, 0))
row("silence after the end", [{"END": hang}, {}], "deferred 0 4.4.2", "ms=400", check=talks(1, 0))
row("nonsense after the end", [{"END": "200-"}, {}], "deferred 0 4.4.2", "ms=400", check=talks(1, 0))
row("354 after the end", [{"END": "354 more"}, {}], "deferred 0 4.4.2", check=talks(1, 0))
row("late 250", {"END": after(0.3, "250 2.0.0 Late")}, SENT)
row("250 and gone", {"END": then_close("250 2.0.0 Ok")}, SENT)

# ---- lies and floods
row("endless line", {"connect": endless(b"2" * 10000)}, "deferred 0 4.4.2")
row("endless greeting", {"connect": endless(b"220-again\r\n" * 50)}, "deferred 0 4.4.2 a reply of more than 100 lines")
row("endless EHLO", {"EHLO": endless(b"250-PIPELINING\r\n" * 50)}, "deferred 0 4.4.2")
row("line of 3000", {"RCPT": "550 " + "x" * 3000}, "deferred 0 4.4.2")
row("99 lines of 2000", {"RCPT": b"550-" + b"x" * 2000 + b"\r\n" + b"550-y\r\n" * 98 + b"550 z\r\n"}, "failed 550 5.0.0")
row("NUL in a reply", {"RCPT": b"550 5.1.1 a\0b\r\n"}, r"failed 550 5.1.1 a\x00b")
row("escapes in a reply", {"RCPT": b"550 5.1.1 \x1b[2J\r\x07\xff\r\n"}, r"failed 550 5.1.1 \x1B[2J\x0D\x07\xFF")
row("two codes in one reply", {"RCPT": b"550-no\r\n250 yes\r\n"}, "deferred 0 4.4.2 a reply with two codes")
row("no digits", {"MAIL": "OK"}, "deferred 0 4.4.2 not a reply of SMTP")
row("code out of range", {"MAIL": "999 What"}, "deferred 0 4.4.2")
row("354 to MAIL", {"MAIL": "354 Go on"}, "deferred 0 4.4.2")
row("250 to DATA", {"DATA": "250 Ok"}, "deferred 0 4.4.2", check=nothing_sent)
row("unasked reply after EHLO", {"EHLO": b"250 x\r\n250 y\r\n", "MAIL": hang}, "deferred 0 4.4.2", "ms=400", check=nothing_sent)
row("pipelining lies: one reply for all", {"RCPT": lambda talk: None}, "deferred 0 4.4.2", "ms=400", check=nothing_sent, rcpt=("bob", "eve"))
row("pipelining lies: too many replies", {"RCPT": b"250 a\r\n250 b\r\n250 c\r\n"}, "deferred 0 4.4.2", rcpt=("bob",), check=nothing_sent)
row("octet by octet", {"connect": slowly(b"220 slow\r\n", 0.01), "RCPT": slowly(b"250 2.1.5 Ok\r\n", 0.01)}, SENT)
row("an octet a while", {"connect": slowly(b"220-" + b"x" * 100, 0.1)}, "deferred 0 4.4.2 the server took too long", "ms=600")
row("250 before the message", {"DATA": b"354 Go on\r\n250 2.0.0 Taken\r\n"}, "deferred 0 4.4.2", message=LARGE)
row("552 in the message", {"DATA": read_then(50000, "552 5.3.4 Too big")}, "failed 552 5.3.4", message=LARGE)
row("452 in the message", {"DATA": read_then(50000, "452 4.3.1 Full")}, "deferred 452 4.3.1", message=LARGE)
row("nobody reads", {"DATA": read_then(1, lambda talk: time.sleep(3))}, "deferred 0 4.4.2", "ms=400", message=LARGE)
row("silence to EHLO", {"EHLO": hang}, "deferred 0 4.4.2", "ms=400")
row("silence to DATA", {"DATA": hang}, "deferred 0 4.4.2", "ms=400")

# ---- 8 bits and UTF-8
row("8BITMIME", {}, SENT, "options=8bitmime", message=EIGHT, check=commands("EHLO .*", r"MAIL FROM:<.*> SIZE=\d+ BODY=8BITMIME", "RCPT .*", "DATA"))
row("8 bits to who takes none", {"caps": WITHOUT_8BIT}, "failed 0 5.6.3", "options=8bitmime", message=EIGHT, check=nothing_sent)
row("8 bits as base64 to who takes none", {"caps": WITHOUT_8BIT}, SENT, "options=8bitmime",
    message=b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xfc\r\n",
    check=got_whole(b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\n/A0K\r\n"))
row("binary as base64 to who takes none", {"caps": CAPS + ["CHUNKING"]}, SENT, "options=binarymime",
    message=b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: binary\r\n\r\na\0\n.\r\n",
    check=got_whole(b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\nYQAKLg0K\r\n"))
row("8BITMIME without any", {"caps": WITHOUT_8BIT}, SENT, "options=8bitmime", check=got_whole())
row("SMTPUTF8", {}, SENT, "options=smtputf8", message=HEADER8, rcpt=("bücher",),
    check=commands("EHLO .*", r"MAIL FROM:<.*> SIZE=\d+ BODY=8BITMIME SMTPUTF8", "RCPT TO:<bücher@mx1.test>", "DATA"))
row("SMTPUTF8 header to who takes none", {"caps": WITHOUT_8BIT}, "failed 0 5.6.7", "options=smtputf8", message=HEADER8, check=nothing_sent)
row("SMTPUTF8 without need", {"caps": WITHOUT_8BIT}, SENT, "options=smtputf8", check=got_whole())
row("one address in UTF-8 to who takes none", {"caps": WITHOUT_8BIT}, {"bücher": "failed 0 5.6.7", "bob": SENT}, rcpt=("bücher", "bob"))
row("sender in UTF-8 to who takes none", {"caps": WITHOUT_8BIT}, "failed 0 5.6.7", "from=bücher@home.test", check=nothing_sent)
row("domain in UTF-8 to who takes none", {"caps": WITHOUT_8BIT}, SENT, "from=a@bücher.test",
    check=commands("EHLO .*", r"MAIL FROM:<a@xn--bcher-kva.test> SIZE=\d+", "RCPT .*", "DATA"))
row("BINARYMIME", {"caps": CAPS + ["CHUNKING", "BINARYMIME"]}, SENT, "options=binarymime", message=b"Subject: x\r\n\r\n\0\n\r.\n",
    check=got_whole(b"Subject: x\r\n\r\n\0\n\r.\n"))
row("BINARYMIME to who takes none", {"caps": CAPS + ["CHUNKING"]}, "failed 0 5.6.3", "options=binarymime", message=EIGHT, check=nothing_sent)

# ---- DSN
row("DSN", {}, SENT, "options=full", "envid=a+b=c", "orcpt=rfc822;x+y@z.test", "notify=6",
    check=commands("EHLO .*", r"MAIL FROM:<.*> SIZE=\d+ RET=FULL ENVID=a\+2Bb\+3Dc",
                   r"RCPT TO:<.*> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;x\+2By@z.test", "DATA"))
row("DSN to who takes none", {"caps": ["SIZE"]}, SENT, "options=hdrs", "envid=x", "notify=1", check=commands("EHLO .*", r"MAIL FROM:<.*> SIZE=\d+", "RCPT TO:<[^ ]*>", "DATA"))
row("ORCPT in UTF-8", {}, SENT, "orcpt=utf-8;bücher@z.test", check=commands("EHLO .*", "MAIL .*", r"RCPT TO:<.*> ORCPT=utf-8;b\\x\{FC\}cher@z.test", "DATA"))

# ---- addresses that are none
row("line in an address", {}, {"bob": SENT, "eve\r\nDATA": "failed 0 5.1.3"}, rcpt=("eve\r\nDATA", "bob"))
row("line in the sender", {}, "failed 0 5.1.7", "from=a@b.test>\r\nRCPT TO:<x", check=nothing_sent)

# ---- LMTP
row("LMTP", {"lmtp": True, "END eve": "452 4.2.2 Over quota"}, {"bob": SENT, "eve": "deferred 452 4.2.2", "ann": SENT}, "lmtp=1",
    rcpt=("bob", "eve", "ann"))
row("LMTP, gone between replies", {"lmtp": True, "END eve": close}, {"bob": SENT, "eve": "deferred 0 4.4.2", "ann": "deferred 0 4.4.2"}, "lmtp=1",
    rcpt=("bob", "eve", "ann"))


def certificates(folder):
    """A CA, a certificate for mx1.mx1.test by it, and one that nobody knows."""
    def certtool(*args, **files):
        subprocess.run(["certtool", *args], check=True, capture_output=True, cwd=folder)

    def template(name, **lines):
        (folder / name).write_text("".join("%s = %s\n" % (k, v) if v is not True else k + "\n" for k, v in lines.items()))

    template("ca.t", cn="Test CA", ca=True, cert_signing_key=True, expiration_days=3650)
    template("good.t", cn="mx1.mx1.test", dns_name="mx1.mx1.test", tls_www_server=True, signing_key=True, expiration_days=3650)
    template("other.t", cn="other.test", dns_name="other.test", tls_www_server=True, signing_key=True, expiration_days=3650)
    template("named.t", cn="host.test", dns_name='"host.ta-name.dane.test"\ndns_name = "*.ta-key.dane.test"\ndns_name = "host.ta-exact-not-sent.dane.test"\n'
             'dns_name = "host.ta-not-sent.dane.test"\ndns_name = "host.ta-other.dane.test"', tls_www_server=True, signing_key=True, expiration_days=3650)
    template("old.t", cn="mx1.mx1.test", dns_name="mx1.mx1.test", tls_www_server=True, signing_key=True,
             activation_date='"2020-01-01 00:00:00"', expiration_date='"2021-01-01 00:00:00"')
    for name in ("ca", "good", "other", "old", "self", "named"):
        certtool("--generate-privkey", "--key-type=ecdsa", "--outfile", name + ".key")
    certtool("--generate-self-signed", "--load-privkey", "ca.key", "--template", "ca.t", "--outfile", "ca.crt")
    certtool("--generate-self-signed", "--load-privkey", "self.key", "--template", "good.t", "--outfile", "self.crt")
    for name in ("good", "other", "old", "named"):
        certtool("--generate-certificate", "--load-privkey", name + ".key", "--load-ca-certificate", "ca.crt", "--load-ca-privkey", "ca.key",
                 "--template", name + ".t", "--outfile", name + ".crt")


    for name in ("good", "named"):
        (folder / (name + "-chain.crt")).write_bytes((folder / (name + ".crt")).read_bytes() + (folder / "ca.crt").read_bytes())
        (folder / (name + "-chain.key")).write_bytes((folder / (name + ".key")).read_bytes())


class Certificate:
    """Named in a row before there are any."""

    def __init__(self, name):
        self.name = name


def tls_row(name, expect, *args, cert="good", **kw):
    script = kw.pop("script", {})
    if cert:
        script = dict(script, certificate=Certificate(cert))
    scripts = [script] + kw.pop("more", [])
    row("TLS: " + name, scripts, expect, *args, domain="mx%d.test" % len(scripts), **kw)


def old_versions(context):
    import ssl
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")


def in_the_clear(test, mxs):
    test.assertFalse(any(talk.secured for mx in mxs for talk in mx.talks if talk.messages))


def encrypted(test, mxs):
    test.assertTrue(all(talk.secured for mx in mxs for talk in mx.talks if talk.messages))


def no_mail_in_the_clear(test, mxs):
    test.assertEqual([line for mx in mxs for talk in mx.talks if not talk.secured for line in talk.commands if line.startswith((b"MAIL", b"AUTH"))], [])


tls_row("opportunistic", SENT, check=encrypted, tls="TLS1.3")
tls_row("any certificate will do", SENT, cert="other", check=encrypted)
tls_row("none wanted", SENT, "tls=none", check=in_the_clear)
tls_row("TLS 1.2", SENT, script={"context": lambda c: setattr(c, "maximum_version", __import__("ssl").TLSVersion.TLSv1_2)}, tls="TLS1.2", check=encrypted)
tls_row("old versions only", SENT, script={"context": old_versions}, check=in_the_clear)
tls_row("old versions only, required", "deferred 0 4.7.5", "tls=required", script={"context": old_versions}, check=no_mail_in_the_clear)
tls_row("refused", SENT, script={"STARTTLS": "454 4.7.0 Not now"}, check=in_the_clear)
tls_row("refused, required", "deferred 0 4.7.10", "tls=required", script={"STARTTLS": "454 4.7.0 Not now"}, check=no_mail_in_the_clear)
tls_row("not offered, required", "deferred 0 4.7.10", "tls=required", cert=None, check=no_mail_in_the_clear)
tls_row("garbage for a handshake", SENT, script={"STARTTLS": [lambda talk: (talk.reply("220 go"), time.sleep(0.1), talk.send(b"garbage" * 10), talk.close())]},
        check=in_the_clear)
tls_row("garbage, required", "deferred 0 4.7.5", "tls=required", script={"STARTTLS": lambda talk: (talk.reply("220 go"), time.sleep(0.1), talk.send(b"garbage" * 10), talk.close())},
        check=no_mail_in_the_clear)
tls_row("handshake hangs", SENT, "ms=2000", script={"STARTTLS": lambda talk: (talk.reply("220 go"), hang(talk))}, check=in_the_clear)
tls_row("words after 220", "deferred 0 4.7.0 went on talking", script={"STARTTLS": b"220 go\r\n250-injected\r\n250 DSN\r\n"}, check=nothing_sent)
tls_row("words after 220, second takes over", SENT, script={"STARTTLS": b"220 go\r\n250 injected\r\n"}, more=[{}])
tls_row("verified", SENT, "tls=verify", check=encrypted)
tls_row("another name", "deferred 0 4.7.5 certificate", "tls=verify", cert="other", check=nothing_sent)
tls_row("unknown authority", "deferred 0 4.7.5 certificate", "tls=verify", cert="self", check=nothing_sent)
tls_row("expired", "deferred 0 4.7.5 certificate", "tls=verify", cert="old", check=nothing_sent)
tls_row("log-in by PLAIN", SENT, "host=mx1.mx1.test", "tls=verify", "user=joe", "password=secret", script={"caps": CAPS + ["AUTH LOGIN PLAIN"]},
        check=lambda test, mxs: test.assertIn(b"AUTH PLAIN AGpvZQBzZWNyZXQ=\r\n", mxs[0].commands))
tls_row("log-in by LOGIN", SENT, "host=mx1.mx1.test", "tls=required", "user=joe", "password=secret",
        script={"caps": CAPS + ["AUTH LOGIN"], "AUTH": lambda talk: (talk.reply("334 VXNlcm5hbWU6"), talk.commands.append(talk.line()),
                                                                     talk.reply("334 UGFzc3dvcmQ6"), talk.commands.append(talk.line()),
                                                                     talk.reply("235 2.7.0 Welcome"))},
        check=lambda test, mxs: test.assertIn(b"c2VjcmV0\r\n", mxs[0].commands))
tls_row("log-in refused", "deferred 535 4.7.8", "host=mx1.mx1.test", "user=joe", "password=wrong", script={"caps": CAPS + ["AUTH PLAIN"], "AUTH": "535 5.7.8 No"},
        check=nothing_sent)
tls_row("no log-in in the clear", "deferred 0 4.7.10", "host=mx1.mx1.test", "user=joe", "password=secret", cert=None,
        script={"caps": CAPS + ["AUTH PLAIN"]}, check=no_mail_in_the_clear)
tls_row("no log-in after a failed handshake", "deferred 0 4.7.5", "host=mx1.mx1.test", "user=joe", "password=secret",
        script={"caps": CAPS + ["AUTH PLAIN"], "STARTTLS": lambda talk: (talk.reply("220 go"), time.sleep(0.1), talk.send(b"garbage" * 10), talk.close())},
        check=no_mail_in_the_clear)
tls_row("capabilities of before are forgotten", SENT, "notify=2", script={"EHLO": [b"250-x\r\n250-STARTTLS\r\n250 DSN\r\n", b"250 x\r\n"]},
        check=lambda test, mxs: test.assertNotIn(b"NOTIFY", b"".join(mxs[0].commands)))


def bind_all(scripts):
    """The servers, on one port, each on an address of its own. None: nobody listens there."""
    for _ in range(50):
        mxs, port = [], 0
        try:
            for script, address in zip(scripts, HOSTS):
                if script is None and not port:
                    probe = FakeMX({}, HOSTS[2])
                    port = probe.port
                    probe.close()
                mxs.append(FakeMX(script, address, port) if script is not None else None)
                port = mxs[-1].port if mxs[-1] else port
            return [mx for mx in mxs if mx], port
        except OSError:
            for mx in mxs:
                if mx:
                    mx.close()
    raise OSError("no port is free on all addresses")


def run_send(*args, message=MESSAGE, timeout=120):
    """Time limits are longer where things take longer (sanitizers)."""
    args = ["ms=%d" % (int(arg[3:]) * max(1, PATIENCE / 20)) if arg.startswith("ms=") else arg for arg in args]
    with tempfile.NamedTemporaryFile() as file:
        file.write(message)
        file.flush()
        run = subprocess.run([str(SEND), "file=" + file.name, *args], capture_output=True, timeout=timeout)
    if run.returncode != 0:
        raise AssertionError("send: %d\n%s" % (run.returncode, run.stderr.decode()))
    return [json.loads(line) for line in run.stdout.splitlines()]


def summary(result, expect):
    """As much of the result as the row tells."""
    words = "%s %d %s" % (result["outcome"], result["code"], result["enhanced"])
    text = expect.split(" ", 3)[3:]
    if text and text[0] in result["text"]:
        words += " " + text[0]
    elif text:
        words += " " + result["text"]
    return words


def zone():
    """mx1.test has one MX, mx2.test two and so on, in the order of HOSTS; and some that lead nowhere."""
    answers = {}
    for count in (1, 2, 3):
        domain = "mx%d.test" % count
        answers[(domain, "MX")] = reply(*("%s 60 IN MX %d mx%d.%s" % (domain, n * 10, n, domain) for n in range(1, count + 1)))
        for n in range(1, count + 1):
            name = "mx%d.%s" % (n, domain)
            answers[(name, "A")] = reply("%s 60 IN A %s" % (name, HOSTS[n - 1]))
            answers[(name, "AAAA")] = reply()
    answers[("null.test", "MX")] = reply("null.test 60 IN MX 0 .")
    answers[("broken.test", "MX")] = reply(code=2)
    answers[("silent.test", "MX")] = lambda query: None
    answers[("implicit.test", "MX")] = reply()
    answers[("implicit.test", "A")] = reply("implicit.test 60 IN A 127.0.0.2")
    answers[("implicit.test", "AAAA")] = reply()
    answers[("nowhere.test", "MX")] = reply()
    answers[("nowhere.test", "A")] = reply()
    answers[("nowhere.test", "AAAA")] = reply()
    answers[("noaddress.test", "MX")] = reply("noaddress.test 60 IN MX 1 absent.test")
    answers[("self.test", "MX")] = reply("self.test 60 IN MX 10 home.test", "self.test 60 IN MX 20 mx1.mx1.test")
    answers[("backup.test", "MX")] = reply("backup.test 60 IN MX 10 mx1.mx1.test", "backup.test 60 IN MX 20 home.test", "backup.test 60 IN MX 30 mx2.mx2.test")
    answers[("loop.test", "MX")] = reply("loop.test 60 IN MX 10 lo.test")
    for name, address in (("lo.test", "127.0.0.1"), ("zero.test", "0.0.0.0"), ("many.test", "127.0.0.2")):
        answers[(name, "A")] = reply("%s 60 IN A %s" % (name, address))
        answers[(name, "AAAA")] = reply()
    answers[("six.test", "MX")] = reply("six.test 60 IN MX 1 lo6.test")
    answers[("lo6.test", "A")] = reply()
    answers[("lo6.test", "AAAA")] = reply("lo6.test 60 IN AAAA ::1", "lo6.test 60 IN AAAA ::ffff:7f00:1")
    answers[("any.test", "MX")] = reply("any.test 60 IN MX 1 zero.test")
    answers[("hundred.test", "MX")] = reply(*("hundred.test 60 IN MX %d m%d.hundred.test" % (n, n) for n in range(100)))
    for n in range(100):
        answers[("m%d.hundred.test" % n, "A")] = reply("m%d.hundred.test 60 IN A 127.0.1.%d" % (n, n + 1))
        answers[("m%d.hundred.test" % n, "AAAA")] = reply()
    return answers


# Domain, more arguments, what becomes of it; without a server that could answer.
NOWHERE = [
    ("null.test", (), "failed 0 5.1.10", "unknown"),
    ("absent.test", (), "failed 0 5.1.2", "unknown"),
    ("broken.test", (), "deferred 0 4.4.3", "unknown"),
    ("silent.test", (), "deferred 0 4.4.3", "unknown"),
    ("nowhere.test", (), "failed 0 5.1.2", "unknown"),
    ("noaddress.test", (), "failed 0 5.4.4", "unknown"),
    ("a..b", (), "failed 0 5.1.2", "unknown"),
    ("self.test", ("loopback=0",), "failed 0 5.4.6", "unknown"),
    ("loop.test", ("loopback=0",), "failed 0 5.4.6", "unknown"),
    ("six.test", ("loopback=0",), "failed 0 5.4.6", "unknown"),
    ("any.test", ("loopback=0",), "failed 0 5.4.6", "unknown"),
    ("mx1.test", ("loopback=0",), "failed 0 5.4.6", "unknown"),
    ("hundred.test", (), "deferred 0 4.4.1", "dead"),
]


# A name below dane.test, what the DNS says (records as "usage selector matching of", of a certificate; AD or not; an error), more arguments, what becomes
# of the mail. The server has a certificate for another name, by a CA nobody knows ("self" is signed by itself; it is for mx1.mx1.test).
DANE = [
    ("ee", dict(tlsa=["3 1 1 self"]), (), SENT, True),
    ("ee-whole", dict(tlsa=["3 0 1 self"]), (), SENT, True),
    ("ee-512", dict(tlsa=["3 1 2 self"]), (), SENT, True),
    ("ee-exact", dict(tlsa=["3 0 0 self"]), (), SENT, True),
    ("ee-expired", dict(tlsa=["3 1 1 old"], cert="old"), (), SENT, True),
    ("two-one-fits", dict(tlsa=["3 1 1 good", "3 1 1 self"]), (), SENT, True),
    ("mismatch", dict(tlsa=["3 1 1 good"]), (), "deferred 0 4.7.5 no TLSA record fits", False),
    ("ta", dict(tlsa=["2 0 1 ca"], cert="good-chain"), (), "deferred 0 4.7.5 no TLSA record fits", False),
    ("ta-name", dict(tlsa=["2 0 1 ca"], cert="named-chain"), (), SENT, True),
    ("ta-key", dict(tlsa=["2 1 1 ca"], cert="named-chain"), (), SENT, True),
    ("ta-exact-not-sent", dict(tlsa=["2 0 0 ca"], cert="named"), (), SENT, True),
    ("ta-not-sent", dict(tlsa=["2 0 1 ca"], cert="named"), (), "deferred 0 4.7.5 no TLSA record fits", False),
    ("ta-other", dict(tlsa=["2 0 1 self"], cert="named-chain"), (), "deferred 0 4.7.5 no TLSA record fits", False),
    ("pkix", dict(tlsa=["1 1 1 good"]), (), SENT, True),
    ("bad-digest", dict(tlsa=["3 1 1 short"]), (), SENT, True),
    ("unusable-clear", dict(tlsa=["0 1 1 good"], cert=None), (), "deferred 0 4.7.10", False),
    ("no-starttls", dict(tlsa=["3 1 1 self"], cert=None), (), "deferred 0 4.7.10", False),
    ("servfail", dict(code=2), (), "deferred 0 4.7.5 TLSA records", False),
    ("insecure", dict(tlsa=["3 1 1 good"], ad=False), (), SENT, True),
    ("absent", dict(code=3), (), SENT, True),
    ("none", dict(tlsa=[]), (), SENT, True),
    ("insecure-mx", dict(tlsa=["3 1 1 good"], mx_ad=False), (), SENT, True),
    ("insecure-address", dict(tlsa=["3 1 1 good"], a_ad=False), (), SENT, True),
    ("not-validating", dict(tlsa=["3 1 1 good"]), ("validating=0",), SENT, True),
    ("wanted-none", dict(tlsa=["3 1 1 good"]), ("tls=none",), SENT, False),
    ("required-none", dict(tlsa=[]), ("tls=dane",), "deferred 0 4.7.5 the host has no TLSA", False),
    ("required", dict(tlsa=["3 1 1 self"]), ("tls=dane",), SENT, True),
    ("required-unusable", dict(tlsa=["1 1 1 self"]), ("tls=dane",), "deferred 0 4.7.5 the host has no TLSA", False),
    ("required-insecure", dict(tlsa=["3 1 1 self"], mx_ad=False), ("tls=dane",), "deferred 0 4.7.5 the host has no TLSA", False),
    ("handshake", dict(tlsa=["3 1 1 self"], starttls=lambda talk: (talk.reply("220 go"), time.sleep(0.05), talk.send(b"garbage" * 10), talk.close())), (),
     "deferred 0 4.7.5", False),
    ("requiretls", dict(tlsa=["3 1 1 self"], caps=["REQUIRETLS"]), ("options=requiretls",), SENT, True),
    ("requiretls-unknown", dict(tlsa=["3 1 1 self"]), ("options=requiretls",), "failed 0 5.7.30", False),
    ("requiretls-unverified", dict(tlsa=[], caps=["REQUIRETLS"]), ("options=requiretls",), "deferred 0 4.7.5 certificate", False),
    ("requiretls-clear", dict(tlsa=[], caps=["REQUIRETLS"], cert=None), ("options=requiretls",), "deferred 0 4.7.10", False),
]


class Tlsa:
    """The zone of DANE, as a validating resolver would tell it."""

    def __init__(self, path):
        self.path, self.entries = path, {name: entry for name, entry, *_ in DANE}

    def data(self, spec):
        usage, selector, matching, name = spec.split()
        if name == "short":
            return "%s %s %s %s" % (usage, selector, matching, "ab" * 31)
        if selector == "0":
            octets = subprocess.run(["certtool", "--certificate-info", "--outder", "--infile", str(self.path / (name + ".crt"))],
                                    check=True, capture_output=True).stdout
        else:
            octets = subprocess.run(["certtool", "--pubkey-info", "--outder", "--load-certificate", str(self.path / (name + ".crt"))],
                                    check=True, capture_output=True).stdout
        octets = {"0": lambda o: o, "1": lambda o: hashlib.sha256(o).digest(), "2": lambda o: hashlib.sha512(o).digest()}[matching](octets)
        return "%s %s %s %s" % (usage, selector, matching, octets.hex())

    def answer(self, query):
        name, kind = str(query.q.qname).rstrip("."), dnslib.QTYPE[query.q.qtype]
        labels = name.split(".")
        if name.endswith(".dane.test") and kind == "MX":
            entry = self.entries[labels[0]]
            return reply("%s 60 IN MX 1 host.%s" % (name, name), ad=entry.get("mx_ad", True))(query)
        if name.endswith(".dane.test") and kind in ("A", "AAAA"):
            entry = self.entries[labels[1]]
            return reply(*(["%s 60 IN A 127.0.0.2" % name] if kind == "A" else []), ad=entry.get("a_ad", True))(query)
        if name.endswith(".dane.test") and kind == "TLSA":
            entry = self.entries[labels[3]]
            lines = ["%s 60 IN TLSA %s" % (name, self.data(spec)) for spec in entry.get("tlsa", [])]
            return reply(*lines, code=entry.get("code", 0), ad=entry.get("ad", True))(query)
        return reply(code=3)(query)


@unittest.skipIf(dnslib is None, "python3-dnslib is not installed")
class Client(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = pathlib.Path(cls.folder.name)
        certificates(cls.path)
        cls.dns = Liar(zone(), Tlsa(cls.path).answer)

    @classmethod
    def tearDownClass(cls):
        cls.dns.close()
        cls.folder.cleanup()

    def common(self, port):
        return ["dns=" + self.dns.address, "port=%d" % port, "ca=%s" % (self.path / "ca.crt"), "ms=8000"]

    def script(self, script):
        if script is None or not isinstance(script.get("certificate"), Certificate):
            return script
        name = script["certificate"].name
        return dict(script, certificate=(str(self.path / (name + ".crt")), str(self.path / (name + ".key"))))

    def run_row(self, row):
        mxs, port = bind_all([self.script(script) for script in row["scripts"]])
        try:
            args = self.common(port) + (["hostport=%d" % port] if any(a.startswith("host=") for a in row["args"]) else [])
            report, = run_send(*args, *row["args"], *("%s@%s" % (r, row["domain"]) for r in row["rcpt"]), message=row["message"])
            got = {r["to"].rsplit("@", 1)[0]: r for r in report["results"]}
            self.assertEqual(set(got), set(row["rcpt"]))
            for name, result in got.items():
                expect = row["expect"] if isinstance(row["expect"], str) else row["expect"][name]
                self.assertEqual(summary(result, expect), expect, result)
                self.assertTrue(all(" " <= c <= "~" for c in result["text"]), result["text"])
            if row["verdict"]:
                self.assertEqual(report["verdict"], row["verdict"])
            if row["tls"]:
                self.assertIn(row["tls"], report["tls"])
            time.sleep(0.02)  # the server's thread may be a step behind
            if row["check"]:
                row["check"](self, mxs)
            for mx in mxs:
                for line in mx.commands:
                    self.assertRegex(line, rb"\A[^\r\n]*\r\n\Z")
        finally:
            for mx in mxs:
                mx.close()

    def test_rows(self):
        self.assertGreaterEqual(len(ROWS), 60)
        only = os.environ.get("POSTERN_TEST_ROW")
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            runs = [(row, pool.submit(self.run_row, row)) for row in ROWS if not only or only in row["name"]]
            for row, run in runs:
                with self.subTest(row["name"]):
                    run.result()

    def run_dane(self, name, entry, args, expect, secured):
        cert = entry.get("cert", "self")
        script = {"caps": CAPS + entry.get("caps", []), "certificate": Certificate(cert) if cert else None}
        if "starttls" in entry:
            script["STARTTLS"] = entry["starttls"]
        mx = FakeMX(self.script(script), HOSTS[0])
        self.addCleanup(mx.close)
        report, = run_send(*self.common(mx.port), "validating=1", *args, "bob@%s.dane.test" % name)
        self.assertEqual(summary(report["results"][0], expect), expect, report)
        self.assertEqual([talk.secured for talk in mx.talks if talk.messages], [secured] if expect == SENT else [])
        if expect != SENT:
            no_mail_in_the_clear(self, [mx])

    def test_dane(self):
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            runs = [(row[0], pool.submit(self.run_dane, *row)) for row in DANE]
            for name, run in runs:
                with self.subTest(name):
                    run.result()

    def test_nowhere(self):
        for domain, args, expect, verdict in NOWHERE:
            with self.subTest(domain):
                report, = run_send(*self.common(1), *args, "bob@" + domain)
                self.assertEqual(summary(report["results"][0], expect), expect, report)
                self.assertEqual(report["verdict"], verdict)

    def test_backup_mx(self):
        """Hosts before us are tried, those after us never."""
        mx = FakeMX({}, HOSTS[0])
        self.addCleanup(mx.close)
        report, = run_send(*self.common(mx.port), "bob@backup.test")
        self.assertEqual(report["results"][0]["outcome"], "delivered")
        mx.script = {"connect": "421 busy"}
        report, = run_send(*self.common(mx.port), "bob@backup.test")
        self.assertEqual(summary(report["results"][0], ""), "deferred 421 4.0.0")

    def test_implicit_mx(self):
        mx = FakeMX({}, HOSTS[0])
        self.addCleanup(mx.close)
        report, = run_send(*self.common(mx.port), "bob@implicit.test")
        self.assertEqual((report["results"][0]["outcome"], report["results"][0]["host"]), ("delivered", "implicit.test"))

    def test_address_as_host(self):
        mx = FakeMX({}, HOSTS[0])
        self.addCleanup(mx.close)
        report, = run_send(*self.common(1), "loopback=0", "host=127.0.0.2", "hostport=%d" % mx.port, "bob@absent.test")
        self.assertEqual(report["results"][0]["outcome"], "delivered")

    def test_no_descriptors(self):
        """What we lack says nothing of the host."""
        report, = run_send(*self.common(1), "nofile=1", "host=127.0.0.2", "hostport=1", "bob@absent.test")
        self.assertEqual(summary(report["results"][0], ""), "deferred 0 4.3.0")
        self.assertEqual(report["verdict"], "unknown")

    def test_reuse(self):
        """One connection for one message after the other."""
        mx = FakeMX({}, HOSTS[0])
        self.addCleanup(mx.close)
        reports = run_send(*self.common(mx.port), "repeat=5", "bob@mx1.test")
        self.assertEqual([r["results"][0]["outcome"] for r in reports], ["delivered"] * 5)
        self.assertEqual((len(mx.talks), len(mx.messages)), (1, 5))

    def test_reuse_after_refusal(self):
        mx = FakeMX({"RCPT": ["550 5.1.1 No", "250 Ok"]}, HOSTS[0])
        self.addCleanup(mx.close)
        reports = run_send(*self.common(mx.port), "repeat=2", "bob@mx1.test")
        self.assertEqual([r["results"][0]["outcome"] for r in reports], ["failed", "delivered"])
        self.assertEqual(len(mx.talks), 1)
        self.assertIn(b"RSET\r\n", mx.commands)

    def test_reuse_of_what_was_closed(self):
        """The server closes its end while it is idle, in three ways: the next message goes by a new connection, with no word of a failure."""
        for idle in (close, reset, then_close("421 4.4.2 Idle for too long")):
            mx = FakeMX({"IDLE": idle}, HOSTS[0])
            self.addCleanup(mx.close)
            for pause in ("0", "100"):
                reports = run_send(*self.common(mx.port), "repeat=3", "pause=" + pause, "bob@mx1.test")
                self.assertEqual([r["results"][0]["outcome"] for r in reports], ["delivered"] * 3, (idle, pause))

    def test_idle_ends_with_quit(self):
        mx = FakeMX({}, HOSTS[0])
        self.addCleanup(mx.close)
        run_send(*self.common(mx.port), "idle=50", "repeat=2", "pause=500", "bob@mx1.test")
        self.assertEqual(len(mx.talks), 2)
        self.assertEqual(mx.talks[0].commands[-1], b"QUIT\r\n")

    def test_mailmax(self):
        mx = FakeMX({"caps": CAPS + ["LIMITS MAILMAX=2"]}, HOSTS[0])
        self.addCleanup(mx.close)
        run_send(*self.common(mx.port), "repeat=4", "pause=20", "bob@mx1.test")
        self.assertEqual([len(talk.messages) for talk in mx.talks], [2, 2])

    def test_many_at_once(self):
        mx = FakeMX({}, HOSTS[0])
        self.addCleanup(mx.close)
        reports = run_send(*self.common(mx.port), "at-once=50", "bob@mx1.test")
        self.assertEqual([r["results"][0]["outcome"] for r in reports], ["delivered"] * 50)
        self.assertEqual(len(mx.messages), 50)


if __name__ == "__main__":
    sys.exit(tap.main([__file__]))
