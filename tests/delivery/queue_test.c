/* SPDX-License-Identifier: MIT */
/* What goes into the queue comes out of it, once, and what becomes of it is kept. */
#include <sys/wait.h>
#include "core/config/config.h"
#include "core/process/confine.h"
#include "core/process/messages.h"
#include "core/store/index/renew.h"
#include "postern/io.h"
#include "tests/delivery/queue.h"

START_TEST(a_message_is_attempted_with_all_that_was_said_of_it)
{
	struct ps_queue_recipient recipient = {
		"joe@example.org", "rfc822;Joe@Example.ORG", 6, "mx:example.org", "Lists", 0};
	struct ps_queue_message message = {.id = "ID1",
					   .reverse_path = "ann@example.com",
					   .envid = "QQ314159",
					   .user = "ann",
					   .sid = "S7",
					   .options = 17,
					   .source = 1,
					   .arrival = 1799999999,
					   .size = 5,
					   .recipients = &recipient,
					   .count = 1,
					   .file = make_body("hello")};
	char text[6] = "";

	ck_assert_ok(add_message(&message));
	close(message.file);
	for (int i = 0; i < 2; i++) { /* and after another start */
		const struct ps_queue_attempt *attempt = attempt_of("ID1");

		ck_assert_uint_eq(out_count, 1);
		ck_assert(attempt->send);
		ck_assert_str_eq(attempt->destination, "mx:example.org");
		ck_assert_str_eq(attempt->message.reverse_path, "ann@example.com");
		ck_assert_str_eq(attempt->message.envid, "QQ314159");
		ck_assert_str_eq(attempt->message.user, "ann");
		ck_assert_str_eq(attempt->message.sid, "S7");
		ck_assert_uint_eq(attempt->message.options, 17);
		ck_assert_uint_eq(attempt->message.source, 1);
		ck_assert_int_eq(attempt->message.arrival, 1799999999);
		ck_assert_uint_eq(attempt->message.count, 1);
		ck_assert_str_eq(attempt->message.recipients[0].address, "joe@example.org");
		ck_assert_str_eq(attempt->message.recipients[0].orcpt, "rfc822;Joe@Example.ORG");
		ck_assert_uint_eq(attempt->message.recipients[0].notify, 6);
		ck_assert_str_eq(attempt->message.recipients[0].mailbox, "Lists");
		ck_assert_int_eq(pread(attempt->message.file, text, 5, 0), 5);
		ck_assert_str_eq(text, "hello");
		reopen();
	}
}
END_TEST

START_TEST(a_delivered_message_goes_with_its_body)
{
	add("A", "ann@example.com", "mx:example.org");
	ck_assert_uint_eq(bodies(), 1);
	deliver(pick(0));
	ck_assert_uint_eq(bodies(), 0);
	ck_assert_uint_eq(stats()->messages, 0);
	ck_assert_uint_eq(stats()->parts, 0);
	ck_assert_uint_eq(stats()->destinations, 0);
	ck_assert_uint_eq(stats()->octets, 0);
	reopen();
	ck_assert_uint_eq(out_count, 0);
}
END_TEST

START_TEST(parts_are_of_one_destination_and_a_hundred_at_most)
{
	struct ps_queue_recipient recipients[] = {{"a@x.example", NULL, 0, "mx:x.example", NULL, 0},
						  {"b@y.example", NULL, 0, "mx:y.example", NULL, 0},
						  {"c@x.example", NULL, 0, "mx:x.example", NULL, 0}};
	struct ps_queue_message message = {
		.id = "TWO", .reverse_path = "", .recipients = recipients, .count = 3, .file = make_body("")};

	ck_assert_ok(add_message(&message));
	close(message.file);
	ck_assert_uint_eq(out_count, 2);
	for (size_t i = 0; i < 2; i++)
		ck_assert_uint_eq(out[i]->message.count, strcmp(out[i]->destination, "mx:x.example") == 0 ? 2 : 1);
	deliver(pick(0));
	ck_assert_uint_eq(stats()->messages, 1);
	deliver(pick(0));
	ck_assert_uint_eq(stats()->messages, 0);
	settings.concurrency_first = 5;
	ps_queue_reconfigure(queue, &settings);
	ck_assert_ok(add_to("MANY", "ann@example.com", "mx:example.org", 250));
	ck_assert_uint_eq(stats()->parts, 3);
	ck_assert_uint_eq(out_count, 3);
	ck_assert_uint_eq(out[0]->message.count + out[1]->message.count + out[2]->message.count, 250);
}
END_TEST

