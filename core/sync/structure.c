/* SPDX-License-Identifier: MIT */
/* The mailboxes themselves: one batch makes the target's those of the source. */
#include <stdio.h>
#include "core/sync/sync_private.h"

void sync_plan_op(struct sync_plan *plan, struct ps_op op)
{
	plan->ops = ps_pool_grow(plan->pool, plan->ops, plan->count, &plan->cap, sizeof *plan->ops);
	plan->ops[plan->count++] = op;
}

int sync_plan_commit(const struct ps_sync_end *end, struct sync_plan *plan, uint64_t *ret_modseq)
{
	struct ps_batch batch = {.ops = plan->ops, .count = plan->count, .pool = plan->pool};
	int r;

	*ret_modseq = 0;
	if (plan->count == 0)
		return 0;
	r = sync_commit_one(end, &batch);
	if (r == 0)
		for (size_t i = 0; i < plan->count; i++)
			if (batch.results[i].modseq > *ret_modseq)
				*ret_modseq = batch.results[i].modseq;
	return r;
}

/* A mailbox of the target on its way to be what the source has. */
struct place {
	const char *name;
	const struct ps_mailbox_info *info;   /* as it was */
	const struct ps_mailbox_info *source; /* NULL: it goes */
};
struct mirror {
	struct sync *s;
	struct sync_plan plan;
	struct place *places;
	size_t count;
};

static bool is_inbox(const char *name)
{
	return strcmp(name, "INBOX") == 0;
}

static const struct ps_mailbox_info *source_of(const struct sync *s, const struct ps_mailbox_info *to)
{
	const struct ps_mailbox_info *from = is_inbox(to->name) ? sync_box_named(&s->from_boxes, "INBOX")
								: sync_box_with_id(&s->from_boxes, &to->id);

	if (!from || is_inbox(from->name) != is_inbox(to->name))
		return NULL;
	return is_inbox(to->name) || from->uid_validity == to->uid_validity ? from : NULL;
}

static void find_places(struct mirror *m)
{
	const struct sync_boxes *boxes = &m->s->to_boxes;

	m->places = PS_NEWV(m->plan.pool, struct place, boxes->count);
	for (size_t i = 0; i < boxes->count; i++)
		if (sync_exists(&boxes->ptr[i]))
			m->places[m->count++] = (struct place){.name = boxes->ptr[i].name,
							       .info = &boxes->ptr[i],
							       .source = source_of(m->s, &boxes->ptr[i])};
}

static bool is_taken(const struct mirror *m, const char *name)
{
	for (size_t i = 0; i < m->count; i++)
		if (strcmp(m->places[i].name, name) == 0)
			return true;
	return false;
}

static void plan_deletions(struct mirror *m)
{
	size_t n = 0;

	for (size_t i = 0; i < m->count; i++) {
		if (m->places[i].source) {
			m->places[n++] = m->places[i];
			continue;
		}
		sync_plan_op(&m->plan, (struct ps_op){.kind = PS_OP_DELETE, .name = m->places[i].name});
		m->s->totals->mailboxes_removed++;
	}
	m->count = n;
}

static void plan_rename(struct mirror *m, struct place *place, const char *name)
{
	sync_plan_op(&m->plan, (struct ps_op){.kind = PS_OP_RENAME, .name = place->name, .new_name = name});
	place->name = name;
}

/* Renames those whose new name is free. False: none was. */
static bool rename_free(struct mirror *m, struct place **ret_stuck)
{
	bool any = false;

	*ret_stuck = NULL;
	for (size_t i = 0; i < m->count; i++) {
		struct place *place = &m->places[i];

		if (strcmp(place->name, place->source->name) == 0)
			continue;
		if (is_taken(m, place->source->name)) {
			*ret_stuck = place;
			continue;
		}
		plan_rename(m, place, place->source->name);
		m->s->totals->mailboxes_renamed++;
		any = true;
	}
	return any;
}

/* Two that exchanged their names need a third for a moment, which nobody sees: it is one batch. */
static void plan_renames(struct mirror *m)
{
	struct place *stuck;
	unsigned number = 0;

	do {
		bool any = rename_free(m, &stuck);

		if (stuck && !any)
			plan_rename(m, stuck, ps_pool_printf(m->plan.pool, "renaming %u", ++number));
	} while (stuck);
}

