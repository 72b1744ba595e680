/* SPDX-License-Identifier: MIT */
/* The machine both halves are: read a line, run its command, answer. */
#include <stdlib.h>
#include "postern/log.h"
#include "protocols/pop3/pop3.h"

static const struct ps_wait wait_close = {.what = PS_WAIT_CLOSE};
static const struct ps_wait wait_gone = {.what = PS_WAIT_GONE};

/* ---- answers ---------------------------------------------------------------------------------- */

static void put_line(struct pop3 *pop3, const char *status, const char *text)
{
	ps_session_printf(pop3->session, "%s %s\r\n", status, text);
}

enum pop3_next pop3_ok(struct pop3 *pop3, const char *text)
{
	put_line(pop3, "+OK", text);
	pop3->errors = 0;
	return POP3_NEXT;
}

enum pop3_next pop3_err(struct pop3 *pop3, const char *text)
{
	put_line(pop3, "-ERR", text);
	if (++pop3->errors < POP3_ERRORS_MAX)
		return POP3_NEXT;
	ps_log(PS_LOG_INFO, "bad_commands", "sid", ps_session_sid(pop3->session), NULL);
	pop3->closing = true;
	return POP3_NEXT;
}

/* ---- waiting and reading ---------------------------------------------------------------------- */

enum pop3_next pop3_wait_line(struct pop3 *pop3)
{
	pop3->wait = (struct ps_wait){.what = PS_WAIT_LINE, .n = pop3->line_max + 1, .timeout_ms = pop3->timeout_ms};
	return POP3_WAIT;
}

bool pop3_should_yield(struct pop3 *pop3)
{
	if (ps_session_full(pop3->session))
		pop3->wait = (struct ps_wait){.what = PS_WAIT_DRAIN};
	else if (ps_session_slice_over(pop3->session))
		pop3->wait = (struct ps_wait){.what = PS_WAIT_TURN};
	else
		return false;
	return true;
}

/* RFC 1939 section 3: whose time is over is not answered, and a lost connection deletes nothing. */
bool pop3_take_line(struct pop3 *pop3, struct ps_bytes *ret_line)
{
	struct ps_bytes in = ps_session_input(pop3->session);
	ptrdiff_t lf = ps_bytes_find(in, '\n');

	if (lf >= 0 && (size_t)lf <= pop3->line_max) {
		*ret_line = ps_bytes(in.ptr, (size_t)lf - (lf > 0 && in.ptr[lf - 1] == '\r'));
		return true;
	}
	if (lf >= 0 || in.len > pop3->line_max) {
		pop3_err(pop3, "That line is far too long");
		pop3->closing = true;
	} else if (ps_session_eof(pop3->session) || ps_session_timed_out(pop3->session)) {
		pop3->closing = true;
	} else {
		pop3_wait_line(pop3);
	}
	return false;
}

void pop3_consume_line(struct pop3 *pop3)
{
	ptrdiff_t lf = ps_bytes_find(ps_session_input(pop3->session), '\n');

	if (lf >= 0)
		ps_session_consume(pop3->session, (size_t)lf + 1);
}

/* ---- commands of both states ------------------------------------------------------------------ */

static enum pop3_next quit_before_login(struct pop3 *pop3, struct ps_bytes argument)
{
	(void)argument;
	pop3->closing = true;
	return pop3_ok(pop3, "Bye");
}

/* The maildrop is free before the client is told that it is done. */
static enum pop3_next quit_and_update(struct pop3 *pop3, struct ps_bytes argument)
{
	int r = pop3_maildrop_update(pop3);

	(void)argument;
	pop3->closing = true;
	pop3_maildrop_close(pop3);
	if (r == 0)
		return pop3_ok(pop3, "Bye");
	ps_log(PS_LOG_ERROR, "update_failed", "sid", ps_session_sid(pop3->session), "msg", ps_last_error(), NULL);
	return pop3_err(pop3, pop3_is_lasting(r) ? "[SYS/PERM] Deleted messages could not be removed"
						 : "[SYS/TEMP] Deleted messages could not be removed now");
}

static enum pop3_next noop(struct pop3 *pop3, struct ps_bytes argument)
{
	(void)argument;
	return pop3_ok(pop3, "");
}

static const struct pop3_command front_commands[] = {
	{"AUTH", pop3_auth}, {"CAPA", pop3_capa}, {"LANG", pop3_lang}, {"PASS", pop3_pass}, {"QUIT", quit_before_login},
	{"STLS", pop3_stls}, {"USER", pop3_user}, {"UTF8", pop3_utf8}, {NULL, NULL},
};

static const struct pop3_command mail_commands[] = {
	{"CAPA", pop3_capa}, {"DELE", pop3_dele}, {"LANG", pop3_lang},       {"LIST", pop3_list},
	{"NOOP", noop},      {"RETR", pop3_retr}, {"QUIT", quit_and_update}, {"RSET", pop3_rset},
	{"STAT", pop3_stat}, {"TOP", pop3_top},   {"UIDL", pop3_uidl},       {NULL, NULL},
};

