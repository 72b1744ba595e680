/* SPDX-License-Identifier: MIT */
/* Header blocks that lie in memory whole. */
#include "core/message/lex.h"
#include "postern/message.h"

/* Octets up to and including the next LF. */
static size_t line_length(struct ps_bytes text)
{
	ptrdiff_t lf = ps_bytes_find(text, '\n');

	return lf < 0 ? text.len : (size_t)lf + 1;
}

static bool is_blank_line(struct ps_bytes line)
{
	return line.ptr[0] == '\n' || (line.len == 2 && line.ptr[0] == '\r' && line.ptr[1] == '\n');
}

static bool is_folded(struct ps_bytes text)
{
	return text.len && (text.ptr[0] == ' ' || text.ptr[0] == '\t');
}

/* The next field with its folds and line ends; false at the blank line or the end. */
static bool next_block(struct ps_header_walk *walk, struct ps_bytes *ret_block)
{
	const uint8_t *start = walk->rest.ptr;
	size_t n = line_length(walk->rest);

	if (n == 0 || is_blank_line(ps_bytes(start, n)))
		return false;
	do
		walk->rest = ps_bytes_skip(walk->rest, n);
	while (is_folded(walk->rest) && (n = line_length(walk->rest)) > 0);
	*ret_block = ps_bytes(start, (size_t)(walk->rest.ptr - start));
	return true;
}

/* False for what is no field: a first line without colon, or one that starts with a blank or the
 * colon. */
static bool split_field(struct ps_bytes block, struct ps_bytes *ret_name, struct ps_bytes *ret_value)
{
	ptrdiff_t colon = ps_bytes_find(ps_bytes(block.ptr, line_length(block)), ':');
	struct ps_bytes name = ps_bytes(block.ptr, colon < 0 ? 0 : (size_t)colon);

	while (name.len && lex_is_blank(name.ptr[name.len - 1]))
		name.len--;
	if (name.len == 0 || lex_is_blank(name.ptr[0]))
		return false;
	*ret_name = name;
	*ret_value = ps_bytes_skip(block, (size_t)colon + 1);
	return true;
}

bool ps_header_next(struct ps_header_walk *walk, struct ps_bytes *ret_name, struct ps_bytes *ret_value)
{
	struct ps_bytes block;

	while (next_block(walk, &block)) {
		if (!split_field(block, ret_name, ret_value))
			continue;
		if (ret_value->len && ret_value->ptr[ret_value->len - 1] == '\n')
			ret_value->len--;
		if (ret_value->len && ret_value->ptr[ret_value->len - 1] == '\r')
			ret_value->len--;
		return true;
	}
	return false;
}

static bool is_among(struct ps_bytes name, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (ps_bytes_caseeq_str(name, names[i]))
			return true;
	return false;
}

int ps_header_filter(struct ps_bytes header, const char *const *names, size_t count, bool except, struct ps_buf *out)
{
	struct ps_header_walk walk = {header};
	struct ps_bytes block, name, value;

	while (next_block(&walk, &block)) {
		if (!split_field(block, &name, &value) || is_among(name, names, count) == except)
			continue;
		ps_buf_bytes(out, block);
		if (block.ptr[block.len - 1] != '\n')
			ps_buf_str(out, "\r\n");
	}
	return out->failed ? PS_E_LIMIT : 0;
}
