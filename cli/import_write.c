/* SPDX-License-Identifier: MIT */
/* The process that acts as the user: takes messages as descriptors and puts them into mailboxes, in batches. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli/import.h"

enum {
	BATCH_MESSAGES = 100,
	BATCH_OCTETS = 32 << 20
};

/* One datagram each way; a request carries the message's descriptor. Both ends are the same program. */
struct request {
	bool finish;
	bool plain;
	uint32_t flags;
	int64_t date;
	char mailbox[1024];
	char keywords[2048];
};

struct reply {
	enum import_outcome outcome;
	struct import_totals totals; /* only what is stored */
	char text[400];
};

struct writer {
	struct cli *cli;
	struct ps_user *user;
	int fd;
	char *mailbox; /* the one that is open */
	struct ps_append *append;
	struct import_seen *seen;
	unsigned pending;
	uint64_t pending_octets;
	struct import_totals totals;
};

/* ---- the user's side ---- */

static int commit(struct writer *w)
{
	struct ps_pool *pool;
	struct ps_op_result *results;
	int r;

	if (w->pending == 0)
		return 0;
	pool = ps_pool_create("import");
	results = PS_NEWV(pool, struct ps_op_result, w->pending);
	r = ps_append_commit(w->append, pool, results);
	ps_pool_destroy(pool);
	ps_append_close(w->append);
	w->append = NULL;
	if (r < 0)
		return r;
	w->totals.imported += w->pending;
	w->totals.octets += w->pending_octets;
	w->pending = 0;
	w->pending_octets = 0;
	return 0;
}

static int leave_mailbox(struct writer *w)
{
	int r = commit(w);

	ps_append_close(w->append);
	import_seen_close(w->seen);
	ps_freep(&w->mailbox);
	w->mailbox = NULL;
	w->append = NULL;
	w->seen = NULL;
	return r;
}

/* Mailboxes that are not there are made, and subscribed to, or most programs would not show them. */
static int enter_mailbox(struct writer *w, const char *name)
{
	struct ps_mailbox_info info;
	int r;

	if (w->mailbox && strcmp(w->mailbox, name) == 0)
		return 0;
	if ((r = leave_mailbox(w)) < 0)
		return r;
	r = ps_user_status(w->user, name, &info);
	if (r == PS_E_NOTFOUND && (r = ps_user_create(w->user, name, 0)) == 0)
		r = ps_user_subscribe(w->user, name, true);
	if (r < 0 || (r = import_seen_open(w->user, name, &w->seen)) < 0)
		return r;
	w->mailbox = ps_strdup(name);
	return 0;
}

static int write_octets(void *arg, struct ps_bytes octets)
{
	return ps_append_write(arg, octets);
}

static const char *const *split_keywords(struct ps_pool *pool, char *text)
{
	const char **list = PS_NEWV(pool, const char *, PS_KEYWORDS_MAX + 1);
	char *rest = NULL;
	size_t n = 0;

	for (char *word = strtok_r(text, " ", &rest); word && n < PS_KEYWORDS_MAX; word = strtok_r(NULL, " ", &rest))
		list[n++] = word;
	return list;
}

/* An error here is one of storage, and ends the import: the batch cannot be trusted any more. */
static int append(struct writer *w, struct request *q, const struct import_text *text)
{
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("message");
	struct ps_append_message message = {.flags = q->flags, .internal_date = q->date, .size_hint = text->size};
	int r;

	message.keywords = split_keywords(pool, q->keywords);
	if (!w->append && (r = ps_append_open(w->user, w->mailbox, &w->append)) < 0)
		return r;
	if ((r = ps_append_begin(w->append, &message)) < 0 ||
	    (r = import_text_each(text, write_octets, w->append)) < 0 || (r = ps_append_end(w->append)) < 0)
		return r;
	w->pending++;
	w->pending_octets += text->size;
	return w->pending >= BATCH_MESSAGES || w->pending_octets >= BATCH_OCTETS ? commit(w) : 0;
}

static int check_size(struct writer *w, uint64_t size)
{
	const struct ps_conf *limits = ps_conf_section(ps_config_root(w->cli->config), "limits", 0);
	int64_t limit = ps_conf_int(limits, "message_size");

	if (size > (uint64_t)limit)
		return ps_fail(PS_E_LIMIT, "it has %llu octets, and the setting message_size allows %lld",
			       (unsigned long long)size, (long long)limit);
	return 0;
}

static enum import_outcome take(struct writer *w, struct request *q, int fd)
{
	struct import_text text;
	int r = import_text_open(fd, q->plain, &text);

	if (r == PS_E_SYNTAX) {
		w->totals.ignored++;
		return IMPORT_NOT_A_MESSAGE;
	}
	if (r < 0 || check_size(w, text.size) < 0) {
		w->totals.failed++;
		return IMPORT_FAILED;
	}
	if (enter_mailbox(w, q->mailbox) < 0 || (r = import_seen_match(w->seen, q->date, &text)) < 0)
		return IMPORT_FATAL;
	if (r == 1) {
		w->totals.there++;
		return IMPORT_THERE;
	}
	return append(w, q, &text) < 0 ? IMPORT_FATAL : IMPORT_DONE;
}

