/* SPDX-License-Identifier: MIT */
#include <stdatomic.h>
#include <stdio.h>
#include "tests/store/user.h"

static const char message[] = "Subject: x\r\n\r\nbody\r\n";

/* What a client knows, kept from the events alone. */
struct client {
	struct ps_view *view;
	uint32_t uids[4096]; /* 0: told by EXISTS, not asked for yet */
	uint32_t flags[4096];
	uint32_t count;
	bool silent; /* no number may go away now */
};

static void on_expunged(void *arg, uint32_t seq, uint32_t uid)
{
	struct client *c = arg;

	ck_assert(!c->silent);
	ck_assert_uint_ge(seq, 1);
	ck_assert_uint_le(seq, c->count);
	ck_assert_uint_eq(c->uids[seq - 1], uid);
	memmove(&c->uids[seq - 1], &c->uids[seq], (c->count - seq) * sizeof *c->uids);
	memmove(&c->flags[seq - 1], &c->flags[seq], (c->count - seq) * sizeof *c->flags);
	c->count--;
}

static void on_flags(void *arg, uint32_t seq, const struct ps_row *row)
{
	struct client *c = arg;

	ck_assert_uint_le(seq, c->count);
	ck_assert_uint_eq(c->uids[seq - 1], row->uid);
	c->flags[seq - 1] = row->flags;
}

/* The client then asks for what is new. */
static void on_exists(void *arg, uint32_t messages, uint32_t recent)
{
	struct client *c = arg;

	ck_assert_uint_gt(messages, c->count);
	ck_assert_uint_le(recent, messages);
	for (; c->count < messages; c->count++) {
		const struct ps_row *row = ps_view_row(c->view, c->count + 1);

		c->uids[c->count] = row->uid;
		c->flags[c->count] = row->flags;
	}
}

static const struct ps_view_events events = {.expunged = on_expunged, .flags = on_flags, .exists = on_exists};

static void client_open(struct client *c, struct ps_user *user, const char *mailbox)
{
	struct ps_view_status status;

	memset(c, 0, sizeof *c);
	ck_assert_ok(ps_view_open(user, mailbox, false, NULL, NULL, &c->view));
	ps_view_status(c->view, &status);
	if (status.messages > 0)
		on_exists(c, status.messages, 0);
}

static void client_sync(struct client *c, unsigned how)
{
	c->silent = !(how & PS_SYNC_EXPUNGE);
	ck_assert_ok(ps_view_sync(c->view, how, &events, c));
}

/* What the client knows is what the view shows; with `fresh`, what a new session would see too. */
static void client_check(const struct client *c, struct ps_user *user, const char *mailbox, bool fresh)
{
	struct ps_view *view = c->view, *other = NULL;
	struct ps_view_status status;

	if (fresh)
		ck_assert_ok(ps_view_open(user, mailbox, true, NULL, NULL, &other));
	ps_view_status(other ? other : view, &status);
	ck_assert_uint_eq(status.messages, c->count);
	for (uint32_t seq = 1; seq <= c->count; seq++) {
		const struct ps_row *row = ps_view_row(other ? other : view, seq);

		ck_assert_uint_eq(row->uid, c->uids[seq - 1]);
		ck_assert_uint_eq(row->flags, c->flags[seq - 1]);
		ck_assert_uint_eq(ps_view_seq(view, row->uid), seq);
	}
	ps_view_close(other);
}

static uint32_t seed;

static uint32_t pick(uint32_t below)
{
	seed = seed * 1664525u + 1013904223u;
	return (uint32_t)(((uint64_t)seed * below) >> 32);
}

static struct ps_set some_uids(struct client *c, struct ps_pool *pool)
{
	struct ps_view_status status;
	struct ps_buf text = {0};
	struct ps_set set = {0};
	uint32_t a, b;

