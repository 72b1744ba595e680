/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include "protocols/smtp/commands.h"
#include "protocols/smtp/receive.h"

/* A chunk that nobody wants must come all the same: what is in it must not be taken for commands. */
static enum smtp_next drop(struct smtp *smtp)
{
	uint32_t timeout = (uint32_t)smtp_setting(smtp, "data_timeout") * 1000;
	struct ps_bytes in = ps_session_input(smtp->session);
	size_t n = in.len < smtp->mail.chunk_left ? in.len : (size_t)smtp->mail.chunk_left;
	enum smtp_next next;

	ps_session_consume(smtp->session, n);
	smtp->mail.chunk_left -= n;
	if (smtp->mail.chunk_left == 0)
		return SMTP_NEXT;
	if (smtp_gave_up(smtp, &next))
		return next;
	return smtp_wait(smtp, (struct ps_wait){.what = PS_WAIT_INPUT, .n = 1, .timeout_ms = timeout}, drop);
}

/* Goes on after a refusal that was said. */
static enum smtp_next drop_chunk(struct smtp *smtp)
{
	smtp->step = drop;
	return SMTP_NEXT;
}

/* The transaction can only be reset now. */
static enum smtp_next fail(struct smtp *smtp)
{
	uint64_t left = smtp->mail.chunk_left;

	smtp_forget(smtp);
	smtp->mail.failed = true;
	smtp->mail.chunk_left = left;
	return drop_chunk(smtp);
}

static enum smtp_next chunk_is_whole(struct smtp *smtp)
{
	const struct smtp_refusal *refusal = smtp_message_refusal(smtp->mail.message);

	if (smtp->mail.chunk_is_last)
		return smtp_receive_end(smtp);
	if (!refusal)
		return smtp_say(smtp, 250, "2.0.0", "The chunk was taken");
	smtp_receive_refuse(smtp, refusal, false);
	return fail(smtp);
}

static enum smtp_next take(struct smtp *smtp)
{
	struct ps_bytes in = ps_session_input(smtp->session);

	if (in.len > smtp->mail.chunk_left)
		in.len = (size_t)smtp->mail.chunk_left;
	smtp_message_take(smtp->mail.message, in);
	ps_session_consume(smtp->session, in.len);
	smtp->mail.chunk_left -= in.len;
	return smtp->mail.chunk_left == 0 ? chunk_is_whole(smtp) : smtp_receive_wait(smtp, take);
}

static enum smtp_next on_reply(struct smtp *smtp)
{
	struct ps_mail_reply reply = ps_session_mail_reply(smtp->session);
	enum smtp_next next;

	if (reply.code == 0)
		return smtp_gave_up(smtp, &next) ? next : smtp_wait_reply(smtp, on_reply);
	if (reply.code != 354) {
		smtp_say(smtp, reply.code, reply.enhanced, reply.text);
		return fail(smtp);
	}
	smtp_receive_begin(smtp, true);
	smtp_receive_measure(smtp);
	return take(smtp);
}

/* chunk-size SP ["LAST"] */
static bool parse(struct ps_bytes argument, uint64_t *ret_size, bool *ret_last)
{
	ptrdiff_t blank = ps_bytes_find(argument, ' ');
	struct ps_bytes digits = blank < 0 ? argument : ps_bytes(argument.ptr, (size_t)blank);
	struct ps_bytes rest = ps_bytes_skip(argument, digits.len);

	while (rest.len > 0 && rest.ptr[0] == ' ')
		rest = ps_bytes_skip(rest, 1);
	*ret_last = rest.len > 0;
	return ps_bytes_u64(digits, ret_size) == 0 && *ret_size <= INT64_MAX &&
	       (rest.len == 0 || ps_bytes_caseeq_str(rest, "LAST"));
}

/* BDAT (RFC 3030, 2):  "BDAT" SP chunk-size [SP "LAST"] */
static enum smtp_next cmd_bdat(struct smtp_cmd *cmd)
{
	struct smtp *smtp = cmd->smtp;
	struct smtp_mail *mail = &smtp->mail;

	/* Where the chunk ends nobody knows then, and so not where a command begins. */
	if (!parse(cmd->argument, &mail->chunk_left, &mail->chunk_is_last))
		return smtp_bye(smtp, 501, "5.5.4", "BDAT size [LAST]");
	if (!mail->begun) {
		smtp_say(smtp, 503, "5.5.1", mail->failed ? "RSET comes first" : "MAIL comes first");
		return drop_chunk(smtp);
	}
	if (mail->recipients == 0) {
		smtp_say(smtp, smtp->kind == PS_MAIL_LMTP ? 503 : 554, "5.5.1", "There are no valid recipients");
		return drop_chunk(smtp);
	}
	if (mail->message) {
		smtp_receive_measure(smtp);
		return take(smtp);
	}
	ps_session_mail_data(smtp->session);
	return smtp_wait_reply(smtp, on_reply);
}

const struct smtp_verb smtp_cmd_bdat = {
	.name = "BDAT",
	.run = cmd_bdat,
	.where = SMTP_EVERYWHERE,
	.flags = 0, /* whatever is wrong, the chunk must be dropped */
	.syntax = "BDAT size [LAST]",
};
