/* SPDX-License-Identifier: MIT */
/*
 * postern-uidlist (lines.c): the last line about a name counts.
 *
 *   CRC U uid wire-size save-date base      a message that others delivered
 *   CRC K keywords base                     keyword bits beyond the letters, hexadecimal
 */
#include "config.h"

#include <stdlib.h>
#include "backends/maildir/maildir_private.h"

enum {
	FILE_MAX = 1 << 30,
	FIRST_SLOTS = 256
};

static size_t hash(struct ps_bytes base)
{
	return ps_crc32c(0, base.ptr, base.len);
}

static void grow(struct uid_list *list)
{
	size_t count = list->slot_count ? list->slot_count * 4 : FIRST_SLOTS;
	struct uid_record **slots = ps_zalloc(count * sizeof(struct uid_record *));

	for (size_t i = 0; i < list->slot_count; i++) {
		struct uid_record *rec = list->slots[i], *next;

		for (; rec; rec = next) {
			size_t at = hash(ps_bytes(rec->base, rec->base_len)) % count;

			next = rec->next;
			rec->next = slots[at];
			slots[at] = rec;
		}
	}
	free(list->slots);
	list->slots = slots;
	list->slot_count = count;
}

struct uid_record *uidlist_find(const struct uid_list *list, struct ps_bytes base)
{
	struct uid_record *rec = list->slot_count ? list->slots[hash(base) % list->slot_count] : NULL;

	while (rec && !ps_bytes_eq(ps_bytes(rec->base, rec->base_len), base))
		rec = rec->next;
	return rec;
}

static struct uid_record *find_or_add(struct uid_list *list, struct ps_bytes base)
{
	struct uid_record *rec = uidlist_find(list, base);
	size_t at;

	if (rec)
		return rec;
	if (list->count >= list->slot_count)
		grow(list);
	rec = ps_pool_zalloc(list->pool, sizeof *rec + base.len + 1);
	memcpy(rec->base, base.ptr, base.len);
	rec->base_len = base.len;
	at = hash(base) % list->slot_count;
	rec->next = list->slots[at];
	list->slots[at] = rec;
	list->count++;
	return rec;
}

/* Names may hold any octet; those that would end a line or a word are written as %XX. */
static bool decode_base(struct ps_bytes text, char out[NAME_SIZE], size_t *ret_len)
{
	size_t len = 0;

	for (size_t i = 0; i < text.len; i++) {
		uint64_t c = text.ptr[i];

		if (len == NAME_SIZE - 1)
			return false;
		if (c == '%') {
			if (text.len - i < 3 || !lines_hex(ps_bytes(text.ptr + i + 1, 2), &c))
				return false;
			i += 2;
		}
		out[len++] = (char)c;
	}
	*ret_len = len;
	return len > 0;
}

static void encode_base(struct ps_buf *out, struct ps_bytes base)
{
	for (size_t i = 0; i < base.len; i++) {
		uint8_t c = base.ptr[i];

		if (c <= ' ' || c == '%' || c == 0x7f)
			ps_buf_printf(out, "%%%02x", c);
		else
			ps_buf_char(out, (char)c);
	}
}

static bool parse_uid(struct ps_bytes line, struct uid_list *list)
{
	uint32_t uid;
	uint64_t wire, saved;
	char base[NAME_SIZE];
	struct uid_record *rec;
	size_t len;

	if (ps_bytes_u32(lines_word(&line), &uid) < 0 || uid == 0 || uid == UINT32_MAX ||
	    ps_bytes_u64(lines_word(&line), &wire) < 0 || ps_bytes_u64(lines_word(&line), &saved) < 0 ||
	    saved > INT64_MAX || !decode_base(line, base, &len))
		return false;
	rec = find_or_add(list, ps_bytes(base, len));
	rec->has_uid = true;
	rec->uid = uid;
	rec->wire = wire;
	rec->save_date = (int64_t)saved;
	return true;
}

static bool parse_keywords(struct ps_bytes line, struct uid_list *list)
{
	uint64_t keywords;
	char base[NAME_SIZE];
	struct uid_record *rec;
	size_t len;

	if (!lines_hex(lines_word(&line), &keywords) || !decode_base(line, base, &len))
		return false;
	rec = find_or_add(list, ps_bytes(base, len));
	rec->has_keywords = true;
	rec->keywords = keywords & ~LETTERS_MASK;
	return true;
}

static bool parse_line(struct ps_bytes line, struct uid_list *list)
{
	struct ps_bytes kind = lines_word(&line);

	if (ps_bytes_eq_str(kind, "U"))
		return parse_uid(line, list);
	return ps_bytes_eq_str(kind, "K") && parse_keywords(line, list);
}

static void parse(struct ps_bytes text, struct uid_list *list)
{
	struct ps_bytes line;
	bool whole;

	while (lines_take(&text, &line, &whole)) {
		list->lines++;
		if (!whole || !parse_line(line, list))
			list->damaged = true;
	}
}

int uidlist_read(int dirfd, struct uid_list *ret_list)
{
	struct ps_buf text = {0};
	int r = ps_io_read_file(dirfd, UIDLIST_FILE, FILE_MAX, &text);

	if (r == 0 || r == PS_E_NOTFOUND) {
		*ret_list = (struct uid_list){.pool = ps_pool_create("uidlist")};
		parse(ps_buf_view(&text), ret_list);
		r = 0;
	}
	ps_buf_finish(&text);
	return r;
}

void uidlist_finish(struct uid_list *list)
{
	ps_pool_destroy(list->pool);
	free(list->slots);
	*list = (struct uid_list){0};
}

static void put_line(struct ps_buf *out, struct ps_buf *line)
{
	lines_put(out, ps_buf_view(line));
	ps_buf_finish(line);
}

void uidlist_line_uid(struct ps_buf *out, struct ps_bytes base, uint32_t uid, uint64_t wire, int64_t save_date)
{
	struct ps_buf line = {0};

	ps_buf_printf(&line, "U %u %llu %lld ", uid, (unsigned long long)wire,
		      (long long)(save_date > 0 ? save_date : 0));
	encode_base(&line, base);
	put_line(out, &line);
}

void uidlist_line_keywords(struct ps_buf *out, struct ps_bytes base, uint64_t keywords)
{
	struct ps_buf line = {0};

	ps_buf_printf(&line, "K %llx ", (unsigned long long)keywords);
	encode_base(&line, base);
	put_line(out, &line);
}

int uidlist_append(int dirfd, struct ps_bytes lines)
{
	bool left; /* names UIDs that were not given, and is overruled by a later line */

	return lines_append(dirfd, UIDLIST_FILE, lines, &left);
}

int uidlist_replace(int dirfd, struct ps_bytes lines)
{
	return ps_io_replace(dirfd, UIDLIST_FILE, lines);
}