	ps_view_status(c->view, &status);
	if (status.messages == 0)
		return set;
	a = 1 + pick(status.messages);
	b = 1 + pick(status.messages);
	ps_buf_printf(&text, "%u:%u,%u", a, b, 1 + pick(status.messages));
	ck_assert_ok(ps_view_resolve(c->view, ps_buf_view(&text), false, pool, &set));
	ps_buf_finish(&text);
	return set;
}

/* STORE; a silent one is known to the client without being told. */
static void client_store(struct client *c, struct ps_pool *pool)
{
	struct ps_flag_change change = {
		.mode = (enum ps_flag_mode)pick(3), .flags = pick(32), .unchanged_since = UINT64_MAX};
	struct ps_set set = some_uids(c, pool);
	struct ps_op_result result;
	bool silent = pick(2);

	if (set.count == 0)
		return;
	ck_assert_ok(ps_view_change_flags(c->view, &set, &change, pool, &result));
	if (!silent || result.modseq == 0)
		return;
	ps_view_known(c->view, set.ranges, set.count, result.modseq);
	for (uint32_t i = 0; i < c->count; i++)
		for (size_t n = 0; n < set.count; n++)
			if (c->uids[i] >= set.ranges[n].first && c->uids[i] <= set.ranges[n].last)
				c->flags[i] = change.mode == PS_FLAGS_SET   ? change.flags
					      : change.mode == PS_FLAGS_ADD ? c->flags[i] | change.flags
									    : c->flags[i] & ~change.flags;
}

static void client_act(struct client *c, struct ps_user *user, const char *mailbox)
{
	struct ps_pool *pool = ps_pool_create("test");
	struct ps_op_result result;
	struct ps_set set;

	switch (pick(8)) {
	case 0:
	case 1: test_append(user, mailbox, message, pick(32)); break;
	case 2:
	case 3: client_store(c, pool); break;
	case 4: ck_assert_ok(ps_view_expunge(c->view, NULL)); break;
	case 5:
		set = some_uids(c, pool);
		if (set.count && c->count < 300)
			ck_assert_ok(ps_view_copy(c->view, &set, mailbox, pick(2), pool, &result));
		break;
	case 6: client_sync(c, 0); break;
	case 7: client_sync(c, PS_SYNC_EXPUNGE | (pick(2) ? PS_SYNC_LOOK : 0)); break;
	}
	ps_pool_destroy(pool);
}

/* Several sessions do this and that. A client that was silent about an expunged message keeps its number; the flags
 * it guesses for one that went meanwhile are nobody's. */
START_TEST(what_events_tell_is_what_is_there)
{
	static struct client clients[3];
	char name[32];
	struct ps_user *user;

	seed = (uint32_t)_i + 1;
	snprintf(name, sizeof name, "history%d", _i);
	user = test_user(name);
	for (size_t i = 0; i < PS_ARRAY_LEN(clients); i++)
		client_open(&clients[i], user, "INBOX");
	for (int n = 0; n < 400; n++) {
		struct client *c = &clients[pick(PS_ARRAY_LEN(clients))];

		client_act(c, user, "INBOX");
		if (pick(20) == 0) {
			client_sync(c, PS_SYNC_EXPUNGE);
			client_check(c, user, "INBOX", true);
		}
	}
	for (size_t i = 0; i < PS_ARRAY_LEN(clients); i++) {
		client_sync(&clients[i], PS_SYNC_EXPUNGE);
		client_check(&clients[i], user, "INBOX", true);
		ps_view_close(clients[i].view);
	}
	ps_user_close(user);
}
END_TEST

/* ---- single rules -------------------------------------------------------------------------- */

struct two {
	struct ps_user *user;
	struct client a, b;
	struct ps_pool *pool;
};

static struct two two;

static void two_open(void)
{
	two.user = test_user("two");
	for (int i = 0; i < 5; i++)
		test_append(two.user, "INBOX", message, 0);
	client_open(&two.a, two.user, "INBOX");
	client_open(&two.b, two.user, "INBOX");
	two.pool = ps_pool_create("test");
}

static void two_close(void)
{
	ps_view_close(two.a.view);
	ps_view_close(two.b.view);
	ps_pool_destroy(two.pool);
	ps_user_close(two.user);
}

