/* SPDX-License-Identifier: MIT */
#include "core/message/subject.h"
#include "core/message/address.h"

enum {
	/* Of what is longer, the rest is left out: taking off prefixes costs the square. */
	SUBJECT_MAX = 2048
};

/* ---- base subject -------------------------------------------------------------------------- */

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool starts_with(struct ps_bytes text, const char *lower)
{
	size_t len = strlen(lower);

	return text.len >= len && ps_bytes_caseeq_str(ps_bytes(text.ptr, len), lower);
}

static struct ps_bytes skip_blanks(struct ps_bytes text)
{
	while (text.len > 0 && is_blank(text.ptr[0]))
		text = ps_bytes_skip(text, 1);
	return text;
}

/* subj-blob: "[" *BLOBCHAR "]" *WSP */
static bool skip_blob(struct ps_bytes *text)
{
	size_t i = 1;

	if (text->len == 0 || text->ptr[0] != '[')
		return false;
	while (i < text->len && text->ptr[i] != '[' && text->ptr[i] != ']')
		i++;
	if (i == text->len || text->ptr[i] != ']')
		return false;
	*text = skip_blanks(ps_bytes_skip(*text, i + 1));
	return true;
}

/* subj-refwd: ("re" / ("fw" ["d"])) *WSP [subj-blob] ":" */
static bool skip_refwd(struct ps_bytes *text)
{
	struct ps_bytes at = *text;

	if (starts_with(at, "fwd"))
		at = ps_bytes_skip(at, 3);
	else if (starts_with(at, "re") || starts_with(at, "fw"))
		at = ps_bytes_skip(at, 2);
	else
		return false;
	at = skip_blanks(at);
	skip_blob(&at);
	if (at.len == 0 || at.ptr[0] != ':')
		return false;
	*text = ps_bytes_skip(at, 1);
	return true;
}

/* subj-leader: (*subj-blob subj-refwd) / WSP */
static bool skip_leader(struct ps_bytes *text, bool *reply)
{
	struct ps_bytes at = *text;

	if (at.len > 0 && is_blank(at.ptr[0])) {
		*text = skip_blanks(at);
		return true;
	}
	while (skip_blob(&at))
		;
	if (!skip_refwd(&at))
		return false;
	*text = at;
	*reply = true;
	return true;
}

/* subj-trailer: "(fwd)" / WSP */
static bool skip_trailer(struct ps_bytes *text, bool *reply)
{
	size_t len = text->len;

	if (len > 0 && is_blank(text->ptr[len - 1])) {
		text->len--;
		return true;
	}
	if (len < 5 || !ps_bytes_caseeq_str(ps_bytes(text->ptr + len - 5, 5), "(fwd)"))
		return false;
	text->len -= 5;
	*reply = true;
	return true;
}

/* A blob in front goes too, unless nothing would be left. */
static bool skip_lone_blob(struct ps_bytes *text)
{
	struct ps_bytes at = *text;

	if (!skip_blob(&at) || at.len == 0)
		return false;
	*text = at;
	return true;
}

/* subj-fwd-hdr and subj-fwd-trl: "[fwd:" ... "]" */
static bool skip_forwarded(struct ps_bytes *text, bool *reply)
{
	if (!starts_with(*text, "[fwd:") || text->ptr[text->len - 1] != ']')
		return false;
	*text = ps_bytes(text->ptr + 5, text->len - 6);
	*reply = true;
	return true;
}

static struct ps_bytes strip(struct ps_bytes text, bool *reply)
{
	do {
		while (skip_trailer(&text, reply))
			;
		while (skip_leader(&text, reply) || skip_lone_blob(&text))
			;
	} while (skip_forwarded(&text, reply));
	return text;
}

/* At the end of a character. */
static struct ps_bytes shorten(struct ps_bytes text)
{
	if (text.len <= SUBJECT_MAX)
		return text;
	text.len = SUBJECT_MAX;
	while (text.len > 0 && (text.ptr[text.len] & 0xc0) == 0x80)
		text.len--;
	return text;
}

/* Blanks of any kind and number count as one space. */
static void append_spaced(struct ps_bytes text, struct ps_buf *out)
{
	bool blank = false;

	for (size_t i = 0; i < text.len; i++) {
		if (is_blank(text.ptr[i])) {
			blank = true;
			continue;
		}
		if (blank)
			ps_buf_char(out, ' ');
		blank = false;
		ps_buf_char(out, (char)text.ptr[i]);
	}
}

void ps_subject_base(struct ps_bytes text, struct ps_buf *out, bool *ret_reply)
{
	*ret_reply = false;
	append_spaced(strip(shorten(text), ret_reply), out);
}

/* ---- from the cache ------------------------------------------------------------------------ */

bool ps_cache_first_field(const struct ps_cache *cache, const char *name, struct ps_buf *text,
			  struct ps_bytes *ret_value)
{
	struct ps_header_walk walk;
	struct ps_bytes found;

	ps_buf_reset(text);
	if (ps_cache_fields(cache, &name, 1, text) < 0)
		return false;
	walk.rest = ps_buf_view(text);
	return ps_header_next(&walk, &found, ret_value);
}

void ps_cache_base_subject(const struct ps_cache *cache, struct ps_buf *out, bool *ret_reply)
{
	struct ps_buf field = {0}, decoded = {0};
	struct ps_bytes value;

	*ret_reply = false;
	if (ps_cache_first_field(cache, "Subject", &field, &value) && ps_header_decode(value, &decoded) == 0)
		ps_subject_base(ps_buf_view(&decoded), out, ret_reply);
	ps_buf_finish(&field);
	ps_buf_finish(&decoded);
}

static void append_address(const struct address *address, bool display, struct ps_buf *out)
{
	bool group = address->kind == ADDRESS_GROUP;

	if (group || (display && address->name.len > 0)) {
		ps_header_decode(address->name, out);
		return;
	}
	ps_buf_bytes(out, address->local);
	if (!display || address->host.len == 0)
		return;
	ps_buf_char(out, '@');
	ps_buf_bytes(out, address->host);
}

void ps_cache_first_address(const struct ps_cache *cache, const char *field, bool display, struct ps_buf *out)
{
	struct address_list list;
	struct address address;
	struct ps_buf text = {0};
	struct ps_bytes value;

	if (ps_cache_first_field(cache, field, &text, &value)) {
		address_list_init(&list, value);
		if (address_next(&list, &address))
			append_address(&address, display, out);
		address_list_finish(&list);
	}
	ps_buf_finish(&text);
}
