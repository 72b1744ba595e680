/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "core/process/channel.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

/* Octets that may wait for a peer that does not read: a busy one is some messages behind, a stuck one this much. */
#define QUEUE_MAX (32u << 20)

/* Messages handled before others on the loop have a turn. */
#define BURST 32

struct queued {
	struct queued *next;
	struct ps_packed packed;
};

struct ps_channel {
	struct ps_channel_args args;
	struct ps_watch *watch;
	struct ps_inbox *inbox;
	struct queued *head, **tail;
	size_t queued;
	bool may_bring; /* descriptors, and so each message is looked at before it is taken */
	bool paused, closed;
	/* A handler may destroy the channel that called it: freeing waits until the call has returned. */
	bool busy, destroyed;
};

int ps_take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

int ps_channel_pair(int ret_fds[2])
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ret_fds) < 0)
		return ps_fail_errno("socketpair");
	return 0;
}

/* ---- one packet ------------------------------------------------------------------------------------- */

union control {
	struct cmsghdr align;
	char octets[CMSG_SPACE(sizeof(int) * PS_MESSAGE_FDS_MAX)];
};

static int send_packet(int fd, const struct ps_packed *packed)
{
	union control control = {0};
	struct iovec iov = {packed->octets.ptr, packed->octets.len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (packed->fd_count) {
		msg.msg_control = control.octets;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * packed->fd_count);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int) * packed->fd_count);
		memcpy(CMSG_DATA(&control.align), packed->fds, sizeof(int) * packed->fd_count);
	}
	do
		n = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return 0;
	if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN)
		return ps_fail(PS_E_CLOSED, "the other process has gone");
	return ps_fail_errno("send a message");
}

static void close_all(const int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

/* Gathers the descriptors that came; more than any message has are closed at once. */
static size_t gather_fds(struct msghdr *msg, int fds[PS_MESSAGE_FDS_MAX])
{
	size_t count = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
			if (count < PS_MESSAGE_FDS_MAX)
				fds[count++] = fd;
			else
				close(fd);
		}
	}
	return count;
}

/*
 * When our table of descriptors is full, a message comes without those that it brings, and what it was about is lost: a session, or all
 * that a role will ever hear of another. So room is kept for them. In each process one thread alone receives any.
 */
static int spare[PS_MESSAGE_FDS_MAX] = {-1, -1, -1, -1};

static void spare_keep(void)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(spare); i++)
		if (spare[i] < 0)
			spare[i] = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
}

/* As many as one message brings. */
static void spare_release(size_t count)
{
	close_all(spare, count);
	for (size_t i = 0; i < count; i++)
		spare[i] = -1;
}

/* Whether `from` has any message for `to` that brings descriptors: between most roles there is none. */
static bool may_bring_descriptors(uint32_t from, uint32_t to)
{
	const struct ps_message_row *row;

	for (uint32_t type = 1; (row = ps_message_row(type)); type++)
		if (row->fd_count > 0 && (row->from & from) && (row->to & to))
			return true;
	return false;
}

