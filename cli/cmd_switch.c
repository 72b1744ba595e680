/* SPDX-License-Identifier: MIT */
/* postern storage switch: one user, or those of a domain, some at a time. Each is moved in a process of its own, as the user. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli/rate.h"
#include "cli/switch.h"

enum {
	JOBS_DEFAULT = 2,
	JOBS_MAX = 64
};

struct job {
	struct ps_user_info info;
	struct switch_result result;
	pid_t pid; /* 0: not running */
	int fd;    /* the result comes here */
	bool done;
};

struct jobs {
	struct cli *cli;
	struct switch_order order;
	struct job *jobs;
	size_t count, cap, next, running, limit;
	bool many;
};

/* ---- the order ------------------------------------------------------------------------------- */

static int usage(const char *text)
{
	cli_error("%s", text);
	return PS_E_INVALID;
}

static int read_what(const struct cli *cli, struct switch_order *order)
{
	const char *const *given = cli->option;
	int count = (given[CLI_OPT_TO] != NULL) + (given[CLI_OPT_UNDO] != NULL) + (given[CLI_OPT_PURGE] != NULL);

	if (count != 1)
		return usage("one of --to BACKEND, --undo and --purge says what is to be done");
	order->what = given[CLI_OPT_TO] ? SWITCH_TO : given[CLI_OPT_UNDO] ? SWITCH_UNDO : SWITCH_PURGE;
	order->backend = given[CLI_OPT_TO];
	return 0;
}

static int read_order(struct jobs *jobs)
{
	struct cli *cli = jobs->cli;
	const char *const *given = cli->option;
	struct ps_sync_options rate = {.mode = PS_SYNC_MIRROR};
	uint64_t limit = JOBS_DEFAULT;

	if (read_what(cli, &jobs->order) < 0)
		return PS_E_INVALID;
	if ((cli->arg_count == 1) == (given[CLI_OPT_DOMAIN] != NULL))
		return usage("either USER or --domain says whose mail it is about");
	if (given[CLI_OPT_JOBS] &&
	    (ps_bytes_u64(ps_bytes_str(given[CLI_OPT_JOBS]), &limit) < 0 || limit == 0 || limit > JOBS_MAX))
		return usage("--jobs takes a number from 1 to 64");
	if (given[CLI_OPT_THROTTLE] && cli_parse_rate(given[CLI_OPT_THROTTLE], &rate) < 0)
		return usage("--throttle takes octets a second, as in 500K or 5M, or messages a second, as in 20msg");
	jobs->limit = (size_t)limit;
	jobs->many = given[CLI_OPT_DOMAIN] != NULL;
	jobs->order.octets_per_second = rate.octets_per_second;
	jobs->order.messages_per_second = rate.messages_per_second;
	jobs->order.progress = !jobs->many;
	return 0;
}

static int add_job(void *arg, const struct ps_user_info *info)
{
	struct jobs *jobs = arg;
	const char *at = strrchr(info->name, '@'), *domain = jobs->cli->option[CLI_OPT_DOMAIN];

	if (domain && (!at || ps_strcasecmp(at + 1, domain) != 0))
		return 0;
	jobs->jobs = ps_pool_grow(jobs->cli->pool, jobs->jobs, jobs->count, &jobs->cap, sizeof *jobs->jobs);
	jobs->jobs[jobs->count++] = (struct job){.info = *info, .fd = -1};
	return 0;
}

static int find_users(struct jobs *jobs)
{
	struct cli *cli = jobs->cli;
	struct ps_user_info info;
	int r;

	if (!jobs->many)
		return cli_find_user(cli, cli->args[0], &info) < 0 ? PS_E_NOTFOUND : add_job(jobs, &info);
	if ((r = cli_each_user(cli, add_job, jobs)) < 0)
		return r;
	if (jobs->count == 0) {
		cli_error("there is no user in the domain %s", cli->option[CLI_OPT_DOMAIN]);
		return PS_E_NOTFOUND;
	}
	return 0;
}

/* ---- processes ------------------------------------------------------------------------------- */