static uint64_t change(struct client *c, const char *seqs, enum ps_flag_mode mode, uint32_t flags)
{
	struct ps_flag_change what = {.mode = mode, .flags = flags, .unchanged_since = UINT64_MAX};
	struct ps_op_result result;
	struct ps_set set;

	ck_assert_ok(ps_view_resolve(c->view, ps_bytes_str(seqs), false, two.pool, &set));
	ck_assert_ok(ps_view_change_flags(c->view, &set, &what, two.pool, &result));
	if (result.modseq)
		ps_view_known(c->view, set.ranges, set.count, result.modseq);
	return result.modseq;
}

START_TEST(an_expunged_message_keeps_its_number_until_it_may_be_told)
{
	change(&two.a, "2,4", PS_FLAGS_ADD, PS_FLAG_DELETED);
	ck_assert_ok(ps_view_expunge(two.a.view, NULL));
	test_append(two.user, "INBOX", message, PS_FLAG_DRAFT);
	client_sync(&two.b, 0);
	ck_assert_uint_eq(two.b.count, 6);
	ck_assert_uint_eq(ps_view_row(two.b.view, 2)->uid, 2);
	ck_assert_uint_eq(ps_view_row(two.b.view, 6)->flags, PS_FLAG_DRAFT);
	client_check(&two.b, two.user, "INBOX", false);
	client_sync(&two.b, PS_SYNC_EXPUNGE);
	ck_assert_uint_eq(two.b.count, 4);
	client_check(&two.b, two.user, "INBOX", true);
}
END_TEST

START_TEST(what_another_session_has_marked_is_expunged)
{
	change(&two.b, "2,4", PS_FLAGS_ADD, PS_FLAG_DELETED);
	ck_assert_ok(ps_view_expunge(two.a.view, NULL));
	client_sync(&two.a, PS_SYNC_EXPUNGE);
	ck_assert_uint_eq(two.a.count, 3);
	ck_assert_uint_eq(ps_view_row(two.a.view, 2)->uid, 3);
	client_check(&two.a, two.user, "INBOX", true);
}
END_TEST

START_TEST(a_silent_store_is_not_told_to_its_session_and_told_to_others)
{
	change(&two.a, "1:3", PS_FLAGS_ADD, PS_FLAG_SEEN);
	client_sync(&two.a, PS_SYNC_EXPUNGE);
	ck_assert_uint_eq(two.a.flags[0], 0); /* nothing was told */
	client_sync(&two.b, PS_SYNC_EXPUNGE);
	ck_assert_uint_eq(two.b.flags[0], PS_FLAG_SEEN);
}
END_TEST

START_TEST(what_another_session_did_to_the_same_message_is_told_all_the_same)
{
	change(&two.b, "1", PS_FLAGS_ADD, PS_FLAG_FLAGGED);
	change(&two.a, "1", PS_FLAGS_ADD, PS_FLAG_SEEN);
	client_sync(&two.a, PS_SYNC_EXPUNGE);
	ck_assert_uint_eq(two.a.flags[0], PS_FLAG_SEEN | PS_FLAG_FLAGGED);
	change(&two.a, "2", PS_FLAGS_ADD, PS_FLAG_SEEN);
	change(&two.b, "2", PS_FLAGS_REMOVE, PS_FLAG_SEEN);
	client_sync(&two.a, PS_SYNC_EXPUNGE);
	ck_assert_uint_eq(two.a.flags[1], 0);
}
END_TEST

START_TEST(recent_belongs_to_the_first_session)
{
	struct ps_view_status a, b;

	ps_view_status(two.a.view, &a);
	ps_view_status(two.b.view, &b);
	ck_assert_uint_eq(a.recent, 5);
	ck_assert_uint_eq(b.recent, 0);
	test_append(two.user, "INBOX", message, 0);
	client_sync(&two.b, 0);
	client_sync(&two.a, 0);
	ck_assert(ps_view_is_recent(two.b.view, 6));
	ck_assert(!ps_view_is_recent(two.a.view, 6));
	ck_assert(ps_view_is_recent(two.a.view, 5));
}
END_TEST

