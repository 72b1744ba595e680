/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <stdio.h>
#include "auth/sasl.h"
#include "auth/service.h"
#include "auth/throttle.h"
#include "core/config/config.h"
#include "tests/auth/scram_client.h"

#define BYTES(text) ps_bytes(text, sizeof(text) - 1)
/* the same in a table */
#define ROW(text)                                                                                                      \
	{                                                                                                              \
		(const uint8_t *)(text), sizeof(text) - 1                                                              \
	}
#define NONE ps_bytes(NULL, 0)

/* ---- delays ----------------------------------------------------------------------------------------- */

START_TEST(delays_begin_after_the_limit_and_grow_to_the_most)
{
	static const uint64_t expected[] = {0, 0, 0, 2000, 4000, 8000, 15000, 15000};
	struct ps_throttle *throttle = ps_throttle_create(3, 15000);

	for (size_t i = 0; i < PS_ARRAY_LEN(expected); i++) {
		ck_assert_uint_eq(ps_throttle_delay(throttle, ps_throttle_client("192.0.2.1:1000"), 5000), expected[i]);
		ps_throttle_failed(throttle, ps_throttle_client("192.0.2.1:2000"), 5000); /* the port does not matter */
	}
	ck_assert_uint_eq(ps_throttle_delay(throttle, ps_throttle_client("192.0.2.2:1000"), 5000), 0);
	ps_throttle_destroy(throttle);
}
END_TEST

START_TEST(failures_are_forgotten_with_time)
{
	struct ps_throttle *throttle = ps_throttle_create(4, 15000);

	for (int i = 0; i < 8; i++)
		ps_throttle_failed(throttle, ps_throttle_client("192.0.2.1:1"), 1000);
	ck_assert_uint_eq(ps_throttle_delay(throttle, ps_throttle_client("192.0.2.1:1"), 1000 + 59999), 15000);
	/* In the next minute the share of the former one fades. */
	ck_assert_uint_eq(ps_throttle_delay(throttle, ps_throttle_client("192.0.2.1:1"), 1000 + 60000), 15000);
	ck_assert_uint_eq(ps_throttle_delay(throttle, ps_throttle_client("192.0.2.1:1"), 1000 + 60000 + 31000), 0);
	ck_assert_uint_eq(ps_throttle_delay(throttle, ps_throttle_client("192.0.2.1:1"), 1000 + 500000), 0);
	ps_throttle_destroy(throttle);
}
END_TEST

START_TEST(one_ipv6_network_is_one_client)
{
	struct ps_throttle *throttle = ps_throttle_create(1, 15000);

	ps_throttle_failed(throttle, ps_throttle_client("[2001:db8:0:1::1]:1"), 1000);
	ck_assert_uint_gt(ps_throttle_delay(throttle, ps_throttle_client("[2001:db8:0:1:ffff::2]:1"), 1000), 0);
	ck_assert_uint_eq(ps_throttle_delay(throttle, ps_throttle_client("[2001:db8:0:2::1]:1"), 1000), 0);
	ps_throttle_failed(throttle, ps_throttle_client("nonsense"), 1000);
	ck_assert_uint_eq(ps_throttle_delay(throttle, ps_throttle_client("nonsense"), 1000), 0);
	ps_throttle_destroy(throttle);
}
END_TEST

START_TEST(a_limit_of_zero_is_none)
{
	struct ps_throttle *throttle = ps_throttle_create(0, 15000);

	for (int i = 0; i < 100; i++)
		ps_throttle_failed(throttle, ps_throttle_client("192.0.2.1:1"), 1000);
	ck_assert_uint_eq(ps_throttle_delay(throttle, ps_throttle_client("192.0.2.1:1"), 1000), 0);
	ps_throttle_destroy(throttle);
}
END_TEST

/* ---- SASL ------------------------------------------------------------------------------------------- */

static char long_text[2000];

