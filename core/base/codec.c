/* SPDX-License-Identifier: MIT */
/* Base64, hexadecimal, UTF-8: the encodings that several protocols share. */
#include "postern/buf.h"
#include "postern/error.h"

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int ps_base64_encode(struct ps_buf *out, struct ps_bytes in)
{
	uint8_t *to = ps_buf_reserve(out, (in.len + 2) / 3 * 4);

	if (!to)
		return PS_E_LIMIT;
	for (size_t i = 0; i < in.len; i += 3) {
		size_t left = in.len - i;
		unsigned group = (unsigned)in.ptr[i] << 16;

		if (left > 1)
			group |= (unsigned)in.ptr[i + 1] << 8;
		if (left > 2)
			group |= in.ptr[i + 2];
		*to++ = (uint8_t)base64[group >> 18];
		*to++ = (uint8_t)base64[group >> 12 & 63];
		*to++ = left > 1 ? (uint8_t)base64[group >> 6 & 63] : '=';
		*to++ = left > 2 ? (uint8_t)base64[group & 63] : '=';
	}
	out->len += (in.len + 2) / 3 * 4;
	return 0;
}

static int base64_value(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (ps_isdigit(c))
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Four characters to one to three octets; the last group of the input may be padded. */
static int base64_group(const uint8_t *in, bool last, uint8_t out[3])
{
	int pad = in[3] != '=' ? 0 : in[2] != '=' ? 1 : 2;
	unsigned group = 0;

	for (int i = 0; i < 4 - pad; i++) {
		int value = base64_value(in[i]);

		if (value < 0)
			return -1;
		group |= (unsigned)value << (18 - 6 * i);
	}
	if ((pad && !last) || (pad == 1 && (group & 0xff)) || (pad == 2 && (group & 0xffff)))
		return -1;
	out[0] = (uint8_t)(group >> 16);
	out[1] = (uint8_t)(group >> 8);
	out[2] = (uint8_t)group;
	return 3 - pad;
}

int ps_base64_decode(struct ps_buf *out, struct ps_bytes in)
{
	size_t start = out->len;

	if (in.len % 4)
		return ps_fail(PS_E_SYNTAX, "base64: length is not a multiple of 4");
	for (size_t i = 0; i < in.len; i += 4) {
		uint8_t octets[3];
		int n = base64_group(in.ptr + i, i + 4 == in.len, octets);

		if (n < 0) {
			out->len = start;
			return ps_fail(PS_E_SYNTAX, "base64: bad character or padding");
		}
		if (ps_buf_append(out, octets, (size_t)n) < 0)
			return PS_E_LIMIT;
	}
	return 0;
}

int ps_hex_encode(struct ps_buf *out, struct ps_bytes in)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t *to = ps_buf_reserve(out, in.len * 2);

	if (!to)
		return PS_E_LIMIT;
	for (size_t i = 0; i < in.len; i++) {
		*to++ = (uint8_t)digits[in.ptr[i] >> 4];
		*to++ = (uint8_t)digits[in.ptr[i] & 15];
	}
	out->len += in.len * 2;
	return 0;
}

/* Length of the sequence that `p` starts, 0 when it is none. Table 3-7 of the Unicode standard. */
static size_t utf8_sequence(const uint8_t *p, size_t len)
{
	size_t need = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;

	if (need == 0 || need > len)
		return 0;
	for (size_t i = 1; i < need; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
	    (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return need;
}

bool ps_utf8_valid(struct ps_bytes text)
{
	for (size_t i = 0; i < text.len;) {
		size_t n = utf8_sequence(text.ptr + i, text.len - i);

		if (n == 0)
			return false;
		i += n;
	}
	return true;
}
