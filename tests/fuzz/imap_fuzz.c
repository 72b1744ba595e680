/* SPDX-License-Identifier: MIT */
/*
 * What an IMAP client may send: lines and literals, and in them arguments, FETCH items, SEARCH programs, flags and
 * mailbox names. Read in one piece and in small ones, it must be the same.
 */
#include <stdlib.h>
#include "postern/error.h"
#include "postern/store.h"
#include "protocols/imap/fetch_parse.h"
#include "protocols/imap/imap.h"
#include "protocols/imap/results.h"
#include "protocols/imap/search_parse.h"
#include "protocols/imap/sort_parse.h"
#include "tests/fuzz/fuzz.h"

static void must(bool holds)
{
	if (!holds)
		abort();
}

static int resolve(void *arg, struct ps_bytes text, bool by_uid, struct ps_set *ret_uids)
{
	(void)by_uid;
	return ps_set_parse(text, 1000, arg, ret_uids);
}

static void parse_search(struct imap_args args, struct ps_pool *pool)
{
	struct imap_search_parser parser = {.args = &args, .pool = pool, .resolve = resolve, .arg = pool};
	struct ps_search_node *root;

	imap_search_parse(&parser, &root);
}

static void parse_fetch(struct imap_args args, struct ps_pool *pool)
{
	struct imap_fetch fetch;

	if (imap_fetch_parse(&args, pool, &fetch) < 0)
		return;
	must(imap_args_done(&args));
	for (const struct imap_section *s = fetch.sections; s; s = s->next)
		must(s->label.len > 0 && ps_bytes_find(s->label, '\0') < 0 && s->depth <= IMAP_PART_DEPTH_MAX);
}

/* "RETURN (...)" and what SORT sorts by, as they stand in front of a SEARCH program. */
static void parse_sort(struct imap_args args, struct ps_pool *pool)
{
	struct imap_sort_criteria criteria;
	struct imap_results results = {0};

	if (imap_results_parse(&args, &results) < 0)
		return;
	must(!(results.asked & IMAP_RETURN_PARTIAL) ||
	     (results.partial.first > 0 && results.partial.first <= results.partial.last));
	parse_search(args, pool);
	if (imap_sort_criteria_parse(&args, &criteria) < 0)
		return;
	must(criteria.count > 0 && criteria.count <= IMAP_SORT_CRITERIA_MAX);
	if (imap_args_space(&args) == 0)
		parse_search(args, pool);
}

static void parse_flags(struct imap_args args, struct ps_pool *pool)
{
	struct imap_flags flags;
	size_t count = 0;

	if (imap_flags_parse(&args, true, pool, &flags) < 0)
		return;
	while (flags.keywords[count])
		must(flags.keywords[count++][0] != '\0');
	must(count <= PS_KEYWORDS_MAX + 1 && !(flags.system & ~(uint32_t)PS_FLAG_ALL));
}

/* A name that is lawful goes back to the wire and means the same there. */
static void parse_name(struct imap_args args, const struct imap_names *names, struct ps_pool *pool)
{
	struct ps_buf wire = {0};
	const char *name, *again, *pattern;
	struct ps_bytes text;

	if (imap_args_pattern(&args, pool, &text) < 0)
		return;
	imap_pattern_to_match(names, text, text, pool, &pattern);
	if (imap_name_from_wire(names, text, pool, &name) < 0)
		return;
	imap_name_to_wire(names, name, &wire);
	must(imap_name_from_wire(names, ps_buf_view(&wire), pool, &again) == 0 && strcmp(name, again) == 0);
	ps_buf_finish(&wire);
}

static void parse(struct ps_bytes text)
{
	static const struct imap_names plain = {.prefix = "", .separator = '/'},
				       courier = {.prefix = "INBOX.", .separator = '.'};
	struct ps_pool *pool = ps_pool_create("fuzz");
	struct imap_args args = imap_args(text);
	struct ps_bytes word;

	if (imap_args_tag(&args, &word) == 0 && imap_args_space(&args) == 0) {
		parse_search(args, pool);
		parse_sort(args, pool);
		parse_fetch(args, pool);
		parse_flags(args, pool);
		parse_name(args, &plain, pool);
		parse_name(args, &courier, pool);
	}
	ps_pool_destroy(pool);
}

static const struct imap_reader_limits limits = {.command = 4096, .literal = 2048, .non_synchronising = 1024};

/* All of it as commands, with the unread kept between as a session does; verdicts and texts go to `out`. */
static void read_all(struct ps_bytes sent, size_t piece, struct ps_buf *out)
{
	size_t from = 0, to = 0, used;
	struct imap_reader reader;

	imap_reader_init(&reader, &limits);
	while (to < sent.len) {
		enum imap_read verdict;

		to = sent.len - to < piece ? sent.len : to + piece;
		do {
			verdict = imap_reader_feed(&reader, ps_bytes(sent.ptr + from, to - from), &used);
			must(used <= to - from && reader.text.len <= limits.command);
			from += used;
			if (verdict == IMAP_READ_MORE)
				break;
			ps_buf_char(out, (char)('0' + verdict));
			if (verdict == IMAP_READ_COMMAND)
				ps_buf_bytes(out, ps_buf_view(&reader.text));
			if (verdict != IMAP_READ_CONTINUE)
				imap_reader_reset(&reader);
		} while (verdict != IMAP_READ_HOPELESS);
		if (verdict == IMAP_READ_HOPELESS)
			break;
	}
	imap_reader_finish(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ps_buf whole = {0}, pieces = {0};

	if (size < 1)
		return 0;
	/* A line over the limit is noticed earlier when it comes in pieces; all else is the same. */
	if (size <= limits.command) {
		read_all(ps_bytes(data + 1, size - 1), size, &whole);
		read_all(ps_bytes(data + 1, size - 1), data[0] ? data[0] : 1, &pieces);
		must(ps_bytes_eq(ps_buf_view(&whole), ps_buf_view(&pieces)));
	}
	parse(ps_bytes(data + 1, size - 1));
	ps_buf_finish(&whole);
	ps_buf_finish(&pieces);
	return 0;
}
