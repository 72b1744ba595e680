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

/* One octet that could be plain is encoded, for the whole it begins. */
static bool is_coded_in_tree(struct ps_bytes name, size_t at)
{
	return (at == 0 || name.ptr[at - 1] == '/') && is_taken_in_tree(ps_bytes_skip(name, at), at == 0);
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
	ps_filename_encode(ps_bytes_str(name), tree ? '/' : '.', tree ? is_coded_in_tree : NULL, &out);
	if (out.failed || out.len >= NAME_SIZE)
		r = ps_fail(PS_E_LIMIT, "a mailbox name of more than %d octets on disk", NAME_SIZE - 1);
	else
		memcpy(ret_dir, ps_buf_cstr(&out), out.len + 1);
	ps_buf_finish(&out);
	return r;
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
	if (!ps_filename_decode(ps_bytes_str(tree ? dir : dir + 1), tree ? '/' : '.', out))
		return false;
	return strlen(ps_buf_cstr(out)) == out->len && is_lawful(ps_buf_cstr(out)) &&
	       dir_of_name(tree, ps_buf_cstr(out), again) == 0 && strcmp(again, dir) == 0;
}
