/* SPDX-License-Identifier: MIT */
/* postern sync FROM TO */
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include "cli/ends.h"
#include "cli/progress.h"
#include "cli/rate.h"

struct run {
	struct cli *cli;
	struct cli_end from, to;
	struct ps_sync_options options;
	struct ps_sync_totals totals;
	struct cli_progress progress;
	struct ps_set uids;
	bool verified, equal;
	struct ps_sync_digest digests[2];
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	interrupted = number;
}

/* The first one ends after what is being committed; the second one at once. */
static void catch_signals(void)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

static bool stop(void *arg)
{
	(void)arg;
	return interrupted != 0;
}

static void note(void *arg, const char *sentence)
{
	struct run *run = arg;

	cli_progress_break(&run->progress);
	cli_error("%s", sentence);
}

static void progress(void *arg, const struct ps_sync_progress *p)
{
	struct run *run = arg;

	cli_progress_at(&run->progress, p->done, p->total);
}

/* ---- options --------------------------------------------------------------------------------- */

static int usage(const char *text)
{
	cli_error("%s", text);
	return PS_E_INVALID;
}

static int read_selection(struct run *run)
{
	const char *mailbox = run->cli->option[CLI_OPT_MAILBOX], *uids = run->cli->option[CLI_OPT_UID];

	if (uids && !mailbox)
		return usage("--uid needs --mailbox, whose messages it means");
	if (!mailbox)
		return 0;
	if (ps_mailbox_name_normalise(ps_bytes_str(mailbox), run->cli->pool, &run->options.mailbox) < 0)
		return usage(ps_last_error());
	if (!uids)
		return 0;
	if (ps_set_parse(ps_bytes_str(uids), UINT32_MAX, run->cli->pool, &run->uids) < 0)
		return usage("--uid takes numbers and ranges, as in 3,7:9");
	run->options.uids = &run->uids;
	return 0;
}

static int read_options(struct run *run)
{
	const char *const *given = run->cli->option;
	struct ps_sync_options *o = &run->options;

	if (given[CLI_OPT_ADD] && given[CLI_OPT_TWO_WAY])
		return usage("--add and --two-way exclude each other");
	if (read_selection(run) < 0)
		return PS_E_INVALID;
	if (o->mailbox && given[CLI_OPT_TWO_WAY])
		return usage("--two-way is for all mailboxes: --mailbox cannot be with it");
	o->mode = given[CLI_OPT_TWO_WAY]             ? PS_SYNC_BOTH
		  : given[CLI_OPT_ADD] || o->mailbox ? PS_SYNC_ADD
						     : PS_SYNC_MIRROR;
	if (o->mode == PS_SYNC_ADD && given[CLI_OPT_VERIFY])
		return usage("--verify compares all of both ends: it cannot be with --add, --mailbox or --uid");
	if (o->mode != PS_SYNC_MIRROR && given[CLI_OPT_FORCE])
		return usage("--force is for a target that follows its source");
	o->force = given[CLI_OPT_FORCE] != NULL;
	o->dry_run = given[CLI_OPT_DRY_RUN] != NULL;
	o->pass_broken = given[CLI_OPT_SKIP_BROKEN] != NULL;
	if (given[CLI_OPT_THROTTLE] && cli_parse_rate(given[CLI_OPT_THROTTLE], o) < 0)
		return usage("--throttle takes octets a second, as in 500K or 5M, or messages a second, as in 20msg");
	return 0;
}

/* ---- verifying ------------------------------------------------------------------------------- */

/* What one end has is remembered by name, and what the other has is held against it. */
struct comparison {
	struct run *run;
	json_t *first;
	bool second;
};

static const uint8_t *part_of(const struct run *run, const struct ps_sync_digest *digest)
{
	return run->options.mode == PS_SYNC_BOTH ? digest->mail : digest->content;
}

static const char *hex(struct cli *cli, const uint8_t digest[32])
{
	struct ps_buf out = {0};
	const char *text;

	ps_hex_encode(&out, ps_bytes(digest, 32));
	text = ps_pool_strdup(cli->pool, ps_buf_cstr(&out));
	ps_buf_finish(&out);
	return text;
}

static void compare_one(void *arg, const char *mailbox, const struct ps_sync_digest *digest)
{
	struct comparison *c = arg;
	const char *text = hex(c->run->cli, part_of(c->run, digest));
	const json_t *other = json_object_get(c->first, mailbox);

	if (!c->second) {
		json_object_set_new(c->first, mailbox, json_string(text));
		return;
	}
	if (!other)
		cli_error("only %s has the mailbox %s", c->run->to.end.name, mailbox);
	else if (strcmp(json_string_value(other), text) != 0)
		cli_error("mailbox %s is not the same at both ends", mailbox);
	json_object_del(c->first, mailbox);
}

static int verify(struct run *run)
{
	struct comparison c = {.run = run, .first = json_object()};
	const char *name;
	json_t *value;
	int r = ps_sync_digest(&run->from.end, compare_one, &c, &run->digests[0]);

	c.second = true;
	if (r == 0)
		r = ps_sync_digest(&run->to.end, compare_one, &c, &run->digests[1]);
	if (r == 0)
		json_object_foreach(c.first, name, value)
			cli_error("only %s has the mailbox %s", run->from.end.name, name);
	json_decref(c.first);
	run->verified = r == 0;
	run->equal = r == 0 && memcmp(part_of(run, &run->digests[0]), part_of(run, &run->digests[1]), 32) == 0;
	return r;
}

/* ---- what is told ---------------------------------------------------------------------------- */

