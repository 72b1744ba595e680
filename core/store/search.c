/* SPDX-License-Identifier: MIT */
/*
 * A search program is evaluated message by message, cheap criteria first: those answered by the row, by the cache, by
 * reading the header, by reading it all.
 */
#include "core/store/column.h"
#include "core/store/reader.h"
#include "core/store/search.h"
#include "core/store/view.h"

enum {
	MAX_DEPTH = 32,
	MAX_NODES = 2000,
	DAY = 86400,
	AT_ONCE_MAX = 128 << 10 /* octets; 250 KB of memory at most, in each search that is under way */
};

/* What has to be at hand to answer. */
enum cost {
	COST_ROW,
	COST_CACHE,
	COST_HEADER,
	COST_TEXT
};

struct node {
	const struct ps_search_node *source;
	enum cost cost;
	struct node *children; /* the cheaper first */
	struct node *next;
	struct ps_bytes folded;
	struct ps_needle *needle;
	int keyword; /* bit, or -1 */
	/* AND, NOT: what their children, and theirs, say of single flags is asked of the row at once. */
	uint32_t flags_asked, flags_set;
	struct ps_column_search
		*column; /* HEADER: what former searches have read; NULL: nothing is kept of this field */
	struct node *next_column;
};

struct ps_search {
	struct ps_view *view;
	struct ps_pool *pool;
	struct node *root;
	struct ps_needle *needles;
	struct node *columns;
	size_t nodes;
	int error; /* of compiling; told at the first step */
	uint32_t next, last;

	/* The message that is looked at, and what was needed of it so far. */
	const struct ps_row *row;
	struct ps_reader *reader; /* for one step */
	struct ps_pool *scratch;
	struct ps_cache cache;
	struct ps_buf header, whole;
	struct ps_search_value value;
	bool have_cache, have_header, have_texts;
	bool has_read; /* something, for any message of this step that was not followed by a look at the clock */
};

/* ---- what each kind does ------------------------------------------------------------------- */

/* Each answers 1, 0 or an error. */
static int need_cache(struct ps_search *s)
{
	int r;

	if (s->have_cache)
		return 0;
	s->has_read = true;
	r = ps_reader_cache(s->reader, s->row->uid, &s->cache);
	s->have_cache = r == 0;
	return r;
}

static int append_octets(void *arg, struct ps_bytes octets)
{
	return ps_buf_bytes(arg, octets);
}

static int need_header(struct ps_search *s)
{
	struct ps_body body;
	struct ps_span span;
	int r;

	if (s->have_header)
		return 0;
	if ((r = need_cache(s)) < 0 || (r = ps_cache_section(&s->cache, NULL, 0, PS_SECTION_HEADER, &span)) < 0 ||
	    (r = ps_view_body(s->view, s->row->uid, &body)) < 0)
		return r;
	ps_buf_reset(&s->header);
	r = ps_body_read(&body, &span, 0, span.length, append_octets, &s->header);
	ps_view_body_close(s->view, &body);
	s->have_header = r == 0;
	return r;
}

/* Each part is read by itself; of a message that is not large, they are in memory after one reading. */
static int read_at_once(struct ps_search *s, const struct ps_body *body, struct ps_body *ret_body)
{
	struct ps_bytes octets;
	uint8_t *space;
	int r;

	*ret_body = *body;
	if (body->fd < 0 || body->data || body->length > AT_ONCE_MAX)
		return 0;
	ps_buf_reset(&s->whole);
	if (!(space = ps_buf_reserve(&s->whole, (size_t)body->length)))
		return PS_E_LIMIT;
	for (uint64_t at = 0; at < body->length; at += octets.len)
		if ((r = ps_body_piece(body, at, space + at, (size_t)(body->length - at), &octets)) < 0)
			return r;
	*ret_body = (struct ps_body){.data = space, .fd = -1, .length = body->length, .wire_form = body->wire_form};
	return 0;
}

