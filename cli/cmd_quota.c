/* SPDX-License-Identifier: MIT */
/* postern quota show|recount */
#include <stdio.h>
#include "cli/cli.h"

struct output {
	struct cli *cli;
	struct ps_user *user;
	json_t *json; /* NULL: print */
	bool recount; /* by every row, and not by the mailboxes' figures alone */
	bool differs;
};

static json_t *amounts_json(uint64_t used, uint64_t limit)
{
	return json_pack("{s:I, s:I}", "used", (json_int_t)used, "limit", (json_int_t)limit);
}

static void print_quota(const struct ps_quota *quota)
{
	printf("%-20s %12s", *quota->root ? quota->root : "(own mail)", cli_octets(quota->used.octets));
	printf(" of %12s %10llu messages of ", quota->limit.octets ? cli_octets(quota->limit.octets) : "any",
	       (unsigned long long)quota->used.messages);
	if (quota->limit.messages)
		printf("%llu\n", (unsigned long long)quota->limit.messages);
	else
		printf("any\n");
}

/* What every single row says. */
static int put_recount(struct output *out, const struct ps_quota *quota, json_t *json)
{
	struct ps_usage rows;
	bool same;
	int r = ps_user_recount(out->user, quota->root, &rows);

	if (r < 0)
		return r;
	same = rows.octets == quota->used.octets && rows.messages == quota->used.messages;
	out->differs |= !same;
	if (json)
		json_object_set_new(json, "recount",
				    json_pack("{s:I, s:I}", "storage", (json_int_t)rows.octets, "messages",
					      (json_int_t)rows.messages));
	else
		printf("    counted one by one: %llu octets, %llu messages: %s\n", (unsigned long long)rows.octets,
		       (unsigned long long)rows.messages, same ? "the same" : "ANOTHER FIGURE");
	return 0;
}

static int put_one(void *arg, const struct ps_quota *quota)
{
	struct output *out = arg;
	json_t *json = NULL;

	if (out->json) {
		json = json_pack("{s:s, s:o, s:o}", "root", quota->root, "storage",
				 amounts_json(quota->used.octets, quota->limit.octets), "messages",
				 amounts_json(quota->used.messages, quota->limit.messages));
		json_array_append_new(out->json, json);
	} else {
		print_quota(quota);
	}
	return out->recount ? put_recount(out, quota, json) : 0;
}

static int run(struct cli *cli, const struct ps_user_info *info, bool recount)
{
	struct output out = {.cli = cli, .recount = recount, .json = cli_json(cli) ? json_array() : NULL};
	int r;

	if (ps_user_open(ps_config_root(cli->config), info, &out.user) < 0) {
		json_decref(out.json);
		return cli_failed();
	}
	r = ps_user_quotas(out.user, put_one, &out);
	ps_user_close(out.user);
	if (r < 0) {
		json_decref(out.json);
		return cli_failed();
	}
	if (out.json)
		cli_print_json(out.json);
	return out.differs ? CLI_FAILED : CLI_OK;
}

static int show_as_user(struct cli *cli, const struct ps_user_info *info)
{
	return run(cli, info, false);
}

static int recount_as_user(struct cli *cli, const struct ps_user_info *info)
{
	return run(cli, info, true);
}

int cli_quota_show(struct cli *cli)
{
	struct ps_user_info info;

	return cli_find_user(cli, cli->args[0], &info) < 0 ? CLI_FAILED : cli_as_user(cli, &info, show_as_user);
}

int cli_quota_recount(struct cli *cli)
{
	struct ps_user_info info;

	return cli_find_user(cli, cli->args[0], &info) < 0 ? CLI_FAILED : cli_as_user(cli, &info, recount_as_user);
}
