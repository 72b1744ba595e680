/* SPDX-License-Identifier: MIT */
/* postern import USER PATH */
#include <stdio.h>
#include <unistd.h>
#include "cli/import.h"
#include "cli/progress.h"

struct import {
	struct cli *cli;
	struct import_source source;
	struct import_totals totals;
	bool broken; /* ended early */
};

static void tell(const struct import_source *source, const struct import_message *message, const char *why)
{
	char at[60] = "";

	if (message->end > 0)
		snprintf(at, sizeof at, ", at octet %llu", (unsigned long long)message->start);
	cli_error("%s%s%s/%s%s: %s", source->path, *message->folder ? "/" : "", message->folder, message->name, at,
		  why);
}

static int open_message(struct import *import, const struct import_message *message, int *ret_fd)
{
	const struct ps_conf *limits = ps_conf_section(ps_config_root(import->cli->config), "limits", 0);
	int file, r = import_open(&import->source, message, &file);

	if (r < 0 || message->end == 0) {
		if (r == 0)
			*ret_fd = file;
		return r;
	}
	r = import_mbox_extract(file, message, (uint64_t)ps_conf_int(limits, "message_size"), ret_fd);
	close(file);
	return r;
}

static enum import_outcome put_one(struct import *import, struct import_writer *writer,
				   const struct import_message *message, struct cli_progress *progress)
{
	enum import_outcome outcome = IMPORT_FAILED;
	char why[400] = "";
	int fd;

	if (open_message(import, message, &fd) == 0) {
		outcome = import_writer_put(writer, message, fd, why, sizeof why);
		close(fd);
	} else {
		snprintf(why, sizeof why, "%s", ps_last_error());
		import->totals.failed++; /* the writer does not know of it */
	}
	if (outcome == IMPORT_FAILED || outcome == IMPORT_FATAL) {
		cli_progress_break(progress);
		tell(&import->source, message, why);
	}
	return outcome;
}

static int put_all(struct import *import, const struct ps_user_info *info)
{
	struct import_writer writer;
	struct import_totals totals = {0};
	struct cli_progress progress;
	int r = import_writer_start(import->cli, info, &writer);

	if (r < 0)
		return r;
	cli_progress_start(&progress, "messages", import->source.count);
	for (size_t i = 0; i < import->source.count && !import->broken; i++) {
		import->broken = put_one(import, &writer, &import->source.messages[i], &progress) == IMPORT_FATAL;
		cli_progress_step(&progress);
	}
	cli_progress_break(&progress);
	if (import_writer_finish(&writer, &totals) < 0 && !import->broken) {
		import->broken = true;
		cli_failed();
	}
	totals.failed += import->totals.failed;
	import->totals = totals;
	return 0;
}

/* How many messages each mailbox gets; the list is sorted by mailbox. */
static json_t *count_mailboxes(const struct import_source *source)
{
	json_t *counts = json_object();
	size_t from = 0;

	for (size_t i = 1; i <= source->count; i++) {
		if (i < source->count && strcmp(source->messages[i].mailbox, source->messages[from].mailbox) == 0)
			continue;
		json_object_set_new(counts, source->messages[from].mailbox, json_integer((json_int_t)(i - from)));
		from = i;
	}
	return counts;
}

static void print_mailboxes(const struct import_source *source)
{
	json_t *counts = count_mailboxes(source), *count;
	const char *name;

	json_object_foreach(counts, name, count)
		printf("%-*s %8lld messages found\n", cli_width(name, 40), name, (long long)json_integer_value(count));
	json_decref(counts);
}

static void print_summary(const struct import *import, bool dry)
{
	const struct import_totals *t = &import->totals;

	if (cli_json(import->cli)) {
		cli_print_json(json_pack("{s:s, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "source",
					 import->source.path, "dry_run", dry, "complete",
					 !dry && !import->broken && t->failed == 0 && import->source.problems == 0,
					 "found", (json_int_t)import->source.count, "imported", (json_int_t)t->imported,
					 "already_there", (json_int_t)t->there, "not_messages", (json_int_t)t->ignored,
					 "failed", (json_int_t)t->failed, "problems",
					 (json_int_t)import->source.problems, "octets", (json_int_t)t->octets,
					 "mailboxes", count_mailboxes(&import->source)));
		return;
	}
	print_mailboxes(&import->source);
	if (dry)
		printf("dry run: nothing was imported\n");
	else
		printf("imported %llu (%s), there already %llu, no messages %llu, failed %llu\n",
		       (unsigned long long)t->imported, cli_octets(t->octets), (unsigned long long)t->there,
		       (unsigned long long)t->ignored, (unsigned long long)t->failed);
}

static int run(struct import *import, const struct ps_user_info *info)
{
	bool dry = import->cli->option[CLI_OPT_DRY_RUN];

	if (import_scan(&import->source) < 0)
		return cli_failed();
	if (!dry && put_all(import, info) < 0)
		return cli_failed();
	print_summary(import, dry);
	if (import->broken)
		cli_error("the import ended early; when the cause is gone, run it again: what is there is passed over");
	return import->broken || import->totals.failed > 0 || import->source.problems > 0 ? CLI_FAILED : CLI_OK;
}

int cli_import(struct cli *cli)
{
	struct import import = {.cli = cli, .source = {.pool = cli->pool, .path = cli->args[1], .fd = -1}};
	const char *mailbox = cli->option[CLI_OPT_MAILBOX];
	struct ps_user_info info;
	int code;

	if (cli_find_user(cli, cli->args[0], &info) < 0)
		return CLI_FAILED;
	if (mailbox && ps_mailbox_name_normalise(ps_bytes_str(mailbox), cli->pool, &import.source.all_into) < 0) {
		cli_failed();
		return CLI_USAGE;
	}
	code = run(&import, &info);
	import_source_finish(&import.source);
	return code;
}