START_TEST(looking_read_only_takes_no_recent_and_changes_nothing)
{
	struct ps_flag_change what = {.mode = PS_FLAGS_ADD, .flags = PS_FLAG_SEEN, .unchanged_since = UINT64_MAX};
	struct ps_range one = {1, 1};
	struct ps_set set = {&one, 1};
	struct ps_op_result result;
	struct ps_view *examine;
	struct ps_view_status status;

	test_append(two.user, "Sent", message, 0);
	ck_assert_ok(ps_view_open(two.user, "Sent", true, NULL, NULL, &examine));
	ps_view_status(examine, &status);
	ck_assert_uint_eq(status.recent, 1);
	ck_assert_int_eq(ps_view_change_flags(examine, &set, &what, two.pool, &result), PS_E_ACCESS);
	ck_assert_int_eq(ps_view_expunge(examine, NULL), PS_E_ACCESS);
	ck_assert_int_eq(ps_view_copy(examine, &set, "INBOX", true, two.pool, &result), PS_E_ACCESS);
	ck_assert_ok(ps_view_copy(examine, &set, "INBOX", false, two.pool, &result));
	ps_view_close(examine);
	ck_assert_ok(ps_view_open(two.user, "Sent", false, NULL, NULL, &examine));
	ps_view_status(examine, &status);
	ck_assert_uint_eq(status.recent, 1);
	ps_view_close(examine);
}
END_TEST

static void count_call(void *arg)
{
	atomic_fetch_add((atomic_int *)arg, 1);
}

START_TEST(others_are_called_when_something_changes)
{
	atomic_int calls = 0;
	struct ps_view *waiting;

	ck_assert_ok(ps_view_open(two.user, "INBOX", false, count_call, &calls, &waiting));
	test_append(two.user, "INBOX", message, 0);
	ck_assert_int_eq(calls, 1);
	change(&two.a, "1", PS_FLAGS_ADD, PS_FLAG_SEEN);
	ck_assert_int_eq(calls, 2);
	change(&two.a, "1", PS_FLAGS_ADD, PS_FLAG_SEEN); /* no change */
	ck_assert_int_eq(calls, 2);
	test_append(two.user, "Sent", message, 0);
	ck_assert_int_eq(calls, 2);
	ps_view_close(waiting);
}
END_TEST

START_TEST(a_deleted_mailbox_is_gone_and_one_of_its_name_another)
{
	atomic_int calls = 0;
	struct ps_view *old, *new;
	struct ps_view_status before, after;

	test_append(two.user, "Trash", message, 0);
	ck_assert_ok(ps_view_open(two.user, "Trash", false, count_call, &calls, &old));
	ps_view_status(old, &before);
	ck_assert_ok(ps_user_delete(two.user, "Trash"));
	ck_assert_int_eq(calls, 1);
	ck_assert_int_eq(ps_view_sync(old, PS_SYNC_EXPUNGE, NULL, NULL), PS_E_GONE);
	ck_assert_ptr_nonnull(ps_view_row(old, 1)); /* what was shown can still be asked for */
	ck_assert_int_eq(ps_view_open(two.user, "Trash", false, NULL, NULL, &new), PS_E_NOTFOUND);
	ck_assert_ok(ps_user_create(two.user, "Trash", 0));
	ck_assert_ok(ps_view_open(two.user, "Trash", false, NULL, NULL, &new));
	ps_view_status(new, &after);
	ck_assert_uint_gt(after.uid_validity, before.uid_validity);
	ck_assert_uint_eq(after.messages, 0);
	ps_view_close(new);
	ps_view_close(old);
}
END_TEST

