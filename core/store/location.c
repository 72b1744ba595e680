/* SPDX-License-Identifier: MIT */
#include <string.h>
#include "core/store/location.h"
#include "postern/error.h"

static int put_variable(struct ps_buf *out, char variable, const char *user, const char *home)
{
	const char *at = strchr(user, '@');

	switch (variable) {
	case 'u': return ps_buf_str(out, user);
	case 'n': return ps_buf_append(out, user, at ? (size_t)(at - user) : strlen(user));
	case 'd': return ps_buf_str(out, at ? at + 1 : "");
	case 'h': return ps_buf_str(out, home ? home : "");
	case '%': return ps_buf_char(out, '%');
	default: return ps_fail(PS_E_INVALID, "mail location: %%%c is not known (%%u, %%n, %%d, %%h are)", variable);
	}
}

int ps_location_expand(const char *location, const char *user, const char *home, struct ps_buf *out)
{
	int r = 0;

	if (location[0] == '~' && (location[1] == '/' || !location[1])) {
		if (!home)
			return ps_fail(PS_E_INVALID, "mail location: \"~\" without a home");
		ps_buf_str(out, home);
		location++;
	}
	for (; *location && r == 0; location++) {
		if (*location == '%' && location[1])
			r = put_variable(out, *++location, user, home);
		else if (*location != '/' || out->len == 0 || out->ptr[out->len - 1] != '/')
			r = ps_buf_char(out, *location);
	}
	return r;
}
