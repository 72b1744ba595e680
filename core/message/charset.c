/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <unicase.h>
#include <uninorm.h>
#include <unistr.h>
#include "core/message/charset.h"
#include "postern/error.h"
#include "postern/message.h"

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */
#define HIGH_BITS   UINT64_C(0x8080808080808080)

/*
 * Names in mail and what iconv is asked for. Where a name is commonly used for a larger relative of what it stands for,
 * the relative is taken: it reads the same octets and more.
 */
static const struct charset_row {
	const char *name, *iconv; /* iconv NULL: no converter is needed */
} rows[] = {
	{"utf-8", NULL},
	{"utf8", NULL},
	{"us-ascii", NULL},
	{"ascii", NULL},
	{"ansi_x3.4-1968", NULL},
	{"iso-8859-1", "CP1252"},
	{"iso8859-1", "CP1252"},
	{"iso_8859-1", "CP1252"},
	{"latin1", "CP1252"},
	{"iso-8859-2", "ISO-8859-2"},
	{"latin2", "ISO-8859-2"},
	{"iso-8859-3", "ISO-8859-3"},
	{"iso-8859-4", "ISO-8859-4"},
	{"iso-8859-5", "ISO-8859-5"},
	{"iso-8859-6", "ISO-8859-6"},
	{"iso-8859-7", "ISO-8859-7"},
	{"iso-8859-8", "ISO-8859-8"},
	{"iso-8859-8-i", "ISO-8859-8"},
	{"iso-8859-9", "CP1254"},
	{"iso-8859-10", "ISO-8859-10"},
	{"iso-8859-11", "CP874"},
	{"iso-8859-13", "ISO-8859-13"},
	{"iso-8859-14", "ISO-8859-14"},
	{"iso-8859-15", "ISO-8859-15"},
	{"iso8859-15", "ISO-8859-15"},
	{"latin-9", "ISO-8859-15"},
	{"iso-8859-16", "ISO-8859-16"},
	{"windows-1250", "CP1250"},
	{"windows-1251", "CP1251"},
	{"windows-1252", "CP1252"},
	{"windows-1253", "CP1253"},
	{"windows-1254", "CP1254"},
	{"windows-1255", "CP1255"},
	{"windows-1256", "CP1256"},
	{"windows-1257", "CP1257"},
	{"windows-1258", "CP1258"},
	{"windows-874", "CP874"},
	{"cp1250", "CP1250"},
	{"cp1251", "CP1251"},
	{"cp1252", "CP1252"},
	{"cp-850", "CP850"},
	{"cp437", "CP437"},
	{"ibm437", "CP437"},
	{"cp850", "CP850"},
	{"ibm850", "CP850"},
	{"ibm852", "CP852"},
	{"cp852", "CP852"},
	{"cp866", "CP866"},
	{"ibm866", "CP866"},
	{"koi8-r", "KOI8-R"},
	{"koi8-u", "KOI8-U"},
	{"tis-620", "CP874"},
	{"macintosh", "MACINTOSH"},
	{"x-mac-roman", "MACINTOSH"},
	{"gb2312", "GB18030"},
	{"gb_2312-80", "GB18030"},
	{"x-gbk", "GB18030"},
	{"gbk", "GB18030"},
	{"cp936", "GB18030"},
	{"euc-cn", "GB18030"},
	{"gb18030", "GB18030"},
	{"big5", "BIG5-HKSCS"},
	{"big5-hkscs", "BIG5-HKSCS"},
	{"cn-big5", "BIG5-HKSCS"},
	{"euc-tw", "EUC-TW"},
	{"shift_jis", "CP932"},
	{"shift-jis", "CP932"},
	{"x-sjis", "CP932"},
	{"sjis", "CP932"},
	{"windows-31j", "CP932"},
	{"cp932", "CP932"},
	{"euc-jp", "EUC-JP"},
	{"iso-2022-jp", "ISO-2022-JP"},
	{"iso-2022-jp-1", "ISO-2022-JP-2"},
	{"iso-2022-jp-2", "ISO-2022-JP-2"},
	{"euc-kr", "CP949"},
	{"ks_c_5601-1987", "CP949"},
	{"ks_c_5601-1989", "CP949"},
	{"cp949", "CP949"},
	{"iso-2022-kr", "ISO-2022-KR"},
	{"utf-7", "UTF-7"},
	{"utf-16", "UTF-16"},
	{"utf-16le", "UTF-16LE"},
	{"utf-16be", "UTF-16BE"},
	{"utf-32", "UTF-32"},
};

/* Opened for good, so that their converters stay loaded. */
static iconv_t preloaded[PS_ARRAY_LEN(rows)];

void ps_charset_preload(void)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(rows); i++)
		if (rows[i].iconv && !preloaded[i])
			preloaded[i] = iconv_open("UTF-8", rows[i].iconv);
}

static const struct charset_row *find_row(const char *name)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(rows); i++)
		if (ps_strcasecmp(name, rows[i].name) == 0)
			return &rows[i];
	return NULL;
}

