/* SPDX-License-Identifier: MIT */
/* When mail is attempted, in which order, how much at a time; and how long. */
#include "tests/delivery/queue.h"

/* ---- waits ------------------------------------------------------------------------------------- */

/* Seconds until the message that was just deferred is due again. */
static json_int_t next_wait(const char *id)
{
	char request[128];
	json_t *row;

	snprintf(request, sizeof request, "{\"what\": \"list\", \"id\": \"%s\"}", id);
	row = json_array_get(json_object_get(ask(request), "rows"), 0);
	ck_assert_ptr_nonnull(row);
	return json_integer_value(json_object_get(row, "next"));
}

START_TEST(each_wait_is_twice_the_one_before_give_or_take)
{
	static const unsigned minutes[] = {5, 10, 20, 40, 80, 160, 240, 240};

	settings.delay_notice = 0;
	ps_queue_reconfigure(queue, &settings);
	add("A", "ann@example.com", "mx:example.org");
	for (size_t i = 0; i < PS_ARRAY_LEN(minutes); i++) {
		json_int_t wait;

		ck_assert_uint_eq(out_count, 1);
		ck_assert_uint_eq(out[0]->attempts, i);
		defer(pick(0));
		wait = next_wait("A");
		ck_assert_int_ge(wait, minutes[i] * 60 * 4 / 5);
		ck_assert_int_le(wait, minutes[i] * 60 * 6 / 5);
		pass((uint64_t)(wait - 1) * SECOND);
		ck_assert_uint_eq(out_count, 0);
		pass(2 * SECOND);
	}
}
END_TEST

START_TEST(waits_of_many_are_spread)
{
	json_int_t least = 1000000, most = 0;

	settings.concurrency_first = settings.concurrency = 50;
	ps_queue_reconfigure(queue, &settings);
	add_many("A", "ann@example.com", "mx:example.org", 50);
	ck_assert_uint_eq(out_count, 50);
	while (out_count)
		defer(pick(0));
	for (int i = 0; i < 50; i++) {
		char id[16];
		json_int_t wait;

		snprintf(id, sizeof id, "A%d", i);
		wait = next_wait(id);
		least = wait < least ? wait : least;
		most = wait > most ? wait : most;
	}
	ck_assert_int_gt(most - least, 60);
}
END_TEST

/* ---- notice and expiry --------------------------------------------------------------------------- */

/* Attempts and defers until something is owed. */
static unsigned wait_for_debt(void)
{
	for (int i = 0; i < 2000; i++) {
		if (out_count) {
			unsigned owes = ps_queue_owes(queue, out[0]);

			if (owes)
				return owes;
			defer(pick(0));
		}
		pass(5 * MINUTE);
	}
	return 0;
}

static void finish_told(struct ps_queue_attempt *attempt)
{
	struct ps_queue_result result = {PS_QUEUE_DEFERRED, 450, "4.2.0", "still not", "mx"};
	struct ps_queue_finish done = {.results = &result, .verdict = PS_QUEUE_REACHED, .told_delay = true};

	was_done = false;
	ps_queue_finish(queue, attempt, &done, on_done, NULL);
	run_until(is_done);
}

static uint64_t hours_since(uint64_t start)
{
	return (monotonic_ms - start) / HOUR;
}

START_TEST(the_sender_is_told_after_four_hours_and_once_and_it_ends_after_five_days)
{
	uint64_t start = monotonic_ms;

	add("A", "ann@example.com", "mx:example.org");
	ck_assert_uint_eq(wait_for_debt(), PS_QUEUE_DELAYED);
	ck_assert_uint_eq(hours_since(start), 4);
	finish_told(pick(0));
	reopen();
	ck_assert_uint_eq(wait_for_debt(), PS_QUEUE_EXPIRED);
	ck_assert_uint_ge(hours_since(start), 5 * 24);
	ck_assert_uint_lt(hours_since(start), 5 * 24 + 5);
	finish(pick(0), PS_QUEUE_FAILED, PS_QUEUE_REACHED);
	ck_assert_uint_eq(stats()->messages, 0);
}
END_TEST

