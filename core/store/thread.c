/* SPDX-License-Identifier: MIT */
/*
 * Threading, RFC 5256 section 3 and draft-ietf-morg-inthread.
 *
 * The messages found are sorted by sent date first, and from then on called by their place in that order; those that only
 * have children, the dummies, are called by numbers behind. All that follows finds a parent for each. Whoever is hung
 * up in the order of the places is then sorted among siblings, and no tree is ever walked.
 */
#include <stdlib.h>
#include "core/store/references.h"
#include "core/store/subjects.h"
#include "postern/store.h"

#define NONE PS_THREAD_NONE

enum {
	SLICE = 1024, /* of work that costs too little to ask the clock each time */
};

struct node {
	uint32_t parent;
	uint32_t first, last, next; /* children, and the next sibling */
};

struct ps_thread {
	struct ps_view *view;
	struct ps_sort *sort;
	const struct algorithm *algorithm;
	size_t stage; /* of the algorithm */
	size_t at;    /* of the stage */
	size_t messages;
	uint32_t *places; /* by sequence number; NONE: not found */
	size_t numbers;
	struct ps_references *references;
	struct ps_subjects *subjects;
	struct node *nodes; /* messages, then dummies */
	size_t count;
	struct node root;
	/* REFS: of each thread, when its last message came. */
	int64_t *latest;
	uint32_t *order, *other;
	size_t threads, width;
};

typedef bool slice_over_fn(void *arg);

/* A stage works on until slice_over() says stop. 1: it is done; 0: again; negative: error. */
struct algorithm {
	int (*const *stages)(struct ps_thread *thread, slice_over_fn *slice_over, void *arg);
	bool references, subjects;
};

/* Calls `one` for each from thread->at up to `count`. */
static int each(struct ps_thread *thread, size_t count, void (*one)(struct ps_thread *thread, uint32_t at),
		slice_over_fn *slice_over, void *arg)
{
	while (thread->at < count) {
		one(thread, (uint32_t)thread->at++);
		if (thread->at % SLICE == 0 && slice_over && slice_over(arg))
			return thread->at == count;
	}
	return 1;
}

/* ---- what was found ---------------------------------------------------------------------------- */

static int stage_sort(struct ps_thread *thread, slice_over_fn *slice_over, void *arg)
{
	int r = ps_sort_step(thread->sort, slice_over, arg);
	struct ps_view_status status;

	if (r != 1)
		return r;
	ps_view_status(thread->view, &status);
	thread->messages = ps_sort_count(thread->sort);
	thread->numbers = thread->messages ? status.messages : 0;
	thread->places = ps_malloc((thread->numbers + 1) * sizeof *thread->places);
	memset(thread->places, 0xff, (thread->numbers + 1) * sizeof *thread->places);
	/* Of dummies there are half as many as messages at most, by step 3 and again by step 5: each has two. */
	thread->nodes = ps_malloc((2 * thread->messages + 1) * sizeof *thread->nodes);
	if (thread->algorithm->references)
		thread->references = ps_references_create(thread->messages);
	if (thread->algorithm->subjects)
		thread->subjects = ps_subjects_create(thread->messages);
	return 1;
}

static void place(struct ps_thread *thread, uint32_t at)
{
	uint32_t seq, uid;

	ps_sort_get(thread->sort, at, &seq, &uid);
	if (seq <= thread->numbers)
		thread->places[seq] = at;
	thread->nodes[at].parent = NONE;
}

static int stage_place(struct ps_thread *thread, slice_over_fn *slice_over, void *arg)
{
	thread->count = thread->messages;
	return each(thread, thread->messages, place, slice_over, arg);
}

static int read_one(struct ps_thread *thread, struct ps_reader *reader, uint32_t at)
{
	struct ps_cache cache, *known = &cache;
	uint32_t seq, uid;
	int r;

	ps_sort_get(thread->sort, at, &seq, &uid);
	r = ps_reader_cache(reader, uid, &cache);
	if (r == PS_E_GONE)
		known = NULL;
	else if (r < 0)
		return r;
	if (thread->references)
		ps_references_add(thread->references, at, known);
	if (thread->subjects)
		ps_subjects_add(thread->subjects, at, known);
	return 0;
}

