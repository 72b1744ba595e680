/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include "postern/error.h"
#include "protocols/imap/commands.h"
#include "protocols/imap/search_parse.h"

struct search {
	struct ps_search *search;
	struct ps_buf hits; /* as they are answered: " 2 84 882" */
	bool by_uid;
	bool tells_modseq;
	uint64_t modseq; /* the highest of the hits; 0: none */
};

static void finish(struct imap_cmd *cmd)
{
	struct search *search = cmd->state;

	ps_search_destroy(search->search);
	ps_buf_finish(&search->hits);
}

static int resolve(void *arg, struct ps_bytes text, bool by_uid, struct ps_set *ret_uids)
{
	struct imap_cmd *cmd = arg;
	int r = ps_view_resolve(cmd->imap->view, text, by_uid, cmd->pool, ret_uids);

	return r == PS_E_INVALID ? PS_E_SYNTAX : r;
}

static bool slice_over(void *session)
{
	return ps_session_dead(session) || ps_session_slice_over(session);
}

static int on_hit(void *arg, uint32_t seq, const struct ps_row *row)
{
	struct search *search = arg;

	ps_buf_char(&search->hits, ' ');
	ps_buf_u64(&search->hits, search->by_uid ? row->uid : seq);
	if (row->modseq > search->modseq)
		search->modseq = row->modseq;
	return 0;
}

static enum imap_next go_on(struct imap_cmd *cmd)
{
	struct search *search = cmd->state;
	struct ps_buf *out = imap_output(cmd->imap);
	int r = ps_search_step(search->search, slice_over, cmd->imap->session, on_hit, search);

	if (r == 0) {
		cmd->wait = (struct ps_wait){.what = PS_WAIT_TURN};
		return IMAP_WAIT;
	}
	if (r < 0)
		return imap_no_err(cmd, r);
	ps_buf_str(out, "* SEARCH");
	ps_buf_bytes(out, ps_buf_view(&search->hits));
	if (search->tells_modseq && search->modseq > 0)
		ps_session_printf(cmd->imap->session, " (MODSEQ %" PRIu64 ")", search->modseq);
	ps_buf_str(out, "\r\n");
	return imap_ok(cmd, "SEARCH completed");
}

static int begin(struct imap_cmd *cmd)
{
	struct imap_search_parser parser = {.args = &cmd->args, .pool = cmd->pool, .resolve = resolve, .arg = cmd};
	struct ps_search_node *root;
	struct search *search;
	int r;

	if ((r = imap_args_space(&cmd->args)) < 0 || (r = imap_search_parse(&parser, &root)) < 0)
		return r;
	search = PS_NEW(cmd->pool, struct search);
	search->by_uid = cmd->by_uid;
	search->tells_modseq = parser.modseq;
	if (parser.modseq)
		imap_enable_condstore(cmd);
	search->search = ps_search_create(cmd->imap->view, cmd->pool, root);
	cmd->state = search;
	cmd->finish = finish;
	return 0;
}

/* SEARCH (RFC 3501, 6.4.4):  "SEARCH" [SP "CHARSET" SP astring] 1*(SP search-key) */
static enum imap_next cmd_search(struct imap_cmd *cmd)
{
	int r = cmd->state ? 0 : begin(cmd);

	if (r == PS_E_UNSUPPORTED)
		return imap_no(cmd, "BADCHARSET (US-ASCII UTF-8)", "That charset is not known here");
	if (r < 0)
		return imap_refuse(cmd, r, "SEARCH takes keys, perhaps with a CHARSET before them");
	return go_on(cmd);
}

const struct imap_command imap_cmd_search = {
	.name = "SEARCH",
	.states = IMAP_SELECTED,
	.flags = IMAP_UID | IMAP_KEEPS_NUMBERS,
	.run = cmd_search,
};
