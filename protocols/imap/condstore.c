/* SPDX-License-Identifier: MIT */
/* Mod-sequences, RFC 7162: what several commands share. */
#include <inttypes.h>
#include "protocols/imap/imap.h"

enum {
	VANISHED_RANGES = 1000
}; /* in one response: no line without end */

void imap_put_vanished(struct imap *imap, bool earlier, const struct ps_range *uids, size_t count)
{
	struct ps_buf *out = imap_output(imap);

	for (size_t i = 0; i < count; i += VANISHED_RANGES) {
		ps_buf_str(out, earlier ? "* VANISHED (EARLIER) " : "* VANISHED ");
		ps_set_format(out, uids + i, count - i < VANISHED_RANGES ? count - i : VANISHED_RANGES);
		ps_buf_str(out, "\r\n");
	}
}

void imap_put_highest_modseq(struct imap *imap)
{
	struct ps_buf *out = imap_output(imap);

	ps_buf_str(out, "* OK [HIGHESTMODSEQ ");
	ps_buf_u64(out, imap->mailbox.highest_modseq);
	ps_buf_str(out, "] Highest mod-sequence\r\n");
}

enum imap_next imap_ok_expunged(struct imap_cmd *cmd, const char *text)
{
	if (!(cmd->imap->enabled & IMAP_QRESYNC))
		return imap_ok(cmd, text);
	imap_sync(cmd, PS_SYNC_EXPUNGE | PS_SYNC_LOOK);
	if (cmd->imap->closing)
		return IMAP_DONE;
	return imap_ok_code(cmd, ps_pool_printf(cmd->pool, "HIGHESTMODSEQ %" PRIu64, cmd->imap->mailbox.highest_modseq),
			    text);
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
