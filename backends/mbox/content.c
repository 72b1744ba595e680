/* SPDX-License-Identifier: MIT */
#include "backends/mbox/mbox_private.h"

void restore_init(struct restore *restore, unsigned form)
{
	*restore =
		(struct restore){.form = form, .in_header = (form & FORM_ESCAPED) != 0, .unquote.at_line_start = true};
}

/* A line of the header, or as much of a long one as is at hand: "X-Postern-Own-Status: x" was "Status: x". */
static void put_line(struct restore *restore, struct ps_buf *out)
{
	struct ps_bytes line = ps_buf_view(&restore->line);
	size_t len = sizeof OWN_PREFIX - 1;
	bool whole = line.ptr[line.len - 1] == '\n';

	if (restore->within_line)
		; /* a name is at the start only */
	else if (line.len >= len && memcmp(line.ptr, OWN_PREFIX, len) == 0)
		line = ps_bytes_skip(line, len);
	else if (whole && (line.len == 1 || (line.len == 2 && line.ptr[0] == '\r')))
		restore->in_header = false;
	restore->within_line = !whole;
	ps_buf_bytes(out, line);
	ps_buf_reset(&restore->line);
}

static void put_unquoted(struct restore *restore, struct ps_bytes octets, struct ps_buf *out)
{
	while (octets.len > 0 && restore->in_header) {
		ptrdiff_t lf = ps_bytes_find(octets, '\n');
		size_t n = lf < 0 ? octets.len : (size_t)lf + 1;

		ps_buf_append(&restore->line, octets.ptr, n);
		octets = ps_bytes_skip(octets, n);
		/* No field's name is so long. */
		if (lf >= 0 || restore->line.len > 4096)
			put_line(restore, out);
	}
	ps_buf_bytes(out, octets);
}

int restore_feed(struct restore *restore, struct ps_bytes octets, struct ps_buf *out)
{
	struct ps_buf plain = {0};

	if (restore->form & FORM_QUOTED) {
		ps_unquote_feed(&restore->unquote, octets, &plain);
		octets = ps_buf_view(&plain);
	}
	put_unquoted(restore, octets, out);
	ps_buf_finish(&plain);
	return out->failed || restore->line.failed ? ps_fail(PS_E_LIMIT, "no memory for a message") : 0;
}

int restore_finish(struct restore *restore, struct ps_buf *out)
{
	struct ps_buf plain = {0};

	ps_unquote_finish(&restore->unquote, &plain);
	put_unquoted(restore, ps_buf_view(&plain), out);
	ps_buf_finish(&plain);
	if (restore->line.len > 0)
		put_line(restore, out);
	ps_buf_finish(&restore->line);
	return out->failed ? ps_fail(PS_E_LIMIT, "no memory for a message") : 0;
}
