/* SPDX-License-Identifier: MIT */
#include "postern/log.h"
#include "protocols/imap/commands.h"

/* COMPRESS (RFC 4978, 3):  "COMPRESS" SP "DEFLATE" */
static enum imap_next cmd_compress(struct imap_cmd *cmd)
{
	struct imap *imap = cmd->imap;
	struct ps_session *s = imap->session;
	struct ps_bytes algorithm;

	if (imap_args_space(&cmd->args) < 0 || imap_args_atom(&cmd->args, &algorithm) < 0 ||
	    imap_args_end(&cmd->args) < 0)
		return imap_bad(cmd, "COMPRESS takes the name of an algorithm");
	if (ps_session_is_compressed(s))
		return imap_no(cmd, "COMPRESSIONACTIVE", "DEFLATE is active already");
	if (!ps_bytes_caseeq_str(algorithm, "DEFLATE") || !ps_conf_bool(ps_session_conf(s), "compress"))
		return imap_bad(cmd, "That is not offered");
	/* The answer is the last that is not compressed, so it is written here. */
	if (imap->view)
		imap_sync(cmd, PS_SYNC_EXPUNGE);
	ps_buf_bytes(imap_output(imap), cmd->tag);
	ps_buf_str(imap_output(imap), " OK DEFLATE active\r\n");
	if (ps_session_compress(s, (int)ps_conf_int(ps_session_conf(s), "compress_level")) < 0)
		imap->closing = true; /* no memory: said is said */
	ps_log(PS_LOG_DEBUG, "compress", "sid", ps_session_sid(s), NULL);
	return IMAP_DONE;
}

const struct imap_command imap_cmd_compress = {
	.name = "COMPRESS",
	.states = IMAP_LOGGED_IN,
	.run = cmd_compress,
};
