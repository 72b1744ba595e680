#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Thunderbird, headless, against a quickstart instance: folders, subjects, move, flags, search on the server.

Run by `./check thunderbird`, in the sources; README beside this says more. The program is told what to do over Marionette,
in JavaScript by its own interfaces, and what it did is looked at from another session.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

import ports
from newcomer import Demo

PATIENCE = 120
MESSAGE = "From: a@example.test\r\nTo: b@example.test\r\nSubject: %s\r\nDate: Mon, 02 Mar 2026 08:30:00 +0100\r\n" \
          "Message-ID: <%s@example.test>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nBody of %s\r\n"

# One account, and nothing else that wants attention or the network.
PREFERENCES = {
    "marionette.port": 0,
    "mail.accountmanager.accounts": "account1",
    "mail.accountmanager.defaultaccount": "account1",
    "mail.account.account1.identities": "id1",
    "mail.account.account1.server": "server1",
    "mail.identity.id1.fullName": "Somebody",
    "mail.identity.id1.useremail": "",
    "mail.server.server1.type": "imap",
    "mail.server.server1.hostname": "localhost",
    "mail.server.server1.port": 0,
    "mail.server.server1.userName": "",
    "mail.server.server1.name": "Postern",
    "mail.server.server1.socketType": 3,  # TLS at once
    "mail.server.server1.authMethod": 3,  # a password
    "mail.server.server1.login_at_startup": False,
    "mail.server.server1.check_new_mail": False,
    "mail.server.server1.offline_download": False,
    "mail.smtpservers": "smtp1",
    "mail.smtp.defaultserver": "smtp1",
    "mail.identity.id1.smtpServer": "smtp1",
    "mail.smtpserver.smtp1.type": "smtp",
    "mail.smtpserver.smtp1.hostname": "localhost",
    "mail.smtpserver.smtp1.port": 0,
    "mail.smtpserver.smtp1.username": "",
    "mail.smtpserver.smtp1.try_ssl": 3,  # as above
    "mail.smtpserver.smtp1.authMethod": 3,
    "mail.provider.suppress_dialog_on_startup": True,
    "mail.shell.checkDefaultClient": False,
    "mail.spotlight.firstRunDone": True,
    "mailnews.start_page.enabled": False,
    "mail.rights.version": 1,
    "app.update.enabled": False,
    "extensions.update.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.enabled": False,
    "network.dns.disableIPv6": True,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
}

# What all scripts begin with. done() gives the result, or {error: ...}.
PRELUDE = """
const done = arguments[arguments.length - 1], args = [...arguments];
const {MailServices} = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const server = MailServices.accounts.accounts.map(a => a.incomingServer).find(s => s.type == "imap");
const until = async (what, condition) => {
  const end = Date.now() + %d;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error("waited in vain for " + what);
    await new Promise(resolve => setTimeout(resolve, 50));
  }
};
const listening = start => new Promise((resolve, reject) => start({
  QueryInterface: ChromeUtils.generateQI(["nsIUrlListener", "nsIMsgCopyServiceListener"]),
  OnStartRunningUrl() {},
  OnStopRunningUrl(url, status) { status ? reject(new Error("status " + status.toString(16))) : resolve(); },
  onStartCopy() {}, onProgress() {}, setMessageKey() {}, getMessageId() { return null; },
  onStopCopy(status) { status ? reject(new Error("status " + status.toString(16))) : resolve(); },
}));
const find = path => path.split("/").reduce((folder, name) =>
  folder && folder.subFolders.find(f => f.localizedName == name || f.name == name || f.name.toUpperCase() == name), server.rootFolder);
const folder = path => until("folder " + path, () => find(path));
const update = async path => {
  const f = await folder(path);
  await listening(l => f.QueryInterface(Ci.nsIMsgImapMailFolder).updateFolderWithListener(null, l));
  return f;
};
const messages = f => [...f.messages];
const message = (f, subject) => until("message " + subject, () => messages(f).find(m => m.mime2DecodedSubject == subject));
const run = async () => { %s };
run().then(value => done({value}), error => done({error: String(error) + "\\n" + error.stack}));
"""


POP3_INBOX = """
const pop = MailServices.accounts.accounts.map(a => a.incomingServer).find(s => s.type == "pop3");
const inbox = await until("its inbox", () => pop.rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox));
"""


