/* SPDX-License-Identifier: MIT */
#include "postern/io.h"

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static bool is_plain(uint8_t c, char separator)
{
	return c >= 0x20 && c < 0x7f && c != separator;
}

/* The next character of valid UTF-8. */
static uint32_t utf8_next(struct ps_bytes *text)
{
	uint8_t first = text->ptr[0];
	size_t len = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
	uint32_t c = len == 1 ? first : first & (0x7fu >> len);

	for (size_t i = 1; i < len; i++)
		c = c << 6 | (text->ptr[i] & 0x3f);
	*text = ps_bytes_skip(*text, len);
	return c;
}

static void put_utf8(struct ps_buf *out, uint32_t c)
{
	if (c < 0x80) {
		ps_buf_char(out, (char)c);
	} else if (c < 0x800) {
		ps_buf_char(out, (char)(0xc0 | c >> 6));
		ps_buf_char(out, (char)(0x80 | (c & 0x3f)));
	} else if (c < 0x10000) {
		ps_buf_char(out, (char)(0xe0 | c >> 12));
		ps_buf_char(out, (char)(0x80 | (c >> 6 & 0x3f)));
		ps_buf_char(out, (char)(0x80 | (c & 0x3f)));
	} else {
		ps_buf_char(out, (char)(0xf0 | c >> 18));
		ps_buf_char(out, (char)(0x80 | (c >> 12 & 0x3f)));
		ps_buf_char(out, (char)(0x80 | (c >> 6 & 0x3f)));
		ps_buf_char(out, (char)(0x80 | (c & 0x3f)));
	}
}

struct shift {
	uint32_t bits;
	int count;
};

static void put_unit(struct ps_buf *out, struct shift *shift, uint32_t unit)
{
	shift->bits = shift->bits << 16 | unit;
	shift->count += 16;
	for (; shift->count >= 6; shift->count -= 6)
		ps_buf_char(out, base64[shift->bits >> (shift->count - 6) & 63]);
}

/* A run of characters that are not plain, as &...- */
static void encode_run(struct ps_bytes *text, char separator, struct ps_buf *out)
{
	struct shift shift = {0};

	ps_buf_char(out, '&');
	while (text->len > 0 && !is_plain(text->ptr[0], separator) && text->ptr[0] != '/') {
		uint32_t c = utf8_next(text);

		if (c >= 0x10000) {
			put_unit(out, &shift, 0xd800 + ((c - 0x10000) >> 10));
			c = 0xdc00 + ((c - 0x10000) & 0x3ff);
		}
		put_unit(out, &shift, c);
	}
	if (shift.count > 0)
		ps_buf_char(out, base64[shift.bits << (6 - shift.count) & 63]);
	ps_buf_char(out, '-');
}

static void encode_octet(struct ps_bytes *text, struct ps_buf *out)
{
	struct shift shift = {0};

	ps_buf_char(out, '&');
	put_unit(out, &shift, text->ptr[0]);
	ps_buf_char(out, base64[shift.bits << (6 - shift.count) & 63]);
	ps_buf_char(out, '-');
	*text = ps_bytes_skip(*text, 1);
}

void ps_filename_encode(struct ps_bytes name, char separator, ps_filename_coded_fn coded, struct ps_buf *out)
{
	struct ps_bytes whole = name;

	while (name.len > 0) {
		uint8_t c = name.ptr[0];

		if (coded && coded(whole, (size_t)(name.ptr - whole.ptr))) {
			encode_octet(&name, out);
			continue;
		}
		if (!is_plain(c, separator) && c != '/') {
			encode_run(&name, separator, out);
			continue;
		}
		if (c == '&')
			ps_buf_str(out, "&-");
		else
			ps_buf_char(out, c == '/' ? separator : (char)c);
		name = ps_bytes_skip(name, 1);
	}
}

static int base64_value(uint8_t c)
{
	const char *at = c ? strchr(base64, c) : NULL;

	return at ? (int)(at - base64) : -1;
}

/* Behind the '&': UTF-16 to UTF-8, to the '-'. Strictness is the caller's: it encodes again and compares. */
static bool decode_run(struct ps_bytes *dir, struct ps_buf *out)
{
	struct shift shift = {0};
	uint32_t high = 0;

	while (dir->len > 0 && dir->ptr[0] != '-') {
		int value = base64_value(dir->ptr[0]);
		uint32_t unit;

		if (value < 0)
			return false;
		shift.bits = (shift.bits << 6 | (uint32_t)value) & 0x3fffff;
		shift.count += 6;
		*dir = ps_bytes_skip(*dir, 1);
		if (shift.count < 16)
			continue;
		shift.count -= 16;
		unit = shift.bits >> shift.count & 0xffff;
		if (unit >= 0xd800 && unit < 0xdc00)
			high = unit;
		else if (unit >= 0xdc00 && unit < 0xe000)
			put_utf8(out, 0x10000 + ((high - 0xd800) << 10 & 0xffc00) + (unit - 0xdc00));
		else
			put_utf8(out, unit);
	}
	if (dir->len == 0)
		return false;
	*dir = ps_bytes_skip(*dir, 1);
	return true;
}

bool ps_filename_decode(struct ps_bytes dir, char separator, struct ps_buf *out)
{
	while (dir.len > 0) {
		uint8_t c = dir.ptr[0];

		dir = ps_bytes_skip(dir, 1);
		if (c == '&' && dir.len > 0 && dir.ptr[0] == '-') {
			ps_buf_char(out, '&');
			dir = ps_bytes_skip(dir, 1);
		} else if (c == '&') {
			if (!decode_run(&dir, out))
				return false;
		} else if (c == (uint8_t)separator) {
			ps_buf_char(out, '/');
		} else if (is_plain(c, separator) && c != '/') {
			ps_buf_char(out, (char)c);
		} else {
			return false;
		}
	}
	return !out->failed;
}
