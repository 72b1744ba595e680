/* SPDX-License-Identifier: MIT */
/* postern sync FROM TO: the store of each end, and then, one by one, what is mounted in it. */
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include "cli/ends.h"
#include "cli/progress.h"
#include "cli/rate.h"

/* A store at each end. */
struct pair {
	const char *mount; /* NULL: the ends themselves */
	struct cli_end from, to;
	struct ps_sync_totals totals;
	bool done, verified, equal;
	struct ps_sync_digest digests[2];
};

struct run {
	struct cli *cli;
	struct ps_sync_options options;
	struct cli_progress progress;
	struct ps_set uids;
	struct pair *pairs;
	size_t count, cap;
	bool incomplete; /* something has no place at the other end: told */
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
	const struct pair *pair;
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
		cli_error("only %s has the mailbox %s", c->pair->to.end.name, mailbox);
	else if (strcmp(json_string_value(other), text) != 0)
		cli_error("mailbox %s is not the same at both ends", mailbox);
	json_object_del(c->first, mailbox);
}

static int verify(struct run *run, struct pair *pair)
{
	struct comparison c = {.run = run, .pair = pair, .first = json_object()};
	const char *name;
	json_t *value;
	int r = ps_sync_digest(&pair->from.end, compare_one, &c, &pair->digests[0]);

	c.second = true;
	if (r == 0)
		r = ps_sync_digest(&pair->to.end, compare_one, &c, &pair->digests[1]);
	if (r == 0)
		json_object_foreach(c.first, name, value)
			cli_error("only %s has the mailbox %s", pair->from.end.name, name);
	json_decref(c.first);
	pair->verified = r == 0;
	pair->equal = r == 0 && memcmp(part_of(run, &pair->digests[0]), part_of(run, &pair->digests[1]), 32) == 0;
	return r;
}

/* ---- what is told ---------------------------------------------------------------------------- */

static struct ps_sync_totals sum_up(const struct run *run)
{
	struct ps_sync_totals sum = {0};

	for (size_t i = 0; i < run->count; i++) {
		const struct ps_sync_totals *t = &run->pairs[i].totals;

		sum.copied += t->copied;
		sum.octets += t->octets;
		sum.flagged += t->flagged;
		sum.expunged += t->expunged;
		sum.there += t->there;
		sum.failed += t->failed;
		sum.mailboxes_made += t->mailboxes_made;
		sum.mailboxes_renamed += t->mailboxes_renamed;
		sum.mailboxes_removed += t->mailboxes_removed;
		sum.mailboxes_changed += t->mailboxes_changed;
	}
	return sum;
}

static json_t *digest_json(struct run *run, const struct ps_sync_digest *d)
{
	return json_pack("{s:s, s:s, s:s, s:I, s:I}", "content", hex(run->cli, d->content), "modseqs",
			 hex(run->cli, d->modseqs), "mail", hex(run->cli, d->mail), "messages", (json_int_t)d->messages,
			 "octets", (json_int_t)d->octets);
}

static void add_verdict(struct run *run, const struct pair *pair, json_t *json)
{
	if (pair->verified)
		json_object_update_new(json,
				       json_pack("{s:b, s:b, s:o, s:o}", "equal", pair->equal, "modseqs_equal",
						 memcmp(pair->digests[0].modseqs, pair->digests[1].modseqs, 32) == 0,
						 "from_digest", digest_json(run, &pair->digests[0]), "to_digest",
						 digest_json(run, &pair->digests[1])));
}

static json_t *mounts_json(struct run *run)
{
	json_t *list = json_array();

	for (size_t i = 0; i < run->count; i++) {
		const struct pair *pair = &run->pairs[i];
		json_t *json;

		if (!pair->mount)
			continue;
		json = json_pack("{s:s, s:s, s:s, s:b, s:I}", "mount", pair->mount, "from", pair->from.args.root, "to",
				 pair->to.args.root, "complete", pair->done, "copied", (json_int_t)pair->totals.copied);
		add_verdict(run, pair, json);
		json_array_append_new(list, json);
	}
	return list;
}

