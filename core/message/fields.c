/* SPDX-License-Identifier: MIT */
#include "core/message/fields.h"
#include "core/message/lex.h"
#include "postern/message.h"

/* What clients ask for when they list a mailbox, besides what ENVELOPE and BODYSTRUCTURE are made
 * from. */
#define NAME(text) text, sizeof(text) - 1
static const struct row {
	const char *name;
	size_t name_len;
	enum field field;
	bool kept;
	bool addresses; /* several fields of the name are one list; of others the first counts */
	uint32_t max;
} rows[] = {
	{NAME("Content-Type"), FIELD_CONTENT_TYPE, true, false, FIELD_PARAMS_MAX},
	{NAME("Content-Transfer-Encoding"), FIELD_CONTENT_TRANSFER_ENCODING, true, false, FIELD_TEXT_MAX},
	{NAME("Content-ID"), FIELD_CONTENT_ID, false, false, FIELD_TEXT_MAX},
	{NAME("Content-Description"), FIELD_CONTENT_DESCRIPTION, true, false, FIELD_TEXT_MAX},
	{NAME("Content-Disposition"), FIELD_CONTENT_DISPOSITION, false, false, FIELD_PARAMS_MAX},
	{NAME("Content-Language"), FIELD_CONTENT_LANGUAGE, false, false, FIELD_TEXT_MAX},
	{NAME("Content-Location"), FIELD_CONTENT_LOCATION, false, false, FIELD_TEXT_MAX},
	{NAME("Content-MD5"), FIELD_CONTENT_MD5, false, false, FIELD_TEXT_MAX},
	{NAME("Date"), FIELD_DATE, true, false, FIELD_TEXT_MAX},
	{NAME("Subject"), FIELD_SUBJECT, true, false, FIELD_TEXT_MAX},
	{NAME("From"), FIELD_FROM, true, true, FIELD_ADDRESS_MAX},
	{NAME("Sender"), FIELD_SENDER, true, true, FIELD_ADDRESS_MAX},
	{NAME("Reply-To"), FIELD_REPLY_TO, true, true, FIELD_ADDRESS_MAX},
	{NAME("To"), FIELD_TO, true, true, FIELD_ADDRESS_MAX},
	{NAME("Cc"), FIELD_CC, true, true, FIELD_ADDRESS_MAX},
	{NAME("Bcc"), FIELD_BCC, true, true, FIELD_ADDRESS_MAX},
	{NAME("In-Reply-To"), FIELD_IN_REPLY_TO, true, false, FIELD_TEXT_MAX},
	{NAME("Message-ID"), FIELD_MESSAGE_ID, true, false, FIELD_TEXT_MAX},
	{NAME("References"), FIELD_OTHER, true, false, 0},
	{NAME("MIME-Version"), FIELD_OTHER, true, false, 0},
	{NAME("Newsgroups"), FIELD_OTHER, true, false, 0},
	{NAME("Followup-To"), FIELD_OTHER, true, false, 0},
	{NAME("Mail-Followup-To"), FIELD_OTHER, true, false, 0},
	{NAME("Mail-Reply-To"), FIELD_OTHER, true, false, 0},
	{NAME("List-Id"), FIELD_OTHER, true, false, 0},
	{NAME("List-Post"), FIELD_OTHER, true, false, 0},
	{NAME("List-Unsubscribe"), FIELD_OTHER, true, false, 0},
	{NAME("List-Unsubscribe-Post"), FIELD_OTHER, true, false, 0},
	{NAME("Priority"), FIELD_OTHER, true, false, 0},
	{NAME("X-Priority"), FIELD_OTHER, true, false, 0},
	{NAME("X-MSMail-Priority"), FIELD_OTHER, true, false, 0},
	{NAME("Importance"), FIELD_OTHER, true, false, 0},
	{NAME("X-Spam-Flag"), FIELD_OTHER, true, false, 0},
	{NAME("X-Spam-Status"), FIELD_OTHER, true, false, 0},
	{NAME("X-Spam-Score"), FIELD_OTHER, true, false, 0},
	{NAME("X-Spam-Level"), FIELD_OTHER, true, false, 0},
	{NAME("X-Label"), FIELD_OTHER, true, false, 0},
	{NAME("X-Keywords"), FIELD_OTHER, true, false, 0},
	{NAME("Keywords"), FIELD_OTHER, true, false, 0},
	{NAME("Lines"), FIELD_OTHER, true, false, 0},
	{NAME("Delivered-To"), FIELD_OTHER, true, false, 0},
	{NAME("Return-Path"), FIELD_OTHER, true, false, 0},
	{NAME("Auto-Submitted"), FIELD_OTHER, true, false, 0},
	{NAME("Precedence"), FIELD_OTHER, true, false, 0},
	{NAME("Return-Receipt-To"), FIELD_OTHER, true, false, 0},
	{NAME("Disposition-Notification-To"), FIELD_OTHER, true, false, 0},
	{NAME("X-Draft-Info"), FIELD_OTHER, true, false, 0},
	{NAME("X-Universally-Unique-Identifier"), FIELD_OTHER, true, false, 0},
	{NAME("X-Uniform-Type-Identifier"), FIELD_OTHER, true, false, 0},
	{NAME("X-K9mail-Identity"), FIELD_OTHER, true, false, 0},
	{NAME("X-Original-To"), FIELD_OTHER, true, false, 0},
	{NAME("X-Mailing-List"), FIELD_OTHER, true, false, 0},
	{NAME("List-Subscribe"), FIELD_OTHER, true, false, 0},
	{NAME("Content-Class"), FIELD_OTHER, true, false, 0},
	{NAME("X-Calendar-Attachment"), FIELD_OTHER, true, false, 0},
	{NAME("Resent-From"), FIELD_OTHER, true, false, 0},
	{NAME("Resent-To"), FIELD_OTHER, true, false, 0},
	{NAME("Resent-Cc"), FIELD_OTHER, true, false, 0},
	{NAME("Resent-Date"), FIELD_OTHER, true, false, 0},
	{NAME("Resent-Message-ID"), FIELD_OTHER, true, false, 0},
};
_Static_assert(sizeof rows / sizeof *rows <= 64, "a row is a bit of not_kept");

