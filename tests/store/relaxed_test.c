/* SPDX-License-Identifier: MIT */
/* `durability = relaxed`: which batches a backend is told of as relaxed, and when it is asked to settle what is left. */
#include <stdio.h>
#include "core/config/config.h"
#include "tests/store/user.h"

static struct ps_backend noting;
static unsigned commits, relaxed, settled;
static int settle_result;
static bool leaves; /* though what it commits is durable */

static int note_commit(struct ps_store *store, struct ps_batch *const *batches, size_t count)
{
	const struct ps_backend *real = postern_plugin.ops;

	for (size_t i = 0; i < count; i++) {
		batches[i]->unsettled = leaves;
		commits++;
		relaxed += batches[i]->relaxed;
	}
	return real->commit(store, batches, count);
}

static int note_settle(struct ps_store *store)
{
	(void)store;
	settled++;
	return settle_result;
}

static struct ps_user *open_user(const char *durability)
{
	static struct ps_config *config;
	struct ps_user_info info = {.name = "alice", .root = "/", .backend = "memory"};
	struct ps_user *user;
	char text[200];

	snprintf(text, sizeof text, "mail_root = \"/tmp\"\nbackend = \"memory\"\ndurability = %s\n", durability);
	ck_assert_ok(ps_config_read("test", ps_bytes_str(text), NULL, &config));
	noting = *(const struct ps_backend *)postern_plugin.ops;
	noting.commit = note_commit;
	noting.settle = note_settle;
	ck_assert_ok(ps_user_open_with(&noting, NULL, ps_config_root(config), &info, &user));
	commits = relaxed = settled = 0;
	settle_result = 0;
	return user;
}

static int commit(struct ps_user *user, const struct ps_op *ops, size_t count, struct ps_bytes token, uint64_t modseq)
{
	struct ps_pool *pool = ps_pool_create("test");
	struct ps_op_result results[2] = {{0}};
	struct ps_batch batch = {
		.ops = ops, .count = count, .pool = pool, .results = results, .token = token, .modseq = modseq};
	int r = ps_commit(user, &batch);

	ps_pool_destroy(pool);
	return r;
}

/* Of INBOX, in which there is nothing: what it changes does not matter. */
static struct ps_op operation(struct ps_mbox *mbox, enum ps_op_kind kind)
{
	static const struct ps_range all = {1, UINT32_MAX};

	return (struct ps_op){.kind = kind,
			      .mbox = mbox,
			      .uids = &all,
			      .uid_count = 1,
			      .flag_mode = PS_FLAGS_ADD,
			      .flags = PS_FLAG_SEEN,
			      .unchanged_since = UINT64_MAX};
}

static const struct {
	const char *durability;
	enum ps_op_kind first, second;
	const char *token;
	uint64_t modseq;
	bool relaxed;
} rows[] = {
	{"strict", PS_OP_FLAGS, PS_OP_FLAGS, "", 0, false},
	{"relaxed", PS_OP_FLAGS, PS_OP_FLAGS, "", 0, true},
	{"relaxed", PS_OP_EXPUNGE, PS_OP_EXPUNGE, "", 0, false},
	{"relaxed", PS_OP_FLAGS, PS_OP_EXPUNGE, "", 0, false},
	{"relaxed", PS_OP_FLAGS, PS_OP_FLAGS, "token", 0, false},
	{"relaxed", PS_OP_FLAGS, PS_OP_FLAGS, "", 1000, false},
};

START_TEST(flags_alone_are_relaxed_where_that_is_set)
{
	struct ps_user *user = open_user(rows[_i].durability);
	struct ps_mbox *mbox;
	struct ps_op ops[2];

	ck_assert_ok(user->ops->mailbox_open(user->store, "INBOX", &mbox));
	ops[0] = operation(mbox, rows[_i].first);
	ops[1] = operation(mbox, rows[_i].second);
	ck_assert_ok(commit(user, ops, 2, ps_bytes_str(rows[_i].token), rows[_i].modseq));
	ck_assert_uint_eq(commits, 1);
	ck_assert_uint_eq(relaxed, rows[_i].relaxed);
	user->ops->mailbox_close(mbox);
	ps_user_close(user); /* for good, and that settles */
	ck_assert_uint_eq(settled, rows[_i].relaxed);
}
END_TEST

START_TEST(settling_asks_once_and_again_what_failed)
{
	struct ps_user *user = open_user(_i ? "relaxed" : "strict");
	struct ps_mbox *mbox;
	struct ps_op op;

	leaves = !_i;
	ck_assert_ok(user->ops->mailbox_open(user->store, "INBOX", &mbox));
	op = operation(mbox, PS_OP_FLAGS);
	ps_users_settle();
	ck_assert_uint_eq(settled, 0); /* there was nothing */
	ck_assert_ok(commit(user, &op, 1, ps_bytes("", 0), 0));
	settle_result = PS_E_STORAGE;
	ps_users_settle();
	ck_assert_uint_eq(settled, 1);
	settle_result = 0;
	ps_users_settle();
	ck_assert_uint_eq(settled, 2);
	ps_users_settle();
	ck_assert_uint_eq(settled, 2);
	user->ops->mailbox_close(mbox);
	ps_user_close(user);
	ck_assert_uint_eq(settled, 2);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store");
	TCase *tc = tcase_create("relaxed");

	tcase_add_loop_test(tc, flags_alone_are_relaxed_where_that_is_set, 0, PS_ARRAY_LEN(rows));
	tcase_add_loop_test(tc, settling_asks_once_and_again_what_failed, 0, 2);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
