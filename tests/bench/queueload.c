/* SPDX-License-Identifier: MIT */
/*
 * queueload DIR COUNT: fills a queue with COUNT messages to COUNT / 10 destinations, and says how long it takes to add, to open, to list, to
 * look for work and to send, and how much memory the process has meanwhile. `make queue-bench QUEUE_DIR=... QUEUE_COUNT=...`
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "core/delivery/queue/queue.h"
#include "postern/error.h"

enum {
	OUTSTANDING = 500,
	SENT = 20000,
};

static struct ps_loop *loop;
static struct ps_queue *queue;
static const char *dir;
static unsigned count, begun, done_count, sent;
static double since;

static double now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

/* What the process has, but for the pages of files that it shares with the system's cache. */
static long own_kilobytes(void)
{
	char text[4096] = "", *at;
	int fd = open("/proc/self/status", O_RDONLY);
	long n = 0;

	if (read(fd, text, sizeof text - 1) > 0 && (at = strstr(text, "RssAnon:")))
		n = strtol(at + 8, NULL, 10);
	close(fd);
	return n;
}

static void tell(const char *what, double n, const char *unit)
{
	printf("%-52s %10.2f %-10s own memory %7.1f MB\n", what, n, unit, (double)own_kilobytes() / 1024);
	fflush(stdout);
}

static void must(int r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, ps_last_error());
	exit(1);
}

/* ---- adding ------------------------------------------------------------------------------------ */

static int body = -1;

static void add_more(void);

static void added(void *arg, int error)
{
	(void)arg;
	must(error, "add");
	if (++done_count == count)
		ps_loop_stop(loop);
	else
		add_more();
}

static void add_more(void)
{
	while (begun < count && begun - done_count < OUTSTANDING) {
		char id[24], sender[40], address[48], destination[40];
		struct ps_queue_recipient recipient = {.address = address, .destination = destination};
		struct ps_queue_message message = {
			.id = id, .reverse_path = sender, .recipients = &recipient, .count = 1, .size = 3000};
		unsigned n = begun++;

		/* A file has so many names at most. The one before may still be in use. */
		if (n % 30000 == 0) {
			static char text[3000];

			body = open(dir, O_TMPFILE | O_RDWR, 0600);
			if (write(body, text, sizeof text) != (ssize_t)sizeof text)
				exit(1);
		}
		snprintf(id, sizeof id, "%08X-BENCH", n);
		snprintf(sender, sizeof sender, "sender%u@example.com", n % 1000);
		snprintf(address, sizeof address, "user%u@d%u.example", n, n / 10);
		snprintf(destination, sizeof destination, "mx:d%u.example", n / 10);
		message.file = body;
		ps_queue_add(queue, &message, added, NULL);
	}
}

/* ---- opening, listing, sending ------------------------------------------------------------------- */

static void finished(void *arg, int error)
{
	(void)arg;
	must(error, "finish");
	if (++sent == SENT || sent == count)
		ps_loop_stop(loop);
}

static void attempt(void *arg, struct ps_queue_attempt *to_send)
{
	static bool first = true;
	static const struct ps_queue_result result = {PS_QUEUE_DELIVERED, 250, "2.0.0", "OK", "mx.example"};
	const struct ps_queue_finish finish = {.results = &result, .verdict = PS_QUEUE_REACHED};

	(void)arg;
	if (first)
		tell("the first attempt after the start", (now() - since) * 1000, "ms");
	first = false;
	ps_queue_finish(queue, to_send, &finish, finished, NULL);
}

static void open_queue(void)
{
	const struct ps_queue_hooks hooks = {.attempt = attempt};

	must(ps_queue_open(loop, dir, &ps_queue_defaults, &hooks, &queue), "open");
}

static void closed(void *arg)
{
	(void)arg;
	ps_loop_stop(loop);
}

static json_int_t next;
static unsigned rows;

static void answered(void *arg, const char *text)
{
	json_t *answer = json_loads(text, 0, NULL);

	(void)arg;
	next = json_integer_value(json_object_get(answer, "next"));
	rows += (unsigned)json_array_size(json_object_get(answer, "rows"));
	json_decref(answer);
	ps_loop_stop(loop);
}

static void ask(const char *filter, bool all)
{
	next = 0;
	rows = 0;
	since = now();
	do {
		char request[256];

		snprintf(request, sizeof request, "{\"what\": \"list\"%s, \"after\": %lld}", filter, (long long)next);
		ps_queue_ask(queue, request, answered, NULL);
		ps_loop_run(loop);
	} while (all && next);
}

static void on_stats(void *arg, const struct ps_queue_stats *stats)
{
	uint64_t *visited = arg;

	*visited = stats->visited;
	ps_loop_stop(loop);
}

static void run(void)
{
	uint64_t visited = 0;

	open_queue();
	since = now();
	add_more();
	ps_loop_run(loop);
	tell("added, a second", count / (now() - since), "messages");
	ps_queue_close(queue, closed, NULL);
	ps_loop_run(loop);
	since = now();
	open_queue();
	tell("open", (now() - since) * 1000, "ms");
	ask("", false);
	tell("list: one page of 100", (now() - since) * 1000, "ms");
	ask(", \"sender\": \"sender7@example.com\"", true);
	tell("list: all messages of one sender in a thousand", (now() - since) * 1000, "ms");
	printf("%52s %10u rows\n", "", rows);
	since = now();
	ps_queue_start(queue);
	ps_loop_run(loop);
	tell("sent, a second", sent / (now() - since), "messages");
	ps_queue_stats(queue, on_stats, &visited);
	ps_loop_run(loop);
	printf("%-52s %10.2f rows\n", "looking for one attempt reads", (double)visited / sent);
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: queueload DIR COUNT\n");
		return 2;
	}
	dir = argv[1];
	count = (unsigned)strtoul(argv[2], NULL, 10);
	must(ps_loop_create(&loop), "loop");
	run();
	return 0;
}
