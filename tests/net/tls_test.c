/* SPDX-License-Identifier: MIT */
/*
 * The TLS wrapper against a GnuTLS client, both in this thread, on a pair of sockets that carries one octet at a
 * time towards the server.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
#include "core/net/tls.h"
#include "tests/net/peer.h"

#define PRIORITY "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA:%SERVER_PRECEDENCE"

enum {
	RSA,
	ECDSA,
	ED25519,
	WILD,
	ANN,      /* a client's */
	TRICK,    /* one whose address has a NUL in it */
	STRANGER, /* a client's that is not believed */
	KEYS
};

static struct peer_key keys[KEYS];
static struct tls_context *context;
static struct peer_client client;
static struct tls *server;
static struct tls_server_args server_args;
static struct tls_settings settings = {.priority = PRIORITY, .resumption_s = 3600, .sign_arg = keys};
static int fds[2];       /* client, server */
static int server_state; /* of the handshake */
static struct ps_buf received;

static int sign(void *arg, uint32_t key, unsigned algorithm, bool is_hash, struct ps_bytes data, struct ps_buf *out)
{
	ck_assert_ptr_eq(arg, keys);
	ck_assert_uint_lt(key, KEYS);
	return peer_sign(&keys[key], algorithm, is_hash, data, out);
}

/* In place of the first octet of `text`: a certificate that no authority should sign, and some have. */
static void put_nul(struct ps_buf *pem, const char *text)
{
	gnutls_datum_t in = {pem->ptr, (unsigned)pem->len}, der, out;
	uint8_t *at;

	ck_tls(gnutls_pem_base64_decode2(NULL, &in, &der));
	at = memmem(der.data, der.size, text, strlen(text));
	ck_assert_ptr_nonnull(at);
	*at = '\0';
	ck_tls(gnutls_pem_base64_encode2("CERTIFICATE", &der, &out));
	ps_buf_reset(pem);
	ps_buf_append(pem, out.data, out.size);
	gnutls_free(der.data);
	gnutls_free(out.data);
}

static void setup_keys(void)
{
	const unsigned curve = GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1);

	peer_key_make(&keys[RSA], GNUTLS_PK_RSA, 2048, "rsa.test");
	peer_key_make(&keys[ECDSA], GNUTLS_PK_ECDSA, curve, "ecdsa.test");
	peer_key_make(&keys[ED25519], GNUTLS_PK_EDDSA_ED25519, 256, "ed25519.test");
	peer_key_make(&keys[WILD], GNUTLS_PK_EDDSA_ED25519, 256, "*.wild.test");
	peer_key_make_for(&keys[ANN], GNUTLS_PK_ECDSA, curve, "ann", "ann@example.test");
	peer_key_make_for(&keys[TRICK], GNUTLS_PK_ECDSA, curve, "trick", "ann@example.test|.evil.test");
	put_nul(&keys[TRICK].pem, "|.evil");
	peer_key_make_for(&keys[STRANGER], GNUTLS_PK_ECDSA, curve, "ann", "ann@example.test");
}

static void setup(void)
{
	settings.sign = sign;
	server_args = (struct tls_server_args){.alpn = NULL};
	ck_assert_ok(tls_context_create(&settings, NULL, &context));
	ck_assert(!tls_context_has_certificate(context));
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	server_state = PS_E_AGAIN;
}

static void teardown(void)
{
	if (client.session)
		peer_client_finish(&client);
	client = (struct peer_client){.session = NULL};
	tls_destroy(server);
	server = NULL;
	tls_context_unref(context);
	ps_buf_finish(&received);
	close(fds[0]);
	close(fds[1]);
}

/* For another connection with the same context. */
static void disconnect(void)
{
	peer_client_finish(&client);
	tls_destroy(server);
	close(fds[0]);
	close(fds[1]);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	server_state = PS_E_AGAIN;
}

static void use_key(int key)
{
	const struct tls_certificate certificate = {.key = (uint32_t)key, .pem = ps_buf_view(&keys[key].pem)};
	struct tls_context *with;

	ck_assert_ok(tls_context_with_certificate(context, &certificate, &with));
	tls_context_unref(context);
	context = with;
}

