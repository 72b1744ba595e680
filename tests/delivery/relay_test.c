/* SPDX-License-Identifier: MIT */
/* The relay put together: its queue and attempts are real, auth, mail processes and fronts are functions here. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/config/config.h"
#include "core/delivery/relay.h"
#include "core/event/loop.h"
#include "core/store/index/renew.h"
#include "tests/unit.h"

enum {
	PROCESSES = 2
};

static char dir[64];
static struct ps_loop *loop;
static struct ps_config *config;
static struct ps_relay *relay;
static struct ps_timer *timer;
static bool (*wanted)(void);
static unsigned code;                  /* of the last reply */
static unsigned deliveries[PROCESSES]; /* that were asked for */
static bool hangs[PROCESSES], taken_down;
static struct ps_client client = {.front = 1, .number = 7, .turn = 1};

/* ---- the others ---------------------------------------------------------------------------------- */

static void on_reply(void *arg, struct ps_client to, const struct ps_answer *answer)
{
	(void)arg;
	(void)to;
	code = answer->code;
}

static void found(void *arg)
{
	struct ps_msg_lookup_answer *answer = arg;

	ps_local_found(ps_relay_local(relay), answer);
	free(answer);
}

/* The first letter of a name tells the process: 'a' is of the first. */
static int find_user(void *arg, uint64_t question, const char *name, const char *sid, bool ticket)
{
	struct ps_msg_lookup_answer *answer = ps_zalloc(sizeof *answer);

	(void)arg;
	(void)sid;
	(void)ticket;
	*answer =
		(struct ps_msg_lookup_answer){.number = question,
					      .status = name[0] < 'a' + PROCESSES ? PS_LOOKUP_FOUND : PS_LOOKUP_UNKNOWN,
					      .mail = (uint32_t)(name[0] - 'a'),
					      .user = "user",
					      .ticket = ps_bytes_str("ticket")};
	ps_loop_post(loop, found, answer);
	return 0;
}

static void delivered(void *arg)
{
	uint64_t *question = arg;

	ps_local_delivered(ps_relay_local(relay), *question, 0);
	free(question);
}

static int deliver(void *arg, uint64_t question, const struct ps_delivery *delivery)
{
	uint64_t *copy;

	(void)arg;
	deliveries[delivery->mail]++;
	if (hangs[delivery->mail])
		return 0;
	copy = ps_malloc(sizeof *copy);
	*copy = question;
	ps_loop_post(loop, delivered, copy);
	return 0;
}

/* ---- the loop ------------------------------------------------------------------------------------ */

static void look(void *arg)
{
	(void)arg;
	if (wanted())
		ps_loop_stop(loop);
}

/* It takes what it takes; the test has its own limit. */
static void run_until(bool (*what)(void))
{
	wanted = what;
	ps_timer_set(timer, 1, 1);
	ps_loop_run(loop);
	ps_timer_stop(timer);
}

static void setup(void)
{
	const struct ps_relay_hooks hooks = {.local = {find_user, deliver, NULL}, .reply = on_reply};
	char text[512];

	memset(deliveries, 0, sizeof deliveries);
	memset(hangs, 0, sizeof hangs);
	taken_down = false;
	strcpy(dir, "/tmp/postern-relay-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(text, sizeof text,
		 "mail_root = /mail\nspool_dir = %s\nhostname = home.test\ndefault_domain = example.org\n"
		 "relay { resolvers = { \"127.0.0.1:5\" } }\n",
		 dir);
	ck_assert_ok(ps_config_read("test", ps_bytes_str(text), NULL, &config));
	ck_assert_ok(ps_loop_create(&loop));
	ck_assert_ok(ps_timer_open(loop, look, NULL, &timer));
	ck_assert_ok(ps_relay_create(loop, ps_config_root(config), &hooks, &relay));
}

static bool is_down(void)
{
	return taken_down;
}

static void on_down(void *arg)
{
	(void)arg;
	taken_down = true;
}

static void teardown(void)
{
	char command[100];

	ps_relay_stop(relay, on_down, NULL);
	run_until(is_down);
	ps_timer_close(timer);
	ps_loop_destroy(loop);
	ps_config_destroy(config);
	snprintf(command, sizeof command, "rm -r %s", dir);
	ck_assert_int_eq(system(command), 0);
}

/* ---- mail ---------------------------------------------------------------------------------------- */

static bool is_answered(void)
{
	return code != 0;
}

static unsigned rcpt(const char *to)
{
	struct ps_transactions *transactions = ps_relay_transactions(relay);

	ps_transactions_from(transactions, client,
			     &(struct ps_msg_mail_from){.sid = "sid",
							.source = PS_MAIL_MX,
							.reverse_path = "joe@example.com",
							.helo = "there",
							.remote = "192.0.2.1:1"});
	code = 0;
	ps_transactions_rcpt(transactions, client, &(struct ps_msg_mail_rcpt){.forward_path = to});
	run_until(is_answered);
	return code;
}

