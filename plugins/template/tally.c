/* SPDX-License-Identifier: MIT */
/*
 * tally - a small protocol, to begin one of your own from.
 *
 * A client says its name and password, and is told how many messages each of its mailboxes holds:
 *
 *	S: +OK tally
 *	C: LOGIN alice@example.test secret
 *	S: INBOX 12 3
 *	S: .
 *
 * The front half talks to strangers: it runs in a process without files and without mail, on the event loop, and must not block. What
 * it needs of others it asks for, and returns what it waits for. After the log-in the mail half goes on, on a thread that may block.
 */
#include <string.h>
#include "postern/login.h"
#include "postern/plugin.h"
#include "postern/protocol.h"
#include "postern/store.h"

#define LINE_MAX_OCTETS 512

static const struct ps_wait wait_line = {.what = PS_WAIT_LINE, .n = LINE_MAX_OCTETS};
static const struct ps_wait wait_reply = {.what = PS_WAIT_REPLY};
static const struct ps_wait wait_close = {.what = PS_WAIT_CLOSE};

struct tally {
	bool greeted, asked;
	struct ps_login login;
};

static struct ps_wait close_with(struct ps_session *s, const char *line)
{
	ps_session_write(s, line, strlen(line));
	return wait_close;
}

/* "LOGIN name password" */
static bool parse_login(struct ps_bytes line, struct ps_bytes *ret_name, struct ps_bytes *ret_password)
{
	static const char verb[] = "LOGIN ";
	ptrdiff_t blank;

	if (line.len < sizeof verb || memcmp(line.ptr, verb, sizeof verb - 1) != 0)
		return false;
	line = ps_bytes_skip(line, sizeof verb - 1);
	blank = ps_bytes_find(line, ' ');
	if (blank < 0)
		return false;
	*ret_name = ps_bytes(line.ptr, (size_t)blank);
	*ret_password = ps_bytes_skip(line, (size_t)blank + 1);
	return true;
}

static struct ps_wait ask(struct ps_session *s, struct tally *tally)
{
	struct ps_bytes input = ps_session_input(s);
	const uint8_t *end = input.len > 0 ? memchr(input.ptr, '\n', input.len) : NULL;
	struct ps_bytes name, password;
	size_t length;

	if (!end)
		return input.len >= LINE_MAX_OCTETS ? close_with(s, "-ERR the line is too long\r\n")
		       : ps_session_eof(s)          ? wait_close
						    : wait_line;
	length = (size_t)(end - input.ptr);
	if (!ps_session_plaintext_ok(s))
		return close_with(s, "-ERR not without TLS\r\n");
	if (!parse_login(ps_bytes(input.ptr, length > 0 && end[-1] == '\r' ? length - 1 : length), &name, &password))
		return close_with(s, "-ERR LOGIN name password\r\n");
	ps_login_password(&tally->login, s, name, password);
	ps_session_consume(s, length + 1);
	tally->asked = true;
	return wait_reply;
}

static struct ps_wait front_run(struct ps_session *s)
{
	struct tally *tally = ps_session_state(s);
	struct ps_wait wait;

	if (ps_session_timed_out(s))
		return close_with(s, "-ERR too slow\r\n");
	if (!tally->greeted) {
		ps_session_printf(s, "+OK tally\r\n");
		tally->greeted = true;
	}
	if (!tally->asked)
		return ask(s, tally);
	switch (ps_login_go_on(&tally->login, s, &wait).status) {
	case PS_AUTH_NONE: return wait;
	case PS_AUTH_OK: ps_session_hand_over(s, ps_bytes(NULL, 0)); return (struct ps_wait){.what = PS_WAIT_GONE};
	case PS_AUTH_TEMPFAIL: return close_with(s, "-ERR try again later\r\n");
	default: return close_with(s, "-ERR the name or the password is wrong\r\n");
	}
}

static int tell(void *arg, const struct ps_mailbox_info *info)
{
	if (info->attributes & PS_MBOX_EXISTS)
		ps_session_printf(arg, "%s %u %u\r\n", info->name, info->messages, info->unseen);
	return 0;
}

static struct ps_wait mail_run(struct ps_session *s)
{
	if (ps_user_list(ps_session_user(s), tell, s) < 0)
		return close_with(s, "-ERR the mailboxes cannot be read now\r\n");
	return close_with(s, ".\r\n");
}

static const struct ps_half front = {.state_size = sizeof(struct tally), .run = front_run};
static const struct ps_half mail = {.run = mail_run};

static const struct ps_protocol tally_protocol = {
	.service = "tally",
	.front = &front,
	.mail = &mail,
	.busy_text = "-ERR the server cannot serve you now\r\n",
	.gss_service = "tally",
};

PS_PLUGIN_EXPORT = {
	.abi = PS_ABI,
	.size = sizeof(struct ps_plugin),
	.kind = PS_PLUGIN_PROTOCOL,
	.ops_size = sizeof(struct ps_protocol),
	.name = "tally",
	.summary = "tells how many messages each mailbox holds",
	.build = PS_BUILD, /* it uses in-tree headers */
	.ops = &tally_protocol,
};
