/* SPDX-License-Identifier: MIT */
/*
 * Sessions after log-in, with a protocol made for this: a line is a command. The store is not what is tested: its
 * two functions are replaced here.
 */
#include <stdatomic.h>
#include <sys/mman.h>
#include "core/config/config.h"
#include "core/net/mail.h"
#include "postern/log.h"
#include "tests/net/fake.h"

static struct fake_loop fake;
static struct ps_config *config;
static struct ps_mail *mail;
static int client, server;
static _Atomic(struct ps_session *) open_session;
static atomic_int opened, closed, users, gate;
static bool store_fails;

/* ---- the store, replaced ---------------------------------------------------------------------- */

int ps_user_open(const struct ps_conf *core_conf, const struct ps_user_info *info, struct ps_user **ret_user)
{
	(void)core_conf;
	ck_assert_str_eq(info->name, "alice@example.test");
	ck_assert_str_eq(info->root, "/mail/alice");
	if (store_fails)
		return ps_fail(PS_E_STORAGE, "the disk is on fire");
	atomic_fetch_add(&users, 1);
	*ret_user = (struct ps_user *)&users;
	return 0;
}

void ps_user_close(struct ps_user *user)
{
	ck_assert_ptr_eq(user, &users);
	atomic_fetch_sub(&users, 1);
}

/* ---- a protocol ------------------------------------------------------------------------------- */

struct toy {
	bool idling;
	bool turning;
	int turns;
	size_t big; /* octets still to be written */
	size_t exact;
};

static int toy_open(struct ps_session *s)
{
	atomic_store(&open_session, s);
	atomic_fetch_add(&opened, 1);
	ps_session_printf(s, "hello %s %s %.*s\n", ps_session_user_name(s), ps_session_sid(s),
			  (int)ps_session_blob(s).len, (const char *)ps_session_blob(s).ptr);
	return 0;
}

static void toy_close(struct ps_session *s)
{
	(void)s;
	atomic_fetch_add(&closed, 1);
}

static struct ps_wait for_line(uint32_t timeout_ms)
{
	return (struct ps_wait){.what = PS_WAIT_LINE, .timeout_ms = timeout_ms};
}

static struct ps_wait toy_echo(struct ps_session *s, struct ps_bytes arg)
{
	ps_session_printf(s, "echo %.*s\n", (int)arg.len, (const char *)arg.ptr);
	return for_line(0);
}

static struct ps_wait toy_idle(struct ps_session *s, struct ps_bytes arg)
{
	struct toy *toy = ps_session_state(s);

	(void)arg;
	toy->idling = true;
	ps_session_printf(s, "idling\n");
	return (struct ps_wait){.what = PS_WAIT_LINE, .wakeable = true};
}

/* Wakes itself while it runs. */
static struct ps_wait toy_selfwake(struct ps_session *s, struct ps_bytes arg)
{
	ps_session_wake(s);
	return toy_idle(s, arg);
}

static struct ps_wait toy_big(struct ps_session *s, struct ps_bytes arg)
{
	struct toy *toy = ps_session_state(s);
	uint64_t n = 0;

	ck_assert_ok(ps_bytes_u64(arg, &n));
	toy->big = (size_t)n;
	return (struct ps_wait){.what = PS_WAIT_TURN};
}

static struct ps_wait toy_file(struct ps_session *s, struct ps_bytes arg)
{
	uint64_t n = 0;
	uint8_t block[4096];
	int fd = memfd_create("file", MFD_CLOEXEC);

	ck_assert_ok(ps_bytes_u64(arg, &n));
	for (uint64_t done = 0; done < n; done += sizeof block) {
		memset(block, 'a' + (int)(done / sizeof block % 26), sizeof block);
		ck_assert_int_eq(write(fd, block, sizeof block), sizeof block);
	}
	ps_session_printf(s, "file:");
	ck_assert_ok(ps_session_send_file(s, fd, 10, n - 10));
	ps_session_printf(s, ":end\n");
	close(fd);
	return for_line(0);
}

/* Small and large pieces in turn, the large ones of memory that is gone afterwards. */
static struct ps_wait toy_pieces(struct ps_session *s, struct ps_bytes arg)
{
	uint64_t n = 0;
	char large[40000];

