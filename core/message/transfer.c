/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include "core/message/charset.h"
#include "core/message/transfer.h"
#include "postern/message.h"

enum {
	BLANKS_MAX = 4096
};

int hex_value(int c)
{
	if (ps_isdigit(c))
		return c - '0';
	c = ps_tolower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void transfer_init(struct transfer *t, const char *encoding)
{
	*t = (struct transfer){.kind = TRANSFER_IDENTITY, .blanks.limit = BLANKS_MAX};
	if (encoding && ps_strcasecmp(encoding, "base64") == 0)
		t->kind = TRANSFER_BASE64;
	else if (encoding && ps_strcasecmp(encoding, "quoted-printable") == 0)
		t->kind = TRANSFER_QUOTED;
}

void transfer_finish(struct transfer *t)
{
	ps_buf_finish(&t->blanks);
}

/* ---- base64 -------------------------------------------------------------------------------- */

#define NO   0xff
#define PAD  0xfe
#define NO_8 NO, NO, NO, NO, NO, NO, NO, NO

static const uint8_t base64_values[128] = {
	NO_8, NO_8, NO_8, NO_8, NO_8, NO, NO, NO, 62, NO, NO, NO, 63, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, NO,
	NO,   NO,   PAD,  NO,   NO,   NO, 0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17,
	18,   19,   20,   21,   22,   23, 24, 25, NO, NO, NO, NO, NO, NO, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35,
	36,   37,   38,   39,   40,   41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, NO, NO, NO, NO, NO,
};

/* The group in hand as it is: padding, or the end, has cut it short. One character alone is no octet. */
static uint8_t *base64_flush(struct transfer *t, uint8_t *to)
{
	if (t->count >= 2)
		*to++ = (uint8_t)(t->bits >> (t->count == 2 ? 4 : 10));
	if (t->count == 3)
		*to++ = (uint8_t)(t->bits >> 2);
	t->count = 0;
	t->bits = 0;
	return to;
}

static void base64_feed(struct transfer *t, struct ps_bytes in, struct ps_buf *out)
{
	uint8_t *start = ps_buf_reserve(out, in.len / 4 * 3 + 6), *to = start;

	if (!start)
		return;
	for (size_t i = 0; i < in.len; i++) {
		uint8_t value = in.ptr[i] < 128 ? base64_values[in.ptr[i]] : NO;

		if (value == NO)
			continue;
		if (value == PAD) {
			to = base64_flush(t, to);
			continue;
		}
		t->bits = t->bits << 6 | value;
		if (++t->count == 4) {
			*to++ = (uint8_t)(t->bits >> 16);
			*to++ = (uint8_t)(t->bits >> 8);
			*to++ = (uint8_t)t->bits;
			t->count = 0;
			t->bits = 0;
		}
	}
	out->len += (size_t)(to - start);
}

/* ---- quoted-printable ---------------------------------------------------------------------- */

static void quoted_blanks(struct transfer *t, struct ps_buf *out)
{
	ps_buf_bytes(out, ps_buf_view(&t->blanks));
	ps_buf_reset(&t->blanks);
}

static void quoted_plain(struct transfer *t, uint8_t c, struct ps_buf *out)
{
	if (c == ' ' || c == '\t') {
		if (ps_buf_char(&t->blanks, (char)c) < 0) {
			quoted_blanks(t, out);
			ps_buf_char(out, (char)c);
		}
		return;
	}
	if (c == '\r' || c == '\n')
		ps_buf_reset(&t->blanks);
	else if (t->blanks.len)
		quoted_blanks(t, out);
	ps_buf_char(out, (char)c);
}

/* Blanks ahead of '=' are not at the end of a line, even if one ends right behind it. */
static void quoted_soft_end(struct transfer *t, struct ps_buf *out)
{
	t->held_len = 0;
	quoted_blanks(t, out);
}

/* Behind '=': two digits, or a line end (blanks may be ahead of it), which both go. Anything else stays as it is. */
static bool quoted_held(struct transfer *t, uint8_t c, struct ps_buf *out)
{
	uint8_t first = t->held_len > 1 ? t->held[1] : 0;

	if (t->held_len == 1 && (hex_value(c) >= 0 || c == '\r' || c == ' ' || c == '\t')) {
		t->held[t->held_len++] = c;
		return true;
	}
	if (t->held_len == 1 && c == '\n') {
		quoted_soft_end(t, out);
		return true;
	}
	if (hex_value(first) >= 0 && hex_value(c) >= 0) {
		t->held_len = 0;
		quoted_blanks(t, out);
		ps_buf_char(out, (char)(hex_value(first) * 16 + hex_value(c)));
		return true;
	}
	if (first && hex_value(first) < 0 && (c == '\r' || c == ' ' || c == '\t')) {
		t->held[1] = c;
		return true;
	}
	if (first && hex_value(first) < 0 && c == '\n') {
		quoted_soft_end(t, out);
		return true;
	}
	return false;
}

static void quoted_unhold(struct transfer *t, struct ps_buf *out)
{
	unsigned n = t->held_len;

	t->held_len = 0;
	for (unsigned i = 0; i < n; i++)
		quoted_plain(t, t->held[i], out);
}

static void quoted_feed(struct transfer *t, struct ps_bytes in, struct ps_buf *out)
{
	for (size_t i = 0; i < in.len; i++) {
		uint8_t c = in.ptr[i];

		if (t->held_len && quoted_held(t, c, out))
			continue;
		quoted_unhold(t, out);
		if (c == '=')
			t->held[t->held_len++] = c;
		else
			quoted_plain(t, c, out);
	}
}

void transfer_feed(struct transfer *t, struct ps_bytes in, struct ps_buf *out)
{
	switch (t->kind) {
	case TRANSFER_IDENTITY: ps_buf_bytes(out, in); break;
	case TRANSFER_BASE64: base64_feed(t, in, out); break;
	case TRANSFER_QUOTED: quoted_feed(t, in, out); break;
	}
}

void transfer_end(struct transfer *t, struct ps_buf *out)
{
	uint8_t octets[2];

	if (t->kind == TRANSFER_BASE64)
		ps_buf_append(out, octets, (size_t)(base64_flush(t, octets) - octets));
	quoted_unhold(t, out);
	ps_buf_reset(&t->blanks);
}

/* ---- with a charset ------------------------------------------------------------------------ */

struct ps_decode {
	struct transfer transfer;
	struct charset charset;
	bool convert;
	struct ps_buf octets; /* between the two */
};

struct ps_decode *ps_decode_create(const char *encoding, const char *charset)
{
	struct ps_decode *d = ps_zalloc(sizeof *d);

	transfer_init(&d->transfer, encoding);
	d->convert = charset != NULL;
	if (!charset || charset_init(&d->charset, charset) < 0)
		charset_init_guess(&d->charset);
	return d;
}

void ps_decode_destroy(struct ps_decode *d)
{
	if (!d)
		return;
	transfer_finish(&d->transfer);
	charset_finish(&d->charset);
	ps_buf_finish(&d->octets);
	free(d);
}

/* Of charsets with a converter many keep it, too, but not all. */
bool decode_keeps_ascii(const struct ps_decode *d)
{
	return d->transfer.kind == TRANSFER_IDENTITY && d->charset.mode != CHARSET_ICONV;
}

static int convert(struct ps_decode *d, struct ps_buf *out)
{
	int r = d->octets.failed ? PS_E_LIMIT : charset_feed(&d->charset, ps_buf_view(&d->octets), out);

	ps_buf_reset(&d->octets);
	return r;
}

int ps_decode_feed(struct ps_decode *d, struct ps_bytes in, struct ps_buf *out)
{
	if (!d->convert) {
		transfer_feed(&d->transfer, in, out);
		return out->failed ? PS_E_LIMIT : 0;
	}
	if (d->transfer.kind == TRANSFER_IDENTITY)
		return charset_feed(&d->charset, in, out);
	transfer_feed(&d->transfer, in, &d->octets);
	return convert(d, out);
}

int ps_decode_finish(struct ps_decode *d, struct ps_buf *out)
{
	int r;

	if (!d->convert) {
		transfer_end(&d->transfer, out);
		return out->failed ? PS_E_LIMIT : 0;
	}
	transfer_end(&d->transfer, &d->octets);
	r = convert(d, out);
	return r < 0 ? r : charset_end(&d->charset, out);
}
