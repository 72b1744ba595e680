/* SPDX-License-Identifier: MIT */
/*
 * imapload - does one kind of work against an IMAP server with several connections at once and says how long it
 * took: a line of JSON with operations, errors, seconds, latencies, the client's own CPU, and counts of what was
 * answered, by which a caller sees that two servers did the same work.
 */
#include <getopt.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <gnutls/gnutls.h>
#include "tests/bench/connection.h"

struct options {
	struct target target;
	const char *scenario, *user, *password, *mailbox;
	const char *known; /* what "qresync" remembers of the mailbox: "UIDVALIDITY MODSEQ" */
	unsigned connections, users, messages;
	unsigned long operations;
	unsigned hold; /* seconds that "idle" keeps its sessions */
};

struct worker {
	const struct options *options;
	unsigned number;
	unsigned long operations, errors;
	struct connection *connection;
	struct answer sum;
	uint64_t *latencies; /* nanoseconds */
	uint32_t random;
	unsigned tag;
};

struct scenario {
	const char *name;
	bool log_in; /* before the clock starts */
	bool select;
	bool (*run)(struct worker *w);
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The same numbers for every server: xorshift with the worker's number as the seed. */
static uint32_t next_random(struct worker *w)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 17;
	w->random ^= w->random << 5;
	return w->random;
}

static bool command(struct worker *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool command(struct worker *w, const char *fmt, ...)
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
	w->sum.untagged += answer.untagged;
	w->sum.octets += answer.octets;
	return true;
}

static bool log_in(struct worker *w)
{
	char user[128];
	unsigned number = w->number % w->options->users + 1;

	w->connection = connection_open(&w->options->target);
	if (!w->connection)
		return false;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(user, sizeof user, w->options->user, number);
#pragma GCC diagnostic pop
	return command(w, "LOGIN %s %s", user, w->options->password);
}

static void log_out(struct worker *w)
{
	if (w->connection)
		command(w, "LOGOUT");
	connection_close(w->connection);
	w->connection = NULL;
}

static bool run_login(struct worker *w)
{
	bool ok = log_in(w);

	log_out(w);
	return ok;
}

/* 2 to 200 KB, most of them small, of lines that look like base64. */
static bool run_append(struct worker *w)
{
	static const char head[] = "From: a@example.test\r\nTo: b@example.test\r\nSubject: load\r\n"
				   "Date: Mon, 7 Feb 1994 21:52:25 -0800\r\nMessage-ID: <%08x@example.test>\r\n\r\n";
	size_t size = 2000u + (next_random(w) % 8 == 0 ? next_random(w) % 198000 : next_random(w) % 20000);
	char *text = malloc(size + 512), tag[16];
	int n = snprintf(text, 512, head, next_random(w));
	char line[256];
	bool ok;

	for (size_t i = (size_t)n; i < size; i++)
		text[i] = i % 78 == 76 ? '\r' : i % 78 == 77 ? '\n' : (char)('A' + i % 26);
	memcpy(text + size - 2, "\r\n", 2);
	snprintf(tag, sizeof tag, "a%u", ++w->tag);
	snprintf(line, sizeof line, "%s APPEND %s {%zu}\r\n", tag, w->options->mailbox, size);
	ok = connection_send(w->connection, line, strlen(line)) && connection_answer(w->connection, "+", NULL) &&
	     connection_send(w->connection, text, size) && connection_send(w->connection, "\r\n", 2) &&
	     connection_answer(w->connection, tag, &w->sum) && w->sum.ok;
	free(text);
	return ok;
}

static bool run_select(struct worker *w)
{
	bool ok = log_in(w) && command(w, "SELECT %s", w->options->mailbox);

	log_out(w);
	return ok;
}

/* As who was away: log in, and be told what has changed since. */
static bool run_qresync(struct worker *w)
{
	bool ok = log_in(w) && command(w, "ENABLE QRESYNC") &&
		  command(w, "SELECT %s (QRESYNC (%s))", w->options->mailbox, w->options->known);

	log_out(w);
	return ok;
}

static bool run_reselect(struct worker *w)
{
	return command(w, "SELECT %s", w->options->mailbox);
}

