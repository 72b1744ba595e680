/* SPDX-License-Identifier: MIT */
/* What the administrator sees of the queue, and does to it. */
#include "tests/delivery/queue.h"

static json_int_t count_of(json_t *answer)
{
	ck_assert_msg(json_is_true(json_object_get(answer, "ok")), "%s", last_answer);
	return json_integer_value(json_object_get(answer, "count"));
}

static json_t *row_of(const char *what, const char *id)
{
	char request[128];
	json_t *row;

	snprintf(request, sizeof request, "{\"do\": \"queue\", \"what\": \"%s\", \"id\": \"%s\"}", what, id);
	row = json_array_get(json_object_get(ask(request), "rows"), 0);
	ck_assert_msg(row != NULL, "%s", last_answer);
	return row;
}

static const char *state_of(const char *id)
{
	json_t *parts = json_object_get(row_of("show", id), "parts");

	return json_string_value(json_object_get(json_array_get(parts, 0), "state"));
}

static json_int_t act(const char *what, const char *id)
{
	char request[128];

	snprintf(request, sizeof request, "{\"what\": \"%s\", \"id\": \"%s\"}", what, id);
	return count_of(ask(request));
}

START_TEST(held_mail_waits_and_neither_expires_nor_is_attempted)
{
	add("A", "ann@example.com", "mx:example.org");
	defer(pick(0));
	ck_assert_str_eq(state_of("A"), "waiting");
	ck_assert_int_eq(act("hold", "A"), 1);
	ck_assert_int_eq(act("hold", "A"), 0);
	ck_assert_str_eq(state_of("A"), "held");
	ck_assert_uint_eq(stats()->held, 1);
	pass(30ull * DAY);
	reopen();
	ck_assert_uint_eq(out_count, 0);
	ck_assert_int_eq(act("retry", "A"), 0);
	ck_assert_uint_eq(out_count, 0);
	ck_assert_int_eq(act("release", "A"), 1);
	ck_assert_int_eq(act("release", "A"), 0);
	ck_assert_uint_eq(stats()->held, 0);
	ck_assert_uint_eq(out_count, 1);
	ck_assert(out[0]->send);
	ck_assert_str_eq(state_of("A"), "active");
	deliver(pick(0));
	ck_assert_uint_eq(stats()->messages, 0);
}
END_TEST

START_TEST(mail_that_is_held_while_it_is_sent_stays_held_if_it_is_not_taken)
{
	add("A", "ann@example.com", "mx:example.org");
	ck_assert_int_eq(act("hold", "A"), 1);
	defer(pick(0));
	pass(5 * HOUR);
	ck_assert_uint_eq(out_count, 0);
	ck_assert_str_eq(state_of("A"), "held");
	add("B", "ann@example.com", "mx:example.org");
	ck_assert_int_eq(act("hold", "B"), 1);
	deliver(pick(0));
	ck_assert_uint_eq(stats()->messages, 1);
	ck_assert_uint_eq(stats()->held, 1);
}
END_TEST

START_TEST(a_retry_is_now_and_probes_what_is_dead)
{
	add("A", "ann@example.com", "mx:example.org");
	defer(pick(0));
	ck_assert_int_eq(act("retry", "A"), 1);
	ck_assert_uint_eq(out_count, 1);
	for (int i = 0; i < 3; i++) {
		finish(pick(0), PS_QUEUE_DEFERRED, PS_QUEUE_UNREACHABLE);
		ck_assert_int_eq(act("retry", "A"), 1);
	}
	/* It is dead now, and the retry a probe. */
	ck_assert_uint_eq(out_count, 1);
	add("B", "ann@example.com", "mx:example.org");
	ck_assert_uint_eq(out_count, 1);
	deliver(pick(0));
	ck_assert_uint_eq(out_count, 1);
}
END_TEST

START_TEST(removed_mail_is_gone_with_its_body)
{
	add("A", "ann@example.com", "mx:example.org");
	add("B", "ann@example.com", "mx:example.org");
	defer(pick_id("B"));
	ck_assert_int_eq(act("remove", "A"), 1); /* while it is attempted */
	ck_assert_int_eq(act("remove", "B"), 1);
	ck_assert_uint_eq(bodies(), 0);
	ck_assert_uint_eq(stats()->messages, 0);
	deliver(pick(0));
	ck_assert_uint_eq(stats()->messages, 0);
	ck_assert_uint_eq(stats()->octets, 0);
	ck_assert(!json_is_true(json_object_get(ask("{\"what\": \"remove\", \"id\": \"A\"}"), "ok")));
	pass(6ull * DAY);
	ck_assert_uint_eq(out_count, 0);
	ck_assert_uint_eq(stats()->destinations, 0);
}
END_TEST

