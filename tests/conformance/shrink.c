/* SPDX-License-Identifier: MIT */
/*
 * Random histories. One that fails is made shorter, by leaving out steps for as long as it fails, and told as it is then.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/conformance/history.h"
#include "tests/conformance/run.h"

enum {
	COMPARE_EVERY = 20, /* steps; when a failure is known: each */
	MOST_TRIES = 400,
	REASON_MAX = 6000
};

/* How often each kind of step is done. */
static const struct profile {
	const char *name;
	unsigned weights[STEP_KINDS];
} profiles[] = {
	{"of all kinds",
	 {[STEP_APPEND] = 8,
	  [STEP_REFUSED] = 1,
	  [STEP_FLAGS] = 8,
	  [STEP_EXPUNGE] = 3,
	  [STEP_COPY] = 5,
	  [STEP_MAILBOX] = 4,
	  [STEP_RENAME] = 1,
	  [STEP_CHECKPOINT] = 3,
	  [STEP_REOPEN] = 1,
	  [STEP_SYNC] = 1}},
	{"of flags and expunges",
	 {[STEP_APPEND] = 3, [STEP_FLAGS] = 12, [STEP_EXPUNGE] = 5, [STEP_MAILBOX] = 1, [STEP_CHECKPOINT] = 5}},
	{"of copies and moves",
	 {[STEP_APPEND] = 3,
	  [STEP_COPY] = 12,
	  [STEP_EXPUNGE] = 4,
	  [STEP_MAILBOX] = 2,
	  [STEP_CHECKPOINT] = 3,
	  [STEP_SYNC] = 1}},
	{"of mailboxes",
	 {[STEP_APPEND] = 2,
	  [STEP_MAILBOX] = 12,
	  [STEP_RENAME] = 5,
	  [STEP_COPY] = 1,
	  [STEP_REFUSED] = 1,
	  [STEP_REOPEN] = 1}},
	{"of reopening",
	 {[STEP_APPEND] = 4,
	  [STEP_FLAGS] = 4,
	  [STEP_EXPUNGE] = 2,
	  [STEP_COPY] = 2,
	  [STEP_MAILBOX] = 2,
	  [STEP_RENAME] = 1,
	  [STEP_REOPEN] = 6,
	  [STEP_CHECKPOINT] = 2}},
};

struct plan {
	struct kit *kit;
	struct step *steps;
	size_t count;
	unsigned tries; /* each has a store of its own */
	char text[REASON_MAX];
	char reason[REASON_MAX]; /* why it failed last */
};

static void make_plan(struct plan *plan, const struct profile *profile)
{
	struct kit *kit = plan->kit;
	unsigned total = 0;

	for (size_t i = 0; i < STEP_KINDS; i++)
		total += profile->weights[i];
	plan->steps = PS_NEWV(kit->pool, struct step, plan->count + 1);
	for (size_t i = 0; i < plan->count; i++) {
		unsigned at = pick(kit, total), kind = 0;

		while (at >= profile->weights[kind])
			at -= profile->weights[kind++];
		plan->steps[i] = (struct step){(enum step_kind)kind, pick(kit, UINT32_MAX)};
	}
}

/* ---- one try ------------------------------------------------------------------------------- */

static _Noreturn void play(const struct plan *plan, const char *root, bool closely, int story_fd)
{
	struct kit kit = *plan->kit;
	struct history *h;

	kit.pool = ps_pool_create("history");
	h = history_begin(&kit, root);
	for (size_t i = 0; i < plan->count; i++) {
		const char *story;
		size_t told = strlen(history_story(h));

		history_step(h, &plan->steps[i]);
		story = history_story(h) + told;
		if (story_fd >= 0 && *story && write(story_fd, story, strlen(story)) < 0)
			perror("postern-conform: story");
		if (closely || (i + 1) % COMPARE_EVERY == 0)
			history_compare(h);
	}
	history_compare(h);
	history_end(h);
	ps_pool_destroy(kit.pool);
	exit(EXIT_SUCCESS);
}

