/* SPDX-License-Identifier: MIT */
/* What a command ends with. */
#include "protocols/imap/imap.h"

static enum imap_next answer(struct imap_cmd *cmd, const char *status, const char *code, const char *text)
{
	cmd->status = status;
	cmd->code = code;
	cmd->text = text;
	return IMAP_DONE;
}

enum imap_next imap_ok(struct imap_cmd *cmd, const char *text)
{
	return answer(cmd, "OK", NULL, text);
}

enum imap_next imap_ok_code(struct imap_cmd *cmd, const char *code, const char *text)
{
	return answer(cmd, "OK", code, text);
}

enum imap_next imap_no(struct imap_cmd *cmd, const char *code, const char *text)
{
	return answer(cmd, "NO", code, text);
}

enum imap_next imap_bad(struct imap_cmd *cmd, const char *text)
{
	return answer(cmd, "BAD", NULL, text);
}

struct ps_buf *imap_output(struct imap *imap)
{
	return ps_session_output(imap->session);
}
