/* SPDX-License-Identifier: MIT */
#include "core/store/across.h"

/* Messages in one batch; their staged octets are all there at once. */
enum {
	MESSAGES_MAX = 10000
};

struct across {
	struct ps_mailbox *from;
	struct ps_pool *pool;
	const char *const *names; /* of the keywords in `from` */
	size_t name_count;
	struct ps_row *rows;
	size_t count, cap;
};

static int take_row(void *arg, const struct ps_row *row)
{
	struct across *across = arg;

	if (across->count == MESSAGES_MAX)
		return ps_fail(PS_E_LIMIT, "more than %d messages at once from one store to another", MESSAGES_MAX);
	across->rows = ps_pool_grow(across->pool, across->rows, across->count, &across->cap, sizeof *across->rows);
	across->rows[across->count++] = *row;
	return 0;
}

static int copy_names(struct across *across, struct ps_read *read)
{
	const char *const *names;
	const char **copy;
	int r = across->from->user->ops->keywords(read, across->from->mbox, &names, &across->name_count);

	if (r < 0)
		return r;
	copy = PS_NEWV(across->pool, const char *, across->name_count + 1);
	for (size_t i = 0; i < across->name_count; i++)
		copy[i] = ps_pool_strdup(across->pool, names[i]);
	across->names = copy;
	return 0;
}

/* What there is to be copied, at one moment. */
static int read_rows(struct across *across, const struct ps_set *uids)
{
	const struct ps_backend *ops = across->from->user->ops;
	struct ps_read *read;
	int r = ops->read_begin(across->from->user->store, &read);

	if (r < 0)
		return r;
	r = copy_names(across, read);
	for (size_t i = 0; i < uids->count && r == 0; i++)
		r = ops->scan(read, across->from->mbox, uids->ranges[i], 0, take_row, across);
	ops->read_end(read);
	return r;
}

static const char *const *keywords_of(const struct across *across, uint64_t mask)
{
	const char **names = PS_NEWV(across->pool, const char *, PS_KEYWORDS_MAX + 1);
	size_t n = 0;

	for (size_t bit = 0; bit < across->name_count; bit++)
		if (mask & UINT64_C(1) << bit)
			names[n++] = across->names[bit];
	return names;
}

static int append_octets(struct ps_append *append, const struct ps_body *body)
{
	struct ps_bytes octets;
	uint8_t space[32768];
	int r;

	for (uint64_t at = 0; at < body->length; at += octets.len)
		if ((r = ps_body_piece(body, at, space, sizeof space, &octets)) < 0 ||
		    (r = ps_append_write(append, octets)) < 0)
			return r;
	return ps_append_end(append);
}

static int append_row(struct across *across, struct ps_append *append, const struct ps_row *row)
{
	const struct ps_backend *ops = across->from->user->ops;
	struct ps_append_message message = {
		.flags = row->flags,
		.keywords = keywords_of(across, row->keywords),
		.internal_date = row->internal_date,
		.size_hint = row->size,
		.copy_of = row->email_id,
		.is_copy = true,
	};
	struct ps_body body;
	int r = ps_append_begin(append, &message);

	if (r < 0 || (r = ops->body(across->from->mbox, row->uid, &body)) < 0)
		return r;
	r = append_octets(append, &body);
	ops->body_close(&body);
	return r;
}

/* One that was expunged since is left out, as if it had gone before. */
static int append_rows(struct across *across, struct ps_append *append)
{
	size_t kept = 0;

	for (size_t i = 0; i < across->count; i++) {
		int r = append_row(across, append, &across->rows[i]);

		if (r == PS_E_GONE)
			ps_append_forget(append);
		else if (r < 0)
			return r;
		else
			across->rows[kept++] = across->rows[i];
	}
	across->count = kept;
	return 0;
}

static int expunge_rows(struct across *across, const struct ps_op_result *result)
{
	struct ps_op op = {
		.kind = PS_OP_EXPUNGE,
		.mbox = across->from->mbox,
		.uids = result->old_uids,
		.uid_count = result->old_count,
	};
	struct ps_op_result expunged = {0};
	struct ps_batch batch = {.ops = &op, .count = 1, .pool = across->pool, .results = &expunged};

	return ps_commit(across->from->user, &batch);
}

static void say_old_uids(const struct across *across, struct ps_pool *pool, struct ps_op_result *result)
{
	struct ps_ranges old = {0};
	struct ps_set set;

	for (size_t i = 0; i < across->count; i++)
		ps_ranges_add(&old, (struct ps_range){across->rows[i].uid, across->rows[i].uid});
	set = ps_ranges_to_set(&old, pool);
	result->old_uids = set.ranges;
	result->old_count = set.count;
}

int ps_copy_across(struct ps_mailbox *from, struct ps_append *append, const struct ps_set *uids, bool move,
		   struct ps_pool *pool, struct ps_op_result *ret_result)
{
	struct across across = {.from = from, .pool = pool};
	struct ps_op_result result = {0};
	int r;

	if ((r = read_rows(&across, uids)) < 0 || (r = append_rows(&across, append)) < 0)
		return r;
	if (across.count > 0 && (r = ps_append_commit(append, pool, &result)) < 0)
		return r;
	say_old_uids(&across, pool, &result);
	if (move && across.count > 0 && (r = expunge_rows(&across, &result)) < 0)
		return r;
	*ret_result = result;
	return 0;
}
