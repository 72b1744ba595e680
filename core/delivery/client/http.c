/* SPDX-License-Identifier: MIT */
#include "core/delivery/client/http.h"
#include "postern/error.h"
#include "postern/pool.h"

struct head {
	struct ps_bytes type, length;
	bool chunked;
};

static struct ps_bytes trim(struct ps_bytes text)
{
	while (text.len > 0 && (text.ptr[0] == ' ' || text.ptr[0] == '\t'))
		text = ps_bytes_skip(text, 1);
	while (text.len > 0 &&
	       (text.ptr[text.len - 1] == ' ' || text.ptr[text.len - 1] == '\t' || text.ptr[text.len - 1] == '\r'))
		text.len--;
	return text;
}

/* A line without its end; false: there is no whole one. */
static bool take_line(struct ps_bytes *rest, struct ps_bytes *ret_line)
{
	ptrdiff_t end = ps_bytes_find(*rest, '\n');

	if (end < 0)
		return false;
	*ret_line = trim(ps_bytes(rest->ptr, (size_t)end));
	*rest = ps_bytes_skip(*rest, (size_t)end + 1);
	return true;
}

static void read_field(struct head *head, struct ps_bytes line)
{
	ptrdiff_t colon = ps_bytes_find(line, ':');
	struct ps_bytes name, value;

	if (colon < 0)
		return;
	name = ps_bytes(line.ptr, (size_t)colon);
	value = trim(ps_bytes_skip(line, (size_t)colon + 1));
	if (ps_bytes_caseeq_str(name, "Content-Type"))
		head->type = value;
	if (ps_bytes_caseeq_str(name, "Content-Length"))
		head->length = value;
	if (ps_bytes_caseeq_str(name, "Transfer-Encoding"))
		head->chunked = ps_bytes_caseeq_str(value, "chunked");
}

/* "HTTP/1.1 200 OK" */
static int read_status(struct ps_bytes line, unsigned *ret_status)
{
	uint32_t status;

	if (line.len < 12 || memcmp(line.ptr, "HTTP/1.", 7) != 0 || line.ptr[8] != ' ' ||
	    ps_bytes_u32(ps_bytes(line.ptr + 9, 3), &status) < 0)
		return ps_fail(PS_E_SYNTAX, "not an answer of HTTP");
	*ret_status = status;
	return 0;
}

static int read_size(struct ps_bytes line, size_t *ret_size)
{
	size_t size = 0, i;

	for (i = 0; i < line.len && line.ptr[i] != ';' && line.ptr[i] != ' '; i++) {
		int c = ps_tolower(line.ptr[i]);
		int digit = ps_isdigit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;

		if (digit < 0 || i > 7)
			return ps_fail(PS_E_SYNTAX, "HTTP: not the size of a chunk");
		size = size * 16 + (size_t)digit;
	}
	*ret_size = size;
	return i > 0 ? 0 : ps_fail(PS_E_SYNTAX, "HTTP: a chunk without a size");
}

/* Section 7.1. The next chunk: its octets, which may be none at the last. 1; 0: more is needed. */
static int take_chunk(struct ps_bytes *rest, struct ps_bytes *ret_chunk)
{
	struct ps_bytes line;
	size_t size;
	int r;

	if (!take_line(rest, &line))
		return 0;
	r = read_size(line, &size);
	if (r < 0)
		return r;
	if (size > 0 && rest->len < size + 2)
		return 0;
	*ret_chunk = ps_bytes(rest->ptr, size);
	*rest = ps_bytes_skip(*rest, size > 0 ? size + 2 : 0);
	return 1;
}

/* Moves together what the chunks hold, when all are there; trailers are not waited for. */
static int join_chunks(struct ps_bytes body, struct ps_bytes *ret_body)
{
	uint8_t *to = (uint8_t *)(uintptr_t)body.ptr;
	struct ps_bytes rest = body, chunk;
	size_t len = 0;
	int r;

	do
		r = take_chunk(&rest, &chunk);
	while (r > 0 && chunk.len > 0);
	if (r <= 0)
		return r;
	for (rest = body; take_chunk(&rest, &chunk) > 0 && chunk.len > 0; len += chunk.len)
		memmove(to + len, chunk.ptr, chunk.len); /* never ahead of what is read next */
	*ret_body = ps_bytes(to, len);
	return 1;
}

static int read_body(const struct head *head, struct ps_bytes rest, bool ended, struct ps_bytes *ret_body)
{
	uint64_t length;

	if (head->chunked)
		return join_chunks(rest, ret_body);
	if (head->length.ptr) {
		if (ps_bytes_u64(head->length, &length) < 0)
			return ps_fail(PS_E_SYNTAX, "HTTP: not a length");
		if (rest.len < length)
			return 0;
		rest.len = (size_t)length;
	} else if (!ended) {
		return 0;
	}
	*ret_body = rest;
	return 1;
}

int http_read(struct ps_buf *octets, bool ended, struct http_answer *ret_answer)
{
	struct ps_bytes rest = ps_buf_view(octets), line;
	struct http_answer answer = {0};
	struct head head = {0};
	int r;

	if (!take_line(&rest, &line))
		return 0;
	r = read_status(line, &answer.status);
	if (r < 0)
		return r;
	do {
		if (!take_line(&rest, &line))
			return 0;
		read_field(&head, line);
	} while (line.len > 0);
	r = read_body(&head, rest, ended, &answer.body);
	if (r <= 0)
		return r;
	answer.type = head.type;
	*ret_answer = answer;
	return 1;
}
