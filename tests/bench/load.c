/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <gnutls/gnutls.h>
#include "tests/bench/load.h"

const struct load_options load_defaults = {
	.target = {.host = "127.0.0.1"},
	.user = "user%04u@example.test",
	.password = "pass",
	.first = 1,
	.users = 1,
	.connections = 1,
	.messages = 1,
	.operations = 1,
};

static unsigned number_of(const char *text)
{
	return (unsigned)strtoul(text, NULL, 10);
}

bool load_option(struct load_options *o, int option, const char *value)
{
	switch (option) {
	case 'p': o->target.port = value; break;
	case 't': o->target.tls = true; break;
	case 'u': o->user = value; break;
	case 'F': o->first = number_of(value); break;
	case 'U': o->users = number_of(value); break;
	case 'c': o->connections = number_of(value); break;
	case 'n': o->operations = strtoul(value, NULL, 10); break;
	case 'M': o->messages = number_of(value); break;
	default: return false;
	}
	return true;
}

bool load_options_make_sense(const struct load_options *o)
{
	return o->target.port && o->connections && o->users && o->messages && o->operations >= o->connections;
}

uint64_t load_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

double load_own_cpu(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

uint32_t load_random(struct load_worker *w)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 17;
	w->random ^= w->random << 5;
	return w->random;
}

void load_user(const struct load_options *o, unsigned number, char *out, size_t size)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(out, size, o->user, o->first + number % o->users);
#pragma GCC diagnostic pop
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

void load_print_latencies(uint64_t *latencies, unsigned long count)
{
	qsort(latencies, count, sizeof *latencies, compare);
	printf("\"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f", count ? (double)latencies[count / 2] / 1e3 : 0,
	       count ? (double)latencies[count * 99 / 100] / 1e3 : 0, count ? (double)latencies[count - 1] / 1e3 : 0);
}

void load_add(struct answer *sum, const struct answer *answer)
{
	sum->untagged += answer->untagged;
	sum->fetched += answer->fetched;
	sum->exists += answer->exists;
	sum->hits += answer->hits;
	sum->octets += answer->octets;
}

/* ---- workers ----------------------------------------------------------------------------------- */

static pthread_barrier_t barrier; /* of workers and main(): all are prepared; all may go */
static const struct load *chosen;

static void *worker_main(void *arg)
{
	struct load_worker *w = arg;
	bool usable = !chosen->prepare || chosen->prepare(w);

	memset(&w->sum, 0, sizeof w->sum);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	for (unsigned long i = 0; i < w->operations; i++) {
		uint64_t start = load_now_ns();

		if (!usable || !chosen->run(w)) {
			w->errors++;
			usable = usable && !chosen->ends_with_error;
		}
		w->latencies[i] = load_now_ns() - start;
	}
	return NULL;
}

static unsigned long report(const struct load_worker *workers, unsigned count, uint64_t *latencies, double seconds,
			    double cpu)
{
	unsigned long errors = 0, operations = 0;
	struct answer sum = {0};

	for (unsigned i = 0; i < count; i++) {
		errors += workers[i].errors;
		operations += workers[i].operations;
		load_add(&sum, &workers[i].sum);
	}
	printf("{\"operations\": %lu, \"errors\": %lu, \"seconds\": %.6f, \"client_cpu\": %.6f, \"untagged\": %llu, "
	       "\"fetched\": %llu, \"exists\": %llu, \"hits\": %llu, \"octets\": %llu, ",
	       operations, errors, seconds, cpu, (unsigned long long)sum.untagged, (unsigned long long)sum.fetched,
	       (unsigned long long)sum.exists, (unsigned long long)sum.hits, (unsigned long long)sum.octets);
	load_print_latencies(latencies, operations);
	printf("}\n");
	fflush(stdout);
	return errors;
}

/* What the server's processes have used until now is not of the operations. */
static void wait_for_go(void)
{
	printf("ready\n");
	fflush(stdout);
	while (getchar() != '\n' && !feof(stdin))
		;
}

int load_run(const struct load *load, const struct load_options *o)
{
	struct load_worker *workers = calloc(o->connections, sizeof *workers);
	pthread_t *threads = calloc(o->connections, sizeof *threads);
	unsigned long each = o->operations / o->connections, errors;
	uint64_t *latencies = calloc(each * o->connections, sizeof *latencies), start;
	double cpu;

	gnutls_global_init();
	chosen = load;
	pthread_barrier_init(&barrier, NULL, o->connections + 1);
	for (unsigned i = 0; i < o->connections; i++) {
		workers[i] = (struct load_worker){.options = o,
						  .number = i,
						  .operations = each,
						  .latencies = latencies + each * i,
						  .random = 2463534242u + i * 747796405u};
		pthread_create(&threads[i], NULL, worker_main, &workers[i]);
	}
	pthread_barrier_wait(&barrier);
	wait_for_go();
	cpu = load_own_cpu();
	start = load_now_ns();
	pthread_barrier_wait(&barrier);
	for (unsigned i = 0; i < o->connections; i++)
		pthread_join(threads[i], NULL);
	errors =
		report(workers, o->connections, latencies, (double)(load_now_ns() - start) / 1e9, load_own_cpu() - cpu);
	for (unsigned i = 0; i < o->connections; i++)
		connection_close(workers[i].connection);
	free(latencies);
	free(threads);
	free(workers);
	return errors ? EXIT_FAILURE : EXIT_SUCCESS;
}
