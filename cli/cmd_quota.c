/* SPDX-License-Identifier: MIT */
/* postern quota show|recount|set|reset */
#include <stdio.h>
#include "cli/cli.h"
#include "core/config/conf.h"

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
		printf("%llu", (unsigned long long)quota->limit.messages);
	else
		printf("any");
	printf("%s\n", quota->set ? ", as was set" : "");
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
		json = json_pack("{s:s, s:b, s:o, s:o}", "root", quota->root, "set", quota->set, "storage",
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

/* ---- set and reset ------------------------------------------------------------------------------ */

static const struct ps_setting amounts[] = {
	{.name = "storage", .type = PS_SET_SIZE, .min = 1, .max = INT64_C(1) << 50},
	{.name = "messages", .type = PS_SET_INT, .min = 1, .max = UINT32_MAX},
};

struct order {
	const char *root; /* "": the user's own mail */
	struct ps_usage limit;
};

static bool take_amount(struct cli *cli, const char *word, const char *value, struct order *order)
{
	uint64_t *const limits[] = {&order->limit.octets, &order->limit.messages};
	PS_CLEANUP(ps_buf_finish) struct ps_buf why = {0};
	struct conf_value read;

	for (size_t i = 0; i < PS_ARRAY_LEN(amounts); i++) {
		if (strcmp(word, amounts[i].name) != 0)
			continue;
		if (conf_value_parse(&amounts[i], value, cli->pool, &read, &why)) {
			*limits[i] = (uint64_t)read.number;
			return true;
		}
		cli_error("\"%s\" must be %s", word, ps_buf_cstr(&why));
		return false;
	}
	cli_error("\"%s\" is none of storage, messages and mount", word);
	return false;
}

/* [storage OCTETS] [messages N] [mount NAME], from the second argument on. */
static bool take_order(struct cli *cli, struct order *order)
{
	*order = (struct order){.root = ""};
	for (int i = 1; i < cli->arg_count; i += 2) {
		const char *value = i + 1 < cli->arg_count ? cli->args[i + 1] : NULL;

		if (!value) {
			cli_error("what is %s to be?", cli->args[i]);
			return false;
		}
		if (strcmp(cli->args[i], "mount") == 0)
			order->root = value;
		else if (!take_amount(cli, cli->args[i], value, order))
			return false;
	}
	return true;
}

static int set_quota(struct cli *cli, const struct ps_user_info *info, const struct order *order, bool reset)
{
	struct ps_user *user;
	int r;

	if (ps_user_open(ps_config_root(cli->config), info, &user) < 0)
		return cli_failed();
	r = ps_user_set_quota(user, order->root, reset ? NULL : &order->limit);
	ps_user_close(user);
	return r < 0 ? cli_failed() : show_as_user(cli, info);
}

static int set_as_user(struct cli *cli, const struct ps_user_info *info)
{
	struct order order;

	return take_order(cli, &order) ? set_quota(cli, info, &order, false) : CLI_USAGE;
}

static int reset_as_user(struct cli *cli, const struct ps_user_info *info)
{
	const struct order order = {.root = cli->arg_count > 1 ? cli->args[1] : ""};

	return set_quota(cli, info, &order, true);
}

int cli_quota_set(struct cli *cli)
{
	struct ps_user_info info;

	return cli_find_user(cli, cli->args[0], &info) < 0 ? CLI_FAILED : cli_as_user(cli, &info, set_as_user);
}

int cli_quota_reset(struct cli *cli)
{
	struct ps_user_info info;

	return cli_find_user(cli, cli->args[0], &info) < 0 ? CLI_FAILED : cli_as_user(cli, &info, reset_as_user);
}