class Marionette:
    """The protocol: "length:[type, id, name or error, parameters or result]"."""

    def __init__(self, port):
        self._sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._buffer = b""
        self._ids = 0
        self._receive()
        self.command("WebDriver:NewSession", {})
        self.command("Marionette:SetContext", {"value": "chrome"})
        self.command("WebDriver:SetTimeouts", {"script": PATIENCE * 1000})

    def _receive(self):
        while b":" not in self._buffer:
            self._fill()
        length, _, rest = self._buffer.partition(b":")
        self._buffer = rest
        while len(self._buffer) < int(length):
            self._fill()
        text, self._buffer = self._buffer[:int(length)], self._buffer[int(length):]
        return json.loads(text)

    def _fill(self):
        data = self._sock.recv(65536)
        if not data:
            raise AssertionError("Thunderbird has closed the connection")
        self._buffer += data

    def command(self, name, parameters):
        self._ids += 1
        text = json.dumps([0, self._ids, name, parameters]).encode()
        self._sock.sendall(b"%d:%s" % (len(text), text))
        _, _, error, result = self._receive()
        if error:
            raise AssertionError("%s: %s" % (name, error))
        return result

    def run(self, script, *args):
        """An async function's body, with the names of PRELUDE; gives what it returns."""
        result = self.command("WebDriver:ExecuteAsyncScript",
                              {"script": PRELUDE % (PATIENCE * 500, script), "args": args, "sandbox": "system"})
        answer = result["value"]
        if "error" in answer:
            raise AssertionError(answer["error"])
        return answer.get("value")

    def close(self):
        self._sock.close()


class Thunderbird:
    """The program, with a profile of its own."""

    def __init__(self, user, port, smtp_port):
        self.folder = tempfile.mkdtemp(prefix="postern-thunderbird-")
        self._log = open(os.path.join(self.folder, "log"), "wb")
        preferences = dict(PREFERENCES)
        preferences.update({
            "marionette.port": ports.free(),
            "mail.identity.id1.useremail": user,
            "mail.server.server1.userName": user,
            "mail.server.server1.port": port,
            "mail.smtpserver.smtp1.username": user,
            "mail.smtpserver.smtp1.port": smtp_port,
        })
        profile = os.path.join(self.folder, "profile")
        os.mkdir(profile)
        with open(os.path.join(profile, "user.js"), "w", encoding="utf-8") as file:
            for name, value in preferences.items():
                file.write("user_pref(%s, %s);\n" % (json.dumps(name), json.dumps(value)))
        self._process = subprocess.Popen(
            ("thunderbird", "--headless", "--marionette", "-remote-allow-system-access", "--no-remote", "--profile", profile),
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True,
            env=dict(os.environ, HOME=self.folder, MOZ_HEADLESS="1"))
        try:
            self.marionette = self._connect(preferences["marionette.port"])
        except BaseException:
            self.close()
            raise

    def _connect(self, port):
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return Marionette(port)
            except OSError:
                if time.monotonic() > end or self._process.poll() is not None:
                    raise AssertionError("Thunderbird does not start:\n" + self.log()) from None
                time.sleep(0.2)

    def log(self):
        with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as file:
            return file.read()[-3000:]

    def trust(self, ca, password):
        """The instance's own CA, and the user's password, which is not asked for then."""
        with open(ca, encoding="ascii") as file:
            certificate = "".join(re.search("CERTIFICATE-----\n(.*?)-----END", file.read(), re.S).group(1).split())
        self.marionette.run("""
            Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB)
              .addCertFromBase64(args[0], "C,,");
            server.password = MailServices.outgoingServer.defaultServer.password = args[1];""", certificate, password)

    def close(self):
        if hasattr(self, "marionette"):
            self.marionette.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@unittest.skipUnless(shutil.which("thunderbird"), "thunderbird is not installed")
