/* SPDX-License-Identifier: MIT */
/* Connections before log-in, over TCP and over TLS. */
#include "tests/net/front_unit.h"

/* ---- plain ------------------------------------------------------------------------------------ */

START_TEST(commands_are_answered_in_order)
{
	client_say(client, "echo 1\necho 2\nturns\nwake\necho 3\nquit\n");
	client_expect(client, "echo 1\necho 2\nturn 3\nturn 2\nturn 1\nwoken\necho 3\ngood bye\n");
	client_expect_end(client);
}
END_TEST

START_TEST(last_words_reach_a_client_that_sends_too_much)
{
	char line[150 * 1024];

	memset(line, 'x', sizeof line);
	client_send(client, line, sizeof line);
	client_expect(client, "too long: 65536\n");
	client_expect_end(client);
}
END_TEST

START_TEST(a_log_in_hands_over_socket_ticket_and_unread_input)
{
	client_say(client, _i ? "login now\nmore\nhal" : "login alice\nmore\nhal");
	await_hand_over();
	ck_assert_str_eq(over.ticket, "TICKET");
	ck_assert_str_eq(over.unread, "more\nhal");
	ck_assert_str_eq(over.blob, "tag");
	ck_assert_uint_eq(strlen(over.sid), 10);
	client_say(over.fd, "from mail\n");
	client_expect(client, "from mail\n");
	client_say(client, "to mail\n");
	client_expect(over.fd, "to mail\n");
	await_connections(1); /* it counts until mail says that it is over */
}
END_TEST

START_TEST(wrong_credentials_and_another_try)
{
	client_say(client, "login mallory\n");
	client_expect(client, "failed\n");
	client_say(client, "login ask\n");
	client_expect(client, "+ what?\n");
	client_say(client, "right\n");
	await_hand_over();
	ck_assert_str_eq(over.ticket, "TICKET2");
}
END_TEST

START_TEST(an_exchange_may_be_given_up)
{
	client_say(client, "login ask\n");
	client_expect(client, "+ what?\n");
	client_say(client, "*\necho on\n");
	client_expect(client, "cancelled\necho on\n");
	ck_assert_int_eq(atomic_load(&cancelled), 1);
}
END_TEST

START_TEST(no_mail_process_is_told_by_the_busy_text)
{
	ps_log_set_level(-1);
	atomic_store(&refuse_hand_over, 1);
	client_say(client, "login alice\n");
	client_expect(client, "busy\n");
	client_expect_end(client);
}
END_TEST

START_TEST(passwords_and_tls_are_offered_where_they_may)
{
	int bare = connect_plain(bare_port);

	client_say(client, "tls\nmechanisms\n");
	client_expect(client, "plain offered refused\nNONE\n");
	client_expect(bare, "hello\n");
	client_say(bare, "tls\n");
	client_expect(bare, "plain not refused\n");
	close(bare);
}
END_TEST

START_TEST(output_is_not_lost_on_a_client_that_reads_later)
{
	char line[16];

	client_say(client, "much\necho end\n");
	for (int i = 0; i < 10000; i++) {
		snprintf(line, sizeof line, "%09d\n", i);
		client_expect(client, line);
	}
	client_expect(client, "echo end\n");
}
END_TEST

START_TEST(a_stop_says_the_busy_text)
{
	ps_loop_post(fake.loop, stop, fake.loop);
	client_expect(client, "busy\n");
	client_expect_end(client);
	close(client);
	client = -1;
}
END_TEST

static void unlisten(void *arg)
{
	ps_front_unlisten(front, arg);
}

