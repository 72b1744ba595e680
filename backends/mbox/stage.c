/* SPDX-License-Identifier: MIT */
/*
 * Staging: a message becomes what will lie in the mailbox. CRLF becomes LF, unless the message has a bare LF or a CR before a
 * CRLF: then line ends stay as they are, and what was converted is converted back. Lines that would pass for "From "
 * lines are quoted as mboxrd does, fields that would pass for ours get another name. Small messages stay in memory, others
 * are a file aside. Nothing is synced here: what counts is written to the mailbox, and synced there.
 */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "backends/mbox/mbox_private.h"

enum {
	OUT_SIZE = 1 << 16,
	NAME_MAX_HELD = 40 /* longer than any field's name that is ours */
};

static int create_file(struct ps_staged *staged)
{
	static _Atomic unsigned serial;

	snprintf(staged->name, sizeof staged->name, "s%ld.%u", (long)getpid(), serial++);
	staged->fd = ps_io.open(staged->store->cat.aside_fd, staged->name, O_RDWR | O_CREAT | O_EXCL, 0600);
	return staged->fd < 0 ? ps_fail_errno("create a file to stage a message") : 0;
}

static int flush(struct ps_staged *staged)
{
	int r = staged->out.failed ? ps_fail(PS_E_LIMIT, "no memory to stage a message") : 0;

	if (r == 0 && staged->fd < 0)
		r = create_file(staged);
	if (r == 0)
		r = ps_io_write_all(staged->fd, ps_buf_view(&staged->out));
	ps_buf_reset(&staged->out);
	return r;
}

static int put_raw(struct ps_staged *staged, const void *octets, size_t len)
{
	if (len == 0)
		return 0;
	staged->last = ((const uint8_t *)octets)[len - 1];
	staged->disk_size += len;
	ps_buf_append(&staged->out, octets, len);
	return staged->out.len >= OUT_SIZE || staged->out.failed ? flush(staged) : 0;
}

/* ---- lines that must not stand as they are --------------------------------------------------------- */

static bool is_escaped(struct ps_bytes line)
{
	ptrdiff_t colon = ps_bytes_find(line, ':');
	size_t len = sizeof OWN_PREFIX - 1;

	return (line.len >= len && memcmp(line.ptr, OWN_PREFIX, len) == 0) ||
	       (colon > 0 && (ps_mboxfile_is_own_field(ps_bytes(line.ptr, (size_t)colon)) ||
			      ps_bytes_caseeq_str(ps_bytes(line.ptr, (size_t)colon), "Lines"))); /* mutt rewrites it */
}

/* What the line begins with is known. */
static int let_go(struct ps_staged *staged)
{
	struct ps_bytes line = ps_buf_view(&staged->line);
	int r = 0;

	if (line.len == 5 && memcmp(line.ptr, "From ", 5) == 0) {
		staged->form |= FORM_QUOTED;
		r = put_raw(staged, ">", 1);
	} else if (staged->in_header && !staged->after_gt && is_escaped(line)) {
		staged->form |= FORM_ESCAPED;
		r = put_raw(staged, OWN_PREFIX, sizeof OWN_PREFIX - 1);
	} else if (!staged->after_gt && line.len > 0 && line.ptr[line.len - 1] == '\n' &&
		   (line.len == 1 || (line.len == 2 && line.ptr[0] == '\r'))) {
		staged->in_header = false;
	}
	staged->at_line_start = line.len > 0 && line.ptr[line.len - 1] == '\n';
	staged->after_gt = false;
	if (r == 0)
		r = put_raw(staged, line.ptr, line.len);
	ps_buf_reset(&staged->line);
	return r;
}

static bool is_undecided(const struct ps_staged *staged)
{
	struct ps_bytes line = ps_buf_view(&staged->line);
	uint8_t c = line.ptr[line.len - 1];

	if (line.len < 5 && memcmp(line.ptr, "From ", line.len) == 0)
		return true;
	if (line.len == 1 && c == '\r')
		return true;
	return staged->in_header && !staged->after_gt && line.len < NAME_MAX_HELD && c > ' ' && c != ':';
}

