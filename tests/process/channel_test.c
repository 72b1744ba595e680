/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include "core/process/channel.h"
#include "tests/unit.h"

/* One end on a loop, as auth sees a front; the other is a bare socket in our hand. */
struct scene {
	struct ps_loop *loop;
	struct ps_channel *channel;
	int other;
	enum ps_phase phase;
	unsigned cancels, steps, closes, hand_overs;
	uint64_t last_number;
	bool offence, destroy_in_handler, keep_fd;
	int kept_fd;
};

static void stop(struct scene *scene)
{
	ps_loop_stop(scene->loop);
}

static void on_cancel(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct scene *scene = arg;

	scene->cancels++;
	scene->last_number = message->auth_cancel.number;
	if (scene->destroy_in_handler) {
		ps_channel_destroy(from);
		scene->channel = NULL;
	}
	stop(scene);
}

static void on_step(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct scene *scene = arg;

	(void)from;
	(void)message;
	scene->steps++;
}

static void on_hand_over(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct scene *scene = arg;

	(void)from;
	scene->hand_overs++;
	if (scene->keep_fd)
		scene->kept_fd = ps_take_fd(&message->hand_over.connection);
	stop(scene);
}

static void on_closed(void *arg, struct ps_channel *channel, bool offence)
{
	struct scene *scene = arg;

	scene->closes++;
	scene->offence = offence;
	ps_channel_destroy(channel);
	scene->channel = NULL;
	stop(scene);
}

static const struct ps_handler handlers[] = {
	{PS_MSG_AUTH_CANCEL, on_cancel}, {PS_MSG_AUTH_STEP, on_step}, {PS_MSG_HAND_OVER, on_hand_over}, {0, NULL}};

static void set_up(struct scene *scene, uint32_t self)
{
	struct ps_channel_args args = {
		.self = self,
		.peer = PS_ROLE_FRONT,
		.handlers = handlers,
		.phase = &scene->phase,
		.closed = on_closed,
		.arg = scene,
	};
	int fds[2];

	*scene = (struct scene){.phase = PS_PHASE_SERVING, .kept_fd = -1};
	ck_assert_ok(ps_channel_pair(fds));
	ck_assert_ok(ps_loop_create(&scene->loop));
	args.fd = fds[0];
	scene->other = fds[1];
	ck_assert_ok(ps_channel_open(scene->loop, &args, &scene->channel));
}

static void tear_down(struct scene *scene)
{
	ps_channel_destroy(scene->channel);
	ps_closep(&scene->other);
	ps_closep(&scene->kept_fd);
	ps_loop_destroy(scene->loop);
}

static int open_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

START_TEST(a_message_reaches_its_handler)
{
	struct ps_msg_auth_cancel cancel = {.number = 42};
	struct scene scene;

	set_up(&scene, PS_ROLE_AUTH);
	ck_assert_ok(ps_wait_send(scene.other, PS_MSG_AUTH_CANCEL, &cancel));
	ps_loop_run(scene.loop);
	ck_assert_uint_eq(scene.cancels, 1);
	ck_assert_uint_eq(scene.last_number, 42);
	tear_down(&scene);
}
END_TEST

START_TEST(a_handler_may_destroy_its_channel)
{
	struct ps_msg_auth_cancel cancel = {.number = 1};
	struct scene scene;

	set_up(&scene, PS_ROLE_AUTH);
	scene.destroy_in_handler = true;
	ck_assert_ok(ps_wait_send(scene.other, PS_MSG_AUTH_CANCEL, &cancel));
	ck_assert_ok(ps_wait_send(scene.other, PS_MSG_AUTH_CANCEL, &cancel));
	ps_loop_run(scene.loop);
	ck_assert_uint_eq(scene.cancels, 1);
	tear_down(&scene);
}
END_TEST

START_TEST(the_other_side_going_is_no_offence_and_its_last_words_are_heard)
{
	struct ps_msg_auth_step step = {.number = 1};
	struct scene scene;

	set_up(&scene, PS_ROLE_AUTH);
	ck_assert_ok(ps_wait_send(scene.other, PS_MSG_AUTH_STEP, &step));
	ps_closep(&scene.other);
	ps_loop_run(scene.loop);
	ck_assert_uint_eq(scene.steps, 1);
	ck_assert_uint_eq(scene.closes, 1);
	ck_assert(!scene.offence);
	tear_down(&scene);
}
END_TEST

static void send_octets(int fd, const void *octets, size_t len, const int *fds, size_t fd_count)
{
	union {
		struct cmsghdr align;
		char octets[CMSG_SPACE(sizeof(int) * 8)];
	} control = {0};
	struct iovec iov = {(void *)octets, len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd_count) {
		msg.msg_control = control.octets;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
		memcpy(CMSG_DATA(&control.align), fds, sizeof(int) * fd_count);
	}
	ck_assert_int_eq(sendmsg(fd, &msg, 0), (ssize_t)len);
}

