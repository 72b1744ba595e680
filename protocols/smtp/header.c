/* SPDX-License-Identifier: MIT */
#include "postern/error.h"
#include "postern/message.h"
#include "postern/pool.h"
#include "protocols/smtp/header.h"

enum {
	HELD_MAX = 128, /* of a line: a longer name is none of those that matter */
};

enum {
	SEEN_FROM = 1,
	SEEN_DATE = 2,
	SEEN_MESSAGE_ID = 4,
	SEEN_FROM_AGAIN = 8,
};

struct smtp_header_field {
	const char *name;
	unsigned seen;
	enum {
		STAYS,
		SECRET, /* taken out of a submission */
		OURS,   /* taken out of any message: delivery puts it there (RFC 5321 section 4.4) */
	} kind;
};

static const struct smtp_header_field fields[] = {
	{"Received", 0, STAYS},     {"From", SEEN_FROM, STAYS},
	{"Date", SEEN_DATE, STAYS}, {"Message-ID", SEEN_MESSAGE_ID, STAYS},
	{"Return-Path", 0, OURS},   {"Bcc", 0, SECRET},
	{"Resent-Bcc", 0, SECRET},
};

static void put(struct smtp_header *header, struct ps_bytes octets)
{
	if (header->error == 0 && octets.len > 0)
		header->error = header->write(header->arg, octets);
}

static void put_field(struct smtp_header *header, unsigned seen, const char *name, const char *before,
		      const char *value, const char *after)
{
	struct ps_buf field = {0};

	if (header->seen & seen || !value || !*value)
		return;
	ps_buf_printf(&field, "%s: %s%s%s\r\n", name, before, value, after);
	put(header, ps_buf_view(&field));
	ps_buf_finish(&field);
	header->seen |= seen;
}

/* Fields that are missing go to its end. */
static void end_header(struct smtp_header *header)
{
	header->state = HEADER_BODY;
	if (!header->submission)
		return;
	if (!(header->seen & SEEN_FROM) && header->reverse_path && *header->reverse_path) {
		put_field(header, SEEN_FROM, "From", "<", header->reverse_path, ">");
		ps_buf_printf(&header->from, "<%s>", header->reverse_path);
	}
	put_field(header, SEEN_DATE, "Date", "", header->date, "");
	put_field(header, SEEN_MESSAGE_ID, "Message-ID", "<", header->message_id, ">");
}

/* ---- a line's start -------------------------------------------------------------------------- */

static void release(struct smtp_header *header, enum smtp_header_state state)
{
	header->state = state;
	if (state != HEADER_DROP)
		put(header, ps_buf_view(&header->held));
	ps_buf_reset(&header->held);
}

/* RFC 5322 section 2.2; blanks before the colon are of section 4.5. */
static const struct smtp_header_field *find_field(struct ps_bytes name)
{
	while (name.len > 0 && (name.ptr[name.len - 1] == ' ' || name.ptr[name.len - 1] == '\t'))
		name.len--;
	for (size_t i = 0; i < PS_ARRAY_LEN(fields); i++)
		if (ps_bytes_caseeq_str(name, fields[i].name))
			return &fields[i];
	return NULL;
}

static bool is_dropped(const struct smtp_header *header)
{
	return header->field && (header->field->kind == OURS || (header->field->kind == SECRET && header->submission));
}

static void note(struct smtp_header *header, const struct smtp_header_field *field)
{
	header->any = true;
	header->field = field;
	if (!field)
		return;
	header->received += field == &fields[0];
	if (field->seen == SEEN_FROM && header->seen & SEEN_FROM)
		header->seen |= SEEN_FROM_AGAIN;
	header->seen |= field->seen;
}

static void begin_field(struct smtp_header *header, size_t name_length)
{
	const struct smtp_header_field *field = find_field(ps_bytes(header->held.ptr, name_length));

	note(header, field);
	release(header, is_dropped(header) ? HEADER_DROP : HEADER_PASS);
}

/* More of the field before it. */
static void go_on(struct smtp_header *header, char blank)
{
	if (header->field && header->field->seen == SEEN_FROM)
		ps_buf_char(&header->from, blank);
	release(header, is_dropped(header) ? HEADER_DROP : HEADER_PASS);
}

/* What is no field ends the header, RFC 5322 section 2.1. A blank line makes that clear to all, where nothing is signed yet, and where
 * else the line would become part of a field that was put before it. */
static void end_without_blank_line(struct smtp_header *header)
{
	end_header(header);
	if (header->submission || !header->any)
		put(header, ps_bytes("\r\n", 2));
	release(header, HEADER_BODY);
}

static bool is_blank(uint8_t octet)
{
	return octet == ' ' || octet == '\t';
}

/* Whether it may stand in a field's name, or behind it. */
static bool is_name_octet(uint8_t octet)
{
	return (octet > ' ' && octet < 0x7f) || is_blank(octet);
}

static void take_start(struct smtp_header *header, uint8_t octet)
{
	struct ps_buf *held = &header->held;
	bool first = held->len == 0, blank_line = !first && held->ptr[0] == '\r';

	ps_buf_char(held, (char)octet);
	if (first && octet == '\r')
		return;
	if (blank_line && octet == '\n') {
		end_header(header);
		release(header, HEADER_BODY);
	} else if (first && is_blank(octet) && header->any) {
		go_on(header, (char)octet);
	} else if (blank_line || !is_name_octet(octet) || (first && (octet == ':' || is_blank(octet)))) {
		end_without_blank_line(header);
	} else if (octet == ':') {
		begin_field(header, held->len - 1);
	} else if (held->len == HELD_MAX) {
		note(header, NULL);
		release(header, HEADER_PASS);
	}
}

/* ---- the rest of a line ---------------------------------------------------------------------- */

static size_t take_rest(struct smtp_header *header, struct ps_bytes octets)
{
	ptrdiff_t lf = ps_bytes_find(octets, '\n');
	struct ps_bytes piece = lf < 0 ? octets : ps_bytes(octets.ptr, (size_t)lf + 1);

	if (header->field && header->field->seen == SEEN_FROM) {
		header->from.limit = SMTP_FROM_MAX;
		ps_buf_bytes(&header->from, piece);
	}
	if (header->state == HEADER_PASS)
		put(header, piece);
	if (lf >= 0)
		header->state = HEADER_LINE;
	return piece.len;
}

void smtp_header_take(struct smtp_header *header, struct ps_bytes octets)
{
	while (octets.len > 0 && header->state != HEADER_BODY) {
		size_t n = 1;

		if (header->state == HEADER_LINE)
			take_start(header, octets.ptr[0]);
		else
			n = take_rest(header, octets);
		octets = ps_bytes_skip(octets, n);
	}
	put(header, octets);
}

void smtp_header_end(struct smtp_header *header)
{
	if (header->state == HEADER_BODY)
		return;
	if (header->held.len > 0)
		end_without_blank_line(header);
	else
		end_header(header);
}

bool smtp_header_from_is_well_formed(const struct smtp_header *header)
{
	size_t count;

	return (header->seen & (SEEN_FROM | SEEN_FROM_AGAIN)) == SEEN_FROM && !header->from.failed &&
	       ps_addresses_count(ps_buf_view(&header->from), &count) == 0 && count > 0;
}

void smtp_header_finish(struct smtp_header *header)
{
	ps_buf_finish(&header->held);
	ps_buf_finish(&header->from);
}
