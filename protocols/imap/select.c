/* SPDX-License-Identifier: MIT */
#include <string.h>
#include "postern/error.h"
#include "protocols/imap/list.h"
#include "protocols/imap/object_id.h"
#include "protocols/imap/select.h"

/* Any thread: the mailbox has something new. */
static void on_changed(void *session)
{
	ps_session_wake(session);
}

static void put_code_number(struct ps_buf *out, const char *code, uint64_t number, const char *text)
{
	ps_buf_str(out, "* OK [");
	ps_buf_str(out, code);
	ps_buf_char(out, ' ');
	ps_buf_u64(out, number);
	ps_buf_str(out, "] ");
	ps_buf_str(out, text);
	ps_buf_str(out, "\r\n");
}

static void put_mailbox_id(struct ps_buf *out, const struct ps_id *id)
{
	ps_buf_str(out, "* OK [MAILBOXID (");
	imap_put_object_id(out, IMAP_MAILBOX_ID, id);
	ps_buf_str(out, ")] Object id\r\n");
}

/* RFC 9051 takes RECENT and UNSEEN away and asks for a LIST response instead. */
static int put_mailbox(struct imap_cmd *cmd, const char *name)
{
	struct imap *imap = cmd->imap;
	const struct ps_view_status *mailbox = &imap->mailbox;
	struct ps_buf *out = imap_output(imap);
	bool rev2 = imap->enabled & IMAP_REV2;

	imap_put_mailbox_flags(imap, out);
	ps_session_printf(imap->session, "* %u EXISTS\r\n", mailbox->messages);
	if (!rev2)
		ps_session_printf(imap->session, "* %u RECENT\r\n", mailbox->recent);
	if (!rev2 && mailbox->first_unseen > 0)
		put_code_number(out, "UNSEEN", mailbox->first_unseen, "First unseen message");
	put_code_number(out, "UIDVALIDITY", mailbox->uid_validity, "UIDs valid");
	put_code_number(out, "UIDNEXT", mailbox->uid_next, "Predicted next UID");
	put_mailbox_id(out, &mailbox->id);
	imap_put_highest_modseq(imap);
	/* Here INBOX in other letters is told, too, as in RFC 9051 section 8. */
	if (strcmp(name, "INBOX") == 0 && !ps_bytes_eq_str(cmd->supplied, name))
		cmd->denormalised = true;
	return rev2 ? imap_put_list_of(cmd, name) : 0;
}

struct select {
	const char *name;
	/* QRESYNC: what the client remembers. */
	bool resync;
	uint32_t uid_validity;
	uint64_t modseq;
	struct ps_set known;         /* UIDs */
	struct ps_set numbers, uids; /* samples: these numbers had these UIDs */
	struct imap_walk walk;       /* over what changed since */
};

static int bad(const char *what)
{
	return ps_fail(PS_E_SYNTAX, "SELECT: %s", what);
}

static int parse_condstore(struct imap_cmd *cmd, struct select *select)
{
	(void)select;
	cmd->imap->enabled |= IMAP_CONDSTORE;
	return 0;
}

/* A set without "*". */
static int parse_known(struct imap_cmd *cmd, struct ps_set *ret_set)
{
	struct ps_bytes text;

	if (imap_args_set(&cmd->args, &text) < 0 || ps_bytes_find(text, '*') >= 0)
		return bad("a set of what is known is missing, or has a \"*\"");
	return ps_set_parse(text, 0, cmd->pool, ret_set);
}

static int parse_samples(struct imap_cmd *cmd, struct select *select)
{
	int r = parse_known(cmd, &select->numbers);

	if (r < 0 || (r = imap_args_space(&cmd->args)) < 0 || (r = parse_known(cmd, &select->uids)) < 0)
		return r;
	return imap_args_take(&cmd->args, ')') ? 0 : bad("samples do not end");
}

/* SP "(" uidvalidity SP modseq [SP known-uids] [SP "(" numbers SP uids ")"] ")" */
static int parse_qresync(struct imap_cmd *cmd, struct select *select)
{
	struct imap_args *args = &cmd->args;
	int r = 0;

	if (!(cmd->imap->enabled & IMAP_QRESYNC))
		return bad("QRESYNC has not been enabled");
	if (select->resync || imap_args_space(args) < 0 || !imap_args_take(args, '(') ||
	    imap_args_number(args, &select->uid_validity) < 0 || imap_args_space(args) < 0 ||
	    imap_args_number64(args, &select->modseq) < 0)
		return bad("QRESYNC takes a UIDVALIDITY and a mod-sequence");
	select->resync = true;
	select->known.ranges = PS_NEW(cmd->pool, struct ps_range);
	*select->known.ranges = (struct ps_range){1, UINT32_MAX};
	select->known.count = 1;
	if (imap_args_take(args, ')'))
		return 0;
	if ((r = imap_args_space(args)) < 0)
		return r;
	if (imap_args_peek(args) != '(') {
		if ((r = parse_known(cmd, &select->known)) < 0 || imap_args_take(args, ')'))
			return r;
		if ((r = imap_args_space(args)) < 0)
			return r;
	}
	if (!imap_args_take(args, '('))
		return bad("QRESYNC does not end");
	if ((r = parse_samples(cmd, select)) < 0)
		return r;
	return imap_args_take(args, ')') ? 0 : bad("QRESYNC does not end");
}