/* What a front in a stranger's hand may try. */
static const struct {
	const char *what;
	uint32_t self, type;
	size_t len, fds;
} offences[] = {
	{"an unknown type", PS_ROLE_AUTH, 9999, 4, 0},
	{"no whole type", PS_ROLE_AUTH, PS_MSG_AUTH_CANCEL, 2, 0},
	{"a message cut short", PS_ROLE_AUTH, PS_MSG_AUTH_CANCEL, 8, 0},
	{"another's message", PS_ROLE_AUTH, PS_MSG_STOP, 4, 0},
	{"a descriptor too many", PS_ROLE_AUTH, PS_MSG_AUTH_CANCEL, 12, 1},
	{"very many descriptors", PS_ROLE_AUTH, PS_MSG_AUTH_CANCEL, 12, 8},
	{"a descriptor too few", PS_ROLE_MAIL, PS_MSG_HAND_OVER, 64, 0},
	{"longer than any message", PS_ROLE_AUTH, PS_MSG_AUTH_CANCEL, PS_MESSAGE_MAX + 1, 0},
	{"a message for another role", PS_ROLE_AUTH, PS_MSG_HAND_OVER, 64, 1},
};

START_TEST(who_breaks_the_rules_is_heard_no_more_and_leaks_no_descriptor)
{
	static uint8_t octets[PS_MESSAGE_MAX + 1];
	struct ps_msg_auth_step step = {.number = 1};
	int fds[8] = {0, 0, 0, 0, 0, 0, 0, 0}, before;
	struct scene scene;

	set_up(&scene, offences[_i].self);
	before = open_fds();
	memcpy(octets, &offences[_i].type, sizeof offences[_i].type);
	send_octets(scene.other, octets, offences[_i].len, fds, offences[_i].fds);
	ck_assert_ok(ps_wait_send(scene.other, PS_MSG_AUTH_STEP, &step));
	ps_loop_run(scene.loop);
	ck_assert_msg(scene.offence, "%s", offences[_i].what);
	ck_assert_uint_eq(scene.closes, 1);
	ck_assert_uint_eq(scene.steps, 0);
	ck_assert_int_eq(open_fds(), before - 1); /* the channel's own */
	tear_down(&scene);
}
END_TEST

static void send_hand_over(int to, int fd)
{
	struct ps_msg_hand_over message = {
		.protocol = "imap", .sid = "s", .remote = "r", .local = "l", .blob = ps_bytes("", 0), .connection = fd};

	ck_assert_ok(ps_wait_send(to, PS_MSG_HAND_OVER, &message));
}

START_TEST(a_descriptor_that_no_handler_takes_is_closed)
{
	int fds[2], before;
	struct scene scene;
	char octet;

	set_up(&scene, PS_ROLE_MAIL);
	ck_assert_int_eq(pipe(fds), 0);
	scene.keep_fd = _i == 1;
	before = open_fds();
	send_hand_over(scene.other, fds[1]);
	ps_loop_run(scene.loop);
	ck_assert_uint_eq(scene.hand_overs, 1);
	ck_assert_int_eq(open_fds(), before + (_i == 1));
	if (_i == 1) {
		ck_assert_int_eq(write(scene.kept_fd, "x", 1), 1);
		ck_assert_int_eq(read(fds[0], &octet, 1), 1);
	}
	close(fds[0]);
	close(fds[1]);
	tear_down(&scene);
}
END_TEST

START_TEST(descriptors_come_even_when_all_others_are_in_use)
{
	struct rlimit before, little;
	struct scene scene;

	set_up(&scene, PS_ROLE_MAIL);
	scene.keep_fd = true;
	getrlimit(RLIMIT_NOFILE, &before);
	little = before;
	little.rlim_cur = 64;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &little), 0);
	while (dup(STDERR_FILENO) >= 0)
		;
	for (int i = 0; i < 2; i++) {
		send_hand_over(scene.other, STDERR_FILENO);
		ps_loop_run(scene.loop);
		ck_assert_int_ge(scene.kept_fd, 0);
		ps_closep(&scene.kept_fd); /* a place for the next */
		scene.kept_fd = -1;
	}
	ck_assert_uint_eq(scene.hand_overs, 2);
	ck_assert_uint_eq(scene.closes, 0);
	setrlimit(RLIMIT_NOFILE, &before);
	tear_down(&scene);
}
END_TEST

START_TEST(while_paused_messages_wait)
{
	struct ps_msg_auth_cancel cancel = {.number = 1};
	struct scene scene;

	set_up(&scene, PS_ROLE_AUTH);
	ps_channel_pause(scene.channel, true);
	ck_assert_ok(ps_wait_send(scene.other, PS_MSG_AUTH_CANCEL, &cancel));
	ps_loop_post(scene.loop, (void (*)(void *))stop, &scene);
	ps_loop_run(scene.loop);
	ck_assert_uint_eq(scene.cancels, 0);
	ps_channel_pause(scene.channel, false);
	ps_loop_run(scene.loop);
	ck_assert_uint_eq(scene.cancels, 1);
	tear_down(&scene);
}
END_TEST

