/* SPDX-License-Identifier: MIT */
/*
 * postern/mboxfile.h - files of many messages, each behind a "From " line (RFC 4155 and its relatives).   [in-tree]
 *
 * A message begins at a line "From SENDER DATE" whose date can be read, whether or not a blank line stands before it, and ends before
 * the next one. A Content-Length field is believed when it ends at such a line or at the end of the file (mboxcl2: nothing in
 * that body is quoted). The blank line before the next "From " line is not part of the message.
 *
 * A file is read through one window, so memory does not grow with it.
 */
#ifndef POSTERN_MBOXFILE_H
#define POSTERN_MBOXFILE_H

#include <stdbool.h>
#include <stdint.h>
#include "postern/buf.h"

/* "From SENDER DATE" without its line end. The date is taken as UTC unless a numeric zone stands with it. */
bool ps_from_line_parse(struct ps_bytes line, struct ps_bytes *ret_sender, int64_t *ret_date);
/* Appends the line with its LF; a sender with blanks or controls, or none, becomes MAILER-DAEMON. */
void ps_from_line_format(struct ps_buf *out, struct ps_bytes sender, int64_t date);

struct ps_mboxfile;
/* `fd` stays the caller's. `end`: the octets of it that are to be read. */
struct ps_mboxfile *ps_mboxfile_create(int fd, uint64_t end);
void ps_mboxfile_destroy(struct ps_mboxfile *file); /* destroy(NULL) does nothing */
/* The octets from `at` on that are at hand, at least `want` of them unless the file ends; valid until the next call. */
int ps_mboxfile_peek(struct ps_mboxfile *file, uint64_t at, size_t want, struct ps_bytes *ret_octets);

struct ps_mboxfile_head {
	uint64_t start;  /* of the "From " line */
	uint64_t fields; /* behind it */
	uint64_t body;   /* behind the blank line that ends the header; where the message ends when there is none */
	int64_t date;
	struct ps_bytes from; /* the "From " line without its line end */
	struct ps_bytes
		header; /* the fields with their line ends; valid until the next call. What is beyond 256 KiB is missing. */
};
/* The message that begins at `at`: 1; 0 when there is nothing but blank lines; PS_E_SYNTAX when it does not begin with a "From " line. */
int ps_mboxfile_head(struct ps_mboxfile *file, uint64_t at, struct ps_mboxfile_head *ret_head);
/* Whether a message may end at `at`: 1, and where the next one begins (or the file ends). */
int ps_mboxfile_ends(struct ps_mboxfile *file, uint64_t at, uint64_t *ret_next);
/* Looks for the end from `at` on, which begins a line. */
int ps_mboxfile_find_end(struct ps_mboxfile *file, uint64_t at, uint64_t *ret_end, uint64_t *ret_next);

/* What other programs keep in a message's header, and no part of it: Status, X-Status, X-Keywords, X-UID, X-IMAP,
 * X-IMAPbase, Content-Length, and X-Postern. */
bool ps_mboxfile_is_own_field(struct ps_bytes name);

/* A message of somebody else's. */
struct ps_mboxfile_message {
	uint64_t start, end, next;
	int64_t date;
	bool unquoted; /* its Content-Length was believed: no line of its body is quoted */
};
/* The first one from `at` on, as ps_mboxfile_head(): 1, 0, or an error. Go on at ret_message->next. */
int ps_mboxfile_next(struct ps_mboxfile *file, uint64_t at, struct ps_mboxfile_message *ret_message);
/* Its octets, without the "From " line and others' fields, lines unquoted (">From " to "From ", ">>From " to ">From "), line ends as they
 * lie; non-zero from `fn` ends it. */
int ps_mboxfile_octets(struct ps_mboxfile *file, const struct ps_mboxfile_message *message,
		       int (*fn)(void *arg, struct ps_bytes octets), void *arg);

/* Undoes quoting in octets that come in pieces; set `line_start` and `carry` to zero, `at_line_start` to true first. */
struct ps_unquote {
	bool at_line_start;
	size_t held; /* '>'s at the start of a line, and how much of "From " behind them */
	size_t matched;
};
void ps_unquote_feed(struct ps_unquote *unquote, struct ps_bytes in, struct ps_buf *out);
void ps_unquote_finish(struct ps_unquote *unquote, struct ps_buf *out);
/* Whether a line is one that quoting changes: any number of '>', then "From ". */
bool ps_is_from_like(struct ps_bytes line);

#endif
