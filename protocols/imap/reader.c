/* SPDX-License-Identifier: MIT */
#include "postern/error.h"
#include "protocols/imap/reader.h"

enum {
	WANT_MAX = 32 << 10,
	TAG_ROOM = 260,
	KEPT = 32,
};

void imap_reader_init(struct imap_reader *reader, const struct imap_reader_limits *limits)
{
	*reader = (struct imap_reader){.limits = *limits, .at = IMAP_AT_LINE};
	reader->text.limit = limits->command;
}

void imap_reader_finish(struct imap_reader *reader)
{
	ps_buf_wipe(&reader->text); /* a LOGIN holds a password */
}

void imap_reader_reset(struct imap_reader *reader)
{
	ps_buf_wipe(&reader->text);
	if (reader->at == IMAP_IN_LITERAL)
		reader->at = IMAP_AT_LINE;
}

void imap_reader_skip(struct imap_reader *reader, uint64_t octets)
{
	reader->left = octets;
	reader->at = IMAP_SKIP_LITERAL;
}

size_t imap_reader_wants(const struct imap_reader *reader)
{
	if (reader->at == IMAP_IN_LITERAL || reader->at == IMAP_SKIP_LITERAL)
		return reader->left < WANT_MAX ? (size_t)reader->left : WANT_MAX;
	return 0;
}

/* The line in `in` without its line end, which is CR LF, or LF alone from those who type. */
static bool find_line(struct ps_bytes in, struct ps_bytes *ret_line, size_t *ret_used)
{
	ptrdiff_t lf = ps_bytes_find(in, '\n');

	if (lf < 0)
		return false;
	*ret_used = (size_t)lf + 1;
	*ret_line = ps_bytes(in.ptr, (size_t)lf - (lf > 0 && in.ptr[lf - 1] == '\r'));
	return true;
}

/* A literal that will not be taken. A synchronising one is not sent by the client when it sees NO. */
static enum imap_read refuse_literal(struct imap_reader *reader)
{
	if (reader->literal.synchronising)
		return IMAP_READ_TOO_BIG;
	if (reader->literal.octets > IMAP_DROP_MAX)
		return IMAP_READ_HOPELESS;
	imap_reader_skip(reader, reader->literal.octets);
	return IMAP_READ_TOO_BIG;
}

static enum imap_read begin_literal(struct imap_reader *reader, struct ps_bytes line, int found)
{
	const struct imap_literal *literal = &reader->literal;
	bool non_synchronising_too_big = !literal->synchronising && literal->octets > reader->limits.non_synchronising;

	ps_buf_append(&reader->text, line.ptr, line.len - literal->header);
	if (found > 0 && !non_synchronising_too_big && reader->streams &&
	    reader->streams(reader->arg, ps_buf_view(&reader->text)))
		return IMAP_READ_STREAM;
	if (found < 0 || non_synchronising_too_big || literal->octets > reader->limits.literal ||
	    reader->text.len + literal->header + 2 + literal->octets > reader->limits.command)
		return refuse_literal(reader);
	ps_buf_append(&reader->text, line.ptr + line.len - literal->header, literal->header);
	ps_buf_str(&reader->text, "\r\n");
	reader->at = IMAP_IN_LITERAL;
	reader->left = literal->octets;
	return literal->synchronising ? IMAP_READ_CONTINUE : IMAP_READ_MORE;
}

/* Of a line that is dropped, all but the last octets: they may be "{12+}". One that has not ended may have its CR behind that. */
static size_t droppable(struct ps_bytes in, size_t behind)
{
	return in.len > KEPT + behind ? in.len - KEPT - behind : 0;
}

/*
 * A line that is not wanted. It may end in a literal, which is on its way already if it does not wait for us. Only what would have been
 * kept of the line is looked at, so that it does not matter in which pieces it came.
 */
static enum imap_read drop_line(struct imap_reader *reader, struct ps_bytes line, enum imap_read verdict)
{
	struct imap_literal literal;
	int found = imap_literal_at_end(ps_bytes_skip(line, droppable(line, 0)), &literal);