static void server_step(void)
{
	uint8_t data[100];
	ssize_t n;

	if (server_state == PS_E_AGAIN)
		server_state = tls_handshake(server);
	if (server_state != 0)
		return;
	while ((n = tls_recv(server, data, sizeof data)) > 0)
		ps_buf_append(&received, data, (size_t)n);
	if (n == PS_E_CLOSED)
		server_state = PS_E_CLOSED;
}

static ssize_t push_octets(gnutls_transport_ptr_t arg, const void *data, size_t len)
{
	const uint8_t *octets = data;

	(void)arg;
	for (size_t i = 0; i < len; i++) {
		if (send(fds[0], &octets[i], 1, MSG_NOSIGNAL) != 1)
			return -1;
		server_step();
	}
	return (ssize_t)len;
}

static ssize_t pull_octet(gnutls_transport_ptr_t arg, void *data, size_t len)
{
	ssize_t n = recv(fds[0], data, len > 0 ? 1 : 0, 0);

	(void)arg;
	if (n < 0)
		gnutls_transport_set_errno(client.session, errno);
	return n;
}

static ssize_t pull_many(gnutls_transport_ptr_t arg, void *data, size_t len)
{
	ssize_t n = recv(fds[0], data, len, 0);

	(void)arg;
	if (n < 0)
		gnutls_transport_set_errno(client.session, errno);
	return n;
}

static void connect_to(const char *priority, const char *alpn, const char *wanted_alpn, const char *name)
{
	peer_client_init(&client, priority, alpn, name, GNUTLS_NONBLOCK);
	gnutls_transport_set_push_function(client.session, push_octets);
	gnutls_transport_set_pull_function(client.session, pull_octet);
	server_args.alpn = wanted_alpn;
	ck_assert_ok(tls_create(context, fds[1], &server_args, &server));
}

/* The client's result. */
static int handshake(void)
{
	int r;

	for (int i = 0; i < 100000; i++) {
		r = gnutls_handshake(client.session);
		server_step();
		if (r != GNUTLS_E_AGAIN && r != GNUTLS_E_INTERRUPTED)
			return r;
	}
	return GNUTLS_E_TIMEDOUT;
}

static void say(const char *text)
{
	ck_assert_int_eq(gnutls_record_send(client.session, text, strlen(text)), (ssize_t)strlen(text));
	server_step();
}

static void hear(const char *text)
{
	char got[200];
	ssize_t n = GNUTLS_E_AGAIN;

	for (int i = 0; i < 100000 && (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED); i++)
		n = gnutls_record_recv(client.session, got, sizeof got - 1);
	ck_assert_msg(n >= 0, "%s", gnutls_strerror((int)n));
	got[n] = '\0';
	ck_assert_str_eq(got, text);
}

static void tell(const char *text)
{
	ck_assert_int_eq(tls_send(server, ps_bytes_str(text)), (ssize_t)strlen(text));
}

static const struct {
	int key;
	const char *priority;
	gnutls_protocol_t version;
} good[] = {
	{RSA, "NORMAL:-VERS-ALL:+VERS-TLS1.2", GNUTLS_TLS1_2},
	{RSA, "NORMAL:-VERS-ALL:+VERS-TLS1.2:-SIGN-ALL:+SIGN-RSA-SHA256", GNUTLS_TLS1_2},
	{RSA, "NORMAL:-VERS-ALL:+VERS-TLS1.3", GNUTLS_TLS1_3},
	{ECDSA, "NORMAL:-VERS-ALL:+VERS-TLS1.2", GNUTLS_TLS1_2},
	{ECDSA, "NORMAL:-VERS-ALL:+VERS-TLS1.3", GNUTLS_TLS1_3},
	{ED25519, "NORMAL:-VERS-ALL:+VERS-TLS1.2", GNUTLS_TLS1_2},
	{ED25519, "NORMAL:-VERS-ALL:+VERS-TLS1.3", GNUTLS_TLS1_3},
};