	ck_assert_ok(ps_bytes_u64(arg, &n));
	for (uint64_t i = 0; i < n; i++) {
		memset(large, 'a' + (int)(i % 26), sizeof large);
		ps_session_printf(s, "<%d>", (int)i);
		ps_session_write(s, large, sizeof large);
	}
	memset(large, 0, sizeof large);
	ps_session_printf(s, "end\n");
	return for_line(0);
}

static struct ps_wait toy_back(struct ps_session *s, struct ps_bytes arg)
{
	(void)arg;
	ps_session_printf(s, "going\n");
	return (struct ps_wait){.what = PS_WAIT_GONE};
}

/* Says that there is more in the file than there is. */
static struct ps_wait toy_short(struct ps_session *s, struct ps_bytes arg)
{
	int fd = memfd_create("file", MFD_CLOEXEC);

	(void)arg;
	ck_assert_ok(ps_session_send_file(s, fd, 0, 100));
	close(fd);
	return for_line(0);
}

static struct ps_wait toy_turns(struct ps_session *s, struct ps_bytes arg)
{
	struct toy *toy = ps_session_state(s);

	(void)arg;
	toy->turns = 5;
	return (struct ps_wait){.what = PS_WAIT_TURN};
}

static struct ps_wait toy_exact(struct ps_session *s, struct ps_bytes arg)
{
	struct toy *toy = ps_session_state(s);
	uint64_t n = 0;

	ck_assert_ok(ps_bytes_u64(arg, &n));
	toy->exact = (size_t)n;
	return (struct ps_wait){.what = PS_WAIT_INPUT, .n = toy->exact};
}

static struct ps_wait toy_limit(struct ps_session *s, struct ps_bytes arg)
{
	uint64_t n = 0;

	ck_assert_ok(ps_bytes_u64(arg, &n));
	ps_session_set_input_limit(s, (size_t)n);
	ps_session_printf(s, "limited\n");
	return for_line(0);
}

static struct ps_wait toy_slice(struct ps_session *s, struct ps_bytes arg)
{
	(void)arg;
	while (!ps_session_slice_over(s))
		;
	ps_session_printf(s, "slice over\n");
	return for_line(0);
}

/* Runs until the test opens the gate. */
static struct ps_wait toy_gate(struct ps_session *s, struct ps_bytes arg)
{
	(void)arg;
	atomic_store(&gate, 1);
	while (atomic_load(&gate) == 1)
		usleep(100);
	ps_session_printf(s, "through\n");
	return for_line(0);
}

static struct ps_wait toy_timeout(struct ps_session *s, struct ps_bytes arg)
{
	(void)arg;
	ps_session_printf(s, "waiting\n");
	return for_line(1);
}

static struct ps_wait toy_pause(struct ps_session *s, struct ps_bytes arg)
{
	(void)arg;
	ps_session_printf(s, "pausing\n");
	return (struct ps_wait){.what = PS_WAIT_TIME, .timeout_ms = 1};
}

static struct ps_wait toy_quit(struct ps_session *s, struct ps_bytes arg)
{
	(void)arg;
	ps_session_printf(s, "good bye\n");
	return (struct ps_wait){.what = PS_WAIT_CLOSE};
}

static const struct {
	const char *name;
	struct ps_wait (*run)(struct ps_session *s, struct ps_bytes arg);
} commands[] = {
	{"echo", toy_echo},   {"idle", toy_idle},         {"big", toy_big},       {"file", toy_file},
	{"turns", toy_turns}, {"exact", toy_exact},       {"limit", toy_limit},   {"slice", toy_slice},
	{"gate", toy_gate},   {"timeout", toy_timeout},   {"pause", toy_pause},   {"quit", toy_quit},
	{"short", toy_short}, {"selfwake", toy_selfwake}, {"pieces", toy_pieces}, {"back", toy_back},
};

