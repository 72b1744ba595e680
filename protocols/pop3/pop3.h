/* SPDX-License-Identifier: MIT */
/*
 * What the files of POP3 (RFC 1939) share. The front half is the AUTHORIZATION state, the mail half TRANSACTION and UPDATE.
 *
 * A maildrop is a view of INBOX that is never synced: its numbers are message-numbers, until QUIT.
 */
#ifndef PROTOCOLS_POP3_H
#define PROTOCOLS_POP3_H

#include "postern/error.h"
#include "postern/login.h"
#include "postern/protocol.h"
#include "postern/store.h"

enum {
	POP3_FRONT_LINE = 12 << 10, /* SASL responses are the longest */
	POP3_MAIL_LINE = 1024,      /* RFC 2449 section 4 allows 255 */
	POP3_ERRORS_MAX = 20,       /* in a row, then the connection is closed */
	POP3_UIDL_SIZE = 71,        /* RFC 1939 section 7: 1 to 70 characters */
};

/* Marks of a message in this session. */
enum {
	POP3_DELETED = 1,
	POP3_READ = 2, /* given out whole */
};

enum pop3_next {
	POP3_NEXT, /* it has answered */
	POP3_WAIT, /* for pop3->wait; then go_on() is called */
	POP3_GONE, /* pop3->wait is the last word */
};

struct pop3;
struct pop3_content;
struct pop3_maildrop;

/* A row of session.c's tables: one for each state. */
struct pop3_command {
	const char *name;
	enum pop3_next (*run)(struct pop3 *pop3, struct ps_bytes argument);
};

struct pop3 {
	struct ps_session *session;
	const struct pop3_command *commands; /* of this state */
	size_t line_max;
	uint32_t timeout_ms;
	struct ps_wait wait;
	enum pop3_next (*go_on)(struct pop3 *pop3); /* of what is under way; NULL: a command is read */
	unsigned errors;
	bool closing;
	bool utf8; /* RFC 6856; said before log-in */

	/* front */
	struct ps_buf name; /* USER's */
	struct ps_login login;

	/* mail */
	const char *refusal; /* why the maildrop is not opened */
	struct pop3_maildrop *maildrop;
	struct ps_view *view;
	uint32_t count; /* of messages */
	uint32_t uid_validity;
	uint8_t *marks; /* one each */
	const struct pop3_uidl *uidl;
	uint32_t at; /* LIST, UIDL: the message that is next */
	struct pop3_content *content;
};

/* session.c: answers. `text` without line end; may begin with a response code, RFC 2449 section 8. */
enum pop3_next pop3_ok(struct pop3 *pop3, const char *text);
enum pop3_next pop3_err(struct pop3 *pop3, const char *text);
/* What a half waits for, with its time-out. */
enum pop3_next pop3_wait_line(struct pop3 *pop3);
/* Whether to give the thread back now; then pop3->wait says why. */
bool pop3_should_yield(struct pop3 *pop3);
/* Takes a line off the input, without its end; false: there is none, and pop3->wait or ->closing was set. The line is consumed by
 * pop3_consume_line(). */
bool pop3_take_line(struct pop3 *pop3, struct ps_bytes *ret_line);
void pop3_consume_line(struct pop3 *pop3);

/* capa.c: CAPA, LANG and UTF8, in both states. */
enum pop3_next pop3_capa(struct pop3 *pop3, struct ps_bytes argument);
enum pop3_next pop3_lang(struct pop3 *pop3, struct ps_bytes argument);
enum pop3_next pop3_utf8(struct pop3 *pop3, struct ps_bytes argument);

/* login.c */
enum pop3_next pop3_user(struct pop3 *pop3, struct ps_bytes argument);
enum pop3_next pop3_pass(struct pop3 *pop3, struct ps_bytes argument);
enum pop3_next pop3_auth(struct pop3 *pop3, struct ps_bytes argument);
enum pop3_next pop3_stls(struct pop3 *pop3, struct ps_bytes argument);

/* maildrop.c: one session a maildrop, unless that is set otherwise, and not too often. NULL, or why not. */
const char *pop3_maildrop_open(struct pop3 *pop3);
/* To try again will not help, but the administrator might: [SYS/PERM], RFC 3206 section 4. */
bool pop3_is_lasting(int r);
void pop3_maildrop_close(struct pop3 *pop3);
/* What QUIT does with the marks (the UPDATE state). Durable when it returns. */
int pop3_maildrop_update(struct pop3 *pop3);

/* listing.c, by the maildrop's numbers. */
enum pop3_next pop3_stat(struct pop3 *pop3, struct ps_bytes argument);
enum pop3_next pop3_list(struct pop3 *pop3, struct ps_bytes argument);
enum pop3_next pop3_uidl(struct pop3 *pop3, struct ps_bytes argument);
enum pop3_next pop3_dele(struct pop3 *pop3, struct ps_bytes argument);
enum pop3_next pop3_rset(struct pop3 *pop3, struct ps_bytes argument);
/* The message of that number, or 0 after an answer why not. */
uint32_t pop3_number(struct pop3 *pop3, struct ps_bytes argument);

/* content.c */
enum pop3_next pop3_retr(struct pop3 *pop3, struct ps_bytes argument);
enum pop3_next pop3_top(struct pop3 *pop3, struct ps_bytes argument);
void pop3_content_leave(struct pop3 *pop3);

/* uidl.c: how unique-ids look, by the name of the format. NULL: no such. */
const struct pop3_uidl *pop3_uidl_find(const char *name);
void pop3_uidl_format(const struct pop3_uidl *uidl, const struct ps_row *row, uint32_t uid_validity,
		      char ret_id[POP3_UIDL_SIZE]);

extern const struct ps_half pop3_front_half, pop3_mail_half;

#endif