static ssize_t receive(int socket_fd, void *data, size_t size, int *ret_fd)
{
	union {
		struct cmsghdr header;
		char octets[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {data, size};
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	ssize_t n = recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC);
	const struct cmsghdr *header = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;

	*ret_fd = -1;
	if (header && header->cmsg_type == SCM_RIGHTS)
		memcpy(ret_fd, CMSG_DATA(header), sizeof *ret_fd);
	return n;
}

static void serve(struct writer *w)
{
	struct request q;
	struct reply reply;
	int fd;

	do {
		if (receive(w->fd, &q, sizeof q, &fd) != (ssize_t)sizeof q)
			break;
		memset(&reply, 0, sizeof reply);
		if (q.finish)
			reply.outcome = leave_mailbox(w) < 0 ? IMPORT_FATAL : IMPORT_DONE;
		else
			reply.outcome = take(w, &q, fd);
		reply.totals = w->totals;
		snprintf(reply.text, sizeof reply.text, "%s", ps_last_error());
		ps_closep(&fd);
		if (send(w->fd, &reply, sizeof reply, MSG_NOSIGNAL) < 0)
			break;
	} while (!q.finish && reply.outcome != IMPORT_FATAL);
	leave_mailbox(w);
}

static int writer_main(struct cli *cli, const struct ps_user_info *info, int fd)
{
	struct writer w = {.cli = cli, .fd = fd};
	struct reply ready = {.outcome = IMPORT_DONE};

	if (cli_become(info) < 0 || ps_user_open(ps_config_root(cli->config), info, &w.user) < 0) {
		ready.outcome = IMPORT_FATAL;
		snprintf(ready.text, sizeof ready.text, "%s", ps_last_error());
	}
	if (send(fd, &ready, sizeof ready, MSG_NOSIGNAL) < 0 || ready.outcome == IMPORT_FATAL)
		return CLI_FAILED;
	serve(&w);
	ps_user_close(w.user);
	return CLI_OK;
}

/* ---- the caller's side ---- */

static int get_reply(struct import_writer *writer, struct reply *ret_reply)
{
	int fd;

	if (receive(writer->fd, ret_reply, sizeof *ret_reply, &fd) != (ssize_t)sizeof *ret_reply)
		return ps_fail(PS_E_CLOSED, "the process that writes the mail has ended");
	return 0;
}

int import_writer_start(struct cli *cli, const struct ps_user_info *info, struct import_writer *ret_writer)
{
	struct import_writer writer;
	struct reply ready;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return ps_fail_errno("a pair of sockets");
	fflush(NULL);
	writer = (struct import_writer){.fd = pair[0], .pid = fork()};
	if (writer.pid == 0) {
		close(pair[0]);
		_exit(writer_main(cli, info, pair[1]));
	}
	close(pair[1]);
	if (writer.pid < 0) {
		close(pair[0]);
		return ps_fail_errno("fork");
	}
	if (get_reply(&writer, &ready) < 0 || ready.outcome == IMPORT_FATAL) {
		close(writer.fd);
		waitpid(writer.pid, NULL, 0);
		return ps_fail(PS_E_INTERNAL, "%s", ready.text);
	}
	*ret_writer = writer;
	return 0;
}

static int send_request(struct import_writer *writer, const struct request *q, int fd)
{
	union {
		struct cmsghdr header;
		char octets[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {(void *)(uintptr_t)q, sizeof *q};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		memset(&control, 0, sizeof control);
		message.msg_control = &control;
		message.msg_controllen = sizeof control.octets;
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
	}
	if (sendmsg(writer->fd, &message, MSG_NOSIGNAL) < 0)
		return ps_fail_errno("the process that writes the mail");
	return 0;
}

enum import_outcome import_writer_put(struct import_writer *writer, const struct import_message *message, int fd,
				      char *text, size_t text_size)
{
	struct request q = {.flags = message->flags, .date = message->date, .plain = message->plain};
	struct reply reply;

	snprintf(q.mailbox, sizeof q.mailbox, "%s", message->mailbox);
	snprintf(q.keywords, sizeof q.keywords, "%s", message->keywords ? message->keywords : "");
	if (send_request(writer, &q, fd) < 0 || get_reply(writer, &reply) < 0) {
		snprintf(text, text_size, "%s", ps_last_error());
		return IMPORT_FATAL;
	}
	snprintf(text, text_size, "%s", reply.text);
	return reply.outcome;
}

int import_writer_finish(struct import_writer *writer, struct import_totals *ret_totals)
{
	struct request q = {.finish = true};
	struct reply reply;
	int r = send_request(writer, &q, -1);

	if (r == 0 && (r = get_reply(writer, &reply)) == 0) {
		*ret_totals = reply.totals;
		if (reply.outcome == IMPORT_FATAL)
			r = ps_fail(PS_E_STORAGE, "%s", reply.text);
	}
	close(writer->fd);
	waitpid(writer->pid, NULL, 0);
	return r;
}