static bool run_metadata(struct worker *w)
{
	return command(w, "FETCH 1:* (FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)");
}

static bool run_flags(struct worker *w)
{
	return command(w, "FETCH 1:* (FLAGS)");
}

static unsigned any_message(struct worker *w)
{
	return next_random(w) % w->options->messages + 1;
}

static bool run_body(struct worker *w)
{
	return command(w, "FETCH %u BODY.PEEK[]", any_message(w));
}

static bool run_download(struct worker *w)
{
	return command(w, "FETCH 1:* BODY.PEEK[]");
}

static bool run_store(struct worker *w)
{
	return command(w, "STORE %u %cFLAGS (\\Flagged)", any_message(w), w->tag % 2 ? '+' : '-');
}

static bool run_store_all(struct worker *w)
{
	return command(w, "STORE 1:* %cFLAGS (\\Answered)", w->tag % 2 ? '+' : '-');
}

static bool run_search_flag(struct worker *w)
{
	return command(w, "SEARCH UNSEEN NOT FLAGGED");
}

static bool run_search_header(struct worker *w)
{
	return command(w, "SEARCH SUBJECT \"zebra\"");
}

static bool run_search_body(struct worker *w)
{
	return command(w, "SEARCH BODY \"zebra crossing\"");
}

static bool run_mix(struct worker *w)
{
	unsigned any = any_message(w), first = any > 50 ? any - 49 : 1;
	bool ok = log_in(w) && command(w, "SELECT %s", w->options->mailbox) &&
		  command(w, "FETCH %u:%u (FLAGS ENVELOPE)", first, first + 49) &&
		  command(w, "FETCH %u BODY.PEEK[]", first) && command(w, "STORE %u +FLAGS.SILENT (\\Seen)", first);

	log_out(w);
	return ok;
}

static bool run_idle(struct worker *w)
{
	char line[32];

	snprintf(line, sizeof line, "a%u IDLE\r\n", ++w->tag);
	if (!log_in(w) || !command(w, "SELECT %s", w->options->mailbox) ||
	    !connection_send(w->connection, line, strlen(line)) || !connection_answer(w->connection, "+", NULL))
		return false;
	return true; /* the session stays open until the process ends */
}

static const struct scenario scenarios[] = {
	{"login", false, false, run_login},
	{"append", true, false, run_append},
	{"select", false, false, run_select},
	{"qresync", false, false, run_qresync},
	{"reselect", true, false, run_reselect},
	{"metadata", true, true, run_metadata},
	{"flags", true, true, run_flags},
	{"body", true, true, run_body},
	{"download", true, true, run_download},
	{"store", true, true, run_store},
	{"store-all", true, true, run_store_all},
	{"search-flag", true, true, run_search_flag},
	{"search-header", true, true, run_search_header},
	{"search-body", true, true, run_search_body},
	{"mix", false, false, run_mix},
	{"idle", false, false, run_idle},
};

