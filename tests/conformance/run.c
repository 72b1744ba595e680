/* SPDX-License-Identifier: MIT */
/*
 * Each case runs in a process of its own, which says on a pipe why it ended.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "tests/conformance/calls.h"
#include "tests/conformance/run.h"

enum {
	EXIT_SKIPPED = 77,
	CASE_SECONDS = 300, /* then it hangs */
	REASON_MAX = 8192
};

static const struct group *const groups[] = {
	&group_uids,    &group_modseq,    &group_flags,     &group_vanished, &group_append,     &group_copy,
	&group_names,   &group_mailboxes, &group_reading,   &group_caches,   &group_reopen,     &group_threads,
	&group_waiting, &group_outside,   &group_processes, &group_token,    &group_generation, &group_identity,
	&group_upkeep,  &group_large,     &group_index,     &group_full,     &group_crash,      &group_power,
	&group_relaxed, &group_errors,    &group_scarce,    &group_history,
};

/* ---- verdicts ------------------------------------------------------------------------------ */

static int verdict_fd = -1;

__attribute__((format(printf, 1, 0))) static void say(const char *fmt, va_list ap)
{
	char text[REASON_MAX];
	int len = vsnprintf(text, sizeof text, fmt, ap);

	if (len > (int)sizeof text - 1)
		len = (int)sizeof text - 1;
	if (len > 0 && write(verdict_fd, text, (size_t)len) < 0)
		perror("postern-conform: verdict");
}

void fail_at(const char *file, int line, const char *fmt, ...)
{
	char where[128];
	va_list ap;

	snprintf(where, sizeof where, "%s:%d: ", strrchr(file, '/') ? strrchr(file, '/') + 1 : file, line);
	if (write(verdict_fd, where, strlen(where)) < 0)
		perror("postern-conform: verdict");
	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
	_exit(EXIT_FAILURE);
}

void skip(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
	_exit(EXIT_SKIPPED);
}

void verdict_to(int fd)
{
	verdict_fd = fd;
}

/* ---- a case -------------------------------------------------------------------------------- */

static void remove_at(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			remove_at(fd, entry->d_name);
	if (dir)
		closedir(dir);
	if (unlinkat(dirfd, name, dir ? AT_REMOVEDIR : 0) < 0 && errno != ENOENT)
		fprintf(stderr, "postern-conform: remove %s: %s\n", name, strerror(errno));
}

void remove_tree(const char *path)
{
	remove_at(AT_FDCWD, path);
}

struct verdict {
	int status; /* of waitpid() */
	char reason[REASON_MAX];
};

static const struct {
	enum need need;
	const char *reason;
} lacks[] = {
	{NEEDS_DISK, "its mail ends with the process"},
	{NEEDS_INDEX, "--index was not given"},
	{NEEDS_SMALL, "--small was not given"},
	{NEEDS_OUTSIDE, "--outside was not given"},
	{NEEDS_CALLS & ~NEEDS_DISK, "this system does not let system calls be watched"},
};

static bool can_watch(void)
{
	static int can = -1;

	if (can < 0)
		can = calls_possible();
	return can;
}

static unsigned missing(const struct kit *kit)
{
	return (kit->volatile_store ? NEEDS_DISK : 0) | (kit->index ? 0 : NEEDS_INDEX) |
	       (kit->small ? 0 : NEEDS_SMALL) | (kit->outside ? 0 : NEEDS_OUTSIDE) |
	       (can_watch() ? 0 : NEEDS_CALLS & ~NEEDS_DISK);
}

static void skip_if_it_lacks(const struct kit *kit, unsigned needs)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(lacks); i++)
		if (needs & missing(kit) & lacks[i].need)
			skip("%s", lacks[i].reason);
}

static _Noreturn void run_child(const struct check *check, struct kit *kit, int fd)
{
	verdict_fd = fd;
	setpgid(0, 0);
	alarm(CASE_SECONDS);
	skip_if_it_lacks(kit, check->needs);
	kit->pool = ps_pool_create("conform");
	check->run(kit);
	ps_pool_destroy(kit->pool);
	/* exit(), so that a sanitizer may have its say */
	exit(EXIT_SUCCESS);
}

static void read_reason(int fd, struct verdict *verdict)
{
	size_t len = 0;
	ssize_t n;

	while (len < sizeof verdict->reason - 1 &&
	       (n = read(fd, verdict->reason + len, sizeof verdict->reason - 1 - len)) > 0)
		len += (size_t)n;
	verdict->reason[len] = '\0';
}

static void run_check(const struct check *check, struct kit *kit, struct verdict *ret_verdict)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0 || (fflush(NULL), pid = fork()) < 0) {
		perror("postern-conform");
		exit(2);
	}
	if (pid == 0) {
		close(fds[0]);
		run_child(check, kit, fds[1]);
	}
	close(fds[1]);
	waitpid(pid, &ret_verdict->status, 0);
	kill(-pid, SIGKILL); /* processes that a check which failed left behind */
	read_reason(fds[0], ret_verdict);
	close(fds[0]);
}

