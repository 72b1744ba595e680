/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include "postern/pool.h"
#include "protocols/smtp/commands.h"

enum {
	RESPONSE_MAX = 12288, /* as base64, RFC 4954 section 4 */
};

static const struct outcome {
	enum ps_auth_status status;
	unsigned code;
	const char *enhanced, *text;
} outcomes[] = {
	{PS_AUTH_OK, 235, "2.7.0", "Logged in"},
	{PS_AUTH_FAILED, 535, "5.7.8", "User name or password is wrong"},
	{PS_AUTH_REFUSED, 525, "5.7.13", "You may not log in"},
	{PS_AUTH_UNKNOWN_MECHANISM, 504, "5.5.4", "No such authentication mechanism here"},
	{PS_AUTH_PRIVACY, 538, "5.7.11", "Not without TLS"},
	{PS_AUTH_TEMPFAIL, 454, "4.7.0", "Log-in is not possible now; try again later"},
};

static enum smtp_next on_reply(struct smtp *smtp);

static enum smtp_next give_up(struct smtp *smtp, unsigned code, const char *enhanced, const char *text)
{
	ps_session_auth_cancel(smtp->session);
	return smtp_say(smtp, code, enhanced, text);
}

static int decode(struct ps_bytes base64, struct ps_buf *out)
{
	out->limit = RESPONSE_MAX;
	return ps_base64_decode(out, base64);
}

/* Not NULL, though it may be empty. */
static struct ps_bytes given(const struct ps_buf *response)
{
	return ps_bytes(response->len > 0 ? (const char *)response->ptr : "", response->len);
}

static enum smtp_next take_response(struct smtp *smtp, struct ps_bytes line)
{
	struct ps_buf response = {0};
	int r = decode(line, &response);

	if (r == 0)
		ps_session_auth_step(smtp->session, given(&response));
	ps_buf_wipe(&response);
	return r < 0 ? give_up(smtp, 501, "5.5.2", "That is not base64") : smtp_wait_reply(smtp, on_reply);
}

static enum smtp_next read_response(struct smtp *smtp)
{
	struct ps_bytes in = ps_session_input(smtp->session), line;
	ptrdiff_t lf = ps_bytes_find(in, '\n');
	enum smtp_next next;

	if (lf > RESPONSE_MAX + 1 || (lf < 0 && in.len > RESPONSE_MAX + 1)) {
		give_up(smtp, 500, "5.5.6", "That response is far too long");
		return SMTP_CLOSE;
	}
	if (lf < 0)
		return smtp_gave_up(smtp, &next) ? next : smtp_wait_line(smtp, read_response);
	line = ps_bytes(in.ptr, (size_t)lf - (lf > 0 && in.ptr[lf - 1] == '\r'));
	if (ps_bytes_eq_str(line, "*"))
		next = give_up(smtp, 501, "5.7.0", "AUTH was cancelled");
	else
		next = take_response(smtp, line);
	ps_session_consume(smtp->session, (size_t)lf + 1);
	return next;
}

static enum smtp_next challenge(struct smtp *smtp, struct ps_bytes data)
{
	struct ps_buf *out = ps_session_output(smtp->session);

	ps_buf_str(out, "334 ");
	ps_base64_encode(out, data);
	ps_buf_str(out, "\r\n");
	return read_response(smtp);
}

static enum smtp_next on_reply(struct smtp *smtp)
{
	struct ps_auth_reply reply = ps_session_auth_reply(smtp->session);
	const struct outcome *outcome = &outcomes[PS_ARRAY_LEN(outcomes) - 1];
	enum smtp_next next;

	if (reply.status == PS_AUTH_NONE)
		return smtp_gave_up(smtp, &next) ? next : smtp_wait_reply(smtp, on_reply);
	if (reply.status == PS_AUTH_CONTINUE)
		return challenge(smtp, reply.data);
	for (size_t i = 0; i < PS_ARRAY_LEN(outcomes); i++)
		if (outcomes[i].status == reply.status)
			outcome = &outcomes[i];
	smtp->authenticated = reply.status == PS_AUTH_OK;
	return smtp_say(smtp, outcome->code, outcome->enhanced, outcome->text);
}

static enum smtp_next start(struct smtp *smtp, struct ps_bytes mechanism, struct ps_bytes initial)
{
	struct ps_buf response = {0};
	bool is_given = initial.len > 0;
	char name[21];
	int r = 0;

	if (is_given && !ps_bytes_eq_str(initial, "=")) /* "=" is an empty response */
		r = decode(initial, &response);
	if (r == 0) {
		memcpy(name, mechanism.ptr, mechanism.len);
		name[mechanism.len] = '\0';
		ps_session_auth_start(smtp->session, name, is_given ? given(&response) : ps_bytes(NULL, 0));
	}
	ps_buf_wipe(&response);
	return r < 0 ? smtp_say(smtp, 501, "5.5.2", "That is not base64") : smtp_wait_reply(smtp, on_reply);
}

/* AUTH (RFC 4954, 4):  "AUTH" SP mechanism [SP initial-response] */
static enum smtp_next cmd_auth(struct smtp_cmd *cmd)
{
	ptrdiff_t blank = ps_bytes_find(cmd->argument, ' ');
	struct ps_bytes mechanism = blank < 0 ? cmd->argument : ps_bytes(cmd->argument.ptr, (size_t)blank);
	struct ps_bytes initial = ps_bytes_skip(cmd->argument, mechanism.len);

	if (cmd->smtp->authenticated)
		return smtp_say(cmd->smtp, 503, "5.5.1", "You have logged in already");
	if (!cmd->smtp->extended)
		return smtp_say(cmd->smtp, 503, "5.5.1", "Say EHLO first");
	if (mechanism.len > 20)
		return smtp_say(cmd->smtp, 504, "5.5.4", "No such authentication mechanism here");
	while (initial.len > 0 && initial.ptr[0] == ' ')
		initial = ps_bytes_skip(initial, 1);
	return start(cmd->smtp, mechanism, initial);
}

static bool is_known(const struct smtp *smtp)
{
	return smtp->kind == PS_MAIL_SUBMISSION || ps_conf_bool(ps_session_conf(smtp->session), "auth");
}

const struct smtp_verb smtp_cmd_auth = {
	.name = "AUTH",
	.run = cmd_auth,
	.where = SMTP_ON_MX | SMTP_ON_SUBMISSION,
	.flags = SMTP_NEEDS_HELO | SMTP_NEEDS_ARGUMENT | SMTP_NO_MAIL | SMTP_NO_CHUNKS,
	.syntax = "AUTH mechanism [initial-response]",
	.available = is_known,
};
