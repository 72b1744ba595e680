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
	if (reply.code == 250)
		smtp->mail.begun = true;
	else
		smtp_forget(smtp);
	return smtp_say(smtp, reply.code, reply.enhanced, reply.text);
}

/* A name alone is completed for our own users only. False: it cannot be, and that was said. */
static bool complete(struct smtp *smtp, struct ps_buf *path)
{
	const char *domain = ps_conf_str(ps_session_core_conf(smtp->session), "default_domain");

	if (path->len == 0 || smtp_path_domain(ps_buf_cstr(path)))
		return true;
	if (smtp_source(smtp) == PS_MAIL_SUBMISSION && domain) {
		ps_buf_printf(path, "@%s", domain);
		return true;
	}
	smtp_say(smtp, 501, "5.1.7", "The domain is missing");
	return false;
}

/* What is binary becomes base64 on its way to the spool: from there on it is 8-bit mail. */
static uint32_t as_stored(uint32_t options)
{
	if (!(options & PS_MAIL_BINARYMIME))
		return options;
	return (options & ~(uint32_t)PS_MAIL_BINARYMIME) | PS_MAIL_8BITMIME;
}

static enum smtp_next ask(struct smtp *smtp, struct ps_buf *path, struct smtp_mail_args *args)
{
	struct ps_mail_sender sender = {
		.source = smtp_source(smtp),
		.reverse_path = ps_buf_cstr(path),
		.helo = smtp->helo,
		.options = as_stored(args->options),
		.size = args->size,
		.envid = args->envid.len > 0 ? ps_buf_cstr(&args->envid) : NULL,
	};

	smtp_forget(smtp);
	smtp->mail.options = args->options;
	smtp->mail.reverse_path = ps_strdup(sender.reverse_path);
	ps_session_mail_from(smtp->session, &sender);
	return smtp_wait_reply(smtp, on_reply);
}

/* MAIL (RFC 5321, 4.1.1.2):  "MAIL FROM:" Reverse-path [SP Mail-parameters] */
static enum smtp_next cmd_mail(struct smtp_cmd *cmd)
{
	struct smtp *smtp = cmd->smtp;
	struct smtp_mail_args args = {.size_limit = smtp_size_limit(smtp), .is_tls = ps_session_is_tls(smtp->session)};
	struct ps_buf path = {0};
	enum smtp_next next = SMTP_NEXT;

	if (smtp_take_address(cmd, "from:", &path) &&
	    smtp_take_parameters(smtp, cmd->argument, smtp_mail_parameters, smtp_mail_parameter_count, &args) &&
	    complete(smtp, &path)) {
		if (!smtp_is_ascii(ps_buf_view(&path)) && !(args.options & PS_MAIL_SMTPUTF8))
			next = smtp_say(smtp, 553, "5.6.7", "That address needs SMTPUTF8");
		else
			next = ask(smtp, &path, &args);
	}
	ps_buf_finish(&path);
	ps_buf_finish(&args.envid);
	return next;
}

const struct smtp_verb smtp_cmd_mail = {
	.name = "MAIL",
	.run = cmd_mail,
	.where = SMTP_EVERYWHERE,
	.flags = SMTP_NEEDS_HELO | SMTP_NEEDS_USER | SMTP_NO_CHUNKS | SMTP_NO_MAIL,
	.syntax = "MAIL FROM:<path> [parameters]",
};
