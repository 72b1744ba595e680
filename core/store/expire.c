/* SPDX-License-Identifier: MIT */
/*
 * Mail that goes by itself: `mailbox NAME { autoexpunge autoexpunge_messages }`.
 *
 * It is an EXPUNGE like any other: sessions that look at the mailbox are told, and what vanished is remembered. A mailbox's rows are
 * read once an hour for that, by the store timer of the mail process (core/net/mail.c), and never while a client waits.
 */
#include <stdlib.h>
#include <time.h>
#include "core/store/mailbox.h"
#include "postern/log.h"

enum {
	AT_ONCE = 100,           /* messages of a batch: others' batches get their turn in between */
	EVERY_SECONDS = 60 * 60, /* for each store */
	SLICE_SECONDS = 2,       /* of a worker, before it does other things */
};

/* What of one mailbox is to go. */
struct rule {
	const char *name;
	int64_t before; /* came before; INT64_MIN: any time is fine */
	uint32_t keep;  /* so many are fine; 0: any number */
};

static bool has_rule(const struct ps_conf *mailbox)
{
	return ps_conf_int(mailbox, "autoexpunge") > 0 || ps_conf_int(mailbox, "autoexpunge_messages") > 0;
}

static bool has_rules(const struct ps_conf *conf)
{
	for (size_t i = 0; i < ps_conf_section_count(conf, "mailbox"); i++)
		if (has_rule(ps_conf_section(conf, "mailbox", i)))
			return true;
	return false;
}

/* ---- one mailbox ----------------------------------------------------------------------------- */

/* A walk over the rows, by UID, until there are enough for a batch. */
struct finding {
	const struct rule *rule;
	uint32_t surplus; /* the oldest of those that are left, which are too many */
	struct ps_ranges found;
	uint32_t count, last; /* last: UID looked at */
};

static int look_at(void *arg, const struct ps_row *row)
{
	struct finding *finding = arg;
	int64_t came = row->save_date ? row->save_date : row->internal_date;
	bool surplus = finding->surplus > 0;

	finding->surplus -= surplus;
	finding->last = row->uid;
	if (!surplus && came >= finding->rule->before)
		return 0;
	ps_ranges_add(&finding->found, (struct ps_range){row->uid, row->uid});
	return ++finding->count == AT_ONCE;
}

static int find(struct ps_mailbox *mailbox, uint32_t from, struct finding *finding)
{
	const struct ps_backend *ops = mailbox->user->ops;
	const struct ps_range rest = {from, UINT32_MAX};
	struct ps_mailbox_info info;
	struct ps_read *read;
	int r = ops->read_begin(mailbox->user->store, &read);

	if (r < 0)
		return r;
	r = ops->info(read, mailbox->mbox, &info);
	/* What is kept of the oldest because it was looked at already is not looked at again. */
	if (r == 0 && from == 1 && finding->rule->keep > 0 && info.messages > finding->rule->keep)
		finding->surplus = info.messages - finding->rule->keep;
	if (r == 0)
		r = ops->scan(read, mailbox->mbox, rest, 0, look_at, finding);
	ops->read_end(read);
	return r;
}

static int remove_found(struct ps_mailbox *mailbox, const struct finding *finding)
{
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("expire");
	struct ps_op op = {.kind = PS_OP_EXPUNGE,
			   .mbox = mailbox->mbox,
			   .uids = finding->found.ptr,
			   .uid_count = finding->found.count};
	struct ps_op_result result = {0};
	struct ps_batch batch = {.ops = &op, .count = 1, .pool = pool, .results = &result};

	return ps_commit(mailbox->user, &batch);
}

/* 1: there may be more. */
static int expire_some(struct ps_mailbox *mailbox, struct finding *finding, uint32_t *removed)
{
	int r = find(mailbox, finding->last + 1, finding), more = r;

	if (r >= 0 && finding->count > 0 && (r = remove_found(mailbox, finding)) == 0)
		*removed += finding->count;
	finding->count = 0;
	ps_ranges_finish(&finding->found);
	return r < 0 ? r : more;
}

static int expire_mailbox(struct ps_user *user, const struct rule *rule, uint32_t *ret_removed)
{
	struct finding finding = {.rule = rule};
	struct ps_mailbox *mailbox;
	uint32_t removed = 0;
	int r = ps_mailbox_open(user, rule->name, &mailbox);

	if (r < 0)
		return r == PS_E_NOTFOUND ? 0 : r;
	r = ps_user_look(mailbox->user, mailbox->mbox);
	do
		r = r < 0 ? r : expire_some(mailbox, &finding, &removed);
	while (r > 0 && finding.last < UINT32_MAX);
	if (removed > 0)
		ps_mailbox_refresh(mailbox, NULL);
	ps_mailbox_close(mailbox);
	*ret_removed = removed;
	return r == PS_E_GONE ? 0 : r;
}

/* ---- all of a user's ------------------------------------------------------------------------- */

static struct rule rule_of(const struct ps_conf *mailbox, const char *name, int64_t now)
{
	int64_t age = ps_conf_int(mailbox, "autoexpunge");

	return (struct rule){
		.name = name,
		.before = age > 0 ? now - age : INT64_MIN,
		.keep = (uint32_t)ps_conf_int(mailbox, "autoexpunge_messages"),
	};
}

static int expire_section(struct ps_user *user, const struct ps_conf *section, int64_t now, ps_expired_fn fn, void *arg)
{
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("expire");
	uint32_t removed = 0;
	struct rule rule;
	const char *name;
	int r = ps_mailbox_name_normalise(ps_bytes_str(ps_conf_title(section)), pool, &name);

	if (r < 0)
		return r;
	rule = rule_of(section, name, now);
	r = expire_mailbox(user, &rule, &removed);
	if (removed > 0)
		ps_log(PS_LOG_INFO, "autoexpunge", "user", user->name, "mailbox", name, "messages", ps_num(removed),
		       NULL);
	if (removed > 0 && fn)
		fn(arg, name, removed);
	return r;
}

int ps_user_expire(struct ps_user *user, const struct ps_conf *core_conf, ps_expired_fn fn, void *arg)
{
	int64_t now = time(NULL);
	int r = 0;

	for (size_t i = 0; i < ps_conf_section_count(core_conf, "mailbox") && r == 0; i++) {
		const struct ps_conf *section = ps_conf_section(core_conf, "mailbox", i);

		if (has_rule(section))
			r = expire_section(user, section, now, fn, arg);
	}
	return r;
}

void ps_users_expire(const struct ps_conf *core_conf)
{
	struct timespec now;
	struct ps_user *user;
	int64_t end;

	if (!has_rules(core_conf))
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	end = now.tv_sec + SLICE_SECONDS;
	while (now.tv_sec < end && (user = ps_users_take_due(now.tv_sec, EVERY_SECONDS))) {
		if (ps_user_expire(user, core_conf, NULL, NULL) < 0)
			ps_log(PS_LOG_WARNING, "autoexpunge_failed", "user", user->name, "error", ps_last_error(),
			       NULL);
		ps_user_close(user);
		clock_gettime(CLOCK_MONOTONIC, &now);
	}
}
