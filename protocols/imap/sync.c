/* SPDX-License-Identifier: MIT */
/* What a client is told of changes in the selected mailbox. */
#include "postern/error.h"
#include "postern/log.h"
#include "protocols/imap/imap.h"

static void put_number_response(struct imap_cmd *cmd, uint32_t number, const char *what)
{
	struct ps_buf *out = imap_output(cmd->imap);

	ps_buf_str(out, "* ");
	ps_buf_u64(out, number);
	ps_buf_str(out, what);
}

/* A sync under way. Expunges come first; VANISHED tells all of them at once. */
struct telling {
	struct imap_cmd *cmd;
	struct ps_ranges vanished;
};

static void tell_vanished(struct telling *telling)
{
	ps_ranges_sort(&telling->vanished);
	imap_put_vanished(telling->cmd->imap, false, telling->vanished.ptr, telling->vanished.count);
	ps_ranges_finish(&telling->vanished);
}

static void on_expunged(void *arg, uint32_t seq, uint32_t uid)
{
	struct telling *telling = arg;

	if (telling->cmd->imap->enabled & IMAP_QRESYNC)
		ps_ranges_add(&telling->vanished, (struct ps_range){uid, uid});
	else
		put_number_response(telling->cmd, seq, " EXPUNGE\r\n");
}

static void on_flags(void *arg, uint32_t seq, const struct ps_row *row)
{
	struct telling *telling = arg;

	tell_vanished(telling);
	imap_put_flags_response(telling->cmd, imap_output(telling->cmd->imap), seq, row);
}

static void on_exists(void *arg, uint32_t messages, uint32_t recent)
{
	struct telling *telling = arg;

	tell_vanished(telling);
	put_number_response(telling->cmd, messages, " EXISTS\r\n");
	if (!(telling->cmd->imap->enabled & IMAP_REV2))
		put_number_response(telling->cmd, recent, " RECENT\r\n");
}

static void on_keywords(void *arg)
{
	struct imap *imap = ((struct telling *)arg)->cmd->imap;

	tell_vanished(arg);
	ps_view_status(imap->view, &imap->mailbox);
	imap_put_mailbox_flags(imap, imap_output(imap));
}

/* RFC 7162 section 3.2.4 has the UID once CONDSTORE is enabled, RFC 9051 section 7.5.2 once IMAP4rev2 is. */
static void put_fetch(struct imap_cmd *cmd, struct ps_buf *out, uint32_t seq, uint32_t uid)
{
	ps_buf_str(out, "* ");
	ps_buf_u64(out, seq);
	ps_buf_str(out, " FETCH (");
	if (!cmd->by_uid && !(cmd->imap->enabled & IMAP_TELLS_UID))
		return;
	ps_buf_str(out, "UID ");
	ps_buf_u64(out, uid);
	ps_buf_char(out, ' ');
}

static void put_modseq(struct ps_buf *out, const char *name, uint64_t modseq)
{
	ps_buf_str(out, name);
	ps_buf_u64(out, modseq);
	ps_buf_char(out, ')');
}

void imap_put_flags_response(struct imap_cmd *cmd, struct ps_buf *out, uint32_t seq, const struct ps_row *row)
{
	put_fetch(cmd, out, seq, row->uid);
	ps_buf_str(out, "FLAGS ");
	imap_put_flags(cmd->imap, out, row->flags, row->keywords, ps_view_is_recent(cmd->imap->view, row->uid));
	if (cmd->imap->enabled & IMAP_CONDSTORE)
		put_modseq(out, " MODSEQ (", row->modseq);
	ps_buf_str(out, ")\r\n");
}

void imap_put_modseq_response(struct imap_cmd *cmd, struct ps_buf *out, uint32_t seq, const struct ps_row *row)
{
	put_fetch(cmd, out, seq, row->uid);
	put_modseq(out, "MODSEQ (", row->modseq);
	ps_buf_str(out, ")\r\n");
}

static const struct ps_view_events events = {
	.expunged = on_expunged,
	.flags = on_flags,
	.exists = on_exists,
	.keywords = on_keywords,
};

void imap_sync(struct imap_cmd *cmd, unsigned how)
{
	struct imap *imap = cmd->imap;
	struct telling telling = {.cmd = cmd};
	int r = ps_view_sync(imap->view, how, &events, &telling);

	tell_vanished(&telling);
	if (r == PS_E_GONE) {
		imap_bye(cmd, "The selected mailbox was deleted");
		return;
	}
	/* The command's own answer stands; what others did is told later. */
	if (r < 0)
		ps_logf(PS_LOG_WARNING, "sync_failed", ps_session_sid(imap->session), "%s: %s", ps_err_name(r),
			ps_last_error());
	ps_view_status(imap->view, &imap->mailbox);
}

void imap_unselect(struct imap *imap)
{
	if (imap->view)
		ps_view_close(imap->view);
	imap->view = NULL;
	ps_ranges_finish(&imap->saved);
}