static const struct parameter {
	const char *name;
	int (*parse)(struct imap_cmd *cmd, struct select *select);
} parameters[] = {
	{"CONDSTORE", parse_condstore}, /* RFC 7162 */
	{"QRESYNC", parse_qresync},
};

static int parse_parameter(struct imap_cmd *cmd, struct select *select)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(parameters); i++)
		if (imap_args_take_word(&cmd->args, parameters[i].name))
			return parameters[i].parse(cmd, select);
	return bad("no such parameter");
}

/* [SP "(" parameter *(SP parameter) ")"], RFC 4466 */
static int parse_parameters(struct imap_cmd *cmd, struct select *select)
{
	int r;

	if (imap_args_done(&cmd->args))
		return 0;
	if (imap_args_space(&cmd->args) < 0 || !imap_args_take(&cmd->args, '('))
		return bad("a list of parameters does not begin");
	do {
		if ((r = parse_parameter(cmd, select)) < 0)
			return r;
	} while (imap_args_take(&cmd->args, ' '));
	return imap_args_take(&cmd->args, ')') ? 0 : bad("a list of parameters does not end");
}

/* ---- QRESYNC, RFC 7162 section 3.2.5 ------------------------------------------------------------ */

/* The highest UID that has the number the client remembers: below it nothing has vanished. 0: none. */
static uint32_t matching_uid(const struct imap *imap, const struct select *select)
{
	size_t n = 0, u = 0;
	uint64_t number = 0, uid = 0, match = 0;

	while (n < select->numbers.count && u < select->uids.count) {
		const struct ps_row *row;

		number = number < select->numbers.ranges[n].first ? select->numbers.ranges[n].first : number;
		uid = uid < select->uids.ranges[u].first ? select->uids.ranges[u].first : uid;
		row = ps_view_row(imap->view, (uint32_t)number);
		if (!row || row->uid != uid)
			break;
		match = uid;
		n += number++ == select->numbers.ranges[n].last;
		u += uid++ == select->uids.ranges[u].last;
	}
	return (uint32_t)match;
}

static int tell_vanished(struct imap_cmd *cmd, struct select *select)
{
	struct ps_range below = {1, matching_uid(cmd->imap, select)};
	struct ps_set gone, matching = {&below, below.last > 0};
	struct ps_ranges known = {0};
	struct ps_set unsure;
	int r;

	ps_ranges_add_difference(&known, &select->known, &matching);
	unsure = ps_ranges_to_set(&known, cmd->pool);
	r = ps_view_vanished(cmd->imap->view, select->modseq, &unsure, cmd->pool, &gone);
	if (r == 0)
		imap_put_vanished(cmd->imap, true, gone.ranges, gone.count);
	return r;
}

static enum imap_next tell_changed(struct imap_cmd *cmd)
{
	struct select *select = cmd->state;
	const struct ps_row *row;
	uint32_t seq;

	while ((row = imap_walk_next(cmd->imap, &select->walk, &seq))) {
		imap_put_flags_response(cmd, imap_output(cmd->imap), seq, row);
		if (imap_should_yield(cmd))
			return IMAP_WAIT;
	}
	if (cmd->imap->mailbox.read_only)
		return imap_ok_code(cmd, "READ-ONLY", "Opened for reading only");
	return imap_ok_code(cmd, "READ-WRITE", "Opened");
}

/* ---- both -------------------------------------------------------------------------------------- */

static int parse(struct imap_cmd *cmd, struct select *select)
{
	int r;

	if ((r = imap_args_space(&cmd->args)) < 0 || (r = imap_mailbox_arg(cmd, &select->name)) < 0 ||
	    (r = parse_parameters(cmd, select)) < 0)
		return r;
	return imap_args_end(&cmd->args);
}

static int open_mailbox(struct imap_cmd *cmd, struct select *select, bool read_only)
{
	struct imap *imap = cmd->imap;
	int r;

	if (imap->view)
		ps_buf_str(imap_output(imap), "* OK [CLOSED] The mailbox selected before is closed\r\n");
	imap_unselect(imap); /* also when it fails, RFC 3501 section 6.3.1 */
	r = ps_view_open(imap->user, select->name, read_only, on_changed, imap->session, &imap->view);
	if (r < 0) {
		imap->view = NULL;
		return r;
	}
	ps_view_status(imap->view, &imap->mailbox);
	r = put_mailbox(cmd, select->name);
	if (r == 0 && (!select->resync || select->uid_validity != imap->mailbox.uid_validity))
		return 0;
	if (r < 0 || (r = tell_vanished(cmd, select)) < 0) {
		imap_unselect(imap);
		return r;
	}
	select->walk.uids = select->known;
	select->walk.changed_since = select->modseq;
	return 0;
}

enum imap_next imap_select(struct imap_cmd *cmd, bool read_only)
{
	struct select *select = cmd->state;
	int r;

	if (select)
		return tell_changed(cmd);
	select = PS_NEW(cmd->pool, struct select);
	if ((r = parse(cmd, select)) < 0)
		return imap_refuse(cmd, r, "It takes a mailbox name, and parameters");
	if ((r = open_mailbox(cmd, select, read_only)) < 0)
		return imap_no_err(cmd, r);
	cmd->state = select;
	return tell_changed(cmd);
}
