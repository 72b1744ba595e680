/* SPDX-License-Identifier: MIT */
/* The machine both halves are: read a command, run it, tell what changed, answer. */
#include "postern/error.h"
#include "postern/log.h"
#include "postern/login.h"
#include "postern/protocol.h"
#include "protocols/imap/imap.h"

enum {
	TAG_MAX = 255,            /* the hand-over carries it */
	BAD_COMMANDS_MAX = 10,    /* in a row, then the session ends */
	FRONT_COMMAND = 16 << 10, /* a command before log-in; SASL responses are the longest */
	OUTPUT_PIECE = 32 << 10,
};

static const struct ps_wait wait_close = {.what = PS_WAIT_CLOSE};

unsigned imap_state(const struct imap *imap)
{
	if (!imap->user)
		return IMAP_NOT_AUTHENTICATED;
	return imap->view ? IMAP_SELECTED : IMAP_AUTHENTICATED;
}

enum imap_next imap_bye(struct imap_cmd *cmd, const char *text)
{
	struct ps_buf *out = imap_output(cmd->imap);

	ps_buf_str(out, "* BYE ");
	ps_buf_str(out, text);
	ps_buf_str(out, "\r\n");
	cmd->imap->closing = true;
	return IMAP_DONE;
}

enum imap_next imap_wait_input(struct imap_cmd *cmd, size_t n)
{
	cmd->wait = (struct ps_wait){.what = PS_WAIT_INPUT, .n = n, .timeout_ms = cmd->imap->timeout_ms};
	return IMAP_WAIT;
}

enum imap_next imap_wait_line(struct imap_cmd *cmd, size_t n)
{
	cmd->wait = (struct ps_wait){.what = PS_WAIT_LINE, .n = n, .timeout_ms = cmd->imap->timeout_ms};
	return IMAP_WAIT;
}

bool imap_gave_up(struct imap_cmd *cmd)
{
	struct imap *imap = cmd->imap;

	if (ps_session_dead(imap->session) || ps_session_eof(imap->session)) {
		imap->closing = true;
		return true;
	}
	if (!ps_session_timed_out(imap->session))
		return false;
	imap_bye(cmd, "Autologout; nothing came for too long");
	return true;
}

/* The front's loop has no slices, and nothing there is long; what gathers there is bounded all the same. */
static bool output_full(struct imap *imap)
{
	return imap->user ? ps_session_full(imap->session) : imap_output(imap)->len > OUTPUT_PIECE;
}

bool imap_should_yield(struct imap_cmd *cmd)
{
	if (output_full(cmd->imap))
		cmd->wait = (struct ps_wait){.what = PS_WAIT_DRAIN};
	else if (ps_session_slice_over(cmd->imap->session))
		cmd->wait = (struct ps_wait){.what = PS_WAIT_TURN};
	else
		return false;
	return true;
}

/* ---- one command ------------------------------------------------------------------------------ */

static void put_answer(struct imap_cmd *cmd)
{
	struct ps_buf *out = imap_output(cmd->imap);

	if (cmd->tag.len > 0)
		ps_buf_bytes(out, cmd->tag);
	else
		ps_buf_char(out, '*');
	ps_buf_char(out, ' ');
	ps_buf_str(out, cmd->status);
	if (cmd->code) {
		ps_buf_str(out, " [");
		ps_buf_str(out, cmd->code);
		ps_buf_char(out, ']');
	}
	ps_buf_char(out, ' ');
	ps_buf_str(out, cmd->text);
	ps_buf_str(out, "\r\n");
}

static void count_bad_commands(struct imap_cmd *cmd)
{
	struct imap *imap = cmd->imap;

	if (strcmp(cmd->status, "BAD") != 0) {
		imap->bad_commands = 0;
		return;
	}
	if (++imap->bad_commands < BAD_COMMANDS_MAX)
		return;
	ps_log(PS_LOG_INFO, "bad_commands", "sid", ps_session_sid(imap->session), NULL);
	imap_bye(cmd, "Too many bad commands");
}

/* A literal that nobody wanted: one that waits for us is not sent, one that does not is on its way. */
static void drop_literal(struct imap_cmd *cmd)
{
	if (!cmd->literal || cmd->literal_taken || cmd->literal->synchronising)
		return;
	if (cmd->literal->octets > IMAP_DROP_MAX)
		imap_bye(cmd, "That literal is far too large");
	else
		imap_reader_skip(&cmd->imap->reader, cmd->literal->octets);
}

/* Drops what the command holds. */
static void forget_command(struct imap_cmd *cmd)
{
	struct imap *imap = cmd->imap;

	if (cmd->finish)
		cmd->finish(cmd);
	ps_pool_destroy(cmd->pool);
	*cmd = (struct imap_cmd){.imap = imap};
	imap_reader_reset(&imap->reader);
}

