/* SPDX-License-Identifier: MIT */
#include "postern/error.h"
#include "protocols/imap/commands.h"
#include "protocols/imap/progress.h"
#include "protocols/imap/results.h"
#include "protocols/imap/search_parse.h"

enum {
	CRITERIA_MAX = 16
};

struct state {
	struct ps_sort *sort;
	struct imap_results results;
	struct ps_sort_criterion criteria[CRITERIA_MAX];
	size_t count;
};

static const struct {
	const char *name;
	enum ps_sort_key key;
} names[] = {
	{"ARRIVAL", PS_SORT_ARRIVAL},
	{"CC", PS_SORT_CC},
	{"DATE", PS_SORT_DATE},
	{"FROM", PS_SORT_FROM},
	{"SIZE", PS_SORT_SIZE},
	{"SUBJECT", PS_SORT_SUBJECT},
	{"TO", PS_SORT_TO},
	{"DISPLAYFROM", PS_SORT_DISPLAYFROM}, /* RFC 5957 */
	{"DISPLAYTO", PS_SORT_DISPLAYTO},
};

static void finish(struct imap_cmd *cmd)
{
	struct state *state = cmd->state;

	ps_sort_destroy(state->sort);
	imap_results_finish(&state->results);
}

static int bad(const char *what)
{
	return ps_fail(PS_E_SYNTAX, "SORT: %s", what);
}

static int parse_criterion(struct imap_args *args, struct state *state)
{
	struct ps_sort_criterion *criterion = &state->criteria[state->count];
	struct ps_bytes name;

	if (state->count == CRITERIA_MAX)
		return ps_fail(PS_E_LIMIT, "SORT: more than %d criteria", CRITERIA_MAX);
	criterion->reverse = imap_args_take_word(args, "REVERSE");
	if ((criterion->reverse && imap_args_space(args) < 0) || imap_args_atom(args, &name) < 0)
		return bad("a criterion is missing");
	for (size_t i = 0; i < PS_ARRAY_LEN(names); i++) {
		if (!ps_bytes_caseeq_str(name, names[i].name))
			continue;
		criterion->key = names[i].key;
		state->count++;
		return 0;
	}
	return bad("no such criterion");
}

static int parse_criteria(struct imap_args *args, struct state *state)
{
	int r;

	if (!imap_args_take(args, '('))
		return bad("a list of criteria is missing");
	do {
		if ((r = parse_criterion(args, state)) < 0)
			return r;
	} while (imap_args_take(args, ' '));
	return imap_args_take(args, ')') ? 0 : bad("a list of criteria does not end");
}

static int begin(struct imap_cmd *cmd)
{
	struct state *state = PS_NEW(cmd->pool, struct state);
	struct ps_search_node *root;
	int r;

	state->results.by_uid = cmd->by_uid;
	if ((r = imap_args_space(&cmd->args)) < 0 || (r = imap_results_parse(&cmd->args, &state->results)) < 0 ||
	    (r = parse_criteria(&cmd->args, state)) < 0 || (r = imap_args_space(&cmd->args)) < 0)
		return r;
	if ((r = imap_search_program(cmd, &root, &state->results.tells_modseq)) < 0) {
		if (r != PS_E_SYNTAX)
			imap_results_fail(cmd, &state->results);
		return r;
	}
	state->sort = ps_sort_create(cmd->imap->view, cmd->pool, root, state->criteria, state->count);
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