START_TEST(who_was_settled_is_not_attempted_again)
{
	struct ps_queue_result results[] = {{PS_QUEUE_DELIVERED, 250, "2.0.0", "OK", "mx"},
					    {PS_QUEUE_DEFERRED, 450, "4.2.0", "later", "mx"},
					    {PS_QUEUE_FAILED, 550, "5.1.1", "nobody", "mx"}};
	struct ps_queue_finish done = {.results = results, .verdict = PS_QUEUE_REACHED};

	ck_assert_ok(add_to("A", "ann@example.com", "mx:example.org", 3));
	was_done = false;
	ps_queue_finish(queue, pick(0), &done, on_done, NULL);
	run_until(is_done);
	ck_assert_uint_eq(out_count, 0);
	pass(10 * MINUTE);
	ck_assert_uint_eq(out_count, 1);
	ck_assert_uint_eq(out[0]->message.count, 1);
	ck_assert_str_eq(out[0]->message.recipients[0].address, "r1@example.org");
	ck_assert_str_eq(out[0]->last.text, "later");
	ck_assert_uint_eq(out[0]->attempts, 1);
	deliver(pick(0));
	ck_assert_uint_eq(stats()->messages, 0);
}
END_TEST

START_TEST(what_is_no_envelope_is_refused_and_leaves_nothing)
{
	struct ps_queue_recipient recipient = {"joe@example.org", NULL, 0, "mx:example.org", NULL, 0};
	struct ps_queue_message message = {.id = "A",
					   .reverse_path = "",
					   .recipients = &recipient,
					   .count = 1,
					   .size = 9,
					   .file = make_body("hello")};

	ck_assert_int_eq(add_message(&message), PS_E_INVALID); /* its size */
	message.size = 5;
	message.count = 0;
	ck_assert_int_eq(add_message(&message), PS_E_INVALID);
	message.count = 1;
	recipient.destination = "";
	ck_assert_int_eq(add_message(&message), PS_E_INVALID);
	recipient.destination = "mx:example.org";
	ck_assert_ok(add_message(&message));
	ck_assert_int_eq(add_message(&message), PS_E_EXISTS);
	close(message.file);
	ck_assert_uint_eq(bodies(), 1);
	ck_assert_uint_eq(stats()->messages, 1);
}
END_TEST

START_TEST(a_body_that_cannot_be_linked_is_copied)
{
	struct ps_queue_recipient recipient = {"joe@example.org", NULL, 0, "mx:example.org", NULL, 0};
	struct ps_queue_message message = {
		.id = "A",
		.reverse_path = "",
		.recipients = &recipient,
		.count = 1,
		.size = 100000,
		.file = open(strncmp(test_dir, "/tmp", 4) == 0 ? "/dev/shm" : "/tmp", O_TMPFILE | O_RDWR, 0600)};
	char *text = ps_zalloc(100000), *again = ps_zalloc(100000);

	memset(text, 'q', 100000);
	ck_assert_int_eq(write(message.file, text, 100000), 100000);
	ck_assert_ok(add_message(&message));
	close(message.file);
	ck_assert_int_eq(pread(out[0]->message.file, again, 100000, 0), 100000);
	ck_assert_mem_eq(text, again, 100000);
	free(text);
	free(again);
}
END_TEST

START_TEST(a_report_comes_with_the_result_or_not_at_all)
{
	struct ps_queue_recipient back = {"ann@example.com", NULL, 0, "mx:example.com", NULL, 0};
	struct ps_queue_message report = {
		.id = "R", .reverse_path = "", .recipients = &back, .count = 1, .size = 6, .file = make_body("sorry!")};
	struct ps_queue_result result = {PS_QUEUE_FAILED, 550, "5.1.1", "nobody", "mx"};
	struct ps_queue_finish done = {
		.results = &result, .verdict = PS_QUEUE_REACHED, .reports = &report, .report_count = 1};

	add("A", "ann@example.com", "mx:example.org");
	was_done = false;
	ps_queue_finish(queue, pick(0), &done, on_done, NULL);
	run_until(is_done);
	ck_assert_int_eq(last_error, 0);
	ck_assert_uint_eq(out_count, 1);
	ck_assert_str_eq(out[0]->message.id, "R");
	ck_assert_str_eq(out[0]->message.reverse_path, "");
	/* One that the administrator removed meanwhile is not reported. */
	add("B", "ann@example.com", "mx:example.org");
	ask("{\"what\": \"remove\", \"id\": \"B\"}");
	report.id = "R2";
	was_done = false;
	ps_queue_finish(queue, pick_id("B"), &done, on_done, NULL);
	run_until(is_done);
	ck_assert_uint_eq(stats()->messages, 1);
	ck_assert_uint_eq(bodies(), 1);
	/* One that cannot be added does not keep the result back. */
	add("C", "ann@example.com", "mx:example.org");
	report.id = "R3";
	report.size = 7;
	was_done = false;
	ps_queue_finish(queue, pick_id("C"), &done, on_done, NULL);
	run_until(is_done);
	ck_assert_int_eq(last_error, 0);
	ck_assert_uint_eq(stats()->messages, 1);
	close(report.file);
}
END_TEST