START_TEST(a_session_with_the_key_elsewhere_octet_by_octet)
{
	unsigned before;

	use_key(good[_i].key);
	before = keys[good[_i].key].signatures;
	connect_to(good[_i].priority, NULL, "imap", NULL);
	ck_tls(handshake());
	ck_assert_int_eq(server_state, 0);
	ck_assert_int_eq(gnutls_protocol_get_version(client.session), good[_i].version);
	ck_assert_uint_eq(keys[good[_i].key].signatures, before + 1);
	say("hello");
	ck_assert_bytes_eq(ps_buf_view(&received), "hello");
	tell("welcome");
	hear("welcome");
}
END_TEST

static const struct {
	const char *priority;
} refused[] = {
	{"NORMAL:-VERS-ALL:+VERS-TLS1.1:+SIGN-ALL:%ALLOW_SMALL_RECORDS"},
	{"NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+RSA"},
	{"NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+ANON-ECDH"},
};

START_TEST(old_versions_and_weak_key_exchange_are_refused)
{
	gnutls_anon_client_credentials_t anon;

	use_key(RSA);
	connect_to(refused[_i].priority, NULL, NULL, NULL);
	ck_tls(gnutls_anon_allocate_client_credentials(&anon));
	ck_tls(gnutls_credentials_set(client.session, GNUTLS_CRD_ANON, anon));
	ck_assert_int_lt(handshake(), 0);
	ck_assert_int_eq(server_state, PS_E_CLOSED);
	ck_assert_msg(strncmp(ps_last_error(), "TLS handshake: ", 15) == 0, "%s", ps_last_error());
	gnutls_anon_free_client_credentials(anon);
}
END_TEST

static const struct {
	const char *clients, *servers;
	bool ok;
} alpns[] = {
	{"imap", "imap", true},        {NULL, "imap", true},         {"http/1.1", "imap", false},
	{"esmtp", "smtp esmtp", true}, {"smtp", "smtp esmtp", true}, {"smtp esmtp", "smtp esmtp", false},
	{"imap", "smtp esmtp", false}, {"http/1.1", NULL, true}, /* the protocol has no name: the wish is ignored */
};

START_TEST(a_client_that_wants_another_protocol_is_refused)
{
	int r;

	use_key(ECDSA);
	connect_to("NORMAL", alpns[_i].clients, alpns[_i].servers, NULL);
	r = handshake();
	if (alpns[_i].ok) {
		ck_tls(r);
		ck_assert_int_eq(server_state, 0);
	} else {
		ck_assert_int_eq(r, GNUTLS_E_FATAL_ALERT_RECEIVED);
		ck_assert_int_eq(gnutls_alert_get(client.session), GNUTLS_A_NO_APPLICATION_PROTOCOL);
		ck_assert_int_eq(server_state, PS_E_CLOSED);
	}
}
END_TEST

static const struct {
	const char *asked, *shown;
} server_names[] = {
	{"rsa.test", "rsa.test"},       {"ecdsa.test", "ecdsa.test"}, {"a.wild.test", "a.wild.test"},
	{"A.Wild.Test", "a.wild.test"}, {"other.test", "rsa.test"}, /* that of the lowest slot: the client decides what it makes of it */
	{"a.b.wild.test", "rsa.test"},  {"wild.test", "rsa.test"},
};

START_TEST(the_name_that_is_asked_for_chooses_the_certificate)
{
	use_key(WILD);
	use_key(ECDSA);
	use_key(RSA);
	connect_to("NORMAL", NULL, NULL, server_names[_i].asked);
	ck_tls(handshake());
	if (server_names[_i].shown)
		ck_assert(peer_client_sees(&client, server_names[_i].shown));
}
END_TEST

START_TEST(a_slot_can_be_emptied)
{
	struct tls_context *with;

	use_key(RSA);
	use_key(ECDSA);
	ck_assert_ok(tls_context_with_certificate(context, &(struct tls_certificate){.key = RSA}, &with));
	tls_context_unref(context);
	context = with;
	connect_to("NORMAL", NULL, NULL, "rsa.test");
	ck_tls(handshake());
	ck_assert(peer_client_sees(&client, "ecdsa.test"));
}
END_TEST

