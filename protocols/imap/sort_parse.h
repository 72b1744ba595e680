/* SPDX-License-Identifier: MIT */
/*
 * sort_parse.h - what SORT sorts by: RFC 5256 and RFC 5957. Pure.
 */
#ifndef PROTOCOLS_IMAP_SORT_PARSE_H
#define PROTOCOLS_IMAP_SORT_PARSE_H

#include "postern/store.h"
#include "protocols/imap/args.h"

enum {
	IMAP_SORT_CRITERIA_MAX = 16
};

struct imap_sort_criteria {
	struct ps_sort_criterion list[IMAP_SORT_CRITERIA_MAX];
	size_t count;
};

/* "(REVERSE DATE SUBJECT)". PS_E_LIMIT: more than there is room for. */
int imap_sort_criteria_parse(struct imap_args *args, struct imap_sort_criteria *ret_criteria);

#endif
