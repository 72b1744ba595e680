/* SPDX-License-Identifier: MIT */
/*
 * The fields behind a "From " line that are ours and others': rendered, and read in whatever order others leave them.
 *
 *	From SENDER DATE
 *	X-UID: 12
 *	Status: RO
 *	X-Status: AF
 *	X-Keywords: one two<blanks that leave room>
 *	X-Postern: 1 <numbers in hex> <checksum>
 *
 * The checksum is made with the mailbox's id, which nobody knows who sends mail, so a field that came with a message is
 * not taken for ours; nor is one that another program copied to another mailbox.
 */
#include <stdio.h>
#include "backends/mbox/mbox_private.h"

enum {
	ROOM = 48, /* for keywords and flags to come, so that they can be written in place */
	TEXT_MAX = 160
};

uint64_t locator_end(const struct locator *loc)
{
	return loc->at + loc->head + loc->length + (loc->form & FORM_NO_EOL ? 2 : 1);
}

int locator_decode(struct ps_bytes octets, struct locator *ret_loc)
{
	if (octets.len != sizeof *ret_loc)
		return ps_fail(PS_E_CORRUPT, "the index has no place for a message");
	memcpy(ret_loc, octets.ptr, sizeof *ret_loc);
	return 0;
}

/* ---- flags ------------------------------------------------------------------------------------- */

static const struct {
	char letter;
	bool in_x_status;
	uint32_t flag;
} letters[] = {
	{'R', false, PS_FLAG_SEEN}, {'A', true, PS_FLAG_ANSWERED}, {'F', true, PS_FLAG_FLAGGED},
	{'T', true, PS_FLAG_DRAFT}, {'D', true, PS_FLAG_DELETED},
};

static void put_letters(struct ps_buf *out, bool in_x_status, uint32_t flags)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(letters); i++)
		if (letters[i].in_x_status == in_x_status && (flags & letters[i].flag))
			ps_buf_char(out, letters[i].letter);
}

uint32_t fields_flags(const struct fields *fields)
{
	uint32_t flags = 0;

	for (size_t i = 0; i < PS_ARRAY_LEN(letters); i++)
		if (ps_bytes_find(letters[i].in_x_status ? fields->x_status : fields->status,
				  (uint8_t)letters[i].letter) >= 0)
			flags |= letters[i].flag;
	return flags;
}

/* ---- rendering ----------------------------------------------------------------------------------- */

static uint32_t checksum(const struct ps_id *mailbox, struct ps_bytes text)
{
	return ps_crc32c(ps_crc32c(0, mailbox->octets, sizeof mailbox->octets), text.ptr, text.len);
}

static void put_mark(struct ps_buf *out, const struct head *head)
{
	struct ps_buf text = {0};

	ps_buf_printf(&text, "1 %08x %08x %02x %016llx %016llx ", head->uid_validity, head->row->uid, head->form,
		      (unsigned long long)head->row->internal_date, (unsigned long long)head->row->save_date);
	ps_hex_encode(&text, ps_bytes(head->row->email_id.octets, sizeof head->row->email_id.octets));
	ps_buf_printf(&text, " %llx %llx", (unsigned long long)head->row->size, (unsigned long long)head->length);
	ps_buf_printf(out, "X-Postern: %s %08x\n", ps_buf_cstr(&text), checksum(head->mailbox, ps_buf_view(&text)));
	ps_buf_finish(&text);
}

static void put_blanks(struct ps_buf *out, size_t n)
{
	while (n-- > 0)
		ps_buf_char(out, ' ');
}

int head_render(const struct head *head, size_t total, struct ps_buf *out)
{
	uint32_t flags = head->row->flags | (head->form & FORM_DEAD ? PS_FLAG_DELETED : 0);
	struct ps_buf top = {0}, mark = {0};
	size_t room = ROOM, used;
	int r = 0;

	ps_buf_bytes(&top, head->from);
	ps_buf_printf(&top, "X-UID: %u\nStatus: ", head->row->uid);
	put_letters(&top, false, flags);
	ps_buf_str(&top, "O\nX-Status: ");
	put_letters(&top, true, flags);
	ps_buf_str(&top, "\nX-Keywords:");
	for (int bit = 0; bit < PS_KEYWORDS_MAX; bit++)
		if ((head->row->keywords & UINT64_C(1) << bit) && head->keywords->names[bit])
			ps_buf_printf(&top, " %s", head->keywords->names[bit]);
	put_mark(&mark, head);
	used = top.len + 1 + mark.len;
	if (total > 0 && used > total)
		r = PS_E_LIMIT;
	room = total > 0 ? total - used : room;
	if (r == 0) {
		ps_buf_bytes(out, ps_buf_view(&top));
		put_blanks(out, room);
		ps_buf_char(out, '\n');
		ps_buf_bytes(out, ps_buf_view(&mark));
		r = out->failed ? ps_fail(PS_E_LIMIT, "no memory for a header") : 0;
	}
	ps_buf_finish(&top);
	ps_buf_finish(&mark);
	return r;
}

