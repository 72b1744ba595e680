/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include "postern/error.h"
#include "protocols/imap/fetch_binary.h"

struct imap_binary {
	const struct ps_body *body;
	const struct ps_span *span;
	const char *encoding;
	const struct imap_section *section;
	struct ps_body_stream *stream;
	struct ps_decode *decode;
	struct ps_buf decoded;
	uint64_t skip, left; /* decoded octets: to pass over, and to give */
	bool ended;          /* nothing more can be decoded */
	/* What was found out by the first pass. */
	bool measured;
	bool nul;
	uint64_t size;
};

static const struct {
	const char *name;
	bool decodes;
} encodings[] = {
	{"base64", true}, {"quoted-printable", true}, {"7bit", false}, {"8bit", false}, {"binary", false}, {"", false},
};

bool imap_binary_knows(struct ps_bytes encoding)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(encodings); i++)
		if (ps_bytes_eq_str(encoding, encodings[i].name))
			return true;
	return false;
}

bool imap_binary_decodes(struct ps_bytes encoding)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(encodings); i++)
		if (ps_bytes_eq_str(encoding, encodings[i].name))
			return encodings[i].decodes;
	return false;
}

/* To the start. */
static void rewind_part(struct imap_binary *b)
{
	ps_body_stream_destroy(b->stream);
	ps_decode_destroy(b->decode);
	b->stream = ps_body_stream_create(b->body, b->span, 0, b->span->length);
	ps_body_stream_keep_nul(b->stream);
	b->decode = ps_decode_create(b->encoding, NULL);
	b->skip = b->section->partial ? b->section->from : 0;
	b->left = b->section->partial ? b->section->length : UINT64_MAX;
	b->ended = false;
}

struct imap_binary *imap_binary_create(const struct ps_body *body, const struct ps_span *span, const char *encoding,
				       const struct imap_section *section)
{
	struct imap_binary *b = ps_zalloc(sizeof *b);

	b->body = body;
	b->span = span;
	b->encoding = encoding;
	b->section = section;
	rewind_part(b);
	return b;
}

void imap_binary_destroy(struct imap_binary *b)
{
	if (!b)
		return;
	ps_body_stream_destroy(b->stream);
	ps_decode_destroy(b->decode);
	ps_buf_finish(&b->decoded);
	free(b);
}

static int decode_piece(struct imap_binary *b)
{
	struct ps_bytes octets;
	int r = ps_body_stream_next(b->stream, &octets);

	ps_buf_reset(&b->decoded);
	if (r < 0)
		return r;
	if (octets.len > 0)
		return ps_decode_feed(b->decode, octets, &b->decoded);
	b->ended = true;
	return ps_decode_finish(b->decode, &b->decoded);
}

/* What the request has of what was decoded. */
static struct ps_bytes clip(struct imap_binary *b)
{
	struct ps_bytes octets = ps_buf_view(&b->decoded);
	size_t n = b->skip < octets.len ? (size_t)b->skip : octets.len;

	b->skip -= n;
	octets = ps_bytes_skip(octets, n);
	if (octets.len > b->left)
		octets.len = (size_t)b->left;
	b->left -= octets.len;
	return octets;
}

/* The next octets that were asked for, perhaps none yet. 1: that was all. */
static int next_octets(struct imap_binary *b, struct ps_bytes *ret_octets)
{
	int r;

	if (b->ended || b->left == 0)
		return 1;
	if ((r = decode_piece(b)) < 0)
		return r;
	*ret_octets = clip(b);
	return 0;
}

static int measure(struct imap_binary *b, struct imap_cmd *cmd)
{
	struct ps_bytes octets;
	int r;

	while ((r = next_octets(b, &octets)) == 0) {
		b->size += octets.len;
		b->nul |= octets.len > 0 && memchr(octets.ptr, 0, octets.len);
		if (imap_should_yield(cmd))
			return 0;
	}
	return r;
}

static void put_start(const struct imap_binary *b, struct ps_buf *out)
{
	ps_buf_char(out, ' ');
	if (!b->section->size_only)
		ps_buf_str(out, b->nul ? "~{" : "{");
	ps_buf_u64(out, b->size);
	if (!b->section->size_only)
		ps_buf_str(out, "}\r\n");
}

static int send_octets(struct imap_binary *b, struct imap_cmd *cmd)
{
	struct ps_bytes octets;
	int r;

	while ((r = next_octets(b, &octets)) == 0) {
		ps_session_write(cmd->imap->session, octets.ptr, octets.len);
		b->size -= octets.len;
		if (imap_should_yield(cmd))
			return 0;
	}
	if (r > 0 && b->size != 0)
		return ps_fail(PS_E_STORAGE, "a part is not what it was when it was measured");
	return r;
}

int imap_binary_send(struct imap_binary *b, struct imap_cmd *cmd)
{
	int r;

	if (!b->measured) {
		if ((r = measure(b, cmd)) <= 0)
			return r;
		b->measured = true;
		put_start(b, imap_output(cmd->imap));
		if (b->section->size_only)
			return 1;
		rewind_part(b);
	}
	return send_octets(b, cmd);
}