static unsigned asked_before;

static bool is_asked(void)
{
	return deliveries[0] + deliveries[1] > asked_before;
}

/* Of a process that hangs: it is left to the queue. `then`: whether it goes on hanging. */
static void send_and_lose_patience(const char *to, unsigned process, bool then)
{
	struct ps_transactions *transactions = ps_relay_transactions(relay);

	hangs[process] = true;
	ck_assert_uint_eq(rcpt(to), 250);
	ps_transactions_data(transactions, client);
	ck_assert_uint_eq(code, 354);
	asked_before = deliveries[0] + deliveries[1];
	code = 0;
	ps_transactions_end(
		transactions, client,
		&(struct ps_msg_mail_end){.size = 14, .whole = true, .octets = ps_bytes_str("Subject: x\r\n\r\n")});
	run_until(is_asked);
	hangs[process] = then;
	ps_transactions_tick(transactions, ps_monotonic_ms() + 2 * PS_STORE_PATIENCE_MS);
	run_until(is_answered);
	ck_assert_uint_eq(code, 250);
}

static bool second_has_it(void)
{
	return deliveries[1] == 2;
}

START_TEST(a_mail_process_that_hangs_keeps_only_its_own_users_waiting)
{
	ps_relay_start(relay);
	for (unsigned i = 0; i < 5; i++)
		send_and_lose_patience("ann@example.org", 0, true);
	send_and_lose_patience("bob@example.org", 1, false);
	run_until(second_has_it);
	ck_assert_uint_lt(deliveries[0], 10); /* five by the front, and few at a time by the queue */
}
END_TEST

/* ---- memory -------------------------------------------------------------------------------------- */

/* In the place of the library's. */
static atomic_uint renewals;

void ps_indexes_renew(unsigned seconds)
{
	ck_assert_uint_le(seconds, 60);
	renewals++;
}

static bool is_renewed(void)
{
	return renewals > 0;
}

START_TEST(memory_of_the_queues_index_is_given_back)
{
	renewals = 0;
	ps_relay_start(relay);
	run_until(is_renewed);
}
END_TEST

/* ---- aliases ------------------------------------------------------------------------------------- */

static void set_aliases(const char *text)
{
	struct ps_buf octets = {0};

	ps_buf_str(&octets, text);
	ps_relay_set_aliases(relay, &octets, "aliases");
}

START_TEST(aliases_are_read_while_mail_is_served)
{
	ps_relay_start(relay);
	set_aliases("team@example.org ann@example.org\n");
	ck_assert_uint_eq(rcpt("team@example.org"), 550); /* the file is not read yet */
	while (rcpt("team@example.org") != 250)
		;
	set_aliases("team@example.org\n");
	set_aliases("team@example.org bob@example.org\nothers@example.org team@example.org\n");
	while (rcpt("others@example.org") != 250)
		;
	ck_assert_uint_eq(rcpt("team@example.org"), 250);
}
END_TEST

START_TEST(a_wrong_alias_file_does_not_take_the_place_of_one_that_was_right)
{
	set_aliases("team@example.org ann@example.org\n");
	ck_assert_uint_eq(rcpt("team@example.org"), 250); /* at the start the file is waited for */
	set_aliases("team@example.org |program\nothers@example.org bob@example.org\n");
	ck_assert_uint_eq(rcpt("others@example.org"), 550);
	ck_assert_uint_eq(rcpt("team@example.org"), 250);
	ps_relay_reconfigure(relay, ps_config_root(config));
	ck_assert_uint_eq(rcpt("team@example.org"), 250);
	set_aliases("");
	ck_assert_uint_eq(rcpt("team@example.org"), 550);
}
END_TEST

/* In each state in which a message may be. */
START_TEST(the_end_waits_for_nobody)
{
	struct ps_transactions *transactions = ps_relay_transactions(relay);

	ps_relay_start(relay);
	if (_i > 0)
		ck_assert_uint_eq(rcpt("ann@example.org"), 250);
	if (_i > 1)
		ps_transactions_data(transactions, client);
	if (_i > 2) {
		client.number++;
		send_and_lose_patience("bob@example.org", 1, true);
	}
	if (_i > 3)
		set_aliases("team@example.org ann@example.org\n");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("relay");
	TCase *tc = tcase_create("relay");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_mail_process_that_hangs_keeps_only_its_own_users_waiting);
	tcase_add_test(tc, memory_of_the_queues_index_is_given_back);
	tcase_add_test(tc, aliases_are_read_while_mail_is_served);
	tcase_add_test(tc, a_wrong_alias_file_does_not_take_the_place_of_one_that_was_right);
	tcase_add_loop_test(tc, the_end_waits_for_nobody, 0, 5);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
