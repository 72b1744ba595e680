/* SPDX-License-Identifier: MIT */
/* Transactions, of which something goes to the queue. */
#include "tests/delivery/transactions_unit.h"

/* ---- the queue ------------------------------------------------------------------------------- */

static void take_for(enum ps_mail_source source, const char *const *paths_, size_t n)
{
	say_from(client, source, 0);
	for (size_t i = 0; i < n; i++) {
		say_rcpt(client, paths_[i]);
		find_all();
		ck_last(250, "2.1.5");
	}
	ps_transactions_data(transactions, client);
	reply_count = 0;
	say_end(0, true);
}

START_TEST(what_must_leave_is_queued_before_mailboxes_get_it)
{
	static const char *const to[] = {"both@example.org"};

	take_for(PS_MAIL_MX, to, 1);
	ck_assert_uint_eq(queued_count, 1);
	ck_assert_uint_eq(queued[0].recipient_count, 1);
	ck_assert_str_eq(queued[0].recipients[0].address, "carol@example.com");
	ck_assert_str_eq(queued[0].recipients[0].domain, "example.com");
	ck_assert_uint_eq(delivery_count, 0);
	queued_done[0](queued_arg[0], 0);
	find_all();
	ck_assert_uint_eq(delivery_count, 1);
	ck_assert_uint_eq(reply_count, 0);
	delivered(0, 0);
	ck_last(250, "2.0.0");
}
END_TEST

START_TEST(a_queue_that_cannot_take_it_leaves_it_to_the_client)
{
	static const char *const to[] = {"both@example.org"};

	queue_is_there = _i == 0;
	take_for(PS_MAIL_MX, to, 1);
	if (_i == 0)
		queued_done[0](queued_arg[0], PS_E_FULL);
	ck_assert_uint_eq(delivery_count, 0);
	ck_assert_uint_eq(reply_count, 1);
	ck_last(451, "4.3.0");
}
END_TEST

static const char *const ann[] = {"ann@example.org"}, *const ann_and_bob[] = {"ann@example.org", "bob@example.org"},
			 *const team[] = {"team@example.org"};

/* What two deliveries end with; how many of them are queued, and what is said. */
static const struct {
	enum ps_mail_source source;
	int errors[2];
	size_t queued;
	unsigned codes[2]; /* the second for LMTP */
} mixes[] = {
	{PS_MAIL_MX, {0, 0}, 0, {250, 0}},
	{PS_MAIL_MX, {0, PS_E_QUOTA}, 1, {250, 0}}, /* the queue will tell the sender */
	{PS_MAIL_MX, {0, PS_E_STORAGE}, 1, {250, 0}},
	{PS_MAIL_MX, {0, PS_E_FULL}, 1, {250, 0}},
	{PS_MAIL_MX, {PS_E_STORAGE, PS_E_STORAGE}, 2, {250, 0}},
	{PS_MAIL_MX, {PS_E_FULL, PS_E_FULL}, 0, {452, 0}},
	{PS_MAIL_MX, {PS_E_FULL, PS_E_STORAGE}, 2, {250, 0}},
	{PS_MAIL_MX, {PS_E_QUOTA, PS_E_QUOTA}, 0, {552, 0}},
	{PS_MAIL_MX, {PS_E_QUOTA, PS_E_STORAGE}, 2, {250, 0}},
	{PS_MAIL_MX, {PS_E_CONFLICT, PS_E_CONFLICT}, 0, {554, 0}},
	{PS_MAIL_LMTP, {0, PS_E_STORAGE}, 0, {250, 451}},
	{PS_MAIL_LMTP, {PS_E_QUOTA, PS_E_FULL}, 0, {552, 452}},
	{PS_MAIL_LMTP, {0, 0}, 0, {250, 250}},
};

START_TEST(what_cannot_be_stored_is_queued_or_refused)
{
	take_for(mixes[_i].source, ann_and_bob, 2);
	find_all();
	delivered(0, mixes[_i].errors[0]);
	delivered(1, mixes[_i].errors[1]);
	ck_assert_uint_eq(queued_count, mixes[_i].queued > 0);
	if (mixes[_i].queued) {
		ck_assert_uint_eq(queued[0].recipient_count, mixes[_i].queued);
		ck_assert_ptr_null(queued[0].recipients[0].domain);
		ck_assert_uint_eq(reply_count, 0);
		queued_done[0](queued_arg[0], 0);
	}
	ck_assert_uint_eq(reply_count, mixes[_i].codes[1] ? 2 : 1);
	for (size_t i = 0; i < reply_count; i++)
		ck_assert_uint_eq(replies[i].code, mixes[_i].codes[i]);
}
END_TEST

START_TEST(who_wants_to_hear_of_success_is_told_by_the_queue)
{
	say_from(client, PS_MAIL_MX, 0);
	ps_transactions_rcpt(
		transactions, client,
		&(struct ps_msg_mail_rcpt){.forward_path = "ann@example.org", .notify = PS_NOTIFY_SUCCESS});
	find_all();
	ps_transactions_data(transactions, client);
	say_end(0, true);
	find_all();
	delivered(0, 0);
	ck_assert_uint_eq(queued_count, 1);
	ck_assert_uint_eq(queued[0].recipients[0].notify, PS_NOTIFY_SUCCESS);
	ck_assert_int_eq(strncmp(queued[0].id, deliveries[0].token, PS_ID_LENGTH), 0); /* its try finds it there */
	queued_done[0](queued_arg[0], 0);
	ck_last(250, "2.0.0");
}
END_TEST

/* ---- without a session ----------------------------------------------------------------------- */

static struct ps_answer submitted;
static size_t submitted_count;