static const struct {
	const char *mechanism;
	struct ps_bytes in[3];
	unsigned steps;
	enum ps_sasl_result last;
	const char *authzid, *authcid, *password;
} dialogues[] = {
	{"PLAIN", {ROW("\0user\0pass")}, 1, PS_SASL_PASSWORD, "", "user", "pass"},
	{"plain", {ROW("zid\0user\0pass")}, 1, PS_SASL_PASSWORD, "zid", "user", "pass"},
	{"PLAIN", {{NULL, 0}, ROW("\0user\0pass")}, 2, PS_SASL_PASSWORD, "", "user", "pass"},
	{"PLAIN", {ROW("")}, 1, PS_SASL_BAD, NULL, NULL, NULL},
	{"PLAIN", {ROW("user")}, 1, PS_SASL_BAD, NULL, NULL, NULL},
	{"PLAIN", {ROW("\0user")}, 1, PS_SASL_BAD, NULL, NULL, NULL},
	{"PLAIN", {ROW("\0user\0")}, 1, PS_SASL_BAD, NULL, NULL, NULL},
	{"PLAIN", {ROW("\0\0pass")}, 1, PS_SASL_BAD, NULL, NULL, NULL},
	{"PLAIN", {ROW("\0user\0pa\0ss")}, 1, PS_SASL_BAD, NULL, NULL, NULL},
	{"PLAIN", {{NULL, 0}, {NULL, 0}}, 2, PS_SASL_BAD, NULL, NULL, NULL},
	{"PLAIN", {{(const uint8_t *)long_text, sizeof long_text}}, 1, PS_SASL_BAD, NULL, NULL, NULL},
	{"LOGIN", {{NULL, 0}, ROW("user"), ROW("pass")}, 3, PS_SASL_PASSWORD, "", "user", "pass"},
	{"LOGIN", {ROW("user"), ROW("pass")}, 2, PS_SASL_PASSWORD, "", "user", "pass"},
	{"LOGIN", {{NULL, 0}, ROW(""), ROW("pass")}, 3, PS_SASL_BAD, NULL, NULL, NULL},
	{"LOGIN", {{NULL, 0}, ROW("user"), ROW("")}, 3, PS_SASL_BAD, NULL, NULL, NULL},
	{"LOGIN", {ROW("user"), ROW("pa\0ss")}, 2, PS_SASL_BAD, NULL, NULL, NULL},
	{"LOGIN", {ROW("user"), {(const uint8_t *)long_text, sizeof long_text}}, 2, PS_SASL_BAD, NULL, NULL, NULL},
};

static const struct ps_sasl_terms passwords = {.plaintext_ok = true, .serves = PS_SERVES_PASSWORD};

START_TEST(a_mechanism_goes_its_steps)
{
	struct ps_sasl sasl = {0};

	memset(long_text, 'x', sizeof long_text);
	ck_assert_ok(ps_sasl_start(&sasl, dialogues[_i].mechanism, &passwords, NULL));
	for (unsigned i = 0; i < dialogues[_i].steps; i++)
		ck_assert_int_eq(ps_sasl_step(&sasl, dialogues[_i].in[i]),
				 i + 1 < dialogues[_i].steps ? PS_SASL_CHALLENGE : dialogues[_i].last);
	if (dialogues[_i].last == PS_SASL_PASSWORD) {
		ck_assert(ps_bytes_eq_str(ps_buf_view(&sasl.authzid), dialogues[_i].authzid));
		ck_assert(ps_bytes_eq_str(ps_buf_view(&sasl.authcid), dialogues[_i].authcid));
		ck_assert(ps_bytes_eq_str(ps_buf_view(&sasl.password), dialogues[_i].password));
	}
	ps_sasl_finish(&sasl);
}
END_TEST

#define ALL_KINDS (PS_SERVES_PASSWORD | PS_SERVES_SCRAM_SHA_1 | PS_SERVES_SCRAM_SHA_256)

static const struct {
	struct ps_sasl_terms terms;
	const char *names;
} offers[] = {
	{{.plaintext_ok = true, .serves = PS_SERVES_PASSWORD}, "PLAIN LOGIN"},
	{{.plaintext_ok = false, .serves = PS_SERVES_PASSWORD}, ""},
	{{.plaintext_ok = false, .serves = ALL_KINDS}, "SCRAM-SHA-256 SCRAM-SHA-1"},
	{{.plaintext_ok = true, .serves = ALL_KINDS}, "SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN"},
	{{.plaintext_ok = true, .is_tls = true, .serves = PS_SERVES_PASSWORD | PS_SERVES_SCRAM_SHA_256},
	 "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN"},
	{{.plaintext_ok = true, .is_tls = true, .serves = ALL_KINDS},
	 "SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-1 PLAIN LOGIN"},
};

START_TEST(what_is_offered_is_what_may_be_used)
{
	static const char *const all[] = {"SCRAM-SHA-256-PLUS",
					  "SCRAM-SHA-256",
					  "SCRAM-SHA-1-PLUS",
					  "SCRAM-SHA-1",
					  "PLAIN",
					  "LOGIN",
					  "ANONYMOUS",
					  ""};
	struct ps_buf names = {0}, padded = {0}, wanted = {0};

	ps_sasl_put_names(&offers[_i].terms, &names);
	ck_assert_str_eq(ps_buf_cstr(&names), offers[_i].names);
	ps_buf_printf(&padded, " %s ", offers[_i].names);
	for (size_t i = 0; i < PS_ARRAY_LEN(all); i++) {
		struct ps_sasl sasl = {0};
		int r = ps_sasl_start(&sasl, all[i], &offers[_i].terms, NULL);

		ps_buf_reset(&wanted);
		ps_buf_printf(&wanted, " %s ", all[i]);
		ck_assert_int_eq(r == 0, *all[i] && strstr(ps_buf_cstr(&padded), ps_buf_cstr(&wanted)));
		ck_assert_int_eq(ps_sasl_is_bound(all[i]), strstr(all[i], "-PLUS") != NULL);
		ps_sasl_finish(&sasl);
	}
	ps_buf_finish(&names);
	ps_buf_finish(&padded);
	ps_buf_finish(&wanted);
}
END_TEST

