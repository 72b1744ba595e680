/* SPDX-License-Identifier: MIT */
/*
 * Subscriptions: Dovecot's file for mbox, ".subscriptions", a name a line, components encoded as the files are. Lines that are no
 * names of ours are kept.
 */
#include "backends/mbox/mbox_private.h"

static struct ps_bytes take_line(struct ps_bytes *text)
{
	ptrdiff_t end = ps_bytes_find(*text, '\n');
	size_t len = end < 0 ? text->len : (size_t)end;
	struct ps_bytes line = ps_bytes(text->ptr, len);

	*text = ps_bytes_skip(*text, end < 0 ? len : len + 1);
	return line;
}

static int read_file(struct ps_store *store, struct ps_buf *out)
{
	int r = ps_io_read_file(store->cat.root_fd, SUBSCRIBED, 8 << 20, out);

	return r == PS_E_NOTFOUND ? 0 : r;
}

static bool line_to_name(struct ps_bytes line, struct ps_buf *out)
{
	ps_buf_reset(out);
	return name_decode(line, out);
}

int subscriptions_read(struct ps_store *store, struct ps_buf *ret_names)
{
	struct ps_buf file = {0}, name = {0};
	struct ps_bytes text;
	int r = read_file(store, &file);

	text = ps_buf_view(&file);
	while (r == 0 && text.len > 0) {
		if (!line_to_name(take_line(&text), &name) ||
		    ps_indexed_is_subscribed(ps_buf_view(ret_names), ps_buf_cstr(&name)))
			continue;
		ps_buf_str(ret_names, ps_buf_cstr(&name));
		ps_buf_char(ret_names, '\0');
	}
	ps_buf_finish(&file);
	ps_buf_finish(&name);
	return r;
}

int subscriptions_format(struct ps_store *store, struct ps_bytes names, struct ps_buf *out)
{
	struct ps_buf file = {0}, name = {0};
	struct ps_bytes text;
	int r = read_file(store, &file);

	text = ps_buf_view(&file);
	while (r == 0 && text.len > 0) {
		struct ps_bytes line = take_line(&text);

		if (line.len == 0 || line_to_name(line, &name))
			continue;
		ps_buf_bytes(out, line);
		ps_buf_char(out, '\n');
	}
	while (r == 0 && names.len > 0) {
		name_encode((const char *)names.ptr, out);
		ps_buf_char(out, '\n');
		names = ps_bytes_skip(names, strlen((const char *)names.ptr) + 1);
	}
	ps_buf_finish(&file);
	ps_buf_finish(&name);
	return r < 0 ? r : out->failed ? PS_E_LIMIT : 0;
}
