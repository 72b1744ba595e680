# SPDX-License-Identifier: MIT
"""docs/imap.md has a row for each capability that is announced, and announces none itself."""

import pathlib
import re

from server_test import ServerTest

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "imap.md"
# By configuration, or to administrators: not announced by the servers of this test, to these users.
ELSEWHERE = {"LITERAL+", "LOGINDISABLED", "QUOTASET", "AUTH=SCRAM-SHA-1", "AUTH=SCRAM-SHA-256", "AUTH=EXTERNAL", "AUTH=OAUTHBEARER",
             "AUTH=XOAUTH2"}


def capabilities(client):
    line = next(line for line in client.ok("CAPABILITY") if line.startswith(b"* CAPABILITY "))
    return {re.sub(r"^APPENDLIMIT=\d+$", "APPENDLIMIT", word) for word in line.decode().split()[2:]}


class Page(ServerTest):
    def test_the_table_is_what_is_announced(self):
        rows = re.findall(r"^\| ([A-Z][^|]*) \| [^|]* \|", PAGE.read_text(encoding="utf-8"), re.M)
        described = {name for row in rows for name in row.split(", ")}
        plain, before, after = self.connect(), self.connect(tls=True), self.session()
        plain.greeting()
        before.greeting()
        announced = capabilities(plain) | capabilities(before) | capabilities(after)
        self.assertEqual(announced - described, set())
        self.assertEqual(described - announced - ELSEWHERE - self.clients(described), set())

    @staticmethod
    def clients(described):
        """The names in the second table."""
        return {name for name in described if re.search("[a-z]", name) and not name.startswith("IMAP4rev")}
