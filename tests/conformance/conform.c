/* SPDX-License-Identifier: MIT */
/*
 * postern-conform - checks a storage backend against the laws. Prints TAP.
 */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/config/config.h"
#include "core/process/plugins.h"
#include "postern/log.h"
#include "tests/conformance/run.h"

enum {
	DEFAULT_ROUNDS = 10,
	THOROUGH = 10, /* times as many */
	DEFAULT_STEPS = 400
};

/* ---- options ------------------------------------------------------------------------------- */

static const char usage[] =
	"Usage: postern-conform [OPTION]... BACKEND.so\n"
	"Checks that a storage backend keeps the laws of postern/backend.h. Prints TAP.\n"
	"\n"
	"What is run\n"
	"  --group=NAME         only the cases of one group\n"
	"  --case=TEXT          only cases whose name, \"group: law\", contains TEXT\n"
	"  --list               print groups and cases, and end\n"
	"  --seed=N             where chance starts (1)\n"
	"  --rounds=N           rounds of what goes by chance (10)\n"
	"  --steps=N            steps of a random history (400)\n"
	"  --thorough           ten times as many rounds\n"
	"  --bail               end at the first failure\n"
	"  --keep               leave the stores of failed cases where they are, and say where\n"
	"  --dir=DIR            where stores are made (a new folder in $TMPDIR, /dev/shm or /tmp)\n"
	"\n"
	"What the backend is\n"
	"  --set=KEY=VALUE      a setting of its section; may be repeated\n"
	"  --volatile           stored mail ends with the process (a backend in memory)\n"
	"  --index=PATTERN      what it keeps as an index, below a store's root, as a shell pattern: it is\n"
	"                       deleted to see that it comes back (law 7)\n"
	"  --small=DIR          an empty folder on a file system of a few megabytes, which will be\n"
	"                       filled (law 6)\n"
	"  --outside=FORMAT     what other programs may write to its stores: maildir, mbox\n"
	"\n"
	"  --help               this text\n"
	"  --version            its version, and that of the contract it knows\n";

