/* SPDX-License-Identifier: MIT */
/*
 * postern-conform - checks a storage backend against the laws. Prints TAP.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "core/config/config.h"
#include "core/process/plugins.h"
#include "postern/log.h"
#include "tests/conformance/conform.h"

enum {
	EXIT_SKIPPED = 77,
	DEFAULT_ROUNDS = 10
};

static const struct group *const groups[] = {
	&group_uids,      &group_modseq,  &group_flags,   &group_vanished, &group_append,     &group_copy,
	&group_mailboxes, &group_reading, &group_threads, &group_reopen,   &group_processes,  &group_index,
	&group_full,      &group_crash,   &group_history, &group_token,    &group_generation, &group_identity,
};

struct options {
	const char *path;
	const char *group; /* NULL: all */
	const char *only;  /* a part of a check's name; NULL: all */
	const char *dir;
	struct ps_buf settings;
	struct kit kit;
	bool list;
};

/* ---- verdicts: a check runs in a process of its own and says why it ended on descriptor 3 -- */

static int verdict_fd = -1;

__attribute__((format(printf, 1, 0))) static void say(const char *fmt, va_list ap)
{
	char text[1024];
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

/* ---- running ------------------------------------------------------------------------------- */

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

struct verdict {
	int status; /* of waitpid() */
	char reason[1200];
};

static _Noreturn void run_child(const struct check *check, struct kit *kit, int fd)
{
	verdict_fd = fd;
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
	for (char *c = verdict->reason; *c; c++)
		if (*c == '\n' || *c == '\r')
			*c = ' ';
}

static void run_check(const struct check *check, struct kit *kit, struct verdict *ret_verdict)
{
	int fds[2];
	pid_t pid;

	if (pipe(fds) < 0 || (fflush(NULL), pid = fork()) < 0) {
		perror("postern-conform");
		exit(2);
	}
	if (pid == 0) {
		close(fds[0]);
		run_child(check, kit, fds[1]);
	}
	close(fds[1]);
	read_reason(fds[0], ret_verdict);
	close(fds[0]);
	waitpid(pid, &ret_verdict->status, 0);
}

/* True when the check did not fail. */
static bool report(const struct group *group, const struct check *check, unsigned number, const struct verdict *v)
{
	bool exited = WIFEXITED(v->status);
	int code = exited ? WEXITSTATUS(v->status) : -1;

	if (code == EXIT_SUCCESS) {
		printf("ok %u - %s: %s\n", number, group->name, check->name);
	} else if (code == EXIT_SKIPPED) {
		printf("ok %u - %s: %s # SKIP %s\n", number, group->name, check->name, v->reason);
	} else {
		printf("not ok %u - %s: %s\n", number, group->name, check->name);
		if (exited)
			printf("# %s\n", *v->reason ? v->reason : "no reason was given");
		else
			printf("# ended by signal %d %s\n", WTERMSIG(v->status), v->reason);
	}
	fflush(stdout);
	return code == EXIT_SUCCESS || code == EXIT_SKIPPED;
}

static bool is_wanted(const struct options *options, const struct group *group, const struct check *check)
{
	return (!options->group || strcmp(options->group, group->name) == 0) &&
	       (!options->only || strstr(check->name, options->only));
}

static unsigned run_group(const struct options *options, const struct group *group, unsigned *number)
{
	unsigned failed = 0;

	for (size_t i = 0; i < group->count; i++) {
		struct kit kit = options->kit;
		struct verdict verdict;
		char root[4096];

		if (!is_wanted(options, group, &group->checks[i]))
			continue;
		/* The check of the full disk has its store on the small file system. */
		snprintf(root, sizeof root, "%s/%u", group == &group_full && kit.small ? kit.small : options->dir,
			 ++*number);
		kit.root = root;
		run_check(&group->checks[i], &kit, &verdict);
		failed += !report(group, &group->checks[i], *number, &verdict);
		remove_at(AT_FDCWD, root);
	}
	return failed;
}

static unsigned count_wanted(const struct options *options)
{
	unsigned n = 0;

	for (size_t g = 0; g < PS_ARRAY_LEN(groups); g++)
		for (size_t i = 0; i < groups[g]->count; i++)
			n += is_wanted(options, groups[g], &groups[g]->checks[i]);
	return n;
}

static int run_all(const struct options *options)
{
	unsigned failed = 0, number = 0;

	printf("TAP version 13\n1..%u\n# backend %s, seed %u\n", count_wanted(options), options->kit.name,
	       options->kit.seed);
	for (size_t g = 0; g < PS_ARRAY_LEN(groups); g++)
		failed += run_group(options, groups[g], &number);
	if (failed > 0)
		printf("# %u of %u failed\n", failed, number);
	return failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int list_all(void)
{
	for (size_t g = 0; g < PS_ARRAY_LEN(groups); g++) {
		printf("%s: %s\n", groups[g]->name, groups[g]->about);
		for (size_t i = 0; i < groups[g]->count; i++)
			printf("    %s\n", groups[g]->checks[i].name);
	}
	return EXIT_SUCCESS;
}

/* ---- options ------------------------------------------------------------------------------- */

static const char usage[] =
	"Usage: postern-conform [OPTION]... BACKEND.so\n"
	"Checks that a storage backend keeps the laws of postern/backend.h. Prints TAP.\n"
	"\n"
	"  --group=NAME         only the checks of one group\n"
	"  --only=TEXT          only checks whose name contains TEXT\n"
	"  --list               print groups and checks\n"
	"  --set=KEY=VALUE      a setting of the backend's section; may be repeated\n"
	"  --dir=DIR            where stores are made (a new folder in $TMPDIR)\n"
	"  --index=PATTERN      what the backend keeps as an index, below a store's root, as a shell\n"
	"                       pattern: it is deleted to see that it comes back (law 7)\n"
	"  --small=DIR          an empty folder on a file system of a few megabytes, which will be\n"
	"                       filled (law 6)\n"
	"  --volatile           stored mail ends with the process (a backend in memory)\n"
	"  --rounds=N           rounds of what goes by chance (10)\n"
	"  --seed=N             where chance starts; printed, so that a failure can be had again\n"
	"  --help               this text\n";

static const struct option long_options[] = {
	{"group", required_argument, NULL, 'g'},  {"only", required_argument, NULL, 'o'},
	{"list", no_argument, NULL, 'l'},         {"set", required_argument, NULL, 's'},
	{"dir", required_argument, NULL, 'd'},    {"index", required_argument, NULL, 'i'},
	{"small", required_argument, NULL, 'm'},  {"volatile", no_argument, NULL, 'v'},
	{"rounds", required_argument, NULL, 'r'}, {"seed", required_argument, NULL, 'e'},
	{"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
};

static unsigned number_of(const char *text)
{
	uint32_t n;

	if (ps_bytes_u32(ps_bytes_str(text), &n) < 0) {
		fprintf(stderr, "postern-conform: %s is not a number\n", text);
		exit(2);
	}
	return n;
}

static void add_setting(struct options *options, const char *text)
{
	const char *equals = strchr(text, '=');

	if (!equals) {
		fprintf(stderr, "postern-conform: --set takes KEY=VALUE\n");
		exit(2);
	}
	ps_buf_printf(&options->settings, "\t%.*s = \"%s\"\n", (int)(equals - text), text, equals + 1);
}

static void take_option(struct options *options, int letter)
{
	switch (letter) {
	case 'g': options->group = optarg; break;
	case 'o': options->only = optarg; break;
	case 'l': options->list = true; break;
	case 's': add_setting(options, optarg); break;
	case 'd': options->dir = optarg; break;
	case 'i': options->kit.index = optarg; break;
	case 'm': options->kit.small = optarg; break;
	case 'v': options->kit.volatile_store = true; break;
	case 'r': options->kit.rounds = number_of(optarg); break;
	case 'e': options->kit.seed = number_of(optarg); break;
	case 'h': fputs(usage, stdout); exit(EXIT_SUCCESS);
	default: fputs("Try postern-conform --help\n", stderr); exit(2);
	}
}

static void take_options(struct options *options, int argc, char **argv)
{
	int letter;

	while ((letter = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		take_option(options, letter);
	if (options->list)
		return;
	if (optind + 1 != argc) {
		fputs(usage, stderr);
		exit(2);
	}
	options->path = argv[optind];
}

/* ---- setting up ---------------------------------------------------------------------------- */

static void load_backend(struct options *options)
{
	const struct ps_plugin *plugin;

	if (ps_plugin_load(options->path, &plugin) < 0) {
		fprintf(stderr, "postern-conform: %s\n", ps_last_error());
		exit(2);
	}
	if (plugin->kind != PS_PLUGIN_BACKEND) {
		fprintf(stderr, "postern-conform: %s is not a backend\n", options->path);
		exit(2);
	}
	options->kit.ops = plugin->ops;
	options->kit.name = plugin->name;
}

static struct ps_config *read_settings(struct options *options)
{
	struct ps_buf text = {0};
	struct ps_config *config;

	ps_buf_printf(&text, "mail_root = \"%s\"\nbackend = \"%s\"\n", options->dir, options->kit.name);
	ps_buf_printf(&text, "backend %s {\n%s}\n", options->kit.name, ps_buf_cstr(&options->settings));
	if (ps_config_read("--set", ps_buf_view(&text), NULL, &config) < 0) {
		fprintf(stderr, "postern-conform: %s\n", ps_last_error());
		exit(2);
	}
	ps_buf_finish(&text);
	options->kit.conf = ps_config_plugin(config, "backend", options->kit.name);
	return config;
}

static void make_dir(struct options *options, char *made, size_t size)
{
	const char *tmp = getenv("TMPDIR");

	if (options->dir)
		return;
	snprintf(made, size, "%s/postern-conform.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(made)) {
		perror("postern-conform: make a folder");
		exit(2);
	}
	options->dir = made;
}

int main(int argc, char **argv)
{
	struct options options = {.kit = {.rounds = DEFAULT_ROUNDS, .seed = 1}};
	struct ps_config *config;
	char made[4096] = "";
	int r;

	take_options(&options, argc, argv);
	if (options.list)
		return list_all();
	ps_log_setup("conform", PS_LOG_ERROR);
	load_backend(&options);
	make_dir(&options, made, sizeof made);
	config = read_settings(&options);
	r = run_all(&options);
	ps_config_destroy(config);
	ps_buf_finish(&options.settings);
	if (*made)
		remove_at(AT_FDCWD, made);
	return r;
}
