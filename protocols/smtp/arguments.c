/* SPDX-License-Identifier: MIT */
#include "protocols/smtp/arguments.h"
#include "protocols/smtp/path.h"

static void wrong_path(struct smtp *smtp, int error)
{
	if (error == PS_E_LIMIT)
		smtp_say(smtp, 501, "5.1.3", "That path is too long");
	else
		smtp_say(smtp, 501, "5.1.3", "That is no path: local-part@domain in angle brackets");
}

bool smtp_take_address(struct smtp_cmd *cmd, const char *word, struct ps_buf *path)
{
	int r;

	if (smtp_take_word(&cmd->argument, word) < 0) {
		smtp_say(cmd->smtp, 501, "5.5.4", *word == 'f' ? "MAIL FROM:<path>" : "RCPT TO:<path>");
		return false;
	}
	r = smtp_take_path(&cmd->argument, true, path);
	if (r < 0)
		wrong_path(cmd->smtp, r);
	return r == 0;
}

static bool wrong_parameter(struct smtp *smtp, int error)
{
	if (error == PS_E_LIMIT)
		smtp_say(smtp, 552, "5.3.4", "The message is too large");
	else if (error == PS_E_UNSUPPORTED)
		smtp_say(smtp, 555, "5.5.4", "No such parameter here");
	else
		smtp_say(smtp, 501, "5.5.4", "A parameter is not as it should be");
	return false;
}

bool smtp_take_parameters(struct smtp *smtp, struct ps_bytes argument, const struct smtp_parameter *table, size_t count,
			  void *arg)
{
	/* Who said HELO knows of none. */
	int r = smtp_read_parameters(argument, table, smtp->extended ? count : 0, arg);

	return r == 0 || wrong_parameter(smtp, r);
}