static unsigned commits_before;

static void on_finished(void *arg, int error)
{
	(void)arg;
	ck_assert_int_eq(error, 0);
	ck_assert_uint_gt(atomic_load(&queue->commits), commits_before);
	was_done = true;
}

static void finish_first(void *arg, int error)
{
	static const struct ps_queue_result result = {PS_QUEUE_DELIVERED, 250, "2.0.0", "OK", "mx"};
	const struct ps_queue_finish done = {.results = &result, .verdict = PS_QUEUE_REACHED};

	(void)arg;
	ck_assert_int_eq(error, 0);
	commits_before = (unsigned)atomic_load(&queue->commits);
	ps_queue_finish(queue, pick(0), &done, on_finished, NULL);
}

/* As with a report that goes through the routes: it is finished when what came of it is in the queue. */
START_TEST(what_is_begun_when_another_is_done_is_durable_when_it_is_done)
{
	struct ps_queue_recipient to = {"joe@example.net", NULL, 0, "mx:example.net", NULL, 0};
	struct ps_queue_message message = {
		.id = "B", .reverse_path = "", .recipients = &to, .count = 1, .size = 6, .file = make_body("hello!")};

	add("A", "ann@example.com", "route");
	was_done = false;
	ps_queue_add(queue, &message, finish_first, NULL);
	run_until(is_done);
	settle();
	ck_assert_uint_eq(stats()->messages, 1);
	ck_assert_uint_eq(stats()->active, 1);
	close(message.file);
}
END_TEST

START_TEST(bodies_that_no_envelope_names_go_and_others_stay)
{
	char path[160];
	FILE *file;

	add("A", "ann@example.com", "mx:example.org");
	/* As a crash between link and commit leaves it: of this start. */
	snprintf(path, sizeof path, "%s/bodies/%016llx", queue_dir, (unsigned long long)queue->start + 77);
	file = fopen(path, "w");
	ck_assert_ptr_nonnull(file);
	fclose(file);
	snprintf(path, sizeof path, "%s/bodies/README", queue_dir);
	file = fopen(path, "w");
	fclose(file);
	/* It may be on its way to its envelope. */
	ps_queue_start(queue);
	settle();
	ck_assert_uint_eq(bodies(), 3);
	reopen();
	ck_assert_uint_eq(bodies(), 2);
	deliver(pick_id("A"));
	ck_assert_uint_eq(bodies(), 1);
}
END_TEST

/* ---- records ----------------------------------------------------------------------------------- */

/* Changes an octet of each record of a database. */
static void damage(const char *name, size_t at)
{
	char file[128];
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	MDB_cursor *cursor;
	MDB_val key, value;

	snprintf(file, sizeof file, "%s/queue.mdb", queue_dir);
	mdb_env_create(&env);
	mdb_env_set_maxdbs(env, 32);
	ck_assert_int_eq(mdb_env_open(env, file, MDB_NOSUBDIR, 0600), 0);
	ck_assert_int_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
	ck_assert_int_eq(mdb_dbi_open(txn, name, 0, &dbi), 0);
	ck_assert_int_eq(mdb_cursor_open(txn, dbi, &cursor), 0);
	while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
		char octets[2000];
		MDB_val changed = {value.mv_size, octets};

		ck_assert_uint_lt(at, value.mv_size);
		memcpy(octets, value.mv_data, value.mv_size);
		octets[at] ^= 0x40;
		ck_assert_int_eq(mdb_cursor_put(cursor, &key, &changed, MDB_CURRENT), 0);
	}
	mdb_cursor_close(cursor);
	ck_assert_int_eq(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
}

static const struct {
	const char *db;
	size_t at;
	bool lost; /* what cannot be known again */
} damages[] = {
	{"messages", 0, true},  {"messages", 3, true}, {"messages", 5, true}, {"messages", 9, true},
	{"messages", 30, true}, {"parts", 1, true},    {"parts", 9, true},    {"parts", 40, true},
	{"dests", 2, false},    {"dests", 20, false},
};

