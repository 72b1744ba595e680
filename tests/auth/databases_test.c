/* SPDX-License-Identifier: MIT */
/* The order in which databases are asked, and what becomes of a question that has no answer. */
#include <inttypes.h>
#include <stdio.h>
#include "auth/databases.h"
#include "core/config/config.h"
#include "postern/error.h"
#include "tests/unit.h"

static const char fields[] = "password\0{PLAIN}x\0protocols\0imap\0sessions\0"
			     "3";
#define FOUND ps_bytes(fields, sizeof fields)

struct scene {
	struct ps_loop *loop;
	struct ps_config *config;
	struct ps_databases *databases;
	struct ps_looking looking;
	unsigned asked[8]; /* which database, in order */
	uint64_t numbers[8];
	unsigned asked_count;
	bool cannot_ask;
	bool has_issuers; /* all but the first */
	int r;            /* of the end; 1: not yet */
	unsigned ends;
	char name[64], protocols[64];
	uint32_t sessions;
	char holder[64];
};

static int on_ask(void *arg, unsigned database, const struct ps_database_question *question)
{
	struct scene *scene = arg;

	if (scene->cannot_ask)
		return ps_fail(PS_E_CLOSED, "gone");
	scene->asked[scene->asked_count] = database;
	scene->numbers[scene->asked_count++] = question->number;
	return 0;
}

static void on_end(void *arg, int r, const struct ps_user_entry *entry)
{
	struct scene *scene = arg;

	scene->r = r;
	scene->ends++;
	if (r == 0 && scene->looking.token.ptr)
		snprintf(scene->holder, sizeof scene->holder, "%.*s until %" PRIu64, (int)scene->looking.holder.len,
			 (const char *)scene->looking.holder.ptr, scene->looking.expires);
	else
		ck_assert(!entry == (r != 0));
	if (!entry)
		return;
	snprintf(scene->name, sizeof scene->name, "%s", entry->info.name);
	snprintf(scene->protocols, sizeof scene->protocols, "%s", entry->protocols ? entry->protocols : "");
	scene->sessions = entry->sessions;
}

static void set_up(struct scene *scene, const char *limits, unsigned count)
{
	const struct ps_databases_hooks hooks = {on_ask, scene};
	struct ps_user_defaults defaults;
	char text[200];

	snprintf(text, sizeof text, "mail_root = \"/srv/mail\"\nlimits { %s }\n", limits);
	*scene = (struct scene){.r = 1, .looking = {.done = on_end, .arg = scene}};
	ck_assert_ok(ps_config_read("test", ps_bytes_str(text), NULL, &scene->config));
	ck_assert_ok(ps_loop_create(&scene->loop));
	scene->databases = ps_databases_create(scene->loop, &hooks);
	ps_user_defaults_from(ps_config_root(scene->config), 1, 1, &defaults);
	ps_databases_configure(scene->databases, ps_config_root(scene->config), &defaults, count);
}

static void tear_down(struct scene *scene)
{
	ps_databases_destroy(scene->databases);
	ps_loop_destroy(scene->loop);
	ps_config_destroy(scene->config);
}

static void answer(struct scene *scene, unsigned nth, int error, struct ps_bytes text)
{
	const struct ps_database_answer said = {
		.number = scene->numbers[nth],
		.error = error,
		.fields = text,
		.tokens = scene->has_issuers && scene->asked[nth] > 0,
	};

	ps_databases_answer(scene->databases, scene->asked[nth], &said);
}

START_TEST(the_next_is_asked_until_one_knows)
{
	struct scene scene;

	set_up(&scene, "", 3);
	ps_databases_find(scene.databases, "joe@example.test", &scene.looking);
	ck_assert_int_eq(scene.r, 1);
	answer(&scene, 0, PS_E_NOTFOUND, ps_bytes(NULL, 0));
	ck_assert_int_eq(scene.r, 1);
	answer(&scene, 1, 0, FOUND);
	ck_assert_int_eq(scene.r, 0);
	ck_assert_uint_eq(scene.asked_count, 2);
	ck_assert_uint_eq(scene.asked[1], 1);
	ck_assert_str_eq(scene.name, "joe@example.test");
	ck_assert_str_eq(scene.protocols, "imap");
	ck_assert_uint_eq(scene.sessions, 3);
	tear_down(&scene);
}
END_TEST

START_TEST(who_is_in_none_is_unknown)
{
	struct scene scene;

	set_up(&scene, "", 2);
	ps_databases_find(scene.databases, "joe@example.test", &scene.looking);
	answer(&scene, 0, PS_E_NOTFOUND, ps_bytes(NULL, 0));
	answer(&scene, 1, PS_E_NOTFOUND, ps_bytes(NULL, 0));
	ck_assert_int_eq(scene.r, PS_E_NOTFOUND);
	tear_down(&scene);
}
END_TEST

