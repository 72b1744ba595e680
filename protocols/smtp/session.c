/* SPDX-License-Identifier: MIT */
/* The machine: reads a command, runs it, waits where it must. */
#include <stdlib.h>
#include <time.h>
#include "postern/log.h"
#include "postern/pool.h"
#include "postern/protocol.h"
#include "protocols/smtp/message.h"
#include "protocols/smtp/smtp.h"

enum {
	STEPS_MAX = 20, /* in one turn, so that others have theirs */
	OUTPUT_PIECE = 32 << 10,
	TRACE_ROOM = 4096,                 /* for Received, Return-Path and Delivered-To */
	REPLY_TIMEOUT_MS = 10 * 60 * 1000, /* RFC 5321 section 4.5.3.2.6: so long a client waits after the message */
};

/* ---- what commands use ----------------------------------------------------------------------- */

enum smtp_next smtp_wait(struct smtp *smtp, struct ps_wait wait, enum smtp_next (*step)(struct smtp *smtp))
{
	smtp->wait = wait;
	smtp->step = step;
	return SMTP_WAIT;
}

enum smtp_next smtp_wait_reply(struct smtp *smtp, enum smtp_next (*step)(struct smtp *smtp))
{
	return smtp_wait(smtp, (struct ps_wait){.what = PS_WAIT_REPLY, .timeout_ms = REPLY_TIMEOUT_MS}, step);
}

enum smtp_next smtp_wait_line(struct smtp *smtp, enum smtp_next (*step)(struct smtp *smtp))
{
	uint32_t timeout = (uint32_t)smtp_setting(smtp, "command_timeout") * 1000;

	return smtp_wait(smtp, (struct ps_wait){.what = PS_WAIT_LINE, .n = SMTP_LINE_MAX + 1, .timeout_ms = timeout},
			 step);
}

bool smtp_gave_up(struct smtp *smtp, enum smtp_next *ret_next)
{
	if (ps_session_timed_out(smtp->session)) {
		*ret_next = smtp_bye(smtp, 421, "4.4.2", "Nothing came for too long");
		return true;
	}
	*ret_next = SMTP_CLOSE;
	return ps_session_eof(smtp->session) || ps_session_dead(smtp->session);
}

void smtp_forget(struct smtp *smtp)
{
	smtp_message_destroy(smtp->mail.message);
	free(smtp->mail.only);
	free(smtp->mail.reverse_path);
	smtp->mail = (struct smtp_mail){.begun = false};
	ps_session_mail_reset(smtp->session);
}

enum ps_mail_source smtp_source(const struct smtp *smtp)
{
	return smtp->authenticated ? PS_MAIL_SUBMISSION : smtp->kind;
}

const char *smtp_hostname(const struct smtp *smtp)
{
	return ps_conf_str(ps_session_core_conf(smtp->session), "hostname");
}

/* What is kept has the fields that are put before it, too, and who kept to SIZE must not be refused for those. */
uint64_t smtp_size_limit(const struct smtp *smtp)
{
	const struct ps_conf *limits = ps_conf_section(ps_session_core_conf(smtp->session), "limits", 0);
	uint64_t most = (uint64_t)ps_conf_int(limits, "message_size");

	return most > 2 * TRACE_ROOM ? most - TRACE_ROOM : most / 2;
}

int64_t smtp_setting(const struct smtp *smtp, const char *name)
{
	return ps_conf_int(ps_session_conf(smtp->session), name);
}

bool smtp_converts(const struct smtp *smtp)
{
	return strcmp(ps_conf_str(ps_session_conf(smtp->session), "bare_line_ends"), "convert") == 0;
}

bool smtp_auth_offered(const struct smtp *smtp)
{
	if (smtp->authenticated || smtp->kind == PS_MAIL_LMTP)
		return false;
	if (smtp->kind == PS_MAIL_MX && !ps_conf_bool(ps_session_conf(smtp->session), "auth"))
		return false;
	return *ps_session_mechanisms(smtp->session) != '\0';
}

