/* SPDX-License-Identifier: MIT */
/*
 * popload - sessions as a POP3 client has that takes its mail away: log-in, UIDL, RETR of each message, DELE of each, QUIT. A line of
 * JSON as of imapload; "fetched" are messages.
 */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include "tests/bench/load.h"

static bool command(struct load_worker *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool command(struct load_worker *w, const char *fmt, ...)
{
	char line[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof line - 2, fmt, ap);
	va_end(ap);
	line[n] = '\r';
	line[n + 1] = '\n';
	if (!connection_send(w->connection, line, (size_t)n + 2) || !connection_line(w->connection, line, sizeof line))
		return false;
	if (line[0] != '+')
		fprintf(stderr, "answer: %s\n", line);
	return line[0] == '+';
}

/* Each worker's next session is another user's: what was there is gone. */
static bool log_in(struct load_worker *w)
{
	unsigned long session = w->tag++;
	char user[128];

	load_user(w->options, (unsigned)(w->number + session * w->options->connections), user, sizeof user);
	w->connection = connection_open(&w->options->target);
	return w->connection && command(w, "USER %s", user) && command(w, "PASS %s", w->options->password);
}

static bool take_mail(struct load_worker *w)
{
	uint64_t messages, lines, octets;

	if (!command(w, "UIDL") || !connection_until_dot(w->connection, &messages, &octets))
		return false;
	for (uint64_t i = 1; i <= messages; i++) {
		if (!command(w, "RETR %llu", (unsigned long long)i) ||
		    !connection_until_dot(w->connection, &lines, &octets))
			return false;
		w->sum.octets += octets;
		w->sum.fetched++;
	}
	for (uint64_t i = 1; i <= messages; i++)
		if (!command(w, "DELE %llu", (unsigned long long)i))
			return false;
	return messages == w->options->messages;
}

static bool run_session(struct load_worker *w)
{
	bool ok = log_in(w) && take_mail(w) && command(w, "QUIT");

	connection_close(w->connection);
	w->connection = NULL;
	return ok;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {LOAD_OPTIONS, {NULL, 0, NULL, 0}};
	static const struct load load = {"session", NULL, run_session, false};
	struct load_options o = load_defaults;
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1)
		if (!load_option(&o, c, optarg))
			return 2;
	if (load_options_make_sense(&o))
		return load_run(&load, &o);
	printf("usage: popload " LOAD_USAGE
	       "\n--messages: in each mailbox; --operations: sessions, each of another user\n");
	return 2;
}
