/* SPDX-License-Identifier: MIT */
#include "protocols/smtp/commands.h"
#include "protocols/smtp/receive.h"

static enum smtp_next take(struct smtp *smtp)
{
	struct smtp_message *message = smtp->mail.message;

	ps_session_consume(smtp->session, smtp_message_take(message, ps_session_input(smtp->session)));
	return smtp_message_has_ended(message) ? smtp_receive_end(smtp) : smtp_receive_wait(smtp, take);
}

static enum smtp_next on_reply(struct smtp *smtp)
{
	struct ps_mail_reply reply = ps_session_mail_reply(smtp->session);
	enum smtp_next next;

	if (reply.code == 0)
		return smtp_gave_up(smtp, &next) ? next : smtp_wait_reply(smtp, on_reply);
	if (reply.code != 354)
		return smtp_say(smtp, reply.code, reply.enhanced, reply.text);
	smtp_receive_begin(smtp, false);
	smtp_receive_measure(smtp);
	smtp_say(smtp, 354, "", "Go ahead; end with a dot on a line by itself");
	return take(smtp);
}

/* DATA (RFC 5321, 4.1.1.4) */
static enum smtp_next cmd_data(struct smtp_cmd *cmd)
{
	struct smtp *smtp = cmd->smtp;

	if (!smtp->mail.begun)
		return smtp_say(smtp, 503, "5.5.1", "MAIL comes first");
	if (smtp->mail.recipients == 0) /* RFC 2033 section 4.2 wants another code than RFC 5321 section 3.3 */
		return smtp->kind == PS_MAIL_LMTP ? smtp_say(smtp, 503, "5.5.1", "There are no valid recipients")
						  : smtp_say(smtp, 554, "5.5.1", "There are no valid recipients");
	if (smtp->mail.options & PS_MAIL_BINARYMIME) /* RFC 3030 section 3 */
		return smtp_say(smtp, 503, "5.5.1", "BINARYMIME needs BDAT");
	ps_session_mail_data(smtp->session);
	return smtp_wait_reply(smtp, on_reply);
}

const struct smtp_verb smtp_cmd_data = {
	.name = "DATA",
	.run = cmd_data,
	.where = SMTP_EVERYWHERE,
	.flags = SMTP_NEEDS_HELO | SMTP_NEEDS_USER | SMTP_NO_CHUNKS | SMTP_NO_ARGUMENT,
	.syntax = "DATA",
};
