/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include "core/delivery/deliver.h"
#include "postern/error.h"

/* RFC 5321 section 4.4: the final delivery adds Return-Path on top. Delivered-To tells loops. */
static int put_head(struct ps_append *append, const struct ps_deliver_args *args)
{
	struct ps_buf head = {0};
	int r;

	ps_buf_printf(&head, "Return-Path: <%s>\r\nDelivered-To: %s\r\n", args->reverse_path, args->recipient);
	r = ps_append_write(append, ps_buf_view(&head));
	ps_buf_finish(&head);
	return r;
}

static int put_file(struct ps_append *append, int file, uint64_t size)
{
	uint8_t space[65536];
	uint64_t done = 0;
	int r;

	while (done < size) {
		ssize_t n = pread(file, space, sizeof space, (off_t)done);

		if (n < 0)
			return ps_fail_errno("read a message from the spool");
		if (n == 0)
			return ps_fail(PS_E_STORAGE, "a message in the spool is shorter than it was");
		if ((uint64_t)n > size - done)
			n = (ssize_t)(size - done);
		if ((r = ps_append_write(append, ps_bytes(space, (size_t)n))) < 0)
			return r;
		done += (uint64_t)n;
	}
	return 0;
}

/* ---- loops ----------------------------------------------------------------------------------- */

enum {
	TRACE_MAX = 65536 /* trace fields stand at the top of a header */
};

static bool is_own_trace(struct ps_bytes line, const char *recipient)
{
	static const char name[] = "Delivered-To:";

	if (line.len < sizeof name - 1 || strncasecmp((const char *)line.ptr, name, sizeof name - 1) != 0)
		return false;
	line = ps_bytes_skip(line, sizeof name - 1);
	while (line.len > 0 && (line.ptr[0] == ' ' || line.ptr[0] == '\t'))
		line = ps_bytes_skip(line, 1);
	return line.len == strlen(recipient) && strncasecmp((const char *)line.ptr, recipient, line.len) == 0;
}

static int check_loop(const struct ps_deliver_args *args)
{
	uint8_t space[TRACE_MAX];
	ssize_t n = pread(args->file, space, sizeof space, 0);
	struct ps_bytes rest = ps_bytes(space, n > 0 ? (size_t)n : 0);
	const uint8_t *end;

	while ((end = memmem(rest.ptr, rest.len, "\r\n", 2)) && end > rest.ptr) {
		if (is_own_trace(ps_bytes(rest.ptr, (size_t)(end - rest.ptr)), args->recipient))
			return ps_fail(PS_E_CONFLICT, "the message was delivered to %s before", args->recipient);
		rest = ps_bytes_skip(rest, (size_t)(end - rest.ptr) + 2);
	}
	return 0;
}

/* ---- storing --------------------------------------------------------------------------------- */

static int append_all(struct ps_append *append, const struct ps_deliver_args *args)
{
	struct ps_append_message message = {.internal_date = INT64_MIN, .size_hint = args->size};
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("deliver");
	struct ps_op_result result;
	int r;

	ps_append_once(append, args->token);
	if ((r = ps_append_begin(append, &message)) < 0 || (r = put_head(append, args)) < 0 ||
	    (r = put_file(append, args->file, args->size)) < 0 || (r = ps_append_end(append)) < 0)
		return r;
	return ps_append_commit(append, pool, &result);
}

/* A folder that is not there, or cannot be, does not keep mail away. */
static int open_mailbox(struct ps_user *user, const char *mailbox, struct ps_append **ret_append)
{
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("mailbox");
	const char *name;

	if (mailbox && ps_mailbox_name_normalise(ps_bytes_str(mailbox), pool, &name) == 0 &&
	    ps_mailbox_name_check(name) == 0 && ps_append_open(user, name, ret_append) == 0)
		return 0;
	return ps_append_open(user, "INBOX", ret_append);
}

int ps_deliver(const struct ps_conf *core_conf, const struct ps_deliver_args *args)
{
	struct ps_append *append;
	struct ps_user *user;
	int r = args->refuse_loop ? check_loop(args) : 0;

	if (r < 0 || (r = ps_user_open(core_conf, &args->user, &user)) < 0)
		return r;
	r = open_mailbox(user, args->mailbox, &append);
	if (r == 0) {
		r = append_all(append, args);
		ps_append_close(append);
	}
	ps_user_close(user);
	return r;
}

int ps_deliver_ask(const struct ps_conf *core_conf, const struct ps_deliver_args *args)
{
	struct ps_append *append;
	struct ps_user *user;
	int r = ps_user_open(core_conf, &args->user, &user);

	if (r < 0)
		return r;
	r = open_mailbox(user, args->mailbox, &append);
	if (r == 0) {
		r = ps_append_ask(append, args->size ? args->size : 1);
		ps_append_close(append);
	}
	ps_user_close(user);
	return r;
}