START_TEST(a_certificate_that_stays_is_not_signed_by_again)
{
	unsigned before;

	use_key(RSA);
	before = keys[RSA].signatures;
	use_key(ECDSA);
	ck_assert_uint_eq(keys[RSA].signatures, before);
}
END_TEST

START_TEST(a_certificate_of_another_key_is_not_taken)
{
	struct tls_context *with = NULL;

	const struct tls_certificate others = {.key = RSA, .pem = ps_buf_view(&keys[ECDSA].pem)},
				     none = {.key = RSA, .pem = ps_bytes_str("no PEM")};

	ck_assert_int_eq(tls_context_with_certificate(context, &others, &with), PS_E_INVALID);
	ck_assert_int_eq(tls_context_with_certificate(context, &none, &with), PS_E_INVALID);
	ck_assert_ptr_null(with);
	ck_assert(!tls_context_has_certificate(context));
}
END_TEST

START_TEST(new_priorities_keep_the_certificates)
{
	struct tls_settings new = settings;
	struct tls_context *with;

	use_key(RSA);
	new.priority = "NORMAL:-VERS-ALL:+VERS-TLS1.3";
	ck_assert_ok(tls_context_create(&new, context, &with));
	tls_context_unref(context);
	context = with;
	connect_to("NORMAL:-VERS-ALL:+VERS-TLS1.2", NULL, NULL, NULL);
	ck_assert_int_lt(handshake(), 0);
	ck_assert(tls_context_has_certificate(context));
	new.priority = "NORMAL:+NONSENSE";
	ck_assert_int_eq(tls_context_create(&new, context, &with), PS_E_INVALID);
}
END_TEST

START_TEST(a_former_context_serves_until_its_sessions_end)
{
	use_key(RSA);
	connect_to("NORMAL", NULL, NULL, NULL);
	use_key(ECDSA); /* the handshake has its reference to what was before */
	ck_tls(handshake());
	ck_assert(peer_client_sees(&client, "rsa.test"));
}
END_TEST

START_TEST(renegotiation_is_refused)
{
	use_key(RSA);
	connect_to("NORMAL:-VERS-ALL:+VERS-TLS1.2", NULL, NULL, NULL);
	ck_tls(handshake());
	gnutls_handshake(client.session); /* sends another ClientHello */
	server_step();
	ck_assert_int_eq(server_state, PS_E_CLOSED);
	ck_assert_str_eq(ps_last_error(), "TLS: the other side wants to renegotiate");
}
END_TEST

START_TEST(a_flood_of_warnings_is_refused)
{
	use_key(RSA);
	connect_to("NORMAL:-VERS-ALL:+VERS-TLS1.2", NULL, NULL, NULL);
	ck_tls(handshake());
	for (int i = 0; i < 100 && server_state == 0; i++) {
		gnutls_alert_send(client.session, GNUTLS_AL_WARNING, GNUTLS_A_USER_CANCELED);
		server_step();
	}
	ck_assert_int_eq(server_state, PS_E_CLOSED);
}
END_TEST

/* Records that hold nothing but padding (RFC 8446 section 5.4). */
static void say_nothing(size_t padding)
{
	ssize_t n = gnutls_record_send2(client.session, "", 0, padding, 0);

	ck_assert(n == 0 || server_state != 0); /* it may give up in the middle of a record */
	server_step();
}

START_TEST(octets_that_mean_nothing_are_no_use_after_the_handshake_either)
{
	int i = 0;

	use_key(ECDSA);
	connect_to("NORMAL:-VERS-ALL:+VERS-TLS1.3", NULL, NULL, NULL);
	ck_tls(handshake());
	for (i = 0; i < 20; i++) { /* 120 KiB; what is of use in between starts the count anew */
		say_nothing(3000);
		say_nothing(3000);
		say("x");
	}
	ck_assert_int_eq(server_state, 0);
	ck_assert_uint_eq(received.len, 20);
	for (i = 0; i < 20 && server_state == 0; i++)
		say_nothing(8000);
	ck_assert_int_eq(server_state, PS_E_CLOSED);
	ck_assert_str_eq(ps_last_error(), "TLS: too much came before anything of use did");
	ck_assert_int_eq(i, 5); /* 32 KiB */
}
END_TEST