START_TEST(a_listener_goes_and_its_connections_stay)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(plain_port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char name[] = "plain";

	fake_on_loop(&fake, unlisten, name);
	ck_assert_int_lt(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
	close(fd);
	client_say(client, "echo on\n");
	client_expect(client, "echo on\n");
}
END_TEST

/* ---- limits ----------------------------------------------------------------------------------- */

START_TEST(one_address_has_so_many_connections_and_no_more)
{
	int more, again;

	setup_with("limits { connections_per_address = 2 }\n");
	client = connect_plain(plain_port);
	client_expect(client, "hello\n");
	again = connect_plain(plain_port);
	client_expect(again, "hello\n");
	more = connect_plain(plain_port);
	client_expect(more, "busy\n");
	client_expect_end(more);
	close(more);
	close(again);
	await_connections(1);
	more = connect_plain(plain_port);
	client_expect(more, "hello\n");
	close(more);
	teardown();
}
END_TEST

START_TEST(all_together_have_so_many_connections_and_no_more)
{
	int more;

	setup_with("front_processes = 1\nlimits { connections = 1 }\n");
	client = connect_plain(plain_port);
	client_expect(client, "hello\n");
	more = connect_plain(plain_port);
	client_expect(more, "busy\n");
	client_expect_end(more);
	close(more);
	teardown();
}
END_TEST

START_TEST(who_does_not_log_in_is_closed_however_busy)
{
	static const char *const before[] = {"", "echo x\n", "login never\n", "login ask\n"};

	setup_with("limits { preauth_timeout = 3s }\n");
	client = connect_plain(plain_port);
	client_expect(client, "hello\n");
	client_say(client, before[_i]);
	if (_i == 1)
		client_expect(client, "echo x\n");
	if (_i == 3)
		client_expect(client, "+ what?\n");
	client_expect(client, "too late\n");
	client_expect_end(client);
	close(client);
	client = -1;
	await_connections(0);
	ck_assert_int_eq(atomic_load(&cancelled), _i >= 2);
	teardown();
}
END_TEST

START_TEST(a_handshake_that_does_not_come_is_closed)
{
	setup_with("limits { tls_handshake_timeout = 1s }\n");
	client = connect_plain(tls_port);
	client_expect_end(client);
	close(client);
	client = -1;
	await_connections(0);
	teardown();
}
END_TEST

START_TEST(without_descriptors_accepting_waits_and_the_others_go_on)
{
	struct rlimit before, none;
	int late;

	setup();
	late = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	getrlimit(RLIMIT_NOFILE, &before);
	none = before;
	none.rlim_cur = (rlim_t)late + 1;
	ps_log_set_level(-1);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	ck_assert_int_eq(connect(late,
				 (struct sockaddr *)&(struct sockaddr_in){.sin_family = AF_INET,
									  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
									  .sin_port = htons(plain_port)},
				 sizeof(struct sockaddr_in)),
			 0);
	for (int i = 0; i < 3; i++) {
		client_say(client, "echo x\n");
		client_expect(client, "echo x\n");
	}
	client_say(client, "login alice\n"); /* a hand-over has its own */
	await_hand_over();
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	client_expect(late, "hello\n");
	close(late);
	teardown();
}
END_TEST

/* ---- TLS -------------------------------------------------------------------------------------- */

START_TEST(tls_from_the_first_octet)
{
	int fd = connect_plain(tls_port);

	start_tls_on(fd, "toy");
	tls_expect("hello\n");
	tls_say("tls\nmechanisms\nquit\n");
	tls_expect("tls not ok\nPLAIN LOGIN\ngood bye\n");
	tls_expect_end();
	close(fd);
}
END_TEST

START_TEST(tls_on_request)
{
	client_say(client, "starttls\n");
	client_expect(client, "go\n");
	start_tls_on(client, NULL);
	tls_say("tls\n");
	tls_expect("tls not ok\n");
}
END_TEST

START_TEST(what_comes_with_starttls_ends_the_connection)
{
	ps_log_set_level(-1);
	client_say(client, "starttls\necho injected\n");
	client_expect(client, "go\n");
	client_expect_end(client);
}
END_TEST

START_TEST(a_client_of_another_protocol_is_refused)
{
	int fd = connect_plain(tls_port);

	ps_log_set_level(-1);
	peer_client_init(&tls_client, "NORMAL", "http/1.1", NULL, 0);
	gnutls_transport_set_int(tls_client.session, fd);
	ck_assert_int_eq(gnutls_handshake(tls_client.session), GNUTLS_E_FATAL_ALERT_RECEIVED);
	ck_assert_int_eq(gnutls_alert_get(tls_client.session), GNUTLS_A_NO_APPLICATION_PROTOCOL);
	close(fd);
}
END_TEST

static void swap_certificate(void *arg)
{
	(void)arg;
	ck_assert_ok(ps_front_set_certificate(front, &(struct tls_certificate){.pem = ps_buf_view(&keys[1].pem)}));
}

START_TEST(a_new_certificate_is_for_new_handshakes)
{
	struct peer_key first = keys[0];
	int fd = connect_plain(tls_port), next;

	start_tls_on(fd, NULL);
	ck_assert(peer_client_sees(&tls_client, "one.test"));
	keys[0] = keys[1];
	fake_on_loop(&fake, swap_certificate, NULL);
	tls_expect("hello\n");
	tls_say("echo still\n");
	tls_expect("echo still\n");
	peer_client_finish(&tls_client);
	next = connect_plain(tls_port);
	start_tls_on(next, NULL);
	ck_assert(peer_client_sees(&tls_client, "two.test"));
	close(fd);
	close(next);
	keys[0] = first;
}
END_TEST

/* ---- the pump --------------------------------------------------------------------------------- */

START_TEST(after_log_in_octets_go_both_ways)
{
	int fd = log_in_over_tls("login alice\nmore\n");

	ck_assert_str_eq(over.unread, "more\n");
	client_say(over.fd, "tag OK\n");
	tls_expect("tag OK\n");
	tls_say("next\n");
	client_expect(over.fd, "next\n");
	client_say(over.fd, "BYE\n");
	close(over.fd);
	over.fd = -1;
	tls_expect("BYE\n");
	tls_expect_end();
	close(fd);
}
END_TEST

START_TEST(the_clients_end_reaches_mail_and_its_last_words_come_back)
{
	int fd = log_in_over_tls("login alice\n");

	tls_say("logout\n");
	gnutls_bye(tls_client.session, GNUTLS_SHUT_WR);
	client_expect(over.fd, "logout\n");
	client_expect_end(over.fd);
	client_say(over.fd, "BYE\n");
	close(over.fd);
	over.fd = -1;
	tls_expect("BYE\n");
	tls_expect_end();
	close(fd);
	await_connections(1);
}
END_TEST

START_TEST(a_client_that_vanishes_ends_mails_side)
{
	int fd = log_in_over_tls("login alice\n");

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
	close(fd); /* a reset */
	client_expect_end(over.fd);
	await_connections(1);
}
END_TEST

enum {
	BULK = 4 * 1000 * 1000
};

static uint8_t bulk_octet(size_t i)
{
	return (uint8_t)(i * 7 >> 5);
}

/* Mail's side: sends all, and then reads all, so both ways fill up. */
static void *bulk_mail(void *arg)
{
	uint8_t *data = ps_malloc(BULK);
	size_t have = 0, wrong = 0;

	(void)arg;
	for (size_t i = 0; i < BULK; i++)
		data[i] = bulk_octet(i);
	for (size_t at = 0; at < BULK;) {
		struct pollfd pfd = {.fd = over.fd, .events = POLLOUT};
		ssize_t n;

		poll(&pfd, 1, PATIENCE_MS);
		n = send(over.fd, data + at, BULK - at, MSG_NOSIGNAL);
		at += n > 0 ? (size_t)n : 0;
	}
	while (have < BULK) {
		struct pollfd pfd = {.fd = over.fd, .events = POLLIN};
		ssize_t n;

		poll(&pfd, 1, PATIENCE_MS);
		n = recv(over.fd, data + have, BULK - have, 0);
		ck_assert_int_ge(n, 0);
		have += (size_t)n;
	}
	for (size_t i = 0; i < BULK; i++)
		wrong += data[i] != bulk_octet(i);
	ck_assert_uint_eq(wrong, 0);
	free(data);
	return NULL;
}

static void *bulk_client(void *arg)
{
	uint8_t *data = arg;

	for (size_t at = 0; at < BULK;) {
		ssize_t n = gnutls_record_send(tls_client.session, data + at, BULK - at);

		ck_assert_int_gt(n, 0);
		at += (size_t)n;
	}
	return NULL;
}

START_TEST(much_goes_both_ways_at_once_and_arrives_whole)
{
	uint8_t *data = ps_malloc(BULK), *got = ps_malloc(BULK);
	pthread_t mail, sender;
	size_t have = 0;
	int fd = log_in_over_tls("login alice\n");

	for (size_t i = 0; i < BULK; i++)
		data[i] = bulk_octet(i);
	pthread_create(&mail, NULL, bulk_mail, NULL);
	pthread_create(&sender, NULL, bulk_client, data);
	usleep(50000); /* let both ways fill up; whether they do changes nothing that is checked */
	while (have < BULK) {
		ssize_t n = gnutls_record_recv(tls_client.session, got + have, BULK - have);

		ck_assert_int_gt(n, 0);
		have += (size_t)n;
	}
	ck_assert_mem_eq(got, data, BULK);
	pthread_join(sender, NULL);
	pthread_join(mail, NULL);
	free(data);
	free(got);
	close(fd);
}
END_TEST

START_TEST(a_client_that_reads_nothing_is_dropped_and_mail_told)
{
	struct pollfd pfd = {.events = 0};
	static const char much[64 * 1024];
	int fd;

	setup_with("limits { output_timeout = 1s }\n");
	fd = log_in_over_tls("login alice\n");
	fcntl(over.fd, F_SETFL, O_NONBLOCK);
	pfd.fd = over.fd;
	for (int i = 0; i < PATIENCE_MS && poll(&pfd, 1, 1) == 0; i++)
		while (send(over.fd, much, sizeof much, MSG_NOSIGNAL) > 0)
			;
	ck_assert(pfd.revents & POLLHUP);
	close(fd);
	teardown();
}
END_TEST

START_TEST(a_stop_leaves_those_who_have_logged_in)
{
	int fd = log_in_over_tls("login alice\n");

	fake_on_loop(&fake, stop, fake.loop);
	client_expect(client, "busy\n");
	client_say(over.fd, "still here\n");
	tls_expect("still here\n");
	ck_assert_int_eq(atomic_load(&emptied), 0);
	close(over.fd);
	over.fd = -1;
	tls_expect_end();
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("front");
	TCase *plain = add_case(suite, "plain"), *limits = add_case(suite, "limits"), *tls = add_case(suite, "tls");

	tcase_add_checked_fixture(plain, setup, teardown);
	tcase_add_test(plain, commands_are_answered_in_order);
	tcase_add_test(plain, last_words_reach_a_client_that_sends_too_much);
	tcase_add_loop_test(plain, a_log_in_hands_over_socket_ticket_and_unread_input, 0, 2);
	tcase_add_test(plain, wrong_credentials_and_another_try);
	tcase_add_test(plain, an_exchange_may_be_given_up);
	tcase_add_test(plain, no_mail_process_is_told_by_the_busy_text);
	tcase_add_test(plain, passwords_and_tls_are_offered_where_they_may);
	tcase_add_test(plain, output_is_not_lost_on_a_client_that_reads_later);
	tcase_add_test(plain, a_stop_says_the_busy_text);
	tcase_add_test(plain, a_listener_goes_and_its_connections_stay);
	tcase_add_test(limits, one_address_has_so_many_connections_and_no_more);
	tcase_add_test(limits, all_together_have_so_many_connections_and_no_more);
	tcase_add_loop_test(limits, who_does_not_log_in_is_closed_however_busy, 0, 4);
	tcase_add_test(limits, a_handshake_that_does_not_come_is_closed);
	tcase_add_test(limits, without_descriptors_accepting_waits_and_the_others_go_on);
	tcase_add_test(limits, a_client_that_reads_nothing_is_dropped_and_mail_told);
	tcase_add_checked_fixture(tls, setup, teardown);
	tcase_add_test(tls, tls_from_the_first_octet);
	tcase_add_test(tls, tls_on_request);
	tcase_add_test(tls, what_comes_with_starttls_ends_the_connection);
	tcase_add_test(tls, a_client_of_another_protocol_is_refused);
	tcase_add_test(tls, a_new_certificate_is_for_new_handshakes);
	tcase_add_test(tls, after_log_in_octets_go_both_ways);
	tcase_add_test(tls, the_clients_end_reaches_mail_and_its_last_words_come_back);
	tcase_add_test(tls, a_client_that_vanishes_ends_mails_side);
	tcase_add_test(tls, much_goes_both_ways_at_once_and_arrives_whole);
	tcase_add_test(tls, a_stop_leaves_those_who_have_logged_in);
	return unit_main(suite);
}
