/* SPDX-License-Identifier: MIT */
/*
 * Modified UTF-7, RFC 3501 section 5.1.3. There is one way to write a name, and decoding takes no other: two
 * spellings of one name would be two keys to one mailbox.
 */
#include <unistr.h>
#include "postern/store.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static int digit_value(uint8_t c)
{
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

static bool is_direct(ucs4_t c)
{
	return c >= 0x20 && c <= 0x7e;
}

static int append_utf8(struct ps_buf *out, ucs4_t c)
{
	uint8_t octets[4];
	int len = u8_uctomb(octets, c, sizeof octets);

	if (len < 0)
		return ps_fail(PS_E_SYNTAX, "mUTF-7: U+%X is no character", (unsigned)c);
	return ps_buf_append(out, octets, (size_t)len);
}

/* What a run of base64 has given so far. */
struct run {
	uint32_t bits;
	unsigned bit_count;
	unsigned high; /* a high surrogate that waits for its other half; 0: none */
	bool any;
};

static int run_unit(struct run *run, unsigned unit, struct ps_buf *out)
{
	bool is_high = unit >= 0xd800 && unit <= 0xdbff, is_low = unit >= 0xdc00 && unit <= 0xdfff;
	ucs4_t c = unit;

	if (is_low != (run->high != 0))
		return ps_fail(PS_E_SYNTAX, "mUTF-7: a lone surrogate");
	run->any = true;
	if (is_high) {
		run->high = unit;
		return 0;
	}
	if (is_low)
		c = 0x10000 + ((run->high - 0xd800) << 10) + (unit - 0xdc00);
	run->high = 0;
	if (is_direct(c))
		return ps_fail(PS_E_SYNTAX, "mUTF-7: '%c' is written as itself", (char)c);
	return append_utf8(out, c);
}

static int run_digit(struct run *run, int value, struct ps_buf *out)
{
	run->bits = run->bits << 6 | (unsigned)value;
	run->bit_count += 6;
	if (run->bit_count < 16)
		return 0;
	run->bit_count -= 16;
	return run_unit(run, run->bits >> run->bit_count & 0xffff, out);
}

static int run_end(const struct run *run)
{
	if (run->high)
		return ps_fail(PS_E_SYNTAX, "mUTF-7: a lone surrogate");
	if (!run->any || run->bit_count >= 6 || (run->bits & ((1u << run->bit_count) - 1)) != 0)
		return ps_fail(PS_E_SYNTAX, "mUTF-7: base64 ends amidst a character");
	return 0;
}

/* Decodes from behind '&' to '-'; `*at` is moved behind that. */
static int decode_run(struct ps_bytes in, size_t *at, struct ps_buf *out)
{
	struct run run = {0};
	int r;

	for (size_t i = *at; i < in.len; i++) {
		int value = digit_value(in.ptr[i]);

		if (in.ptr[i] == '-') {
			*at = i + 1;
			return run_end(&run);
		}
		if (value < 0)
			break;
		if ((r = run_digit(&run, value, out)) < 0)
			return r;
	}
	return ps_fail(PS_E_SYNTAX, "mUTF-7: '&' without '-'");
}

static int decode(struct ps_bytes in, struct ps_buf *out)
{
	size_t at = 0, run_ended = 0;
	int r;

	while (at < in.len) {
		uint8_t c = in.ptr[at++];

		if (!is_direct(c))
			return ps_fail(PS_E_SYNTAX, "mUTF-7: octet 0x%02X", c);
		if (c != '&') {
			r = ps_buf_char(out, (char)c);
		} else if (at < in.len && in.ptr[at] == '-') {
			r = ps_buf_char(out, '&');
			at++;
		} else if (run_ended && run_ended == at - 1) {
			/* Two runs side by side are one run written in two ways. */
			return ps_fail(PS_E_SYNTAX, "mUTF-7: a needless shift");
		} else {
			r = decode_run(in, &at, out);
			run_ended = at;
		}
		if (r < 0)
			return r;
	}
	return 0;
}

int ps_mutf7_decode(struct ps_bytes in, struct ps_buf *out)
{
	size_t before = out->len;
	int r = decode(in, out);

	if (r < 0)
		out->len = before;
	return r;
}

static int encode_unit(struct run *run, unsigned unit, struct ps_buf *out)
{
	int r = 0;

	run->bits = run->bits << 16 | unit;
	run->bit_count += 16;
	while (r == 0 && run->bit_count >= 6) {
		run->bit_count -= 6;
		r = ps_buf_char(out, digits[run->bits >> run->bit_count & 63]);
	}
	return r;
}

static int encode_char(struct run *run, ucs4_t c, struct ps_buf *out)
{
	int r;

	if (c < 0x10000)
		return encode_unit(run, c, out);
	if ((r = encode_unit(run, 0xd800 + ((c - 0x10000) >> 10), out)) < 0)
		return r;
	return encode_unit(run, 0xdc00 + ((c - 0x10000) & 0x3ff), out);
}

static int encode_end(struct run *run, struct ps_buf *out)
{
	if (run->bit_count > 0)
		ps_buf_char(out, digits[run->bits << (6 - run->bit_count) & 63]);
	run->bits = run->bit_count = 0;
	return ps_buf_char(out, '-');
}

int ps_mutf7_encode(struct ps_bytes utf8, struct ps_buf *out)
{
	struct run run = {0};
	bool in_run = false;
	int r = 0;

	if (!ps_utf8_valid(utf8))
		return ps_fail(PS_E_SYNTAX, "mUTF-7: the name is not UTF-8");
	while (utf8.len > 0 && r == 0) {
		ucs4_t c;

		utf8 = ps_bytes_skip(utf8, (size_t)u8_mbtouc(&c, utf8.ptr, utf8.len));
		if (in_run == is_direct(c)) {
			r = in_run ? encode_end(&run, out) : ps_buf_char(out, '&');
			in_run = !in_run;
		}
		if (r < 0)
			break;
		if (in_run)
			r = encode_char(&run, c, out);
		else
			r = c == '&' ? ps_buf_str(out, "&-") : ps_buf_char(out, (char)c);
	}
	return r == 0 && in_run ? encode_end(&run, out) : r;
}