/* RFC 7628 section 4.1, and the same as XOAUTH2. */
#define TOKEN "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
static const struct {
	const char *mechanism, *message;
	const char *token;
	const char *next; /* it does not hold, and this comes after the challenge */
	enum ps_sasl_result r;
} bearers[] = {
	{"OAUTHBEARER", "n,a=user@example.com,\1host=server.example.com\1port=143\1auth=Bearer " TOKEN "\1\1", TOKEN,
	 NULL, PS_SASL_TOKEN},
	{"XOAUTH2", "user=user@example.com\1auth=Bearer " TOKEN "\1\1", TOKEN, NULL, PS_SASL_TOKEN},
	{"OAUTHBEARER", "n,a=user@example.com,\1auth=Bearer " TOKEN "\1\1", TOKEN, "\1", PS_SASL_WRONG},
	{"XOAUTH2", "user=user@example.com\1auth=Bearer " TOKEN "\1\1", TOKEN, "", PS_SASL_WRONG},
	/* a second token does not help */
	{"OAUTHBEARER", "n,a=user@example.com,\1auth=Bearer x\1\1", "x", "n,,\1auth=Bearer " TOKEN "\1\1",
	 PS_SASL_WRONG},
	{"OAUTHBEARER", "n,a=user@example.com,\1auth=\1\1", NULL, NULL, PS_SASL_BAD},
	{"OAUTHBEARER", "n,a=user@example.com,\1auth=Bearer \1\1", NULL, NULL, PS_SASL_BAD},
	{"OAUTHBEARER", "n,a=user@example.com,\1auth=Bearer a b\1\1", NULL, NULL, PS_SASL_BAD},
	{"OAUTHBEARER", "n,a=us=er,\1auth=Bearer " TOKEN "\1\1", NULL, NULL, PS_SASL_BAD},
	{"OAUTHBEARER", "auth=Bearer " TOKEN "\1\1", NULL, NULL, PS_SASL_BAD},
	{"XOAUTH2", "auth=Bearer " TOKEN "\1\1", NULL, NULL, PS_SASL_BAD},
};

START_TEST(a_bearer_shows_a_token)
{
	struct ps_sasl_terms terms = {.plaintext_ok = true, .serves = PS_SERVES_TOKEN};
	struct ps_sasl sasl = {0};
	enum ps_sasl_result r;

	ck_assert_ok(ps_sasl_start(&sasl, bearers[_i].mechanism, &terms, NULL));
	r = ps_sasl_step(&sasl, ps_bytes_str(bearers[_i].message));
	if (r == PS_SASL_TOKEN) {
		ck_assert_bytes_eq(ps_buf_view(&sasl.token), bearers[_i].token);
		ck_assert_bytes_eq(ps_buf_view(&sasl.authzid), "user@example.com");
	}
	if (bearers[_i].next) {
		ck_assert_int_eq(r, PS_SASL_TOKEN);
		ps_sasl_refuse_token(&sasl);
		ck_assert_str_eq(ps_buf_cstr(&sasl.challenge), "{\"status\":\"invalid_token\"}");
		r = ps_sasl_step(&sasl, ps_bytes_str(bearers[_i].next));
	}
	ck_assert_int_eq(r, bearers[_i].r);
	ps_sasl_finish(&sasl);
}
END_TEST

START_TEST(the_configuration_may_leave_some_out)
{
	struct ps_config *config;
	struct ps_sasl_terms terms = {.plaintext_ok = true, .is_tls = true, .serves = ALL_KINDS};
	struct ps_sasl sasl = {0};
	struct ps_buf names = {0};

	ck_assert_ok(ps_config_read(
		"test", BYTES("mail_root = \"/srv/mail\"\nsasl_mechanisms = { \"plain\", \"SCRAM-SHA-256\" }\n"), NULL,
		&config));
	terms.conf = ps_config_root(config);
	ps_sasl_put_names(&terms, &names);
	ck_assert_str_eq(ps_buf_cstr(&names), "SCRAM-SHA-256 PLAIN");
	ck_assert_int_eq(ps_sasl_start(&sasl, "LOGIN", &terms, NULL), PS_E_NOTFOUND);
	ps_buf_finish(&names);
	ps_config_destroy(config);
}
END_TEST

START_TEST(no_password_mechanism_without_tls)
{
	static const struct ps_sasl_terms in_the_clear = {.serves = PS_SERVES_PASSWORD};
	struct ps_sasl sasl = {0};

	ck_assert_int_eq(ps_sasl_start(&sasl, "PLAIN", &in_the_clear, NULL), PS_E_ACCESS);
	ck_assert_int_eq(ps_sasl_start(&sasl, "ANONYMOUS", &passwords, NULL), PS_E_NOTFOUND);
}
END_TEST

/* ---- the service ------------------------------------------------------------------------------------ */

struct scene {
	struct ps_loop *loop;
	struct ps_config *config;
	struct ps_auth_service *service;
	unsigned answers, awaited;
	enum ps_auth_status status;
	uint64_t number;
	char user[64], data[128];
	struct ps_hash credential;
	unsigned revocations;
	char revoked[64]; /* whose, at last */
	bool all;         /* and whether all of theirs, too */
	struct ps_hash which;
};

