# SPDX-License-Identifier: MIT
"""realmail.py with the sections of every tenth message."""

import unittest

import postern
import realmail
from server_test import for_each_backend

EVERY = 10


@for_each_backend
class RealMail(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        path = realmail.corpus_test.find_corpus()
        if not path:
            raise unittest.SkipTest("no corpus: set POSTERN_CORPUS")
        cls.corpus = realmail.Corpus(path)
        cls.server = postern.Instance(backend=cls.backend, users=("alice",)).start()
        cls.addClassCleanup(cls.server.stop)

    def test_appended(self):
        self.assertGreater(realmail.run_appended(self.server, self.corpus, EVERY), 0)

    def test_delivered(self):
        if self.server.backend != "maildir":
            self.skipTest("nobody else can deliver into this backend")
        self.assertGreater(realmail.run_delivered(self.server, self.corpus, EVERY), 0)
