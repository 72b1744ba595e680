/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <jansson.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "core/delivery/trace/private.h"
#include "tests/unit.h"

static char dir[] = "/tmp/postern-trace-XXXXXX";
static struct ps_loop *loop;
static json_t *answer;

static void open_trace(uint64_t seconds, uint64_t octets)
{
	ck_assert_ok(ps_trace_open(loop, dir, seconds, octets));
}

static void start(void)
{
	strcpy(dir + sizeof dir - 7, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_ok(ps_loop_create(&loop));
	open_trace(3600, 1 << 20);
}

static void finish(void)
{
	char path[100];

	ps_trace_close();
	ps_loop_destroy(loop);
	json_decref(answer);
	answer = NULL;
	snprintf(path, sizeof path, "%s/data.mdb", dir);
	unlink(path);
	snprintf(path, sizeof path, "%s/lock.mdb", dir);
	unlink(path);
	rmdir(dir);
}

static void on_answer(void *arg, const char *text)
{
	(void)arg;
	json_decref(answer);
	answer = json_loads(text, 0, NULL);
	ck_assert_msg(answer != NULL, "%s", text);
	ps_loop_stop(loop);
}

static void ask_line(const char *request)
{
	ps_trace_ask(request, on_answer, NULL);
	ps_loop_run(loop);
}

static void ask(const char *what)
{
	char request[2000];

	snprintf(request, sizeof request, "{\"what\": \"%s\"}", what);
	ask_line(request);
	ck_assert(json_is_true(json_object_get(answer, "ok")));
}

/* "ID: received queued sent; ID: ..." */
static const char *told(void)
{
	static char text[20000];
	json_t *message, *event;
	size_t i, j, len = 0;

	text[0] = '\0';
	json_array_foreach(json_object_get(answer, "messages"), i, message)
	{
		len += (size_t)snprintf(text + len, sizeof text - len, "%s%s:", i ? "; " : "",
					json_string_value(json_object_get(message, "id")));
		json_array_foreach(json_object_get(message, "events"), j, event) len += (size_t)snprintf(
			text + len, sizeof text - len, " %s", json_string_value(json_object_get(event, "event")));
	}
	return text;
}

static void say(enum ps_trace_kind kind, const char *id, const char *recipient)
{
	ps_trace(&(struct ps_trace_event){.kind = kind, .id = id, .recipient = recipient});
}

static void say_received(const char *id, const char *message_id, const char *sender)
{
	ps_trace(&(struct ps_trace_event){.kind = PS_TRACE_RECEIVED,
					  .id = id,
					  .message_id = message_id,
					  .sender = sender,
					  .source = "submission",
					  .user = "alice@example.org",
					  .sid = "SID1",
					  .size = 4711});
}

START_TEST(a_message_is_found_by_all_its_names)
{
	static const char *const names[] = {"Q1",
					    "q1",
					    "one.two@example.org",
					    "<one.two@example.org>",
					    "Alice@Example.org",
					    "bob@example.net",
					    "carol@example.org",
					    "bobby@example.org",
					    "R1"};

	start();
	say_received("Q1", "one.two@example.org", "alice@example.org");
	say(PS_TRACE_STORED, "Q1", "carol@example.org");
	say_received("Q2", "three@example.org", "dave@example.org");
	ps_trace(&(struct ps_trace_event){.kind = PS_TRACE_QUEUED,
					  .id = "Q1",
					  .recipient = "bob@example.net",
					  .orcpt = "rfc822;bobby@example.org"});
	ps_trace(&(struct ps_trace_event){.kind = PS_TRACE_FAILED,
					  .id = "Q1",
					  .recipient = "bob@example.net",
					  .host = "mx.example.net",
					  .code = 550,
					  .enhanced = "5.1.1",
					  .text = "no such \"user\"\r\n\x1b[31m"});
	ps_trace(&(struct ps_trace_event){
		.kind = PS_TRACE_REPORTED, .id = "Q1", .recipient = "bob@example.net", .other = "R1"});
	for (size_t i = 0; i < PS_ARRAY_LEN(names); i++) {
		ask(names[i]);
		ck_assert_str_eq(told(), "Q1: received stored queued failed reported");
	}
	ask("nobody@example.org");
	ck_assert_str_eq(told(), "");
	finish();
}
END_TEST

START_TEST(what_was_said_is_told)
{
	json_t *events, *event;

	start();
	say_received("Q1", "one.two@example.org", "");
	ps_trace(&(struct ps_trace_event){.kind = PS_TRACE_DEFERRED,
					  .id = "Q1",
					  .recipient = "gr\xc3\xbc\xc3\x9f"
						       "e@example.net",
					  .host = "mx.example.net",
					  .code = 451,
					  .enhanced = "4.7.1",
					  .text = "later\xff"});
	ask("Q1");
	events = json_object_get(json_array_get(json_object_get(answer, "messages"), 0), "events");
	event = json_array_get(events, 0);
	ck_assert_str_eq(json_string_value(json_object_get(event, "sender")), "");
	ck_assert_str_eq(json_string_value(json_object_get(event, "user")), "alice@example.org");
	ck_assert_int_eq(json_integer_value(json_object_get(event, "size")), 4711);
	ck_assert_ptr_null(json_object_get(event, "recipient"));
	event = json_array_get(events, 1);
	ck_assert_str_eq(json_string_value(json_object_get(event, "recipient")), "gr\xc3\xbc\xc3\x9f"
										 "e@example.net");
	ck_assert_str_eq(json_string_value(json_object_get(event, "text")), "later?");
	ck_assert_int_eq(json_integer_value(json_object_get(event, "code")), 451);
	ck_assert_ptr_null(json_object_get(event, "sender"));
	finish();
}
END_TEST

START_TEST(the_newest_first_and_so_many)
{
	char id[20];

	start();
	for (int i = 0; i < 50; i++) {
		snprintf(id, sizeof id, "Q%d", i);
		say_received(id, NULL, "alice@example.org");
	}
	ask_line("{\"what\": \"alice@example.org\", \"most\": 3}");
	ck_assert_str_eq(told(), "Q49: received; Q48: received; Q47: received");
	ck_assert(json_is_true(json_object_get(answer, "more")));
	ask_line("{\"what\": \"alice@example.org\", \"most\": 50}");
	ck_assert(json_is_false(json_object_get(answer, "more")));
	finish();
}
END_TEST

START_TEST(it_outlives_the_process)
{
	start();
	say_received("Q1", NULL, "alice@example.org");
	ps_trace_close();
	open_trace(3600, 1 << 20);
	say(PS_TRACE_SENT, "Q1", "bob@example.net");
	ask("Q1");
	ck_assert_str_eq(told(), "Q1: received sent");
	finish();
}
END_TEST

START_TEST(without_a_journal_nothing_is_kept)
{
	ck_assert_ok(ps_loop_create(&loop));
	say(PS_TRACE_SENT, "Q1", "bob@example.net");
	ps_trace_ask("{\"what\": \"x\"}", on_answer, NULL);
	ck_assert(json_is_false(json_object_get(answer, "ok")));
	ps_loop_destroy(loop);
}
END_TEST

START_TEST(a_question_that_is_none)
{
	static const char *const odd[] = {"", "{}", "[]", "{\"what\": 1}", "{\"what\": \"\"}", "x"};

	start();
	for (size_t i = 0; i < PS_ARRAY_LEN(odd); i++) {
		ask_line(odd[i]);
		ck_assert(json_is_false(json_object_get(answer, "ok")));
	}
	finish();
}
END_TEST

START_TEST(long_texts_and_many_events_stay_bounded)
{
	struct ps_buf text = {0};
	char *dumped;

	start();
	for (int i = 0; i < 30000; i++)
		ps_buf_str(&text, "\xc3\xbc");
	for (int i = 0; i < 400; i++)
		ps_trace(&(struct ps_trace_event){
			.kind = PS_TRACE_DEFERRED, .id = "Q1", .text = ps_buf_cstr(&text), .host = ps_buf_cstr(&text)});
	ask("Q1");
	ck_assert_uint_eq(json_array_size(json_object_get(answer, "messages")), 1);
	dumped = json_dumps(answer, JSON_COMPACT);
	ck_assert_uint_lt(strlen(dumped), 101000);
	free(dumped);
	ps_buf_finish(&text);
	finish();
}
END_TEST

/* ---- bounds ---- */

static off_t journal_size(void)
{
	char path[100];
	int fd;
	off_t size;

	snprintf(path, sizeof path, "%s/data.mdb", dir);
	fd = open(path, O_RDONLY);
	size = lseek(fd, 0, SEEK_END);
	close(fd);
	return size;
}

START_TEST(the_oldest_go_when_there_is_too_much)
{
	char id[20];

	start();
	for (int i = 0; i < 20000; i++) {
		snprintf(id, sizeof id, "Q%d", i);
		say_received(id, id, "alice@example.org");
		if (i % 1000 == 0)
			ask("x");
	}
	ask("Q19999");
	ck_assert_str_eq(told(), "Q19999: received");
	ask("Q0");
	ck_assert_str_eq(told(), "");
	/* What is left is not only the last ones: the index has shrunk with the rest. */
	ask_line("{\"what\": \"alice@example.org\", \"most\": 100}");
	ck_assert_uint_eq(json_array_size(json_object_get(answer, "messages")), 100);
	ask("Q19000");
	ck_assert_str_eq(told(), "Q19000: received");
	/* 1 MiB was asked for; LMDB keeps some pages more. */
	ck_assert_int_lt(journal_size(), 4 << 20);
	finish();
}
END_TEST

START_TEST(the_oldest_go_with_time)
{
	start();
	say_received("Q1", NULL, "alice@example.org");
	ask("Q1");
	ck_assert_str_eq(told(), "Q1: received");
	ps_trace_configure(0, 1 << 20);
	usleep(2000);
	say_received("Q2", NULL, "alice@example.org");
	ask("Q1");
	ck_assert_str_eq(told(), "");
	finish();
}
END_TEST

START_TEST(a_damaged_journal_is_begun_anew)
{
	char path[100];
	int fd;

	start();
	say_received("Q1", NULL, "alice@example.org");
	ps_trace_close();
	snprintf(path, sizeof path, "%s/data.mdb", dir);
	fd = open(path, O_WRONLY | O_TRUNC);
	ck_assert_int_eq(write(fd, path, sizeof path), sizeof path);
	close(fd);
	open_trace(3600, 1 << 20);
	say_received("Q2", NULL, "alice@example.org");
	ask("alice@example.org");
	ck_assert_str_eq(told(), "Q2: received");
	finish();
}
END_TEST

static const struct {
	const char *message, *id;
} messages[] = {
	{"Subject: x\r\nMessage-ID: <a.b@c>\r\n\r\ntext\r\n", "a.b@c"},
	{"message-id:\r\n <a.b@c> (comment)\r\n\r\n", "a.b@c"},
	{"Subject: x\r\n\r\nMessage-ID: <a.b@c>\r\n", ""},
	{"Message-ID: none\r\nMessage-ID: <a.b@c>\r\n\r\n", "a.b@c"},
	{"", ""},
};

/* ---- memory ---------------------------------------------------------------------------------- */

static void pack_many(struct ps_buf *out)
{
	for (unsigned i = 0; i < 2000; i++) {
		char id[20], recipient[40];
		struct ps_trace_event event = {.kind = PS_TRACE_QUEUED, .id = id, .recipient = recipient};
		size_t start = out->len, len;

		snprintf(id, sizeof id, "%u", i * 7919 % 100003);
		snprintf(recipient, sizeof recipient, "%u@example.org", i * 104729 % 100003);
		ps_buf_append(out, "\0\0\0\0", 4);
		trace_pack(&event, 1800000000000, out);
		len = out->len - start - 4;
		out->ptr[start + 2] = (uint8_t)(len >> 8);
		out->ptr[start + 3] = (uint8_t)len;
	}
}

static size_t octets_allocated(void)
{
	return mallinfo2().uordblks + mallinfo2().hblkhd;
}

/* A sanitizer has a heap of its own. */
static bool is_counted(void)
{
	size_t before = octets_allocated();
	void *volatile block = malloc(100000);
	bool counted = octets_allocated() >= before + 100000;

	free(block);
	return counted;
}

START_TEST(memory_of_many_events_is_given_back)
{
	struct trace_journal *journal;
	struct trace_view view;
	struct ps_buf records = {0};
	size_t before;

	start();
	ps_trace_close();
	pack_many(&records);
	before = octets_allocated();
	ck_assert_ok(trace_journal_open(dir, 1 << 24, &journal));
	ck_assert_ok(trace_journal_add(journal, ps_buf_view(&records), 0, 1 << 24));
	trace_journal_rest(journal);
	if (is_counted())
		ck_assert_uint_gt(octets_allocated(), before + 400 * 1024);
	trace_journal_rest(journal);
	if (is_counted())
		ck_assert_uint_lt(octets_allocated(), before + 40 * 1024);
	ck_assert_ok(trace_view_open(journal, &view));
	trace_view_close(&view);
	trace_journal_rest(journal);
	trace_journal_rest(journal);
	ck_assert_ok(trace_journal_add(journal, ps_buf_view(&records), 0, 1 << 24));
	trace_journal_close(journal);
	ps_buf_finish(&records);
	open_trace(3600, 1 << 20);
	ask("0@example.org");
	ck_assert_str_eq(told(), "0: queued queued");
	finish();
}
END_TEST

START_TEST(the_message_id_is_in_the_message)
{
	FILE *file = tmpfile();
	struct ps_buf id = {0};

	fputs(messages[_i].message, file);
	fflush(file);
	ps_trace_message_id(fileno(file), &id);
	ck_assert_str_eq(ps_buf_cstr(&id), messages[_i].id);
	fclose(file);
	ps_buf_finish(&id);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("trace");
	TCase *tc = tcase_create("trace");

	tcase_add_test(tc, a_message_is_found_by_all_its_names);
	tcase_add_test(tc, what_was_said_is_told);
	tcase_add_test(tc, the_newest_first_and_so_many);
	tcase_add_test(tc, it_outlives_the_process);
	tcase_add_test(tc, without_a_journal_nothing_is_kept);
	tcase_add_test(tc, a_question_that_is_none);
	tcase_add_test(tc, long_texts_and_many_events_stay_bounded);
	tcase_add_test(tc, the_oldest_go_when_there_is_too_much);
	tcase_add_test(tc, the_oldest_go_with_time);
	tcase_add_test(tc, a_damaged_journal_is_begun_anew);
	tcase_add_test(tc, memory_of_many_events_is_given_back);
	tcase_add_loop_test(tc, the_message_id_is_in_the_message, 0, PS_ARRAY_LEN(messages));
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
