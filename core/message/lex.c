/* SPDX-License-Identifier: MIT */
#include "core/message/lex.h"

bool lex_take(struct lex *lex, int c)
{
	if (lex_peek(lex) != c)
		return false;
	lex->at++;
	return true;
}

/* At '('. Comments nest; a count is enough, so that depth costs nothing. */
static void skip_comment(struct lex *lex, struct ps_buf *out)
{
	size_t depth = 0;

	if (out)
		ps_buf_reset(out);
	for (; lex->at < lex->end; lex->at++) {
		int c = *lex->at;

		if (c == '(' && depth++ == 0)
			continue;
		if (c == ')' && --depth == 0) {
			lex->at++;
			return;
		}
		if (c == '\\' && lex->at + 1 < lex->end)
			c = *++lex->at;
		if (out && c != '\r' && c != '\n')
			ps_buf_char(out, (char)c);
	}
}

bool lex_skip_cfws(struct lex *lex, struct ps_buf *comment)
{
	const uint8_t *start = lex->at;

	for (;;) {
		while (lex->at < lex->end && lex_is_blank(*lex->at))
			lex->at++;
		if (lex_peek(lex) != '(')
			return lex->at != start;
		skip_comment(lex, comment);
	}
}

static bool is_token_char(int c)
{
	return c > ' ' && c != 0x7f && !strchr("()<>@,;:\\\"/[]?=", c);
}

bool lex_token(struct lex *lex, struct ps_buf *out)
{
	const uint8_t *start = lex->at;

	while (lex->at < lex->end && is_token_char(*lex->at))
		lex->at++;
	ps_buf_append(out, start, (size_t)(lex->at - start));
	return lex->at != start;
}

void lex_quoted(struct lex *lex, struct ps_buf *out)
{
	for (lex->at++; lex->at < lex->end; lex->at++) {
		int c = *lex->at;

		if (c == '"') {
			lex->at++;
			return;
		}
		if (c == '\\' && lex->at + 1 < lex->end)
			c = *++lex->at;
		if (c != '\r' && c != '\n')
			ps_buf_char(out, (char)c);
	}
}

static struct ps_bytes trim(struct ps_bytes value)
{
	while (value.len && lex_is_blank(value.ptr[0]))
		value = ps_bytes_skip(value, 1);
	while (value.len && lex_is_blank(value.ptr[value.len - 1]))
		value.len--;
	return value;
}

void text_unfold(struct ps_bytes value, struct ps_buf *out)
{
	value = trim(value);
	while (value.len) {
		ptrdiff_t lf = ps_bytes_find(value, '\n');
		size_t n = lf < 0 ? value.len : (size_t)lf;
		size_t keep = lf > 0 && value.ptr[lf - 1] == '\r' ? n - 1 : n;

		ps_buf_append(out, value.ptr, keep);
		value = ps_bytes_skip(value, lf < 0 ? n : n + 1);
	}
}

/* RFC 3501 QUOTED-CHAR, and not so long that a client's line buffer would suffer. */
static bool fits_quoted(struct ps_bytes text)
{
	if (text.len > 1000)
		return false;
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] >= 0x80 || text.ptr[i] == '\r' || text.ptr[i] == '\n' || text.ptr[i] == 0)
			return false;
	return true;
}

void imap_nstring(struct ps_buf *out, struct ps_bytes text)
{
	if (!text.ptr) {
		ps_buf_str(out, "NIL");
		return;
	}
	if (!fits_quoted(text)) {
		ps_buf_char(out, '{');
		ps_buf_u64(out, text.len);
		ps_buf_str(out, "}\r\n");
		ps_buf_bytes(out, text);
		return;
	}
	ps_buf_char(out, '"');
	for (size_t i = 0, start = 0; i <= text.len; i++) {
		if (i < text.len && text.ptr[i] != '"' && text.ptr[i] != '\\')
			continue;
		ps_buf_append(out, text.ptr + start, i - start);
		if (i < text.len)
			ps_buf_char(out, '\\');
		start = i;
	}
	ps_buf_char(out, '"');
}
