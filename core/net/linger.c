/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "core/net/linger.h"
#include "postern/pool.h"

enum {
	LINGER_MS = 2000,
	LINGER_OCTETS = 1024 * 1024, /* of a client that goes on sending */
	LINGER_READ = 16 * 1024,
};

struct lingering {
	struct lingers *all;
	struct lingering *prev, *next;
	struct ps_watch *watch;
	struct ps_timer *timer;
	int fd;
	size_t octets;
	void (*done)(void *arg);
	void *arg;
};

static void linger_end(void *arg)
{
	struct lingering *linger = arg;

	if (linger->prev)
		linger->prev->next = linger->next;
	else
		linger->all->first = linger->next;
	if (linger->next)
		linger->next->prev = linger->prev;
	ps_watch_close(linger->watch);
	ps_timer_close(linger->timer);
	close(linger->fd);
	if (linger->done)
		linger->done(linger->arg);
	free(linger);
}

static void on_input(void *arg, unsigned events)
{
	struct lingering *linger = arg;
	char unwanted[LINGER_READ];
	ssize_t n;

	(void)events;
	do {
		n = recv(linger->fd, unwanted, sizeof unwanted, MSG_DONTWAIT);
		if (n > 0)
			linger->octets += (size_t)n;
	} while (n > 0 && linger->octets < LINGER_OCTETS);
	if (n >= 0 || (errno != EAGAIN && errno != EINTR))
		linger_end(linger);
}

void linger_start(struct lingers *lingers, int fd, void (*done)(void *arg), void *arg)
{
	struct lingering *linger = ps_zalloc(sizeof *linger);

	*linger = (struct lingering){.all = lingers, .next = lingers->first, .fd = fd, .done = done, .arg = arg};
	if (linger->next)
		linger->next->prev = linger;
	lingers->first = linger;
	if (ps_watch_open(lingers->loop, fd, on_input, linger, &linger->watch) < 0 ||
	    ps_timer_open(lingers->loop, linger_end, linger, &linger->timer) < 0) {
		linger_end(linger);
		return;
	}
	ps_watch_set(linger->watch, PS_READABLE);
	ps_timer_set(linger->timer, LINGER_MS, 0);
}

void lingers_finish(struct lingers *lingers)
{
	while (lingers->first)
		linger_end(lingers->first);
}
