/* SPDX-License-Identifier: MIT */
#include "protocols/imap/commands.h"

struct store {
	struct imap_walk walk; /* over the messages whose flags are still to be told */
	bool silent;           /* only their mod-sequences are */
	bool lost;             /* some that were asked for by number are expunged */
	const char *code;
};

struct request {
	struct ps_set uids;
	enum ps_flag_mode mode;
	bool silent;
	uint64_t unchanged_since; /* UINT64_MAX: not asked for */
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

/* ["(" "UNCHANGEDSINCE" SP n ")" SP], RFC 7162 */
static int parse_modifier(struct imap_args *args, struct request *request)
{
	request->unchanged_since = UINT64_MAX;
	if (!imap_args_take(args, '('))
		return 0;
	if (!imap_args_take_word(args, "UNCHANGEDSINCE") || imap_args_space(args) < 0 ||
	    imap_args_number64(args, &request->unchanged_since) < 0 || !imap_args_take(args, ')'))
		return ps_fail(PS_E_SYNTAX, "STORE: no such modifier");
	return imap_args_space(args);
}

static int parse(struct imap_cmd *cmd, struct request *request)
{
	struct imap_args *args = &cmd->args;
	int r;

	if ((r = imap_set_arg(cmd, &request->uids)) < 0 || (r = imap_args_space(args)) < 0 ||
	    (r = parse_modifier(args, request)) < 0 || (r = parse_mode(args, request)) < 0 ||
	    (r = imap_args_space(args)) < 0 || (r = imap_flags_parse(args, true, cmd->pool, &request->flags)) < 0)
		return r;
	return imap_args_end(args);
}

/* RFC 7162 section 3.1.3, example 11, and RFC 2180 section 4.2. */
static enum imap_next answer(struct imap_cmd *cmd, const struct store *store)
{
	if (store->lost)
		return imap_no(cmd, store->code ? store->code : "EXPUNGEISSUED",
			       "Some of the messages no longer exist");
	return imap_ok_code(cmd, store->code, store->code ? "Some messages were changed before" : "STORE completed");
}

static enum imap_next tell_flags(struct imap_cmd *cmd)
{
	struct store *store = cmd->state;
	struct ps_buf *out = imap_output(cmd->imap);
	const struct ps_row *row;
	uint32_t seq;

	while ((row = imap_walk_next(cmd->imap, &store->walk, &seq))) {
		if (store->silent)
			imap_put_modseq_response(cmd, out, seq, row);
		else
			imap_put_flags_response(cmd, out, seq, row);
		if (imap_should_yield(cmd))
			return IMAP_WAIT;
	}
	return answer(cmd, store);
}

/* "MODIFIED 7,9": what failed the test, in the numbers that the command used. */
static const char *modified_code(struct imap_cmd *cmd, const struct ps_set *uids)
{
	struct imap_walk walk = {.uids = *uids};
	struct ps_ranges numbers = {0};
	struct ps_buf code = {0};
	const char *text;
	uint32_t seq;

	if (uids->count == 0)
		return NULL;
	while (!cmd->by_uid && imap_walk_next(cmd->imap, &walk, &seq))
		ps_ranges_add(&numbers, (struct ps_range){seq, seq});
	ps_buf_str(&code, "MODIFIED ");
	ps_set_format(&code, cmd->by_uid ? uids->ranges : numbers.ptr, cmd->by_uid ? uids->count : numbers.count);
	ps_ranges_finish(&numbers);
	text = ps_pool_strndup(cmd->pool, (const char *)code.ptr, code.len);
	ps_buf_finish(&code);
	return text;
}

static bool have_common(const struct ps_set *a, const struct ps_set *b)
{
	for (size_t i = 0, n = 0; i < a->count && n < b->count;) {
		if (a->ranges[i].first <= b->ranges[n].last && b->ranges[n].first <= a->ranges[i].last)
			return true;
		if (a->ranges[i].last < b->ranges[n].last)
			i++;
		else
			n++;
	}
	return false;
}

static struct ps_set without(struct imap_cmd *cmd, const struct ps_set *uids, const struct ps_set *others)
{
	struct ps_ranges left = {0};

	ps_ranges_add_difference(&left, uids, others);
	return ps_ranges_to_set(&left, cmd->pool);
}

/*
 * Notes what is to be told: all that were asked for, are there, and passed the test; of a silent STORE, those with a new
 * mod-sequence, to a client that counts them.
 */
static int note_changed(struct imap_cmd *cmd, const struct request *request, const struct ps_op_result *result)
{
	struct store *store = cmd->state = PS_NEW(cmd->pool, struct store);
	struct ps_ranges modified = {0};
	struct ps_set failed, gone;
	int r = ps_view_gone(cmd->imap->view, cmd->pool, &gone);

	if (r < 0)
		return r;
	for (size_t i = 0; i < result->modified_count; i++)
		ps_ranges_add(&modified, result->modified[i]);
	ps_ranges_sort(&modified);
	failed = ps_ranges_to_set(&modified, cmd->pool);
	store->walk.uids = without(cmd, &request->uids, &failed);
	store->walk.uids = without(cmd, &store->walk.uids, &gone);
	store->lost = !cmd->by_uid && have_common(&request->uids, &gone);
	/* After NO, the client does not know what has been done to the others. */
	store->silent = request->silent && !store->lost;
	store->code = modified_code(cmd, &failed);
	if (store->silent && request->unchanged_since == UINT64_MAX)
		store->walk.changed_since = result->modseq ? result->modseq - 1 : UINT64_MAX;
	return 0;
}

/* STORE (RFC 3501, 6.4.6; RFC 7162, 3.1.3):
 * "STORE" SP sequence-set SP ["(" "UNCHANGEDSINCE" SP n ")" SP] ["+" / "-"] "FLAGS" [".SILENT"] SP flags */
static enum imap_next cmd_store(struct imap_cmd *cmd)
{
	struct ps_op_result result = {0};
	struct request request = {0};
	int r;

	if (cmd->state)
		return tell_flags(cmd);
	if ((r = parse(cmd, &request)) < 0)
		return imap_refuse(cmd, r, "STORE takes a set of messages, FLAGS, +FLAGS or -FLAGS, and flags");
	if (cmd->imap->mailbox.read_only)
		return imap_no(cmd, "READ-ONLY", "The mailbox is open for reading only");
	if (request.unchanged_since != UINT64_MAX)
		imap_enable_condstore(cmd);
	r = ps_view_change_flags(cmd->imap->view, &request.uids,
				 &(struct ps_flag_change){request.mode, request.flags.system, request.flags.keywords,
							  request.unchanged_since},
				 cmd->pool, &result);
	if (r < 0)
		return imap_no_err(cmd, r);
	/* The client knows what it did; what it wants told is told below, changed or not. */
	if (result.modseq)
		ps_view_known(cmd->imap->view, request.uids.ranges, request.uids.count, result.modseq);
	if ((r = note_changed(cmd, &request, &result)) < 0)
		return imap_no_err(cmd, r);
	if (((struct store *)cmd->state)->silent && !(cmd->imap->enabled & IMAP_CONDSTORE))
		return answer(cmd, cmd->state);
	imap_sync(cmd, 0);
	return tell_flags(cmd);
}

const struct imap_command imap_cmd_store = {
	.name = "STORE",
	.states = IMAP_SELECTED,
	.flags = IMAP_UID | IMAP_KEEPS_NUMBERS,
	.run = cmd_store,
};
