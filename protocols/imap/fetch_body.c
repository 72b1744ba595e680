/* SPDX-License-Identifier: MIT */
#include "postern/error.h"
#include "protocols/imap/fetch_binary.h"
#include "protocols/imap/fetch_body.h"

enum {
	SEND_FILE_MIN =
		32 << 10, /* up to here one read and one send cost less than what keeps a file open until it is sent */
};

/* Where the octets of a section are. */
struct imap_found {
	enum {
		FOUND_NOTHING,
		FOUND_TEXT,
		FOUND_SPAN,
		FOUND_FILE,
		FOUND_SIZE,
		FOUND_DECODED, /* `span` is what is to be decoded; its encoding is at `offset` */
	} where;
	struct ps_span span;     /* of the message */
	size_t offset, length;   /* of sections->text */
	uint64_t at, from, size; /* of the body's file; of the span: what of it is asked for */
};

void imap_sections_init(struct imap_sections *sections, const struct imap_section *wanted, struct ps_pool *pool)
{
	size_t count = 0;

	for (const struct imap_section *s = wanted; s; s = s->next)
		count++;
	*sections = (struct imap_sections){.wanted = wanted, .found = PS_NEWV(pool, struct imap_found, count)};
}

void imap_sections_leave(struct imap_sections *sections)
{
	ps_body_stream_destroy(sections->stream);
	sections->stream = NULL;
	imap_binary_destroy(sections->binary);
	sections->binary = NULL;
	sections->at = NULL;
	if (sections->view)
		ps_view_body_close(sections->view, &sections->body);
	sections->view = NULL;
	ps_buf_reset(&sections->text);
}

void imap_sections_rest(struct imap_sections *sections)
{
	if (sections->view)
		ps_view_body_rest(sections->view, &sections->body);
}

void imap_sections_finish(struct imap_sections *sections)
{
	imap_sections_leave(sections);
	ps_buf_finish(&sections->text);
}

/* ---- finding ---------------------------------------------------------------------------------- */

/* Which octets of a section of `length` are asked for. */
static void clip(const struct imap_section *section, uint64_t length, uint64_t *ret_from, uint64_t *ret_length)
{
	*ret_from = 0;
	*ret_length = length;
	if (!section->partial)
		return;
	*ret_from = section->from < length ? section->from : length;
	*ret_length = length - *ret_from;
	if (*ret_length > section->length)
		*ret_length = section->length;
}

static int open_body(struct imap_sections *sections, struct ps_view *view, uint32_t uid)
{
	int r = sections->view ? 0 : ps_view_body(view, uid, &sections->body);

	if (r == 0)
		sections->view = view;
	return r;
}

static int append_octets(void *out, struct ps_bytes octets)
{
	return ps_buf_bytes(out, octets);
}

/* Fields that the cache does not keep: from the header itself. */
static int filter_header(struct imap_sections *sections, const struct imap_section *section, const struct ps_span *span)
{
	struct ps_buf header = {0};
	int r = ps_body_read(&sections->body, span, 0, span->length, append_octets, &header);

	if (r == 0)
		r = ps_header_filter(ps_buf_view(&header), section->names, section->name_count, section->except,
				     &sections->text);
	ps_buf_finish(&header);
	return r;
}

static bool fields_in_cache(const struct imap_section *section)
{
	if (section->depth > 0 || section->except)
		return false;
	for (size_t i = 0; i < section->name_count; i++)
		if (!ps_cache_has_field(section->names[i]))
			return false;
	return true;
}

static int find_fields(struct imap_sections *sections, const struct imap_section *section, struct imap_found *found,
		       const struct ps_cache *cache, struct ps_view *view, uint32_t uid)
{
	int r;

	found->where = FOUND_TEXT;
	found->offset = sections->text.len;
	if (fields_in_cache(section))
		r = ps_cache_fields(cache, section->names, section->name_count, &sections->text);
	else if ((r = open_body(sections, view, uid)) == 0)
		r = filter_header(sections, section, &found->span);
	ps_buf_str(&sections->text, "\r\n"); /* the blank line is always there */
	found->length = sections->text.len - found->offset;
	return r;
}

/* Most parts need no decoding: 0, what is sent is what lies there. */
static int find_encoding(struct imap_sections *sections, const struct imap_section *section, struct imap_found *found,
			 const struct ps_cache *cache)
{
	struct ps_bytes encoding;
	int r = ps_cache_encoding(cache, section->part, section->depth, &encoding);

	if (r < 0)
		return r;
	if (!imap_binary_knows(encoding))
		return ps_fail(PS_E_UNSUPPORTED, "an unknown transfer encoding");
	if (!imap_binary_decodes(encoding) && section->size_only) {
		found->where = FOUND_SIZE;
		return 1;
	}
	if (!imap_binary_decodes(encoding) && !ps_cache_has_nul(cache))
		return 0;
	found->where = FOUND_DECODED;
	found->offset = sections->text.len;
	ps_buf_bytes(&sections->text, encoding);
	ps_buf_char(&sections->text, '\0');
	return 1;
}