static void on_revoked(void *arg, const char *user, const struct ps_hash *credential)
{
	struct scene *scene = arg;

	scene->revocations++;
	snprintf(scene->revoked, sizeof scene->revoked, "%s", user);
	scene->all |= !credential;
	if (credential)
		scene->which = *credential;
}

static void on_answer(void *arg, const struct ps_auth_answer *answer)
{
	struct scene *scene = arg;

	scene->status = answer->status;
	scene->number = answer->from.number;
	scene->credential = answer->credential;
	snprintf(scene->user, sizeof scene->user, "%s", answer->user ? answer->user->name : "");
	snprintf(scene->data, sizeof scene->data, "%.*s", (int)answer->data.len, (const char *)answer->data.ptr);
	if (++scene->answers == scene->awaited)
		ps_loop_stop(scene->loop);
}

static const char users[] = "alice:{PLAIN}pass\n"
			    "away:{PLAIN}pass::::::nologin\n"
			    "near:{PLAIN}pass::::::allow_nets=198.51.100.0/24\n"
			    "broken:{CRYPT}*\n";

static void load_users(struct scene *scene, struct ps_bytes text)
{
	struct ps_user_defaults defaults;
	struct ps_passwd_file *file;

	ps_user_defaults_from(ps_config_root(scene->config), 1, 1, &defaults);
	ck_assert_ok(ps_passwd_file_parse(text, "users", &defaults, &file));
	ps_auth_service_set_users(scene->service, file);
}

#define SETTINGS                                                                                                       \
	"mail_root = \"/srv/mail\"\ndefault_domain = \"example.test\"\nauth_workers = 1\n"                             \
	"limits { auth_failures_per_minute = 2 auth_delay_max = 1s }\n"

static void set_up_with(struct scene *scene, const char *settings)
{
	struct ps_auth_service_args args = {.answer = on_answer, .revoked = on_revoked, .arg = scene};

	*scene = (struct scene){.awaited = 1};
	ck_assert_ok(ps_config_read("test", ps_bytes_str(settings), NULL, &scene->config));
	ck_assert_ok(ps_loop_create(&scene->loop));
	args.loop = scene->loop;
	args.conf = ps_config_root(scene->config);
	ck_assert_ok(ps_auth_service_create(&args, &scene->service));
	load_users(scene, BYTES(users));
}

static void set_up(struct scene *scene)
{
	set_up_with(scene, SETTINGS);
}

static void tear_down(struct scene *scene)
{
	ps_auth_service_destroy(scene->service);
	ps_loop_destroy(scene->loop);
	ps_config_destroy(scene->config);
}

static void start(struct scene *scene, uint64_t number, const char *mechanism, struct ps_bytes initial)
{
	struct ps_auth_request request = {
		.from = {0, number, 0},
		.sid = "S",
		.service = "imap",
		.mechanism = mechanism,
		.remote = "192.0.2.1:1",
		.plaintext_ok = true,
		.initial = initial,
	};

	ps_auth_service_start(scene->service, &request);
}

static void run(struct scene *scene)
{
	while (scene->answers < scene->awaited) /* a stop before the run ends it too */
		ps_loop_run(scene->loop);
}

static const struct {
	struct ps_bytes plain;
	enum ps_auth_status status;
	const char *user, *data;
} logins[] = {
	{ROW("\0alice\0pass"), PS_AUTH_OK, "alice@example.test", ""},
	{ROW("\0ALICE@Example.Test\0pass"), PS_AUTH_OK, "alice@example.test", ""},
	{ROW("alice\0alice@example.test\0pass"), PS_AUTH_OK, "alice@example.test", ""},
	{ROW("bob\0alice\0pass"), PS_AUTH_FAILED, "", ""},
	{ROW("al/ice\0alice\0pass"), PS_AUTH_FAILED, "", ""},
	{ROW("\0alice\0Pass"), PS_AUTH_FAILED, "", ""},
	{ROW("\0nobody\0pass"), PS_AUTH_FAILED, "", ""},
	{ROW("\0../alice\0pass"), PS_AUTH_FAILED, "", ""},
	{ROW("\0alice@other.test\0pass"), PS_AUTH_FAILED, "", ""},
	{ROW("\0near\0pass"), PS_AUTH_FAILED, "", ""},
	{ROW("\0away\0pass"), PS_AUTH_REFUSED, "", "This account may not log in."},
	{ROW("\0away\0wrong"), PS_AUTH_FAILED, "", ""},
	{ROW("\0broken\0*"), PS_AUTH_TEMPFAIL, "", ""},
	{ROW("garbage"), PS_AUTH_FAILED, "", ""},
};

START_TEST(a_login_has_its_answer)
{
	struct scene scene;

	set_up(&scene);
	start(&scene, 7, "PLAIN", logins[_i].plain);
	run(&scene);
	ck_assert_int_eq(scene.status, logins[_i].status);
	ck_assert_uint_eq(scene.number, 7);
	ck_assert_str_eq(scene.user, logins[_i].user);
	ck_assert_str_eq(scene.data, logins[_i].data);
	tear_down(&scene);
}
END_TEST

