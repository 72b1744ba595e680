/* SPDX-License-Identifier: MIT */
/*
 * A queue under test: its clocks stand still until a test turns them, attempts are kept until the test carries them out, and calls that are
 * answered later are waited for.
 */
#ifndef TESTS_DELIVERY_QUEUE_H
#define TESTS_DELIVERY_QUEUE_H

#include <dirent.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/delivery/queue/queue_private.h"
#include "tests/unit.h"

enum {
	OUT_MAX = 2000,
	SECOND = 1000,
	MINUTE = 60 * SECOND,
	HOUR = 60 * MINUTE,
	DAY = 24 * HOUR,
};

static char test_dir[64], queue_dir[80];
static struct ps_loop *loop;
static struct ps_queue *queue;
static struct ps_queue_settings settings;
static struct ps_queue_attempt *out[OUT_MAX];
static size_t out_count;
static _Atomic uint64_t wall_ms, monotonic_ms;

static uint64_t test_wall(void)
{
	return wall_ms;
}

static uint64_t test_monotonic(void)
{
	return monotonic_ms;
}

/* ---- the loop, until it has nothing to do ------------------------------------------------------- */

static bool (*until)(void);

static void look(void *arg)
{
	(void)arg;
	if (until())
		ps_loop_stop(loop);
}

static void run_until(bool (*fn)(void))
{
	struct ps_timer *timer;

	until = fn;
	ck_assert_ok(ps_timer_open(loop, look, NULL, &timer));
	ps_timer_set(timer, 0, 1);
	ps_loop_run(loop);
	ps_timer_close(timer);
}

static bool is_idle(void)
{
	return queue->jobs == 0;
}

static void settle(void)
{
	run_until(is_idle);
}

static bool was_closed;

static void on_closed(void *arg)
{
	(void)arg;
	was_closed = true;
}

static bool is_closed(void)
{
	return was_closed;
}

/* ---- opening and closing ----------------------------------------------------------------------- */

static void on_attempt(void *arg, struct ps_queue_attempt *attempt)
{
	(void)arg;
	ck_assert_uint_lt(out_count, OUT_MAX);
	out[out_count++] = attempt;
}

static int try_open(void)
{
	const struct ps_queue_hooks hooks = {.attempt = on_attempt};

	return ps_queue_open(loop, queue_dir, &settings, &hooks, &queue);
}

static inline void open_queue(void)
{
	ck_assert_ok(try_open());
}

static inline void start_queue(void)
{
	ps_queue_start(queue);
	settle();
}

static inline void close_queue(void)
{
	for (size_t i = 0; i < out_count; i++)
		ps_queue_drop(queue, out[i]);
	out_count = 0;
	settle();
	was_closed = false;
	ps_queue_close(queue, on_closed, NULL);
	run_until(is_closed);
	queue = NULL;
}

static inline void reopen(void)
{
	close_queue();
	open_queue();
	start_queue();
}

static inline void make_folder(void)
{
	/* What does not test disks need not wait for them. */
	snprintf(test_dir, sizeof test_dir, "%s/postern-test-queue-XXXXXX",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(test_dir));
	snprintf(queue_dir, sizeof queue_dir, "%s/queue", test_dir);
}

static inline void remove_folder(void)
{
	unit_remove(test_dir);
}

static inline void make_clocks(void)
{
	settings = ps_queue_defaults;
	settings.wall = test_wall;
	settings.monotonic = test_monotonic;
	wall_ms = 1800000000000;
	monotonic_ms = 5 * SECOND;
	ck_assert_ok(ps_loop_create(&loop));
}

static inline void make_dir(void)
{
	make_folder();
	make_clocks();
}

static inline void set_up(void)
{
	make_dir();
	open_queue();
	start_queue();
}

static inline void tear_down(void)
{
	if (queue)
		close_queue();
	ps_loop_destroy(loop);
	remove_folder();
}

/* ---- adding ------------------------------------------------------------------------------------ */

static int last_error;
static bool was_done;

static void on_done(void *arg, int error)
{
	(void)arg;
	last_error = error;
	was_done = true;
}

static bool is_done(void)
{
	return was_done && is_idle();
}

