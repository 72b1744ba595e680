/* SPDX-License-Identifier: MIT */
/*
 * search_parse.h - the search program of SEARCH, RFC 3501 section 6.4.4.
 */
#ifndef PROTOCOLS_IMAP_SEARCH_PARSE_H
#define PROTOCOLS_IMAP_SEARCH_PARSE_H

#include "protocols/imap/args.h"
#include "postern/store.h"

struct imap_search_parser {
	struct imap_args *args;
	struct ps_pool *pool;
	/* Gives the messages that a set means. */
	int (*resolve)(void *arg, struct ps_bytes text, bool by_uid, struct ps_set *ret_uids);
	void *arg;
	bool charset_first; /* SORT, THREAD: "x key ...", without the word */
	bool utf8;          /* no other charset is lawful, RFC 9755 section 3 */
	/* What was found besides the keys. */
	bool modseq; /* MODSEQ was among the keys: RFC 7162 section 3.1.5 */
	/* Private. */
	const char *charset; /* of the strings; NULL: US-ASCII */
	unsigned depth, nodes;
};

/* Takes "[CHARSET x] key ..." to the end. PS_E_SYNTAX; PS_E_UNSUPPORTED: the charset; PS_E_LIMIT: too deep, too
 * much. */
int imap_search_parse(struct imap_search_parser *parser, struct ps_search_node **ret_root);

struct imap_cmd;
/* The rest of a SORT or THREAD, "x key ...", about the selected mailbox. */
int imap_search_program(struct imap_cmd *cmd, struct ps_search_node **ret_root, bool *ret_modseq);

#endif