START_TEST(one_that_cannot_tell_ends_the_search)
{
	static const struct {
		int error;
		struct ps_bytes fields;
	} answers[] = {
		{PS_E_AGAIN, {NULL, 0}},
		{PS_E_STORAGE, {NULL, 0}},
		{0, {(const uint8_t *)"nosuchfield\0x", 14}},
		{0, {(const uint8_t *)"mail\0/elsewhere", 16}},
	};

	for (size_t i = 0; i < PS_ARRAY_LEN(answers); i++) {
		struct scene scene;

		set_up(&scene, "", 2);
		ps_databases_find(scene.databases, "joe@example.test", &scene.looking);
		answer(&scene, 0, answers[i].error, answers[i].fields);
		ck_assert_int_lt(scene.r, 0);
		ck_assert_int_ne(scene.r, PS_E_NOTFOUND);
		ck_assert_uint_eq(scene.asked_count, 1);
		tear_down(&scene);
	}
}
END_TEST

START_TEST(a_process_that_ends_or_is_not_there_is_no_answer)
{
	struct scene scene;

	set_up(&scene, "", 2);
	ps_databases_find(scene.databases, "joe@example.test", &scene.looking);
	ps_databases_lost(scene.databases, 1);
	ck_assert_int_eq(scene.r, 1);
	ps_databases_lost(scene.databases, 0);
	ck_assert_int_eq(scene.r, PS_E_AGAIN);
	scene.r = 1;
	scene.cannot_ask = true;
	ps_databases_find(scene.databases, "joe@example.test", &scene.looking);
	ck_assert_int_eq(scene.r, PS_E_AGAIN);
	tear_down(&scene);
}
END_TEST

START_TEST(what_comes_late_or_from_another_is_passed_over)
{
	struct scene scene;

	set_up(&scene, "", 2);
	ps_databases_find(scene.databases, "joe@example.test", &scene.looking);
	scene.asked[0] = 1;
	answer(&scene, 0, 0, FOUND);
	ck_assert_int_eq(scene.r, 1);
	scene.asked[0] = 0;
	ps_looking_cancel(&scene.looking);
	answer(&scene, 0, 0, FOUND);
	ck_assert_uint_eq(scene.ends, 0);
	tear_down(&scene);
}
END_TEST

/* What three that know tokens say, in their order, and what becomes of it. */
static const struct {
	struct {
		int error;
		const char *fields;
		size_t len;
	} said[3];
	unsigned asked;
	int r;
	const char *holder;
} chains[] = {
#define SAID(text)                                                                                                     \
	{                                                                                                              \
		0, text, sizeof text                                                                                   \
	}
	{{SAID("user\0joe\0expires\00017")}, 1, 0, "joe until 17"},
	{{SAID("user\0joe")}, 1, 0, "joe until 0"},
	{{{PS_E_AUTH, NULL, 0}, SAID("user\0joe")}, 2, 0, "joe until 0"},
	{{{PS_E_AGAIN, NULL, 0}, SAID("user\0joe")}, 2, 0, "joe until 0"},
	{{{PS_E_AUTH, NULL, 0}, {PS_E_AUTH, NULL, 0}, {PS_E_AUTH, NULL, 0}}, 3, PS_E_AUTH, ""},
	{{{PS_E_AUTH, NULL, 0}, {PS_E_AGAIN, NULL, 0}, {PS_E_AUTH, NULL, 0}}, 3, PS_E_AGAIN, ""},
	{{SAID("user\0"), {PS_E_AUTH, NULL, 0}, {PS_E_AUTH, NULL, 0}}, 3, PS_E_AGAIN, ""},
	{{SAID("user\0joe\0expires\0soon"), {PS_E_AUTH, NULL, 0}, {PS_E_AUTH, NULL, 0}}, 3, PS_E_AGAIN, ""},
};

/* 0 has users, 1 to 3 know tokens. */
static void set_up_issuers(struct scene *scene, const char *limits)
{
	const struct ps_database_answer none = {.tokens = true};

	set_up(scene, limits, 4);
	scene->has_issuers = true;
	ck_assert(!ps_databases_have_tokens(scene->databases));
	for (unsigned i = 1; i < 4; i++)
		ps_databases_answer(scene->databases, i, &none);
	ck_assert(ps_databases_have_tokens(scene->databases) && ps_databases_have_users(scene->databases));
}

START_TEST(a_token_is_whose_the_first_that_knows_it_says)
{
	struct scene scene;

	set_up_issuers(&scene, "");
	ps_databases_check_token(scene.databases, ps_bytes_str("token"), &scene.looking);
	for (unsigned i = 0; i < chains[_i].asked; i++) {
		ck_assert_int_eq(scene.r, 1);
		ck_assert_uint_eq(scene.asked[i], i + 1);
		answer(&scene, i, chains[_i].said[i].error,
		       ps_bytes(chains[_i].said[i].fields, chains[_i].said[i].len));
	}
	ck_assert_int_eq(scene.r, chains[_i].r);
	ck_assert_uint_eq(scene.ends, 1);
	ck_assert_uint_eq(scene.asked_count, chains[_i].asked);
	ck_assert_str_eq(scene.holder, chains[_i].holder);
	tear_down(&scene);
}
END_TEST

