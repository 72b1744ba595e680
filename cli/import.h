/* SPDX-License-Identifier: MIT */
/*
 * cli/import.h - bringing messages in.
 *
 * Two processes: the reader (import_scan.c, cmd_import.c) has the rights of who called the command and opens the
 * messages; the writer (import_write.c) acts as the user and gets each message as a descriptor. So root can import
 * what the user could not read, and what is made belongs to the user.
 */
#ifndef CLI_IMPORT_H
#define CLI_IMPORT_H

#include "cli/cli.h"

/* ---- what was found (import_scan.c) ---- */

struct import_message {
	const char *mailbox;
	const char *folder;   /* relative to the source, "" for itself */
	const char *name;     /* of the file */
	const char *keywords; /* blank-separated, may be NULL */
	uint32_t flags;
	int64_t date;
	bool plain; /* not from a Maildir: may be something else than a message */
	/* One of several in an mbox: its octets there. end 0: the file is the message. */
	uint64_t start, end;
	bool unquoted;
};

struct import_source {
	struct ps_pool *pool;
	const char *path;
	int fd;                          /* of the folder */
	const char *all_into;            /* NULL: mailboxes as the folders are */
	bool is_file;                    /* the path is one, not a folder */
	struct import_message *messages; /* by mailbox, then date */
	size_t count, cap;
	unsigned problems; /* folders that could not be read or have unlawful names: told already */
};

int import_scan(struct import_source *source);
void import_source_finish(struct import_source *source);
/* Opens a message found. Never follows symbolic links. */
int import_open(const struct import_source *source, const struct import_message *message, int *ret_fd);

/* ---- files with several messages (import_mbox.c) ---- */

/* The messages of a file that is an mbox of several, each a copy of `file` but for what the mbox says; 0 when it is none. */
int import_mbox_each(int fd, const struct import_message *file, struct ps_pool *pool,
		     void (*found)(void *arg, const struct import_message *message), void *arg);
/* The message alone, in a file without a name: what the mbox added is taken out. PS_E_LIMIT: larger than that. */
int import_mbox_extract(int fd, const struct import_message *message, uint64_t limit, int *ret_fd);

/* ---- names and small files of Maildirs (import_maildir.c) ---- */

/* The keywords of a folder's dovecot-keywords, by their letters a to z; NULL where there is none. */
struct import_keywords {
	const char *names[26];
};
void import_keywords_read(int folder_fd, struct ps_pool *pool, struct import_keywords *ret_keywords);
/* Flags, keywords and date that the file's name tells. `mtime` may be later than the name's time, if the file was copied. */
void import_maildir_name(const char *name, int64_t mtime, const struct import_keywords *keywords, struct ps_pool *pool,
			 struct import_message *message);
/* The mailbox of a folder `component` within `parent` ("INBOX" for the top). NULL: told already. `maildir_plus`: the
 * component begins with a dot, and dots separate. */
const char *import_mailbox_name(const char *parent, const char *component, bool maildir_plus, struct ps_pool *pool);

/* ---- the writer (import_write.c) ---- */

enum import_outcome {
	IMPORT_DONE,
	IMPORT_THERE,
	IMPORT_NOT_A_MESSAGE,
	IMPORT_FAILED,
	IMPORT_FATAL
};

struct import_totals {
	uint64_t imported, there, ignored, failed, octets;
};

struct import_writer {
	int fd;
	pid_t pid;
};
int import_writer_start(struct cli *cli, const struct ps_user_info *info, struct import_writer *ret_writer);
/* Gives one message (fd stays the caller's) and waits for the outcome; `text`: why it failed. */
enum import_outcome import_writer_put(struct import_writer *writer, const struct import_message *message, int fd,
				      char *text, size_t text_size);
/* Commits what is pending and ends the writer. Negative: what was pending is not stored. */
int import_writer_finish(struct import_writer *writer, struct import_totals *ret_totals);

/* ---- reading one message (import_text.c) ---- */

struct import_text {
	struct ps_body body; /* from after an mbox "From " line */
	uint64_t size;       /* in CRLF form */
};
/* Looks at the whole file. PS_E_SYNTAX: no message; PS_E_INVALID: several. */
int import_text_open(int fd, bool plain, struct import_text *ret_text);
int import_text_each(const struct import_text *text, int (*fn)(void *arg, struct ps_bytes octets), void *arg);
int import_text_digest(const struct import_text *text, uint8_t digest[32]);

/* ---- what is there already (import_seen.c) ---- */

struct import_seen;
/* Of the mailbox as it is now. */
int import_seen_open(struct ps_user *user, const char *mailbox, struct import_seen **ret_seen);
/* 1: it is there (each message there stands for one only); 0: not. */
int import_seen_match(struct import_seen *seen, int64_t date, const struct import_text *text);
void import_seen_close(struct import_seen *seen);

#endif