START_TEST(mail_to_be_returned_is_handed_out_without_sending)
{
	add("A", "ann@example.com", "mx:example.org");
	if (_i == 0)
		defer(pick(0)); /* while it waits */
	if (_i == 2) {
		defer(pick(0));
		act("hold", "A");
	}
	ck_assert_int_eq(act("bounce", "A"), 1);
	if (_i == 1)
		defer(pick(0)); /* while it is attempted */
	ck_assert_uint_eq(out_count, 1);
	ck_assert(!out[0]->send);
	ck_assert_uint_eq(ps_queue_owes(queue, out[0]), PS_QUEUE_RETURNED);
	reopen();
	ck_assert_uint_eq(out_count, 1);
	ck_assert(!out[0]->send);
	finish(pick(0), PS_QUEUE_FAILED, PS_QUEUE_UNKNOWN);
	ck_assert_uint_eq(stats()->messages, 0);
	ck_assert_uint_eq(stats()->parts, 0);
	ck_assert_uint_eq(stats()->held, 0);
}
END_TEST

static const struct {
	const char *filter;
	int matches;
} filters[] = {
	{"", 4},
	{", \"sender\": \"ann@example.com\"", 2},
	{", \"sender\": \"ANN@Example.COM\"", 2},
	{", \"sender\": \"@example.com\"", 3},
	{", \"sender\": \"@com\"", 0},
	{", \"sender\": \"<>\"", 1},
	{", \"recipient\": \"r1@example.org\"", 1},
	{", \"recipient\": \"@example.org\"", 4},
	{", \"destination\": \"mx:x.example\"", 3},
	{", \"destination\": \"mx:x\"", 0},
	{", \"older_than\": 3600", 1},
	{", \"younger_than\": 3600", 3},
	{", \"older_than\": 86400", 0},
	{", \"held\": true", 1},
	{", \"user\": \"ann\"", 0},
	{", \"sender\": \"ann@example.com\", \"destination\": \"mx:y.example\"", 1},
	{", \"id\": \"A\"", 1},
	{", \"id\": \"A\", \"sender\": \"bob@example.com\"", 0},
};

START_TEST(a_filter_says_which)
{
	char request[256];

	add("A", "ann@example.com", "mx:x.example");
	pass(2 * HOUR);
	add("B", "ann@example.com", "mx:y.example");
	add("C", "bob@example.com", "mx:x.example");
	ck_assert_ok(add_to("D", "", "mx:x.example", 2));
	act("hold", "C");
	snprintf(request, sizeof request, "{\"what\": \"list\"%s}", filters[_i].filter);
	ck_assert_int_eq(count_of(ask(request)), filters[_i].matches);
	snprintf(request, sizeof request, "{\"what\": \"remove\"%s}", filters[_i].filter);
	ck_assert_int_eq(count_of(ask(request)), filters[_i].matches);
	ck_assert_int_eq(count_of(ask("{\"what\": \"list\"}")), 4 - filters[_i].matches);
}
END_TEST

START_TEST(an_act_on_many_goes_page_by_page)
{
	json_int_t after = 0, count = 0;
	int pages = 0;

	add_many("A", "ann@example.com", "mx:example.org", 1200);
	do {
		char request[64];
		json_t *answer;

		snprintf(request, sizeof request, "{\"what\": \"remove\", \"after\": %lld}", (long long)after);
		answer = ask(request);
		count += count_of(answer);
		after = json_integer_value(json_object_get(answer, "next"));
		pages++;
	} while (after);
	ck_assert_int_eq(count, 1200);
	ck_assert_int_eq(pages, 3);
	ck_assert_uint_eq(stats()->messages, 0);
	ck_assert_uint_eq(bodies(), 0);
}
END_TEST

