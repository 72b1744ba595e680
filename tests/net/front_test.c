/* SPDX-License-Identifier: MIT */
/*
 * Connections before log-in, over TCP and over TLS, with a protocol made for this (a line is a command) and functions
 * in the place of the other processes.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include "core/net/front.h"
#include "postern/log.h"
#include "tests/net/fake.h"
#include "tests/net/peer.h"

static struct fake_loop fake;
static struct ps_config *config;
static struct ps_front *front;
static struct peer_key keys[2];
static uint16_t plain_port, tls_port, bare_port;
static int client = -1;
static struct peer_client tls_client;
static atomic_int cancelled, refuse_hand_over, emptied;

/* What hand_over() was given. */
static struct {
	int fd;
	char sid[32], ticket[32], unread[256], blob[32];
} over;
static int over_pipe[2];

/* ---- a protocol ------------------------------------------------------------------------------- */

struct toy {
	bool authenticating;
	int turns;
};

static struct ps_wait for_line(void)
{
	return (struct ps_wait){.what = PS_WAIT_LINE};
}

static struct ps_wait toy_auth_reply(struct ps_session *s, struct toy *toy)
{
	struct ps_auth_reply reply = ps_session_auth_reply(s);

	switch (reply.status) {
	case PS_AUTH_OK: ps_session_hand_over(s, ps_bytes_str("tag")); return (struct ps_wait){.what = PS_WAIT_GONE};
	case PS_AUTH_CONTINUE:
		ps_session_printf(s, "+ %.*s\n", (int)reply.data.len, (const char *)reply.data.ptr);
		return for_line();
	default: break;
	}
	toy->authenticating = false;
	ps_session_printf(s, "failed\n");
	return for_line();
}

static struct ps_wait toy_command(struct ps_session *s, const char *verb, const char *arg)
{
	struct toy *toy = ps_session_state(s);

	if (strcmp(verb, "echo") == 0) {
		ps_session_printf(s, "echo %s\n", arg);
	} else if (strcmp(verb, "tls") == 0) {
		ps_session_printf(s, "%s %s %s\n", ps_session_is_tls(s) ? "tls" : "plain",
				  ps_session_tls_offered(s) ? "offered" : "not",
				  ps_session_plaintext_ok(s) ? "ok" : "refused");
	} else if (strcmp(verb, "starttls") == 0) {
		ps_session_printf(s, "go\n");
		ps_session_starttls(s);
		return (struct ps_wait){.what = PS_WAIT_REPLY};
	} else if (strcmp(verb, "login") == 0) {
		toy->authenticating = true;
		ps_session_auth_start(s, "PLAIN", ps_bytes_str(arg));
		return (struct ps_wait){.what = PS_WAIT_REPLY};
	} else if (strcmp(verb, "mechanisms") == 0) {
		ps_session_printf(s, "%s\n", ps_session_mechanisms(s));
	} else if (strcmp(verb, "turns") == 0) {
		toy->turns = 3;
		return (struct ps_wait){.what = PS_WAIT_TURN};
	} else if (strcmp(verb, "much") == 0) {
		for (int i = 0; i < 10000; i++)
			ps_session_printf(s, "%09d\n", i);
	} else if (strcmp(verb, "wake") == 0) {
		ps_session_wake(s);
		return (struct ps_wait){.what = PS_WAIT_LINE, .wakeable = true};
	} else if (strcmp(verb, "quit") == 0) {
		ps_session_printf(s, "good bye\n");
		return (struct ps_wait){.what = PS_WAIT_CLOSE};
	} else {
		ps_session_printf(s, "what?\n");
	}
	return for_line();
}

static struct ps_wait toy_line(struct ps_session *s, char *line)
{
	struct toy *toy = ps_session_state(s);
	char *arg = strchr(line, ' ');

	if (toy->authenticating) {
		toy->authenticating = strcmp(line, "*") != 0;
		if (toy->authenticating) {
			ps_session_auth_step(s, ps_bytes_str(line));
			return (struct ps_wait){.what = PS_WAIT_REPLY};
		}
		ps_session_auth_cancel(s);
		ps_session_printf(s, "cancelled\n");
		return for_line();
	}
	if (arg)
		*arg++ = '\0';
	return toy_command(s, line, arg ? arg : "");
}

static struct ps_wait toy_run(struct ps_session *s)
{
	struct toy *toy = ps_session_state(s);
	struct ps_bytes in = ps_session_input(s);
	ptrdiff_t lf = ps_bytes_find(in, '\n');
	char line[200];

	if (ps_session_timed_out(s)) {
		ps_session_printf(s, "too late\n");
		return for_line(); /* the driver closes all the same */
	}
	if (toy->authenticating && ps_session_auth_reply(s).status != PS_AUTH_CONTINUE)
		return toy_auth_reply(s, toy);
	if (toy->turns > 0) {
		ps_session_printf(s, "turn %d\n", toy->turns--);
		return toy->turns > 0 ? (struct ps_wait){.what = PS_WAIT_TURN} : for_line();
	}
	if (ps_session_woken(s))
		ps_session_printf(s, "woken\n");
	if (lf < 0 && in.len > 1000) {
		ps_session_printf(s, "too long: %zu\n", in.len);
		return (struct ps_wait){.what = PS_WAIT_CLOSE};
	}
	if (lf < 0)
		return for_line();
	snprintf(line, sizeof line, "%.*s", (int)lf, (const char *)in.ptr);
	ps_session_consume(s, (size_t)lf + 1);
	return toy_line(s, line);
}

