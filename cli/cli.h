/* SPDX-License-Identifier: MIT */
/*
 * cli/cli.h - the program `postern`: what its commands share. A command is a row of the table in main.c and a function.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <jansson.h>
#include "auth/entry.h"
#include "core/config/config.h"
#include "postern/buf.h"
#include "postern/error.h"
#include "postern/pool.h"
#include "postern/store.h"

/* Exit codes. */
enum {
	CLI_OK = 0,
	CLI_FAILED = 1,
	CLI_USAGE = 2
};

/* Every option there is; a command's row says which of them it takes. */
enum cli_option_id {
	CLI_OPT_CONFIG,
	CLI_OPT_HELP,
	CLI_OPT_JSON,
	CLI_OPT_PASSWORD_STDIN,
	CLI_OPT_SCHEME,
	CLI_OPT_YES,
	CLI_OPT_MAIL,
	CLI_OPT_MAILBOX,
	CLI_OPT_DRY_RUN,
	CLI_OPT_ALL,
	CLI_OPT_ADD,
	CLI_OPT_TWO_WAY,
	CLI_OPT_FORCE,
	CLI_OPT_VERIFY,
	CLI_OPT_THROTTLE,
	CLI_OPT_UID,
	CLI_OPT_SKIP_BROKEN,
	CLI_OPT_TO,
	CLI_OPT_UNDO,
	CLI_OPT_PURGE,
	CLI_OPT_DOMAIN,
	CLI_OPT_JOBS,
	CLI_OPT_MOST,
	CLI_OPT_SENDER,
	CLI_OPT_RECIPIENT,
	CLI_OPT_SUBMITTER,
	CLI_OPT_DESTINATION,
	CLI_OPT_OLDER,
	CLI_OPT_YOUNGER,
	CLI_OPT_HELD,
	CLI_OPT_EVERY,
	CLI_OPT_SECRETS,
	CLI_OPT_COUNT,
};
#define CLI_TAKES(option) (1u << (option))

struct cli {
	struct ps_pool *pool;
	const char *option[CLI_OPT_COUNT]; /* NULL: not given; "" for one without an argument */
	const struct cli_command *command;
	char **args; /* what is left after the options */
	int arg_count;
	struct ps_config *config; /* after cli_load() */
};

struct cli_command {
	const char *group; /* "user", or NULL */
	const char *name;
	const char *arguments; /* "USER [MAILBOX...]" */
	const char *summary;
	unsigned options;
	int min_args, max_args; /* max -1: any number */
	int (*run)(struct cli *cli);
	const char *help; /* more lines for --help; may be NULL */
};
extern const struct cli_command cli_commands[]; /* a row without name ends it */

/* ---- options.c ---- */

/* Options before the command (`command` NULL: stops at the first argument) or after it. False: told already. */
bool cli_parse_options(struct cli *cli, int argc, char **argv, unsigned taken);
void cli_print_options(unsigned taken);
bool cli_json(const struct cli *cli);

/* ---- context.c ---- */

/* To stderr: "postern: ...". */
void cli_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Tells ps_last_error() and returns CLI_FAILED. */
int cli_failed(void);
int cli_load_plugins(void);
/* Reads the configuration, with all plugins loaded; all its errors are told. Negative: failed. */
int cli_load(struct cli *cli);
const char *cli_config_path(const struct cli *cli);
/* The passwd-file's path. NULL: told already. */
const char *cli_passwd_file(struct cli *cli);
/* The uid and gid that mail belongs to: the setting user_mail when run as root, else our own. Negative: told. */
int cli_mail_ids(struct cli *cli, uid_t *ret_uid, gid_t *ret_gid);
/* Whether there is a configuration file, or one was asked for. */
bool cli_has_config(const struct cli *cli);
/* Makes this process act as the user for good. Does nothing unless it is root's. */
int cli_become(const struct ps_user_info *info);
/* Runs work() in a process that acts as the user, so that what it makes belongs to them; gives its exit code. Without
 * root's rights it is called here. */