static int need_texts(struct ps_search *s)
{
	struct ps_body body, whole;
	int r;

	if (s->have_texts)
		return 0;
	if ((r = need_cache(s)) < 0 || (r = ps_view_body(s->view, s->row->uid, &body)) < 0)
		return r;
	r = read_at_once(s, &body, &whole);
	if (r == 0)
		r = ps_search_texts(&whole, &s->cache, s->scratch, s->needles);
	ps_view_body_close(s->view, &body);
	s->have_texts = r == 0;
	return r;
}

static int eval_all(struct ps_search *s, const struct node *node)
{
	(void)s;
	(void)node;
	return 1;
}

static int eval(struct ps_search *s, const struct node *node);

static int eval_and(struct ps_search *s, const struct node *node)
{
	int r = (s->row->flags & node->flags_asked) == node->flags_set;

	for (const struct node *child = node->children; child && r > 0; child = child->next)
		r = eval(s, child);
	return r;
}

static int eval_or(struct ps_search *s, const struct node *node)
{
	int r = 0;

	for (const struct node *child = node->children; child && r == 0; child = child->next)
		r = eval(s, child);
	return r;
}

static int eval_not(struct ps_search *s, const struct node *node)
{
	int r = eval_and(s, node);

	return r < 0 ? r : !r;
}

static int eval_seq(struct ps_search *s, const struct node *node)
{
	return ps_ranges_has(node->source->set.ranges, node->source->set.count, s->row->uid);
}

static int eval_flag(struct ps_search *s, const struct node *node)
{
	return (s->row->flags & node->source->number) != 0;
}

static int eval_keyword(struct ps_search *s, const struct node *node)
{
	return node->keyword >= 0 && (s->row->keywords >> node->keyword & 1);
}

static int eval_recent(struct ps_search *s, const struct node *node)
{
	(void)node;
	return ps_view_is_recent(s->view, s->row->uid);
}

static int eval_larger(struct ps_search *s, const struct node *node)
{
	return s->row->size > node->source->number;
}

static int eval_smaller(struct ps_search *s, const struct node *node)
{
	return s->row->size < node->source->number;
}

static int eval_modseq(struct ps_search *s, const struct node *node)
{
	return s->row->modseq >= node->source->number;
}

static int eval_older(struct ps_search *s, const struct node *node)
{
	return s->row->internal_date <= node->source->date;
}

static int eval_younger(struct ps_search *s, const struct node *node)
{
	return s->row->internal_date >= node->source->date;
}

/* The first second of the day. */
static int64_t day_of(int64_t time)
{
	int64_t second = time % DAY;

	return time - (second < 0 ? second + DAY : second);
}

static int compare_day(enum ps_search_kind kind, int64_t day, int64_t date)
{
	switch (kind) {
	case PS_SEARCH_BEFORE:
	case PS_SEARCH_SAVEDBEFORE:
	case PS_SEARCH_SENTBEFORE: return day < date;
	case PS_SEARCH_ON:
	case PS_SEARCH_SAVEDON:
	case PS_SEARCH_SENTON: return day == date;
	default: return day >= date;
	}
}

static int eval_date(struct ps_search *s, const struct node *node)
{
	return compare_day(node->source->kind, day_of(s->row->internal_date), node->source->date);
}

static int eval_saved(struct ps_search *s, const struct node *node)
{
	int64_t saved = s->row->save_date ? s->row->save_date : s->row->internal_date;

	return compare_day(node->source->kind, day_of(saved), node->source->date);
}

static int eval_email_id(struct ps_search *s, const struct node *node)
{
	const struct ps_id *id = &s->row->email_id;

	return ps_bytes_eq(node->source->text, ps_bytes(id->octets, sizeof id->octets));
}

/* The day as the sender wrote it, whatever the zone. Without a Date the internal date serves. */
static int eval_sent(struct ps_search *s, const struct node *node)
{
	int64_t time;
	int zone = 0, r = need_cache(s);

	if (r < 0)
		return r;
	if (ps_cache_date(&s->cache, &time, &zone) < 0)
		return eval_date(s, node);
	return compare_day(node->source->kind, day_of(time + zone * 60), node->source->date);
}

