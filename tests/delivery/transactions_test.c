/* SPDX-License-Identifier: MIT */
/* Mail that is taken and stored, or refused; and to whom aliases lead. */
#include "tests/delivery/transactions_unit.h"

/* ---- tests ---------------------------------------------------------------------------------------- */

START_TEST(a_message_is_in_the_mailbox_before_the_250)
{
	char id[32];

	say_from(client, PS_MAIL_MX, 0);
	ck_last(250, "2.1.0");
	strcpy(id, replies[0].id);
	ck_assert_uint_eq(strlen(id), 20);
	say_rcpt(client, "ann@example.org");
	ck_assert_uint_eq(reply_count, 1); /* nobody has said yet that she is there */
	ck_assert_uint_eq(lookup_count, 1);
	ck_assert(!lookups[0].ticket);
	ck_assert_str_eq(lookups[0].name, "ann@example.org");
	find_all();
	ck_last(250, "2.1.5");
	ps_transactions_data(transactions, client);
	ck_last(354, "");
	say_small("x");
	ck_assert_uint_eq(reply_count, 3);
	ck_assert_uint_eq(lookup_count, 2);
	ck_assert(lookups[1].ticket);
	find_all();
	ck_assert_uint_eq(delivery_count, 1);
	ck_assert_str_eq(deliveries[0].name, "ann@example.org");
	ck_assert_str_eq(deliveries[0].mailbox, "");
	ck_assert_str_eq(deliveries[0].user, "ann@example.org");
	ck_assert_str_eq(deliveries[0].reverse_path, "joe@example.com");
	ck_assert_str_eq(deliveries[0].token, id);
	ck_assert_uint_eq(deliveries[0].size, 1);
	ck_assert_uint_eq(reply_count, 3);
	delivered(0, 0);
	ck_assert_uint_eq(reply_count, 4);
	ck_last(250, "2.0.0");
	ck_assert_ptr_nonnull(strstr(replies[3].text, id));
	ck_assert_str_eq(replies[3].id, id);
}
END_TEST

static const struct {
	const char *path;
	bool local;
	unsigned code;
} paths[] = {
	{"ann@example.org", true, 250},
	{"ann@EXAMPLE.org", true, 250},
	{"ann@example.net", true, 250},
	{"ann@example.com", false, 550},
	{"ann@sub.example.org", false, 550},
	{"ann%example.com@example.com", false, 550},
	{"\"ann@example.org\"@example.com", false, 550},
	{"ann@example.org@example.com", false, 501},
	{"ann@example.orgx", false, 550},
	{"ann", false, 501},
};

START_TEST(only_our_own_domains_are_taken_mail_for)
{
	say_from(client, PS_MAIL_MX, 0);
	say_rcpt(client, paths[_i].path);
	find_all();
	ck_assert_uint_eq(replies[reply_count - 1].code, paths[_i].code);
	ck_assert_uint_eq(lookup_count, paths[_i].local);
}
END_TEST

static const struct {
	enum ps_lookup_status status;
	unsigned code;
	const char *enhanced;
} statuses[] = {
	{PS_LOOKUP_FOUND, 250, "2.1.5"},
	{PS_LOOKUP_UNKNOWN, 550, "5.1.1"},
	{PS_LOOKUP_TEMPFAIL, 451, "4.3.0"},
};

START_TEST(a_recipient_is_what_auth_says)
{
	say_from(client, PS_MAIL_MX, 0);
	say_rcpt(client, "ann@example.org");
	found(0, statuses[_i].status);
	ck_last(statuses[_i].code, statuses[_i].enhanced);
	ps_transactions_data(transactions, client);
	if (statuses[_i].status == PS_LOOKUP_FOUND)
		ck_last(354, "");
	else
		ck_last(554, "5.5.1");
}
END_TEST

/* What is said of the room in a mailbox, and the answer to RCPT. */
static const struct {
	int error;
	unsigned code;
	const char *enhanced;
} rooms[] = {
	{0, 250, "2.1.5"}, {PS_E_QUOTA, 552, "5.2.2"}, {PS_E_STORAGE, 250, "2.1.5"}, /* the message may wait for it */
};

