/* SPDX-License-Identifier: MIT */
/* Mail that goes by itself, over each backend. */
#include <stdlib.h>
#include <time.h>
#include "core/config/config.h"
#include "tests/store/user.h"

static struct ps_user *user;
static struct ps_config *config;

static void set_up(void)
{
	user = test_user("expire");
	ck_assert_ok(ps_user_create(user, "Old", 0));
	ck_assert_ok(ps_user_create(user, "Full", 0));
}

static void tear_down(void)
{
	ps_config_destroy(config);
	ps_user_close(user);
}

static const struct ps_conf *settings(const char *text)
{
	struct ps_buf all = {0};

	ps_buf_printf(&all, "mail_root = /srv/mail\n%s", text);
	ck_assert_ok(ps_config_read("test.conf", ps_buf_view(&all), NULL, &config));
	ps_buf_finish(&all);
	return ps_config_root(config);
}

/* Messages that came into the mailbox so many seconds ago. */
static void put(const char *name, unsigned count, int64_t age)
{
	struct ps_pool *pool = ps_pool_create("test");
	struct ps_op *ops = PS_NEWV(pool, struct ps_op, count);
	struct ps_batch batch = {
		.ops = ops, .count = count, .pool = pool, .results = PS_NEWV(pool, struct ps_op_result, count)};
	const struct ps_backend *backend = user->ops;
	struct ps_bytes octets = ps_bytes_str("S: 1\r\n\r\nx\r\n");
	struct ps_mbox *mbox;

	ck_assert_ok(backend->mailbox_open(user->store, name, &mbox));
	for (unsigned i = 0; i < count; i++) {
		ops[i] = (struct ps_op){.kind = PS_OP_APPEND,
					.mbox = mbox,
					.internal_date = time(NULL),
					.save_date = time(NULL) - age,
					.size = octets.len};
		ck_assert_ok(backend->stage(user->store, octets.len, &ops[i].staged));
		ck_assert_ok(backend->stage_write(ops[i].staged, octets));
		ck_assert_ok(backend->stage_finish(ops[i].staged));
	}
	ck_assert_ok(ps_commit(user, &batch));
	backend->mailbox_close(mbox);
	ps_pool_destroy(pool);
}

static uint32_t messages(const char *name)
{
	struct ps_mailbox_info info;

	ck_assert_ok(ps_user_status(user, name, &info));
	return info.messages;
}

static void count(void *arg, const char *mailbox, uint32_t removed)
{
	ck_assert_str_ne(mailbox, "INBOX");
	*(uint32_t *)arg += removed;
}

static uint32_t expire(const char *text)
{
	uint32_t removed = 0;

	ck_assert_ok(ps_user_expire(user, settings(text), count, &removed));
	return removed;
}

enum {
	HOUR = 3600,
	DAY = 24 * HOUR
};

START_TEST(what_is_old_goes_and_what_others_hold_stays)
{
	put("Old", 3, 10 * DAY);
	put("Old", 2, 1 * DAY);
	put("INBOX", 1, 10 * DAY);
	put("Full", 1, 10 * DAY);
	ck_assert_uint_eq(
		expire("mailbox Old { autoexpunge = 7d }\nmailbox Full { }\nmailbox Nowhere { autoexpunge = 1s }"), 3);
	ck_assert_uint_eq(messages("Old"), 2);
	ck_assert_uint_eq(messages("INBOX"), 1);
	ck_assert_uint_eq(messages("Full"), 1);
}
END_TEST

START_TEST(the_newest_stay_of_too_many)
{
	struct ps_view *view;

	put("Full", 5, 0);
	ck_assert_ok(ps_view_open(user, "Full", true, NULL, NULL, &view));
	ck_assert_uint_eq(expire("mailbox Full { autoexpunge_messages = 2 }"), 3);
	ck_assert_ok(ps_view_sync(view, PS_SYNC_EXPUNGE, &(struct ps_view_events){0}, NULL));
	ck_assert_uint_eq(ps_view_row(view, 1)->uid, 4);
	ck_assert_uint_eq(ps_view_row(view, 2)->uid, 5);
	ps_view_close(view);
}
END_TEST

START_TEST(both_rules_and_more_than_a_batch)
{
	put("Full", 1, 0);
	put("Full", 110, 10 * DAY);
	put("Full", 20, 0);
	ck_assert_uint_eq(expire("mailbox Full { autoexpunge = 7d autoexpunge_messages = 125 }"), 111);
	ck_assert_uint_eq(messages("Full"), 20);
}
END_TEST

static void changed(void *arg)
{
	++*(unsigned *)arg;
}

static void gone(void *arg, uint32_t seq, uint32_t uid)
{
	(void)seq;
	*(uint32_t *)arg += uid;
}

START_TEST(sessions_are_told)
{
	struct ps_view_events events = {.expunged = gone};
	unsigned calls = 0;
	uint32_t uids = 0;
	struct ps_view *view;

	put("Old", 2, 10 * DAY);
	ck_assert_ok(ps_view_open(user, "Old", false, changed, &calls, &view));
	ck_assert_uint_eq(expire("mailbox Old { autoexpunge = 7d }"), 2);
	ck_assert_uint_ge(calls, 1);
	ck_assert_ok(ps_view_sync(view, PS_SYNC_EXPUNGE, &events, &uids));
	ck_assert_uint_eq(uids, 1 + 2);
	ps_view_close(view);
}
END_TEST

/* Each store once, until it is due again. */
START_TEST(open_stores_are_looked_at_now_and_then)
{
	const struct ps_conf *conf = settings("mailbox Old { autoexpunge = 7d }");

	put("Old", 1, 10 * DAY);
	ps_users_expire(conf);
	ck_assert_uint_eq(messages("Old"), 0);
	put("Old", 1, 10 * DAY);
	ps_users_expire(conf);
	ck_assert_uint_eq(messages("Old"), 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("expire");
	TCase *tc = tcase_create("expire");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, what_is_old_goes_and_what_others_hold_stays);
	tcase_add_test(tc, the_newest_stay_of_too_many);
	tcase_add_test(tc, both_rules_and_more_than_a_batch);
	tcase_add_test(tc, sessions_are_told);
	tcase_add_test(tc, open_stores_are_looked_at_now_and_then);
	suite_add_tcase(suite, tc);
	return test_main(suite);
}
