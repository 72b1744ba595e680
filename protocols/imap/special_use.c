/* SPDX-License-Identifier: MIT */
#include "postern/error.h"
#include "postern/store.h"
#include "protocols/imap/special_use.h"

/* \All and \Flagged say that a mailbox shows messages of others. Ours do not, so no client can make one. */
static const struct {
	uint32_t attribute;
	const char *name;
	bool by_client;
} special_uses[] = {
	{PS_MBOX_ALL, "\\All", false},         {PS_MBOX_ARCHIVE, "\\Archive", true}, {PS_MBOX_DRAFTS, "\\Drafts", true},
	{PS_MBOX_FLAGGED, "\\Flagged", false}, {PS_MBOX_JUNK, "\\Junk", true},       {PS_MBOX_SENT, "\\Sent", true},
	{PS_MBOX_TRASH, "\\Trash", true},
};

void imap_put_special_uses(struct ps_buf *out, uint32_t attributes)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(special_uses); i++) {
		if (!(attributes & special_uses[i].attribute))
			continue;
		ps_buf_char(out, ' ');
		ps_buf_str(out, special_uses[i].name);
	}
}

/* 0 for one that is not known, or not for clients. */
static uint32_t find(struct ps_bytes name)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(special_uses); i++)
		if (special_uses[i].by_client && ps_bytes_caseeq_str(name, special_uses[i].name + 1))
			return special_uses[i].attribute;
	return 0;
}

int imap_special_uses_parse(struct imap_args *args, uint32_t *ret_attributes)
{
	uint32_t attributes = 0;
	bool known = true;
	struct ps_bytes name;

	if (!imap_args_take(args, '('))
		return ps_fail(PS_E_SYNTAX, "a list of special uses is missing");
	if (imap_args_take(args, ')')) {
		*ret_attributes = 0;
		return 0;
	}
	do {
		uint32_t attribute;

		if (!imap_args_take(args, '\\') || imap_args_atom(args, &name) < 0)
			return ps_fail(PS_E_SYNTAX, "a special use is missing");
		attribute = find(name);
		known = known && attribute;
		attributes |= attribute;
	} while (imap_args_take(args, ' '));
	if (!imap_args_take(args, ')'))
		return ps_fail(PS_E_SYNTAX, "a list of special uses does not end");
	if (!known)
		return ps_fail(PS_E_UNSUPPORTED, "a special use that a client cannot give");
	*ret_attributes = attributes;
	return 0;
}