static void print_reason(const struct verdict *verdict)
{
	const char *line = verdict->reason;

	if (WIFSIGNALED(verdict->status) && WTERMSIG(verdict->status) == SIGALRM)
		printf("# it did not end in %d seconds\n", CASE_SECONDS);
	else if (WIFSIGNALED(verdict->status))
		printf("# ended by signal %d\n", WTERMSIG(verdict->status));
	else if (!*line)
		printf("# no reason was given\n");
	while (*line) {
		size_t len = strcspn(line, "\n");

		printf("# %.*s\n", (int)len, line);
		line += len + (line[len] == '\n');
	}
}

static void report(struct run *run, const char *name, const struct verdict *v)
{
	int code = WIFEXITED(v->status) ? WEXITSTATUS(v->status) : -1;
	bool good = code == EXIT_SUCCESS || code == EXIT_SKIPPED;

	printf("%sok %u - %s", good ? "" : "not ", run->number, name);
	if (code == EXIT_SKIPPED)
		printf(" # SKIP %s", v->reason);
	putchar('\n');
	if (!good)
		print_reason(v);
	if (!good && run->keep)
		printf("# its store: %s\n", run->kit.root);
	fflush(stdout);
	run->passed += code == EXIT_SUCCESS;
	run->skipped += code == EXIT_SKIPPED;
	run->failed += !good;
}

static void run_case(struct run *run, const struct check *check, size_t row, const char *name)
{
	struct kit kit = run->kit;
	static struct verdict verdict;
	unsigned failed = run->failed;
	char root[4096];

	snprintf(root, sizeof root, "%s/%u", check->needs & NEEDS_SMALL && kit.small ? kit.small : run->dir,
		 ++run->number);
	run->kit.root = kit.root = root;
	kit.row = row;
	run_check(check, &kit, &verdict);
	report(run, name, &verdict);
	if (run->failed == failed || !run->keep)
		remove_tree(root);
}

/* ---- all of them --------------------------------------------------------------------------- */

static void case_name(const struct group *group, const struct check *check, size_t row, char *name, size_t size)
{
	char row_name[ROW_NAME] = "";

	if (check->row_name)
		check->row_name(row, row_name);
	else if (check->table)
		snprintf(row_name, sizeof row_name, "%s",
			 *(const char *const *)((const char *)check->table + row * check->row_size));
	snprintf(name, size, "%s: %s%s%s", group->name, check->name, *row_name ? ": " : "", row_name);
	for (char *c = name; *c; c++)
		if (*c == '#' || *c == '\n') /* TAP has a meaning for it */
			*c = '%';
}

typedef void (*case_fn)(struct run *run, const struct check *check, size_t row, const char *name);

static void each_case(struct run *run, case_fn fn)
{
	char name[1024];

	for (size_t g = 0; g < PS_ARRAY_LEN(groups); g++) {
		if (run->group && strcmp(run->group, groups[g]->name) != 0)
			continue;
		for (size_t i = 0; i < groups[g]->count; i++) {
			const struct check *check = &groups[g]->checks[i];

			for (size_t row = 0; row < (check->row_count ? check->row_count : 1); row++) {
				case_name(groups[g], check, row, name, sizeof name);
				if (!run->only || strstr(name, run->only))
					fn(run, check, row, name);
				if (run->bail && run->failed > 0)
					return;
			}
		}
	}
}

static void count_case(struct run *run, const struct check *check, size_t row, const char *name)
{
	(void)check;
	(void)row;
	(void)name;
	run->number++;
}

static void print_case(struct run *run, const struct check *check, size_t row, const char *name)
{
	(void)run;
	(void)check;
	(void)row;
	puts(name);
}

int list_cases(void)
{
	struct run run = {0};

	for (size_t g = 0; g < PS_ARRAY_LEN(groups); g++) {
		printf("# %s: %s\n", groups[g]->name, groups[g]->about);
		run.group = groups[g]->name;
		each_case(&run, print_case);
	}
	return EXIT_SUCCESS;
}

int run_cases(struct run *run)
{
	time_t began = time(NULL);

	each_case(run, count_case);
	printf("TAP version 13\n1..%u\n# backend %s, seed %u\n", run->number, run->kit.name, run->kit.seed);
	if (run->number == 0) {
		fprintf(stderr, "postern-conform: no case has this name\n");
		return 2;
	}
	run->number = 0;
	can_watch(); /* once, for all cases */
	each_case(run, run_case);
	if (run->bail && run->failed > 0)
		puts("Bail out! a case failed");
	printf("# %s: %u passed, %u failed, %u skipped in %ld s, seed %u\n", run->kit.name, run->passed, run->failed,
	       run->skipped, (long)(time(NULL) - began), run->kit.seed);
	return run->failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
