/* SPDX-License-Identifier: MIT */
#include "auth/names.h"
#include "postern/error.h"

static bool is_lawful(uint8_t c)
{
	return ps_isalpha(c) || ps_isdigit(c) || (c && strchr("._-+=&'#$!@", c));
}

/* A part becomes a folder's name: it must be neither hidden nor a way up. */
static int check_part(struct ps_bytes part)
{
	if (part.len == 0)
		return ps_fail(PS_E_INVALID, "user name: empty local part or domain");
	if (part.ptr[0] == '.' || part.ptr[part.len - 1] == '.' || memmem(part.ptr, part.len, "..", 2))
		return ps_fail(PS_E_INVALID, "user name: misplaced dot");
	return 0;
}

static int check(struct ps_bytes name)
{
	ptrdiff_t at = ps_bytes_find(name, '@');
	int r;

	if (name.len > PS_USER_NAME_MAX)
		return ps_fail(PS_E_INVALID, "user name: longer than %d octets", PS_USER_NAME_MAX);
	for (size_t i = 0; i < name.len; i++)
		if (!is_lawful(name.ptr[i]))
			return ps_fail(PS_E_INVALID, "user name: octet 0x%02x is not allowed", (unsigned)name.ptr[i]);
	if (at < 0)
		return check_part(name);
	if (ps_bytes_find(ps_bytes_skip(name, (size_t)at + 1), '@') >= 0)
		return ps_fail(PS_E_INVALID, "user name: more than one @");
	r = check_part(ps_bytes(name.ptr, (size_t)at));
	return r < 0 ? r : check_part(ps_bytes_skip(name, (size_t)at + 1));
}

int ps_user_name_normalise(struct ps_bytes name, const char *default_domain, struct ps_buf *out)
{
	size_t start = out->len;
	int r = check(name);

	if (r < 0)
		return r;
	ps_buf_bytes(out, name);
	if (default_domain && *default_domain && ps_bytes_find(name, '@') < 0) {
		ps_buf_char(out, '@');
		ps_buf_str(out, default_domain);
	}
	if (out->failed || out->len - start > PS_USER_NAME_MAX) {
		out->len = start;
		return ps_fail(PS_E_INVALID, "user name: longer than %d octets with its domain", PS_USER_NAME_MAX);
	}
	for (size_t i = start; i < out->len; i++)
		out->ptr[i] = (uint8_t)ps_tolower(out->ptr[i]);
	return 0;
}
