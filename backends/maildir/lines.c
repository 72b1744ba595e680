/* SPDX-License-Identifier: MIT */
/*
 * Files that are appended to and synced, a line at a time; the last line about a thing counts.
 *
 *   CRC text
 *
 * CRC is over the rest of the line. A line cut short by a crash was never built on, and is passed over.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "backends/maildir/maildir_private.h"

struct ps_bytes lines_word(struct ps_bytes *line)
{
	ptrdiff_t blank = ps_bytes_find(*line, ' ');
	size_t len = blank < 0 ? line->len : (size_t)blank;
	struct ps_bytes word = ps_bytes(line->ptr, len);

	*line = ps_bytes_skip(*line, blank < 0 ? len : len + 1);
	return word;
}

bool lines_hex(struct ps_bytes text, uint64_t *ret_n)
{
	char copy[17] = "", *end;

	if (text.len == 0 || text.len >= sizeof copy)
		return false;
	memcpy(copy, text.ptr, text.len);
	*ret_n = strtoull(copy, &end, 16);
	return *end == '\0';
}

bool lines_take(struct ps_bytes *text, struct ps_bytes *ret_line, bool *ret_whole)
{
	ptrdiff_t end;
	size_t len;
	struct ps_bytes line;
	uint64_t sum;

	while (text->len > 0 && text->ptr[0] == '\n')
		*text = ps_bytes_skip(*text, 1);
	if (text->len == 0)
		return false;
	end = ps_bytes_find(*text, '\n');
	len = end < 0 ? text->len : (size_t)end;
	line = ps_bytes(text->ptr, len);
	*text = ps_bytes_skip(*text, len);
	*ret_whole = len >= 9 && line.ptr[8] == ' ' && lines_hex(lines_word(&line), &sum) &&
		     sum == ps_crc32c(0, line.ptr, line.len);
	*ret_line = line;
	return true;
}

void lines_put(struct ps_buf *out, struct ps_bytes text)
{
	ps_buf_printf(out, "%08x ", ps_crc32c(0, text.ptr, text.len));
	ps_buf_bytes(out, text);
	ps_buf_char(out, '\n');
}

/* Ends a line that a crash cut short, so that it does not swallow the next one. */
static int append(int fd, const char *file, off_t size, struct ps_bytes lines)
{
	char last = '\n';
	int r = 0;

	if (size > 0 && ps_io.pread(fd, &last, 1, size - 1) != 1)
		return ps_fail_errno("read %s", file);
	if (last != '\n')
		r = ps_io_write_all(fd, ps_bytes("\n", 1));
	return r == 0 ? ps_io_write_all(fd, lines) : r;
}

int lines_append(int dirfd, const char *file, struct ps_bytes lines, bool *ret_left)
{
	PS_CLEANUP(ps_closep) int fd = -1;
	struct stat st;
	int r;

	*ret_left = false;
	if (lines.len == 0)
		return 0;
	fd = ps_io.open(dirfd, file, O_RDWR | O_APPEND | O_NONBLOCK, 0);
	if (fd < 0 && errno != ENOENT)
		return ps_fail_errno("open %s", file);
	if (fd < 0) {
		r = ps_io_replace(dirfd, file, lines);
		*ret_left = r < 0; /* it may have its name already */
		return r;
	}
	if (fstat(fd, &st) < 0)
		return ps_fail_errno("stat %s", file);
	r = append(fd, file, st.st_size, lines);
	if (r == 0 && ps_io.fdatasync(fd) < 0)
		r = ps_fail_errno("sync %s", file);
	*ret_left = r < 0 && (ps_io.truncate(fd, st.st_size) < 0 || ps_io.fdatasync(fd) < 0);
	return r;
}