START_TEST(a_message_is_shown_with_what_was_said)
{
	struct ps_queue_result results[] = {{PS_QUEUE_DEFERRED, 450, "4.2.0", "caf\xe9 \x1b[31m", "mx"},
					    {PS_QUEUE_FAILED, 550, "5.1.1", "nobody", "mx"}};
	struct ps_queue_finish done = {.results = results, .verdict = PS_QUEUE_REACHED};
	json_t *row, *part, *last;

	ck_assert_ok(add_to("A", "ann@example.com", "mx:example.org", 2));
	ps_queue_finish(queue, pick(0), &done, NULL, NULL);
	settle();
	row = row_of("show", "A");
	part = json_array_get(json_object_get(row, "parts"), 0);
	last = json_object_get(part, "last");
	ck_assert_int_eq(json_integer_value(json_object_get(row, "open")), 1);
	ck_assert_int_eq(json_integer_value(json_object_get(row, "recipients")), 2);
	ck_assert_int_eq(json_integer_value(json_object_get(part, "attempts")), 1);
	ck_assert_int_eq(json_integer_value(json_object_get(last, "code")), 450);
	ck_assert_str_eq(json_string_value(json_object_get(last, "text")), "caf? \x1b[31m"); /* not UTF-8 */
	ck_assert_str_eq(
		json_string_value(json_object_get(json_array_get(json_object_get(part, "recipients"), 1), "state")),
		"failed");
	ck_assert_int_gt(json_integer_value(json_object_get(row, "next")), 200);
}
END_TEST

START_TEST(no_answer_is_larger_than_a_message_between_processes)
{
	for (int i = 0; i < 120; i++) {
		char id[16];

		snprintf(id, sizeof id, "LONG%d", i);
		ck_assert_ok(add_to(id, "ann@example.com", "mx:example.org", 250));
	}
	ask("{\"what\": \"list\", \"most\": 1000}");
	ck_assert_uint_lt(strlen(last_answer), 100000);
	ask("{\"what\": \"show\", \"id\": \"LONG0\"}");
	ck_assert_uint_lt(strlen(last_answer), 100000);
}
END_TEST

START_TEST(destinations_are_listed_with_what_keeps_them)
{
	json_t *row;

	add("A", "ann@example.com", "mx:dead.example");
	for (int i = 0; i < 3; i++) {
		act("retry", "A");
		finish(pick(0), PS_QUEUE_DEFERRED, PS_QUEUE_UNREACHABLE);
	}
	ck_assert_int_eq(count_of(ask("{\"what\": \"destinations\"}")), 1);
	row = json_array_get(json_object_get(ask("{\"what\": \"destinations\"}"), "rows"), 0);
	ck_assert_str_eq(json_string_value(json_object_get(row, "destination")), "mx:dead.example");
	ck_assert(json_is_true(json_object_get(row, "dead")));
	ck_assert_int_eq(json_integer_value(json_object_get(row, "parts")), 1);
	ck_assert_int_gt(json_integer_value(json_object_get(row, "blocked_for")), 200);
	ck_assert_str_eq(json_string_value(json_object_get(json_object_get(row, "reason"), "text")), "what was said");
}
END_TEST

static const char *const nonsense[] = {
	"",
	"list",
	"[]",
	"{}",
	"{\"what\": \"empty\"}",
	"{\"what\": 7}",
	"{\"what\": \"list\", \"after\": -1}",
	"{\"what\": \"list\", \"older_than\": -5}",
	"{\"what\": \"list\", \"colour\": \"red\"}",
	"{\"what\": \"remove\", \"sender\": 5}",
	"{\"what\": \"show\", \"id\": \"NONE\"}",
};

START_TEST(nonsense_is_refused)
{
	json_t *answer;

	add("A", "ann@example.com", "mx:example.org");
	answer = ask(nonsense[_i]);
	ck_assert(json_is_false(json_object_get(answer, "ok")));
	ck_assert_str_ne(json_string_value(json_object_get(answer, "error")), "");
	ck_assert_uint_eq(stats()->messages, 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("queue_admin");
	TCase *tc = tcase_create("admin");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, held_mail_waits_and_neither_expires_nor_is_attempted);
	tcase_add_test(tc, mail_that_is_held_while_it_is_sent_stays_held_if_it_is_not_taken);
	tcase_add_test(tc, a_retry_is_now_and_probes_what_is_dead);
	tcase_add_test(tc, removed_mail_is_gone_with_its_body);
	tcase_add_loop_test(tc, mail_to_be_returned_is_handed_out_without_sending, 0, 3);
	tcase_add_loop_test(tc, a_filter_says_which, 0, PS_ARRAY_LEN(filters));
	tcase_add_test(tc, an_act_on_many_goes_page_by_page);
	tcase_add_test(tc, a_message_is_shown_with_what_was_said);
	tcase_add_test(tc, no_answer_is_larger_than_a_message_between_processes);
	tcase_add_test(tc, destinations_are_listed_with_what_keeps_them);
	tcase_add_loop_test(tc, nonsense_is_refused, 0, PS_ARRAY_LEN(nonsense));
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