START_TEST(where_there_is_a_limit_it_is_known_at_rcpt)
{
	say_from(client, PS_MAIL_MX, 9);
	say_rcpt(client, "ann@example.org");
	found(0, PS_LOOKUP_LIMITED);
	ck_assert_uint_eq(reply_count, 1);
	ck_assert_uint_eq(lookup_count, 2);
	ck_assert(lookups[1].ticket);
	found(1, PS_LOOKUP_FOUND);
	ck_assert_uint_eq(delivery_count, 1);
	ck_assert(deliveries[0].probe);
	ck_assert_uint_eq(deliveries[0].size, 9);
	ck_assert_str_eq(deliveries[0].user, "ann@example.org");
	ck_assert_uint_eq(reply_count, 1);
	delivered(0, rooms[_i].error);
	ck_last(rooms[_i].code, rooms[_i].enhanced);
}
END_TEST

START_TEST(who_cannot_tell_of_room_hinders_nobody)
{
	uint32_t mail = MAIL;

	say_from(client, PS_MAIL_MX, 0);
	say_rcpt(client, "ann@example.org");
	found(0, PS_LOOKUP_LIMITED);
	found(1, PS_LOOKUP_FOUND);
	ps_transactions_tick(transactions, ps_monotonic_ms());
	ck_assert_uint_eq(reply_count, 1);
	if (_i == 0)
		ps_local_lost(local, &mail);
	else
		ps_transactions_tick(transactions, ps_monotonic_ms() + 60000);
	ck_last(250, "2.1.5");
	delivered(0, PS_E_QUOTA); /* too late */
	ck_assert_uint_eq(reply_count, 2);
}
END_TEST

/* What ends a delivery, and the answer. */
static const struct {
	int error;
	unsigned code;
	const char *enhanced;
} ends[] = {
	{0, 250, "2.0.0"},          {PS_E_FULL, 452, "4.3.1"},    {PS_E_QUOTA, 552, "5.2.2"},
	{PS_E_LIMIT, 552, "5.3.4"}, {PS_E_STORAGE, 451, "4.3.0"}, {77, 451, "4.3.0"},
	{-77, 451, "4.3.0"},        {PS_E_SCARCE, 451, "4.3.0"},
};

START_TEST(what_became_of_it_is_the_answer)
{
	take(PS_MAIL_MX, 1);
	find_all();
	delivered(0, ends[_i].error);
	ck_last(ends[_i].code, ends[_i].enhanced);
	ck_assert_uint_eq(reply_count, 1);
}
END_TEST

START_TEST(without_lmtp_the_worst_is_the_answer)
{
	take(PS_MAIL_MX, 3);
	find_all();
	delivered(1, PS_E_QUOTA);
	delivered(0, 0);
	ck_assert_uint_eq(reply_count, 0);
	delivered(2, PS_E_FULL);
	ck_assert_uint_eq(reply_count, 1);
	ck_last(452, "4.3.1"); /* it may be tried again */
}
END_TEST

START_TEST(lmtp_is_answered_for_each_in_their_order)
{
	say_from(client, PS_MAIL_LMTP, 0);
	say_rcpt(client, "ann@example.org");
	found(0, PS_LOOKUP_FOUND);
	say_rcpt(client, "nobody@example.org");
	found(1, PS_LOOKUP_UNKNOWN);
	say_rcpt(client, "bob@example.org");
	found(2, PS_LOOKUP_FOUND);
	ps_transactions_data(transactions, client);
	reply_count = 0;
	say_end(0, true);
	found(3, PS_LOOKUP_FOUND);
	found(4, PS_LOOKUP_FOUND);
	delivered(1, 0);
	ck_assert_uint_eq(reply_count, 0);
	delivered(0, PS_E_QUOTA);
	ck_assert_uint_eq(reply_count, 2);
	ck_code(0, 552, "5.2.2");
	ck_code(1, 250, "2.0.0");
}
END_TEST

/* A letter is what the front says: From, Rcpt, Data, End, reSet. The last is not in order. */
static const char *const disorders[] = {
	"R", "D", "E", "FE", "FRE", "FRDR", "FRDD", "FRDED", "FRDER", "FRDEE", "FSR", "FSD", "FRDSE",
};

static void say_letter(char letter)
{
	switch (letter) {
	case 'F': say_from(client, PS_MAIL_MX, 0); break;
	case 'R':
		say_rcpt(client, "ann@example.org");
		find_all();
		break;
	case 'D': ps_transactions_data(transactions, client); break;
	case 'E': say_end(0, true); break;
	case 'S': ps_transactions_reset(transactions, client); break;
	default: break;
	}
}