static pthread_barrier_t ready;
static const struct scenario *scenario;

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	bool usable =
		!scenario->log_in || (log_in(w) && (!scenario->select || command(w, "SELECT %s", w->options->mailbox)));

	memset(&w->sum, 0, sizeof w->sum);
	pthread_barrier_wait(&ready);
	for (unsigned long i = 0; i < w->operations; i++) {
		uint64_t start = now_ns();

		if (!usable || !scenario->run(w)) {
			w->errors++;
			usable = !scenario->log_in;
		}
		w->latencies[i] = now_ns() - start;
	}
	return NULL;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static double own_cpu(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void report(const struct worker *workers, unsigned count, uint64_t *latencies, unsigned long total,
		   double seconds, double cpu)
{
	unsigned long errors = 0;
	uint64_t untagged = 0, octets = 0;

	for (unsigned i = 0; i < count; i++) {
		errors += workers[i].errors;
		untagged += workers[i].sum.untagged;
		octets += workers[i].sum.octets;
	}
	qsort(latencies, total, sizeof *latencies, compare);
	printf("{\"scenario\": \"%s\", \"operations\": %lu, \"errors\": %lu, \"seconds\": %.6f, "
	       "\"client_cpu\": %.6f, "
	       "\"p50_us\": %.1f, \"p99_us\": %.1f, \"untagged\": %llu, \"octets\": %llu}\n",
	       scenario->name, total, errors, seconds, cpu, (double)latencies[total / 2] / 1e3,
	       (double)latencies[total * 99 / 100] / 1e3, (unsigned long long)untagged, (unsigned long long)octets);
	fflush(stdout);
}

static int run(const struct options *o)
{
	struct worker *workers = calloc(o->connections, sizeof *workers);
	pthread_t *threads = calloc(o->connections, sizeof *threads);
	unsigned long each = o->operations / o->connections, total = each * o->connections;
	uint64_t *latencies = calloc(total, sizeof *latencies);
	unsigned long errors = 0;
	pthread_attr_t attr;
	uint64_t start;
	double cpu;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 * 1024);
	pthread_barrier_init(&ready, NULL, o->connections + 1);
	for (unsigned i = 0; i < o->connections; i++) {
		workers[i] = (struct worker){.options = o,
					     .number = i,
					     .operations = each,
					     .latencies = latencies + each * i,
					     .random = 2463534242u + i};
		pthread_create(&threads[i], &attr, worker_main, &workers[i]);
	}
	pthread_barrier_wait(&ready);
	cpu = own_cpu();
	start = now_ns();
	for (unsigned i = 0; i < o->connections; i++)
		pthread_join(threads[i], NULL);
	report(workers, o->connections, latencies, total, (double)(now_ns() - start) / 1e9, own_cpu() - cpu);
	if (strcmp(scenario->name, "idle") == 0)
		sleep(o->hold);
	for (unsigned i = 0; i < o->connections; i++)
		errors += workers[i].errors;
	return errors ? EXIT_FAILURE : EXIT_SUCCESS;
}

static void usage(void)
{
	printf("usage: imapload --scenario NAME --port N [--host ADDRESS] [--tls] [--user PATTERN] "
	       "[--users N]\n"
	       "                [--password P] [--mailbox NAME] [--connections N] [--operations N] "
	       "[--messages N]\n"
	       "                [--hold SECONDS] [--known \"UIDVALIDITY MODSEQ\"]\nscenarios:");
	for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
		printf(" %s", scenarios[i].name);
	printf("\n");
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{"scenario", 1, NULL, 's'},   {"host", 1, NULL, 'h'},     {"port", 1, NULL, 'p'},
		{"tls", 0, NULL, 't'},        {"user", 1, NULL, 'u'},     {"users", 1, NULL, 'U'},
		{"password", 1, NULL, 'w'},   {"mailbox", 1, NULL, 'm'},  {"connections", 1, NULL, 'c'},
		{"operations", 1, NULL, 'n'}, {"messages", 1, NULL, 'M'}, {"hold", 1, NULL, 'H'},
		{"known", 1, NULL, 'k'},      {"help", 0, NULL, '?'},     {NULL, 0, NULL, 0},
	};
	struct options o = {.target = {.host = "127.0.0.1"},
			    .user = "user%04u@example.test",
			    .password = "pass",
			    .mailbox = "INBOX",
			    .known = "1 1",
			    .connections = 1,
			    .users = 1,
			    .messages = 1,
			    .operations = 1,
			    .hold = 10};
	const char *name = "";
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 's': name = optarg; break;
		case 'h': o.target.host = optarg; break;
		case 'p': o.target.port = optarg; break;
		case 't': o.target.tls = true; break;
		case 'u': o.user = optarg; break;
		case 'U': o.users = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'w': o.password = optarg; break;
		case 'm': o.mailbox = optarg; break;
		case 'c': o.connections = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'n': o.operations = strtoul(optarg, NULL, 10); break;
		case 'M': o.messages = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'k': o.known = optarg; break;
		case 'H': o.hold = (unsigned)strtoul(optarg, NULL, 10); break;
		default: usage(); return 2;
		}
	}
	for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
		if (strcmp(scenarios[i].name, name) == 0)
			scenario = &scenarios[i];
	if (!scenario || !o.target.port || o.connections == 0 || o.users == 0 || o.messages == 0 ||
	    o.operations < o.connections) {
		usage();
		return 2;
	}
	gnutls_global_init();
	return run(&o);
}
