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
	bool has_children;   /* existing ones, or parents of such */
};

struct imap_list {
	struct imap_list_entry *entries; /* a parent stands before its children, and these stand together */
	size_t count;
};

/* Existing mailboxes and what is above them; `subscribed`: subscribed names and what is above them. */
int imap_list_read(struct imap_cmd *cmd, bool subscribed, struct imap_list *ret_list);
/* Parses reference and pattern of LIST and LSUB. */
int imap_list_args(struct imap_cmd *cmd, const char **ret_pattern);
bool imap_list_matches(struct imap_cmd *cmd, const char *pattern, const char *name);
/* "* LIST (\HasNoChildren) "/" "work"" */
void imap_put_list(struct imap_cmd *cmd, const char *response, const struct imap_list_entry *entry, bool selectable);

#endif
