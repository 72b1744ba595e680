/* SPDX-License-Identifier: MIT */
/* Sessions that come back from the mail process, and mail processes that would hand back what is not theirs. */
#include "tests/net/front_unit.h"

struct back {
	uint32_t holder;
	uint64_t number;
	int fd;
	const char *unread;
	int result;
};

static void give_back(void *arg)
{
	struct back *back = arg;

	back->result = ps_front_hand_back(front, back->holder, back->number, back->fd, ps_bytes_str(back->unread));
}

/* What mail was given last comes back. */
static int hand_back(const char *unread)
{
	struct back back = {HOLDER, over.number, over.fd, unread, 0};

	over.fd = -1; /* it may be handed over again before we are back */
	fake_on_loop(&fake, give_back, &back);
	return back.result;
}

static void say_over(void *arg)
{
	ps_front_over(front, *(uint32_t *)arg, over.number);
}

static void holder_goes(void *arg)
{
	ps_front_holder_gone(front, *(uint32_t *)arg);
}

/* A pair of sockets of somebody else's. */
static int stranger(void)
{
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	close(pair[1]);
	return pair[0];
}

/* ---- plain ------------------------------------------------------------------------------------ */

static void log_in(void)
{
	client_say(client, "login alice\n");
	await_hand_over();
}

START_TEST(a_plain_session_comes_back_and_goes_again)
{
	for (int i = 0; i < 5; i++) {
		log_in();
		client_say(over.fd, "bye\n");
		client_expect(client, "bye\n");
		ck_assert_int_eq(hand_back("echo un"), 0);
		client_say(client, "read\necho later\n");
		client_expect(client, "echo unread\necho later\n"); /* and nobody says hello */
		await_connections(1);
	}
}
END_TEST

START_TEST(it_counts_until_it_is_over)
{
	uint32_t holder = HOLDER, another = HOLDER + 1;

	log_in();
	fake_on_loop(&fake, say_over, &another);
	await_connections(1);
	fake_on_loop(&fake, say_over, &holder);
	await_connections(0);
	fake_on_loop(&fake, say_over, &holder); /* twice is once */
	ck_assert_int_eq(hand_back(""), 0);     /* and too late: it is closed */
	client_expect_end(client);
	await_connections(0);
}
END_TEST

START_TEST(a_process_that_goes_takes_its_sessions_along)
{
	uint32_t holder = HOLDER, another = HOLDER + 1;

	log_in();
	fake_on_loop(&fake, holder_goes, &another);
	await_connections(1);
	fake_on_loop(&fake, holder_goes, &holder);
	await_connections(0);
}
END_TEST

START_TEST(only_who_was_given_it_hands_it_back)
{
	struct back cases[] = {
		{HOLDER + 1, 0, -1, "echo evil\n", PS_E_ACCESS}, /* another process */
		{HOLDER, 0, -1, "echo evil\n", PS_E_ACCESS},     /* another socket */
	};
	int other = connect_plain(plain_port);

	ps_log_set_level(-1);
	client_expect(other, "hello\n");
	log_in();
	for (size_t i = 0; i < PS_ARRAY_LEN(cases); i++) {
		int expected = cases[i].result;

		cases[i].number = over.number;
		cases[i].fd = i == 0 ? dup(over.fd) : stranger();
		fake_on_loop(&fake, give_back, &cases[i]);
		ck_assert_int_eq(cases[i].result, expected);
	}
	/* Nor another's session, which is not with it: of those that are here, whatever their number. */
	for (uint64_t slot = 0; slot < 4; slot++) {
		struct back guess = {HOLDER, (uint64_t)1 << 32 | slot, dup(over.fd), "echo evil\n", 0};

		if (guess.number == over.number)
			guess.holder++;
		fake_on_loop(&fake, give_back, &guess);
	}
	client_say(other, "echo mine\n");
	client_expect(other, "echo mine\n");
	client_say(over.fd, "still with mail\n");
	client_expect(client, "still with mail\n");
	ck_assert_int_eq(hand_back(""), 0);
	client_say(client, "echo back\n");
	client_expect(client, "echo back\n");
	close(other);
}
END_TEST

START_TEST(a_front_that_stops_keeps_none_of_them)
{
	log_in();
	fake_on_loop(&fake, stop, fake.loop);
	pthread_join(fake.thread, NULL);
	ck_assert_int_eq(atomic_load(&emptied), 1);
	ck_assert_uint_eq(ps_front_connections(front), 0);
	pthread_create(&fake.thread, NULL, fake_loop_main, fake.loop); /* for the teardown */
}
END_TEST

/* ---- TLS -------------------------------------------------------------------------------------- */