/* Whether one of the fields of that name contains the text. `column` (NULL: none) is told what is in all of them. */
static int match_fields(struct ps_search *s, struct ps_bytes fields, const struct node *node,
			struct ps_column_search *column)
{
	struct ps_header_walk walk = {.rest = fields};
	struct ps_bytes name, value, folded;
	bool found = false;

	while ((column || !found) && ps_header_next(&walk, &name, &value)) {
		if (!ps_bytes_caseeq_str(name, node->source->name))
			continue;
		if (node->folded.len == 0)
			return 1;
		if (ps_search_value(&s->value, value, &folded) < 0)
			continue;
		found = found || ps_bytes_contain(folded, node->folded);
		if (column)
			ps_column_note(column, s->row->uid, folded);
	}
	if (column)
		ps_column_noted(column, s->row->uid);
	return found;
}

static int eval_header(struct ps_search *s, const struct node *node)
{
	struct ps_bytes fields;
	int r = node->column ? ps_column_find(node->column, s->row->uid) : PS_COLUMN_UNKNOWN;

	if (r != PS_COLUMN_UNKNOWN)
		return r;
	if ((r = need_cache(s)) == 0 && (r = ps_cache_kept(&s->cache, &node->source->name, 1, &fields)) == 0)
		return match_fields(s, fields, node, node->column);
	if (r == PS_E_NOTFOUND && (r = need_header(s)) == 0)
		return match_fields(s, ps_buf_view(&s->header), node, NULL);
	return r;
}

static int eval_text(struct ps_search *s, const struct node *node)
{
	int r;

	if (!node->needle)
		return 1; /* nothing is contained in everything */
	r = need_texts(s);
	return r < 0 ? r : node->needle->found;
}

static const struct {
	enum cost cost;
	int (*eval)(struct ps_search *s, const struct node *node);
} kinds[] = {
	[PS_SEARCH_ALL] = {COST_ROW, eval_all},
	[PS_SEARCH_AND] = {COST_ROW, eval_and},
	[PS_SEARCH_OR] = {COST_ROW, eval_or},
	[PS_SEARCH_NOT] = {COST_ROW, eval_not},
	[PS_SEARCH_SEQ] = {COST_ROW, eval_seq},
	[PS_SEARCH_FLAG] = {COST_ROW, eval_flag},
	[PS_SEARCH_KEYWORD] = {COST_ROW, eval_keyword},
	[PS_SEARCH_RECENT] = {COST_ROW, eval_recent},
	[PS_SEARCH_LARGER] = {COST_ROW, eval_larger},
	[PS_SEARCH_SMALLER] = {COST_ROW, eval_smaller},
	[PS_SEARCH_BEFORE] = {COST_ROW, eval_date},
	[PS_SEARCH_ON] = {COST_ROW, eval_date},
	[PS_SEARCH_SINCE] = {COST_ROW, eval_date},
	[PS_SEARCH_SENTBEFORE] = {COST_CACHE, eval_sent},
	[PS_SEARCH_SENTON] = {COST_CACHE, eval_sent},
	[PS_SEARCH_SENTSINCE] = {COST_CACHE, eval_sent},
	[PS_SEARCH_HEADER] = {COST_HEADER, eval_header},
	[PS_SEARCH_BODY] = {COST_TEXT, eval_text},
	[PS_SEARCH_TEXT] = {COST_TEXT, eval_text},
	[PS_SEARCH_MODSEQ] = {COST_ROW, eval_modseq},
	[PS_SEARCH_EMAILID] = {COST_ROW, eval_email_id},
	[PS_SEARCH_SAVEDBEFORE] = {COST_ROW, eval_saved},
	[PS_SEARCH_SAVEDON] = {COST_ROW, eval_saved},
	[PS_SEARCH_SAVEDSINCE] = {COST_ROW, eval_saved},
	[PS_SEARCH_OLDER] = {COST_ROW, eval_older},
	[PS_SEARCH_YOUNGER] = {COST_ROW, eval_younger},
};

static int eval(struct ps_search *s, const struct node *node)
{
	return kinds[node->source->kind].eval(s, node);
}

/* ---- compiling ----------------------------------------------------------------------------- */

