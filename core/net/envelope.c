/* SPDX-License-Identifier: MIT */
/*
 * The transaction of a session that takes mail: what its protocol asks goes out by hooks, and answers come back in order.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "core/net/conn.h"
#include "postern/error.h"
#include "postern/log.h"

enum {
	ID_MAX = 32,
};

struct mail_reply {
	struct mail_reply *next;
	unsigned code;
	char *enhanced, *text;
};

struct conn_mail {
	struct mail_reply *first, **last; /* that have come */
	char id[ID_MAX];
	bool taking;            /* a message */
	struct ps_buf gathered; /* what of it is not in the file */
	int file;               /* -1: it has been small so far */
	bool awaiting;          /* a file was asked for */
	uint64_t size;
	bool failed; /* writing did */
	bool ending; /* the message is whole, and its answer is awaited */
	bool lost; /* nobody answers: what is asked in this transaction, and is not answered yet, has the same answer */
};

static const struct ps_mail_reply nobody = {451, "4.3.0", "Mail cannot be taken now; try again later"};

static struct conn *conn_of(const struct ps_session *s)
{
	return (struct conn *)(uintptr_t)s;
}

static void reply_free(struct mail_reply *reply)
{
	if (!reply)
		return;
	free(reply->enhanced);
	free(reply->text);
	free(reply);
}

static void drop_file(struct conn_mail *mail)
{
	ps_closep(&mail->file);
	mail->file = -1;
	mail->taking = mail->awaiting = false;
	ps_buf_finish(&mail->gathered);
	mail->size = 0;
	mail->failed = false;
}

static void drop_replies(struct conn_mail *mail)
{
	struct mail_reply *reply;

	while ((reply = mail->first)) {
		mail->first = reply->next;
		reply_free(reply);
	}
	mail->last = &mail->first;
}

void conn_mail_destroy(struct conn *conn)
{
	struct conn_mail *mail = conn->mail;
	const struct ps_front_hooks *hooks = &conn->front->hooks;

	if (!mail)
		return;
	if (!mail->lost)
		hooks->mail_reset(hooks->arg, conn->number, conn->mail_turn);
	drop_replies(mail);
	drop_file(mail);
	free(mail);
	conn->mail = NULL;
}

void conn_mail_finish(struct conn *conn)
{
	conn_mail_destroy(conn);
	reply_free(conn->mail_shown);
	conn->mail_shown = NULL;
}

bool conn_mail_is_ending(const struct conn *conn)
{
	return conn->mail && conn->mail->ending && conn->s.wait.what == PS_WAIT_REPLY;
}

bool conn_mail_awaits_file(const struct conn *conn)
{
	return conn->mail && conn->mail->awaiting && !conn->mail->lost;
}

/* ---- what comes back ------------------------------------------------------------------------- */

/* NULL: that transaction is over. */
static struct conn *find_turn(struct ps_front *front, uint64_t number, uint32_t turn)
{
	struct conn *conn = front_find(front, number);

	return conn && conn->mail && conn->mail_turn == turn && !conn->mail->lost ? conn : NULL;
}

void ps_front_mail_reply(struct ps_front *front, uint64_t number, uint32_t turn, const struct ps_mail_reply *what,
			 const char *id)
{
	struct conn *conn = find_turn(front, number, turn);
	struct mail_reply *reply;

	if (!conn)
		return;
	reply = ps_zalloc(sizeof *reply);
	reply->code = what->code;
	reply->enhanced = ps_strdup(what->enhanced);
	reply->text = ps_strdup(what->text);
	*conn->mail->last = reply;
	conn->mail->last = &reply->next;
	if (*id)
		snprintf(conn->mail->id, sizeof conn->mail->id, "%s", id);
	conn->replied = true;
	conn_step(conn);
}

void ps_front_mail_lost(struct ps_front *front)
{
	for (struct conn *conn = front->first; conn; conn = conn->next) {
		if (!conn->mail)
			continue;
		conn->mail->lost = true;
		conn->replied = !conn->auth || !conn->auth->pending;
		conn_again(conn);
	}
}

struct ps_mail_reply ps_session_mail_reply(struct ps_session *s)
{
	struct conn *conn = conn_of(s);
	struct conn_mail *mail = conn->mail;
	struct mail_reply *reply = mail ? mail->first : NULL;

	if (!reply) {
		conn->replied = !mail || mail->lost;
		return conn->replied ? nobody : (struct ps_mail_reply){0};
	}
	mail->first = reply->next;
	if (!mail->first)
		mail->last = &mail->first;
	reply_free(conn->mail_shown);
	conn->mail_shown = reply;
	conn->replied = mail->first || mail->lost;
	return (struct ps_mail_reply){reply->code, reply->enhanced, reply->text};
}

const char *ps_session_mail_id(const struct ps_session *s)
{
	const struct conn *conn = conn_of(s);

	return conn->mail ? conn->mail->id : "";
}

/* ---- what is asked --------------------------------------------------------------------------- */

/* Inside of run(), so the answer is taken when it has returned. `r`: of the hook; it is not called for what is lost. */
static void asked(struct conn *conn, int r)
{
	if (r < 0) {
		ps_logf(PS_LOG_ERROR, "mail_failed", conn->s.sid, "%s", ps_last_error());
		conn->mail->lost = true;
	}
	if (conn->mail->lost)
		conn->replied = true;
}