static struct ps_wait toy_command(struct ps_session *s, struct ps_bytes line)
{
	ptrdiff_t blank = ps_bytes_find(line, ' ');
	struct ps_bytes verb = blank < 0 ? line : ps_bytes(line.ptr, (size_t)blank);
	struct ps_bytes arg = blank < 0 ? ps_bytes("", 0) : ps_bytes_skip(line, (size_t)blank + 1);

	for (size_t i = 0; i < PS_ARRAY_LEN(commands); i++)
		if (ps_bytes_eq_str(verb, commands[i].name))
			return commands[i].run(s, arg);
	ps_session_printf(s, "what?\n");
	return for_line(0);
}

static struct ps_wait toy_write_big(struct ps_session *s, struct toy *toy)
{
	static const char block[1000];

	while (toy->big > 0) {
		size_t n = toy->big < sizeof block ? toy->big : sizeof block;

		ps_session_write(s, block, n);
		toy->big -= n;
		if (ps_session_full(s))
			return (struct ps_wait){.what = PS_WAIT_DRAIN};
	}
	ps_session_printf(s, "big done\n");
	return for_line(0);
}

static struct ps_wait toy_run(struct ps_session *s)
{
	struct toy *toy = ps_session_state(s);
	struct ps_bytes in = ps_session_input(s);
	ptrdiff_t lf = ps_bytes_find(in, '\n');
	struct ps_wait wait;

	if (toy->big > 0)
		return toy_write_big(s, toy);
	if (toy->turns > 0) {
		ps_session_printf(s, "turn %d\n", toy->turns--);
		return toy->turns > 0 ? (struct ps_wait){.what = PS_WAIT_TURN} : for_line(0);
	}
	if (toy->exact > 0) {
		if (in.len < toy->exact && !ps_session_eof(s))
			return (struct ps_wait){.what = PS_WAIT_CLOSE};
		ps_session_printf(s, "octets%s\n", in.len < toy->exact ? ", and the end" : "");
		ps_session_consume(s, toy->exact < in.len ? toy->exact : in.len);
		toy->exact = 0;
		return for_line(0);
	}
	if (ps_session_timed_out(s)) {
		ps_session_printf(s, "timed out\n");
		return for_line(0);
	}
	if (toy->idling && ps_session_woken(s)) {
		ps_session_printf(s, "woken\n");
		return (struct ps_wait){.what = PS_WAIT_LINE, .wakeable = true};
	}
	if (lf < 0 && in.len >= 100) {
		ps_session_printf(s, "too long: %zu\n", in.len);
		ps_session_consume(s, in.len);
		return for_line(0);
	}
	if (lf < 0 && ps_session_eof(s) && in.len > 0) {
		ps_session_printf(s, "cut off: %.*s\n", (int)in.len, (const char *)in.ptr);
		return (struct ps_wait){.what = PS_WAIT_CLOSE};
	}
	if (lf < 0)
		return for_line(0); /* also at the end: the driver sees to that */
	toy->idling = false;
	wait = toy_command(s, ps_bytes(in.ptr, (size_t)lf));
	ps_session_consume(s, (size_t)lf + 1);
	if (wait.what == PS_WAIT_GONE && ps_session_hand_back(s) < 0)
		return (struct ps_wait){.what = PS_WAIT_CLOSE};
	return wait;
}

static const struct ps_half toy_half = {
	.state_size = sizeof(struct toy), .open = toy_open, .run = toy_run, .close = toy_close};
static const struct ps_protocol toy_protocol = {
	.service = "toy", .mail = &toy_half, .busy_text = "busy\n", .bye_text = "bye\n"};

/* ---- where sessions come from ----------------------------------------------------------------- */

static struct {
	atomic_int backs, overs;
	uint32_t from;
	uint64_t number;
	int fd;
	char unread[64];
} origin = {.fd = -1};

static int hand_back(void *arg, uint32_t from, uint64_t number, int fd, struct ps_bytes unread)
{
	(void)arg;
	origin.from = from;
	origin.number = number;
	origin.fd = fd;
	snprintf(origin.unread, sizeof origin.unread, "%.*s", (int)unread.len, (const char *)unread.ptr);
	ck_assert_int_eq(atomic_load(&users), 0); /* the store is closed before */
	atomic_fetch_add(&origin.backs, 1);
	return 0;
}