/* GnuTLS would wait for all of the message that it announces. */
START_TEST(a_hello_of_megabytes_is_not_gathered)
{
	uint8_t record[5 + 8000] = {22, 3, 1, 8000 >> 8, 8000 & 255, 1, 0xff, 0xff, 0xff, 3, 3};
	int i = 0;

	use_key(RSA);
	ck_assert_ok(tls_create(context, fds[1], &(struct tls_server_args){.alpn = NULL}, &server));
	while (i < 10 && server_state == PS_E_AGAIN) {
		ck_assert_int_eq(send(fds[0], record, sizeof record, MSG_NOSIGNAL), (ssize_t)sizeof record);
		server_step();
		memset(record + 5, 0, sizeof record - 5);
		i++;
	}
	ck_assert_int_eq(server_state, PS_E_CLOSED);
	ck_assert_int_gt(i, 1);
	peer_client_init(&client, "NORMAL", NULL, NULL, GNUTLS_NONBLOCK); /* for the teardown */
}
END_TEST

START_TEST(a_session_is_resumed_without_a_signature)
{
	gnutls_datum_t data;
	unsigned before;

	use_key(ECDSA);
	connect_to(_i ? "NORMAL:-VERS-ALL:+VERS-TLS1.2" : "NORMAL:-VERS-ALL:+VERS-TLS1.3", NULL, NULL, NULL);
	ck_tls(handshake());
	tell("x");
	hear("x"); /* the ticket of TLS 1.3 comes before */
	ck_tls(gnutls_session_get_data2(client.session, &data));
	disconnect();
	before = keys[ECDSA].signatures;
	connect_to(_i ? "NORMAL:-VERS-ALL:+VERS-TLS1.2" : "NORMAL:-VERS-ALL:+VERS-TLS1.3", NULL, NULL, NULL);
	ck_tls(gnutls_session_set_data(client.session, data.data, data.size));
	gnutls_free(data.data);
	ck_tls(handshake());
	ck_assert(gnutls_session_is_resumed(client.session));
	ck_assert_uint_eq(keys[ECDSA].signatures, before);
}
END_TEST

/* More than the socket takes: the sealed record waits, and nothing is lost or sent twice. */
/* The tickets of the first session, in a second one. */
static void come_again(const char *priority)
{
	gnutls_datum_t data;

	tell("x");
	hear("x"); /* the ticket of TLS 1.3 comes before */
	ck_tls(gnutls_session_get_data2(client.session, &data));
	disconnect();
	connect_to(priority, NULL, NULL, NULL);
	ck_tls(gnutls_session_set_data(client.session, data.data, data.size));
	gnutls_free(data.data);
}

static void set_ticket_key(struct tls_context *of, uint8_t octet)
{
	uint8_t key[TLS_TICKET_KEY_SIZE];

	memset(key, octet, sizeof key);
	tls_context_set_ticket_key(of, ps_bytes(key, sizeof key));
}

static const struct {
	uint8_t first, second; /* the key is changed in between */
	unsigned resumption_s;
	bool elsewhere; /* the second session is with another process */
	bool resumed;
} tickets[] = {
	{1, 1, 3600, false, true},
	{1, 1, 3600, true, true},
	{1, 2, 3600, false, false},
	{1, 1, 0, false, false},
};

