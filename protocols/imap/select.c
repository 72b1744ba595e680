/* SPDX-License-Identifier: MIT */
#include "postern/error.h"
#include "protocols/imap/select.h"

/* Any thread: the mailbox has something new. */
static void on_changed(void *session)
{
	ps_session_wake(session);
}

static void put_code_number(struct ps_buf *out, const char *code, uint64_t number, const char *text)
{
	ps_buf_str(out, "* OK [");
	ps_buf_str(out, code);
	ps_buf_char(out, ' ');
	ps_buf_u64(out, number);
	ps_buf_str(out, "] ");
	ps_buf_str(out, text);
	ps_buf_str(out, "\r\n");
}

static void put_mailbox(struct imap *imap)
{
	const struct ps_view_status *mailbox = &imap->mailbox;
	struct ps_buf *out = imap_output(imap);

	imap_put_mailbox_flags(imap, out);
	ps_session_printf(imap->session, "* %u EXISTS\r\n* %u RECENT\r\n", mailbox->messages, mailbox->recent);
	if (mailbox->first_unseen > 0)
		put_code_number(out, "UNSEEN", mailbox->first_unseen, "First unseen message");
	put_code_number(out, "UIDVALIDITY", mailbox->uid_validity, "UIDs valid");
	put_code_number(out, "UIDNEXT", mailbox->uid_next, "Predicted next UID");
	imap_put_highest_modseq(imap);
}

static int parse_condstore(struct imap_cmd *cmd)
{
	cmd->imap->enabled |= IMAP_CONDSTORE;
	return 0;
}

static const struct parameter {
	const char *name;
	int (*parse)(struct imap_cmd *cmd);
} parameters[] = {
	{"CONDSTORE", parse_condstore}, /* RFC 7162 */
};

static int parse_parameter(struct imap_cmd *cmd)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(parameters); i++)
		if (imap_args_take_word(&cmd->args, parameters[i].name))
			return parameters[i].parse(cmd);
	return ps_fail(PS_E_SYNTAX, "no such parameter");
}

/* [SP "(" parameter *(SP parameter) ")"], RFC 4466 */
static int parse_parameters(struct imap_cmd *cmd)
{
	int r;

	if (imap_args_done(&cmd->args))
		return 0;
	if (imap_args_space(&cmd->args) < 0 || !imap_args_take(&cmd->args, '('))
		return ps_fail(PS_E_SYNTAX, "a list of parameters does not begin");
	do {
		if ((r = parse_parameter(cmd)) < 0)
			return r;
	} while (imap_args_take(&cmd->args, ' '));
	return imap_args_take(&cmd->args, ')') ? 0 : ps_fail(PS_E_SYNTAX, "a list of parameters does not end");
}

enum imap_next imap_select(struct imap_cmd *cmd, bool read_only)
{
	struct imap *imap = cmd->imap;
	const char *name;
	int r;

	if ((r = imap_args_space(&cmd->args)) < 0 || (r = imap_mailbox_arg(cmd, &name)) < 0 ||
	    (r = parse_parameters(cmd)) < 0 || (r = imap_args_end(&cmd->args)) < 0)
		return imap_refuse(cmd, r, "It takes a mailbox name, and parameters");
	imap_unselect(imap); /* also when it fails, RFC 3501 section 6.3.1 */
	r = ps_view_open(imap->user, name, read_only, on_changed, imap->session, &imap->view);
	if (r < 0) {
		imap->view = NULL;
		return imap_no_err(cmd, r);
	}
	ps_view_status(imap->view, &imap->mailbox);
	put_mailbox(imap);
	if (imap->mailbox.read_only)
		return imap_ok_code(cmd, "READ-ONLY", "Opened for reading only");
	return imap_ok_code(cmd, "READ-WRITE", "Opened");
}