static void on_signal(int number)
{
	switch_interrupted = number;
}

static void catch_signals(void)
{
	struct sigaction action = {.sa_handler = on_signal};

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

static int child_main(const struct jobs *jobs, const struct job *job, int fd, pid_t parent)
{
	struct switch_result result = {.outcome = SWITCH_FAILED};

	umask(077);
	if (cli_become(&job->info) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		snprintf(result.error, sizeof result.error, "%s", ps_last_error());
	else
		switch_user(jobs->cli, &job->info, &jobs->order, &result);
	return write(fd, &result, sizeof result) == (ssize_t)sizeof result ? CLI_OK : CLI_FAILED;
}

static void fail(struct job *job, const char *why)
{
	job->done = true;
	job->result = (struct switch_result){.outcome = SWITCH_FAILED};
	snprintf(job->result.error, sizeof job->result.error, "%s", why);
}

static void start(struct jobs *jobs, struct job *job)
{
	pid_t parent = getpid();
	int fds[2];

	if (pipe(fds) < 0) {
		fail(job, strerror(errno));
		return;
	}
	fflush(NULL);
	job->pid = fork();
	if (job->pid == 0) {
		close(fds[0]);
		_exit(child_main(jobs, job, fds[1], parent));
	}
	close(fds[1]);
	if (job->pid < 0) {
		close(fds[0]);
		fail(job, strerror(errno));
		return;
	}
	job->fd = fds[0];
	jobs->running++;
}

static void finish(struct jobs *jobs, struct job *job)
{
	struct switch_result result;
	ssize_t n;

	do
		n = read(job->fd, &result, sizeof result);
	while (n < 0 && errno == EINTR);
	ps_closep(&job->fd);
	job->fd = -1;
	while (waitpid(job->pid, NULL, 0) < 0 && errno == EINTR)
		;
	job->pid = 0;
	jobs->running--;
	if (n != (ssize_t)sizeof result) {
		fail(job, "the process that moved the mail has ended; run it again");
		return;
	}
	job->result = result;
	job->done = true;
}

static void pass_signal_on(const struct jobs *jobs)
{
	static bool passed;

	if (!switch_interrupted || passed)
		return;
	passed = true;
	for (size_t i = 0; i < jobs->count; i++)
		if (jobs->jobs[i].pid > 0)
			kill(jobs->jobs[i].pid, SIGTERM);
}

/* Waits for one of those that run. */
static struct job *wait_for_one(struct jobs *jobs)
{
	struct pollfd fds[JOBS_MAX];
	struct job *of[JOBS_MAX];
	nfds_t n = 0;

	for (size_t i = 0; i < jobs->count && n < JOBS_MAX; i++) {
		if (jobs->jobs[i].pid <= 0)
			continue;
		of[n] = &jobs->jobs[i];
		fds[n++] = (struct pollfd){.fd = jobs->jobs[i].fd, .events = POLLIN};
	}
	while (poll(fds, n, -1) < 0)
		pass_signal_on(jobs);
	for (nfds_t i = 0; i < n; i++)
		if (fds[i].revents)
			return of[i];
	return of[0];
}

/* ---- the report ------------------------------------------------------------------------------ */

static const char *const outcomes[] = {
	[SWITCH_FAILED] = "failed",
	[SWITCH_DONE] = "done",
	[SWITCH_NOTHING] = "nothing to do",
	[SWITCH_STOPPED] = "stopped",
};

static json_t *job_json(const struct job *job)
{
	const struct switch_result *r = &job->result;
	json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "user", job->info.name,
				 "outcome", job->done ? outcomes[r->outcome] : "not begun", "from", r->from, "to",
				 r->to, "copied", (json_int_t)r->copied, "octets", (json_int_t)r->octets, "late",
				 (json_int_t)r->late, "passes", (json_int_t)r->passes, "pause_ms",
				 (json_int_t)r->pause_ms, "took_ms", (json_int_t)r->took_ms);

	if (r->error[0])
		json_object_set_new(json, "error", json_string(r->error));
	return json;
}

static void print_job(const struct jobs *jobs, const struct job *job)
{
	const struct switch_result *r = &job->result;

	if (r->outcome == SWITCH_FAILED || r->outcome == SWITCH_STOPPED) {
		cli_error("%s: %s", job->info.name, r->error);
		return;
	}
	if (cli_json(jobs->cli))
		return;
	if (r->outcome == SWITCH_NOTHING)
		printf("%s: nothing to do\n", job->info.name);
	else if (jobs->order.what == SWITCH_PURGE)
		printf("%s: removed what was left in %s\n", job->info.name, r->from);
	else
		printf("%s: moved from %s to %s in %.1f s, copied %llu messages (%s), sessions waited %llu ms\n",
		       job->info.name, r->from, r->to, (double)r->took_ms / 1000, (unsigned long long)r->copied,
		       cli_octets(r->octets), (unsigned long long)r->pause_ms);
	if (r->late)
		printf("%s: %llu messages that others delivered to the old place were fetched\n", job->info.name,
		       (unsigned long long)r->late);
	fflush(stdout);
}

static size_t count_of(const struct jobs *jobs, enum switch_outcome outcome)
{
	size_t n = 0;

	for (size_t i = 0; i < jobs->count; i++)
		n += jobs->jobs[i].done && jobs->jobs[i].result.outcome == outcome;
	return n;
}

/* They have a backend of their own. */
static void tell_mounts(const struct jobs *jobs)
{
	const struct ps_conf *conf = jobs->cli->config ? ps_config_root(jobs->cli->config) : NULL;
	size_t count = conf ? ps_conf_section_count(conf, "mount") : 0;

	for (size_t i = 0; i < count; i++)
		printf("what is mounted as %s stays where it is\n", ps_conf_title(ps_conf_section(conf, "mount", i)));
}

static int report(const struct jobs *jobs)
{
	size_t done = count_of(jobs, SWITCH_DONE), nothing = count_of(jobs, SWITCH_NOTHING),
	       failed = count_of(jobs, SWITCH_FAILED);
	uint64_t longest = 0;

	for (size_t i = 0; i < jobs->count; i++)
		if (jobs->jobs[i].result.pause_ms > longest)
			longest = jobs->jobs[i].result.pause_ms;
	if (cli_json(jobs->cli)) {
		json_t *list = json_array();

		for (size_t i = 0; i < jobs->count; i++)
			json_array_append_new(list, job_json(&jobs->jobs[i]));
		cli_print_json(list);
	} else if (jobs->many) {
		printf("of %zu users: done %zu, nothing to do %zu, failed %zu, left %zu; longest wait %llu ms\n",
		       jobs->count, done, nothing, failed, jobs->count - done - nothing - failed,
		       (unsigned long long)longest);
	}
	if (!cli_json(jobs->cli) && done > 0)
		tell_mounts(jobs);
	return done + nothing == jobs->count ? CLI_OK : CLI_FAILED;
}

static bool may_purge(const struct jobs *jobs)
{
	if (jobs->order.what != SWITCH_PURGE || jobs->cli->option[CLI_OPT_YES])
		return true;
	return cli_confirm(jobs->many ? "Remove the mail left in the former places of all these users?"
				      : "Remove the mail left in the former place?");
}

int cli_storage_switch(struct cli *cli)
{
	struct jobs jobs = {.cli = cli};

	if (read_order(&jobs) < 0)
		return CLI_USAGE;
	if (find_users(&jobs) < 0 || !may_purge(&jobs))
		return CLI_FAILED;
	catch_signals();
	while (jobs.running > 0 || (jobs.next < jobs.count && !switch_interrupted)) {
		if (jobs.next < jobs.count && jobs.running < jobs.limit && !switch_interrupted) {
			start(&jobs, &jobs.jobs[jobs.next++]);
			continue;
		}
		if (jobs.running > 0) {
			struct job *job = wait_for_one(&jobs);

			finish(&jobs, job);
			print_job(&jobs, job);
		}
	}
	return report(&jobs);
}
