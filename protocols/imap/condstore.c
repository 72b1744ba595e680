/* SPDX-License-Identifier: MIT */
/* Mod-sequences, RFC 7162: what several commands share. */
#include <inttypes.h>
#include "protocols/imap/imap.h"

void imap_put_highest_modseq(struct imap *imap)
{
	struct ps_buf *out = imap_output(imap);

	ps_buf_str(out, "* OK [HIGHESTMODSEQ ");
	ps_buf_u64(out, imap->mailbox.highest_modseq);
	ps_buf_str(out, "] Highest mod-sequence\r\n");
}

const char *imap_highest_modseq_code(struct imap_cmd *cmd)
{
	return ps_pool_printf(cmd->pool, "HIGHESTMODSEQ %" PRIu64, cmd->imap->mailbox.highest_modseq);
}

void imap_enable_condstore(struct imap_cmd *cmd)
{
	struct imap *imap = cmd->imap;

	if (imap->enabled & IMAP_CONDSTORE)
		return;
	imap->enabled |= IMAP_CONDSTORE;
	if (imap->view)
		imap_put_highest_modseq(imap);
}
