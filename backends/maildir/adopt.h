/* SPDX-License-Identifier: MIT */
/*
 * Mailboxes that another IMAP server kept: what it told its clients (UIDVALIDITY, UIDs, UIDNEXT, keywords) goes on to
 * hold. Their files are read, never written; a folder may be renamed. Included by the adopt files, and by who gives a mailbox its identity.
 */
#ifndef BACKENDS_MAILDIR_ADOPT_H
#define BACKENDS_MAILDIR_ADOPT_H

#include "backends/maildir/maildir_private.h"

/* What one mailbox's files say. */
struct adoption {
	const char *mailbox;
	int dirfd;
	uint32_t uid_validity, uid_next;
	size_t messages;
	struct ps_buf lines; /* of our own UID list */
	struct ps_keyword_table keywords;
	/* What could not be used, told in one line of the log per file. */
	const char *file;
	size_t line, passed_over, first_passed_over;
	const char *reason;
};

/* Another server's way to keep a mailbox. 1: adopted; 0: none of its files here, or none to be used. */
int adopt_dovecot(struct adoption *adoption);
int adopt_courier(struct adoption *adoption);

/*
 * Gives a mailbox that has no state the identity that another server gave it: writes keywords and UID list, and fills in
 * the state, which the caller writes last. A crash before that leaves a mailbox without state: all is done again.
 * 1: done; 0: there is nothing to adopt.
 */
int adopt_mailbox(struct ps_catalogue_txn *w, int dirfd, const char *mailbox, struct mailbox_state *state);
/* Makes `subscriptions` of Courier's file, if there is none. Before INBOX gets its state. */
int adopt_subscriptions(struct ps_store *store);

/* A folder whose name Courier wrote in UTF-8 gets the name that it has here. 1: renamed; 0: it is none, or the name is taken. */
int adopt_folder(struct ps_store *store, const char *dir);

/* ---- for the readers ---- */

/* Appends a whole file. 1: read; 0: not there, or (the log says so) none to be read. Begins its account of lines. */
int adopt_read(struct adoption *adoption, int dirfd, const char *file, struct ps_buf *out);
/* The next line of the file, counted; false behind the last. */
bool adopt_line(struct adoption *adoption, struct ps_bytes *text, struct ps_bytes *ret_line);
struct ps_bytes adopt_word(struct ps_bytes *line);
/* The line last taken is of no use. */
void adopt_pass_over(struct adoption *adoption, const char *reason);
/* Ends the account of a file. */
void adopt_account(struct adoption *adoption);
/* A list of UIDs in the form that Courier and old Dovecots have, or (`version3`) new Dovecots too. 1, 0 as above. */
int adopt_uid_list(struct adoption *adoption, const char *file, bool version3);
/* Gives a name one of the bits that are not in `taken`; -1 (passed over) when it is none or all are given. */
int adopt_keyword(struct adoption *adoption, struct ps_bytes name, uint64_t taken);

#endif