static enum pop3_next run_line(struct pop3 *pop3, struct ps_bytes line)
{
	ptrdiff_t blank = ps_bytes_find(line, ' ');
	struct ps_bytes verb = ps_bytes(line.ptr, blank < 0 ? line.len : (size_t)blank);
	struct ps_bytes argument = blank < 0 ? ps_bytes("", 0) : ps_bytes_skip(line, (size_t)blank + 1);

	if (ps_bytes_find(line, '\0') >= 0)
		return pop3_err(pop3, "NUL is not allowed");
	for (const struct pop3_command *command = pop3->commands; command->name; command++)
		if (ps_bytes_caseeq_str(verb, command->name))
			return command->run(pop3, argument);
	if (!pop3->view && ps_login_is_http(pop3->session, verb)) {
		pop3->closing = true;
		return POP3_NEXT;
	}
	return pop3_err(pop3, pop3->view ? "Unknown command" : "Unknown command, or log in first");
}

/* A line that asks for something (STLS, a log-in) is consumed before it is asked. */
static enum pop3_next read_command(struct pop3 *pop3)
{
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = NULL;
	struct ps_bytes line;

	if (!pop3_take_line(pop3, &line))
		return pop3->closing ? POP3_NEXT : POP3_WAIT;
	pool = ps_pool_create("pop3 command");
	line = ps_bytes(ps_pool_memdup(pool, line.ptr, line.len), line.len);
	pop3_consume_line(pop3);
	return run_line(pop3, line);
}

static struct ps_wait run(struct ps_session *s)
{
	struct pop3 *pop3 = ps_session_state(s);
	enum pop3_next next;

	while (!pop3->closing && !ps_session_dead(s)) {
		next = pop3->go_on ? pop3->go_on(pop3) : read_command(pop3);
		if (next == POP3_WAIT)
			return pop3->wait;
		if (next == POP3_GONE)
			return wait_gone;
		pop3->go_on = NULL;
		if (pop3->view && !pop3->closing && pop3_should_yield(pop3))
			return pop3->wait;
	}
	return wait_close;
}

/* ---- the halves ------------------------------------------------------------------------------- */

static int front_open(struct ps_session *s)
{
	const struct ps_conf *limits = ps_conf_section(ps_session_core_conf(s), "limits", 0);
	struct pop3 *pop3 = ps_session_state(s);

	pop3->session = s;
	pop3->commands = front_commands;
	pop3->line_max = POP3_FRONT_LINE;
	pop3->timeout_ms = (uint32_t)ps_conf_int(limits, "preauth_timeout") * 1000;
	ps_session_set_input_limit(s, POP3_FRONT_LINE + 1024);
	if (!ps_session_is_back(s))
		ps_session_printf(s, "+OK %s: Postern ready\r\n", ps_conf_str(ps_session_core_conf(s), "hostname"));
	return 0;
}

static void front_close(struct ps_session *s)
{
	struct pop3 *pop3 = ps_session_state(s);

	ps_buf_wipe(&pop3->name);
}

/* The maildrop is not to be had: the client is back where it was before it logged in (RFC 1939 section 4). */
static enum pop3_next refuse(struct pop3 *pop3)
{
	ps_session_printf(pop3->session, "-ERR %s\r\n", pop3->refusal);
	if (ps_session_hand_back(pop3->session) == 0)
		return POP3_GONE;
	pop3->closing = true;
	return POP3_NEXT;
}

static int mail_open(struct ps_session *s)
{
	struct pop3 *pop3 = ps_session_state(s);
	struct ps_bytes blob = ps_session_blob(s);

	pop3->session = s;
	pop3->commands = mail_commands;
	pop3->line_max = POP3_MAIL_LINE;
	pop3->timeout_ms = (uint32_t)ps_conf_int(ps_session_conf(s), "autologout") * 1000;
	pop3->utf8 = ps_bytes_eq_str(blob, "utf8");
	ps_session_set_input_limit(s, 16 << 10);
	pop3->refusal = pop3_maildrop_open(pop3);
	if (pop3->refusal)
		pop3->go_on = refuse;
	else
		pop3_ok(pop3, "Logged in");
	return 0;
}

static void mail_close(struct ps_session *s)
{
	struct pop3 *pop3 = ps_session_state(s);

	pop3_content_leave(pop3);
	pop3_maildrop_close(pop3);
}

const struct ps_half pop3_front_half = {
	.state_size = sizeof(struct pop3),
	.open = front_open,
	.run = run,
	.close = front_close,
};

const struct ps_half pop3_mail_half = {
	.state_size = sizeof(struct pop3),
	.open = mail_open,
	.run = run,
	.close = mail_close,
};