static int find_section(struct imap_sections *sections, const struct imap_section *section, struct imap_found *found,
			const struct ps_cache *cache, struct ps_view *view, uint32_t uid)
{
	int r = ps_cache_section(cache, section->part, section->depth, section->what, &found->span);

	if (r == PS_E_NOTFOUND) {
		found->where = FOUND_NOTHING;
		return 0;
	}
	if (r < 0)
		return r;
	if (section->fields)
		return find_fields(sections, section, found, cache, view, uid);
	if (section->decoded && (r = find_encoding(sections, section, found, cache)) != 0)
		return r < 0 ? r : open_body(sections, view, uid);
	found->where = FOUND_SPAN;
	clip(section, found->span.length, &found->from, &found->size);
	if ((r = open_body(sections, view, uid)) < 0)
		return r;
	if (found->size >= SEND_FILE_MIN &&
	    ps_body_lies_as_sent(&sections->body, cache, &found->span, found->from, found->size, &found->at))
		found->where = FOUND_FILE;
	return 0;
}

int imap_sections_find(struct imap_sections *sections, struct ps_view *view, uint32_t uid, const struct ps_cache *cache)
{
	struct imap_found *found = sections->found;
	int r = 0;

	imap_sections_leave(sections);
	for (const struct imap_section *s = sections->wanted; r == 0 && s; s = s->next)
		r = find_section(sections, s, found++, cache, view, uid);
	if (r < 0) {
		imap_sections_leave(sections);
		return r;
	}
	sections->at = sections->wanted;
	sections->at_found = sections->found;
	return 0;
}

/* ---- sending ---------------------------------------------------------------------------------- */

static void put_literal_start(struct ps_buf *out, uint64_t length)
{
	ps_buf_str(out, " {");
	ps_buf_u64(out, length);
	ps_buf_str(out, "}\r\n");
}

/* The label, and all of what is in memory or lies ready in the file; for the rest a stream is opened. */
static int start_section(struct imap_sections *sections, struct imap_cmd *cmd)
{
	const struct imap_section *section = sections->at;
	const struct imap_found *found = sections->at_found;
	struct ps_buf *out = imap_output(cmd->imap);
	uint64_t from, length;

	ps_buf_bytes(out, section->label);
	switch (found->where) {
	case FOUND_NOTHING: ps_buf_str(out, section->size_only ? " 0" : " NIL"); break;
	case FOUND_SIZE:
		ps_buf_char(out, ' ');
		ps_buf_u64(out, found->span.length);
		break;
	case FOUND_DECODED:
		sections->binary = imap_binary_create(&sections->body, &found->span,
						      (const char *)sections->text.ptr + found->offset, section);
		break;
	case FOUND_TEXT:
		clip(section, found->length, &from, &length);
		put_literal_start(out, length);
		ps_buf_append(out, sections->text.ptr + found->offset + from, length);
		break;
	case FOUND_SPAN:
		put_literal_start(out, found->size);
		sections->stream = ps_body_stream_create(&sections->body, &found->span, found->from, found->size);
		break;
	case FOUND_FILE:
		put_literal_start(out, found->size);
		return ps_session_send_file(cmd->imap->session, sections->body.fd, found->at, found->size);
	}
	return 0;
}

/* 1: the section is sent; 0: yield. */
static int send_stream(struct imap_sections *sections, struct imap_cmd *cmd)
{
	struct ps_bytes octets;
	int r;

	while ((r = ps_body_stream_next(sections->stream, &octets)) == 0 && octets.len > 0) {
		ps_session_write(cmd->imap->session, octets.ptr, octets.len);
		if (imap_should_yield(cmd))
			return 0;
	}
	ps_body_stream_destroy(sections->stream);
	sections->stream = NULL;
	return r < 0 ? r : 1;
}

int imap_sections_send(struct imap_sections *sections, struct imap_cmd *cmd, bool first)
{
	while (sections->at) {
		int r = 0;

		if (!sections->stream && !sections->binary) {
			if (!first || sections->at != sections->wanted)
				ps_buf_char(imap_output(cmd->imap), ' ');
			r = start_section(sections, cmd);
		}
		if (r == 0)
			r = sections->binary   ? imap_binary_send(sections->binary, cmd)
			    : sections->stream ? send_stream(sections, cmd)
					       : 1;
		if (r <= 0)
			return r;
		imap_binary_destroy(sections->binary);
		sections->binary = NULL;
		sections->at = sections->at->next;
		sections->at_found++;
	}
	return 1;
}
