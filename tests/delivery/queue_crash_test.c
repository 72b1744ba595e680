/* SPDX-License-Identifier: MIT */
/*
 * A process takes mail, and delivers some of it, until it is killed at a moment that a seed chooses. What it had acknowledged by
 * then is there afterwards, once and whole; what it had settled is not. POSTERN_CRASH_ROUNDS and POSTERN_CRASH_SEED say how often and from
 * where.
 */
#include <signal.h>
#include <sys/wait.h>
#include "tests/delivery/queue.h"

enum {
	ROUNDS = 25,
	OPEN_MAX = 20, /* adds at a time */
	MESSAGES_MAX = 200000,
};

/* ---- who is killed ------------------------------------------------------------------------------ */

static int journal;
static unsigned round_number, open_adds, last_id;

static void note(char what, const char *id)
{
	char line[64];
	int len = snprintf(line, sizeof line, "%c %s\n", what, id);

	if (write(journal, line, (size_t)len) != len)
		_exit(1);
}

struct adding {
	char id[24];
	int file;
};

static void crash_added(void *arg, int error)
{
	struct adding *adding = arg;

	if (error == 0)
		note('A', adding->id); /* acknowledged */
	close(adding->file);
	free(adding);
	open_adds--;
}

static void add_more(void *arg)
{
	(void)arg;
	while (open_adds < OPEN_MAX) {
		struct ps_queue_recipient recipients[] = {{.address = "a@x.example", .destination = "mx:x.example"},
							  {.address = "b@y.example", .destination = "mx:y.example"}};
		struct ps_queue_message message = {.reverse_path = "", .recipients = recipients, .count = 2};
		struct adding *adding = ps_malloc(sizeof *adding);

		snprintf(adding->id, sizeof adding->id, "%u-%u", round_number, last_id++);
		message.id = adding->id;
		message.size = strlen(adding->id);
		message.file = adding->file = make_body(adding->id);
		open_adds++;
		ps_queue_add(queue, &message, crash_added, adding);
	}
}

static void crash_finished(void *arg, int error)
{
	if (error == 0)
		note('S', arg); /* a part is settled */
	free(arg);
}

static void crash_attempt(void *arg, struct ps_queue_attempt *attempt)
{
	struct ps_queue_result result = {PS_QUEUE_DELIVERED, 250, "2.0.0", "OK", "mx"};
	struct ps_queue_finish done = {.results = &result, .verdict = PS_QUEUE_REACHED};
	char *id = ps_strdup(attempt->message.id);

	(void)arg;
	if (strlen(id) % 2 == (unsigned char)id[strlen(id) - 1] % 2)
		result.outcome = PS_QUEUE_DEFERRED;
	else
		note('B', id); /* begins to be settled */
	ps_queue_finish(queue, attempt, &done, result.outcome == PS_QUEUE_DELIVERED ? crash_finished : NULL, id);
}

static void victim(int to)
{
	const struct ps_queue_hooks hooks = {.attempt = crash_attempt};
	struct ps_timer *timer;

	journal = to;
	settings.wall = settings.monotonic = NULL;
	if (ps_loop_create(&loop) < 0 || ps_queue_open(loop, queue_dir, &settings, &hooks, &queue) < 0 ||
	    ps_timer_open(loop, add_more, NULL, &timer) < 0)
		_exit(1);
	ps_queue_start(queue);
	ps_timer_set(timer, 0, 1);
	ps_loop_run(loop);
	_exit(1);
}

/* ---- who looks ----------------------------------------------------------------------------------- */

static struct seen {
	char id[24];
	bool acknowledged;
	unsigned begun, settled, there;
} * seen;
static size_t seen_count;

static struct seen *seen_of(const char *id)
{
	unsigned number = 0;

	sscanf(id, "%*u-%u", &number);
	ck_assert_uint_lt(number, MESSAGES_MAX);
	if (number >= seen_count)
		seen_count = number + 1;
	strcpy(seen[number].id, id);
	return &seen[number];
}

