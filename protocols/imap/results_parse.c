/* SPDX-License-Identifier: MIT */
/* "RETURN" SP "(" [option *(SP option)] ")" */
#include "postern/error.h"
#include "protocols/imap/results.h"

static int bad(const char *what)
{
	return ps_fail(PS_E_SYNTAX, "RETURN: %s", what);
}

static const struct {
	const char *name;
	unsigned option;
} options[] = {
	{"MIN", IMAP_RETURN_MIN},     {"MAX", IMAP_RETURN_MAX},   {"ALL", IMAP_RETURN_ALL},
	{"COUNT", IMAP_RETURN_COUNT}, {"SAVE", IMAP_RETURN_SAVE}, {"PARTIAL", IMAP_RETURN_PARTIAL},
};

static int parse_option(struct imap_args *args, struct imap_results *results)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(options); i++) {
		if (!imap_args_take_word(args, options[i].name))
			continue;
		if (results->asked & options[i].option)
			return bad("an option is given twice");
		results->asked |= options[i].option;
		if (options[i].option != IMAP_RETURN_PARTIAL)
			return 0;
		return imap_args_space(args) < 0 ? PS_E_SYNTAX : imap_partial_parse(args, &results->partial);
	}
	return bad("no such option");
}

int imap_results_parse(struct imap_args *args, struct imap_results *results)
{
	int r;

	if (!imap_args_take_word(args, "RETURN"))
		return 0;
	if (imap_args_space(args) < 0 || !imap_args_take(args, '('))
		return bad("a list of options is missing");
	if (imap_args_peek(args) != ')') {
		do {
			if ((r = parse_option(args, results)) < 0)
				return r;
		} while (imap_args_take(args, ' '));
	}
	if (!imap_args_take(args, ')'))
		return bad("a list of options does not end");
	if (results->asked == 0)
		results->asked = IMAP_RETURN_ALL;
	if ((results->asked & IMAP_RETURN_PARTIAL) && (results->asked & IMAP_RETURN_ALL))
		return bad("ALL and PARTIAL exclude each other");
	return imap_args_space(args);
}
