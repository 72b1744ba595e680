/* SPDX-License-Identifier: MIT */
/*
 * Mailbox names and files. A component is encoded as modified UTF-7 (RFC 3501 section 5.1.3), as Dovecot and alpine do. What lies
 * below mailbox A is in the directory A.sbd (as Thunderbird has it) or, with layout = fs, in A. An octet is encoded too
 * where the plain name would be another program's, ours, or a directory's. Only the encoding this file itself makes is taken for a
 * mailbox; a file in any other is left alone.
 */
#include <stdio.h>
#include "backends/mbox/mbox_private.h"

enum {
	LEAF_MAX = 240 /* of a component as encoded, so that .lock and .sbd fit behind it */
};

static const char *const own_names[] = {CONTROL_DIR, INDEX_DIR, "dovecot", "subscriptions"};
static const char *const tails[] = {".sbd", ".lock", ".msf"};

static bool ends_in(struct ps_bytes text, const char *tail)
{
	size_t len = strlen(tail);

	return text.len >= len && memcmp(text.ptr + text.len - len, tail, len) == 0;
}

static struct ps_bytes component_at(struct ps_bytes name, size_t at)
{
	size_t start = at, end = at;

	while (start > 0 && name.ptr[start - 1] != '/')
		start--;
	while (end < name.len && name.ptr[end] != '/')
		end++;
	return ps_bytes(name.ptr + start, end - start);
}

static bool is_coded(struct ps_bytes name, size_t at)
{
	struct ps_bytes part;

	if (name.ptr[at] == '.') {
		part = component_at(name, at);
		if (name.ptr + at == part.ptr)
			return true;
		for (size_t i = 0; i < PS_ARRAY_LEN(tails); i++)
			if (ends_in(part, tails[i]) && name.ptr + at == part.ptr + part.len - strlen(tails[i]))
				return true;
	}
	if (at > 0)
		return false;
	part = component_at(name, 0);
	for (size_t i = 0; i < PS_ARRAY_LEN(own_names); i++)
		if (ps_bytes_eq_str(part, own_names[i]))
			return true;
	return ps_bytes_caseeq_str(part, "INBOX");
}

void name_encode(const char *name, struct ps_buf *out)
{
	/* INBOX is a file of that name, unless told otherwise; the names below it begin with it. */
	if (strncmp(name, "INBOX", 5) == 0 && (name[5] == '\0' || name[5] == '/')) {
		ps_buf_str(out, "INBOX");
		name += 5;
		if (*name == '/') {
			ps_buf_char(out, '/');
			ps_filename_encode(ps_bytes_str(name + 1), '/', is_coded, out);
		}
		return;
	}
	ps_filename_encode(ps_bytes_str(name), '/', is_coded, out);
}

static int put_path(const struct ps_store *store, const char *encoded, char ret_path[PATH_SIZE])
{
	size_t len = 0, leaf = 0;

	for (; *encoded; encoded++) {
		const char *add = *encoded == '/' ? store->sbd ? ".sbd/" : "/" : NULL;
		size_t n = add ? strlen(add) : 1;

		leaf = add ? 0 : leaf + 1;
		if (len + n >= PATH_SIZE || leaf > LEAF_MAX)
			return ps_fail(PS_E_LIMIT, "a mailbox name of more than %d octets on disk", LEAF_MAX);
		memcpy(ret_path + len, add ? add : encoded, n);
		len += n;
	}
	ret_path[len] = '\0';
	return 0;
}

int path_of_name(const struct ps_store *store, const char *name, char ret_path[PATH_SIZE])
{
	struct ps_buf encoded = {0};
	int r = 0;

	if (strcmp(name, "INBOX") == 0) {
		snprintf(ret_path, PATH_SIZE, "%s", store->inbox);
		return 0;
	}
	if (!*name || strlen(name) > PS_INDEX_NAME_MAX || !ps_utf8_valid(ps_bytes_str(name)))
		return strlen(name) > PS_INDEX_NAME_MAX ? ps_fail(PS_E_LIMIT, "a mailbox name too long")
							: ps_fail(PS_E_INVALID, "a mailbox name that is not UTF-8");
	name_encode(name, &encoded);
	r = encoded.failed ? PS_E_LIMIT : put_path(store, ps_buf_cstr(&encoded), ret_path);
	ps_buf_finish(&encoded);
	if (r == 0 && strcmp(ret_path, store->inbox) == 0)
		return ps_fail(PS_E_EXISTS, "%s is the file of INBOX", ret_path);
	return r;
}

static bool is_lawful(const char *name, size_t len)
{
	size_t start = 0, parts = 1;

	if (len == 0 || len > PS_INDEX_NAME_MAX || strlen(name) != len || !ps_utf8_valid(ps_bytes_str(name)))
		return false;
	for (size_t i = 0; i <= len; i++) {
		if (name[i] != '\0' && ((unsigned char)name[i] < 0x20 || name[i] == 0x7f))
			return false;
		if (name[i] != '/' && name[i] != '\0')
			continue;
		if (i == start || strncmp(name + start, ".", i - start) == 0 ||
		    strncmp(name + start, "..", i - start) == 0)
			return false;
		start = i + 1;
		parts += name[i] == '/';
	}
	return parts <= 32;
}

bool name_decode(struct ps_bytes line, struct ps_buf *out)
{
	struct ps_buf again = {0};
	bool good = ps_filename_decode(line, '/', out) && is_lawful(ps_buf_cstr(out), out->len);

	if (good) {
		name_encode(ps_buf_cstr(out), &again);
		good = ps_bytes_eq(ps_buf_view(&again), line);
	}
	ps_buf_finish(&again);
	return good;
}

bool name_of_path(const struct ps_store *store, const char *path, struct ps_buf *out)
{
	struct ps_buf encoded = {0};
	bool good = true;

	if (strcmp(path, store->inbox) == 0)
		return ps_buf_str(out, "INBOX") == 0;
	while (*path && good) {
		const char *slash = strchr(path, '/');
		size_t len = slash ? (size_t)(slash - path) : strlen(path);

		if (slash && store->sbd) {
			good = ends_in(ps_bytes(path, len), ".sbd");
			ps_buf_append(&encoded, path, good ? len - 4 : 0);
		} else {
			ps_buf_append(&encoded, path, len);
		}
		if (slash)
			ps_buf_char(&encoded, '/');
		path += slash ? len + 1 : len;
	}
	good = good && name_decode(ps_buf_view(&encoded), out) && strcmp(ps_buf_cstr(out), "INBOX") != 0;
	ps_buf_finish(&encoded);
	return good;
}

bool is_mailbox_dir(const struct ps_store *store, const char *leaf, bool in_root)
{
	if (leaf[0] == '.' || (in_root && (strcmp(leaf, CONTROL_DIR) == 0 || strcmp(leaf, INDEX_DIR) == 0)))
		return false;
	return !store->sbd || (ends_in(ps_bytes_str(leaf), ".sbd") && strlen(leaf) > 4);
}
