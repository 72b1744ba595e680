/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include "postern/error.h"
#include "protocols/imap/object_id.h"
#include "protocols/imap/status_items.h"

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

static uint64_t deleted(const struct ps_mailbox_info *info)
{
	return info->deleted;
}

/* RFC 8438: no less than the sum of what RFC822.SIZE says. */
static uint64_t size(const struct ps_mailbox_info *info)
{
	return info->size;
}

static void put_mailbox_id(const struct imap *imap, struct ps_buf *out, const struct ps_mailbox_info *info)
{
	(void)imap;
	ps_buf_char(out, '(');
	imap_put_object_id(out, IMAP_MAILBOX_ID, &info->id);
	ps_buf_char(out, ')');
}

static void put_append_limit(const struct imap *imap, struct ps_buf *out, const struct ps_mailbox_info *info)
{
	(void)info;
	ps_buf_u64(out, imap_append_limit(imap));
}

/* What is in no figure of the mailbox, and counted only where there is something to count. It goes meanwhile: nothing is to be won. */
static void put_deleted_storage(const struct imap *imap, struct ps_buf *out, const struct ps_mailbox_info *info)
{
	uint64_t octets = 0;

	if (info->deleted > 0 && ps_user_deleted_octets(imap->user, info->name, &octets) < 0)
		octets = 0;
	ps_buf_u64(out, octets);
}

static const struct {
	const char *name;
	uint64_t (*value)(const struct ps_mailbox_info *info);
	/* For what is no number of the mailbox. */
	void (*put)(const struct imap *imap, struct ps_buf *out, const struct ps_mailbox_info *info);
} items[] = {
	{"MESSAGES", messages, NULL},
	{"RECENT", recent, NULL},
	{"UIDNEXT", uid_next, NULL},
	{"UIDVALIDITY", uid_validity, NULL},
	{"UNSEEN", unseen, NULL},
	{"HIGHESTMODSEQ", highest_modseq, NULL},
	{"SIZE", size, NULL},
	{"DELETED", deleted, NULL},                     /* RFC 9051 */
	{"MAILBOXID", NULL, put_mailbox_id},            /* RFC 8474 */
	{"APPENDLIMIT", NULL, put_append_limit},        /* RFC 7889 */
	{"DELETED-STORAGE", NULL, put_deleted_storage}, /* RFC 9208 */
};

int imap_status_items_parse(struct imap_args *args, unsigned *ret_items)
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

void imap_put_status(struct imap_cmd *cmd, const struct ps_mailbox_info *info, unsigned asked)
{
	struct ps_buf *out = imap_output(cmd->imap);
	char before = '(';

	if (asks_for(asked, highest_modseq))
		imap_enable_condstore(cmd);
	ps_buf_str(out, "* STATUS ");
	imap_put_mailbox(cmd->imap, out, info->name);
	ps_buf_char(out, ' ');
	for (size_t i = 0; i < PS_ARRAY_LEN(items); i++) {
		if (!(asked & (1u << i)))
			continue;
		ps_buf_char(out, before);
		ps_buf_str(out, items[i].name);
		ps_buf_char(out, ' ');
		if (items[i].put)
			items[i].put(cmd->imap, out, info);
		else
			ps_buf_u64(out, items[i].value(info));
		before = ' ';
	}
	ps_buf_str(out, ")\r\n");
}
