/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "postern/error.h"
#include "postern/io.h"
#include "postern/mboxfile.h"
#include "postern/pool.h"

enum {
	WINDOW = 1 << 18,
	HEADER_MAX = 1 << 18,
	FROM_MAX = 1000 /* octets of a "From " line */
};

struct ps_mboxfile {
	int fd;
	uint64_t end;
	uint64_t at; /* of what the window holds */
	size_t len;
	uint8_t *window;
	struct ps_buf from, header;
};

struct ps_mboxfile *ps_mboxfile_create(int fd, uint64_t end)
{
	struct ps_mboxfile *file = ps_zalloc(sizeof *file);

	file->fd = fd;
	file->end = end;
	file->window = ps_malloc(WINDOW);
	return file;
}

void ps_mboxfile_destroy(struct ps_mboxfile *file)
{
	if (!file)
		return;
	ps_buf_finish(&file->from);
	ps_buf_finish(&file->header);
	free(file->window);
	free(file);
}

/* ---- the window ------------------------------------------------------------------------------ */

/* Reads on behind what is there; small steps where little is wanted, so that heads far apart cost little. */
static int fill(struct ps_mboxfile *file, size_t want)
{
	while (file->len < want && file->at + file->len < file->end) {
		uint64_t left = file->end - file->at - file->len;
		size_t room = want > 8192 ? WINDOW - file->len : 8192 - file->len;
		ssize_t n = ps_io.pread(file->fd, file->window + file->len, left < room ? (size_t)left : room,
					(off_t)(file->at + file->len));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ps_fail_errno("read a file of messages");
		if (n == 0)
			return ps_fail(PS_E_STORAGE, "a file of messages is shorter than it was");
		file->len += (size_t)n;
	}
	return 0;
}

int ps_mboxfile_peek(struct ps_mboxfile *file, uint64_t at, size_t want, struct ps_bytes *ret_octets)
{
	size_t skip;
	int r;

	if (want > WINDOW)
		want = WINDOW;
	if (at < file->at || at > file->at + file->len) {
		file->at = at;
		file->len = 0;
	}
	skip = (size_t)(at - file->at);
	if (file->len - skip < want && file->at + file->len < file->end) {
		memmove(file->window, file->window + skip, file->len - skip);
		file->at = at;
		file->len -= skip;
		skip = 0;
		if ((r = fill(file, want)) < 0)
			return r;
	}
	*ret_octets = ps_bytes(file->window + skip, file->len - skip);
	return 0;
}

/* ---- "From " lines --------------------------------------------------------------------------- */

static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
				     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

static struct ps_bytes word(struct ps_bytes *text)
{
	struct ps_bytes w;
	size_t n = 0;

	while (text->len > 0 && (text->ptr[0] == ' ' || text->ptr[0] == '\t'))
		*text = ps_bytes_skip(*text, 1);
	while (n < text->len && text->ptr[n] != ' ' && text->ptr[n] != '\t')
		n++;
	w = ps_bytes(text->ptr, n);
	*text = ps_bytes_skip(*text, n);
	return w;
}

static int index_of(struct ps_bytes w, const char *const *words, int count)
{
	for (int i = 0; i < count; i++)
		if (ps_bytes_caseeq_str(w, words[i]))
			return i;
	return -1;
}

