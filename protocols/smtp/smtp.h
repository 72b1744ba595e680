/* SPDX-License-Identifier: MIT */
/*
 * What the files of the SMTP protocols share. One dialogue serves three plugins: smtp (an MX, port 25), submission (RFC 6409) and
 * lmtp (RFC 2033). It lives in the front process for ever; transactions are postern/envelope.h's.
 *
 * The session is a loop over steps (session.c): read a command and run it, or go on with what is under way. What must wait names the
 * step that comes afterwards with smtp_wait().
 */
#ifndef PROTOCOLS_SMTP_H
#define PROTOCOLS_SMTP_H

#include "postern/envelope.h"
#include "postern/error.h"
#include "postern/login.h"

enum {
	/* RFC 5321 section 4.5.3.1.4 asks for 512 and what the extensions add; an AUTH response has 12288 (RFC 4954 section 4). */
	SMTP_LINE_MAX = 12288 + 2,
	SMTP_HELO_MAX = 255,
};

struct ps_half;
struct smtp;
struct smtp_message;

enum smtp_next {
	SMTP_NEXT,  /* done: the next step, or the next command */
	SMTP_WAIT,  /* smtp->wait says for what */
	SMTP_CLOSE, /* what was said goes out, and that is all */
};

/* The transaction, RFC 5321 section 3.3. */
struct smtp_mail {
	bool begun; /* MAIL was answered with 250 */
	uint32_t options;
	unsigned recipients; /* that were answered with 250, */
	char *only;          /* and the first one's path */
	char *reverse_path;
	struct smtp_message *message; /* from the 354, or the first BDAT, on */
	bool failed;                  /* a BDAT did: nothing but RSET helps, RFC 3030 section 2 */
	bool chunk_is_last;
	uint64_t chunk_left;             /* octets of the BDAT under way that are still to come */
	unsigned replies;                /* awaited, after the message */
	uint64_t since_ms, since_octets; /* from when on the client's rate is measured */
};

struct smtp {
	struct ps_session *session;
	enum ps_mail_source kind;                  /* which of the plugins */
	enum smtp_next (*step)(struct smtp *smtp); /* NULL: a command is to be read */
	struct ps_wait wait;
	char helo[SMTP_HELO_MAX + 1];      /* as the client calls itself; "": has not yet */
	char told_helo[SMTP_HELO_MAX + 1]; /* by XCLIENT, in its place */
	bool extended;                     /* by EHLO or LHLO */
	bool authenticated;
	bool trusted; /* may say who the client is: XCLIENT */
	bool greeted;
	unsigned errors;
	struct ps_login login;
	struct smtp_mail mail;
};

/* What a command is given: its argument without the blanks around it. */
struct smtp_cmd {
	struct smtp *smtp;
	struct ps_bytes argument;
};

enum {
	SMTP_ON_MX = 1 << PS_MAIL_MX,
	SMTP_ON_SUBMISSION = 1 << PS_MAIL_SUBMISSION,
	SMTP_ON_LMTP = 1 << PS_MAIL_LMTP,
	SMTP_EVERYWHERE = SMTP_ON_MX | SMTP_ON_SUBMISSION | SMTP_ON_LMTP,
};

enum {
	SMTP_NEEDS_HELO = 1,      /* not before EHLO, HELO or LHLO */
	SMTP_NEEDS_USER = 2,      /* submission: not before AUTH */
	SMTP_NO_MAIL = 4,         /* not within a transaction */
	SMTP_NO_ARGUMENT = 8,     /* 501 with one */
	SMTP_NEEDS_ARGUMENT = 16, /* 501 without */
	SMTP_NO_CHUNKS = 32,      /* not between BDATs, RFC 3030 section 2 */
};

/* A command: a row of the table in commands.c. */
struct smtp_verb {
	const char *name;
	enum smtp_next (*run)(struct smtp_cmd *cmd);
	unsigned where; /* SMTP_ON_* */
	unsigned flags;
	const char *syntax; /* for HELP */
	/* NULL: always. Else false: the command is not known here. */
	bool (*available)(const struct smtp *smtp);
};
const struct smtp_verb *smtp_verb_find(const struct smtp *smtp, struct ps_bytes name);
/* The n-th that is known here; NULL: there are not so many. */
const struct smtp_verb *smtp_verb_nth(const struct smtp *smtp, size_t n);

/* ---- answers (answer.c) ---------------------------------------------------------------------- */

/* An answer of one line. An empty enhanced code is left out; a 5xx counts as an error. */
enum smtp_next smtp_say(struct smtp *smtp, unsigned code, const char *enhanced, const char *text);
/* The same, and the connection is closed. */
enum smtp_next smtp_bye(struct smtp *smtp, unsigned code, const char *enhanced, const char *text);

/* ---- the session (session.c) ----------------------------------------------------------------- */

/* `step` is called when the wait is over. */
enum smtp_next smtp_wait(struct smtp *smtp, struct ps_wait wait, enum smtp_next (*step)(struct smtp *smtp));
enum smtp_next smtp_wait_line(struct smtp *smtp, enum smtp_next (*step)(struct smtp *smtp));
/* Waits for the answer to what another process was asked. */
enum smtp_next smtp_wait_reply(struct smtp *smtp, enum smtp_next (*step)(struct smtp *smtp));
/* The answer has not come in time, or the client has gone: true, and *ret_next is what to return. */
bool smtp_gave_up(struct smtp *smtp, enum smtp_next *ret_next);
/* RSET, in effect: forgets the transaction. */
void smtp_forget(struct smtp *smtp);
/* A transaction from a user who has logged in is a submission, wherever it comes in. */
enum ps_mail_source smtp_source(const struct smtp *smtp);
const char *smtp_hostname(const struct smtp *smtp);
/* Of the message as the client sends it. */
uint64_t smtp_size_limit(const struct smtp *smtp);
/* Whether a bare CR or LF is taken for a line end, setting bare_line_ends. */
bool smtp_converts(const struct smtp *smtp);
bool smtp_auth_offered(const struct smtp *smtp);
int64_t smtp_setting(const struct smtp *smtp, const char *name);
uint64_t smtp_now_ms(void);

/* ---- extensions (extensions.c) --------------------------------------------------------------- */

/* The lines of a reply to EHLO or LHLO. */
void smtp_put_extensions(struct smtp *smtp, struct ps_buf *out);

extern const struct ps_half smtp_mx_half, smtp_submission_half, smtp_lmtp_half;

#endif