static int toy_open(struct ps_session *s)
{
	ps_session_printf(s, "hello\n");
	return 0;
}

/* A challenge is told when run() is called for its answer; a line after it is the response. */
static struct ps_wait toy_run_front(struct ps_session *s)
{
	struct toy *toy = ps_session_state(s);

	if (toy->authenticating && ps_session_auth_reply(s).status == PS_AUTH_CONTINUE &&
	    ps_session_input(s).len == 0 && !ps_session_eof(s) && !ps_session_timed_out(s))
		return toy_auth_reply(s, toy);
	return toy_run(s);
}

static const struct ps_half toy_front = {.state_size = sizeof(struct toy), .open = toy_open, .run = toy_run_front};
static const struct ps_protocol toy_protocol = {
	.service = "toy", .front = &toy_front, .mail = &toy_front, .busy_text = "busy\n", .alpn = "toy"};

/* ---- the other processes ---------------------------------------------------------------------- */

struct answer {
	uint64_t number;
	enum ps_auth_status status;
	const char *data, *ticket;
};

static void give_answer(void *arg)
{
	struct answer *answer = arg;

	ps_front_auth_answer(front, answer->number, answer->status, ps_bytes_str(answer->data),
			     ps_bytes_str(answer->ticket));
	free(answer);
}

static void answer_later(uint64_t number, enum ps_auth_status status, const char *data, const char *ticket)
{
	struct answer *answer = ps_zalloc(sizeof *answer);

	*answer = (struct answer){number, status, data, ticket};
	ps_loop_post(fake.loop, give_answer, answer);
}

static void auth_start(void *arg, uint64_t number, struct ps_session *s, const char *mechanism, struct ps_bytes initial)
{
	(void)arg;
	(void)s;
	ck_assert_str_eq(mechanism, "PLAIN");
	if (ps_bytes_eq_str(initial, "alice"))
		answer_later(number, PS_AUTH_OK, "", "TICKET");
	else if (ps_bytes_eq_str(initial, "now"))
		ps_front_auth_answer(front, number, PS_AUTH_OK, ps_bytes_str(""), ps_bytes_str("TICKET"));
	else if (ps_bytes_eq_str(initial, "ask"))
		answer_later(number, PS_AUTH_CONTINUE, "what?", "");
	else if (!ps_bytes_eq_str(initial, "never"))
		answer_later(number, PS_AUTH_FAILED, "", "");
}

static void auth_step(void *arg, uint64_t number, struct ps_bytes response)
{
	(void)arg;
	answer_later(number, ps_bytes_eq_str(response, "right") ? PS_AUTH_OK : PS_AUTH_FAILED, "", "TICKET2");
}

static void auth_cancel(void *arg, uint64_t number)
{
	(void)arg;
	(void)number;
	atomic_fetch_add(&cancelled, 1);
}

static const char *mechanisms(void *arg, struct ps_session *s)
{
	(void)arg;
	return ps_session_plaintext_ok(s) ? "PLAIN LOGIN" : "NONE";
}

static void copy(char *to, size_t size, struct ps_bytes from)
{
	snprintf(to, size, "%.*s", (int)from.len, (const char *)from.ptr);
}

static int hand_over(void *arg, struct ps_session *s, const char *protocol, struct ps_bytes ticket, int fd,
		     struct ps_bytes unread, struct ps_bytes blob)
{
	(void)arg;
	ck_assert_str_eq(protocol, "toy");
	if (atomic_load(&refuse_hand_over)) {
		close(fd);
		return ps_fail(PS_E_CLOSED, "no mail process");
	}
	over.fd = fd;
	copy(over.sid, sizeof over.sid, ps_bytes_str(ps_session_sid(s)));
	copy(over.ticket, sizeof over.ticket, ticket);
	copy(over.unread, sizeof over.unread, unread);
	copy(over.blob, sizeof over.blob, blob);
	ck_assert_int_eq(write(over_pipe[1], "", 1), 1);
	return 0;
}

static int sign(void *arg, uint32_t key, unsigned algorithm, bool is_hash, struct ps_bytes data, struct ps_buf *out)
{
	(void)arg;
	return peer_sign(&keys[key], algorithm, is_hash, data, out);
}

static const struct ps_front_hooks hooks = {
	.auth_start = auth_start,
	.auth_step = auth_step,
	.auth_cancel = auth_cancel,
	.mechanisms = mechanisms,
	.hand_over = hand_over,
	.sign = sign,
};

/* ---- the fixture ------------------------------------------------------------------------------ */

