/* SPDX-License-Identifier: MIT */
#include <time.h>
#include <unistr.h>
#include "core/delivery/report/private.h"
#include "postern/pool.h"

enum {
	FOLD_AT = 76,
	HARD_FOLD_AT = 900,
};

bool report_is_ascii(const char *text)
{
	for (; text && *text; text++)
		if ((uint8_t)*text >= 0x80)
			return false;
	return true;
}

void report_date(int64_t time, struct ps_buf *out)
{
	static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	struct tm tm = {0};
	time_t t = (time_t)time;

	gmtime_r(&t, &tm);
	ps_buf_printf(out, "%.3s, %d %.3s %d %02d:%02d:%02d +0000", days + (ptrdiff_t)tm.tm_wday * 3, tm.tm_mday,
		      months + (ptrdiff_t)tm.tm_mon * 3, tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* How many octets at `at` may stand as they are; 0: the first must be escaped. */
static size_t plain_octets(const uint8_t *at, size_t len, bool utf8)
{
	ucs4_t c;
	int n;

	if (*at < 0x80)
		return *at >= ' ' && *at != 0x7f;
	n = utf8 ? u8_mbtoucr(&c, at, len) : 0;
	/* The other control characters, and those that turn the direction of what follows. */
	if (n <= 0 || c < 0xa0 || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069))
		return 0;
	return (size_t)n;
}

void report_escape(const char *text, bool utf8, size_t max, struct ps_buf *out)
{
	struct ps_bytes rest = ps_bytes_str(text);
	size_t start = out->len;

	while (rest.len > 0) {
		size_t n = plain_octets(rest.ptr, rest.len, utf8);

		if (out->len - start + (n ? n : 4) > max) {
			ps_buf_str(out, "...");
			return;
		}
		if (n > 0)
			ps_buf_append(out, rest.ptr, n);
		else if (strchr("\r\n\t", rest.ptr[0]))
			ps_buf_char(out, ' ');
		else
			ps_buf_printf(out, "\\x%02X", rest.ptr[0]);
		rest = ps_bytes_skip(rest, n ? n : 1);
	}
}

void report_quoted_printable(struct ps_bytes text, struct ps_buf *out)
{
	size_t column = 0;

	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.ptr[i];
		bool ends = i + 1 == text.len || text.ptr[i + 1] == '\n';
		bool plain = c < 0x7f && c > ' ' && c != '=';

		if (c == '\n') {
			ps_buf_str(out, "\r\n");
			column = 0;
			continue;
		}
		if (column + (plain ? 1 : 3) > FOLD_AT - 1) {
			ps_buf_str(out, "=\r\n");
			column = 0;
		}
		if (plain || (c == ' ' && !ends)) {
			ps_buf_char(out, (char)c);
			column++;
		} else {
			ps_buf_printf(out, "=%02X", c);
			column += 3;
		}
	}
}

/* Where the line ends: at the last blank that fits, or else the next; only what no line may hold is cut, and not within a character. */
static size_t line_length(struct ps_bytes text, size_t room)
{
	size_t len = room;

	if (text.len <= room)
		return text.len;
	while (len > 0 && text.ptr[len] != ' ')
		len--;
	for (len = len ? len : room; len < text.len && text.ptr[len] != ' ' && len < HARD_FOLD_AT; len++)
		;
	while (len == HARD_FOLD_AT && len < text.len && (text.ptr[len] & 0xc0) == 0x80)
		len++;
	return len;
}

void report_field(const char *name, struct ps_bytes value, struct ps_buf *out)
{
	size_t room = FOLD_AT - strlen(name) - 2;

	ps_buf_printf(out, "%s: ", name);
	do {
		size_t len = line_length(value, room);

		ps_buf_append(out, value.ptr, len);
		value = ps_bytes_skip(value, len);
		while (value.len && value.ptr[0] == ' ')
			value = ps_bytes_skip(value, 1);
		ps_buf_str(out, value.len ? "\r\n " : "\r\n");
		room = FOLD_AT - 1;
	} while (value.len > 0);
}
