/* SPDX-License-Identifier: MIT */
/*
 * Authentications of a connection in the front process. Most connections have one at a time; where another server asks for its
 * clients, there is one for each of them.
 */
#include <stdlib.h>
#include "core/net/conn.h"
#include "postern/log.h"

static struct conn *conn_of(struct ps_session *s)
{
	return (struct conn *)s;
}

/* What the last answer brought. */
static void forget_answer(struct conn *conn, struct conn_auth *auth)
{
	ps_buf_wipe(&auth->data);
	ps_buf_wipe(&auth->ticket);
	free(auth->user);
	auth->user = NULL;
	counts_drop(conn->front->counts, &auth->sessions);
	auth->sessions.counted = false;
}

static void cancel(struct conn *conn, struct conn_auth *auth)
{
	struct conn_auth **at = &conn->exchanges;

	if (!auth)
		return;
	while (*at != auth)
		at = &(*at)->next;
	*at = auth->next;
	if (auth->pending || auth->status == PS_AUTH_CONTINUE)
		conn->front->hooks.auth_cancel(conn->front->hooks.arg, conn->number, auth->turn);
	forget_answer(conn, auth);
	free(auth);
	if (conn->auth == auth)
		conn->auth = NULL;
}

void conn_cancel_exchanges(struct conn *conn)
{
	while (conn->exchanges)
		cancel(conn, conn->exchanges);
}

static void expect_answer(struct conn *conn)
{
	forget_answer(conn, conn->auth);
	conn->auth->status = PS_AUTH_NONE;
	conn->auth->pending = true;
	conn->auth->shown = false;
}

/* Whether the user may have one session more. */
static bool count_session(struct conn *conn, struct conn_auth *auth, const struct ps_front_auth *answer)
{
	struct address user;

	if (answer->status != PS_AUTH_OK || answer->sessions == 0)
		return true;
	user = address_of_user(answer->user);
	if (counts_add(conn->front->counts, &user, answer->sessions)) {
		auth->sessions = user;
		return true;
	}
	ps_log(PS_LOG_WARNING, "session_refused", "sid", conn->s.sid, "user", answer->user, "what", "one more session",
	       "why", "the user has as many as they may", NULL);
	return false;
}

static struct conn_auth *find_turn(const struct conn *conn, uint32_t turn)
{
	struct conn_auth *auth = conn->exchanges;

	while (auth && auth->turn != turn)
		auth = auth->next;
	return auth;
}

void ps_front_auth_answer(struct ps_front *front, uint64_t number, uint32_t turn, const struct ps_front_auth *answer)
{
	struct conn *conn = front_find(front, number);
	struct conn_auth *auth = conn ? find_turn(conn, turn) : NULL;

	/* The client may have gone, or taken back what it asked, meanwhile. */
	if (!auth || !auth->pending)
		return;
	auth->pending = false;
	conn->replied = true;
	auth->status = PS_AUTH_TEMPFAIL;
	if (count_session(conn, auth, answer)) {
		auth->status = answer->status;
		ps_buf_bytes(&auth->data, answer->data);
		ps_buf_bytes(&auth->ticket, answer->ticket);
		auth->user = answer->user ? ps_strdup(answer->user) : NULL;
		auth->credential = answer->credential;
	}
	conn_step(conn);
}

/* ---- what protocols call (postern/session.h) ----------------------------------------------------- */

bool ps_session_auth_choose(struct ps_session *s, uint32_t exchange)
{
	struct conn *conn = conn_of(s);

	conn->exchange = exchange;
	conn->auth = conn->exchanges;
	while (conn->auth && conn->auth->exchange != exchange)
		conn->auth = conn->auth->next;
	return conn->auth;
}

bool ps_session_auth_choose_answered(struct ps_session *s, uint32_t *ret_exchange)
{
	struct conn_auth *auth = conn_of(s)->exchanges;

	while (auth && (auth->pending || auth->shown))
		auth = auth->next;
	if (!auth)
		return false;
	auth->shown = true;
	*ret_exchange = auth->exchange;
	return ps_session_auth_choose(s, auth->exchange);
}

void ps_session_auth_start(struct ps_session *s, const char *mechanism, struct ps_bytes initial)
{
	struct conn *conn = conn_of(s);
	struct conn_auth *auth = ps_zalloc(sizeof *auth);

	cancel(conn, conn->auth);
	*auth = (struct conn_auth){.next = conn->exchanges, .exchange = conn->exchange, .turn = ++conn->auth_turn};
	conn->auth = conn->exchanges = auth;
	expect_answer(conn);
	conn->front->hooks.auth_start(conn->front->hooks.arg, conn->number, auth->turn, s, mechanism, initial);
}

void ps_session_auth_step(struct ps_session *s, struct ps_bytes response)
{
	struct conn *conn = conn_of(s);

	expect_answer(conn);
	conn->front->hooks.auth_step(conn->front->hooks.arg, conn->number, conn->auth->turn, response);
}

void ps_session_auth_cancel(struct ps_session *s)
{
	cancel(conn_of(s), conn_of(s)->auth);
}

struct ps_auth_reply ps_session_auth_reply(struct ps_session *s)
{
	const struct conn_auth *auth = conn_of(s)->auth;

	if (!auth)
		return (struct ps_auth_reply){.status = PS_AUTH_NONE};
	return (struct ps_auth_reply){.status = auth->status, .data = ps_buf_view(&auth->data), .user = auth->user};
}