uint64_t smtp_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- one command ----------------------------------------------------------------------------- */

static bool has_control(struct ps_bytes line)
{
	for (size_t i = 0; i < line.len; i++)
		if (line.ptr[i] < ' ' || line.ptr[i] == 0x7f)
			return true;
	return false;
}

static struct ps_bytes trim(struct ps_bytes text)
{
	while (text.len > 0 && text.ptr[0] == ' ')
		text = ps_bytes_skip(text, 1);
	while (text.len > 0 && text.ptr[text.len - 1] == ' ')
		text.len--;
	return text;
}

static enum smtp_next refuse_stranger(struct smtp *smtp)
{
	if (!ps_session_plaintext_ok(smtp->session) && ps_session_tls_offered(smtp->session))
		return smtp_say(smtp, 530, "5.7.0", "Say STARTTLS first");
	return smtp_say(smtp, 530, "5.7.0", "Log in first");
}

/* Whether the command may come now; if not, that was said. */
static bool may_run(const struct smtp_verb *verb, struct smtp_cmd *cmd)
{
	struct smtp *smtp = cmd->smtp;
	bool needs_user = smtp->kind == PS_MAIL_SUBMISSION && !smtp->authenticated;

	if ((verb->flags & SMTP_NEEDS_HELO) && !smtp->helo[0])
		smtp_say(smtp, 503, "5.5.1", "Say hello first");
	else if ((verb->flags & SMTP_NEEDS_USER) && needs_user)
		refuse_stranger(smtp);
	else if ((verb->flags & SMTP_NO_CHUNKS) && (smtp->mail.message || smtp->mail.failed))
		smtp_say(smtp, 503, "5.5.1", "Not between BDATs; RSET forgets them");
	else if ((verb->flags & SMTP_NO_MAIL) && smtp->mail.begun)
		smtp_say(smtp, 503, "5.5.1", "Not within a transaction");
	else if ((verb->flags & SMTP_NO_ARGUMENT) && cmd->argument.len > 0)
		smtp_say(smtp, 501, "5.5.4", "No argument, please");
	else if ((verb->flags & SMTP_NEEDS_ARGUMENT) && cmd->argument.len == 0)
		smtp_say(smtp, 501, "5.5.4", verb->syntax);
	else
		return true;
	return false;
}

static enum smtp_next run_line(struct smtp *smtp, struct ps_bytes line)
{
	ptrdiff_t blank = ps_bytes_find(line, ' ');
	struct ps_bytes name = blank < 0 ? line : ps_bytes(line.ptr, (size_t)blank);
	struct smtp_cmd cmd = {smtp, trim(ps_bytes_skip(line, name.len))};
	const struct smtp_verb *verb = smtp_verb_find(smtp, name);

	if (ps_login_is_http(smtp->session, name))
		return SMTP_CLOSE;
	if (has_control(line))
		return smtp_say(smtp, 500, "5.5.2", "No control characters, please");
	if (!verb)
		return smtp_say(smtp, 500, "5.5.1", "No such command here");
	return may_run(verb, &cmd) ? verb->run(&cmd) : SMTP_NEXT;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* A line that is too long is dropped to its end. */
static enum smtp_next skip_line(struct smtp *smtp)
{
	struct ps_bytes in = ps_session_input(smtp->session);
	ptrdiff_t lf = ps_bytes_find(in, '\n');
	enum smtp_next next;

	ps_session_consume(smtp->session, lf < 0 ? in.len : (size_t)lf + 1);
	if (lf >= 0)
		return SMTP_NEXT;
	return smtp_gave_up(smtp, &next) ? next : smtp_wait_line(smtp, skip_line);
}

static enum smtp_next too_long(struct smtp *smtp)
{
	smtp_say(smtp, 500, "5.5.2", "That line is too long");
	smtp->step = skip_line;
	return SMTP_NEXT;
}

/* The line without its end leaves the input before it is run: what is unread then came behind it. */
static enum smtp_next take_line(struct smtp *smtp, size_t length, bool with_cr)
{
	struct ps_buf line = {0};
	enum smtp_next next;

