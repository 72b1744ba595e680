/* SPDX-License-Identifier: MIT */
#include <string.h>
#include "postern/error.h"
#include "postern/log.h"
#include "protocols/imap/commands.h"
#include "protocols/imap/list.h"
#include "protocols/imap/list_parse.h"
#include "protocols/imap/status_items.h"

struct state {
	struct imap_list_request request;
	struct imap_list list;
	size_t next;
};

/* LIST "" "": what separates the levels, and the root. */
static void put_separator(struct imap_cmd *cmd)
{
	ps_session_printf(cmd->imap->session, "* LIST (\\Noselect) \"%c\" \"\"\r\n", cmd->imap->names.separator);
}

static bool matches(struct imap_cmd *cmd, const char *name)
{
	const struct imap_list_request *request = &((struct state *)cmd->state)->request;

	for (size_t i = 0; i < request->pattern_count; i++)
		if (imap_list_matches(cmd, request->patterns[i], name))
			return true;
	return false;
}

/* By the selection options; without any it is what exists, and what is above it. */
static bool selected(const struct imap_list_request *request, const struct imap_list_entry *entry)
{
	if (!(request->select & IMAP_LIST_BASE))
		return (entry->attributes | entry->below) & PS_MBOX_EXISTS;
	if ((request->select & IMAP_LIST_SUBSCRIBED) && !(entry->attributes & PS_MBOX_SUBSCRIBED))
		return false;
	return !(request->select & IMAP_LIST_SPECIAL_USE) || (entry->attributes & PS_MBOX_SPECIAL_USES);
}

/*
 * RFC 5258 section 3.5: whether something below is selected. For a name that is not selected itself, that counts only
 * where the one below is not told anyhow.
 */
static bool has_selected_below(struct imap_cmd *cmd, size_t at, bool untold_only)
{
	const struct state *state = cmd->state;
	const struct imap_list *list = &state->list;
	const char *name = list->entries[at].name;
	size_t len = strlen(name);

	for (size_t i = at + 1; i < list->count; i++) {
		const struct imap_list_entry *entry = &list->entries[i];

		if (strncmp(entry->name, name, len) != 0 || entry->name[len] != '/')
			break;
		if (selected(&state->request, entry) && !(untold_only && matches(cmd, entry->name)))
			return true;
	}
	return false;
}

static const char *attributes(struct imap_cmd *cmd, const struct imap_list_entry *entry)
{
	const struct imap_list_request *request = &((struct state *)cmd->state)->request;
	bool subscribed = (request->select | request->returns) & IMAP_LIST_SUBSCRIBED;
	const char *missing = request->extended ? "\\NonExistent " : "\\Noselect ";

	return imap_list_attributes(cmd, entry, missing, subscribed);
}

static void put_child_info(struct imap_cmd *cmd)
{
	const struct imap_list_request *request = &((struct state *)cmd->state)->request;
	struct ps_buf *out = imap_output(cmd->imap);
	bool subscribed = request->select & IMAP_LIST_SUBSCRIBED;

	ps_buf_str(out, " (\"CHILDINFO\" (");
	if (subscribed)
		ps_buf_str(out, "\"SUBSCRIBED\"");
	if (request->select & IMAP_LIST_SPECIAL_USE)
		ps_buf_str(out, subscribed ? " \"SPECIAL-USE\"" : "\"SPECIAL-USE\"");
	ps_buf_str(out, "))");
}

/* RFC 5819 section 2: what cannot be told is left out. */
static void put_status(struct imap_cmd *cmd, const char *name)
{
	const struct imap_list_request *request = &((struct state *)cmd->state)->request;
	struct ps_mailbox_info info;
	int r = ps_user_status(cmd->imap->user, name, &info);

	if (r == 0)
		imap_put_status(cmd, &info, request->status);
	else if (r != PS_E_NOTFOUND)
		ps_logf(PS_LOG_WARNING, "list_status_failed", ps_session_sid(cmd->imap->session), "%s: %s",
			ps_err_name(r), ps_last_error());
}

static void consider(struct imap_cmd *cmd, size_t at)
{
	const struct state *state = cmd->state;
	const struct imap_list_request *request = &state->request;
	const struct imap_list_entry *entry = &state->list.entries[at];
	bool itself = selected(request, entry), below;

	if ((!itself && !(request->select & IMAP_LIST_RECURSIVE)) || !matches(cmd, entry->name))
		return;
	below = (request->select & IMAP_LIST_RECURSIVE) && has_selected_below(cmd, at, !itself);
	if (!itself && !below)
		return;
	imap_put_list(cmd, "LIST", entry, attributes(cmd, entry));
	if (below)
		put_child_info(cmd);
	ps_buf_str(imap_output(cmd->imap), "\r\n");
	/* One that is told for what is below it has no status: RFC 5819 section 3. */
	if (itself && (request->returns & IMAP_LIST_STATUS) && (entry->attributes & PS_MBOX_EXISTS))
		put_status(cmd, entry->name);
}

/* NULL: names of all kinds may match. */
static const char *top_of(struct imap_cmd *cmd, const struct imap_list_request *request)
{
	return request->pattern_count == 1 ? imap_pattern_top(&cmd->imap->names, request->patterns[0], cmd->pool)
					   : NULL;
}

static int begin(struct imap_cmd *cmd)
{
	struct state *state = PS_NEW(cmd->pool, struct state);
	uint32_t wanted = PS_MBOX_EXISTS;
	int r = imap_list_parse(cmd, &state->request);

	if (r < 0)
		return r;
	if (!state->request.extended && state->request.pattern_count > 0 && state->request.patterns[0][0] == '\0')
		put_separator(cmd);
	if (state->request.select & IMAP_LIST_SUBSCRIBED)
		wanted |= PS_MBOX_SUBSCRIBED;
	if ((r = imap_list_read(cmd, top_of(cmd, &state->request), wanted, &state->list)) < 0)
		return r;
	cmd->state = state;
	return 0;
}

/* LIST (RFC 3501, 6.3.8; RFC 5258; RFC 5819; RFC 6154):
 * "LIST" [SP "(" options ")"] SP mailbox SP patterns [SP "RETURN" SP "(" options ")"] */
static enum imap_next cmd_list(struct imap_cmd *cmd)
{
	struct state *state;
	int r;

	if (!cmd->state && (r = begin(cmd)) < 0)
		return imap_refuse(cmd, r, "LIST takes options, a reference, patterns, and RETURN with options");
	state = cmd->state;
	while (state->next < state->list.count) {
		if (imap_should_yield(cmd))
			return IMAP_WAIT;
		consider(cmd, state->next++);
	}
	return imap_ok(cmd, "LIST completed");
}

const struct imap_command imap_cmd_list = {
	.name = "LIST",
	.states = IMAP_LOGGED_IN,
	.run = cmd_list,
};