START_TEST(what_is_not_in_order_is_refused)
{
	size_t before = 0;

	for (const char *at = disorders[_i]; *at; at++) {
		before = reply_count;
		say_letter(*at);
	}
	ck_assert_uint_eq(reply_count, before + 1);
	ck_last(503, "5.5.1");
}
END_TEST

START_TEST(data_waits_for_the_answers_to_rcpt)
{
	say_from(client, PS_MAIL_MX, 0);
	say_rcpt(client, "ann@example.org");
	find_all();
	say_rcpt(client, "bob@example.org");
	ps_transactions_data(transactions, client);
	ck_last(503, "5.5.1");
	ck_assert_int_eq(given, -1);
}
END_TEST

START_TEST(mail_drops_what_was_open)
{
	struct ps_client again = client;

	say_from(client, PS_MAIL_MX, 0);
	say_rcpt(client, "ann@example.org");
	again.turn++;
	say_from(again, PS_MAIL_MX, 0);
	ck_last(250, "2.1.0");
	ck_assert_uint_eq(replies[reply_count - 1].client.turn, 2);
	ck_assert_str_ne(replies[0].id, replies[1].id);
	find_all(); /* the answer to the former one's */
	ck_assert_uint_eq(reply_count, 2);
	/* And what it says late of the former one is nothing to the new one. */
	say_rcpt(client, "ann@example.org");
	ck_last(503, "5.5.1");
	ps_transactions_reset(transactions, client);
	say_rcpt(again, "ann@example.org");
	find_all();
	ck_last(250, "2.1.5");
}
END_TEST

START_TEST(sessions_are_told_apart)
{
	struct ps_client other_front = client, other_number = client;

	other_front.front++;
	other_number.number += 1024; /* in the same slot */
	say_from(client, PS_MAIL_MX, 0);
	say_rcpt(other_front, "ann@example.org");
	ck_last(503, "5.5.1");
	ck_assert_uint_eq(replies[1].client.front, 2);
	say_rcpt(other_number, "ann@example.org");
	ck_last(503, "5.5.1");
	ps_transactions_reset(transactions, other_front);
	ps_transactions_drop_front(transactions, 2);
	say_rcpt(client, "ann@example.org");
	find_all();
	ck_last(250, "2.1.5");
}
END_TEST

START_TEST(a_front_that_goes_takes_its_transactions_along)
{
	say_from(client, PS_MAIL_MX, 0);
	say_rcpt(client, "ann@example.org");
	ps_transactions_drop_front(transactions, client.front);
	reply_count = 0;
	find_all();
	ck_assert_uint_eq(reply_count, 0);
	say_rcpt(client, "ann@example.org");
	ck_last(503, "5.5.1");
}
END_TEST

START_TEST(what_is_being_delivered_is_delivered_though_the_client_has_gone)
{
	take(PS_MAIL_MX, 2);
	if (_i == 0)
		ps_transactions_reset(transactions, client);
	else
		ps_transactions_drop_front(transactions, client.front);
	find_all();
	ck_assert_uint_eq(delivery_count, 2);
	delivered(0, 0);
	delivered(1, PS_E_FULL);
	ck_assert_uint_eq(reply_count, 0);
	say_from(client, PS_MAIL_MX, 0); /* another of the same number */
	ck_last(250, "2.1.0");
}
END_TEST

START_TEST(auth_that_is_not_there_is_a_failure_for_now)
{
	auth_is_there = false;
	say_from(client, PS_MAIL_MX, 0);
	say_rcpt(client, "ann@example.org");
	ck_last(451, "4.3.0");
}
END_TEST

START_TEST(auth_that_goes_is_a_failure_for_now)
{
	uint32_t mail = MAIL;

	say_from(client, PS_MAIL_MX, 0);
	say_rcpt(client, "ann@example.org");
	ps_local_lost(local, &mail);
	ck_assert_uint_eq(reply_count, 1);
	ps_local_lost(local, NULL);
	ck_last(451, "4.3.0");
	found(0, PS_LOOKUP_FOUND); /* too late */
	ck_assert_uint_eq(reply_count, 2);
}
END_TEST

