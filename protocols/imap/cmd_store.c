/* SPDX-License-Identifier: MIT */
#include "protocols/imap/commands.h"

struct store {
	struct imap_walk walk; /* over the messages whose flags are still to be told */
};

struct request {
	struct ps_set uids;
	enum ps_flag_mode mode;
	bool silent;
	struct imap_flags flags;
};

static int parse_mode(struct imap_args *args, struct request *request)
{
	request->mode = PS_FLAGS_SET;
	if (imap_args_take(args, '+'))
		request->mode = PS_FLAGS_ADD;
	else if (imap_args_take(args, '-'))
		request->mode = PS_FLAGS_REMOVE;
	if (imap_args_take_word(args, "FLAGS"))
		return 0;
	request->silent = true;
	return imap_args_take_word(args, "FLAGS.SILENT") ? 0 : PS_E_SYNTAX;
}

static int parse(struct imap_cmd *cmd, struct request *request)
{
	struct imap_args *args = &cmd->args;
	int r;

	if ((r = imap_set_arg(cmd, &request->uids)) < 0 || (r = imap_args_space(args)) < 0 ||
	    (r = parse_mode(args, request)) < 0 || (r = imap_args_space(args)) < 0 ||
	    (r = imap_flags_parse(args, true, cmd->pool, &request->flags)) < 0)
		return r;
	return imap_args_end(args);
}

static enum imap_next tell_flags(struct imap_cmd *cmd)
{
	struct store *store = cmd->state;
	struct ps_buf *out = imap_output(cmd->imap);
	const struct ps_row *row;
	uint32_t seq;

	while ((row = imap_walk_next(cmd->imap, &store->walk, &seq))) {
		imap_put_flags_response(cmd, out, seq, row);
		if (imap_should_yield(cmd))
			return IMAP_WAIT;
	}
	return imap_ok(cmd, "STORE completed");
}

/* STORE (RFC 3501, 6.4.6):  "STORE" SP sequence-set SP ["+" / "-"] "FLAGS" [".SILENT"] SP flags */
static enum imap_next cmd_store(struct imap_cmd *cmd)
{
	struct ps_op_result result = {0};
	struct request request = {0};
	struct store *store;
	int r;

	if (cmd->state)
		return tell_flags(cmd);
	if ((r = parse(cmd, &request)) < 0)
		return imap_refuse(cmd, r, "STORE takes a set of messages, FLAGS, +FLAGS or -FLAGS, and flags");
	if (cmd->imap->mailbox.read_only)
		return imap_no(cmd, "READ-ONLY", "The mailbox is open for reading only");
	r = ps_view_change_flags(
		cmd->imap->view, &request.uids,
		&(struct ps_flag_change){request.mode, request.flags.system, request.flags.keywords, UINT64_MAX},
		cmd->pool, &result);
	if (r < 0)
		return imap_no_err(cmd, r);
	/* The client knows what it did; what it wants told is told below, changed or not. */
	if (result.modseq)
		ps_view_known(cmd->imap->view, request.uids.ranges, request.uids.count, result.modseq);
	if (request.silent)
		return imap_ok(cmd, "STORE completed");
	imap_sync(cmd, 0);
	store = cmd->state = PS_NEW(cmd->pool, struct store);
	store->walk.uids = request.uids;
	return tell_flags(cmd);
}

const struct imap_command imap_cmd_store = {
	.name = "STORE",
	.states = IMAP_SELECTED,
	.flags = IMAP_UID | IMAP_KEEPS_NUMBERS,
	.run = cmd_store,
};
