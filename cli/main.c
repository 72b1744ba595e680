/* SPDX-License-Identifier: MIT */
/* `postern`: the table of commands, and the way from argv to one of them. */
#include <locale.h>
#include <stdio.h>
#include "cli/cli.h"
#include "config.h"
#include "core/config/near.h"
#include "postern/log.h"

#define COMMON (CLI_TAKES(CLI_OPT_CONFIG) | CLI_TAKES(CLI_OPT_HELP))
#define JSON   (COMMON | CLI_TAKES(CLI_OPT_JSON))
#define FILTER                                                                                                         \
	(CLI_TAKES(CLI_OPT_SENDER) | CLI_TAKES(CLI_OPT_RECIPIENT) | CLI_TAKES(CLI_OPT_SUBMITTER) |                     \
	 CLI_TAKES(CLI_OPT_DESTINATION) | CLI_TAKES(CLI_OPT_OLDER) | CLI_TAKES(CLI_OPT_YOUNGER) |                      \
	 CLI_TAKES(CLI_OPT_HELD))
#define ACT      (JSON | FILTER | CLI_TAKES(CLI_OPT_EVERY))
#define PASSWORD (COMMON | CLI_TAKES(CLI_OPT_PASSWORD_STDIN) | CLI_TAKES(CLI_OPT_SCHEME))

