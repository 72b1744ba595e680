/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include "postern/error.h"
#include "protocols/imap/commands.h"

static uint64_t messages(const struct ps_mailbox_info *info)
{
	return info->messages;
}

static uint64_t recent(const struct ps_mailbox_info *info)
{
	return info->recent;
}

static uint64_t uid_next(const struct ps_mailbox_info *info)
{
	return info->uid_next;
}

static uint64_t uid_validity(const struct ps_mailbox_info *info)
{
	return info->uid_validity;
}

static uint64_t unseen(const struct ps_mailbox_info *info)
{
	return info->unseen;
}

static uint64_t highest_modseq(const struct ps_mailbox_info *info)
{
	return info->highest_modseq;
}

static const struct {
	const char *name;
	uint64_t (*value)(const struct ps_mailbox_info *info);
} items[] = {
	{"MESSAGES", messages},        {"RECENT", recent}, {"UIDNEXT", uid_next},
	{"UIDVALIDITY", uid_validity}, {"UNSEEN", unseen}, {"HIGHESTMODSEQ", highest_modseq},
};

/* "(MESSAGES UNSEEN)" as a mask over the table. */
static int parse_items(struct imap_args *args, unsigned *ret_items)
{
	unsigned asked = 0;
	struct ps_bytes name;
	size_t i;

	if (!imap_args_take(args, '('))
		return ps_fail(PS_E_SYNTAX, "a list of items is missing");
	do {
		if (imap_args_atom(args, &name) < 0)
			return PS_E_SYNTAX;
		for (i = 0; i < PS_ARRAY_LEN(items) && !ps_bytes_caseeq_str(name, items[i].name); i++)
			;
		if (i == PS_ARRAY_LEN(items))
			return ps_fail(PS_E_SYNTAX, "no such status item");
		asked |= 1u << i;
	} while (imap_args_take(args, ' '));
	if (!imap_args_take(args, ')'))
		return ps_fail(PS_E_SYNTAX, "a list of items does not end");
	*ret_items = asked;
	return 0;
}

static bool asks_for(unsigned asked, uint64_t (*value)(const struct ps_mailbox_info *info))
{
	for (size_t i = 0; i < PS_ARRAY_LEN(items); i++)
		if ((asked & (1u << i)) && items[i].value == value)
			return true;
	return false;
}

static void put_status(struct imap *imap, const struct ps_mailbox_info *info, unsigned asked)
{
	struct ps_buf *out = imap_output(imap);
	char before = '(';

	ps_buf_str(out, "* STATUS ");
	imap_put_mailbox(imap, out, info->name);
	ps_buf_char(out, ' ');
	for (size_t i = 0; i < PS_ARRAY_LEN(items); i++) {
		if (!(asked & (1u << i)))
			continue;
		ps_buf_char(out, before);
		ps_buf_str(out, items[i].name);
		ps_buf_char(out, ' ');
		ps_buf_u64(out, items[i].value(info));
		before = ' ';
	}
	ps_buf_str(out, ")\r\n");
}

/* STATUS (RFC 3501, 6.3.10):  "STATUS" SP mailbox SP "(" status-att *(SP status-att) ")" */
static enum imap_next cmd_status(struct imap_cmd *cmd)
{
	struct ps_mailbox_info info;
	const char *name;
	unsigned asked = 0;
	int r;

	if ((r = imap_args_space(&cmd->args)) < 0 || (r = imap_mailbox_arg(cmd, &name)) < 0 ||
	    (r = imap_args_space(&cmd->args)) < 0 || (r = parse_items(&cmd->args, &asked)) < 0 ||
	    (r = imap_args_end(&cmd->args)) < 0)
		return imap_refuse(cmd, r, "STATUS takes a mailbox name and a list of items");
	if ((r = ps_user_status(cmd->imap->user, name, &info)) < 0)
		return imap_no_err(cmd, r);
	info.name = name;
	if (asks_for(asked, highest_modseq))
		imap_enable_condstore(cmd);
	put_status(cmd->imap, &info, asked);
	return imap_ok(cmd, "STATUS completed");
}

const struct imap_command imap_cmd_status = {
	.name = "STATUS",
	.states = IMAP_LOGGED_IN,
	.run = cmd_status,
};
