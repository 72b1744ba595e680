/* SPDX-License-Identifier: MIT */
#include "postern/error.h"
#include "protocols/imap/commands.h"
#include "protocols/imap/progress.h"
#include "protocols/imap/search_parse.h"

static const struct {
	const char *name;
	enum ps_thread_algorithm algorithm;
} algorithms[] = {
	{"ORDEREDSUBJECT", PS_THREAD_ORDEREDSUBJECT},
	{"REFERENCES", PS_THREAD_REFERENCES},
	{"REFS", PS_THREAD_REFS},
};

struct state {
	struct ps_thread *thread;
	/* The answer, as far as it has been put. */
	bool begun;
	uint32_t node; /* the next, or, going up, the last one put */
	bool up;       /* all below the node has been put */
};

static void finish(struct imap_cmd *cmd)
{
	ps_thread_destroy(((struct state *)cmd->state)->thread);
}

static int parse_algorithm(struct imap_args *args, enum ps_thread_algorithm *ret_algorithm)
{
	struct ps_bytes name;
	int r = imap_args_atom(args, &name);

	for (size_t i = 0; r == 0 && i < PS_ARRAY_LEN(algorithms); i++) {
		if (ps_bytes_caseeq_str(name, algorithms[i].name)) {
			*ret_algorithm = algorithms[i].algorithm;
			return 0;
		}
	}
	return ps_fail(PS_E_SYNTAX, "THREAD: no such algorithm");
}

static int begin(struct imap_cmd *cmd)
{
	enum ps_thread_algorithm algorithm;
	struct ps_search_node *root;
	struct state *state;
	bool modseq;
	int r;

	if ((r = imap_args_space(&cmd->args)) < 0 || (r = parse_algorithm(&cmd->args, &algorithm)) < 0 ||
	    (r = imap_args_space(&cmd->args)) < 0 || (r = imap_search_program(cmd, &root, &modseq)) < 0)
		return r;
	state = PS_NEW(cmd->pool, struct state);
	state->thread = ps_thread_create(cmd->imap->view, cmd->pool, root, algorithm);
	cmd->state = state;
	cmd->finish = finish;
	return 0;
}

/* ---- the answer: "(1)", "(1 2)", "(1 (2)(3 4))", "((1)(2))" -------------------------------------- */

/* Brackets stand round a thread, and round each of several children. */
static bool is_bracketed(const struct ps_thread *thread, uint32_t node)
{
	uint32_t parent = ps_thread_parent(thread, node);

	return parent == PS_THREAD_NONE || ps_thread_next(thread, ps_thread_first(thread, parent)) != PS_THREAD_NONE;
}

static void put_node(struct imap_cmd *cmd, const struct ps_thread *thread, uint32_t node)
{
	struct ps_buf *out = imap_output(cmd->imap);
	uint32_t seq, uid;

	if (is_bracketed(thread, node))
		ps_buf_char(out, '(');
	if (!ps_thread_get(thread, node, &seq, &uid))
		return;
	ps_buf_u64(out, cmd->by_uid ? uid : seq);
	if (ps_thread_first(thread, node) != PS_THREAD_NONE)
		ps_buf_char(out, ' ');
}

/* One step through the forest: a node is put on the way down, its bracket closed on the way up. False: that was all. */
static bool put_next(struct imap_cmd *cmd)
{
	struct state *state = cmd->state;
	const struct ps_thread *thread = state->thread;
	uint32_t next;

	if (!state->up) {
		put_node(cmd, thread, state->node);
		next = ps_thread_first(thread, state->node);
		state->up = next == PS_THREAD_NONE;
		if (!state->up)
			state->node = next;
		return true;
	}
	if (is_bracketed(thread, state->node))
		ps_buf_char(imap_output(cmd->imap), ')');
	next = ps_thread_next(thread, state->node);
	state->up = next == PS_THREAD_NONE;
	state->node = state->up ? ps_thread_parent(thread, state->node) : next;
	return state->node != PS_THREAD_NONE;
}

static enum imap_next put_answer(struct imap_cmd *cmd)
{
	struct state *state = cmd->state;
	bool more = true;

	if (!state->begun) {
		state->begun = true;
		state->node = ps_thread_first(state->thread, PS_THREAD_NONE);
		more = state->node != PS_THREAD_NONE;
		ps_buf_str(imap_output(cmd->imap), more ? "* THREAD " : "* THREAD");
	}
	for (unsigned n = 1; more; n++) {
		more = put_next(cmd);
		if (more && n % 256 == 0 && imap_should_yield(cmd))
			return IMAP_WAIT;
	}
	ps_buf_str(imap_output(cmd->imap), "\r\n");
	return imap_ok(cmd, "THREAD completed");
}

/* THREAD (RFC 5256):  "THREAD" SP algorithm SP charset 1*(SP search-key) */
static enum imap_next cmd_thread(struct imap_cmd *cmd)
{
	struct state *state;
	int r = cmd->state ? 0 : begin(cmd);

	if (r == PS_E_UNSUPPORTED)
		return imap_no(cmd, "BADCHARSET (US-ASCII UTF-8)", "That charset is not known here");
	if (r < 0)
		return imap_refuse(cmd, r, "THREAD takes an algorithm that is announced, a charset and keys");
	state = cmd->state;
	if (state->begun)
		return put_answer(cmd);
	r = ps_thread_step(state->thread, imap_step_over, cmd);
	if (r == 0)
		return imap_wait_step(cmd, ps_thread_progress(state->thread), 100);
	return r < 0 ? imap_no_err(cmd, r) : put_answer(cmd);
}

const struct imap_command imap_cmd_thread = {
	.name = "THREAD",
	.states = IMAP_SELECTED,
	.flags = IMAP_UID | IMAP_KEEPS_NUMBERS,
	.run = cmd_thread,
};
