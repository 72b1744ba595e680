/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include "postern/buf.h"
#include "postern/log.h"

enum {
	LINE_LIMIT = 32 * 1024,
	VALUE_LIMIT = 4000, /* as written; the rest is cut off, so that no value makes its line be lost */
};

static const char *const level_names[] = {"error", "warning", "info", "debug"};
static const char *log_role = "tool";
static _Atomic int log_level = PS_LOG_INFO; /* changed on reload, while all threads log */

void ps_log_setup(const char *role, enum ps_log_level level)
{
	log_role = role;
	log_level = (int)level;
}

void ps_log_set_level(enum ps_log_level level)
{
	log_level = (int)level;
}

const char *ps_num(long long n)
{
	static _Thread_local char text[16][24];
	static _Thread_local unsigned next;
	char *at = text[next++ % 16];

	snprintf(at, sizeof text[0], "%lld", n);
	return at;
}

static void start_line(struct ps_buf *line, enum ps_log_level level, const char *event)
{
	struct timespec now;
	struct tm tm;
	char stamp[24];

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
	ps_buf_printf(line, "%s.%03ldZ level=%s role=%s pid=%ld event=%s", stamp, now.tv_nsec / 1000000,
		      level_names[level], log_role, (long)getpid(), event);
}

static bool is_plain(const char *value)
{
	for (const char *c = value; *c; c++)
		if ((unsigned char)*c <= ' ' || *c == '"' || *c == '\\' || *c == '=' || *c == 0x7f)
			return false;
	return *value != '\0';
}

/* Quotes as a C string does, so that a hostile value can neither end its line nor add a key. */
static void put_value(struct ps_buf *line, const char *value)
{
	size_t start = line->len;

	if (is_plain(value) && strlen(value) < VALUE_LIMIT) {
		ps_buf_str(line, value);
		return;
	}
	ps_buf_char(line, '"');
	for (const char *c = value; *c; c++) {
		if (line->len - start >= VALUE_LIMIT) {
			ps_buf_str(line, "...");
			break;
		}
		if (*c == '"' || *c == '\\')
			ps_buf_printf(line, "\\%c", *c);
		else if ((unsigned char)*c < ' ' || *c == 0x7f)
			ps_buf_printf(line, "\\x%02x", (unsigned)(unsigned char)*c);
		else
			ps_buf_char(line, *c);
	}
	ps_buf_char(line, '"');
}

static void put_pair(struct ps_buf *line, const char *key, const char *value)
{
	if (!value)
		return;
	ps_buf_printf(line, " %s=", key);
	put_value(line, value);
}

static void end_line(struct ps_buf *line)
{
	ps_buf_char(line, '\n');
	if (!line->failed && write(STDERR_FILENO, line->ptr, line->len) < 0) {
		/* There is nobody left to tell. */
	}
}

void ps_log(enum ps_log_level level, const char *event, ...)
{
	uint8_t room[LINE_LIMIT]; /* that there is no memory can be said, too */
	struct ps_buf line = {.ptr = room, .cap = sizeof room, .limit = sizeof room};
	const char *key;
	va_list ap;

	if ((int)level > log_level)
		return;
	start_line(&line, level, event);
	va_start(ap, event);
	while ((key = va_arg(ap, const char *)) != NULL)
		put_pair(&line, key, va_arg(ap, const char *));
	va_end(ap);
	end_line(&line);
}

void ps_logf(enum ps_log_level level, const char *event, const char *sid, const char *fmt, ...)
{
	uint8_t room[LINE_LIMIT];
	struct ps_buf line = {.ptr = room, .cap = sizeof room, .limit = sizeof room};
	char text[2048];
	va_list ap;

	if ((int)level > log_level)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	start_line(&line, level, event);
	put_pair(&line, "sid", sid);
	put_pair(&line, "msg", text);
	end_line(&line);
}