static void read_all(int fd, char *text, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (len < size - 1 && (n = read(fd, text + len, size - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
}

static void note_reason(struct plan *plan, int status)
{
	if (WIFSIGNALED(status) && !*plan->text)
		snprintf(plan->text, sizeof plan->text, "ended by signal %d", WTERMSIG(status));
	memcpy(plan->reason, plan->text, sizeof plan->reason);
}

/* Plays it in a process of its own. True: it fails; plan->reason says why, or, with the story, plan->text what was done. */
static bool fails(struct plan *plan, bool closely, bool with_story)
{
	const char *root = ps_pool_printf(plan->kit->pool, "%s/%u", plan->kit->root, plan->tries++);
	int fds[2], status;
	bool failed;
	pid_t pid;

	must(pipe(fds) == 0 && (pid = fork()) >= 0, "fork: %s", strerror(errno));
	if (pid == 0) {
		close(fds[0]);
		verdict_to(fds[1]);
		play(plan, root, closely, with_story ? fds[1] : -1);
	}
	close(fds[1]);
	read_all(fds[0], plan->text, sizeof plan->text);
	close(fds[0]);
	must(waitpid(pid, &status, 0) == pid, "waitpid: %s", strerror(errno));
	failed = !WIFEXITED(status) || WEXITSTATUS(status) != EXIT_SUCCESS;
	if (failed && !with_story)
		note_reason(plan, status);
	remove_tree(root);
	return failed;
}

/* ---- making it shorter --------------------------------------------------------------------- */

/* Leaves out steps from..from+n, if it fails without them too. */
static bool leave_out(struct plan *plan, size_t from, size_t n)
{
	struct step *all = plan->steps;
	size_t count = plan->count;

	if (n > count - from)
		n = count - from;
	plan->steps = PS_NEWV(plan->kit->pool, struct step, count + 1);
	memcpy(plan->steps, all, from * sizeof *all);
	memcpy(plan->steps + from, all + from + n, (count - from - n) * sizeof *all);
	plan->count = count - n;
	if (fails(plan, true, false))
		return true;
	plan->steps = all;
	plan->count = count;
	return false;
}

static void shrink(struct plan *plan)
{
	unsigned limit = plan->tries + MOST_TRIES;

	for (size_t n = plan->count / 2; n > 0 && plan->tries<limit; n = n> 1 ? n / 2 : 0)
		for (size_t from = 0; from < plan->count && plan->tries < limit;)
			if (!leave_out(plan, from, n))
				from += n;
	/* Once more one by one: what came later may have been what kept an earlier step. */
	for (size_t from = plan->count; from-- > 0 && plan->tries < limit;)
		leave_out(plan, from, 1);
}

static void play_round(struct kit *kit, const struct profile *profile, unsigned seed)
{
	struct plan *plan = PS_NEW(kit->pool, struct plan);
	bool again;

	*plan = (struct plan){.kit = kit, .count = kit->steps};
	kit->seed = seed;
	make_plan(plan, profile);
	if (!fails(plan, false, false))
		return;
	again = fails(plan, true, false);
	if (again)
		shrink(plan);
	fails(plan, true, true);
	/* The reason first: how much a reader keeps of a failure is not known. */
	fail_at(__FILE__, __LINE__, "seed %u: %s\n%s history has %zu steps:\n%s", seed, plan->reason,
		again ? "the shortest such"
		      : "it did not fail when it was played again, comparing after each step; the",
		plan->count, plan->text);
}

static void side_by_side(struct kit *kit)
{
	struct ps_pool *pool = kit->pool;
	unsigned first = kit->seed;

	must(mkdir(kit->root, 0700) == 0, "mkdir %s: %s", kit->root, strerror(errno));
	for (unsigned i = 0; i < kit->rounds; i++) {
		kit->pool = ps_pool_create("round");
		play_round(kit, &profiles[kit->row], first + i);
		ps_pool_destroy(kit->pool);
	}
	kit->pool = pool;
}

static const struct check checks[] = {
	{"all laws: what the reference answers, in random histories", side_by_side, ROWS(profiles)},
};
GROUP(history, "all laws: random histories on the backend and on the reference, side by side", checks);