START_TEST(a_damaged_record_is_set_aside)
{
	add("A", "ann@example.com", "mx:example.org");
	close_queue();
	damage(damages[_i].db, damages[_i].at);
	open_queue();
	start_queue();
	ck_assert_uint_eq(out_count, damages[_i].lost ? 0 : 1);
	ck_assert_uint_eq(stats()->damaged > 0, damages[_i].lost);
	/* The rest goes on; and the body of what was set aside is kept. */
	add("B", "ann@example.com", "mx:example.org");
	deliver(pick_id("B"));
	ck_assert(json_is_true(json_object_get(ask("{\"what\": \"list\"}"), "ok")));
	reopen();
	ck_assert_uint_eq(bodies(), 1);
	ck_assert_uint_eq(stats()->ready, damages[_i].lost ? 0 : 1);
	pass(30ull * DAY);
	ck_assert_uint_eq(out_count, damages[_i].lost ? 0 : 1);
}
END_TEST

START_TEST(a_message_whose_body_is_gone_or_short_is_set_aside)
{
	char command[160];

	add("A", "ann@example.com", "mx:example.org");
	close_queue();
	snprintf(command, sizeof command, _i ? "truncate -s 0 %s/bodies/*" : "rm %s/bodies/*", queue_dir);
	ck_assert_int_eq(system(command), 0);
	open_queue();
	start_queue();
	ck_assert_uint_eq(out_count, 0);
	ck_assert_uint_gt(stats()->damaged, 0);
	ck_assert_uint_eq(stats()->ready, 0);
}
END_TEST

/* ---- who may ------------------------------------------------------------------------------------ */

START_TEST(two_processes_do_not_share_a_queue)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct ps_queue *other;
		struct ps_queue_hooks hooks = {0};

		_exit(ps_queue_open(loop, queue_dir, &settings, &hooks, &other) == PS_E_BUSY ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

static atomic_int links, copies;
static struct ps_io real;

static int count_link(int fd, int to_dir, const char *to)
{
	int r = real.link_file(fd, to_dir, to);

	links += r == 0;
	copies += r != 0;
	return r;
}

enum {
	CONFINED_WELL = 7
};

START_TEST(it_works_in_the_confinement_of_the_relay)
{
	struct ps_confine_args args = {.role = PS_ROLE_RELAY, .empty = test_dir, .privileged = geteuid() == 0};
	struct ps_config *config;
	char text[512];

	real = ps_io;
	ps_io.link_file = count_link;
	if (args.privileged)
		ck_assert_int_eq(chown(test_dir, 65534, 65534), 0);
	snprintf(text, sizeof text, "mail_root = \"/nowhere\"\nspool_dir = \"%s\"\nuser_relay = \"nobody\"\n",
		 test_dir);
	ck_assert_ok(ps_config_read("test", ps_bytes_str(text), NULL, &config));
	args.conf = ps_config_root(config);
	ck_assert_ok(ps_confine(&args));
	open_queue();
	start_queue();
	add("A", "ann@example.com", "mx:example.org");
	ck_assert_int_eq(links, 1);
	ck_assert_int_eq(copies, 0);
	deliver(pick(0));
	add_many("B", "ann@example.com", "mx:example.org", 20); /* on all threads */
	ck_assert_int_eq(copies, 0);
	ps_indexes_renew(0);
	ck_assert_uint_eq(stats()->messages, 20);
	reopen();
	ck_assert_uint_eq(stats()->messages, 20);
	close_queue();
	_exit(CONFINED_WELL); /* a sanitizer's look for leaks is not allowed here */
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("queue");
	TCase *tc = tcase_create("queue"), *confined = tcase_create("confined");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, a_message_is_attempted_with_all_that_was_said_of_it);
	tcase_add_test(tc, a_delivered_message_goes_with_its_body);
	tcase_add_test(tc, parts_are_of_one_destination_and_a_hundred_at_most);
	tcase_add_test(tc, who_was_settled_is_not_attempted_again);
	tcase_add_test(tc, what_is_no_envelope_is_refused_and_leaves_nothing);
	tcase_add_test(tc, a_body_that_cannot_be_linked_is_copied);
	tcase_add_test(tc, a_report_comes_with_the_result_or_not_at_all);
	tcase_add_test(tc, what_is_begun_when_another_is_done_is_durable_when_it_is_done);
	tcase_add_test(tc, bodies_that_no_envelope_names_go_and_others_stay);
	tcase_add_loop_test(tc, a_damaged_record_is_set_aside, 0, PS_ARRAY_LEN(damages));
	tcase_add_loop_test(tc, a_message_whose_body_is_gone_or_short_is_set_aside, 0, 2);
	tcase_add_test(tc, two_processes_do_not_share_a_queue);
	suite_add_tcase(suite, tc);
	tcase_add_unchecked_fixture(confined, make_folder, remove_folder); /* who is confined could not remove it */
	tcase_add_checked_fixture(confined, make_clocks, NULL);
	tcase_add_exit_test(confined, it_works_in_the_confinement_of_the_relay, CONFINED_WELL);
	suite_add_tcase(suite, confined);
	return unit_main(suite);
}
