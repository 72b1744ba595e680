/* SPDX-License-Identifier: MIT */
/*
 * mailload - hands messages to an SMTP or LMTP server on several connections at once, and can be the next host that they go on
 * to. A line of JSON says how long it took until all were answered, and until all had come to the next host, and how much CPU
 * both ends of it needed here.
 */
#include <arpa/inet.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	BUFFER = 64 * 1024,
	WAIT_S = 120, /* for the next host's last message */
};

struct options {
	unsigned port, sink_port, connections, first, users, recipients;
	unsigned long messages;
	size_t size;
	bool lmtp, log_in;
	const char *sender, *recipient; /* patterns with a user's number */
};

struct line_reader {
	int fd;
	size_t from, to;
	char buffer[BUFFER];
};

struct worker {
	const struct options *options;
	unsigned number;
	unsigned long messages, errors;
	uint64_t *latencies; /* nanoseconds */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t arrived = PTHREAD_COND_INITIALIZER;
static unsigned long sink_count;
static uint64_t sink_last;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static double own_cpu(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* ---- lines ------------------------------------------------------------------------------------- */

static bool fill(struct line_reader *r)
{
	ssize_t n = read(r->fd, r->buffer, BUFFER);

	r->from = 0;
	r->to = n > 0 ? (size_t)n : 0;
	return n > 0;
}

/* Its first octets, without the line end. */
static bool read_line(struct line_reader *r, char *line, size_t size)
{
	size_t len = 0;

	for (;;) {
		char *at = r->buffer + r->from, *end = memchr(at, '\n', r->to - r->from);
		size_t n = end ? (size_t)(end - at) + 1 : r->to - r->from;
		size_t kept = n < size - 1 - len ? n : size - 1 - len;

		memcpy(line + len, at, kept);
		len += kept;
		r->from += n;
		if (end)
			break;
		if (!fill(r))
			return false;
	}
	line[len] = '\0';
	line[strcspn(line, "\r\n")] = '\0';
	return true;
}

static bool send_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

static bool say(int fd, const char *text)
{
	return send_all(fd, text, strlen(text));
}

/* A reply of any number of lines. */
static bool expect(struct line_reader *r, char class)
{
	char line[512];

	do
		if (!read_line(r, line, sizeof line))
			return false;
	while (strlen(line) > 3 && line[3] == '-');
	if (line[0] != class)
		fprintf(stderr, "answer: %s\n", line);
	return line[0] == class;
}

/* ---- the next host ----------------------------------------------------------------------------- */

static bool take_message(struct line_reader *r)
{
	char line[8];

	do
		if (!read_line(r, line, sizeof line))
			return false;
	while (strcmp(line, ".") != 0);
	pthread_mutex_lock(&lock);
	sink_count++;
	sink_last = now_ns();
	pthread_cond_signal(&arrived);
	pthread_mutex_unlock(&lock);
	return true;
}

static const char *answer_to(const char *line)
{
	static const struct {
		const char *verb, *answer;
	} answers[] = {
		{"EHLO", "250-sink\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n250 8BITMIME\r\n"},
		{"DATA", "354 go on\r\n"},
		{"QUIT", "221 2.0.0 bye\r\n"},
	};

	for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
		if (strncasecmp(line, answers[i].verb, 4) == 0)
			return answers[i].answer;
	return "250 2.0.0 OK\r\n";
}

/* Answers of what came together go out together, as a client that pipelines expects. */
static void *sink_session(void *arg)
{
	struct line_reader *r = arg;
	char line[512], out[4096] = "220 sink ESMTP\r\n";
	bool open = true;

	while (open) {
		if (r->from == r->to) {
			if (!say(r->fd, out))
				break;
			out[0] = '\0';
		}
		if (!read_line(r, line, sizeof line))
			break;
		strncat(out, answer_to(line), sizeof out - strlen(out) - 1);
		if (strncasecmp(line, "DATA", 4) == 0) {
			open = say(r->fd, out) && take_message(r);
			snprintf(out, sizeof out, "250 2.0.0 taken\r\n");
		} else if (strncasecmp(line, "QUIT", 4) == 0) {
			say(r->fd, out);
			open = false;
		}
	}
	close(r->fd);
	free(r);
	return NULL;
}

static struct sockaddr_in loopback(unsigned port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void *sink_main(void *arg)
{
	int listener = *(int *)arg, one = 1;

	for (;;) {
		struct line_reader *r = calloc(1, sizeof *r);
		pthread_t thread;

		r->fd = accept(listener, NULL, NULL);
		if (r->fd < 0)
			return NULL;
		setsockopt(r->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		pthread_create(&thread, NULL, sink_session, r);
		pthread_detach(thread);
	}
}

static bool start_sink(unsigned port)
{
	static int listener;
	struct sockaddr_in address = loopback(port);
	pthread_t thread;
	int one = 1;

	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 1000) < 0) {
		perror("the next host's port");
		return false;
	}
	return pthread_create(&thread, NULL, sink_main, &listener) == 0;
}

static bool wait_for_sink(unsigned long count)
{
	struct timespec end;
	bool all;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += WAIT_S;
	pthread_mutex_lock(&lock);
	while (sink_count < count && pthread_cond_timedwait(&arrived, &lock, &end) == 0)
		;
	all = sink_count >= count;
	pthread_mutex_unlock(&lock);
	return all;
}

/* ---- the load ---------------------------------------------------------------------------------- */

/* `number` counts on from the worker's own: the next recipient is the next user. */
static void put_user(char *out, size_t size, const char *pattern, const struct worker *w, unsigned number)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(out, size, pattern, w->options->first + (w->number + number) % w->options->users);
#pragma GCC diagnostic pop
}

static size_t base64(const unsigned char *data, size_t len, char *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t n = 0;

	for (size_t i = 0; i < len; i += 3) {
		unsigned group = (unsigned)data[i] << 16 | (i + 1 < len ? (unsigned)data[i + 1] << 8 : 0) |
				 (i + 2 < len ? data[i + 2] : 0u);

		out[n++] = digits[group >> 18];
		out[n++] = digits[group >> 12 & 63];
		out[n++] = i + 1 < len ? digits[group >> 6 & 63] : '=';
		out[n++] = i + 2 < len ? digits[group & 63] : '=';
	}
	out[n] = '\0';
	return n;
}

static bool log_in(const struct worker *w, struct line_reader *r)
{
	char user[100], plain[300], coded[500], line[600];
	int n;

	put_user(user, sizeof user, w->options->sender, w, 0);
	n = snprintf(plain, sizeof plain, "%c%s%cpass", 0, user, 0);
	base64((const unsigned char *)plain, (size_t)n, coded);
	snprintf(line, sizeof line, "AUTH PLAIN %s\r\n", coded);
	return say(r->fd, line) && expect(r, '2');
}

static bool open_session(const struct worker *w, struct line_reader *r)
{
	struct sockaddr_in address = loopback(w->options->port);
	int one = 1;

	r->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(r->fd, (struct sockaddr *)&address, sizeof address) < 0) {
		perror("connect");
		return false;
	}
	setsockopt(r->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return expect(r, '2') &&
	       say(r->fd, w->options->lmtp ? "LHLO load.example.org\r\n" : "EHLO load.example.org\r\n") &&
	       expect(r, '2') && (!w->options->log_in || log_in(w, r));
}

/* LMTP answers for each recipient. */
static bool hand_over(const struct worker *w, struct line_reader *r, const char *text, size_t len)
{
	char sender[100], recipient[100], envelope[4000];
	unsigned replies = w->options->lmtp ? w->options->recipients : 1;
	bool ok;
	int n;

	put_user(sender, sizeof sender, w->options->sender, w, 0);
	n = snprintf(envelope, sizeof envelope, "MAIL FROM:<%s>\r\n", sender);
	for (unsigned i = 0; i < w->options->recipients; i++) {
		put_user(recipient, sizeof recipient, w->options->recipient, w, i);
		n += snprintf(envelope + n, sizeof envelope - (size_t)n, "RCPT TO:<%s>\r\n", recipient);
	}
	snprintf(envelope + n, sizeof envelope - (size_t)n, "DATA\r\n");
	ok = say(r->fd, envelope) && expect(r, '2');
	for (unsigned i = 0; i < w->options->recipients; i++)
		ok = ok && expect(r, '2');
	ok = ok && expect(r, '3') && send_all(r->fd, text, len);
	for (unsigned i = 0; i < replies; i++)
		ok = ok && expect(r, '2');
	return ok;
}

static char *make_message(const struct worker *w, size_t *ret_len)
{
	static const char head[] = "From: user@example.test\r\nTo: someone@example.org\r\nSubject: load\r\n"
				   "Date: Mon, 7 Feb 2022 21:52:25 -0800\r\nMessage-ID: <%u.%ld@example.test>\r\n\r\n";
	char *text = malloc(w->options->size + 512);
	size_t len = (size_t)snprintf(text, 512, head, w->number, (long)getpid());

	while (len < w->options->size) {
		size_t n = 76;

		memset(text + len, 'A' + (int)(len / 78 % 26), n);
		memcpy(text + len + n, "\r\n", 2);
		len += n + 2;
	}
	memcpy(text + len, ".\r\n", 3);
	*ret_len = len + 3;
	return text;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct line_reader *r = calloc(1, sizeof *r);
	size_t len;
	char *text = make_message(w, &len);
	bool usable = open_session(w, r);

	for (unsigned long i = 0; i < w->messages; i++) {
		uint64_t start = now_ns();

		if (!usable || !(usable = hand_over(w, r, text, len)))
			w->errors++;
		w->latencies[i] = now_ns() - start;
	}
	if (usable)
		say(r->fd, "QUIT\r\n");
	close(r->fd);
	free(r);
	free(text);
	return NULL;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static int run(const struct options *o)
{
	struct worker *workers = calloc(o->connections, sizeof *workers);
	pthread_t *threads = calloc(o->connections, sizeof *threads);
	unsigned long each = o->messages / o->connections, total = each * o->connections, errors = 0;
	uint64_t *latencies = calloc(total, sizeof *latencies), start = now_ns(), answered;

	for (unsigned i = 0; i < o->connections; i++) {
		workers[i] =
			(struct worker){.options = o, .number = i, .messages = each, .latencies = latencies + each * i};
		pthread_create(&threads[i], NULL, worker_main, &workers[i]);
	}
	for (unsigned i = 0; i < o->connections; i++) {
		pthread_join(threads[i], NULL);
		errors += workers[i].errors;
	}
	answered = now_ns();
	if (o->sink_port && !wait_for_sink(total - errors))
		errors += total - errors - sink_count;
	qsort(latencies, total, sizeof *latencies, compare);
	printf("{\"operations\": %lu, \"errors\": %lu, \"answered\": %.6f, \"seconds\": %.6f, \"client_cpu\": %.6f, "
	       "\"p50_us\": %.1f, \"p99_us\": %.1f}\n",
	       total, errors, (double)(answered - start) / 1e9,
	       o->sink_port ? (double)(sink_last - start) / 1e9 : (double)(answered - start) / 1e9, own_cpu(),
	       (double)latencies[total / 2] / 1e3, (double)latencies[total * 99 / 100] / 1e3);
	return errors ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int usage(void)
{
	printf("usage: mailload --port N [--lmtp] [--log-in] [--sender PATTERN] [--recipient PATTERN] [--first N] "
	       "[--users N]\n"
	       "                [--recipients N, at most 20] [--connections N] [--messages N] [--size OCTETS] [--sink "
	       "PORT]\n"
	       "PATTERN has a %%u for the user's number; the password is \"pass\".\n");
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{"port", 1, NULL, 'p'},     {"lmtp", 0, NULL, 'l'},      {"log-in", 0, NULL, 'a'},
		{"sender", 1, NULL, 'f'},   {"recipient", 1, NULL, 't'}, {"users", 1, NULL, 'U'},
		{"messages", 1, NULL, 'n'}, {"size", 1, NULL, 's'},      {"connections", 1, NULL, 'c'},
		{"sink", 1, NULL, 'k'},     {"first", 1, NULL, 'F'},     {"recipients", 1, NULL, 'r'},
		{NULL, 0, NULL, 0},
	};
	struct options o = {.sender = "user%04u@example.test",
			    .recipient = "user%04u@example.test",
			    .connections = 1,
			    .first = 1,
			    .users = 1,
			    .recipients = 1,
			    .messages = 1,
			    .size = 4000};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'p': o.port = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'l': o.lmtp = true; break;
		case 'a': o.log_in = true; break;
		case 'f': o.sender = optarg; break;
		case 't': o.recipient = optarg; break;
		case 'F': o.first = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'r': o.recipients = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'U': o.users = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'c': o.connections = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'n': o.messages = strtoul(optarg, NULL, 10); break;
		case 's': o.size = strtoul(optarg, NULL, 10); break;
		case 'k': o.sink_port = (unsigned)strtoul(optarg, NULL, 10); break;
		default: return usage();
		}
	}
	if (!o.port || o.connections == 0 || o.users == 0 || o.recipients == 0 || o.recipients > 20 ||
	    o.messages < o.connections)
		return usage();
	if (o.sink_port && !start_sink(o.sink_port))
		return EXIT_FAILURE;
	return run(&o);
}