static json_t *digest_json(struct run *run, int end)
{
	const struct ps_sync_digest *d = &run->digests[end];

	if (!run->verified)
		return json_null();
	return json_pack("{s:s, s:s, s:s, s:I, s:I}", "content", hex(run->cli, d->content), "modseqs",
			 hex(run->cli, d->modseqs), "mail", hex(run->cli, d->mail), "messages", (json_int_t)d->messages,
			 "octets", (json_int_t)d->octets);
}

static void print_json(struct run *run, int r)
{
	const struct ps_sync_totals *t = &run->totals;
	json_t *json =
		json_pack("{s:s, s:s, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I}", "from", run->from.end.name, "to",
			  run->to.end.name, "dry_run", run->options.dry_run, "complete",
			  r == 0 && !t->stopped && !run->options.dry_run, "copied", (json_int_t)t->copied, "octets",
			  (json_int_t)t->octets, "flagged", (json_int_t)t->flagged, "expunged", (json_int_t)t->expunged,
			  "already_there", (json_int_t)t->there, "failed", (json_int_t)t->failed);

	json_object_update_new(json, json_pack("{s:I, s:I, s:I, s:I}", "mailboxes_made", (json_int_t)t->mailboxes_made,
					       "mailboxes_renamed", (json_int_t)t->mailboxes_renamed,
					       "mailboxes_removed", (json_int_t)t->mailboxes_removed,
					       "mailboxes_changed", (json_int_t)t->mailboxes_changed));
	if (run->verified)
		json_object_update_new(json,
				       json_pack("{s:b, s:b, s:o, s:o}", "equal", run->equal, "modseqs_equal",
						 memcmp(run->digests[0].modseqs, run->digests[1].modseqs, 32) == 0,
						 "from_digest", digest_json(run, 0), "to_digest", digest_json(run, 1)));
	cli_print_json(json);
}

static void print_summary(const struct run *run)
{
	const struct ps_sync_totals *t = &run->totals;

	printf("%scopied %llu (%s), changed flags %llu, removed %llu", run->options.dry_run ? "would have " : "",
	       (unsigned long long)t->copied, cli_octets(t->octets), (unsigned long long)t->flagged,
	       (unsigned long long)t->expunged);
	if (run->options.mode == PS_SYNC_ADD)
		printf(", there already %llu", (unsigned long long)t->there);
	if (t->failed)
		printf(", not readable %llu", (unsigned long long)t->failed);
	printf("; mailboxes: made %u, renamed %u, removed %u, changed %u\n", t->mailboxes_made, t->mailboxes_renamed,
	       t->mailboxes_removed, t->mailboxes_changed);
	if (run->verified && run->equal)
		printf("verified: both ends hold the same %llu messages\n",
		       (unsigned long long)run->digests[0].messages);
}

/* ---- the command ----------------------------------------------------------------------------- */

static int sync_and_verify(struct run *run)
{
	int r = ps_sync_run(&run->from.end, &run->to.end, &run->options, &run->totals);

	cli_progress_break(&run->progress);
	if (r < 0)
		cli_failed();
	if (r == 0 && run->totals.stopped)
		cli_error("stopped; run it again to go on from here");
	if (r == 0 && !run->totals.stopped && run->cli->option[CLI_OPT_VERIFY] && (r = verify(run)) < 0)
		cli_failed();
	if (run->verified && !run->equal)
		cli_error("%s and %s are not the same", run->from.end.name, run->to.end.name);
	if (cli_json(run->cli))
		print_json(run, r);
	else if (r == 0)
		print_summary(run);
	return r == 0 && !run->totals.stopped && run->totals.failed == 0 && (!run->verified || run->equal) ? CLI_OK
													   : CLI_FAILED;
}

static int with_target(struct run *run)
{
	int r = cli_end_open(&run->to, !run->options.dry_run), code;

	if (r < 0) {
		if (r == PS_E_NOTFOUND && run->options.dry_run)
			cli_error("%s is not there yet; all would be copied", run->to.end.name);
		else
			cli_failed();
		return r == PS_E_NOTFOUND && run->options.dry_run ? CLI_OK : CLI_FAILED;
	}
	if (!run->options.dry_run && cli_check_keeps(run->to.end.name, run->to.args.root) < 0) {
		cli_failed();
		cli_end_close(&run->to);
		return CLI_FAILED;
	}
	run->options.record_dir = ps_pool_printf(run->cli->pool, "%s/postern-control", run->to.args.root);
	run->options.unshared = !run->to.is_user;
	cli_progress_start(&run->progress, "messages", 0);
	code = sync_and_verify(run);
	cli_end_close(&run->to);
	return code;
}

static int with_ends(struct run *run)
{
	int code;

	if (strcmp(run->from.args.root, run->to.args.root) == 0) {
		cli_error("both ends are the same place");
		return CLI_USAGE;
	}
	if (cli_end_open(&run->from, false) < 0)
		return cli_failed();
	code = with_target(run);
	cli_end_close(&run->from);
	return code;
}

int cli_sync(struct cli *cli)
{
	struct run run = {.cli = cli};

	run.options.progress = progress;
	run.options.note = note;
	run.options.stop = stop;
	run.options.arg = &run;
	if (read_options(&run) < 0)
		return CLI_USAGE;
	if (cli_end_find(cli, cli->args[0], &run.from) < 0 || cli_end_find(cli, cli->args[1], &run.to) < 0)
		return CLI_FAILED;
	catch_signals();
	umask(077);
	return with_ends(&run);
}
