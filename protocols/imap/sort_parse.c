/* SPDX-License-Identifier: MIT */
/* "(" criterion *(SP criterion) ")"; criterion = ["REVERSE" SP] key */
#include "postern/error.h"
#include "protocols/imap/sort_parse.h"

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

static int bad(const char *what)
{
	return ps_fail(PS_E_SYNTAX, "SORT: %s", what);
}

static int parse_criterion(struct imap_args *args, struct imap_sort_criteria *criteria)
{
	struct ps_sort_criterion *criterion = &criteria->list[criteria->count];
	struct ps_bytes name;

	if (criteria->count == IMAP_SORT_CRITERIA_MAX)
		return ps_fail(PS_E_LIMIT, "SORT: more than %d criteria", IMAP_SORT_CRITERIA_MAX);
	criterion->reverse = imap_args_take_word(args, "REVERSE");
	if ((criterion->reverse && imap_args_space(args) < 0) || imap_args_atom(args, &name) < 0)
		return bad("a criterion is missing");
	for (size_t i = 0; i < PS_ARRAY_LEN(names); i++) {
		if (!ps_bytes_caseeq_str(name, names[i].name))
			continue;
		criterion->key = names[i].key;
		criteria->count++;
		return 0;
	}
	return bad("no such criterion");
}

int imap_sort_criteria_parse(struct imap_args *args, struct imap_sort_criteria *ret_criteria)
{
	int r;

	ret_criteria->count = 0;
	if (!imap_args_take(args, '('))
		return bad("a list of criteria is missing");
	do {
		if ((r = parse_criterion(args, ret_criteria)) < 0)
			return r;
	} while (imap_args_take(args, ' '));
	return imap_args_take(args, ')') ? 0 : bad("a list of criteria does not end");
}