START_TEST(a_notice_needs_no_attempt_and_does_not_put_one_off)
{
	add("A", "ann@example.com", "mx:example.org");
	settings.retry_first = 6 * 3600;
	settings.retry_most = 6 * 3600;
	ps_queue_reconfigure(queue, &settings);
	defer(pick(0));
	pass(4 * HOUR + 1);
	ck_assert_uint_eq(out_count, 1);
	ck_assert(!out[0]->send);
	ck_assert_str_eq(out[0]->last.text, "what was said");
	ck_assert_uint_eq(ps_queue_owes(queue, out[0]), PS_QUEUE_DELAYED);
	finish_told(pick(0));
	ck_assert_uint_eq(out_count, 0);
	pass(4 * HOUR);
	ck_assert_uint_eq(out_count, 1);
	ck_assert(out[0]->send);
	ck_assert_uint_eq(out[0]->attempts, 1);
}
END_TEST

/* ---- destinations ------------------------------------------------------------------------------ */

static size_t out_to(const char *destination)
{
	size_t n = 0;

	for (size_t i = 0; i < out_count; i++)
		n += strcmp(out[i]->destination, destination) == 0;
	return n;
}

START_TEST(the_window_grows_with_success_and_shrinks_without)
{
	size_t most = 0;

	settings.concurrency = 10;
	settings.dead_after = 100;
	ps_queue_reconfigure(queue, &settings);
	add_many("A", "ann@example.com", "mx:example.org", 200);
	ck_assert_uint_eq(out_count, 2);
	for (int i = 0; i < 100; i++) {
		deliver(pick(0));
		ck_assert_uint_le(out_count, 10);
		most = out_count > most ? out_count : most;
	}
	ck_assert_uint_eq(most, 10);
	finish(pick(0), PS_QUEUE_DEFERRED, PS_QUEUE_BUSY);
	for (int i = 0; i < 4; i++)
		finish(pick(0), PS_QUEUE_DEFERRED, PS_QUEUE_UNKNOWN);
	/* Half is 5, and as many are still under way. */
	ck_assert_uint_eq(out_count, 5);
	for (int i = 0; i < 20; i++)
		finish(pick(0), PS_QUEUE_DEFERRED, PS_QUEUE_UNREACHABLE);
	ck_assert_uint_eq(out_count, 1);
}
END_TEST

START_TEST(one_destination_does_not_take_all)
{
	settings.concurrency_first = settings.concurrency = 20;
	ps_queue_reconfigure(queue, &settings);
	add_many("A", "ann@example.com", "mx:slow.example", 300);
	ck_assert_uint_eq(out_count, 20);
	add("B", "ann@example.com", "mx:other.example");
	ck_assert_uint_eq(out_to("mx:other.example"), 1);
}
END_TEST

START_TEST(attempts_in_all_are_limited)
{
	char destination[32];

	settings.attempts = 7;
	ps_queue_reconfigure(queue, &settings);
	for (int i = 0; i < 20; i++) {
		snprintf(destination, sizeof destination, "mx:d%d.example", i);
		add_many(destination, "ann@example.com", destination, 1);
	}
	ck_assert_uint_eq(out_count, 7);
	deliver(pick(3));
	ck_assert_uint_eq(out_count, 7);
	ck_assert_uint_eq(stats()->active, 7);
}
END_TEST

