/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include "postern/pool.h"
#include "protocols/smtp/arguments.h"
#include "protocols/smtp/commands.h"
#include "protocols/smtp/path.h"

static enum smtp_next on_reply(struct smtp *smtp)
{
	struct ps_mail_reply reply = ps_session_mail_reply(smtp->session);
	enum smtp_next next;

	if (reply.code == 0)
		return smtp_gave_up(smtp, &next) ? next : smtp_wait_reply(smtp, on_reply);
	if (reply.code == 250 || reply.code == 251)
		smtp->mail.recipients++;
	return smtp_say(smtp, reply.code, reply.enhanced, reply.text);
}

/* "Postmaster" needs no domain (RFC 5321 section 4.5.1); other names alone are completed for our own users only. */
static bool complete(struct smtp *smtp, struct ps_buf *path)
{
	const struct ps_conf *conf = ps_session_core_conf(smtp->session);
	const char *domain = ps_conf_str(conf, "default_domain");
	bool postmaster = ps_bytes_caseeq_str(ps_buf_view(path), "postmaster");

	if (path->len > 0 && smtp_path_domain(ps_buf_cstr(path)))
		return true;
	if (postmaster && !domain)
		domain = smtp_hostname(smtp);
	if (path->len == 0 || !domain || (!postmaster && smtp_source(smtp) != PS_MAIL_SUBMISSION)) {
		smtp_say(smtp, 501, "5.1.3", "The domain is missing");
		return false;
	}
	ps_buf_printf(path, "@%s", domain);
	return true;
}

static enum smtp_next ask(struct smtp *smtp, struct ps_buf *path, struct smtp_rcpt_args *args)
{
	struct ps_mail_recipient recipient = {
		.forward_path = ps_buf_cstr(path),
		.notify = args->notify,
		.orcpt = args->orcpt.len > 0 ? ps_buf_cstr(&args->orcpt) : NULL,
	};

	if (smtp->mail.recipients == 0) {
		free(smtp->mail.only); /* one that was refused */
		smtp->mail.only = ps_strdup(recipient.forward_path);
	}
	ps_session_mail_rcpt(smtp->session, &recipient);
	return smtp_wait_reply(smtp, on_reply);
}

/* RCPT (RFC 5321, 4.1.1.3):  "RCPT TO:" Forward-path [SP Rcpt-parameters] */
static enum smtp_next cmd_rcpt(struct smtp_cmd *cmd)
{
	struct smtp *smtp = cmd->smtp;
	struct smtp_rcpt_args args = {.utf8 = smtp->mail.options & PS_MAIL_SMTPUTF8};
	struct ps_buf path = {0};
	enum smtp_next next = SMTP_NEXT;

	if (!smtp->mail.begun)
		return smtp_say(smtp, 503, "5.5.1", "MAIL comes first");
	if (smtp->mail.recipients >= (unsigned)smtp_setting(smtp, "recipients"))
		return smtp_say(smtp, 452, "4.5.3", "Too many recipients; send the others another message");
	if (smtp_take_address(cmd, "to:", &path) &&
	    smtp_take_parameters(smtp, cmd->argument, smtp_rcpt_parameters, smtp_rcpt_parameter_count, &args) &&
	    complete(smtp, &path)) {
		if (!smtp_is_ascii(ps_buf_view(&path)) && !args.utf8)
			next = smtp_say(smtp, 553, "5.6.7", "That address needs SMTPUTF8");
		else
			next = ask(smtp, &path, &args);
	}
	ps_buf_finish(&path);
	ps_buf_finish(&args.orcpt);
	return next;
}

const struct smtp_verb smtp_cmd_rcpt = {
	.name = "RCPT",
	.run = cmd_rcpt,
	.where = SMTP_EVERYWHERE,
	.flags = SMTP_NEEDS_HELO | SMTP_NEEDS_USER | SMTP_NO_CHUNKS,
	.syntax = "RCPT TO:<path> [parameters]",
};
