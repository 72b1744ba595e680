/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include "postern/error.h"
#include "protocols/imap/append.h"
#include "protocols/imap/list.h"

enum {
	PIECE = 32 << 10,    /* octets taken from the client at a time */
	TAIL_MAX = 8192,     /* what may stand behind a message: its line end, or flags and date of the next */
	MESSAGES_MAX = 1000, /* each has a file and an operation of the batch */
	LARGE = 64 << 10,    /* worth to be refused before it is sent */
};

struct append {
	struct ps_append *append;
	const char *mailbox;
	struct imap_literal literal; /* the message that is coming */
	uint64_t left;               /* octets of it still to come */
	bool utf8;                   /* it stands in "UTF8 (...)" */
	unsigned messages;
	uint32_t replaces; /* UID, or 0 */
};

struct request {
	struct imap_flags flags;
	int64_t date;
	bool utf8;
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

/* RFC 6855: "UTF8 (" in front of a literal8. It says nothing that the message does not, so RFC 9755 has done away with it. */
static int parse_utf8(struct imap_args *args, struct request *request)
{
	if (!imap_args_take_word(args, "UTF8"))
		return 0;
	request->utf8 = true;
	if (imap_args_space(args) < 0 || !imap_args_take(args, '('))
		return ps_fail(PS_E_SYNTAX, "APPEND: UTF8 takes a literal in parentheses");
	return 0;
}

/* SP [flag-list SP] [date-time SP], in front of a literal */
static int parse_message(struct imap_cmd *cmd, struct request *request)
{
	struct imap_args *args = &cmd->args;
	int r;

	*request = (struct request){.date = INT64_MIN}; /* now */
	if ((r = imap_args_space(args)) < 0)
		return r;
	if (imap_args_peek(args) == '(' &&
	    ((r = imap_flags_parse(args, false, cmd->pool, &request->flags)) < 0 || (r = imap_args_space(args)) < 0))
		return r;
	if (imap_args_peek(args) == '"' && (r = parse_date(cmd, &request->date)) < 0)
		return r;
	return (r = parse_utf8(args, request)) < 0 ? r : imap_args_end(args);
}

/* What is wrong with a literal that is announced, for the client; NULL: nothing is. */
static const char *wrong_size(struct imap_cmd *cmd, const struct imap_literal *literal, const char **ret_code)
{
	*ret_code = "TOOBIG";
	if (literal->octets > imap_append_limit(cmd->imap))
		return "That message is too large";
	if (!literal->synchronising && literal->octets > cmd->imap->reader.limits.non_synchronising)
		return "That literal is too large";
	*ret_code = "CANNOT"; /* RFC 3502 section 6.3.11: it ends the whole command */
	return literal->octets == 0 ? "An empty message cannot be stored" : NULL;
}

static int begin_message(struct imap_cmd *cmd, const struct request *request, const struct imap_literal *literal)
{
	struct append *append = cmd->state;
	struct ps_append_message message = {
		.flags = request->flags.system,
		.keywords = request->flags.keywords,
		.internal_date = request->date,
		.size_hint = literal->octets,
		.binary = literal->binary,
	};
	int r;

	if (append->messages == MESSAGES_MAX)
		return ps_fail(PS_E_LIMIT, "APPEND of more than %d messages", MESSAGES_MAX);
	if ((r = ps_append_begin(append->append, &message)) < 0)
		return r;
	append->messages++;
	append->literal = *literal;
	append->left = literal->octets;
	append->utf8 = request->utf8;
	if (literal->synchronising)
		ps_buf_str(imap_output(cmd->imap), "+ Ready for the message\r\n");
	return 0;
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

/* "APPENDUID 38505 3955", RFC 4315. */
static const char *appenduid(struct imap_cmd *cmd, const struct ps_op_result *result)
{
	struct ps_buf uids = {0};
	const char *code;

	ps_set_format(&uids, result->new_uids, result->new_count);
	code = ps_pool_printf(cmd->pool, "APPENDUID %" PRIu32 " %s", result->uid_validity, ps_buf_cstr(&uids));
	ps_buf_finish(&uids);
	return code;
}

static enum imap_next commit(struct imap_cmd *cmd)
{
	struct append *append = cmd->state;
	struct ps_op_result result = {0};
	int r = ps_append_commit(append->append, cmd->pool, &result);

	if (r < 0)
		return imap_no_target(cmd, r);
	if (cmd->denormalised)
		imap_put_list_of(cmd, append->mailbox);
	if (append->replaces == 0)
		return imap_ok_code(cmd, appenduid(cmd, &result), "APPEND completed");
	/* RFC 8508 section 4.3: before the EXPUNGE, so that the client knows what took the place */
	ps_session_printf(cmd->imap->session, "* OK [%s] The replacement is stored\r\n", appenduid(cmd, &result));
	return imap_ok_expunged(cmd, "REPLACE completed");
}

/* What follows is not taken: a literal that waits for us is not sent, one that does not is on its way. */
static void drop_rest(struct imap_cmd *cmd, const struct imap_literal *literal)
{
	if (literal->synchronising)
		return;
	if (literal->octets > IMAP_DROP_MAX)
		imap_bye(cmd, "That literal is far too large");
	else
		imap_reader_skip(&cmd->imap->reader, literal->octets);
}

/* Another message (RFC 3502), announced by a line that was taken. IMAP_WAIT: it is coming. */
static enum imap_next next_message(struct imap_cmd *cmd, struct ps_bytes line, const struct imap_literal *literal)
{
	const struct append *append = cmd->state;
	struct request request;
	const char *code, *wrong;
	enum imap_next next;
	int r;

	cmd->args.at = line.ptr;
	cmd->args.end = line.ptr + line.len - literal->header;
	if (append->replaces)
		next = imap_bad(cmd, "REPLACE takes one message");
	else if ((r = parse_message(cmd, &request)) < 0)
		next = imap_refuse(cmd, r, "APPEND takes flags, a date and a literal for each message");
	else if ((wrong = wrong_size(cmd, literal, &code)))
		next = imap_no(cmd, code, wrong);
	else if ((r = begin_message(cmd, &request, literal)) < 0)
		next = imap_no_target(cmd, r);
	else
		return IMAP_WAIT;
	drop_rest(cmd, literal);
	return next;
}

/* What stands behind a message: the command's end, or flags and date of the next. */
static enum imap_next take_line(struct imap_cmd *cmd, struct ps_bytes line)
{
	struct append *append = cmd->state;
	bool closed = !append->utf8 || (line.len > 0 && line.ptr[0] == ')');
	struct imap_literal literal;
	int found, r;

	if (append->utf8 && closed)
		line = ps_bytes_skip(line, 1);
	found = imap_literal_at_end(line, &literal);
	if (found < 0)
		return imap_bye(cmd, "That literal is far too large");
	if (!closed || (line.len > 0 && found == 0)) {
		if (found)
			drop_rest(cmd, &literal);
		return imap_bad(cmd, "It ends with a message");
	}
	if ((r = ps_append_end(append->append)) < 0) {
		if (found)
			drop_rest(cmd, &literal);
		return imap_no_target(cmd, r);
	}
	return found ? next_message(cmd, line, &literal) : commit(cmd);
}

static enum imap_next take_tail(struct imap_cmd *cmd)
{
	struct ps_session *s = cmd->imap->session;
	struct ps_bytes in = ps_session_input(s), line;
	ptrdiff_t lf = ps_bytes_find(in, '\n');
	size_t len;

	if (lf < 0 && in.len < TAIL_MAX)
		return imap_gave_up(cmd) ? IMAP_DONE : imap_wait_line(cmd, TAIL_MAX);
	if (lf < 0 || lf > TAIL_MAX) {
		imap_reader_skip(&cmd->imap->reader, 0);
		return imap_bad(cmd, "It ends with a message");
	}
	len = (size_t)lf - (lf > 0 && in.ptr[lf - 1] == '\r');
	line = ps_bytes(ps_pool_memdup(cmd->pool, in.ptr, len), len);
	ps_session_consume(s, (size_t)lf + 1);
	return take_line(cmd, line);
}

enum imap_next imap_append_go_on(struct imap_cmd *cmd)
{
	struct append *append = cmd->state;
	enum imap_next next;
	int r;

	do {
		if ((r = take_octets(cmd)) < 0) {
			imap_reader_skip(&cmd->imap->reader, append->left);
			return imap_no_target(cmd, r);
		}
		if (append->left > 0) {
			if (imap_gave_up(cmd))
				return IMAP_DONE;
			return imap_wait_input(cmd, append->left < PIECE ? (size_t)append->left : PIECE);
		}
		next = take_tail(cmd);
		/* Another message has begun, and some of it may be there already. */
	} while (next == IMAP_WAIT && append->left > 0);
	return next;
}

uint64_t imap_append_limit(const struct imap *imap)
{
	const struct ps_conf *core = ps_session_core_conf(imap->session);

	return (uint64_t)ps_conf_int(ps_conf_section(core, "limits", 0), "message_size");
}

static int begin(struct imap_cmd *cmd, const char *mailbox, uint32_t replaces, const struct request *request)
{
	struct append *append = PS_NEW(cmd->pool, struct append);
	int r = ps_append_open(cmd->imap->user, mailbox, &append->append);

	if (r < 0)
		return r;
	append->mailbox = mailbox;
	append->replaces = replaces;
	cmd->state = append;
	cmd->finish = finish;
	if (replaces)
		ps_append_replaces(append->append, cmd->imap->view, replaces);
	/* One that makes room for itself is judged in the end. */
	else if (cmd->literal->synchronising && cmd->literal->octets >= LARGE &&
		 (r = ps_append_ask(append->append, cmd->literal->octets)) < 0)
		return r;
	r = begin_message(cmd, request, cmd->literal);
	cmd->literal_taken = r == 0;
	return r;
}

enum imap_next imap_append_begin(struct imap_cmd *cmd, const char *mailbox, uint32_t replaces)
{
	const char *wrong, *code;
	struct request request;
	int r = parse_message(cmd, &request);

	if (r < 0 || !cmd->literal)
		return imap_refuse(cmd, r < 0 ? r : PS_E_SYNTAX,
				   "It takes a mailbox, flags, a date and a message as literal");
	if ((wrong = wrong_size(cmd, cmd->literal, &code)))
		return imap_no(cmd, code, wrong);
	if ((r = begin(cmd, mailbox, replaces, &request)) < 0)
		return imap_no_target(cmd, r);
	return imap_append_go_on(cmd);
}