/* A nameless file beside the queue, as those that clients' messages are written to. */
static inline int make_body(const char *text)
{
	int fd = open(test_dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	return fd;
}

static inline int add_message(const struct ps_queue_message *message)
{
	was_done = false;
	ps_queue_add(queue, message, on_done, NULL);
	run_until(is_done);
	return last_error;
}

/* One message to `count` recipients of one destination. */
static inline int add_to(const char *id, const char *sender, const char *destination, size_t count)
{
	struct ps_queue_recipient recipients[300];
	char addresses[300][48];
	struct ps_queue_message message = {.id = id, .reverse_path = sender, .recipients = recipients, .count = count};
	int r;

	for (size_t i = 0; i < count; i++) {
		snprintf(addresses[i], sizeof addresses[i], "r%zu@example.org", i);
		recipients[i] = (struct ps_queue_recipient){.address = addresses[i], .destination = destination};
	}
	message.file = make_body(id);
	message.size = strlen(id);
	message.arrival = 1800000000;
	r = add_message(&message);
	close(message.file);
	return r;
}

static inline void add(const char *id, const char *sender, const char *destination)
{
	ck_assert_ok(add_to(id, sender, destination, 1));
}

/* Many at once, so that they share commits. "PREFIX0", "PREFIX1" ... */
static size_t adds_open;

static void on_added(void *arg, int error)
{
	(void)arg;
	ck_assert_int_eq(error, 0);
	adds_open--;
}

static bool all_added(void)
{
	return adds_open == 0 && is_idle();
}

static inline void add_many(const char *prefix, const char *sender, const char *destination, size_t count)
{
	int fd = make_body("x");

	for (size_t i = 0; i < count; i++) {
		struct ps_queue_recipient recipient = {.address = "joe@example.org", .destination = destination};
		char id[64];
		struct ps_queue_message message = {
			.id = id, .reverse_path = sender, .recipients = &recipient, .count = 1, .size = 1, .file = fd};

		snprintf(id, sizeof id, "%s%zu", prefix, i);
		adds_open++;
		ps_queue_add(queue, &message, on_added, NULL);
	}
	run_until(all_added);
	close(fd);
}

/* ---- attempts ---------------------------------------------------------------------------------- */

/* Takes the n-th of those that are out away. */
static inline struct ps_queue_attempt *pick(size_t n)
{
	struct ps_queue_attempt *attempt;

	ck_assert_uint_lt(n, out_count);
	attempt = out[n];
	memmove(&out[n], &out[n + 1], (--out_count - n) * sizeof *out);
	return attempt;
}

static inline const struct ps_queue_attempt *attempt_of(const char *id)
{
	for (size_t i = 0; i < out_count; i++)
		if (strcmp(out[i]->message.id, id) == 0)
			return out[i];
	return NULL;
}

static inline struct ps_queue_attempt *pick_id(const char *id)
{
	for (size_t i = 0; i < out_count; i++)
		if (strcmp(out[i]->message.id, id) == 0)
			return pick(i);
	ck_abort_msg("%s is not attempted", id);
	return NULL;
}

/* All recipients with one result; does not wait. */
static inline void begin_finish(struct ps_queue_attempt *attempt, enum ps_queue_outcome outcome,
				enum ps_queue_verdict verdict)
{
	struct ps_queue_result results[PS_QUEUE_PART_MAX];
	struct ps_queue_finish finish = {.results = results, .verdict = verdict};

	for (size_t i = 0; i < attempt->message.count; i++)
		results[i] = (struct ps_queue_result){outcome, outcome == PS_QUEUE_DELIVERED ? 250 : 450, "4.2.0",
						      "what was said", "mx.example.org"};
	ps_queue_finish(queue, attempt, &finish, on_done, NULL);
}

static inline void finish(struct ps_queue_attempt *attempt, enum ps_queue_outcome outcome,
			  enum ps_queue_verdict verdict)
{
	was_done = false;
	begin_finish(attempt, outcome, verdict);
	run_until(is_done);
	ck_assert_int_eq(last_error, 0);
}

static inline void deliver(struct ps_queue_attempt *attempt)
{
	finish(attempt, PS_QUEUE_DELIVERED, PS_QUEUE_REACHED);
}

static inline void defer(struct ps_queue_attempt *attempt)
{
	finish(attempt, PS_QUEUE_DEFERRED, PS_QUEUE_REACHED);
}

/* ---- time -------------------------------------------------------------------------------------- */

static inline void pass(uint64_t ms)
{
	wall_ms += ms;
	monotonic_ms += ms;
	queue_commit(queue);
	settle();
}

/* ---- looking ----------------------------------------------------------------------------------- */

static struct ps_queue_stats last_stats;

static void on_stats(void *arg, const struct ps_queue_stats *stats)
{
	(void)arg;
	last_stats = *stats;
}

static inline const struct ps_queue_stats *stats(void)
{
	ps_queue_stats(queue, on_stats, NULL);
	settle();
	return &last_stats;
}

static char *last_answer;

static void on_answer(void *arg, const char *answer)
{
	(void)arg;
	free(last_answer);
	last_answer = ps_strdup(answer);
	was_done = true;
}

/* Valid until the next one. */
static inline json_t *ask(const char *request)
{
	static json_t *answer;

	was_done = false;
	ps_queue_ask(queue, request, on_answer, NULL);
	run_until(is_done);
	json_decref(answer);
	answer = json_loads(last_answer, 0, NULL);
	ck_assert_msg(answer != NULL, "%s", last_answer);
	return answer;
}

static inline size_t bodies(void)
{
	char path[128];
	struct dirent *entry;
	size_t count = 0;
	DIR *dir;

	snprintf(path, sizeof path, "%s/bodies", queue_dir);
	dir = opendir(path);
	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir)))
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

#endif