START_TEST(an_exchange_of_several_steps)
{
	struct scene scene;

	set_up(&scene);
	scene.awaited = 3;
	start(&scene, 1, "LOGIN", NONE);
	ck_assert_int_eq(scene.status, PS_AUTH_CONTINUE);
	ck_assert_str_eq(scene.data, "Username:");
	ps_auth_service_step(scene.service, (struct ps_auth_from){0, 1, 0}, BYTES("alice"));
	ck_assert_str_eq(scene.data, "Password:");
	ps_auth_service_step(scene.service, (struct ps_auth_from){0, 1, 0}, BYTES("pass"));
	run(&scene);
	ck_assert_int_eq(scene.status, PS_AUTH_OK);
	/* It is over: another step belongs to nothing. */
	ps_auth_service_step(scene.service, (struct ps_auth_from){0, 1, 0}, BYTES("pass"));
	ck_assert_int_eq(scene.status, PS_AUTH_FAILED);
	tear_down(&scene);
}
END_TEST

START_TEST(fronts_with_the_same_number_are_kept_apart)
{
	struct scene scene;

	set_up(&scene);
	start(&scene, 1, "LOGIN", NONE);
	ps_auth_service_step(scene.service, (struct ps_auth_from){1, 1, 0}, BYTES("alice"));
	ck_assert_int_eq(scene.status, PS_AUTH_FAILED);
	ps_auth_service_drop_front(scene.service, 1);
	ps_auth_service_step(scene.service, (struct ps_auth_from){0, 1, 0}, BYTES("alice"));
	ck_assert_int_eq(scene.status, PS_AUTH_CONTINUE);
	ps_auth_service_drop_front(scene.service, 0);
	ps_auth_service_step(scene.service, (struct ps_auth_from){0, 1, 0}, BYTES("pass"));
	ck_assert_int_eq(scene.status, PS_AUTH_FAILED);
	tear_down(&scene);
}
END_TEST

START_TEST(a_cancelled_exchange_is_not_answered)
{
	struct scene scene;

	set_up(&scene);
	start(&scene, 1, "PLAIN", BYTES("\0alice\0pass"));
	ps_auth_service_cancel(scene.service, (struct ps_auth_from){0, 1, 0});
	start(&scene, 1, "PLAIN", BYTES("\0alice\0wrong"));
	ps_auth_service_cancel(scene.service, (struct ps_auth_from){0, 1, 0});
	start(&scene, 2, "PLAIN", BYTES("\0alice\0pass"));
	run(&scene);
	ck_assert_uint_eq(scene.number, 2);
	ck_assert_uint_eq(scene.answers, 1);
	ck_assert_int_eq(scene.status, PS_AUTH_OK);
	tear_down(&scene);
}
END_TEST

/* `users` with another first line. */
static const struct {
	const char *first; /* in the file that replaces the other */
	unsigned revocations;
	bool all;
} changes[] = {
	{"alice:{PLAIN}pass\n", 0, false},  {"alice:{PLAIN}pass:::::: home=/srv/mail/elsewhere\n", 0, false},
	{"alice:{PLAIN}other\n", 1, false}, {"alice:{PLAIN}pass::::::nologin\n", 2, true},
	{"alicia:{PLAIN}pass\n", 2, true},
};

START_TEST(what_a_new_file_changes_is_revoked)
{
	struct scene scene;
	struct ps_buf text = {0};

	set_up(&scene);
	start(&scene, 1, "PLAIN", BYTES("\0alice\0pass"));
	run(&scene);
	ck_assert_int_eq(scene.status, PS_AUTH_OK);
	ps_buf_str(&text, changes[_i].first);
	ps_buf_str(&text, strchr(users, '\n') + 1);
	load_users(&scene, ps_buf_view(&text));
	ck_assert_uint_eq(scene.revocations, changes[_i].revocations);
	if (scene.revocations) {
		ck_assert_str_eq(scene.revoked, "alice@example.test");
		ck_assert_int_eq(scene.all, changes[_i].all);
		ck_assert(ps_hash_eq(&scene.which, &scene.credential));
	}
	ps_buf_finish(&text);
	tear_down(&scene);
}
END_TEST

START_TEST(what_is_checked_meanwhile_fails_if_it_was_changed)
{
	struct scene scene;

	set_up(&scene);
	start(&scene, 1, "PLAIN", BYTES("\0alice\0pass")); /* no loop runs, so it cannot end yet */
	load_users(&scene, BYTES("alice:{PLAIN}other\n"));
	run(&scene);
	ck_assert_int_eq(scene.status, PS_AUTH_FAILED);
	scene.awaited = 2;
	start(&scene, 2, "PLAIN", BYTES("\0alice\0other"));
	run(&scene);
	ck_assert_int_eq(scene.status, PS_AUTH_OK);
	tear_down(&scene);
}
END_TEST

