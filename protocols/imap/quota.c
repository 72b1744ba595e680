/* SPDX-License-Identifier: MIT */
#include "protocols/imap/quota.h"

struct ps_bytes imap_quota_root(struct imap_cmd *cmd, const char *root)
{
	struct ps_buf wire = {0};
	struct ps_bytes name;

	imap_text_to_wire(&cmd->imap->names, root, &wire);
	name = ps_bytes(ps_pool_memdup(cmd->pool, wire.ptr, wire.len), wire.len);
	ps_buf_finish(&wire);
	return name;
}

/* Section 5.1: in units of 1024 octets. What is used is not told smaller than it is. */
static uint64_t units_used(uint64_t octets)
{
	return octets / 1024 + (octets % 1024 > 0);
}

static void put_resource(struct ps_buf *out, const char *name, uint64_t used, uint64_t limit, const char **before)
{
	ps_buf_str(out, *before);
	ps_buf_str(out, name);
	ps_buf_char(out, ' ');
	ps_buf_u64(out, used);
	ps_buf_char(out, ' ');
	ps_buf_u64(out, limit);
	*before = " ";
}

void imap_put_quota(struct imap_cmd *cmd, const struct ps_quota *quota)
{
	struct ps_buf *out = imap_output(cmd->imap);
	const char *before = "";

	ps_buf_str(out, "* QUOTA ");
	imap_put_text(cmd->imap, out, imap_quota_root(cmd, quota->root));
	ps_buf_str(out, " (");
	if (quota->limit.octets)
		put_resource(out, "STORAGE", units_used(quota->used.octets), quota->limit.octets / 1024, &before);
	if (quota->limit.messages)
		put_resource(out, "MESSAGE", quota->used.messages, quota->limit.messages, &before);
	ps_buf_str(out, ")\r\n");
}
