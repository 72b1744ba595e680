/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "core/config/conf.h"

#define ERRORS_MAX 50

void conf_error(struct conf_errors *errors, int line, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (!errors->code)
		errors->code = PS_E_SYNTAX;
	for (size_t i = 0; i < errors->count; i++)
		if (errors->all[i].line == line && strcmp(errors->all[i].text, text) == 0)
			return;
	if (errors->count == ERRORS_MAX)
		return;
	errors->all = ps_pool_grow(errors->pool, errors->all, errors->count, &errors->cap, sizeof *errors->all);
	errors->all[errors->count++] = (struct conf_error){line, ps_pool_strdup(errors->pool, text)};
}

static int by_line(const void *a, const void *b)
{
	const struct conf_error *x = a, *y = b;

	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	return strcmp(x->text, y->text);
}

int conf_errors_tell(struct conf_errors *errors, struct ps_buf *out)
{
	if (errors->count == 0)
		return 0;
	qsort(errors->all, errors->count, sizeof *errors->all, by_line);
	for (size_t i = 0; out && i < errors->count; i++)
		ps_buf_printf(out, "%s:%d: %s\n", errors->path, errors->all[i].line, errors->all[i].text);
	return ps_fail(errors->code, "%s:%d: %s", errors->path, errors->all[0].line, errors->all[0].text);
}

const char *conf_place(struct ps_pool *pool, const char *name, const char *title)
{
	if (!name)
		return "";
	if (!title)
		return ps_pool_printf(pool, " in %s", name);
	return ps_pool_printf(pool, " in %s \"%s\"", name, title);
}