/* Mail of former rounds was looked at then. */
static void read_journal(int from, const char *round)
{
	FILE *file = fdopen(from, "r");
	char what, id[24];

	while (fscanf(file, "%c %23s\n", &what, id) == 2) {
		struct seen *message;

		if (strncmp(id, round, strlen(round)) != 0)
			continue;
		message = seen_of(id);
		message->acknowledged |= what == 'A';
		message->begun += what == 'B';
		message->settled += what == 'S';
	}
	fclose(file);
}

static void read_queue(const char *round)
{
	json_int_t after = 0;

	do {
		char request[64];
		json_t *page, *row;
		size_t i;

		snprintf(request, sizeof request, "{\"what\": \"list\", \"after\": %lld}", (long long)after);
		page = ask(request);
		json_array_foreach(json_object_get(page, "rows"), i, row)
		{
			const char *id = json_string_value(json_object_get(row, "id"));

			if (strncmp(id, round, strlen(round)) == 0)
				seen_of(id)->there++;
		}
		after = json_integer_value(json_object_get(page, "next"));
	} while (after);
}

static void check(void)
{
	for (size_t i = 0; i < seen_count; i++) {
		struct seen *message = &seen[i];

		ck_assert_msg(message->there <= 1, "%s is there %u times", message->id, message->there);
		if (message->settled == 2)
			ck_assert_msg(!message->there, "%s was settled (begun %u, settled %u) and is there",
				      message->id, message->begun, message->settled);
		else if (message->acknowledged && message->begun < 2)
			ck_assert_msg(message->there, "%s was acknowledged and is lost", message->id);
	}
}

/* Each body belongs to an envelope, and is that message's. */
static void check_bodies(void)
{
	ck_assert_uint_eq(bodies(), stats()->messages);
	for (size_t i = 0; i < out_count; i++) {
		char text[24] = "";

		ck_assert_int_ge(pread(out[i]->message.file, text, sizeof text - 1, 0), 1);
		ck_assert_str_eq(text, out[i]->message.id);
	}
}

static unsigned setting(const char *name, unsigned otherwise)
{
	const char *value = getenv(name);

	return value ? (unsigned)strtoul(value, NULL, 10) : otherwise;
}

static void one_round(unsigned round, unsigned *chance)
{
	char prefix[16];
	int ends[2], status;
	pid_t pid;

	round_number = round;
	snprintf(prefix, sizeof prefix, "%u-", round);
	memset(seen, 0, MESSAGES_MAX * sizeof *seen);
	seen_count = 0;
	ck_assert_int_eq(pipe(ends), 0);
	fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
	pid = fork();
	if (pid == 0)
		victim(ends[1]);
	close(ends[1]);
	usleep((useconds_t)rand_r(chance) % 80000);
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status));
	read_journal(ends[0], prefix);
	wall_ms = (uint64_t)time(NULL) * 1000;
	open_queue();
	start_queue();
	read_queue(prefix);
	check();
	check_bodies();
	ck_assert_uint_eq(stats()->damaged, 0);
	close_queue();
}

START_TEST(what_was_acknowledged_survives_a_kill)
{
	unsigned rounds = setting("POSTERN_CRASH_ROUNDS", ROUNDS), chance = setting("POSTERN_CRASH_SEED", 4711);
	size_t in_all = 0;

	seen = ps_zalloc(MESSAGES_MAX * sizeof *seen);
	/* Where a busy machine has acknowledged nothing by then, the rounds go on. */
	for (unsigned round = 0; round < rounds || in_all == 0; round++) {
		one_round(round, &chance);
		for (size_t i = 0; i < seen_count; i++)
			in_all += seen[i].acknowledged;
	}
	free(seen);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("queue_crash");
	TCase *tc = tcase_create("crash");

	tcase_add_checked_fixture(tc, make_dir, tear_down);
	tcase_add_test(tc, what_was_acknowledged_survives_a_kill);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