static int fold_text(struct ps_search *s, struct node *node)
{
	struct ps_buf folded = {0};
	int r = ps_casefold(node->source->text, &folded);

	node->folded = ps_bytes(ps_pool_memdup(s->pool, folded.ptr, folded.len), folded.len);
	ps_buf_finish(&folded);
	return r;
}

static void add_needle(struct ps_search *s, struct node *node)
{
	if (node->folded.len == 0)
		return;
	node->needle = PS_NEW(s->pool, struct ps_needle);
	node->needle->folded = node->folded;
	node->needle->in_header = node->source->kind == PS_SEARCH_TEXT;
	node->needle->next = s->needles;
	s->needles = node->needle;
}

static int keyword_bit(struct ps_view *view, struct ps_bytes name)
{
	struct ps_view_status status;

	ps_view_status(view, &status);
	for (size_t i = 0; i < status.keyword_count; i++)
		if (name.len > 0 && ps_bytes_caseeq_str(name, status.keywords[i]))
			return (int)i;
	return -1;
}

/* Everybody contains an empty text who has the field. */
static void add_column(struct ps_search *s, struct node *node)
{
	if (node->folded.len == 0)
		return;
	node->column = ps_column_open(&s->view->mailbox->columns, node->source->name, node->folded);
	node->next_column = s->columns;
	s->columns = node;
}

static int prepare(struct ps_search *s, struct node *node)
{
	int r = 0;

	switch (node->source->kind) {
	case PS_SEARCH_KEYWORD: node->keyword = keyword_bit(s->view, node->source->text); break;
	case PS_SEARCH_HEADER:
		r = fold_text(s, node);
		if (!ps_cache_has_field(node->source->name))
			break;
		node->cost = COST_CACHE;
		if (r == 0)
			add_column(s, node);
		break;
	case PS_SEARCH_BODY:
	case PS_SEARCH_TEXT:
		r = fold_text(s, node);
		add_needle(s, node);
		break;
	default: break;
	}
	return r;
}

static bool is_and(const struct node *node)
{
	return node->source->kind == PS_SEARCH_AND || node->source->kind == PS_SEARCH_NOT;
}

/* FLAG, or NOT of one: the parent can ask that itself, if it does not ask for the opposite. */
static bool take_flag(struct node *parent, const struct node *child)
{
	uint32_t flag = 0, set = 0;

	if (child->source->kind == PS_SEARCH_FLAG) {
		flag = set = (uint32_t)child->source->number;
	} else if (child->source->kind == PS_SEARCH_NOT && !child->children && child->flags_asked == child->flags_set) {
		flag = child->flags_asked;
	}
	if (!is_and(parent) || flag == 0 || (flag & (flag - 1)) != 0 ||
	    ((parent->flags_asked & flag) && (parent->flags_set & flag) != set))
		return false;
	parent->flags_asked |= flag;
	parent->flags_set |= set;
	return true;
}

/* Behind those that cost as much: the order given is kept among equals. */
static void add_child(struct node *parent, struct node *child)
{
	struct node **at = &parent->children;

	while (*at && (*at)->cost <= child->cost)
		at = &(*at)->next;
	child->next = *at;
	*at = child;
	if (child->cost > parent->cost)
		parent->cost = child->cost;
}

static int compile(struct ps_search *s, const struct ps_search_node *source, unsigned depth, struct node **ret_node)
{
	struct node *node;
	int r;

	if (depth > MAX_DEPTH || ++s->nodes > MAX_NODES)
		return ps_fail(PS_E_LIMIT, "a search of more than %d keys or %d levels", MAX_NODES, MAX_DEPTH);
	node = PS_NEW(s->pool, struct node);
	node->source = source;
	node->cost = kinds[source->kind].cost;
	if ((r = prepare(s, node)) < 0)
		return r;
	for (const struct ps_search_node *at = source->children; at; at = at->next) {
		struct node *child;

		if ((r = compile(s, at, depth + 1, &child)) < 0)
			return r;
		if (!take_flag(node, child))
			add_child(node, child);
	}
	*ret_node = node;
	return 0;
}

