/* SPDX-License-Identifier: MIT */
/*
 * idleload - many sessions that IDLE, each user's spread over their mailbox's clients. Once all are there it prints a line of JSON with
 * what the log-ins took, and then does what it reads, a line each:
 *
 *     notice N    N messages one after the other, each to the next user's mailbox by APPEND: how long from its last octet sent until
 *                 each of the user's sessions was told of it
 *     login N     N log-ins and log-outs one after the other, beside all those sessions
 *
 * with a line of JSON for each. It ends, and its sessions with it, when its input does.
 */
#include <getopt.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>
#include <gnutls/gnutls.h>
#include "tests/bench/load.h"

enum {
	OPENERS = 8,
	SOURCES = 8, /* addresses: one has not ports enough for tens of thousands of connections */
	PATIENCE_MS = 60000,
};

static struct load_options o;
static struct connection **sessions; /* number n is user n % users's */
static uint64_t *latencies;
static unsigned long failed;
static int readable; /* epoll of all sessions */

/* ---- sessions ---------------------------------------------------------------------------------- */

static bool say(struct connection *c, const char *tag, const char *text)
{
	char line[300];
	struct answer answer;
	int n = snprintf(line, sizeof line, "%s %s\r\n", tag[0] == '+' ? "i" : tag, text);

	return connection_send(c, line, (size_t)n) && connection_answer(c, tag, &answer) && answer.ok;
}

static struct connection *open_session(unsigned number)
{
	char user[128], login[200];
	struct target target = o.target;
	struct connection *c;

	target.source = INADDR_LOOPBACK + 1 + number % SOURCES;
	c = connection_open(&target);
	load_user(&o, number, user, sizeof user);
	snprintf(login, sizeof login, "LOGIN %s %s", user, o.password);
	if (c && say(c, "a", login))
		return c;
	connection_close(c);
	return NULL;
}

static void *open_some(void *arg)
{
	for (unsigned i = *(unsigned *)arg; i < o.connections; i += OPENERS) {
		uint64_t start = load_now_ns();
		struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};

		sessions[i] = open_session(i);
		if (!sessions[i] || !say(sessions[i], "b", "SELECT INBOX") || !say(sessions[i], "+", "IDLE"))
			__atomic_add_fetch(&failed, 1, __ATOMIC_RELAXED);
		else
			epoll_ctl(readable, EPOLL_CTL_ADD, connection_fd(sessions[i]), &event);
		latencies[i] = load_now_ns() - start;
	}
	return NULL;
}

static void tell(const char *what, double seconds, unsigned long count)
{
	printf("{\"%s\": %lu, \"errors\": %lu, \"seconds\": %.6f, \"client_cpu\": %.6f, ", what, count, failed, seconds,
	       load_own_cpu());
	load_print_latencies(latencies, count);
	printf("}\n");
	fflush(stdout);
}

static void open_all(void)
{
	unsigned numbers[OPENERS];
	pthread_t threads[OPENERS];
	uint64_t start = load_now_ns();

	for (unsigned i = 0; i < OPENERS; i++) {
		numbers[i] = i;
		pthread_create(&threads[i], NULL, open_some, &numbers[i]);
	}
	for (unsigned i = 0; i < OPENERS; i++)
		pthread_join(threads[i], NULL);
	tell("sessions", (double)(load_now_ns() - start) / 1e9, o.connections);
}

/* ---- what is done beside them ------------------------------------------------------------------ */

/* Whether the session was told of a message; it may be told of other things as well. */
static bool was_told(struct connection *c)
{
	char line[200];
	bool told = false;

	do {
		if (!connection_line(c, line, sizeof line)) {
			failed++;
			return true; /* nothing more will come */
		}
		told = told || strstr(line, " EXISTS");
	} while (connection_has_unread(c));
	return told;
}

static unsigned sessions_of(unsigned user)
{
	return o.connections / o.users + (user < o.connections % o.users);
}

/* Until all of the user's sessions were told; the number of latencies there are then. */
static unsigned long wait_for_notices(unsigned user, uint64_t since, unsigned long count)
{
	struct epoll_event events[64];

	for (unsigned missing = sessions_of(user); missing > 0;) {
		int n = epoll_wait(readable, events, 64, PATIENCE_MS);

		if (n <= 0) {
			failed += missing;
			break;
		}
		for (int i = 0; i < n; i++)
			if (was_told(sessions[events[i].data.u32]) && events[i].data.u32 % o.users == user &&
			    missing > 0) {
				latencies[count++] = load_now_ns() - since;
				missing--;
			}
	}
	return count;
}

static void notice(unsigned long messages)
{
	static const char text[] = "From: a@example.test\r\nSubject: news\r\n\r\nSomething has happened.\r\n\r\n";
	unsigned long count = 0;
	uint64_t start = load_now_ns(), since;
	char line[100];

	free(latencies);
	latencies = calloc(messages * (o.connections / o.users + 1), sizeof *latencies);
	for (unsigned long i = 0; i < messages; i++) {
		unsigned user = (unsigned)(i % o.users);
		struct connection *c = open_session(user);

		snprintf(line, sizeof line, "c APPEND INBOX {%zu}\r\n", sizeof text - 3);
		if (!c || !connection_send(c, line, strlen(line)) || !connection_answer(c, "+", NULL) ||
		    !connection_send(c, text, sizeof text - 1)) {
			failed++;
			continue;
		}
		since = load_now_ns();
		count = wait_for_notices(user, since, count);
		if (!connection_answer(c, "c", NULL))
			failed++;
		connection_close(c);
	}
	tell("notices", (double)(load_now_ns() - start) / 1e9, count);
}

static void log_in_and_out(unsigned long count)
{
	uint64_t start = load_now_ns();

	free(latencies);
	latencies = calloc(count, sizeof *latencies);
	for (unsigned long i = 0; i < count; i++) {
		uint64_t since = load_now_ns();
		struct connection *c = open_session((unsigned)i);

		if (!c || !say(c, "z", "LOGOUT"))
			failed++;
		connection_close(c);
		latencies[i] = load_now_ns() - since;
	}
	tell("logins", (double)(load_now_ns() - start) / 1e9, count);
}

static void raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {LOAD_OPTIONS, {NULL, 0, NULL, 0}};
	char line[100];
	int c;

	o = load_defaults;
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1)
		if (!load_option(&o, c, optarg))
			return 2;
	o.operations = o.connections;
	if (!load_options_make_sense(&o) || o.connections < o.users) {
		printf("usage: idleload " LOAD_USAGE "\n--connections: at least one of each user\n");
		return 2;
	}
	gnutls_global_init();
	raise_descriptors();
	readable = epoll_create1(EPOLL_CLOEXEC);
	sessions = calloc(o.connections, sizeof *sessions);
	latencies = calloc(o.connections, sizeof *latencies);
	open_all();
	while (fgets(line, sizeof line, stdin)) {
		if (strncmp(line, "notice ", 7) == 0)
			notice(strtoul(line + 7, NULL, 10));
		else if (strncmp(line, "login ", 6) == 0)
			log_in_and_out(strtoul(line + 6, NULL, 10));
	}
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
