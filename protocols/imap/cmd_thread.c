/* SPDX-License-Identifier: MIT */
#include "postern/error.h"
#include "protocols/imap/commands.h"
#include "protocols/imap/search_parse.h"

static void finish(struct imap_cmd *cmd)
{
	ps_thread_destroy(cmd->state);
}

static bool slice_over(void *session)
{
	return ps_session_dead(session) || ps_session_slice_over(session);
}

static int begin(struct imap_cmd *cmd)
{
	struct ps_search_node *root;
	int r;

	if (imap_args_space(&cmd->args) < 0 || !imap_args_take_word(&cmd->args, "ORDEREDSUBJECT"))
		return ps_fail(PS_E_SYNTAX, "THREAD: no such algorithm");
	if ((r = imap_args_space(&cmd->args)) < 0 || (r = imap_search_program(cmd, &root)) < 0)
		return r;
	cmd->state = ps_thread_create(cmd->imap->view, cmd->pool, root);
	cmd->finish = finish;
	return 0;
}

static void put_number(struct imap_cmd *cmd, size_t thread, size_t message)
{
	uint32_t seq, uid;

	ps_thread_get(cmd->state, thread, message, &seq, &uid);
	ps_buf_u64(imap_output(cmd->imap), cmd->by_uid ? uid : seq);
}

/* "(1)", "(1 2)", "(1 (2)(3))": all but the first are its children. */
static void put_thread(struct imap_cmd *cmd, size_t thread)
{
	struct ps_buf *out = imap_output(cmd->imap);
	size_t length = ps_thread_length(cmd->state, thread);

	ps_buf_char(out, '(');
	put_number(cmd, thread, 0);
	if (length > 1)
		ps_buf_char(out, ' ');
	if (length == 2)
		put_number(cmd, thread, 1);
	for (size_t i = 1; length > 2 && i < length; i++) {
		ps_buf_char(out, '(');
		put_number(cmd, thread, i);
		ps_buf_char(out, ')');
	}
	ps_buf_char(out, ')');
}

/* THREAD (RFC 5256):  "THREAD" SP algorithm SP charset 1*(SP search-key) */
static enum imap_next cmd_thread(struct imap_cmd *cmd)
{
	struct ps_buf *out = imap_output(cmd->imap);
	size_t count;
	int r = cmd->state ? 0 : begin(cmd);

	if (r == PS_E_UNSUPPORTED)
		return imap_no(cmd, "BADCHARSET (US-ASCII UTF-8)", "That charset is not known here");
	if (r < 0)
		return imap_refuse(cmd, r, "THREAD takes an algorithm that is announced, a charset and keys");
	r = ps_thread_step(cmd->state, slice_over, cmd->imap->session);
	if (r == 0) {
		cmd->wait = (struct ps_wait){.what = PS_WAIT_TURN};
		return IMAP_WAIT;
	}
	if (r < 0)
		return imap_no_err(cmd, r);
	count = ps_thread_count(cmd->state);
	ps_buf_str(out, count ? "* THREAD " : "* THREAD");
	for (size_t i = 0; i < count; i++)
		put_thread(cmd, i);
	ps_buf_str(out, "\r\n");
	return imap_ok(cmd, "THREAD completed");
}

const struct imap_command imap_cmd_thread = {
	.name = "THREAD",
	.states = IMAP_SELECTED,
	.flags = IMAP_UID | IMAP_KEEPS_NUMBERS,
	.run = cmd_thread,
};