/* It would take minutes, and the time-out of the test case, if each cost its hash. */
START_TEST(passwords_of_clients_that_have_gone_are_not_hashed)
{
	struct scene scene;

	set_up(&scene);
	load_users(&scene, BYTES("alice:{PLAIN}pass\nslow:$6$rounds=1000000$salt$h\n"));
	for (uint64_t i = 1; i <= 500; i++) {
		start(&scene, i, "PLAIN", BYTES("\0slow\0x"));
		ps_auth_service_cancel(scene.service, (struct ps_auth_from){0, i, 0});
	}
	start(&scene, 1000, "PLAIN", BYTES("\0alice\0pass"));
	run(&scene);
	ck_assert_int_eq(scene.status, PS_AUTH_OK);
	tear_down(&scene);
}
END_TEST

START_TEST(after_failures_right_and_wrong_are_held_back_alike)
{
	struct scene scene;
	uint64_t began;

	set_up(&scene);
	scene.awaited = 2;
	start(&scene, 1, "PLAIN", BYTES("\0alice\0x"));
	start(&scene, 2, "PLAIN", BYTES("\0nobody\0x"));
	run(&scene);
	for (unsigned i = 0; i < 2; i++) {
		began = ps_loop_now(scene.loop);
		scene.awaited = 3 + i;
		start(&scene, 3, "PLAIN", i ? BYTES("\0alice\0pass") : BYTES("\0alice\0wrong"));
		run(&scene);
		ck_assert_int_eq(scene.status, i ? PS_AUTH_OK : PS_AUTH_FAILED);
		ck_assert_uint_ge(ps_loop_now(scene.loop) - began, 1000);
	}
	tear_down(&scene);
}
END_TEST

static const struct {
	const char *mechanism;
	bool plaintext_ok;
	enum ps_auth_status status;
} refusals[] = {
	{"GSSAPI", true, PS_AUTH_UNKNOWN_MECHANISM},
	{"", true, PS_AUTH_UNKNOWN_MECHANISM},
	{"PLAIN", false, PS_AUTH_PRIVACY},
};

START_TEST(what_is_not_offered_is_not_done)
{
	struct ps_auth_request request = {.sid = "S",
					  .service = "imap",
					  .mechanism = refusals[_i].mechanism,
					  .remote = "192.0.2.1:1",
					  .plaintext_ok = refusals[_i].plaintext_ok,
					  .initial = BYTES("\0alice\0pass")};
	struct scene scene;

	set_up(&scene);
	ps_auth_service_start(scene.service, &request);
	ck_assert_int_eq(scene.status, refusals[_i].status);
	tear_down(&scene);
}
END_TEST

START_TEST(without_users_it_says_so)
{
	struct scene scene;

	set_up(&scene);
	ps_auth_service_set_users(scene.service, NULL);
	start(&scene, 1, "PLAIN", BYTES("\0alice\0pass"));
	ck_assert_int_eq(scene.status, PS_AUTH_TEMPFAIL);
	tear_down(&scene);
}
END_TEST

/* ---- SCRAM ------------------------------------------------------------------------------------------ */

/* Where users' passwords are stored in several ways, it must be named. */
#define SCRAM_SETTINGS SETTINGS "sasl_mechanisms = { \"SCRAM-SHA-256\", \"SCRAM-SHA-1\", \"PLAIN\" }\n"

static void begin_scram(struct scene *scene, const char *mechanism, const char *name)
{
	struct ps_buf message = {0};

	ps_buf_printf(&message, "n,,n=%s,r=theirs", name);
	scene->awaited = scene->answers + 1;
	start(scene, 1, mechanism, ps_buf_view(&message));
	run(scene);
	ps_buf_finish(&message);
}

/* Whether the secret was proved; then the server's own proof has been shown, too. */
static bool prove(struct scene *scene, const char *mechanism, const char *name, const char *password)
{
	struct ps_buf bare = {0}, final = {0};

	begin_scram(scene, mechanism, name);
	ck_assert_int_eq(scene->status, PS_AUTH_CONTINUE);
	ps_buf_printf(&bare, "n=%s,r=theirs", name);
	scram_client_final(strstr(mechanism, "256"), password, ps_buf_cstr(&bare), ps_bytes_str("n,,"),
			   ps_bytes_str(scene->data), &final);
	scene->awaited++;
	ps_auth_service_step(scene->service, (struct ps_auth_from){0, 1, 0}, ps_buf_view(&final));
	run(scene);
	ps_buf_finish(&bare);
	ps_buf_finish(&final);
	if (scene->status != PS_AUTH_CONTINUE)
		return false;
	ck_assert(strncmp(scene->data, "v=", 2) == 0);
	scene->awaited++;
	ps_auth_service_step(scene->service, (struct ps_auth_from){0, 1, 0}, ps_bytes("", 0));
	run(scene);
	return true;
}

static void load_scram_users(struct scene *scene)
{
	struct ps_buf text = {0};

	ps_buf_str(&text, users);
	ps_buf_str(&text, "stored:");
	ck_assert_ok(ps_password_hash(BYTES("pass"), "SCRAM-SHA-256", &text));
	ps_buf_str(&text, "\ncrypt:");
	ck_assert_ok(ps_password_hash(BYTES("pass"), "SHA512-CRYPT", &text));
	ps_buf_str(&text, "\n");
	load_users(scene, ps_buf_view(&text));
	ps_buf_finish(&text);
}

