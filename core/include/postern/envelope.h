/* SPDX-License-Identifier: MIT */
/*
 * postern/envelope.h - taking mail from a client, as a protocol in the front sees it.   [in-tree]
 *
 * A transaction is that of RFC 5321 section 3.3: MAIL, one or more RCPT, the message. Who routes and delivers sits in another process:
 * each function asks it something; return PS_WAIT_REPLY then, and ps_session_mail_reply() tells. There is one transaction a session.
 *
 * Paths are UTF-8 without angle brackets, "local-part@domain", at most PS_PATH_MAX octets, and hold no control octets: the protocol has
 * checked them by its grammar.
 */
#ifndef POSTERN_ENVELOPE_H
#define POSTERN_ENVELOPE_H

#include "postern/session.h"

#define PS_PATH_MAX 512

enum ps_mail_source {
	PS_MAIL_MX,         /* from anybody, to our users */
	PS_MAIL_SUBMISSION, /* from a user who has logged in, to anybody (RFC 6409) */
	PS_MAIL_LMTP,       /* to our users; a reply for each (RFC 2033) */
};

enum {
	PS_MAIL_8BITMIME = 1,   /* BODY=8BITMIME, RFC 6152 */
	PS_MAIL_BINARYMIME = 2, /* BODY=BINARYMIME, RFC 3030 */
	PS_MAIL_SMTPUTF8 = 4,   /* RFC 6531 */
	PS_MAIL_REQUIRETLS = 8, /* RFC 8689 */
	PS_MAIL_RET_FULL = 16,  /* RFC 3461 section 4.3 */
	PS_MAIL_RET_HDRS = 32,
};

struct ps_mail_sender {
	enum ps_mail_source source;
	const char *reverse_path; /* "": the null reverse-path */
	const char *helo;         /* what the client calls itself */
	uint32_t options;         /* PS_MAIL_* */
	uint64_t size;            /* as declared (RFC 1870); 0: not */
	const char *envid;        /* RFC 3461 section 4.4, decoded; NULL: none */
};

enum {
	PS_NOTIFY_NEVER = 1, /* RFC 3461 section 4.1 */
	PS_NOTIFY_SUCCESS = 2,
	PS_NOTIFY_FAILURE = 4,
	PS_NOTIFY_DELAY = 8,
};

struct ps_mail_recipient {
	const char *forward_path;
	uint32_t notify;   /* PS_NOTIFY_*; 0: not given */
	const char *orcpt; /* "rfc822;joe@example.org", decoded; NULL: none */
};

/* What to answer. The texts are valid until the next call of ps_session_mail_reply(), also when the transaction is forgotten before. */
struct ps_mail_reply {
	unsigned code;        /* 250, 354, 451, 550 ...; 0: nothing has come yet */
	const char *enhanced; /* "2.1.5", RFC 3463 */
	const char *text;
};

/* MAIL. A former transaction is dropped. 250 or a refusal. */
void ps_session_mail_from(struct ps_session *s, const struct ps_mail_sender *sender);
/* RCPT. 250 or a refusal. */
void ps_session_mail_rcpt(struct ps_session *s, const struct ps_mail_recipient *recipient);
/* DATA, or the first BDAT: asks for a place for the message. 354 or a refusal. */
void ps_session_mail_data(struct ps_session *s);
/* After 354: the message in CRLF form, trace fields first. A failure (the disk is full) is the reply to ps_session_mail_end(), too. */
int ps_session_mail_write(struct ps_session *s, struct ps_bytes octets);
/* The message is whole. One reply; LMTP: one for each recipient that was answered with 250, in their order. A 250 means that it is
 * stored, or queued, and survives a power cut. */
void ps_session_mail_end(struct ps_session *s);
/* RSET, HELO, the end: forgets the transaction. No reply. */
void ps_session_mail_reset(struct ps_session *s);
/* Takes the oldest reply that has come. */
struct ps_mail_reply ps_session_mail_reply(struct ps_session *s);
/* The transaction's id, for Received fields and the log; "" without one. From MAIL's 250 on. */
const char *ps_session_mail_id(const struct ps_session *s);

#endif