static void session_over(void *arg, uint32_t from, uint64_t number)
{
	(void)arg;
	ck_assert_uint_eq(from, 3);
	ck_assert_uint_eq(number, 77);
	atomic_fetch_add(&origin.overs, 1);
}

static void await(const atomic_int *count, int want)
{
	for (int i = 0; i < PATIENCE_MS && atomic_load(count) != want; i++)
		usleep(1000);
	ck_assert_int_eq(atomic_load(count), want);
}

/* ---- the fixture ------------------------------------------------------------------------------ */

static void take(void *unread)
{
	struct ps_handover handover = {
		.protocol = &toy_protocol,
		.sid = "SID1",
		.remote = "192.0.2.1:1",
		.local = "192.0.2.2:2",
		.fd = server,
		.from = 3,
		.number = 77,
		.user = {.name = "alice@example.test", .home = "/home/alice", .backend = "b", .root = "/mail/alice"},
		.unread = ps_bytes_str(unread),
		.blob = ps_bytes_str("blob"),
	};

	ck_assert_ok(ps_mail_take(mail, &handover));
}

static void connect_with(const char *unread)
{
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	client = fds[0];
	server = fds[1];
	fake_on_loop(&fake, take, (void *)unread);
}

static void setup_with(const char *settings)
{
	ps_log_set_level(PS_LOG_ERROR);
	ck_assert_ok(ps_loop_create(&fake.loop));
	config = fake_config(settings);
	ck_assert_ok(ps_mail_create(fake.loop, ps_config_root(config), 2, &mail));
	ps_mail_set_hooks(mail, &(struct ps_mail_hooks){hand_back, session_over, NULL});
	fake_loop_start(&fake);
	connect_with("");
	client_expect(client, "hello alice@example.test SID1 blob\n");
}

static void setup(void)
{
	setup_with("");
}

static void stop(void *arg)
{
	ps_mail_stop(mail, fake_loop_end, arg);
}

static void finish(void)
{
	pthread_join(fake.thread, NULL);
	ps_mail_destroy(mail);
	ps_loop_destroy(fake.loop);
	ps_config_destroy(config);
	ck_assert_int_eq(atomic_load(&users), 0);
	ck_assert_int_eq(atomic_load(&opened), atomic_load(&closed));
}

static void teardown(void)
{
	ps_loop_post(fake.loop, stop, fake.loop);
	finish();
	close(client);
}

static void nothing(void *arg)
{
	(void)arg;
}

/* What was sent before has been read by the loop. */
static void settle(void)
{
	fake_on_loop(&fake, nothing, NULL);
	fake_on_loop(&fake, nothing, NULL);
}

/* ---- the tests -------------------------------------------------------------------------------- */

START_TEST(a_command_runs_however_its_line_is_cut)
{
	static const char line[] = "echo abc\nquit\n";

	for (size_t cut = 0; cut <= strlen("echo abc\n"); cut++) {
		client_send(client, line, cut);
		settle();
		client_send(client, line + cut, strlen("echo abc\n") - cut);
		client_expect(client, "echo abc\n");
	}
}
END_TEST

START_TEST(commands_sent_together_are_answered_in_order)
{
	client_say(client, "echo 1\necho 2\nturns\necho 3\n");
	client_expect(client, "echo 1\necho 2\nturn 5\nturn 4\nturn 3\nturn 2\nturn 1\necho 3\n");
}
END_TEST

START_TEST(unread_input_of_the_hand_over_comes_first)
{
	int first = client;

	connect_with("echo early\necho ha");
	client_expect(client, "hello alice@example.test SID1 blob\necho early\n");
	client_say(client, "lf\n");
	client_expect(client, "echo half\n");
	client_say(client, "quit\n");
	client_expect(client, "good bye\n");
	client_expect_end(client);
	close(client);
	client = first;
}
END_TEST

START_TEST(quit_sends_what_is_written_and_closes)
{
	client_say(client, "quit\n");
	client_expect(client, "good bye\n");
	client_expect_end(client);
}
END_TEST