START_TEST(a_dead_destination_is_left_alone_until_its_probe)
{
	unsigned probes = 0;

	add_many("A", "ann@example.com", "mx:dead.example", 30);
	for (int i = 0; i < 3; i++)
		finish(pick(0), PS_QUEUE_DEFERRED, PS_QUEUE_UNREACHABLE);
	/* One may still be under way from before. */
	while (out_count)
		finish(pick(0), PS_QUEUE_DEFERRED, PS_QUEUE_UNREACHABLE);
	add("NEW", "bob@example.com", "mx:dead.example");
	ck_assert_uint_eq(out_count, 0);
	reopen(); /* that it is dead is not forgotten */
	ck_assert_uint_eq(out_count, 0);
	for (int i = 0; i < 60; i++) {
		pass(MINUTE);
		ck_assert_uint_le(out_count, 1);
		if (out_count) {
			probes++;
			finish(pick(0), PS_QUEUE_DEFERRED, PS_QUEUE_UNREACHABLE);
		}
	}
	ck_assert_uint_ge(probes, 3); /* after 5, 10 and 20 minutes, more or less */
	ck_assert_uint_le(probes, 4);
	while (out_count == 0)
		pass(MINUTE);
	deliver(pick(0));
	ck_assert_uint_gt(out_count, 0); /* it is back */
	while (out_count)
		deliver(pick(0));
	pass(4 * HOUR);
	while (out_count)
		deliver(pick(0));
	ck_assert_uint_eq(stats()->messages, 0);
	ck_assert_uint_eq(stats()->destinations, 0);
}
END_TEST

START_TEST(mail_for_a_dead_destination_is_reported_without_attempts)
{
	uint64_t start = monotonic_ms;
	size_t notices = 0, sent = 0, expired = 0;

	add_many("A", "ann@example.com", "mx:dead.example", 5);
	for (int i = 0; i < 2000 && stats()->messages; i++) {
		while (out_count) {
			unsigned owes = ps_queue_owes(queue, out[0]);
			bool send = out[0]->send;

			sent += send;
			if (owes & PS_QUEUE_EXPIRED) {
				expired++;
				finish(pick(0), PS_QUEUE_FAILED, send ? PS_QUEUE_UNREACHABLE : PS_QUEUE_UNKNOWN);
			} else if (owes & PS_QUEUE_DELAYED) {
				notices++;
				ck_assert_uint_ge(hours_since(start), 4);
				if (!send)
					ck_assert_str_eq(out[0]->last.text, "what was said");
				finish_told(pick(0));
			} else {
				finish(pick(0), PS_QUEUE_DEFERRED, PS_QUEUE_UNREACHABLE);
			}
		}
		pass(10 * MINUTE);
	}
	ck_assert_uint_eq(stats()->messages, 0);
	ck_assert_uint_eq(notices, 5);
	ck_assert_uint_eq(expired, 5);
	ck_assert_uint_ge(hours_since(start), 5 * 24);
	ck_assert_uint_le(hours_since(start), 5 * 24 + 2);
	ck_assert_uint_lt(sent, 5 * 24 * 2); /* probes, one in about an hour */
}
END_TEST

START_TEST(a_rate_is_kept)
{
	const struct ps_queue_rule rule = {.destination = "mx:slow.example", .per_minute = 6};
	size_t sent = 0;

	settings.rules = &rule;
	settings.rule_count = 1;
	ps_queue_reconfigure(queue, &settings);
	add_many("A", "ann@example.com", "mx:slow.example", 100);
	for (int i = 0; i < 600; i++) {
		if (i == 300)
			reopen();
		for (; out_count; sent++)
			deliver(pick(0));
		pass(SECOND);
	}
	ck_assert_uint_ge(sent, 58);
	ck_assert_uint_le(sent, 62);
	add("B", "ann@example.com", "mx:quick.example");
	ck_assert_uint_eq(out_to("mx:quick.example"), 1);
}
END_TEST

/* ---- fairness ---------------------------------------------------------------------------------- */

START_TEST(a_big_sender_does_not_starve_others)
{
	size_t before = 0;

	add_many("BIG", "big@example.com", "mx:example.org", 500);
	add_many("SMALL", "small@example.com", "mx:example.org", 5);
	for (size_t small = 0; small < 5;) {
		struct ps_queue_attempt *attempt = pick(0);

		if (strncmp(attempt->message.id, "SMALL", 5) == 0)
			small++;
		else
			before++;
		deliver(attempt);
	}
	ck_assert_uint_lt(before, 20);
}
END_TEST

