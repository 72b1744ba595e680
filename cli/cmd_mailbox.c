/* SPDX-License-Identifier: MIT */
/* postern mailbox list|status|expire */
#include <stdio.h>
#include "cli/cli.h"

static const struct {
	uint32_t attribute;
	const char *name;
} special_uses[] = {
	{PS_MBOX_ALL, "all"},   {PS_MBOX_ARCHIVE, "archive"}, {PS_MBOX_DRAFTS, "drafts"}, {PS_MBOX_FLAGGED, "flagged"},
	{PS_MBOX_JUNK, "junk"}, {PS_MBOX_SENT, "sent"},       {PS_MBOX_TRASH, "trash"},
};

static const char *special_use(uint32_t attributes)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(special_uses); i++)
		if (attributes & special_uses[i].attribute)
			return special_uses[i].name;
	return NULL;
}

static json_t *list_json(const struct ps_mailbox_info *info)
{
	return json_pack("{s:s, s:b, s:b, s:s?, s:I, s:I}", "name", info->name, "exists",
			 (info->attributes & PS_MBOX_EXISTS) != 0, "subscribed",
			 (info->attributes & PS_MBOX_SUBSCRIBED) != 0, "special_use", special_use(info->attributes),
			 "messages", (json_int_t)info->messages, "unseen", (json_int_t)info->unseen);
}

static json_t *status_json(const struct ps_mailbox_info *info)
{
	json_t *json = list_json(info);
	struct ps_buf id = {0};

	ps_hex_encode(&id, ps_bytes(info->id.octets, sizeof info->id.octets));
	json_object_update_new(json,
			       json_pack("{s:I, s:I, s:I, s:I, s:I, s:s}", "deleted", (json_int_t)info->deleted, "size",
					 (json_int_t)info->size, "uid_validity", (json_int_t)info->uid_validity,
					 "uid_next", (json_int_t)info->uid_next, "highest_modseq",
					 (json_int_t)info->highest_modseq, "id", ps_buf_cstr(&id)));
	ps_buf_finish(&id);
	return json;
}

static void print_list(const struct ps_mailbox_info *info)
{
	const char *use = special_use(info->attributes);

	if (!(info->attributes & PS_MBOX_EXISTS)) {
		printf("%-*s (%s)\n", cli_width(info->name, 40), info->name,
		       info->attributes & PS_MBOX_SUBSCRIBED ? "only subscribed"
							     : "no mailbox itself, only above others");
		return;
	}
	printf("%-*s %8u messages %8u unseen%s%s%s\n", cli_width(info->name, 40), info->name, info->messages,
	       info->unseen, use ? "  " : "", use ? use : "",
	       info->attributes & PS_MBOX_SUBSCRIBED ? "" : "  not subscribed");
}

static void print_status(const struct ps_mailbox_info *info)
{
	print_list(info);
	if (info->attributes & PS_MBOX_EXISTS)
		printf("    deleted %u  size %s  uid_validity %u  uid_next %u  highest_modseq %llu\n", info->deleted,
		       cli_octets(info->size), info->uid_validity, info->uid_next,
		       (unsigned long long)info->highest_modseq);
}

struct output {
	json_t *json; /* NULL: print */
	json_t *(*make_json)(const struct ps_mailbox_info *info);
	void (*print)(const struct ps_mailbox_info *info);
};

static int put_one(void *arg, const struct ps_mailbox_info *info)
{
	const struct output *out = arg;

	if (out->json)
		json_array_append_new(out->json, out->make_json(info));
	else
		out->print(info);
	return 0;
}

/* Those named, or all when none is. */
static int put_all(struct cli *cli, struct ps_user *user, struct output *out)
{
	if (cli->arg_count == 1)
		return ps_user_list(user, put_one, out);
	for (int i = 1; i < cli->arg_count; i++) {
		struct ps_mailbox_info info;
		const char *name;
		int r = ps_mailbox_name_normalise(ps_bytes_str(cli->args[i]), cli->pool, &name);

		if (r < 0 || (r = ps_user_status(user, name, &info)) < 0)
			return r;
		put_one(out, &info);
	}
	return 0;
}

static int run(struct cli *cli, const struct ps_user_info *info, struct output *out)
{
	struct ps_user *user;
	int r;

	if (ps_user_open(ps_config_root(cli->config), info, &user) < 0)
		return cli_failed();
	out->json = cli_json(cli) ? json_array() : NULL;
	r = put_all(cli, user, out);
	ps_user_close(user);
	if (r < 0) {
		json_decref(out->json);
		return cli_failed();
	}
	return out->json ? cli_print_json(out->json) : CLI_OK;
}

static int list_as_user(struct cli *cli, const struct ps_user_info *info)
{
	return run(cli, info, &(struct output){.make_json = list_json, .print = print_list});
}

static int status_as_user(struct cli *cli, const struct ps_user_info *info)
{
	return run(cli, info, &(struct output){.make_json = status_json, .print = print_status});
}

int cli_mailbox_list(struct cli *cli)
{
	struct ps_user_info info;

	return cli_find_user(cli, cli->args[0], &info) < 0 ? CLI_FAILED : cli_as_user(cli, &info, list_as_user);
}

int cli_mailbox_status(struct cli *cli)
{
	struct ps_user_info info;

	return cli_find_user(cli, cli->args[0], &info) < 0 ? CLI_FAILED : cli_as_user(cli, &info, status_as_user);
}

/* ---- expire ---------------------------------------------------------------------------------- */

static void put_expired(void *arg, const char *mailbox, uint32_t messages)
{
	json_t *json = arg;

	if (json)
		json_object_set_new(json, mailbox, json_integer((json_int_t)messages));
	else
		printf("%-*s %8u removed\n", cli_width(mailbox, 40), mailbox, messages);
}

static int expire_as_user(struct cli *cli, const struct ps_user_info *info)
{
	const struct ps_conf *conf = ps_config_root(cli->config);
	json_t *json = cli_json(cli) ? json_object() : NULL;
	struct ps_user *user;
	int r = ps_user_open(conf, info, &user);

	if (r == 0) {
		r = ps_user_expire(user, conf, put_expired, json);
		ps_user_close(user);
	}
	if (r < 0) {
		json_decref(json);
		return cli_failed();
	}
	return json ? cli_print_json(json) : CLI_OK;
}

int cli_mailbox_expire(struct cli *cli)
{
	struct ps_user_info info;

	return cli_find_user(cli, cli->args[0], &info) < 0 ? CLI_FAILED : cli_as_user(cli, &info, expire_as_user);
}