/* clang-format off */
const struct cli_command cli_commands[] = {
	{"user", "add", "USER", "add a user to the passwd-file", PASSWORD, 1, 1, cli_user_add,
	 "The password is asked for on the terminal, or read from stdin with --password-stdin. It is never taken from the\n"
	 "command line, where other users of the machine could see it."},
	{"user", "app-password", "add|list|remove USER ...", "further passwords of a user, for one program each", JSON, 2, -1,
	 cli_user_app_password,
	 "  add USER [protocols imap,pop3] [nets 192.0.2.0/24,...] [days 90] [name TEXT]   makes one and prints it, once\n"
	 "  list USER         their ids, when they were made and used last, and what they are for\n"
	 "  remove USER ID    sessions that it opened end at once"},
	{"user", "forget", "[USER]", "have databases asked anew of a user, or of all", COMMON, 0, 1, cli_user_forget, NULL},
	{"user", "list", "", "list the users of the passwd-file", JSON, 0, 0, cli_user_list, NULL},
	{"user", "passwd", "USER", "give a user another password", PASSWORD, 1, 1, cli_user_passwd, NULL},
	{"user", "remove", "USER", "remove a user from the passwd-file",
	 COMMON | CLI_TAKES(CLI_OPT_YES) | CLI_TAKES(CLI_OPT_MAIL), 1, 1, cli_user_remove,
	 "The user's mail stays where it is unless --mail is given. Sessions that are open end at once."},
	{"user", "show", "USER", "show what is known of a user, and from where", JSON, 1, 1, cli_user_show,
	 "The user may be of the passwd-file or of any user database. A running server is asked; where none runs, the databases are."},
	{"mailbox", "list", "USER", "list a user's mailboxes", JSON, 1, 1, cli_mailbox_list, NULL},
	{"mailbox", "status", "USER [MAILBOX...]", "show the figures of a user's mailboxes", JSON, 1, -1, cli_mailbox_status,
	 "Without MAILBOX, those of all mailboxes. Names are as `postern mailbox list` prints them, with / between components."},
	{"mailbox", "expire", "USER", "remove what the setting autoexpunge does not keep, now", JSON, 1, 1, cli_mailbox_expire,
	 "The running server does it by itself, about once an hour for each user whose mail is open."},
	{"quota", "show", "USER", "show what a user's mail takes, and may take", JSON, 1, 1, cli_quota_show, NULL},
	{"quota", "recount", "USER", "count a user's messages one by one and compare", JSON, 1, 1, cli_quota_recount,
	 "There is nothing to mend: what is counted against a quota are the mailboxes' own figures. Exit code 1 if they are not those of the\n"
	 "messages, which `postern storage check` looks into."},
	{"quota", "set", "USER [storage OCTETS] [messages N] [mount NAME]", "set what a user's mail may take", JSON, 1, 7, cli_quota_set,
	 "It counts at once, and wins over the configuration and the user database. What is not named has no limit. With `mount`, it is that of\n"
	 "what is mounted in the user's mail there. OCTETS may have K, M, G or T behind it."},
	{"quota", "reset", "USER [MOUNT]", "let configuration and user database say again what a user's mail may take", JSON, 1, 2,
	 cli_quota_reset, NULL},
	{NULL, "import", "USER PATH", "put a Maildir, an mbox or message files into a user's mailboxes",
	 JSON | CLI_TAKES(CLI_OPT_MAILBOX) | CLI_TAKES(CLI_OPT_DRY_RUN), 2, 2, cli_import,
	 "PATH is a Maildir (with the folders of Maildir++, or others nested in it), a folder of files with one message each\n"
	 "(folders within it become mailboxes), one such file, or an mbox or a folder of them. Flags and dates are kept. What the user has already, with\n"
	 "the same date and the same octets, is passed over, so an import that was interrupted can be run again."},
	{NULL, "sync", "FROM TO", "make one place hold the mail of another",
	 JSON | CLI_TAKES(CLI_OPT_ADD) | CLI_TAKES(CLI_OPT_TWO_WAY) | CLI_TAKES(CLI_OPT_FORCE) | CLI_TAKES(CLI_OPT_VERIFY) |
		 CLI_TAKES(CLI_OPT_THROTTLE) | CLI_TAKES(CLI_OPT_MAILBOX) | CLI_TAKES(CLI_OPT_UID) |
		 CLI_TAKES(CLI_OPT_DRY_RUN) | CLI_TAKES(CLI_OPT_SKIP_BROKEN), 2, 2, cli_sync,
	 "FROM and TO are a user, or BACKEND:PATH, such as maildir:/backup/alice. TO becomes what FROM is, with UIDs, flags, dates,\n"
	 "subscriptions and all; the next time, only what has changed is copied. What was interrupted can be run again. With --mailbox\n"
	 "or --uid messages are only added to TO."},
	{"storage", "switch", "[USER]", "move a user's mail to another backend while they are logged in",
	 JSON | CLI_TAKES(CLI_OPT_TO) | CLI_TAKES(CLI_OPT_UNDO) | CLI_TAKES(CLI_OPT_PURGE) | CLI_TAKES(CLI_OPT_YES) |
		 CLI_TAKES(CLI_OPT_DOMAIN) | CLI_TAKES(CLI_OPT_JOBS) | CLI_TAKES(CLI_OPT_THROTTLE), 0, 1, cli_storage_switch,
	 "One of --to, --undo and --purge; and USER, or --domain. Sessions go on while the mail is copied, then wait for a moment.\n"
	 "The mail stays in its former place, to go back to with --undo, until --purge. What was interrupted can be run again."},
	{"storage", "status", "USER", "tell where a user's mail is", JSON, 1, 1, cli_storage_status, NULL},
	{"storage", "check", "USER|BACKEND:PATH", "read all of a store and tell what is not right", JSON, 1, 1, cli_storage_check,
	 "Changes nothing. The store may be in use."},
	{"storage", "compact", "USER|BACKEND:PATH", "give room that deleted mail left back to the file system", JSON, 1, 1,
	 cli_storage_compact, "The store may be in use."},
	{"queue", "list", "", "list the mail that waits", JSON | FILTER | CLI_TAKES(CLI_OPT_MOST), 0, 0, cli_queue_list,
	 "In the order in which it came. Asks the running server, as all commands of the queue do."},
	{"queue", "show", "ID", "tell all of one message, recipient by recipient", JSON, 1, 1, cli_queue_show, NULL},
	{"queue", "hold", "[ID...]", "keep messages back until they are released", ACT, 0, -1, cli_queue_hold,
	 "What is being sent at this moment goes on."},
	{"queue", "release", "[ID...]", "let held messages go on", ACT, 0, -1, cli_queue_release, NULL},
	{"queue", "retry", "[ID...]", "attempt messages now, though their time has not come", ACT, 0, -1, cli_queue_retry,
	 "A destination that was not reached of late is tried with one message first."},
	{"queue", "remove", "[ID...]", "remove messages; nobody is told", ACT | CLI_TAKES(CLI_OPT_YES), 0, -1, cli_queue_remove, NULL},
	{"queue", "bounce", "[ID...]", "return messages to their senders", ACT | CLI_TAKES(CLI_OPT_YES), 0, -1, cli_queue_bounce, NULL},
	{"queue", "destinations", "", "list where the mail that waits is to go, and what keeps it", JSON | CLI_TAKES(CLI_OPT_MOST), 0, 0,
	 cli_queue_destinations, NULL},
	{"queue", "stats", "", "show the figures of the queue", JSON, 0, 0, cli_queue_stats, NULL},
	{"smtp", "explain", "ADDRESS", "tell where mail to an address would go, and why", JSON, 1, 1, cli_smtp_explain,
	 "Asks the DNS and web servers of domains as the server would, and sends nothing. Goes by the configuration file as it is now."},
	{"smtp", "tls-report", "[DAY]", "show what came of TLS with other mail servers", JSON, 0, 1, cli_smtp_tls_report,
	 "Of today, or of a day such as 2026-11-23, of the last 30 (UTC), by domain: which policy it has, how many sessions were as it wants\n"
	 "them, and what the others failed of, in the words of RFC 8460. Asks the running server."},
	{NULL, "trace", "ID|MESSAGE-ID|ADDRESS", "tell what became of messages", JSON | CLI_TAKES(CLI_OPT_MOST), 1, 1, cli_trace,
	 "Asks the running server. ID is what the log and the 250 of the message name; ADDRESS that of the sender or a recipient.\n"
	 "Of an address the newest messages are told, 20 unless --most says otherwise."},
	{NULL, "who", "", "list the sessions of the running server", JSON, 0, 0, cli_who, NULL},
	{NULL, "kick", "WHAT VALUE...", "end sessions of the running server", COMMON, 2, 8, cli_kick,
	 "WHAT is user, address (or a network), protocol or session, as `postern who` shows them; of several, all must be so.\n"
	 "Clients are told where the protocol has words for it, and may come back: to keep a user out, change the password."},
	{"config", "check", "", "check the configuration file and the files it names", JSON, 0, 0, cli_config_check, NULL},
	{"config", "show", "", "print the settings in force", JSON | CLI_TAKES(CLI_OPT_ALL) | CLI_TAKES(CLI_OPT_SECRETS), 0, 0, cli_config_show,
	 "What is printed reads back the same as a configuration file."},
	{NULL, "reload", "", "make the running server read its configuration again", COMMON, 0, 0, cli_reload, NULL},
	{NULL, "stop", "", "stop the running server", COMMON, 0, 0, cli_stop,
	 "Waits until it has ended: sessions are told, and running commands are finished."},
	{.name = NULL},
};
/* clang-format on */