START_TEST(an_issuer_that_goes_away_keeps_no_token_of_others_out)
{
	struct scene scene;

	set_up_issuers(&scene, "");
	ps_databases_check_token(scene.databases, ps_bytes_str("token"), &scene.looking);
	ps_databases_lost(scene.databases, 1);
	answer(&scene, 1, 0, ps_bytes("user\0joe", 9));
	ck_assert_int_eq(scene.r, 0);
	scene.r = 1;
	scene.cannot_ask = true;
	ps_databases_check_token(scene.databases, ps_bytes_str("token"), &scene.looking);
	ck_assert_int_eq(scene.r, PS_E_AGAIN);
	tear_down(&scene);
}
END_TEST

START_TEST(who_knows_tokens_is_not_asked_for_users)
{
	struct scene scene;

	set_up_issuers(&scene, "");
	ps_databases_find(scene.databases, "joe@example.test", &scene.looking);
	answer(&scene, 0, PS_E_NOTFOUND, ps_bytes(NULL, 0));
	ck_assert_int_eq(scene.r, PS_E_NOTFOUND);
	ck_assert_uint_eq(scene.asked_count, 1);
	tear_down(&scene);
}
END_TEST

static void stop_when_ended(void *arg)
{
	struct scene *scene = arg;

	if (scene->ends)
		ps_loop_stop(scene->loop);
}

START_TEST(a_question_ends_when_its_time_is_over)
{
	struct ps_timer *timer;
	struct scene scene;

	set_up(&scene, "userdb_timeout = 1s", 1);
	ps_databases_find(scene.databases, "joe@example.test", &scene.looking);
	ck_assert_ok(ps_timer_open(scene.loop, stop_when_ended, &scene, &timer));
	ps_timer_set(timer, 10, 10);
	ps_loop_run(scene.loop);
	ck_assert_int_eq(scene.r, PS_E_AGAIN);
	ps_timer_close(timer);
	tear_down(&scene);
}
END_TEST

START_TEST(what_was_found_is_kept_until_it_is_forgotten)
{
	struct scene scene;

	set_up(&scene, "userdb_cache_time = 1h", 1);
	ps_databases_find(scene.databases, "joe@example.test", &scene.looking);
	answer(&scene, 0, 0, FOUND);
	ps_databases_find(scene.databases, "joe@example.test", &scene.looking);
	ck_assert_uint_eq(scene.ends, 2);
	ck_assert_str_eq(scene.protocols, "imap");
	ps_databases_find(scene.databases, "jim@example.test", &scene.looking);
	ck_assert_uint_eq(scene.asked_count, 2);
	ps_looking_cancel(&scene.looking);
	ps_databases_forget(scene.databases, "joe@example.test");
	ps_databases_find(scene.databases, "joe@example.test", &scene.looking);
	ck_assert_uint_eq(scene.asked_count, 3);
	tear_down(&scene);
}
END_TEST

START_TEST(a_password_is_checked_by_the_one_that_knows_the_user)
{
	const struct ps_user_entry entry = {.database = 1, .verifies = true}, cannot = {.database = 1};
	const struct ps_userdb_login login = {.name = "joe", .password = ps_bytes("x", 1)};
	struct scene scene;

	set_up(&scene, "", 2);
	ps_databases_verify(scene.databases, &entry, &login, &scene.looking);
	ck_assert_uint_eq(scene.asked[0], 1);
	answer(&scene, 0, PS_E_AUTH, ps_bytes(NULL, 0));
	ck_assert_int_eq(scene.r, PS_E_AUTH);
	ps_databases_verify(scene.databases, &cannot, &login, &scene.looking);
	ck_assert_uint_eq(scene.asked_count, 1);
	ck_assert_int_eq(scene.r, PS_E_AUTH);
	tear_down(&scene);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("databases");
	TCase *tc = tcase_create("databases");

	tcase_add_loop_test(tc, a_token_is_whose_the_first_that_knows_it_says, 0, PS_ARRAY_LEN(chains));
	tcase_add_test(tc, an_issuer_that_goes_away_keeps_no_token_of_others_out);
	tcase_add_test(tc, who_knows_tokens_is_not_asked_for_users);
	tcase_add_test(tc, the_next_is_asked_until_one_knows);
	tcase_add_test(tc, who_is_in_none_is_unknown);
	tcase_add_test(tc, one_that_cannot_tell_ends_the_search);
	tcase_add_test(tc, a_process_that_ends_or_is_not_there_is_no_answer);
	tcase_add_test(tc, what_comes_late_or_from_another_is_passed_over);
	tcase_add_test(tc, a_question_ends_when_its_time_is_over);
	tcase_add_test(tc, what_was_found_is_kept_until_it_is_forgotten);
	tcase_add_test(tc, a_password_is_checked_by_the_one_that_knows_the_user);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