class Session(unittest.TestCase):
    """One instance, one user, one Thunderbird; each test has a mailbox of its own."""

    user = "user0001@example.test"

    @classmethod
    def setUpClass(cls):
        cls.demo = Demo("--users", "2")
        cls.addClassCleanup(cls.demo.remove)
        cls.demo.start()
        ports = cls.demo.ready["ports"]
        cls.thunderbird = Thunderbird(cls.user, ports["imaps"], ports["submissions"])
        cls.addClassCleanup(cls.thunderbird.close)
        cls.thunderbird.trust(cls.demo.ready["ca"], "pass")
        cls.run_script = cls.thunderbird.marionette.run
        with cls.imap() as client:
            for name in unittest.defaultTestLoader.getTestCaseNames(cls):
                client.create(name)
                client.subscribe(name)
                for subject in ("one", "two", "three"):
                    cls.append(client, name, subject)
        cls.run_script("server.performExpand(null); await folder('Trash');")

    @classmethod
    @contextlib.contextmanager
    def imap(cls, mailbox=None):
        with cls.demo.imap(cls.user, password="pass") as client:
            if mailbox:
                assert client.select(mailbox)[0] == "OK", mailbox
            yield client

    @staticmethod
    def append(client, mailbox, subject, encoded=None):
        octets = (MESSAGE % (encoded or subject, "%s.%s" % (subject.encode().hex(), mailbox), subject)).encode()
        assert client.append('"%s"' % mailbox, None, None, octets)[0] == "OK"

    def setUp(self):
        self.mailbox = self._testMethodName

    def script(self, text, *args):
        return self.run_script("const box = args[0]; " + text, self.mailbox, *args)

    def on_server(self, mailbox):
        """{subject: flags without \\Recent}."""
        found = {}
        with self.imap('"%s"' % mailbox) as client:
            _, data = client.uid("FETCH", "1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
            for item in data:
                if isinstance(item, tuple):
                    words = re.search(rb"FLAGS \(([^)]*)\)", item[0]).group(1).decode().split()
                    found[item[1].decode().strip()[len("Subject: "):]] = set(words) - {"\\Recent"}
        return found

    def wait_for(self, condition, what):
        end = time.monotonic() + PATIENCE
        while not condition():
            self.assertLess(time.monotonic(), end, "waited in vain for " + what)
            time.sleep(0.1)

    def names(self):
        with self.imap() as client:
            return "\n".join(line.decode() for line in client.list()[1])

    def test_folders(self):
        """What is there and what it is for; made, renamed and removed, with names beyond ASCII."""
        uses = self.script("""
            const flags = Ci.nsMsgFolderFlags, uses = {};
            for (const [name, flag] of [["Drafts", flags.Drafts], ["Sent", flags.SentMail], ["Junk", flags.Junk],
                                        ["Trash", flags.Trash], ["Archive", flags.Archive], ["INBOX", flags.Inbox]])
              uses[name] = (await folder(name)).getFlag(flag);
            return uses;""")
        self.assertEqual(set(uses.values()), {True}, uses)
        self.script("(await folder(box)).createSubfolder('Entwürfe & 日本', null);")
        self.wait_for(lambda: "test_folders/Entw&APw-rfe &- &ZeVnLA-" in self.names(), "a new folder")
        self.script("(await folder(box + '/Entwürfe & 日本')).rename('Renamed', null);")
        self.wait_for(lambda: "test_folders/Renamed" in self.names(), "a renamed folder")
        # As Thunderbird removes a folder, but for the question whether one is sure.
        self.script("""
            const renamed = await folder(box + "/Renamed"), trash = await folder("Trash");
            await listening(l => MailServices.copy.copyFolder(renamed, trash, true, l, null));
            await until("its move", () => find("Trash/Renamed") && !find(box + "/Renamed"));""")
        self.assertIn('"Trash/Renamed"', self.names())
        self.script("""
            await listening(l => find("Trash").emptyTrash(l));
            await until("its end", () => !find("Trash/Renamed"));""")
        self.wait_for(lambda: "Renamed" not in self.names(), "the folder's removal")

    def test_subjects(self):
        """Two hundred messages, one with encoded words, and what one of them says."""
        with self.imap() as client:
            self.append(client, self.mailbox, "Grüße", "=?utf-8?b?R3LDvMOfZQ==?=")
            for number in range(200):
                self.append(client, self.mailbox, "number %d" % number)
        found = self.script("const f = await update(box); return messages(f).map(m => m.mime2DecodedSubject);")
        self.assertEqual(sorted(found), sorted(["one", "two", "three", "Grüße"] + ["number %d" % n for n in range(200)]))
        body = self.script("""
            const {MsgHdrToMimeMessage} = ChromeUtils.importESModule("resource:///modules/gloda/MimeMessage.sys.mjs");
            const f = await folder(box), m = await message(f, "Grüße");
            return new Promise(resolve => MsgHdrToMimeMessage(m, null, (_, mime) => resolve(mime.coerceBodyToPlaintext(f)), true));""")
        self.assertIn("Body of Grüße", body)

    def test_flags(self):
        """Read, starred, answered, tagged here are so there, and the other way round."""
        self.script("""
            const f = await update(box), one = await message(f, "one"), two = await message(f, "two");
            f.markMessagesRead([one, two], true);
            f.markMessagesFlagged([two], true);
            f.addKeywordsToMessages([two], "$label1");
            f.addMessageDispositionState(one, Ci.nsIMsgFolder.nsMsgDispositionState_Replied);""")
        wanted = {"one": {"\\Seen", "\\Answered"}, "two": {"\\Seen", "\\Flagged", "$label1"}, "three": set()}
        self.wait_for(lambda: self.on_server(self.mailbox) == wanted, "flags on the server")
        with self.imap(self.mailbox) as client:
            client.store("3", "+FLAGS", "(\\Flagged $label2)")
            client.store("1", "-FLAGS", "(\\Seen)")
        self.script("""
            const f = await update(box), three = await message(f, "three"), one = await message(f, "one");
            await until("flags of others", () => three.isFlagged && !one.isRead
                && three.getStringProperty("keywords").split(" ").includes("$label2"));""")

    def test_move(self):
        """Moved, copied, deleted into the trash; and put into the folder for sent mail."""
        self.script("""
            const f = await update(box), archive = await folder("Archive");
            const one = await message(f, "one"), two = await message(f, "two"), three = await message(f, "three");
            await listening(l => MailServices.copy.copyMessages(f, [one], archive, true, l, null, false));
            await listening(l => MailServices.copy.copyMessages(f, [two], archive, false, l, null, false));
            f.deleteMessages([three], null, false, false, null, false);
            await until("two to be left", () => messages(f).length == 1);""")
        self.wait_for(lambda: set(self.on_server("Trash")) == {"three"}, "the trash")
        self.assertEqual(set(self.on_server("Archive")), {"one", "two"})
        self.assertEqual({name for name, flags in self.on_server(self.mailbox).items() if "\\Deleted" not in flags}, {"two"})
        path = os.path.join(self.thunderbird.folder, "sent.eml")
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(MESSAGE % ("sent", "sent", "sent"))
        self.script("""
            const file = Cc["@mozilla.org/file/local;1"].createInstance(Ci.nsIFile);
            file.initWithPath(args[1]);
            const sent = await folder("Sent");
            await listening(l => MailServices.copy.copyFileMessage(file, sent, null, false, Ci.nsMsgMessageFlags.Read, "", l, null));
            """, path)
        self.assertEqual(self.on_server("Sent"), {"sent": {"\\Seen"}})

    def test_sending(self):
        """A message goes out by submission, and comes in."""
        self.script("""
            const {FileUtils} = ChromeUtils.importESModule("resource://gre/modules/FileUtils.sys.mjs");
            const identity = MailServices.accounts.accounts.flatMap(a => a.identities)[0];
            const people = list => MailServices.headerParser.parseEncodedHeader(list, "UTF-8");
            const file = new FileUtils.File(PathUtils.join(PathUtils.profileDir, "outgoing"));
            await IOUtils.writeUTF8(file.path, ["From: " + identity.email, "To: " + identity.email, "Subject: sent from " + box,
              "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit", "", "日本", ".", "..dots", ""].join("\\r\\n"));
            await new Promise((resolve, reject) => MailServices.outgoingServer.defaultServer.sendMailMessage(
              file, people(identity.email), people("alice@example.test"), identity, identity.email, null, null, false, "", {
                QueryInterface: ChromeUtils.generateQI(["nsIMsgOutgoingListener"]),
                onSendStart() {},
                onSendStop(uri, status) { status ? reject(new Error("status " + status.toString(16))) : resolve(); },
              }));""")
        self.wait_for(lambda: "sent from test_sending" in self.on_server("INBOX"), "the message")
        with self.demo.imap("alice@example.test") as client:
            client.select("INBOX")
            _, found = client.uid("SEARCH", "SUBJECT", '"sent from test_sending"')
            octets = client.uid("FETCH", found[0].split()[-1], "(BODY.PEEK[])")[1][0][1]
        self.assertIn("\r\n日本\r\n.\r\n..dots\r\n".encode(), octets)
        self.assertIn(b"\r\nMessage-ID: <", octets)

    def test_search(self):
        """SEARCH on the server, for what is in the headers and in the body."""
        self.script("await update(box);")
        for attribute, value, found in (("Subject", "TWO", ["two"]), ("Body", "body of t", ["three", "two"]), ("Body", "none", [])):
            self.assertEqual(sorted(self.script("""
                const f = await folder(box), found = [];
                const session = Cc["@mozilla.org/messenger/searchSession;1"].createInstance(Ci.nsIMsgSearchSession);
                session.addScopeTerm(Ci.nsMsgSearchScope.onlineMail, f);
                const term = session.createTerm(), value = term.value;
                term.attrib = value.attrib = Ci.nsMsgSearchAttrib[args[1]];
                value.str = args[2];
                term.value = value;
                term.op = Ci.nsMsgSearchOp.Contains;
                term.booleanAnd = true;
                session.appendTerm(term);
                await new Promise(resolve => {
                  session.registerListener({onSearchHit(m) { found.push(m.mime2DecodedSubject); },
                                            onSearchDone() { resolve(); }, onNewSearch() {}});
                  session.search(null);
                });
                return found;""", attribute, value)), found, (attribute, value))

    def test_new_mail(self):
        """In IDLE it hears of what comes and what goes."""
        self.script("await update(box); await until('three', () => messages(find(box)).length == 3);")
        with self.imap(self.mailbox) as client:
            self.append(client, self.mailbox, "fresh")
            self.script("await message(await folder(box), 'fresh');")
            client.store("1", "+FLAGS", "(\\Deleted)")
            client.expunge()
        self.script("await until('its end', () => !messages(find(box)).some(m => m.mime2DecodedSubject == 'one'));")

    def test_pop3(self):
        """An account by POP3: what is there comes, once, with dots as they were; and what is deleted here goes there."""
        user, message = "user0002@example.test", MESSAGE.rstrip("\r\n") + "\r\n.\r\n..dots\r\n"
        with self.demo.imap(user, password="pass") as client:
            def put(subject):
                octets = (message % (subject, subject, subject)).encode()
                self.assertEqual(client.append("INBOX", None, None, octets)[0], "OK")

            def left():
                client.select("INBOX")
                return len(client.uid("SEARCH", "ALL")[1][0].split())

            put("first")
            put("second")
            self.script("""
                const pop = MailServices.accounts.createIncomingServer(args[1], "localhost", "pop3");
                pop.port = args[2];
                pop.socketType = 3;
                pop.authMethod = 3;
                pop.password = "pass";
                pop.QueryInterface(Ci.nsIPop3IncomingServer).leaveMessagesOnServer = true;
                pop.deleteMailLeftOnServer = true;
                MailServices.accounts.createAccount().incomingServer = pop;
                pop.QueryInterface(Ci.nsILocalMailIncomingServer).createDefaultMailboxes();""", user, self.demo.ready["ports"]["pop3s"])
            self.assertEqual(self.fetch_by_pop3(), ["first", "second"])
            put("third")
            self.assertEqual(self.fetch_by_pop3(), ["first", "second", "third"])
            body = self.script(POP3_INBOX + """
                const {NetUtil} = ChromeUtils.importESModule("resource://gre/modules/NetUtil.sys.mjs");
                const stream = inbox.getMsgInputStream(messages(inbox)[0], {});
                return NetUtil.readInputStreamToString(stream, stream.available());""")
            self.assertIn("\n.\n..dots\n", body.replace("\r\n", "\n"))
            self.assertEqual(left(), 3)
            self.script(POP3_INBOX + """
                inbox.deleteMessages([await message(inbox, "second")], null, true, false, null, false);
                await until("its end", () => messages(inbox).length == 2);""")
            self.fetch_by_pop3()
            self.assertEqual(left(), 2)

    def fetch_by_pop3(self):
        """The subjects in the account's inbox, then."""
        return sorted(self.script(POP3_INBOX + """
            await listening(l => MailServices.pop3.GetNewMail(null, l, inbox, pop));
            return messages(inbox).map(m => m.mime2DecodedSubject);"""))


if __name__ == "__main__":
    unittest.main()