int cli_as_user(struct cli *cli, const struct ps_user_info *info,
		int (*work)(struct cli *cli, const struct ps_user_info *info));

/* ---- users.c ---- */

/* Of the passwd-file or any user database; what `ret_...` has lives in the pool, or as long as the configuration. Loads the configuration. Negative:
 * told already. */
int cli_find_entry(struct cli *cli, const char *name, struct ps_user_entry *ret_entry);
/* The same, with nothing told: PS_E_NOTFOUND, or it cannot be told now. */
int cli_look_up(struct cli *cli, const char *name, struct ps_user_entry *ret_entry);
int cli_find_user(struct cli *cli, const char *name, struct ps_user_info *ret_info);
/* All users of the passwd-file, but those whose line has an error: told. Non-zero from `fn` ends it. Negative: told already. */
int cli_each_user(struct cli *cli, int (*fn)(void *arg, const struct ps_user_info *info), void *arg);
/* Of whom cli_each_user() knows nothing. */
void cli_tell_unlisted(struct cli *cli);

/* ---- output.c ---- */

/* Prints and frees. */
int cli_print_json(json_t *json);
/* Reads one line without its line end; at most `limit` octets. */
int cli_read_line(int fd, size_t limit, struct ps_buf *out);
/* Asks on the terminal without echo, twice when `confirm`; or takes a line of stdin with --password-stdin. */
int cli_get_password(struct cli *cli, const char *user, struct ps_buf *ret_password);
/* True after the answer y or yes. Without a terminal to ask on: false, and told. */
bool cli_confirm(const char *question);
/* For "%-*s": the width in octets that shows `text` in so many columns; it is UTF-8. */
int cli_width(const char *text, int width);
/* "1.2 MB" in one of 4 rotating buffers. */
const char *cli_octets(uint64_t n);

/* Text of other people's, for the terminal: control characters are blanks. */
void cli_put_safe(const char *text, struct ps_buf *out);
/* "3 d", "2 h", "5 min", "7 s" in one of 4 rotating buffers. */
const char *cli_age(long long seconds);

/* ---- cmd_server.c ---- */

/* Asks the running server; takes the request over. The answer, if the server did what was asked. NULL: told already. */
json_t *cli_ask(struct cli *cli, json_t *request);

/* ---- commands, one file per group ---- */

int cli_user_add(struct cli *cli);
int cli_user_app_password(struct cli *cli);
int cli_user_forget(struct cli *cli);
int cli_user_list(struct cli *cli);
int cli_user_passwd(struct cli *cli);
int cli_user_remove(struct cli *cli);
int cli_user_show(struct cli *cli);
int cli_mailbox_list(struct cli *cli);
int cli_mailbox_status(struct cli *cli);
int cli_mailbox_expire(struct cli *cli);
int cli_import(struct cli *cli);
int cli_quota_show(struct cli *cli);
int cli_quota_recount(struct cli *cli);
int cli_quota_set(struct cli *cli);
int cli_quota_reset(struct cli *cli);
int cli_sync(struct cli *cli);
int cli_storage_switch(struct cli *cli);
int cli_storage_status(struct cli *cli);
int cli_storage_check(struct cli *cli);
int cli_storage_compact(struct cli *cli);
int cli_config_check(struct cli *cli);
int cli_config_show(struct cli *cli);
int cli_queue_list(struct cli *cli);
int cli_queue_show(struct cli *cli);
int cli_queue_hold(struct cli *cli);
int cli_queue_release(struct cli *cli);
int cli_queue_retry(struct cli *cli);
int cli_queue_remove(struct cli *cli);
int cli_queue_bounce(struct cli *cli);
int cli_queue_destinations(struct cli *cli);
int cli_queue_stats(struct cli *cli);
int cli_smtp_explain(struct cli *cli);
int cli_smtp_tls_report(struct cli *cli);
int cli_trace(struct cli *cli);
int cli_who(struct cli *cli);
int cli_kick(struct cli *cli);
int cli_reload(struct cli *cli);
int cli_stop(struct cli *cli);

#endif