int field_row(struct ps_bytes name)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (name.len == rows[i].name_len && ps_bytes_caseeq_str(name, rows[i].name))
			return (int)i;
	return -1;
}

bool field_row_kept(int row)
{
	return rows[row].kept;
}

bool ps_cache_has_field(const char *name)
{
	int row = field_row(ps_bytes_str(name));

	return row >= 0 && rows[row].kept;
}

void header_finish(struct header *header)
{
	for (int i = 0; i < FIELD_COUNT; i++)
		ps_buf_finish(&header->values[i]);
	ps_buf_finish(&header->kept);
	ps_buf_finish(&header->field);
}

void header_begin(struct header *header)
{
	header->present = 0;
	header->open = false;
	header->in_line = false;
}

/* The value of the field just read goes to the others of its name. */
static void take_value(struct header *header, const struct row *row, struct ps_bytes value)
{
	struct ps_buf *to = &header->values[row->field];
	uint32_t bit = UINT32_C(1) << row->field;

	if (!(header->present & bit))
		ps_buf_reset(to);
	else if (!row->addresses || to->len >= row->max)
		return;
	else
		ps_buf_str(to, ",");
	header->present |= bit;
	ps_buf_append(to, value.ptr, value.len < row->max ? value.len : row->max);
}

static void keep_verbatim(struct header *header)
{
	struct ps_buf *field = &header->field;

	if (header->cut || field->len > KEPT_FIELD_MAX || header->kept.len + field->len > KEPT_FIELDS_MAX)
		header->not_kept |= UINT64_C(1) << header->row;
	else
		ps_buf_bytes(&header->kept, ps_buf_view(field));
}

static void field_end(struct header *header)
{
	const struct row *row;
	struct ps_bytes value;

	if (!header->open)
		return;
	header->open = false;
	if (!header->wanted || !header->name_len)
		return;
	row = &rows[header->row];
	value = ps_bytes_skip(ps_buf_view(&header->field), header->name_len + 1);
	if (value.len >= 2 && memcmp(value.ptr + value.len - 2, "\r\n", 2) == 0)
		value.len -= 2;
	if (header->keep && row->kept)
		keep_verbatim(header);
	if (row->field != FIELD_OTHER)
		take_value(header, row, value);
}

static void field_begin(struct header *header)
{
	field_end(header);
	ps_buf_reset(&header->field);
	header->open = true;
	header->wanted = header->octets <= PS_HEADER_MAX;
	header->cut = false;
	header->name_len = 0;
	header->max = FIELD_NAME_MAX;
}

/* NUL may not be sent (RFC 9051 section 9); ps_body_read() changes it alike. */
static void append_without_nul(struct ps_buf *out, struct ps_bytes text)
{
	size_t start = out->len;
	uint8_t *nul;

	if (ps_buf_bytes(out, text) < 0)
		return;
	while ((nul = start < out->len ? memchr(out->ptr + start, 0, out->len - start) : NULL)) {
		*nul = 0x80;
		start = (size_t)(nul - out->ptr) + 1;
	}
}

static void field_append(struct header *header, struct ps_bytes text)
{
	size_t room = header->max > header->field.len ? header->max - header->field.len : 0;

	if (text.len > room) {
		header->cut = true;
		text.len = room;
	}
	append_without_nul(&header->field, text);
}

/* Once the colon is there, the name decides whether the rest is worth keeping. */
static void find_name(struct header *header)
{
	struct ps_bytes name = ps_buf_view(&header->field);
	ptrdiff_t colon = ps_bytes_find(name, ':');

	if (colon <= 0) {
		header->wanted = colon < 0 && name.len < FIELD_NAME_MAX;
		return;
	}
	name.len = (size_t)colon;
	header->name_len = (size_t)colon;
	while (name.len && (name.ptr[name.len - 1] == ' ' || name.ptr[name.len - 1] == '\t'))
		name.len--;
	header->row = field_row(name);
	header->wanted = header->row >= 0 && (header->keep || rows[header->row].field != FIELD_OTHER);
	if (header->wanted)
		header->max = (size_t)colon + 1 +
			      (rows[header->row].max > KEPT_FIELD_MAX ? rows[header->row].max : KEPT_FIELD_MAX);
}

void header_text(struct header *header, struct ps_bytes text)
{
	if (text.len == 0)
		return;
	header->octets += text.len;
	if (!header->in_line) {
		header->in_line = true;
		if (text.ptr[0] != ' ' && text.ptr[0] != '\t')
			field_begin(header);
	}
	if (!header->open || !header->wanted)
		return;
	if (!header->name_len) {
		size_t room = FIELD_NAME_MAX - header->field.len;
		size_t n = text.len < room ? text.len : room;

		append_without_nul(&header->field, ps_bytes(text.ptr, n));
		find_name(header);
		text = ps_bytes_skip(text, n);
	}
	if (header->wanted && text.len)
		field_append(header, text);
}

bool header_line_end(struct header *header)
{
	bool blank = !header->in_line;

	header->in_line = false;
	header->octets += 2;
	if (header->open && header->wanted) {
		if (!header->name_len)
			header->wanted = false; /* a line without colon is no field */
		else
			field_append(header, ps_bytes_str("\r\n"));
	}
	return blank;
}

void header_end(struct header *header)
{
	field_end(header);
}
