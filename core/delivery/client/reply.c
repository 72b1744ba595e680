/* SPDX-License-Identifier: MIT */
#include "core/delivery/client/reply.h"
#include "postern/error.h"
#include "postern/pool.h"

void smtp_reply_init(struct smtp_reply *reply)
{
	*reply = (struct smtp_reply){.line = {.limit = REPLY_LINE_MAX}, .text = {.limit = REPLY_TEXT_MAX}};
}

void smtp_reply_finish(struct smtp_reply *reply)
{
	ps_buf_finish(&reply->text);
	ps_buf_finish(&reply->lines);
	ps_buf_finish(&reply->line);
}

static void begin(struct smtp_reply *reply)
{
	reply->code = 0;
	reply->enhanced[0] = '\0';
	ps_buf_reset(&reply->text);
	ps_buf_reset(&reply->lines);
	ps_buf_reset(&reply->line);
	reply->count = 0;
	reply->whole = false;
}

void smtp_escape(struct ps_buf *out, struct ps_bytes in)
{
	for (size_t i = 0; i < in.len && !out->failed; i++) {
		uint8_t c = in.ptr[i];

		if (c == '\\')
			ps_buf_str(out, "\\\\");
		else if (c >= ' ' && c < 0x7f)
			ps_buf_char(out, (char)c);
		else
			ps_buf_printf(out, "\\x%02X", c);
	}
}

/* RFC 2034 section 4: class "." subject "." detail, and a blank. Its length with the blank, or 0. */
static size_t enhanced_length(struct ps_bytes text)
{
	size_t at = 0;

	for (int part = 0; part < 3; part++) {
		size_t digits = 0;

		while (at < text.len && digits < 3 && ps_isdigit(text.ptr[at]))
			at++, digits++;
		if (digits == 0 || (part == 0 && digits > 1))
			return 0;
		if (part < 2 && (at == text.len || text.ptr[at++] != '.'))
			return 0;
	}
	if (at < text.len && text.ptr[at] != ' ')
		return 0;
	return at < text.len ? at + 1 : at;
}

/* The class is that of the code, whatever the server put there: they must not say different things. */
static struct ps_bytes take_enhanced(struct smtp_reply *reply, struct ps_bytes text)
{
	size_t len = reply->code / 100 == 3 ? 0 : enhanced_length(text);
	size_t shown = len;

	if (len == 0)
		return text;
	if (text.ptr[len - 1] == ' ')
		shown--;
	if (!reply->enhanced[0]) {
		memcpy(reply->enhanced, text.ptr, shown);
		reply->enhanced[shown] = '\0';
		reply->enhanced[0] = (char)('0' + reply->code / 100);
	}
	return ps_bytes_skip(text, len);
}

/* "250-text", "250 text", "250". 1: it is the last of its reply. */
static int read_line(struct smtp_reply *reply, struct ps_bytes line)
{
	bool last = line.len == 3 || (line.len > 3 && line.ptr[3] == ' ');
	struct ps_bytes text = ps_bytes_skip(line, line.len < 4 ? line.len : 4);
	uint32_t code;

	if (line.len < 3 || (!last && line.ptr[3] != '-') || ps_bytes_u32(ps_bytes(line.ptr, 3), &code) < 0 ||
	    code < 200 || code > 599)
		return ps_fail(PS_E_SYNTAX, "not a reply of SMTP");
	if (reply->count > 0 && code != reply->code)
		return ps_fail(PS_E_SYNTAX, "a reply with two codes");
	if (++reply->count > REPLY_LINES_MAX)
		return ps_fail(PS_E_LIMIT, "a reply of more than %d lines", REPLY_LINES_MAX);
	reply->code = code;
	ps_buf_bytes(&reply->lines, text);
	ps_buf_char(&reply->lines, '\n');
	text = take_enhanced(reply, text);
	if (reply->text.len > 0 && text.len > 0)
		ps_buf_char(&reply->text, ' ');
	smtp_escape(&reply->text, text);
	return last;
}

int smtp_reply_feed(struct smtp_reply *reply, struct ps_bytes *in)
{
	if (reply->whole)
		begin(reply);
	while (in->len > 0) {
		ptrdiff_t end = ps_bytes_find(*in, '\n');
		size_t len = end < 0 ? in->len : (size_t)end;
		struct ps_bytes line;
		int r;

		if (ps_buf_append(&reply->line, in->ptr, len) < 0)
			return ps_fail(PS_E_LIMIT, "a line of more than %d octets", REPLY_LINE_MAX);
		*in = ps_bytes_skip(*in, end < 0 ? len : len + 1);
		if (end < 0)
			break;
		line = ps_buf_view(&reply->line);
		if (line.len > 0 && line.ptr[line.len - 1] == '\r')
			line.len--;
		r = read_line(reply, line);
		ps_buf_reset(&reply->line);
		if (r != 0) {
			reply->whole = true;
			return r;
		}
	}
	return 0;
}

const char *smtp_reply_enhanced(const struct smtp_reply *reply)
{
	static const char *const by_class[] = {"2.0.0", "2.0.0", "2.0.0", "2.0.0", "4.0.0", "5.0.0"};

	return reply->enhanced[0] ? reply->enhanced : by_class[reply->code / 100 % PS_ARRAY_LEN(by_class)];
}
