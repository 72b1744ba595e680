/* SPDX-License-Identifier: MIT */
#include "protocols/smtp/commands.h"

/* HELP (RFC 5321, 4.1.1.8): all commands known here, or the syntax of one. */
static enum smtp_next cmd_help(struct smtp_cmd *cmd)
{
	struct ps_buf *out = ps_session_output(cmd->smtp->session);
	const struct smtp_verb *verb = smtp_verb_find(cmd->smtp, cmd->argument);

	if (verb)
		return smtp_say(cmd->smtp, 214, "2.0.0", verb->syntax);
	if (cmd->argument.len > 0)
		return smtp_say(cmd->smtp, 504, "5.5.1", "No such command here");
	ps_buf_str(out, "214 2.0.0");
	for (size_t i = 0; (verb = smtp_verb_nth(cmd->smtp, i)); i++) {
		ps_buf_char(out, ' ');
		ps_buf_str(out, verb->name);
	}
	ps_buf_str(out, "\r\n");
	return SMTP_NEXT;
}

const struct smtp_verb smtp_cmd_help = {
	.name = "HELP",
	.run = cmd_help,
	.where = SMTP_EVERYWHERE,
	.syntax = "HELP [command]",
};