START_TEST(tickets_are_good_for_all_who_have_the_key)
{
	const char *priority = _i & 1 ? "NORMAL:-VERS-ALL:+VERS-TLS1.2" : "NORMAL:-VERS-ALL:+VERS-TLS1.3";
	struct tls_settings own = settings;
	struct tls_context *first, *second;
	int n = _i / 2;

	tls_context_unref(context);
	own.resumption_s = tickets[n].resumption_s;
	ck_assert_ok(tls_context_create(&own, NULL, &first));
	ck_assert_ok(tls_context_create(&own, NULL, &second));
	context = first;
	use_key(ECDSA);
	set_ticket_key(context, tickets[n].first);
	connect_to(priority, NULL, NULL, NULL);
	ck_tls(handshake());
	if (tickets[n].elsewhere) {
		first = context;
		context = second;
		second = first;
		use_key(ECDSA);
	}
	set_ticket_key(context, tickets[n].second);
	come_again(priority);
	ck_tls(handshake());
	ck_assert_int_eq(gnutls_session_is_resumed(client.session) != 0, tickets[n].resumed);
	tls_context_unref(second);
}
END_TEST

static const struct {
	int key; /* -1: the client has none */
	bool needed, common_name;
	const char *user; /* NULL: nobody */
	bool refused;
} clients[] = {
	{ANN, false, false, "ann@example.test", false},
	{ANN, true, false, "ann@example.test", false},
	{ANN, true, true, "ann", false},
	{TRICK, true, false, NULL, false},
	{TRICK, true, true, "trick", false},
	{STRANGER, false, false, NULL, false},
	{STRANGER, true, false, NULL, true},
	{-1, false, false, NULL, false},
	{-1, true, false, NULL, true},
};

static void believe_clients(void)
{
	struct tls_settings own = settings;
	struct ps_buf pem = {0};
	struct tls_context *with;

	ps_buf_bytes(&pem, ps_buf_view(&keys[ANN].pem));
	ps_buf_bytes(&pem, ps_buf_view(&keys[TRICK].pem));
	own.clients = ps_buf_view(&pem);
	ck_assert_ok(tls_context_create(&own, context, &with));
	tls_context_unref(context);
	context = with;
	ps_buf_finish(&pem);
}

START_TEST(a_client_shows_its_certificate)
{
	const char *priority = _i & 1 ? "NORMAL:-VERS-ALL:+VERS-TLS1.2" : "NORMAL:-VERS-ALL:+VERS-TLS1.3";
	int n = _i / 2;

	use_key(ECDSA);
	believe_clients();
	server_args.asks_client = true;
	server_args.needs_client = clients[n].needed;
	server_args.client_is_common_name = clients[n].common_name;
	connect_to(priority, NULL, NULL, NULL);
	if (clients[n].key >= 0)
		peer_client_use(&client, &keys[clients[n].key]);
	handshake();
	ck_assert_int_eq(server_state, clients[n].refused ? PS_E_CLOSED : 0);
	if (clients[n].user)
		ck_assert_str_eq(tls_client_user(server), clients[n].user);
	else
		ck_assert_ptr_null(tls_client_user(server));
	if (clients[n].key != ANN)
		return;
	come_again(priority); /* what was shown before counts, as far as it still may */
	ck_tls(handshake());
	ck_assert(gnutls_session_is_resumed(client.session));
	ck_assert_str_eq(tls_client_user(server), clients[n].user);
}
END_TEST

/* STEKs that all listeners share must not make one of them do with less than it asks for. */
START_TEST(a_ticket_of_another_listener_has_no_certificate)
{
	const char *priority = _i & 1 ? "NORMAL:-VERS-ALL:+VERS-TLS1.2" : "NORMAL:-VERS-ALL:+VERS-TLS1.3";

	use_key(ECDSA);
	believe_clients();
	connect_to(priority, NULL, NULL, NULL);
	ck_tls(handshake());
	server_args.asks_client = server_args.needs_client = true;
	come_again(priority);
	handshake();
	ck_assert_int_eq(server_state, PS_E_CLOSED);
}
END_TEST