START_TEST(an_end_in_a_line_is_told_once)
{
	client_say(client, "echo all\necho hal");
	client_expect(client, "echo all\n");
	shutdown(client, SHUT_WR);
	client_expect(client, "cut off: echo hal\n");
	client_expect_end(client);
}
END_TEST

START_TEST(who_waits_for_a_line_after_the_end_is_closed)
{
	client_say(client, "echo last\n");
	shutdown(client, SHUT_WR);
	client_expect(client, "echo last\n");
	client_expect_end(client);
}
END_TEST

START_TEST(an_end_in_awaited_octets_is_told)
{
	client_say(client, "exact 5\n123");
	shutdown(client, SHUT_WR);
	client_expect(client, "octets, and the end\n");
	client_expect_end(client);
}
END_TEST

START_TEST(octets_are_awaited_until_all_are_there)
{
	client_say(client, "exact 5\n123");
	settle();
	client_say(client, "45echo x\n");
	client_expect(client, "octets\necho x\n");
}
END_TEST

START_TEST(a_line_beyond_the_limit_is_complete_for_the_protocol)
{
	char line[300];

	memset(line, 'x', sizeof line);
	client_say(client, "limit 100\n");
	client_expect(client, "limited\n");
	client_send(client, line, sizeof line);
	for (int i = 0; i < 3; i++)
		client_expect(client, "too long: 100\n");
}
END_TEST

START_TEST(a_time_out_is_told)
{
	client_say(client, "timeout\n");
	client_expect(client, "waiting\ntimed out\n");
	client_say(client, "echo on\n");
	client_expect(client, "echo on\n");
}
END_TEST

START_TEST(a_pause_ends_and_input_is_kept_meanwhile)
{
	client_say(client, "pause\necho later\n");
	client_expect(client, "pausing\ntimed out\necho later\n");
}
END_TEST

static void *wake_often(void *arg)
{
	for (int i = 0; i < 500; i++)
		ps_session_wake(arg);
	return NULL;
}

START_TEST(a_wake_is_not_lost_from_whatever_thread)
{
	struct ps_session *s = atomic_load(&open_session);

	for (int i = 0; i < 200; i++) {
		client_say(client, "idle\n");
		client_expect(client, "idling\n");
		ps_session_wake(s);
		client_expect(client, "woken\n");
	}
}
END_TEST

START_TEST(a_wake_while_running_is_remembered)
{
	client_say(client, "selfwake\n");
	client_expect(client, "idling\nwoken\n");
}
END_TEST

START_TEST(a_wake_before_the_idle_is_remembered)
{
	ps_session_wake(atomic_load(&open_session));
	client_say(client, "echo x\nidle\n");
	client_expect(client, "echo x\nidling\nwoken\n");
}
END_TEST

START_TEST(wakes_and_commands_may_race)
{
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, wake_often, atomic_load(&open_session)), 0);
	for (int i = 0; i < 200; i++) {
		client_say(client, "echo x\n");
		client_expect(client, "echo x\n");
	}
	pthread_join(thread, NULL);
}
END_TEST

static size_t read_all(size_t want, uint8_t *into)
{
	size_t have = 0;

	while (have < want) {
		ssize_t n;

		client_wait(client, POLLIN);
		n = recv(client, into + have, want - have, 0);
		ck_assert_int_gt(n, 0);
		have += (size_t)n;
	}
	return have;
}

START_TEST(a_slow_reader_gets_all_and_holds_no_memory)
{
	enum {
		BIG = 5 * 1000 * 1000
	};
	uint8_t *got = ps_malloc(BIG);
	size_t wrong = 0;

	client_say(client, "big 5000000\necho after\n");
	ck_assert_uint_eq(read_all(BIG, got), BIG);
	for (size_t i = 0; i < BIG; i++)
		wrong += got[i] != 0;
	ck_assert_uint_eq(wrong, 0);
	client_expect(client, "big done\necho after\n");
	free(got);
}
END_TEST

