/* SPDX-License-Identifier: MIT */
/* tests/bench/load.h - what load clients share: workers that do one kind of work side by side, and the line that tells of it. */
#ifndef TESTS_BENCH_LOAD_H
#define TESTS_BENCH_LOAD_H

#include "tests/bench/connection.h"

struct load_options {
	struct target target;
	const char *user, *password; /* the user: a pattern with a %u for the number */
	unsigned first, users;       /* numbers from `first` on */
	unsigned connections, messages;
	unsigned long operations;
};

struct load_worker {
	const struct load_options *options;
	unsigned number;
	unsigned long operations, errors;
	struct connection *connection;
	struct answer sum;   /* of all operations: what was answered */
	uint64_t *latencies; /* nanoseconds */
	uint32_t random;
	unsigned tag;
	unsigned kept; /* the scenario's own */
};

struct load {
	const char *name;
	bool (*prepare)(struct load_worker *w); /* before the clock starts */
	bool (*run)(struct load_worker *w);     /* one operation */
	bool ends_with_error; /* the connection is of no use after an operation that failed: the rest fails too */
};

#define LOAD_OPTIONS                                                                                                   \
	{"port", 1, NULL, 'p'}, {"tls", 0, NULL, 't'}, {"user", 1, NULL, 'u'}, {"first", 1, NULL, 'F'},                \
		{"users", 1, NULL, 'U'}, {"connections", 1, NULL, 'c'}, {"operations", 1, NULL, 'n'},                  \
	{                                                                                                              \
		"messages", 1, NULL, 'M'                                                                               \
	}
#define LOAD_USAGE                                                                                                     \
	"--port N [--tls] [--user PATTERN] [--first N] [--users N] [--connections N] [--operations N] [--messages N]"

extern const struct load_options load_defaults;
/* Takes one of LOAD_OPTIONS; false if it is none. */
bool load_option(struct load_options *o, int option, const char *value);
bool load_options_make_sense(const struct load_options *o);

/*
 * Prints "ready" when all workers are prepared, waits for a line, runs all operations and prints a line of JSON. The program's exit
 * status.
 */
int load_run(const struct load *load, const struct load_options *o);

uint64_t load_now_ns(void);
double load_own_cpu(void);
/* The same numbers for every server: xorshift with the worker's number as the seed. */
uint32_t load_random(struct load_worker *w);
void load_user(const struct load_options *o, unsigned number, char *out, size_t size);
/* Sorts them and prints `"p50_us": ..., "p99_us": ..., "max_us": ...`. */
void load_print_latencies(uint64_t *latencies, unsigned long count);
void load_add(struct answer *sum, const struct answer *answer);

#endif
