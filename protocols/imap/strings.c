/* SPDX-License-Identifier: MIT */
/* Strings as the wire wants them. */
#include "protocols/imap/imap.h"

static bool can_be_quoted(struct ps_bytes text, bool utf8)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] < ' ' || text.ptr[i] == 0x7f || (text.ptr[i] > 0x7f && !utf8))
			return false;
	return !utf8 || ps_utf8_valid(text);
}

static void put_literal(struct ps_buf *out, struct ps_bytes text)
{
	ps_buf_char(out, '{');
	ps_buf_u64(out, text.len);
	ps_buf_str(out, "}\r\n");
	ps_buf_bytes(out, text);
}

static void put_string(struct ps_buf *out, struct ps_bytes text, bool utf8)
{
	if (!can_be_quoted(text, utf8)) {
		put_literal(out, text);
		return;
	}
	ps_buf_char(out, '"');
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == '"' || text.ptr[i] == '\\')
			ps_buf_char(out, '\\');
		ps_buf_char(out, (char)text.ptr[i]);
	}
	ps_buf_char(out, '"');
}

void imap_put_string(struct ps_buf *out, struct ps_bytes text)
{
	put_string(out, text, false);
}

void imap_put_text(const struct imap *imap, struct ps_buf *out, struct ps_bytes text)
{
	put_string(out, text, imap->names.utf8);
}

void imap_put_astring(struct ps_buf *out, struct ps_bytes text)
{
	size_t i = 0;

	while (i < text.len && imap_is_atom_char(text.ptr[i]))
		i++;
	if (i > 0 && i == text.len && !ps_bytes_caseeq_str(text, "NIL"))
		ps_buf_bytes(out, text);
	else
		imap_put_string(out, text);
}
