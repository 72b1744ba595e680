/* SPDX-License-Identifier: MIT */
/*
 * A process opens the queue, takes two messages and settles one of them with a report, while it has no memory for one allocation, or for it
 * and all after it. What it says is so, and where it ends before it says anything, each change is there whole or not at all.
 * POSTERN_SCARCE_STEP says how many allocations are passed over; 1: none is.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include "tests/delivery/queue.h"
#include "tests/scarce.h"

enum {
	STEP = 20,
	PATIENCE = 60, /* seconds; then it hangs */
	NO_ANSWER = 1,
};

/* What the process without memory has said. */
static struct said {
	int opened, first, second, settled; /* errors */
	unsigned allocations;
} * said;

/* ---- who has no memory: nothing of libcheck's is called, which has a way of its own to end ------------------------- */

static struct ps_queue_attempt *first_attempt;
static int report_file;
static bool begun;

static void scarce_attempt(void *arg, struct ps_queue_attempt *attempt)
{
	(void)arg;
	if (strcmp(attempt->message.id, "FIRST") == 0)
		first_attempt = attempt;
}

static void on_said(void *arg, int error)
{
	*(int *)arg = error;
}

static void settle_first(void)
{
	struct ps_queue_recipient back = {.address = "ann@example.com", .destination = "mx:example.com"};
	struct ps_queue_message report = {
		.id = "REPORT", .reverse_path = "", .recipients = &back, .count = 1, .size = 5, .file = report_file};
	struct ps_queue_result result = {PS_QUEUE_FAILED, 550, "5.1.1", "nobody", "mx"};
	struct ps_queue_finish done = {
		.results = &result, .verdict = PS_QUEUE_REACHED, .reports = &report, .report_count = 1};

	begun = true;
	ps_queue_finish(queue, first_attempt, &done, on_said, &said->settled);
}

static void go_on(void *arg)
{
	(void)arg;
	if (first_attempt && said->first == 0 && !begun)
		settle_first();
	/* What did not work is tried again: the timer is not waited for. */
	if (!TAILQ_EMPTY(&queue->stuck))
		ps_timer_set(queue->again_timer, 0, 0);
	else if (said->first != NO_ANSWER && said->second != NO_ANSWER && queue->jobs == 0 &&
		 (said->first < 0 || said->settled != NO_ANSWER))
		ps_loop_stop(loop);
}

static void add_scarce(const char *id, const char *destination, int file, int *ret_said)
{
	struct ps_queue_recipient recipient = {.address = "joe@example.org", .destination = destination};
	struct ps_queue_message message = {.id = id,
					   .reverse_path = "ann@example.com",
					   .recipients = &recipient,
					   .count = 1,
					   .size = strlen(id),
					   .file = file};

	ps_queue_add(queue, &message, on_said, ret_said);
}

static _Noreturn void be_scarce(unsigned nth, bool lasting, int log)
{
	const struct ps_queue_hooks hooks = {.attempt = scarce_attempt};
	int first = make_body("FIRST"), second = make_body("SECOND");
	struct ps_timer *timer;

	report_file = make_body("sorry");
	dup2(log, STDERR_FILENO);
	alarm(PATIENCE);
	if (ps_loop_create(&loop) < 0 || ps_timer_open(loop, go_on, NULL, &timer) < 0)
		_exit(EXIT_FAILURE);
	scarce_begin(nth, lasting);
	said->opened = ps_queue_open(loop, queue_dir, &settings, &hooks, &queue);
	if (said->opened == 0) {
		ps_queue_start(queue);
		add_scarce("FIRST", "mx:example.org", first, &said->first);
		add_scarce("SECOND", "mx:example.net", second, &said->second);
		ps_timer_set(timer, 0, 1);
		ps_loop_run(loop);
	}
	said->allocations = scarce_end();
	_exit(EXIT_SUCCESS);
}

/* ---- who looks ----------------------------------------------------------------------------------------------- */

static bool is_there(const char *id)
{
	char request[128];

	snprintf(request, sizeof request, "{\"what\": \"show\", \"id\": \"%s\"}", id);
	return json_is_true(json_object_get(ask(request), "ok"));
}

/* Said to be done, it is; refused, it is not; and else as it may be. */
static void must_be(const char *id, int answer, const char *log)
{
	if (answer != NO_ANSWER)
		ck_assert_msg(is_there(id) == (answer == 0), "%s: the answer was %s\n%s", id, ps_err_name(answer), log);
}

static void look_after_it(const char *log)
{
	open_queue();
	start_queue();
	must_be("SECOND", said->second, log);
	must_be("REPORT", said->settled, log);
	if (is_there("REPORT"))
		ck_assert_msg(!is_there("FIRST"), "settled, and there\n%s", log);
	else
		must_be("FIRST", said->first, log);
	ck_assert_uint_eq(bodies(), stats()->messages);
	ck_assert_uint_eq(stats()->damaged, 0);
	while (out_count)
		deliver(pick(0));
	ck_assert_uint_eq(bodies(), 0);
	close_queue();
}

/* How many allocations there were; 0 where nobody lived to tell. */
static unsigned try(unsigned nth, bool lasting)
{
	char text[8192];
	int log = memfd_create("log", MFD_CLOEXEC), status;
	ssize_t len;
	pid_t pid;

	*said = (struct said){NO_ANSWER, NO_ANSWER, NO_ANSWER, NO_ANSWER, 0};
	if ((pid = fork()) == 0)
		be_scarce(nth, lasting, log);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	len = pread(log, text, sizeof text - 1, 0);
	text[len > 0 ? len : 0] = '\0';
	close(log);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_SUCCESS)
		ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && strstr(text, "event=out_of_memory"),
			      "allocation %u: status 0x%x, not by out_of_memory\n%s", nth, (unsigned)status, text);
	look_after_it(text);
	return said->allocations;
}

START_TEST(what_a_process_without_memory_says_is_so)
{
	const char *passed = getenv("POSTERN_SCARCE_STEP");
	unsigned step = passed ? (unsigned)strtoul(passed, NULL, 10) : STEP, count;

	said = mmap(NULL, sizeof *said, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	count = try(0, false);
	ck_assert_int_eq(said->settled, 0);
	ck_assert_uint_gt(count, 50);
	for (unsigned n = 1; n <= count; n += step)
		try(n, _i);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("queue_scarce");
	TCase *tc = tcase_create("scarce");

	tcase_add_checked_fixture(tc, make_dir, tear_down);
	tcase_add_loop_test(tc, what_a_process_without_memory_says_is_so, 0, 2);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