void charset_init_guess(struct charset *charset)
{
	*charset = (struct charset){.mode = CHARSET_GUESS};
}

int charset_init(struct charset *charset, const char *name)
{
	const struct charset_row *row = name ? find_row(name) : NULL;

	charset_init_guess(charset);
	if (!name)
		return 0;
	if (!row)
		return ps_fail(PS_E_UNSUPPORTED, "charset %.40s is not known", name);
	if (!row->iconv) {
		charset->mode = ps_tolower((unsigned char)name[0]) == 'u' && ps_tolower((unsigned char)name[1]) == 't'
					? CHARSET_UTF8
					: CHARSET_GUESS;
		return 0;
	}
	charset->iconv = iconv_open("UTF-8", row->iconv);
	if (charset->iconv == (iconv_t)-1)
		return ps_fail(PS_E_UNSUPPORTED, "iconv has no converter for %s", row->iconv);
	charset->mode = CHARSET_ICONV;
	/* The base64 of it that was wrong goes on or not by the pieces in which it comes to glibc. */
	charset->restarts = strcmp(row->iconv, "UTF-7") == 0;
	return 0;
}

void charset_finish(struct charset *charset)
{
	if (charset->mode == CHARSET_ICONV)
		iconv_close(charset->iconv);
	*charset = (struct charset){.mode = CHARSET_GUESS};
}

int utf8_ahead(struct ps_bytes text)
{
	ucs4_t c;
	size_t n = text.len < 4 ? text.len : 4;
	int used = u8_mbtoucr(&c, text.ptr, n);

	return used >= 0 ? used : used == -2 ? -1 : 0;
}

static size_t ascii_length(struct ps_bytes text)
{
	size_t n = 0;
	uint64_t words[4];

	for (; text.len - n >= sizeof words; n += sizeof words) {
		memcpy(words, text.ptr + n, sizeof words);
		if ((words[0] | words[1] | words[2] | words[3]) & HIGH_BITS)
			break;
	}
	while (n < text.len && text.ptr[n] < 0x80)
		n++;
	return n;
}

bool charset_is_ascii(struct ps_bytes text)
{
	return ascii_length(text) == text.len;
}

static int invalid(const struct charset *charset, uint8_t octet, struct ps_buf *out)
{
	static const uint16_t c1[32] = {
		0x20ac, 0xfffd, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
		0x2039, 0x0152, 0xfffd, 0x017d, 0xfffd, 0xfffd, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
		0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0xfffd, 0x017e, 0x0178,
	};
	uint8_t utf8[4];
	int n;

	if (charset->strict)
		return ps_fail(PS_E_SYNTAX, "octets that the charset does not have");
	if (charset->mode != CHARSET_GUESS)
		return ps_buf_str(out, REPLACEMENT);
	n = u8_uctomb(utf8, octet >= 0x80 && octet < 0xa0 ? c1[octet - 0x80] : octet, sizeof utf8);
	return n > 0 ? ps_buf_append(out, utf8, (size_t)n) : 0;
}

/* Takes all but what may be the start of a character. */
static int feed_utf8(struct charset *charset, struct ps_bytes *in, struct ps_buf *out)
{
	int r = 0;

	while (in->len && r == 0) {
		size_t n = ascii_length(*in);
		int next;

		r = ps_buf_append(out, in->ptr, n);
		*in = ps_bytes_skip(*in, n);
		if (in->len == 0 || r < 0)
			break;
		next = utf8_ahead(*in);
		if (next < 0)
			break;
		if (next > 0)
			r = ps_buf_append(out, in->ptr, (size_t)next);
		else
			r = invalid(charset, in->ptr[0], out);
		*in = ps_bytes_skip(*in, next > 0 ? (size_t)next : 1);
	}
	return r;
}

static int feed_iconv(struct charset *charset, struct ps_bytes *in, struct ps_buf *out)
{
	for (;;) {
		char *from = (char *)(uintptr_t)in->ptr, *to;
		size_t room = in->len * 2 + 16, left = room, n;
		int err;

		to = (char *)ps_buf_reserve(out, room);
		if (!to)
			return PS_E_LIMIT;
		n = iconv(charset->iconv, &from, &in->len, &to, &left);
		err = n == (size_t)-1 ? errno : 0;
		in->ptr = (const uint8_t *)from;
		out->len += room - left;
		if (err == 0 || err == EINVAL)
			return 0;
		if (err == E2BIG)
			continue;
		if ((err = invalid(charset, in->ptr[0], out)) < 0)
			return err;
		*in = ps_bytes_skip(*in, 1);
		if (charset->restarts)
			iconv(charset->iconv, NULL, NULL, NULL, NULL);
	}
}

static int feed_whole(struct charset *charset, struct ps_bytes *in, struct ps_buf *out)
{
	if (in->len == 0)
		return 0;
	return charset->mode == CHARSET_ICONV ? feed_iconv(charset, in, out) : feed_utf8(charset, in, out);
}

