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

static int print_figures(struct faults *faults, const char *name, const struct ps_sync_figures *f)
{
	if (faults->list)
		cli_print_json(json_pack("{s:s, s:I, s:I, s:I, s:o}", "store", name, "mailboxes",
					 (json_int_t)f->mailboxes, "messages", (json_int_t)f->messages, "octets",
					 (json_int_t)f->octets, "faults", faults->list));
	else
		printf("%s: %llu mailboxes, %llu messages, %s read: %llu faults\n", name,
		       (unsigned long long)f->mailboxes, (unsigned long long)f->messages, cli_octets(f->octets),
		       (unsigned long long)f->faults);
	return f->faults > 0 ? CLI_FAILED : CLI_OK;
}

int cli_storage_check(struct cli *cli)
{
	struct faults faults = {.cli = cli};
	struct ps_sync_figures figures;
	struct cli_end end;
	int r;

	if (cli_end_find(cli, cli->args[0], &end) < 0)
		return CLI_FAILED;
	if (cli_end_open(&end, false) < 0)
		return cli_failed();
	faults.list = cli_json(cli) ? json_array() : NULL;
	r = ps_sync_check(&end.end, tell_fault, &faults, &figures);
	if (r < 0) {
		json_decref(faults.list);
		cli_failed();
	}
	cli_end_close(&end);
	return r < 0 ? CLI_FAILED : print_figures(&faults, end.end.name, &figures);
}

/* ---- compact --------------------------------------------------------------------------------- */

int cli_storage_compact(struct cli *cli)
{
	struct cli_end end;
	uint64_t octets = 0;
	bool can;
	int r;

	if (cli_end_find(cli, cli->args[0], &end) < 0)
		return CLI_FAILED;
	if (cli_end_open(&end, false) < 0)
		return cli_failed();
	can = end.end.ops->compact != NULL;
	r = ps_sync_compact(&end.end, &octets);
	if (r < 0)
		cli_failed();
	cli_end_close(&end);
	if (r < 0)
		return CLI_FAILED;
	if (cli_json(cli))
		return cli_print_json(json_pack("{s:s, s:b, s:I}", "store", end.end.name, "possible", can, "freed",
						(json_int_t)octets));
	if (can)
		printf("%s: %s given back\n", end.end.name, cli_octets(octets));
	else
		printf("%s: there is nothing to win with this backend\n", end.end.name);
	return CLI_OK;
}