static void print_json(struct run *run, bool complete)
{
	const struct ps_sync_totals t = sum_up(run);
	const struct pair *first = &run->pairs[0];
	json_t *json = json_pack("{s:s, s:s, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I}", "from", first->from.end.name,
				 "to", first->to.end.name, "dry_run", run->options.dry_run, "complete", complete,
				 "copied", (json_int_t)t.copied, "octets", (json_int_t)t.octets, "flagged",
				 (json_int_t)t.flagged, "expunged", (json_int_t)t.expunged, "already_there",
				 (json_int_t)t.there, "failed", (json_int_t)t.failed);

	json_object_update_new(json,
			       json_pack("{s:I, s:I, s:I, s:I, s:o}", "mailboxes_made", (json_int_t)t.mailboxes_made,
					 "mailboxes_renamed", (json_int_t)t.mailboxes_renamed, "mailboxes_removed",
					 (json_int_t)t.mailboxes_removed, "mailboxes_changed",
					 (json_int_t)t.mailboxes_changed, "mounts", mounts_json(run)));
	if (!first->mount)
		add_verdict(run, first, json);
	cli_print_json(json);
}

static void print_verdict(const struct run *run)
{
	uint64_t messages = 0;

	for (size_t i = 0; i < run->count; i++) {
		if (!run->pairs[i].verified || !run->pairs[i].equal)
			return;
		messages += run->pairs[i].digests[0].messages;
	}
	printf("verified: both ends hold the same %llu messages\n", (unsigned long long)messages);
}

static void print_summary(const struct run *run)
{
	const struct ps_sync_totals t = sum_up(run);

	printf("%scopied %llu (%s), changed flags %llu, removed %llu", run->options.dry_run ? "would have " : "",
	       (unsigned long long)t.copied, cli_octets(t.octets), (unsigned long long)t.flagged,
	       (unsigned long long)t.expunged);
	if (run->options.mode == PS_SYNC_ADD)
		printf(", there already %llu", (unsigned long long)t.there);
	if (t.failed)
		printf(", not readable %llu", (unsigned long long)t.failed);
	printf("; mailboxes: made %u, renamed %u, removed %u, changed %u\n", t.mailboxes_made, t.mailboxes_renamed,
	       t.mailboxes_removed, t.mailboxes_changed);
	for (size_t i = 0; i < run->count; i++)
		if (run->pairs[i].mount)
			printf("with it the mount %s, %s %s\n", run->pairs[i].mount,
			       run->options.mode == PS_SYNC_BOTH ? "and" : "to", run->pairs[i].to.args.root);
	print_verdict(run);
}

/* ---- one pair of stores ------------------------------------------------------------------------ */

static bool is_well(const struct run *run, const struct pair *pair)
{
	return pair->done && pair->totals.failed == 0 &&
	       (!run->cli->option[CLI_OPT_VERIFY] || (pair->verified && pair->equal));
}

static void sync_and_verify(struct run *run, struct pair *pair)
{
	int r = ps_sync_run(&pair->from.end, &pair->to.end, &run->options, &pair->totals);

	cli_progress_break(&run->progress);
	if (r < 0)
		cli_failed();
	if (r == 0 && pair->totals.stopped)
		cli_error("stopped; run it again to go on from here");
	pair->done = r == 0 && !pair->totals.stopped;
	if (pair->done && run->cli->option[CLI_OPT_VERIFY] && verify(run, pair) < 0)
		cli_failed();
	if (pair->verified && !pair->equal)
		cli_error("%s and %s are not the same", pair->from.end.name, pair->to.end.name);
}

static void with_target(struct run *run, struct pair *pair)
{
	int r = cli_end_open(&pair->to, !run->options.dry_run);

	if (r == PS_E_NOTFOUND && run->options.dry_run) {
		cli_error("%s is not there yet; all would be copied", pair->to.end.name);
		pair->done = true;
		return;
	}
	if (r == 0 && !run->options.dry_run && (r = cli_check_keeps(pair->to.end.name, pair->to.args.root)) < 0)
		cli_end_close(&pair->to);
	if (r < 0) {
		cli_failed();
		return;
	}
	run->options.record_dir = ps_pool_printf(run->cli->pool, "%s/postern-control", pair->to.args.root);
	run->options.unshared = !pair->to.is_user;
	cli_progress_start(&run->progress, "messages", 0);
	sync_and_verify(run, pair);
	cli_end_close(&pair->to);
}

static void with_ends(struct run *run, struct pair *pair)
{
	/* Two ways, a mount may be new at either end. */
	bool create = pair->mount && run->options.mode == PS_SYNC_BOTH && !run->options.dry_run;

	if (cli_end_open(&pair->from, create) < 0) {
		cli_failed();
		return;
	}
	with_target(run, pair);
	cli_end_close(&pair->from);
}

/* ---- which pairs ------------------------------------------------------------------------------- */