START_TEST(a_view_follows_a_rename)
{
	struct ps_view_status status;
	struct ps_view *view;

	ck_assert_ok(ps_user_create(two.user, "A/B", 0));
	ck_assert_ok(ps_view_open(two.user, "A/B", false, NULL, NULL, &view));
	ck_assert_ok(ps_user_rename(two.user, "A", "C")); /* "A" itself does not exist */
	ck_assert_ok(ps_view_sync(view, 0, NULL, NULL));
	ps_view_status(view, &status);
	ck_assert_str_eq(status.name, "C/B");
	test_append(two.user, "C/B", message, 0);
	ck_assert_ok(ps_view_sync(view, 0, NULL, NULL));
	ck_assert_ptr_nonnull(ps_view_row(view, 1));
	ps_view_close(view);
}
END_TEST

static const struct {
	const char *text;
	bool by_uid;
	int result;
	const char *uids;
} resolved[] = {
	{"1:*", false, 0, "1,3,5:6"},   {"2", false, 0, "3"},
	{"*", false, 0, "6"},           {"4:2", false, 0, "3,5:6"},
	{"5", false, PS_E_INVALID, ""}, {"1,99", false, PS_E_INVALID, ""},
	{"1:*", true, 0, "1,3,5:6"},    {"2", true, 0, ""},
	{"2:3", true, 0, "3"},          {"99:*", true, 0, "6"},
	{"6:4294967295", true, 0, "6"}, {"x", true, PS_E_SYNTAX, ""},
};

START_TEST(sets_become_uids_of_the_view)
{
	struct ps_set set = {0};
	struct ps_buf out = {0};

	test_append(two.user, "INBOX", message, 0);
	client_sync(&two.a, 0);
	change(&two.a, "2,4", PS_FLAGS_ADD, PS_FLAG_DELETED);
	ck_assert_ok(ps_view_expunge(two.a.view, NULL));
	client_sync(&two.a, PS_SYNC_EXPUNGE);
	ck_assert_int_eq(
		ps_view_resolve(two.a.view, ps_bytes_str(resolved[_i].text), resolved[_i].by_uid, two.pool, &set),
		resolved[_i].result);
	ps_set_format(&out, set.ranges, set.count);
	ck_assert_str_eq(ps_buf_cstr(&out), resolved[_i].uids);
	ps_buf_finish(&out);
}
END_TEST

START_TEST(numbers_in_an_empty_mailbox_are_refused)
{
	struct ps_set set;
	struct ps_view *view;

	ck_assert_ok(ps_view_open(two.user, "Drafts", false, NULL, NULL, &view));
	ck_assert_int_eq(ps_view_resolve(view, ps_bytes_str("1:*"), false, two.pool, &set), PS_E_INVALID);
	ck_assert_ok(ps_view_resolve(view, ps_bytes_str("1:*"), true, two.pool, &set));
	ck_assert_uint_eq(set.count, 0);
	ps_view_close(view);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("view");
	TCase *histories = tcase_create("histories"), *rules = tcase_create("rules");

	tcase_add_loop_test(histories, what_events_tell_is_what_is_there, 0, 12);
	tcase_add_checked_fixture(rules, two_open, two_close);
	tcase_add_test(rules, what_another_session_has_marked_is_expunged);
	tcase_add_test(rules, an_expunged_message_keeps_its_number_until_it_may_be_told);
	tcase_add_test(rules, a_silent_store_is_not_told_to_its_session_and_told_to_others);
	tcase_add_test(rules, what_another_session_did_to_the_same_message_is_told_all_the_same);
	tcase_add_test(rules, recent_belongs_to_the_first_session);
	tcase_add_test(rules, looking_read_only_takes_no_recent_and_changes_nothing);
	tcase_add_test(rules, others_are_called_when_something_changes);
	tcase_add_test(rules, a_deleted_mailbox_is_gone_and_one_of_its_name_another);
	tcase_add_test(rules, a_view_follows_a_rename);
	tcase_add_loop_test(rules, sets_become_uids_of_the_view, 0, PS_ARRAY_LEN(resolved));
	tcase_add_test(rules, numbers_in_an_empty_mailbox_are_refused);
	suite_add_tcase(suite, histories);
	suite_add_tcase(suite, rules);
	return test_main(suite);
}
