/* SPDX-License-Identifier: MIT */
#include "postern/error.h"
#include "protocols/imap/list_parse.h"
#include "protocols/imap/status_items.h"

enum {
	PATTERNS_MAX = 100, /* each costs a look at every name */
};

struct option {
	const char *name;
	unsigned bit;
};

static const struct option select_options[] = {
	{"SUBSCRIBED", IMAP_LIST_SUBSCRIBED},
	{"SPECIAL-USE", IMAP_LIST_SPECIAL_USE},
	{"REMOTE", IMAP_LIST_REMOTE},
	{"RECURSIVEMATCH", IMAP_LIST_RECURSIVE},
	{NULL, 0},
};

static const struct option return_options[] = {
	{"SUBSCRIBED", IMAP_LIST_SUBSCRIBED},
	{"SPECIAL-USE", IMAP_LIST_SPECIAL_USE},
	{"CHILDREN", IMAP_LIST_CHILDREN},
	{"STATUS", IMAP_LIST_STATUS},
	{NULL, 0},
};

static int bad(const char *what)
{
	return ps_fail(PS_E_SYNTAX, "LIST: %s", what);
}

static int parse_option(struct imap_args *args, const struct option *option, struct imap_list_request *request,
			unsigned *options)
{
	struct ps_bytes name;

	if (imap_args_atom(args, &name) < 0)
		return bad("an option is missing");
	while (option->name && !ps_bytes_caseeq_str(name, option->name))
		option++;
	if (!option->name)
		return bad("no such option");
	*options |= option->bit;
	if (option->bit != IMAP_LIST_STATUS)
		return 0;
	if (imap_args_space(args) < 0)
		return bad("STATUS takes a list of items");
	return imap_status_items_parse(args, &request->status);
}

/* Behind "(". */
static int parse_options(struct imap_args *args, const struct option *known, struct imap_list_request *request,
			 unsigned *options)
{
	int r;

	if (imap_args_take(args, ')'))
		return 0;
	do {
		if ((r = parse_option(args, known, request, options)) < 0)
			return r;
	} while (imap_args_take(args, ' '));
	return imap_args_take(args, ')') ? 0 : bad("a list of options does not end");
}

static int parse_select(struct imap_args *args, struct imap_list_request *request)
{
	int r;

	if (!imap_args_take(args, '('))
		return 0;
	request->extended = true;
	if ((r = parse_options(args, select_options, request, &request->select)) < 0)
		return r;
	/* RFC 5258 section 3.1. */
	if ((request->select & IMAP_LIST_RECURSIVE) && !(request->select & IMAP_LIST_BASE))
		return bad("RECURSIVEMATCH takes an option beside it");
	return imap_args_space(args);
}

static int parse_return(struct imap_args *args, struct imap_list_request *request)
{
	if (imap_args_done(args))
		return 0;
	if (imap_args_space(args) < 0 || !imap_args_take_word(args, "RETURN") || imap_args_space(args) < 0 ||
	    !imap_args_take(args, '('))
		return bad("RETURN and a list of options it should be");
	request->extended = true;
	return parse_options(args, return_options, request, &request->returns);
}

static int parse_pattern(struct imap_cmd *cmd, struct ps_bytes reference, size_t *cap,
			 struct imap_list_request *request)
{
	struct ps_bytes pattern;
	int r = imap_args_pattern(&cmd->args, cmd->pool, &pattern);

	if (r < 0)
		return r;
	if (request->pattern_count == PATTERNS_MAX)
		return ps_fail(PS_E_LIMIT, "LIST: more than %d patterns", PATTERNS_MAX);
	request->patterns =
		ps_pool_grow(cmd->pool, request->patterns, request->pattern_count, cap, sizeof *request->patterns);
	r = imap_pattern_to_match(&cmd->imap->names, reference, pattern, cmd->pool,
				  &request->patterns[request->pattern_count]);
	request->pattern_count += r == 0;
	/* What cannot be a name matches none: RFC 9051 section 6.3.9. */
	return r == PS_E_INVALID ? 0 : r;
}

static int parse_patterns(struct imap_cmd *cmd, struct ps_bytes reference, struct imap_list_request *request)
{
	size_t cap = 0;
	int r;

	if (!imap_args_take(&cmd->args, '('))
		return parse_pattern(cmd, reference, &cap, request);
	request->extended = true;
	do {
		if ((r = parse_pattern(cmd, reference, &cap, request)) < 0)
			return r;
	} while (imap_args_take(&cmd->args, ' '));
	return imap_args_take(&cmd->args, ')') ? 0 : bad("a list of patterns does not end");
}

int imap_list_parse(struct imap_cmd *cmd, struct imap_list_request *ret_request)
{
	struct imap_list_request request = {0};
	struct ps_bytes reference;
	int r;

	if ((r = imap_args_space(&cmd->args)) < 0 || (r = parse_select(&cmd->args, &request)) < 0 ||
	    (r = imap_args_astring(&cmd->args, cmd->pool, &reference)) < 0 || (r = imap_args_space(&cmd->args)) < 0 ||
	    (r = parse_patterns(cmd, reference, &request)) < 0 || (r = parse_return(&cmd->args, &request)) < 0 ||
	    (r = imap_args_end(&cmd->args)) < 0)
		return r;
	*ret_request = request;
	return 0;
}
