/* SPDX-License-Identifier: MIT */
/*
 * results.h - what a search gives back: RETURN (RFC 4731), SAVE (RFC 5182), PARTIAL (RFC 9394), and the plain list.
 */
#ifndef PROTOCOLS_IMAP_RESULTS_H
#define PROTOCOLS_IMAP_RESULTS_H

#include "protocols/imap/imap.h"
#include "protocols/imap/partial.h"

enum {
	IMAP_RETURN_MIN = 1,
	IMAP_RETURN_MAX = 2,
	IMAP_RETURN_ALL = 4,
	IMAP_RETURN_COUNT = 8,
	IMAP_RETURN_SAVE = 16,
	IMAP_RETURN_PARTIAL = 32,
};

struct imap_results {
	unsigned asked; /* IMAP_RETURN_*; 0: a plain list */
	struct imap_partial partial;
	bool by_uid;
	bool tells_modseq;
	/* What was found so far. */
	struct ps_ranges hits; /* numbers or UIDs, in the order found */
	uint32_t count, first, last;
	uint64_t modseq; /* the highest, if it is told */
};

/* Takes "RETURN (...)" and the blank behind it, if that comes next. */
int imap_results_parse(struct imap_args *args, struct imap_results *results);
void imap_results_finish(struct imap_results *results);
/* Notes one; true when no more are needed. */
bool imap_results_hit(struct imap_results *results, uint32_t seq, const struct ps_row *row);
/* The untagged response, "* SEARCH 2 3" (`name`) or ESEARCH; and keeps what "$" means from now on. */
void imap_results_put(struct imap_cmd *cmd, const struct imap_results *results, const char *name);
/* The search failed with NO: "$" means nothing then, if it was to be set. */
void imap_results_fail(struct imap_cmd *cmd, const struct imap_results *results);

#endif
