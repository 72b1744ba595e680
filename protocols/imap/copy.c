/* SPDX-License-Identifier: MIT */
#include "protocols/imap/copy.h"

/* "COPYUID 38505 304,319:320 3956:3958", RFC 4315. */
static const char *copyuid(struct imap_cmd *cmd, const struct ps_op_result *result)
{
	struct ps_buf code = {0};
	const char *text;

	ps_buf_str(&code, "COPYUID ");
	ps_buf_u64(&code, result->uid_validity);
	ps_buf_char(&code, ' ');
	ps_set_format(&code, result->old_uids, result->old_count);
	ps_buf_char(&code, ' ');
	ps_set_format(&code, result->new_uids, result->new_count);
	text = ps_pool_strndup(cmd->pool, (const char *)code.ptr, code.len);
	ps_buf_finish(&code);
	return text;
}

enum imap_next imap_copy(struct imap_cmd *cmd, bool move)
{
	struct ps_op_result result = {0};
	const char *target, *code;
	struct ps_set uids;
	int r;

	if ((r = imap_set_arg(cmd, &uids)) < 0 || (r = imap_args_space(&cmd->args)) < 0 ||
	    (r = imap_mailbox_arg(cmd, &target)) < 0 || (r = imap_args_end(&cmd->args)) < 0)
		return imap_refuse(cmd, r, "It takes a set of messages and a mailbox name");
	if (move && cmd->imap->mailbox.read_only)
		return imap_no(cmd, "READ-ONLY", "The mailbox is open for reading only");
	if ((r = ps_view_copy(cmd->imap->view, &uids, target, move, cmd->pool, &result)) < 0)
		return imap_no_target(cmd, r);
	if (result.new_count == 0)
		return imap_ok(cmd, "No messages were found");
	code = copyuid(cmd, &result);
	if (!move)
		return imap_ok_code(cmd, code, "COPY completed");
	/* RFC 6851 section 4.3: before the EXPUNGEs, so that the client knows where they went */
	ps_buf_str(imap_output(cmd->imap), "* OK [");
	ps_buf_str(imap_output(cmd->imap), code);
	ps_buf_str(imap_output(cmd->imap), "] Moved\r\n");
	return imap_ok_expunged(cmd, "MOVE completed");
}
