/* SPDX-License-Identifier: MIT */
/* postern storage status|check|compact */
#include <stdio.h>
#include "cli/ends.h"
#include "core/store/place.h"

/* ---- status ---------------------------------------------------------------------------------- */

static json_t *store_json(const struct ps_user_info *info, const struct ps_place_store *store, struct ps_pool *pool)
{
	if (!store->backend)
		return json_null();
	return json_pack("{s:s, s:s}", "backend", store->backend, "path", ps_place_root(info, store->name, pool));
}

static void print_store(const char *what, const struct ps_user_info *info, const struct ps_place_store *store,
			struct ps_pool *pool)
{
	if (store->backend)
		printf("%-20s %s in %s\n", what, store->backend, ps_place_root(info, store->name, pool));
}

int cli_storage_status(struct cli *cli)
{
	struct ps_user_info info;
	struct ps_place_record record;

	if (cli_find_user(cli, cli->args[0], &info) < 0)
		return CLI_FAILED;
	if (ps_place_read(&info, cli->pool, &record) < 0)
		return cli_failed();
	if (cli_json(cli))
		return cli_print_json(json_pack("{s:s, s:o, s:o, s:o, s:o}", "user", info.name, "now",
						store_json(&info, &record.now, cli->pool), "moving_to",
						store_json(&info, &record.target, cli->pool), "before",
						store_json(&info, &record.before, cli->pool), "being_purged",
						store_json(&info, &record.purged, cli->pool)));
	print_store("the mail is", &info, &record.now, cli->pool);
	print_store("a move was begun to", &info, &record.target, cli->pool);
	print_store("before it was", &info, &record.before, cli->pool);
	print_store("not yet removed", &info, &record.purged, cli->pool);
	return CLI_OK;
}

/* ---- an end, and what is mounted in it ---------------------------------------------------------- */

/* `ret_json`: what it has to say with --json. */
typedef int (*store_fn)(struct cli *cli, struct cli_end *end, json_t **ret_json);

static int open_and_run(struct cli *cli, struct cli_end *end, store_fn run, json_t **ret_json)
{
	int code;

	if (cli_end_open(end, false) < 0)
		return cli_failed();
	code = run(cli, end, ret_json);
	cli_end_close(end);
	return code;
}

static int run_mounts(struct cli *cli, const struct cli_end *end, store_fn run, json_t *list)
{
	struct cli_mount *mounts;
	size_t count;
	int code = CLI_OK;

	if (cli_end_mounts(cli, end, &mounts, &count) < 0)
		return CLI_FAILED;
	for (size_t i = 0; i < count; i++) {
		json_t *json = NULL;

		if (open_and_run(cli, &mounts[i].end, run, &json) != CLI_OK)
			code = CLI_FAILED;
		if (json)
			json_array_append_new(list, json);
	}
	return code;
}

static int each_store(struct cli *cli, store_fn run)
{
	json_t *json = NULL, *mounts;
	struct cli_end end;
	int code, mounts_code;

	if (cli_end_find(cli, cli->args[0], &end) < 0)
		return CLI_FAILED;
	code = open_and_run(cli, &end, run, &json);
	mounts = json_array();
	mounts_code = run_mounts(cli, &end, run, mounts);
	if (json) {
		json_object_set(json, "mounts", mounts);
		cli_print_json(json);
	}
	json_decref(mounts);
	return code == CLI_OK ? mounts_code : code;
}

/* ---- check ----------------------------------------------------------------------------------- */

struct faults {
	struct cli *cli;
	json_t *list;
};

static void tell_fault(void *arg, const char *sentence)
{
	struct faults *faults = arg;

	if (faults->list)
		json_array_append_new(faults->list, json_string(sentence));
	else
		printf("%s\n", sentence);
}

static json_t *figures_json(const struct faults *faults, const char *name, const struct ps_sync_figures *f)
{
	return json_pack("{s:s, s:I, s:I, s:I, s:o}", "store", name, "mailboxes", (json_int_t)f->mailboxes, "messages",
			 (json_int_t)f->messages, "octets", (json_int_t)f->octets, "faults", faults->list);
}

static int print_figures(struct faults *faults, const char *name, const struct ps_sync_figures *f, json_t **ret_json)
{
	if (faults->list)
		*ret_json = figures_json(faults, name, f);
	else
		printf("%s: %llu mailboxes, %llu messages, %s read: %llu faults\n", name,
		       (unsigned long long)f->mailboxes, (unsigned long long)f->messages, cli_octets(f->octets),
		       (unsigned long long)f->faults);
	return f->faults > 0 ? CLI_FAILED : CLI_OK;
}

static int check_store(struct cli *cli, struct cli_end *end, json_t **ret_json)
{
	struct faults faults = {.cli = cli, .list = cli_json(cli) ? json_array() : NULL};
	struct ps_sync_figures figures;

	if (ps_sync_check(&end->end, tell_fault, &faults, &figures) < 0) {
		json_decref(faults.list);
		return cli_failed();
	}
	return print_figures(&faults, end->end.name, &figures, ret_json);
}

int cli_storage_check(struct cli *cli)
{
	return each_store(cli, check_store);
}

/* ---- compact --------------------------------------------------------------------------------- */

static int compact_store(struct cli *cli, struct cli_end *end, json_t **ret_json)
{
	bool can = end->end.ops->compact != NULL;
	uint64_t octets = 0;

	if (ps_sync_compact(&end->end, &octets) < 0)
		return cli_failed();
	if (cli_json(cli))
		*ret_json = json_pack("{s:s, s:b, s:I}", "store", end->end.name, "possible", can, "freed",
				      (json_int_t)octets);
	else if (can)
		printf("%s: %s given back\n", end->end.name, cli_octets(octets));
	else
		printf("%s: there is nothing to win with this backend\n", end->end.name);
	return CLI_OK;
}

int cli_storage_compact(struct cli *cli)
{
	return each_store(cli, compact_store);
}
