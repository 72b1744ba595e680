/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include "core/process/control.h"
#include "postern/error.h"
#include "postern/pool.h"

#define ANSWER_SECONDS 10

static int connect_to(const char *path, int *ret_fd)
{
	PS_CLEANUP(ps_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval patience = {.tv_sec = ANSWER_SECONDS};

	if (fd < 0)
		return ps_fail_errno("socket");
	if (strlen(path) >= sizeof address.sun_path)
		return ps_fail(PS_E_LIMIT, "%s: longer than the %zu octets of a socket's name", path,
			       sizeof address.sun_path - 1);
	strcpy(address.sun_path, path);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
		if (errno == ECONNREFUSED)
			errno = ENOENT; /* what a server that died has left */
		return ps_fail_errno("connect to %s", path);
	}
	*ret_fd = fd;
	fd = -1;
	return 0;
}

static int read_answer(int fd, struct ps_buf *out)
{
	char octets[4096];
	ssize_t n;

	for (;;) {
		n = recv(fd, octets, sizeof octets, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ps_fail_errno("wait for the server's answer");
		if (n == 0)
			return out->len ? 0 : ps_fail(PS_E_CLOSED, "the server gave no answer");
		if (ps_buf_append(out, octets, (size_t)n) < 0)
			return PS_E_LIMIT;
		if (memchr(octets, '\n', (size_t)n))
			return 0;
	}
}

int ps_control_ask(const char *run_dir, const char *what, struct ps_buf *ret_answer)
{
	PS_CLEANUP(ps_freep) char *line = NULL;

	if (asprintf(&line, "{\"do\": \"%s\"}", what) < 0)
		return ps_fail(PS_E_LIMIT, "no memory");
	return ps_control_ask_line(run_dir, line, ret_answer);
}

int ps_control_ask_line(const char *run_dir, const char *line, struct ps_buf *ret_answer)
{
	PS_CLEANUP(ps_freep) char *path = NULL, *request = NULL;
	PS_CLEANUP(ps_closep) int fd = -1;
	int r;

	if (asprintf(&path, "%s/control", run_dir) < 0 || asprintf(&request, "%s\n", line) < 0)
		return ps_fail(PS_E_LIMIT, "no memory");
	if ((r = connect_to(path, &fd)) < 0)
		return r;
	if (send(fd, request, strlen(request), MSG_NOSIGNAL) < 0)
		return ps_fail_errno("ask the server");
	return read_answer(fd, ret_answer);
}
