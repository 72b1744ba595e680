/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the front's connections share: a protocol made for this (a line is a command), functions in the place of the
 * other processes, and clients over TCP and TLS.
 */
#ifndef TESTS_NET_FRONT_UNIT_H
#define TESTS_NET_FRONT_UNIT_H
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

/* The mail process, as hand_over() names it. */
enum {
	HOLDER = 5
};

/* What hand_over() was given. */
static struct {
	int fd;
	uint64_t number;
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

static inline int toy_open(struct ps_session *s)
{
	if (!ps_session_is_back(s))
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
	uint32_t turn;
	enum ps_auth_status status;
	const char *data, *ticket;
};

static inline void give_answer(void *arg)
{
	struct answer *answer = arg;

	ps_front_auth_answer(
		front, answer->number, answer->turn,
		&(struct ps_front_auth){.status = answer->status,
					.data = ps_bytes_str(answer->data),
					.ticket = ps_bytes_str(answer->ticket),
					.user = answer->status == PS_AUTH_OK ? "alice@example.test" : NULL});
	free(answer);
}

static inline void answer_later(uint64_t number, uint32_t turn, enum ps_auth_status status, const char *data,
				const char *ticket)
{
	struct answer *answer = ps_zalloc(sizeof *answer);

	*answer = (struct answer){number, turn, status, data, ticket};
	ps_loop_post(fake.loop, give_answer, answer);
}

static inline void auth_start(void *arg, uint64_t number, uint32_t turn, struct ps_session *s, const char *mechanism,
			      struct ps_bytes initial)
{
	(void)arg;
	(void)s;
	ck_assert_str_eq(mechanism, "PLAIN");
	if (ps_bytes_eq_str(initial, "alice"))
		answer_later(number, turn, PS_AUTH_OK, "", "TICKET");
	else if (ps_bytes_eq_str(initial, "now"))
		ps_front_auth_answer(front, number, turn,
				     &(struct ps_front_auth){.status = PS_AUTH_OK, .ticket = ps_bytes_str("TICKET")});
	else if (ps_bytes_eq_str(initial, "ask"))
		answer_later(number, turn, PS_AUTH_CONTINUE, "what?", "");
	else if (!ps_bytes_eq_str(initial, "never"))
		answer_later(number, turn, PS_AUTH_FAILED, "", "");
}

static inline void auth_step(void *arg, uint64_t number, uint32_t turn, struct ps_bytes response)
{
	(void)arg;
	answer_later(number, turn, ps_bytes_eq_str(response, "right") ? PS_AUTH_OK : PS_AUTH_FAILED, "", "TICKET2");
}

static inline void auth_cancel(void *arg, uint64_t number, uint32_t turn)
{
	(void)arg;
	(void)number;
	(void)turn;
	atomic_fetch_add(&cancelled, 1);
}

static inline const char *mechanisms(void *arg, struct ps_session *s)
{
	(void)arg;
	return ps_session_plaintext_ok(s) ? "PLAIN LOGIN" : "NONE";
}

static inline void copy(char *to, size_t size, struct ps_bytes from)
{
	snprintf(to, size, "%.*s", (int)from.len, (const char *)from.ptr);
}

static inline int hand_over(void *arg, struct ps_session *s, const struct ps_front_handover *what, uint32_t *ret_holder)
{
	(void)arg;
	ck_assert_str_eq(what->protocol, "toy");
	if (atomic_load(&refuse_hand_over)) {
		close(what->fd);
		return ps_fail(PS_E_CLOSED, "no mail process");
	}
	over.fd = what->fd;
	over.number = what->number;
	copy(over.sid, sizeof over.sid, ps_bytes_str(ps_session_sid(s)));
	copy(over.ticket, sizeof over.ticket, what->ticket);
	copy(over.unread, sizeof over.unread, what->unread);
	copy(over.blob, sizeof over.blob, what->blob);
	*ret_holder = HOLDER;
	ck_assert_int_eq(write(over_pipe[1], "", 1), 1);
	return 0;
}

static inline int sign(void *arg, uint32_t key, unsigned algorithm, bool is_hash, struct ps_bytes data,
		       struct ps_buf *out)
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

static inline uint16_t listen_on(const char *name, bool implicit_tls, bool tls_available)
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

static inline int connect_plain(uint16_t port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
	return fd;
}

static inline void setup_with(const char *settings)
{
	ps_log_set_level(PS_LOG_ERROR);
	ck_assert_ok(ps_loop_create(&fake.loop));
	config = fake_config(settings);
	ck_assert_ok(ps_front_create(fake.loop, ps_config_root(config), &hooks, &front));
	ck_assert_ok(ps_front_set_certificate(front, &(struct tls_certificate){.pem = ps_buf_view(&keys[0].pem)}));
	plain_port = listen_on("plain", false, true);
	tls_port = listen_on("tls", true, true);
	bare_port = listen_on("bare", false, false);
	ck_assert_int_eq(pipe(over_pipe), 0);
	over.fd = -1;
	fake_loop_start(&fake);
}

/* Once: fixtures of cases run in one process. */
static inline void make_keys(void)
{
	if (keys[0].privkey)
		return;
	peer_key_make(&keys[0], GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), "one.test");
	peer_key_make(&keys[1], GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), "two.test");
}

static inline void setup(void)
{
	setup_with("");
	client = connect_plain(plain_port);
	client_expect(client, "hello\n");
}

static inline void stop_when_empty(void *arg)
{
	atomic_store(&emptied, 1);
	ps_loop_stop(arg);
}

static inline void stop(void *arg)
{
	ps_front_stop(front, stop_when_empty, arg);
}

static inline void teardown(void)
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

static inline void count(void *arg)
{
	*(unsigned *)arg = ps_front_connections(front);
}

static inline void await_connections(unsigned want)
{
	unsigned have = want + 1;

	for (int i = 0; i < PATIENCE_MS && have != want; i++) {
		fake_on_loop(&fake, count, &have);
		usleep(have == want ? 0 : 1000);
	}
	ck_assert_uint_eq(have, want);
}

static inline void await_hand_over(void)
{
	char c;

	client_wait(over_pipe[0], POLLIN);
	ck_assert_int_eq(read(over_pipe[0], &c, 1), 1);
}

static inline void start_tls_on(int fd, const char *alpn)
{
	peer_client_init(&tls_client, "NORMAL", alpn, NULL, 0);
	gnutls_transport_set_int(tls_client.session, fd);
	ck_tls(gnutls_handshake(tls_client.session));
}

static inline void tls_say(const char *text)
{
	ck_assert_int_eq(gnutls_record_send(tls_client.session, text, strlen(text)), (ssize_t)strlen(text));
}

static inline void tls_expect(const char *text)
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

static inline void tls_expect_end(void)
{
	char c;
	ssize_t n;

	do
		n = gnutls_record_recv(tls_client.session, &c, 1);
	while (n == GNUTLS_E_AGAIN);
	ck_assert_int_eq(n, 0); /* a proper end, with its message */
}

static inline int log_in_over_tls(const char *then)
{
	int fd = connect_plain(tls_port);

	start_tls_on(fd, NULL);
	tls_expect("hello\n");
	tls_say(then);
	await_hand_over();
	return fd;
}

static inline TCase *add_case(Suite *suite, const char *name)
{
	TCase *tcase = tcase_create(name);

	tcase_add_unchecked_fixture(tcase, make_keys, NULL);
	tcase_set_timeout(tcase, 30);
	suite_add_tcase(suite, tcase);
	return tcase;
}

#endif