static const struct {
	const char *mechanism, *name, *password;
	bool proved;
	enum ps_auth_status status;
	const char *user;
} scrams[] = {
	{"SCRAM-SHA-256", "alice", "pass", true, PS_AUTH_OK, "alice@example.test"},
	{"SCRAM-SHA-1", "alice", "pass", true, PS_AUTH_OK, "alice@example.test"},
	{"SCRAM-SHA-256", "stored", "pass", true, PS_AUTH_OK, "stored@example.test"},
	{"SCRAM-SHA-1", "stored", "pass", false, PS_AUTH_FAILED, ""}, /* there is no such secret */
	{"SCRAM-SHA-256", "crypt", "pass", false, PS_AUTH_FAILED, ""},
	{"SCRAM-SHA-256", "alice", "wrong", false, PS_AUTH_FAILED, ""},
	{"SCRAM-SHA-256", "stored", "wrong", false, PS_AUTH_FAILED, ""},
	{"SCRAM-SHA-256", "nobody", "pass", false, PS_AUTH_FAILED, ""},
	{"SCRAM-SHA-256", "nobody", "-", false, PS_AUTH_FAILED, ""},
	{"SCRAM-SHA-256", "near", "pass", false, PS_AUTH_FAILED, ""},
	{"SCRAM-SHA-256", "away", "pass", true, PS_AUTH_REFUSED, ""},
};

START_TEST(who_has_the_secret_logs_in_without_showing_it)
{
	struct scene scene;

	set_up_with(&scene, SCRAM_SETTINGS);
	load_scram_users(&scene);
	ck_assert_int_eq(prove(&scene, scrams[_i].mechanism, scrams[_i].name, scrams[_i].password), scrams[_i].proved);
	ck_assert_int_eq(scene.status, scrams[_i].status);
	ck_assert_str_eq(scene.user, scrams[_i].user);
	tear_down(&scene);
}
END_TEST

/* What is behind the nonces: salt and iterations. */
static void salt_of(struct scene *scene, const char *name, char ret_salt[128])
{
	begin_scram(scene, "SCRAM-SHA-256", name);
	snprintf(ret_salt, 128, "%s", strstr(scene->data, ",s="));
}

START_TEST(who_does_not_exist_has_a_salt_that_stays)
{
	char first[128], again[128], other[128], after[128], real[128];
	struct scene scene;

	set_up_with(&scene, SCRAM_SETTINGS);
	load_scram_users(&scene);
	ps_auth_service_set_salt_key(scene.service, BYTES("a private key"));
	salt_of(&scene, "nobody", first);
	salt_of(&scene, "Nobody@Example.test", again);
	salt_of(&scene, "somebody", other);
	salt_of(&scene, "stored", real);
	ck_assert_str_eq(first, again);
	ck_assert_str_ne(first, other);
	ck_assert_uint_eq(strlen(first), strlen(real));
	ck_assert_str_eq(strstr(first, ",i="), strstr(real, ",i="));
	tear_down(&scene);

	set_up_with(&scene, SCRAM_SETTINGS); /* as after a restart */
	load_scram_users(&scene);
	ps_auth_service_set_salt_key(scene.service, BYTES("a private key"));
	salt_of(&scene, "nobody", after);
	ck_assert_str_eq(first, after);
	tear_down(&scene);
}
END_TEST

static const struct {
	const char *settings, *users;
	unsigned serves;
} served[] = {
	{SETTINGS, "alice:{SSHA}aaaa\n", PS_SERVES_PASSWORD},
	{SETTINGS, "alice:{PLAIN}a\nbob:{PLAIN}b\n", ALL_KINDS},
	{SETTINGS, "alice:{PLAIN}a\nbob:{SSHA}aaaa\n", PS_SERVES_PASSWORD},
	{SETTINGS, "", PS_SERVES_PASSWORD},
	{SCRAM_SETTINGS, "alice:{SSHA}aaaa\n", ALL_KINDS},
};

/* Of whom a database knows, nobody can say; one that knows tokens knows nobody. */
START_TEST(scram_is_not_offered_where_a_database_has_users)
{
	const struct ps_database_answer of_tokens = {.tokens = true};
	struct ps_databases *databases;
	struct ps_user_defaults defaults;
	struct scene scene;

	set_up_with(&scene, SETTINGS);
	load_users(&scene, ps_bytes_str("alice:{PLAIN}a\n"));
	databases = ps_auth_service_databases(scene.service);
	ps_user_defaults_from(ps_config_root(scene.config), 1, 1, &defaults);
	ps_databases_configure(databases, ps_config_root(scene.config), &defaults, 1);
	ck_assert_uint_eq(ps_auth_service_serves(scene.service), PS_SERVES_PASSWORD);
	ps_databases_answer(databases, 0, &of_tokens);
	ck_assert_uint_eq(ps_auth_service_serves(scene.service), ALL_KINDS | PS_SERVES_TOKEN);
	tear_down(&scene);
}
END_TEST

