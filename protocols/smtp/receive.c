/* SPDX-License-Identifier: MIT */
#include <time.h>
#include "postern/log.h"
#include "protocols/smtp/receive.h"
#include "protocols/smtp/trace.h"

static int write_to_spool(void *arg, struct ps_bytes octets)
{
	struct smtp *smtp = arg;

	return ps_session_mail_write(smtp->session, octets);
}

static void write_trace(struct smtp *smtp, int64_t now)
{
	struct ps_buf received = {0};

	smtp_put_received(&(struct smtp_trace){.helo = smtp->helo,
					       .remote = ps_session_remote(smtp->session),
					       .hostname = smtp_hostname(smtp),
					       .id = ps_session_mail_id(smtp->session),
					       .recipient = smtp->mail.recipients == 1 ? smtp->mail.only : NULL,
					       .time = now,
					       .lmtp = smtp->kind == PS_MAIL_LMTP,
					       .extended = smtp->extended,
					       .tls = ps_session_is_tls(smtp->session),
					       .authenticated = smtp->authenticated,
					       .utf8 = smtp->mail.options & PS_MAIL_SMTPUTF8},
			  &received);
	ps_session_mail_write(smtp->session, ps_buf_view(&received));
	ps_buf_finish(&received);
}

void smtp_receive_begin(struct smtp *smtp, bool counted)
{
	struct ps_buf date = {0}, message_id = {0};
	int64_t now = time(NULL);

	write_trace(smtp, now);
	smtp_put_date(now, &date);
	ps_buf_printf(&message_id, "%s@%s", ps_session_mail_id(smtp->session), smtp_hostname(smtp));
	smtp->mail.message = smtp_message_create(&(struct smtp_message_args){
		.write = write_to_spool,
		.arg = smtp,
		.size_limit = smtp_size_limit(smtp),
		.received_limit = (unsigned)smtp_setting(smtp, "received"),
		.counted = counted,
		.binary = smtp->mail.options & PS_MAIL_BINARYMIME,
		.convert = smtp_converts(smtp),
		.submission = smtp_source(smtp) == PS_MAIL_SUBMISSION,
		.reverse_path = smtp->mail.reverse_path,
		.date = ps_buf_cstr(&date),
		.message_id = ps_buf_cstr(&message_id),
	});
	ps_buf_finish(&date);
	ps_buf_finish(&message_id);
}

void smtp_receive_measure(struct smtp *smtp)
{
	smtp->mail.since_ms = smtp_now_ms();
	smtp->mail.since_octets = smtp_message_octets(smtp->mail.message);
}

static bool too_slow(const struct smtp *smtp)
{
	uint64_t least = (uint64_t)smtp_setting(smtp, "data_rate");
	uint64_t ms = smtp_now_ms() - smtp->mail.since_ms;
	uint64_t octets = smtp_message_octets(smtp->mail.message) - smtp->mail.since_octets;

	/* A slow start is no attack. */
	return ms > (uint64_t)smtp_setting(smtp, "data_timeout") * 1000 && octets < least * (ms / 1000);
}

enum smtp_next smtp_receive_wait(struct smtp *smtp, enum smtp_next (*step)(struct smtp *smtp))
{
	uint32_t timeout = (uint32_t)smtp_setting(smtp, "data_timeout") * 1000;
	enum smtp_next next;

	if (smtp_gave_up(smtp, &next))
		return next;
	if (too_slow(smtp)) {
		ps_log(PS_LOG_INFO, "too_slow", "sid", ps_session_sid(smtp->session), "remote",
		       ps_session_remote(smtp->session), NULL);
		return smtp_bye(smtp, 421, "4.4.2", "The message comes too slowly");
	}
	return smtp_wait(smtp, (struct ps_wait){.what = PS_WAIT_INPUT, .n = 1, .timeout_ms = timeout}, step);
}

/* ---- the end --------------------------------------------------------------------------------- */

static enum smtp_next on_replies(struct smtp *smtp)
{
	enum smtp_next next;

	while (smtp->mail.replies > 0) {
		struct ps_mail_reply reply = ps_session_mail_reply(smtp->session);

		if (reply.code == 0)
			return smtp_gave_up(smtp, &next) ? next : smtp_wait_reply(smtp, on_replies);
		smtp_say(smtp, reply.code, reply.enhanced, reply.text);
		smtp->mail.replies--;
	}
	smtp_forget(smtp);
	return SMTP_NEXT;
}

enum smtp_next smtp_receive_refuse(struct smtp *smtp, const struct smtp_refusal *refusal, bool for_each)
{
	unsigned times = for_each && smtp->kind == PS_MAIL_LMTP ? smtp->mail.recipients : 1;

	ps_log(PS_LOG_INFO, "message_refused", "sid", ps_session_sid(smtp->session), "id",
	       ps_session_mail_id(smtp->session), "reason", refusal->reason, "code", ps_num(refusal->code), NULL);
	while (times-- > 0)
		smtp_say(smtp, refusal->code, refusal->enhanced, refusal->text);
	return SMTP_NEXT;
}

enum smtp_next smtp_receive_end(struct smtp *smtp)
{
	const struct smtp_refusal *refusal = smtp_message_finish(smtp->mail.message);

	if (refusal) {
		smtp_receive_refuse(smtp, refusal, true);
		smtp_forget(smtp);
		return SMTP_NEXT;
	}
	smtp->mail.replies = smtp->kind == PS_MAIL_LMTP ? smtp->mail.recipients : 1;
	ps_session_mail_end(smtp->session);
	return smtp_wait_reply(smtp, on_replies);
}
