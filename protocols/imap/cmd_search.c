/* SPDX-License-Identifier: MIT */
#include "postern/error.h"
#include "protocols/imap/commands.h"
#include "protocols/imap/progress.h"
#include "protocols/imap/results.h"
#include "protocols/imap/search_parse.h"

struct search {
	struct ps_search *search;
	struct imap_results results;
};

static void finish(struct imap_cmd *cmd)
{
	struct search *search = cmd->state;

	ps_search_destroy(search->search);
	imap_results_finish(&search->results);
}

static int resolve(void *arg, struct ps_bytes text, bool by_uid, struct ps_set *ret_uids)
{
	struct imap_cmd *cmd = arg;

	return imap_resolve(cmd->imap, text, by_uid, cmd->pool, ret_uids);
}

int imap_search_program(struct imap_cmd *cmd, struct ps_search_node **ret_root, bool *ret_modseq)
{
	struct imap_search_parser parser = {
		.args = &cmd->args,
		.pool = cmd->pool,
		.resolve = resolve,
		.arg = cmd,
		.charset_first = true,
		.utf8 = cmd->imap->enabled & IMAP_UTF8,
	};
	int r = imap_search_parse(&parser, ret_root);

	if (r == 0 && parser.modseq)
		imap_enable_condstore(cmd);
	*ret_modseq = parser.modseq;
	return r;
}

static int on_hit(void *arg, uint32_t seq, const struct ps_row *row)
{
	struct search *search = arg;

	return imap_results_hit(&search->results, seq, row);
}

static enum imap_next go_on(struct imap_cmd *cmd)
{
	struct search *search = cmd->state;
	int r = ps_search_step(search->search, imap_step_over, cmd, on_hit, search);
	uint32_t done, total;

	if (r == 0) {
		ps_search_progress(search->search, &done, &total);
		return imap_wait_step(cmd, done, total);
	}
	if (r < 0) {
		imap_results_fail(cmd, &search->results);
		return imap_no_err(cmd, r);
	}
	imap_results_put(cmd, &search->results, "SEARCH");
	return imap_ok(cmd, "SEARCH completed");
}

static int begin(struct imap_cmd *cmd)
{
	struct imap_search_parser parser = {
		.args = &cmd->args,
		.pool = cmd->pool,
		.resolve = resolve,
		.arg = cmd,
		.utf8 = cmd->imap->enabled & IMAP_UTF8,
	};
	struct imap_results results = {.by_uid = cmd->by_uid};
	struct ps_search_node *root;
	struct search *search;
	int r;

	if ((r = imap_args_space(&cmd->args)) < 0 || (r = imap_results_parse(&cmd->args, &results)) < 0)
		return r;
	if ((r = imap_search_parse(&parser, &root)) < 0) {
		if (r != PS_E_SYNTAX)
			imap_results_fail(cmd, &results);
		return r;
	}
	search = PS_NEW(cmd->pool, struct search);
	search->results = results;
	/* RFC 9051 section 6.4.4: ESEARCH always. */
	if (results.asked == 0 && (cmd->imap->enabled & IMAP_REV2))
		search->results.asked = IMAP_RETURN_ALL;
	search->results.tells_modseq = parser.modseq;
	if (parser.modseq)
		imap_enable_condstore(cmd);
	search->search = ps_search_create(cmd->imap->view, cmd->pool, root);
	cmd->state = search;
	cmd->finish = finish;
	return 0;
}

/* SEARCH (RFC 3501, 6.4.4; RFC 4731):
 * "SEARCH" [SP "RETURN" SP "(" options ")"] [SP "CHARSET" SP astring] 1*(SP search-key) */
static enum imap_next cmd_search(struct imap_cmd *cmd)
{
	int r = cmd->state ? 0 : begin(cmd);

	if (r == PS_E_UNSUPPORTED)
		return imap_no(cmd, "BADCHARSET (US-ASCII UTF-8)", "That charset is not known here");
	if (r < 0)
		return imap_refuse(cmd, r, "SEARCH takes keys, perhaps with RETURN and CHARSET before them");
	return go_on(cmd);
}

const struct imap_command imap_cmd_search = {
	.name = "SEARCH",
	.states = IMAP_SELECTED,
	.flags = IMAP_UID | IMAP_KEEPS_NUMBERS,
	.run = cmd_search,
};
