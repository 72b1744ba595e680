/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include "protocols/imap/results.h"

void imap_results_finish(struct imap_results *results)
{
	ps_ranges_finish(&results->hits);
}

bool imap_results_hit(struct imap_results *results, uint32_t seq, const struct ps_row *row)
{
	uint32_t number = results->by_uid ? row->uid : seq;

	ps_ranges_add(&results->hits, (struct ps_range){number, number});
	if (results->count++ == 0)
		results->first = number;
	results->last = number;
	if (results->tells_modseq && row->modseq > results->modseq)
		results->modseq = row->modseq;
	return (results->asked & ~(unsigned)IMAP_RETURN_SAVE) == IMAP_RETURN_MIN;
}

/* ---- what is told and what is kept ------------------------------------------------------------- */

/* Whether all that was found counts, or only what MIN, MAX and PARTIAL pick. */
static bool is_about_all(const struct imap_results *results)
{
	return results->asked == 0 || results->asked == IMAP_RETURN_SAVE ||
	       (results->asked & (IMAP_RETURN_ALL | IMAP_RETURN_COUNT));
}

static void add_picked(const struct imap_results *results, struct ps_ranges *picked)
{
	if (results->count == 0)
		return;
	if (results->asked & IMAP_RETURN_MIN)
		ps_ranges_add(picked, (struct ps_range){results->first, results->first});
	if (results->asked & IMAP_RETURN_PARTIAL)
		imap_partial_take(&results->partial, results->hits.ptr, results->hits.count, picked);
	if (results->asked & IMAP_RETURN_MAX)
		ps_ranges_add(picked, (struct ps_range){results->last, results->last});
}

typedef void (*row_fn)(void *arg, const struct ps_row *row);

/* Calls fn for the message of each number. */
static void each_row(const struct imap *imap, const struct imap_results *results, const struct ps_ranges *numbers,
		     row_fn fn, void *arg)
{
	for (size_t i = 0; i < numbers->count; i++) {
		uint32_t seq = numbers->ptr[i].first, last = numbers->ptr[i].last;
		const struct ps_row *row;

		if (results->by_uid) {
			seq = ps_view_seq(imap->view, seq);
			last = ps_view_seq(imap->view, last);
		}
		for (; seq <= last && (row = ps_view_row(imap->view, seq)); seq++)
			fn(arg, row);
	}
}

static void take_highest(void *arg, const struct ps_row *row)
{
	uint64_t *modseq = arg;

	if (row->modseq > *modseq)
		*modseq = row->modseq;
}

static void add_uid(void *arg, const struct ps_row *row)
{
	ps_ranges_add(arg, (struct ps_range){row->uid, row->uid});
}

/* RFC 7162 section 3.1.6: the highest of those that the response is about. */
static uint64_t told_modseq(const struct imap *imap, const struct imap_results *results)
{
	struct ps_ranges picked = {0};
	uint64_t modseq = 0;

	if (is_about_all(results))
		return results->modseq;
	add_picked(results, &picked);
	each_row(imap, results, &picked, take_highest, &modseq);
	ps_ranges_finish(&picked);
	return modseq;
}

/* RFC 5182 section 2.4: "$" is what the response is about. */
static void save(struct imap *imap, const struct imap_results *results)
{
	struct ps_ranges picked = {0};

	ps_ranges_finish(&imap->saved);
	if (is_about_all(results)) {
		each_row(imap, results, &results->hits, add_uid, &imap->saved);
	} else {
		add_picked(results, &picked);
		each_row(imap, results, &picked, add_uid, &imap->saved);
		ps_ranges_finish(&picked);
	}
	ps_ranges_sort(&imap->saved);
}

/* ---- the responses ----------------------------------------------------------------------------- */

static void put_plain(struct imap_cmd *cmd, const struct imap_results *results, const char *name)
{
	struct ps_buf *out = imap_output(cmd->imap);

	ps_buf_str(out, "* ");
	ps_buf_str(out, name);
	for (size_t i = 0; i < results->hits.count; i++) {
		for (uint64_t n = results->hits.ptr[i].first; n <= results->hits.ptr[i].last; n++) {
			ps_buf_char(out, ' ');
			ps_buf_u64(out, n);
		}
	}
	if (results->tells_modseq && results->modseq > 0)
		ps_session_printf(cmd->imap->session, " (MODSEQ %" PRIu64 ")", results->modseq);
	ps_buf_str(out, "\r\n");
}

static void put_number(struct ps_buf *out, const char *name, uint64_t number)
{
	ps_buf_str(out, name);
	ps_buf_u64(out, number);
}

static void put_partial(struct ps_buf *out, const struct imap_results *results)
{
	struct ps_ranges part = {0};

	imap_partial_take(&results->partial, results->hits.ptr, results->hits.count, &part);
	ps_buf_str(out, " PARTIAL (");
	ps_buf_bytes(out, results->partial.text);
	ps_buf_char(out, ' ');
	if (part.count > 0)
		ps_set_format(out, part.ptr, part.count);
	else
		ps_buf_str(out, "NIL");
	ps_buf_char(out, ')');
	ps_ranges_finish(&part);
}

static void put_esearch(struct imap_cmd *cmd, const struct imap_results *results)
{
	struct ps_buf *out = imap_output(cmd->imap);
	uint64_t modseq = results->tells_modseq ? told_modseq(cmd->imap, results) : 0;

	ps_buf_str(out, "* ESEARCH (TAG \"");
	ps_buf_bytes(out, cmd->tag);
	ps_buf_str(out, results->by_uid ? "\") UID" : "\")");
	if ((results->asked & IMAP_RETURN_MIN) && results->count > 0)
		put_number(out, " MIN ", results->first);
	if ((results->asked & IMAP_RETURN_MAX) && results->count > 0)
		put_number(out, " MAX ", results->last);
	if ((results->asked & IMAP_RETURN_ALL) && results->count > 0) {
		ps_buf_str(out, " ALL ");
		ps_set_format(out, results->hits.ptr, results->hits.count);
	}
	if (results->asked & IMAP_RETURN_PARTIAL)
		put_partial(out, results);
	if (results->asked & IMAP_RETURN_COUNT)
		put_number(out, " COUNT ", results->count);
	if (modseq > 0)
		put_number(out, " MODSEQ ", modseq);
	ps_buf_str(out, "\r\n");
}

void imap_results_put(struct imap_cmd *cmd, const struct imap_results *results, const char *name)
{
	if (results->asked & IMAP_RETURN_SAVE)
		save(cmd->imap, results);
	if (results->asked == 0)
		put_plain(cmd, results, name);
	else if (results->asked != IMAP_RETURN_SAVE)
		put_esearch(cmd, results);
}

void imap_results_fail(struct imap_cmd *cmd, const struct imap_results *results)
{
	if (results->asked & IMAP_RETURN_SAVE)
		ps_ranges_finish(&cmd->imap->saved);
}