	reader->at = IMAP_AT_LINE;
	if (found == 0 || literal.synchronising)
		return verdict;
	if (literal.octets > IMAP_DROP_MAX)
		return IMAP_READ_HOPELESS;
	imap_reader_skip(reader, literal.octets);
	return verdict;
}

/* A command that is refused unread has its tag here yet. */
static void keep_start(struct imap_reader *reader, struct ps_bytes line)
{
	if (reader->text.len == 0)
		ps_buf_append(&reader->text, line.ptr, line.len < TAG_ROOM ? line.len : TAG_ROOM);
}

static enum imap_read read_line(struct imap_reader *reader, struct ps_bytes in, size_t *ret_used)
{
	struct ps_bytes line;
	int found;

	if (!find_line(in, &line, ret_used)) {
		if (reader->text.len + in.len <= reader->limits.command)
			return IMAP_READ_MORE;
		keep_start(reader, in);
		*ret_used = droppable(in, 1);
		reader->at = IMAP_SKIP_LINE;
		reader->dropped = 0;
		return IMAP_READ_TOO_LONG;
	}
	if (ps_bytes_find(line, '\0') >= 0) {
		keep_start(reader, line);
		return drop_line(reader, line, IMAP_READ_NUL);
	}
	if (reader->text.len + line.len > reader->limits.command) {
		keep_start(reader, line);
		return drop_line(reader, line, IMAP_READ_TOO_LONG);
	}
	found = imap_literal_at_end(line, &reader->literal);
	if (found != 0)
		return begin_literal(reader, line, found);
	ps_buf_bytes(&reader->text, line);
	return IMAP_READ_COMMAND;
}

static enum imap_read read_literal(struct imap_reader *reader, struct ps_bytes in, size_t *ret_used)
{
	size_t n = in.len < reader->left ? in.len : (size_t)reader->left;

	if (ps_bytes_find(ps_bytes(in.ptr, n), '\0') >= 0) {
		imap_reader_skip(reader, reader->left);
		return IMAP_READ_NUL;
	}
	ps_buf_append(&reader->text, in.ptr, n);
	*ret_used = n;
	reader->left -= n;
	if (reader->left == 0)
		reader->at = IMAP_AT_LINE;
	return IMAP_READ_MORE;
}

static void skip_literal(struct imap_reader *reader, struct ps_bytes in, size_t *ret_used)
{
	*ret_used = in.len < reader->left ? in.len : (size_t)reader->left;
	reader->left -= *ret_used;
	reader->dropped = 0;
	if (reader->left == 0)
		reader->at = IMAP_SKIP_LINE;
}

static enum imap_read skip_line(struct imap_reader *reader, struct ps_bytes in, size_t *ret_used)
{
	struct ps_bytes line;

	if (find_line(in, &line, ret_used))
		return drop_line(reader, line, IMAP_READ_MORE);
	*ret_used = droppable(in, 1);
	reader->dropped += *ret_used;
	return reader->dropped > IMAP_DROP_MAX ? IMAP_READ_HOPELESS : IMAP_READ_MORE;
}

static enum imap_read read_some(struct imap_reader *reader, struct ps_bytes in, size_t *ret_used)
{
	switch (reader->at) {
	case IMAP_AT_LINE: return read_line(reader, in, ret_used);
	case IMAP_IN_LITERAL: return read_literal(reader, in, ret_used);
	case IMAP_SKIP_LINE: return skip_line(reader, in, ret_used);
	case IMAP_SKIP_LITERAL: skip_literal(reader, in, ret_used); return IMAP_READ_MORE;
	}
	return IMAP_READ_MORE;
}

enum imap_read imap_reader_feed(struct imap_reader *reader, struct ps_bytes in, size_t *ret_used)
{
	enum imap_read verdict = IMAP_READ_MORE;
	bool moved = true;

	*ret_used = 0;
	while (verdict == IMAP_READ_MORE && moved) {
		int before = (int)reader->at;
		size_t used = 0;

		verdict = read_some(reader, ps_bytes_skip(in, *ret_used), &used);
		*ret_used += used;
		moved = used > 0 || before != (int)reader->at;
	}
	return verdict;
}
