/* SPDX-License-Identifier: MIT */
/*
 * Mailbox names and directories, as Maildir++ has them: a dot before each component, and modified UTF-7 (RFC 3501
 * section 5.1.3) for what is not printable ASCII. A dot within a component is encoded the same way, so that no name
 * can pose as another's child. Only the encoding this file itself makes is taken for a mailbox; a directory in any
 * other is left alone.
 *
 * In a tree (layout = fs) components are directories, and the dot is an octet like others, but for the first of a component:
 * that one, and the first octet of cur, new and tmp, are encoded.
 */
#include <stdio.h>
#include "backends/maildir/maildir_private.h"

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static bool is_plain(uint8_t c, char separator)
{
	return c >= 0x20 && c < 0x7f && c != separator;
}

/* The next character of valid UTF-8. */
static uint32_t utf8_next(struct ps_bytes *text)
{
	uint8_t first = text->ptr[0];
	size_t len = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
	uint32_t c = len == 1 ? first : first & (0x7fu >> len);

	for (size_t i = 1; i < len; i++)
		c = c << 6 | (text->ptr[i] & 0x3f);
	*text = ps_bytes_skip(*text, len);
	return c;
}

static void put_utf8(struct ps_buf *out, uint32_t c)
{
	if (c < 0x80) {
		ps_buf_char(out, (char)c);
	} else if (c < 0x800) {
		ps_buf_char(out, (char)(0xc0 | c >> 6));
		ps_buf_char(out, (char)(0x80 | (c & 0x3f)));
	} else if (c < 0x10000) {
		ps_buf_char(out, (char)(0xe0 | c >> 12));
		ps_buf_char(out, (char)(0x80 | (c >> 6 & 0x3f)));
		ps_buf_char(out, (char)(0x80 | (c & 0x3f)));
	} else {
		ps_buf_char(out, (char)(0xf0 | c >> 18));
		ps_buf_char(out, (char)(0x80 | (c >> 12 & 0x3f)));
		ps_buf_char(out, (char)(0x80 | (c >> 6 & 0x3f)));
		ps_buf_char(out, (char)(0x80 | (c & 0x3f)));
	}
}

struct shift {
	uint32_t bits;
	int count;
};

static void put_unit(struct ps_buf *out, struct shift *shift, uint32_t unit)
{
	shift->bits = shift->bits << 16 | unit;
	shift->count += 16;
	for (; shift->count >= 6; shift->count -= 6)
		ps_buf_char(out, base64[shift->bits >> (shift->count - 6) & 63]);
}

/* A run of characters that are not plain, as &...- */
static void encode_run(struct ps_bytes *text, char separator, struct ps_buf *out)
{
	struct shift shift = {0};

	ps_buf_char(out, '&');
	while (text->len > 0 && !is_plain(text->ptr[0], separator) && text->ptr[0] != '/') {
		uint32_t c = utf8_next(text);

		if (c >= 0x10000) {
			put_unit(out, &shift, 0xd800 + ((c - 0x10000) >> 10));
			c = 0xdc00 + ((c - 0x10000) & 0x3ff);
		}
		put_unit(out, &shift, c);
	}
	if (shift.count > 0)
		ps_buf_char(out, base64[shift.bits << (6 - shift.count) & 63]);
	ps_buf_char(out, '-');
}

/* Directories in a tree that are no mailboxes. `first`: in the root. */
static bool is_taken_in_tree(struct ps_bytes name, bool first)
{
	static const char *const everywhere[] = {"cur", "new", "tmp"};
	static const char *const in_root[] = {"subscriptions", "postern-control", "postern-index"};
	ptrdiff_t slash = ps_bytes_find(name, '/');
	struct ps_bytes part = ps_bytes(name.ptr, slash < 0 ? name.len : (size_t)slash);

	for (size_t i = 0; i < PS_ARRAY_LEN(everywhere); i++)
		if (ps_bytes_eq_str(part, everywhere[i]) || (first && ps_bytes_eq_str(part, in_root[i])))
			return true;
	return part.len > 0 && part.ptr[0] == '.';
}

/* One that could be plain, but for the whole it begins. */
static void encode_first(struct ps_bytes *text, struct ps_buf *out)
{
	struct shift shift = {0};

	ps_buf_char(out, '&');
	put_unit(out, &shift, text->ptr[0]);
	ps_buf_char(out, base64[shift.bits << (6 - shift.count) & 63]);
	ps_buf_char(out, '-');
	*text = ps_bytes_skip(*text, 1);
}

