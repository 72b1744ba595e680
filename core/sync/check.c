/* SPDX-License-Identifier: MIT */
/* What can be said of one store, or of two, by reading them. */
#include <stdarg.h>
#include <stdio.h>
#include "core/sync/sync_private.h"
#include "postern/message.h"

/* ---- two: figures only ----------------------------------------------------------------------- */

static int compare_one(const struct ps_sync_end *to, const struct ps_mailbox_info *from,
		       const struct ps_mailbox_info *copy)
{
	const uint32_t told = PS_MBOX_EXISTS | PS_MBOX_SUBSCRIBED | PS_MBOX_SPECIAL_USES;

	if (!copy)
		return ps_fail(PS_E_CONFLICT, "%s lacks the mailbox %s", to->name, from->name);
	if ((from->attributes & told) != (copy->attributes & told))
		return ps_fail(PS_E_CONFLICT, "%s: mailbox %s has other attributes", to->name, from->name);
	if (!sync_exists(from))
		return 0;
	if (!sync_same_id(&from->id, &copy->id) || from->uid_validity != copy->uid_validity ||
	    from->uid_next > copy->uid_next || from->highest_modseq > copy->highest_modseq)
		return ps_fail(PS_E_CONFLICT, "%s: mailbox %s has another identity", to->name, from->name);
	if (from->messages != copy->messages || from->unseen != copy->unseen || from->deleted != copy->deleted ||
	    from->size != copy->size)
		return ps_fail(PS_E_CONFLICT, "%s: mailbox %s has other messages", to->name, from->name);
	return 0;
}

int ps_sync_compare(const struct ps_sync_end *from, const struct ps_sync_end *to)
{
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("sync compare");
	struct sync_boxes a, b;
	int r;

	if ((r = sync_look(from, pool, &a)) < 0 || (r = sync_look(to, pool, &b)) < 0)
		return r;
	for (size_t i = 0; i < a.count && r == 0; i++)
		r = compare_one(to, &a.ptr[i], sync_box_named(&b, a.ptr[i].name));
	if (r == 0 && a.count != b.count)
		r = ps_fail(PS_E_CONFLICT, "%s has %zu mailboxes, %s has %zu", from->name, a.count, to->name, b.count);
	return r;
}

/* ---- one: everything ------------------------------------------------------------------------- */

struct check {
	const struct ps_sync_end *end;
	void (*fault)(void *arg, const char *sentence);
	void *arg;
	struct ps_sync_figures *figures;
	const struct ps_mailbox_info *box;
	struct ps_mbox *mbox;
};

__attribute__((format(printf, 2, 3))) static void fault(struct check *c, const char *fmt, ...)
{
	char sentence[1600];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(sentence, sizeof sentence, fmt, ap);
	va_end(ap);
	c->figures->faults++;
	c->fault(c->arg, sentence);
}

static int count_octets(void *arg, struct ps_bytes octets)
{
	*(uint64_t *)arg += octets.len;
	return 0;
}

static void check_body(struct check *c, const struct ps_row *row)
{
	struct ps_body body;
	uint64_t octets = 0;
	int r = sync_on(c->end)->body(c->mbox, row->uid, &body);

	if (r == PS_E_GONE)
		return;
	if (r == 0) {
		r = sync_body_each(c->end, &body, count_octets, &octets);
		sync_on(c->end)->body_close(&body);
	}
	if (r < 0)
		fault(c, "mailbox %s: UID %u cannot be read: %s", c->box->name, row->uid, ps_last_error());
	else if (octets != row->size)
		fault(c, "mailbox %s: UID %u has %llu octets, %llu are noted", c->box->name, row->uid,
		      (unsigned long long)octets, (unsigned long long)row->size);
	c->figures->octets += octets;
}

static void check_row(struct check *c, const struct sync_view *view, const struct ps_row *row, uint32_t former)
{
	static const struct ps_id none;
	uint64_t known = view->keyword_count == PS_KEYWORDS_MAX ? UINT64_MAX : (UINT64_C(1) << view->keyword_count) - 1;

	if (row->uid <= former || row->uid >= view->info.uid_next)
		fault(c, "mailbox %s: UID %u follows %u, and UIDNEXT is %u", c->box->name, row->uid, former,
		      view->info.uid_next);
	if (row->modseq == 0 || row->modseq > view->info.highest_modseq)
		fault(c, "mailbox %s: UID %u has the modseq %llu, and HIGHESTMODSEQ is %llu", c->box->name, row->uid,
		      (unsigned long long)row->modseq, (unsigned long long)view->info.highest_modseq);
	if ((row->flags & ~(uint32_t)PS_FLAG_ALL) || (row->keywords & ~known))
		fault(c, "mailbox %s: UID %u has flags that mean nothing", c->box->name, row->uid);
	if (sync_same_id(&row->email_id, &none))
		fault(c, "mailbox %s: UID %u has no object id", c->box->name, row->uid);
}

