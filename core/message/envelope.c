/* SPDX-License-Identifier: MIT */
#include "core/message/address.h"
#include "core/message/envelope.h"

/* A field that is there but empty gives "", one that is not gives NIL. */
static void write_text(const struct header *header, enum field field, struct ps_buf *out)
{
	struct ps_bytes value = header_value(header, field);
	struct ps_buf text = {0};

	if (!value.ptr) {
		imap_nstring(out, value);
		return;
	}
	text_unfold(value, &text);
	imap_nstring(out, ps_bytes(text.len ? text.ptr : (const uint8_t *)"", text.len));
	ps_buf_finish(&text);
}

static void write_address(const struct address *address, struct ps_buf *out)
{
	const struct ps_bytes nil = {NULL, 0};
	bool group = address->kind == ADDRESS_GROUP;

	ps_buf_char(out, '(');
	imap_nstring(out, group ? nil : address->name);
	ps_buf_char(out, ' ');
	imap_nstring(out, address->route);
	ps_buf_char(out, ' ');
	imap_nstring(out, group ? address->name : address->local);
	ps_buf_char(out, ' ');
	imap_nstring(out, address->host);
	ps_buf_char(out, ')');
}

/* Appends the list in parentheses, or nothing if there is no address in it. */
static void write_list(struct ps_bytes value, unsigned *left, struct ps_buf *out)
{
	struct address_list list;
	struct address address;
	bool any = false;

	address_list_init(&list, value);
	while (*left && address_next(&list, &address)) {
		if (!any)
			ps_buf_char(out, '(');
		any = true;
		--*left;
		write_address(&address, out);
	}
	if (any && list.in_group)
		ps_buf_str(out, "(NIL NIL NIL NIL)");
	if (any)
		ps_buf_char(out, ')');
	address_list_finish(&list);
}

static void write_addresses(const struct header *header, enum field field, unsigned *left, struct ps_buf *out)
{
	struct ps_bytes value = header_value(header, field);
	size_t start = out->len;

	if (value.ptr)
		write_list(value, left, out);
	if (out->len == start && (field == FIELD_SENDER || field == FIELD_REPLY_TO)) {
		value = header_value(header, FIELD_FROM);
		if (value.ptr)
			write_list(value, left, out);
	}
	if (out->len == start)
		ps_buf_str(out, "NIL");
}

void envelope_write(const struct header *header, struct ps_buf *out)
{
	static const enum field addresses[] = {
		FIELD_FROM, FIELD_SENDER, FIELD_REPLY_TO, FIELD_TO, FIELD_CC, FIELD_BCC,
	};
	unsigned left = ENVELOPE_ADDRESSES_MAX;

	ps_buf_char(out, '(');
	write_text(header, FIELD_DATE, out);
	ps_buf_char(out, ' ');
	write_text(header, FIELD_SUBJECT, out);
	for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
		ps_buf_char(out, ' ');
		write_addresses(header, addresses[i], &left, out);
	}
	ps_buf_char(out, ' ');
	write_text(header, FIELD_IN_REPLY_TO, out);
	ps_buf_char(out, ' ');
	write_text(header, FIELD_MESSAGE_ID, out);
	ps_buf_char(out, ')');
}
