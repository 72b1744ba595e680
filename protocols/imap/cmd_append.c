/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include "postern/error.h"
#include "protocols/imap/commands.h"

enum {
	PIECE = 32 << 10, /* octets taken from the client at a time */
	TAIL_MAX = 1024,  /* what may stand behind the message: nothing but the line end */
};

struct append {
	struct ps_append *append;
	uint64_t left; /* octets of the message still to come */
};

struct request {
	const char *mailbox;
	struct imap_flags flags;
	int64_t date;
};

static void finish(struct imap_cmd *cmd)
{
	struct append *append = cmd->state;

	ps_append_close(append->append);
}

static int parse_date(struct imap_cmd *cmd, int64_t *ret_date)
{
	struct ps_bytes text;
	int r = imap_args_string(&cmd->args, cmd->pool, &text);

	if (r == 0)
		r = ps_imap_date_parse(text, ret_date);
	return r < 0 ? r : imap_args_space(&cmd->args);
}

static int parse(struct imap_cmd *cmd, struct request *request)
{
	struct imap_args *args = &cmd->args;
	int r;

	request->date = INT64_MIN; /* now */
	if ((r = imap_args_space(args)) < 0 || (r = imap_mailbox_arg(cmd, &request->mailbox)) < 0 ||
	    (r = imap_args_space(args)) < 0)
		return r;
	if (imap_args_peek(args) == '(' &&
	    ((r = imap_flags_parse(args, false, cmd->pool, &request->flags)) < 0 || (r = imap_args_space(args)) < 0))
		return r;
	if (imap_args_peek(args) == '"' && (r = parse_date(cmd, &request->date)) < 0)
		return r;
	return imap_args_end(args);
}

/* Whether what comes next is the message: something stands before it. */
static bool streams(struct imap_args before)
{
	return imap_args_take(&before, ' ') && !imap_args_done(&before);
}

static int open_append(struct imap_cmd *cmd, const struct request *request)
{
	struct append *append = PS_NEW(cmd->pool, struct append);
	struct ps_append_message message = {
		.flags = request->flags.system,
		.keywords = request->flags.keywords,
		.internal_date = request->date,
		.size_hint = cmd->literal->octets,
	};
	int r = ps_append_open(cmd->imap->user, request->mailbox, &append->append);

	if (r < 0)
		return r;
	cmd->state = append;
	cmd->finish = finish;
	append->left = cmd->literal->octets;
	r = ps_append_begin(append->append, &message);
	cmd->literal_taken = r == 0;
	return r;
}

/* Takes what has arrived of the message. */
static int take_octets(struct imap_cmd *cmd)
{
	struct append *append = cmd->state;
	struct ps_session *s = cmd->imap->session;

	while (append->left > 0 && ps_session_input(s).len > 0) {
		struct ps_bytes in = ps_session_input(s);
		int r;

		if (in.len > append->left)
			in.len = (size_t)append->left;
		append->left -= in.len;
		r = ps_append_write(append->append, in);
		ps_session_consume(s, in.len);
		if (r < 0)
			return r;
	}
	return 0;
}

static enum imap_next commit(struct imap_cmd *cmd)
{
	struct append *append = cmd->state;
	struct ps_op_result result = {0};
	int r;

	if ((r = ps_append_end(append->append)) < 0 || (r = ps_append_commit(append->append, cmd->pool, &result)) < 0)
		return imap_no_target(cmd, r);
	return imap_ok_code(cmd,
			    ps_pool_printf(cmd->pool, "APPENDUID %" PRIu32 " %" PRIu32, result.uid_validity,
					   result.new_uids[0].first),
			    "APPEND completed");
}

/* The message is there; its command must end now. */
static enum imap_next take_tail(struct imap_cmd *cmd)
{
	struct ps_session *s = cmd->imap->session;
	struct ps_bytes in = ps_session_input(s);
	ptrdiff_t lf = ps_bytes_find(in, '\n');

	if (lf == 0 || (lf == 1 && in.ptr[0] == '\r')) {
		ps_session_consume(s, (size_t)lf + 1);
		return commit(cmd);
	}
	if (lf >= 0 || in.len >= TAIL_MAX) {
		imap_reader_skip(&cmd->imap->reader, 0);
		return imap_bad(cmd, "APPEND ends with one message");
	}
	return imap_gave_up(cmd) ? IMAP_DONE : imap_wait_line(cmd, TAIL_MAX);
}

static enum imap_next go_on(struct imap_cmd *cmd)
{
	struct append *append = cmd->state;
	int r = take_octets(cmd);

	if (r < 0) {
		imap_reader_skip(&cmd->imap->reader, append->left);
		return imap_no_target(cmd, r);
	}
	if (append->left == 0)
		return take_tail(cmd);
	if (imap_gave_up(cmd))
		return IMAP_DONE;
	return imap_wait_input(cmd, append->left < PIECE ? (size_t)append->left : PIECE);
}

static uint64_t message_size(struct imap_cmd *cmd)
{
	const struct ps_conf *core = ps_session_core_conf(cmd->imap->session);

	return (uint64_t)ps_conf_int(ps_conf_section(core, "limits", 0), "message_size");
}

/* APPEND (RFC 3501, 6.3.11; RFC 4315):  "APPEND" SP mailbox [SP flag-list] [SP date-time] SP literal */
static enum imap_next cmd_append(struct imap_cmd *cmd)
{
	struct request request = {0};
	int r;

	if (cmd->state)
		return go_on(cmd);
	if ((r = parse(cmd, &request)) < 0 || !cmd->literal)
		return imap_refuse(cmd, r < 0 ? r : PS_E_SYNTAX,
				   "APPEND takes a mailbox, flags, a date and a message as literal");
	if (cmd->literal->octets == 0)
		return imap_no(cmd, "CANNOT", "An empty message cannot be stored");
	if (cmd->literal->octets > message_size(cmd))
		return imap_no(cmd, "TOOBIG", "That message is too large");
	if ((r = open_append(cmd, &request)) < 0)
		return imap_no_target(cmd, r);
	if (cmd->literal->synchronising)
		ps_buf_str(imap_output(cmd->imap), "+ Ready for the message\r\n");
	return go_on(cmd);
}

const struct imap_command imap_cmd_append = {
	.name = "APPEND",
	.states = IMAP_LOGGED_IN,
	.run = cmd_append,
	.streams = streams,
};