static void on_submitted(void *arg, const struct ps_answer *answer)
{
	ck_assert_ptr_eq(arg, &submitted);
	submitted = (struct ps_answer){.code = answer->code};
	submitted_count++;
}

static void submit(const char *address)
{
	const struct ps_parcel_recipient to = {.address = address};
	const struct ps_parcel parcel = {.id = "ABCDEFGHJKLMNPQRSTVW",
					 .reverse_path = "",
					 .recipients = &to,
					 .recipient_count = 1,
					 .file = STDIN_FILENO};

	ps_transactions_submit(transactions, &parcel, on_submitted, &submitted);
}

START_TEST(what_the_server_makes_itself_goes_the_same_ways)
{
	submit("ann@example.org");
	ck_assert_uint_eq(submitted_count, 0);
	find_all();
	find_all();
	ck_assert_uint_eq(delivery_count, 1);
	ck_assert_str_eq(deliveries[0].token, "ABCDEFGHJKLMNPQRSTVW");
	delivered(0, 0);
	ck_assert_uint_eq(submitted_count, 1);
	ck_assert_uint_eq(submitted.code, 250);
	submit("carol@example.com");
	ck_assert_uint_eq(queued_count, 1);
	queued_done[0](queued_arg[0], 0);
	ck_assert_uint_eq(submitted_count, 2);
	ck_assert_uint_eq(submitted.code, 250);
	submit("nobody@example.org");
	found(lookup_count - 1, PS_LOOKUP_UNKNOWN);
	ck_assert_uint_eq(submitted.code, 550);
	auth_is_there = false;
	submit("ann@example.org");
	ck_assert_uint_eq(submitted.code, 451);
	ck_assert_uint_eq(submitted_count, 4);
	ck_assert_uint_eq(reply_count, 0);
}
END_TEST

START_TEST(lmtp_queues_for_an_alias_of_which_somebody_has_it)
{
	take_for(PS_MAIL_LMTP, team, 1);
	find_all();
	delivered(0, 0);
	delivered(1, PS_E_STORAGE);
	ck_assert_uint_eq(queued_count, 1);
	ck_assert_str_eq(queued[0].recipients[0].address, "bob@example.org");
	queued_done[0](queued_arg[0], 0);
	ck_assert_uint_eq(reply_count, 1);
	ck_last(250, "2.0.0");
}
END_TEST

START_TEST(what_could_not_be_queued_either_the_client_keeps)
{
	take_for(PS_MAIL_MX, ann, 1);
	find_all();
	queue_is_there = _i == 0;
	delivered(0, PS_E_STORAGE);
	if (_i == 0)
		queued_done[0](queued_arg[0], PS_E_STORAGE);
	ck_assert_uint_eq(reply_count, 1);
	ck_last(451, "4.3.0");
}
END_TEST

START_TEST(a_mailbox_that_takes_too_long_is_left_to_the_queue)
{
	uint64_t now = ps_monotonic_ms();

	take_for(PS_MAIL_MX, ann_and_bob, 2);
	find_all();
	delivered(1, 0);
	ps_transactions_tick(transactions, now + PS_STORE_PATIENCE_MS - 1000);
	ck_assert_uint_eq(queued_count, 0);
	ps_transactions_tick(transactions, now + PS_STORE_PATIENCE_MS + 60000);
	ck_assert_uint_eq(queued_count, 1);
	ck_assert_uint_eq(queued[0].recipient_count, 1);
	ck_assert_str_eq(queued[0].recipients[0].address, "ann@example.org");
	delivered(0, 0); /* late: the queue's try will find that it is there, by the token */
	ck_assert_uint_eq(reply_count, 0);
	queued_done[0](queued_arg[0], 0);
	ck_assert_uint_eq(reply_count, 1);
	ck_last(250, "2.0.0");
}
END_TEST

START_TEST(a_client_that_has_gone_is_not_answered_and_the_message_goes_on)
{
	static const char *const to[] = {"both@example.org"};

	take_for(PS_MAIL_MX, to, 1);
	ps_transactions_reset(transactions, client);
	queued_done[0](queued_arg[0], 0);
	find_all();
	delivered(0, PS_E_STORAGE);
	ck_assert_uint_eq(queued_count, 2);
	queued_done[1](queued_arg[1], 0);
	ck_assert_uint_eq(reply_count, 0);
}
END_TEST

static TCase *queue_cases(void)
{
	TCase *tc = tcase_create("queue");

	tcase_add_checked_fixture(tc, set_up_queue, tear_down);
	tcase_add_test(tc, what_must_leave_is_queued_before_mailboxes_get_it);
	tcase_add_loop_test(tc, a_queue_that_cannot_take_it_leaves_it_to_the_client, 0, 2);
	tcase_add_loop_test(tc, what_cannot_be_stored_is_queued_or_refused, 0, PS_ARRAY_LEN(mixes));
	tcase_add_test(tc, who_wants_to_hear_of_success_is_told_by_the_queue);
	tcase_add_test(tc, what_the_server_makes_itself_goes_the_same_ways);
	tcase_add_test(tc, lmtp_queues_for_an_alias_of_which_somebody_has_it);
	tcase_add_loop_test(tc, what_could_not_be_queued_either_the_client_keeps, 0, 2);
	tcase_add_test(tc, a_mailbox_that_takes_too_long_is_left_to_the_queue);
	tcase_add_test(tc, a_client_that_has_gone_is_not_answered_and_the_message_goes_on);
	return tc;
}

int main(void)
{
	Suite *suite = suite_create("transactions and the queue");

	suite_add_tcase(suite, queue_cases());
	return unit_main(suite);
}