struct ps_search *ps_search_create(struct ps_view *view, struct ps_pool *pool, const struct ps_search_node *root)
{
	struct ps_search *s = PS_NEW(pool, struct ps_search);
	struct ps_view_status status;

	s->view = view;
	s->pool = pool;
	s->scratch = ps_pool_create("search");
	s->error = compile(s, root, 1, &s->root);
	ps_view_status(view, &status);
	s->next = 1;
	s->last = status.messages;
	return s;
}

void ps_search_progress(const struct ps_search *s, uint32_t *ret_done, uint32_t *ret_total)
{
	*ret_done = s->next - 1;
	*ret_total = s->last;
}

void ps_search_destroy(struct ps_search *s)
{
	if (!s)
		return;
	for (struct node *node = s->columns; node; node = node->next_column)
		ps_column_close(node->column);
	ps_buf_finish(&s->header);
	ps_buf_finish(&s->whole);
	ps_search_value_finish(&s->value);
	ps_pool_destroy(s->scratch);
}

/* ---- running ------------------------------------------------------------------------------- */

/* 1: it matches. A message that is no more matches nothing. */
static int look_at(struct ps_search *s, const struct ps_row *row)
{
	int r;

	s->row = row;
	r = eval(s, s->root);
	if (s->have_texts)
		ps_pool_reset(s->scratch);
	s->have_cache = s->have_header = s->have_texts = false;
	return r == PS_E_GONE ? 0 : r;
}

/* What has come since the search began is not looked at. */
static bool next_run(const struct ps_search *s, struct ps_snapshot_run *run)
{
	uint32_t left = s->last - s->next + 1;

	if (!ps_snapshot_run(s->view->shown.snapshot, s->next, run))
		return false;
	if (run->count > left)
		run->count = left;
	return true;
}

/* How many rows there are ahead of one whose flags are as the whole program wants them. */
static uint32_t count_others(const struct node *root, const struct ps_snapshot_run *run)
{
	uint32_t n = 0;

	if (root->source->kind == PS_SEARCH_AND && root->flags_asked)
		while (n < run->count && (run->flags[n] & root->flags_asked) != root->flags_set)
			n++;
	return n;
}

static void skip_rows(struct ps_search *s, struct ps_snapshot_run *run, uint32_t count)
{
	s->next += count;
	run->rows += count;
	run->flags += count;
	run->count -= count;
}

/* Those of a run are quick; asking the clock for each would cost more than they do. */
static bool is_slice_over(struct ps_search *s, const struct ps_snapshot_run *run, bool (*slice_over)(void *arg),
			  void *arg)
{
	if (!slice_over || (!s->has_read && run->count > 0))
		return false;
	s->has_read = false;
	return slice_over(arg);
}

static int run(struct ps_search *s, bool (*slice_over)(void *arg), void *arg,
	       int (*hit)(void *arg, uint32_t seq, const struct ps_row *row), void *hit_arg)
{
	struct ps_snapshot_run run = {.count = 0};

	while (s->next <= s->last) {
		const struct ps_row *row;
		int r;

		if (run.count == 0 && !next_run(s, &run))
			break;
		skip_rows(s, &run, count_others(s->root, &run));
		if (run.count > 0) {
			row = run.rows;
			if ((r = look_at(s, row)) < 0)
				return r;
			skip_rows(s, &run, 1);
			if (r > 0 && (r = hit(hit_arg, s->next - 1, row)) != 0)
				return r;
		}
		if (is_slice_over(s, &run, slice_over, arg))
			return s->next > s->last;
	}
	return 1;
}

int ps_search_step(struct ps_search *s, bool (*slice_over)(void *arg), void *arg,
		   int (*hit)(void *arg, uint32_t seq, const struct ps_row *row), void *hit_arg)
{
	int r;

	if (s->error)
		return s->error;
	if ((r = ps_reader_open(s->view, &s->reader)) < 0)
		return r;
	r = run(s, slice_over, arg, hit, hit_arg);
	ps_reader_close(s->reader);
	s->reader = NULL;
	return r;
}
