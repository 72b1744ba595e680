/* SPDX-License-Identifier: MIT */
/*
 * core/process/channel.h - messages over a SOCK_SEQPACKET socket, on the loop or waiting.
 */
#ifndef CORE_PROCESS_CHANNEL_H
#define CORE_PROCESS_CHANNEL_H

#include "core/event/loop.h"
#include "core/process/messages.h"

struct ps_channel;

/* Who handles a message: a role's table of these ends with type 0. A descriptor in the message is closed after the
 * call unless it was taken with ps_take_fd(). */
struct ps_handler {
	uint32_t type;
	void (*fn)(void *arg, struct ps_channel *from, union ps_message *message);
};

struct ps_channel_args {
	int fd;              /* taken over, whatever ps_channel_open() returns */
	uint32_t self, peer; /* one PS_ROLE_ each */
	unsigned index;      /* which of several peers of this role */
	const struct ps_handler *handlers;
	const enum ps_phase *phase; /* of this process; read at each message */
	/* The other side has gone, or (offence) broke the rules, which has been logged. Called once; nothing is read any
	 * more. Usually calls ps_channel_destroy(). */
	void (*closed)(void *arg, struct ps_channel *channel, bool offence);
	void *arg;
};

/* Two connected, non-blocking, close-on-exec ends. */
int ps_channel_pair(int ret_fds[2]);

int ps_channel_open(struct ps_loop *loop, const struct ps_channel_args *args, struct ps_channel **ret_channel);
/* May be called in a handler. What is still queued is lost. destroy(NULL) does nothing. */
void ps_channel_destroy(struct ps_channel *channel);
/* While paused nothing is read; what comes waits in the socket. */
void ps_channel_pause(struct ps_channel *channel, bool paused);
uint32_t ps_channel_peer(const struct ps_channel *channel);
unsigned ps_channel_index(const struct ps_channel *channel);

/* Sends now or queues. The message's descriptors are closed when it has gone, or if it cannot go. PS_E_CLOSED,
 * PS_E_LIMIT: the other side does not read. */
int ps_channel_send(struct ps_channel *channel, uint32_t type, const void *message);

/* The descriptor becomes the caller's. */
int ps_take_fd(int *fd);

/* ---- waiting: for a thread of its own, and before there is a loop ------------------------------------ */

/* One received message; its texts and octets point into it. */
struct ps_inbox {
	uint8_t octets[PS_MESSAGE_MAX];
	const struct ps_message_row *row;
	union ps_message message;
};
/* Waits for a message and unpacks it. `from` is the other side's role, as in ps_channel_args. PS_E_CLOSED: the other side
 * has gone. PS_E_AGAIN: nothing came for timeout_ms (negative: no time-out). Any other failure is an offence. */
int ps_wait_receive(int fd, int timeout_ms, uint32_t from, uint32_t self, enum ps_phase phase, struct ps_inbox *inbox);
/* Sends; waits while the socket is full. The descriptors stay the caller's. */
int ps_wait_send(int fd, uint32_t type, const void *message);
/* Closes the descriptors that were not taken. */
void ps_inbox_close(struct ps_inbox *inbox);

#endif