static uint16_t listen_on(const char *name, bool implicit_tls, bool tls_available)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct ps_front_listener listener = {
		.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
		.name = name,
		.protocol = &toy_protocol,
		.protocol_name = "toy",
		.implicit_tls = implicit_tls,
		.tls_available = tls_available,
	};
	socklen_t size = sizeof address;

	ck_assert_int_eq(bind(listener.fd, (struct sockaddr *)&address, sizeof address), 0); /* any free port */
	ck_assert_int_eq(listen(listener.fd, 128), 0);
	ck_assert_int_eq(getsockname(listener.fd, (struct sockaddr *)&address, &size), 0);
	ck_assert_ok(ps_front_listen(front, &listener));
	return ntohs(address.sin_port);
}

static int connect_plain(uint16_t port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
	return fd;
}

static void setup_with(const char *settings)
{
	ps_log_set_level(PS_LOG_ERROR);
	ck_assert_ok(ps_loop_create(&fake.loop));
	config = fake_config(settings);
	ck_assert_ok(ps_front_create(fake.loop, ps_config_root(config), &hooks, &front));
	ck_assert_ok(ps_front_set_certificate(front, 0, ps_buf_view(&keys[0].pem)));
	plain_port = listen_on("plain", false, true);
	tls_port = listen_on("tls", true, true);
	bare_port = listen_on("bare", false, false);
	ck_assert_int_eq(pipe(over_pipe), 0);
	over.fd = -1;
	fake_loop_start(&fake);
}

/* Once: fixtures of cases run in one process. */
static void make_keys(void)
{
	if (keys[0].privkey)
		return;
	peer_key_make(&keys[0], GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), "one.test");
	peer_key_make(&keys[1], GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), "two.test");
}

static void setup(void)
{
	setup_with("");
	client = connect_plain(plain_port);
	client_expect(client, "hello\n");
}

static void stop_when_empty(void *arg)
{
	atomic_store(&emptied, 1);
	ps_loop_stop(arg);
}

static void stop(void *arg)
{
	ps_front_stop(front, stop_when_empty, arg);
}

static void teardown(void)
{
	if (tls_client.session)
		peer_client_finish(&tls_client);
	close(client);
	if (over.fd >= 0)
		close(over.fd);
	ps_loop_post(fake.loop, stop, fake.loop);
	pthread_join(fake.thread, NULL);
	ck_assert_uint_eq(ps_front_connections(front), 0);
	ps_front_destroy(front);
	ps_loop_destroy(fake.loop);
	ps_config_destroy(config);
}

static void count(void *arg)
{
	*(unsigned *)arg = ps_front_connections(front);
}

static void await_connections(unsigned want)
{
	unsigned have = want + 1;

	for (int i = 0; i < PATIENCE_MS && have != want; i++) {
		fake_on_loop(&fake, count, &have);
		usleep(have == want ? 0 : 1000);
	}
	ck_assert_uint_eq(have, want);
}

static void await_hand_over(void)
{
	char c;

	client_wait(over_pipe[0], POLLIN);
	ck_assert_int_eq(read(over_pipe[0], &c, 1), 1);
}

static void start_tls_on(int fd, const char *alpn)
{
	peer_client_init(&tls_client, "NORMAL", alpn, NULL, 0);
	gnutls_transport_set_int(tls_client.session, fd);
	ck_tls(gnutls_handshake(tls_client.session));
}

static void tls_say(const char *text)
{
	ck_assert_int_eq(gnutls_record_send(tls_client.session, text, strlen(text)), (ssize_t)strlen(text));
}

static void tls_expect(const char *text)
{
	size_t want = strlen(text), have = 0;
	char got[1000];

	while (have < want) {
		ssize_t n = gnutls_record_recv(tls_client.session, got + have, want - have);

		ck_assert_msg(n > 0 || n == GNUTLS_E_AGAIN, "expected \"%s\", got \"%.*s\" and %s", text, (int)have,
			      got, n == 0 ? "the end" : gnutls_strerror((int)n));
		have += n > 0 ? (size_t)n : 0;
	}
	got[have] = '\0';
	ck_assert_str_eq(got, text);
}

static void tls_expect_end(void)
{
	char c;
	ssize_t n;

	do
		n = gnutls_record_recv(tls_client.session, &c, 1);
	while (n == GNUTLS_E_AGAIN);
	ck_assert_int_eq(n, 0); /* a proper end, with its message */
}

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
	await_connections(0);
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

	setup_with("limits { preauth_timeout = 1s }\n");
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
	ck_assert_ok(ps_front_set_certificate(front, 0, ps_buf_view(&keys[1].pem)));
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

static int log_in_over_tls(const char *then)
{
	int fd = connect_plain(tls_port);

	start_tls_on(fd, NULL);
	tls_expect("hello\n");
	tls_say(then);
	await_hand_over();
	return fd;
}

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

static TCase *add_case(Suite *suite, const char *name)
{
	TCase *tcase = tcase_create(name);

	tcase_add_unchecked_fixture(tcase, make_keys, NULL);
	tcase_set_timeout(tcase, 30);
	suite_add_tcase(suite, tcase);
	return tcase;
}

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