/* Completes what is held with the first octets of `in`, as many as it takes. */
static int feed_held(struct charset *charset, struct ps_bytes *in, struct ps_buf *out)
{
	while (charset->held_len && in->len) {
		struct ps_bytes held;
		int r;

		charset->held[charset->held_len++] = in->ptr[0];
		*in = ps_bytes_skip(*in, 1);
		held = ps_bytes(charset->held, charset->held_len);
		if ((r = feed_whole(charset, &held, out)) < 0)
			return r;
		if (held.len == sizeof charset->held) {
			if ((r = invalid(charset, held.ptr[0], out)) < 0)
				return r;
			held.len = 0;
		}
		memmove(charset->held, held.ptr, held.len);
		charset->held_len = held.len;
	}
	return 0;
}

int charset_feed(struct charset *charset, struct ps_bytes in, struct ps_buf *out)
{
	int r = feed_held(charset, &in, out);

	if (r == 0)
		r = feed_whole(charset, &in, out);
	if (r < 0)
		return r;
	if (in.len > sizeof charset->held - 1)
		return invalid(charset, in.ptr[0], out);
	if (in.len)
		memcpy(charset->held, in.ptr, in.len);
	charset->held_len += in.len;
	return 0;
}

int charset_end(struct charset *charset, struct ps_buf *out)
{
	int r = 0;

	for (size_t i = 0; i < charset->held_len && r == 0; i++)
		r = invalid(charset, charset->held[i], out);
	charset->held_len = 0;
	if (r == 0 && charset->mode == CHARSET_ICONV) {
		size_t room = 64, left = room;
		char *to = (char *)ps_buf_reserve(out, room);

		if (!to)
			return PS_E_LIMIT;
		iconv(charset->iconv, NULL, NULL, &to, &left);
		out->len += room - left;
	}
	return r;
}

int ps_charset_to_utf8(const char *name, struct ps_bytes in, struct ps_buf *out)
{
	struct charset charset;
	size_t start = out->len;
	int r = charset_init(&charset, name);

	if (r < 0)
		return r;
	charset.strict = true;
	r = charset_feed(&charset, in, out);
	if (r == 0)
		r = charset_end(&charset, out);
	charset_finish(&charset);
	if (r < 0)
		out->len = start;
	return r;
}

/* ---- i;unicode-casemap --------------------------------------------------------------------- */

/* Decompositions of decompositions: Unicode's go three deep. */
enum {
	DECOMPOSE_MAX = 8
};

/* RFC 5051 section 2: title case, then decomposition, compatible ones too. What a decomposition gives is brought to
 * title case as well, so that a ligature is found by its letters. */
static void fold_char(ucs4_t c, struct ps_buf *out, int depth)
{
	ucs4_t parts[UC_DECOMPOSITION_MAX_LENGTH];
	uint8_t utf8[6];
	int tag, count, n;

	c = uc_totitle(c);
	count = depth < DECOMPOSE_MAX ? uc_decomposition(c, &tag, parts) : -1;
	for (int i = 0; i < count; i++)
		fold_char(parts[i], out, depth + 1);
	if (count > 0)
		return;
	n = u8_uctomb(utf8, c, sizeof utf8);
	if (n > 0)
		ps_buf_append(out, utf8, (size_t)n);
}

/* Octets below 0x80 in upper case, eight at a time. With 0x1f added, those from 'a' on have their high bit set; with 0x05,
 * those behind 'z'. */
static uint64_t fold_word(uint64_t word)
{
	const uint64_t each = UINT64_C(0x0101010101010101);
	uint64_t lower = (word + 0x1f * each) & ~(word + 0x05 * each) & 0x80 * each;

	return word ^ lower >> 2;
}

/* What is ASCII at the start of the text, folded; gives how much that was. */
static size_t fold_ascii(struct ps_bytes text, uint8_t *to)
{
	size_t n = 0;
	uint64_t word;

	for (; text.len - n >= sizeof word; n += sizeof word) {
		memcpy(&word, text.ptr + n, sizeof word);
		if (word & HIGH_BITS)
			break;
		word = fold_word(word);
		memcpy(to + n, &word, sizeof word);
	}
	for (; n < text.len && text.ptr[n] < 0x80; n++)
		to[n] = (uint8_t)ps_toupper(text.ptr[n]);
	return n;
}

int ps_casefold(struct ps_bytes text, struct ps_buf *out)
{
	while (text.len) {
		uint8_t *to = ps_buf_reserve(out, text.len);
		size_t n = to ? fold_ascii(text, to) : 0;
		ucs4_t c;
		int used;

		if (!to)
			return PS_E_LIMIT;
		out->len += n;
		text = ps_bytes_skip(text, n);
		if (text.len == 0)
			break;
		used = u8_mbtoucr(&c, text.ptr, text.len);
		if (used > 0)
			fold_char(c, out, 0);
		else
			ps_buf_char(out, (char)text.ptr[0]);
		text = ps_bytes_skip(text, used > 0 ? (size_t)used : 1);
	}
	return out->failed ? PS_E_LIMIT : 0;
}