START_TEST(nor_over_many_destinations)
{
	settings.attempts = 10;
	ps_queue_reconfigure(queue, &settings);
	for (int i = 0; i < 200; i++) {
		char name[32];

		snprintf(name, sizeof name, "mx:d%d.example", i);
		add_many(name, "big@example.com", name, 1);
	}
	add("SMALL", "small@example.com", "mx:small.example");
	ck_assert_ptr_null(attempt_of("SMALL"));
	/* Some of the big sender's may have the same place, or one before it; not the 190 that wait. */
	for (int i = 0; i < 20 && !attempt_of("SMALL"); i++)
		deliver(pick(0));
	ck_assert_ptr_nonnull(attempt_of("SMALL"));
}
END_TEST

START_TEST(an_attempt_that_hangs_gives_its_destination_no_precedence)
{
	settings.attempts = 5;
	settings.concurrency = settings.concurrency_first = 10;
	ps_queue_reconfigure(queue, &settings);
	add_many("BIG", "big@example.com", "mx:example.org", 300);
	for (int i = 0; i < 50; i++) /* the first one hangs */
		deliver(pick(1));
	add("SMALL", "small@example.com", "mx:small.example");
	for (int i = 0; i < 2 && !attempt_of("SMALL"); i++)
		deliver(pick(1));
	ck_assert_ptr_nonnull(attempt_of("SMALL"));
}
END_TEST

START_TEST(what_is_returned_does_not_keep_what_is_sent_waiting)
{
	size_t returned = 0, sent = 0;

	settings.attempts = 4;
	ps_queue_reconfigure(queue, &settings);
	add_many("BACK", "big@example.com", "mx:example.org", 300);
	ask("{\"what\": \"bounce\"}");
	add_many("NEW", "small@example.com", "mx:small.example", 20);
	for (int i = 0; i < 100; i++) {
		struct ps_queue_attempt *attempt = pick(0);
		bool is_new = attempt->message.id[0] == 'N';

		returned += !attempt->send;
		sent += is_new;
		finish(attempt, is_new ? PS_QUEUE_DELIVERED : PS_QUEUE_FAILED, PS_QUEUE_REACHED);
	}
	ck_assert_uint_eq(sent, 20);
	ck_assert_uint_gt(returned, 30);
}
END_TEST

START_TEST(those_who_share_get_the_same)
{
	size_t taken[3] = {0};

	for (int i = 0; i < 3; i++) {
		char prefix[16], sender[32];

		snprintf(prefix, sizeof prefix, "S%d-", i);
		snprintf(sender, sizeof sender, "s%d@example.com", i);
		add_many(prefix, sender, "mx:example.org", i == 0 ? 300 : 60);
	}
	for (int i = 0; i < 120; i++) {
		struct ps_queue_attempt *attempt = pick(0);

		taken[attempt->message.id[1] - '0']++;
		deliver(attempt);
	}
	ck_assert_uint_ge(taken[1], 35);
	ck_assert_uint_ge(taken[2], 35);
	ck_assert_uint_ge(taken[0], 35);
}
END_TEST

/* ---- clocks ------------------------------------------------------------------------------------ */

START_TEST(a_wall_clock_that_jumps_changes_nothing)
{
	json_int_t wait;

	add("A", "ann@example.com", "mx:example.org");
	defer(pick(0));
	wait = next_wait("A");
	wall_ms += _i ? 80ull * 365 * DAY : 0;
	wall_ms -= _i ? 0 : 20ull * 365 * DAY;
	queue_commit(queue);
	settle();
	ck_assert_uint_eq(out_count, 0);
	ck_assert_int_eq(next_wait("A"), wait);
	pass((uint64_t)wait * SECOND + SECOND);
	ck_assert_uint_eq(out_count, 1);
	ck_assert_uint_eq(ps_queue_owes(queue, out[0]), 0);
}
END_TEST