/* By sequence numbers: step 1 minds who is first. */
static int stage_read(struct ps_thread *thread, slice_over_fn *slice_over, void *arg)
{
	struct ps_reader *reader;
	int r = ps_reader_open(thread->view, &reader);

	while (r == 0 && thread->at <= thread->numbers) {
		uint32_t at = thread->places[thread->at++];

		if (at != NONE)
			r = read_one(thread, reader, at);
		if (thread->at % 16 == 0 && slice_over && slice_over(arg))
			break;
	}
	ps_reader_close(reader);
	return r < 0 ? r : thread->at > thread->numbers;
}

/* ---- parents ----------------------------------------------------------------------------------- */

static void prune(struct ps_thread *thread, uint32_t at)
{
	ps_references_prune(thread->references, at);
}

static int stage_prune(struct ps_thread *thread, slice_over_fn *slice_over, void *arg)
{
	return each(thread, thread->messages, prune, slice_over, arg);
}

static void take_parent(struct ps_thread *thread, uint32_t at)
{
	uint32_t parent = ps_references_parent(thread->references, at);

	thread->nodes[at].parent = parent == PS_NO_PARENT ? NONE : parent;
}

static int stage_parents(struct ps_thread *thread, slice_over_fn *slice_over, void *arg)
{
	if (each(thread, thread->messages, take_parent, slice_over, arg) == 0)
		return 0;
	while (thread->count < thread->messages + ps_references_dummies(thread->references))
		thread->nodes[thread->count++].parent = NONE;
	return 1;
}

/* ORDEREDSUBJECT: the first message of a subject is the parent of all others. */
static void parent_by_subject(struct ps_thread *thread, uint32_t at)
{
	uint32_t *first = ps_subjects_entry(thread->subjects, at);

	if (*first == NONE)
		*first = at;
	else
		thread->nodes[at].parent = *first;
}

static int stage_ordered_subject(struct ps_thread *thread, slice_over_fn *slice_over, void *arg)
{
	return each(thread, thread->messages, parent_by_subject, slice_over, arg);
}

/* ---- hanging up: steps 4 and 6 ----------------------------------------------------------------- */

static struct node *node_at(struct ps_thread *thread, uint32_t at)
{
	return at == NONE ? &thread->root : &thread->nodes[at];
}

static void hang_up(struct ps_thread *thread, uint32_t at)
{
	struct node *parent = node_at(thread, thread->nodes[at].parent);

	thread->nodes[at].next = NONE;
	if (parent->first == NONE)
		parent->first = at;
	else
		thread->nodes[parent->last].next = at;
	parent->last = at;
}

/* A dummy stands where its first child would. */
static void hang_up_message(struct ps_thread *thread, uint32_t at)
{
	uint32_t parent = thread->nodes[at].parent;

	if (parent != NONE && parent >= thread->messages && thread->nodes[parent].first == NONE)
		hang_up(thread, parent);
	hang_up(thread, at);
}

static int stage_hang_up(struct ps_thread *thread, slice_over_fn *slice_over, void *arg)
{
	if (thread->at == 0) {
		thread->root = (struct node){NONE, NONE, NONE, NONE};
		for (size_t i = 0; i < thread->count; i++)
			thread->nodes[i].first = NONE;
	}
	return each(thread, thread->messages, hang_up_message, slice_over, arg);
}

/* ---- step 5 ------------------------------------------------------------------------------------ */

static bool is_dummy(const struct ps_thread *thread, uint32_t at)
{
	return at >= thread->messages;
}

/* The message whose subject is that of a thread. */
static uint32_t speaker(const struct ps_thread *thread, uint32_t at)
{
	return is_dummy(thread, at) ? thread->nodes[at].first : at;
}

static bool is_reply(const struct ps_thread *thread, uint32_t at)
{
	return ps_subjects_reply(thread->subjects, speaker(thread, at));
}

/* 5.B. */
static void populate(struct ps_thread *thread, uint32_t at)
{
	uint32_t *entry;

	if (ps_subjects_empty(thread->subjects, speaker(thread, at)))
		return;
	entry = ps_subjects_entry(thread->subjects, speaker(thread, at));
	if (*entry == NONE || (!is_dummy(thread, *entry) &&
			       (is_dummy(thread, at) || (is_reply(thread, *entry) && !is_reply(thread, at)))))
		*entry = at;
}

