# SPDX-License-Identifier: MIT
"""Mail programs of others that fetch by POP3, on each backend. Thunderbird has a suite of its own, Python's poplib is in test_pop3.py."""

import os
import pathlib
import re
import shutil
import subprocess
import unittest

import postern
from server_test import ServerTest, for_each_backend

MESSAGE = "From: a@example.test\r\nTo: b@example.test\r\nSubject: %s\r\nDate: Mon, 02 Mar 2026 08:30:00 +0100\r\n\r\n.\r\n..Body of %s\r\n"


def text_of(subject):
    return MESSAGE % (subject, subject)


def needs(program):
    return unittest.skipUnless(shutil.which(program), program + " is not installed")


@for_each_backend
class Programs(ServerTest):
    users = ("curl", "mpop", "fetchmail", "getmail")

    def setUp(self):
        self.folder = postern.scratch_folder()
        self.user = self._testMethodName.removeprefix("test_")
        self.port = self.server.ports["pop3s"]
        self.ca = postern.authority().ca
        self.imap = self.session(self.user, select="INBOX")
        self.put("one", "two", "three")

    def put(self, *subjects):
        for subject in subjects:
            self.assertTrue(self.imap.append(text_of(subject).encode()).startswith(b"OK"))

    def left(self):
        """The subjects in the mailbox, as IMAP has them."""
        self.imap.ok("NOOP")
        return re.findall(r"Subject: (\w+)", b"".join(self.imap.ok("UID FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]")).decode())

    def write(self, name, text):
        path = pathlib.Path(self.folder, name)
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
        return str(path)

    def run_program(self, *command):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=postern.PATIENCE * 3, check=False, env=dict(os.environ, HOME=self.folder))
        self.assertEqual(done.returncode, 0, "%s:\n%s" % (" ".join(command), done.stdout))
        return done.stdout

    def subjects(self, path):
        """Of a file in which mail was put; the bodies have the dots that they were sent with."""
        found = re.findall(r"^Subject: (.*)\n.*\n\n\.\n\.\.Body of (.*)$", pathlib.Path(path).read_text(encoding="utf-8"), re.M)
        self.assertTrue(all(subject == body for subject, body in found), found)
        return [subject for subject, _ in found]

    @needs("curl")
    def test_curl(self):
        curl = ("curl", "--silent", "--show-error", "--cacert", self.ca, "--user", self.user + ":" + postern.PASSWORD)
        url = "pop3s://localhost:%d/" % self.port
        self.assertEqual(len(self.run_program(*curl, url).split("\n")), 4)
        self.assertEqual(self.run_program(*curl, url + "2"), text_of("two").replace("\r\n", "\n"))
        # Where curl has no message's number, it waits for lines, of which DELE has none.
        self.run_program(*curl, "--request", "DELE", "--list-only", url + "1")
        plain = "pop3://localhost:%d/" % self.server.ports["pop3"]
        self.assertIn("Body of three", self.run_program(*curl, "--ssl-reqd", plain + "2"))
        self.assertEqual(self.left(), ["two", "three"])

    @needs("mpop")
    def test_mpop(self):
        box = os.path.join(self.folder, "mbox")
        config = self.write("mpoprc", (
            "account a\nhost localhost\nport %d\ntls on\ntls_starttls off\ntls_trust_file %s\nuser %s\npassword %s\n"
            "delivery mbox %s\nkeep on\nuidls_file %s/uidls\n")
            % (self.port, self.ca, self.user, postern.PASSWORD, box, self.folder))
        self.run_program("mpop", "--file=" + config, "a")
        self.assertEqual(self.subjects(box), ["one", "two", "three"])
        self.run_program("mpop", "--file=" + config, "a")
        self.assertEqual(self.subjects(box), ["one", "two", "three"], "nothing comes twice")
        self.run_program("mpop", "--file=" + config, "--keep=off", "a")
        self.assertEqual(self.left(), [])

    @needs("fetchmail")
    def test_fetchmail(self):
        box = os.path.join(self.folder, "mbox")
        config = self.write("fetchmailrc", (
            'poll localhost protocol POP3 service %d uidl user "%s" password "%s" ssl sslcertck sslcertfile "%s" keep\n'
            'mda "cat >> %s; echo >> %s"\n') % (self.port, self.user, postern.PASSWORD, self.ca, box, box))
        fetch = ("fetchmail", "--fetchmailrc", config, "--idfile", self.folder + "/ids", "--pidfile", self.folder + "/pid")
        self.run_program(*fetch)
        self.assertEqual(self.subjects(box), ["one", "two", "three"])
        self.put("four")
        self.run_program(*fetch)
        self.assertEqual(self.subjects(box), ["one", "two", "three", "four"])
        self.assertEqual(self.left(), ["one", "two", "three", "four"])

    @needs("getmail")
    def test_getmail(self):
        # It listens for the end of a delivery after that has begun, and waits for minutes if it has ended by then: so this one takes its time.
        taken = pathlib.Path(self.folder, "mail")
        os.mkdir(taken)
        self.write("getmailrc", (
            "[retriever]\ntype = SimplePOP3SSLRetriever\nserver = localhost\nport = %d\nusername = %s\npassword = %s\n"
            "ca_certs = %s\n[destination]\ntype = MDA_external\npath = /bin/sh\n"
            "arguments = ('-c', 'cat > $(mktemp %s/XXXXXX); sleep 0.5')\n[options]\nread_all = false\ndelete = true\n")
            % (self.port, self.user, postern.PASSWORD, self.ca, taken))
        getmail = ("getmail", "--getmaildir", self.folder)
        if os.geteuid() == 0:  # it does not run as root
            for path in (pathlib.Path(self.folder), *pathlib.Path(self.folder).rglob("*")):
                shutil.chown(path, "nobody", "nogroup")
            getmail = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups") + getmail
        self.run_program(*getmail)
        self.assertEqual(sorted(subject for path in taken.iterdir() for subject in self.subjects(path)),
                         ["one", "three", "two"])
        self.assertEqual(self.left(), [])


if __name__ == "__main__":
    unittest.main()