static struct pair *add_pair(struct run *run, struct pair pair)
{
	run->pairs = ps_pool_grow(run->cli->pool, run->pairs, run->count, &run->cap, sizeof *run->pairs);
	run->pairs[run->count] = pair;
	return &run->pairs[run->count++];
}

static void add_mount(struct run *run, const char *name)
{
	struct pair pair = {.mount = name};

	for (size_t i = 0; i < run->count; i++)
		if (run->pairs[i].mount && strcmp(run->pairs[i].mount, name) == 0)
			return;
	if (cli_end_mount(run->cli, &run->pairs[0].from, name, &pair.from) < 0 ||
	    cli_end_mount(run->cli, &run->pairs[0].to, name, &pair.to) < 0)
		run->incomplete = true;
	else
		add_pair(run, pair);
}

static bool has_mount(const struct cli_mount *mounts, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(mounts[i].name, name) == 0)
			return true;
	return false;
}

/* A copy of what is mounted no more is kept: it may be all that is left of it. */
static void add_mounts(struct run *run)
{
	struct cli_mount *here, *there;
	size_t here_count, there_count;

	if (cli_end_mounts(run->cli, &run->pairs[0].from, &here, &here_count) < 0 ||
	    cli_end_mounts(run->cli, &run->pairs[0].to, &there, &there_count) < 0) {
		run->incomplete = true;
		return;
	}
	for (size_t i = 0; i < here_count; i++)
		add_mount(run, here[i].name);
	for (size_t i = 0; i < there_count; i++) {
		if (has_mount(here, here_count, there[i].name))
			continue;
		if (run->options.mode == PS_SYNC_BOTH)
			add_mount(run, there[i].name);
		else if (run->options.mode == PS_SYNC_MIRROR && !run->pairs[0].to.is_user)
			cli_error("%s keeps what it has of the mount %s, which %s has no more",
				  run->pairs[0].to.end.name, there[i].name, run->pairs[0].from.end.name);
	}
}

/* --mailbox may name one in a mount: then it is about that store. */
static void choose_mount(struct run *run)
{
	const char *mailbox = run->options.mailbox;
	struct cli_mount *mounts;
	size_t count;

	if (cli_end_mounts(run->cli, &run->pairs[0].from, &mounts, &count) < 0) {
		run->incomplete = true;
		return;
	}
	for (size_t i = 0; i < count; i++) {
		size_t len = strlen(mounts[i].name);

		if (strncmp(mailbox, mounts[i].name, len) != 0 || (mailbox[len] && mailbox[len] != '/'))
			continue;
		add_mount(run, mounts[i].name);
		if (run->incomplete)
			return;
		run->options.mailbox = mailbox[len] ? mailbox + len + 1 : "INBOX";
		run->pairs[0] = run->pairs[--run->count];
		return;
	}
}

/* ---- the command ----------------------------------------------------------------------------- */

static int run_pairs(struct run *run)
{
	bool well = !run->incomplete, complete = well && !run->options.dry_run;

	for (size_t i = 0; i < run->count; i++) {
		with_ends(run, &run->pairs[i]);
		well = well && is_well(run, &run->pairs[i]);
		complete = complete && run->pairs[i].done;
		/* Without its first store the mail is nothing; a mount does not hinder another. */
		if ((i == 0 && !run->pairs[0].done) || run->pairs[i].totals.stopped)
			break;
	}
	if (cli_json(run->cli))
		print_json(run, complete);
	else if (run->pairs[0].done)
		print_summary(run);
	return well ? CLI_OK : CLI_FAILED;
}

static int find_pairs(struct run *run)
{
	struct cli *cli = run->cli;
	struct pair *pair = add_pair(run, (struct pair){.mount = NULL});

	if (cli_end_find(cli, cli->args[0], &pair->from) < 0 || cli_end_find(cli, cli->args[1], &pair->to) < 0)
		return CLI_FAILED;
	if (strcmp(pair->from.args.root, pair->to.args.root) == 0) {
		cli_error("both ends are the same place");
		return CLI_USAGE;
	}
	if (run->options.mailbox)
		choose_mount(run);
	else
		add_mounts(run);
	return run->options.mailbox && run->incomplete ? CLI_FAILED : CLI_OK;
}

int cli_sync(struct cli *cli)
{
	struct run run = {.cli = cli};
	int code;

	run.options.progress = progress;
	run.options.note = note;
	run.options.stop = stop;
	run.options.arg = &run;
	if (read_options(&run) < 0)
		return CLI_USAGE;
	if ((code = find_pairs(&run)) != CLI_OK)
		return code;
	catch_signals();
	umask(077);
	return run_pairs(&run);
}
