/* SPDX-License-Identifier: MIT */
/*
 * Staging: a file in the store's tmp, written and synced outside the lock. With line_ends = lf each CRLF becomes LF on
 * the way. That cannot be undone for a message with a bare LF, or with a CR before a CRLF; as soon as one turns up, what
 * was written is written again with CRLF, and the rest goes out as it is. A file with S= equal to W= is one of those.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include "backends/maildir/maildir_private.h"

enum {
	OUT_SIZE = 1 << 16
};

static int create_file(struct ps_staged *staged)
{
	unique_name(staged->store->host, ps_catalogue_now(), staged->name);
	staged->fd = ps_io.open(staged->store->tmp_fd, staged->name, O_RDWR | O_CREAT | O_EXCL, 0600);
	return staged->fd < 0 ? ps_fail_errno("create tmp/%s", staged->name) : 0;
}

static int flush(struct ps_staged *staged)
{
	int r;

	if (staged->out.failed)
		return ps_fail(PS_E_LIMIT, "no memory to stage a message");
	r = ps_io_write_all(staged->fd, ps_buf_view(&staged->out));
	staged->disk_size += staged->out.len;
	ps_buf_reset(&staged->out);
	return r;
}

static int put(void *arg, struct ps_bytes octets)
{
	struct ps_staged *staged = arg;

	ps_buf_bytes(&staged->out, octets);
	return staged->out.len >= OUT_SIZE || staged->out.failed ? flush(staged) : 0;
}

/* Every LF of what was written had its CR. */
static int expand(struct ps_staged *staged, int from, uint64_t size)
{
	PS_CLEANUP(ps_freep) uint8_t *block = ps_malloc(OUT_SIZE);
	uint64_t at = 0;
	int r = 0;

	while (at < size && r == 0) {
		ssize_t n = ps_io.pread(from, block, OUT_SIZE, (off_t)at);

		if (n <= 0)
			return ps_fail_errno("read tmp/%s", staged->name);
		for (ssize_t i = 0; i < n; i++)
			if (block[i] == '\n')
				ps_buf_append(&staged->out, "\r\n", 2);
			else
				ps_buf_char(&staged->out, (char)block[i]);
		at += (uint64_t)n;
		r = flush(staged);
	}
	return r;
}

static int to_wire_form(void *arg)
{
	struct ps_staged *staged = arg;
	PS_CLEANUP(ps_closep) int old = -1;
	char old_name[NAME_SIZE];
	uint64_t size;
	int r = flush(staged);

	if (r < 0)
		return r;
	old = staged->fd;
	size = staged->disk_size;
	memcpy(old_name, staged->name, sizeof old_name);
	staged->disk_size = 0;
	r = create_file(staged);
	ps_io.unlink(staged->store->tmp_fd, old_name, 0);
	return r == 0 ? expand(staged, old, size) : r;
}

int stage_begin(struct ps_store *store, uint64_t size_hint, struct ps_staged **ret_staged)
{
	struct ps_staged *staged = ps_zalloc(sizeof *staged);
	int r;

	(void)size_hint;
	staged->store = store;
	staged->ends =
		(struct ps_line_ends){.put = put, .expand = to_wire_form, .arg = staged, .as_they_are = store->crlf};
	if ((r = create_file(staged)) < 0) {
		free(staged);
		return r;
	}
	*ret_staged = staged;
	return 0;
}

int stage_write(struct ps_staged *staged, struct ps_bytes octets)
{
	if (staged->err == 0)
		staged->err = ps_line_ends_feed(&staged->ends, octets);
	staged->wire_size += octets.len;
	return staged->err;
}

static int finish(struct ps_staged *staged)
{
	int r = ps_line_ends_finish(&staged->ends);

	if (r == 0)
		r = flush(staged);
	if (r == 0 && ps_io.fdatasync(staged->fd) < 0)
		r = ps_fail_errno("sync tmp/%s", staged->name);
	/* Many messages may wait for one commit: hold no descriptor for them. */
	if (close(staged->fd) < 0 && r == 0)
		r = ps_fail_errno("close tmp/%s", staged->name);
	staged->fd = -1;
	return r;
}

int stage_finish(struct ps_staged *staged)
{
	if (staged->err == 0 && !staged->finished)
		staged->err = finish(staged);
	staged->finished = true;
	ps_buf_finish(&staged->out);
	return staged->err;
}

/* A message that was published is not in tmp any more. */
void stage_drop(struct ps_staged *staged)
{
	if (!staged)
		return;
	ps_closep(&staged->fd);
	ps_io.unlink(staged->store->tmp_fd, staged->name, 0);
	ps_buf_finish(&staged->out);
	free(staged);
}

int stage_whole(const struct ps_staged *staged, uint64_t *ret_size)
{
	if (!staged || !staged->finished || staged->err)
		return staged && staged->err ? staged->err : ps_fail(PS_E_INVALID, "a message that is not staged");
	*ret_size = staged->wire_size;
	return 0;
}
