/* SPDX-License-Identifier: MIT */
#include "postern/error.h"
#include "protocols/imap/commands.h"
#include "protocols/imap/progress.h"
#include "protocols/imap/results.h"
#include "protocols/imap/search_parse.h"
#include "protocols/imap/sort_parse.h"

struct state {
	struct ps_sort *sort;
	struct imap_results results;
	struct imap_sort_criteria criteria;
};

static void finish(struct imap_cmd *cmd)
{
	struct state *state = cmd->state;

	ps_sort_destroy(state->sort);
	imap_results_finish(&state->results);
}

static int begin(struct imap_cmd *cmd)
{
	struct state *state = PS_NEW(cmd->pool, struct state);
	struct ps_search_node *root;
	int r;

	state->results.by_uid = cmd->by_uid;
	if ((r = imap_args_space(&cmd->args)) < 0 || (r = imap_results_parse(&cmd->args, &state->results)) < 0 ||
	    (r = imap_sort_criteria_parse(&cmd->args, &state->criteria)) < 0 || (r = imap_args_space(&cmd->args)) < 0)
		return r;
	if ((r = imap_search_program(cmd, &root, &state->results.tells_modseq)) < 0) {
		if (r != PS_E_SYNTAX)
			imap_results_fail(cmd, &state->results);
		return r;
	}
	state->sort = ps_sort_create(cmd->imap->view, cmd->pool, root, state->criteria.list, state->criteria.count);
	cmd->state = state;
	cmd->finish = finish;
	return 0;
}

static void put_results(struct imap_cmd *cmd)
{
	struct state *state = cmd->state;

	for (size_t i = 0; i < ps_sort_count(state->sort); i++) {
		uint32_t seq, uid;

		ps_sort_get(state->sort, i, &seq, &uid);
		if (imap_results_hit(&state->results, seq, ps_view_row(cmd->imap->view, seq)))
			break;
	}
	imap_results_put(cmd, &state->results, "SORT");
}

/* SORT (RFC 5256; RFC 5267; RFC 5957):
 * "SORT" [SP "RETURN" SP "(" options ")"] SP "(" criterion *(SP criterion) ")" SP charset 1*(SP search-key) */
static enum imap_next cmd_sort(struct imap_cmd *cmd)
{
	struct state *state;
	int r = cmd->state ? 0 : begin(cmd);

	if (r == PS_E_UNSUPPORTED)
		return imap_no(cmd, "BADCHARSET (US-ASCII UTF-8)", "That charset is not known here");
	if (r < 0)
		return imap_refuse(cmd, r, "SORT takes a list of criteria, a charset and keys");
	state = cmd->state;
	r = ps_sort_step(state->sort, imap_step_over, cmd);
	if (r == 0)
		return imap_wait_step(cmd, ps_sort_progress(state->sort), 100);
	if (r < 0) {
		imap_results_fail(cmd, &((struct state *)cmd->state)->results);
		return imap_no_err(cmd, r);
	}
	put_results(cmd);
	return imap_ok(cmd, "SORT completed");
}

const struct imap_command imap_cmd_sort = {
	.name = "SORT",
	.states = IMAP_SELECTED,
	.flags = IMAP_UID | IMAP_KEEPS_NUMBERS,
	.run = cmd_sort,
};