static void plan_creations(struct mirror *m)
{
	const struct sync_boxes *boxes = &m->s->from_boxes;

	for (size_t i = 0; i < boxes->count; i++) {
		const struct ps_mailbox_info *box = &boxes->ptr[i];

		if (!sync_exists(box) || is_taken(m, box->name))
			continue;
		sync_plan_op(&m->plan, (struct ps_op){.kind = PS_OP_CREATE,
						      .name = box->name,
						      .attributes = box->attributes & PS_MBOX_SPECIAL_USES,
						      .uid_validity = box->uid_validity,
						      .mailbox_id = box->id});
		m->s->totals->mailboxes_made++;
	}
}

static int plan_inbox(struct mirror *m)
{
	const struct ps_mailbox_info *from = sync_box_named(&m->s->from_boxes, "INBOX");
	const struct ps_mailbox_info *to = sync_box_named(&m->s->to_boxes, "INBOX");

	if (!from || !to)
		return ps_fail(PS_E_CORRUPT, "%s has no INBOX", from ? m->s->to->name : m->s->from->name);
	if (sync_same_id(&from->id, &to->id) && from->uid_validity == to->uid_validity)
		return 0;
	if (to->messages > 0 || to->uid_next > 1)
		return ps_fail(
			PS_E_CONFLICT,
			"%s: INBOX has given out UIDs of its own, so that the source's cannot be kept; sync to an "
			"empty place",
			m->s->to->name);
	sync_plan_op(&m->plan, (struct ps_op){.kind = PS_OP_IDENTITY,
					      .name = "INBOX",
					      .uid_validity = from->uid_validity,
					      .mailbox_id = from->id});
	return 0;
}

static void plan_attributes(struct mirror *m)
{
	for (size_t i = 0; i < m->count; i++) {
		const struct place *place = &m->places[i];
		uint32_t want = place->source->attributes & PS_MBOX_SPECIAL_USES;

		if ((place->info->attributes & PS_MBOX_SPECIAL_USES) == want)
			continue;
		sync_plan_op(&m->plan,
			     (struct ps_op){.kind = PS_OP_ATTRIBUTES, .name = place->source->name, .attributes = want});
		m->s->totals->mailboxes_changed++;
	}
}

static bool is_subscribed(const struct sync_boxes *boxes, const char *name)
{
	const struct ps_mailbox_info *box = sync_box_named(boxes, name);

	return box && (box->attributes & PS_MBOX_SUBSCRIBED);
}

/* Those that `a` has and `b` has not become so at the target. */
static void plan_subscriptions(struct mirror *m, const struct sync_boxes *a, const struct sync_boxes *b,
			       bool subscribed)
{
	for (size_t i = 0; i < a->count; i++)
		if ((a->ptr[i].attributes & PS_MBOX_SUBSCRIBED) && !is_subscribed(b, a->ptr[i].name))
			sync_plan_op(&m->plan, (struct ps_op){.kind = PS_OP_SUBSCRIBE,
							      .name = a->ptr[i].name,
							      .subscribed = subscribed});
}

static int plan_all(struct mirror *m)
{
	struct sync *s = m->s;
	int r;

	find_places(m);
	plan_deletions(m);
	plan_renames(m);
	if ((r = plan_inbox(m)) < 0)
		return r;
	plan_creations(m);
	plan_attributes(m);
	plan_subscriptions(m, &s->from_boxes, &s->to_boxes, true);
	plan_subscriptions(m, &s->to_boxes, &s->from_boxes, false);
	return 0;
}

/* Between the two looks at the target there was our batch; other changes are somebody else's. */
static int check_others(const struct sync *s, const struct sync_boxes *before, uint64_t modseq)
{
	for (size_t i = 0; i < before->count && !s->options->force; i++) {
		const struct ps_mailbox_info *old = &before->ptr[i], *now = sync_box_with_id(&s->to_boxes, &old->id);

		if (now && now->highest_modseq != old->highest_modseq && now->highest_modseq != modseq)
			return ps_fail(PS_E_CONFLICT, "%s: mailbox %s was changed by somebody else meanwhile",
				       s->to->name, now->name);
	}
	return 0;
}

int sync_mirror_structure(struct sync *s, int (*begin)(void *arg), void *arg)
{
	struct mirror m = {.s = s, .plan = {.pool = s->pool}};
	struct sync_boxes before = s->to_boxes;
	uint64_t modseq;
	int r = plan_all(&m);

	if (r < 0 || m.plan.count == 0 || s->options->dry_run)
		return r;
	if ((r = begin(arg)) < 0 || (r = sync_plan_commit(s->to, &m.plan, &modseq)) < 0 ||
	    (r = sync_look(s->to, s->pool, &s->to_boxes)) < 0)
		return r;
	return check_others(s, &before, modseq);
}