static void take_children(struct ps_thread *thread, uint32_t to, uint32_t from)
{
	for (uint32_t at = thread->nodes[from].first; at != NONE; at = thread->nodes[at].next)
		thread->nodes[at].parent = to;
}

/* 5.C: parents only; siblings are put in order when all are hung up again. */
static void merge(struct ps_thread *thread, uint32_t at)
{
	uint32_t *entry;

	if (ps_subjects_empty(thread->subjects, speaker(thread, at)))
		return;
	entry = ps_subjects_entry(thread->subjects, speaker(thread, at));
	if (*entry == at)
		return;
	if (is_dummy(thread, at)) {
		take_children(thread, *entry, at); /* it is a dummy, too: 5.B prefers them */
		return;
	}
	if (!is_dummy(thread, *entry) && !(is_reply(thread, at) && !is_reply(thread, *entry))) {
		uint32_t dummy = (uint32_t)thread->count++;

		/* `first` is what it is called by from now on. */
		thread->nodes[dummy] = (struct node){NONE, *entry, NONE, NONE};
		thread->nodes[*entry].parent = dummy;
		*entry = dummy;
	}
	thread->nodes[at].parent = *entry;
}

/* Each thread, in order; thread->at is one more than where to go on. */
static int each_thread(struct ps_thread *thread, void (*one)(struct ps_thread *thread, uint32_t at),
		       slice_over_fn *slice_over, void *arg)
{
	uint32_t at = thread->at ? (uint32_t)thread->at - 1 : thread->root.first;

	for (size_t n = 1; at != NONE; n++) {
		uint32_t next = thread->nodes[at].next;

		one(thread, at);
		at = next;
		if (n % SLICE == 0 && at != NONE && slice_over && slice_over(arg)) {
			thread->at = (size_t)at + 1;
			return 0;
		}
	}
	return 1;
}

static int stage_populate(struct ps_thread *thread, slice_over_fn *slice_over, void *arg)
{
	return each_thread(thread, populate, slice_over, arg);
}

static int stage_merge(struct ps_thread *thread, slice_over_fn *slice_over, void *arg)
{
	return each_thread(thread, merge, slice_over, arg);
}

/* ---- REFS: threads in the order of their latest messages --------------------------------------- */

/* Who is above all; those passed are linked to it, in `other`, so that each is passed once. */
static uint32_t top_of(struct ps_thread *thread, uint32_t at)
{
	uint32_t top = at;

	while (thread->other[top] != NONE)
		top = thread->other[top];
	for (uint32_t next; at != top; at = next) {
		next = thread->other[at];
		thread->other[at] = top;
	}
	return top;
}

static void note_arrival(struct ps_thread *thread, uint32_t at)
{
	uint32_t top = top_of(thread, at), seq, uid;
	const struct ps_row *row;

	ps_sort_get(thread->sort, at, &seq, &uid);
	row = ps_view_row(thread->view, seq);
	if (row && row->internal_date > thread->latest[top])
		thread->latest[top] = row->internal_date;
}

static int stage_latest(struct ps_thread *thread, slice_over_fn *slice_over, void *arg)
{
	if (thread->at == 0) {
		thread->latest = ps_malloc((thread->count + 1) * sizeof *thread->latest);
		thread->order = ps_malloc((thread->count + 1) * sizeof *thread->order);
		thread->other = ps_malloc((thread->count + 1) * sizeof *thread->other);
		for (size_t i = 0; i < thread->count; i++) {
			thread->latest[i] = INT64_MIN;
			thread->other[i] = thread->nodes[i].parent;
		}
	}
	return each(thread, thread->messages, note_arrival, slice_over, arg);
}

static void note_thread(struct ps_thread *thread, uint32_t at)
{
	thread->order[thread->threads++] = at;
}

static int stage_gather(struct ps_thread *thread, slice_over_fn *slice_over, void *arg)
{
	thread->width = 1;
	return each_thread(thread, note_thread, slice_over, arg);
}

static size_t at_most(size_t n, size_t most)
{
	return n < most ? n : most;
}

