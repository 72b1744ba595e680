/* SPDX-License-Identifier: MIT */
/* Arguments and output that name mailboxes and messages. */
#include "postern/error.h"
#include "protocols/imap/imap.h"

/* INBOX in small letters and a separator at the end are something else. */
static bool is_denormalised(struct imap_cmd *cmd, struct ps_bytes wire, const char *name)
{
	struct ps_buf normal = {0};
	bool differs;

	imap_name_to_wire(&cmd->imap->names, name, &normal);
	if (wire.len > 1 && wire.ptr[wire.len - 1] == (uint8_t)cmd->imap->names.separator)
		wire.len--;
	differs = strcmp(name, "INBOX") != 0 && !ps_bytes_eq(wire, ps_buf_view(&normal)) &&
		  !ps_bytes_caseeq_str(wire, ps_buf_cstr(&normal));
	ps_buf_finish(&normal);
	return differs;
}

int imap_mailbox_arg(struct imap_cmd *cmd, const char **ret_name)
{
	struct ps_bytes wire;
	int r = imap_args_astring(&cmd->args, cmd->pool, &wire);

	if (r < 0 || (r = imap_name_from_wire(&cmd->imap->names, wire, cmd->pool, ret_name)) < 0)
		return r;
	if (!cmd->supplied.ptr)
		cmd->supplied = wire;
	cmd->denormalised |= (cmd->imap->enabled & IMAP_REV2) && is_denormalised(cmd, wire, *ret_name);
	return 0;
}

void imap_put_old_name(struct imap_cmd *cmd)
{
	struct ps_buf *out = imap_output(cmd->imap);

	ps_buf_str(out, " (\"OLDNAME\" (");
	imap_put_text(cmd->imap, out, cmd->supplied);
	ps_buf_str(out, "))");
}

void imap_put_mailbox(struct imap *imap, struct ps_buf *out, const char *name)
{
	struct ps_buf wire = {0};

	imap_name_to_wire(&imap->names, name, &wire);
	imap_put_text(imap, out, ps_buf_view(&wire));
	ps_buf_finish(&wire);
}

int imap_resolve(const struct imap *imap, struct ps_bytes text, bool by_uid, struct ps_pool *pool,
		 struct ps_set *ret_uids)
{
	int r;

	if (ps_bytes_eq_str(text, "$")) {
		ret_uids->count = imap->saved.count;
		ret_uids->ranges = ps_pool_memdup(pool, imap->saved.ptr, imap->saved.count * sizeof *imap->saved.ptr);
		return 0;
	}
	r = ps_view_resolve(imap->view, text, by_uid, pool, ret_uids);
	/* A number beyond the mailbox: the client has lost count, RFC 3501 section 9 "seq-number". */
	return r == PS_E_INVALID ? PS_E_SYNTAX : r;
}

int imap_set_arg(struct imap_cmd *cmd, struct ps_set *ret_uids)
{
	struct ps_bytes text;
	int r;

	if ((r = imap_args_space(&cmd->args)) < 0 || (r = imap_args_set(&cmd->args, &text)) < 0)
		return r;
	return imap_resolve(cmd->imap, text, cmd->by_uid, cmd->pool, ret_uids);
}

const struct ps_row *imap_walk_next(const struct imap *imap, struct imap_walk *walk, uint32_t *ret_seq)
{
	for (; walk->range < walk->uids.count; walk->range++, walk->next = 0) {
		const struct ps_range *range = &walk->uids.ranges[walk->range];
		const struct ps_row *row;

		if (walk->next == 0)
			walk->next = ps_view_seq_from(imap->view, range->first);
		if (walk->changed_since > 0)
			walk->next = ps_view_seq_changed(imap->view, walk->next, walk->changed_since);
		row = ps_view_row(imap->view, walk->next);
		if (row && row->uid <= range->last) {
			*ret_seq = walk->next++;
			return row;
		}
		if (!row)
			walk->range = walk->uids.count - 1; /* nor is there one in a later range */
	}
	return NULL;
}