static void tell_changes(struct imap_cmd *cmd)
{
	unsigned flags = cmd->command ? cmd->command->flags : 0, how = 0;

	if (!cmd->imap->view || cmd->imap->closing || (flags & IMAP_NO_SYNC))
		return;
	if (!(flags & IMAP_KEEPS_NUMBERS) || cmd->by_uid)
		how |= PS_SYNC_EXPUNGE;
	if (flags & IMAP_LOOKS)
		how |= PS_SYNC_LOOK;
	imap_sync(cmd, how);
}

static void end_command(struct imap_cmd *cmd)
{
	if (cmd->status) {
		tell_changes(cmd);
		put_answer(cmd);
		count_bad_commands(cmd);
	}
	drop_literal(cmd);
	forget_command(cmd);
}

/* Takes tag and name of a command; NULL with what is wrong, in words for the client. */
static const struct imap_command *look_up(struct imap_cmd *cmd, const char **ret_wrong)
{
	const struct imap_command *command;
	struct ps_bytes name, tag;

	*ret_wrong = "A command starts with a tag and a space";
	if (imap_args_tag(&cmd->args, &tag) < 0 || tag.len > TAG_MAX || imap_args_space(&cmd->args) < 0)
		return NULL;
	cmd->tag = tag;
	*ret_wrong = "A command name is missing";
	if (imap_args_atom(&cmd->args, &name) < 0)
		return NULL;
	cmd->by_uid = ps_bytes_caseeq_str(name, "UID");
	if (cmd->by_uid && (imap_args_space(&cmd->args) < 0 || imap_args_atom(&cmd->args, &name) < 0))
		return NULL;
	*ret_wrong = "Unknown command";
	command = imap_command_find(name);
	if (!command || (cmd->by_uid && !(command->flags & IMAP_UID)))
		return NULL;
	*ret_wrong = cmd->imap->user ? "That command is not possible in this state" : "Log in first";
	return command->states & imap_state(cmd->imap) ? command : NULL;
}

static void begin_command(struct imap *imap)
{
	struct imap_cmd *cmd = &imap->cmd;

	cmd->imap = imap;
	cmd->pool = ps_pool_create("imap command");
	cmd->args = imap_args(ps_buf_view(&imap->reader.text));
	cmd->args.utf8 = imap->names.utf8;
}

static bool is_http(const struct imap *imap)
{
	struct ps_bytes text = ps_buf_view(&imap->reader.text);
	ptrdiff_t blank = ps_bytes_find(text, ' ');

	return !imap->user && blank > 0 && ps_login_is_http(imap->session, ps_bytes(text.ptr, (size_t)blank));
}

/* Runs what is under way; true when it is over. */
static bool run_command(struct imap_cmd *cmd)
{
	if (cmd->command->run(cmd) == IMAP_WAIT)
		return false;
	end_command(cmd);
	return true;
}

/* A verdict of the reader that is no command: the answer carries the tag, if there is one to be seen. */
static void answer_unread(struct imap *imap, const char *status, const char *code, const char *text)
{
	struct imap_cmd *cmd = &imap->cmd;
	struct ps_bytes tag;

	begin_command(imap);
	if (imap_args_tag(&cmd->args, &tag) == 0 && tag.len <= TAG_MAX && imap_args_peek(&cmd->args) == ' ')
		cmd->tag = tag;
	cmd->status = status;
	cmd->code = code;
	cmd->text = text;
	put_answer(cmd);
	count_bad_commands(cmd);
	forget_command(cmd);
}

static void start_command(struct imap *imap, bool streaming)
{
	const char *wrong;

	if (is_http(imap)) {
		imap->closing = true;
		return;
	}
	begin_command(imap);
	if (streaming)
		imap->cmd.literal = &imap->reader.literal;
	imap->cmd.command = look_up(&imap->cmd, &wrong);
	if (imap->cmd.command)
		return;
	imap_bad(&imap->cmd, wrong);
	end_command(&imap->cmd);
}

/* ---- reading ---------------------------------------------------------------------------------- */

/* Nothing more can be read now: what to wait for. */
static struct ps_wait wait_for_more(struct imap *imap)
{
	struct imap_cmd none = {.imap = imap};
	size_t n = imap_reader_wants(&imap->reader);

	if (imap_gave_up(&none))
		return wait_close;
	if (n > 0)
		imap_wait_input(&none, n);
	else
		imap_wait_line(&none, imap->reader.limits.command + 1);
	return none.wait;
}

/* Reads up to the next command. True when something has happened: a command may be under way now; false: wait. */
static bool read_command(struct imap *imap)
{
	size_t used;
	enum imap_read verdict = imap_reader_feed(&imap->reader, ps_session_input(imap->session), &used);

	ps_session_consume(imap->session, used);
	switch (verdict) {
	case IMAP_READ_MORE: return false;
	case IMAP_READ_CONTINUE: ps_buf_str(imap_output(imap), "+ Ready for the literal\r\n"); return true;
	case IMAP_READ_COMMAND: start_command(imap, false); return true;
	case IMAP_READ_STREAM: start_command(imap, true); return true;
	case IMAP_READ_TOO_BIG: answer_unread(imap, "NO", "TOOBIG", "That literal is too large"); return true;
	case IMAP_READ_TOO_LONG: answer_unread(imap, "BAD", NULL, "That command is too long"); return true;
	case IMAP_READ_NUL: answer_unread(imap, "BAD", NULL, "NUL is not allowed"); return true;
	case IMAP_READ_HOPELESS: imap_bye(&(struct imap_cmd){.imap = imap}, "That is far too large"); return true;
	}
	return false;
}