static void check_sums(struct check *c, const struct sync_view *view)
{
	uint32_t unseen = 0, deleted = 0;
	uint64_t size = 0;

	for (size_t i = 0; i < view->rows.count; i++) {
		unseen += !(view->rows.ptr[i].flags & PS_FLAG_SEEN);
		deleted += (view->rows.ptr[i].flags & PS_FLAG_DELETED) != 0;
		size += view->rows.ptr[i].size;
	}
	if (view->info.messages != view->rows.count || view->info.unseen != unseen || view->info.deleted != deleted ||
	    view->info.size != size)
		fault(c,
		      "mailbox %s: counted are %u messages, %u unseen, %u deleted, %llu octets; there are %zu, %u, %u, "
		      "%llu",
		      c->box->name, view->info.messages, view->info.unseen, view->info.deleted,
		      (unsigned long long)view->info.size, view->rows.count, unseen, deleted, (unsigned long long)size);
}

static void check_caches(struct check *c, const struct sync_view *view)
{
	struct ps_read *read;

	if (sync_on(c->end)->read_begin(c->end->store, &read) < 0)
		return;
	for (size_t i = 0; i < view->rows.count; i++) {
		struct ps_bytes octets;
		struct ps_cache cache;

		if (sync_on(c->end)->cache(read, c->mbox, view->rows.ptr[i].uid, &octets) == 0 &&
		    ps_cache_open(&cache, octets) < 0)
			fault(c, "mailbox %s: UID %u has a damaged cache", c->box->name, view->rows.ptr[i].uid);
	}
	sync_on(c->end)->read_end(read);
}

static int check_box(struct check *c)
{
	struct sync_view view;
	uint32_t former = 0;
	int r = sync_view_open(c->end, c->mbox, 0, 0, &view);

	if (r < 0)
		return r;
	if (view.info.uid_validity == 0 || view.info.uid_next == 0)
		fault(c, "mailbox %s: UIDVALIDITY is %u, UIDNEXT %u", c->box->name, view.info.uid_validity,
		      view.info.uid_next);
	for (size_t i = 0; i < view.rows.count; i++) {
		check_row(c, &view, &view.rows.ptr[i], former);
		check_body(c, &view.rows.ptr[i]);
		former = view.rows.ptr[i].uid;
	}
	check_sums(c, &view);
	check_caches(c, &view);
	c->figures->messages += view.rows.count;
	sync_view_close(&view);
	return 0;
}

static int check_boxes(struct check *c, const struct sync_boxes *boxes)
{
	for (size_t i = 0; i < boxes->count; i++) {
		int r;

		c->box = &boxes->ptr[i];
		if (!sync_exists(c->box))
			continue;
		c->figures->mailboxes++;
		if (sync_box_with_id(boxes, &c->box->id) != c->box)
			fault(c, "mailbox %s has the id of another", c->box->name);
		r = sync_mailbox_open(c->end, c->box, &c->mbox);
		if (r == 0) {
			r = check_box(c);
			sync_mailbox_close(c->end, c->mbox);
		}
		if (r < 0 && r != PS_E_NOTFOUND && r != PS_E_GONE)
			fault(c, "mailbox %s: %s", c->box->name, ps_last_error());
	}
	return 0;
}

static void backend_fault(void *arg, const char *sentence)
{
	fault(arg, "%s", sentence);
}

int ps_sync_check(const struct ps_sync_end *end, void (*tell)(void *arg, const char *sentence), void *arg,
		  struct ps_sync_figures *ret_figures)
{
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("sync check");
	struct check c = {.end = end, .fault = tell, .arg = arg, .figures = ret_figures};
	struct sync_boxes boxes;
	int r;

	*ret_figures = (struct ps_sync_figures){0};
	if (sync_on(end)->check && (r = sync_on(end)->check(end->store, backend_fault, &c)) < 0)
		return r;
	if ((r = sync_look(end, pool, &boxes)) < 0)
		return r;
	return check_boxes(&c, &boxes);
}

int ps_sync_compact(const struct ps_sync_end *end, uint64_t *ret_octets)
{
	*ret_octets = 0;
	return end->ops->compact ? sync_on(end)->compact(end->store, ret_octets) : 0;
}