START_TEST(nor_does_one_that_is_wrong_at_the_start)
{
	/* It went back: mail waits no longer than it would have. */
	add("A", "ann@example.com", "mx:example.org");
	defer(pick(0));
	wall_ms -= 20ull * 365 * DAY;
	reopen();
	ck_assert_uint_eq(out_count, 0);
	pass(7 * MINUTE);
	ck_assert_uint_eq(out_count, 1);
	/* It went ahead, or the machine was off for so long: each message is tried before it is given up. */
	add("B", "ann@example.com", "mx:example.org");
	wall_ms += 40ull * 365 * DAY;
	reopen();
	ck_assert_uint_eq(out_count, 2);
	ck_assert(out[0]->send);
	ck_assert(out[1]->send);
	pass(10 * MINUTE);
	ck_assert_uint_eq(out_count, 2);
	ck_assert(ps_queue_owes(queue, out[0]) & PS_QUEUE_EXPIRED);
	deliver(pick(0));
	deliver(pick(0));
}
END_TEST

/* ---- work -------------------------------------------------------------------------------------- */

/* Rows that are read to take one part. */
static uint64_t visits_for_one(void)
{
	uint64_t before = stats()->visited;

	deliver(pick(0));
	return stats()->visited - before;
}

START_TEST(looking_for_work_does_not_depend_on_how_much_waits)
{
	uint64_t few, many;

	settings.attempts = 50;
	ps_queue_reconfigure(queue, &settings);
	add_many("A", "ann@example.com", "mx:one.example", 100);
	for (int i = 0; i < 100; i++) {
		char name[32];

		snprintf(name, sizeof name, "mx:d%d.example", i);
		add_many(name, "ann@example.com", name, 1);
	}
	few = visits_for_one();
	add_many("M", "ann@example.com", "mx:one.example", 4000);
	for (int i = 0; i < 1000; i++) {
		char name[32];

		snprintf(name, sizeof name, "mx:e%d.example", i);
		add_many(name, "ann@example.com", name, 1);
	}
	many = visits_for_one();
	ck_assert_uint_le(few, 200);
	ck_assert_uint_le(many, 200);
}
END_TEST

START_TEST(a_list_reads_a_page_at_a_time)
{
	json_t *page;
	size_t rows = 0, pages = 0;
	json_int_t after = 0;

	add_many("A", "ann@example.com", "mx:example.org", 250);
	do {
		char request[64];

		snprintf(request, sizeof request, "{\"what\": \"list\", \"after\": %lld}", (long long)after);
		page = ask(request);
		ck_assert_uint_le(json_array_size(json_object_get(page, "rows")), 100);
		rows += json_array_size(json_object_get(page, "rows"));
		after = json_integer_value(json_object_get(page, "next"));
		pages++;
	} while (after);
	ck_assert_uint_eq(rows, 250);
	ck_assert_uint_eq(pages, 3);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("schedule");
	TCase *tc = tcase_create("schedule");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, each_wait_is_twice_the_one_before_give_or_take);
	tcase_add_test(tc, waits_of_many_are_spread);
	tcase_add_test(tc, the_sender_is_told_after_four_hours_and_once_and_it_ends_after_five_days);
	tcase_add_test(tc, a_notice_needs_no_attempt_and_does_not_put_one_off);
	tcase_add_test(tc, the_window_grows_with_success_and_shrinks_without);
	tcase_add_test(tc, one_destination_does_not_take_all);
	tcase_add_test(tc, attempts_in_all_are_limited);
	tcase_add_test(tc, a_dead_destination_is_left_alone_until_its_probe);
	tcase_add_test(tc, mail_for_a_dead_destination_is_reported_without_attempts);
	tcase_add_test(tc, a_rate_is_kept);
	tcase_add_test(tc, a_big_sender_does_not_starve_others);
	tcase_add_test(tc, nor_over_many_destinations);
	tcase_add_test(tc, an_attempt_that_hangs_gives_its_destination_no_precedence);
	tcase_add_test(tc, what_is_returned_does_not_keep_what_is_sent_waiting);
	tcase_add_test(tc, those_who_share_get_the_same);
	tcase_add_loop_test(tc, a_wall_clock_that_jumps_changes_nothing, 0, 2);
	tcase_add_test(tc, nor_does_one_that_is_wrong_at_the_start);
	tcase_add_test(tc, looking_for_work_does_not_depend_on_how_much_waits);
	tcase_add_test(tc, a_list_reads_a_page_at_a_time);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