static struct ps_wait run(struct ps_session *s)
{
	struct imap *imap = ps_session_state(s);

	while (!imap->closing && !ps_session_dead(s)) {
		if (imap->cmd.command) {
			if (!run_command(&imap->cmd))
				return imap->cmd.wait;
			if (imap->gone)
				return (struct ps_wait){.what = PS_WAIT_GONE};
		} else if (!read_command(imap)) {
			return wait_for_more(imap);
		}
		if (!imap->cmd.command && output_full(imap))
			return (struct ps_wait){.what = PS_WAIT_DRAIN};
		if (!imap->cmd.command && imap->user && ps_session_slice_over(s))
			return (struct ps_wait){.what = PS_WAIT_TURN};
	}
	return wait_close;
}

/* ---- the halves ------------------------------------------------------------------------------- */

/*
 * Whether the command that begins so wants the literal that comes next for itself. One that is refused anyhow is so at
 * once: nobody should send a literal for it.
 */
static bool command_streams(void *arg, struct ps_bytes before)
{
	struct imap_cmd cmd = {.imap = arg, .args = imap_args(before)};
	const char *wrong;
	const struct imap_command *command = look_up(&cmd, &wrong);

	return !command || (command->streams && command->streams(cmd.args));
}

static void open_common(struct imap *imap, struct ps_session *s, const struct imap_reader_limits *limits)
{
	imap->session = s;
	imap->cmd.imap = imap;
	imap->literal_plus = strcmp(ps_conf_str(ps_session_conf(s), "literal"), "plus") == 0;
	imap_reader_init(&imap->reader, limits);
	imap->reader.streams = command_streams;
	imap->reader.arg = imap;
	if (imap->literal_plus)
		imap->reader.limits.non_synchronising = SIZE_MAX;
	ps_session_set_input_limit(s, limits->command + 1024);
}

static uint32_t limit_ms(struct ps_session *s, const char *name)
{
	const struct ps_conf *limits = ps_conf_section(ps_session_core_conf(s), "limits", 0);

	return (uint32_t)ps_conf_int(limits, name) * 1000;
}

static int front_open(struct ps_session *s)
{
	struct imap *imap = ps_session_state(s);
	size_t literal = (size_t)ps_conf_int(ps_session_conf(s), "preauth_literal_size");
	struct ps_buf *out;

	open_common(imap, s, &(struct imap_reader_limits){FRONT_COMMAND, literal, literal});
	imap->timeout_ms = limit_ms(s, "preauth_timeout");
	if (ps_session_is_back(s))
		return 0;
	out = imap_output(imap);
	ps_buf_str(out, "* OK [");
	imap_put_capabilities(imap, out);
	ps_buf_printf(out, "] %s: Postern ready\r\n", ps_conf_str(ps_session_core_conf(s), "hostname"));
	return 0;
}

/* RFC 7888 section 5. */
enum {
	LITERAL_MINUS = 4096
};

static int mail_open(struct ps_session *s)
{
	struct imap *imap = ps_session_state(s);
	const struct ps_conf *namespace = ps_conf_section(ps_session_core_conf(s), "namespace", 0);
	size_t command = (size_t)ps_conf_int(ps_session_conf(s), "command_size");
	struct ps_buf *out;

	open_common(imap, s, &(struct imap_reader_limits){command, command, LITERAL_MINUS});
	imap->timeout_ms = limit_ms(s, "session_timeout");
	imap->user = ps_session_user(s);
	imap->names = (struct imap_names){.prefix = ps_conf_str(namespace, "prefix"),
					  .separator = ps_conf_str(namespace, "separator")[0]};
	out = imap_output(imap);
	ps_buf_bytes(out, ps_session_blob(s)); /* the tag of LOGIN or AUTHENTICATE */
	ps_buf_str(out, " OK [");
	imap_put_capabilities(imap, out);
	ps_buf_str(out, "] Logged in\r\n");
	return 0;
}

static void close_session(struct ps_session *s)
{
	struct imap *imap = ps_session_state(s);

	forget_command(&imap->cmd);
	imap_unselect(imap);
	imap_reader_finish(&imap->reader);
}

const struct ps_half imap_front_half = {
	.state_size = sizeof(struct imap),
	.open = front_open,
	.run = run,
	.close = close_session,
};

const struct ps_half imap_mail_half = {
	.state_size = sizeof(struct imap),
	.open = mail_open,
	.run = run,
	.close = close_session,
};