START_TEST(auth_that_goes_before_the_delivery_is_a_failure_for_now)
{
	take(PS_MAIL_MX, 40);
	auth_is_there = false;
	ps_local_lost(local, NULL);
	ck_assert_uint_eq(reply_count, 0);
	wait_long();
	ck_assert_uint_eq(reply_count, 1);
	ck_last(451, "4.3.0");
}
END_TEST

START_TEST(a_mail_process_that_is_not_there_is_a_failure_for_now)
{
	mail_is_there = false;
	take(_i == 0 ? PS_MAIL_MX : PS_MAIL_LMTP, 40); /* more than are under way at a time, and all fail at once */
	find_all();
	ck_assert_uint_eq(reply_count, 0);
	wait_long();
	ck_assert_uint_eq(reply_count, _i == 0 ? 1 : 40);
	ck_last(451, "4.3.0");
}
END_TEST

START_TEST(a_mail_process_that_goes_is_tried_again)
{
	uint32_t mail = MAIL, other = MAIL + 1;

	take(PS_MAIL_MX, 2);
	find_all();
	delivered(1, 0);
	ps_local_lost(local, &other);
	ps_local_lost(local, &mail);
	delivered(0, 0); /* of the one that went */
	ck_assert_uint_eq(reply_count, 0);
	mail_is_there = _i == 0;
	ps_transactions_tick(transactions, ps_monotonic_ms());
	find_all();
	if (_i == 0) {
		ck_assert_uint_eq(delivery_count, 3);
		ck_assert_str_eq(deliveries[2].user, deliveries[0].user);
		ck_assert_str_eq(deliveries[2].token, deliveries[0].token);
		delivered(2, 0);
		ck_last(250, "2.0.0");
	} else {
		ck_assert_uint_eq(reply_count, 0);
		wait_long();
		ck_last(451, "4.3.0");
	}
	ck_assert_uint_eq(reply_count, 1);
}
END_TEST

START_TEST(a_user_who_is_removed_meanwhile_is_a_failure_for_now)
{
	take(PS_MAIL_MX, 1);
	found(1, PS_LOOKUP_UNKNOWN);
	ck_last(451, "4.3.0");
	ck_assert_uint_eq(delivery_count, 0);
}
END_TEST

START_TEST(not_all_recipients_are_served_at_once)
{
	take(PS_MAIL_MX, 100);
	find_all();
	ck_assert_uint_eq(delivery_count, 16);
	for (size_t i = 0; i < 100; i++) {
		ck_assert_uint_eq(reply_count, 0);
		ck_assert_uint_lt(i, delivery_count);
		delivered(i, 0);
		find_all();
	}
	ck_assert_uint_eq(delivery_count, 100);
	ck_assert_uint_eq(reply_count, 1);
	ck_last(250, "2.0.0");
}
END_TEST

START_TEST(a_thousand_recipients_and_no_more)
{
	say_from(client, PS_MAIL_MX, 0);
	for (int i = 0; i < 1000; i++) {
		say_rcpt(client, "ann@example.org");
		find_all();
		ck_last(250, "2.1.5");
	}
	say_rcpt(client, "ann@example.org");
	ck_last(452, "4.5.3");
}
END_TEST

START_TEST(what_is_declared_too_large_is_refused_at_once)
{
	say_from(client, PS_MAIL_MX, 1025);
	ck_last(552, "5.3.4");
	say_rcpt(client, "ann@example.org");
	ck_last(503, "5.5.1");
	say_from(client, PS_MAIL_MX, 1024);
	ck_last(250, "2.1.0");
}
END_TEST

/* What is written, what the front says of it, the answer. */
static const struct {
	size_t written;
	uint64_t size;
	bool whole;
	unsigned code;
	const char *enhanced;
} bodies[] = {
	{1024, 1024, true, 0, ""},         {10, 10, false, 452, "4.3.1"}, /* the disk was full */
	{10, 11, true, 452, "4.3.1"},                                     /* less was written than it says */
	{11, 10, true, 452, "4.3.1"},                                     /* or more */
	{1025, 1025, true, 552, "5.3.4"},                                 /* more than is allowed */
	{1024, 5000, false, 552, "5.3.4"},                                /* it was not written on beyond the limit */
};

