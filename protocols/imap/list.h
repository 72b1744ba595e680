/* SPDX-License-Identifier: MIT */
/*
 * list.h - the mailboxes as LIST and LSUB need them: a tree in order, with the parents that are only names.
 */
#ifndef PROTOCOLS_IMAP_LIST_H
#define PROTOCOLS_IMAP_LIST_H

#include "protocols/imap/imap.h"

struct imap_list_entry {
	const char *name;    /* of the API */
	uint32_t attributes; /* PS_MBOX_*; 0 for a name that is only a parent */
	uint32_t below;      /* those of EXISTS and SUBSCRIBED that some name below has */
};

struct imap_list {
	struct imap_list_entry *entries; /* a parent stands before its children, and these stand together */
	size_t count;
};

/* The names that have one of `wanted`, PS_MBOX_EXISTS and PS_MBOX_SUBSCRIBED, and what is above them: of those that are `top` or below it;
 * NULL: of all. */
int imap_list_read(struct imap_cmd *cmd, const char *top, uint32_t wanted, struct imap_list *ret_list);
bool imap_list_matches(struct imap_cmd *cmd, const char *pattern, const char *name);
/* What LIST says of one that exists, or of one that is only above others, for which `missing` stands. */
const char *imap_list_attributes(struct imap_cmd *cmd, const struct imap_list_entry *entry, const char *missing,
				 bool subscribed);
/* The whole LIST response for one mailbox, as SELECT and others tell it in IMAP4rev2. */
int imap_put_list_of(struct imap_cmd *cmd, const char *name);
/* "* LIST (\HasNoChildren) "/" "work"", without the line end: special uses are put behind the attributes. */
void imap_put_list(struct imap_cmd *cmd, const char *response, const struct imap_list_entry *entry,
		   const char *attributes);

#endif
