/* SPDX-License-Identifier: MIT */
/*
 * imapload - does one kind of work against an IMAP server with several connections at once and says how long it
 * took: a line of JSON with operations, errors, seconds, latencies, the client's own CPU, and counts of what was
 * answered, by which a caller sees that two servers did the same work.
 */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/bench/load.h"

static const char *mailbox = "INBOX", *other = "Other";
static const char *known = "1 1"; /* what who resynchronises remembers of the mailbox: UIDVALIDITY MODSEQ */

static bool command(struct load_worker *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool command(struct load_worker *w, const char *fmt, ...)
{
	char line[512], tag[16];
	struct answer answer;
	va_list ap;
	int n, m;

	snprintf(tag, sizeof tag, "a%u", ++w->tag);
	n = snprintf(line, sizeof line, "%s ", tag);
	va_start(ap, fmt);
	m = vsnprintf(line + n, sizeof line - (size_t)n - 2, fmt, ap);
	va_end(ap);
	memcpy(line + n + m, "\r\n", 2);
	if (!connection_send(w->connection, line, (size_t)(n + m) + 2) ||
	    !connection_answer(w->connection, tag, &answer) || !answer.ok)
		return false;
	load_add(&w->sum, &answer);
	return true;
}

static bool log_in(struct load_worker *w)
{
	char user[128];

	w->connection = connection_open(&w->options->target);
	load_user(w->options, w->number, user, sizeof user);
	return w->connection && command(w, "LOGIN %s %s", user, w->options->password);
}

static void log_out(struct load_worker *w)
{
	if (w->connection)
		command(w, "LOGOUT");
	connection_close(w->connection);
	w->connection = NULL;
}

static bool log_in_and_select(struct load_worker *w)
{
	return log_in(w) && command(w, "SELECT %s", mailbox);
}

static bool log_in_and_enable(struct load_worker *w)
{
	return log_in(w) && command(w, "ENABLE QRESYNC");
}

static bool run_login(struct load_worker *w)
{
	bool ok = log_in(w);

	log_out(w);
	return ok;
}

/* 2 to 200 KB, most of them small, of lines that look like base64. */
static bool run_append(struct load_worker *w)
{
	static const char head[] = "From: a@example.test\r\nTo: b@example.test\r\nSubject: load\r\n"
				   "Date: Mon, 7 Feb 1994 21:52:25 -0800\r\nMessage-ID: <%08x@example.test>\r\n\r\n";
	size_t size = 2000u + (load_random(w) % 8 == 0 ? load_random(w) % 198000 : load_random(w) % 20000);
	char *text = malloc(size + 512), tag[16];
	int n = snprintf(text, 512, head, load_random(w));
	char line[256];
	bool ok;

	for (size_t i = (size_t)n; i < size; i++)
		text[i] = i % 78 == 76 ? '\r' : i % 78 == 77 ? '\n' : (char)('A' + i % 26);
	memcpy(text + size - 2, "\r\n", 2);
	snprintf(tag, sizeof tag, "a%u", ++w->tag);
	snprintf(line, sizeof line, "%s APPEND %s {%zu}\r\n", tag, mailbox, size);
	ok = connection_send(w->connection, line, strlen(line)) && connection_answer(w->connection, "+", NULL) &&
	     connection_send(w->connection, text, size) && connection_send(w->connection, "\r\n", 2) &&
	     connection_answer(w->connection, tag, &w->sum) && w->sum.ok;
	free(text);
	return ok;
}

static bool run_select(struct load_worker *w)
{
	bool ok = log_in_and_select(w);

	log_out(w);
	return ok;
}

/* Be told what has changed since. */
static bool run_qresync(struct load_worker *w)
{
	return command(w, "SELECT %s (QRESYNC (%s))", mailbox, known);
}

static bool run_reselect(struct load_worker *w)
{
	return command(w, "SELECT %s", mailbox);
}

static bool run_list(struct load_worker *w)
{
	return command(w, "LIST \"\" *");
}

static bool run_metadata(struct load_worker *w)
{
	return command(w, "FETCH 1:* (FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)");
}

static unsigned any_message(struct load_worker *w)
{
	return load_random(w) % w->options->messages + 1;
}

/* A screenful. */
static bool run_page(struct load_worker *w)
{
	unsigned any = any_message(w), first = any > 50 ? any - 49 : 1;

	return command(w, "FETCH %u:%u (FLAGS ENVELOPE)", first, first + 49);
}

static bool run_flags(struct load_worker *w)
{
	return command(w, "FETCH 1:* (FLAGS)");
}

static bool run_body(struct load_worker *w)
{
	return command(w, "FETCH %u BODY.PEEK[]", any_message(w));
}

static bool run_download(struct load_worker *w)
{
	return command(w, "FETCH 1:* BODY.PEEK[]");
}

/* Those that set and take away in turn: each operation changes something. */
static char plus_or_minus(struct load_worker *w)
{
	return w->tag % 2 == 0 ? '+' : '-'; /* LOGIN and SELECT came first */
}

static bool run_store(struct load_worker *w)
{
	if (plus_or_minus(w) == '+')
		w->kept = any_message(w);
	return command(w, "STORE %u %cFLAGS (\\Flagged)", w->kept, plus_or_minus(w));
}

static bool run_store_all(struct load_worker *w)
{
	return command(w, "STORE 1:%u %cFLAGS (\\Answered)", w->options->messages, plus_or_minus(w));
}

static bool run_copy(struct load_worker *w)
{
	return command(w, "COPY 1:%u %s", w->options->messages, other);
}

/* There, and with the next operation back. */
static bool run_move(struct load_worker *w)
{
	const char *to = w->kept++ % 2 == 0 ? other : mailbox;

	return command(w, "MOVE 1:%u %s", w->options->messages, to) && command(w, "SELECT %s", to);
}

/* One message goes for good: the last, which came last. */
static bool run_expunge(struct load_worker *w)
{
	return command(w, "STORE * +FLAGS.SILENT (\\Deleted)") && command(w, "EXPUNGE");
}

static bool run_search_flag(struct load_worker *w)
{
	return command(w, "SEARCH UNSEEN NOT FLAGGED");
}

static bool run_search_header(struct load_worker *w)
{
	return command(w, "SEARCH SUBJECT \"invoice\"");
}

static bool run_search_body(struct load_worker *w)
{
	return command(w, "SEARCH BODY \"zebra crossing\"");
}

static bool run_mix(struct load_worker *w)
{
	unsigned any = any_message(w), first = any > 50 ? any - 49 : 1;
	bool ok = log_in_and_select(w) && command(w, "FETCH %u:%u (FLAGS ENVELOPE)", first, first + 49) &&
		  command(w, "FETCH %u BODY.PEEK[]", first) && command(w, "STORE %u +FLAGS.SILENT (\\Seen)", first);

	log_out(w);
	return ok;
}

static const struct load loads[] = {
	{"login", NULL, run_login, false},
	{"append", log_in, run_append, true},
	{"select", NULL, run_select, false},
	{"qresync", log_in_and_enable, run_qresync, true},
	{"reselect", log_in, run_reselect, true},
	{"list", log_in, run_list, true},
	{"metadata", log_in_and_select, run_metadata, true},
	{"page", log_in_and_select, run_page, true},
	{"flags", log_in_and_select, run_flags, true},
	{"body", log_in_and_select, run_body, true},
	{"download", log_in_and_select, run_download, true},
	{"store", log_in_and_select, run_store, true},
	{"store-all", log_in_and_select, run_store_all, true},
	{"copy", log_in_and_select, run_copy, true},
	{"move", log_in_and_select, run_move, true},
	{"expunge", log_in_and_select, run_expunge, true},
	{"search-flag", log_in_and_select, run_search_flag, true},
	{"search-header", log_in_and_select, run_search_header, true},
	{"search-body", log_in_and_select, run_search_body, true},
	{"mix", NULL, run_mix, false},
};

static int usage(void)
{
	printf("usage: imapload --scenario NAME " LOAD_USAGE "\n"
	       "                [--mailbox NAME] [--other NAME] [--known \"UIDVALIDITY MODSEQ\"]\nscenarios:");
	for (size_t i = 0; i < sizeof loads / sizeof *loads; i++)
		printf(" %s", loads[i].name);
	printf("\n");
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		LOAD_OPTIONS,
		{"scenario", 1, NULL, 's'},
		{"mailbox", 1, NULL, 'm'},
		{"other", 1, NULL, 'o'},
		{"known", 1, NULL, 'k'},
		{NULL, 0, NULL, 0},
	};
	struct load_options o = load_defaults;
	const struct load *load = NULL;
	const char *name = "";
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 's': name = optarg; break;
		case 'm': mailbox = optarg; break;
		case 'o': other = optarg; break;
		case 'k': known = optarg; break;
		default:
			if (!load_option(&o, c, optarg))
				return usage();
		}
	}
	for (size_t i = 0; i < sizeof loads / sizeof *loads; i++)
		if (strcmp(loads[i].name, name) == 0)
			load = &loads[i];
	return load && load_options_make_sense(&o) ? load_run(load, &o) : usage();
}