START_TEST(a_tls_session_comes_back_and_goes_again)
{
	int fd = log_in_over_tls("login alice\n");

	for (int i = 0; i < 5; i++) {
		client_say(over.fd, "bye\n");
		ck_assert_int_eq(hand_back("echo un"), 0);
		tls_expect("bye\n");
		tls_say("read\ntls\necho later\n");
		tls_expect("echo unread\ntls not ok\necho later\n");
		tls_say("login alice\n");
		await_hand_over();
	}
	close(fd);
}
END_TEST

START_TEST(what_lies_in_the_pair_is_next)
{
	int fd = log_in_over_tls("login alice\n");
	char line[40];

	/* More than a session before log-in takes at once, and mail reads none of it. */
	for (int i = 0; i < 5000; i++) {
		snprintf(line, sizeof line, "echo %d\n", i);
		tls_say(line);
	}
	client_wait(over.fd, POLLIN);
	client_say(over.fd, "bye\n");
	ck_assert_int_eq(hand_back("echo first\n"), 0);
	tls_expect("bye\necho first\n");
	for (int i = 0; i < 5000; i++) {
		snprintf(line, sizeof line, "echo %d\n", i);
		tls_expect(line);
	}
	tls_say("quit\n");
	tls_expect("good bye\n");
	tls_expect_end();
	close(fd);
}
END_TEST

START_TEST(what_lies_in_the_pair_goes_along_to_the_next)
{
	int fd = log_in_over_tls("login alice\n");

	tls_say("echo one\nlogin alice\nfor mail\n");
	client_wait(over.fd, POLLIN);
	ck_assert_int_eq(hand_back(""), 0);
	tls_expect("echo one\n");
	await_hand_over();
	tls_say("more\n");
	if (strcmp(over.unread, "for mail\n") != 0)
		client_expect(over.fd, "for mail\n");
	client_expect(over.fd, "more\n");
	close(fd);
}
END_TEST

START_TEST(a_client_that_has_ended_is_seen_to_have)
{
	int fd = log_in_over_tls("login alice\n");

	tls_say("echo last\n");
	gnutls_bye(tls_client.session, GNUTLS_SHUT_WR);
	client_wait(over.fd, POLLIN);
	await_connections(2);
	ck_assert_int_eq(hand_back(""), 0);
	tls_expect("echo last\n");
	tls_expect_end();
	await_connections(1);
	close(fd);
}
END_TEST

START_TEST(of_tls_sessions_only_the_holder_hands_back)
{
	int fd = log_in_over_tls("login alice\n");
	struct back back = {HOLDER + 1, over.number, stranger(), "echo evil\n", 0};
	uint32_t holder = HOLDER;

	ps_log_set_level(-1);
	fake_on_loop(&fake, give_back, &back);
	ck_assert_int_eq(back.result, PS_E_ACCESS);
	back = (struct back){HOLDER, over.number, dup(client), "echo evil\n", 0};
	fake_on_loop(&fake, give_back, &back);
	ck_assert_int_eq(back.result, PS_E_ACCESS);
	client_say(over.fd, "still with mail\n");
	tls_expect("still with mail\n");
	fake_on_loop(&fake, holder_goes, &holder); /* who comes in its place */
	ck_assert_int_eq(hand_back("echo evil\n"), PS_E_ACCESS);
	tls_expect_end();
	close(fd);
}
END_TEST

START_TEST(a_front_that_stops_says_so_to_who_comes_back)
{
	int fd = log_in_over_tls("login alice\n");

	fake_on_loop(&fake, stop, fake.loop);
	client_expect(client, "busy\n");
	ck_assert_int_eq(hand_back("echo x\n"), 0);
	tls_expect("busy\n");
	tls_expect_end();
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("away");
	TCase *plain = add_case(suite, "plain"), *tls = add_case(suite, "tls");

	tcase_add_checked_fixture(plain, setup, teardown);
	tcase_add_test(plain, a_plain_session_comes_back_and_goes_again);
	tcase_add_test(plain, it_counts_until_it_is_over);
	tcase_add_test(plain, a_process_that_goes_takes_its_sessions_along);
	tcase_add_test(plain, only_who_was_given_it_hands_it_back);
	tcase_add_test(plain, a_front_that_stops_keeps_none_of_them);
	tcase_add_checked_fixture(tls, setup, teardown);
	tcase_add_test(tls, a_tls_session_comes_back_and_goes_again);
	tcase_add_test(tls, what_lies_in_the_pair_is_next);
	tcase_add_test(tls, what_lies_in_the_pair_goes_along_to_the_next);
	tcase_add_test(tls, a_client_that_has_ended_is_seen_to_have);
	tcase_add_test(tls, of_tls_sessions_only_the_holder_hands_back);
	tcase_add_test(tls, a_front_that_stops_says_so_to_who_comes_back);
	return unit_main(suite);
}