	ps_buf_bytes(&line, ps_bytes(ps_session_input(smtp->session).ptr, length - with_cr));
	ps_session_consume(smtp->session, length + 1);
	if (with_cr || smtp_converts(smtp))
		next = run_line(smtp, ps_buf_view(&line));
	else
		next = smtp_say(smtp, 500, "5.5.2", "Lines end with CR LF");
	ps_buf_wipe(&line); /* a password, perhaps */
	return next;
}

static enum smtp_next read_command(struct smtp *smtp)
{
	struct ps_bytes in = ps_session_input(smtp->session);
	ptrdiff_t lf = ps_bytes_find(in, '\n');
	enum smtp_next next;

	if (lf < 0 && in.len <= SMTP_LINE_MAX)
		return smtp_gave_up(smtp, &next) ? next : smtp_wait_line(smtp, NULL);
	if (lf < 0 || lf >= SMTP_LINE_MAX)
		return too_long(smtp);
	return take_line(smtp, (size_t)lf, lf > 0 && in.ptr[lf - 1] == '\r');
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void greet(struct smtp *smtp)
{
	ps_session_printf(smtp->session, "220 %s %s Postern\r\n", smtp_hostname(smtp),
			  smtp->kind == PS_MAIL_LMTP ? "LMTP" : "ESMTP");
	smtp->greeted = true;
}

static enum smtp_next next_step(struct smtp *smtp)
{
	enum smtp_next (*step)(struct smtp * smtp) = smtp->step ? smtp->step : read_command;
	enum smtp_next next;

	if (!smtp->greeted)
		greet(smtp);
	smtp->step = NULL;
	next = step(smtp);
	if (next == SMTP_CLOSE || smtp->errors <= (unsigned)smtp_setting(smtp, "errors"))
		return next;
	ps_log(PS_LOG_INFO, "too_many_errors", "sid", ps_session_sid(smtp->session), "remote",
	       ps_session_remote(smtp->session), NULL);
	return smtp_bye(smtp, 421, "4.7.0", "Too many errors");
}

static struct ps_wait run(struct ps_session *s)
{
	struct smtp *smtp = ps_session_state(s);

	for (unsigned steps = 0; !ps_session_dead(s); steps++) {
		if (steps == STEPS_MAX)
			return (struct ps_wait){.what = PS_WAIT_TURN};
		if (ps_session_output(s)->len > OUTPUT_PIECE)
			return (struct ps_wait){.what = PS_WAIT_DRAIN};
		switch (next_step(smtp)) {
		case SMTP_NEXT: break;
		case SMTP_WAIT: return smtp->wait;
		case SMTP_CLOSE: return (struct ps_wait){.what = PS_WAIT_CLOSE};
		}
	}
	return (struct ps_wait){.what = PS_WAIT_CLOSE};
}

/* ---- the halves ------------------------------------------------------------------------------ */

static int open_as(struct ps_session *s, enum ps_mail_source kind)
{
	struct smtp *smtp = ps_session_state(s);

	smtp->session = s;
	smtp->kind = kind;
	smtp->trusted = ps_session_is_from(s, "xclient");
	return 0;
}

static int open_mx(struct ps_session *s)
{
	return open_as(s, PS_MAIL_MX);
}

static int open_submission(struct ps_session *s)
{
	return open_as(s, PS_MAIL_SUBMISSION);
}

static int open_lmtp(struct ps_session *s)
{
	return open_as(s, PS_MAIL_LMTP);
}

static void close_session(struct ps_session *s)
{
	smtp_forget(ps_session_state(s));
}

#define HALF(open_function)                                                                                            \
	{                                                                                                              \
		.state_size = sizeof(struct smtp), .open = open_function, .run = run, .close = close_session           \
	}

const struct ps_half smtp_mx_half = HALF(open_mx);
const struct ps_half smtp_submission_half = HALF(open_submission);
const struct ps_half smtp_lmtp_half = HALF(open_lmtp);