struct draining {
	struct scene *scene;
	struct ps_watch *watch;
	struct ps_inbox inbox;
	uint64_t next, count;
};

static void drain(void *arg, unsigned events)
{
	struct draining *d = arg;

	(void)events;
	ck_assert_ok(ps_wait_receive(d->scene->other, 0, PS_ROLE_AUTH, PS_ROLE_FRONT, PS_PHASE_SERVING, &d->inbox));
	ck_assert_uint_eq(d->inbox.message.auth_answer.number, d->next++);
	ck_assert_uint_eq(d->inbox.message.auth_answer.data.len, 8000);
	if (d->next == d->count)
		stop(d->scene);
}

START_TEST(what_the_socket_does_not_take_is_queued_in_order)
{
	static uint8_t data[8000];
	struct draining d = {.count = 500};
	struct scene scene;

	set_up(&scene, PS_ROLE_AUTH);
	d.scene = &scene;
	for (uint64_t i = 0; i < d.count; i++) {
		struct ps_msg_auth_answer answer = {.number = i, .data = ps_bytes(data, sizeof data)};

		ck_assert_ok(ps_channel_send(scene.channel, PS_MSG_AUTH_ANSWER, &answer));
	}
	ck_assert_ok(ps_watch_open(scene.loop, scene.other, drain, &d, &d.watch));
	ps_watch_set(d.watch, PS_READABLE);
	ps_loop_run(scene.loop);
	ck_assert_uint_eq(d.next, d.count);
	ps_watch_close(d.watch);
	tear_down(&scene);
}
END_TEST

START_TEST(who_never_reads_is_not_queued_for_ever)
{
	static uint8_t data[8000];
	struct ps_msg_auth_answer answer = {.data = ps_bytes(data, sizeof data)};
	struct scene scene;
	int r = 0, n = 0;

	set_up(&scene, PS_ROLE_AUTH);
	while (r == 0 && n++ < 100000)
		r = ps_channel_send(scene.channel, PS_MSG_AUTH_ANSWER, &answer);
	ck_assert_int_eq(r, PS_E_LIMIT);
	tear_down(&scene);
}
END_TEST

START_TEST(sending_closes_the_descriptor_whatever_happens)
{
	struct ps_msg_hand_over message = {
		.protocol = "imap", .sid = "s", .remote = "r", .local = "l", .blob = ps_bytes("", 0)};
	char sid[100];
	struct scene scene;
	int before;

	memset(sid, 'x', sizeof sid);
	sid[sizeof sid - 1] = '\0';
	set_up(&scene, PS_ROLE_AUTH);
	before = open_fds();
	message.connection = dup(0);
	message.sid = sid; /* too long: cannot be packed */
	ck_assert_int_eq(ps_channel_send(scene.channel, PS_MSG_HAND_OVER, &message), PS_E_LIMIT);
	ck_assert_int_eq(open_fds(), before);
	message.sid = "s";
	message.connection = dup(0);
	ps_closep(&scene.other);
	ck_assert_int_eq(ps_channel_send(scene.channel, PS_MSG_HAND_OVER, &message), PS_E_CLOSED);
	ck_assert_int_eq(open_fds(), before - 1);
	tear_down(&scene);
}
END_TEST

START_TEST(waiting_ends_when_nothing_comes)
{
	static struct ps_inbox inbox;
	int fds[2];

	ck_assert_ok(ps_channel_pair(fds));
	ck_assert_int_eq(ps_wait_receive(fds[0], 1, PS_ROLE_FRONT, PS_ROLE_SIGNER, PS_PHASE_SERVING, &inbox),
			 PS_E_AGAIN);
	close(fds[1]);
	ck_assert_int_eq(ps_wait_receive(fds[0], -1, PS_ROLE_FRONT, PS_ROLE_SIGNER, PS_PHASE_SERVING, &inbox),
			 PS_E_CLOSED);
	close(fds[0]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("channel");
	TCase *tc = tcase_create("channel");

	tcase_add_test(tc, a_message_reaches_its_handler);
	tcase_add_test(tc, a_handler_may_destroy_its_channel);
	tcase_add_test(tc, the_other_side_going_is_no_offence_and_its_last_words_are_heard);
	tcase_add_loop_test(tc, who_breaks_the_rules_is_heard_no_more_and_leaks_no_descriptor, 0,
			    PS_ARRAY_LEN(offences));
	tcase_add_loop_test(tc, a_descriptor_that_no_handler_takes_is_closed, 0, 2);
	tcase_add_test(tc, descriptors_come_even_when_all_others_are_in_use);
	tcase_add_test(tc, while_paused_messages_wait);
	tcase_add_test(tc, what_the_socket_does_not_take_is_queued_in_order);
	tcase_add_test(tc, who_never_reads_is_not_queued_for_ever);
	tcase_add_test(tc, sending_closes_the_descriptor_whatever_happens);
	tcase_add_test(tc, waiting_ends_when_nothing_comes);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
