/* SPDX-License-Identifier: MIT */
#include <getopt.h>
#include <stdio.h>
#include "cli/cli.h"

static const struct {
	const char *name;
	char letter;
	const char *argument; /* NULL: takes none */
	const char *help;
} options[CLI_OPT_COUNT] = {
	[CLI_OPT_CONFIG] = {"config", 'c', "FILE",
			    "configuration file (default $POSTERN_CONFIG, else " PS_SYSCONFDIR
			    "/postern/postern.conf)"},
	[CLI_OPT_HELP] = {"help", 'h', NULL, "print this help"},
	[CLI_OPT_JSON] = {"json", 'j', NULL, "print JSON"},
	[CLI_OPT_PASSWORD_STDIN] = {"password-stdin", 'p', NULL, "read the password from stdin, one line"},
	[CLI_OPT_SCHEME] = {"scheme", 's', "SCHEME", "how to hash the password (default: the best that is there)"},
	[CLI_OPT_YES] = {"yes", 'y', NULL, "do not ask"},
	[CLI_OPT_MAIL] = {"mail", 'm', NULL, "remove the user's mail too"},
	[CLI_OPT_MAILBOX] = {"mailbox", 'm', "NAME", "this mailbox only; import: put all messages into it"},
	[CLI_OPT_DRY_RUN] = {"dry-run", 'n', NULL, "only tell what would be done"},
	[CLI_OPT_ALL] = {"all", 'a', NULL, "print defaults too, with what each setting is for"},
	[CLI_OPT_ADD] = {"add", 'A', NULL, "add what the target lacks; change and remove nothing there"},
	[CLI_OPT_TWO_WAY] = {"two-way", '2', NULL, "bring the changes of either end to the other"},
	[CLI_OPT_FORCE] = {"force", 'f', NULL, "go on where what is in the target will be lost"},
	[CLI_OPT_VERIFY] = {"verify", 'V', NULL, "then read both ends and compare them"},
	[CLI_OPT_THROTTLE] = {"throttle", 't', "RATE", "octets a second (500K, 5M), or messages a second (20msg)"},
	[CLI_OPT_UID] = {"uid", 'u', "SET", "of the mailbox, the messages with these UIDs only, as in 3,7:9"},
	[CLI_OPT_TO] = {"to", 'T', "BACKEND", "the backend to move to"},
	[CLI_OPT_UNDO] = {"undo", 'U', NULL, "move back to where the mail was before"},
	[CLI_OPT_PURGE] = {"purge", 'P', NULL, "remove what is left where the mail was before"},
	[CLI_OPT_DOMAIN] = {"domain", 'd', "DOMAIN", "all users of this domain"},
	[CLI_OPT_JOBS] = {"jobs", 'J', "N", "so many users at a time (default 2)"},
	[CLI_OPT_MOST] = {"most", 'm', "N", "so many messages at most"},
	[CLI_OPT_SENDER] = {"sender", 's', "ADDRESS", "from this address; @DOMAIN: any of the domain; <>: reports"},
	[CLI_OPT_RECIPIENT] = {"recipient", 'r', "ADDRESS", "to this address, or any of @DOMAIN"},
	[CLI_OPT_SUBMITTER] = {"user", 'u', "USER", "submitted by this user"},
	[CLI_OPT_DESTINATION] = {"destination", 'd', "NAME", "for this destination, as it is listed"},
	[CLI_OPT_OLDER] = {"older", 'o', "AGE", "that have waited so long: 90s, 5min, 2h, 3d"},
	[CLI_OPT_YOUNGER] = {"younger", 'n', "AGE", "that have not waited so long"},
	[CLI_OPT_HELD] = {"held", 'H', NULL, "that are held"},
	[CLI_OPT_EVERY] = {"every", 'e', NULL, "every message of the queue"},
	[CLI_OPT_SECRETS] = {"secrets", 'S', NULL, "print passwords and the like, too"},
	[CLI_OPT_SKIP_BROKEN] = {"skip-broken", 'k', NULL, "leave out messages that cannot be read"},
};

/* Fills getopt's tables with the options that are taken; `short_names` starts with '+' where parsing is to stop at
 * the first argument. */
static void make_tables(unsigned taken, struct option *longs, char *shorts)
{
	size_t n = 0, at = strlen(shorts);

	for (int i = 0; i < CLI_OPT_COUNT; i++) {
		if (!(taken & CLI_TAKES(i)))
			continue;
		longs[n++] = (struct option){options[i].name, options[i].argument ? required_argument : no_argument,
					     NULL, options[i].letter};
		shorts[at++] = options[i].letter;
		if (options[i].argument)
			shorts[at++] = ':';
	}
	longs[n] = (struct option){0};
	shorts[at] = '\0';
}

static int id_of(int letter, unsigned taken)
{
	for (int i = 0; i < CLI_OPT_COUNT; i++)
		if (options[i].letter == letter && (taken & CLI_TAKES(i)))
			return i;
	return -1;
}

bool cli_parse_options(struct cli *cli, int argc, char **argv, unsigned taken)
{
	struct option longs[CLI_OPT_COUNT + 1];
	char shorts[2 * CLI_OPT_COUNT + 3];
	int letter;

	strcpy(shorts, cli->command ? "" : "+");
	make_tables(taken, longs, shorts);
	argv[0] = (char *)"postern"; /* getopt begins its complaints with it */
	optind = 0;
	while ((letter = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		int id = id_of(letter, taken);

		if (id < 0) {
			fprintf(stderr, "`postern %s--help` lists the options\n", cli->command ? "COMMAND " : "");
			return false;
		}
		cli->option[id] = options[id].argument ? optarg : "";
	}
	cli->args = argv + optind;
	cli->arg_count = argc - optind;
	return true;
}

void cli_print_options(unsigned taken)
{
	for (int i = 0; i < CLI_OPT_COUNT; i++) {
		char name[40];

		if (!(taken & CLI_TAKES(i)))
			continue;
		snprintf(name, sizeof name, "-%c, --%s%s%s", options[i].letter, options[i].name,
			 options[i].argument ? " " : "", options[i].argument ? options[i].argument : "");
		printf("  %-24s %s\n", name, options[i].help);
	}
}

bool cli_json(const struct cli *cli)
{
	return cli->option[CLI_OPT_JSON] != NULL;
}
