/* SPDX-License-Identifier: MIT */
/*
 * list_parse.h - what a LIST asks for, RFC 5258 with RFC 5819 and RFC 6154.
 */
#ifndef PROTOCOLS_IMAP_LIST_PARSE_H
#define PROTOCOLS_IMAP_LIST_PARSE_H

#include "protocols/imap/imap.h"

/* Selection and return options. */
enum {
	IMAP_LIST_SUBSCRIBED = 1,
	IMAP_LIST_SPECIAL_USE = 2,
	IMAP_LIST_CHILDREN = 4,
	IMAP_LIST_STATUS = 8,
	IMAP_LIST_REMOTE = 16, /* there are no remote mailboxes to add */
	IMAP_LIST_RECURSIVE = 32,
	IMAP_LIST_BASE = IMAP_LIST_SUBSCRIBED | IMAP_LIST_SPECIAL_USE, /* those that RECURSIVEMATCH works upon */
};

struct imap_list_request {
	bool extended; /* it has what RFC 3501 does not: then "" is a pattern as any other */
	unsigned select;
	unsigned returns;
	unsigned status;       /* items, with IMAP_LIST_STATUS */
	const char **patterns; /* as imap_list_matches() takes them */
	size_t pattern_count;
};

int imap_list_parse(struct imap_cmd *cmd, struct imap_list_request *ret_request);

#endif