/* ---- reading ----------------------------------------------------------------------------------- */

static struct ps_bytes trim(struct ps_bytes text)
{
	while (text.len > 0 && text.ptr[0] <= ' ')
		text = ps_bytes_skip(text, 1);
	while (text.len > 0 && text.ptr[text.len - 1] <= ' ')
		text.len--;
	return text;
}

static struct ps_bytes word(struct ps_bytes *text)
{
	struct ps_bytes w = *text = trim(*text);

	for (w.len = 0; w.len < text->len && text->ptr[w.len] > ' '; w.len++)
		;
	*text = ps_bytes_skip(*text, w.len);
	return w;
}

static int hex_digit(uint8_t c)
{
	return ps_isdigit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool hex_number(struct ps_bytes text, uint64_t *ret_n)
{
	uint64_t n = 0;

	for (size_t i = 0; i < text.len; i++) {
		int digit = hex_digit(text.ptr[i]);

		if (digit < 0)
			return false;
		n = n << 4 | (unsigned)digit;
	}
	*ret_n = n;
	return text.len > 0 && text.len <= 16;
}

static bool hex_id(struct ps_bytes text, struct ps_id *ret_id)
{
	if (text.len != 2 * sizeof ret_id->octets)
		return false;
	for (size_t i = 0; i < sizeof ret_id->octets; i++) {
		int high = hex_digit(text.ptr[2 * i]), low = hex_digit(text.ptr[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		ret_id->octets[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static void parse_mark(struct ps_bytes text, const struct ps_id *mailbox, struct mark *ret_mark)
{
	uint64_t validity, uid, form, internal, save, size, length, crc;
	struct ps_bytes whole = text = trim(text), id;
	struct mark mark = {0};

	if (text.len > TEXT_MAX || !ps_bytes_eq_str(word(&text), "1") || !hex_number(word(&text), &validity) ||
	    !hex_number(word(&text), &uid) || !hex_number(word(&text), &form) || !hex_number(word(&text), &internal) ||
	    !hex_number(word(&text), &save))
		return;
	id = word(&text);
	if (!hex_id(id, &mark.email_id) || !hex_number(word(&text), &size) || !hex_number(word(&text), &length))
		return;
	whole.len = (size_t)(text.ptr - whole.ptr);
	if (!hex_number(word(&text), &crc) || text.len > 0 || validity > UINT32_MAX || uid > UINT32_MAX ||
	    form > FORM_ALL)
		return;
	mark.known = true;
	mark.ours = checksum(mailbox, whole) == crc && uid > 0;
	mark.uid_validity = (uint32_t)validity;
	mark.uid = (uint32_t)uid;
	mark.form = (unsigned)form;
	mark.internal_date = (int64_t)internal;
	mark.save_date = (int64_t)save;
	mark.size = size;
	mark.length = length;
	*ret_mark = mark;
}

static void parse_field(struct ps_bytes name, struct ps_bytes value, const struct ps_id *mailbox, struct fields *fields)
{
	if (ps_bytes_caseeq_str(name, "Status"))
		fields->status = value;
	else if (ps_bytes_caseeq_str(name, "X-Status"))
		fields->x_status = value;
	else if (ps_bytes_caseeq_str(name, "X-Keywords"))
		fields->keywords = trim(value);
	else if (ps_bytes_caseeq_str(name, "X-UID"))
		fields->has_uid = ps_bytes_u32(word(&value), &fields->uid) == 0;
	else if (ps_bytes_caseeq_str(name, "Content-Length"))
		fields->has_content_length = ps_bytes_u64(word(&value), &fields->content_length) == 0;
	else if (ps_bytes_caseeq_str(name, "X-Postern"))
		parse_mark(value, mailbox, &fields->mark);
	else {
		fields->has_base = true;
		fields->has_imap = ps_bytes_caseeq_str(name, "X-IMAP");
		fields->base = trim(value);
	}
}

/* The field that a header begins with, folded lines and all. */
static size_t field_length(struct ps_bytes header)
{
	size_t n = 0;

	do {
		const uint8_t *lf = memchr(header.ptr + n, '\n', header.len - n);

		n = lf ? (size_t)(lf - header.ptr) + 1 : header.len;
	} while (n < header.len && (header.ptr[n] == ' ' || header.ptr[n] == '\t'));
	return n;
}

static void add_gap(struct fields *fields, size_t at, size_t len)
{
	struct gap *last = fields->gap_count > 0 ? &fields->gaps[fields->gap_count - 1] : NULL;

	if (last && last->at + last->len == at)
		last->len += len;
	else if (fields->gap_count < PS_ARRAY_LEN(fields->gaps))
		fields->gaps[fields->gap_count++] = (struct gap){at, len};
	else
		fields->too_many = true;
}

void fields_hide_lines(struct fields *fields)
{
	size_t at = fields->gap_count;

	if (fields->lines.len == 0 || at == PS_ARRAY_LEN(fields->gaps))
		return;
	for (; at > 0 && fields->gaps[at - 1].at > fields->lines.at; at--)
		fields->gaps[at] = fields->gaps[at - 1];
	fields->gaps[at] = fields->lines;
	fields->gap_count++;
	fields->in_order = false;
}

void fields_parse(struct ps_bytes header, const struct ps_id *mailbox, struct fields *ret_fields)
{
	struct fields fields = {0};
	size_t at = 0;

	while (at < header.len) {
		struct ps_bytes field = ps_bytes_skip(header, at), name;
		ptrdiff_t colon;

		field.len = field_length(field);
		colon = ps_bytes_find(field, ':');
		name = ps_bytes(field.ptr, colon > 0 ? (size_t)colon : 0);
		if (ps_mboxfile_is_own_field(name)) {
			/* It ends what stands at the top: what follows is the message's, be it a folded line. */
			if (ps_bytes_caseeq_str(name, "X-Postern")) {
				const uint8_t *lf = memchr(field.ptr, '\n', field.len);

				field.len = lf ? (size_t)(lf - field.ptr) + 1 : field.len;
			}
			parse_field(name, ps_bytes_skip(field, name.len + 1), mailbox, &fields);
			add_gap(&fields, at, field.len);
		} else if (ps_bytes_caseeq_str(name, "Lines")) {
			fields.lines = (struct gap){at, field.len};
		}
		at += field.len;
	}
	fields.in_order = fields.gap_count == 1 && fields.gaps[0].at == 0 && fields.mark.known && !fields.has_base &&
			  !fields.has_content_length && !fields.too_many;
	fields.top = fields.gap_count > 0 && fields.gaps[0].at == 0 ? fields.gaps[0].len : 0;
	*ret_fields = fields;
}

bool base_parse(struct ps_bytes text, uint32_t *ret_validity, uint32_t *ret_last)
{
	return ps_bytes_u32(word(&text), ret_validity) == 0 && ps_bytes_u32(word(&text), ret_last) == 0 &&
	       *ret_validity > 0;
}

/* ---- the pseudo message ------------------------------------------------------------------------ */

enum {
	BASE_ROOM = 1000 /* for keywords */
};

/* Names of keywords as far as they fit: only for others, who want to know their order. */
static void put_base(struct ps_buf *out, const struct pseudo *pseudo, const struct ps_keyword_table *keywords)
{
	size_t start;

	ps_buf_printf(out, "X-IMAP: %010u %010u", pseudo->uid_validity, pseudo->last_uid);
	start = out->len;
	for (int bit = 0; bit < PS_KEYWORDS_MAX; bit++)
		if (keywords && keywords->names[bit] && out->len - start + strlen(keywords->names[bit]) + 1 < BASE_ROOM)
			ps_buf_printf(out, " %s", keywords->names[bit]);
	put_blanks(out, BASE_ROOM - (out->len - start));
	ps_buf_char(out, '\n');
}

void pseudo_render(const struct pseudo *pseudo, const struct ps_keyword_table *keywords, struct ps_buf *out)
{
	struct ps_buf text = {0};

	ps_buf_printf(&text, "1 ");
	ps_hex_encode(&text, ps_bytes(pseudo->id.octets, sizeof pseudo->id.octets));
	ps_buf_printf(&text, " %08x %08x %08x", pseudo->uid_validity, pseudo->last_uid, pseudo->special_uses);
	ps_from_line_format(out, ps_bytes_str("MAILER-DAEMON"), pseudo->uid_validity);
	ps_buf_str(out, "From: Mail System Internal Data <MAILER-DAEMON@localhost>\n"
			"Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n");
	ps_buf_printf(out, "Message-ID: <%010u.", pseudo->uid_validity);
	ps_hex_encode(out, ps_bytes(pseudo->id.octets, sizeof pseudo->id.octets));
	ps_buf_str(out, "@localhost>\n");
	put_base(out, pseudo, keywords);
	ps_buf_printf(out, "Status: RO\nX-Postern-Mailbox: %s %08x\n\n", ps_buf_cstr(&text),
		      ps_crc32c(0, text.ptr, text.len));
	ps_buf_str(out, "This is no mail. Programs that serve this mailbox keep here what they know of it; if it is\n"
			"removed they must begin anew, and mail programs fetch everything again.\n\n");
	ps_buf_finish(&text);
}

static bool parse_mailbox(struct ps_bytes text, struct pseudo *pseudo)
{
	struct ps_bytes whole = text = trim(text);
	uint64_t validity, last, uses, crc;

	if (!ps_bytes_eq_str(word(&text), "1") || !hex_id(word(&text), &pseudo->id) ||
	    !hex_number(word(&text), &validity) || !hex_number(word(&text), &last) || !hex_number(word(&text), &uses))
		return false;
	whole.len = (size_t)(text.ptr - whole.ptr);
	if (!hex_number(word(&text), &crc) || ps_crc32c(0, whole.ptr, whole.len) != crc || validity == 0 ||
	    validity > UINT32_MAX || last > UINT32_MAX)
		return false;
	pseudo->uid_validity = (uint32_t)validity;
	pseudo->last_uid = (uint32_t)last;
	pseudo->special_uses = (uint32_t)uses & PS_MBOX_SPECIAL_USES;
	return true;
}

/* The rest of what it was rendered with is not looked at: only its length and frame must be right. */
static bool is_in_order(struct ps_bytes octets, const struct pseudo *pseudo)
{
	struct ps_buf want = {0};
	const uint8_t *base;
	size_t skip;
	bool good;

	pseudo_render(pseudo, NULL, &want);
	base = memmem(want.ptr, want.len, "X-IMAP: ", 8);
	skip = (size_t)(base - want.ptr);
	good = octets.len >= want.len && memcmp(octets.ptr, want.ptr, skip) == 0 &&
	       memcmp(octets.ptr + skip + 30 + BASE_ROOM - 1, want.ptr + skip + 30 + BASE_ROOM - 1,
		      want.len - skip - 30 - BASE_ROOM + 1) == 0;
	ps_buf_finish(&want);
	return good;
}

static bool parse_pseudo_header(struct ps_bytes header, struct pseudo *pseudo, bool *ret_imap)
{
	bool known = false;

	*ret_imap = false;
	while (header.len > 0) {
		struct ps_bytes field = ps_bytes(header.ptr, field_length(header));
		ptrdiff_t colon = ps_bytes_find(field, ':');
		struct ps_bytes name = ps_bytes(field.ptr, colon > 0 ? (size_t)colon : 0);

		header = ps_bytes_skip(header, field.len);
		if (ps_bytes_caseeq_str(name, "X-Postern-Mailbox"))
			known = parse_mailbox(ps_bytes_skip(field, name.len + 1), pseudo);
		if (ps_bytes_caseeq_str(name, "X-IMAP"))
			*ret_imap = base_parse(trim(ps_bytes_skip(field, name.len + 1)), &pseudo->x_validity,
					       &pseudo->x_last);
	}
	return known;
}

bool pseudo_parse(struct ps_bytes octets, struct pseudo *ret_pseudo)
{
	struct pseudo pseudo = {0};
	struct ps_buf want = {0};
	const uint8_t *end;
	struct ps_bytes header;
	bool imap;

	if (octets.len < 5 || memcmp(octets.ptr, "From ", 5) != 0)
		return false;
	end = memmem(octets.ptr, octets.len, "\n\n", 2);
	header = ps_bytes(octets.ptr, end ? (size_t)(end - octets.ptr) + 1 : octets.len);
	end = memchr(header.ptr, '\n', header.len);
	if (!end)
		return false;
	header = ps_bytes_skip(header, (size_t)(end - header.ptr) + 1);
	if (!parse_pseudo_header(header, &pseudo, &imap))
		return false;
	pseudo.in_order = imap && is_in_order(octets, &pseudo);
	if (pseudo.in_order) {
		pseudo_render(&pseudo, NULL, &want);
		pseudo.size = want.len;
		ps_buf_finish(&want);
	}
	*ret_pseudo = pseudo;
	return true;
}