START_TEST(the_message_is_what_the_front_says_it_is)
{
	const size_t count = PS_ARRAY_LEN(bodies); /* first without a file, then with one */
	struct ps_msg_mail_end end = {.size = bodies[_i % count].size, .whole = bodies[_i % count].whole};
	char octets[1025] = {0};

	say_from(client, PS_MAIL_MX, 0);
	say_rcpt(client, "ann@example.org");
	find_all();
	ps_transactions_data(transactions, client);
	if ((size_t)_i < count) {
		end.octets = ps_bytes(octets, bodies[_i].written);
	} else {
		ps_transactions_room(transactions, client);
		ck_assert_int_eq(write(given, octets, bodies[_i % count].written), (ssize_t)bodies[_i % count].written);
	}
	reply_count = 0;
	ps_transactions_end(transactions, client, &end);
	if (bodies[_i % count].code) {
		ck_last(bodies[_i % count].code, bodies[_i % count].enhanced);
		say_end(0, true);
		ck_last(503, "5.5.1");
	} else {
		ck_assert_uint_eq(reply_count, 0);
		find_all();
		ck_assert_uint_eq(delivery_count, 1);
	}
}
END_TEST

START_TEST(a_spool_without_room_is_a_failure_for_now)
{
	ck_assert_int_eq(rmdir(dir), 0);
	say_from(client, PS_MAIL_MX, 0);
	say_rcpt(client, "ann@example.org");
	find_all();
	ps_transactions_data(transactions, client);
	ck_last(354, "");
	ps_transactions_room(transactions, client);
	ck_assert_uint_eq(files_given, 1);
	ck_assert_int_eq(given, -1);
	say_end(1000, false);
	ck_last(452, "4.3.1");
	ck_assert_int_eq(mkdir(dir, 0700), 0);
}
END_TEST

START_TEST(a_front_gets_one_file_and_not_before_it_may_write)
{
	say_from(client, PS_MAIL_MX, 0);
	say_rcpt(client, "ann@example.org");
	find_all();
	ps_transactions_room(transactions, client);
	ck_assert_uint_eq(files_given, 0);
	ps_transactions_data(transactions, client);
	ck_assert_uint_eq(files_given, 0);
	ps_transactions_room(transactions, client);
	ps_transactions_room(transactions, client);
	ck_assert_uint_eq(files_given, 1);
	ck_assert_int_ge(given, 0);
}
END_TEST

/* Neither the front that sent it nor a mail process that gets it. */
START_TEST(nobody_changes_a_small_message)
{
	char octets[8] = "";

	take(PS_MAIL_MX, 1);
	find_all();
	ck_assert_uint_eq(files_given, 0);
	ck_assert_int_eq(pread(deliveries[0].file, octets, sizeof octets, 0), sizeof octets);
	ck_assert_mem_eq(octets, "Subject:", sizeof octets);
	ck_assert_int_eq(pwrite(deliveries[0].file, "x", 1, 0), -1);
	ck_assert_int_eq(ftruncate(deliveries[0].file, 0), -1);
}
END_TEST