START_TEST(a_reader_slower_than_the_sender_gets_all)
{
	enum {
		SIZE = 3 * 1000 * 1000
	};
	uint8_t *data = malloc(SIZE), *got = malloc(SIZE);
	size_t sent = 0, have = 0;
	bool waited = false;

	for (size_t i = 0; i < SIZE; i++)
		data[i] = (uint8_t)(i * 31 >> 7);
	use_key(ECDSA);
	connect_to("NORMAL", NULL, NULL, NULL);
	gnutls_transport_set_pull_function(client.session, pull_many);
	ck_tls(handshake());
	while (have < SIZE) {
		ssize_t n;

		while (sent < SIZE && (n = tls_send(server, ps_bytes(data + sent, SIZE - sent))) > 0)
			sent += (size_t)n;
		waited |= tls_flush(server) == PS_E_AGAIN;
		while ((n = gnutls_record_recv(client.session, got + have, SIZE - have)) > 0)
			have += (size_t)n;
		ck_assert(n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED || have == SIZE);
	}
	ck_assert(waited);
	ck_assert_mem_eq(got, data, SIZE);
	free(data);
	free(got);
}
END_TEST

START_TEST(what_is_said_after_the_clients_end_still_goes_out)
{
	uint8_t c;

	use_key(RSA);
	connect_to("NORMAL", NULL, NULL, NULL);
	ck_tls(handshake());
	say("last");
	gnutls_bye(client.session, GNUTLS_SHUT_WR);
	ck_assert_int_eq(tls_recv(server, &c, 1), 0);
	ck_assert_bytes_eq(ps_buf_view(&received), "last");
	tell("and back");
	tls_bye(server);
	hear("and back");
	hear("");
}
END_TEST

START_TEST(an_end_without_the_closing_message_is_an_end)
{
	uint8_t c;

	use_key(RSA);
	connect_to("NORMAL", NULL, NULL, NULL);
	ck_tls(handshake());
	say("last");
	shutdown(fds[0], SHUT_WR);
	ck_assert_int_eq(tls_recv(server, &c, 1), 0);
	ck_assert_bytes_eq(ps_buf_view(&received), "last");
	ck_assert_int_eq(tls_send(server, ps_bytes_str("x")), PS_E_CLOSED);
	tls_bye(server);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tls");
	TCase *tcase = tcase_create("tls");

	tcase_add_unchecked_fixture(tcase, setup_keys, NULL);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, a_session_with_the_key_elsewhere_octet_by_octet, 0, PS_ARRAY_LEN(good));
	tcase_add_loop_test(tcase, old_versions_and_weak_key_exchange_are_refused, 0, PS_ARRAY_LEN(refused));
	tcase_add_loop_test(tcase, a_client_that_wants_another_protocol_is_refused, 0, PS_ARRAY_LEN(alpns));
	tcase_add_loop_test(tcase, the_name_that_is_asked_for_chooses_the_certificate, 0, PS_ARRAY_LEN(server_names));
	tcase_add_test(tcase, a_slot_can_be_emptied);
	tcase_add_test(tcase, a_certificate_that_stays_is_not_signed_by_again);
	tcase_add_test(tcase, a_certificate_of_another_key_is_not_taken);
	tcase_add_test(tcase, new_priorities_keep_the_certificates);
	tcase_add_test(tcase, a_former_context_serves_until_its_sessions_end);
	tcase_add_test(tcase, renegotiation_is_refused);
	tcase_add_test(tcase, a_flood_of_warnings_is_refused);
	tcase_add_test(tcase, octets_that_mean_nothing_are_no_use_after_the_handshake_either);
	tcase_add_test(tcase, a_hello_of_megabytes_is_not_gathered);
	tcase_add_loop_test(tcase, a_session_is_resumed_without_a_signature, 0, 2);
	tcase_add_loop_test(tcase, tickets_are_good_for_all_who_have_the_key, 0, 2 * PS_ARRAY_LEN(tickets));
	tcase_add_loop_test(tcase, a_client_shows_its_certificate, 0, 2 * PS_ARRAY_LEN(clients));
	tcase_add_loop_test(tcase, a_ticket_of_another_listener_has_no_certificate, 0, 2);
	tcase_add_test(tcase, a_reader_slower_than_the_sender_gets_all);
	tcase_add_test(tcase, what_is_said_after_the_clients_end_still_goes_out);
	tcase_add_test(tcase, an_end_without_the_closing_message_is_an_end);
	suite_add_tcase(suite, tcase);
	return unit_main(suite);
}
