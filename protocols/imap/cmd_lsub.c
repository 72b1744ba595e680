/* SPDX-License-Identifier: MIT */
#include <string.h>
#include "protocols/imap/commands.h"
#include "protocols/imap/list.h"

static void put_entry(struct imap_cmd *cmd, const struct imap_list_entry *entry, bool selectable)
{
	const char *children = entry->below & PS_MBOX_SUBSCRIBED ? "\\HasChildren" : "\\HasNoChildren";

	imap_put_list(cmd, "LSUB", entry, ps_pool_printf(cmd->pool, "%s%s", selectable ? "" : "\\Noselect ", children));
	ps_buf_str(imap_output(cmd->imap), "\r\n");
}

/*
 * RFC 3501 section 6.3.9: with a "%" at the end, a name that is not subscribed is told with \Noselect
 * when a subscribed one is below it. With "*" the subscribed one is told itself.
 */
static void consider(struct imap_cmd *cmd, const char *pattern, const struct imap_list_entry *entry)
{
	size_t len = strlen(pattern);

	if (!imap_list_matches(cmd, pattern, entry->name))
		return;
	if (entry->attributes & PS_MBOX_SUBSCRIBED)
		put_entry(cmd, entry, entry->attributes & PS_MBOX_EXISTS);
	else if (len > 0 && pattern[len - 1] == '%')
		put_entry(cmd, entry, false);
}

static int parse(struct imap_cmd *cmd, const char **ret_pattern)
{
	struct ps_bytes reference, pattern;
	int r;

	if ((r = imap_args_space(&cmd->args)) < 0 || (r = imap_args_astring(&cmd->args, cmd->pool, &reference)) < 0 ||
	    (r = imap_args_space(&cmd->args)) < 0 || (r = imap_args_pattern(&cmd->args, cmd->pool, &pattern)) < 0 ||
	    (r = imap_args_end(&cmd->args)) < 0)
		return r;
	return imap_pattern_to_match(&cmd->imap->names, reference, pattern, cmd->pool, ret_pattern);
}

/* LSUB (RFC 3501, 6.3.9):  "LSUB" SP mailbox SP list-mailbox */
static enum imap_next cmd_lsub(struct imap_cmd *cmd)
{
	struct imap_list list;
	const char *pattern;
	int r;

	if ((r = parse(cmd, &pattern)) < 0)
		return imap_refuse(cmd, r, "LSUB takes a reference and a pattern");
	if ((r = imap_list_read(cmd, imap_pattern_top(&cmd->imap->names, pattern, cmd->pool), PS_MBOX_SUBSCRIBED,
				&list)) < 0)
		return imap_no_err(cmd, r);
	for (size_t i = 0; i < list.count; i++)
		consider(cmd, pattern, &list.entries[i]);
	return imap_ok(cmd, "LSUB completed");
}

const struct imap_command imap_cmd_lsub = {
	.name = "LSUB",
	.states = IMAP_LOGGED_IN,
	.run = cmd_lsub,
};