START_TEST(the_file_has_no_name_and_goes_with_the_transaction)
{
	struct stat st;

	say_from(client, PS_MAIL_MX, 0);
	say_rcpt(client, "ann@example.org");
	find_all();
	ps_transactions_data(transactions, client);
	ps_transactions_room(transactions, client);
	ck_assert_int_eq(fstat(given, &st), 0);
	ck_assert_uint_eq(st.st_nlink, 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	ck_assert_int_eq(rmdir(dir), 0);
	ck_assert_int_eq(mkdir(dir, 0700), 0);
}
END_TEST

/* Who has logged in, with which key, in which session; who the mail is from. */
static const struct {
	const char *user, *sid, *reverse_path;
	bool other_key;
	unsigned code;
	const char *enhanced;
} submissions[] = {
	{"ann@example.org", "sid", "ann@example.org", false, 250, "2.1.0"},
	{"ann@example.org", "sid", "Ann@Example.ORG", false, 250, "2.1.0"},
	{"ann@example.org", "sid", "", false, 250, "2.1.0"},
	{"ann@example.org", "sid", "bob@example.org", false, 553, "5.7.1"},
	{"ann@example.org", "sid", "ann@example.org.example.com", false, 553, "5.7.1"},
	{"ann@example.org", "sie", "ann@example.org", false, 530, "5.7.0"},
	{"ann@example.org", "sid", "ann@example.org", true, 530, "5.7.0"},
	{NULL, "sid", "ann@example.org", false, 530, "5.7.0"},
};

START_TEST(who_submits_has_logged_in_and_sends_in_their_own_name)
{
	static const struct ps_ticket_key key = {{1}}, other = {{2}};
	struct ps_buf pass = {0};
	struct ps_msg_pass content = {.sid = submissions[_i].sid, .user = submissions[_i].user};
	struct ps_msg_mail_from from = {.sid = "sid",
					.source = PS_MAIL_SUBMISSION,
					.reverse_path = submissions[_i].reverse_path,
					.helo = "there",
					.remote = "192.0.2.1:1"};

	ps_transactions_set_key(transactions, ps_bytes(key.octets, sizeof key.octets));
	if (submissions[_i].user)
		ck_assert_ok(
			ps_pass_seal(submissions[_i].other_key ? &other : &key, &content, ps_monotonic_ms(), &pass));
	from.pass = ps_buf_view(&pass);
	ps_transactions_from(transactions, client, &from);
	ck_last(submissions[_i].code, submissions[_i].enhanced);
	ps_buf_finish(&pass);
}
END_TEST

START_TEST(a_pass_for_what_was_revoked_does_not_hold)
{
	static const struct ps_ticket_key key = {{1}};
	static const struct ps_hash mark = {{1, 2}}, other = {{3, 4}};
	const struct {
		const struct ps_hash *credential;
		unsigned code;
	} steps[] = {{&other, 250}, {&mark, 530}};
	struct ps_buf sealed = {0};
	struct ps_msg_pass pass = {.sid = "sid", .user = "ann@example.org", .credential = ps_credential_octets(&mark)};
	struct ps_msg_mail_from from = {.sid = "sid",
					.source = PS_MAIL_SUBMISSION,
					.reverse_path = "ann@example.org",
					.helo = "there",
					.remote = "192.0.2.1:1"};

	ps_transactions_set_key(transactions, ps_bytes(key.octets, sizeof key.octets));
	ck_assert_ok(ps_pass_seal(&key, &pass, ps_monotonic_ms(), &sealed));
	from.pass = ps_buf_view(&sealed);
	for (size_t i = 0; i < PS_ARRAY_LEN(steps); i++) {
		struct ps_revocation revocation = {"ann@example.org", steps[i].credential, ps_monotonic_ms()};

		ps_transactions_revoke(transactions, &revocation);
		ps_transactions_from(transactions, client, &from);
		ck_last(steps[i].code, steps[i].code == 250 ? "2.1.0" : "5.7.0");
		ps_transactions_reset(transactions, client);
	}
	ps_buf_finish(&sealed);
}
END_TEST

/* The only message that an hour has room for: what is not taken over does not count. */
static struct ps_limits *limits;

static unsigned submit_one(void)
{
	static const struct ps_ticket_key key = {{1}};
	struct ps_msg_pass who = {.sid = "sid", .user = "ann@example.org"};
	struct ps_buf pass = {0};

	ps_transactions_set_key(transactions, ps_bytes(key.octets, sizeof key.octets));
	ck_assert_ok(ps_pass_seal(&key, &who, ps_monotonic_ms(), &pass));
	ps_transactions_from(transactions, client,
			     &(struct ps_msg_mail_from){.sid = "sid",
							.source = PS_MAIL_SUBMISSION,
							.reverse_path = "ann@example.org",
							.helo = "there",
							.remote = "192.0.2.1:1",
							.pass = ps_buf_view(&pass)});
	ps_buf_finish(&pass);
	say_rcpt(client, "bob@example.org");
	find_all();
	ps_transactions_data(transactions, client);
	return replies[reply_count - 1].code;
}

static void refuse_as_too_large(void)
{
	say_end(5000, true);
	ck_last(552, "5.3.4");
}

static void refuse_for_want_of_room(void)
{
	say_end(0, false);
	ck_last(452, "4.3.1");
}

static void refuse_as_the_mailbox_is_full(void)
{
	say_end(0, true);
	find_all();
	delivered(delivery_count - 1, PS_E_QUOTA);
	ck_last(552, "5.2.2");
}

static void go_away(void)
{
	ps_transactions_reset(transactions, client);
}

static void (*const refusals[])(void) = {refuse_as_too_large, refuse_for_want_of_room, refuse_as_the_mailbox_is_full,
					 go_away};

START_TEST(what_is_refused_after_data_does_not_count_for_a_users_limits)
{
	struct ps_config *one;

	ck_assert_ok(ps_config_read("test", ps_bytes_str("mail_root = /mail\nlimits { user_messages_per_hour = 1 }\n"),
				    NULL, &one));
	limits = ps_limits_create(ps_config_root(one), 10);
	ps_transactions_set_limits(transactions, limits);
	ck_assert_uint_eq(submit_one(), 354);
	refusals[_i]();
	ck_assert_uint_eq(submit_one(), 354);
	say_end(0, true);
	find_all();
	delivered(delivery_count - 1, 0);
	ck_last(250, "2.0.0");
	ck_assert_uint_eq(submit_one(), 450);
	ps_limits_destroy(limits);
	ps_config_destroy(one);
}
END_TEST

static size_t idle_count;

static void on_idle(void *arg)
{
	(void)arg;
	idle_count++;
}

START_TEST(what_is_whole_is_finished_before_the_end)
{
	struct ps_client other = {.front = 1, .number = 8, .turn = 1};

	take(PS_MAIL_MX, 1);
	find_all();
	say_from(other, PS_MAIL_MX, 0);
	ps_transactions_stop(transactions, on_idle, NULL);
	ck_assert_uint_eq(idle_count, 0);
	say_from(other, PS_MAIL_MX, 0);
	ck_last(451, "4.3.2");
	delivered(0, 0);
	ck_last(250, "2.0.0");
	ck_assert_uint_eq(idle_count, 1);
}
END_TEST

START_TEST(a_source_that_is_none_is_refused)
{
	say_from(client, (enum ps_mail_source)99, 0);
	ck_last(550, "5.7.1");
}
END_TEST

/* ---- aliases --------------------------------------------------------------------------------- */

/* Who a recipient leads to, and of whom auth knows. */
static const struct {
	const char *path, *unknown;
	unsigned code;
	const char *enhanced;
} ways[] = {
	{"team@example.org", "", 250, "2.1.5"},
	{"team@example.org", "ann@example.org", 250, "2.1.5"}, /* bob is enough */
	{"team@example.org", "ann@example.org bob@example.org", 550, "5.1.1"},
	{"team@example.org", "ann@example.org ?bob@example.org", 451, "4.3.0"},
	{"team@example.org", "?bob@example.org", 451, "4.3.0"}, /* he would not get it */
	{"ann+work@example.org", "ann+work@example.org", 250, "2.1.5"},
	{"ann+work@example.org", "ann+work@example.org ann@example.org", 550, "5.1.1"},
	{"away@example.org", "", 550, "5.7.1"}, /* there is no queue */
	{"both@example.org", "", 250, "2.1.5"},
};

/* Whether the name is in the list, with this sign before it. */
static bool is_in(const char *list, char sign, const char *name)
{
	for (const char *at = list; (at = strstr(at, name)); at++)
		if ((at == list ? ' ' : at[-1]) == sign)
			return true;
	return false;
}

START_TEST(a_recipient_is_there_if_somebody_behind_it_is)
{
	say_from(client, PS_MAIL_MX, 0);
	say_rcpt(client, ways[_i].path);
	for (size_t i = 0; i < lookup_count; i++) {
		if (is_in(ways[_i].unknown, '?', lookups[i].name))
			found(i, PS_LOOKUP_TEMPFAIL);
		else
			found(i, is_in(ways[_i].unknown, ' ', lookups[i].name) ? PS_LOOKUP_UNKNOWN : PS_LOOKUP_FOUND);
	}
	ck_last(ways[_i].code, ways[_i].enhanced);
	ck_assert_uint_eq(reply_count, 2);
}
END_TEST

START_TEST(an_alias_gives_each_a_copy_and_two_ways_to_one_give_one)
{
	say_from(client, PS_MAIL_MX, 0);
	say_rcpt(client, "team@example.org");
	find_all();
	say_rcpt(client, "me@example.org");
	find_all();
	say_rcpt(client, "ann+work@example.org");
	found(3, PS_LOOKUP_UNKNOWN); /* that very name */
	answered = 4;
	find_all();
	ps_transactions_data(transactions, client);
	say_end(0, true);
	find_all();
	ck_assert_uint_eq(delivery_count, 4);
	ck_assert_str_eq(deliveries[0].user, "ann@example.org");
	ck_assert_str_eq(deliveries[1].user, "bob@example.org");
	ck_assert_str_eq(deliveries[2].user, "ann@example.org");
	ck_assert_str_eq(deliveries[2].token, deliveries[0].token); /* her mail process drops it */
	ck_assert_str_eq(deliveries[3].user, "ann@example.org");
	ck_assert_str_eq(deliveries[3].mailbox, "work");
	ck_assert_str_ne(deliveries[3].token, deliveries[0].token);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("transactions");
	TCase *tc = tcase_create("transactions");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, a_message_is_in_the_mailbox_before_the_250);
	tcase_add_loop_test(tc, only_our_own_domains_are_taken_mail_for, 0, PS_ARRAY_LEN(paths));
	tcase_add_loop_test(tc, a_recipient_is_what_auth_says, 0, PS_ARRAY_LEN(statuses));
	tcase_add_loop_test(tc, where_there_is_a_limit_it_is_known_at_rcpt, 0, PS_ARRAY_LEN(rooms));
	tcase_add_loop_test(tc, who_cannot_tell_of_room_hinders_nobody, 0, 2);
	tcase_add_loop_test(tc, what_became_of_it_is_the_answer, 0, PS_ARRAY_LEN(ends));
	tcase_add_test(tc, without_lmtp_the_worst_is_the_answer);
	tcase_add_test(tc, lmtp_is_answered_for_each_in_their_order);
	tcase_add_loop_test(tc, what_is_not_in_order_is_refused, 0, PS_ARRAY_LEN(disorders));
	tcase_add_test(tc, data_waits_for_the_answers_to_rcpt);
	tcase_add_test(tc, mail_drops_what_was_open);
	tcase_add_test(tc, sessions_are_told_apart);
	tcase_add_test(tc, a_front_that_goes_takes_its_transactions_along);
	tcase_add_loop_test(tc, what_is_being_delivered_is_delivered_though_the_client_has_gone, 0, 2);
	tcase_add_test(tc, auth_that_is_not_there_is_a_failure_for_now);
	tcase_add_test(tc, auth_that_goes_is_a_failure_for_now);
	tcase_add_test(tc, auth_that_goes_before_the_delivery_is_a_failure_for_now);
	tcase_add_loop_test(tc, a_mail_process_that_is_not_there_is_a_failure_for_now, 0, 2);
	tcase_add_loop_test(tc, a_mail_process_that_goes_is_tried_again, 0, 2);
	tcase_add_test(tc, a_user_who_is_removed_meanwhile_is_a_failure_for_now);
	tcase_add_test(tc, not_all_recipients_are_served_at_once);
	tcase_add_test(tc, a_thousand_recipients_and_no_more);
	tcase_add_test(tc, what_is_declared_too_large_is_refused_at_once);
	tcase_add_loop_test(tc, the_message_is_what_the_front_says_it_is, 0, 2 * PS_ARRAY_LEN(bodies));
	tcase_add_test(tc, a_spool_without_room_is_a_failure_for_now);
	tcase_add_test(tc, a_front_gets_one_file_and_not_before_it_may_write);
	tcase_add_test(tc, nobody_changes_a_small_message);
	tcase_add_test(tc, the_file_has_no_name_and_goes_with_the_transaction);
	tcase_add_test(tc, a_pass_for_what_was_revoked_does_not_hold);
	tcase_add_loop_test(tc, who_submits_has_logged_in_and_sends_in_their_own_name, 0, PS_ARRAY_LEN(submissions));
	tcase_add_loop_test(tc, what_is_refused_after_data_does_not_count_for_a_users_limits, 0,
			    PS_ARRAY_LEN(refusals));
	tcase_add_test(tc, what_is_whole_is_finished_before_the_end);
	tcase_add_test(tc, a_source_that_is_none_is_refused);
	tcase_add_loop_test(tc, a_recipient_is_there_if_somebody_behind_it_is, 0, PS_ARRAY_LEN(ways));
	tcase_add_test(tc, an_alias_gives_each_a_copy_and_two_ways_to_one_give_one);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