static const struct option long_options[] = {
	{"group", required_argument, NULL, 'g'}, /* letters are ours alone: there are no short options */
	{"case", required_argument, NULL, 'c'},
	{"list", no_argument, NULL, 'l'},
	{"set", required_argument, NULL, 's'},
	{"dir", required_argument, NULL, 'd'},
	{"index", required_argument, NULL, 'i'},
	{"small", required_argument, NULL, 'm'},
	{"volatile", no_argument, NULL, 'v'},
	{"outside", required_argument, NULL, 'o'},
	{"steps", required_argument, NULL, 't'},
	{"rounds", required_argument, NULL, 'r'},
	{"seed", required_argument, NULL, 'e'},
	{"thorough", no_argument, NULL, 'T'},
	{"bail", no_argument, NULL, 'b'},
	{"keep", no_argument, NULL, 'k'},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{NULL, 0, NULL, 0},
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

static void add_setting(struct ps_buf *settings, const char *text)
{
	const char *equals = strchr(text, '=');

	if (!equals) {
		fprintf(stderr, "postern-conform: --set takes KEY=VALUE\n");
		exit(2);
	}
	ps_buf_printf(settings, "\t%.*s = \"%s\"\n", (int)(equals - text), text, equals + 1);
}

static const struct program *outside_program(const char *format)
{
	const struct program *program = program_of(format);

	if (program)
		return program;
	fprintf(stderr, "postern-conform: --outside knows maildir and mbox, not %s\n", format);
	exit(2);
}

static int print_version(void)
{
	printf("postern-conform %s, ABI %u.%u\n", PACKAGE_VERSION, PS_ABI_MAJOR, PS_ABI_MINOR);
	return EXIT_SUCCESS;
}

static void take_option(struct run *run, struct ps_buf *settings, int letter)
{
	switch (letter) {
	case 'g': run->group = optarg; break;
	case 'c': run->only = optarg; break;
	case 'l': exit(list_cases());
	case 's': add_setting(settings, optarg); break;
	case 'd': run->dir = optarg; break;
	case 'i': run->kit.index = optarg; break;
	case 'm': run->kit.small = optarg; break;
	case 'o': run->kit.outside = outside_program(optarg); break;
	case 'v': run->kit.volatile_store = true; break;
	case 't': run->kit.steps = number_of(optarg); break;
	case 'r': run->kit.rounds = number_of(optarg); break;
	case 'e': run->kit.seed = number_of(optarg); break;
	case 'T': run->kit.thorough = true; break;
	case 'b': run->bail = true; break;
	case 'k': run->keep = true; break;
	case 'h': fputs(usage, stdout); exit(EXIT_SUCCESS);
	case 'V': exit(print_version());
	default: fputs("Try postern-conform --help\n", stderr); exit(2);
	}
}

static const char *take_options(struct run *run, struct ps_buf *settings, int argc, char **argv)
{
	int letter;

	while ((letter = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		take_option(run, settings, letter);
	if (optind + 1 != argc) {
		fputs(usage, stderr);
		exit(2);
	}
	if (run->kit.rounds == 0)
		run->kit.rounds = run->kit.thorough ? DEFAULT_ROUNDS * THOROUGH : DEFAULT_ROUNDS;
	return argv[optind];
}

/* ---- setting up ---------------------------------------------------------------------------- */

static void load_backend(struct run *run, const char *path)
{
	const struct ps_plugin *plugin;

	if (ps_plugin_load(path, &plugin) < 0) {
		fprintf(stderr, "postern-conform: %s\n", ps_last_error());
		exit(2);
	}
	if (plugin->kind != PS_PLUGIN_BACKEND) {
		fprintf(stderr, "postern-conform: %s is not a backend\n", path);
		exit(2);
	}
	run->kit.ops = plugin->ops;
	run->kit.name = plugin->name;
}

static struct ps_config *read_settings(struct run *run, struct ps_buf *settings)
{
	struct ps_buf text = {0};
	struct ps_config *config;

	ps_buf_printf(&text, "mail_root = \"%s\"\nbackend = \"%s\"\n", run->dir, run->kit.name);
	ps_buf_printf(&text, "backend %s {\n%s}\n", run->kit.name, ps_buf_cstr(settings));
	if (ps_config_read("--set", ps_buf_view(&text), NULL, &config) < 0) {
		fprintf(stderr, "postern-conform: %s\n", ps_last_error());
		exit(2);
	}
	ps_buf_finish(&text);
	run->kit.conf = ps_config_plugin(config, "backend", run->kit.name);
	return config;
}

/* In memory where that is possible: nothing is meant to stay, and what is synced need not wait for a disk. */
static const char *folder_for_stores(void)
{
	const char *tmp = getenv("TMPDIR");

	if (tmp)
		return tmp;
	return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
}

static void make_dir(struct run *run, char *made, size_t size)
{
	if (run->dir && (mkdir(run->dir, 0700) == 0 || errno == EEXIST))
		return;
	if (!run->dir) {
		snprintf(made, size, "%s/postern-conform.XXXXXX", folder_for_stores());
		run->dir = mkdtemp(made);
	}
	if (!run->dir) {
		perror("postern-conform: make a folder");
		exit(2);
	}
}

int main(int argc, char **argv)
{
	struct run run = {.kit = {.seed = 1, .steps = DEFAULT_STEPS}};
	struct ps_buf settings = {0};
	struct ps_config *config;
	char made[4096] = "";
	const char *path = take_options(&run, &settings, argc, argv);
	int r;

	ps_log_setup("conform", PS_LOG_ERROR);
	load_backend(&run, path);
	make_dir(&run, made, sizeof made);
	config = read_settings(&run, &settings);
	r = run_cases(&run);
	ps_config_destroy(config);
	ps_buf_finish(&settings);
	if (*made && !(run.keep && r != 0))
		remove_tree(made);
	return r;
}