START_TEST(a_file_goes_out_whole_and_in_its_place)
{
	enum {
		SIZE = 4096 * 1000
	};
	uint8_t *got = ps_malloc(SIZE);
	size_t wrong = 0;

	client_say(client, "echo before\nfile 4096000\necho after\n");
	client_expect(client, "echo before\nfile:");
	read_all(SIZE - 10, got);
	for (size_t i = 0; i < SIZE - 10; i++)
		wrong += got[i] != 'a' + (i + 10) / 4096 % 26;
	ck_assert_uint_eq(wrong, 0);
	client_expect(client, ":end\necho after\n");
	free(got);
}
END_TEST

START_TEST(a_session_goes_back_with_its_unread_input)
{
	client_say(client, "echo 1\nback\necho 2\nec");
	client_expect(client, "echo 1\ngoing\n");
	await(&origin.backs, 1);
	ck_assert_uint_eq(origin.from, 3);
	ck_assert_uint_eq(origin.number, 77);
	ck_assert_str_eq(origin.unread, "echo 2\nec");
	client_say(origin.fd, "from elsewhere\n"); /* and the socket was not shut down */
	client_expect(client, "from elsewhere\n");
	ck_assert_int_eq(atomic_load(&origin.overs), 0);
	ck_assert_int_eq(atomic_load(&closed), 1);
	close(origin.fd);
}
END_TEST

START_TEST(a_session_that_ends_is_told_to_be_over)
{
	client_say(client, "quit\n");
	client_expect(client, "good bye\n");
	await(&origin.overs, 1);
	ck_assert_int_eq(atomic_load(&origin.backs), 0);
}
END_TEST

static void from_gone(void *arg)
{
	(void)arg;
	ps_mail_from_gone(mail, 3);
}

START_TEST(without_a_front_there_is_no_way_back)
{
	fake_on_loop(&fake, from_gone, NULL);
	client_say(client, "echo on\nback\n");
	client_expect(client, "echo on\ngoing\n");
	client_expect_end(client);
	ck_assert_int_eq(atomic_load(&origin.backs), 0);
	ck_assert_int_eq(atomic_load(&origin.overs), 0);
}
END_TEST

START_TEST(too_much_unread_does_not_go_back)
{
	char much[PS_HAND_BACK_MAX + 20];
	int first = client;

	memset(much, 'x', sizeof much);
	memcpy(much, "back\n", 5);
	much[sizeof much - 1] = '\0';
	connect_with(much);
	client_expect(client, "hello alice@example.test SID1 blob\ngoing\n");
	client_expect_end(client);
	ck_assert_int_eq(atomic_load(&origin.backs), 0);
	close(client);
	client = first;
}
END_TEST

START_TEST(large_pieces_keep_their_places)
{
	enum {
		PIECES = 60,
		LARGE = 40000
	};
	uint8_t *got = ps_malloc(LARGE);
	char label[16];

	client_say(client, "pieces 60\n");
	for (int i = 0; i < PIECES; i++) {
		size_t wrong = 0;

		snprintf(label, sizeof label, "<%d>", i);
		client_expect(client, label);
		ck_assert_uint_eq(read_all(LARGE, got), LARGE);
		for (size_t n = 0; n < LARGE; n++)
			wrong += got[n] != 'a' + i % 26;
		ck_assert_uint_eq(wrong, 0);
	}
	client_expect(client, "end\n");
	free(got);
}
END_TEST

START_TEST(a_file_that_has_shrunk_ends_the_connection)
{
	ps_log_set_level(-1);
	client_say(client, "short\n");
	client_expect_end(client);
}
END_TEST

START_TEST(a_client_that_goes_takes_its_session_along)
{
	client_say(client, "big 50000000\n");
	close(client);
	client = open("/dev/null", O_RDONLY | O_CLOEXEC);
	while (atomic_load(&closed) == 0)
		usleep(1000);
}
END_TEST

START_TEST(a_client_that_reads_nothing_is_dropped)
{
	setup_with("limits { output_timeout = 1s }\n");
	client_say(client, "big 50000000\n");
	while (atomic_load(&closed) == 0)
		usleep(1000);
	teardown();
}
END_TEST

START_TEST(a_slice_ends_and_others_go_on)
{
	client_say(client, "slice\nslice\necho x\n");
	client_expect(client, "slice over\nslice over\necho x\n");
}
END_TEST