START_TEST(scram_is_offered_where_all_can_use_it)
{
	struct scene scene;

	set_up_with(&scene, served[_i].settings);
	load_users(&scene, ps_bytes_str(served[_i].users));
	ck_assert_uint_eq(ps_auth_service_serves(scene.service), served[_i].serves);
	begin_scram(&scene, "SCRAM-SHA-256", "alice");
	ck_assert_int_eq(scene.status == PS_AUTH_UNKNOWN_MECHANISM, !(served[_i].serves & PS_SERVES_SCRAM_SHA_256));
	tear_down(&scene);
}
END_TEST

/* ---- what was right a while ago ---------------------------------------------------------------------- */

static enum ps_auth_status log_in(struct scene *scene, struct ps_bytes plain)
{
	scene->awaited = scene->answers + 1;
	start(scene, 1, "PLAIN", plain);
	run(scene);
	return scene->status;
}

/* One that need not be hashed is answered without a worker, so before start() returns. */
START_TEST(a_password_that_was_right_is_not_hashed_again)
{
	struct scene scene;

	set_up(&scene);
	scene.awaited = UINT_MAX;
	start(&scene, 1, "PLAIN", BYTES("\0alice\0pass"));
	ck_assert_uint_eq(scene.answers, 0);
	scene.awaited = 1;
	run(&scene);
	start(&scene, 1, "PLAIN", BYTES("\0alice\0pass"));
	ck_assert_uint_eq(scene.answers, 2);
	ck_assert_int_eq(scene.status, PS_AUTH_OK);
	start(&scene, 1, "PLAIN", BYTES("\0alice\0wrong"));
	ck_assert_uint_eq(scene.answers, 2);
	scene.awaited = 3;
	run(&scene);
	ck_assert_int_eq(scene.status, PS_AUTH_FAILED);
	tear_down(&scene);
}
END_TEST

START_TEST(a_new_password_counts_at_once)
{
	struct scene scene;

	set_up(&scene);
	ck_assert_int_eq(log_in(&scene, BYTES("\0alice\0pass")), PS_AUTH_OK);
	ck_assert_int_eq(log_in(&scene, BYTES("\0alice\0pass")), PS_AUTH_OK);
	load_users(&scene, BYTES("alice:{PLAIN}other\n"));
	ck_assert_int_eq(log_in(&scene, BYTES("\0alice\0pass")), PS_AUTH_FAILED);
	load_users(&scene, BYTES("alice:{PLAIN}pass::::::nologin\n"));
	ck_assert_int_eq(log_in(&scene, BYTES("\0alice\0pass")), PS_AUTH_REFUSED);
	ck_assert_int_eq(log_in(&scene, BYTES("\0alice\0pass")), PS_AUTH_REFUSED);
	load_users(&scene, BYTES("bob:{PLAIN}pass\n"));
	ck_assert_int_eq(log_in(&scene, BYTES("\0alice\0pass")), PS_AUTH_FAILED);
	tear_down(&scene);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("service");
	TCase *tc = tcase_create("service");

	tcase_add_test(tc, delays_begin_after_the_limit_and_grow_to_the_most);
	tcase_add_test(tc, failures_are_forgotten_with_time);
	tcase_add_test(tc, one_ipv6_network_is_one_client);
	tcase_add_test(tc, a_limit_of_zero_is_none);
	tcase_add_loop_test(tc, a_mechanism_goes_its_steps, 0, PS_ARRAY_LEN(dialogues));
	tcase_add_loop_test(tc, what_is_offered_is_what_may_be_used, 0, PS_ARRAY_LEN(offers));
	tcase_add_loop_test(tc, a_bearer_shows_a_token, 0, PS_ARRAY_LEN(bearers));
	tcase_add_test(tc, the_configuration_may_leave_some_out);
	tcase_add_test(tc, no_password_mechanism_without_tls);
	tcase_add_loop_test(tc, who_has_the_secret_logs_in_without_showing_it, 0, PS_ARRAY_LEN(scrams));
	tcase_add_test(tc, who_does_not_exist_has_a_salt_that_stays);
	tcase_add_test(tc, scram_is_not_offered_where_a_database_has_users);
	tcase_add_loop_test(tc, scram_is_offered_where_all_can_use_it, 0, (int)PS_ARRAY_LEN(served));
	tcase_add_loop_test(tc, a_login_has_its_answer, 0, PS_ARRAY_LEN(logins));
	tcase_add_test(tc, an_exchange_of_several_steps);
	tcase_add_test(tc, fronts_with_the_same_number_are_kept_apart);
	tcase_add_test(tc, a_cancelled_exchange_is_not_answered);
	tcase_add_loop_test(tc, what_a_new_file_changes_is_revoked, 0, PS_ARRAY_LEN(changes));
	tcase_add_test(tc, what_is_checked_meanwhile_fails_if_it_was_changed);
	tcase_add_test(tc, passwords_of_clients_that_have_gone_are_not_hashed);
	tcase_add_test(tc, after_failures_right_and_wrong_are_held_back_alike);
	tcase_add_loop_test(tc, what_is_not_offered_is_not_done, 0, PS_ARRAY_LEN(refusals));
	tcase_add_test(tc, without_users_it_says_so);
	tcase_add_test(tc, a_password_that_was_right_is_not_hashed_again);
	tcase_add_test(tc, a_new_password_counts_at_once);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