/* Two neighbouring runs of `width`, from `order` to `other`. */
static void merge_runs(struct ps_thread *thread, size_t from)
{
	size_t middle = at_most(from + thread->width, thread->threads);
	size_t end = at_most(middle + thread->width, thread->threads);
	size_t a = from, b = middle;

	for (size_t i = from; i < end; i++) {
		bool first = a < middle &&
			     (b == end || thread->latest[thread->order[a]] <= thread->latest[thread->order[b]]);

		thread->other[i] = thread->order[first ? a++ : b++];
	}
}

static int stage_order(struct ps_thread *thread, slice_over_fn *slice_over, void *arg)
{
	while (thread->width < thread->threads) {
		uint32_t *merged = thread->other;

		for (size_t from = 0; from < thread->threads; from += 2 * thread->width)
			merge_runs(thread, from);
		thread->other = thread->order;
		thread->order = merged;
		thread->width *= 2;
		if (slice_over && slice_over(arg))
			return 0;
	}
	thread->root.first = NONE;
	for (size_t i = 0; i < thread->threads; i++)
		hang_up(thread, thread->order[i]);
	return 1;
}

/* ---- the algorithms ---------------------------------------------------------------------------- */

typedef int stage_fn(struct ps_thread *thread, slice_over_fn *slice_over, void *arg);

static stage_fn *const ordered_subject[] = {
	stage_sort, stage_place, stage_read, stage_ordered_subject, stage_hang_up, NULL,
};
static stage_fn *const references[] = {
	stage_sort,    stage_place,    stage_read,  stage_prune,   stage_parents,
	stage_hang_up, stage_populate, stage_merge, stage_hang_up, NULL,
};
static stage_fn *const refs[] = {
	stage_sort,    stage_place,  stage_read,   stage_prune, stage_parents,
	stage_hang_up, stage_latest, stage_gather, stage_order, NULL,
};

static const struct algorithm algorithms[] = {
	[PS_THREAD_ORDEREDSUBJECT] = {ordered_subject, false, true},
	[PS_THREAD_REFERENCES] = {references, true, true},
	[PS_THREAD_REFS] = {refs, true, false},
};

static const struct ps_sort_criterion by_sent_date = {PS_SORT_DATE, false};

struct ps_thread *ps_thread_create(struct ps_view *view, struct ps_pool *pool, const struct ps_search_node *root,
				   enum ps_thread_algorithm algorithm)
{
	struct ps_thread *thread = ps_zalloc(sizeof *thread);

	thread->view = view;
	thread->algorithm = &algorithms[algorithm];
	thread->sort = ps_sort_create(view, pool, root, &by_sent_date, 1);
	thread->root.first = NONE;
	return thread;
}

int ps_thread_step(struct ps_thread *thread, bool (*slice_over)(void *arg), void *arg)
{
	while (thread->algorithm->stages[thread->stage]) {
		int r = thread->algorithm->stages[thread->stage](thread, slice_over, arg);

		if (r < 1)
			return r;
		thread->stage++;
		thread->at = 0;
		if (slice_over && slice_over(arg))
			return 0;
	}
	return 1;
}

/* Messages are found and read by the first stage. */
unsigned ps_thread_progress(const struct ps_thread *thread)
{
	return thread->stage == 0 ? ps_sort_progress(thread->sort) : 99;
}

uint32_t ps_thread_first(const struct ps_thread *thread, uint32_t node)
{
	return node == NONE ? thread->root.first : thread->nodes[node].first;
}

uint32_t ps_thread_next(const struct ps_thread *thread, uint32_t node)
{
	return thread->nodes[node].next;
}

uint32_t ps_thread_parent(const struct ps_thread *thread, uint32_t node)
{
	return thread->nodes[node].parent;
}

bool ps_thread_get(const struct ps_thread *thread, uint32_t node, uint32_t *ret_seq, uint32_t *ret_uid)
{
	if (is_dummy(thread, node))
		return false;
	ps_sort_get(thread->sort, node, ret_seq, ret_uid);
	return true;
}

void ps_thread_destroy(struct ps_thread *thread)
{
	if (!thread)
		return;
	ps_sort_destroy(thread->sort);
	ps_references_destroy(thread->references);
	ps_subjects_destroy(thread->subjects);
	free(thread->places);
	free(thread->nodes);
	free(thread->latest);
	free(thread->order);
	free(thread->other);
	free(thread);
}