static void encode(struct ps_bytes name, char separator, struct ps_buf *out)
{
	const uint8_t *begin = name.ptr;

	while (name.len > 0) {
		uint8_t c = name.ptr[0];

		if (separator == '/' && (name.ptr == begin || name.ptr[-1] == '/') &&
		    is_taken_in_tree(name, name.ptr == begin)) {
			encode_first(&name, out);
			continue;
		}
		if (!is_plain(c, separator) && c != '/') {
			encode_run(&name, separator, out);
			continue;
		}
		if (c == '&')
			ps_buf_str(out, "&-");
		else
			ps_buf_char(out, c == '/' ? separator : (char)c);
		name = ps_bytes_skip(name, 1);
	}
}

int dir_of_name(bool tree, const char *name, char ret_dir[NAME_SIZE])
{
	struct ps_buf out = {0};
	int r = 0;

	if (strcmp(name, "INBOX") == 0) {
		memcpy(ret_dir, ".", 2);
		return 0;
	}
	if (!ps_utf8_valid(ps_bytes_str(name)) || !*name)
		return ps_fail(PS_E_INVALID, "a mailbox name that is not UTF-8");
	if (!tree)
		ps_buf_char(&out, '.');
	encode(ps_bytes_str(name), tree ? '/' : '.', &out);
	if (out.failed || out.len >= NAME_SIZE)
		r = ps_fail(PS_E_LIMIT, "a mailbox name of more than %d octets on disk", NAME_SIZE - 1);
	else
		memcpy(ret_dir, ps_buf_cstr(&out), out.len + 1);
	ps_buf_finish(&out);
	return r;
}

static int base64_value(uint8_t c)
{
	const char *at = c ? strchr(base64, c) : NULL;

	return at ? (int)(at - base64) : -1;
}

/* Behind the '&': UTF-16 to UTF-8, to the '-'. Strictness is the caller's: it encodes again and compares. */
static bool decode_run(struct ps_bytes *dir, struct ps_buf *out)
{
	struct shift shift = {0};
	uint32_t high = 0;

	while (dir->len > 0 && dir->ptr[0] != '-') {
		int value = base64_value(dir->ptr[0]);
		uint32_t unit;

		if (value < 0)
			return false;
		shift.bits = (shift.bits << 6 | (uint32_t)value) & 0x3fffff;
		shift.count += 6;
		*dir = ps_bytes_skip(*dir, 1);
		if (shift.count < 16)
			continue;
		shift.count -= 16;
		unit = shift.bits >> shift.count & 0xffff;
		if (unit >= 0xd800 && unit < 0xdc00)
			high = unit;
		else if (unit >= 0xdc00 && unit < 0xe000)
			put_utf8(out, 0x10000 + ((high - 0xd800) << 10 & 0xffc00) + (unit - 0xdc00));
		else
			put_utf8(out, unit);
	}
	if (dir->len == 0)
		return false;
	*dir = ps_bytes_skip(*dir, 1);
	return true;
}

static bool decode(struct ps_bytes dir, char separator, struct ps_buf *out)
{
	while (dir.len > 0) {
		uint8_t c = dir.ptr[0];

		dir = ps_bytes_skip(dir, 1);
		if (c == '&' && dir.len > 0 && dir.ptr[0] == '-') {
			ps_buf_char(out, '&');
			dir = ps_bytes_skip(dir, 1);
		} else if (c == '&') {
			if (!decode_run(&dir, out))
				return false;
		} else if (c == (uint8_t)separator) {
			ps_buf_char(out, '/');
		} else if (is_plain(c, separator) && c != '/') {
			ps_buf_char(out, (char)c);
		} else {
			return false;
		}
	}
	return !out->failed;
}

static bool is_lawful(const char *name)
{
	size_t start = 0, parts = 1, len = strlen(name);

	if (len == 0 || len > PS_INDEX_NAME_MAX || ps_strcasecmp(name, "INBOX") == 0 ||
	    !ps_utf8_valid(ps_bytes_str(name)))
		return false;
	for (size_t i = 0; i <= len; i++) {
		if ((unsigned char)name[i] < 0x20 && name[i] != '\0')
			return false;
		if (name[i] != '/' && name[i] != '\0')
			continue;
		if (i == start || (i == start + 1 && name[start] == '.') ||
		    (i == start + 2 && name[start] == '.' && name[start + 1] == '.'))
			return false;
		start = i + 1;
		parts += name[i] == '/';
	}
	return parts <= 32;
}

bool name_of_dir(bool tree, const char *dir, struct ps_buf *out)
{
	char again[NAME_SIZE];

	if (strcmp(dir, ".") == 0)
		return ps_buf_str(out, "INBOX") == 0;
	if (!tree && (dir[0] != '.' || dir[1] == '\0'))
		return false;
	if (!decode(ps_bytes_str(tree ? dir : dir + 1), tree ? '/' : '.', out))
		return false;
	return strlen(ps_buf_cstr(out)) == out->len && is_lawful(ps_buf_cstr(out)) &&
	       dir_of_name(tree, ps_buf_cstr(out), again) == 0 && strcmp(again, dir) == 0;
}