/* Days since 1970 of a day in the Gregorian calendar. */
static int64_t days_since_1970(int64_t year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year, era = (y >= 0 ? y : y - 399) / 400;
	int64_t of_era = y - era * 400, of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool parse_clock(struct ps_bytes w, int64_t *ret_seconds)
{
	uint32_t parts[3] = {0};
	int count = 0;

	while (w.len > 0 && count < 3) {
		ptrdiff_t colon = ps_bytes_find(w, ':');
		struct ps_bytes number = ps_bytes(w.ptr, colon < 0 ? w.len : (size_t)colon);

		if (number.len > 2 || ps_bytes_u32(number, &parts[count++]) < 0)
			return false;
		w = ps_bytes_skip(w, colon < 0 ? w.len : (size_t)colon + 1);
	}
	*ret_seconds = parts[0] * 3600 + parts[1] * 60 + parts[2];
	return count >= 2 && w.len == 0 && parts[0] < 24 && parts[1] < 60 && parts[2] <= 60;
}

/* "+0100" as seconds. */
static bool parse_zone(struct ps_bytes w, int64_t *ret_offset)
{
	uint32_t n;

	if (w.len != 5 || (w.ptr[0] != '+' && w.ptr[0] != '-') || ps_bytes_u32(ps_bytes_skip(w, 1), &n) < 0)
		return false;
	*ret_offset = (int64_t)(n / 100 * 3600 + n % 100 * 60) * (w.ptr[0] == '-' ? -1 : 1);
	return true;
}

/* Behind the name of the day: "Nov 23 09:12:09 2026", with a zone before or behind the year perhaps. */
static bool parse_date(struct ps_bytes text, int64_t *ret_date)
{
	int month = index_of(word(&text), months, 12);
	uint32_t day, year = 0;
	int64_t clock, offset = 0;
	struct ps_bytes w;

	if (month < 0 || ps_bytes_u32(word(&text), &day) < 0 || day < 1 || day > 31 ||
	    !parse_clock(word(&text), &clock))
		return false;
	for (w = word(&text); w.len > 0; w = word(&text)) {
		if (year == 0 && w.len == 4 && ps_bytes_u32(w, &year) == 0)
			continue;
		if (!parse_zone(w, &offset) && !ps_isalpha(w.ptr[0]))
			return false;
	}
	*ret_date = days_since_1970(year, month + 1, (int)day) * 86400 + clock - offset;
	return year > 0;
}

bool ps_from_line_parse(struct ps_bytes line, struct ps_bytes *ret_sender, int64_t *ret_date)
{
	struct ps_bytes text, sender;

	if (line.len < 5 || memcmp(line.ptr, "From ", 5) != 0)
		return false;
	text = ps_bytes_skip(line, 5);
	sender = ps_bytes(text.ptr, 0);
	for (struct ps_bytes w = word(&text); w.len > 0; w = word(&text)) {
		if (index_of(w, days, 7) >= 0 && parse_date(text, ret_date)) {
			*ret_sender = sender;
			return true;
		}
		sender.len = (size_t)(w.ptr + w.len - sender.ptr);
	}
	return false;
}

static bool is_sender(struct ps_bytes sender)
{
	for (size_t i = 0; i < sender.len; i++)
		if (sender.ptr[i] <= ' ' || sender.ptr[i] >= 0x7f)
			return false;
	return sender.len > 0 && sender.len <= 320;
}

void ps_from_line_format(struct ps_buf *out, struct ps_bytes sender, int64_t date)
{
	int64_t day = date >= 0 ? date / 86400 : -((86399 - date) / 86400), clock = date - day * 86400;
	int64_t z = day + 719468, era = (z >= 0 ? z : z - 146096) / 146097, doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
	int64_t month = mp < 10 ? mp + 3 : mp - 9, year = yoe + era * 400 + (month <= 2);

	if (year < 1900 || year > 9999) { /* what no reader of four digits understands */
		ps_from_line_format(out, sender, 0);
		return;
	}
	ps_buf_str(out, "From ");
	ps_buf_bytes(out, is_sender(sender) ? sender : ps_bytes_str("MAILER-DAEMON"));
	ps_buf_printf(out, " %s %s %2d %02d:%02d:%02d %04d\n", days[((day % 7) + 11) % 7], months[month - 1],
		      (int)(doy - (153 * mp + 2) / 5 + 1), (int)(clock / 3600), (int)(clock / 60 % 60),
		      (int)(clock % 60), (int)year);
}

/* ---- messages -------------------------------------------------------------------------------- */

static bool is_blank_line(struct ps_bytes octets, size_t *ret_len)
{
	*ret_len = octets.len > 0 && octets.ptr[0] == '\n' ? 1 : 2;
	return (octets.len > 0 && octets.ptr[0] == '\n') ||
	       (octets.len > 1 && octets.ptr[0] == '\r' && octets.ptr[1] == '\n');
}

/* The line at `at`, without its line end; `ret_next`: behind it. Cut at FROM_MAX. */
static int line_at(struct ps_mboxfile *file, uint64_t at, struct ps_bytes *ret_line, uint64_t *ret_next)
{
	struct ps_bytes octets;
	ptrdiff_t lf;
	int r = ps_mboxfile_peek(file, at, FROM_MAX, &octets);

	if (r < 0)
		return r;
	lf = ps_bytes_find(octets, '\n');
	*ret_next = at + (lf < 0 ? octets.len : (size_t)lf + 1);
	octets.len = lf < 0 ? octets.len : (size_t)lf;
	if (octets.len > 0 && octets.ptr[octets.len - 1] == '\r')
		octets.len--;
	*ret_line = octets;
	return 0;
}

static int is_from_line_at(struct ps_mboxfile *file, uint64_t at)
{
	struct ps_bytes line, sender;
	uint64_t next;
	int64_t date;
	int r = line_at(file, at, &line, &next);

	return r < 0 ? r : ps_from_line_parse(line, &sender, &date);
}

/* Takes fields until a blank line, a "From " line, or the end. */
static int read_header(struct ps_mboxfile *file, struct ps_mboxfile_head *head)
{
	uint64_t at = head->fields, next;
	struct ps_bytes octets, line;
	bool cut = false; /* what is kept is the beginning, without gaps */
	size_t blank;
	int r = 0;

	ps_buf_reset(&file->header);
	for (;;) {
		if ((r = ps_mboxfile_peek(file, at, FROM_MAX, &octets)) < 0)
			return r;
		if (octets.len == 0 || is_blank_line(octets, &blank))
			break;
		if (octets.ptr[0] == 'F' && (r = is_from_line_at(file, at)) != 0)
			break;
		if ((r = line_at(file, at, &line, &next)) < 0)
			return r;
		cut = cut || file->header.len + (next - at) > HEADER_MAX;
		if (!cut) {
			if ((r = ps_mboxfile_peek(file, at, (size_t)(next - at), &octets)) < 0)
				return r;
			ps_buf_append(&file->header, octets.ptr, (size_t)(next - at));
		}
		at = next;
	}
	if (r < 0)
		return r;
	head->body = at + (octets.len > 0 && r == 0 ? blank : 0);
	head->header = ps_buf_view(&file->header);
	return 0;
}

static int skip_blank_lines(struct ps_mboxfile *file, uint64_t *at)
{
	struct ps_bytes octets;
	size_t blank;
	int r;

	while ((r = ps_mboxfile_peek(file, *at, 2, &octets)) == 0 && is_blank_line(octets, &blank))
		*at += blank;
	return r < 0 ? r : octets.len > 0;
}

int ps_mboxfile_head(struct ps_mboxfile *file, uint64_t at, struct ps_mboxfile_head *ret_head)
{
	struct ps_mboxfile_head head = {.start = at};
	struct ps_bytes line, sender;
	int r = skip_blank_lines(file, &head.start);

	if (r <= 0)
		return r;
	if ((r = line_at(file, head.start, &line, &head.fields)) < 0)
		return r;
	if (!ps_from_line_parse(line, &sender, &head.date))
		return ps_fail(PS_E_SYNTAX, "no \"From \" line at octet %llu", (unsigned long long)head.start);
	ps_buf_reset(&file->from);
	ps_buf_bytes(&file->from, line);
	head.from = ps_buf_view(&file->from);
	if ((r = read_header(file, &head)) < 0)
		return r;
	*ret_head = head;
	return 1;
}

int ps_mboxfile_ends(struct ps_mboxfile *file, uint64_t at, uint64_t *ret_next)
{
	struct ps_bytes octets;
	size_t blank;
	int r;

	if (at > file->end)
		return 0;
	if ((r = ps_mboxfile_peek(file, at, 2, &octets)) < 0)
		return r;
	if (octets.len > 0 && is_blank_line(octets, &blank))
		at += blank;
	if (at == file->end) {
		*ret_next = at;
		return 1;
	}
	if ((r = is_from_line_at(file, at)) == 1)
		*ret_next = at;
	return r;
}

/* One blank line before `next` is not the message's. */
static int end_before(struct ps_mboxfile *file, uint64_t from, uint64_t next, uint64_t *ret_end)
{
	uint64_t start = next - from >= 3 ? next - 3 : from;
	struct ps_bytes o;
	size_t n;
	int r = ps_mboxfile_peek(file, start, (size_t)(next - start), &o);

	if (r < 0)
		return r;
	n = (size_t)(next - start);
	*ret_end = next;
	if (n >= 1 && o.ptr[n - 1] == '\n') {
		if (n == 1 ? start == from : o.ptr[n - 2] == '\n')
			*ret_end = next - 1;
		else if (o.ptr[n - 2] == '\r' && (n == 2 ? start == from : o.ptr[n - 3] == '\n'))
			*ret_end = next - 2;
	}
	return 0;
}

int ps_mboxfile_find_end(struct ps_mboxfile *file, uint64_t from, uint64_t *ret_end, uint64_t *ret_next)
{
	uint64_t at = from;
	bool line_start = true;

	for (;;) {
		struct ps_bytes octets;
		const uint8_t *hit;
		int r = ps_mboxfile_peek(file, at, line_start ? 5 : WINDOW / 2, &octets);

		if (r < 0)
			return r;
		if (octets.len == 0)
			break;
		if (line_start && octets.len >= 5 && memcmp(octets.ptr, "From ", 5) == 0) {
			if ((r = is_from_line_at(file, at)) < 0)
				return r;
			if (r == 1)
				break;
		}
		line_start = false;
		if ((r = ps_mboxfile_peek(file, at, WINDOW / 2, &octets)) < 0)
			return r;
		hit = memmem(octets.ptr, octets.len, "\nFrom ", 6);
		if (hit) {
			at += (size_t)(hit - octets.ptr) + 1;
			line_start = true;
		} else {
			/* The last ones may begin what the next window ends. */
			at += octets.len > 5 && at + octets.len < file->end ? octets.len - 5 : octets.len;
		}
	}
	*ret_next = at;
	return end_before(file, from, at, ret_end);
}

/* ---- messages of others ---------------------------------------------------------------------- */

bool ps_mboxfile_is_own_field(struct ps_bytes name)
{
	static const char *const names[] = {"Status", "X-Status",   "X-Keywords",     "X-UID",
					    "X-IMAP", "X-IMAPbase", "Content-Length", "X-Postern"};

	for (size_t i = 0; i < PS_ARRAY_LEN(names); i++)
		if (ps_bytes_caseeq_str(name, names[i]))
			return true;
	return false;
}

/* The field that a header begins with, folded lines and all; its name is empty for what is none. */
static struct ps_bytes take_field(struct ps_bytes *header, struct ps_bytes *ret_name)
{
	struct ps_bytes field = *header;
	size_t n = 0, colon;

	do {
		const uint8_t *lf = memchr(field.ptr + n, '\n', field.len - n);

		n = lf ? (size_t)(lf - field.ptr) + 1 : field.len;
	} while (n < field.len && (field.ptr[n] == ' ' || field.ptr[n] == '\t'));
	field.len = n;
	*header = ps_bytes_skip(*header, n);
	for (colon = 0; colon < n && field.ptr[colon] > ' ' && field.ptr[colon] != ':'; colon++)
		;
	*ret_name = ps_bytes(field.ptr, colon < n && field.ptr[colon] == ':' ? colon : 0);
	return field;
}

static bool content_length(struct ps_bytes header, uint64_t *ret_length)
{
	struct ps_bytes name;

	while (header.len > 0) {
		struct ps_bytes field = take_field(&header, &name), value;

		if (!ps_bytes_caseeq_str(name, "Content-Length"))
			continue;
		field = ps_bytes_skip(field, name.len + 1);
		while (field.len > 0 && (field.ptr[field.len - 1] == '\n' || field.ptr[field.len - 1] == '\r'))
			field.len--;
		value = word(&field);
		return ps_bytes_u64(value, ret_length) == 0;
	}
	return false;
}

int ps_mboxfile_next(struct ps_mboxfile *file, uint64_t at, struct ps_mboxfile_message *ret_message)
{
	struct ps_mboxfile_message message = {0};
	struct ps_mboxfile_head head;
	uint64_t length;
	int r = ps_mboxfile_head(file, at, &head);

	if (r <= 0)
		return r;
	message.start = head.start;
	message.date = head.date;
	if (content_length(head.header, &length) && length <= file->end - head.body) {
		if ((r = ps_mboxfile_ends(file, head.body + length, &message.next)) < 0)
			return r;
		message.unquoted = r == 1;
		message.end = head.body + length;
	}
	if (!message.unquoted && (r = ps_mboxfile_find_end(file, head.body, &message.end, &message.next)) < 0)
		return r;
	/* No body, and what would end the header ended the message: it is the header's. */
	if (message.end < head.body)
		message.end = head.body;
	*ret_message = message;
	return 1;
}

struct giver {
	int (*fn)(void *arg, struct ps_bytes octets);
	void *arg;
	struct ps_unquote unquote;
	struct ps_buf out;
	bool raw;
};

static int give(struct giver *giver, struct ps_bytes octets)
{
	if (giver->raw)
		return octets.len > 0 ? giver->fn(giver->arg, octets) : 0;
	ps_buf_reset(&giver->out);
	ps_unquote_feed(&giver->unquote, octets, &giver->out);
	if (giver->out.failed)
		return PS_E_LIMIT;
	return giver->out.len > 0 ? giver->fn(giver->arg, ps_buf_view(&giver->out)) : 0;
}

static int give_header(struct giver *giver, struct ps_bytes header)
{
	struct ps_bytes name;
	int r = 0;

	while (header.len > 0 && r == 0) {
		struct ps_bytes field = take_field(&header, &name);

		if (!ps_mboxfile_is_own_field(name))
			r = give(giver, field);
	}
	return r;
}

static int give_rest(struct ps_mboxfile *file, struct giver *giver, uint64_t at, uint64_t end)
{
	int r = 0;

	while (at < end && r == 0) {
		struct ps_bytes octets;

		if ((r = ps_mboxfile_peek(file, at, WINDOW, &octets)) < 0)
			break;
		if (octets.len > end - at)
			octets.len = (size_t)(end - at);
		r = give(giver, octets);
		at += octets.len;
	}
	return r;
}

int ps_mboxfile_octets(struct ps_mboxfile *file, const struct ps_mboxfile_message *message,
		       int (*fn)(void *arg, struct ps_bytes octets), void *arg)
{
	struct giver giver = {.fn = fn, .arg = arg, .unquote.at_line_start = true};
	struct ps_mboxfile_head head;
	int r = ps_mboxfile_head(file, message->start, &head);

	if (r <= 0)
		return r;
	if ((r = give_header(&giver, head.header)) == 0) {
		giver.raw = message->unquoted;
		r = give_rest(file, &giver, head.fields + head.header.len, message->end);
	}
	if (r == 0) {
		ps_buf_reset(&giver.out);
		ps_unquote_finish(&giver.unquote, &giver.out);
		giver.raw = true;
		r = give(&giver, ps_buf_view(&giver.out));
	}
	ps_buf_finish(&giver.out);
	return r;
}

/* ---- quoting --------------------------------------------------------------------------------- */

bool ps_is_from_like(struct ps_bytes line)
{
	while (line.len > 0 && line.ptr[0] == '>')
		line = ps_bytes_skip(line, 1);
	return line.len >= 5 && memcmp(line.ptr, "From ", 5) == 0;
}

static void let_go(struct ps_unquote *u, bool quoted, struct ps_buf *out)
{
	for (size_t i = quoted ? 1 : 0; i < u->held; i++)
		ps_buf_char(out, '>');
	ps_buf_append(out, "From ", u->matched);
	u->held = u->matched = 0;
	u->at_line_start = false;
}

void ps_unquote_feed(struct ps_unquote *u, struct ps_bytes in, struct ps_buf *out)
{
	while (in.len > 0) {
		const uint8_t *lf;
		size_t n;

		if (u->at_line_start && u->matched == 0 && in.ptr[0] == '>') {
			u->held++;
			in = ps_bytes_skip(in, 1);
			continue;
		}
		if (u->at_line_start && u->held > 0 && in.ptr[0] == (uint8_t) "From "[u->matched]) {
			in = ps_bytes_skip(in, 1);
			if (++u->matched == 5)
				let_go(u, true, out);
			continue;
		}
		let_go(u, false, out);
		lf = memchr(in.ptr, '\n', in.len);
		n = lf ? (size_t)(lf - in.ptr) + 1 : in.len;
		ps_buf_append(out, in.ptr, n);
		u->at_line_start = lf != NULL;
		in = ps_bytes_skip(in, n);
	}
}

void ps_unquote_finish(struct ps_unquote *u, struct ps_buf *out)
{
	let_go(u, false, out);
}