static bool same(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

static const char *full_name(const struct cli_command *c, struct ps_pool *pool)
{
	return ps_pool_printf(pool, "%s%s%s", c->group ? c->group : "", c->group ? " " : "", c->name);
}

static int wider(int width, const char *text)
{
	int own = (int)strlen(text);

	return own > width ? own : width;
}

/* All commands, or those of a group. */
static void print_commands(const struct cli *cli, FILE *out, const char *group)
{
	int names = 0, arguments = 0;

	for (const struct cli_command *c = cli_commands; c->name; c++) {
		names = wider(names, full_name(c, cli->pool));
		arguments = wider(arguments, c->arguments);
	}
	for (const struct cli_command *c = cli_commands; c->name; c++)
		if (!group || same(group, c->group))
			fprintf(out, "  %-*s  %-*s  %s\n", names, full_name(c, cli->pool), arguments, c->arguments,
				c->summary);
}

static void print_usage(const struct cli *cli, FILE *out, const char *group)
{
	fprintf(out, "usage: postern [--config FILE] %s%sCOMMAND ...\n\n", group ? group : "", group ? " " : "");
	print_commands(cli, out, group);
	fprintf(out, "\n`postern COMMAND --help` tells more of each. Exit codes: 0 done, 1 failed, 2 wrong usage.\n");
}

static void print_help(const struct cli *cli)
{
	const struct cli_command *c = cli->command;

	printf("usage: postern %s [OPTIONS]%s%s\n\n%c%s.\n", full_name(c, cli->pool), *c->arguments ? " " : "",
	       c->arguments, ps_toupper(c->summary[0]), c->summary + 1);
	if (c->help)
		printf("%s\n", c->help);
	printf("\noptions:\n");
	cli_print_options(c->options);
}

/* Finds the row that argv starts with; tells how many of its words were the name. */
static const struct cli_command *find_command(int argc, char **argv, int *ret_words)
{
	for (const struct cli_command *c = cli_commands; c->name; c++) {
		int words = c->group ? 2 : 1;

		if (argc < words || !same(argv[words - 1], c->name) || (c->group && !same(argv[0], c->group)))
			continue;
		*ret_words = words;
		return c;
	}
	return NULL;
}

static bool is_group(const char *word)
{
	for (const struct cli_command *c = cli_commands; c->name; c++)
		if (same(word, c->group))
			return true;
	return false;
}

static int unknown_command(const struct cli *cli, int argc, char **argv)
{
	const char *group = is_group(argv[0]) ? argv[0] : NULL;
	const char *word = group ? argc > 1 ? argv[1] : NULL : argv[0];
	struct ps_near near = {.word = word};

	if (same(word, "--help") || same(word, "-h")) {
		print_usage(cli, stdout, group);
		return CLI_OK;
	}
	if (!word) {
		print_usage(cli, stderr, group);
		return CLI_USAGE;
	}
	for (const struct cli_command *c = cli_commands; c->name; c++)
		if (!group || same(group, c->group))
			ps_near_offer(&near, group || !c->group ? c->name : c->group);
	cli_error("unknown command \"%s%s%s\"%s%s%s; `postern --help` lists them", group ? group : "", group ? " " : "",
		  word, near.best ? " (did you mean \"" : "", near.best ? near.best : "", near.best ? "\"?)" : "");
	return CLI_USAGE;
}

static int run_command(struct cli *cli, int argc, char **argv)
{
	const struct cli_command *c = cli->command;

	if (!cli_parse_options(cli, argc, argv, c->options))
		return CLI_USAGE;
	if (cli->option[CLI_OPT_HELP]) {
		print_help(cli);
		return CLI_OK;
	}
	if (cli->arg_count < c->min_args || (c->max_args >= 0 && cli->arg_count > c->max_args)) {
		cli_error("usage: postern %s [OPTIONS]%s%s", full_name(c, cli->pool), *c->arguments ? " " : "",
			  c->arguments);
		return CLI_USAGE;
	}
	return c->run(cli);
}

static int run(struct cli *cli, int argc, char **argv)
{
	int words;

	if (argc == 2 && same(argv[1], "--version")) {
		printf("postern %s\n", PACKAGE_VERSION);
		return CLI_OK;
	}
	if (!cli_parse_options(cli, argc, argv, COMMON))
		return CLI_USAGE;
	if (cli->arg_count == 0 || (cli->option[CLI_OPT_HELP] && cli->arg_count == 0)) {
		print_usage(cli, cli->option[CLI_OPT_HELP] ? stdout : stderr, NULL);
		return cli->option[CLI_OPT_HELP] ? CLI_OK : CLI_USAGE;
	}
	argv = cli->args;
	argc = cli->arg_count;
	cli->command = find_command(argc, argv, &words);
	if (!cli->command)
		return unknown_command(cli, argc, argv);
	return run_command(cli, argc - words + 1, argv + words - 1);
}

int main(int argc, char **argv)
{
	struct cli cli = {.pool = ps_pool_create("cli")};
	int code;

	setlocale(LC_CTYPE, "");
	ps_log_setup("postern", PS_LOG_WARNING);
	code = run(&cli, argc, argv);
	ps_config_destroy(cli.config);
	ps_pool_destroy(cli.pool);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		cli_error("writing the output: the file system is full, or nobody reads it");
		return CLI_FAILED;
	}
	return code;
}