START_TEST(a_stop_says_bye_to_those_who_wait)
{
	ps_loop_post(fake.loop, stop, fake.loop);
	client_expect(client, "bye\n");
	client_expect_end(client);
}
END_TEST

START_TEST(a_stop_lets_a_running_command_finish)
{
	client_say(client, "gate\n");
	while (atomic_load(&gate) != 1)
		usleep(100);
	fake_on_loop(&fake, stop, fake.loop);
	atomic_store(&gate, 2);
	client_expect(client, "through\nbye\n");
	client_expect_end(client);
}
END_TEST

START_TEST(a_store_that_cannot_be_opened_is_told_by_the_busy_text)
{
	int first = client;

	ps_log_set_level(-1);
	store_fails = true;
	connect_with("echo x\n");
	client_expect(client, "busy\n");
	client_expect_end(client);
	close(client);
	client = first;
}
END_TEST

struct seen {
	int count;
	char text[128];
};

static void note_session(void *arg, const struct ps_session_info *info)
{
	struct seen *seen = arg;

	seen->count++;
	snprintf(seen->text, sizeof seen->text, "%s %s %s %s", info->sid, info->user, info->protocol, info->remote);
}

static void each(void *arg)
{
	ps_mail_each(mail, note_session, arg);
}

START_TEST(sessions_are_listed)
{
	struct seen seen = {.count = 0};

	fake_on_loop(&fake, each, &seen);
	ck_assert_int_eq(seen.count, 1);
	ck_assert_str_eq(seen.text, "SID1 alice@example.test toy 192.0.2.1:1");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mail");
	TCase *tcase = tcase_create("mail"), *limits = tcase_create("limits");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, a_command_runs_however_its_line_is_cut);
	tcase_add_test(tcase, commands_sent_together_are_answered_in_order);
	tcase_add_test(tcase, unread_input_of_the_hand_over_comes_first);
	tcase_add_test(tcase, quit_sends_what_is_written_and_closes);
	tcase_add_test(tcase, an_end_in_a_line_is_told_once);
	tcase_add_test(tcase, who_waits_for_a_line_after_the_end_is_closed);
	tcase_add_test(tcase, an_end_in_awaited_octets_is_told);
	tcase_add_test(tcase, octets_are_awaited_until_all_are_there);
	tcase_add_test(tcase, a_line_beyond_the_limit_is_complete_for_the_protocol);
	tcase_add_test(tcase, a_time_out_is_told);
	tcase_add_test(tcase, a_pause_ends_and_input_is_kept_meanwhile);
	tcase_add_test(tcase, a_wake_is_not_lost_from_whatever_thread);
	tcase_add_test(tcase, a_wake_while_running_is_remembered);
	tcase_add_test(tcase, a_wake_before_the_idle_is_remembered);
	tcase_add_test(tcase, wakes_and_commands_may_race);
	tcase_add_test(tcase, a_slow_reader_gets_all_and_holds_no_memory);
	tcase_add_test(tcase, a_file_goes_out_whole_and_in_its_place);
	tcase_add_test(tcase, large_pieces_keep_their_places);
	tcase_add_test(tcase, a_session_goes_back_with_its_unread_input);
	tcase_add_test(tcase, a_session_that_ends_is_told_to_be_over);
	tcase_add_test(tcase, without_a_front_there_is_no_way_back);
	tcase_add_test(tcase, too_much_unread_does_not_go_back);
	tcase_add_test(tcase, a_file_that_has_shrunk_ends_the_connection);
	tcase_add_test(tcase, a_client_that_goes_takes_its_session_along);
	tcase_add_test(tcase, a_slice_ends_and_others_go_on);
	tcase_add_test(tcase, a_stop_says_bye_to_those_who_wait);
	tcase_add_test(tcase, a_stop_lets_a_running_command_finish);
	tcase_add_test(tcase, a_store_that_cannot_be_opened_is_told_by_the_busy_text);
	tcase_add_test(tcase, sessions_are_listed);
	suite_add_tcase(suite, tcase);
	tcase_add_test(limits, a_client_that_reads_nothing_is_dropped);
	suite_add_tcase(suite, limits);
	return unit_main(suite);
}
