/* SPDX-License-Identifier: MIT */
/*
 * RFC 5322 section 3.6.4, read leniently: an id is what stands between "<" and ">", with an "@" that has something on
 * both sides. Much software writes ids that the grammar forbids, and means them.
 */
#include "core/message/msgid.h"
#include "core/message/lex.h"

/* What ends each kind of bracketed text, which may hold ">". NULL: none begins here. Another "<" ends all of them, so that
 * one that is not closed takes nothing of the next id. */
static const char *closing(int c)
{
	switch (c) {
	case '"': return "\"";
	case '(': return ")";
	case '[': return "]";
	default: return NULL;
	}
}

/* At one of them: quoted text and domain literals belong to the id, comments do not. */
static void take_bracketed(struct lex *lex, char close, struct ps_buf *out)
{
	unsigned depth = 0;

	if (close == ']')
		ps_buf_char(out, '[');
	for (lex->at++; lex_peek(lex) >= 0 && lex_peek(lex) != '<'; lex->at++) {
		int c = lex_peek(lex);

		depth += close == ')' && c == '(';
		if (c == close && depth-- == 0)
			break;
		if (c == '\\' && lex->at + 1 < lex->end)
			c = *++lex->at;
		if (close != ')' && c != '\r' && c != '\n')
			ps_buf_char(out, (char)c);
	}
	if (lex_take(lex, close) && close == ']')
		ps_buf_char(out, ']');
}

/* Behind "<". *ret_at: where the "@" is, 0: there is none. False: it does not end, or another one begins. */
static bool take_id(struct lex *lex, struct ps_buf *out, size_t *ret_at)
{
	*ret_at = 0;
	for (int c; (c = lex_peek(lex)) >= 0 && c != '<';) {
		const char *close = closing(c);

		if (close) {
			take_bracketed(lex, *close, out);
			continue;
		}
		lex->at++;
		if (c == '>')
			return true;
		if (c == '@')
			*ret_at = out->len;
		if (!lex_is_blank(c))
			ps_buf_char(out, (char)c);
	}
	return false;
}

bool ps_msgid_next(struct ps_bytes *rest, struct ps_buf *ret_id)
{
	struct lex lex = lex_start(*rest);
	bool found = false;

	while (!found && !lex_done(&lex)) {
		size_t at;

		if (*lex.at++ != '<')
			continue;
		ps_buf_reset(ret_id);
		found = take_id(&lex, ret_id, &at) && at > 0 && at + 1 < ret_id->len;
	}
	*rest = ps_bytes(lex.at, (size_t)(lex.end - lex.at));
	return found;
}