void ps_session_mail_from(struct ps_session *s, const struct ps_mail_sender *sender)
{
	struct conn *conn = conn_of(s);
	const struct ps_front_hooks *hooks = &conn->front->hooks;
	struct ps_bytes ticket = {NULL, 0};

	conn_mail_destroy(conn);
	conn->mail = ps_zalloc(sizeof *conn->mail);
	conn->mail->last = &conn->mail->first;
	conn->mail->file = -1;
	conn->mail_turn++;
	if (conn->auth && conn->auth->status == PS_AUTH_OK)
		ticket = ps_buf_view(&conn->auth->ticket);
	asked(conn, hooks->mail_from(hooks->arg, conn->number, conn->mail_turn, s, sender, ticket));
}

/* Whether there is somebody to ask about the transaction. */
static bool may_ask(struct conn *conn)
{
	if (conn->mail && !conn->mail->lost)
		return true;
	conn->replied = true;
	return false;
}

void ps_session_mail_rcpt(struct ps_session *s, const struct ps_mail_recipient *recipient)
{
	struct conn *conn = conn_of(s);
	const struct ps_front_hooks *hooks = &conn->front->hooks;

	if (may_ask(conn))
		asked(conn, hooks->mail_rcpt(hooks->arg, conn->number, conn->mail_turn, recipient));
}

void ps_session_mail_data(struct ps_session *s)
{
	struct conn *conn = conn_of(s);
	const struct ps_front_hooks *hooks = &conn->front->hooks;

	if (!may_ask(conn))
		return;
	drop_file(conn->mail);
	conn->mail->taking = true;
	asked(conn, hooks->mail_data(hooks->arg, conn->number, conn->mail_turn));
}

/* ---- the message -----------------------------------------------------------------------------
 *
 * Most are small: they are gathered here, and go to relay with the news that they are whole. One that is not needs a file, and until
 * that is there, no more is read of the client.
 */

static int flush_file(struct conn_mail *mail)
{
	struct ps_bytes octets = ps_buf_view(&mail->gathered);

	while (octets.len > 0) {
		ssize_t n = write(mail->file, octets.ptr, octets.len);

		if (n < 0)
			return ps_fail_errno("write a message to the spool");
		octets = ps_bytes_skip(octets, (size_t)n);
	}
	ps_buf_reset(&mail->gathered);
	return 0;
}

static void ask_for_file(struct conn *conn)
{
	const struct ps_front_hooks *hooks = &conn->front->hooks;

	if (conn->mail->awaiting)
		return;
	conn->mail->awaiting = true;
	asked(conn, hooks->mail_room(hooks->arg, conn->number, conn->mail_turn));
}

/* What is larger than may be is refused at the end; it does not fill the disk until then. */
static bool too_large(const struct conn *conn)
{
	uint64_t most = (uint64_t)ps_conf_int(ps_conf_section(conn->front->conf, "limits", 0), "message_size");

	return most && conn->mail->size > most;
}

int ps_session_mail_write(struct ps_session *s, struct ps_bytes octets)
{
	struct conn *conn = conn_of(s);
	struct conn_mail *mail = conn->mail;
	int r = 0;

	if (!mail || !mail->taking)
		return ps_fail(PS_E_INVALID, "no message is being taken");
	mail->size += octets.len;
	if (mail->failed || mail->lost)
		return PS_E_STORAGE;
	if (too_large(conn))
		r = ps_fail(PS_E_LIMIT, "the message is larger than message_size");
	else if (ps_buf_bytes(&mail->gathered, octets) < 0)
		r = PS_E_LIMIT;
	else if (mail->gathered.len > PS_FRONT_SMALL && mail->file < 0)
		ask_for_file(conn);
	else if (mail->gathered.len > PS_FRONT_SMALL)
		r = flush_file(mail);
	mail->failed = r < 0;
	return r;
}

static void send_end(struct conn *conn)
{
	const struct ps_front_hooks *hooks = &conn->front->hooks;
	struct conn_mail *mail = conn->mail;
	bool whole = mail->taking && !mail->failed && (mail->file < 0 || flush_file(mail) == 0);
	struct ps_bytes octets = whole ? ps_buf_view(&mail->gathered) : ps_bytes(NULL, 0);

	asked(conn, hooks->mail_end(hooks->arg, conn->number, conn->mail_turn, mail->size, whole, octets));
	drop_file(mail);
}

void ps_front_mail_file(struct ps_front *front, uint64_t number, uint32_t turn, int file)
{
	struct conn *conn = find_turn(front, number, turn);
	struct conn_mail *mail = conn ? conn->mail : NULL;

	if (!mail || !mail->awaiting) {
		ps_closep(&file);
		return;
	}
	mail->awaiting = false;
	mail->file = file;
	mail->failed = mail->failed || file < 0 || flush_file(mail) < 0;
	if (mail->ending)
		send_end(conn);
	conn_step(conn);
}

void ps_session_mail_end(struct ps_session *s)
{
	struct conn *conn = conn_of(s);

	if (!may_ask(conn))
		return;
	conn->mail->ending = true;
	if (!conn->mail->awaiting)
		send_end(conn);
}

void ps_session_mail_reset(struct ps_session *s)
{
	conn_mail_destroy(conn_of(s));
}
