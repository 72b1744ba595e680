/* SPDX-License-Identifier: MIT */
/*
 * What the tests of sessions share: a client on the other end of a socket that never blocks for ever, and a loop
 * that is driven from the test.
 */
#ifndef TESTS_NET_FAKE_H
#define TESTS_NET_FAKE_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include "core/config/config.h"
#include "core/event/loop.h"
#include "tests/unit.h"

/* Generous: reached only by a failure. */
enum {
	PATIENCE_MS = 60000
};

/* A configuration with these settings. */
static inline struct ps_config *fake_config(const char *settings)
{
	PS_CLEANUP(ps_buf_finish) struct ps_buf text = {0};
	struct ps_config *config;

	ps_buf_printf(&text, "mail_root = \"/mail\"\nhostname = \"test\"\n%s", settings);
	ck_assert_ok(ps_config_read("test", ps_buf_view(&text), NULL, &config));
	return config;
}

/* Runs the loop in a thread of its own, so that the test is a plain blocking client. */
struct fake_loop {
	struct ps_loop *loop;
	pthread_t thread;
};

static inline void *fake_loop_main(void *arg)
{
	ps_loop_run(arg);
	return NULL;
}

static inline void fake_loop_start(struct fake_loop *fake)
{
	ck_assert_int_eq(pthread_create(&fake->thread, NULL, fake_loop_main, fake->loop), 0);
}

/* A call on the loop's thread, awaited. */
struct fake_call {
	void (*fn)(void *arg);
	void *arg;
	int done[2];
};

static inline void fake_call_run(void *arg)
{
	struct fake_call *call = arg;

	call->fn(call->arg);
	if (write(call->done[1], "", 1) != 1)
		abort();
}

static inline void fake_on_loop(struct fake_loop *fake, void (*fn)(void *arg), void *arg)
{
	struct fake_call call = {.fn = fn, .arg = arg};
	char c;

	ck_assert_int_eq(pipe(call.done), 0);
	ps_loop_post(fake->loop, fake_call_run, &call);
	ck_assert_int_eq(read(call.done[0], &c, 1), 1);
	close(call.done[0]);
	close(call.done[1]);
}

static inline void fake_loop_end(void *arg)
{
	ps_loop_stop(arg);
}

static inline void fake_loop_stop(struct fake_loop *fake)
{
	ps_loop_post(fake->loop, fake_loop_end, fake->loop);
	pthread_join(fake->thread, NULL);
}

static inline void client_wait(int fd, short events)
{
	struct pollfd pfd = {.fd = fd, .events = events};

	ck_assert_msg(poll(&pfd, 1, PATIENCE_MS) == 1, "nothing happened for a long time");
}

static inline void client_send(int fd, const void *data, size_t len)
{
	const char *at = data;

	while (len > 0) {
		ssize_t n;

		client_wait(fd, POLLOUT);
		n = send(fd, at, len, MSG_NOSIGNAL);
		ck_assert_msg(n > 0, "send: %s", strerror(errno));
		at += n;
		len -= (size_t)n;
	}
}

static inline void client_say(int fd, const char *text)
{
	client_send(fd, text, strlen(text));
}

/* Reads exactly this. */
static inline void client_expect(int fd, const char *text)
{
	size_t want = strlen(text), have = 0;
	char got[4096];

	ck_assert_uint_lt(want, sizeof got);
	while (have < want) {
		ssize_t n;

		client_wait(fd, POLLIN);
		n = recv(fd, got + have, want - have, 0);
		ck_assert_msg(n > 0, "expected \"%s\", got \"%.*s\" and then the end", text, (int)have, got);
		have += (size_t)n;
	}
	got[have] = '\0';
	ck_assert_str_eq(got, text);
}

/* The other side closes, and says nothing more before. */
static inline void client_expect_end(int fd)
{
	char got[256];
	ssize_t n;

	client_wait(fd, POLLIN);
	n = recv(fd, got, sizeof got, 0);
	ck_assert_msg(n == 0 || (n < 0 && errno == ECONNRESET), "expected the end, got %zd: %.*s", n,
		      n > 0 ? (int)n : 0, got);
}

#endif
