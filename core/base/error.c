/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "postern/error.h"
#include "postern/pool.h"

static _Thread_local char sentence[512];

static const struct {
	int code;
	const char *name;
} names[] = {
	{PS_OK, "PS_OK"},
	{PS_E_INTERNAL, "PS_E_INTERNAL"},
	{PS_E_STORAGE, "PS_E_STORAGE"},
	{PS_E_NOTFOUND, "PS_E_NOTFOUND"},
	{PS_E_EXISTS, "PS_E_EXISTS"},
	{PS_E_GONE, "PS_E_GONE"},
	{PS_E_INVALID, "PS_E_INVALID"},
	{PS_E_LIMIT, "PS_E_LIMIT"},
	{PS_E_FULL, "PS_E_FULL"},
	{PS_E_QUOTA, "PS_E_QUOTA"},
	{PS_E_BUSY, "PS_E_BUSY"},
	{PS_E_ACCESS, "PS_E_ACCESS"},
	{PS_E_UNSUPPORTED, "PS_E_UNSUPPORTED"},
	{PS_E_CORRUPT, "PS_E_CORRUPT"},
	{PS_E_MOVED, "PS_E_MOVED"},
	{PS_E_CONFLICT, "PS_E_CONFLICT"},
	{PS_E_AGAIN, "PS_E_AGAIN"},
	{PS_E_CLOSED, "PS_E_CLOSED"},
	{PS_E_SYNTAX, "PS_E_SYNTAX"},
	{PS_E_AUTH, "PS_E_AUTH"},
	{PS_E_SCARCE, "PS_E_SCARCE"},
};

/* What a failed system call means to somebody who wants to act on it; all else is PS_E_STORAGE. */
static const struct {
	int error;
	enum ps_err code;
} errnos[] = {
	{ENOSPC, PS_E_FULL},   {EDQUOT, PS_E_QUOTA},  {ENOENT, PS_E_NOTFOUND}, {EEXIST, PS_E_EXISTS},
	{EACCES, PS_E_ACCESS}, {EPERM, PS_E_ACCESS},  {EAGAIN, PS_E_AGAIN},    {ENOMEM, PS_E_SCARCE},
	{EMFILE, PS_E_SCARCE}, {ENFILE, PS_E_SCARCE},
};

int(ps_fail)(enum ps_err code, const char *fmt, ...)
{
	char text[sizeof sentence]; /* the arguments may be the old sentence */
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	memcpy(sentence, text, sizeof sentence);
	return code;
}

int(ps_fail_errno)(const char *fmt, ...)
{
	int error = errno;
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	snprintf(sentence, sizeof sentence, "%s: %s", text, strerror(error));
	for (size_t i = 0; i < PS_ARRAY_LEN(errnos); i++)
		if (errnos[i].error == error)
			return errnos[i].code;
	return PS_E_STORAGE;
}

const char *ps_last_error(void)
{
	return sentence;
}

const char *ps_err_name(int code)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(names); i++)
		if (names[i].code == code)
			return names[i].name;
	return "unknown";
}