static int put(void *arg, struct ps_bytes octets)
{
	struct ps_staged *staged = arg;
	int r = 0;

	while (octets.len > 0 && r == 0) {
		const uint8_t *lf;
		size_t n;

		if (staged->at_line_start && staged->line.len == 0 && octets.ptr[0] == '>') {
			staged->after_gt = true;
			r = put_raw(staged, ">", 1);
			octets = ps_bytes_skip(octets, 1);
			continue;
		}
		if (staged->at_line_start) {
			ps_buf_char(&staged->line, (char)octets.ptr[0]);
			octets = ps_bytes_skip(octets, 1);
			if (!is_undecided(staged))
				r = let_go(staged);
			continue;
		}
		lf = memchr(octets.ptr, '\n', octets.len);
		n = lf ? (size_t)(lf - octets.ptr) + 1 : octets.len;
		r = put_raw(staged, octets.ptr, n);
		staged->at_line_start = lf != NULL;
		octets = ps_bytes_skip(octets, n);
	}
	return r;
}

/* ---- line ends --------------------------------------------------------------------------------------- */

static int put_expanded(struct ps_staged *staged, struct ps_bytes octets)
{
	int r = 0;

	while (octets.len > 0 && r == 0) {
		ptrdiff_t lf = ps_bytes_find(octets, '\n');

		r = put_raw(staged, octets.ptr, lf < 0 ? octets.len : (size_t)lf);
		if (r == 0 && lf >= 0)
			r = put_raw(staged, "\r\n", 2);
		octets = ps_bytes_skip(octets, lf < 0 ? octets.len : (size_t)lf + 1);
	}
	return r;
}

static int expand_file(struct ps_staged *staged, int from)
{
	PS_CLEANUP(ps_freep) uint8_t *block = ps_malloc(OUT_SIZE);
	off_t at = 0;
	ssize_t n;
	int r = 0;

	while (r == 0 && (n = ps_io.pread(from, block, OUT_SIZE, at)) != 0) {
		r = n < 0 ? ps_fail_errno("read a staged message") : put_expanded(staged, ps_bytes(block, (size_t)n));
		at += n;
	}
	return r;
}

/* Every LF of what was written had its CR. */
static int to_wire_form(void *arg)
{
	struct ps_staged *staged = arg;
	PS_CLEANUP(ps_closep) int old = staged->fd;
	struct ps_buf held = staged->out;
	char old_name[LEAF_SIZE];
	int r = 0;

	memcpy(old_name, staged->name, sizeof old_name);
	staged->form |= FORM_WIRE;
	staged->fd = -1;
	staged->out = (struct ps_buf){0};
	staged->disk_size = 0;
	if (old >= 0) {
		r = expand_file(staged, old);
		ps_io.unlink(staged->store->cat.aside_fd, old_name, 0);
	}
	if (r == 0)
		r = put_expanded(staged, ps_buf_view(&held));
	ps_buf_finish(&held);
	return r;
}

int stage_begin(struct ps_store *store, uint64_t size_hint, struct ps_staged **ret_staged)
{
	struct ps_staged *staged = ps_zalloc(sizeof *staged);

	(void)size_hint;
	staged->store = store;
	staged->fd = -1;
	staged->ends = (struct ps_line_ends){.put = put, .expand = to_wire_form, .arg = staged};
	staged->in_header = staged->at_line_start = true;
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

	if (r == 0 && staged->line.len > 0)
		r = let_go(staged);
	if (r == 0 && staged->disk_size > 0 && staged->last != '\n')
		staged->form |= FORM_NO_EOL;
	if (r < 0 || staged->fd < 0)
		return r;
	r = flush(staged);
	/* Many messages may wait for one commit: hold no descriptor for them. */
	if (close(staged->fd) < 0 && r == 0)
		r = ps_fail_errno("close a staged message");
	staged->fd = -1;
	return r;
}

int stage_finish(struct ps_staged *staged)
{
	if (staged->err == 0 && !staged->finished)
		staged->err = finish(staged);
	staged->finished = true;
	ps_buf_finish(&staged->line);
	return staged->err;
}

void stage_drop(struct ps_staged *staged)
{
	if (!staged)
		return;
	ps_closep(&staged->fd);
	if (*staged->name)
		ps_io.unlink(staged->store->cat.aside_fd, staged->name, 0);
	ps_buf_finish(&staged->line);
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