/* How many the next message brings. Negative: there is none, or nobody to send one; errno tells. */
static ssize_t count_descriptors(int fd)
{
	const struct ps_message_row *row;
	uint32_t type;
	ssize_t n;

	do
		n = recv(fd, &type, sizeof type, MSG_PEEK | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return n;
	row = n == sizeof type ? ps_message_row(type) : NULL;
	return row ? (ssize_t)row->fd_count : 0;
}

static ssize_t receive_packet(int fd, struct msghdr *msg, bool may_bring)
{
	ssize_t brings = may_bring ? count_descriptors(fd) : 0;
	ssize_t n;

	if (brings < 0)
		return brings;
	if (brings > 0)
		spare_release((size_t)brings);
	do
		n = recvmsg(fd, msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (brings > 0)
		spare_keep();
	return n;
}

/* Another thread was quicker to use what was kept: whoever handles the message finds that it has none. */
static size_t without_descriptors(const struct ps_message_row *row, int fds[PS_MESSAGE_FDS_MAX], size_t count)
{
	while (row && count < row->fd_count)
		fds[count++] = -1;
	return count;
}

/* Receives and unpacks. PS_E_AGAIN, PS_E_CLOSED; all else is an offence. */
static int receive(int fd, bool may_bring, uint32_t from, uint32_t self, enum ps_phase phase, struct ps_inbox *inbox)
{
	union control control;
	struct iovec iov = {inbox->octets, sizeof inbox->octets};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.octets,
			     .msg_controllen = sizeof control.octets};
	int fds[PS_MESSAGE_FDS_MAX], r;
	struct ps_bytes octets;
	size_t fd_count;
	ssize_t n;

	n = receive_packet(fd, &msg, may_bring);
	if (n == 0 || (n < 0 && errno == ECONNRESET))
		return ps_fail(PS_E_CLOSED, "the other process has gone");
	if (n < 0)
		return ps_fail_errno("receive a message");
	octets = ps_bytes(inbox->octets, (size_t)n);
	fd_count = gather_fds(&msg, fds);
	inbox->row = ps_message_row(ps_message_type(octets));
	if ((msg.msg_flags & MSG_CTRUNC) && fd_count < PS_MESSAGE_FDS_MAX) {
		msg.msg_flags &= ~MSG_CTRUNC;
		fd_count = without_descriptors(inbox->row, fds, fd_count);
	}
	if (msg.msg_flags & (MSG_CTRUNC | MSG_TRUNC))
		r = ps_fail(PS_E_SYNTAX, "longer, or with more descriptors, than any message");
	else if (!inbox->row)
		r = ps_fail(PS_E_SYNTAX, "no known type");
	else if ((r = ps_message_permitted(inbox->row, from, self, phase)) == 0)
		r = ps_message_unpack(octets, fds, fd_count, &inbox->message);
	if (r < 0)
		close_all(fds, fd_count);
	return r;
}

void ps_inbox_close(struct ps_inbox *inbox)
{
	for (size_t i = 0; i < inbox->row->field_count; i++) {
		const struct ps_message_field *field = &inbox->row->fields[i];

		if (field->type == PS_FIELD_FD)
			ps_closep((int *)((uint8_t *)&inbox->message + field->offset));
	}
}

/* ---- on the loop ------------------------------------------------------------------------------------ */

static void set_events(struct ps_channel *channel)
{
	unsigned read = channel->paused || channel->closed ? 0 : PS_READABLE;

	ps_watch_set(channel->watch, read | (channel->head && !channel->closed ? PS_WRITABLE : 0));
}

static void queued_destroy(struct queued *queued)
{
	close_all(queued->packed.fds, queued->packed.fd_count);
	ps_buf_wipe(&queued->packed.octets);
	free(queued);
}

static void drop_queue(struct ps_channel *channel)
{
	while (channel->head) {
		struct queued *next = channel->head->next;

		queued_destroy(channel->head);
		channel->head = next;
	}
	channel->tail = &channel->head;
	channel->queued = 0;
}

static void free_channel(struct ps_channel *channel)
{
	drop_queue(channel);
	ps_watch_close(channel->watch);
	close(channel->args.fd);
	free(channel->inbox);
	free(channel);
}

static void end(struct ps_channel *channel, bool offence)
{
	if (channel->closed)
		return;
	channel->closed = true;
	drop_queue(channel);
	set_events(channel);
	if (offence)
		ps_log(PS_LOG_ERROR, "message_offence", "peer", ps_role_name(channel->args.peer), "index",
		       ps_num(channel->args.index), "msg", ps_last_error(), NULL);
	channel->args.closed(channel->args.arg, channel, offence);
}

static void flush(struct ps_channel *channel)
{
	while (channel->head) {
		struct queued *first = channel->head;
		int r = send_packet(channel->args.fd, &first->packed);

		if (r == PS_E_AGAIN)
			break;
		if (r < 0 && r != PS_E_CLOSED)
			ps_log(PS_LOG_ERROR, "message_lost", "peer", ps_role_name(channel->args.peer), "msg",
			       ps_last_error(), NULL);
		/* That the other side has gone is learnt by reading, after what it said last. */
		channel->head = first->next;
		if (!channel->head)
			channel->tail = &channel->head;
		channel->queued -= first->packed.octets.len;
		queued_destroy(first);
	}
	set_events(channel);
}

static void dispatch(struct ps_channel *channel)
{
	const struct ps_handler *handler = channel->args.handlers;

	while (handler->type && handler->type != channel->inbox->row->type)
		handler++;
	if (handler->type)
		handler->fn(channel->args.arg, channel, &channel->inbox->message);
	else
		ps_log(PS_LOG_ERROR, "message_unhandled", "type", channel->inbox->row->name, NULL);
	ps_inbox_close(channel->inbox);
}

static void read_some(struct ps_channel *channel)
{
	for (int i = 0; i < BURST && !channel->paused && !channel->closed && !channel->destroyed; i++) {
		int r = receive(channel->args.fd, channel->may_bring, channel->args.peer, channel->args.self,
				*channel->args.phase, channel->inbox);

		if (r == PS_E_AGAIN)
			break;
		if (r < 0)
			end(channel, r != PS_E_CLOSED);
		else
			dispatch(channel);
	}
}

static void on_events(void *arg, unsigned events)
{
	struct ps_channel *channel = arg;

	channel->busy = true;
	if (events & PS_WRITABLE)
		flush(channel);
	if (events & (PS_READABLE | PS_HANGUP))
		read_some(channel);
	channel->busy = false;
	if (channel->destroyed)
		free_channel(channel);
}

int ps_channel_open(struct ps_loop *loop, const struct ps_channel_args *args, struct ps_channel **ret_channel)
{
	struct ps_channel *channel = ps_zalloc(sizeof *channel);
	int r;

	channel->args = *args;
	channel->tail = &channel->head;
	channel->inbox = ps_malloc(sizeof *channel->inbox);
	channel->may_bring = may_bring_descriptors(args->peer, args->self);
	spare_keep();
	r = ps_watch_open(loop, args->fd, on_events, channel, &channel->watch);
	if (r < 0) {
		free_channel(channel);
		return r;
	}
	set_events(channel);
	*ret_channel = channel;
	return 0;
}

void ps_channel_destroy(struct ps_channel *channel)
{
	if (!channel)
		return;
	channel->destroyed = true;
	if (!channel->busy)
		free_channel(channel);
}

void ps_channel_pause(struct ps_channel *channel, bool paused)
{
	channel->paused = paused;
	set_events(channel);
}

uint32_t ps_channel_peer(const struct ps_channel *channel)
{
	return channel->args.peer;
}

unsigned ps_channel_index(const struct ps_channel *channel)
{
	return channel->args.index;
}

static void enqueue(struct ps_channel *channel, struct ps_packed *packed)
{
	struct queued *queued = ps_zalloc(sizeof *queued);

	queued->packed = *packed;
	*channel->tail = queued;
	channel->tail = &queued->next;
	channel->queued += packed->octets.len;
	set_events(channel);
}

static void close_message_fds(uint32_t type, const void *message)
{
	const struct ps_message_row *row = ps_message_row(type);

	for (size_t i = 0; i < row->field_count; i++) {
		int fd = -1;

		if (row->fields[i].type == PS_FIELD_FD)
			memcpy(&fd, (const uint8_t *)message + row->fields[i].offset, sizeof fd);
		ps_closep(&fd);
	}
}

int ps_channel_send(struct ps_channel *channel, uint32_t type, const void *message)
{
	struct ps_packed packed;
	int r = ps_message_pack(type, message, &packed);

	if (r < 0) {
		close_message_fds(type, message);
		return r;
	}
	if (channel->closed)
		r = ps_fail(PS_E_CLOSED, "the other process has gone");
	else if (channel->queued + packed.octets.len > QUEUE_MAX)
		r = ps_fail(PS_E_LIMIT, "%s does not read its messages", ps_role_name(channel->args.peer));
	else
		r = channel->head ? PS_E_AGAIN : send_packet(channel->args.fd, &packed);
	if (r == PS_E_AGAIN) {
		enqueue(channel, &packed);
		return 0;
	}
	close_all(packed.fds, packed.fd_count);
	ps_buf_wipe(&packed.octets);
	return r;
}

/* ---- waiting ---------------------------------------------------------------------------------------- */

static int wait_for(int fd, short events, int timeout_ms)
{
	struct pollfd poll_fd = {.fd = fd, .events = events};
	int n;

	do
		n = poll(&poll_fd, 1, timeout_ms);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return ps_fail_errno("poll");
	return n ? 0 : ps_fail(PS_E_AGAIN, "no answer in time");
}

int ps_wait_receive(int fd, int timeout_ms, uint32_t from, uint32_t self, enum ps_phase phase, struct ps_inbox *inbox)
{
	int r = wait_for(fd, POLLIN, timeout_ms);

	return r < 0 ? r : receive(fd, may_bring_descriptors(from, self), from, self, phase, inbox);
}

int ps_wait_send(int fd, uint32_t type, const void *message)
{
	struct ps_packed packed;
	int r = ps_message_pack(type, message, &packed);

	if (r < 0)
		return r;
	while ((r = send_packet(fd, &packed)) == PS_E_AGAIN && (r = wait_for(fd, POLLOUT, -1)) == 0)
		;
	ps_buf_wipe(&packed.octets);
	return r;
}
