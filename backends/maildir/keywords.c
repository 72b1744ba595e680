/* SPDX-License-Identifier: MIT */
/*
 * postern-keywords: which keyword each letter and each further bit of a mailbox stands for. A line with a checksum of
 * the rest, then "BIT NAME" a line. It is replaced as a whole before a new keyword is used in any name.
 */
#include <stdio.h>
#include <stdlib.h>
#include "backends/maildir/maildir_private.h"

#define FILE_NAME "postern-keywords"
#define HEAD      "postern-keywords 1 "

enum {
	HEAD_SIZE = sizeof HEAD - 1 + 8 + 1,
	FILE_MAX = PS_KEYWORDS_MAX * 1024
};

static bool parse_line(struct ps_bytes line, struct ps_keyword_table *table)
{
	ptrdiff_t blank = ps_bytes_find(line, ' ');
	struct ps_bytes name;
	uint32_t bit;

	if (blank < 0 || ps_bytes_u32(ps_bytes(line.ptr, (size_t)blank), &bit) < 0 || bit >= PS_KEYWORDS_MAX)
		return false;
	name = ps_bytes_skip(line, (size_t)blank + 1);
	if (!ps_keyword_lawful(name) || table->names[bit])
		return false;
	table->names[bit] = ps_zalloc(name.len + 1);
	memcpy(table->names[bit], name.ptr, name.len);
	return true;
}

static bool parse(struct ps_bytes text, struct ps_keyword_table *table)
{
	char head[HEAD_SIZE + 1];

	if (text.len < HEAD_SIZE)
		return false;
	snprintf(head, sizeof head, HEAD "%08x\n", ps_crc32c(0, text.ptr + HEAD_SIZE, text.len - HEAD_SIZE));
	if (memcmp(head, text.ptr, HEAD_SIZE) != 0)
		return false;
	text = ps_bytes_skip(text, HEAD_SIZE);
	while (text.len > 0) {
		ptrdiff_t end = ps_bytes_find(text, '\n');

		if (end < 0 || !parse_line(ps_bytes(text.ptr, (size_t)end), table))
			return false;
		text = ps_bytes_skip(text, (size_t)end + 1);
	}
	return true;
}

int keywords_read(int dirfd, struct ps_keyword_table *ret_table)
{
	struct ps_keyword_table table = {0};
	struct ps_buf text = {0};
	int r = ps_io_read_file(dirfd, FILE_NAME, FILE_MAX, &text);

	if (r == 0 && !parse(ps_buf_view(&text), &table)) {
		ps_keyword_table_finish(&table);
		r = ps_fail(PS_E_CORRUPT, FILE_NAME " is damaged");
	}
	if (r == 0)
		*ret_table = table;
	ps_buf_finish(&text);
	return r;
}

int keywords_write(int dirfd, const struct ps_keyword_table *table)
{
	struct ps_buf lines = {0}, text = {0};
	int r;

	for (int bit = 0; bit < PS_KEYWORDS_MAX; bit++)
		if (table->names[bit])
			ps_buf_printf(&lines, "%d %s\n", bit, table->names[bit]);
	ps_buf_printf(&text, HEAD "%08x\n", ps_crc32c(0, lines.ptr, lines.len));
	ps_buf_bytes(&text, ps_buf_view(&lines));
	r = text.failed ? PS_E_LIMIT : ps_io_replace(dirfd, FILE_NAME, ps_buf_view(&text));
	ps_buf_finish(&lines);
	ps_buf_finish(&text);
	return r;
}
